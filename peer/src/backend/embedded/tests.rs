use std::collections::BTreeMap;

use bytes::Bytes;
use loop_proto::{
    ids::{HubTime, MessageId},
    v1::Endpoint,
};

use prost::Message as _;

use super::*;

const T0: u64 = 1_795_232_963;

/// One peer with everything committed at once, as if it were alone.
struct Alone {
    backend: EmbeddedBackend,
    record: u64,
    message: u32,
    now_s: u64,
    ids: NextUser,
    sessions: BTreeMap<String, v1::SessionRecord>,
}

struct NextUser(u32);

impl UserIds for NextUser {
    fn take(&mut self) -> Option<u32> {
        self.0 += 1;
        Some(self.0 - 1)
    }
}

struct NoUsers;

impl UserIds for NoUsers {
    fn take(&mut self) -> Option<u32> {
        None
    }
}

impl Alone {
    fn open(dir: &std::path::Path) -> Self {
        Self::open_with(EmbeddedConfig::new(dir))
    }

    fn open_with(config: EmbeddedConfig) -> Self {
        let backend = EmbeddedBackend::open(config).unwrap();
        let record = backend.durable_cursor();
        Self { backend, record, message: 2866, now_s: T0, ids: NextUser(414), sessions: BTreeMap::new() }
    }

    fn work(&self, endpoint: Endpoint, session: &str, query: &str) -> Work {
        let request = v1::ClientRequest {
            endpoint: endpoint.into(),
            query: Bytes::copy_from_slice(query.as_bytes()),
            session_id: session.to_owned(),
            base_url: "http://h".to_owned(),
            ..Default::default()
        };
        Work {
            forum: ForumId::new(178),
            request,
            session: self.sessions.get(session).cloned(),
            message_id: None,
            now: HubTime(self.now_s * 1000),
        }
    }

    fn commit(&mut self, closes: Option<TaskId>, execution: &Execution) {
        let streams =
            [(None, &execution.directory_facts, None), (ForumId::new(178), &execution.forum_facts, closes)];
        let mut records = Vec::new();
        for (forum, facts, closes) in streams {
            self.record += 1;
            let facts = v1::Facts { facts: facts.clone() };
            let sessions = execution.session.clone().filter(|_| forum.is_some());
            records.push(AppliedRecord {
                id: TaskId::new(self.record).unwrap(),
                forum,
                closes,
                facts: facts.encode_to_vec().into(),
                sessions: sessions.into_iter().collect(),
                staged: false,
            });
        }
        self.backend.apply(records, self.record).unwrap();
        if let Some(session) = &execution.session {
            let session = v1::SessionRecord { version: self.record, ..session.clone() };
            self.sessions.insert(session.id.clone(), session);
        }
    }

    fn execute(&mut self, endpoint: Endpoint, session: &str, query: &str) -> (TaskId, Execution) {
        let mut work = self.work(endpoint, session, query);
        if endpoint == Endpoint::Shout {
            self.message += 1;
            work.message_id = MessageId::new(self.message);
        }
        self.record += 1;
        let task = TaskId::new(self.record).unwrap();
        let execution = self.backend.execute(task, &work, &mut self.ids).unwrap();
        (task, execution)
    }

    fn write(&mut self, endpoint: Endpoint, session: &str, query: &str) -> Execution {
        let (task, execution) = self.execute(endpoint, session, query);
        self.commit(Some(task), &execution);
        execution
    }

    fn say(&mut self, session: &str, text: &str) -> Execution {
        self.write(Endpoint::Shout, session, &format!("{SHOUT}&typing=off&message={text}"))
    }

    fn read(&mut self, session: &str, query: &str) -> String {
        let work = self.work(Endpoint::SearchChat, session, query);
        let execution = self.backend.read(&work, None, &mut self.ids).unwrap();
        self.commit(None, &execution);
        body(&execution)
    }
}

const SHOUT: &str = "action=ssshout&passcode=ajps_test&remoteapp=true&cs=21633478&msg_id=1";
const READ: &str = "passcode=ajps_test&records=25";

fn body(execution: &Execution) -> String {
    String::from_utf8(execution.body.body.to_vec()).unwrap()
}

fn ids(body: &str) -> Vec<u32> {
    body.split("{\"id\":\"").skip(1).map(|part| part.split('"').next().unwrap().parse().unwrap()).collect()
}

fn messages(execution: &Execution) -> Vec<&v1::MessageStored> {
    let stored = execution.forum_facts.iter().filter_map(|fact| match &fact.kind {
        Some(Kind::MessageStored(message)) => Some(message),
        _ => None,
    });
    stored.collect()
}

#[test]
fn a_first_read_makes_user_and_forum_and_later_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    assert_eq!(peer.read("e9kk7q", READ), r#"{"title":"test@","res":[],"ses":"e9kk7q"}"#);
    let work = peer.work(Endpoint::SearchChat, "e9kk7q", READ);
    let second = peer.backend.read(&work, None, &mut peer.ids).unwrap();
    assert_eq!(body(&second), r#"{"res":[],"ses":"e9kk7q"}"#);
    assert!(second.forum_facts.is_empty() && second.directory_facts.is_empty() && second.session.is_none());
    // Its use is noted once a day, so that it does not seem dead.
    let later = Work { now: HubTime((T0 + 86_400) * 1000), ..work };
    assert!(peer.backend.read(&later, None, &mut peer.ids).unwrap().session.is_some());
}

#[test]
fn without_user_ids_nothing_happens_and_the_call_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let peer = Alone::open(dir.path());
    let work = peer.work(Endpoint::SearchChat, "e9kk7q", READ);
    let error = peer.backend.read(&work, None, &mut NoUsers).unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_)));
}

#[test]
fn sid_says_what_became_of_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let sid = |execution: &Execution| execution.receipt.sid_json.clone();
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on&message=S"));
    assert_eq!(sid(&typing).as_deref(), Some("2867"));
    let again = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on&shout_id=2867"));
    assert_eq!(sid(&again).as_deref(), Some("\"2867\""));
    let unknown = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on&shout_id=88888888"));
    assert_eq!((sid(&unknown).as_deref(), messages(&unknown).len()), (Some("\"88888888\""), 0));
    let commit =
        peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&shout_id=2867&message=done"));
    assert_eq!(
        (sid(&commit).as_deref(), messages(&commit)[0].text.as_str()),
        (Some("\"\""), "Anon 97: done")
    );
    let edit =
        peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&shout_id=2867&message=edited"));
    assert_eq!((sid(&edit).as_deref(), messages(&edit).len()), (Some("\"\""), 0));
    let direct = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&shout_id=0&message=x"));
    assert_eq!(sid(&direct), Some(messages(&direct)[0].id.to_string()));
    let robot = peer.write(
        Endpoint::Shout,
        "aaa",
        "action=ssshout&passcode=ajps_test&remoteapp=true&message=x&msg_id=5",
    );
    assert_eq!((sid(&robot), messages(&robot).len()), (None, 0));
    assert!(body(&robot).ends_with(r#""ses":"aaa","lid":"5"}"#));
}

#[test]
fn a_repetition_within_five_seconds_hides_the_typing_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    peer.say("aaa", "same");
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on"));
    let id = messages(&typing)[0].id;
    peer.now_s += 4;
    let query = format!("{SHOUT}&typing=off&shout_id={id}&message=same");
    let repeated = peer.write(Endpoint::Shout, "aaa", &query);
    assert_eq!(repeated.receipt.sid_json.as_deref(), Some("false"));
    assert!(!messages(&repeated)[0].active);
    assert_eq!(ids(&peer.read("aaa", READ)), [2867]);
}

#[test]
fn a_second_execution_builds_on_the_first_before_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let (first_task, first) = peer.execute(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on"));
    let id = messages(&first)[0].id;
    // The session is not committed either: the same user must be found in the pending execution.
    let query = format!("{SHOUT}&typing=off&shout_id={id}&message=done");
    let (second_task, second) = peer.execute(Endpoint::Shout, "aaa", &query);
    assert_eq!(second.directory_facts.len(), 0);
    assert_eq!(messages(&second)[0].author_id, messages(&first)[0].author_id);
    assert!(body(&second).contains("done"));
    let nobody = peer.work(Endpoint::FastSearchChat, "aaa", READ);
    assert!(!body(&peer.backend.read(&nobody, None, &mut NoUsers).unwrap()).contains("done"));
    peer.commit(Some(first_task), &first);
    peer.commit(Some(second_task), &second);
    assert_eq!(ids(&peer.read("bbb", READ)), [id]);
}

#[test]
fn executions_of_a_lost_primary_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    peer.say("aaa", "kept");
    peer.execute(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&message=lost"));
    peer.backend.forget_pending(ForumId::new(178).unwrap());
    let (_, execution) = peer.execute(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&message=new"));
    assert_eq!(ids(&body(&execution)).len(), 2);
    assert!(!body(&execution).contains("lost"));
}

#[test]
fn a_task_executed_once_more_replaces_its_first_execution() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let mut work = peer.work(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&message=once"));
    work.message_id = MessageId::new(2867);
    let task = TaskId::new(1).unwrap();
    let first = peer.backend.execute(task, &work, &mut peer.ids).unwrap();
    peer.ids = NextUser(414);
    let again = peer.backend.execute(task, &work, &mut peer.ids).unwrap();
    assert_eq!(body(&again), body(&first));
    assert_eq!(again.forum_facts, first.forum_facts);
}

#[test]
fn a_write_that_is_no_task_shows_the_list_and_no_sid() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    peer.say("aaa", "x");
    let work =
        peer.work(Endpoint::Shout, "aaa", "action=ssshout&passcode=ajps_test&remoteapp=true&cs=1&msg_id=9");
    let execution = peer.backend.read(&work, None, &mut NoUsers).unwrap();
    assert!(body(&execution).ends_with(r#""ses":"aaa","lid":"9"}"#) && ids(&body(&execution)).len() == 1);
    let nowhere = Work { forum: None, ..work };
    let execution = peer.backend.read(&nowhere, None, &mut NoUsers).unwrap();
    assert_eq!(body(&execution), r#"{"res":[],"ses":"aaa"}"#);
}

#[test]
fn a_message_is_touched_by_its_author_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on"));
    let id = messages(&typing)[0].id;
    let hijack =
        peer.write(Endpoint::Shout, "bbb", &format!("{SHOUT}&typing=off&shout_id={id}&message=mine"));
    assert_eq!((messages(&hijack).len(), hijack.receipt.sid_json.as_deref()), (0, Some("\"\"")));
    let query = format!("callback=cb&mid={id}&passcode=ajps_test");
    assert!(peer.write(Endpoint::HideMessage, "bbb", &query).forum_facts.is_empty());
    let hidden = peer.write(Endpoint::HideMessage, "aaa", &format!("{query}&just_typing=on"));
    assert!(!messages(&hidden)[0].active);
    assert_eq!((body(&hidden).as_str(), hidden.body.jsonp), ("\"\"", true));
    let removed = peer.write(Endpoint::HideMessage, "aaa", &query);
    assert!(matches!(removed.forum_facts[0].kind, Some(Kind::MessageRemoved(_))));
    for nothing in ["mid=2867&just_typing=on", "passcode=x&mid=abc", "passcode=x&mid=99999"] {
        assert!(peer.write(Endpoint::HideMessage, "aaa", nothing).forum_facts.is_empty());
    }
    // A message id of one forum names nothing in another.
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on"));
    let mut work =
        peer.work(Endpoint::HideMessage, "aaa", &format!("mid={}&passcode=x", messages(&typing)[0].id));
    work.forum = ForumId::new(179);
    assert!(
        peer.backend.execute(TaskId::new(999).unwrap(), &work, &mut NoUsers).unwrap().forum_facts.is_empty()
    );
}

#[test]
fn history_beyond_the_window_comes_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { window_messages: 3, ..EmbeddedConfig::new(dir.path()) };
    let mut peer = Alone::open_with(config);
    for number in 0..10 {
        peer.say("aaa", &format!("m{number}"));
        peer.now_s += 10;
    }
    let expected: Vec<u32> = (2867..=2876).rev().collect();
    assert_eq!(ids(&peer.read("bbb", READ)), expected);
    assert_eq!(ids(&peer.read("bbb", "passcode=ajps_test&records=4")), expected[..5]);
    // An old message of one's own can still be deleted, and its absence is seen at once.
    peer.write(Endpoint::HideMessage, "aaa", "mid=2868&passcode=x");
    assert!(!ids(&peer.read("bbb", READ)).contains(&2868));
}

#[test]
fn forums_leave_memory_and_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { resident_forums_max: 1, ..EmbeddedConfig::new(dir.path()) };
    let mut peer = Alone::open_with(config);
    for number in 0..20 {
        peer.say("aaa", &format!("m{number}"));
        let mut other = peer.work(Endpoint::FastSearchChat, "aaa", "passcode=other");
        other.forum = ForumId::new(500 + number);
        peer.backend.read(&other, None, &mut NoUsers).unwrap();
    }
    assert_eq!(ids(&peer.read("aaa", READ)).len(), 20);
}

#[test]
fn a_peer_dropped_at_any_moment_reopens_at_its_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let mut records: BTreeMap<u64, usize> = BTreeMap::from([(0, 0)]);
    let mut count = 0;
    for round in 0..4 {
        let mut peer = Alone::open(dir.path());
        let held = peer.backend.durable_cursor();
        count = records[&held];
        let resident = peer.backend.forums.read(&peer.backend.store, 178, |window| {
            let viewer = loop_atomjump::Viewer { user: None, ip: "", group: None };
            Ok(window.newest(&viewer, false, 1000, &mut |_| {}))
        });
        assert_eq!(resident.unwrap(), count, "round {round} at record {held}");
        peer.message = 2866 + 1000 * (round + 1);
        for number in 0..30 {
            peer.say("aaa", &format!("r{round}n{number}"));
            count += 1;
            records.insert(peer.record, count);
        }
    }
    assert!(count > 0);
}

#[test]
fn records_are_applied_again_without_harm_and_broken_ones_stop_the_peer() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let execution = peer.say("aaa", "once");
    peer.record -= 2;
    peer.commit(None, &execution);
    assert_eq!(ids(&peer.read("aaa", READ)).len(), 1);
    let broken = AppliedRecord {
        id: TaskId::new(77).unwrap(),
        forum: ForumId::new(178),
        closes: None,
        facts: Bytes::from_static(b"\xff\xff\xff"),
        sessions: Vec::new(),
        staged: false,
    };
    let error = peer.backend.apply(vec![broken], 77).unwrap_err();
    assert!(matches!(&error, BackendError::Fatal(why) if why.contains("t77")), "{error}");
}

#[test]
fn facts_on_the_wrong_stream_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let execution = peer.say("aaa", "x");
    let stray = v1::Facts { facts: execution.forum_facts.clone() };
    let record = AppliedRecord {
        id: TaskId::new(50).unwrap(),
        forum: ForumId::new(179),
        closes: None,
        facts: stray.encode_to_vec().into(),
        sessions: Vec::new(),
        staged: false,
    };
    peer.backend.apply(vec![record], 50).unwrap();
    peer.backend.flush().unwrap();
    assert!(peer.backend.store.load_forum(179, 10).unwrap().messages.is_empty());
}

#[test]
fn an_answer_is_rendered_again_from_its_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let execution = peer.say("aaa", "hello");
    let work = peer.work(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&message=hello"));
    let again = peer.backend.read(&work, Some(&execution.receipt), &mut NoUsers).unwrap();
    assert_eq!(again.body, execution.body);
    assert!(again.forum_facts.is_empty() && again.session.is_none());
}

#[test]
fn a_robot_leaves_no_user_and_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    peer.say("aaa", "hello");
    let mut work = peer.work(Endpoint::SearchChat, "robot", READ);
    work.request.headers.push(v1::Header { name: "user-agent".into(), value: "Googlebot/2.1".into() });
    let execution = peer.backend.read(&work, None, &mut NoUsers).unwrap();
    assert!(body(&execution).ends_with(r#""ses":""}"#) && ids(&body(&execution)).len() == 1);
    assert!(execution.directory_facts.is_empty() && execution.session.is_none());
}

#[test]
fn the_page_escapes_everything_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let peer = Alone::open(dir.path());
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%27";
    let query = format!(
        "uniqueFeedbackId={hostile}&myMachineUser={hostile}&server=http://{hostile}&clientremoteurl={hostile}&general={hostile}"
    );
    let mut work = peer.work(Endpoint::ChatPage, "aaa", &query);
    let cookie = format!("ses={hostile}; your_name={hostile}; email={hostile}");
    work.request.headers.push(v1::Header { name: "cookie".into(), value: cookie.into() });
    let execution = peer.backend.read(&work, None, &mut NoUsers).unwrap();
    let page = body(&execution);
    assert!(!page.contains("<script>alert") && !page.contains("{{"), "{page}");
    assert_eq!(page.matches("<script").count(), 3);
    assert!(page.contains("\"server\": \"http://h\""), "{page}");
    assert!(execution.session.is_none() && execution.forum_facts.is_empty());
    for part in [
        "id=\"message\"",
        "id=\"messages\"",
        "id=\"shout-form\"",
        "name=\"ses\" id=\"ses\" value=\"aaa\"",
        "var granted = true;",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_protected_forum_asks_for_its_password_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    peer.say("aaa", "secret");
    let forum = v1::ForumStored {
        id: 178,
        password_hash: Some("x".into()),
        title: "Room".into(),
        ..Default::default()
    };
    let execution = Execution {
        forum_facts: vec![v1::Fact { kind: Some(Kind::ForumStored(forum)) }],
        ..Execution::default()
    };
    peer.commit(None, &execution);
    let work = peer.work(Endpoint::ChatPage, "bbb", "uniqueFeedbackId=ajps_test");
    let page = body(&peer.backend.read(&work, None, &mut NoUsers).unwrap());
    assert!(
        page.contains("id=\"forumpass\"")
            && page.contains("granted = false")
            && page.contains("title: \"Room\"")
    );
    assert_eq!(peer.read("ccc", READ), r#"{"res":[],"ses":"ccc"}"#);
    let written = peer.say("ddd", "written without it");
    assert!(body(&written).starts_with(r#"{"res":[],"#) && written.receipt.sid_json.is_some());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    #[test]
    fn no_request_panics_or_fails(
        query: Vec<u8>,
        fields in proptest::collection::vec(("(passcode|message|shout_id|mid|typing|cs|your_name|lat|lon|records|whisper_to|general|remoteapp|action|just_typing|callback)", ".{0,40}"), 0..12),
        cookie: Vec<u8>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut peer = Alone::open(dir.path());
        let mut bytes = query;
        for (name, value) in &fields {
            bytes.extend_from_slice(format!("&{name}={value}").as_bytes());
        }
        for endpoint in [
            Endpoint::Shout, Endpoint::HideMessage, Endpoint::SearchChat, Endpoint::FastSearchChat, Endpoint::ChatPage,
            Endpoint::LoggedStatus, Endpoint::Index, Endpoint::MessageButtons, Endpoint::Static,
        ] {
            let mut work = peer.work(endpoint, "aaa", "");
            work.request.query = bytes.clone().into();
            work.request.headers.push(v1::Header { name: "cookie".into(), value: cookie.clone().into() });
            work.message_id = MessageId::new(5);
            if matches!(endpoint, Endpoint::Shout | Endpoint::HideMessage) {
                peer.record += 1;
                let task = TaskId::new(peer.record).unwrap();
                let execution = peer.backend.execute(task, &work, &mut peer.ids).unwrap();
                peer.commit(Some(task), &execution);
            } else {
                let execution = peer.backend.read(&work, None, &mut peer.ids).unwrap();
                peer.commit(None, &execution);
            }
        }
    }
}

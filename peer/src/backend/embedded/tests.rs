use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bytes::Bytes;
use loop_atomjump::new_rows::{anonymous_user, new_forum};
use loop_proto::{
    ids::{ForumKey, HubTime, MessageId},
    v1::Endpoint,
};
use prost::Message as _;

use super::*;
use crate::backend::{Given, PAGE_BYTES_MAX};

const T0: u64 = 1_795_232_963;
const FORUM: u32 = 178;

/// One peer with everything committed at once, as if it were alone; and of the hubs what it cannot do without.
struct Alone {
    backend: EmbeddedBackend,
    record: u64,
    message: u32,
    now_s: u64,
    user: u32,
    sessions: BTreeMap<String, v1::SessionRecord>,
    /// Unfinished messages.
    open: BTreeSet<u32>,
}

impl Alone {
    fn open(dir: &Path) -> Self {
        Self::open_with(EmbeddedConfig::new(dir))
    }

    fn open_with(config: EmbeddedConfig) -> Self {
        let backend = EmbeddedBackend::open(config).unwrap();
        let record = backend.durable_cursor();
        let mut peer = Self {
            backend,
            record,
            message: 2866,
            now_s: T0,
            user: 413,
            sessions: BTreeMap::new(),
            open: BTreeSet::new(),
        };
        let row = new_forum(forum(), ForumKey::of_name(b"ajps_test"), "test@", None, peer.now());
        peer.apply(ForumId::new(FORUM), None, &[fact(Kind::ForumStored(row))]);
        peer
    }

    fn now(&self) -> HubTime {
        HubTime(self.now_s * 1000)
    }

    fn apply(&mut self, forum: Option<ForumId>, closes: Option<TaskId>, facts: &[v1::Fact]) {
        self.record += 1;
        let record = AppliedRecord {
            id: TaskId::new(self.record).unwrap(),
            forum,
            closes,
            facts: v1::Facts { facts: facts.to_vec() }.encode_to_vec().into(),
            staged: false,
        };
        self.backend.apply(vec![record], self.record).unwrap();
    }

    /// The session with its user, made if it is new.
    fn session(&mut self, id: &str) -> v1::SessionRecord {
        if !self.sessions.contains_key(id) {
            self.user += 1;
            let user = anonymous_user(self.user, id, self.now());
            self.apply(None, None, &[fact(Kind::UserStored(user))]);
            let session = v1::SessionRecord { id: id.to_owned(), user_id: self.user, ..Default::default() };
            self.sessions.insert(id.to_owned(), session);
        }
        self.sessions[id].clone()
    }

    /// A task, with the next message id if it names no message.
    fn task(&mut self, endpoint: Endpoint, session: &str, query: &str) -> (TaskId, Work) {
        let held = self.session(session);
        let named = query.split('&').find_map(|pair| pair.strip_prefix("shout_id=")?.parse::<u32>().ok());
        let open_message = named.filter(|id| self.open.contains(id)).and_then(MessageId::new);
        let mut given = Given { message_id: None, open_message };
        if endpoint == Endpoint::Shout && named.is_none_or(|id| id == 0) {
            self.message += 1;
            given.message_id = MessageId::new(self.message);
        }
        let request = v1::ClientRequest {
            endpoint: endpoint.into(),
            query: Bytes::copy_from_slice(query.as_bytes()),
            session_id: session.to_owned(),
            base_url: "http://h".to_owned(),
            ..Default::default()
        };
        self.record += 1;
        let task = TaskId::new(self.record).unwrap();
        (task, Work { forum: forum(), request: Some(request), session: Some(held), given, now: self.now() })
    }

    fn execute(&mut self, endpoint: Endpoint, session: &str, query: &str) -> (TaskId, Executed) {
        let (task, work) = self.task(endpoint, session, query);
        let execution = self.backend.execute(task, &work).unwrap();
        (task, execution)
    }

    fn commit(&mut self, task: TaskId, execution: &Executed) {
        for fact in &execution.facts {
            match &fact.kind {
                Some(Kind::MessageStored(row)) if row.status() == v1::MessageStatus::Typing => {
                    self.open.insert(row.id);
                }
                Some(Kind::MessageStored(row)) => drop(self.open.remove(&row.id)),
                Some(Kind::MessageRemoved(row)) => drop(self.open.remove(&row.id)),
                Some(Kind::MessageHidden(row)) if row.finished => drop(self.open.remove(&row.id)),
                _ => {}
            }
        }
        self.apply(Some(forum()), Some(task), &execution.facts);
    }

    fn write(&mut self, endpoint: Endpoint, session: &str, query: &str) -> Executed {
        let (task, execution) = self.execute(endpoint, session, query);
        self.commit(task, &execution);
        execution
    }

    fn say(&mut self, session: &str, text: &str) -> Executed {
        self.write(Endpoint::Shout, session, &format!("{SHOUT}&typing=off&message={text}"))
    }

    fn page(&self, before: Option<(u64, u32)>, limit: usize) -> ForumPage {
        self.backend.forum_rows(forum(), before, limit).unwrap()
    }

    /// Ids of the active messages, newest first.
    fn ids(&self) -> Vec<u32> {
        ids(&self.page(None, 1000))
    }
}

const SHOUT: &str = "action=ssshout&passcode=ajps_test&remoteapp=true&cs=21633478&msg_id=1";

fn forum() -> ForumId {
    ForumId::new(FORUM).unwrap()
}

fn fact(kind: Kind) -> v1::Fact {
    v1::Fact { kind: Some(kind) }
}

fn ids(page: &ForumPage) -> Vec<u32> {
    page.messages.iter().map(|message| message.id).collect()
}

fn sid(execution: &Executed) -> Option<&str> {
    execution.receipt.sid_json.as_deref()
}

fn messages(execution: &Executed) -> Vec<&v1::MessageStored> {
    let stored = execution.facts.iter().filter_map(|fact| match &fact.kind {
        Some(Kind::MessageStored(message)) => Some(message),
        _ => None,
    });
    stored.collect()
}

#[test]
fn a_forum_is_shown_with_its_row_and_one_that_is_not_here_is_empty_and_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let subscribed = v1::SubscriptionStored { forum_id: FORUM, user_id: 420, active: true, sms: false };
    peer.apply(Some(forum()), None, &[fact(Kind::SubscriptionStored(subscribed))]);
    peer.say("aaa", "hello");
    let page = peer.page(None, 10);
    assert_eq!(page.forum.as_ref().map(|forum| forum.title.as_str()), Some("test@"));
    assert_eq!(
        (page.subscriptions.as_slice(), ids(&page), page.complete),
        (&[subscribed][..], vec![2867], true)
    );
    let older = peer.page(Some((T0, 2867)), 10);
    assert_eq!((older.forum, older.subscriptions.len(), older.messages.len()), (None, 0, 0));
    assert!(older.complete);
    let nothing = peer.backend.forum_rows(ForumId::new(9).unwrap(), None, 10).unwrap();
    assert_eq!(nothing, ForumPage { complete: true, ..ForumPage::default() });
    assert_eq!(peer.backend.user(414).unwrap().map(|user| user.last_ip), Some("192.97.97.97".to_owned()));
    assert_eq!(peer.backend.user(999).unwrap(), None);
}

#[test]
fn sid_says_what_became_of_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on&message=S"));
    assert_eq!(sid(&typing), Some("2867"));
    let again = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on&shout_id=2867"));
    assert_eq!(sid(&again), Some("\"2867\""));
    let unknown = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on&shout_id=88888888"));
    assert_eq!((sid(&unknown), messages(&unknown).len()), (Some("\"88888888\""), 0));
    let query = format!("{SHOUT}&typing=off&shout_id=2867&message=done");
    let commit = peer.write(Endpoint::Shout, "aaa", &query);
    assert_eq!((sid(&commit), messages(&commit)[0].text.as_str()), (Some("\"\""), "Anon 97: done"));
    let query = format!("{SHOUT}&typing=off&shout_id=2867&message=edited");
    let edit = peer.write(Endpoint::Shout, "aaa", &query);
    assert_eq!((sid(&edit), messages(&edit).len()), (Some("\"\""), 0));
    let direct = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&shout_id=0&message=x"));
    assert_eq!(sid(&direct), Some(messages(&direct)[0].id.to_string().as_str()));
    let robot = "action=ssshout&passcode=ajps_test&remoteapp=true&message=x&msg_id=5";
    let robot = peer.write(Endpoint::Shout, "aaa", robot);
    assert_eq!((sid(&robot), messages(&robot).len(), robot.receipt.lid.as_deref()), (None, 0, Some("5")));
}

#[test]
fn a_session_is_changed_by_what_the_request_gives_and_by_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let named = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&your_name=Jane&message=x"));
    let change = v1::SessionChange { name: Some("Jane".to_owned()), ..Default::default() };
    assert_eq!((&named.session, messages(&named).len()), (&Some(change), 1));
    // The hubs keep what it changed: the next task comes with it.
    peer.sessions.get_mut("aaa").unwrap().name = "Jane".to_owned();
    let again = peer.say("aaa", "y");
    assert_eq!((again.session.is_none(), messages(&again)[0].author_name.as_str()), (true, "Jane"));
}

#[test]
fn a_repetition_within_five_seconds_hides_the_typing_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on"));
    let id = messages(&typing)[0].id;
    // Said once more before the first one is committed.
    let (task, same) = peer.execute(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&message=same"));
    peer.now_s += 4;
    let query = format!("{SHOUT}&typing=off&shout_id={id}&message=same");
    let (later, repeated) = peer.execute(Endpoint::Shout, "aaa", &query);
    assert_eq!(sid(&repeated), Some("false"));
    let hidden = v1::MessageHidden { id, forum_id: FORUM, finished: true };
    assert_eq!(repeated.facts, [fact(Kind::MessageHidden(hidden))]);
    assert_eq!(peer.ids(), [id], "nothing of it is committed");
    peer.commit(task, &same);
    peer.commit(later, &repeated);
    assert_eq!(peer.ids(), [messages(&same)[0].id]);
}

#[test]
fn a_second_execution_builds_on_the_first_before_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let jane = format!("{SHOUT}&typing=off&your_name=Jane&message=");
    let (first_task, first) = peer.execute(Endpoint::Shout, "aaa", &format!("{jane}one"));
    let (second_task, second) = peer.execute(Endpoint::Shout, "bbb", &format!("{jane}two"));
    let text = |execution: &Executed| messages(execution)[0].text.clone();
    assert_eq!((text(&first), text(&second)), ("Jane: one".to_owned(), "Jane \u{2781}: two".to_owned()));
    // Its author takes back what is not committed either.
    let id = messages(&first)[0].id;
    let (third_task, third) = peer.execute(Endpoint::HideMessage, "aaa", &format!("mid={id}&passcode=x"));
    assert!(matches!(third.facts[0].kind, Some(Kind::MessageRemoved(_))));
    assert_eq!(peer.ids(), [0; 0]);
    for (task, execution) in [(first_task, first), (second_task, second), (third_task, third)] {
        peer.commit(task, &execution);
    }
    assert_eq!(peer.ids(), [id + 1]);
}

#[test]
fn executions_of_a_lost_primary_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let jane = format!("{SHOUT}&typing=off&your_name=Jane&message=");
    peer.execute(Endpoint::Shout, "aaa", &format!("{jane}lost"));
    peer.backend.forget_pending(forum());
    let (_, execution) = peer.execute(Endpoint::Shout, "bbb", &format!("{jane}new"));
    assert_eq!(messages(&execution)[0].text, "Jane: new", "nobody else has that name");
}

#[test]
fn a_task_executed_once_more_replaces_its_first_execution() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let (task, work) = peer.task(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=off&message=once"));
    let first = peer.backend.execute(task, &work).unwrap();
    let again = peer.backend.execute(task, &work).unwrap();
    assert_eq!((again.facts, again.receipt), (first.facts, first.receipt));
}

#[test]
fn a_request_with_too_much_in_it_changes_nothing_and_its_receipt_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let much = "a=b&".repeat(10_000);
    let refused = peer.write(Endpoint::Shout, "aaa", &much);
    assert_eq!((refused.facts.len(), refused.session, refused.receipt.status), (0, None, 400));
}

#[test]
fn a_message_is_touched_by_its_author_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on"));
    let id = messages(&typing)[0].id;
    let query = format!("{SHOUT}&typing=off&shout_id={id}&message=mine");
    let hijack = peer.write(Endpoint::Shout, "bbb", &query);
    assert_eq!((messages(&hijack).len(), sid(&hijack)), (0, Some("\"\"")));
    let query = format!("callback=cb&mid={id}&passcode=ajps_test");
    assert!(peer.write(Endpoint::HideMessage, "bbb", &query).facts.is_empty());
    let hidden = peer.write(Endpoint::HideMessage, "aaa", &format!("{query}&just_typing=on"));
    let kind = Kind::MessageHidden(v1::MessageHidden { id, forum_id: FORUM, finished: false });
    assert_eq!((hidden.facts, peer.ids()), (vec![fact(kind)], vec![]));
    let removed = peer.write(Endpoint::HideMessage, "aaa", &query);
    assert!(matches!(removed.facts[0].kind, Some(Kind::MessageRemoved(_))));
    for nothing in ["mid=2867&just_typing=on", "passcode=x&mid=abc", "passcode=x&mid=99999"] {
        assert!(peer.write(Endpoint::HideMessage, "aaa", nothing).facts.is_empty());
    }
    // A message id of one forum names nothing in another.
    let typing = peer.write(Endpoint::Shout, "aaa", &format!("{SHOUT}&typing=on"));
    let query = format!("mid={}&passcode=x", messages(&typing)[0].id);
    let (task, mut work) = peer.task(Endpoint::HideMessage, "aaa", &query);
    work.forum = ForumId::new(179).unwrap();
    assert!(peer.backend.execute(task, &work).unwrap().facts.is_empty());
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
    assert_eq!((peer.ids(), peer.page(None, 1000).complete), (expected.clone(), true));
    // Pages of every size, in memory, across its end and on disk, come to the same.
    for limit in 1..=11 {
        let (mut listed, mut before) = (Vec::new(), None);
        loop {
            let page = peer.page(before, limit);
            assert!(page.messages.len() <= limit && page.forum.is_some() == before.is_none());
            listed.extend(ids(&page));
            before = page.messages.last().map(|message| (message.shouted_at_s, message.id)).or(before);
            if page.complete {
                break;
            }
        }
        assert_eq!(listed, expected, "pages of {limit}");
    }
    // An old message of one's own can still be hidden or deleted, and its absence is seen at once.
    peer.write(Endpoint::HideMessage, "aaa", "mid=2868&passcode=x");
    peer.write(Endpoint::HideMessage, "aaa", "mid=2869&passcode=x&just_typing=on");
    assert_eq!(peer.ids()[6..], [2870, 2867]);
}

#[test]
fn a_page_is_bounded_in_bytes_and_has_one_message_at_least() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { window_messages: 3, ..EmbeddedConfig::new(dir.path()) };
    let mut peer = Alone::open_with(config);
    for (id, bytes) in [(1, 10), (2, PAGE_BYTES_MAX + 1), (3, PAGE_BYTES_MAX / 3), (4, PAGE_BYTES_MAX / 3)] {
        let text = "x".repeat(bytes);
        let active = true;
        let row = v1::MessageStored { id, forum_id: FORUM, text, active, ..Default::default() };
        peer.apply(Some(forum()), None, &[fact(Kind::MessageStored(row))]);
    }
    for dropped in [false, true] {
        if dropped {
            peer.backend.forums.forget(FORUM);
        }
        let page = |before| {
            let page = peer.page(before, 100);
            (ids(&page), page.complete)
        };
        assert_eq!(page(None), (vec![4, 3], false));
        assert_eq!(page(Some((0, 3))), (vec![2], false));
        assert_eq!(page(Some((0, 2))), (vec![1], true));
        assert_eq!((peer.page(None, 0).messages.len(), peer.page(None, 0).complete), (0, false));
    }
}

#[test]
fn forums_leave_memory_and_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { resident_forums_max: 1, ..EmbeddedConfig::new(dir.path()) };
    let mut peer = Alone::open_with(config);
    for number in 0..20 {
        peer.say("aaa", &format!("m{number}"));
        peer.backend.forum_rows(ForumId::new(500 + number).unwrap(), None, 10).unwrap();
    }
    assert_eq!(peer.ids().len(), 20);
}

#[test]
fn a_peer_dropped_at_any_moment_reopens_at_its_cursor() {
    let dir = tempfile::tempdir().unwrap();
    // Records by which a message came.
    let mut said: Vec<u64> = Vec::new();
    for round in 0..4 {
        let backend = EmbeddedBackend::open(EmbeddedConfig::new(dir.path())).unwrap();
        let held = backend.durable_cursor();
        said.retain(|record| *record <= held);
        let found = backend.forum_rows(forum(), None, 1000).unwrap().messages.len();
        assert_eq!(found, said.len(), "round {round} at record {held}");
        drop(backend);
        let mut peer = Alone::open(dir.path());
        peer.message = 2866 + 1000 * (round + 1);
        for number in 0..30 {
            peer.say("aaa", &format!("r{round}n{number}"));
            said.push(peer.record);
        }
    }
    assert!(!said.is_empty());
}

#[test]
fn records_are_applied_again_without_harm_and_broken_ones_stop_the_peer() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let execution = peer.say("aaa", "once");
    peer.record -= 1;
    peer.apply(Some(forum()), None, &execution.facts);
    assert_eq!(peer.ids().len(), 1);
    let broken = AppliedRecord {
        id: TaskId::new(77).unwrap(),
        forum: Some(forum()),
        closes: None,
        facts: Bytes::from_static(b"\xff\xff\xff"),
        staged: false,
    };
    let error = peer.backend.apply(vec![broken], 77).unwrap_err();
    assert!(matches!(&error, BackendError::Fatal(why) if why.contains("t77")), "{error}");
}

#[test]
fn a_request_that_cannot_be_read_changes_nothing_and_is_refused_as_the_hubs_judge_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let (task, work) = peer.task(Endpoint::Shout, "aaa", "message=x");
    let executed = peer.backend.execute(task, &Work { request: None, ..work }).unwrap();
    assert_eq!((executed.facts.len(), executed.session, executed.receipt.status), (0, None, 400));
}

#[test]
fn facts_on_the_wrong_stream_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Alone::open(dir.path());
    let mut stray = peer.say("aaa", "x").facts;
    let id = messages(&Executed { facts: stray.clone(), ..Executed::default() })[0].id;
    stray.push(fact(Kind::MessageHidden(v1::MessageHidden { id, forum_id: FORUM, finished: true })));
    stray.push(fact(Kind::UserStored(v1::UserStored { id: 7, ..Default::default() })));
    let other = ForumId::new(179).unwrap();
    peer.apply(Some(other), None, &stray);
    peer.backend.flush().unwrap();
    assert!(peer.backend.store.load_forum(179, 10).unwrap().messages.is_empty());
    assert_eq!((peer.ids(), peer.backend.user(7).unwrap()), (vec![id], None));
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
        for endpoint in [Endpoint::Shout, Endpoint::HideMessage, Endpoint::SearchChat] {
            let (task, mut work) = peer.task(endpoint, "aaa", "");
            let request = work.request.as_mut().unwrap();
            request.query = bytes.clone().into();
            request.headers.push(v1::Header { name: "cookie".into(), value: cookie.clone().into() });
            let execution = peer.backend.execute(task, &work).unwrap();
            peer.commit(task, &execution);
        }
        proptest::prop_assert!(peer.page(None, 1000).complete);
    }
}

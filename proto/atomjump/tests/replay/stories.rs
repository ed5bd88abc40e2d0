//! What a browser is shown beside the captures: one rule each.

use loop_atomjump::{Answer, Call, Given};
use loop_proto::{
    ids::{ForumId, HubTime, MessageId},
    php_params::{Limits, Params},
    v1::{self, Endpoint, fact::Kind},
};

use crate::world::{Done, World};

const FORUM: u32 = 178;
const NOW: HubTime = HubTime(1_795_232_963_000);
const SHOUT: &str = "action=ssshout&passcode=ajps_test&remoteapp=true&cs=21633478&msg_id=1";
const READ: &str = "passcode=ajps_test&records=25";

/// A forum and whoever comes to it.
#[derive(Default)]
struct Room {
    world: World,
    messages: u32,
}

impl Room {
    fn open() -> Self {
        let mut room = Self::default();
        room.world.open_forum(FORUM, b"ajps_test", b"", NOW);
        room
    }

    fn request(endpoint: Endpoint, session: &str, query: &str) -> v1::ClientRequest {
        v1::ClientRequest {
            endpoint: endpoint.into(),
            query: query.as_bytes().to_vec().into(),
            session_id: session.to_owned(),
            base_url: "http://h".to_owned(),
            ..Default::default()
        }
    }

    fn read_as(&self, request: &v1::ClientRequest, forum: Option<u32>) -> Answer {
        let call = Call::read(request, forum.and_then(ForumId::new), Given::default(), NOW).unwrap();
        let session = if call.is_robot() { "" } else { &request.session_id };
        self.world.answer(&call, forum, session, None)
    }

    fn read(&self, endpoint: Endpoint, session: &str, query: &str) -> String {
        body(self.read_as(&Self::request(endpoint, session, query), Some(FORUM)))
    }

    fn write_as(&mut self, request: &v1::ClientRequest, open: Option<u32>) -> (Call, Done) {
        self.messages += 1;
        // As the hubs do: what names a message gets no id for a new one.
        let params = Params::parse(&request.query, b"", Limits::default()).unwrap();
        let names_one = params.text("shout_id").is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id > 0));
        let new = (request.endpoint() == Endpoint::Shout && !names_one).then_some(2866 + self.messages);
        let given =
            Given { message_id: new.and_then(MessageId::new), open_message: open.and_then(MessageId::new) };
        let call = Call::read(request, ForumId::new(FORUM), given, NOW).unwrap();
        let user = 413 + u32::from(request.session_id.as_bytes()[0]);
        self.world.begin_session(&request.session_id, user, NOW);
        let done = self.world.write(&call, FORUM, &request.session_id, Some(open.is_some()));
        assert_eq!(done.judged, Ok(()), "{:?}", done.executed);
        (call, done)
    }

    fn say(&mut self, session: &str, text: &str) -> (Call, Done) {
        let query = format!("{SHOUT}&typing=off&message={text}");
        self.write_as(&Self::request(Endpoint::Shout, session, &query), None)
    }
}

fn body(answer: Answer) -> String {
    String::from_utf8(answer.body).unwrap()
}

fn ids(body: &str) -> Vec<u32> {
    body.split("{\"id\":\"").skip(1).map(|part| part.split('"').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn reading_makes_nothing_and_shows_the_title_of_a_forum_that_nobody_has_opened() {
    let room = Room::default();
    let request = Room::request(Endpoint::SearchChat, "e9kk7q", READ);
    for _ in 0..2 {
        let answer = body(room.read_as(&request, None));
        assert_eq!(answer, r#"{"title":"test@","res":[],"ses":"e9kk7q"}"#);
    }
    let room = Room::open();
    assert_eq!(room.read(Endpoint::SearchChat, "e9kk7q", READ), r#"{"res":[],"ses":"e9kk7q"}"#);
    assert!(room.world.sessions.is_empty());
}

#[test]
fn a_write_that_is_no_task_shows_the_list_and_no_sid() {
    let mut room = Room::open();
    room.say("aaa", "x");
    let query = "action=ssshout&passcode=ajps_test&remoteapp=true&cs=1&msg_id=9";
    let shown = room.read(Endpoint::Shout, "aaa", query);
    assert!(shown.ends_with(r#""ses":"aaa","lid":"9"}"#) && ids(&shown).len() == 1, "{shown}");
    let nowhere = room.read_as(&Room::request(Endpoint::Shout, "aaa", query), None);
    assert_eq!(body(nowhere), r#"{"res":[],"ses":"aaa"}"#);
}

#[test]
fn an_answer_is_rendered_again_from_its_receipt() {
    let mut room = Room::open();
    let (call, Done { executed, answer, .. }) = room.say("aaa", "hello");
    let again = room.world.answer(&call, Some(FORUM), "aaa", Some(&executed.receipt));
    assert_eq!(body(again), body(answer));
}

#[test]
fn a_robot_reads_without_a_session() {
    let mut room = Room::open();
    room.say("aaa", "hello");
    let mut request = Room::request(Endpoint::SearchChat, "aaa", READ);
    request.headers.push(v1::Header { name: "user-agent".into(), value: "Googlebot/2.1".into() });
    let shown = body(room.read_as(&request, Some(FORUM)));
    assert!(shown.ends_with(r#""ses":""}"#) && ids(&shown).len() == 1, "{shown}");
}

#[test]
fn a_protected_forum_asks_for_its_password_and_a_visit_of_another_one_does_not_open_it() {
    let mut room = Room::open();
    room.say("aaa", "secret");
    let forum = v1::ForumStored {
        id: FORUM,
        password_hash: Some("x".into()),
        title: "Room".into(),
        ..Default::default()
    };
    room.world.apply(&[Kind::ForumStored(forum)]);
    room.world.open_forum(179, b"open", b"", NOW);
    let open = Room::request(Endpoint::SearchChat, "aaa", "passcode=open");
    room.read_as(&open, Some(179));
    let page = room.read(Endpoint::ChatPage, "bbb", "uniqueFeedbackId=ajps_test");
    assert!(page.contains("id=\"forumpass\"") && page.contains("\"granted\": false"), "{page}");
    assert!(page.contains("\"var_title\": \"Room\""), "{page}");
    for endpoint in [Endpoint::SearchChat, Endpoint::FastSearchChat] {
        let shown = room.read(endpoint, "aaa", READ);
        assert!(shown.contains("\"res\":[]"), "{shown}");
    }
    let (_, written) = room.say("ddd", "written without it");
    assert!(body(written.answer).starts_with(r#"{"res":[],"#));
    assert!(written.executed.receipt.sid_json.is_some());
    room.world.sessions.get_mut("aaa").unwrap().forums_granted = vec![FORUM];
    assert_eq!(ids(&room.read(Endpoint::SearchChat, "aaa", READ)).len(), 2);
}

#[test]
fn a_whisper_to_the_group_is_shown_to_its_subscribers_only() {
    let mut room = Room::open();
    let forum = room.world.forums[&FORUM].clone();
    let forum = v1::ForumStored { group_user_id: Some(431), password_hash: Some("x".into()), ..forum };
    let user_id = 413 + u32::from(b'b');
    let subscribed = v1::SubscriptionStored { forum_id: FORUM, user_id, active: true, sms: false };
    room.world.apply(&[Kind::ForumStored(forum), Kind::SubscriptionStored(subscribed)]);
    let query = format!("{SHOUT}&message=psst&whisper_to=92.27.10.17&whisper_site=92.27.10.17");
    let (_, done) = room.write_as(&Room::request(Endpoint::Shout, "aaa", &query), None);
    let Some(Kind::MessageStored(whisper)) = &done.executed.facts[0].kind else { panic!("nothing stored") };
    assert_eq!((whisper.whisper_to_address.as_str(), whisper.whisper_to_id), ("1.1.2.1", Some(431)));
    for session in ["bbb", "ccc"] {
        room.say(session, "here");
        room.world.sessions.get_mut(session).unwrap().forums_granted = vec![FORUM];
    }
    let seen = |session| ids(&room.read(Endpoint::SearchChat, session, READ)).contains(&whisper.id);
    assert_eq!((seen("bbb"), seen("ccc")), (true, false));
}

#[test]
fn the_page_escapes_everything_it_is_given() {
    let room = Room::open();
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%27";
    let query = format!(
        "uniqueFeedbackId={hostile}&myMachineUser={hostile}&server=http://{hostile}&clientremoteurl={hostile}&general={hostile}"
    );
    let mut request = Room::request(Endpoint::ChatPage, "aaa", &query);
    let cookie = format!("ses={hostile}; your_name={hostile}; email={hostile}");
    request.headers.push(v1::Header { name: "cookie".into(), value: cookie.into() });
    let page = body(room.read_as(&request, Some(FORUM)));
    assert!(!page.contains("<script>alert") && !page.contains("{{"), "{page}");
    assert_eq!(page.matches("<script").count(), 2);
    assert!(page.contains("\"server\": \"http://h\""), "{page}");
    for part in [
        "id=\"message\"",
        "id=\"messages\"",
        "id=\"shout-form\"",
        "name=\"ses\" id=\"ses\" value=\"aaa\"",
        "\"granted\": true,",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
    #[test]
    fn no_request_panics_and_whatever_is_executed_conforms(
        query: Vec<u8>,
        fields in proptest::collection::vec(("(passcode|message|shout_id|mid|typing|cs|your_name|lat|lon|records|whisper_to|whisper_site|general|remoteapp|action|just_typing|callback)", "(.{0,40}|[0-9]{1,4}|on|21633478)"), 0..16),
        cookie: Vec<u8>,
        goes_on: bool,
    ) {
        let mut room = Room::open();
        let typing = format!("{SHOUT}&typing=on&message=h");
        room.write_as(&Room::request(Endpoint::Shout, "aaa", &typing), None);
        let mut bytes = query;
        for (name, value) in &fields {
            bytes.extend_from_slice(format!("&{name}={value}").as_bytes());
        }
        if goes_on {
            bytes.extend_from_slice(b"&shout_id=2867&cs=21633478");
        }
        for endpoint in [
            Endpoint::Shout, Endpoint::HideMessage, Endpoint::SearchChat, Endpoint::FastSearchChat, Endpoint::ChatPage,
            Endpoint::LoggedStatus, Endpoint::Index, Endpoint::MessageButtons,
        ] {
            let mut request = Room::request(endpoint, "aaa", "");
            request.query = bytes.clone().into();
            request.headers.push(v1::Header { name: "cookie".into(), value: cookie.clone().into() });
            if matches!(endpoint, Endpoint::Shout | Endpoint::HideMessage) {
                room.write_as(&request, (goes_on && endpoint == Endpoint::Shout).then_some(2867));
            } else {
                room.read_as(&request, Some(FORUM));
            }
        }
    }
}

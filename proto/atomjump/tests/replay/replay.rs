//! Sends captured requests one after another, and has the rows follow the real ones.

use std::collections::{BTreeMap, BTreeSet};

use loop_atomjump::{Answer, Call, Given};
use loop_proto::{
    ids::{ForumId, HubTime, MessageId},
    v1::{self, Endpoint, fact::Kind},
};
use serde_json::Value;

use crate::{
    answers::{self, Answered},
    capture::{Capture, unix_of_sql},
    compare, page,
    sessions::{self, SESSIONS},
    world::World,
};

/// What a page must say that knows the checksum.
const CHECKSUM: &str = "21633478";
/// Ids from here on are of messages and users that the real server did not make.
const STRAY: u32 = 3_000_000;
/// Whispers made by captures the set lacks: message, address, user.
const WHISPERS: [(u32, &str, Option<u32>); 2] =
    [(2902, "192.109.99.106", Some(417)), (2904, "192.109.99.106", None)];

/// The world, and what the captures tell of what is not in them.
#[derive(Default)]
pub struct Replay {
    world: World,
    names: BTreeMap<String, u32>,
    /// Messages that a capture of the set inserts.
    inserted: BTreeSet<u32>,
    owner_since: BTreeMap<String, u64>,
    /// Forums that a capture of the set makes.
    made: BTreeSet<String>,
    /// Sessions as they are before the set first changes them.
    first_seen: BTreeMap<String, String>,
    /// The user the real server has made for a session so far, by whatever the session did first.
    users: BTreeMap<String, u32>,
    strays: u32,
}

impl Replay {
    pub fn of(captures: &[Capture]) -> Self {
        let first_seen = SESSIONS.iter().map(|(id, data)| ((*id).to_owned(), (*data).to_owned())).collect();
        let mut replay = Self { first_seen, ..Self::default() };
        for capture in captures {
            replay.inserted.extend(capture.inserted("tbl_ssshout").map(|row| id(&row["int_ssshout_id"])));
            let name = capture.param("passcode").or(capture.param("uniqueFeedbackId")).unwrap_or_default();
            let mut ids = capture.inserted("tbl_layer").chain(capture.inserted("tbl_ssshout"));
            if let Some(row) = ids.next() {
                replay.names.insert(name.to_owned(), id(&row["int_layer_id"]));
            }
            replay.made.extend(capture.inserted("tbl_layer").map(|_| name.to_owned()));
            for effect in capture.effects("php_session") {
                let data =
                    effect["changed"]["session_data"][0].as_str().or(effect["row"]["session_data"].as_str());
                // A session the set makes has nothing before.
                let before = if effect["op"] == "insert" { Some("") } else { data };
                if let Some(before) = before {
                    replay.first_seen.entry(capture.session_id()).or_insert(before.to_owned());
                }
            }
            let since = &capture.json["response"]["body_facts"]["hidden_inputs"]["date-owner-start"];
            if let Some(since) = since.as_str() {
                replay.owner_since.insert(name.to_owned(), unix_of_sql(since));
            }
        }
        let mut unknown = 9000;
        for name in captures.iter().filter_map(|capture| capture.param("passcode")) {
            unknown += 1;
            replay.names.entry(name.to_owned()).or_insert(unknown);
        }
        replay
    }

    /// Puts in what captures that are not in the set have left.
    pub fn prepare(&mut self, capture: &Capture) {
        let session_id = capture.session_id();
        let now_s = capture.now_s;
        if let Some(data) = self.first_seen.remove(&session_id) {
            self.put_session(&session_id, &data, now_s);
        }
        for effect in capture.effects("php_session").filter(|effect| effect["op"] == "update") {
            if let Some(before) = effect["changed"]["session_data"][0].as_str() {
                self.put_session(&session_id, before, now_s);
            }
        }
        if capture.number == "199" {
            let forum = v1::ForumStored {
                password_hash: Some("set again".into()),
                ..self.world.forums[&186].clone()
            };
            self.world.apply(&[Kind::ForumStored(forum)]);
        }
        if capture.number == "023" {
            let hidden = v1::MessageStored { active: false, ..self.world.rows[&2870].clone() };
            self.world.apply(&[Kind::MessageStored(hidden)]);
        }
        self.put_in_forum(capture);
        self.put_in_updated(capture, &session_id);
        self.put_in_listed(capture);
    }

    /// The forum, if no capture of the set makes it.
    fn put_in_forum(&mut self, capture: &Capture) {
        if capture.inserted("tbl_layer").next().is_some() {
            return;
        }
        let Some(name) = name_of(capture) else { return };
        let opens = matches!(capture.endpoint(), Some(Endpoint::Shout | Endpoint::SearchChat));
        let is_real =
            self.owner_since.contains_key(name) && !self.made.contains(name) && capture.number != "191";
        let id = self.names.get(name).copied().filter(|_| opens || is_real);
        if let Some(id) = id.filter(|id| !self.world.forums.contains_key(id)) {
            let title = name.strip_prefix("ajps_").map_or(name.to_owned(), |short| format!("{short}@"));
            let owner_since_s = self.owner_since.get(name).copied().unwrap_or(capture.now_s);
            let access = v1::ForumAccess::Public.into();
            let forum = v1::ForumStored { id, access, title, owner_since_s, ..Default::default() };
            self.world.apply(&[Kind::ForumStored(forum)]);
        }
    }

    /// Messages listed here that no capture of the set wrote.
    fn put_in_listed(&mut self, capture: &Capture) {
        let forum_id = capture.param("passcode").and_then(|name| self.names.get(name)).copied();
        let listed = capture.answer()["res"].as_array().cloned().unwrap_or_default();
        for element in &listed {
            let id = id(&element["id"]);
            if self.inserted.contains(&id) || self.world.rows.contains_key(&id) {
                continue;
            }
            let html = element["text"].as_str().unwrap();
            let author = html.split("whisper(\"").nth(1).unwrap();
            let (address, user) = author.split('"').next().unwrap().split_once(':').unwrap();
            let shown = author.split('"').nth(2).unwrap();
            let name = shown.split(" \u{2781}").next().unwrap().split(" \u{2782}").next().unwrap();
            let (to, to_id) =
                WHISPERS.iter().find(|(whisper, ..)| *whisper == id).map_or(("", None), |w| (w.1, w.2));
            let row = v1::MessageStored {
                id,
                forum_id: forum_id.unwrap(),
                html: html.to_owned(),
                text: format!("put in {id}"),
                shouted_at_s: capture.now_s - answers::ago_s(element["ago"].as_str().unwrap()),
                active: true,
                status: v1::MessageStatus::Final.into(),
                author_address: address.to_owned(),
                author_id: user.parse().ok(),
                author_name: name.to_owned(),
                whisper_to_address: to.to_owned(),
                whisper_to_id: to_id,
                ..Default::default()
            };
            self.world.apply(&[Kind::MessageStored(row)]);
        }
    }

    /// Messages updated here that no capture of the set wrote: the ones put into the real tables beforehand.
    fn put_in_updated(&mut self, capture: &Capture, session_id: &str) {
        for effect in capture.effects("tbl_ssshout").filter(|effect| effect["op"] == "update") {
            let id = id(&effect["pk"]["int_ssshout_id"]);
            if self.world.rows.contains_key(&id) {
                continue;
            }
            let code = |at: usize| session_id.as_bytes()[at];
            let row = v1::MessageStored {
                id,
                forum_id: self.names[capture.param("passcode").unwrap()],
                shouted_at_s: capture.now_s,
                status: v1::MessageStatus::Typing.into(),
                author_address: format!("192.{}.{}.{}", code(0), code(1), code(2)),
                author_id: self.users.get(session_id).copied(),
                // At some place, as every message is.
                latitude: "51.0000000".to_owned(),
                longitude: "0.0000000".to_owned(),
                peano1inv: u32::MAX,
                peano2inv: u32::MAX,
                ..Default::default()
            };
            self.world.apply(&[Kind::MessageStored(row)]);
        }
    }

    /// Sends the request; how its outcome differs, or `None` for an endpoint that is not here.
    pub fn replay(&mut self, capture: &Capture) -> Option<Vec<String>> {
        let endpoint = capture.endpoint()?;
        let before = self.world.rows.clone();
        let due = self.users.get(&capture.session_id()).copied();
        let mut differences = Vec::new();
        let Sent { answer, session_id, user, forum } = self.send(capture, endpoint, &mut differences);
        let answered = Answered {
            status: answer.status,
            content_type: answer.content_type.to_owned(),
            jsonp: answer.jsonp,
            location: None,
            body: String::from_utf8(answer.body).unwrap(),
        };
        if endpoint == Endpoint::ChatPage {
            page::compare(capture, &answered, &mut differences);
        } else {
            answers::response(capture, &answered, &mut differences);
        }
        compare::rows(&self.world, &before, capture, &mut differences);
        compare::users(capture, user, due, &mut differences);
        compare::forums(capture, forum.as_ref(), &mut differences);
        compare::session(capture, self.world.sessions.get(&session_id), &mut differences);
        Some(differences)
    }

    /// What the hubs make of the request.
    fn send(&mut self, capture: &Capture, endpoint: Endpoint, differences: &mut Vec<String>) -> Sent {
        let now = HubTime(capture.now_s * 1000);
        let mut request = capture.request();
        let read =
            |request: &v1::ClientRequest, forum, given| Call::read(request, forum, given, now).unwrap();
        if read(&request, None, Given::default()).is_robot() {
            request.session_id.clear();
        }
        let session_id = request.session_id.clone();
        let name = name_of(capture);
        let id = name.and_then(|name| self.names.get(name)).copied();
        let is_there = id.is_some_and(|id| self.world.forums.contains_key(&id));
        let shouts = endpoint == Endpoint::Shout && capture.param("cs") == Some(CHECKSUM);
        let forum = id.filter(|_| is_there || shouts);
        let hides = endpoint == Endpoint::HideMessage && digits(capture.param("mid")).is_some();
        let Some(id) = forum.filter(|_| shouts || hides) else {
            let call = read(&request, forum.and_then(ForumId::new), Given::default());
            let answer = self.world.answer(&call, forum, &session_id, None);
            return Sent { answer, session_id, user: None, forum: None };
        };
        if !is_there {
            let general = capture.param("general").unwrap_or_default();
            self.world.open_forum(id, name.unwrap_or_default().as_bytes(), general.as_bytes(), now);
        }
        let made = Some(self.user_of(capture)).filter(|_| !self.world.sessions.contains_key(&session_id));
        let made = made.filter(|_| !session_id.is_empty());
        if let Some(user) = made {
            self.world.begin_session(&session_id, user, now);
        }
        let named = digits(capture.param("shout_id")).filter(|_| shouts);
        let open = named.filter(|named| self.world.is_open(*named, id, &session_id));
        let new = (shouts && named.is_none()).then(|| self.new_message(capture));
        let given =
            Given { message_id: new.and_then(MessageId::new), open_message: open.and_then(MessageId::new) };
        let call = read(&request, ForumId::new(id), given);
        let done = self.world.write(&call, id, &session_id, Some(open.is_some()));
        compare::judged(&done.executed, done.judged, differences);
        let forum = (!is_there).then(|| self.world.forums[&id].clone());
        Sent { answer: done.answer, session_id, user: made, forum }
    }

    /// The user the real server has made for this session, before or now.
    fn user_of(&mut self, capture: &Capture) -> u32 {
        let now = capture.inserted("tbl_user").next().map(|row| id(&row["int_user_id"]));
        let known = self.users.get(&capture.session_id()).copied();
        now.or(known).unwrap_or_else(|| self.stray())
    }

    /// The id the real server gave to its message. Ours stores some that it did not.
    fn new_message(&mut self, capture: &Capture) -> u32 {
        let theirs = capture.inserted("tbl_ssshout").next().map(|row| id(&row["int_ssshout_id"]));
        theirs.unwrap_or_else(|| self.stray())
    }

    fn stray(&mut self) -> u32 {
        self.strays += 1;
        STRAY + self.strays
    }

    /// Makes rows and session what the real ones became.
    pub fn follow(&mut self, capture: &Capture) {
        let stray: Vec<_> = self.world.rows.values().filter(|row| row.id >= STRAY).cloned().collect();
        for row in stray {
            let removed = v1::MessageRemoved { id: row.id, forum_id: row.forum_id };
            self.world.apply(&[Kind::MessageRemoved(removed)]);
        }
        for effect in capture.json["db_effects"].as_array().unwrap() {
            let kind = match effect["table"].as_str().unwrap() {
                "tbl_ssshout" => self.followed_message(effect),
                "tbl_layer" => Some(Kind::ForumStored(self.followed_forum(effect))),
                "tbl_layer_subscription" if effect["op"] == "insert" => {
                    Some(Kind::SubscriptionStored(v1::SubscriptionStored {
                        forum_id: id(&effect["row"]["int_layer_id"]),
                        user_id: id(&effect["row"]["int_user_id"]),
                        active: true,
                        sms: false,
                    }))
                }
                _ => None,
            };
            self.world.apply(kind.as_slice());
        }
        for effect in capture.effects("php_session") {
            let data = match effect["op"].as_str() {
                Some("insert") => effect["row"]["session_data"].as_str(),
                Some("update") => effect["changed"]["session_data"][1].as_str(),
                _ => None,
            };
            if let Some(data) = data {
                self.put_session(&capture.session_id(), data, capture.now_s);
            }
        }
    }

    fn followed_message(&self, effect: &Value) -> Option<Kind> {
        match effect["op"].as_str()? {
            "insert" => Some(Kind::MessageStored(compare::message_of(&effect["row"]))),
            "update" => {
                let row = self.world.rows.get(&id(&effect["pk"]["int_ssshout_id"]))?;
                Some(Kind::MessageStored(compare::updated(row, effect)))
            }
            _ => {
                let (id, forum_id) =
                    (id(&effect["row"]["int_ssshout_id"]), id(&effect["row"]["int_layer_id"]));
                Some(Kind::MessageRemoved(v1::MessageRemoved { id, forum_id }))
            }
        }
    }

    fn followed_forum(&self, effect: &Value) -> v1::ForumStored {
        if effect["op"] == "insert" {
            return compare::forum_of(&effect["row"]);
        }
        let key = &effect["pk"]["int_layer_id"];
        let mut forum = self.world.forums.get(&id(key)).cloned().unwrap_or_default();
        let changed = &effect["changed"];
        if !changed["int_group_id"].is_null() {
            forum.group_user_id = Some(id(&changed["int_group_id"][1]));
        }
        if !changed["var_public_code"].is_null() {
            forum.password_hash = changed["var_public_code"][1].as_str().map(str::to_owned);
        }
        if let Some(title) = changed["var_title"][1].as_str() {
            forum.title = title.to_owned();
        }
        forum
    }

    /// Takes over a real session. One that has only read is none here, unless this server has had a write of it.
    fn put_session(&mut self, session_id: &str, data: &str, now_s: u64) {
        let session = sessions::record_of(session_id, data, now_s);
        if session.user_id != 0 {
            self.users.insert(session_id.to_owned(), session.user_id);
        }
        if sessions::has_written(&session) || self.world.sessions.contains_key(session_id) {
            self.world.sessions.insert(session_id.to_owned(), session);
        }
    }
}

/// What became of a request.
struct Sent {
    answer: Answer,
    session_id: String,
    /// The user made for its session.
    user: Option<u32>,
    /// The forum it opened.
    forum: Option<v1::ForumStored>,
}

/// The forum a capture names.
fn name_of(capture: &Capture) -> Option<&str> {
    capture.param("passcode").or(capture.param("uniqueFeedbackId")).filter(|name| !name.is_empty())
}

/// A message id as a client sends it.
fn digits(text: Option<&str>) -> Option<u32> {
    let plain = text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    plain.parse().ok().filter(|id| *id > 0)
}

/// A number, however the capture wrote it.
pub fn id(value: &Value) -> u32 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        number => u32::try_from(number.as_u64().unwrap()).unwrap(),
    }
}

//! A peer that is alone: executes, commits and follows the captured rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use loop_peer::backend::{
    AppliedRecord, Backend, Execution, UserIds, Work,
    embedded::{EmbeddedBackend, EmbeddedConfig},
};
use loop_proto::{
    ids::{ForumId, HubTime, MessageId, TaskId},
    v1::{self, Endpoint, fact::Kind},
};
use prost::Message;
use serde_json::Value;

use crate::{
    answers,
    capture::{Capture, unix_of_sql},
    compare, page,
};

/// Whispers made by captures the set lacks: message, address, user.
const WHISPERS: [(u32, &str, Option<u32>); 2] =
    [(2902, "192.109.99.106", Some(417)), (2904, "192.109.99.106", None)];

/// Sessions made and last changed by captures the set lacks.
const SESSIONS: [(&str, &str); 5] = [
    (
        "mcjo1vk8bcjmnkvoj0anfola1l",
        "authenticated-layer|s:0:\"\";view-count|i:1;logged-user|i:417;user-ip|s:14:\"192.109.99.106\";temp-user-name|s:4:\"John\";lat|i:51;lon|i:0;access-layer-granted|s:4:\"true\";",
    ),
    (
        "hovu9dnhs8g7sp7jdk8fgnrf3i",
        "authenticated-layer|s:3:\"186\";view-count|i:1;logged-user|s:3:\"430\";logged-email|s:15:\"sam@example.com\";user-ip|s:15:\"192.104.111.118\";logged-group-user|s:3:\"431\";layer-group-user|s:3:\"431\";access-layer-granted|s:4:\"true\";",
    ),
    (
        "gfvbsept1mp0jv11psd5alqlj5",
        "authenticated-layer|s:0:\"\";view-count|i:1;logged-user|i:437;user-ip|s:15:\"192.103.102.118\";temp-user-name|s:4:\"Tess\";lat|i:51;lon|i:0;access-layer-granted|s:4:\"true\";",
    ),
    (
        "ovpgnvoo2ldfhadqu574n48ce1",
        "view-count|i:1;logged-user|i:442;user-ip|s:15:\"192.111.118.112\";access-layer-granted|s:5:\"false\";",
    ),
    (
        "k4ne5a0h3acpl2q0ao4nomnpj5",
        "view-count|i:1;logged-user|i:443;user-ip|s:14:\"192.107.52.110\";access-layer-granted|s:3:\"190\";access-layers-granted|s:13:\"[\"186\",\"190\"]\";",
    ),
];

pub struct Peer {
    backend: EmbeddedBackend,
    record: u64,
    pub rows: BTreeMap<u32, v1::MessageStored>,
    forums: BTreeMap<u32, v1::ForumStored>,
    names: BTreeMap<String, u32>,
    sessions: BTreeMap<String, v1::SessionRecord>,
    /// Messages that a capture of the set inserts.
    inserted: BTreeSet<u32>,
    owner_since: BTreeMap<String, u64>,
    /// Forums that a capture of the set makes.
    made: BTreeSet<String>,
    /// Sessions as they are before the set first changes them.
    first_seen: BTreeMap<String, String>,
}

struct Given(Vec<u32>);

impl UserIds for Given {
    fn take(&mut self) -> Option<u32> {
        // The real one made no user here if none is left; ours must not either, and if it does the rows will tell.
        Some(self.0.pop().unwrap_or(4_000_000))
    }
}

impl Peer {
    pub fn open(dir: &Path, captures: &[Capture]) -> Self {
        let backend = EmbeddedBackend::open(EmbeddedConfig::new(dir)).unwrap();
        let mut peer = Self {
            backend,
            record: 0,
            rows: BTreeMap::new(),
            forums: BTreeMap::new(),
            names: BTreeMap::new(),
            sessions: BTreeMap::new(),
            inserted: BTreeSet::new(),
            owner_since: BTreeMap::new(),
            made: BTreeSet::new(),
            first_seen: SESSIONS.iter().map(|(id, data)| ((*id).to_owned(), (*data).to_owned())).collect(),
        };
        for capture in captures {
            peer.inserted.extend(capture.inserted("tbl_ssshout").map(|row| id(&row["int_ssshout_id"])));
            let name = capture.param("passcode").or(capture.param("uniqueFeedbackId")).unwrap_or_default();
            let mut ids = capture.inserted("tbl_layer").chain(capture.inserted("tbl_ssshout"));
            if let Some(row) = ids.next() {
                peer.names.insert(name.to_owned(), id(&row["int_layer_id"]));
            }
            peer.made.extend(capture.inserted("tbl_layer").map(|_| name.to_owned()));
            for effect in capture.effects("php_session") {
                let data =
                    effect["changed"]["session_data"][0].as_str().or(effect["row"]["session_data"].as_str());
                // A session the set makes has nothing before.
                let before = if effect["op"] == "insert" { Some("") } else { data };
                if let Some(before) = before {
                    peer.first_seen.entry(capture.session_id()).or_insert(before.to_owned());
                }
            }
            let since = &capture.json["response"]["body_facts"]["hidden_inputs"]["date-owner-start"];
            if let Some(since) = since.as_str() {
                peer.owner_since.insert(name.to_owned(), unix_of_sql(since));
            }
        }
        let mut unknown = 9000;
        for name in captures.iter().filter_map(|capture| capture.param("passcode")) {
            unknown += 1;
            peer.names.entry(name.to_owned()).or_insert(unknown);
        }
        peer
    }

    /// Puts in what captures that are not in the set have left.
    pub fn prepare(&mut self, capture: &Capture) {
        let session_id = capture.session_id();
        for effect in capture.effects("php_session").filter(|effect| effect["op"] == "update") {
            if let Some(before) = effect["changed"]["session_data"][0].as_str() {
                self.set_session(&session_id, before, capture.now_s);
            }
        }
        if !self.sessions.contains_key(&session_id)
            && let Some(data) = self.first_seen.get(&session_id).filter(|data| !data.is_empty()).cloned()
        {
            self.set_session(&session_id, &data, capture.now_s);
        }
        if capture.number == "199" {
            let forum =
                v1::ForumStored { password_hash: Some("set again".into()), ..self.forums[&186].clone() };
            self.apply(vec![Kind::ForumStored(forum)]);
        }
        if capture.number == "023" {
            let hidden = v1::MessageStored { active: false, ..self.rows[&2870].clone() };
            self.apply(vec![Kind::MessageStored(hidden)]);
        }
        let makes_forum = capture.inserted("tbl_layer").next().is_some();
        if let Some(name) =
            capture.param("passcode").or(capture.param("uniqueFeedbackId")).filter(|_| !makes_forum)
        {
            let opens = matches!(capture.endpoint(), Some(Endpoint::Shout | Endpoint::SearchChat));
            let is_real =
                self.owner_since.contains_key(name) && !self.made.contains(name) && capture.number != "191";
            let id = self.names.get(name).copied().filter(|_| (opens || is_real) && !name.is_empty());
            if let Some(id) = id.filter(|id| !self.forums.contains_key(id)) {
                let title = name.strip_prefix("ajps_").map_or(name.to_owned(), |short| format!("{short}@"));
                let owner_since_s = self.owner_since.get(name).copied().unwrap_or(capture.now_s);
                let access = v1::ForumAccess::Public.into();
                let forum = v1::ForumStored { id, access, title, owner_since_s, ..Default::default() };
                self.apply(vec![Kind::ForumStored(forum)]);
            }
        }
        self.put_in_updated(capture, &session_id);
        self.put_in_listed(capture);
    }

    /// Messages listed here that no capture of the set wrote.
    fn put_in_listed(&mut self, capture: &Capture) {
        let forum_id = capture.param("passcode").and_then(|name| self.names.get(name)).copied();
        let listed = capture.answer()["res"].as_array().cloned().unwrap_or_default();
        for element in &listed {
            let id = id(&element["id"]);
            if self.inserted.contains(&id) || self.rows.contains_key(&id) {
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
            self.apply(vec![Kind::MessageStored(row)]);
        }
    }

    /// Messages updated here that no capture of the set wrote: the ones put into the real tables beforehand.
    fn put_in_updated(&mut self, capture: &Capture, session_id: &str) {
        for effect in capture.effects("tbl_ssshout").filter(|effect| effect["op"] == "update") {
            let id = id(&effect["pk"]["int_ssshout_id"]);
            if self.rows.contains_key(&id) {
                continue;
            }
            let user = compare::session_keys(&self.sessions[session_id].data)["logged-user"].clone();
            let code = |at: usize| session_id.as_bytes()[at];
            let row = v1::MessageStored {
                id,
                forum_id: self.names[capture.param("passcode").unwrap()],
                shouted_at_s: capture.now_s,
                status: v1::MessageStatus::Typing.into(),
                author_address: format!("192.{}.{}.{}", code(0), code(1), code(2)),
                author_id: user.parse().ok(),
                ..Default::default()
            };
            self.apply(vec![Kind::MessageStored(row)]);
        }
    }

    /// Sends the request; how its outcome differs, or `None` for an endpoint that is not here yet.
    pub fn replay(&mut self, capture: &Capture) -> Option<Vec<String>> {
        let endpoint = capture.endpoint()?;
        let work = self.work(capture, endpoint);
        let session_before = work.session.clone();
        let users = capture.inserted("tbl_user").map(|row| id(&row["int_user_id"])).collect();
        let mut users = Given(users);
        let execution = if matches!(endpoint, Endpoint::Shout | Endpoint::HideMessage) {
            self.record += 1;
            let task = TaskId::new(self.record).unwrap();
            let execution = self.backend.execute(task, &work, &mut users).unwrap();
            self.commit(work.forum, Some(task), &execution);
            execution
        } else {
            let execution = self.backend.read(&work, None, &mut users).unwrap();
            self.commit(work.forum, None, &execution);
            execution
        };
        let mut differences = Vec::new();
        if endpoint == Endpoint::ChatPage {
            page::compare(capture, &execution.body, &mut differences);
        } else {
            answers::response(capture, &execution.body, &mut differences);
        }
        compare::rows(self, capture, &execution, &mut differences);
        let session = execution.session.as_ref().or(session_before.as_ref());
        compare::session(capture, session, &mut differences);
        Some(differences)
    }

    fn work(&self, capture: &Capture, endpoint: Endpoint) -> Work {
        let name =
            capture.param("passcode").or(capture.param("uniqueFeedbackId")).filter(|name| !name.is_empty());
        let opens = matches!(endpoint, Endpoint::Shout | Endpoint::SearchChat);
        let forum = name.and_then(|name| self.names.get(name)).copied();
        let forum = forum.filter(|id| opens || self.forums.contains_key(id)).and_then(ForumId::new);
        let new_message = capture.inserted("tbl_ssshout").next().map(|row| id(&row["int_ssshout_id"]));
        let request = capture.request();
        Work {
            forum,
            session: self.sessions.get(&request.session_id).cloned(),
            request,
            // Ours stores some that the real one did not; those get a number far above.
            message_id: MessageId::new(
                new_message.unwrap_or(3_000_000 + u32::try_from(self.record).unwrap()),
            ),
            now: HubTime(capture.now_s * 1000),
        }
    }

    fn commit(&mut self, forum: Option<ForumId>, closes: Option<TaskId>, execution: &Execution) {
        let mut records = Vec::new();
        for (stream, facts) in [(None, &execution.directory_facts), (forum, &execution.forum_facts)] {
            self.record += 1;
            records.push(AppliedRecord {
                id: TaskId::new(self.record).unwrap(),
                forum: stream,
                closes: closes.filter(|_| stream.is_some()),
                facts: v1::Facts { facts: facts.clone() }.encode_to_vec().into(),
                sessions: execution.session.clone().filter(|_| stream.is_some()).into_iter().collect(),
                staged: false,
            });
        }
        self.backend.apply(records, self.record).unwrap();
        if let Some(session) = &execution.session {
            let session = v1::SessionRecord { version: self.record, ..session.clone() };
            self.sessions.insert(session.id.clone(), session);
        }
    }

    /// Makes rows and session what the real ones became.
    pub fn follow(&mut self, capture: &Capture) {
        let stray: Vec<_> = self.rows.values().filter(|row| row.id >= 3_000_000).cloned().collect();
        for row in stray {
            self.apply(vec![Kind::MessageRemoved(v1::MessageRemoved { id: row.id, forum_id: row.forum_id })]);
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
            self.apply(kind.into_iter().collect());
        }
        let session_id = capture.session_id();
        for effect in capture.effects("php_session") {
            let data = match effect["op"].as_str() {
                Some("insert") => effect["row"]["session_data"].as_str(),
                Some("update") => effect["changed"]["session_data"][1].as_str(),
                _ => None,
            };
            if let Some(data) = data {
                self.set_session(&session_id, data, capture.now_s);
            }
        }
    }

    fn followed_message(&self, effect: &Value) -> Option<Kind> {
        match effect["op"].as_str()? {
            "insert" => Some(Kind::MessageStored(compare::message_of(&effect["row"]))),
            "update" => {
                let row = self.rows.get(&id(&effect["pk"]["int_ssshout_id"]))?;
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
        let row = &effect["row"];
        let key = if row.is_null() { &effect["pk"]["int_layer_id"] } else { &row["int_layer_id"] };
        let mut forum = self.forums.get(&id(key)).cloned().unwrap_or_default();
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

    fn set_session(&mut self, id: &str, data: &str, now_s: u64) {
        self.record += 1;
        let user = compare::session_keys(data.as_bytes()).get("logged-user").cloned();
        let session = v1::SessionRecord {
            id: id.to_owned(),
            version: self.record,
            user_id: user,
            created_at_s: now_s,
            updated_at_s: now_s,
            data: data.to_owned().into(),
        };
        let record = AppliedRecord {
            id: TaskId::new(self.record).unwrap(),
            forum: None,
            closes: None,
            facts: v1::Facts::default().encode_to_vec().into(),
            sessions: vec![session.clone()],
            staged: false,
        };
        self.backend.apply(vec![record], self.record).unwrap();
        self.sessions.insert(id.to_owned(), session);
    }

    /// Applies rows of one forum and remembers them.
    fn apply(&mut self, kinds: Vec<Kind>) {
        for kind in kinds {
            let forum = match &kind {
                Kind::MessageStored(row) => row.forum_id,
                Kind::MessageRemoved(row) => row.forum_id,
                Kind::ForumStored(row) => row.id,
                Kind::SubscriptionStored(row) => row.forum_id,
                Kind::UserStored(_) => unreachable!("users are not put in"),
            };
            let facts = vec![v1::Fact { kind: Some(kind) }];
            self.remember(&facts);
            let execution = Execution { forum_facts: facts, ..Execution::default() };
            self.commit(ForumId::new(forum), None, &execution);
        }
    }

    /// Keeps a copy of what was stored, to compare and to build on.
    pub fn remember(&mut self, facts: &[v1::Fact]) {
        for fact in facts {
            match fact.kind.clone() {
                Some(Kind::MessageStored(row)) => drop(self.rows.insert(row.id, row)),
                Some(Kind::MessageRemoved(row)) => drop(self.rows.remove(&row.id)),
                Some(Kind::ForumStored(row)) => drop(self.forums.insert(row.id, row)),
                Some(Kind::UserStored(_) | Kind::SubscriptionStored(_)) | None => {}
            }
        }
    }
}

/// A number, however the capture wrote it.
pub fn id(value: &Value) -> u32 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        number => u32::try_from(number.as_u64().unwrap()).unwrap(),
    }
}

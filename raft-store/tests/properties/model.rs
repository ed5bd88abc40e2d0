//! A dumb second opinion: a list of everything that was ever appended, searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use loop_atomjump::Executed;
use loop_proto::v1::{
    self, MessageStatus, RejectionCode, command::Body, fact::Kind as FactKind, outcome::Kind,
};
use loop_raft_store::machine::{Record, RecordBody};
use prost::Message;

use crate::executor::Copies;

/// One task as the model remembers it.
struct Task {
    id: u64,
    forum: u32,
    request: Vec<u8>,
    message: Option<u32>,
    session: String,
    /// Its record, as soon as it was seen.
    record: Option<Record>,
    /// Who answered, with which proposal, in which record, and what the client is told.
    answer: Option<(u32, Vec<u8>, u64, Option<v1::Receipt>)>,
}

/// Everything, with the rules of ids, receipts and order; forums are told to it.
pub struct Model {
    records: u64,
    messages: u32,
    users: u32,
    tasks: Vec<Task>,
    primaries: BTreeMap<u32, (u64, u32)>,
    /// Without their dates.
    sessions: BTreeMap<String, v1::SessionRecord>,
    /// Forum and author of every unfinished message.
    unfinished: BTreeMap<u32, (u32, Option<u32>)>,
    copies: Copies,
    /// Forum and peer of every open invitation.
    invited: BTreeSet<(u32, u32)>,
    /// Every forum that was ever opened.
    opened: BTreeSet<u32>,
    /// The last epoch of every forum that was closed.
    closed: BTreeMap<u32, u64>,
    /// Authors of messages that were unfinished when their forum was closed.
    gone: BTreeMap<u32, Option<u32>>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            records: 0,
            messages: 2867,
            users: 414,
            tasks: Vec::new(),
            primaries: BTreeMap::new(),
            sessions: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            copies: Copies::default(),
            invited: BTreeSet::new(),
            opened: BTreeSet::new(),
            closed: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    /// Checks an outcome and its records against the model, and follows them.
    pub fn follow<'a>(
        &mut self,
        command: &v1::Command,
        outcome: &Kind,
        records: impl Iterator<Item = &'a Record>,
    ) {
        self.follow_outcome(command, outcome);
        for record in records {
            self.check_record(command, record);
            self.copies.apply(record);
        }
    }

    fn follow_outcome(&mut self, command: &v1::Command, outcome: &Kind) {
        match (command.body.as_ref().unwrap(), outcome) {
            (Body::AppendTask(append), outcome) => self.append(command, append, outcome),
            (Body::AnswerTask(answer), outcome) => self.answer(command, answer, outcome),
            (Body::OpenForum(_), Kind::ForumOpened(opened)) if !opened.existed => {
                // Who holds it, and its row.
                self.records += 2;
                let assignment = opened.assignment.as_ref().unwrap();
                assert_eq!(assignment.epoch, 1);
                let held = (1, assignment.primary);
                assert_eq!(self.primaries.insert(opened.forum_id, held), None, "a forum id given twice");
                assert!(self.opened.insert(opened.forum_id), "the id of a forum that was closed given again");
            }
            (Body::MovePrimary(moved), Kind::PrimaryMoved(to)) => {
                self.moved(moved, to.epoch);
            }
            (Body::InvitePeer(invite), Kind::PeerInvited(invited))
                if invited.invitation_id > self.records =>
            {
                self.records += 1;
                assert_eq!(invited.invitation_id, self.records);
                assert!(self.invited.insert((invite.forum_id, invite.target)), "invited twice at once");
            }
            (Body::AuditForum(_), Kind::ForumAudited(audited)) if audited.record_id > self.records => {
                self.records += 1;
                assert_eq!(audited.record_id, self.records);
            }
            (Body::CloseForum(close), Kind::Done(_)) => self.close(close.forum_id),
            (body, Kind::ReplicasChanged(changed)) => self.replicas(forum_of(body), changed),
            (Body::SetPeerState(set), Kind::Done(_)) if set.state() == v1::PeerState::Removed => {
                let before = self.invited.len();
                self.invited.retain(|(_, peer)| *peer != set.peer_id);
                self.records += (before - self.invited.len()) as u64;
            }
            _ => {}
        }
    }

    /// A move that is asked for once more is told its epoch, also after its forum was closed.
    fn moved(&mut self, moved: &v1::MovePrimary, epoch: u64) {
        if let Some(last) = self.closed.get(&moved.forum_id) {
            assert!(epoch <= *last, "a closed forum moved");
            return;
        }
        let held = self.primaries.get_mut(&moved.forum_id).unwrap();
        if epoch == held.0 + 1 {
            *held = (epoch, moved.to_peer);
            self.records += 1;
        }
        assert!(epoch <= held.0, "an epoch skipped");
    }

    /// What is not answered will never be, and is as if it had not been sent.
    fn close(&mut self, forum: u32) {
        assert!(self.opened.contains(&forum), "closed and never opened");
        if let Some((epoch, _)) = self.primaries.remove(&forum) {
            self.closed.insert(forum, epoch);
            self.records += 1;
        }
        self.tasks.retain(|task| task.forum != forum || task.answer.is_some());
        self.invited.retain(|(of, _)| *of != forum);
        let gone = self.unfinished.iter().filter(|(_, (of, _))| *of == forum);
        self.gone.extend(gone.map(|(id, (_, author))| (*id, *author)));
        self.unfinished.retain(|_, (of, _)| *of != forum);
    }

    /// A set of replicas is told whole, whether it is new or was so.
    fn replicas(&mut self, forum: u32, changed: &v1::ReplicasChanged) {
        let assignment = changed.assignment.as_ref().unwrap();
        let held = self.primaries.get_mut(&forum).unwrap();
        if changed.record_id > self.records {
            self.records += 1;
            assert_eq!(changed.record_id, self.records);
            let new_primary = u64::from(held.1 != assignment.primary);
            assert_eq!(assignment.epoch, held.0 + new_primary, "the epoch rises with the primary");
            *held = (assignment.epoch, assignment.primary);
            self.invited.retain(|(of, _)| *of != forum);
            self.invited.extend(assignment.joining.iter().map(|joining| (forum, joining.peer_id)));
        }
        assert_eq!(*held, (assignment.epoch, assignment.primary));
        let joining: Vec<(u32, u32)> =
            assignment.joining.iter().map(|joining| (forum, joining.peer_id)).collect();
        let invited: Vec<(u32, u32)> = self.invited.iter().filter(|(of, _)| *of == forum).copied().collect();
        assert_eq!(joining.iter().copied().collect::<BTreeSet<_>>(), invited.iter().copied().collect());
        assert_eq!(joining.len(), invited.len());
    }

    /// The newest record, by the model's own count.
    pub fn records(&self) -> u64 {
        self.records
    }

    fn append(&mut self, command: &v1::Command, append: &v1::AppendTask, outcome: &Kind) {
        let seen = self.tasks.iter().find(|task| task.request == command.request_id);
        let expected = match (self.primaries.contains_key(&append.forum_id), seen) {
            (false, _) => rejected(RejectionCode::UnknownForum, u64::from(append.forum_id), 0),
            (true, Some(task))
                if task.forum != append.forum_id && self.primaries.contains_key(&task.forum) =>
            {
                rejected(RejectionCode::Malformed, 0, 0)
            }
            (true, Some(task)) => Kind::TaskAppended(v1::TaskAppended {
                task_id: task.id,
                message_id: task.message,
                duplicate: true,
                receipt: task.answer.as_ref().and_then(|(_, _, _, receipt)| receipt.clone()),
            }),
            (true, None) => {
                self.first_task_of(&append.session_id);
                self.records += 1;
                // A message that went with its forum is sent anew by its author.
                let author = self.sessions.get(&append.session_id).map(|session| session.user_id);
                let is_new = append.creates_message || self.gone.get(&append.named_message) == Some(&author);
                let message = is_new.then_some(self.messages);
                self.messages += u32::from(is_new);
                let (id, forum) = (self.records, append.forum_id);
                let request = command.request_id.to_vec();
                let session = append.session_id.clone();
                self.tasks.push(Task { id, forum, request, message, session, record: None, answer: None });
                Kind::TaskAppended(v1::TaskAppended {
                    task_id: id,
                    message_id: message,
                    duplicate: false,
                    receipt: None,
                })
            }
        };
        assert_eq!(*outcome, expected);
    }

    fn answer(&mut self, command: &v1::Command, answer: &v1::AnswerTask, outcome: &Kind) {
        let Some((epoch, primary)) = self.primaries.get(&answer.forum_id).copied() else {
            assert_eq!(*outcome, rejected(RejectionCode::UnknownForum, answer.forum_id.into(), 0));
            return;
        };
        let about_peer = [RejectionCode::UnknownPeer, RejectionCode::PeerState];
        if matches!(outcome, Kind::Rejection(no) if about_peer.contains(&no.code())) {
            return;
        }
        let of_forum = |task: &&Task| task.forum == answer.forum_id;
        let oldest =
            self.tasks.iter().filter(of_forum).find(|task| task.answer.is_none()).map(|task| task.id);
        let named = self.tasks.iter().filter(of_forum).find(|task| task.id == answer.task_id);
        let expected = match named.map(|task| &task.answer) {
            None => rejected(RejectionCode::UnknownTask, answer.task_id, 0),
            Some(Some((_, proposal, record_id, _))) if *proposal == command.request_id => {
                Kind::TaskAnswered(v1::TaskAnswered { record_id: *record_id })
            }
            Some(Some((winner, ..))) => {
                rejected(RejectionCode::AlreadyAnswered, answer.peer_id.into(), (*winner).into())
            }
            Some(None) if answer.epoch != epoch => rejected(RejectionCode::StaleEpoch, answer.epoch, epoch),
            Some(None) if answer.peer_id != primary => {
                rejected(RejectionCode::NotPrimary, answer.peer_id.into(), primary.into())
            }
            Some(None) if oldest != Some(answer.task_id) => {
                rejected(RejectionCode::OutOfOrder, answer.task_id, oldest.unwrap())
            }
            Some(None) if self.is_refused_lie(answer, outcome) => return,
            Some(None) => {
                self.records += 1;
                let record_id = self.records;
                self.change_session(answer, record_id);
                let won = (answer.peer_id, command.request_id.to_vec(), record_id, answer.receipt.clone());
                let task = self.tasks.iter_mut().find(|task| task.id == answer.task_id);
                task.unwrap().answer = Some(won);
                Kind::TaskAnswered(v1::TaskAnswered { record_id })
            }
        };
        assert_eq!(*outcome, expected);
    }

    /// A session gets its user with its first task, for ever.
    fn first_task_of(&mut self, session: &str) {
        if session.is_empty() || self.sessions.contains_key(session) {
            return;
        }
        self.records += 1;
        let (id, user_id) = (session.to_owned(), self.users);
        self.users += 1;
        let record =
            v1::SessionRecord { id: id.clone(), version: self.records, user_id, ..Default::default() };
        self.sessions.insert(id, record);
    }

    /// Whether the answer is not what an honest peer says, and was refused for it. Honest ones are never refused; a lie
    /// may be one that only the other replicas can tell.
    fn is_refused_lie(&self, answer: &v1::AnswerTask, outcome: &Kind) -> bool {
        let task = self.tasks.iter().find(|task| task.id == answer.task_id).unwrap();
        let record = task.record.as_ref().unwrap();
        let honest = self.copies.execute(record, record.task().unwrap());
        let Ok(facts) = v1::Facts::decode(answer.facts.clone()) else {
            let held = answer.facts.len() as u64;
            assert_eq!(*outcome, rejected(RejectionCode::Malformed, held, 0));
            return true;
        };
        let (facts, session) = (facts.facts, answer.session.clone());
        let said = Executed { facts, session, receipt: answer.receipt.clone().unwrap() };
        let code = match outcome {
            Kind::Rejection(no) => Some(no.code()),
            _ => None,
        };
        said != honest && code == Some(RejectionCode::BreaksRules)
    }

    /// Changes of one session's tasks add up, field by field.
    fn change_session(&mut self, answer: &v1::AnswerTask, version: u64) {
        let Some(change) = answer.session.clone() else { return };
        let task = self.tasks.iter().find(|task| task.id == answer.task_id).unwrap();
        let session = self.sessions.get_mut(&task.session).unwrap();
        session.version = version;
        let fields = [
            (&mut session.name, change.name),
            (&mut session.latitude, change.latitude),
            (&mut session.longitude, change.longitude),
        ];
        for (field, value) in fields {
            *field = value.unwrap_or(std::mem::take(field));
        }
    }

    fn check_record(&mut self, command: &v1::Command, record: &Record) {
        let forum = record.forum.map_or(0, |forum| forum.get());
        match &record.body {
            RecordBody::Task(body) => {
                let Some(Body::AppendTask(append)) = &command.body else { panic!("a task of no append") };
                let session = self.sessions.get(&append.session_id);
                let shown = body.session.as_deref().cloned();
                let undated = |session| v1::SessionRecord { created_at_s: 0, updated_at_s: 0, ..session };
                assert_eq!(shown.map(undated), session.cloned(), "one session, one user, its newest record");
                let author = session.map(|session| session.user_id);
                let may = self.unfinished.get(&append.named_message) == Some(&(forum, author));
                let goes_on_with = body.open_message.map(|id| id.get());
                assert_eq!(goes_on_with, may.then_some(append.named_message));
                let task = self.tasks.iter_mut().find(|task| task.id == record.id.get()).unwrap();
                task.record = Some(record.clone());
            }
            RecordBody::Facts(body) => {
                let facts = v1::Facts::decode(body.facts.clone()).unwrap().facts;
                facts.into_iter().for_each(|fact| self.follow_fact(forum, fact.kind.unwrap()));
            }
            RecordBody::Assignment(_) | RecordBody::Audit | RecordBody::Closed { .. } => {}
        }
    }

    fn follow_fact(&mut self, forum: u32, kind: FactKind) {
        let closed = match kind {
            FactKind::MessageStored(message) if message.status() == MessageStatus::Typing => {
                self.unfinished.insert(message.id, (forum, message.author_id));
                return;
            }
            FactKind::MessageStored(message) => message.id,
            FactKind::MessageHidden(hidden) if hidden.finished => hidden.id,
            FactKind::MessageRemoved(removed) => removed.id,
            _ => return,
        };
        if self.unfinished.get(&closed).is_some_and(|(of, _)| *of == forum) {
            self.unfinished.remove(&closed);
        }
    }

    /// Every session, as the model has it, without its dates.
    pub fn sessions(&self) -> &BTreeMap<String, v1::SessionRecord> {
        &self.sessions
    }

    /// Every session's user and every unfinished message has its row.
    pub fn check_rows(&self) {
        for (id, session) in &self.sessions {
            let user = self.copies.user(session.user_id).expect("its row came before its first task");
            assert!(user.last_ip.starts_with(&format!("192.{}.", id.as_bytes()[0])));
        }
        for (id, (forum, author)) in &self.unfinished {
            let row = self.copies.message(*id).expect("it is there until it is removed");
            assert_eq!((row.status(), row.forum_id, row.author_id), (MessageStatus::Typing, *forum, *author));
        }
    }

    /// How many messages are not finished.
    pub fn open_messages(&self) -> usize {
        self.unfinished.len()
    }

    /// Open tasks, oldest first.
    pub fn open(&self) -> Vec<u64> {
        self.tasks.iter().filter(|task| task.answer.is_none()).map(|task| task.id).collect()
    }
}

fn forum_of(body: &Body) -> u32 {
    match body {
        Body::AnswerInvitation(answer) => answer.forum_id,
        Body::SeedReplica(seed) => seed.forum_id,
        Body::CutOver(cut) => cut.forum_id,
        Body::CloseInvitation(close) => close.forum_id,
        Body::RemoveReplica(remove) => remove.forum_id,
        Body::RestartReplica(restart) => restart.forum_id,
        Body::ConfirmReplica(confirm) => confirm.forum_id,
        Body::ReinstateReplica(reinstate) => reinstate.forum_id,
        _ => panic!("no other command changes replicas and says so"),
    }
}

fn rejected(code: RejectionCode, held: u64, current: u64) -> Kind {
    Kind::Rejection(v1::Rejection { code: code.into(), held, current })
}

//! A dumb second opinion: a list of everything that was ever appended, searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::v1::{self, RejectionCode, command::Body, outcome::Kind};

/// One task as the model remembers it.
struct Task {
    id: u64,
    forum: u32,
    request: Vec<u8>,
    message: Option<u32>,
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
    sessions: BTreeMap<String, u64>,
    /// Forum and peer of every open invitation.
    invited: BTreeSet<(u32, u32)>,
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
            invited: BTreeSet::new(),
        }
    }

    /// Checks an outcome against the model, and follows it.
    pub fn follow(&mut self, command: &v1::Command, outcome: &Kind) {
        match (command.body.as_ref().unwrap(), outcome) {
            (Body::AppendTask(append), outcome) => self.append(command, append, outcome),
            (Body::AnswerTask(answer), outcome) => self.answer(command, answer, outcome),
            (Body::OpenForum(_), Kind::ForumOpened(opened)) if !opened.existed => {
                self.records += 1;
                let assignment = opened.assignment.as_ref().unwrap();
                assert_eq!(assignment.epoch, 1);
                let held = (1, assignment.primary);
                assert_eq!(self.primaries.insert(opened.forum_id, held), None, "a forum id given twice");
            }
            (Body::StoreFacts(store), Kind::FactsStored(stored)) if stored.record_id > self.records => {
                self.facts(&store.directory_facts, &store.forum_facts, &store.sessions, false);
                assert_eq!(stored.record_id, self.records);
            }
            (Body::MovePrimary(moved), Kind::PrimaryMoved(to)) => {
                let held = self.primaries.get_mut(&moved.forum_id).unwrap();
                if to.epoch == held.0 + 1 {
                    *held = (to.epoch, moved.to_peer);
                    self.records += 1;
                }
                assert!(to.epoch <= held.0, "an epoch skipped");
            }
            (Body::LeaseUserIds(_), Kind::UserIdsLeased(lease)) if lease.first >= self.users => {
                assert_eq!(lease.first, self.users);
                self.users += lease.count;
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
            (body, Kind::ReplicasChanged(changed)) => self.replicas(forum_of(body), changed),
            (Body::SetPeerState(set), Kind::Done(_)) if set.state() == v1::PeerState::Removed => {
                let before = self.invited.len();
                self.invited.retain(|(_, peer)| *peer != set.peer_id);
                self.records += (before - self.invited.len()) as u64;
            }
            _ => {}
        }
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
            (true, Some(task)) if task.forum != append.forum_id => rejected(RejectionCode::Malformed, 0, 0),
            (true, Some(task)) => Kind::TaskAppended(v1::TaskAppended {
                task_id: task.id,
                message_id: task.message,
                duplicate: true,
                receipt: task.answer.as_ref().and_then(|(_, _, _, receipt)| receipt.clone()),
            }),
            (true, None) => {
                self.records += 1;
                let message = append.creates_message.then_some(self.messages);
                self.messages += u32::from(append.creates_message);
                let (id, forum) = (self.records, append.forum_id);
                let request = command.request_id.to_vec();
                self.tasks.push(Task { id, forum, request, message, answer: None });
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
            Some(None) => {
                self.facts(&answer.directory_facts, &answer.forum_facts, &answer.sessions, true);
                let record_id = self.records;
                let won = (answer.peer_id, command.request_id.to_vec(), record_id, answer.receipt.clone());
                let task = self.tasks.iter_mut().find(|task| task.id == answer.task_id);
                task.unwrap().answer = Some(won);
                Kind::TaskAnswered(v1::TaskAnswered { record_id })
            }
        };
        assert_eq!(*outcome, expected);
    }

    fn facts(&mut self, directory: &[u8], forum: &[u8], sessions: &[v1::SessionRecord], closes: bool) {
        self.records += u64::from(!directory.is_empty());
        if !closes {
            for session in sessions {
                let current = self.sessions.get(&session.id).copied().unwrap_or(0);
                assert_eq!(session.version, current, "a stale session was stored");
            }
        }
        if closes || !forum.is_empty() || !sessions.is_empty() {
            self.records += 1;
            self.sessions.extend(sessions.iter().map(|session| (session.id.clone(), self.records)));
        }
    }

    /// The version of every session, as the model has it.
    pub fn sessions(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sessions.iter().map(|(id, version)| (id.as_str(), *version))
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

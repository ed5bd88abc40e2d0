//! What a peer is sent of the log: the records of the forums it holds and of the directory, read from where it is.
//!
//! A slow peer costs nothing but its own lag: no queue of records is kept for it.

use std::collections::BTreeMap;

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};
use loop_raft_store::{
    adapter::StateReader,
    machine::{Assignment, Forum, HubState, Record, RecordBody, Replica},
};

/// Records looked at in one go while the state is locked for reading.
const SCAN_MAX: usize = 1024;
/// Bytes of records in one batch, before the one that reaches it.
const BATCH_BYTES: usize = 1 << 20;

/// The forums a peer was told it holds, by its stream so far: what follows is sent by position in the log and not by
/// what holds by now, so that a peer reads of every change at the place where it happened.
#[derive(Debug)]
pub struct Held {
    peer: PeerId,
    /// From which record on each of them is sent. A peer that is to get a copy needs nothing from before its
    /// invitation: the copy has it.
    forums: BTreeMap<ForumId, u64>,
    /// The state was told whole as of this record: assignments up to it change nothing.
    told_through: u64,
}

impl Held {
    /// What `peer` holds by now.
    pub fn now(state: &HubState, peer: PeerId) -> Self {
        let from = |forum: &Forum| {
            let joining = forum.replica(peer).and_then(Replica::joining);
            (forum.id, joining.map_or(0, |joining| joining.invitation.get()))
        };
        Self { peer, forums: state.forums_of(peer).map(from).collect(), told_through: state.newest() }
    }

    /// Whether the peer gets this record. One that gives it a forum or takes one away is for it, too.
    fn takes(&mut self, record: &Record) -> bool {
        if let RecordBody::Closed { forum, .. } = record.body {
            self.forums.remove(&forum);
        }
        let Some(forum) = record.forum else { return true };
        let id = record.id.get();
        let held = self.forums.get(&forum).is_some_and(|from| id >= *from);
        let RecordBody::Assignment(assignment) = &record.body else { return held };
        if id <= self.told_through {
            return held;
        }
        if names(assignment, self.peer) {
            self.forums.entry(forum).or_insert(id);
            return true;
        }
        self.forums.remove(&forum);
        held
    }

    /// Whether this record is the one that invites the peer and it was not told of it yet.
    fn is_invited_by(&self, record: &Record) -> bool {
        let RecordBody::Assignment(assignment) = &record.body else { return false };
        record.id.get() > self.told_through
            && assignment.joining.iter().any(|j| j.peer == self.peer && j.invitation == record.id)
    }
}

fn names(assignment: &Assignment, peer: PeerId) -> bool {
    assignment.replicas.contains(&peer)
        || assignment.draining.contains(&peer)
        || assignment.joining.iter().any(|joining| joining.peer == peer)
}

/// What a peer is sent next.
#[derive(Debug, Default)]
pub struct Portion {
    /// Encoded records, ascending.
    pub records: Vec<bytes::Bytes>,
    /// Nothing else for this peer up to this id.
    pub through: u64,
    /// Whether there is more already.
    pub more: bool,
    /// The last record invites this peer: the forum as of that record.
    pub invited_to: Option<v1::ForumState>,
}

/// The position lies below the trim point: the records after it are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("records up to {trimmed_through} are gone")]
pub struct Trimmed {
    /// The trim point.
    pub trimmed_through: u64,
}

/// Reads the log after `after`: the directory, and the forums in `held`. Ends with a record that invites the peer.
pub fn portion(reader: &StateReader, held: &mut Held, after: u64) -> Result<Portion, Trimmed> {
    reader.read(|state| portion_of(state, held, after))
}

fn portion_of(state: &HubState, held: &mut Held, after: u64) -> Result<Portion, Trimmed> {
    if after < state.trimmed_through() {
        return Err(Trimmed { trimmed_through: state.trimmed_through() });
    }
    let mut portion = Portion { through: after.min(state.newest()), ..Portion::default() };
    let mut bytes = 0;
    for (looked_at, record) in state.records_after(after).enumerate() {
        if looked_at == SCAN_MAX || bytes >= BATCH_BYTES {
            portion.more = true;
            break;
        }
        portion.through = record.id.get();
        if !held.takes(record) {
            continue;
        }
        bytes += record.encoded.len();
        portion.records.push(record.encoded.clone());
        if held.is_invited_by(record) {
            portion.invited_to = forum_at(state, record);
            portion.more = true;
            break;
        }
    }
    Ok(portion)
}

/// The forum as its assignment `record` left it.
fn forum_at(state: &HubState, record: &Record) -> Option<v1::ForumState> {
    let RecordBody::Assignment(assignment) = &record.body else { return None };
    let forum = state.forum(record.forum?)?;
    Some(forum_state(state, forum, assignment, record.id.get(), record.id.get()))
}

/// A forum as a peer is told of it at `as_of`, with its unanswered tasks up to `open_through`.
pub fn forum_state(
    state: &HubState,
    forum: &Forum,
    assignment: &Assignment,
    as_of: u64,
    open_through: u64,
) -> v1::ForumState {
    let open = forum.open_tasks.iter().filter(|task| task.get() <= open_through);
    v1::ForumState {
        forum_id: forum.id.get(),
        assignment: Some(assignment.into()),
        as_of,
        open_tasks: open.filter_map(|task| Some(state.open_task(*task)?.encoded.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::v1::command;
    use loop_raft_store::machine::{self, bounds::Bounds};
    use prost::Message;

    use super::*;

    struct Log {
        state: HubState,
        commands: u8,
    }

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    impl Log {
        /// Two peers; forum 1 on the first with one open task: records 1 and 2.
        fn new() -> Self {
            let state = HubState::new(Bounds { forum_id_first: 1, ..Bounds::default() });
            let mut log = Self { state, commands: 0 };
            for n in 1..=2 {
                let secret_hash = vec![n; 32].into();
                let register = v1::RegisterPeer { name: "p".into(), secret_hash, ..Default::default() };
                log.apply(command::Body::RegisterPeer(register));
            }
            let open = v1::OpenForum { key: vec![1; 16].into(), replicas: vec![1], ..Default::default() };
            log.apply(command::Body::OpenForum(open));
            log.task();
            log
        }

        fn apply(&mut self, body: command::Body) -> u64 {
            self.commands += 1;
            let request_id = vec![self.commands; 16].into();
            machine::apply_command(&mut self.state, v1::Command { request_id, at_ms: 1, body: Some(body) });
            self.state.newest()
        }

        fn task(&mut self) -> u64 {
            let task = v1::AppendTask { forum_id: 1, ..Default::default() };
            self.apply(command::Body::AppendTask(task))
        }

        fn invite(&mut self) -> u64 {
            let cause = v1::InvitationCause::Operator.into();
            let invite = v1::InvitePeer { forum_id: 1, target: 2, source: 1, replaces: 0, cause };
            self.apply(command::Body::InvitePeer(invite))
        }

        fn close(&mut self, invitation_id: u64) -> u64 {
            let status = v1::InvitationStatus::Timeout.into();
            let close = v1::CloseInvitation { forum_id: 1, invitation_id, status, reason: 0 };
            self.apply(command::Body::CloseInvitation(close))
        }

        /// The ids sent after a position, where that ends, and whether an invitation is told.
        fn sent(&self, held: &mut Held, after: u64) -> (Vec<u64>, u64, bool) {
            let portion = portion_of(&self.state, held, after).unwrap();
            let id = |record: &bytes::Bytes| v1::Record::decode(record.clone()).unwrap().id;
            (portion.records.iter().map(id).collect(), portion.through, portion.invited_to.is_some())
        }
    }

    #[test]
    fn an_invited_peer_is_told_the_forum_at_that_place_and_gets_what_follows() {
        let mut log = Log::new();
        let mut held = Held::now(&log.state, peer(2));
        let before = log.state.newest();
        let unseen = log.task();
        let invited = log.invite();
        let after = log.task();
        let portion = portion_of(&log.state, &mut held, before).unwrap();
        let told = portion.invited_to.unwrap();
        assert_eq!((portion.records.len(), portion.through, portion.more), (1, invited, true));
        assert_eq!((told.as_of, told.open_tasks.len()), (invited, 2), "the tasks up to {unseen}");
        let joining = &told.assignment.unwrap().joining[0];
        assert_eq!((joining.peer_id, joining.invitation_id), (2, invited));
        assert_eq!(log.sent(&mut held, invited), (vec![after], after, false));
    }

    #[test]
    fn a_peer_that_is_let_go_reads_so_and_nothing_after_it() {
        let mut log = Log::new();
        let invited = log.invite();
        let mut held = Held::now(&log.state, peer(2));
        let task = log.task();
        let closed = log.close(invited);
        let last = log.task();
        assert_eq!(log.sent(&mut held, invited), (vec![task, closed], last, false));
    }

    #[test]
    fn every_peer_reads_that_a_forum_is_closed_and_nothing_of_it_after_that() {
        let mut log = Log::new();
        let (mut holds, mut holds_not) = (Held::now(&log.state, peer(1)), Held::now(&log.state, peer(2)));
        let before = log.state.newest();
        let task = log.task();
        let closed = log.apply(command::Body::CloseForum(v1::CloseForum { forum_id: 1, forced: true }));
        assert_eq!(log.sent(&mut holds, before), (vec![task, closed], closed, false));
        assert_eq!(log.sent(&mut holds_not, before), (vec![closed], closed, false));
        assert!(holds.forums.is_empty());
    }

    #[test]
    fn what_was_told_with_the_greeting_is_not_told_again_and_nothing_from_before_the_invitation_is_sent() {
        let mut log = Log::new();
        let invited = log.invite();
        let task = log.task();
        let mut held = Held::now(&log.state, peer(2));
        assert_eq!(log.sent(&mut held, 0), (vec![invited, task], task, false));
        let closed = log.close(invited);
        let again = log.invite();
        assert_eq!(log.sent(&mut held, task), (vec![closed, again], again, true));
    }

    #[test]
    fn a_forum_that_was_given_and_taken_before_the_greeting_is_not_sent() {
        let mut log = Log::new();
        let invited = log.invite();
        let closed = log.close(invited);
        let mut held = Held::now(&log.state, peer(2));
        assert_eq!(log.sent(&mut held, 0), (vec![], closed, false));
    }

    #[test]
    fn a_replica_gets_everything_of_its_forum() {
        let mut log = Log::new();
        let mut held = Held::now(&log.state, peer(1));
        let invited = log.invite();
        assert_eq!(log.sent(&mut held, 0), ((1..=invited).collect(), invited, false));
    }
}

//! What one step of the log changes, read from the state at that very step, so that rows are never of another one. Pure.

use std::collections::BTreeSet;

use loop_proto::ids::{ForumId, PeerId, TaskId};
use loop_raft_store::machine::{Event, HubState};

use super::{
    rows::{RowChange, Table},
    window::Step,
};

/// What the entries up to one of Raft's log have changed.
pub struct Portion {
    /// That entry.
    pub applied: u64,
    /// The newest record then.
    pub newest: u64,
    /// Records up to this one were gone then.
    pub trimmed_through: u64,
    /// The records that came, in order.
    pub steps: Vec<Step>,
    /// Rows of forums, peers and invitations.
    pub rows: Vec<RowChange>,
}

impl Portion {
    /// Reads what the events touch from the state after them.
    pub fn of(state: &HubState, events: &[Event], applied: u64) -> Self {
        let mut touched = Touched::default();
        let mut steps = Vec::new();
        for event in events {
            if let Event::RecordAppended(record) = event {
                steps.push(Step::of(record));
            }
            touched.by(event);
        }
        let (newest, trimmed_through) = (state.newest(), state.trimmed_through());
        Self { applied, newest, trimmed_through, steps, rows: touched.rows(state) }
    }

    /// What it costs to keep, in rows.
    pub fn len(&self) -> usize {
        1 + self.steps.len() + self.rows.len()
    }
}

#[derive(Default)]
struct Touched {
    forums: BTreeSet<ForumId>,
    peers: BTreeSet<PeerId>,
    invitations: BTreeSet<TaskId>,
}

impl Touched {
    fn by(&mut self, event: &Event) {
        match event {
            Event::RecordAppended(record) => self.forums.extend(record.forum),
            Event::ForumOpened(forum) | Event::ForumClosed(forum) | Event::ReplicasChanged { forum, .. } => {
                self.forums.extend([*forum])
            }
            Event::PeerRegistered(peer) | Event::PeerStateChanged(peer) => self.peers.extend([*peer]),
            Event::InvitationChanged(invitation) => self.invitations.extend([*invitation]),
            Event::Trimmed { .. } => {}
        }
    }

    fn rows(&self, state: &HubState) -> Vec<RowChange> {
        let forum =
            |id: &ForumId| state.forum(*id).map_or_else(|| RowChange::no_forum(*id), RowChange::forum);
        let invitation = |id: &TaskId| match state.invitation(*id) {
            Some(invitation) => RowChange::invitation(invitation),
            None => RowChange { table: Table::Invitation, key: [id.get(), 0], cells: None },
        };
        let peers = self.peers.iter().filter_map(|id| state.peer(*id)).map(RowChange::peer);
        let forums = self.forums.iter().map(forum);
        forums.chain(peers).chain(self.invitations.iter().map(invitation)).collect()
    }
}

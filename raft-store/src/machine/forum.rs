//! The forums: who holds which, under which epoch. Never knows what a task asks.

use std::{collections::BTreeSet, sync::Arc};

use loop_proto::ids::{ForumEpoch, ForumId, ForumKey, HubTime, PeerId, TaskId};

use super::{
    record::Assignment,
    shared::{SharedMap, SharedSet},
};

/// One forum.
#[derive(Clone, Debug, PartialEq)]
pub struct Forum {
    /// Given when it was opened.
    pub id: ForumId,
    /// Stands for its name.
    pub key: ForumKey,
    /// Fencing token of its assignment.
    pub epoch: ForumEpoch,
    /// Who executes its tasks.
    pub primary: PeerId,
    /// Who has a copy, the primary included, in the order they came.
    pub replicas: Vec<Replica>,
    /// The newest record of its stream: the fence of a read.
    pub newest_record: u64,
    /// Its unanswered tasks.
    pub open_tasks: BTreeSet<TaskId>,
    /// How many tasks it ever got.
    pub tasks_appended: u64,
    /// When it was opened.
    pub opened_at: HubTime,
}

/// One peer's copy of a forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Whose copy.
    pub peer: PeerId,
    /// How far it has come.
    pub role: ReplicaRole,
}

/// How far a replica has come. No entry: not a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaRole {
    /// Answers reads, and tasks if it is the primary.
    Serving {
        /// The epoch it was admitted under.
        since: ForumEpoch,
    },
}

impl Replica {
    /// Whether it may answer.
    pub const fn is_serving(&self) -> bool {
        matches!(self.role, ReplicaRole::Serving { .. })
    }
}

impl Forum {
    pub(super) fn new(id: ForumId, key: ForumKey, assignment: &Assignment, opened_at: HubTime) -> Self {
        let role = ReplicaRole::Serving { since: assignment.epoch };
        Self {
            id,
            key,
            epoch: assignment.epoch,
            primary: assignment.primary,
            replicas: assignment.replicas.iter().map(|peer| Replica { peer: *peer, role }).collect(),
            newest_record: 0,
            open_tasks: BTreeSet::new(),
            tasks_appended: 0,
            opened_at,
        }
    }

    /// Whether `peer` serves this forum.
    pub fn is_served_by(&self, peer: PeerId) -> bool {
        self.replicas.iter().any(|replica| replica.peer == peer && replica.is_serving())
    }

    /// Who serves it, in the order they came.
    pub fn serving(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.replicas.iter().filter(|replica| replica.is_serving()).map(|replica| replica.peer)
    }

    /// Who holds it now.
    pub fn assignment(&self) -> Assignment {
        Assignment { epoch: self.epoch, primary: self.primary, replicas: self.serving().collect() }
    }

    /// The task the primary must answer next.
    pub fn oldest_open_task(&self) -> Option<TaskId> {
        self.open_tasks.first().copied()
    }
}

/// All forums and their indexes. None is ever closed, so ids are dense from the first.
#[derive(Clone, PartialEq)]
pub struct Forums {
    first: u32,
    // Behind Arc so that a copy of the state for a snapshot costs a pointer per forum, and changes one by one.
    list: Vec<Arc<Forum>>,
    by_key: SharedMap<ForumKey, ForumId>,
    by_peer: SharedSet<(PeerId, ForumId)>,
}

impl Forums {
    pub(super) fn new(first: u32) -> Self {
        Self {
            first: first.max(1),
            list: Vec::new(),
            by_key: SharedMap::default(),
            by_peer: SharedSet::default(),
        }
    }

    /// The forum of that id.
    pub fn get(&self, id: ForumId) -> Option<&Forum> {
        self.list.get(self.position(id)?).map(Arc::as_ref)
    }

    /// The forum of that key.
    pub fn by_key(&self, key: ForumKey) -> Option<ForumId> {
        self.by_key.get(&key).copied()
    }

    /// All forums, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Forum> + DoubleEndedIterator {
        self.list.iter().map(Arc::as_ref)
    }

    /// Forums with an id above `after`, by id.
    pub fn after(&self, after: u32) -> impl ExactSizeIterator<Item = &Forum> {
        let skip = match ForumId::new(after) {
            Some(id) if after >= self.first => self.position(id).map_or(self.list.len(), |at| at + 1),
            _ => 0,
        };
        self.list[skip.min(self.list.len())..].iter().map(Arc::as_ref)
    }

    /// Forums of which `peer` has a copy, by id.
    pub fn of_peer(&self, peer: PeerId) -> impl Iterator<Item = ForumId> + '_ {
        self.by_peer
            .starting_at((peer, 0))
            .take_while(move |(holder, _)| *holder == peer)
            .map(|(_, forum)| *forum)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The next forum's id, as a number that may lie above the last id.
    pub(super) fn next_id(&self) -> u64 {
        u64::from(self.first) + self.list.len() as u64
    }

    /// Adds the next forum.
    pub(super) fn push(&mut self, forum: Forum) {
        debug_assert_eq!(u64::from(forum.id.get()), self.next_id());
        self.by_key.insert(forum.key, forum.id);
        for replica in &forum.replicas {
            self.by_peer.insert((replica.peer, forum.id));
        }
        self.list.push(Arc::new(forum));
    }

    /// The forum, to be changed. Its key and its set of replicas must stay: indexes follow them.
    pub(super) fn get_mut(&mut self, id: ForumId) -> Option<&mut Forum> {
        let at = self.position(id)?;
        self.list.get_mut(at).map(Arc::make_mut)
    }

    fn position(&self, id: ForumId) -> Option<usize> {
        id.get().checked_sub(self.first).map(|at| at as usize)
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.by_key.len() != self.list.len() {
            return Err("two forums share a key");
        }
        let mut copies = 0;
        for (at, forum) in self.list.iter().enumerate() {
            check_forum(forum)?;
            if self.position(forum.id) != Some(at) || self.by_key(forum.key) != Some(forum.id) {
                return Err("the index of forums by key is wrong");
            }
            if !forum.replicas.iter().all(|replica| self.by_peer.contains(&(replica.peer, forum.id))) {
                return Err("the index of forums by peer misses a replica");
            }
            copies += forum.replicas.len();
        }
        if copies != self.by_peer.len() {
            return Err("the index of forums by peer has a replica too many");
        }
        Ok(())
    }
}

fn check_forum(forum: &Forum) -> Result<(), &'static str> {
    if !forum.is_served_by(forum.primary) {
        return Err("a forum's primary is not one of its serving replicas");
    }
    let peers: BTreeSet<PeerId> = forum.replicas.iter().map(|replica| replica.peer).collect();
    if peers.len() != forum.replicas.len() {
        return Err("a peer is two replicas of one forum");
    }
    let admitted = |replica: &Replica| match replica.role {
        ReplicaRole::Serving { since } => since <= forum.epoch,
    };
    if forum.epoch.0 == 0 || !forum.replicas.iter().all(admitted) {
        return Err("a forum's epoch lies below a replica's");
    }
    if forum.newest_record == 0 {
        return Err("a forum has no assignment in the log");
    }
    if forum.open_tasks.last().is_some_and(|task| task.get() > forum.newest_record) {
        return Err("an open task lies above its forum's newest record");
    }
    if forum.open_tasks.len() as u64 > forum.tasks_appended {
        return Err("a forum has more open tasks than it ever got");
    }
    Ok(())
}

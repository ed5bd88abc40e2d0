//! The forums: who holds which, under which epoch. Never knows what a task asks.

use std::{collections::BTreeSet, sync::Arc};

use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumEpoch, ForumId, ForumKey, HubTime, PeerId, TaskId},
};

use super::{
    occupancy::Occupancy,
    record::Assignment,
    replica::{Joining, Replica, ReplicaRole},
    shared::{SharedMap, SharedOrdered, SharedSet},
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
    /// Who has a copy or is on the way to one, the primary included, in the order they came.
    pub replicas: Vec<Replica>,
    /// The newest record of its stream: the fence of a read.
    pub newest_record: u64,
    /// Its unanswered tasks.
    pub open_tasks: BTreeSet<TaskId>,
    /// How many tasks it ever got.
    pub tasks_appended: u64,
    /// When it was opened.
    pub opened_at: HubTime,
    /// How many replicas it shall have; `None`: as many as the hubs' default.
    pub replicas_wanted: Option<u32>,
    /// What is known of its messages.
    pub occupancy: Occupancy,
}

impl Forum {
    pub(super) fn new(
        id: ForumId,
        key: ForumKey,
        assignment: &Assignment,
        opened_at: HubTime,
        occupancy: Occupancy,
    ) -> Self {
        let role = ReplicaRole::Serving { since: assignment.epoch };
        // There is nothing in it that could differ.
        let confirmed_at = Some(HubTime::default());
        Self {
            id,
            key,
            epoch: assignment.epoch,
            primary: assignment.primary,
            replicas: assignment
                .replicas
                .iter()
                .map(|peer| Replica { peer: *peer, role, confirmed_at })
                .collect(),
            newest_record: 0,
            open_tasks: BTreeSet::new(),
            tasks_appended: 0,
            opened_at,
            replicas_wanted: None,
            occupancy,
        }
    }

    /// The copy `peer` has or is to get.
    pub fn replica(&self, peer: PeerId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.peer == peer)
    }

    /// Whether `peer` serves this forum.
    pub fn is_served_by(&self, peer: PeerId) -> bool {
        self.replicas.iter().any(|replica| replica.peer == peer && replica.is_serving())
    }

    /// Who serves it, in the order they came.
    pub fn serving(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.replicas.iter().filter(|replica| replica.is_serving()).map(|replica| replica.peer)
    }

    /// Who is on the way to serve it, in the order they were invited.
    pub fn joining(&self) -> impl Iterator<Item = Joining> + '_ {
        self.replicas.iter().filter_map(Replica::joining)
    }

    /// Who was replaced and waits to be let go.
    pub fn draining(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.replicas.iter().filter(|replica| replica.is_draining()).map(|replica| replica.peer)
    }

    /// Who holds it now.
    pub fn assignment(&self) -> Assignment {
        Assignment::of(self.epoch, self.primary, &self.replicas)
    }

    /// Whether there is nothing in it, and nothing on its way into it.
    pub fn is_empty(&self) -> bool {
        let has_finished = self.occupancy.has_finished() && !breakage::is_on(Breakage::FullForumClosed);
        !has_finished && self.occupancy.unfinished == 0 && self.open_tasks.is_empty()
    }

    /// The task the primary must answer next.
    pub fn oldest_open_task(&self) -> Option<TaskId> {
        self.open_tasks.first().copied()
    }
}

/// All forums and their indexes. Ids increase and are never given out again.
#[derive(Clone, PartialEq)]
pub struct Forums {
    next: u64,
    // Behind Arc so that a copy of the state for a snapshot shares them, and changes one by one.
    by_id: SharedOrdered<ForumId, Arc<Forum>>,
    by_key: SharedMap<ForumKey, ForumId>,
    by_peer: SharedSet<(PeerId, ForumId)>,
    // Those in which there is nothing, by the time since when.
    empty: SharedSet<(HubTime, ForumId)>,
}

impl Forums {
    pub(super) fn new(first: u32) -> Self {
        Self {
            next: first.max(1).into(),
            by_id: SharedOrdered::default(),
            by_key: SharedMap::default(),
            by_peer: SharedSet::default(),
            empty: SharedSet::default(),
        }
    }

    /// The forum of that id.
    pub fn get(&self, id: ForumId) -> Option<&Forum> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    /// The forum of that key.
    pub fn by_key(&self, key: ForumKey) -> Option<ForumId> {
        self.by_key.get(&key).copied()
    }

    /// All forums, by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Forum> {
        self.by_id.iter().map(|(_, forum)| forum.as_ref())
    }

    /// Forums with an id above `after`, by id.
    pub fn after(&self, after: u32) -> impl Iterator<Item = &Forum> {
        self.by_id.after(ForumId::new(after)).map(|(_, forum)| forum.as_ref())
    }

    /// Forums in which there is nothing, the one that has been so for longest first.
    pub fn empty(&self) -> impl Iterator<Item = &Forum> {
        self.empty.iter().filter_map(|(_, id)| self.get(*id))
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
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next forum's id, as a number that may lie above the last id.
    pub(super) fn next_id(&self) -> u64 {
        self.next
    }

    /// Ids below this one are given out no more.
    pub(super) fn go_on_from(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Adds a forum, with an id that was not given out before.
    pub(super) fn push(&mut self, forum: Forum) {
        debug_assert!(u64::from(forum.id.get()) >= self.next);
        self.next = u64::from(forum.id.get()) + 1;
        self.by_key.insert(forum.key, forum.id);
        for replica in &forum.replicas {
            self.by_peer.insert((replica.peer, forum.id));
        }
        if let Some(since) = forum.occupancy.empty_since {
            self.empty.insert((since, forum.id));
        }
        self.by_id.insert(forum.id, Arc::new(forum));
    }

    /// Takes a forum out of everything.
    pub(super) fn remove(&mut self, id: ForumId) -> Option<Arc<Forum>> {
        let forum = self.by_id.remove(&id)?;
        self.by_key.remove(&forum.key);
        for replica in &forum.replicas {
            self.by_peer.remove(&(replica.peer, id));
        }
        if let Some(since) = forum.occupancy.empty_since {
            self.empty.remove(&(since, id));
        }
        Some(forum)
    }

    /// Gives a forum another set of replicas and says who is in it no more.
    pub(super) fn set_replicas(&mut self, id: ForumId, replicas: Vec<Replica>) -> Vec<PeerId> {
        let Some(forum) = self.by_id.get_mut(&id).map(Arc::make_mut) else { return Vec::new() };
        let before = std::mem::replace(&mut forum.replicas, replicas);
        for replica in &forum.replicas {
            self.by_peer.insert((replica.peer, id));
        }
        let left = before.iter().map(|replica| replica.peer).filter(|peer| forum.replica(*peer).is_none());
        let left: Vec<PeerId> = left.collect();
        for peer in &left {
            self.by_peer.remove(&(*peer, id));
        }
        left
    }

    /// The forum, to be changed. Its key, its set of replicas and whether there is anything in it must stay: indexes follow
    /// them.
    pub(super) fn get_mut(&mut self, id: ForumId) -> Option<&mut Forum> {
        self.by_id.get_mut(&id).map(Arc::make_mut)
    }

    /// Changes what is in a forum, or is on its way into it, and notes since when there is nothing.
    pub(super) fn change(&mut self, id: ForumId, now: HubTime, change: impl FnOnce(&mut Forum)) {
        let Some(forum) = self.get_mut(id) else { return };
        change(forum);
        let before = forum.occupancy.empty_since;
        let after = forum.is_empty().then(|| before.unwrap_or(now));
        forum.occupancy.empty_since = after;
        if before == after {
            return;
        }
        if let Some(since) = before {
            self.empty.remove(&(since, id));
        }
        if let Some(since) = after {
            self.empty.insert((since, id));
        }
    }

    pub(super) fn check(&self, now: HubTime) -> Result<(), &'static str> {
        if self.by_key.len() != self.len() {
            return Err("two forums share a key");
        }
        let (mut copies, mut empty) = (0, 0);
        for forum in self.iter() {
            check_forum(forum)?;
            if u64::from(forum.id.get()) >= self.next || self.by_key(forum.key) != Some(forum.id) {
                return Err("the index of forums by key is wrong");
            }
            if !forum.replicas.iter().all(|replica| self.by_peer.contains(&(replica.peer, forum.id))) {
                return Err("the index of forums by peer misses a replica");
            }
            copies += forum.replicas.len();
            let Some(since) = forum.occupancy.empty_since else { continue };
            if since > now || !self.empty.contains(&(since, forum.id)) {
                return Err("the index of empty forums misses one, or one is empty since the future");
            }
            empty += 1;
        }
        if copies != self.by_peer.len() {
            return Err("the index of forums by peer has a replica too many");
        }
        if empty != self.empty.len() {
            return Err("the index of empty forums has one too many");
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
        ReplicaRole::Joining { invitation, .. } => invitation.get() <= forum.newest_record,
        ReplicaRole::Draining { since_record, .. } => since_record.get() <= forum.newest_record,
    };
    if forum.replicas.iter().any(|replica| replica.joining().is_some() && replica.confirmed_at.is_some()) {
        return Err("a copy on its way was confirmed");
    }
    if forum.epoch.0 == 0 || !forum.replicas.iter().all(admitted) {
        return Err("a replica was admitted later than its forum's newest record");
    }
    if forum.newest_record == 0 {
        return Err("a forum has no assignment in the log");
    }
    if forum.open_tasks.last().is_some_and(|task| task.get() > forum.newest_record) {
        return Err("an open task lies above its forum's newest record");
    }
    if forum.occupancy.empty_since.is_some() != forum.is_empty() {
        return Err("a forum is empty and counts as full, or the other way round");
    }
    if forum.open_tasks.len() as u64 > forum.tasks_appended {
        return Err("a forum has more open tasks than it ever got");
    }
    Ok(())
}

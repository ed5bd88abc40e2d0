//! The model's hubs: a log, who holds the forum, which tasks are open, and the one rule by which answers commit.

use super::*;

/// What the hubs agree on.
pub(super) struct Hubs {
    pub(super) log: Vec<Entry>,
    pub(super) assignment: Assignment,
    pub(super) open: BTreeSet<u64>,
    /// Committed rows with their positions.
    pub(super) history: Vec<(u64, Bytes)>,
}

impl Hubs {
    pub(super) fn newest(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn append(&mut self, body: EntryBody) -> u64 {
        let id = self.newest() + 1;
        self.log.push(Entry { id: TaskId::new(id).unwrap(), forum: Some(forum()), body });
        id
    }

    pub(super) fn assign(&mut self) {
        self.append(EntryBody::Assignment(self.assignment.clone()));
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.assignment.role_of(peer(ME))
    }

    /// Who held the forum at a position.
    pub(super) fn assignment_at(&self, position: u64) -> Option<&Assignment> {
        self.log[..position as usize].iter().rev().find_map(|entry| match &entry.body {
            EntryBody::Assignment(assignment) => Some(assignment),
            _ => None,
        })
    }

    pub(super) fn role_at(&self, position: u64) -> Option<Role> {
        self.assignment_at(position).and_then(|assignment| assignment.role_of(peer(ME)))
    }

    pub(super) fn open_at(&self, position: u64) -> BTreeSet<u64> {
        let mut open = BTreeSet::new();
        for entry in &self.log[..position as usize] {
            match &entry.body {
                EntryBody::Task(_) => {
                    open.insert(entry.id.get());
                }
                EntryBody::Facts(facts) => {
                    open.remove(&facts.closes.unwrap().get());
                }
                EntryBody::Assignment(_) | EntryBody::Audit | EntryBody::Closed { .. } => {}
            }
        }
        open
    }

    pub(super) fn rows_through(&self, position: u64) -> Vec<Bytes> {
        let before = self.history.iter().filter(|(id, _)| *id <= position);
        before.map(|(_, rows)| rows.clone()).collect()
    }

    /// The forum as a hub at `position` describes it; tasks through `open_through` only.
    pub(super) fn describe(&self, position: u64, open_through: u64) -> Option<ForumSnapshot> {
        self.role_at(position)?;
        let open = self.open_at(position).into_iter().filter(|id| *id <= open_through).map(|id| {
            let EntryBody::Task(task) = &self.log[id as usize - 1].body else { unreachable!() };
            (TaskId::new(id).unwrap(), task.clone())
        });
        Some(ForumSnapshot {
            forum: forum(),
            assignment: self.assignment_at(position)?.clone(),
            as_of: position,
            open: open.collect(),
        })
    }

    pub(super) fn commit(&mut self, task: u64, by: u32, epoch: u64, rows: Bytes) -> Result<(), Refusal> {
        if epoch != self.assignment.epoch.0 || by != self.assignment.primary.get() {
            return Err(Refusal::FeedKnows);
        }
        match self.open.first() {
            Some(oldest) if *oldest == task => {}
            Some(oldest) if task > *oldest => return Err(Refusal::SendAgain),
            _ => return Err(Refusal::FeedKnows),
        }
        if by == ME {
            let history = self.rows_through(u64::MAX);
            assert_eq!(built_on(&rows), digest(&history), "{task} was executed on another history");
        }
        self.open.remove(&task);
        let facts = Facts {
            closes: TaskId::new(task),
            peer: Some(peer(by)),
            epoch: ForumEpoch(epoch),
            rows: rows.clone(),
        };
        let id = self.append(EntryBody::Facts(facts));
        self.history.push((id, rows));
        Ok(())
    }

    pub(super) fn move_primary(&mut self, to: u32) {
        self.assignment.epoch.0 += 1;
        self.assignment.primary = peer(to);
        self.assignment.draining.retain(|draining| *draining != peer(to));
        if !self.assignment.replicas.contains(&peer(to)) {
            self.assignment.replicas.push(peer(to));
        }
    }

    pub(super) fn invite(&mut self) {
        let invitation = TaskId::new(self.newest() + 1).unwrap();
        self.assignment.joining = vec![(peer(ME), Joining { invitation, stage: Stage::Invited })];
        self.assign();
    }

    pub(super) fn stop_serving(&mut self) {
        if self.assignment.primary == peer(ME) {
            self.move_primary(2);
        }
        self.assignment.replicas.retain(|replica| *replica != peer(ME));
    }
}

pub(super) fn digest(history: &[Bytes]) -> u64 {
    let bytes = history.iter().flat_map(|rows| rows.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn built_on(rows: &Bytes) -> u64 {
    u64::from_be_bytes(rows[..8].try_into().unwrap())
}

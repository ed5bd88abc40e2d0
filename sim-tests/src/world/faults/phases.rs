//! What is going on when a fault strikes: a fault that only ever met a quiet cluster has proved little.

use std::time::Duration;

use super::{ALL, Ailment, Kind, Place, link};
use crate::world::World;

/// For how long a new leader counts as one that was just elected: everybody else still learns of it.
const ELECTED_FOR: Duration = Duration::from_millis(500);

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing of what follows.
    Calm,
    /// Somebody waits for an answer to a commit.
    Writing,
    /// A forum is on its way from one peer to another.
    Moving,
    /// Nobody leads, or somebody since a moment ago.
    Electing,
    /// Another fault is on.
    Ailing,
}

/// All of them.
pub const PHASES: [Phase; 5] = [Phase::Calm, Phase::Writing, Phase::Moving, Phase::Electing, Phase::Ailing];

/// Seen when a fault struck in a phase.
pub fn during(kind: Kind, phase: Phase) -> String {
    format!("fault {kind:?} while {phase:?}")
}

/// How often each fault struck in each phase, as a table.
pub fn table(times: impl Fn(&str) -> u64) -> String {
    let mut table = format!("{:<16}", "fault while");
    PHASES.iter().for_each(|phase| table += &format!("{:>10}", format!("{phase:?}")));
    for kind in ALL {
        table += &format!("\n{:<16}", format!("{kind:?}"));
        PHASES.iter().for_each(|phase| table += &format!("{:>10}", times(&during(kind, *phase))));
    }
    table
}

/// Whether this is one of the table's counts.
pub fn is_in_table(what: &str) -> bool {
    what.starts_with("fault ") && what.contains(" while ")
}

impl World {
    /// What is going on now.
    pub fn phases(&self) -> Vec<Phase> {
        let others = [Phase::Writing, Phase::Moving, Phase::Electing, Phase::Ailing];
        let mut all: Vec<Phase> = others.into_iter().filter(|phase| self.is_in(*phase)).collect();
        if all.is_empty() {
            all.push(Phase::Calm);
        }
        all
    }

    /// Whether this is going on.
    pub fn is_in(&self, phase: Phase) -> bool {
        match phase {
            Phase::Calm => self.phases() == [Phase::Calm],
            Phase::Writing => self.oracle.is_writing(),
            Phase::Moving => {
                let all = self.ledger.assignments();
                all.values().any(|held| !held.joining.is_empty() || !held.draining.is_empty())
            }
            Phase::Electing => self.is_electing(),
            Phase::Ailing => !self.faults.ailing.is_empty(),
        }
    }

    fn is_electing(&self) -> bool {
        let Some(leader) = self.leader() else { return true };
        if self.sim.elapsed() < self.faults.led.1 + ELECTED_FOR {
            return true;
        }
        let name = self.hub_name(leader);
        if self.faults.ailing.contains_key(&Place::Power(name.clone())) {
            return true;
        }
        let left = self.hubs_left();
        let is_cut = |other: &&usize| {
            let place = Place::Link(link(&name, &self.hub_name(**other)));
            matches!(self.faults.ailing.get(&place), Some((Ailment::Cut | Ailment::Held, _)))
        };
        left.iter().filter(is_cut).count() * 2 >= left.len()
    }

    /// Whether anything is wrong but that peers have no power: what clients notice of it says nothing of the forums.
    pub(in crate::world) fn is_troubled(&self) -> bool {
        let peers_power = |place: &&Place| match place {
            Place::Power(name) => name.starts_with("peer-"),
            Place::Standing(_) => true,
            _ => false,
        };
        self.is_replacing() || !self.faults.ailing.keys().all(|place| peers_power(&place))
    }

    /// Whether hubs may be wrong about whether a machine is there, or not all of the same mind.
    pub(in crate::world) fn has_doubtful_way(&self, name: &str) -> bool {
        self.faults.ailing.keys().any(|place| match place {
            Place::Link((one, other)) => {
                one == name || other == name || one.starts_with("hub-") && other.starts_with("hub-")
            }
            Place::Ears(slow) => slow == name,
            _ => false,
        })
    }

    /// Takes note of who leads.
    pub(super) fn watch_the_lead(&mut self) {
        let leader = self.leader();
        if leader != self.faults.led.0 {
            self.faults.led = (leader, self.sim.elapsed());
        }
    }
}

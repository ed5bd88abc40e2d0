//! A hub that has lost what it had promised to keep says so and stops. The operator does what it says: takes it out of
//! the group and starts a new one.

use std::time::Duration;

use super::Place;
use crate::world::{World, operator::Order};

/// What a hub says that cannot trust its own disk any more.
const UNUSABLE: &str = "must not serve from it";
/// And what an operator must be told to do about it.
const TO_DO: [&str; 3] = ["hubctl hub remove", "--join", "a number no hub has had"];
/// How long the operator waits before trying again what the hubs refused or did not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Seen when a hub found its log or snapshot damaged, and stopped.
pub const FOUND: &str = "hubs: one found its own disk damaged, and stopped";
/// Seen when another one had taken its place.
pub const REPLACED: &str = "hubs: a new one took the place of one that was lost";

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replacing {
    /// The hub that is to leave the group.
    leaves: Option<usize>,
    /// The one that is to enter it.
    enters: Option<usize>,
    /// When the operator asks next.
    next: Duration,
}

impl World {
    /// Whether a hub is on its way out of the group, or one into it in its place.
    pub fn is_replacing(&self) -> bool {
        self.faults.replacing.leaves.is_some() || self.faults.replacing.enters.is_some()
    }

    pub(super) fn is_gone(&self, name: &str) -> bool {
        self.gone.iter().any(|hub| self.hubs[*hub].machine.name == name)
    }

    /// A hub's number in the group.
    pub fn hub_id(&self, hub: usize) -> u64 {
        self.hubs[hub].id
    }

    /// Whether a hub votes, as far as the operator knows, who asks again if it did not when that was last asked.
    pub fn desk_knows_voter(&mut self, id: u64) -> bool {
        let knows = self.desk.voters().contains(&id);
        if !knows && self.desk.is_idle() {
            self.desk.order(Order::Members);
        }
        knows
    }

    /// Whether a hub is out of the group, as far as the operator knows, who orders it if it is not.
    pub fn desk_has_removed(&mut self, id: u64) -> bool {
        let removed = self.desk.is_removed(id);
        if !removed && self.desk.is_idle() {
            self.desk.order(Order::RemoveHub(id));
        }
        removed
    }

    /// Switches a hub off for good.
    pub fn retire(&mut self, hub: usize) {
        let name = self.hub_name(hub);
        self.trace.tell("operator", &format!("{name} is switched off for good"));
        self.faults.ailing.remove(&Place::Power(name.clone()));
        self.faults.unsound.remove(&name);
        self.roster.remove(&name);
        self.gone.insert(hub);
        self.sim.crash(name);
    }

    /// Whether a hub that has stopped must be replaced. Begins it if so.
    pub(super) fn must_be_replaced(&mut self, name: &str, why: &str) -> bool {
        let hub = self.hubs_left().into_iter().find(|hub| self.hubs[*hub].machine.name == name);
        let Some(hub) = hub.filter(|_| why.contains(UNUSABLE)) else { return false };
        if let Some(missing) = TO_DO.iter().find(|words| !why.contains(**words)) {
            self.invariants.broken("a damaged log says what to do", format!("{missing:?} is not in: {why}"));
        }
        self.saw(FOUND);
        self.retire(hub);
        self.faults.replacing = Replacing { leaves: Some(hub), ..Replacing::default() };
        true
    }

    /// What the operator does next.
    pub(super) fn replacing_step(&mut self) {
        let now = self.sim.elapsed();
        let Replacing { leaves, enters, next } = self.faults.replacing;
        if next > now || leaves.is_none() && enters.is_none() {
            return;
        }
        self.faults.replacing.next = now + AGAIN_AFTER;
        if let Some(hub) = leaves {
            if self.desk_has_removed(self.hub_id(hub)) {
                let enters = Some(self.add_hub());
                self.faults.replacing = Replacing { enters, ..Replacing::default() };
            }
        } else if let Some(hub) = enters
            && self.desk_knows_voter(self.hub_id(hub))
        {
            self.faults.replacing = Replacing::default();
            self.saw(REPLACED);
        }
    }
}

//! Machines come, read the log, and go. Owns what happens on a machine and at the hub it is connected to then.

use loop_proto::{
    ids::{ForumId, PeerId},
    v1::{self, command},
};

use super::{
    agenda::{Event, Ms, SECOND},
    chance::generator,
    leader::TAKEOVER,
    scenarios::Deed,
    world::{JOINERS, World, index},
};

/// Greeting, and the way to the hub.
const GREETING: Ms = 300;
/// Records a peer reads in a millisecond.
const RECORDS_PER_MS: u64 = 2;
/// How long a copy of the directory takes.
const DIRECTORY: Ms = 5 * SECOND;

impl World {
    /// Somebody new with this habit.
    pub(super) fn join(&mut self, habit_at: usize) {
        let habit = self.scenario.habits[habit_at].clone();
        let machine = self.register(&habit, habit_at);
        self.arrive(machine);
    }

    pub(super) fn arrive(&mut self, at: usize) {
        let now = self.now;
        let machine = &mut self.machines[at];
        if machine.up || machine.gone || machine.destroyed {
            return;
        }
        let steady = machine.habit.steady;
        machine.up = true;
        machine.visit += 1;
        machine.caught_up = false;
        let (peer, visit) = (machine.peer, machine.visit);
        let stay = machine.stay(now);
        self.agenda.at(now + stay, Event::Leave { machine: at, visit });
        self.counts.visits += 1;
        if steady {
            if self.steady_up == 0 {
                self.advance_all();
            }
            self.steady_up += 1;
        }
        let takes = match self.machines[at].cursor < self.state.trimmed_through() {
            true => self.start_over(at),
            false => GREETING + (self.state.newest() - self.machines[at].cursor) / RECORDS_PER_MS,
        };
        self.agenda.at(now + takes, Event::CaughtUp { machine: at, visit });
        let cursor = self.machines[at].cursor;
        self.leader.came(peer, cursor);
        for forum in self.forums_of(peer) {
            self.stories.came(now, forum, peer);
            self.recount(forum);
        }
        self.look_at(now);
        self.leader.may_plan();
    }

    /// The log does not go back to where this machine was. Its cursor jumps, and its forums are to be copied anew.
    fn start_over(&mut self, at: usize) -> Ms {
        self.counts.started_over += 1;
        let newest = self.state.newest();
        let machine = &mut self.machines[at];
        let stood_at = machine.cursor;
        let peer = machine.peer;
        machine.cursor = newest;
        for copy in machine.copies.values_mut() {
            copy.stands_at.get_or_insert(stood_at);
        }
        // What it was to drop it never reads of; its rows of forums it does not hold stay and are of no use.
        for forum in std::mem::take(&mut machine.to_drop) {
            machine.copies.remove(&forum);
        }
        for forum in self.forums_of(peer) {
            let body = command::Body::RestartReplica(v1::RestartReplica {
                forum_id: forum.get(),
                peer_id: peer.get(),
            });
            let restarted = self.change(forum, body, &format!("{peer} starts over"));
            let missed = self.topics[Self::topic_at(forum)].acknowledged_before > stood_at;
            if !restarted
                && !missed
                && let Some(copy) = self.machines[at].copies.get_mut(&forum)
            {
                // It is the only copy, and nothing of the forum was in what the log has forgotten.
                copy.stands_at = None;
            }
        }
        GREETING + DIRECTORY
    }

    pub(super) fn caught_up(&mut self, at: usize, visit: u32) {
        let now = self.now;
        let machine = &mut self.machines[at];
        if !machine.up || machine.visit != visit {
            return;
        }
        machine.caught_up = true;
        let (peer, dropped) = (machine.peer, std::mem::take(&mut machine.to_drop));
        for forum in dropped {
            // It may have been invited anew since: then the old rows go all the same.
            self.machines[at].copies.remove(&forum);
            self.check_kept(forum);
        }
        let newest = self.state.newest();
        self.leader.came(peer, newest);
        for forum in self.forums_of(peer) {
            self.stories.caught_up(now, forum, peer);
            self.recount(forum);
            self.answer_open_tasks(forum);
        }
        self.resume_copies_to(peer);
        self.resume_copies_from(peer);
        self.look_at(now);
        self.leader.may_plan();
    }

    pub(super) fn leave(&mut self, at: usize, visit: u32) {
        if !self.machines[at].up || self.machines[at].visit != visit {
            return;
        }
        self.go(at);
        let now = self.now;
        match self.machines[at].away(now) {
            Some(away) => self.agenda.at(now + away, Event::Arrive(at)),
            None => {
                self.machines[at].gone = true;
                let habit = self.machines[at].habit_at;
                let mut rng = generator(self.seed, JOINERS, at as u64 | 1 << 32);
                let wait = self.scenario.habits[habit].joins.draw(&mut rng, now);
                self.agenda.at(now + wait, Event::Join(habit));
            }
        }
    }

    /// The machine is off from now on.
    pub(super) fn go(&mut self, at: usize) {
        let now = self.now;
        let newest = self.state.newest();
        if self.machines[at].habit.steady {
            if self.steady_up == 1 {
                self.advance_all();
            }
            self.steady_up -= 1;
        }
        let machine = &mut self.machines[at];
        if machine.caught_up {
            machine.cursor = newest;
        }
        machine.up = false;
        machine.caught_up = false;
        let (peer, cursor) = (machine.peer, machine.cursor);
        self.leader.went(peer, cursor, now);
        for forum in self.forums_of(peer) {
            self.stories.went(now, forum, peer);
            self.recount(forum);
        }
        self.pause_copies_of(peer);
        self.look_at(now);
        self.look_at(now + TAKEOVER);
        self.leader.may_plan();
    }

    pub(super) fn forums_of(&self, peer: PeerId) -> Vec<ForumId> {
        self.state.forums_of(peer).map(|forum| forum.id).collect()
    }

    /// What the scenario wants done now.
    pub(super) fn deed(&mut self, at: usize) {
        match self.scenario.deeds[at].1 {
            Deed::Destroy(machine) => self.destroy(machine),
            Deed::Drain(machine) => self.set_state(machine, v1::PeerState::Draining),
            Deed::Retire(machine) => {
                self.set_state(machine, v1::PeerState::Removed);
                if self.machines[machine].up {
                    self.go(machine);
                }
                self.machines[machine].gone = true;
            }
            Deed::LeaveAtOnce { first, last, back_each } => {
                for (number, machine) in (first..=last).enumerate() {
                    if self.machines[machine].up {
                        self.go(machine);
                    }
                    // Whatever it had in mind before: the visit is over.
                    self.machines[machine].visit += 1;
                    let back = self.now + back_each * (number as Ms + 1);
                    self.agenda.at(back, Event::Arrive(machine));
                }
            }
        }
    }

    fn destroy(&mut self, machine: usize) {
        if self.machines[machine].up {
            self.go(machine);
        }
        let forums: Vec<ForumId> = self.machines[machine].copies.keys().copied().collect();
        self.machines[machine].destroyed = true;
        self.machines[machine].gone = true;
        let peer = self.machines[machine].peer;
        for forum in forums {
            self.stories.tell(self.now, forum, format!("{peer} is destroyed"));
            self.check_kept(forum);
        }
    }

    fn set_state(&mut self, machine: usize, state: v1::PeerState) {
        let peer = self.machines[machine].peer;
        let body = command::Body::SetPeerState(v1::SetPeerState { peer_id: peer.get(), state: state.into() });
        self.apply(body);
        for forum in self.forums_of(peer) {
            self.stories.tell(self.now, forum, format!("{peer} is to be {state:?}"));
        }
        self.follow_all_invitations();
        self.leader.may_plan();
        self.look_at(self.now);
        debug_assert_eq!(index(peer), machine);
    }
}

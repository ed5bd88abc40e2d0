//! What the shell around the plan does on the leading hub, in a small way: takes over from peers that have gone, brings
//! invitations to their end, lets go of what was replaced, trims, and has a plan made at most once a second. Owns what a
//! leader remembers, which is gone with the lead.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::{
    ids::{ForumId, PeerId, TaskId},
    v1::{self, command},
};
use loop_raft_store::machine::{Forum, PeerState};

use super::{
    agenda::{Event, HOUR, Ms, SECOND},
    plan_adapter::{self, Compared, Confirming, Plan, Planner, Presence, Present, Sight},
    world::{TICK, World, index},
};

/// From the moment a peer is gone until another one is the primary.
pub const TAKEOVER: Ms = SECOND;
/// What a new leader gives peers to show up before it plans.
const SETTLE: Ms = 2 * SECOND;
/// Between two plans.
const EVERY: Ms = SECOND;
/// Records kept although everybody has them.
const KEEP: u64 = 10_000;
/// Not worth a log entry below this.
const TRIM_MIN: u64 = 1_000;
/// How often the state's own rules are checked.
const CHECK_EVERY: Ms = 6 * HOUR;

/// What a leader remembers.
pub struct Leader {
    led_since: Ms,
    planned_at: Option<Ms>,
    /// Something may have changed since the last plan.
    may_plan: bool,
    /// When it looks next, and after that.
    looks: BTreeSet<Ms>,
    checked_at: Ms,
    /// Since when, and for how long before as earlier leaders have told.
    absent: BTreeMap<PeerId, (Ms, Ms)>,
    cursors: BTreeMap<PeerId, u64>,
    moved_at: BTreeMap<ForumId, u64>,
    planner: Planner,
    presence: Presence,
    confirming: Confirming,
}

impl Leader {
    /// Has just been elected.
    pub fn new(now: Ms) -> Self {
        Self {
            led_since: now,
            planned_at: None,
            may_plan: true,
            looks: BTreeSet::new(),
            checked_at: now,
            absent: BTreeMap::new(),
            cursors: BTreeMap::new(),
            moved_at: BTreeMap::new(),
            planner: Planner::default(),
            presence: Presence::default(),
            confirming: Confirming::default(),
        }
    }

    /// Another plan than the last one may be due.
    pub fn may_plan(&mut self) {
        self.may_plan = true;
    }

    /// A peer is connected, with this cursor.
    pub fn came(&mut self, peer: PeerId, cursor: u64) {
        self.absent.remove(&peer);
        self.cursors.insert(peer, cursor);
    }

    /// A peer is connected no more; it was seen with this cursor last.
    pub fn went(&mut self, peer: PeerId, cursor: u64, now: Ms) {
        self.absent.insert(peer, (now, 0));
        self.cursors.insert(peer, cursor);
    }

    fn away(&self, peer: PeerId, now: Ms) -> Option<Ms> {
        self.absent.get(&peer).map(|(since, before)| now - since + before)
    }

    /// Everybody who is connected.
    pub fn present(&self, world: &World) -> BTreeMap<PeerId, Present> {
        let up = world.machines.iter().filter(|machine| machine.up);
        let newest = world.state.newest();
        up.map(|machine| {
            let cursor = if machine.caught_up { newest } else { machine.cursor };
            let limits = machine.habit.limits;
            (machine.peer, Present { cursor, limits, disk_bytes: machine.disk_bytes() })
        })
        .collect()
    }
}

impl World {
    /// The leader looks then.
    pub(super) fn look_at(&mut self, at: Ms) {
        if self.leader.looks.insert(at) {
            self.agenda.at(at, Event::Look);
        }
    }

    pub(super) fn look_if_due(&mut self) {
        // One that an earlier leader has put down is not due.
        if self.leader.looks.remove(&self.now) {
            self.look();
        }
    }

    pub(super) fn tick(&mut self) {
        self.agenda.at(self.now + TICK, Event::Tick);
        self.trim();
        self.leader.may_plan();
        self.look();
        if self.now - self.leader.checked_at >= CHECK_EVERY {
            self.leader.checked_at = self.now;
            self.check_state();
        }
    }

    pub(super) fn new_leader(&mut self) {
        let now = self.now;
        let checked_at = self.leader.checked_at;
        self.leader = Leader { checked_at, ..Leader::new(now) };
        for at in 0..self.machines.len() {
            let (peer, up, cursor) = (self.machines[at].peer, self.machines[at].up, self.machines[at].cursor);
            match up {
                true => self.leader.came(peer, cursor),
                // A new leader has never seen it.
                false => {
                    let before = plan_adapter::away_before(&self.state, peer);
                    self.leader.absent.insert(peer, (now, before));
                }
            }
        }
        self.forget_patience();
        self.look_at(now + SETTLE);
        if let Some(every) = self.scenario.leader_changes {
            self.agenda.at(now + every, Event::NewLeader);
        }
    }

    fn look(&mut self) {
        self.take_over();
        self.note_presence();
        self.bring_to_an_end();
        let now = self.now;
        let rested = self.leader.planned_at.is_none_or(|at| now >= at + EVERY);
        let settled = now >= self.leader.led_since + SETTLE;
        if self.leader.may_plan && rested && settled {
            self.plan();
        }
        if self.leader.may_plan {
            let next = self.leader.planned_at.map_or(self.leader.led_since + SETTLE, |at| at + EVERY);
            self.look_at(next.max(now + 1));
        }
        if let (_, Some(next)) = self.overdue() {
            self.look_at(next);
        }
    }

    /// Forums whose primary has gone get another one.
    fn take_over(&mut self) {
        let now = self.now;
        let gone =
            |peer: &PeerId| self.leader.absent.get(peer).is_some_and(|(since, _)| now >= since + TAKEOVER);
        let headless = self.state.forums().filter(|forum| gone(&forum.primary));
        let moves: Vec<_> =
            headless.filter_map(|forum| Some((forum.id, self.successor(forum)?, forum.epoch))).collect();
        for (forum, to, epoch) in moves {
            let body = command::Body::MovePrimary(v1::MovePrimary {
                forum_id: forum.get(),
                to_peer: to.get(),
                expected_epoch: epoch.0,
            });
            if self.change(forum, body, &format!("{to} takes over")) {
                self.moved(forum);
            }
        }
    }

    fn moved(&mut self, forum: ForumId) {
        let at = self.log_now();
        self.leader.moved_at.insert(forum, at);
        self.topics[Self::topic_at(forum)].meter.primaries += 1;
        self.answer_open_tasks(forum);
    }

    fn successor(&self, forum: &Forum) -> Option<PeerId> {
        let newest = self.state.newest();
        plan_adapter::successor(forum, |peer| {
            let machine = self.machine_of(peer).filter(|machine| machine.up)?;
            Some(if machine.caught_up { newest } else { machine.cursor })
        })
    }

    /// Cut-overs, invitations that stood still for too long, replicas that were replaced.
    fn bring_to_an_end(&mut self) {
        let present = self.leader.present(self);
        for invitation in self.ready_to_serve() {
            let Some((forum, target)) = self.forum_and_target(invitation) else { continue };
            let body = command::Body::CutOver(v1::CutOver {
                forum_id: forum.get(),
                invitation_id: invitation.get(),
                caught_up_through: self.state.newest(),
            });
            self.change(forum, body, &format!("{target} serves"));
            self.answer_open_tasks(forum);
        }
        for invitation in self.overdue().0 {
            let Some((forum, target)) = self.forum_and_target(invitation) else { continue };
            let body = command::Body::CloseInvitation(v1::CloseInvitation {
                forum_id: forum.get(),
                invitation_id: invitation.get(),
                status: v1::InvitationStatus::Timeout.into(),
                reason: 0,
            });
            self.change(forum, body, &format!("{target} is given up"));
        }
        let draining = self.state.forums().filter(|forum| forum.draining().next().is_some());
        let goes: Vec<_> = draining
            .flat_map(|forum| {
                plan_adapter::to_let_go(forum, &present).into_iter().map(|body| (forum.id, body))
            })
            .collect();
        for (forum, body) in goes {
            self.change(forum, body, "a replaced one is let go");
        }
    }

    fn forum_and_target(&self, invitation: TaskId) -> Option<(ForumId, PeerId)> {
        let target = self.state.invitation(invitation)?.target;
        Some((self.forum_of(invitation)?.id, target))
    }

    fn plan(&mut self) {
        let now = self.now;
        self.leader.planned_at = Some(now);
        self.leader.may_plan = false;
        self.counts.plans += 1;
        let present = self.leader.present(self);
        let lasts = |(peer, (since, before)): (&PeerId, &(Ms, Ms))| (*peer, now - since + before);
        let absent: BTreeMap<PeerId, Ms> = self.leader.absent.iter().map(lasts).collect();
        let now_ms = self.log_now();
        self.leader.moved_at.retain(|_, at| now_ms - *at < 60 * SECOND);
        let sight = Sight {
            state: &self.state,
            now_ms,
            present: &present,
            absent: &absent,
            rates: &self.rates,
            moved_at: &self.leader.moved_at,
        };
        let Plan { due, held_back, blocked, unconfirmed } = self.leader.planner.plan(&sight);
        self.counts.held_back += held_back as u64;
        self.counts.blocked += blocked as u64;
        self.confirm(&unconfirmed);
        for step in due {
            let moves_primary = matches!(step.body, command::Body::MovePrimary(_));
            *self.counts.steps.entry(step.why.to_string()).or_default() += 1;
            if self.change(step.forum, step.body, &step.what) {
                let at = self.log_now();
                self.leader.moved_at.insert(step.forum, at);
                if moves_primary {
                    self.moved(step.forum);
                }
            }
        }
    }

    /// Has copies compared that have been live for long enough.
    fn confirm(&mut self, unconfirmed: &[(ForumId, PeerId)]) {
        for (forum, peer) in self.leader.confirming.due(unconfirmed, self.now) {
            let compared = self.compare(forum, peer);
            let mut audit = 0;
            if compared != Compared::Alone {
                self.apply(command::Body::AuditForum(v1::AuditForum { forum_id: forum.get() }));
                audit = self.state.newest();
            }
            for body in plan_adapter::compared(&self.state, forum, peer, audit, compared) {
                if !self.change(forum, body, &format!("{peer} was compared: {compared:?}")) {
                    break;
                }
            }
        }
    }

    /// What the digests of this copy and of those that count say.
    fn compare(&self, id: ForumId, peer: PeerId) -> Compared {
        let Some(forum) = self.state.forum(id) else { return Compared::Unknown };
        let digest = |peer: PeerId| {
            let machine = self.machine_of(peer).filter(|machine| machine.up && machine.caught_up)?;
            machine.copies.get(&id).map(|copy| copy.good && copy.stands_at.is_none())
        };
        let others = forum.replicas.iter().filter(|other| other.peer != peer);
        let others: Vec<_> = others.filter(|other| plan_adapter::is_counted(&self.state, other)).collect();
        if others.is_empty() {
            return Compared::Alone;
        }
        let heard: Vec<bool> = others.iter().filter_map(|other| digest(other.peer)).collect();
        match digest(peer) {
            None => Compared::Unknown,
            // Two wrong copies are not wrong in the same way.
            Some(true) if heard.contains(&true) => Compared::Equal,
            Some(_) if heard.len() == others.len() => Compared::Differs,
            Some(_) => Compared::Unknown,
        }
    }

    /// Tells the log who has come or gone.
    fn note_presence(&mut self) {
        let here = |peer: PeerId| self.machines[index(peer)].up;
        let (body, next) = self.leader.presence.due(&self.state, here, self.now);
        if let Some(body) = body {
            self.apply(body);
            self.leader.may_plan();
        }
        if let Some(next) = next {
            self.look_at(next);
        }
    }

    /// Gives up what nobody waits for any more.
    fn trim(&mut self) {
        let state = &self.state;
        let worth = (state.bounds().records_max / 20).clamp(1, TRIM_MIN);
        if state.newest() < state.kept_through().min(state.trimmed_through()) + worth {
            return;
        }
        let newest = state.newest();
        let cursors = &self.leader.cursors;
        let seen = |peer: PeerId| {
            let machine = &self.machines[index(peer)];
            if machine.up && machine.caught_up { Some(newest) } else { cursors.get(&peer).copied() }
        };
        let is_removed = |peer: PeerId| state.peer(peer).is_none_or(|peer| peer.state == PeerState::Removed);
        let kept = state
            .forums()
            .filter(|forum| !forum.serving().all(is_removed))
            .filter_map(|forum| {
                let furthest = forum.serving().filter_map(seen).max().unwrap_or(0);
                (furthest < forum.newest_record).then_some(furthest)
            })
            .min()
            .unwrap_or(newest)
            .min(newest);
        let lost = |peer: PeerId| {
            let away = self.leader.away(peer, self.now);
            is_removed(peer) || away.is_some_and(|away| plan_adapter::is_lost(state, peer, away))
        };
        let waited_for: BTreeSet<PeerId> =
            state.peers().map(|peer| peer.id).filter(|peer| !lost(*peer)).collect();
        let slowest = waited_for.iter().map(|peer| seen(*peer).unwrap_or(0)).min();
        let through = slowest.unwrap_or(kept).min(kept).min(newest.saturating_sub(KEEP));
        let trims = through >= state.trimmed_through() + worth;
        if trims || kept >= state.kept_through() + worth {
            let through = if trims { through } else { state.trimmed_through() };
            self.apply(command::Body::TrimTasks(v1::TrimTasks { through, kept_through: kept }));
        }
    }
}

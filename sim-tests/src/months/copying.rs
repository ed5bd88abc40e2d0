//! Copies on their way: what a volunteer's machine does with an invitation, and how long that takes. Owns queues, sources
//! and speeds. Whether a copy may still come is the leader's to say.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::{
    ids::{ForumId, PeerId, TaskId},
    v1::{self, RejectReason, command},
};
use loop_raft_store::machine::JoinStage;

use super::{
    agenda::{Event, Ms, SECOND},
    machines::{DiskCopy, Lie},
    plan_adapter::INVITATION_TIMEOUT,
    world::{World, index},
};

/// Copies a machine gets at once, and how many more wait.
const AT_ONCE: usize = 2;
const ORDERS_MAX: usize = 16;
/// How long a peer thinks before it answers.
const THINKS: Ms = 100;
/// How long it takes to find another source.
const SOURCE_RETRY: Ms = SECOND;
/// Bytes of a copy that are made rows in a millisecond, and what that takes at least.
const INSTALLED_PER_MS: u64 = 20_000;
const INSTALL: Ms = 200;
/// How many times its patience the leader has while it hears nothing of how far a copy is.
const UNSEEN_PATIENCE: Ms = 10;

/// What a machine does for an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not answered.
    Asked,
    /// It has said yes; others come first, or there is nobody to copy from.
    Waiting,
    /// Bytes come.
    Flowing { from: PeerId, since: Ms },
    /// Bytes become rows.
    Installing,
    /// The rows are there.
    Installed,
}

/// One copy on its way.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    forum: ForumId,
    target: PeerId,
    phase: Phase,
    /// Bytes here, of how many; 0: not known yet.
    done: u64,
    total: u64,
    /// Of the rows, in the log.
    position: u64,
    bytes_per_s: u64,
    /// Steps put down before this one count no more.
    turn: u32,
    /// Since when the leader has seen nothing move.
    still_since: Ms,
}

/// All copies on their way.
#[derive(Default)]
pub struct Copying {
    by_invitation: BTreeMap<TaskId, Copy>,
}

impl World {
    /// Takes note of which invitations of this forum are open.
    pub(super) fn follow_invitations(&mut self, id: ForumId) {
        let Some(forum) = self.state.forum(id) else { return };
        let open: BTreeSet<TaskId> = forum.joining().map(|joining| joining.invitation).collect();
        let joining: Vec<_> = forum.joining().collect();
        let over = |(invitation, copy): (&TaskId, &Copy)| {
            (copy.forum == id && !open.contains(invitation)).then_some(*invitation)
        };
        let over: Vec<TaskId> = self.copying.by_invitation.iter().filter_map(over).collect();
        for invitation in over {
            self.end_copy(invitation);
        }
        for joining in joining {
            if self.copying.by_invitation.contains_key(&joining.invitation) {
                continue;
            }
            let copy = Copy {
                forum: id,
                target: joining.peer,
                phase: Phase::Asked,
                done: 0,
                total: 0,
                position: 0,
                bytes_per_s: 0,
                turn: 0,
                still_since: self.now,
            };
            self.copying.by_invitation.insert(joining.invitation, copy);
            self.resume(joining.invitation);
        }
    }

    pub(super) fn follow_all_invitations(&mut self) {
        let forums: BTreeSet<ForumId> = self.copying.by_invitation.values().map(|copy| copy.forum).collect();
        forums.into_iter().for_each(|forum| {
            self.follow_invitations(forum);
            self.recount(forum);
        });
    }

    /// The invitation is over, one way or the other.
    fn end_copy(&mut self, invitation: TaskId) {
        self.note_bytes(invitation);
        let Some(copy) = self.copying.by_invitation.remove(&invitation) else { return };
        let serves = self.state.forum(copy.forum).is_some_and(|forum| forum.is_served_by(copy.target));
        let meter = &mut self.topics[Self::topic_at(copy.forum)].meter;
        match serves {
            true => meter.copies += 1,
            false => meter.broken += 1,
        }
        self.start_waiting(copy.target);
        if let Phase::Flowing { from, .. } = copy.phase {
            self.start_waiting(from);
        }
    }

    /// Puts down the copy's next step.
    fn next(&mut self, invitation: TaskId, after: Ms) {
        if let Some(copy) = self.copying.by_invitation.get_mut(&invitation) {
            copy.turn += 1;
            let turn = copy.turn;
            self.agenda.at(self.now + after, Event::Copy { invitation, turn });
        }
    }

    /// Goes on where it can, if the target is there.
    fn resume(&mut self, invitation: TaskId) {
        let Some(copy) = self.copying.by_invitation.get(&invitation) else { return };
        let ready = self.machine_of(copy.target).is_some_and(|machine| machine.up && machine.caught_up);
        if ready && !matches!(copy.phase, Phase::Flowing { .. }) {
            self.next(invitation, THINKS);
        }
    }

    pub(super) fn copy_step(&mut self, invitation: TaskId, turn: u32) {
        let Some(copy) = self.copying.by_invitation.get(&invitation).copied() else { return };
        let target = &self.machines[index(copy.target)];
        if copy.turn != turn || !target.up || !target.caught_up {
            return;
        }
        match copy.phase {
            Phase::Asked => self.answer_invitation(invitation, copy),
            Phase::Waiting => self.try_to_flow(invitation, copy),
            Phase::Flowing { .. } => {
                self.note_bytes(invitation);
                self.set_phase(invitation, Phase::Installing);
                self.next(invitation, INSTALL + copy.total / INSTALLED_PER_MS);
                self.start_waiting(copy.target);
            }
            Phase::Installing => self.installed(invitation, copy),
            Phase::Installed => {}
        }
    }

    fn set_phase(&mut self, invitation: TaskId, phase: Phase) {
        if let Some(copy) = self.copying.by_invitation.get_mut(&invitation) {
            copy.phase = phase;
            copy.still_since = self.now;
        }
    }

    fn answer_invitation(&mut self, invitation: TaskId, copy: Copy) {
        let machine = &self.machines[index(copy.target)];
        let limits = machine.habit.limits;
        let orders = self.copying.by_invitation.values();
        let orders =
            orders.filter(|other| other.target == copy.target && other.phase != Phase::Asked).count();
        let refused = if limits.forums > 0 && machine.copies.len() >= limits.forums as usize {
            Some(RejectReason::ForumsMax)
        } else if limits.disk_bytes > 0 && machine.disk_bytes() >= limits.disk_bytes {
            Some(RejectReason::DiskFull)
        } else if orders >= ORDERS_MAX {
            Some(RejectReason::Busy)
        } else {
            None
        };
        if refused.is_none() {
            self.set_phase(invitation, Phase::Waiting);
        }
        self.reply(invitation, copy, refused);
        self.resume(invitation);
        self.look_at(self.now);
    }

    fn reply(&mut self, invitation: TaskId, copy: Copy, refused: Option<RejectReason>) {
        let body = command::Body::AnswerInvitation(v1::AnswerInvitation {
            forum_id: copy.forum.get(),
            invitation_id: invitation.get(),
            peer_id: copy.target.get(),
            accepted: refused.is_none(),
            reason: refused.unwrap_or_default().into(),
        });
        let what = match refused {
            None => format!("{} accepts {invitation}", copy.target),
            Some(reason) => format!("{} refuses {invitation}: {reason:?}", copy.target),
        };
        self.change(copy.forum, body, &what);
    }

    /// Begins to flow, if it is this copy's turn and somebody can give.
    fn try_to_flow(&mut self, invitation: TaskId, copy: Copy) {
        let active = |other: &&Copy| {
            other.target == copy.target && matches!(other.phase, Phase::Flowing { .. } | Phase::Installing)
        };
        if self.copying.by_invitation.values().filter(active).count() >= AT_ONCE {
            return;
        }
        let Some(source) = self.source_of(invitation, copy) else {
            self.next(invitation, SOURCE_RETRY * 5);
            return;
        };
        let total = self.topics[Self::topic_at(copy.forum)].bytes.max(copy.total);
        let machine = &self.machines[index(copy.target)];
        let limits = machine.habit.limits;
        let needed = machine.disk_bytes() + 2 * total;
        if limits.forum_bytes > 0 && total > limits.forum_bytes {
            return self.reply(invitation, copy, Some(RejectReason::ForumTooLarge));
        }
        if limits.disk_bytes > 0 && needed > limits.disk_bytes {
            return self.reply(invitation, copy, Some(RejectReason::DiskFull));
        }
        let lie = machine.habit.lie;
        if lie == Some(Lie::Silent) {
            return;
        }
        let giver = &self.machines[index(source)];
        let rate = (machine.habit.bandwidth.min(giver.habit.bandwidth) / AT_ONCE as u64).max(1);
        let position = self.state.newest();
        let since = self.now;
        if let Some(copy) = self.copying.by_invitation.get_mut(&invitation) {
            copy.phase = Phase::Flowing { from: source, since };
            copy.total = total;
            copy.position = position;
            copy.bytes_per_s = rate;
        }
        let told = format!("{} copies {total} bytes from {source}, {} there", copy.target, copy.done);
        self.stories.tell(self.now, copy.forum, told);
        if lie != Some(Lie::Busy) {
            self.next(invitation, (total - copy.done.min(total)) * 1000 / rate + 1);
        }
    }

    /// A serving peer that is connected; the one that was named when it was invited before others.
    fn source_of(&self, invitation: TaskId, copy: Copy) -> Option<PeerId> {
        let forum = self.state.forum(copy.forum)?;
        let named = self.state.invitation(invitation).map(|invitation| invitation.source);
        let up =
            |peer: &PeerId| self.machine_of(*peer).is_some_and(|machine| machine.up && machine.caught_up);
        forum.serving().filter(up).min_by_key(|peer| (Some(*peer) != named, *peer))
    }

    fn installed(&mut self, invitation: TaskId, copy: Copy) {
        let good = self.machines[index(copy.target)].habit.lie != Some(Lie::Wrong) && self.is_whole_at(copy);
        let rows = DiskCopy { bytes: copy.total, stands_at: None, good };
        self.machines[index(copy.target)].copies.insert(copy.forum, rows);
        self.set_phase(invitation, Phase::Installed);
        let body = command::Body::SeedReplica(v1::SeedReplica {
            forum_id: copy.forum.get(),
            invitation_id: invitation.get(),
            peer_id: copy.target.get(),
            cursor: copy.position.max(invitation.get()),
        });
        self.change(copy.forum, body, &format!("{} has its copy", copy.target));
        self.start_waiting(copy.target);
        self.look_at(self.now);
    }

    /// What was given was right: somebody who serves has the forum rightly.
    fn is_whole_at(&self, copy: Copy) -> bool {
        let newest = self.state.newest();
        let least = self.topics[Self::topic_at(copy.forum)].acknowledged_before;
        let Some(forum) = self.state.forum(copy.forum) else { return false };
        let mut machines = forum.serving().filter_map(|peer| self.machine_of(peer));
        machines.any(|machine| machine.has_through(copy.forum, newest).is_some_and(|has| has >= least))
    }

    /// Adds what has come so far of a flowing copy.
    fn note_bytes(&mut self, invitation: TaskId) {
        let now = self.now;
        let Some(copy) = self.copying.by_invitation.get_mut(&invitation) else { return };
        let Phase::Flowing { from, since } = copy.phase else { return };
        let came = ((now - since) * copy.bytes_per_s / 1000).min(copy.total - copy.done.min(copy.total));
        copy.done += came;
        copy.phase = Phase::Flowing { from, since: now };
        let forum = copy.forum;
        let topic = &mut self.topics[Self::topic_at(forum)];
        topic.meter.moved(now, came, topic.bytes);
    }

    /// Copies to and from a machine that has gone stand still.
    pub(super) fn pause_copies_of(&mut self, peer: PeerId) {
        let concerns = |copy: &Copy| {
            copy.target == peer || matches!(copy.phase, Phase::Flowing { from, .. } if from == peer)
        };
        let all = self.copying.by_invitation.iter();
        let concerned: Vec<TaskId> = all.filter(|(_, copy)| concerns(copy)).map(|(id, _)| *id).collect();
        for invitation in concerned {
            self.note_bytes(invitation);
            let Some(copy) = self.copying.by_invitation.get_mut(&invitation) else { continue };
            copy.still_since = self.now;
            copy.turn += 1;
            if matches!(copy.phase, Phase::Flowing { .. }) {
                copy.phase = Phase::Waiting;
            }
            if copy.target != peer {
                self.next(invitation, SOURCE_RETRY);
            }
        }
    }

    pub(super) fn resume_copies_to(&mut self, peer: PeerId) {
        let all = self.copying.by_invitation.iter();
        let own: Vec<TaskId> = all.filter(|(_, copy)| copy.target == peer).map(|(id, _)| *id).collect();
        own.into_iter().for_each(|invitation| self.resume(invitation));
    }

    pub(super) fn resume_copies_from(&mut self, peer: PeerId) {
        let serves = |copy: &Copy| self.state.forum(copy.forum).is_some_and(|forum| forum.is_served_by(peer));
        let all = self.copying.by_invitation.iter();
        let waiting = all.filter(|(_, copy)| copy.phase == Phase::Waiting && serves(copy));
        let waiting: Vec<TaskId> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|invitation| self.resume(invitation));
    }

    /// A place has become free at this machine.
    fn start_waiting(&mut self, peer: PeerId) {
        let all = self.copying.by_invitation.iter();
        let waiting = all.filter(|(_, copy)| copy.target == peer && copy.phase == Phase::Waiting);
        let waiting: Vec<TaskId> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|invitation| self.resume(invitation));
    }

    /// The leader has changed: everybody has its patience anew.
    pub(super) fn forget_patience(&mut self) {
        let now = self.now;
        self.copying.by_invitation.values_mut().for_each(|copy| copy.still_since = now);
    }

    /// Invitations that have stood still for too long by now, and when the next will have.
    pub(super) fn overdue(&self) -> (Vec<TaskId>, Option<Ms>) {
        let (mut overdue, mut next) = (Vec::new(), None);
        for (invitation, copy) in &self.copying.by_invitation {
            let Some(stage) = self.stage_of(*invitation, copy) else { continue };
            let up = self.machine_of(copy.target).is_some_and(|machine| machine.up);
            if up && matches!(copy.phase, Phase::Flowing { .. }) {
                continue;
            }
            let unseen = up && (copy.total == 0 || copy.phase == Phase::Installing);
            let patience = match stage {
                JoinStage::Invited => INVITATION_TIMEOUT,
                JoinStage::Seeding if unseen => INVITATION_TIMEOUT * UNSEEN_PATIENCE,
                JoinStage::Seeding | JoinStage::CatchingUp => INVITATION_TIMEOUT * 2,
            };
            let due = copy.still_since + patience;
            if due <= self.now {
                overdue.push(*invitation);
            } else {
                next = Some(next.map_or(due, |next: Ms| next.min(due)));
            }
        }
        (overdue, next)
    }

    fn stage_of(&self, invitation: TaskId, copy: &Copy) -> Option<JoinStage> {
        let joining = self.state.forum(copy.forum)?.replica(copy.target)?.joining()?;
        (joining.invitation == invitation).then_some(joining.stage)
    }

    /// Invitations whose targets have everything and are there.
    pub(super) fn ready_to_serve(&self) -> Vec<TaskId> {
        let ready = |(invitation, copy): (&TaskId, &Copy)| {
            let target = self.machine_of(copy.target)?;
            let ready = target.up && target.caught_up && copy.phase == Phase::Installed;
            let stage = self.stage_of(*invitation, copy)?;
            (ready && stage == JoinStage::CatchingUp).then_some(*invitation)
        };
        self.copying.by_invitation.iter().filter_map(ready).collect()
    }
}

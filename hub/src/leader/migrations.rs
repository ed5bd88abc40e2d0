//! Brings open invitations to their end: cuts over when the target is close, gives up when it stands still.
//!
//! Everything is found again from the state and from what peers say; a new leader only gives everybody its patience
//! anew. What is due is proposed; the machine checks it against the log.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumId, TaskId},
    v1::{self, InvitationStatus, command},
};
use loop_raft_store::machine::{
    HubState, Invitation, JoinStage, PeerState, Replica, bounds::CUT_OVER_LAG_MAX,
};
use tokio::time::Instant;

use super::{
    context::{LeaderContext, TRIED_FOR},
    watch::Present,
};
use crate::{log::ProposeError, mesh::presence::Whereabouts};

/// A target this many records behind is close: what it has yet to apply is done in a few milliseconds. The machine
/// allows twice that, because the log goes on while the cut-over is proposed.
const CLOSE: u64 = CUT_OVER_LAG_MAX / 2;
/// When a move is over by the clock, for [`Breakage::CutOverByWallClock`].
const CUT_OVER_AFTER_MS: u64 = 100;
/// Steps proposed at once.
const STEPS_MAX: usize = 256;
/// How many times its patience a target has while nothing is heard of how far it is: the giver makes its copy, or the
/// target turns it into rows.
const UNSEEN_PATIENCE: u32 = 10;

/// What the leader has seen so far. Forgotten with the lead.
#[derive(Default)]
pub(super) struct Migrations {
    seen: BTreeMap<TaskId, Seen>,
    /// The newest record when this leader first looked.
    led_from: Option<u64>,
}

/// A target that begins a copy anew is given as much time again, so often.
const SETBACKS_MAX: u8 = 3;

/// How far a target was when it last moved, and when that was.
struct Seen {
    mark: Mark,
    since: Instant,
    /// How often it fell back, or began something anew.
    setbacks: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    stage: JoinStage,
    progress: u64,
    /// Something goes on that says nothing of how far it is.
    unseen: bool,
}

struct Step {
    forum: ForumId,
    what: &'static str,
    body: command::Body,
}

impl Migrations {
    /// Looks once and proposes what is due.
    pub(super) async fn step(&mut self, cx: &LeaderContext, present: &Present) {
        let patience = cx.config.invitation_timeout;
        let mut steps = cx.log.read(|state| self.of_invitations(state, present, patience));
        steps.truncate(STEPS_MAX);
        join_all(steps.into_iter().map(|step| propose(cx, step))).await;
    }

    fn of_invitations(&mut self, state: &HubState, present: &Present, patience: Duration) -> Vec<Step> {
        self.seen.retain(|id, _| state.invitation(*id).is_some_and(|i| i.status.is_open()));
        let led_from = *self.led_from.get_or_insert(state.newest());
        let forgotten = |id: TaskId| id.get() <= led_from && breakage::is_on(Breakage::EffectLostAtElection);
        state
            .open_invitations()
            .filter(|invitation| !forgotten(invitation.id))
            .filter_map(|invitation| self.of_invitation(state, invitation, present, patience))
            .collect()
    }

    fn of_invitation(
        &mut self,
        state: &HubState,
        invitation: &Invitation,
        present: &Present,
        patience: Duration,
    ) -> Option<Step> {
        let forum = state.forum(invitation.forum)?;
        let joining = forum.replica(invitation.target).and_then(Replica::joining)?;
        let target = present.peers.get(&invitation.target);
        let mark = mark(joining.stage, invitation.id, target);
        let seen = self.seen.entry(invitation.id).or_insert(Seen { mark, since: present.at, setbacks: 0 });
        seen.look(mark, target.is_some(), present.at);
        if let Some(at) = target
            && joining.stage == JoinStage::CatchingUp
            && forum.newest_record.saturating_sub(at.cursor()) <= CLOSE
        {
            return Some(cut_over(invitation, at.cursor()));
        }
        let on_its_way_ms = state.now().0.saturating_sub(invitation.invited_at.0);
        if on_its_way_ms >= CUT_OVER_AFTER_MS && breakage::is_on(Breakage::CutOverByWallClock) {
            return Some(cut_over(invitation, 0));
        }
        let wanted = state
            .peer(invitation.target)
            .is_some_and(|peer| matches!(peer.state, PeerState::Active | PeerState::Paused));
        let stood_still = present.at.duration_since(seen.since);
        (!wanted || stood_still >= seen.mark.patience(patience)).then(|| give_up(invitation))
    }
}

impl Seen {
    /// Takes note of where the target is now. One that is away stands where it stood, and nothing unseen goes on there.
    fn look(&mut self, mark: Mark, connected: bool, now: Instant) {
        let mark = if connected { mark } else { Mark { unseen: false, ..self.mark } };
        let gets_on = mark.stage != self.mark.stage || mark.progress > self.mark.progress;
        // Whoever goes back and forth gets nowhere.
        if gets_on || mark != self.mark && self.setbacks < SETBACKS_MAX {
            let setbacks = self.setbacks + u8::from(!gets_on);
            *self = Self { mark, since: now, setbacks };
        }
    }
}

impl Mark {
    /// How long a target may stand still here.
    fn patience(&self, unanswered: Duration) -> Duration {
        match self.stage {
            JoinStage::Invited => unanswered,
            JoinStage::Seeding if self.unseen => unanswered * UNSEEN_PATIENCE,
            JoinStage::Seeding | JoinStage::CatchingUp => unanswered * 2,
        }
    }
}

fn mark(stage: JoinStage, invitation: TaskId, target: Option<&Whereabouts>) -> Mark {
    let mut mark = Mark { stage, progress: 0, unseen: false };
    let Some(at) = target else { return mark };
    match stage {
        JoinStage::Invited => {}
        JoinStage::CatchingUp => mark.progress = at.cursor(),
        JoinStage::Seeding => {
            let status = at.status().unwrap_or_default();
            let seeding = status.seeding.into_iter().find(|s| s.invitation_id == invitation.get());
            if let Some(seeding) = seeding {
                mark.progress = seeding.bytes_done;
                mark.unseen = seeding.installing || seeding.bytes_total == 0;
            }
        }
    }
    mark
}

fn cut_over(invitation: &Invitation, caught_up_through: u64) -> Step {
    let body = command::Body::CutOver(v1::CutOver {
        forum_id: invitation.forum.get(),
        invitation_id: invitation.id.get(),
        caught_up_through,
    });
    Step { forum: invitation.forum, what: "cut over", body }
}

fn give_up(invitation: &Invitation) -> Step {
    let body = command::Body::CloseInvitation(v1::CloseInvitation {
        forum_id: invitation.forum.get(),
        invitation_id: invitation.id.get(),
        status: InvitationStatus::Timeout.into(),
        reason: 0,
    });
    Step { forum: invitation.forum, what: "given up", body }
}

async fn propose(cx: &LeaderContext, step: Step) {
    // Not tried again here: the next look decides anew on what is there then.
    let outcome = cx.log.propose(step.body, TRIED_FOR).await;
    match outcome {
        Err(ProposeError::Rejected(no)) => {
            tracing::debug!(forum = %step.forum, what = step.what, code = ?no.code(), "not yet");
        }
        Ok(_) => tracing::info!(forum = %step.forum, "a move was {}", step.what),
        Err(error) => tracing::warn!(forum = %step.forum, what = step.what, %error, "could not be proposed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seeding(progress: u64, unseen: bool) -> Mark {
        Mark { stage: JoinStage::Seeding, progress, unseen }
    }

    #[test]
    fn progress_renews_the_patience_and_an_absence_does_not() {
        let start = Instant::now();
        let mut seen = Seen { mark: seeding(5, false), since: start, setbacks: 0 };
        seen.look(seeding(5, false), true, start + SECOND);
        assert_eq!(seen.since, start);
        seen.look(seeding(0, false), false, start + 2 * SECOND);
        seen.look(seeding(5, false), true, start + 3 * SECOND);
        assert_eq!(seen.since, start, "it was away and has got no further");
        seen.look(seeding(6, false), true, start + 4 * SECOND);
        assert_eq!(seen.since, start + 4 * SECOND);
    }

    #[test]
    fn whoever_goes_back_and_forth_is_given_up_in_the_end() {
        let start = Instant::now();
        let mut seen = Seen { mark: seeding(5, false), since: start, setbacks: 0 };
        for look in 1..=100u32 {
            seen.look(seeding(u64::from(look % 2), false), true, start + look * SECOND);
        }
        assert!(seen.since < start + 10 * SECOND);
        seen.look(seeding(6, false), true, start + 101 * SECOND);
        assert_eq!(seen.since, start + 101 * SECOND, "it goes on after all");
    }

    #[test]
    fn what_cannot_be_seen_has_more_time_but_only_while_the_target_is_there() {
        let start = Instant::now();
        let mut seen = Seen { mark: seeding(0, true), since: start, setbacks: 0 };
        assert_eq!(seen.mark.patience(SECOND), 10 * SECOND);
        seen.look(seeding(0, false), false, start + SECOND);
        assert_eq!((seen.mark.patience(SECOND), seen.since), (2 * SECOND, start + SECOND));
    }
}

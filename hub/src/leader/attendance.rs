//! Tells the log which peers come and go, so that what is known of their habits outlives this leader.
//!
//! Coarse: what lasts a moment only is not told. Also lets the log's time go on where nobody writes, because absences are
//! counted in it.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::{
    ids::PeerId,
    v1::{self, command},
};
use loop_raft_store::machine::{HubState, command::PRESENCE_LISTED_MAX};
use tokio::time::Instant;

use super::{
    context::{LeaderContext, TRIED_FOR},
    watch::Present,
};

/// How often peers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A change has to last for as long before it is told.
const LASTS: Duration = Duration::from_secs(2);
/// The log's time goes on at least this often. Below the longest step of it that counts as time that has passed.
const TICK_MAX: Duration = Duration::from_secs(30);
const TICK_MIN: Duration = Duration::from_secs(1);

/// What this leader has seen and not told yet. Forgotten with the lead.
#[derive(Default)]
pub(super) struct AttendanceDuty {
    looked_at: Option<Instant>,
    told_at: Option<Instant>,
    /// Peers that are not as the log has them, and since when.
    changed: BTreeMap<PeerId, (bool, Instant)>,
}

impl AttendanceDuty {
    /// Looks if it is time to and proposes what has changed.
    pub(super) async fn step(&mut self, cx: &LeaderContext, present: &Present) {
        let now = present.at;
        if self.looked_at.is_some_and(|at| now.duration_since(at) < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(now);
        // Peers' absences have to be seen well before they are held against them.
        let grain = cx.config.peer_grace / 10;
        let due = cx.log.read(|state| self.note(state, present, LASTS.min(grain)));
        let tick = grain.clamp(TICK_MIN, TICK_MAX);
        let is_tick = self.told_at.is_none_or(|at| now.duration_since(at) >= tick);
        if due.connected.is_empty() && due.away.is_empty() && !is_tick {
            return;
        }
        self.told_at = Some(now);
        let body = command::Body::NotePresence(due);
        if let Err(error) = cx.log.propose(body, TRIED_FOR).await {
            tracing::debug!(%error, "could not tell who has come or gone");
        }
    }

    /// Takes note of who is there; what has changed for long enough.
    fn note(&mut self, state: &HubState, present: &Present, lasts: Duration) -> v1::NotePresence {
        for peer in state.peers() {
            let here = present.peers.contains_key(&peer.id);
            if here == peer.attendance.connected {
                self.changed.remove(&peer.id);
                continue;
            }
            let seen = self.changed.entry(peer.id).or_insert((here, present.at));
            if seen.0 != here {
                *seen = (here, present.at);
            }
        }
        let lasting =
            self.changed.iter().filter(|(_, (_, since))| present.at.duration_since(*since) >= lasts);
        let (connected, away): (Vec<_>, Vec<_>) =
            lasting.take(PRESENCE_LISTED_MAX).partition(|(_, (here, _))| *here);
        let ids = |peers: Vec<(&PeerId, _)>| peers.into_iter().map(|(peer, _)| peer.get()).collect();
        v1::NotePresence { connected: ids(connected), away: ids(away) }
    }
}

#[cfg(test)]
mod tests {
    use loop_raft_store::machine::{self, bounds::Bounds};

    use super::*;

    fn state() -> HubState {
        let mut state = HubState::new(Bounds::default());
        let register =
            v1::RegisterPeer { name: "p".into(), secret_hash: vec![1; 32].into(), ..Default::default() };
        let body = Some(command::Body::RegisterPeer(register));
        let command = v1::Command { request_id: vec![1; 16].into(), at_ms: 1, body };
        machine::apply_command(&mut state, command);
        state
    }

    #[test]
    fn an_absence_is_told_once_it_has_lasted_and_one_of_a_moment_never() {
        let (state, start) = (state(), Instant::now());
        let mut duty = AttendanceDuty::default();
        let mut told = |after_ms: u64| {
            let present = Present { at: start + Duration::from_millis(after_ms), peers: BTreeMap::new() };
            duty.note(&state, &present, LASTS)
        };
        assert_eq!(told(0), v1::NotePresence::default());
        assert_eq!(told(1_900), v1::NotePresence::default());
        assert_eq!(told(2_000), v1::NotePresence { connected: vec![], away: vec![1] });
    }
}

//! How much a peer can be counted on, from how it has come and gone. Pure.

use loop_proto::breakage::{self, Breakage};
use loop_proto::ids::HubTime;
use loop_raft_store::machine::{Attendance, Peer};

/// A peer counts if it is there for at least this part of the time, in thousandths.
const PRESENT_PERMILLE_MIN: u32 = 500;
/// For how long a peer is doubted of whose copies one was not what the others are, milliseconds.
const DOUBTED_FOR_MS: u64 = 24 * 3_600_000;
/// However long a peer's absences are, its copies are not counted on for longer than this, milliseconds.
const GRACE_MAX_MS: u64 = 24 * 3_600_000;
/// A group younger than this has no peers that are older, milliseconds: the time of its first command counts as a minute.
const GROUP_AGE_FIRST_MS: u64 = 60_000;

/// What is to be proven, and how long an absence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The log's steady time now.
    pub now: HubTime,
    /// How long a peer must have been there to be counted on, milliseconds.
    pub probation_ms: u64,
    /// How long one may be away of which nothing else is known, milliseconds.
    pub grace_ms: u64,
}

impl Patience {
    /// How long a peer must have been there by now. In a young group half of the group's age will do: all its peers are new,
    /// and those who founded it are still told from whoever dropped in a moment ago.
    fn probation_now_ms(&self) -> u64 {
        let age = self.now.0.saturating_sub(GROUP_AGE_FIRST_MS);
        self.probation_ms.min(age / 2)
    }

    /// Whether a peer's copies count: it has been there for long enough, and for most of the time.
    pub fn is_proven(&self, attendance: &Attendance) -> bool {
        breakage::is_on(Breakage::NewcomerCounts)
            || attendance.present_ms(self.now) >= self.probation_now_ms()
                && attendance.usual_permille(self.now) >= PRESENT_PERMILLE_MIN
    }

    /// Whether it is too new to be judged: it has not been away yet.
    pub fn is_new(&self, attendance: &Attendance) -> bool {
        !self.is_proven(attendance) && attendance.connected && attendance.typical_absence_ms().is_none()
    }

    /// How long it may be away before its copies are made elsewhere, milliseconds. One that can be counted on, and comes back
    /// from most absences after a while, is waited for twice as long as that.
    pub fn grace_ms(&self, attendance: &Attendance) -> u64 {
        let usual = attendance.typical_absence_ms().filter(|_| self.is_proven(attendance));
        let learned = usual.map_or(0, |ms| ms.saturating_mul(2)).min(GRACE_MAX_MS.max(self.grace_ms));
        self.grace_ms.max(learned)
    }

    /// Whether one of its copies was not what the others are, lately: it gets no more, and those it has do not count.
    pub fn is_doubted(&self, peer: &Peer) -> bool {
        let last = peer.doubted_at.max(peer.breach.map(|breach| breach.at));
        last.is_some_and(|at| self.now.0.saturating_sub(at.0) < DOUBTED_FOR_MS)
    }

    /// Orders those who are not proven: by how long they have been there, doubling by doubling. Whoever is doubted is the last.
    pub fn standing(&self, peer: &Peer) -> u32 {
        let attendance = &peer.attendance;
        if self.is_doubted(peer) {
            return 0;
        }
        if self.is_proven(attendance) {
            return u32::MAX;
        }
        let minutes = attendance.present_ms(self.now) / 60_000;
        u64::BITS - minutes.leading_zeros()
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::{ids::PeerId, v1};
    use loop_raft_store::machine::{self, HubState, bounds::Bounds};

    use super::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    /// A peer that comes and goes, in a group whose log goes on minute by minute.
    struct Group {
        state: HubState,
        now_ms: u64,
        commands: u8,
    }

    impl Group {
        fn new() -> Self {
            let mut group = Self { state: HubState::new(Bounds::default()), now_ms: 1_000_000, commands: 0 };
            group.apply(v1::command::Body::RegisterPeer(v1::RegisterPeer {
                name: "p".into(),
                secret_hash: vec![1; 32].into(),
                ..Default::default()
            }));
            group
        }

        fn apply(&mut self, body: v1::command::Body) {
            self.commands = self.commands.wrapping_add(1);
            let request_id = vec![self.commands; 16].into();
            let command = v1::Command { request_id, at_ms: self.now_ms, body: Some(body) };
            machine::apply_command(&mut self.state, command);
        }

        /// It is there, or away, for so many minutes.
        fn lasts(&mut self, connected: bool, minutes: u64) -> &mut Self {
            let note = match connected {
                true => v1::NotePresence { connected: vec![1], away: vec![] },
                false => v1::NotePresence { connected: vec![], away: vec![1] },
            };
            self.apply(v1::command::Body::NotePresence(note));
            for _ in 0..minutes {
                self.now_ms += MINUTE;
                self.apply(v1::command::Body::NotePresence(v1::NotePresence::default()));
            }
            self
        }

        fn peer(&self) -> &Peer {
            self.state.peer(PeerId::new(1).unwrap()).unwrap()
        }

        fn judged(&self) -> (Patience, Attendance) {
            let now = self.state.steady();
            let patience = Patience { now, probation_ms: 12 * HOUR, grace_ms: 10 * MINUTE };
            (patience, self.peer().attendance)
        }
    }

    #[test]
    fn who_founded_a_group_is_proven_in_it_and_who_drops_in_is_not() {
        let mut group = Group::new();
        let (patience, founder) = group.judged();
        assert!(patience.is_proven(&founder), "nobody is older");
        group.lasts(true, 8);
        let (patience, founder) = group.judged();
        let guest = Attendance::joined(patience.now);
        assert!(patience.is_proven(&founder) && !patience.is_proven(&guest) && patience.is_new(&guest));
        let new = Peer { attendance: guest, ..group.peer().clone() };
        assert!(patience.standing(group.peer()) > patience.standing(&new));
    }

    #[test]
    fn in_an_old_group_it_takes_the_whole_probation_and_being_there_for_most_of_the_time() {
        let mut group = Group::new();
        group.lasts(false, 48 * 60).lasts(true, 11 * 60);
        let (patience, peer) = group.judged();
        assert!(!patience.is_proven(&peer) && !patience.is_new(&peer), "away for 48 h, there for 11");
        group.lasts(true, 40 * 60);
        let (patience, peer) = group.judged();
        assert!(patience.is_proven(&peer));
    }

    #[test]
    fn who_comes_back_from_short_absences_is_waited_for_and_who_is_mostly_away_is_not() {
        let mut group = Group::new();
        group.lasts(true, 20 * 60);
        let (patience, peer) = group.judged();
        assert_eq!(patience.grace_ms(&peer), 10 * MINUTE, "nothing is known of its absences");
        group.lasts(false, 30).lasts(true, 20 * 60);
        let (patience, peer) = group.judged();
        assert_eq!(patience.grace_ms(&peer), HOUR);
        group.lasts(false, 60 * 60).lasts(true, 1);
        let (patience, peer) = group.judged();
        assert!(!patience.is_proven(&peer));
        assert_eq!(patience.grace_ms(&peer), 10 * MINUTE);
    }

    #[test]
    fn who_had_a_wrong_copy_comes_last_for_a_day() {
        let mut group = Group::new();
        group.lasts(true, 60);
        let (patience, _) = group.judged();
        let wrong = Peer { doubted_at: Some(patience.now), ..group.peer().clone() };
        let after = |ms: u64| Patience { now: HubTime(patience.now.0 + ms), ..patience };
        assert!(patience.is_doubted(&wrong) && patience.standing(&wrong) == 0);
        assert!(after(DOUBTED_FOR_MS - 1).is_doubted(&wrong) && !after(DOUBTED_FOR_MS).is_doubted(&wrong));
    }

    #[test]
    fn nobody_is_waited_for_longer_than_a_day() {
        let mut group = Group::new();
        group.lasts(true, 10 * 24 * 60).lasts(false, 3 * 24 * 60).lasts(true, 1);
        let (patience, peer) = group.judged();
        assert!(patience.is_proven(&peer));
        assert_eq!(patience.grace_ms(&peer), GRACE_MAX_MS);
    }
}

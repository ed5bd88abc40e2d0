//! How a peer comes and goes, as the leaders have seen it: coarse, bounded, in the log's steady time.
//!
//! Replicated, so that a change of the leader forgets nothing. Never knows what a peer holds.

use loop_proto::ids::HubTime;

/// What is remembered at most: with twice that, all of it counts half, so that habits of long ago fade.
const HORIZON_MS: u64 = 7 * 24 * 3_600_000;

/// How a peer comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attendance {
    /// Whether it was connected when that was last noted.
    pub connected: bool,
    /// When that last changed.
    pub since: HubTime,
    /// Connected before `since`, milliseconds.
    pub(super) present_ms: u64,
    /// Away before `since`, milliseconds.
    pub(super) absent_ms: u64,
    /// Moving mean of the absences it has come back from, milliseconds; 0: of none.
    pub(super) absence_ms: u64,
}

impl Attendance {
    /// That of a peer that has just joined, which it could not without being there.
    pub const fn joined(at: HubTime) -> Self {
        Self { connected: true, since: at, present_ms: 0, absent_ms: 0, absence_ms: 0 }
    }

    /// Takes note of whether it is connected now.
    pub(super) fn note(&mut self, connected: bool, now: HubTime) {
        if connected == self.connected {
            return;
        }
        let lasted = self.lasted(now);
        if self.connected {
            self.present_ms += lasted;
        } else {
            self.absent_ms += lasted;
            // New peers are judged by what they do; after some absences one of them changes the mean by a quarter.
            self.absence_ms = match self.absence_ms {
                0 => lasted.max(1),
                mean => mean - mean / 4 + lasted / 4,
            };
        }
        if self.present_ms + self.absent_ms > 2 * HORIZON_MS {
            self.present_ms /= 2;
            self.absent_ms /= 2;
        }
        (self.connected, self.since) = (connected, now);
    }

    fn lasted(&self, now: HubTime) -> u64 {
        // Bounded, so that sums cannot overflow.
        now.0.saturating_sub(self.since.0).min(2 * HORIZON_MS)
    }

    /// How long it has been connected in all, lately, milliseconds.
    pub fn present_ms(&self, now: HubTime) -> u64 {
        self.present_ms + if self.connected { self.lasted(now) } else { 0 }
    }

    /// How long it has been known in all, lately, milliseconds.
    pub fn known_ms(&self, now: HubTime) -> u64 {
        self.present_ms + self.absent_ms + self.lasted(now)
    }

    /// Of the time it has been known, how much it was connected, in thousandths. 1000 for one that is new.
    pub fn present_permille(&self, now: HubTime) -> u32 {
        match self.known_ms(now) {
            0 => 1000,
            known => u32::try_from(self.present_ms(now) * 1000 / known).unwrap_or(1000),
        }
    }

    /// The same without an absence that is under way: how long that may last is a question of its own.
    pub fn usual_permille(&self, now: HubTime) -> u32 {
        let (present, before) = (self.present_ms(now), self.present_ms(now) + self.absent_ms);
        (present * 1000).checked_div(before).and_then(|part| u32::try_from(part).ok()).unwrap_or(1000)
    }

    /// How long it has been away, milliseconds; `None`: it is connected.
    pub fn away_ms(&self, now: HubTime) -> Option<u64> {
        (!self.connected).then(|| now.0.saturating_sub(self.since.0))
    }

    /// How long it is away when it is, milliseconds; `None`: it has never come back from an absence.
    pub fn typical_absence_ms(&self) -> Option<u64> {
        (self.absence_ms > 0).then_some(self.absence_ms)
    }

    pub(super) fn check(&self, now: HubTime) -> Result<(), &'static str> {
        if self.since > now {
            return Err("a peer's attendance lies in the future");
        }
        if self.present_ms + self.absent_ms > 4 * HORIZON_MS {
            return Err("a peer's attendance is remembered for longer than it may be");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    /// Comes and goes: hours there, hours away, and so on; returns it and the time.
    fn after(hours: &[u64]) -> (Attendance, HubTime) {
        let mut now = HubTime(1);
        let mut attendance = Attendance::joined(now);
        for hours in hours {
            now.0 += hours * HOUR;
            attendance.note(!attendance.connected, now);
        }
        (attendance, now)
    }

    #[test]
    fn a_new_peer_is_there_and_nothing_is_known_of_it() {
        let new = Attendance::joined(HubTime(5));
        assert_eq!((new.present_permille(HubTime(5)), new.away_ms(HubTime(9))), (1000, None));
        assert_eq!((new.known_ms(HubTime(9)), new.typical_absence_ms()), (4, None));
    }

    #[test]
    fn what_it_does_adds_up_and_the_time_since_counts() {
        let (peer, now) = after(&[2, 1, 1]);
        assert_eq!((peer.present_ms(now), peer.known_ms(now)), (3 * HOUR, 4 * HOUR));
        assert_eq!((peer.present_permille(now), peer.typical_absence_ms()), (750, Some(HOUR)));
        let later = HubTime(now.0 + 2 * HOUR);
        assert_eq!((peer.away_ms(later), peer.present_permille(later)), (Some(2 * HOUR), 500));
        assert_eq!(peer.usual_permille(later), 750, "the absence under way is not over");
    }

    #[test]
    fn hearing_the_same_twice_changes_nothing() {
        let (mut peer, now) = after(&[2]);
        let before = peer;
        peer.note(false, HubTime(now.0 + HOUR));
        assert_eq!(peer, before);
    }

    #[test]
    fn habits_of_long_ago_fade_and_nothing_overflows() {
        let (mut peer, mut now) = after(&[24 * 14, 1]);
        assert!(peer.present_permille(now) > 990);
        for _ in 0..40 {
            for hours in [2, 22] {
                now.0 += hours * HOUR;
                peer.note(!peer.connected, now);
            }
        }
        assert!(peer.present_permille(now) < 120, "{}", peer.present_permille(now));
        peer.note(!peer.connected, HubTime(u64::MAX));
        peer.check(HubTime(u64::MAX)).unwrap();
        assert!(peer.present_permille(HubTime(u64::MAX)) <= 1000);
    }
}

//! When clients are told the list of users. A list is as long as there are users and goes to all of them, so that with many users
//! each change cannot have a list of its own.

use std::time::Duration;

/// How long after a list the next one goes out at the earliest, for each user there is: so that lists cost no more with many
/// users than with few, whatever somebody does who comes and goes all the time.
const INTERVAL_PER_USER: Duration = Duration::from_micros(250);

/// From so many users on it becomes no longer.
pub const MANY_USERS: usize = 1000;

/// The longest of these intervals.
pub const INTERVAL_MAX: Duration = Duration::from_millis(250);

/// How long after a list the next one goes out at the earliest.
fn interval(users: usize) -> Duration {
    u32::try_from(users)
        .map_or(INTERVAL_MAX, |users| (INTERVAL_PER_USER * users.min(MANY_USERS as u32)).min(INTERVAL_MAX))
}

/// When the next list is due. Times are those since the gateway began.
#[derive(Debug, Default)]
pub struct Pace {
    due: Option<Duration>,
    last: Option<Duration>,
}

impl Pace {
    /// There is something to tell, with so many users.
    pub fn changed(&mut self, now: Duration, users: usize) {
        let due = self.last.map_or(now, |last| now.max(last + interval(users)));
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When the next list is due; `None`: everybody has been told.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Whether a list is to be told now; it counts as told then.
    pub fn take(&mut self, now: Duration) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_change_after_a_quiet_time_is_told_at_once_and_the_next_one_soon() {
        let (mut pace, mut now) = (Pace::default(), Duration::from_secs(1));
        for users in [2, 100, MANY_USERS, usize::MAX] {
            now += Duration::from_secs(1);
            assert!(!pace.take(now));
            pace.changed(now, users);
            assert!(pace.take(now));
            pace.changed(now, users);
            let next = pace.due().unwrap() - now;
            assert_eq!(next, INTERVAL_PER_USER * users.min(MANY_USERS) as u32);
            assert!(!pace.take(now) && pace.take(now + next));
        }
    }

    proptest! {
        #[test]
        fn lists_are_never_closer_than_that_and_the_last_change_is_never_lost(
            users in prop_oneof![0..20_usize, 900..5000_usize],
            steps in prop::collection::vec((0..100_u64, any::<bool>()), 1..200),
        ) {
            let (mut pace, mut now) = (Pace::default(), Duration::ZERO);
            let (mut changed, mut told, mut times) = (0_u32, 0, Vec::new());
            for (millis, changes) in steps {
                now += Duration::from_millis(millis);
                if changes {
                    changed += 1;
                    pace.changed(now, users);
                }
                if pace.take(now) {
                    told = changed;
                    times.push(now);
                }
            }
            if let Some(due) = pace.due() {
                prop_assert!(due <= now + INTERVAL_MAX);
                prop_assert!(pace.take(due));
                told = changed;
                times.push(due);
            }
            prop_assert_eq!(told, changed);
            prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= interval(users)));
        }
    }
}

//! Waiting for what must come, within a time, and saying what came instead.

use std::{fmt::Display, future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How often a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks again until `ask` is `Ok` and returns what it gave. Panics with the last error after `within`.
pub async fn eventually<T, E, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> T
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) if start.elapsed() >= within => panic!("not {what} within {within:?}: {error}"),
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// `Ok` if `condition` holds, else what was found: for [`eventually`].
pub fn ensure(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}

/// A word no other test and no earlier run uses: letters and digits, begins with `prefix`.
pub fn unique(prefix: &str) -> String {
    use std::{
        hash::{BuildHasher, RandomState},
        sync::atomic::{AtomicU64, Ordering},
    };
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // A fresh RandomState is seeded by the system.
    let chance = RandomState::new().hash_one(COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{prefix}{chance:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_in_the_end_is_taken() {
        let mut asked = 0;
        let value = eventually("third time", Duration::from_secs(5), || {
            asked += 1;
            let now = asked;
            async move { if now == 3 { Ok(now) } else { Err("not yet") } }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "not there within 1ms: still away")]
    async fn what_does_not_come_is_told() {
        eventually("there", Duration::from_millis(1), || async { Err::<(), _>("still away") }).await;
    }

    #[test]
    fn words_differ() {
        assert_ne!(unique("x"), unique("x"));
    }
}

//! sled panics where it finds damage, in many places. Here a panic becomes an error that says what to do; in a build
//! that aborts on panic, it is said before the process ends.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Once,
};

use super::{super::error::LogError, damage::corrupt};

thread_local! {
    /// The log this thread is using sled for.
    static USING: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// Forgets the log at the end of a use, also when it unwinds.
struct Use;

impl Drop for Use {
    fn drop(&mut self) {
        USING.take();
    }
}

/// Runs what calls sled.
pub(super) fn guarded<T>(dir: &Path, run: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
    if cfg!(panic = "abort") {
        speak_before_abort();
    }
    USING.set(Some(dir.to_owned()));
    let using = Use;
    let result = catch_unwind(AssertUnwindSafe(run));
    drop(using);
    result.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(corrupt(dir, None, format!("sled gave up: {what}")))
    })
}

/// Adds to what a panic prints, where it happens in sled. Once for the process.
fn speak_before_abort() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            usual(info);
            let dir = USING.with(|using| using.try_borrow().ok()?.clone());
            if let Some(dir) = dir {
                let error = corrupt(&dir, None, "sled gave up".into());
                tracing::error!(%error, "the hub ends");
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_sled_is_an_error_with_what_to_do() {
        let dir = Path::new("/var/lib/hub/log");
        let result: Result<(), LogError> = guarded(dir, || panic!("page {} is odd", 7));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("page 7 is odd") && message.contains("/var/lib/hub/log aside"), "{message}");
        assert!(USING.take().is_none(), "the use is over");
        assert!(guarded(dir, || Ok(1)).is_ok());
    }
}

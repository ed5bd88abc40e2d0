//! Where the newest plan is shown.

use std::time::Duration;

use parking_lot::Mutex;

use crate::placement::balance::{Blocked, Step};

/// The newest plan, for whoever asks.
#[derive(Default)]
pub struct PlanBoard(Mutex<Option<Planned>>);

/// A plan and what it took.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What is due, most urgent first.
    pub steps: Vec<Step>,
    /// What is due and cannot be done.
    pub blocked: Blocked,
    /// How long planning took.
    pub took: Duration,
}

impl PlanBoard {
    /// The newest plan; `None`: this hub does not lead, or not for long enough.
    pub fn newest(&self) -> Option<Planned> {
        self.0.lock().clone()
    }

    /// A new plan was made.
    pub(super) fn show(&self, planned: Planned) {
        *self.0.lock() = Some(planned);
    }

    /// This hub leads no more.
    pub(super) fn clear(&self) {
        *self.0.lock() = None;
    }
}

//! What one hub has seen of how well the group serves.

use std::{sync::Arc, time::Duration};

use loop_proto::ids::ForumId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{below::Below, census::Census};
use crate::{config::HubConfig, log::AgreedLog, mesh::Mesh, raft::HubRaftNode};

/// Forums named that have been short of copies for too long.
const OVERDUE_NAMED: usize = 3;

/// Says what is not well in something that browsers do not need.
pub type Beside = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What one hub has seen.
pub struct Health {
    pub(super) log: AgreedLog,
    pub(super) mesh: Mesh,
    pub(super) raft: HubRaftNode,
    pub(super) config: Arc<HubConfig>,
    /// What is not well beside all this.
    pub(super) beside: Beside,
    pub(super) below: Mutex<Below>,
    walked: Mutex<Option<Arc<Walked>>>,
}

/// What the last walk over all forums has found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) census: Census,
    pub(super) below: u64,
    pub(super) longest: Option<Duration>,
    pub(super) overdue: u64,
    pub(super) overdue_first: Vec<ForumId>,
}

impl Health {
    /// Nothing was seen yet.
    pub fn new(
        config: Arc<HubConfig>,
        log: AgreedLog,
        mesh: Mesh,
        raft: HubRaftNode,
        beside: Beside,
    ) -> Arc<Self> {
        let (below, walked) = (Mutex::default(), Mutex::default());
        Arc::new(Self { log, mesh, raft, config, beside, below, walked })
    }

    /// For how long a forum that has too few live copies has had too few; zero if that was not seen yet.
    pub fn below_for(&self, forum: ForumId) -> Duration {
        self.below.lock().for_how_long(forum, Instant::now()).unwrap_or_default()
    }

    /// Forums of which it is kept since when they are short of copies, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        self.below.lock().held()
    }

    pub(super) fn walked(&self) -> Option<Arc<Walked>> {
        self.walked.lock().clone()
    }

    pub(super) fn has_walked(&self, census: Census, grace: Duration) {
        let now = Instant::now();
        let walked = {
            let mut below = self.below.lock();
            below.walked(now);
            let (mut overdue, others) = below.longer_than(grace, now);
            let overdue_first: Vec<ForumId> = overdue.by_ref().take(OVERDUE_NAMED).collect();
            let overdue = (overdue_first.len() + overdue.count()) as u64 + others;
            Walked { census, below: below.count(), longest: below.longest(now), overdue, overdue_first }
        };
        *self.walked.lock() = Some(Arc::new(walked));
    }
}

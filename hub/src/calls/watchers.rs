//! Browsers that watch forums: wakes them when something in theirs has changed.
//!
//! Soft state of the hub that holds the connections. Says that there is something new, never what: that is read when it is shown.

use std::{collections::HashMap, sync::Arc, time::Duration};

use loop_proto::ids::ForumKey;
use parking_lot::Mutex;
use tokio::sync::watch;

/// For each browser that watches the same forum, whoever is shown something waits this long before it looks again. So a forum
/// that thousands watch and hundreds write in costs its hub a part of one processor, however often it changes.
const PACE: Duration = Duration::from_micros(20);
/// Nobody waits longer.
const PACE_MAX: Duration = Duration::from_secs(1);

/// All browsers that watch, by the key of their forum: one that nobody has opened yet has no id.
#[derive(Default)]
pub struct Watchers(Mutex<HashMap<ForumKey, Arc<watch::Sender<()>>>>);

/// One browser's place; leaving it frees what is kept for it.
pub struct Place {
    watchers: Arc<Watchers>,
    forum: ForumKey,
    told: Arc<watch::Sender<()>>,
    changes: watch::Receiver<()>,
}

impl Watchers {
    /// Watches a forum from now on.
    pub fn enter(self: &Arc<Self>, forum: ForumKey) -> Place {
        let (told, changes) = {
            let mut all = self.0.lock();
            let told = all.entry(forum).or_insert_with(|| Arc::new(watch::Sender::new(())));
            (told.clone(), told.subscribe())
        };
        Place { watchers: self.clone(), forum, told, changes }
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Something has changed in a forum.
    pub fn changed(&self, forum: ForumKey) {
        if let Some(told) = self.0.lock().get(&forum) {
            told.send_replace(());
        }
    }

    /// Anything may have changed.
    pub fn all_changed(&self) {
        for told in self.0.lock().values() {
            told.send_replace(());
        }
    }
}

impl Place {
    /// Waits for a change since the last [`Self::looks`].
    pub async fn changed(&mut self) {
        // The sender is kept beside the receiver, so this cannot fail.
        let _ = self.changes.changed().await;
    }

    /// What has changed until now is about to be looked at.
    pub fn looks(&mut self) {
        self.changes.borrow_and_update();
    }

    /// How long to wait between two looks.
    pub fn pace(&self) -> Duration {
        let others = u32::try_from(self.told.receiver_count() - 1).unwrap_or(u32::MAX);
        PACE.saturating_mul(others).min(PACE_MAX)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.watchers.0.lock();
        // Nobody enters meanwhile: this is the last one of its forum.
        if self.told.receiver_count() == 1 {
            all.remove(&self.forum);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn key(name: &str) -> ForumKey {
        ForumKey::of_name(name.as_bytes())
    }

    #[test]
    fn who_watches_a_forum_is_woken_by_it_once_however_much_happens() {
        let watchers = Arc::new(Watchers::default());
        let (mut one, mut two) = (watchers.enter(key("a")), watchers.enter(key("b")));
        assert!(one.changed().now_or_never().is_none());
        watchers.changed(key("a"));
        watchers.changed(key("a"));
        assert!(one.changed().now_or_never().is_some() && one.changed().now_or_never().is_none());
        assert!(two.changed().now_or_never().is_none());
        watchers.all_changed();
        two.looks();
        assert!(one.changed().now_or_never().is_some() && two.changed().now_or_never().is_none());
    }

    #[test]
    fn nothing_is_kept_of_a_forum_that_nobody_watches() {
        let watchers = Arc::new(Watchers::default());
        let (one, two) = (watchers.enter(key("a")), watchers.enter(key("a")));
        drop(one);
        assert!(!watchers.is_empty());
        watchers.changed(key("a"));
        drop(two);
        assert!(watchers.is_empty());
    }

    #[test]
    fn the_more_watch_one_forum_the_longer_each_waits_between_two_looks() {
        let watchers = Arc::new(Watchers::default());
        let first = watchers.enter(key("a"));
        assert_eq!(first.pace(), Duration::ZERO);
        let _others: Vec<Place> = (0..1000).map(|_| watchers.enter(key("a"))).collect();
        assert_eq!((first.pace(), watchers.enter(key("b")).pace()), (1000 * PACE, Duration::ZERO));
    }
}

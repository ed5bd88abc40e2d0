//! How much the machines keep, by their own word, and the most that was ever kept.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use crate::invariants::{Held, Invariants};

/// All machines' sizes. Clones share them.
#[derive(Clone)]
pub struct Sizes {
    most: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    invariants: Invariants,
}

impl Sizes {
    /// None were told yet.
    pub fn new(invariants: Invariants) -> Self {
        Self { most: Arc::default(), invariants }
    }

    /// A hub's ear.
    pub fn of_hub(&self, name: &str) -> Arc<loop_hub::outside::TellSizes> {
        let (sizes, name) = (self.clone(), name.to_owned());
        Arc::new(move |told| {
            told.iter().for_each(|size| sizes.heard(&name, size.what, size.now, size.limit));
        })
    }

    /// A peer's ear.
    pub fn of_peer(&self, name: &str) -> Arc<loop_peer::io::TellSizes> {
        let (sizes, name) = (self.clone(), name.to_owned());
        Arc::new(move |told| {
            told.iter().for_each(|size| sizes.heard(&name, size.what, size.now, size.limit));
        })
    }

    fn heard(&self, who: &str, what: &'static str, now: u64, limit: u64) {
        {
            let mut most = self.most.lock();
            let most = most.entry(what).or_default();
            *most = now.max(*most);
        }
        self.invariants.each(|invariant| invariant.on_held(Held { who, what, now, limit }));
    }

    /// The most of something that any machine ever kept.
    pub fn most(&self, what: &str) -> u64 {
        self.most.lock().get(what).copied().unwrap_or(0)
    }
}

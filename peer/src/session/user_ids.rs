//! The blocks of user ids leased to this peer, shared by executions and reads. Owns which ids are used up.
//! Never sends: says when a block should be asked for.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::backend::UserIds;

/// Ids asked for at once.
pub const LEASE_COUNT: u32 = 100;
/// Ask again when fewer are left.
const LOW_WATER: u64 = 30;
/// Blocks kept at once; an honest hub never gives more than two.
const BLOCKS_MAX: usize = 8;

/// The ids this process may give to new users. Ids left when it ends are never used.
pub struct UserIdPool {
    inner: Mutex<Inner>,
    low: Notify,
    granted: watch::Sender<u64>,
}

struct Inner {
    blocks: VecDeque<std::ops::RangeInclusive<u32>>,
    asked: bool,
}

impl UserIdPool {
    /// An empty pool.
    pub fn new() -> Self {
        let inner = Inner { blocks: VecDeque::new(), asked: false };
        Self { inner: Mutex::new(inner), low: Notify::new(), granted: watch::Sender::new(0) }
    }

    /// Whether to ask for a block now; counts as asked.
    pub fn should_ask(&self) -> bool {
        let mut inner = self.inner.lock();
        let ask = !inner.asked && inner.left() < LOW_WATER;
        inner.asked |= ask;
        ask
    }

    /// The connection on which a block was asked for is gone.
    pub fn reset_ask(&self) {
        self.inner.lock().asked = false;
    }

    /// Takes a block. False if it is empty, passes the end of the id range, or is one too many.
    pub fn grant(&self, first: u32, count: u32) -> bool {
        let Some(last) = count.checked_sub(1).and_then(|more| first.checked_add(more)) else { return false };
        let mut inner = self.inner.lock();
        if first == 0 || inner.blocks.len() >= BLOCKS_MAX {
            return false;
        }
        inner.asked = false;
        inner.blocks.push_back(first..=last);
        drop(inner);
        self.granted.send_modify(|grants| *grants += 1);
        true
    }

    /// Resolves when few ids are left.
    pub async fn low(&self) {
        self.low.notified().await;
    }

    /// Changes with every granted block.
    pub fn grants(&self) -> watch::Receiver<u64> {
        self.granted.subscribe()
    }

    /// What an execution takes ids from.
    pub fn taker(&self) -> Taker<'_> {
        Taker { pool: self, ran_dry: false }
    }
}

impl Inner {
    fn left(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.end() - block.start()) + 1).sum()
    }
}

/// Takes ids for one execution, and remembers whether there was none.
pub struct Taker<'a> {
    pool: &'a UserIdPool,
    ran_dry: bool,
}

impl Taker<'_> {
    /// Whether an id was wanted and none was left.
    pub fn ran_dry(&self) -> bool {
        self.ran_dry
    }
}

impl UserIds for Taker<'_> {
    fn take(&mut self) -> Option<u32> {
        let mut inner = self.pool.inner.lock();
        let taken = loop {
            let Some(block) = inner.blocks.front_mut() else { break None };
            match block.next() {
                Some(id) => {
                    if block.is_empty() {
                        inner.blocks.pop_front();
                    }
                    break Some(id);
                }
                None => {
                    inner.blocks.pop_front();
                }
            }
        };
        if inner.left() < LOW_WATER && !inner.asked {
            self.pool.low.notify_one();
        }
        self.ran_dry |= taken.is_none();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_given_once_in_order_and_a_block_is_asked_for_in_time() {
        let pool = UserIdPool::new();
        assert!(pool.should_ask() && !pool.should_ask());
        assert!(pool.grant(414, 100));
        let mut taker = pool.taker();
        let first: Vec<_> = (0..70).filter_map(|_| taker.take()).collect();
        assert_eq!(first, (414..484).collect::<Vec<_>>());
        assert!(!pool.should_ask());
        assert_eq!(taker.take(), Some(484));
        assert!(pool.should_ask());
        assert!(pool.grant(900, 2));
        assert_eq!((0..31).filter_map(|_| taker.take()).last(), Some(901));
        assert!(!taker.ran_dry());
        assert_eq!(taker.take(), None);
        assert!(taker.ran_dry());
    }

    #[test]
    fn blocks_that_cannot_be_are_refused() {
        let pool = UserIdPool::new();
        assert!(!pool.grant(0, 10) && !pool.grant(5, 0) && !pool.grant(u32::MAX, 2));
        assert!(pool.grant(u32::MAX, 1));
        assert_eq!(pool.taker().take(), Some(u32::MAX));
        assert_eq!(pool.taker().take(), None);
        assert_eq!((0..20).filter(|n| pool.grant(1 + n * 10, 10)).count(), BLOCKS_MAX);
    }

    #[test]
    fn a_lost_request_is_made_again() {
        let pool = UserIdPool::new();
        assert!(pool.should_ask());
        pool.reset_ask();
        assert!(pool.should_ask());
    }
}

//! Which forums are in memory, and the view of one that an execution gets.
//!
//! Owns loading and forgetting. A forum is read from disk only when the disk has everything that was applied to it
//! while it was not in memory.

use std::{collections::BTreeMap, sync::Arc};

use loop_atomjump::{ForumWindow, Row, WriteView};
use loop_proto::v1;
use parking_lot::{Mutex, RwLock};

use super::store::Store;
use crate::backend::BackendError;

/// A forum's place in memory; `None` until it is loaded.
type Resident = Arc<RwLock<Option<ForumWindow>>>;

/// Forums in memory.
pub struct Forums {
    table: Mutex<Table>,
    window_messages: usize,
    resident_max: usize,
}

#[derive(Default)]
struct Table {
    slots: BTreeMap<u32, Slot>,
    /// Counts uses; the slot with the smallest is the longest unused.
    clock: u64,
    /// The last record of a forum that was not in memory.
    unloaded_through: u64,
    /// The last record that reached memory, and so the queue to the disk.
    applied_through: u64,
}

struct Slot {
    resident: Resident,
    used: u64,
}

impl Forums {
    /// None in memory yet.
    pub fn new(window_messages: usize, resident_max: usize) -> Self {
        Self { table: Mutex::new(Table::default()), window_messages, resident_max }
    }

    /// Calls `use_window` with the forum, loaded if it was not.
    pub fn read<T>(
        &self,
        store: &Store,
        forum: u32,
        use_window: impl FnOnce(&ForumWindow) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let resident = self.resident(forum);
        if let Some(window) = &*resident.read() {
            return use_window(window);
        }
        let mut window = resident.write();
        use_window(self.loaded(store, forum, &mut window)?)
    }

    /// Calls `use_window` with the forum, loaded if it was not, and nobody else looking.
    pub fn write<T>(
        &self,
        store: &Store,
        forum: u32,
        use_window: impl FnOnce(&mut ForumWindow) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let resident = self.resident(forum);
        let mut window = resident.write();
        use_window(self.loaded(store, forum, &mut window)?)
    }

    /// Applies a record that has been queued for the disk.
    pub fn apply(&self, forum: u32, record: u64, closes: Option<u64>, facts: &[v1::Fact]) {
        let resident = {
            let mut table = self.table.lock();
            table.applied_through = table.applied_through.max(record);
            match table.slots.get(&forum) {
                Some(slot) => Arc::clone(&slot.resident),
                None => {
                    table.unloaded_through = table.unloaded_through.max(record);
                    return;
                }
            }
        };
        match &mut *resident.write() {
            Some(window) => {
                for fact in facts {
                    window.apply(fact, record);
                }
                if let Some(task) = closes {
                    window.close_pending(task);
                }
            }
            None => {
                let mut table = self.table.lock();
                table.unloaded_through = table.unloaded_through.max(record);
            }
        }
    }

    /// Drops the forum's pending executions.
    pub fn forget_pending(&self, forum: u32) {
        let resident = self.table.lock().slots.get(&forum).map(|slot| Arc::clone(&slot.resident));
        if let Some(resident) = resident
            && let Some(window) = &mut *resident.write()
        {
            window.forget_pending();
        }
    }

    /// Forgets what is in memory of a forum: the disk has something else by now, or is about to.
    pub fn forget(&self, forum: u32) {
        let mut table = self.table.lock();
        table.slots.remove(&forum);
        table.unloaded_through = table.unloaded_through.max(table.applied_through);
    }

    /// The last record that was applied.
    pub fn applied_through(&self) -> u64 {
        self.table.lock().applied_through
    }

    /// Notes that everything up to `record` was applied.
    pub fn set_applied_through(&self, record: u64) {
        let mut table = self.table.lock();
        table.applied_through = table.applied_through.max(record);
    }

    fn resident(&self, forum: u32) -> Resident {
        let mut table = self.table.lock();
        table.clock += 1;
        let used = table.clock;
        if let Some(slot) = table.slots.get_mut(&forum) {
            slot.used = used;
            return Arc::clone(&slot.resident);
        }
        if table.slots.len() >= self.resident_max {
            table.evict_one();
        }
        let resident = Resident::default();
        table.slots.insert(forum, Slot { resident: Arc::clone(&resident), used });
        resident
    }

    fn loaded<'a>(
        &self,
        store: &Store,
        forum: u32,
        window: &'a mut Option<ForumWindow>,
    ) -> Result<&'a mut ForumWindow, BackendError> {
        if window.is_none() {
            let unloaded_through = self.table.lock().unloaded_through;
            store.wait_durable(unloaded_through)?;
            let loaded = store.load_forum(forum, self.window_messages)?;
            *window = Some(ForumWindow::new(loaded, self.window_messages));
        }
        Ok(window.as_mut().expect("it was loaded just above if it was not before"))
    }
}

impl Table {
    /// Forgets the longest unused forum that nobody is using and that has no execution under way.
    fn evict_one(&mut self) {
        let is_idle = |slot: &Slot| {
            Arc::strong_count(&slot.resident) == 1
                && slot
                    .resident
                    .try_read()
                    .is_some_and(|window| !window.as_ref().is_some_and(ForumWindow::has_pending))
        };
        let idle = self.slots.iter().filter(|(_, slot)| is_idle(slot));
        if let Some(forum) = idle.min_by_key(|(_, slot)| slot.used).map(|(forum, _)| *forum) {
            self.slots.remove(&forum);
            self.unloaded_through = self.unloaded_through.max(self.applied_through);
        }
    }
}

/// One forum as an execution sees it: what is committed, and what was executed on top of it.
pub struct ForumView<'a> {
    /// What is in memory.
    pub window: &'a ForumWindow,
    /// Which forum.
    pub forum: u32,
    /// Where the rest is.
    pub store: &'a Store,
}

impl WriteView for ForumView<'_> {
    type Error = BackendError;

    fn forum(&self) -> Option<&v1::ForumStored> {
        self.window.forum()
    }

    fn is_subscriber(&self, user: u32) -> bool {
        self.window.is_subscriber(user)
    }

    fn message(&self, id: u32) -> Result<Option<Arc<Row>>, BackendError> {
        if let Some(known) = self.window.message(id, true) {
            return Ok(known);
        }
        if let Some((_, through)) = self.window.below() {
            self.store.wait_durable(through)?;
        }
        Ok(self.store.message(self.forum, id)?.map(Row::new))
    }

    fn authors_named(&self, name: &str) -> Result<Vec<Option<u32>>, BackendError> {
        self.window.authors_named(name, |floor, through| {
            self.store.wait_durable(through)?;
            self.store.names_before(self.forum, floor)
        })
    }

    fn was_said(&self, ip: &str, text: &str, since_s: u64, except: u32) -> bool {
        self.window.was_said(ip, text, since_s, except)
    }
}

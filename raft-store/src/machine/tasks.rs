//! The task log: records in order, the trim point, the tasks nobody has answered. Never knows who holds a forum.

use std::{collections::BTreeMap, sync::Arc};

use loop_proto::ids::TaskId;

use super::{log::Log, record::Record};

/// The retained records, dense and in order, and the open tasks, which outlive the trim point.
#[derive(Clone, Default, PartialEq)]
pub struct Tasks {
    trimmed_through: u64,
    log: Log,
    log_bytes: u64,
    open: BTreeMap<TaskId, Arc<Record>>,
    open_bytes: u64,
}

impl Tasks {
    /// An empty log that goes on after `trimmed_through`.
    pub(super) fn after(trimmed_through: u64) -> Self {
        Self { trimmed_through, ..Self::default() }
    }

    /// The newest record's id; 0: none was ever made.
    pub fn newest(&self) -> u64 {
        self.trimmed_through + self.log.len() as u64
    }

    /// The next record's id; `None` at the end of the number range.
    pub(super) fn next_id(&self) -> Option<TaskId> {
        self.newest().checked_add(1).and_then(TaskId::new)
    }

    /// Records up to and including this one are gone.
    pub fn trimmed_through(&self) -> u64 {
        self.trimmed_through
    }

    /// The retained record of that id.
    pub fn record(&self, id: TaskId) -> Option<&Arc<Record>> {
        let at = id.get().checked_sub(self.trimmed_through)?.checked_sub(1)?;
        self.log.get(usize::try_from(at).ok()?)
    }

    /// Retained records above `after`, in order.
    pub fn records_after(&self, after: u64) -> impl ExactSizeIterator<Item = &Arc<Record>> + Clone {
        let skip = after.saturating_sub(self.trimmed_through).min(self.log.len() as u64);
        self.log.iter_from(skip as usize)
    }

    /// The unanswered task of that id.
    pub fn open_task(&self, id: TaskId) -> Option<&Arc<Record>> {
        self.open.get(&id)
    }

    /// All unanswered tasks, oldest first.
    pub fn open_tasks(&self) -> impl ExactSizeIterator<Item = &Arc<Record>> {
        self.open.values()
    }

    /// How many records are retained.
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// What the retained records cost, bytes.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// What the unanswered tasks cost, bytes, retained in the log or not.
    pub fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// The least trim point at which at most `records` records of at most `bytes` bytes are retained, as far as it does
    /// not lie above `limit`.
    pub(super) fn trim_point_for(&self, records: u64, bytes: u64, limit: u64) -> u64 {
        let limit = limit.max(self.trimmed_through);
        let mut through = self.newest().saturating_sub(records).clamp(self.trimmed_through, limit);
        let mut kept = self.log_bytes;
        for record in self.log.iter_from(0) {
            if record.id.get() > through && (kept <= bytes || record.id.get() > limit) {
                break;
            }
            kept -= record.bytes();
            through = through.max(record.id.get());
        }
        through
    }

    /// Appends the next record; a task is open from here on.
    pub(super) fn push(&mut self, record: Arc<Record>) {
        if record.task().is_some() {
            self.open(record.clone());
        }
        self.push_closed(record);
    }

    /// Appends the next record, open or not.
    pub(super) fn push_closed(&mut self, record: Arc<Record>) {
        debug_assert_eq!(Some(record.id), self.next_id());
        self.log_bytes += record.bytes();
        self.log.push(record);
    }

    /// Holds a task as unanswered, whether the log still has it or not.
    pub(super) fn open(&mut self, record: Arc<Record>) {
        self.open_bytes += record.bytes();
        self.open.insert(record.id, record);
    }

    pub(super) fn close(&mut self, task: TaskId) -> Option<Arc<Record>> {
        let record = self.open.remove(&task)?;
        self.open_bytes -= record.bytes();
        Some(record)
    }

    pub(super) fn trim(&mut self, through: u64) {
        while self.trimmed_through < through {
            let Some(bytes) = self.log.pop_first() else { break };
            self.log_bytes -= bytes;
            self.trimmed_through += 1;
        }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let dense = |(at, record): (usize, &Arc<Record>)| {
            record.id.get().checked_sub(self.trimmed_through) == Some(at as u64 + 1)
        };
        if !self.log.iter_from(0).enumerate().all(dense) {
            return Err("the log is not dense");
        }
        if !self.log.iter_from(0).zip(self.log.iter_from(1)).all(|(a, b)| a.at <= b.at) {
            return Err("time falls along the log");
        }
        if self.log.iter_from(0).map(|record| record.bytes()).sum::<u64>() != self.log_bytes {
            return Err("the log's bytes are miscounted");
        }
        if self.open.values().map(|record| record.bytes()).sum::<u64>() != self.open_bytes {
            return Err("the open tasks' bytes are miscounted");
        }
        let is_task = |(id, record): (&TaskId, &Arc<Record>)| {
            *id == record.id && record.task().is_some() && id.get() <= self.newest()
        };
        if !self.open.iter().all(is_task) {
            return Err("an open task is no task of this log");
        }
        let same = |record: &Arc<Record>| self.record(record.id).is_none_or(|logged| logged == record);
        if !self.open.values().all(same) {
            return Err("an open task differs from its record");
        }
        Ok(())
    }
}

//! One forum in memory: its newest messages, its row and subscriptions, and what was executed and is not committed yet.
//!
//! Owns two layers: *committed* (what `apply` brought) and *pending* (executions waiting for their record), so that an
//! execution sees both and a read only the first. Rows older than the window are on disk; below the `floor` this
//! module knows nothing but through which record the disk must have come. Never touches the disk itself.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{Arc, OnceLock},
};

use loop_proto::v1::{self, fact::Kind};

use crate::view::{Row, Viewer};

/// Authors of one name that matter: from the tenth on they are all marked alike.
const AUTHORS_OF_A_NAME: usize = 10;
/// Names remembered of a forum's older messages.
const OLD_NAMES_MAX: usize = 20_000;

/// What a window costs without any row in it, and each subscription.
const EMPTY_BYTES: usize = 1024;
const SUBSCRIPTION_BYTES: usize = 96;

/// Place in a forum: time, then id. Later is greater.
type Key = (u64, u32);

/// Authors of a name by their first message.
type Authors = Vec<(u32, Option<u32>)>;

/// An execution whose record has not come yet.
struct Pending {
    task: u64,
    messages: Vec<(u32, Overlaid)>,
}

/// A message as an execution left it; `None`: removed.
type Overlaid = Option<Arc<Row>>;

/// One forum.
#[derive(Default)]
pub struct ForumWindow {
    forum: Option<v1::ForumStored>,
    subscriptions: BTreeMap<u32, v1::SubscriptionStored>,
    messages: BTreeMap<Key, Arc<Row>>,
    /// The ids of the active ones among `messages`, by author's name in lower case and author: every message sent asks
    /// who else uses its name, and going through the whole window for that is dear.
    names: BTreeMap<String, BTreeMap<Option<u32>, BTreeSet<u32>>>,
    /// Time of each message in `messages`.
    times: BTreeMap<u32, u64>,
    /// Everything from here on is in `messages`; `None`: everything is.
    floor: Option<Key>,
    /// The last record that changed something below the floor: the disk must have it before it is asked.
    below_through: u64,
    capacity: usize,
    /// What `messages` cost in memory.
    bytes: usize,
    /// In the order of their tasks.
    pending: VecDeque<Pending>,
    /// Messages as the pending executions leave them, and the last task that had a hand in each.
    overlay: BTreeMap<u32, (u64, Overlaid)>,
    /// Authors of names below the floor, once asked for.
    old_names: OnceLock<BTreeMap<String, Authors>>,
}

/// A forum's newest rows, to begin a window with.
#[derive(Debug, Default)]
pub struct Rows {
    /// The forum's own.
    pub forum: Option<v1::ForumStored>,
    /// Its subscriptions, inactive ones too.
    pub subscriptions: Vec<v1::SubscriptionStored>,
    /// Its newest messages, newest first.
    pub messages: Vec<v1::MessageStored>,
    /// Whether these are all its messages.
    pub is_complete: bool,
}

impl ForumWindow {
    /// Takes the newest rows; keeps the newest `capacity` messages from then on.
    pub fn new(loaded: Rows, capacity: usize) -> Self {
        let mut window = Self { forum: loaded.forum, capacity, ..Self::default() };
        window.subscriptions = loaded.subscriptions.into_iter().map(|row| (row.user_id, row)).collect();
        for message in loaded.messages {
            window.insert(Row::new(message));
        }
        if !loaded.is_complete {
            window.floor = window.messages.first_key_value().map(|(key, _)| *key);
        }
        window
    }

    /// The forum's row.
    pub fn forum(&self) -> Option<&v1::ForumStored> {
        self.forum.as_ref()
    }

    /// Whether `user` is an active subscriber.
    pub fn is_subscriber(&self, user: u32) -> bool {
        self.subscriptions.get(&user).is_some_and(|row| row.active)
    }

    /// Its subscriptions, inactive ones too, by user.
    pub fn subscriptions(&self) -> impl Iterator<Item = &v1::SubscriptionStored> {
        self.subscriptions.values()
    }

    /// Committed active messages in memory, newest first, whoever may see them; only those older than `before`.
    pub fn active_before(&self, before: Option<Key>) -> impl Iterator<Item = &v1::MessageStored> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.messages.range((Bound::Unbounded, end)).rev();
        rows.map(|(_, row)| &row.message).filter(|message| message.active)
    }

    /// What it costs in memory, bytes.
    pub fn bytes(&self) -> usize {
        let forum = self.forum.as_ref().map_or(0, |forum| forum.title.len() + forum.passcode.len());
        EMPTY_BYTES + forum + self.bytes + SUBSCRIPTION_BYTES * self.subscriptions.len()
    }

    /// Whether executions are pending; such a forum must stay in memory.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The window's lower end, and what the disk must hold before it is asked about what is below.
    pub fn below(&self) -> Option<(Key, u64)> {
        self.floor.map(|floor| (floor, self.below_through))
    }

    /// A message in memory: `Some(None)` if it is known to be gone.
    pub fn message(&self, id: u32, pending: bool) -> Option<Option<Arc<Row>>> {
        if pending && let Some((_, row)) = self.overlay.get(&id) {
            return Some(row.clone());
        }
        match self.times.get(&id).and_then(|time| self.messages.get(&(*time, id))) {
            Some(row) => Some(Some(Arc::clone(row))),
            None if self.floor.is_none() => Some(None),
            None => None,
        }
    }

    /// Shows active messages `viewer` may see, newest first, until `visit` has had `limit`. How many it had.
    pub fn newest(
        &self,
        viewer: &Viewer<'_>,
        pending: bool,
        limit: usize,
        visit: &mut dyn FnMut(&Row),
    ) -> usize {
        let mut shown = 0;
        let mut show = |row: &Row| {
            if shown < limit && row.message.active && viewer.sees(&row.message) {
                visit(row);
                shown += 1;
            }
            shown < limit
        };
        if !pending || self.overlay.is_empty() {
            let _ = self.messages.values().rev().all(|row| show(row));
            return shown;
        }
        let mut overlaid: Vec<&Row> = self.overlaid().collect();
        overlaid.sort_unstable_by_key(|row| row.key());
        for (key, row) in self.messages.iter().rev() {
            while let Some(newer) = overlaid.pop_if(|newer| newer.key() >= *key) {
                if !show(newer) {
                    return shown;
                }
            }
            if !self.overlay.contains_key(&key.1) && !show(row) {
                return shown;
            }
        }
        let _ = overlaid.iter().rev().all(|row| show(row));
        shown
    }

    /// Committed and pending messages in memory.
    fn rows(&self) -> impl Iterator<Item = &Row> {
        let committed = self.messages.values().filter(|row| !self.overlay.contains_key(&row.message.id));
        committed.map(Arc::as_ref).chain(self.overlaid())
    }

    /// Pending messages.
    fn overlaid(&self) -> impl Iterator<Item = &Row> {
        self.overlay.values().filter_map(|(_, row)| row.as_deref())
    }

    /// Whether one of the messages in memory says `text`, from `ip`, since `since_s`, apart from `except`.
    pub fn was_said(&self, ip: &str, text: &str, since_s: u64, except: u32) -> bool {
        self.rows().any(|row| {
            let message = &row.message;
            message.shouted_at_s >= since_s
                && message.id != except
                && message.author_address == ip
                && message.text == text
        })
    }

    /// Authors who used `name` in active messages, by their first one. `load` reads those below the floor.
    pub fn authors_named<E>(
        &self,
        name: &str,
        load: impl FnOnce(Key, u64) -> Result<Vec<(String, Option<u32>, u32)>, E>,
    ) -> Result<Vec<Option<u32>>, E> {
        let name = name.to_lowercase();
        let mut authors = Authors::new();
        if let Some((floor, through)) = self.below() {
            let old = match self.old_names.get() {
                Some(known) => known,
                None => {
                    let mut names = BTreeMap::new();
                    for (name, author, first) in load(floor, through)? {
                        remember(&mut names, &name, author, first);
                    }
                    self.old_names.get_or_init(|| names)
                }
            };
            authors.extend(old.get(&name).into_iter().flatten().copied());
        }
        for (author, ids) in self.names.get(&name).into_iter().flatten() {
            if let Some(first) = ids.iter().find(|id| !self.overlay.contains_key(id)) {
                add_author(&mut authors, *author, *first);
            }
        }
        for row in self.overlaid().filter(|row| row.message.active && row.name_key == name) {
            add_author(&mut authors, row.message.author_id, row.message.id);
        }
        authors.sort_unstable_by_key(|(first, _)| *first);
        Ok(authors.into_iter().map(|(_, author)| author).collect())
    }

    /// Adds an execution of a task later than all that are pending.
    pub fn push_pending(&mut self, task: u64, facts: &[v1::Fact]) {
        let mut pending = Pending { task, messages: Vec::new() };
        for fact in facts {
            match &fact.kind {
                Some(Kind::MessageStored(message)) => {
                    pending.messages.push((message.id, Some(Row::new(message.clone()))));
                }
                Some(Kind::MessageRemoved(removed)) => pending.messages.push((removed.id, None)),
                Some(Kind::MessageHidden(hidden)) => {
                    let held = self.message(hidden.id, true).flatten();
                    pending.messages.push((hidden.id, held.map(|row| row.hidden(hidden.finished))));
                }
                Some(Kind::ForumStored(_) | Kind::UserStored(_) | Kind::SubscriptionStored(_)) | None => {}
            }
        }
        overlay(&mut self.overlay, &pending);
        self.pending.push_back(pending);
    }

    /// Drops the execution of `task` and of all after it: it is executed once more.
    pub fn drop_pending_from(&mut self, task: u64) {
        let kept = self.pending.partition_point(|pending| pending.task < task);
        if kept == self.pending.len() {
            return;
        }
        self.pending.truncate(kept);
        self.overlay.clear();
        for pending in &self.pending {
            overlay(&mut self.overlay, pending);
        }
    }

    /// Drops executions of tasks up to `task`: their records are here.
    pub fn close_pending(&mut self, task: u64) {
        while let Some(closed) = self.pending.pop_front_if(|pending| pending.task <= task) {
            for (id, _) in closed.messages {
                // A later execution's version stays.
                if self.overlay.get(&id).is_some_and(|(last, _)| *last <= task) {
                    self.overlay.remove(&id);
                }
            }
        }
    }

    /// Drops all executions.
    pub fn forget_pending(&mut self) {
        self.pending.clear();
        self.overlay.clear();
    }

    /// Applies a committed row of this forum.
    pub fn apply(&mut self, fact: &v1::Fact, record: u64) {
        match &fact.kind {
            Some(Kind::MessageStored(message)) => self.store(message, record),
            Some(Kind::MessageRemoved(removed)) => {
                if !self.remove(removed.id) {
                    self.touch_below(record);
                }
            }
            Some(Kind::MessageHidden(hidden)) => self.hide(hidden, record),
            Some(Kind::ForumStored(forum)) => self.forum = Some(forum.clone()),
            Some(Kind::SubscriptionStored(row)) => {
                self.subscriptions.insert(row.user_id, *row);
            }
            Some(Kind::UserStored(_)) | None => {}
        }
    }

    fn hide(&mut self, hidden: &v1::MessageHidden, record: u64) {
        let held = self.times.get(&hidden.id).and_then(|time| self.messages.get(&(*time, hidden.id)));
        match held.map(|row| row.hidden(hidden.finished)) {
            Some(row) => {
                self.remove(hidden.id);
                self.insert(row);
            }
            None => self.touch_below(record),
        }
    }

    fn store(&mut self, message: &v1::MessageStored, record: u64) {
        let was_here = self.remove(message.id);
        let key = (message.shouted_at_s, message.id);
        if self.floor.is_some_and(|floor| key < floor) {
            self.touch_below(record);
            return;
        }
        if !was_here && self.floor.is_some() {
            // It may have been below until now.
            self.below_through = self.below_through.max(record);
        }
        // Who executed it has it rendered.
        let rendered = self.overlay.get(&message.id).and_then(|(_, row)| row.clone());
        let row = rendered.filter(|row| row.message == *message);
        self.insert(row.unwrap_or_else(|| Row::new(message.clone())));
        if self.messages.len() > self.capacity {
            self.evict(record);
        }
    }

    /// Gives the oldest message up to the disk.
    fn evict(&mut self, record: u64) {
        let Some((key, row)) = self.messages.pop_first() else { return };
        self.times.remove(&key.1);
        self.forget_row(&row);
        self.below_through = self.below_through.max(record);
        self.floor = self.messages.first_key_value().map(|(key, _)| *key);
        let message = &row.message;
        if let Some(names) = self.old_names.get_mut().filter(|_| message.active) {
            remember(names, &message.author_name, message.author_id, message.id);
        }
    }

    fn touch_below(&mut self, record: u64) {
        if self.floor.is_some() {
            self.below_through = self.below_through.max(record);
            self.old_names.take();
        }
    }

    /// A message that is not in memory yet.
    fn insert(&mut self, row: Arc<Row>) {
        let message = &row.message;
        self.times.insert(message.id, message.shouted_at_s);
        if message.active {
            let authors = self.names.entry(row.name_key.clone()).or_default();
            authors.entry(message.author_id).or_default().insert(message.id);
        }
        self.bytes += row.bytes();
        self.messages.insert(row.key(), row);
    }

    fn remove(&mut self, id: u32) -> bool {
        let time = self.times.remove(&id);
        let Some(row) = time.and_then(|time| self.messages.remove(&(time, id))) else { return false };
        self.forget_row(&row);
        true
    }

    /// Takes a message that has left `messages` out of `names` and `bytes`.
    fn forget_row(&mut self, row: &Row) {
        self.bytes -= row.bytes();
        let Some(authors) = self.names.get_mut(&row.name_key) else { return };
        if let Some(ids) = authors.get_mut(&row.message.author_id) {
            ids.remove(&row.message.id);
            if ids.is_empty() {
                authors.remove(&row.message.author_id);
            }
        }
        if authors.is_empty() {
            self.names.remove(&row.name_key);
        }
    }
}

fn overlay(overlay: &mut BTreeMap<u32, (u64, Overlaid)>, pending: &Pending) {
    for (id, row) in &pending.messages {
        overlay.insert(*id, (pending.task, row.clone()));
    }
}

fn remember(names: &mut BTreeMap<String, Authors>, name: &str, author: Option<u32>, first: u32) {
    let name = name.to_lowercase();
    if names.len() < OLD_NAMES_MAX || names.contains_key(&name) {
        add_author(names.entry(name).or_default(), author, first);
    }
}

/// Adds an author, or moves the first message of a known one; keeps the earliest.
fn add_author(authors: &mut Authors, author: Option<u32>, first: u32) {
    match authors.iter_mut().find(|(_, known)| *known == author) {
        Some((known_first, _)) => *known_first = first.min(*known_first),
        None => authors.push((first, author)),
    }
    if authors.len() > AUTHORS_OF_A_NAME {
        authors.sort_unstable_by_key(|(first, _)| *first);
        authors.truncate(AUTHORS_OF_A_NAME);
    }
}

#[cfg(test)]
mod tests;

//! The newest rows of forums that people look at, so that a poll that finds nothing new asks no peer.
//!
//! A window is loaded once from a replica, checked row by row, and then kept current by this hub's own log. It is soft state:
//! bounded in bytes, least recently used first out, gone when nobody has looked for a while. What is shown is never behind
//! what this hub has applied: the log's records reach the windows before anybody is told that they are applied.

mod check;
mod slot;
mod table;
mod view;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use loop_atomjump::{ForumWindow, Row, Rows};
use loop_proto::{
    breakage::{self, Breakage},
    ids::ForumId,
    v1::{self, rows_request::Kind},
};
use loop_raft_store::{
    adapter::StateReader,
    machine::{Event, RecordBody},
};
use metrics::counter;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

pub use self::view::{Fetched, HubView, Missing};
use self::{
    check::{Asked, Page},
    slot::{Installed, SharedSlot},
    table::Table,
};
use crate::mesh::rows::{Holders, PeerRows};
use loop_hub_edge::gateway::CallError;

/// Messages a window begins with: what AtomJump's own query takes, and as many again for whispers between others.
const LOADED_MESSAGES: usize = 200;
/// Messages a window may grow to.
const MESSAGES_MAX: usize = 1000;
/// Messages in one page from below a window.
const PAGE_MESSAGES: usize = 500;
/// Pages fetched for one answer: a reader is shown 1,000 messages at most, and is spared the whispers between others. Where
/// there are more of those, the list is shorter than it could be.
const PAGES_MAX: usize = 4;
/// Longest wait for this hub to have applied what rows hold already.
const CATCH_UP_WITHIN: Duration = Duration::from_millis(200);
/// Rows may be this much ahead of the log's time, seconds: old ones come from other servers, with clocks of their own.
const AHEAD_S_MAX: u64 = 86_400;
/// Most windows, however small.
const WINDOWS_MAX: usize = 65_536;
/// How often rows are asked for again because too much had happened meanwhile.
const LOADS_MAX: usize = 3;
/// How often idle windows are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(15);
/// A window that nobody has looked at for so long is dropped.
const IDLE_AFTER: Duration = Duration::from_secs(600);

/// All windows of one hub.
pub struct Windows {
    table: Mutex<Table>,
    rows: PeerRows,
    state: OnceLock<StateReader>,
    bytes_max: usize,
}

impl Windows {
    /// No windows yet, of at most `bytes_max` bytes; rows come from peers by `rows`.
    pub fn new(rows: PeerRows, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), rows, state: OnceLock::new(), bytes_max })
    }

    /// Gives it the state to look at; once, before anybody reads.
    pub fn attach(&self, state: StateReader) {
        // A second reader would be of the same state.
        let _ = self.state.set(state);
    }

    /// Drops what nobody looks at, for as long as the hub runs.
    pub async fn tidy(self: Arc<Self>) {
        let mut ticks = interval(TIDY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            if let Some(since) = now.checked_sub(IDLE_AFTER) {
                let dropped = self.table.lock().drop_idle(since);
                discard(&dropped);
            }
        }
    }

    /// The log has gone on. `is_live`: this happens now, and is not read again from what happened earlier.
    pub fn applied(&self, events: &[Event], is_live: bool) {
        for event in events {
            match event {
                Event::RecordAppended(record) => {
                    let (Some(forum), RecordBody::Facts(facts)) = (record.forum, &record.body) else {
                        continue;
                    };
                    if breakage::is_on(Breakage::WindowMissesFacts) && record.id.get() % 4 == 0 {
                        continue;
                    }
                    let Some(slot) = self.table.lock().get(forum) else { continue };
                    if let Some(bytes) = slot.apply(record.id.get(), &facts.facts) {
                        self.resize(forum, &slot, bytes);
                    }
                }
                Event::ForumOpened(forum) if is_live => {
                    let slot = self.table.lock().enter(*forum, Instant::now());
                    slot.of_new_forum(MESSAGES_MAX);
                    self.resize(*forum, &slot, slot.bytes());
                }
                Event::ForumClosed(forum) => {
                    let dropped = self.table.lock().remove(*forum);
                    discard(dropped.as_slice());
                }
                _ => {}
            }
        }
    }

    /// The state was replaced: what was applied in between is not known.
    pub fn clear(&self) {
        let dropped = self.table.lock().clear();
        discard(&dropped);
    }

    /// How many windows there are and their bytes, each with the most there may be.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 2] {
        let (slots, bytes) = self.table.lock().held();
        [("windows", (slots, WINDOWS_MAX)), ("window_bytes", (bytes, self.bytes_max))]
    }

    /// Answers by `render` from the forum's window, or, for a forum that nobody has opened, from none; gets what is missing
    /// from replicas. The caller has waited for what its answer must contain.
    pub async fn read<T>(
        &self,
        forum: Option<ForumId>,
        deadline: Instant,
        render: impl Fn(&HubView<'_>) -> Result<T, Missing>,
    ) -> Result<T, CallError> {
        let mut fetched = Fetched::default();
        for turn in 0..=PAGES_MAX {
            fetched.is_enough = turn == PAGES_MAX;
            let shown = |window: Option<&ForumWindow>| render(&HubView { window, fetched: &fetched });
            let rendered = match forum {
                Some(forum) => self.ready(forum, deadline).await?.read(|window| shown(Some(window))),
                None => Some(shown(None)),
            };
            match rendered {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(missing)) => self.fetch(forum, missing, &mut fetched, deadline).await?,
                // Dropped in this moment.
                None => {}
            }
        }
        Err(CallError::Timeout)
    }

    /// Gets the forum's window ready, for whoever will look at it.
    pub async fn prepare(&self, forum: ForumId, deadline: Instant) {
        // Whoever looks at it tries again, and is told.
        let _ = self.ready(forum, deadline).await;
    }

    /// The forum's slot with a window in it.
    async fn ready(&self, forum: ForumId, deadline: Instant) -> Result<SharedSlot, CallError> {
        for _ in 0..LOADS_MAX {
            let slot = self.table.lock().enter(forum, Instant::now());
            if slot.is_ready() {
                return Ok(slot);
            }
            let loaded = {
                let _turn =
                    timeout_at(deadline, slot.loading.lock()).await.map_err(|_| CallError::Timeout)?;
                match slot.is_ready() {
                    true => Installed::Ready,
                    false => self.load(forum, &slot, deadline).await?,
                }
            };
            if loaded == Installed::Ready {
                return Ok(slot);
            }
        }
        Err(CallError::Timeout)
    }

    async fn load(
        &self,
        forum: ForumId,
        slot: &SharedSlot,
        deadline: Instant,
    ) -> Result<Installed, CallError> {
        if !slot.begin() {
            return Ok(Installed::Lost);
        }
        // A reader that hangs up here leaves no half-loaded window behind.
        let _unfinished = Unfinished(slot);
        counter!("loop_windows_loaded_total").increment(1);
        let page = self.page(forum, None, LOADED_MESSAGES, deadline).await?;
        let rows = Rows {
            forum: page.forum,
            subscriptions: page.subscriptions,
            messages: page.messages,
            is_complete: page.is_complete,
        };
        self.catch_up_with(page.as_of).await;
        let installed = slot.install(ForumWindow::new(rows, MESSAGES_MAX));
        self.resize(forum, slot, slot.bytes());
        Ok(installed)
    }

    /// Rows may hold what this hub has not applied yet. Put back to where this hub is, a message that has moved up since could be
    /// in none of both. What a replica says of its position may be anything, so that is waited for a moment only.
    async fn catch_up_with(&self, as_of: u64) {
        let Some(state) = self.state() else { return };
        let until = Instant::now() + CATCH_UP_WITHIN;
        while state.read(|state| state.newest()) < as_of {
            let applied = state.wait_applied(state.applied_index() + 1);
            if !matches!(timeout_at(until, applied).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn resize(&self, forum: ForumId, slot: &SharedSlot, bytes: usize) {
        let dropped = {
            let mut table = self.table.lock();
            table.resize(forum, slot, bytes);
            table.shrink(self.bytes_max, WINDOWS_MAX)
        };
        discard(&dropped);
    }

    /// A message, if the forum's window has it.
    pub fn message(&self, forum: ForumId, id: u32) -> Option<Arc<Row>> {
        let slot = self.table.lock().get(forum)?;
        slot.read(|window| window.message(id, false)).flatten().flatten()
    }

    async fn fetch(
        &self,
        of: Option<ForumId>,
        missing: Missing,
        fetched: &mut Fetched,
        deadline: Instant,
    ) -> Result<(), CallError> {
        match (missing, of) {
            (Missing::OlderThan(before), Some(forum)) => {
                let page = self.page(forum, Some(before), PAGE_MESSAGES, deadline).await?;
                fetched.take(before, check::rows(page.messages), page.is_complete);
            }
            (Missing::OlderThan(_), None) => return Err(CallError::Timeout),
            (Missing::User(id), _) => {
                let fence = self.state().map_or(0, |state| state.read(|state| state.directory_newest()));
                let request = v1::RowsRequest { id: 0, fence, kind: Some(Kind::UserId(id)) };
                let take = |reply| check::user(id, fence, reply);
                let user = self.rows.ask(&request, Holders::Any, deadline, take);
                fetched.user = Some((id, user.await?));
            }
        }
        Ok(())
    }

    async fn page(
        &self,
        forum: ForumId,
        before: Option<view::Position>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Page, CallError> {
        let look = |state: &loop_raft_store::machine::HubState| {
            let latest_s = state.now().seconds().saturating_add(AHEAD_S_MAX);
            state
                .forum(forum)
                .map(|forum| (forum.newest_record, forum.serving().collect::<Vec<_>>(), latest_s))
        };
        let found = self.state().and_then(|state| state.read(look));
        let (fence, holders, latest_s) = found.ok_or(CallError::NoPeer)?;
        let asked = Asked { forum: forum.get(), fence, before, latest_s, limit };
        let position = before.map(|(shouted_at_s, id)| v1::MessagePosition { shouted_at_s, id });
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let kind = Kind::Forum(v1::ForumRows { forum_id: forum.get(), before: position, limit });
        let request = v1::RowsRequest { id: 0, fence, kind: Some(kind) };
        self.rows.ask(&request, Holders::Of(holders), deadline, |reply| check::page(asked, reply)).await
    }

    fn state(&self) -> Option<&StateReader> {
        self.state.get()
    }
}

/// Whoever looks into one of them still must be waited for, so that is done when nobody waits for the table.
fn discard(dropped: &[SharedSlot]) {
    dropped.iter().for_each(|slot| slot.discard());
}

/// A load under way: where it ends without rows, the next reader begins anew.
struct Unfinished<'a>(&'a SharedSlot);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

//! The gateway as a whole: what clients and other hubs say goes through the pure core, and what follows from it is sent.
//!
//! Everything happens under one lock, in the order in which it was heard, so that no message overtakes another.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use engineioxide::Str;
use loop_proto::v1;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        message::{Message, Refused},
        name::UserName,
        pace::{MANY_USERS, Pace},
        packet::event_for_client,
        users::{Change, ConnectionId, LEASE, Users},
    },
    measure::{self, Dropped, Way},
    sessions::{self, Client, Sessions},
    settings::Settings,
};

/// How often it is looked whether a lease is over or a client has never entered, while there is something to look at.
const LOOK: Duration = Duration::from_millis(250);

/// How messages get to other hubs.
pub trait Forward: Send + Sync + 'static {
    /// Hands a message to the way to a hub; `false`: there is none, or too much waits for it.
    fn forward(&self, hub: u64, message: v1::RealtimeMessage) -> bool;
}

/// One hub's gateway.
pub struct Realtime {
    settings: Settings,
    began: Instant,
    forward: Arc<dyn Forward>,
    state: Mutex<State>,
    /// The version of this gateway's own users, for whoever tells other hubs.
    version: watch::Sender<u64>,
    /// Wakes the list's teller.
    list_due: Notify,
    /// Wakes the caretaker.
    care: Notify,
}

#[derive(Debug, Default)]
struct State {
    users: Users,
    sessions: Sessions,
    pace: Pace,
    /// Named since the last list: they get it, whether or not it has changed.
    unlisted: BTreeSet<ConnectionId>,
    /// Whether the next list goes to everybody.
    list_for_all: bool,
}

impl Realtime {
    /// A gateway without clients.
    pub fn new(settings: Settings, forward: Arc<dyn Forward>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            began: Instant::now(),
            forward,
            state: Mutex::default(),
            version: watch::Sender::new(0),
            list_due: Notify::new(),
            care: Notify::new(),
        })
    }

    /// How it is set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    // What clients do.

    /// Whether one more session may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().sessions.count() < self.settings.sessions_max
    }

    /// A session has begun.
    pub(crate) fn began(&self, client: Client) -> ConnectionId {
        let id = self.state.lock().sessions.add(client, self.now());
        self.care.notify_one();
        id
    }

    /// A session has ended.
    pub(crate) fn ended(&self, id: ConnectionId) {
        let mut state = self.state.lock();
        state.sessions.remove(id);
        let change = state.users.leave(id);
        self.changed(&mut state, change);
    }

    /// A client enters the default namespace. Whether it was not in there yet.
    pub(crate) fn enters(&self, id: ConnectionId) -> bool {
        !self.state.lock().sessions.set_entered(id, true)
    }

    /// A client leaves the default namespace.
    pub(crate) fn leaves(&self, id: ConnectionId) {
        let mut state = self.state.lock();
        if state.sessions.set_entered(id, false) {
            let change = state.users.leave(id);
            self.changed(&mut state, change);
        }
    }

    /// Whether a client has entered the default namespace.
    pub(crate) fn has_entered(&self, id: ConnectionId) -> bool {
        self.state.lock().sessions.get(id).is_some_and(|session| session.entered)
    }

    /// A client says who it is.
    pub(crate) fn identify(&self, id: ConnectionId, name: UserName) {
        let mut state = self.state.lock();
        // A session that ended meanwhile must not come to be a user.
        if state.sessions.get(id).is_none() {
            return;
        }
        let change = state.users.identify(id, name);
        state.unlisted.insert(id);
        self.changed(&mut state, change.max(Change::Counts));
    }

    /// A client sends a message.
    pub(crate) fn send(&self, json: &str) {
        match Message::read(json) {
            Ok(message) => {
                measure::message(Way::FromClient, 1);
                self.deliver(&message);
            }
            Err(refused) => measure::dropped(refused.into()),
        }
    }

    fn deliver(&self, message: &Message) {
        let state = self.state.lock();
        let route = state.users.route(message);
        let mut sent = 0;
        if !route.here.is_empty() {
            let packet = Str::from(message.event());
            for session in route.here.iter().filter_map(|id| state.sessions.get(*id)) {
                match sessions::send(&session.client, packet.clone()) {
                    true => sent += 1,
                    false => measure::dropped(Dropped::SlowClient),
                }
            }
        }
        measure::message(Way::ToClient, sent);
        for hub in route.hubs {
            let forwarded = v1::RealtimeMessage { json: message.forwarded_json() };
            match self.forward.forward(hub, forwarded) {
                true => measure::message(Way::ToHub, 1),
                false => measure::dropped(Dropped::SlowHub),
            }
        }
    }

    /// Something clients or other hubs are told has changed.
    fn changed(&self, state: &mut State, change: Change) {
        if change == Change::Nothing {
            return;
        }
        let users = state.users.count();
        // With few users everybody is told of each coming and going, as clients of the original server are.
        state.list_for_all |= change == Change::List || users <= MANY_USERS;
        state.pace.changed(self.now(), users);
        self.list_due.notify_one();
        self.version.send_if_modified(|version| {
            let before = std::mem::replace(version, state.users.version());
            before != *version
        });
    }

    // What other hubs say, and are told.

    /// A hub passes on a message of one of its clients.
    pub fn heard_message(&self, message: v1::RealtimeMessage) {
        match Message::read(&message.json) {
            Ok(mut message) => {
                measure::message(Way::FromHub, 1);
                // Whatever it says of itself: it is never passed on again.
                message.forwarded = true;
                self.deliver(&message);
            }
            Err(refused) => measure::dropped(refused.into()),
        }
    }

    /// A hub says who is connected to it. `false`: something was missed, and it is to say it all.
    pub fn heard_users(&self, hub: u64, news: v1::RealtimeUsers) -> bool {
        let mut state = self.state.lock();
        let change = state.users.heard(hub, news);
        self.changed(&mut state, change.unwrap_or(Change::Nothing));
        change.is_some()
    }

    /// The link to a hub is broken.
    pub fn lost(&self, hub: u64) {
        if self.state.lock().users.lost(hub, self.now()) {
            self.care.notify_one();
        }
    }

    /// Follows the version of this gateway's own users.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What a hub is told that knows version `since`, if any; and the version it knows then.
    pub fn news(&self, since: Option<u64>) -> (Vec<v1::RealtimeUsers>, u64) {
        let state = self.state.lock();
        (state.users.news(self.settings.boot, since), state.users.version())
    }

    // What operators ask.

    /// Up to `limit` users whose names come after `after`; and whether there are more.
    pub fn users(&self, after: &str, limit: usize) -> (Vec<v1::RealtimeUserInfo>, bool) {
        let state = self.state.lock();
        let after = UserName::new(after);
        let mut page = state.users.page(self.settings.own_hub, after.as_ref());
        let info = |(name, hubs): (&UserName, Vec<(u64, u32)>)| v1::RealtimeUserInfo {
            name: name.as_str().to_owned(),
            on: hubs
                .into_iter()
                .map(|(hub_id, connections)| v1::RealtimeUserOn { hub_id, connections })
                .collect(),
        };
        let users = page.by_ref().take(limit).map(info).collect();
        (users, page.next().is_some())
    }

    /// Up to `limit` sessions of this gateway, oldest first; and whether there are more.
    pub fn connections(&self, after: u64, limit: usize) -> (Vec<v1::RealtimeConnectionInfo>, bool) {
        let (state, now) = (self.state.lock(), self.now());
        let mut later = state.sessions.iter().filter(|(id, _)| id.0 > after);
        let info = |(id, session): (ConnectionId, &sessions::Session)| v1::RealtimeConnectionInfo {
            connection_id: id.0,
            name: state.users.name(id).map(|name| name.as_str().to_owned()),
            engine_io: if sessions::engine3(&session.client) { 3 } else { 4 },
            websocket: sessions::is_websocket(&session.client),
            age_ms: u64::try_from((now - session.began).as_millis()).unwrap_or(u64::MAX),
        };
        let sessions = later.by_ref().take(limit).map(info).collect();
        (sessions, later.next().is_some())
    }

    /// How much of what others decide the size of is held, and the most there may be.
    pub fn held(&self) -> (usize, usize) {
        (self.state.lock().sessions.count(), self.settings.sessions_max)
    }

    // What runs for as long as the hub does.

    /// Sends lists when they are due, until shutdown.
    pub async fn tell_lists(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let due = self.state.lock().pace.due();
            let wait = due.map(|due| due.saturating_sub(self.now()));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                // Sooner than what is waited for: with few users again, the next change is due at once.
                () = self.list_due.notified() => {}
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            self.tell_list();
        }
    }

    fn tell_list(&self) {
        let mut state = self.state.lock();
        if !state.pace.take(self.now()) {
            return;
        }
        let unlisted = std::mem::take(&mut state.unlisted);
        let to: Vec<ConnectionId> = match std::mem::take(&mut state.list_for_all) {
            true => state.users.identified().collect(),
            false => unlisted.into_iter().collect(),
        };
        measure::users(state.users.count());
        if to.is_empty() {
            return;
        }
        let names: Vec<&str> = state.users.list().map(UserName::as_str).collect();
        // Strings are always JSON.
        let names = serde_json::to_string(&names).unwrap_or_default();
        let packet = Str::from(event_for_client("update_client", &format!("{{\"list\":{names}}}")));
        let clients: Vec<Client> =
            to.into_iter().filter_map(|id| Some(state.sessions.get(id)?.client.clone())).collect();
        drop(state);
        for client in &clients {
            // Never in the queue: a newer list takes the place of one that the client has not been sent yet.
            client.emit_volatile(packet.clone());
        }
        measure::lists(clients.len() as u64);
    }

    /// Ends leases and sessions of clients that never entered, and counts, until shutdown. Then ends all sessions.
    pub async fn take_care(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let something = {
                let state = self.state.lock();
                measure::sessions(state.sessions.counts());
                state.sessions.count() > 0 || state.users.any_lost()
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = sleep(LOOK), if something => self.look(),
                () = self.care.notified(), if !something => {}
            }
        }
        let clients: Vec<Client> =
            self.state.lock().sessions.iter().map(|(_, session)| session.client.clone()).collect();
        clients.iter().for_each(sessions::close);
    }

    fn look(&self) {
        let now = self.now();
        let mut state = self.state.lock();
        let change = state.users.expire(now);
        if change != Change::Nothing {
            tracing::info!(lease = ?LEASE, "the users of a hub that cannot be reached are gone");
        }
        self.changed(&mut state, change);
        let overdue = state.sessions.overdue(now, self.settings.connect_within);
        drop(state);
        overdue.iter().for_each(sessions::close);
    }
}

impl From<Refused> for Dropped {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::Malformed,
            Refused::TooLong => Self::TooLong,
        }
    }
}

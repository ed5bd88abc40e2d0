//! The sessions of this gateway's clients. Knows how one is written to; never who is in it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
    time::Duration,
};

use engineioxide::{DisconnectReason, ProtocolVersion, Socket, Str, TransportType};

use crate::core::users::ConnectionId;

/// What engineioxide keeps for us with each session.
#[derive(Debug, Default)]
pub struct Tag(pub OnceLock<ConnectionId>);

/// One session's way to its client.
pub type Client = Arc<Socket<Tag>>;

/// A session.
#[derive(Debug)]
pub struct Session {
    /// The way to its client.
    pub client: Client,
    /// Whether it has entered the default namespace: at once for clients 1.x and 2.x, when they say so for others.
    pub entered: bool,
    /// When it began, since the gateway did.
    pub began: Duration,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    all: BTreeMap<ConnectionId, Session>,
    /// Those that had not entered when they began, in that order.
    entering: VecDeque<(Duration, ConnectionId)>,
    next: u64,
}

impl Sessions {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// A session has begun.
    pub fn add(&mut self, client: Client, now: Duration) -> ConnectionId {
        self.next += 1;
        let id = ConnectionId(self.next);
        let entered = engine3(&client);
        if !entered {
            self.entering.push_back((now, id));
        }
        self.all.insert(id, Session { client, entered, began: now });
        id
    }

    /// A session has ended.
    pub fn remove(&mut self, id: ConnectionId) {
        self.all.remove(&id);
    }

    /// A session, while there is one.
    pub fn get(&self, id: ConnectionId) -> Option<&Session> {
        self.all.get(&id)
    }

    /// A session enters the default namespace, or leaves it. Whether it was in there before.
    pub fn set_entered(&mut self, id: ConnectionId, entered: bool) -> bool {
        self.all.get_mut(&id).is_some_and(|session| std::mem::replace(&mut session.entered, entered))
    }

    /// Those that should have entered long ago.
    pub fn overdue(&mut self, now: Duration, within: Duration) -> Vec<Client> {
        let mut overdue = Vec::new();
        while let Some((began, id)) = self.entering.front().copied() {
            let session = self.all.get(&id).filter(|session| !session.entered);
            if session.is_some() && now < began + within {
                break;
            }
            overdue.extend(session.map(|session| session.client.clone()));
            self.entering.pop_front();
        }
        overdue
    }

    /// All of them, in the order in which they began.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Session)> {
        self.all.iter().map(|(id, session)| (*id, session))
    }

    /// How many there are by protocol and transport.
    pub fn counts(&self) -> [[usize; 2]; 2] {
        let mut counts = [[0; 2]; 2];
        for session in self.all.values() {
            let engine = usize::from(!engine3(&session.client));
            counts[engine][usize::from(is_websocket(&session.client))] += 1;
        }
        counts
    }
}

/// Whether a client is of generation 1.x or 2.x.
pub fn engine3(client: &Client) -> bool {
    client.protocol == ProtocolVersion::V3
}

/// Whether a client has a WebSocket by now.
pub fn is_websocket(client: &Client) -> bool {
    client.transport_type() == TransportType::Websocket
}

/// Sends a packet. `false`: what waits for this client is too much already.
pub fn send(client: &Client, packet: Str) -> bool {
    client.emit(packet).is_ok()
}

/// Ends a session.
pub fn close(client: &Client) {
    client.close(DisconnectReason::ClosingServer);
}

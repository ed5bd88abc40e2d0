//! Who is connected: this gateway's connections at first hand, other hubs' users by their word, and the list of all.
//!
//! A connection has one name at a time. A user is there while any of its connections anywhere is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use loop_proto::v1;

use super::{
    changes::Changes,
    message::Message,
    name::UserName,
    remote::{Heard, Remote},
};

/// How long a hub's users stay after the link to it broke. Long enough for a link that comes back.
pub const LEASE: Duration = Duration::from_secs(2);

/// Users told to another hub in one message.
pub const PART_USERS: usize = 4096;

/// One client's session on this gateway, in the order in which they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// How much of what clients are told has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// How many connections a user has.
    Counts,
    /// Who is there.
    List,
}

/// Where a message goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Connections of this gateway: the recipient's, then the sender's, each once.
    pub here: Vec<ConnectionId>,
    /// Hubs that have connections of either.
    pub hubs: Vec<u64>,
}

/// Everybody who is connected.
#[derive(Debug, Default)]
pub struct Users {
    names: BTreeMap<ConnectionId, UserName>,
    /// Connections in the order in which they took the name.
    here: BTreeMap<UserName, Vec<ConnectionId>>,
    there: BTreeMap<u64, Remote>,
    /// On how many gateways each user is; its keys are the list.
    anywhere: BTreeMap<UserName, u32>,
    changes: Changes,
}

impl Users {
    /// A connection has said who it is. The name it had before is its no more.
    pub fn identify(&mut self, connection: ConnectionId, name: UserName) -> Change {
        if self.names.get(&connection) == Some(&name) {
            return Change::Nothing;
        }
        let left = self.leave(connection);
        self.names.insert(connection, name.clone());
        self.changes.note(&name);
        let connections = self.here.entry(name.clone()).or_default();
        connections.push(connection);
        let came = if connections.len() == 1 { self.came(&name) } else { Change::Counts };
        left.max(came)
    }

    /// A connection is gone, or has left.
    pub fn leave(&mut self, connection: ConnectionId) -> Change {
        let Some(name) = self.names.remove(&connection) else { return Change::Nothing };
        self.changes.note(&name);
        let Some(connections) = self.here.get_mut(&name) else { return Change::Nothing };
        connections.retain(|other| *other != connection);
        if !connections.is_empty() {
            return Change::Counts;
        }
        self.here.remove(&name);
        self.went(&name)
    }

    fn came(&mut self, name: &UserName) -> Change {
        let gateways = self.anywhere.entry(name.clone()).or_insert(0);
        *gateways += 1;
        if *gateways == 1 { Change::List } else { Change::Counts }
    }

    fn went(&mut self, name: &UserName) -> Change {
        let Some(gateways) = self.anywhere.get_mut(name) else { return Change::Nothing };
        *gateways -= 1;
        if *gateways > 0 {
            return Change::Counts;
        }
        self.anywhere.remove(name);
        Change::List
    }

    /// Another hub has said who is connected to it. `None`: something of it was missed, and it is to say it all.
    pub fn heard(&mut self, hub: u64, news: v1::RealtimeUsers) -> Option<Change> {
        match self.there.entry(hub).or_default().hear(news) {
            Heard::Missed => None,
            Heard::More => Some(Change::Nothing),
            Heard::Known { came, went, counts } => {
                let change = if counts { Change::Counts } else { Change::Nothing };
                let change = came.iter().fold(change, |change, name| change.max(self.came(name)));
                Some(went.iter().fold(change, |change, name| change.max(self.went(name))))
            }
        }
    }

    /// The link to a hub is broken. Its users stay for the time of a lease. Whether there are any.
    pub fn lost(&mut self, hub: u64, now: Duration) -> bool {
        let remote = self.there.get_mut(&hub);
        remote.map(|remote| remote.lost_at.get_or_insert(now)).is_some()
    }

    /// Takes away the users of hubs whose lease is over.
    pub fn expire(&mut self, now: Duration) -> Change {
        let over = |remote: &Remote| remote.lost_at.is_some_and(|at| now >= at + LEASE);
        let gone: Vec<Remote> =
            self.there.extract_if(.., |_, remote| over(remote)).map(|(_, remote)| remote).collect();
        let names = gone.iter().flat_map(Remote::names);
        names.fold(Change::Nothing, |change, name| change.max(self.went(name)))
    }

    /// Whether a lease runs.
    pub fn any_lost(&self) -> bool {
        self.there.values().any(|remote| remote.lost_at.is_some())
    }

    /// Where a message goes. One that is forwarded goes to no other hub, whatever is believed of it.
    pub fn route(&self, message: &Message) -> Route {
        let connections = |name| self.here.get(name).into_iter().flatten().copied();
        let mut here: Vec<ConnectionId> = connections(&message.to).collect();
        if message.from != message.to {
            here.extend(connections(&message.from));
        }
        let has =
            |remote: &Remote| remote.connections(&message.to) > 0 || remote.connections(&message.from) > 0;
        let hubs = self.there.iter().filter(|(_, remote)| !message.forwarded && has(remote));
        Route { here, hubs: hubs.map(|(hub, _)| *hub).collect() }
    }

    /// All users, in order, each once.
    pub fn list(&self) -> impl Iterator<Item = &UserName> {
        self.anywhere.keys()
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.anywhere.len()
    }

    /// Users from `after` on, with the connections they have on each hub; this one's number is `own`.
    pub fn page<'a>(
        &'a self,
        own: u64,
        after: Option<&UserName>,
    ) -> impl Iterator<Item = (&'a UserName, Vec<(u64, u32)>)> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |name| Excluded(name.clone()));
        self.anywhere.range((from, Unbounded)).map(move |(name, _)| {
            let here = self.here.get(name).map_or(0, |connections| connections.len() as u32);
            let there = self.there.iter().map(|(hub, remote)| (*hub, remote.connections(name)));
            let hubs = std::iter::once((own, here)).chain(there).filter(|(_, connections)| *connections > 0);
            (name, hubs.collect())
        })
    }

    /// Connections of this gateway that have a name.
    pub fn identified(&self) -> impl Iterator<Item = ConnectionId> {
        self.names.keys().copied()
    }

    /// The name of a connection.
    pub fn name(&self, connection: ConnectionId) -> Option<&UserName> {
        self.names.get(&connection)
    }

    /// The version of this gateway's own users; 0: it never had any.
    pub fn version(&self) -> u64 {
        self.changes.version()
    }

    /// What another hub is told that knows this gateway's users as of version `since`, if any.
    pub fn news(&self, boot: u64, since: Option<u64>) -> Vec<v1::RealtimeUsers> {
        let to_version = self.version();
        let user = |name: &UserName| v1::RealtimeUser {
            name: name.as_str().to_owned(),
            connections: self.here.get(name).map_or(0, |connections| connections.len() as u32),
        };
        let changed: Option<BTreeSet<&UserName>> = since.and_then(|since| self.changes.since(since));
        if let (Some(from_version), Some(changed)) = (since, changed) {
            let users = changed.into_iter().map(user).collect();
            return vec![v1::RealtimeUsers { boot, from_version, to_version, users, ..Default::default() }];
        }
        let names: Vec<&UserName> = self.here.keys().collect();
        let parts = names.len().div_ceil(PART_USERS).max(1);
        let part = |n: usize| {
            let users = names.iter().skip(n * PART_USERS).take(PART_USERS).map(|name| user(name)).collect();
            v1::RealtimeUsers { boot, from_version: 0, to_version, whole: n == 0, more: n + 1 < parts, users }
        };
        (0..parts).map(part).collect()
    }
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;

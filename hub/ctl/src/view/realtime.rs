//! Socket.IO clients: users on all hubs, connections of one.

use loop_proto::v1;
use serde::Serialize;

use super::{super::table::Table, View, long};

/// What `hubctl realtime users` shows.
#[derive(Debug, Serialize)]
pub struct RealtimeUsersView {
    users: Vec<UserView>,
    /// Whether there are more than were asked for.
    more: bool,
}

#[derive(Debug, Serialize)]
struct UserView {
    name: String,
    connections: u32,
    on: Vec<OnView>,
}

#[derive(Debug, Serialize)]
struct OnView {
    hub: u64,
    connections: u32,
}

impl From<(Vec<v1::RealtimeUserInfo>, bool)> for RealtimeUsersView {
    fn from((users, more): (Vec<v1::RealtimeUserInfo>, bool)) -> Self {
        let on = |on: v1::RealtimeUserOn| OnView { hub: on.hub_id, connections: on.connections };
        let view = |user: v1::RealtimeUserInfo| UserView {
            connections: user.on.iter().map(|on| on.connections).fold(0, u32::saturating_add),
            name: user.name,
            on: user.on.into_iter().map(on).collect(),
        };
        Self { users: users.into_iter().map(view).collect(), more }
    }
}

impl View for RealtimeUsersView {
    fn text(&self, _now_ms: u64) -> String {
        if self.users.is_empty() {
            return "nobody is there\n".to_owned();
        }
        let mut table = Table::new(&["NAME", "CONNECTIONS", "HUBS"]);
        for user in &self.users {
            let hubs: Vec<String> = user.on.iter().map(|on| format!("h{}", on.hub)).collect();
            table.row(vec![printable(&user.name), user.connections.to_string(), hubs.join(",")]);
        }
        table.render() + remark(self.more)
    }
}

/// What `hubctl realtime connections` shows.
#[derive(Debug, Serialize)]
pub struct RealtimeConnectionsView {
    hub: u64,
    connections: Vec<ConnectionView>,
    /// Whether there are more than were asked for.
    more: bool,
}

#[derive(Debug, Serialize)]
struct ConnectionView {
    connection: u64,
    name: Option<String>,
    engine_io: u32,
    transport: &'static str,
    age_ms: u64,
}

impl From<v1::ListRealtimeConnectionsReply> for RealtimeConnectionsView {
    fn from(reply: v1::ListRealtimeConnectionsReply) -> Self {
        let view = |connection: v1::RealtimeConnectionInfo| ConnectionView {
            connection: connection.connection_id,
            name: connection.name,
            engine_io: connection.engine_io,
            transport: if connection.websocket { "websocket" } else { "polling" },
            age_ms: connection.age_ms,
        };
        let connections = reply.connections.into_iter().map(view).collect();
        Self { hub: reply.hub_id, connections, more: reply.more }
    }
}

impl View for RealtimeConnectionsView {
    fn text(&self, _now_ms: u64) -> String {
        if self.connections.is_empty() {
            return format!("nobody is connected to hub h{}\n", self.hub);
        }
        let mut table = Table::new(&["CONNECTION", "NAME", "CLIENT", "TRANSPORT", "AGE"]);
        for connection in &self.connections {
            let generation = if connection.engine_io == 3 { "1.x or 2.x" } else { "3.x or 4.x" };
            table.row(vec![
                connection.connection.to_string(),
                connection.name.as_deref().map_or_else(|| "-".to_owned(), printable),
                generation.to_owned(),
                connection.transport.to_owned(),
                long(connection.age_ms),
            ]);
        }
        table.render() + remark(self.more)
    }
}

fn remark(more: bool) -> &'static str {
    if more { "there are more; --limit shows them\n" } else { "" }
}

/// A name is whatever a client says; a terminal must not obey it.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

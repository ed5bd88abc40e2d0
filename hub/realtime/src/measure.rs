//! The gateway's metrics. Labels are never anything a client chose.

use metrics::{counter, gauge};

/// Why something a client sent, or was to get, came to nothing.
#[derive(Clone, Copy, Debug)]
pub enum Dropped {
    /// The client has not read what waits for it.
    SlowClient,
    /// The other hub cannot be reached, or too much waits for it.
    SlowHub,
    /// It is no event this hub knows, or not what belongs to it.
    Malformed,
    /// It is too long.
    TooLong,
}

impl Dropped {
    const fn label(self) -> &'static str {
        match self {
            Self::SlowClient => "slow_client",
            Self::SlowHub => "slow_hub",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
        }
    }
}

/// Where a message came from or went.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// From a client of this hub.
    FromClient,
    /// To another hub.
    ToHub,
    /// From another hub.
    FromHub,
    /// To a client of this hub.
    ToClient,
}

impl Way {
    const fn label(self) -> &'static str {
        match self {
            Self::FromClient => "from_client",
            Self::ToHub => "to_hub",
            Self::FromHub => "from_hub",
            Self::ToClient => "to_client",
        }
    }
}

/// Messages have gone this way.
pub fn message(way: Way, count: u64) {
    counter!("loop_realtime_messages_total", "way" => way.label()).increment(count);
}

/// Something was dropped.
pub fn dropped(why: Dropped) {
    counter!("loop_realtime_dropped_total", "why" => why.label()).increment(1);
}

/// Clients were sent the list.
pub fn lists(count: u64) {
    counter!("loop_realtime_lists_sent_total").increment(count);
}

/// How many users there are, on all hubs.
pub fn users(count: usize) {
    gauge!("loop_realtime_users").set(count as f64);
}

/// How many sessions there are of each kind: Engine.IO 3 (clients 1.x, 2.x) and 4 (3.x, 4.x), polling and WebSocket.
pub fn sessions(counts: [[usize; 2]; 2]) {
    for (engine, of_engine) in ["3", "4"].into_iter().zip(counts) {
        for (transport, count) in ["polling", "websocket"].into_iter().zip(of_engine) {
            gauge!("loop_realtime_connections", "engine" => engine, "transport" => transport)
                .set(count as f64);
        }
    }
}

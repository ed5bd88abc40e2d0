//! Every bound and time-out of the gateway, with the reason for its value.

use std::time::Duration;

/// How the gateway behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This hub.
    pub own_hub: u64,
    /// Which life of this gateway it is: another number after each start, not 0.
    pub boot: u64,
    /// Most sessions at once. One more is told 503.
    pub sessions_max: usize,
    /// Packets that may wait for a client that reads slowly; further ones are dropped. Lists do not wait there: of those a
    /// client gets the newest.
    pub packets_max: usize,
    /// How often clients and hub look whether the other is still there, and how long an answer may take. What the original
    /// server's clients are used to; common proxies close what is silent for a minute.
    pub ping_interval: Duration,
    /// How long the answer may take.
    pub ping_timeout: Duration,
    /// How long a client 3.x or 4.x may take from the session to the namespace.
    pub connect_within: Duration,
    /// Longest body of a polling request, and longest packet on a WebSocket, bytes. Well above the longest message: who sends one
    /// that is a little too long loses it, and not the connection.
    pub body_bytes_max: usize,
    /// How long such a body may take.
    pub body_within: Duration,
}

impl Settings {
    /// The usual ones.
    pub fn new(own_hub: u64, boot: u64, sessions_max: usize) -> Self {
        Self {
            own_hub,
            boot,
            sessions_max,
            packets_max: 64,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_within: Duration::from_secs(20),
            body_bytes_max: 128 * 1024,
            body_within: Duration::from_secs(15),
        }
    }
}

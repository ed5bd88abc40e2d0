//! Channels to hubs and to etcd, all with the same settings, so that neither side of a comparison is favoured.

use std::time::Duration;

use anyhow::{Context, Result};
use tonic::transport::{Channel, Endpoint};

/// HTTP/2 windows that a batch never waits for.
const WINDOW_BYTES: u32 = 4 << 20;

/// Connects to `host:port` now.
pub async fn connect(authority: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    endpoint.connect().await.with_context(|| format!("no connection to {authority}"))
}

//! Where connections come from, and what else the edge takes from outside: chance and the wall clock.
//!
//! Production hands in a TCP listener, a simulation its own sockets, seed and clock.

use std::{io, net::SocketAddr};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to one client.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Accepts connections.
pub trait Listener: Send + 'static {
    /// The next connection and the client's address. An error does not end the listener: it is asked again.
    /// Dropping the future loses no connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Io>, SocketAddr)>>;
}

/// Small answers must not wait for the client's acknowledgement of the one before, hence no Nagle.
impl Listener for tokio::net::TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Io>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = tokio::net::TcpListener::accept(self).await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn Io>, from))
        })
    }
}

/// Chance and time of day.
pub trait Outside: Send + Sync + 'static {
    /// Fills `bytes` with what nobody can guess: session ids are made of it.
    fn fill_random(&self, bytes: &mut [u8]);

    /// Seconds of Unix time, for `Date`, `Last-Modified` and cookies.
    fn unix_seconds(&self) -> u64;
}

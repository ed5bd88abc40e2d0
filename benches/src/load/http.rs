//! One keep-alive HTTP connection to a hub: as little as a client can be, for it shares the machine with the hubs.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// AtomJump's browser gives up after 20 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A connection that is opened again when it broke.
pub struct Connection {
    authority: String,
    host: String,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Connection {
    /// To `host:port`; connects with the first request.
    pub fn to(authority: &str) -> Self {
        Self::to_host(authority, authority)
    }

    /// The same, for a server that goes by another name.
    pub fn to_host(authority: &str, host: &str) -> Self {
        Self { authority: authority.to_owned(), host: host.to_owned(), sender: None }
    }

    /// GETs a path with its query and reads the whole answer.
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes)> {
        let answer = timeout(ANSWER_WITHIN, self.exchange(path)).await;
        let answer = answer.map_err(anyhow::Error::from).flatten();
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn exchange(&mut self, path: &str) -> Result<(StatusCode, Bytes)> {
        let sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => self.sender.insert(sender),
            None => self.sender.insert(connect(&self.authority).await?),
        };
        sender.ready().await?;
        let request = Request::get(path).header(HOST, &self.host).body(Empty::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

async fn connect(authority: &str) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(authority).await.with_context(|| format!("connecting to {authority}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Whatever ends it is seen by whoever uses the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

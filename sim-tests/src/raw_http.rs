//! HTTP byte by byte, for requests no honest client makes.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// An answer, as far as it came.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The status; `None`: the connection was closed without one.
    pub status: Option<u16>,
    /// Header lines, lower case.
    pub head: String,
    /// The rest.
    pub body: String,
}

/// Sends `bytes` on a connection of their own and reads until the other side closes.
pub async fn send(hub: SocketAddr, bytes: &[u8]) -> Result<RawAnswer> {
    let exchange = async {
        let stream = TcpStream::connect(hub).await?;
        let (read, mut write) = stream.into_split();
        let sending = async {
            // A hub that refuses early closes while we still send; its answer is what counts.
            let _refused = write.write_all(bytes).await;
            let _closed = write.flush().await;
            write
        };
        let mut answer = Vec::new();
        let mut read = read.take(ANSWER_BYTES_MAX);
        let reading = read.read_to_end(&mut answer);
        // The writing half lives until the answer is there: closing it would look like a client that left.
        let (_write, result) = tokio::join!(sending, reading);
        if answer.is_empty() {
            result.context("no answer")?;
        }
        Ok::<_, anyhow::Error>(answer)
    };
    let answer = timeout(ANSWER_WITHIN, exchange).await.context("no end of the answer in time")??;
    Ok(parse(&answer))
}

/// `GET target` with `Connection: close`; the target goes out as it is.
pub async fn get(hub: SocketAddr, target: &[u8]) -> Result<RawAnswer> {
    send(hub, &request(b"GET", target, "", b"")).await
}

/// A request with a body and more header lines, each ending in CR LF.
pub fn request(method: &[u8], target: &[u8], headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(target.len() + body.len() + headers.len() + 128);
    bytes.extend_from_slice(method);
    bytes.push(b' ');
    bytes.extend_from_slice(target);
    bytes.extend_from_slice(b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    bytes.extend_from_slice(headers.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn parse(answer: &[u8]) -> RawAnswer {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_ref(), ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    RawAnswer { status, head: head.to_lowercase(), body: body.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart_and_garbage_has_no_status() {
        let answer = parse(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
        assert_eq!((answer.status, answer.body.as_str()), (Some(400), "no"));
        assert!(answer.head.contains("content-length: 2"));
        assert_eq!(parse(b"\xff\xfe").status, None);
        assert_eq!(parse("HTTP/1.é".as_bytes()).status, None);
    }
}

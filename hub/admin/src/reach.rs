//! Why a hub's address does not work, in a sentence with what to do: who listens there, if anybody does.
//!
//! Asked only after a question has failed. Says a few harmless bytes to whoever listens and looks at the first ones
//! that come back. Never sends a token.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// How long whoever listens may take to show what it is. Tried twice at most.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
/// First bytes of an answer that are looked at.
const LOOKED_AT: u64 = 512;

/// An HTTP/1 server answers this; one of gRPC says its first words before it reads it.
const ASK_HTTP: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";

/// What listens at an address, or what stands in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Something that speaks HTTP/2 without TLS, as a hub's gRPC port does.
    Grpc,
    /// HTTP/1, and whether it says of itself what a hub says on its HTTP port.
    Http { hub: bool },
    /// TLS.
    Tls,
    /// Nobody has this name.
    NoSuchName,
    /// The machine is there, and nothing listens.
    Refused,
    /// No connection came about in time.
    Silent,
    /// The system has another reason.
    Unreachable(String),
    /// It takes connections and says nothing that is known here.
    Unknown,
}

impl Found {
    /// What is wrong, and what to do. `None`: nothing that could be seen from outside.
    pub fn words(&self, addr: &str) -> Option<String> {
        let (host, port) = addr.rsplit_once(':').unwrap_or((addr, ""));
        Some(match self {
            Self::Grpc | Self::Unknown => return None,
            Self::Http { hub } => {
                let whose = if *hub { "a hub's HTTP port" } else { "an HTTP port" };
                format!(
                    "this is {whose}, and hubctl speaks gRPC: give the hub's gRPC port (its --grpc-listen, by default \
                     9080{})",
                    usual_neighbour(port)
                )
            }
            Self::Tls => "whoever listens there speaks TLS, which hubs and hubctl do not: give the gRPC port of the hub \
                          itself, from its own machine or over a private network"
                .to_owned(),
            Self::NoSuchName => {
                format!("no machine is called {host} (DNS): check the spelling, or give its IP address")
            }
            Self::Refused => format!(
                "connection refused, nothing listens on port {port}: start the hub, or give the port of its \
                 --grpc-listen"
            ),
            Self::Silent => {
                "no connection in time: the machine is off, or a firewall is in between; check the address".to_owned()
            }
            Self::Unreachable(why) => format!("{why}: check the address and the network"),
        })
    }
}

/// Where ports were counted from 8080 and 9080 on, the one that was meant.
fn usual_neighbour(port: &str) -> String {
    match port.parse::<u16>() {
        Ok(port @ 8081..=8084) => format!(", here rather {}", port + 1000),
        _ => String::new(),
    }
}

/// Looks who listens at `host:port`. `within` bounds the time for a connection.
pub(super) async fn look(addr: &str, within: Duration) -> Found {
    let resolved = match timeout(within, lookup_host(addr)).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(_)) | Err(_) => return Found::NoSuchName,
    };
    if resolved.is_empty() {
        return Found::NoSuchName;
    }
    let first = match timeout(within, TcpStream::connect(resolved.as_slice())).await {
        Err(_) => return Found::Silent,
        Ok(Err(error)) => return unreachable(&error),
        Ok(Ok(stream)) => first_words(stream, ASK_HTTP).await,
    };
    if is_http2(&first) {
        return Found::Grpc;
    }
    if first.starts_with(b"HTTP/1.") {
        let text = String::from_utf8_lossy(&first);
        // Servers of TLS that answer plain HTTP do so only to say that it was the wrong port for it.
        let tls = text.contains("HTTPS port") || text.contains("HTTPS server");
        let hub = text.ends_with("\r\n\r\nalive\n");
        return if tls { Found::Tls } else { Found::Http { hub } };
    }
    if is_tls(&first) {
        return Found::Tls;
    }
    let again = timeout(within, TcpStream::connect(resolved.as_slice())).await;
    let Ok(Ok(stream)) = again else { return Found::Unknown };
    if is_tls(&first_words(stream, &client_hello()).await) { Found::Tls } else { Found::Unknown }
}

fn unreachable(error: &std::io::Error) -> Found {
    match error.kind() {
        ErrorKind::ConnectionRefused => Found::Refused,
        ErrorKind::TimedOut => Found::Silent,
        _ => Found::Unreachable(error.to_string()),
    }
}

/// What comes back first; nothing if nothing does, or the connection breaks.
async fn first_words(mut stream: TcpStream, ask: &[u8]) -> Vec<u8> {
    let mut first = Vec::new();
    let talk = async {
        stream.write_all(ask).await?;
        let mut limited = stream.take(LOOKED_AT);
        while limited.read_buf(&mut first).await? > 0 && !is_http2(&first) {}
        std::io::Result::Ok(())
    };
    // What has come until it broke is all there is to see.
    let _ = timeout(SHOWN_WITHIN, talk).await;
    first
}

/// An HTTP/2 server begins with a SETTINGS frame: three bytes of length, its kind, no flags, stream 0.
fn is_http2(first: &[u8]) -> bool {
    first.len() >= 9 && first[0] == 0 && first[3..9] == [4, 0, 0, 0, 0, 0]
}

/// A record of TLS: a handshake or an alert, and a version.
fn is_tls(first: &[u8]) -> bool {
    first.len() >= 3 && matches!(first[0], 0x15 | 0x16) && first[1] == 3 && first[2] <= 4
}

/// The shortest greeting a server of TLS 1.2 answers, if only to refuse it.
fn client_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0; 32]); // what is random elsewhere: nothing is ever encrypted with it
    body.push(0); // no session
    body.extend([0, 2, 0xc0, 0x2f]); // one cipher suite
    body.extend([1, 0]); // no compression
    let mut hello = vec![0x16, 3, 1, 0, u8::try_from(body.len() + 4).unwrap_or(0)];
    hello.extend([1, 0, 0, u8::try_from(body.len()).unwrap_or(0)]);
    hello.extend(body);
    hello
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// Answers every connection's first bytes as `answer` says.
    async fn server(answer: fn(&[u8]) -> Vec<u8>) -> String {
        #[expect(clippy::disallowed_methods, reason = "the server of this story")]
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 512];
                let read = stream.read(&mut asked).await.unwrap();
                stream.write_all(&answer(&asked[..read])).await.unwrap();
            }
        });
        addr.to_string()
    }

    #[tokio::test]
    async fn whoever_listens_is_known_by_its_first_bytes() {
        let http2 = |_: &[u8]| [&[0, 0, 18, 4, 0, 0, 0, 0, 0][..], &[0; 18][..]].concat();
        assert_eq!(look(&server(http2).await, SOON).await, Found::Grpc);
        let hub = |_: &[u8]| b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nalive\n".to_vec();
        assert_eq!(look(&server(hub).await, SOON).await, Found::Http { hub: true });
        let other = |_: &[u8]| b"HTTP/1.1 404 Not Found\r\n\r\nno".to_vec();
        assert_eq!(look(&server(other).await, SOON).await, Found::Http { hub: false });
        let nginx = |_: &[u8]| b"HTTP/1.1 400 Bad Request\r\n\r\nplain HTTP sent to HTTPS port".to_vec();
        assert_eq!(look(&server(nginx).await, SOON).await, Found::Tls);
        // It hangs up on HTTP and answers a greeting only.
        let tls = |asked: &[u8]| if asked[0] == 0x16 { vec![0x15, 3, 3, 0, 2, 2, 40] } else { Vec::new() };
        assert_eq!(look(&server(tls).await, SOON).await, Found::Tls);
        let other = |_: &[u8]| b"220 mail.example.org ESMTP\r\n".to_vec();
        assert_eq!(look(&server(other).await, SOON).await, Found::Unknown);
    }

    #[tokio::test]
    async fn nobody_there_and_no_such_name_are_told_apart() {
        assert_eq!(look("127.0.0.1:1", SOON).await, Found::Refused);
        assert_eq!(look("no-such-machine.invalid:9080", SOON).await, Found::NoSuchName);
    }

    #[test]
    fn every_finding_that_is_wrong_says_what_to_do() {
        for (found, part) in [
            (Found::Http { hub: true }, "here rather 9081"),
            (Found::Tls, "gRPC port of the hub itself"),
            (Found::NoSuchName, "no machine is called hub.example"),
            (Found::Refused, "--grpc-listen"),
            (Found::Silent, "firewall"),
            (Found::Unreachable("no route".into()), "check the address"),
        ] {
            let words = found.words("hub.example:8081").unwrap();
            assert!(words.contains(part), "{words}");
        }
        assert_eq!(Found::Grpc.words("h:1"), None);
    }
}

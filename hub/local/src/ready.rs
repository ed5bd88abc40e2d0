//! Whether a hub says that its group serves: one small HTTP question, bounded in time and bytes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long one question may take.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// How much of the answer is read, bytes: some sentences about what is not well.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// `Ok` if `GET /readyz` is answered with 200, or with 503 although a majority of hubs stands behind this one: then it is
/// peers that are missing, and who starts a system waits for those he starts, not for all that there ever were. Else what
/// came instead, for an error message.
pub(super) async fn ask(hub: SocketAddr) -> Result<(), String> {
    let answer = tokio::time::timeout(ASK_WITHIN, get(hub)).await;
    let text = match answer {
        Err(_) => return Err(format!("no answer from http://{hub}/readyz within {ASK_WITHIN:?}")),
        Ok(Err(error)) => return Err(format!("http://{hub}/readyz: {error}")),
        Ok(Ok(text)) => text,
    };
    match text.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") if has_quorum(&text) => Ok(()),
        _ => Err(format!("http://{hub}/readyz answered: {}", summary(&text))),
    }
}

fn has_quorum(answer: &str) -> bool {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let health: Result<serde_json::Value, _> = serde_json::from_str(body);
    health.is_ok_and(|health| health["quorum"] == true)
}

async fn get(hub: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(hub).await?;
    let request = format!(
        "GET /readyz HTTP/1.1\r\nHost: {hub}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Status line and body, on one line.
fn summary(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or("nothing");
    format!("{status} {body}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn server_that_answers(answer: &'static str) -> SocketAddr {
        #[expect(clippy::disallowed_methods, reason = "the server of this story")]
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let _read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        addr
    }

    #[tokio::test]
    async fn a_hub_with_a_majority_is_ready_to_be_joined_by_peers_and_anything_else_is_told() {
        let ready = server_that_answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(ask(ready).await, Ok(()));
        let waiting = server_that_answers("HTTP/1.1 503 Service Unavailable\r\n\r\nno leader\n").await;
        let said = ask(waiting).await.unwrap_err();
        assert!(said.ends_with("HTTP/1.1 503 Service Unavailable no leader"), "{said}");
        let no_peer = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\":false,\"quorum\":true}\n";
        assert_eq!(ask(server_that_answers(no_peer).await).await, Ok(()));
        let alone = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\":false,\"quorum\":false}\n";
        assert!(ask(server_that_answers(alone).await).await.unwrap_err().contains("quorum"));
        let garbage = server_that_answers("\0\u{1}").await;
        assert!(ask(garbage).await.is_err());
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        let said = ask("127.0.0.1:1".parse().unwrap()).await.unwrap_err();
        assert!(said.contains("refused"), "{said}");
    }
}

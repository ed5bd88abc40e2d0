//! Bad input and bad manners: a clear status, bounded memory, nothing else disturbed.

mod http_support;

use std::time::{Duration, Instant};

use http_support::{Client, start, start_usual, usual};
use loop_hub_edge::HttpConfig;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const READ: &str = "GET /search-chat.php?passcode=f HTTP/1.1\r\nHost: x\r\n\r\n";

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn ten_megabytes_are_refused_at_once_and_not_kept() {
    let server = start_usual().await;
    let before = Instant::now();
    let body = vec![b'a'; 10 * 1024 * 1024];
    let memory = resident();
    let announced = server.request("POST", "/index.php?action=ssshout", &[FORM], &body).await;
    assert_eq!(announced.status, 413);

    let mut client = Client::connect(server.addr).await;
    let head = "POST /index.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes()).await;
    for chunk in body.chunks(1024 * 1024) {
        client.send(format!("{:x}\r\n", chunk.len()).as_bytes()).await;
        client.send(chunk).await;
        client.send(b"\r\n").await;
    }
    client.send(b"0\r\n\r\n").await;
    assert_eq!(client.answer(false).await.unwrap().status, 413);

    let elsewhere =
        server.request("POST", "/upload-photo.php", &[("Content-Type", "multipart/form-data")], &body).await;
    assert_eq!(elsewhere.status, 501);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    let grown = resident().saturating_sub(memory);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes more");
    assert!(server.asked().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_before_sending_is_told_before_it_sends() {
    let server = start_usual().await;
    let mut client = Client::connect(server.addr).await;
    let head = "POST /index.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(client.exchange(head).await.status, 413);
    server.stop().await;
}

#[tokio::test]
async fn a_form_below_the_limit_is_taken_and_all_forms_together_are_bounded() {
    let config = HttpConfig {
        form_bytes_total_max: 300 * 1024,
        body_timeout: Duration::from_secs(1),
        ..HttpConfig::default()
    };
    let server = start(config, usual).await;
    let form = ["passcode=f&a=", &"x".repeat(60_000), "&b=", &"y".repeat(60_000)].concat();
    assert_eq!(server.request("POST", "/search-chat.php", &[FORM], form.as_bytes()).await.status, 200);

    // One that is half sent holds its share; the next does not fit beside it.
    let mut half = Client::connect(server.addr).await;
    let head = "POST /search-chat.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 250000\r\n\r\n";
    half.send(&[head.as_bytes(), &vec![b'x'; 240_000]].concat()).await;
    sleep(Duration::from_millis(300)).await;
    let crowded = server.request("POST", "/search-chat.php", &[FORM], form.as_bytes()).await;
    assert_eq!(crowded.status, 503);
    assert_eq!(half.answer(false).await.unwrap().status, 408, "the half one is given up");
    assert_eq!(server.request("POST", "/search-chat.php", &[FORM], form.as_bytes()).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn urls_heads_and_parameters_have_their_limits() {
    let server = start_usual().await;
    let url = format!("/search-chat.php?passcode={}", "a".repeat(17 * 1024));
    assert_eq!(server.get(&url).await.status, 414);
    let many = format!("/search-chat.php?{}", "a=1&".repeat(300));
    assert_eq!(server.get(&many).await.status, 413);
    let huge = "x".repeat(64 * 1024);
    let head = server.request("GET", "/search-chat.php", &[("X-Huge", &huge)], b"").await;
    assert_eq!(head.status, 431);
    server.stop().await;
}

#[tokio::test]
async fn strange_bytes_do_no_harm() {
    let server = start_usual().await;
    for path in [
        "/search-chat.php?passcode=%ff%fe%00&callback=cb",
        "/index.php?action=ssshout&passcode=%00&cs=21633478&message=%00%ff",
    ] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for path in ["/%00", "/%ff", "/a%00b.png", "/%0d%0aX: y"] {
        let mut client = Client::connect(server.addr).await;
        let answer =
            client.exchange(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path.replace(' ', "%20"))).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let mut raw = Client::connect(server.addr).await;
    raw.send(b"GET /search-chat.php?passcode=\x00\xff HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(raw.answer(false).await.unwrap().status, 400);
    let mut garbage = Client::connect(server.addr).await;
    garbage.send(&[0xff; 4096]).await;
    assert!(garbage.answer(false).await.is_none_or(|answer| answer.status == 400));
    for host in ["a b", "x/y", "\"><script>", ""] {
        let answer = server.request("GET", "/search-chat.php", &[("Host", host)], b"").await;
        assert_eq!(answer.status, 400, "{host}");
    }
    let answer = server.get("/search-chat.php?passcode=f").await;
    assert_eq!(answer.status, 200, "and it still serves");
    server.stop().await;
}

#[tokio::test]
async fn slow_clients_are_cut_and_busy_ones_are_not() {
    let config = HttpConfig {
        head_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(1500),
        body_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    };
    let server = start(config, usual).await;

    let began = Instant::now();
    let mut slow = Client::connect(server.addr).await;
    for byte in READ.bytes() {
        if slow.0.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(40)).await;
        if began.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    assert!(slow.answer(false).await.is_none());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    let mut half = Client::connect(server.addr).await;
    half.send(b"POST /index.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\nab")
        .await;
    assert_eq!(half.answer(false).await.unwrap().status, 408);

    // Kept alive over several requests, then closed when nothing more comes.
    let mut kept = Client::connect(server.addr).await;
    for _ in 0..3 {
        assert_eq!(kept.exchange(READ).await.status, 200);
        sleep(Duration::from_millis(700)).await;
    }
    let silent = Instant::now();
    assert!(kept.answer(false).await.is_none());
    assert!(silent.elapsed() < Duration::from_secs(3));

    // Waiting for the cluster is not silence.
    *server.cluster.delay.lock() = Duration::from_secs(2);
    let mut waiting = Client::connect(server.addr).await;
    assert_eq!(waiting.exchange(READ).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let server = start(HttpConfig { connections_max: 2, ..HttpConfig::default() }, usual).await;
    let mut first = Client::connect(server.addr).await;
    let mut second = Client::connect(server.addr).await;
    assert_eq!(first.exchange(READ).await.status, 200);
    assert_eq!(second.exchange(READ).await.status, 200);
    let mut third = Client::connect(server.addr).await;
    let told = third.answer(false).await.unwrap();
    assert_eq!((told.status, told.header("retry-after")), (503, Some("2")));
    drop(second);
    let served = async {
        loop {
            let mut next = Client::connect(server.addr).await;
            next.send(READ.as_bytes()).await;
            if next.answer(false).await.is_some_and(|answer| answer.status == 200) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), served).await.expect("a freed place is used");
    server.stop().await;
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_back() {
    let server = start(HttpConfig { requests_max: 1, ..HttpConfig::default() }, usual).await;
    *server.cluster.delay.lock() = Duration::from_millis(500);
    let slow = server.get("/search-chat.php?passcode=f");
    let quick = async {
        sleep(Duration::from_millis(150)).await;
        server.get("/search-chat.php?passcode=g").await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!((slow.status, quick.status), (200, 503));
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}

/// As many as the machine lets one process have, both ends being in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_are_cheap_and_disturb_nobody() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let open_files: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(1024);
    let count = (open_files.saturating_sub(100) / 2).min(5_000);
    let server = start_usual().await;
    let memory = resident();
    let mut idle = Vec::with_capacity(count);
    for n in 0..count {
        let mut client = Client(TcpStream::connect(server.addr).await.unwrap());
        if n % 2 == 0 {
            assert_eq!(client.exchange("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
        }
        idle.push(client);
    }
    let each = resident().saturating_sub(memory) / count;
    assert!(each < 24 * 1024, "{each} bytes per idle connection, both ends");
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(server.get("/search-chat.php?passcode=f").await.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    println!("{count} idle connections, {each} bytes each");
    assert_eq!(idle[count - 2 + count % 2].exchange(READ).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn shutdown_finishes_what_runs_and_ends_what_idles() {
    let server = start_usual().await;
    *server.cluster.delay.lock() = Duration::from_millis(400);
    let mut idle = Client::connect(server.addr).await;
    let mut running = Client::connect(server.addr).await;
    running.send(READ.as_bytes()).await;
    sleep(Duration::from_millis(100)).await;
    let addr = server.addr;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(running.answer(false).await.unwrap().status, 200);
    assert!(idle.answer(false).await.is_none());
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let config = HttpConfig { drain_timeout: Duration::from_millis(300), ..HttpConfig::default() };
    let server = start(config, usual).await;
    *server.cluster.delay.lock() = Duration::from_secs(2);
    let mut running = Client::connect(server.addr).await;
    running.send(READ.as_bytes()).await;
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(running.answer(false).await.is_none());
}

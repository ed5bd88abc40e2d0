//! Connections no honest browser makes: thousands that say nothing, some that say it slowly, some that do not listen,
//! and garbage on the port of the peers. Memory stays bounded and an honest visitor notices nothing.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use loop_proto::v1::{self, peer_service_client::PeerServiceClient};
use loop_sim_tests::{
    bystander::Bystander,
    expect::{ensure, eventually},
    raw_http::request,
    resources::{raise_file_limit, resident_bytes},
    system::System,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, transport::Channel};

/// Idle connections, if the machine lets us have as many files.
const IDLE: usize = 10_000;

/// Files this process needs besides.
const FILES_SPARE: u64 = 300;

/// Resident memory of a hub with its share of the idle connections, bytes.
const RESIDENT_MAX: u64 = 300 << 20;

/// What an honest call may take beside all this, on two cores.
const SLOWEST: Duration = Duration::from_secs(3);

fn assert_bounded(system: &System) -> Result<()> {
    for member in system.cluster.members() {
        let resident = resident_bytes(member.pid.expect("it runs"))?;
        println!("{} holds {} MiB", member.name, resident >> 20);
        assert!(resident <= RESIDENT_MAX, "{} holds {} MiB", member.name, resident >> 20);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_disturb_nobody() -> Result<()> {
    let limit = raise_file_limit();
    let wanted = IDLE.min(usize::try_from(limit.saturating_sub(FILES_SPARE))?);
    let mut system = System::start().await?;
    let honest = Bystander::start(&system.hubs()).await?;
    let mut idle = Vec::with_capacity(wanted);
    for at in 0..wanted {
        let hub = system.cluster.hub_http(at % system.cluster.hub_count());
        let stream = timeout(Duration::from_secs(10), TcpStream::connect(hub)).await;
        idle.push(stream.with_context(|| format!("connection {at} was not taken in time"))??);
    }
    println!("{} idle connections (limit of open files {limit})", idle.len());
    assert!(idle.len() >= wanted.min(IDLE));
    // Long enough for the honest visitor to meet them.
    sleep(Duration::from_secs(3)).await;
    assert_bounded(&system)?;
    drop(idle);
    honest.assert_undisturbed(SLOWEST).await?;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go_and_disturb_nobody() -> Result<()> {
    let mut system = System::start().await?;
    let honest = Bystander::start(&system.hubs()).await?;
    let mut slow = JoinSet::new();
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n";
    for at in 0..150 {
        let hub = system.cluster.hub_http(at % system.cluster.hub_count());
        match at % 3 {
            0 => slow.spawn(drip(hub, b"GET /search-chat.php?passcode=x HTTP/1.1\r\nX: ".to_vec())),
            1 => {
                slow.spawn(drip(hub, request(b"POST", b"/index.php?action=ssshout&passcode=x", form, b"m=")))
            }
            _ => slow.spawn(never_listen(hub)),
        };
    }
    let mut longest = Duration::ZERO;
    while let Some(took) = slow.join_next().await {
        longest = longest.max(took??);
    }
    println!("the last slow client was let go after {longest:?}");
    assert_bounded(&system)?;
    honest.assert_undisturbed(SLOWEST).await?;
    system.assert_nobody_fell();
    Ok(())
}

/// How long a slow client may hold a connection.
const HELD_MAX: Duration = Duration::from_secs(45);

/// A byte each half second. Returns how long the hub put up with it.
async fn drip(hub: SocketAddr, start: Vec<u8>) -> Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(hub).await?;
    stream.write_all(&start).await?;
    let (mut read, mut write) = stream.into_split();
    let let_go = async {
        let mut answer = Vec::new();
        // A status, an end or a reset: each of them lets go of the connection.
        let _reset = read.read_to_end(&mut answer).await;
    };
    let dripping = async {
        while write.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = let_go => {}
        () = dripping => {}
        () = sleep(HELD_MAX) => anyhow::bail!("a client that drips was held for {HELD_MAX:?}"),
    }
    Ok(begun.elapsed())
}

/// Asks for much, over and over, and reads nothing of it.
async fn never_listen(hub: SocketAddr) -> Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(hub).await?;
    let ask = b"GET /front/chat.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(50);
    let asking = async {
        while stream.write_all(&ask).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(HELD_MAX, asking).await {
        Ok(()) => Ok(begun.elapsed()),
        Err(_) => anyhow::bail!("a client that does not listen was held for {HELD_MAX:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_grpc_port_disturbs_nobody() -> Result<()> {
    let mut system = System::start().await?;
    let honest = Bystander::start(&system.hubs()).await?;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let frame = |kind: u8, stream: u32, body: &[u8]| {
        let length = (body.len() as u32).to_be_bytes();
        [&length[1..], &[kind, 4], &stream.to_be_bytes(), body].concat()
    };
    let garbage: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        noise.clone(),
        [preface.as_slice(), &noise].concat(),
        [preface.as_slice(), &frame(4, 0, &[0; 6]), &frame(1, 1, &noise[..16_000])].concat(),
        [preface.as_slice(), &frame(4, 0, &[]), &frame(9, 1, &noise[..100])].concat(),
        [preface.as_slice(), &frame(0, 7, b"data on a stream nobody opened")].concat(),
        preface[..10].to_vec(),
    ];
    for round in 0..5 {
        for bytes in &garbage {
            let hub = system.cluster.hub_grpc(round % system.cluster.hub_count());
            let mut stream = TcpStream::connect(hub).await?;
            // Being cut off while still talking is what should happen.
            let _cut = stream.write_all(bytes).await;
            let _closed = stream.shutdown().await;
            let mut answer = vec![0; 4096];
            let _read = timeout(Duration::from_secs(2), stream.read(&mut answer)).await;
        }
    }
    strangers_are_sent_away(&system).await?;
    assert_bounded(&system)?;
    honest.assert_undisturbed(SLOWEST).await?;
    system.assert_nobody_fell();
    Ok(())
}

/// Well-formed gRPC from somebody who does not belong.
async fn strangers_are_sent_away(system: &System) -> Result<()> {
    let addr = format!("http://{}", system.cluster.hub_grpc(0));
    let mut hub = PeerServiceClient::new(Channel::from_shared(addr)?.connect().await?);
    let join = |token: &str, name: String, secret: Vec<u8>| v1::JoinRequest {
        token: token.to_owned(),
        name,
        secret: secret.into(),
        ..Default::default()
    };
    let right = system.cluster.join_token();
    let cases = [
        ("a wrong token", join("guess", "stranger".into(), vec![7; 32])),
        ("no token", join("", "stranger".into(), vec![7; 32])),
        ("a short secret", join(right, "stranger".into(), vec![7; 3])),
        ("no name", join(right, String::new(), vec![7; 32])),
        ("a name of 1 MB", join(right, "x".repeat(1 << 20), vec![7; 32])),
        ("a name that steers terminals", join(right, "\u{1b}[2J".into(), vec![7; 32])),
    ];
    for (what, request) in cases {
        let status = hub.join(request).await.expect_err(what);
        let expected = [Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument];
        assert!(expected.contains(&status.code()), "{what}: {status:?}");
        assert!(!status.message().contains(right), "{what}: the answer holds the token");
    }
    let hello = v1::Hello { peer_id: 1, secret: vec![0; 32].into(), ..Default::default() };
    let first_words = [
        ("a wrong secret", v1::peer_to_hub::Kind::Hello(hello.clone())),
        ("an unknown peer", v1::peer_to_hub::Kind::Hello(v1::Hello { peer_id: u32::MAX, ..hello })),
        ("an answer before hello", v1::peer_to_hub::Kind::Answer(v1::Answer::default())),
    ];
    for (what, kind) in first_words {
        let words = tokio_stream::iter([v1::PeerToHub { kind: Some(kind) }]);
        let refused = match hub.work(words).await {
            Err(status) => status,
            Ok(stream) => refusal(stream.into_inner()).await.with_context(|| what.to_owned())?,
        };
        let expected = [Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument, Code::NotFound];
        assert!(expected.contains(&refused.code()), "{what}: {refused:?}");
    }
    let before = system.admin()?.peers().await?.len();
    assert_eq!(before, system.cluster.peer_count(), "no stranger became a peer");
    eventually("all peers still connected", Duration::from_secs(5), || async {
        let connected =
            system.admin().map_err(|e| e.to_string())?.status().await.map_err(|e| e.to_string())?;
        ensure(connected.connected_peers as usize == before, || format!("{} are", connected.connected_peers))
    })
    .await;
    Ok(())
}

/// The status a stream ends with; a `GoAway` counts as one.
async fn refusal(mut stream: tonic::Streaming<v1::HubToPeer>) -> Result<tonic::Status> {
    match timeout(Duration::from_secs(5), stream.message()).await.context("no refusal in time")? {
        Err(status) => Ok(status),
        Ok(Some(v1::HubToPeer { kind: Some(v1::hub_to_peer::Kind::GoAway(away)) })) => {
            Ok(tonic::Status::permission_denied(away.reason))
        }
        Ok(other) => anyhow::bail!("was let in: {other:?}"),
    }
}

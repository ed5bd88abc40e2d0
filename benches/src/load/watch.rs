//! Workload `watch`: how long after its writer's answer a message is at the browsers that watch its forum.
//!
//! Owns the watchers: plain sockets, spread over forums and hubs. A writer posts through one hub, one message after another, each to
//! another forum; watchers are at all hubs. What is there before its writer's answer counts as 0.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch::{Receiver, Sender},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Figures, Summary,
    figures::millis,
    system::{System, unique},
    visitor::Visitor,
};

/// Watchers that connect at a time.
const CONNECT_AT_ONCE: usize = 64;
/// How long everybody may take to be sent one message.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Browsers.
    pub watchers: usize,
    /// Forums they are spread over.
    pub forums: usize,
    /// Messages written while they watch, one after another.
    pub messages: usize,
    /// Pause after each.
    pub pause: Duration,
}

/// What it came to.
pub struct Watched {
    options: Options,
    /// From a writer's answer to its message at a watcher.
    pub delivery: Summary,
    /// What each watcher costs the hubs, bytes of resident memory, windows included; none where the hubs are not ours.
    pub bytes_each: Option<f64>,
}

impl Watched {
    /// For people.
    pub fn line(&self) -> String {
        let Summary { count, p50, p99, max, failures, .. } = self.delivery;
        let Options { watchers, forums, messages, .. } = self.options;
        let bytes = self.bytes_each.map_or("?".to_owned(), |bytes| format!("{:.1}", bytes / 1024.0));
        format!(
            "{watchers} watchers of {forums} forums, {messages} messages: {count} deliveries, p50 {:.2} ms, p99 {:.2} ms, \
             max {:.2} ms after the writer's answer, {failures} failed; {bytes} KiB of the hubs' memory each",
            millis(p50),
            millis(p99),
            millis(max)
        )
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Options { watchers, forums, messages, .. } = self.options;
        json!({
            "watchers": watchers,
            "forums": forums,
            "messages": messages,
            "delivery": self.delivery.json(),
            "bytes_each": self.bytes_each,
        })
    }
}

/// When each message was seen by one watcher.
type Sights = Vec<(u64, Instant)>;

/// What the watchers of one forum share.
struct Audience {
    forum: String,
    writer: Visitor,
    watchers: usize,
    /// How often a new message was seen, by all of them.
    seen: Arc<Sender<usize>>,
}

/// Opens the forums, has everybody watch, writes, and counts.
pub async fn run(system: &System, options: Options) -> Result<Watched> {
    let Options { watchers, forums, messages, pause } = options;
    ensure!(
        watchers >= forums && forums > 0 && messages > 0,
        "each forum needs a watcher, and something said"
    );
    let mut audiences = open(system, forums).await?;
    let (hubs, _) = system.pids();
    let before = resident(&hubs);
    let sights = Arc::new(Mutex::new(Vec::new()));
    let mut people = JoinSet::new();
    connect(system, &mut audiences, watchers, &sights, &mut people).await?;
    let bytes_each = (!hubs.is_empty()).then(|| (resident(&hubs) - before) as f64 / watchers as f64);
    let began = Instant::now();
    let mut acknowledged = HashMap::new();
    let mut figures = Figures::default();
    for number in 0..messages {
        // Far apart, so that not always the same hub and peer are asked.
        let audience = &mut audiences[number * 7919 % forums];
        let mut seen = audience.seen.subscribe();
        let wanted = *seen.borrow_and_update() + audience.watchers;
        acknowledged.insert(audience.writer.post().await?, Instant::now());
        if timeout(SEEN_WITHIN, reaches(&mut seen, wanted)).await.is_err() {
            let missed = wanted - *seen.borrow();
            figures.fail_many(missed as u64, format!("not pushed within {SEEN_WITHIN:?}"));
        }
        sleep(pause).await;
    }
    let took = began.elapsed();
    people.shutdown().await;
    let sights = std::mem::take(&mut *sights.lock().unwrap_or_else(PoisonError::into_inner));
    for (message, at) in sights {
        if let Some(answered) = acknowledged.get(&message) {
            figures.took(at.saturating_duration_since(*answered));
        }
    }
    Ok(Watched { options, delivery: figures.summary(took), bytes_each })
}

async fn reaches(seen: &mut Receiver<usize>, wanted: usize) {
    // The sender is kept by the audience.
    let _ = seen.wait_for(|seen| *seen >= wanted).await;
}

/// Forums in each of which something was said.
async fn open(system: &System, forums: usize) -> Result<Vec<Audience>> {
    let mut opening: JoinSet<Result<Audience>> = JoinSet::new();
    let mut audiences = Vec::new();
    for at in 0..forums {
        if opening.len() >= CONNECT_AT_ONCE
            && let Some(opened) = opening.join_next().await
        {
            audiences.push(opened??);
        }
        let hub = system.hubs[at % system.hubs.len()].http.clone();
        opening.spawn(async move {
            let forum = unique("load-watched-");
            let mut writer = Visitor::arrive(&hub, &forum).await?;
            writer.post().await?;
            Ok(Audience { forum, writer, watchers: 0, seen: Arc::new(Sender::new(0)) })
        });
    }
    while let Some(opened) = opening.join_next().await {
        audiences.push(opened??);
    }
    Ok(audiences)
}

/// Everybody watches, and has been sent the list as it is.
async fn connect(
    system: &System,
    audiences: &mut [Audience],
    watchers: usize,
    sights: &Arc<Mutex<Sights>>,
    people: &mut JoinSet<()>,
) -> Result<()> {
    let mut connecting: JoinSet<Result<(TcpStream, u64, usize)>> = JoinSet::new();
    for at in 0..watchers + CONNECT_AT_ONCE {
        if connecting.len() >= CONNECT_AT_ONCE || at >= watchers {
            let Some(connected) = connecting.join_next().await else { break };
            let (socket, newest, of) = connected??;
            let audience = &mut audiences[of];
            audience.watchers += 1;
            people.spawn(follow(socket, newest, audience.seen.clone(), sights.clone()));
        }
        if at < watchers {
            let of = at % audiences.len();
            let hub = system.hubs[at % system.hubs.len()].http.clone();
            let forum = audiences[of].forum.clone();
            connecting.spawn(async move {
                let mut socket = begin(&hub, &forum).await?;
                let newest = next_newest(&mut socket, &mut Vec::new()).await?;
                Ok((socket, newest, of))
            });
        }
    }
    Ok(())
}

/// Asks to watch. HTTP/1.0, so that what comes is not in chunks.
async fn begin(hub: &str, forum: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(hub).await.with_context(|| format!("connecting to {hub}"))?;
    socket.set_nodelay(true)?;
    let head = format!("GET /api/watch?passcode={forum}&records=25 HTTP/1.0\r\nHost: {hub}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    Ok(socket)
}

/// Notes when each new message has come, until the run is over.
async fn follow(
    mut socket: TcpStream,
    mut newest: u64,
    seen: Arc<Sender<usize>>,
    sights: Arc<Mutex<Sights>>,
) {
    let mut rest = Vec::new();
    // What ends before the run does is missed by who counts.
    while let Ok(now) = next_newest(&mut socket, &mut rest).await {
        if now > newest {
            newest = now;
            let at = Instant::now();
            sights.lock().unwrap_or_else(PoisonError::into_inner).push((now, at));
            seen.send_modify(|seen| *seen += 1);
        }
    }
}

/// The newest message of the list in the next event.
async fn next_newest(socket: &mut TcpStream, rest: &mut Vec<u8>) -> Result<u64> {
    const IDS: &[u8] = b"data: {\"ids\":[\"";
    loop {
        if let Some(end) = find(rest, b"\n\n") {
            let event: Vec<u8> = rest.drain(..end + 2).collect();
            if let Some(at) = find(&event, IDS) {
                let digits: Vec<u8> =
                    event[at + IDS.len()..].iter().copied().take_while(u8::is_ascii_digit).collect();
                return Ok(String::from_utf8(digits)?.parse()?);
            }
            continue;
        }
        if socket.read_buf(rest).await? == 0 {
            bail!("the hub ended it: {}", String::from_utf8_lossy(rest));
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Resident memory of these processes, bytes; one that is gone has none.
fn resident(pids: &[u32]) -> i64 {
    let of = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse::<i64>().ok()
    };
    pids.iter().filter_map(of).sum::<i64>() * 1024
}

//! Comparison `reads`: `search-chat.php` by our hubs and by Node with MariaDB, the same messages, the same number of kept-alive
//! connections, the same dialect of the answer (loop-server-fast's), turn by turn in one run.
//!
//! What differs: our readers are sessions that have not written, Node's have a user; Node is one process, as loop-server-fast
//! is; ours are three hubs of which one, or each, is asked. Writes meanwhile go through our whole system, and there straight
//! into the database.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    Figures, Pace, Span,
    clients::{self, Client},
    http::Connection,
    http_write::Through,
    node::{Forum, Node},
    report::{self, Row},
    suite::{Bench, Told},
    system::{System, unique},
    visitor::{Visitor, inside},
};

/// Messages asked for.
const RECORDS: u32 = 25;
/// jQuery's name for what is called with the answer.
const CALLBACK: &str = "jQuery1110123456789";
/// Between two messages, in the part where somebody writes.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Visitors that fill forums at a time.
const FILLERS: usize = 64;
/// What loop-server-fast's hosts are called, which is how hubs know its dialect.
const FAST_HOST: &str = "fast.localhost";
/// Times a hub has asked a peer for rows.
const ASKED: &str = "loop_rows_asked_total";

/// The systems' names, in the order of their turns.
pub const OURS_ONE: &str = "1 hub";
/// All three hubs.
pub const OURS_ALL: &str = "3 hubs";
/// Node and MariaDB.
pub const NODE: &str = "node";

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections that read.
    pub readers: usize,
    /// Messages in the one forum.
    pub messages: usize,
    /// Forums that are read in turn.
    pub forums: usize,
    /// Messages in each of those.
    pub messages_each: usize,
    /// Rounds.
    pub rounds: usize,
    /// Times of one run.
    pub span: Span,
}

/// Parts of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    OneForum,
    ManyForums,
    WrittenMeanwhile,
}

impl Part {
    const ALL: [Self; 3] = [Self::OneForum, Self::ManyForums, Self::WrittenMeanwhile];

    const fn name(self) -> &'static str {
        match self {
            Self::OneForum => "read, one forum",
            Self::ManyForums => "read, forums in turn",
            Self::WrittenMeanwhile => "read, 10 writes/s",
        }
    }
}

/// A reader of some forums, one after the other.
struct Reader {
    connection: Connection,
    paths: Vec<String>,
    at: usize,
    /// Bytes of a full answer. "3 mins ago" makes it vary a little.
    bytes: usize,
}

impl Reader {
    async fn new(http: &str, host: &str, session: &str, forums: &[Forum], first: usize) -> Result<Self> {
        let path = |forum: &Forum| {
            format!(
                "/search-chat.php?callback={CALLBACK}_0&lat=&lon=&passcode={}&units=mi&volume=1&records={RECORDS}\
                 &whisper_site=&ses={session}&sessionId={session}&lang=en&_=1",
                forum.name
            )
        };
        let paths: Vec<String> = forums.iter().map(path).collect();
        let mut reader = Self { connection: Connection::to_host(http, host), paths, at: first, bytes: 0 };
        reader.bytes = reader.read().await?;
        ensure!(reader.bytes > 1000, "an answer of {} bytes has no {RECORDS} messages", reader.bytes);
        Ok(reader)
    }

    async fn read(&mut self) -> Result<usize> {
        self.at = (self.at + 1) % self.paths.len();
        let (status, body) = self.connection.get(&self.paths[self.at]).await?;
        ensure!(status.is_success(), "status {status}");
        Ok(inside(&body, CALLBACK, 0)?.len())
    }
}

impl Client for Reader {
    async fn call(&mut self) -> Result<(), String> {
        let bytes = self.read().await.map_err(|error| format!("{error:#}"))?;
        if bytes.abs_diff(self.bytes) * 10 > self.bytes {
            return Err(format!("an answer of {bytes} bytes where the first had {}", self.bytes));
        }
        Ok(())
    }
}

/// What the comparison came to beside its rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Bytes of an answer, ours and Node's.
    pub bytes: (usize, usize),
    /// Times our hubs have asked a peer for rows while they were read from, all parts together.
    pub asked: u64,
    /// Reads that our hubs have answered meanwhile.
    pub reads: u64,
}

impl Found {
    /// One JSON object.
    pub fn json(self) -> Value {
        let (ours, node) = self.bytes;
        json!({ "bytes": { "ours": ours, "node": node }, "rows_asked": self.asked, "reads": self.reads })
    }
}

/// Fills both, then lets them take turns.
pub async fn run(system: &System, options: Options, told: Told<'_>) -> Result<Found> {
    eprintln!("filling {} forums …", options.forums + 1);
    let one = fill(system, 1, options.messages).await?;
    let many = fill(system, options.forums, options.messages_each).await?;
    let all: Vec<Forum> = one.iter().chain(&many).map(Forum::clone).collect();
    eprintln!("starting MariaDB and Node with the same messages …");
    let node = Node::start(&all, options.readers).await?;
    let mut found = Found::default();
    for round in 1..=options.rounds {
        for part in Part::ALL {
            let forums = if part == Part::ManyForums { &many } else { &one };
            for (name, through) in [(OURS_ONE, Through::One), (OURS_ALL, Through::All)] {
                let mut readers = Vec::new();
                for at in 0..options.readers {
                    let http = through.address(system, at);
                    let session = Visitor::arrive(http, &forums[0].name).await?.session().to_owned();
                    let first = at * forums.len() / options.readers;
                    readers.push(Reader::new(http, FAST_HOST, &session, forums, first).await?);
                }
                found.bytes.0 = readers[0].bytes;
                warm(&mut readers, forums.len()).await?;
                let asked = asked(system).await?;
                let writes = write_ours(system, &forums[0].name, part);
                let mut bench = Bench::of(name, round, options.span, system.pids(), &mut *told);
                found.reads += bench.run(part.name().into(), beside(writes, readers, options.span)).await?;
                found.asked += self::asked(system).await? - asked;
            }
            let mut readers = Vec::new();
            for at in 0..options.readers {
                let first = at * forums.len() / options.readers;
                readers.push(Reader::new(&node.http, &node.http, &Node::session(at), forums, first).await?);
            }
            found.bytes.1 = readers[0].bytes;
            let mut bench = Bench::of(NODE, round, options.span, node.pids(), &mut *told);
            bench
                .run(part.name().into(), beside(write_theirs(&node, &forums[0], part), readers, options.span))
                .await?;
        }
    }
    Ok(found)
}

/// Lets every hub that is asked load the window of every forum: what is measured are forums that people look at.
async fn warm(readers: &mut [Reader], forums: usize) -> Result<()> {
    for reader in readers.iter_mut().take(3) {
        for _ in 0..forums {
            reader.read().await?;
        }
    }
    Ok(())
}

/// Readers beside whoever writes until they have done.
async fn beside(
    writes: impl Future<Output = Result<()>>,
    readers: Vec<Reader>,
    span: Span,
) -> Result<Figures> {
    let reading = clients::run(readers, Pace::Closed, span);
    tokio::select! {
        (_, figures) = reading => Ok(figures),
        // Writing only ends by going wrong.
        wrong = writes => Err(wrong.err().unwrap_or_else(|| anyhow::anyhow!("the writer has ended"))),
    }
}

async fn write_ours(system: &System, forum: &str, part: Part) -> Result<()> {
    if part != Part::WrittenMeanwhile {
        return std::future::pending().await;
    }
    let mut author = Visitor::arrive(&system.hubs[0].http, forum).await?;
    let mut due = ticks();
    loop {
        due.tick().await;
        author.post().await.context("writing meanwhile")?;
    }
}

async fn write_theirs(node: &Node, forum: &Forum, part: Part) -> Result<()> {
    if part != Part::WrittenMeanwhile {
        return std::future::pending().await;
    }
    // As long as the others, or answers would become shorter.
    let mut writer = node.writer(forum.messages.last().context("a forum without messages")?)?;
    let mut due = ticks();
    loop {
        due.tick().await;
        writer.write().await.context("writing meanwhile")?;
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Forums of our system with so many messages each; what browsers are shown of them.
async fn fill(system: &System, forums: usize, messages: usize) -> Result<Vec<Forum>> {
    let names: Vec<String> = (0..forums).map(|_| unique("load-forum-")).collect();
    let mut fillers: JoinSet<Result<Vec<(usize, Forum)>>> = JoinSet::new();
    for filler in 0..FILLERS.min(forums) {
        let http = Through::All.address(system, filler).to_owned();
        let own: Vec<(usize, String)> =
            names.iter().cloned().enumerate().skip(filler).step_by(FILLERS).collect();
        fillers.spawn(async move {
            let mut filled = Vec::new();
            for (at, name) in own {
                let mut visitor = Visitor::arrive(&http, &name).await?;
                for _ in 0..messages {
                    visitor.post().await?;
                }
                filled.push((at, shown(&mut visitor, name, messages).await?));
            }
            Ok(filled)
        });
    }
    let mut all = Vec::new();
    while let Some(filled) = fillers.join_next().await {
        all.extend(filled??);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, forum)| forum).collect())
}

async fn shown(visitor: &mut Visitor, name: String, messages: usize) -> Result<Forum> {
    let answer = visitor.poll(u32::try_from(messages)?).await?;
    let rows = answer["res"].as_array().context("an answer without messages")?;
    let texts = rows.iter().rev().filter_map(|row| Some(row["text"].as_str()?.to_owned()));
    let messages_shown: Vec<String> = texts.collect();
    ensure!(messages_shown.len() == messages, "{} of {messages} messages are shown", messages_shown.len());
    Ok(Forum { name, messages: messages_shown })
}

/// How often our hubs have asked peers for rows.
async fn asked(system: &System) -> Result<u64> {
    let mut sum = 0.0;
    for hub in &system.hubs {
        let (status, text) = Connection::to(&hub.http).get("/metrics").await?;
        ensure!(status.is_success(), "/metrics: {status}");
        let text = String::from_utf8_lossy(&text).into_owned();
        let of =
            text.lines().filter_map(|line| line.strip_prefix(ASKED)?.rsplit(' ').next()?.parse::<f64>().ok());
        sum += of.sum::<f64>();
    }
    Ok(sum as u64)
}

/// Rates, latencies and ratios over the rounds.
pub fn summary(rows: &[Row], found: Found) -> String {
    let mut text = report::medians(rows);
    text.push_str("\nratios round by round, ours to Node's: rate; p50; p99; requests per processor second of the servers\n");
    for part in Part::ALL {
        for ours in [OURS_ONE, OURS_ALL] {
            let of = |value: &dyn Fn(&Row) -> f64| {
                let spread = report::ratios(rows, part.name(), (ours, NODE), value);
                spread.map(|spread| spread.text()).unwrap_or_default()
            };
            let rate = of(&|row| row.summary.rate);
            let p50 = of(&|row| row.summary.p50.as_secs_f64());
            let p99 = of(&|row| row.summary.p99.as_secs_f64());
            // Node's work is done by two processes: it and the database.
            let thrift = of(&|row| row.summary.rate / (row.cores[0] + row.cores[1]));
            let name = part.name();
            text.push_str(&format!("{name:<22} {ours:>7} {rate:>20} {p50:>20} {p99:>20} {thrift:>22}\n"));
        }
    }
    let Found { bytes, asked, reads } = found;
    text.push_str(&format!(
        "\nanswers have {} bytes (Node's: {}); {asked} messages to peers for rows during {reads} reads\n",
        bytes.0, bytes.1
    ));
    text
}

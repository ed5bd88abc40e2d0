//! `load`: puts load on a whole system and prints what it came to.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use loop_benches::load::{
    Span, cpu, crowd, hot, migrate,
    reads::{self, Found},
    report::{self, Row},
    suite::{self, Plan, Workload},
    system::{Own, Secrets, System},
    watch,
};
use tokio::signal::unix::{SignalKind, signal};

/// Puts load on a whole system and prints rates and latencies.
///
/// Without --hubs it starts 3 hubs and 3 peers in a temporary folder and removes them afterwards. Latency counts from
/// the time a request was due. Figures depend on the machine and on what else it does: compare within one run only.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Args {
    #[command(subcommand)]
    command: What,
    /// Seconds measured in one run
    #[arg(long, global = true, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before that, not counted
    #[arg(long, global = true, default_value_t = 1.0)]
    warmup: f64,
    /// In flight, connections or writers, in place of the usual numbers
    #[arg(long, global = true)]
    in_flight: Option<usize>,
    /// Requests a second at fixed times (open model) in place of as many as can be (closed loop)
    #[arg(long, global = true)]
    rate: Option<f64>,
    /// Forums that the writers are spread over
    #[arg(long, global = true, default_value_t = 16)]
    forums: usize,
    /// Print one JSON object per run in place of the table
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    own: Own,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Our system with each log engine and etcd in turn, several rounds, and the ratios
    Suite {
        /// Rounds
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// One workload, or all of them, on our system
    Run {
        /// What to ask of it
        #[arg(value_enum, default_value_t = Choice::All)]
        workload: Choice,
        /// The hubs' log engine: sled or segment
        #[arg(long, default_value = "sled")]
        engine: String,
        /// gRPC addresses (host:port) of hubs that run already
        #[arg(long, value_delimiter = ',')]
        hubs: Vec<String>,
        #[command(flatten)]
        secrets: Secrets,
    },
    /// The same proposals as Puts to three members of etcd
    Etcd,
    /// A big forum moves to a fourth peer and back under writes and reads: stalls, failures, digests
    Migrate {
        /// Messages in the forum
        #[arg(long, default_value_t = 100_000)]
        messages: u64,
        /// Writes a second meanwhile
        #[arg(long, default_value_t = 200.0)]
        writes: f64,
        /// Reads a second meanwhile
        #[arg(long, default_value_t = 200.0)]
        reads: f64,
        /// Seconds measured without a move, before, between and after
        #[arg(long, default_value_t = 5.0)]
        quiet: f64,
        /// The hubs' log engine: sled or segment
        #[arg(long, default_value = "sled")]
        engine: String,
    },
    /// Polls of our hubs and of a Node program with MariaDB in turn, several rounds, and the ratios
    Reads(ReadsArgs),
    /// One forum becomes busy among quiet ones, on small machines: further replica, what people see, what moves
    Hot(HotArgs),
    /// Browsers watch forums: how long after its writer's answer a message is at each, and what each costs
    Watch(WatchArgs),
}

#[derive(Clone, Debug, ClapArgs)]
struct WatchArgs {
    /// Browsers; each needs a file descriptor here and one at a hub
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Forums they are spread over
    #[arg(long = "watched-forums", default_value_t = 1)]
    forums: usize,
    /// Messages, one after another
    #[arg(long, default_value_t = 50)]
    messages: usize,
    /// Milliseconds between them
    #[arg(long, default_value_t = 200)]
    pause_ms: u64,
}

#[derive(Clone, Debug, ClapArgs)]
struct ReadsArgs {
    /// Rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Messages in the one forum
    #[arg(long, default_value_t = 200)]
    messages: usize,
    /// Forums that are read in turn
    #[arg(long, default_value_t = 1000)]
    many: usize,
    /// Messages in each of those
    #[arg(long, default_value_t = 30)]
    messages_each: usize,
}

#[derive(Clone, Debug, ClapArgs)]
struct HotArgs {
    /// Quiet forums
    #[arg(long, default_value_t = 200)]
    quiet: u32,
    /// Reads a second over all quiet forums
    #[arg(long, default_value_t = 40.0)]
    quiet_reads: f64,
    /// Reads a second of the busy forum
    #[arg(long, default_value_t = 2000.0)]
    reads: f64,
    /// Writes a second to the busy forum
    #[arg(long, default_value_t = 5.0)]
    writes: f64,
    /// Share of one processor that each of the six peers gets, 0.01 to 1
    #[arg(long, default_value_t = 0.02)]
    share: f64,
    /// Seconds watched after it has become quiet again
    #[arg(long, default_value_t = 90.0)]
    cooling: f64,
    /// Seconds measured of each part, after as many that are not counted
    #[arg(long, default_value_t = 10.0)]
    part: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    All,
    Proposals,
    HttpWrite,
    HttpRead,
    Visibility,
}

impl Choice {
    fn workloads(self) -> Vec<Workload> {
        match self {
            Self::All => Workload::ALL.to_vec(),
            Self::Proposals => vec![Workload::Proposals],
            Self::HttpWrite => vec![Workload::HttpWrite],
            Self::HttpRead => vec![Workload::HttpRead],
            Self::Visibility => vec![Workload::Visibility],
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut rows: Vec<Row> = Vec::new();
    let outcome = tokio::select! {
        outcome = run(&args, &mut rows) => outcome,
        // What was started is killed, and its data deleted, as it is dropped.
        name = stop_signal() => Err(anyhow::anyhow!("{name}")),
    };
    if let Err(error) = outcome {
        eprintln!("load: {error:#}");
        return ExitCode::FAILURE;
    }
    if !args.json && matches!(args.command, What::Suite { .. }) {
        println!("{}", report::summary(&rows));
    }
    if rows.iter().any(|row| row.summary.failures > 0) {
        eprintln!("load: some requests failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints each phase as it ends; an error if a request failed in any.
async fn migrate(args: &Args, options: migrate::Options, engine: &str) -> Result<()> {
    let paces = [options.writes, options.reads];
    ensure!(paces.iter().all(|pace| pace.is_finite() && *pace > 0.0), "--writes and --reads must be above 0");
    let system = System::start_with(engine, &args.own, |config| {
        config.peers = 4;
        // Only what is asked for moves.
        config.hub_args.extend(["--balance", "false"].map(str::to_owned));
    })
    .await?;
    if !args.json {
        println!(
            "load average {:.1} at the start; filling a forum with {} messages …",
            cpu::load_average(),
            options.messages
        );
        println!("{}", crowd::head());
    }
    let mut failures = 0;
    let moved = migrate::run(&system, options, |phase| {
        println!("{}", if args.json { phase.json().to_string() } else { phase.line() });
        for summary in [&phase.writes, &phase.reads] {
            failures += summary.failures;
            if let Some(reason) = &summary.first_failure {
                eprintln!("load: first failure: {reason}");
            }
        }
    })
    .await;
    system.stop().await?;
    moved?;
    ensure!(failures == 0, "{failures} requests failed");
    if !args.json {
        println!("digests of all replicas equal after the move and after the reverse");
    }
    Ok(())
}

/// Prints everything as it happens; an error if a request failed.
async fn hot(args: &Args, hot_args: &HotArgs) -> Result<()> {
    let HotArgs { quiet, quiet_reads, reads, writes, share, cooling, part } = *hot_args;
    ensure!(
        quiet > 0 && quiet_reads > 0.0 && reads > 0.0 && writes >= 0.0,
        "there must be forums and people"
    );
    let (cooling, part) = (Duration::try_from_secs_f64(cooling)?, Duration::try_from_secs_f64(part)?);
    let options = hot::Options { forums: quiet, quiet_reads, reads, writes, share, cooling, part };
    let system = System::start_with("sled", &args.own, |config| config.peers = hot::PEERS).await?;
    if !args.json {
        println!("load average {:.1} at the start; opening {quiet} forums …", cpu::load_average());
        println!("       {}", crowd::head().replace('\n', "\n       "));
    }
    let mut failures = 0;
    let ran = hot::run(&system, options, |news| {
        println!("{}", if args.json { news.json().to_string() } else { news.line() });
        if let hot::News::Seen(_, phase) = &news {
            failures += phase.writes.failures + phase.reads.failures;
            for reason in [&phase.writes, &phase.reads].into_iter().filter_map(|s| s.first_failure.as_ref()) {
                eprintln!("load: first failure: {reason}");
            }
        }
    })
    .await;
    system.stop().await?;
    ran?;
    ensure!(failures == 0, "{failures} requests failed");
    Ok(())
}

/// Prints each run as it ends, then ratios; an error if a hub had to ask a peer.
async fn compare_reads(args: &Args, options: &ReadsArgs, span: Span, told: suite::Told<'_>) -> Result<Found> {
    let ReadsArgs { rounds, messages, many, messages_each } = *options;
    ensure!(
        messages > 26 && messages_each > 26 && many > 0,
        "a poll shows 26 messages: each forum needs more"
    );
    let readers = args.in_flight.unwrap_or(32);
    let options = reads::Options { readers, messages, forums: many, messages_each, rounds, span };
    let system = System::start("sled", &args.own).await?;
    let found = reads::run(&system, options, told).await;
    let found = found.and_then(|found| {
        let Found { asked, reads, .. } = found;
        ensure!(asked == 0, "hubs had to ask peers {asked} times for rows during {reads} reads");
        Ok(found)
    });
    system.stop().await?;
    found
}

/// Prints what it came to; an error if somebody was not sent something.
async fn watch(args: &Args, watch_args: &WatchArgs) -> Result<()> {
    let WatchArgs { watchers, forums, messages, pause_ms } = *watch_args;
    let options = watch::Options { watchers, forums, messages, pause: Duration::from_millis(pause_ms) };
    let system = System::start("sled", &args.own).await?;
    let watched = watch::run(&system, options).await;
    system.stop().await?;
    let watched = watched?;
    println!("{}", if args.json { watched.json().to_string() } else { watched.line() });
    let failures = watched.delivery.failures;
    ensure!(failures == 0, "{failures} messages were not pushed");
    Ok(())
}

async fn run(args: &Args, rows: &mut Vec<Row>) -> Result<()> {
    ensure!(args.seconds > 0.0 && args.warmup >= 0.0, "--seconds must be above 0, --warmup not below");
    ensure!(args.in_flight != Some(0) && args.forums > 0, "--in-flight and --forums must be above 0");
    ensure!(args.rate.is_none_or(|rate| rate > 0.0), "--rate must be above 0");
    let span = Span {
        warmup: Duration::try_from_secs_f64(args.warmup)?,
        measured: Duration::try_from_secs_f64(args.seconds)?,
    };
    let plan = |workloads| Plan {
        workloads,
        in_flight: args.in_flight,
        rate: args.rate,
        forums: args.forums,
        span,
        own: args.own.clone(),
    };
    if !args.json && !matches!(args.command, What::Migrate { .. } | What::Hot(_) | What::Watch(_)) {
        println!("load average {:.1} at the start\n{}", cpu::load_average(), report::head());
    }
    let mut told = |row: Row| {
        println!("{}", if args.json { row.json().to_string() } else { row.line() });
        rows.push(row);
    };
    match &args.command {
        What::Suite { rounds } => {
            let plan = plan(Choice::All.workloads());
            for round in 1..=*rounds {
                suite::ours(&plan, "sled", round, &mut told).await?;
                suite::ours(&plan, "segment", round, &mut told).await?;
                suite::etcd(&plan, round, &mut told).await?;
            }
            Ok(())
        }
        What::Run { workload, engine, hubs, .. } if hubs.is_empty() => {
            suite::ours(&plan(workload.workloads()), engine, 1, &mut told).await
        }
        What::Run { workload, hubs, secrets, .. } => {
            let system = System::running(hubs, secrets.clone()).await?;
            suite::on(&plan(workload.workloads()), &system, "given", 1, &mut told).await
        }
        What::Etcd => suite::etcd(&plan(Vec::new()), 1, &mut told).await,
        What::Migrate { messages, writes, reads, quiet, engine } => {
            let quiet = Duration::try_from_secs_f64(*quiet)?;
            let options = migrate::Options { messages: *messages, writes: *writes, reads: *reads, quiet };
            migrate(args, options, engine).await
        }
        What::Reads(options) => {
            let found = compare_reads(args, options, span, &mut told).await?;
            if args.json {
                println!("{}", found.json());
            } else {
                println!("{}", reads::summary(rows, found));
            }
            Ok(())
        }
        What::Hot(options) => hot(args, options).await,
        What::Watch(options) => watch(args, options).await,
    }
}

/// Resolves with the name of the first signal that asks this process to end.
async fn stop_signal() -> &'static str {
    let listen = |kind| signal(kind).expect("a running tokio runtime can listen to signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
    }
}

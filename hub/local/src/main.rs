//! `loop-local`: a whole system on this machine. Starts hubs and peers, watches over them, stops them on Ctrl-C.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use loop_local::{Launch, LocalCluster, LocalConfig, LocalError, NotRunning, Port, Stopped, Trouble, Who};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, interval},
};

/// First wait before a process that ended is started again; doubled each time.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// A process that ran this long starts with a short wait again.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// How often it is looked whether what keeps a process from being started is over: a port that was taken, say.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// How often ended processes are looked for.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// A whole system on this machine: hubs and peers as real processes, in one data folder.
///
/// A second run on the same folder finds everything again. A process that ends by itself is started again, after 1 s
/// at first and up to 30 s if it keeps ending. What cannot run is named with the reason and what to do, and the others
/// run without it: a hub that was taken out of its group (`hubctl hub remove`) or whose data is damaged does not come
/// back, and --replace-hub puts a new one in its place.
#[derive(Debug, Parser)]
#[command(name = "loop-local", version)]
struct Args {
    /// Folder for all data and logs
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// HTTP port of the first hub; the others follow. 0: any free ports [default: 8080, or what the folder was made
    /// with]
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// gRPC port of the first hub; the others follow. 0: any free ports [default: 9080, or what the folder was made
    /// with]
    #[arg(long, value_name = "PORT")]
    grpc_port: Option<u16>,
    /// Hubs: 1, 3 or 5
    #[arg(long, default_value_t = 3)]
    hubs: u16,
    /// Peers
    #[arg(long, default_value_t = 3)]
    peers: u16,
    /// The hubs' log engine: sled or segment
    #[arg(long, value_name = "ENGINE")]
    log_engine: Option<String>,
    /// Folder of static files
    #[arg(long, value_name = "DIR")]
    static_dir: Option<PathBuf>,
    /// Put a new hub in the place of this one, by its number (2 for hub-2): takes it out of the group for ever if it is in
    /// it, and starts one under a new number on the same ports, which gets everything from the others
    #[arg(long, value_name = "NUMBER")]
    replace_hub: Option<u64>,
    /// Folder of the loop-hub and loop-peer binaries [default: beside this one]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

impl Args {
    fn config(&self) -> LocalConfig {
        LocalConfig {
            hubs: self.hubs,
            peers: self.peers,
            http: port(self.http_port),
            grpc: port(self.grpc_port),
            log_engine: self.log_engine.clone(),
            static_dir: self.static_dir.clone(),
            bin_dir: self.bin_dir.clone(),
            ..LocalConfig::new(&self.data_dir)
        }
    }
}

fn port(flag: Option<u16>) -> Port {
    match flag {
        None => Port::Usual,
        Some(0) => Port::Free,
        Some(first) => Port::From(first),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop-local: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), LocalError> {
    let mut stop = std::pin::pin!(stop_signal());
    let started = tokio::select! {
        _ = &mut stop => return Ok(()), // what was started is killed as it is dropped
        started = LocalCluster::launch(args.config(), args.replace_hub) => started,
    };
    let (mut cluster, launch) = started?;
    announce(&cluster, &launch);
    tokio::select! {
        name = &mut stop => println!("{name}: stopping"),
        () = watch(&mut cluster, launch.troubles) => {}
    }
    cluster.stop_all(|name, stopped| println!("{name:<8} {}", told(stopped))).await;
    Ok(())
}

/// Resolves with the name of the first signal that asks this process to end.
async fn stop_signal() -> &'static str {
    let listen = |kind| signal(kind).expect("a running tokio runtime can listen to signals");
    let mut interrupt = listen(SignalKind::interrupt());
    let mut terminate = listen(SignalKind::terminate());
    let mut hangup = listen(SignalKind::hangup());
    tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
        _ = hangup.recv() => "terminal closed",
    }
}

fn announce(cluster: &LocalCluster, launch: &Launch) {
    for done in &launch.done {
        println!("{done}\n");
    }
    for member in cluster.members() {
        let pid = member.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let addresses = match member.addresses {
            Some((http, grpc)) => format!("http {http}  grpc {grpc}"),
            None => "dials the hubs".to_owned(),
        };
        println!("{:<8} pid {pid:<8} {addresses:<44} log {}", member.name, member.log.display());
    }
    for (_, trouble) in &launch.troubles {
        let again = if tried_again(trouble) { ". It is tried again" } else { "" };
        println!("\n{}{again}", words(cluster, trouble));
    }
    let token = cluster.data_dir(Who::Hub(0)).with_file_name("admin-token");
    println!("\nFor hubctl: export LOOP_HUBCTL_ADMIN_TOKEN=\"$(cat {:?})\"", token.display());
    match (&launch.unserved, launch.ready.first()) {
        (Some(unserved), _) => println!("{unserved}. Ctrl-C stops everything; the data stays"),
        (None, Some(at)) => {
            println!("Open http://{}/  (Ctrl-C stops everything; the data stays)", cluster.hub_http(*at));
        }
        (None, None) => {
            println!("No hub serves yet; see the reasons above. Ctrl-C stops everything; the data stays")
        }
    }
}

/// A trouble with what to do about it.
fn words(cluster: &LocalCluster, trouble: &NotRunning) -> String {
    let command = trouble.hub.map(replacing).unwrap_or_default();
    trouble.words(cluster.way_back(&command))
}

/// The command that puts a new hub in the place of this one: this run's own, with one flag more.
fn replacing(id: u64) -> String {
    let mut command: Vec<String> = Vec::new();
    let mut arguments = std::env::args();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--replace-hub" => drop(arguments.next()),
            other if other.starts_with("--replace-hub=") => {}
            plain if plain.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=".contains(c)) => {
                command.push(argument);
            }
            other => command.push(format!("'{}'", other.replace('\'', "'\\''"))),
        }
    }
    format!("{} --replace-hub {id}", command.join(" "))
}

/// Whether it is not running and that may pass.
fn tried_again(trouble: &NotRunning) -> bool {
    trouble.trouble.may_pass() && !trouble.trouble.runs()
}

/// Starts again what ends. Never returns.
async fn watch(cluster: &mut LocalCluster, troubles: Vec<(Who, NotRunning)>) {
    let mut ticks = interval(WATCH_EVERY);
    let mut ended = Ended::default();
    for (who, trouble) in troubles {
        if tried_again(&trouble) {
            ended.try_at(who, Instant::now() + TRY_AGAIN);
            ended.said(who, trouble);
        }
    }
    let mut unserved = cluster.unserved();
    loop {
        ticks.tick().await;
        for (who, trouble) in cluster.take_ended() {
            tell_end(cluster, &mut ended, who, trouble);
        }
        for who in ended.due(Instant::now()) {
            match cluster.try_start(who) {
                Ok(()) => {
                    let member = cluster.member(who);
                    println!("{} started again, pid {}", member.name, member.pid.unwrap_or(0));
                }
                Err(trouble) => tell_end(cluster, &mut ended, who, trouble),
            }
        }
        let now = cluster.unserved();
        match (&unserved, &now) {
            (None, Some(why)) => println!("{why}"),
            (Some(_), None) => println!("enough hubs run again to serve"),
            _ => {}
        }
        unserved = now;
    }
}

/// Says why a process does not run, and has it started again if that can help. What keeps it from being started at all
/// is said once, however often it is tried.
fn tell_end(cluster: &LocalCluster, ended: &mut Ended, who: Who, trouble: NotRunning) {
    let text = words(cluster, &trouble);
    let is_news = ended.said(who, trouble.clone());
    match trouble.trouble {
        Trouble::CannotStart(_) => {
            ended.try_at(who, Instant::now() + TRY_AGAIN);
            if is_news {
                println!("{text}. It is tried again");
            }
        }
        _ if trouble.trouble.may_pass() => {
            let wait = ended.note(who, Instant::now());
            println!("{text}. Again in {wait:?}");
        }
        _ => {
            ended.forget(who);
            println!("{text}");
        }
    }
}

/// Which processes wait for another start, how long each waits, and what was last said of it.
#[derive(Default)]
struct Ended {
    waits: BTreeMap<String, Wait>,
    said: BTreeMap<String, NotRunning>,
}

struct Wait {
    who: Who,
    due: Option<Instant>,
    started: Instant,
    back_off: Duration,
}

impl Ended {
    fn wait(&mut self, who: Who, now: Instant) -> &mut Wait {
        let new = Wait { who, due: None, started: now, back_off: Duration::ZERO };
        self.waits.entry(format!("{who:?}")).or_insert(new)
    }

    /// It could not be started: tried again then.
    fn try_at(&mut self, who: Who, at: Instant) {
        self.wait(who, at).due = Some(at);
    }

    /// A process ended `now`: how long until it is started again.
    fn note(&mut self, who: Who, now: Instant) -> Duration {
        let wait = self.wait(who, now);
        let steady = now.duration_since(wait.started) >= STEADY_AFTER;
        let next = if steady { BACK_OFF_MIN } else { (wait.back_off * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX) };
        (wait.back_off, wait.due) = (next, Some(now + next));
        next
    }

    /// Remembers what is said of a process. Whether that is news.
    fn said(&mut self, who: Who, trouble: NotRunning) -> bool {
        let before = self.said.insert(format!("{who:?}"), trouble.clone());
        before.is_none_or(|before| before != trouble)
    }

    /// It is not started again.
    fn forget(&mut self, who: Who) {
        self.waits.remove(&format!("{who:?}"));
    }

    /// Those to be started `now`.
    fn due(&mut self, now: Instant) -> Vec<Who> {
        let mut due = Vec::new();
        for wait in self.waits.values_mut() {
            if wait.due.is_some_and(|at| at <= now) {
                (wait.due, wait.started) = (None, now);
                due.push(wait.who);
            }
        }
        due
    }
}

fn told(stopped: Stopped) -> String {
    match stopped {
        Stopped::WasNotRunning => "was not running".to_owned(),
        Stopped::Gracefully(status) if status.success() => "stopped".to_owned(),
        Stopped::Gracefully(status) => format!("stopped ({status})"),
        Stopped::Killed => "did not stop within 5 s and was killed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_keeps_ending_waits_longer_each_time_and_a_steady_one_does_not() {
        let (mut ended, start) = (Ended::default(), Instant::now());
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..7 {
            let wait = ended.note(Who::Peer(1), now);
            waits.push(wait.as_secs());
            assert_eq!(ended.due(now), []);
            now += wait;
            assert_eq!(ended.due(now), [Who::Peer(1)]);
            assert_eq!(ended.due(now), [], "it is told once");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(ended.note(Who::Peer(1), now + STEADY_AFTER), BACK_OFF_MIN);
    }

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["loop-local", "--http-port", "0"]);
        assert_eq!((args.config().http, args.config().grpc), (Port::Free, Port::Usual));
    }
}

//! Runs simulated clusters from seeds: many of them, each in a process of its own, or one that is told in words.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use loop_sim_tests::world::{
    BREAKAGES,
    faults::phases,
    report::{self, Outcome},
    scenario::{self, SCENARIOS},
};

/// Runs simulated clusters.
#[derive(Parser)]
struct Args {
    /// The story; `list` names them all.
    #[arg(long, default_value = "chaos")]
    scenario: String,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Runs at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Runs only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: tells the story as it happens.
    #[arg(long)]
    trace: bool,
    /// With --seed: prints what came of it as JSON.
    #[arg(long, hide = true)]
    json: bool,
    /// Breaks the world for good, to see whether that is noticed: lost-sync, cursor-before-data.
    #[arg(long, value_name = "NAME")]
    r#break: Option<String>,
    /// Goes on after a run that failed.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<ExitCode> {
    if args.scenario == "list" {
        SCENARIOS.iter().for_each(|scenario| println!("{:<18} {}", scenario.name, scenario.about));
        return Ok(ExitCode::SUCCESS);
    }
    match args.seed {
        Some(seed) => one(args, seed),
        None => many(args),
    }
}

fn one(args: &Args, seed: u64) -> Result<ExitCode> {
    let Some(scenario) = scenario::find(&args.scenario) else {
        bail!("there is no story `{}`; --scenario list names them", args.scenario);
    };
    let began = Instant::now();
    let broken = match &args.r#break {
        None => None,
        Some(name) => match BREAKAGES.iter().find(|(known, _)| known == name) {
            Some((_, breakage)) => Some(*breakage),
            None => bail!("nothing is broken under the name `{name}`"),
        },
    };
    let outcome = report::run(scenario, seed, args.trace, broken);
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        if !args.trace {
            outcome.newest.iter().for_each(|line| println!("{line}"));
        }
        println!("{}", sentence(&outcome, began.elapsed()));
    }
    Ok(if outcome.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn sentence(outcome: &Outcome, wall: Duration) -> String {
    let end = outcome.failure.as_deref().unwrap_or("fine");
    format!(
        "{} seed {}: {end}\n  digest {:016x}, {} events, {:.1} s simulated in {:.1} s, {} records, {} acknowledged \
         ({} after a re-send), {} reads; without answer: {:?}",
        outcome.scenario,
        outcome.seed,
        outcome.digest,
        outcome.events,
        outcome.simulated_ms as f64 / 1e3,
        wall.as_secs_f64(),
        outcome.records,
        outcome.acked,
        outcome.acked_after_resend,
        outcome.shown,
        outcome.failures,
    )
}

/// The runs of one command.
#[derive(Default)]
struct Tally {
    done: u64,
    failed: Vec<Outcome>,
    simulated_ms: u64,
    acked: u64,
    coverage: BTreeMap<String, (u64, u64)>,
}

impl Tally {
    fn take(&mut self, outcome: Outcome) {
        self.done += 1;
        self.simulated_ms += outcome.simulated_ms;
        self.acked += outcome.acked;
        for (what, count) in &outcome.coverage {
            let (runs, times) = self.coverage.entry(what.clone()).or_default();
            *runs += u64::from(*count > 0);
            *times += count;
        }
        if outcome.failure.is_some() {
            self.failed.push(outcome);
        }
    }
}

fn many(args: &Args) -> Result<ExitCode> {
    if scenario::find(&args.scenario).is_none() {
        bail!("there is no story `{}`; --scenario list names them", args.scenario);
    }
    let began = Instant::now();
    let mut seeds: VecDeque<u64> = (args.first..args.first.saturating_add(args.seeds)).collect();
    let mut running: Vec<(u64, Child)> = Vec::new();
    let mut tally = Tally::default();
    while !running.is_empty() || !seeds.is_empty() {
        while running.len() < args.jobs.max(1)
            && let Some(seed) = seeds.pop_front()
        {
            running.push((seed, spawn(args, seed)?));
        }
        let (seed, child) = running.remove(0);
        tally.take(finish(args, seed, child)?);
        progress(args, &tally, began.elapsed());
        if !tally.failed.is_empty() && !args.keep_going {
            seeds.clear();
        }
    }
    eprintln!();
    conclude(&tally, began.elapsed());
    Ok(if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn spawn(args: &Args, seed: u64) -> Result<Child> {
    let own = std::env::current_exe().context("where this program is")?;
    let mut command = Command::new(own);
    command.args(["--scenario", &args.scenario, "--json", "--seed"]).arg(seed.to_string());
    if let Some(name) = &args.r#break {
        command.args(["--break", name]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("a run does not start")
}

fn finish(args: &Args, seed: u64, child: Child) -> Result<Outcome> {
    let output = child.wait_with_output()?;
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Outcome {
        scenario: args.scenario.clone(),
        seed,
        failure: Some(format!("it ended with {} and said nothing", output.status)),
        ..Outcome::default()
    }))
}

fn progress(args: &Args, tally: &Tally, wall: Duration) {
    let seconds = wall.as_secs_f64().max(0.001);
    eprint!(
        "\r{} of {} seeds, {} failed, {:.2} seeds/s, {:.1} simulated s/s, {} writes acknowledged   ",
        tally.done,
        args.seeds,
        tally.failed.len(),
        tally.done as f64 / seconds,
        tally.simulated_ms as f64 / 1e3 / seconds,
        tally.acked,
    );
    // A progress line that cannot be shown is no reason to stop.
    let _ = std::io::stderr().flush();
}

fn conclude(tally: &Tally, wall: Duration) {
    println!("{:<60} {:>8} {:>10}", "seen", "runs", "times");
    for (what, (runs, times)) in tally.coverage.iter().filter(|(what, _)| !phases::is_in_table(what)) {
        println!("{what:<60} {runs:>8} {times:>10}");
    }
    println!("{}", phases::table(|what| tally.coverage.get(what).map_or(0, |(_, times)| *times)));
    let seconds = wall.as_secs_f64().max(0.001);
    println!(
        "{} seeds in {seconds:.0} s: {:.2} seeds/s, {:.1} simulated s per s; {} failed",
        tally.done,
        tally.done as f64 / seconds,
        tally.simulated_ms as f64 / 1e3 / seconds,
        tally.failed.len()
    );
    for outcome in &tally.failed {
        println!(
            "\n{} seed {}: {}",
            outcome.scenario,
            outcome.seed,
            outcome.failure.as_deref().unwrap_or("?")
        );
        println!("  at commit {}", commit());
        println!("  again: make sim SCENARIO={} SEED={}", outcome.scenario, outcome.seed);
    }
}

/// The commit that runs, for whoever wants to see a failure again.
fn commit() -> String {
    let said = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let said = said.ok().filter(|output| output.status.success());
    said.map_or_else(|| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

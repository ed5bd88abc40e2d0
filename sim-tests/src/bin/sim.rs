//! Runs simulated clusters from seeds: many of them, each in a process of its own, or one that is told in words; and
//! hunts bugs that are switched on.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{
    Parser,
    builder::{PossibleValue, PossibleValuesParser},
};
use loop_proto::breakage::Breakage;
use loop_sim_tests::{
    hunt,
    runs::{self, Order},
    world::{
        faults::phases,
        report::{self, Outcome},
        scenario::{self, SCENARIOS},
    },
};

/// A run failed, or a bug was not found.
const FAILED: u8 = 1;
/// It was called wrongly, or cannot run at all.
const CANNOT_RUN: u8 = 2;

/// Runs simulated clusters. Ends with 0 if all went well, with 1 if a run failed, with 2 if it could not run.
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
    /// Switches a bug on, to see whether it is noticed. `all`: each in turn, until it is.
    #[arg(long, value_name = "NAME", value_parser = breakages())]
    r#break: Option<String>,
    /// With --break all: writes what was found to this file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Goes on after a run that failed.
    #[arg(long)]
    keep_going: bool,
}

fn breakages() -> PossibleValuesParser {
    let one = |breakage: &Breakage| PossibleValue::new(breakage.name()).help(breakage.about());
    let all = PossibleValue::new(ALL).help("Each in turn, until it is noticed.");
    PossibleValuesParser::new(Breakage::ALL.iter().map(one).chain([all]))
}

const ALL: &str = "all";

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

/// Whether all went well.
fn start(args: &Args) -> Result<bool> {
    if args.scenario == "list" {
        SCENARIOS.iter().for_each(|scenario| println!("{:<18} {}", scenario.name, scenario.about));
        return Ok(true);
    }
    if args.r#break.as_deref() == Some(ALL) {
        return hunt_all(args);
    }
    let broken = args.r#break.as_deref().and_then(Breakage::from_name);
    let Some(scenario) = scenario::find(&args.scenario) else {
        bail!("there is no story `{}`; --scenario list names them", args.scenario);
    };
    match args.seed {
        Some(seed) => one(args, scenario, seed, broken),
        None => many(args, broken),
    }
}

fn one(args: &Args, scenario: &scenario::Scenario, seed: u64, broken: Option<Breakage>) -> Result<bool> {
    let began = Instant::now();
    let outcome = report::run(scenario, seed, args.trace, broken);
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        if !args.trace {
            outcome.newest.iter().for_each(|line| println!("{line}"));
        }
        println!("{}", sentence(&outcome, began.elapsed()));
    }
    Ok(outcome.failure.is_none())
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

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("where this program is")
}

fn many(args: &Args, broken: Option<Breakage>) -> Result<bool> {
    let began = Instant::now();
    let seeds = args.first..args.first.saturating_add(args.seeds);
    let orders = seeds.map(|seed| Order { scenario: &args.scenario, seed, broken });
    let mut tally = Tally::default();
    runs::in_order(&own_program()?, args.jobs, orders, |outcome| {
        tally.take(outcome);
        progress(args, &tally, began.elapsed());
        tally.failed.is_empty() || args.keep_going
    })?;
    eprintln!();
    conclude(&tally, began.elapsed());
    Ok(tally.failed.is_empty())
}

fn progress(args: &Args, tally: &Tally, wall: Duration) {
    let seconds = wall.as_secs_f64().max(0.001);
    show(&format!(
        "{} of {} seeds, {} failed, {:.2} seeds/s, {:.1} simulated s/s, {} writes acknowledged",
        tally.done,
        args.seeds,
        tally.failed.len(),
        tally.done as f64 / seconds,
        tally.simulated_ms as f64 / 1e3 / seconds,
        tally.acked,
    ));
}

/// Shows how far it is, in place of what was shown before.
fn show(line: &str) {
    eprint!("\r{line:<100}");
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
    tally.failed.iter().filter_map(Outcome::complaint).for_each(|complaint| println!("\n{complaint}"));
}

/// Switches on each bug in turn. False: one was not noticed.
fn hunt_all(args: &Args) -> Result<bool> {
    let (program, began) = (own_program()?, Instant::now());
    let (mut found, mut holes) = (Vec::new(), Vec::new());
    for (at, breakage) in Breakage::ALL.iter().enumerate() {
        let mut seeds = 0;
        let one = hunt::hunt(&program, args.jobs, *breakage, |outcome| {
            seeds += 1;
            let (number, all, name) = (at + 1, Breakage::ALL.len(), breakage.name());
            show(&format!("{number} of {all}, {name}: {seeds} seeds, the last of {}", outcome.scenario));
        })?;
        match one {
            Some(one) => found.push(one),
            None => holes.push(breakage.name()),
        }
    }
    eprintln!();
    let list = hunt::list(&found);
    match &args.write {
        Some(path) => std::fs::write(path, &list).with_context(|| path.display().to_string())?,
        None => print!("{list}"),
    }
    println!("{} bugs found in {:.0} s", found.len(), began.elapsed().as_secs_f64());
    holes.iter().for_each(|name| println!("NOT NOTICED in {} seeds: {name}", hunt::SEEDS_MAX));
    Ok(holes.is_empty())
}

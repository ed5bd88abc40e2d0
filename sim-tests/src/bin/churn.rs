//! The guests' script on real processes: volunteers drop in for seconds, and no forum may go with them. Prints a table
//! and a verdict.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use loop_sim_tests::{
    churn::{self, HEADING, Script},
    statements::{become_true, machines},
};

/// A forum was lost, or was not served.
const FAILED: u8 = 1;
/// It was called wrongly, or cannot run at all.
const CANNOT_RUN: u8 = 2;

/// Three hubs and three permanent peers; guests who run a peer for some seconds, one after the other. Ends with 0 if
/// every forum had a whole copy on a permanent peer all the time and was served, with 1 if not, with 2 if it could not
/// run.
#[derive(Parser)]
struct Args {
    /// Forums on the permanent peers.
    #[arg(long, default_value_t = 13, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    forums: u32,
    /// Guests.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=10_000))]
    guests: u32,
    /// Messages in each forum at the beginning.
    #[arg(long, default_value_t = 5)]
    messages: u64,
    /// From one guest to the next, seconds.
    #[arg(long, default_value_t = 75)]
    every_s: u64,
    /// How long each stays, seconds.
    #[arg(long, default_value_t = 15)]
    stay_s: u64,
    /// How long to look on after the last one's time, seconds.
    #[arg(long, default_value_t = 75)]
    watch_s: u64,
    /// An argument for every hub; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    hub_arg: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = tokio::select! {
        ended = run(&args) => ended,
        // Leaving by the end of main stops all processes.
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("churn: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

/// Whether all went well.
async fn run(args: &Args) -> Result<bool> {
    let script = Script {
        messages: args.messages,
        every: Duration::from_secs(args.every_s),
        stay: Duration::from_secs(args.stay_s),
        watch: Duration::from_secs(args.watch_s),
        hub_args: args.hub_arg.clone(),
        ..Script::new(args.forums as usize, args.guests as usize)
    };
    println!(
        "{} forums on three permanent peers; {} guests, {} s apart, each for {} s",
        script.forums,
        script.guests,
        script.every.as_secs(),
        script.stay.as_secs()
    );
    println!("{HEADING}");
    let (mut system, verdict) = churn::tell(&script, |row| println!("{row}")).await?;
    println!("{verdict}");
    let names: Vec<String> = (1..=verdict.guests).map(churn::guest_name).collect();
    let machines = machines(&system, [], names.iter().map(String::as_str));
    let mut good = verdict.is_good();
    for hub in 0..system.cluster.hub_count() {
        if let Err(untrue) = become_true(&system, hub, &machines).await {
            good = false;
            println!("h{} does not tell it as it is: {untrue}", hub + 1);
        }
    }
    if !good {
        system.keep_folder();
        println!("data and logs stay in {}", system.folder().display());
    }
    Ok(good)
}

//! Many reads of forums that nobody has written in, on real processes: what could have grown, before and after.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use loop_sim_tests::{
    anonymous::{Seen, read_unknown_forums},
    client::{Commit, Visitor},
    expect::unique,
    system::System,
};

/// Something has grown.
const FAILED: u8 = 1;
/// It cannot run at all.
const CANNOT_RUN: u8 = 2;

/// Reads forums of random names from one address, without a cookie, on three hubs with three peers, and tells what the hubs
/// agree on and what is on disk before and after. Ends with 0 if nothing has grown, with 1 if something has.
#[derive(Parser)]
struct Args {
    /// Reads, each of another forum.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    gets: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse().gets as usize).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("anonymous: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

async fn run(gets: usize) -> Result<bool> {
    let system = System::start().await?;
    let visitor = Visitor::arrive(&system.hub(0), &unique("ajps_real_")).await?;
    visitor.commit(&system.hub(0), &Commit::new(1, "the only message")).await?;
    let before = Seen::now(&system).await?;
    println!("before\n{before}");
    let took = read_unknown_forums(&system, gets).await?;
    let after = Seen::now(&system).await?;
    println!(
        "after {gets} reads in {:.1} s ({:.0} a second)\n{after}",
        took.as_secs_f64(),
        gets as f64 / took.as_secs_f64()
    );
    let entries = after.entries.saturating_sub(before.entries);
    println!(
        "the hubs' log has {entries} entries more, {:.2} a second: those of the time itself",
        entries as f64 / took.as_secs_f64()
    );
    let same = after.agreed == before.agreed;
    println!("{}", if same { "nothing has grown" } else { "SOMETHING HAS GROWN" });
    Ok(same)
}

//! A peer that tries to do harm, once, and tells what came of it in lines of JSON. For tests and for operators who want to
//! see what their own group makes of it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use loop_sim_tests::hostile::{self, Attempt, Options, Victim};
use rand::RngExt;

/// Joins as a volunteer's peer, does one thing that no honest peer does, and tells what came of it.
///
/// Each run is a new peer: one that was seen through is suspended. What a suspended peer had said is shown by `hubctl peers`.
#[derive(Parser)]
struct Args {
    /// A hub's gRPC address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9080")]
    hub: String,
    /// The volunteers' token
    #[arg(long, env = "LOOP_PEER_JOIN_TOKEN", hide_env_values = true)]
    join_token: String,
    /// What it calls itself
    #[arg(long, default_value = "hostile")]
    name: String,
    /// Whose machine it says it runs on
    #[arg(long, default_value = "nobody")]
    owner: String,
    /// What it tries
    #[arg(long, value_enum)]
    attempt: Attempt,
    /// A forum it does not hold, by number
    #[arg(long, default_value_t = 178)]
    victim_forum: u32,
    /// A message of that forum
    #[arg(long, default_value_t = 2867)]
    victim_message: u32,
    /// Who wrote it
    #[arg(long, default_value_t = 414)]
    victim_user: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let options = Options {
        hub: args.hub,
        token: args.join_token,
        name: args.name,
        owner: args.owner,
        secret: rand::rng().random(),
        attempt: args.attempt,
        victim: Victim { forum: args.victim_forum, message: args.victim_message, user: args.victim_user },
    };
    hostile::run(options, |event| match serde_json::to_string(&event) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("hostile-peer: {event:?} cannot be told: {error}"),
    })
    .await
}

//! `loop-console`: what is found at the start, or the screen. Never logic.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loop_console::{machine::Machine, screen};

/// The console of a volunteer's virtual machine. Its units start it; there is no other use for it.
#[derive(Parser)]
#[command(name = "loop-console", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look for a join string that was left for this machine, and see how much disk and memory the peer may have.
    Seed,
    /// Ask for a join string on this terminal, or show how the peer is doing.
    Screen,
}

fn main() -> ExitCode {
    let machine = Machine::of_image();
    let done = match Cli::parse().command {
        Command::Seed => machine.seed(),
        Command::Screen => screen::run(&machine),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop-console: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `hubctl`: asks a group of hubs how things are, and changes them.

use std::{
    io::{self, ErrorKind, IsTerminal},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use loop_hub::hubctl::{Args, CtlError, Outside, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let terminal = io::stdout().is_terminal();
    let outside = Outside { now_ms: now_ms(), input: io::stdin().lock(), out: io::stdout().lock(), terminal };
    match run(&args, outside).await {
        Ok(()) => ExitCode::SUCCESS,
        // `hubctl forums | head` closes the pipe: nobody is left to be told.
        Err(CtlError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubctl: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "main: the clock enters here")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

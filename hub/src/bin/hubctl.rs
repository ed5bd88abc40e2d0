//! `hubctl`: asks a group of hubs how things are.

use std::{
    io::{self, ErrorKind},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use loop_hub::hubctl::{Args, CtlError, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args, now_ms(), io::stdin().lock(), &mut io::stdout().lock()).await {
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

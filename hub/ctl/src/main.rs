//! `hubctl`: asks a group of hubs how things are, and changes them.

use std::{
    ffi::OsStr,
    io::{self, ErrorKind, IsTerminal},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use loop_admin::{AdminError, usage_json};
use loop_hubctl::{Args, Outside, Width, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return unreadable(&error),
    };
    let outside = Outside {
        now_ms: now_ms(),
        input: io::stdin().lock(),
        out: io::stdout().lock(),
        err: io::stderr(),
        terminal: terminal(),
        asks: io::stdin().is_terminal() && io::stderr().is_terminal(),
    };
    match run(&args, outside).await {
        Ok(()) => ExitCode::SUCCESS,
        // `hubctl forums | head` closes the pipe: nobody is left to be told.
        Err(AdminError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            match args.json {
                true => eprintln!("{}", error.json()),
                false => eprintln!("hubctl: {error}"),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// What clap says, as JSON where that was asked for. Help and version are no failures.
fn unreadable(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == OsStr::new("--json"));
    if json && error.use_stderr() {
        eprintln!("{}", usage_json(&error.render().to_string()));
    } else if error.print().is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// How wide standard output is, if it is a terminal.
fn terminal() -> Option<Width> {
    let out = io::stdout();
    out.is_terminal().then(|| {
        let columns = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col);
        Width::of_terminal(columns.into())
    })
}

#[expect(clippy::disallowed_methods, reason = "main: the clock enters here")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

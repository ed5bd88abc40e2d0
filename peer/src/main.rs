//! `loop-peer`: reads the configuration, opens the backend, runs the peer with the real outside. Never logic.

mod cli;
mod copies;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Parser;
use loop_peer::{
    backend::embedded::{EmbeddedBackend, EmbeddedConfig},
    config::Config,
    io::Io,
    run,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};

/// Many small messages make many small allocations: measured, a tenth less time for a write through the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After this long a stop is enforced. Nothing is lost by it: the cursor says what is on disk.
const STOP_WITHIN: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loop-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = Config::read(cli.flags, &cli::machine_name())?;
    for warning in &config.warnings {
        eprintln!("loop-peer: {warning}");
    }
    let dir = &config.data_dir;
    let printed = match cli.command {
        Some(Command::Status { json }) => Some(cli::status(dir, json)?),
        Some(Command::Export { forum, out, json }) => Some(copies::export(dir, &forum, out, json)?),
        Some(Command::Import { file, json }) => Some(copies::import(dir, &file, json)?),
        None => None,
    };
    if let Some(printed) = printed {
        print!("{printed}");
        return Ok(ExitCode::SUCCESS);
    }
    if cli.print_config {
        print!("{}", config.print());
        return Ok(ExitCode::SUCCESS);
    }
    let filter =
        EnvFilter::try_new(&config.log).with_context(|| format!("--log `{}` is no filter", config.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        if cli.check {
            let report = loop_peer::check(&config, &Io::real()).await;
            print!("{report}");
            return Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        serve(config).await
    });
    // A read that is still on its way to the disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let backend = EmbeddedBackend::open(EmbeddedConfig::new(&config.data_dir))?;
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data = %config.data_dir.display(), "peer starting");
    run(config, Io::real(), Arc::new(backend), shutdown).await?;
    tracing::info!("peer stopped");
    Ok(ExitCode::SUCCESS)
}

/// The first signal asks the peer to stop; a second one, or too long a stop, ends the process.
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        shutdown.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(STOP_WITHIN) => {}
        }
        tracing::warn!("stopped without waiting; whatever was not on disk comes again from the hubs");
        std::process::exit(1);
    });
    Ok(())
}

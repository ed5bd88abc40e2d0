//! The hub's program: reads the configuration, sets up logs and signals, runs the hub.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use loop_hub::{
    config::{HubConfig, Options},
    outside::Outside,
    run,
};
use loop_net::io::Io;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Many small messages make many small allocations: measured, a tenth less time for a write through the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A hub of loop-server-p2p: takes AtomJump requests and has them served by peers.
///
/// Options can also be given in the environment (LOOP_HUB_NODE_ID …) or in a TOML file with the same names
/// (node-id = 1). A flag beats the environment, which beats the file.
#[derive(Parser)]
#[command(name = "loop-hub", version)]
struct Cli {
    /// TOML file with any of the options below
    #[arg(long, env = "LOOP_HUB_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Print the configuration in force, secrets masked, and exit
    #[arg(long)]
    print_config: bool,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match try_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut options = cli.options;
    if let Some(path) = &cli.config {
        options = options.or(Options::from_file(path)?);
    }
    let config = HubConfig::try_from(options)?;
    if cli.print_config {
        print!("{}", toml::to_string_pretty(&config.to_options()).context("cannot print the configuration")?);
        return Ok(());
    }
    if cli.check {
        println!("the configuration is fine");
        return Ok(());
    }
    let filter = EnvFilter::try_new(&config.log).with_context(|| format!("--log {:?}", config.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let metrics = PrometheusBuilder::new().install_recorder().context("cannot set up metrics")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(stop_on_signal(shutdown.clone()));
        run::run(config, Outside::new(Io::system()), metrics, shutdown).await
    })?;
    tracing::info!("stopped");
    Ok(())
}

/// The first signal takes the hub down gracefully, the second one at once.
async fn stop_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen to signals");
        return;
    };
    let mut heard = 0;
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        heard += 1;
        if heard > 1 {
            std::process::exit(130);
        }
        tracing::info!("stopping; a second signal stops at once");
        shutdown.cancel();
    }
}

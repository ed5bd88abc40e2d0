//! Runs the model of months of volunteers from seeds and prints what came of each.

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, bail};
use clap::Parser;
use loop_proto::breakage::{self, Breakage};
use loop_sim_tests::months::{
    self, Order,
    agenda::{DAY, HOUR},
    scenarios,
};

/// Models weeks and months of volunteers. Ends with 0 if every promise was kept, with 1 if one was not, with 2 if it could
/// not run.
#[derive(Parser)]
struct Args {
    /// The population; `list` names them, `all` runs each in turn.
    #[arg(long, default_value = "month")]
    scenario: String,
    /// How many days; as many as the scenario says by default.
    #[arg(long)]
    days: Option<f64>,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Counts promises that are not kept instead of stopping at the first one.
    #[arg(long)]
    count: bool,
    /// Switches a bug on, to see whether it is noticed.
    #[arg(long, value_name = "NAME")]
    r#break: Option<String>,
    /// Prints JSON, one line for each run.
    #[arg(long)]
    json: bool,
    /// Prints the stories of the first forums a promise was not kept to.
    #[arg(long)]
    story: bool,
    /// Prints what happened lately to the forum of this number.
    #[arg(long, value_name = "NUMBER")]
    tell: Option<u32>,
    /// Says how far it is.
    #[arg(long)]
    progress: bool,
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("months: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(args: &Args) -> Result<bool> {
    if args.scenario == "list" {
        scenarios::all().iter().for_each(|scenario| println!("{:<16} {}", scenario.name, scenario.about));
        return Ok(true);
    }
    let chosen = match args.scenario.as_str() {
        "all" => scenarios::all(),
        name => match scenarios::find(name) {
            Some(scenario) => vec![scenario],
            None => bail!("there is no population `{name}`; --scenario list names them"),
        },
    };
    if let Some(name) = &args.r#break {
        let Some(bug) = Breakage::from_name(name) else { bail!("there is no bug `{name}`") };
        breakage::switch_on(Some(bug));
    }
    let mut fine = true;
    for scenario in chosen {
        for seed in args.first..args.first.saturating_add(args.seeds) {
            fine &= one(args, &scenario, seed)?;
        }
    }
    Ok(fine)
}

fn one(args: &Args, scenario: &scenarios::Scenario, seed: u64) -> Result<bool> {
    let began = Instant::now();
    let length = args.days.map_or(scenario.hours * HOUR, |days| (days * DAY as f64) as u64);
    let order = Order { seed, length, only_count: args.count };
    let mut told = Vec::new();
    let report = months::run(scenario.clone(), order, |world| {
        if args.progress {
            eprintln!("{}", world.progress());
        }
        if let Some(forum) = args.tell {
            told = world.story(forum);
        }
    });
    told.iter().for_each(|line| println!("    {line}"));
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
        println!("  took {:.1} s", began.elapsed().as_secs_f64());
        if args.story || !args.count {
            for promise in &report.broken {
                println!("\n{} of seed {seed}, {}: {}", promise.forum, promise.at, promise.what);
                promise.story.iter().for_each(|line| println!("    {line}"));
            }
        }
    }
    Ok(report.is_fine())
}

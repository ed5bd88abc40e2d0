//! Which workloads are run on what, in which order. Owns the rounds; never knows how a workload does its work.

use std::{future::Future, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use super::{
    Figures, Pace, Span, cpu,
    etcd::Etcd,
    http_read,
    http_write::{self, Through},
    proposals,
    report::Row,
    system::{Own, System},
    visibility,
};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// 512-byte commands to the leader.
    Proposals,
    /// Commits through HTTP.
    HttpWrite,
    /// Polls through HTTP.
    HttpRead,
    /// From acknowledged to known at the peers.
    Visibility,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Proposals, Self::HttpWrite, Self::HttpRead, Self::Visibility];
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order.
    pub workloads: Vec<Workload>,
    /// In flight, in place of each workload's usual numbers.
    pub in_flight: Option<usize>,
    /// Requests a second; `None`: as many as can be (a closed loop).
    pub rate: Option<f64>,
    /// Forums the writers are spread over.
    pub forums: usize,
    /// Times of one run.
    pub span: Span,
    /// How our own system is started.
    pub own: Own,
}

impl Plan {
    fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Closed, Pace::Open)
    }

    fn in_flight(&self, usual: &[usize]) -> Vec<usize> {
        self.in_flight.map_or_else(|| usual.to_vec(), |number| vec![number])
    }
}

/// Whoever wants to hear of each result as it comes.
pub type Told<'a> = &'a mut dyn FnMut(Row);

/// One system in one round.
pub struct Bench<'a> {
    name: &'a str,
    round: usize,
    span: Span,
    servers: Vec<u32>,
    peers: Vec<u32>,
    told: Told<'a>,
}

impl<'a> Bench<'a> {
    /// A system of these processes: servers, and those behind them.
    pub fn of(name: &'a str, round: usize, span: Span, pids: (Vec<u32>, Vec<u32>), told: Told<'a>) -> Self {
        let (servers, peers) = pids;
        Self { name, round, span, servers, peers, told }
    }

    /// Runs one workload and tells what it came to; how many requests were answered. Processor time is an average that includes
    /// warming up.
    pub async fn run(
        &mut self,
        workload: String,
        work: impl Future<Output = Result<Figures>>,
    ) -> Result<u64> {
        eprintln!("round {}: {} {workload} …", self.round, self.name);
        let all = [self.servers.clone(), self.peers.clone(), vec![std::process::id()]];
        let before = all.each_ref().map(|pids| cpu::seconds(pids));
        let begun = Instant::now();
        let figures = work.await?;
        let took = begun.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let after = all.each_ref().map(|pids| cpu::seconds(pids));
        let cores = [0, 1, 2].map(|at| (after[at] - before[at]) / took);
        let summary = figures.summary(self.span.measured);
        let count = summary.count;
        (self.told)(Row {
            system: self.name.to_owned(),
            workload,
            round: self.round,
            summary,
            cores,
            load_average: cpu::load_average(),
        });
        Ok(count)
    }
}

/// Runs the plan on our own system with this log engine.
pub async fn ours(plan: &Plan, engine: &str, round: usize, told: Told<'_>) -> Result<()> {
    eprintln!("round {round}: starting 3 hubs and 3 peers, log engine {engine} …");
    let system = System::start(engine, &plan.own).await?;
    let outcome = on(plan, &system, engine, round, told).await;
    outcome.and(system.stop().await)
}

/// Runs the plan on a system that is there.
pub async fn on(plan: &Plan, system: &System, name: &str, round: usize, told: Told<'_>) -> Result<()> {
    let (span, pace) = (plan.span, plan.pace());
    let mut bench = Bench::of(name, round, span, system.pids(), told);
    for workload in &plan.workloads {
        match workload {
            Workload::Proposals => {
                for in_flight in plan.in_flight(&[1, 64, 512]) {
                    let work = proposals::run(system, pace, in_flight, span);
                    bench.run(title("proposals", plan.rate, in_flight), work).await?;
                }
            }
            Workload::HttpWrite => {
                for (through, in_flight) in both(&plan.in_flight(&[64])) {
                    let work = http_write::run(system, through, pace, in_flight, plan.forums, span);
                    bench
                        .run(title(&format!("write, {}", through.name()), plan.rate, in_flight), work)
                        .await?;
                }
            }
            Workload::HttpRead => {
                for (through, in_flight) in both(&plan.in_flight(&[32])) {
                    let work = http_read::run(system, through, pace, in_flight, span);
                    bench
                        .run(title(&format!("read, {}", through.name()), plan.rate, in_flight), work)
                        .await?;
                }
            }
            Workload::Visibility => {
                bench.run("visible: HTTP write".into(), visibility::write(system, span)).await?;
                bench.run("visible: record, 500/s".into(), visibility::record(system, span)).await?;
            }
        }
    }
    Ok(())
}

/// Runs the comparison on etcd.
pub async fn etcd(plan: &Plan, round: usize, told: Told<'_>) -> Result<()> {
    eprintln!("round {round}: starting 3 members of etcd …");
    let etcd = Etcd::start().await?;
    let mut bench = Bench::of("etcd", round, plan.span, (etcd.pids(), Vec::new()), told);
    for in_flight in plan.in_flight(&[1, 64, 512]) {
        let work = etcd.run(plan.pace(), in_flight, plan.span);
        bench.run(title("proposals", plan.rate, in_flight), work).await?;
    }
    etcd.stop().await
}

fn both(in_flight: &[usize]) -> Vec<(Through, usize)> {
    let through = |through| in_flight.iter().map(move |number| (through, *number));
    through(Through::One).chain(through(Through::All)).collect()
}

fn title(what: &str, rate: Option<f64>, in_flight: usize) -> String {
    match rate {
        None => format!("{what}, {in_flight} in flight"),
        Some(rate) => format!("{what}, {rate:.0}/s"),
    }
}

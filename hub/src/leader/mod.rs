//! What only the leading hub does: moves primaries away from peers that do not answer, brings migrations to their end,
//! has new copies compared, tells the log who comes and goes, closes forums in which there is nothing, trims the log.
//!
//! Holds nothing that a new leader could not find out by itself. Only decisions are proposed.

mod attendance;
pub mod balance;
mod balancing;
mod closing;
mod confirming;
mod migrations;
mod takeover;
mod trim;
mod watch;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use self::{
    attendance::AttendanceDuty, balancing::Balancer, closing::Closing, confirming::Confirming,
    migrations::Migrations, takeover::Takeover, watch::Watch,
};
use crate::hub::Hub;

pub use balancing::{PlanBoard, Planned, policy};
pub use confirming::take_away;

/// How often the leader looks.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is looked whether the log is to be trimmed.
const TRIM_EVERY: Duration = Duration::from_millis(500);
/// What a new leader gives links and peers to show up before it holds anybody's absence against them.
const SETTLE: Duration = Duration::from_millis(600);

/// Runs until shutdown; does nothing while another hub leads.
pub async fn run(hub: Arc<Hub>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut duties: Option<Duties> = None;
    loop {
        tokio::select! {
            biased;
            () = hub.shutdown.cancelled() => return,
            _ = look.tick() => {}
        }
        if hub.raft.is_leader() {
            duties.get_or_insert_with(Duties::new).step(&hub).await;
        } else if duties.take().is_some() {
            hub.plan.clear();
        }
    }
}

/// What one term of leading knows and does.
struct Duties {
    leading_since: Instant,
    trimmed_at: Instant,
    watch: Watch,
    takeover: Takeover,
    attendance: AttendanceDuty,
    migrations: Migrations,
    balancer: Balancer,
    confirming: Confirming,
    closing: Closing,
}

impl Duties {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            leading_since: now,
            trimmed_at: now,
            watch: Watch::default(),
            takeover: Takeover::default(),
            attendance: AttendanceDuty::default(),
            migrations: Migrations::default(),
            balancer: Balancer::new(),
            confirming: Confirming::new(),
            closing: Closing::default(),
        }
    }

    async fn step(&mut self, hub: &Arc<Hub>) {
        if self.leading_since.elapsed() < SETTLE {
            return;
        }
        let Some(present) = self.watch.look(hub) else { return };
        let taken_over = self.takeover.step(hub, &self.watch, &present).await;
        self.balancer.let_rest(taken_over, present.at);
        self.attendance.step(hub, &present).await;
        self.migrations.step(hub, &present).await;
        if let Some(unconfirmed) = self.balancer.step(hub, &self.watch, &present).await {
            self.confirming.step(hub, &unconfirmed, &self.watch, &present);
        }
        self.closing.step(hub, present.at).await;
        if self.trimmed_at.elapsed() >= TRIM_EVERY {
            self.trimmed_at = Instant::now();
            trim::step(hub, &self.watch, &present).await;
        }
    }
}

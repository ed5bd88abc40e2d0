//! A leader's duties in their turn, from taking the lead to losing it.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    attendance::AttendanceDuty, balancing::Balancer, closing::Closing, confirming::Confirming,
    context::LeaderContext, migrations::Migrations, takeover::Takeover, trim, watch::Watch,
};

/// How often the leader looks.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is looked whether the log is to be trimmed.
const TRIM_EVERY: Duration = Duration::from_millis(500);
/// What a new leader gives links and peers to show up before it holds anybody's absence against them.
const SETTLE: Duration = Duration::from_millis(600);

/// Runs until shutdown; does nothing while another hub leads.
pub async fn run(cx: LeaderContext) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut duties: Option<Duties> = None;
    loop {
        tokio::select! {
            biased;
            () = cx.shutdown.cancelled() => return,
            _ = look.tick() => {}
        }
        if cx.raft.is_leader() {
            duties.get_or_insert_with(Duties::new).step(&cx).await;
        } else if duties.take().is_some() {
            cx.plan.clear();
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

    async fn step(&mut self, cx: &LeaderContext) {
        if self.leading_since.elapsed() < SETTLE {
            return;
        }
        let Some(present) = self.watch.look(cx) else { return };
        let taken_over = self.takeover.step(cx, &self.watch, &present).await;
        self.balancer.let_rest(taken_over, present.at);
        self.attendance.step(cx, &present).await;
        self.migrations.step(cx, &present).await;
        if let Some(unconfirmed) = self.balancer.step(cx, &self.watch, &present).await {
            self.confirming.step(cx, &unconfirmed, &self.watch, &present);
        }
        self.closing.step(cx, present.at).await;
        if self.trimmed_at.elapsed() >= TRIM_EVERY {
            self.trimmed_at = Instant::now();
            trim::step(cx, &self.watch, &present).await;
        }
    }
}

//! Turns what was counted into rates, and tells the other hubs how many reads this one has answered.

use loop_proto::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{parts::Mesh, traffic::TICK};

/// Turns counts into rates every second and tells the other hubs, until shutdown.
pub async fn tell_traffic(mesh: Mesh, shutdown: CancellationToken) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticked_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let passed = ticked_at.elapsed();
        ticked_at = Instant::now();
        let everyone = mesh.presence.everyone();
        let answered = everyone.into_iter().filter_map(|(peer, at)| Some((peer, at.status()?.requests)));
        let told = mesh.traffic.tick(passed, answered);
        if !told.forums.is_empty() {
            mesh.links.tell(v1::link_reply::Kind::Traffic(told));
        }
    }
}

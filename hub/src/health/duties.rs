//! What is done all the time so that the truth is known when somebody asks for it: the probe of the group, the walks over
//! the forums, and telling gauges and gRPC's health service.

use std::{sync::Arc, time::Duration};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1::peer_service_server::PeerServiceServer,
};
use loop_raft_store::machine::Forum;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{census::Census, gauges, problems, seen::Health};
use crate::placement::liveness::{self, wanted};

/// How often gauges and gRPC's health service are told.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How often all forums are looked at.
const WALK_EVERY: Duration = Duration::from_secs(1);
/// The same when somebody has come or gone: many come and go at once when a hub falls.
const WALK_AGAIN: Duration = Duration::from_millis(200);
/// A walk is paid for by a pause of so many times its length: a fiftieth of a processor at most.
const PAUSE_FACTOR: u32 = 50;
/// Forums looked at in one go while the state is locked for reading: less than a millisecond's worth.
const PORTION: usize = 1024;

impl Health {
    /// Runs until shutdown.
    pub async fn run(&self, shutdown: CancellationToken) {
        let all = async { tokio::join!(self.probe(), self.walk_often()) };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            _ = all => {}
        }
    }

    /// Makes sure that somebody asks the leader for a read index every so often. While clients read, nobody else need to;
    /// all that wait at a hub share one round trip.
    async fn probe(&self) {
        let (every, within) = (self.config.election.0, self.config.election.1 * 2);
        loop {
            let due_in =
                self.log.freshness().current_ago().map_or(Duration::ZERO, |ago| every.saturating_sub(ago));
            if !due_in.is_zero() {
                sleep(due_in).await;
                continue;
            }
            let asked_at = Instant::now();
            // Without a leader it waits for one: the answer comes as soon as there is one again.
            if self.log.fresh(asked_at + within).await.is_err() {
                sleep_until(asked_at + every).await;
            }
        }
    }

    /// Looks at all forums once a second, and soon after a peer has come or gone.
    async fn walk_often(&self) {
        let mut peers = self.mesh.presence.follow_all();
        loop {
            let walked_at = Instant::now();
            let busy = self.walk().await;
            let pause = busy * PAUSE_FACTOR;
            let next = walked_at + pause.max(WALK_EVERY);
            tokio::select! {
                () = sleep_until(next) => {}
                () = changed(&mut peers) => sleep_until(walked_at + pause.max(WALK_AGAIN)).await,
            }
        }
    }

    /// Looks at all forums once; how much processor time it took. Others have their turn after each portion, so the forums are
    /// seen at slightly different moments, which is as good: each is judged by itself.
    async fn walk(&self) -> Duration {
        let (mut census, mut busy, mut after) = (Census::default(), Duration::ZERO, 0);
        loop {
            let began_at = Instant::now();
            let last = self.portion(&mut census, after);
            busy += began_at.elapsed();
            match last {
                Some(last) => after = last.get(),
                None => break,
            }
            tokio::task::yield_now().await;
        }
        self.has_walked(census, self.config.peer_grace);
        busy
    }

    /// Counts some forums in; the last of them, if there may be more.
    fn portion(&self, census: &mut Census, after: u32) -> Option<ForumId> {
        let cursors = self.mesh.presence.cursors();
        let cursor = |peer: PeerId| cursors.get(&peer).copied();
        let seen: Vec<(ForumId, bool)> = self.log.read(|state| {
            let look = |forum: &Forum| {
                let live: Vec<PeerId> = liveness::live(forum, cursor).collect();
                let wanted = wanted(forum, self.config.replicas);
                (forum.id, census.count(forum, &live, wanted, |peer| cursor(peer).is_some()))
            };
            state.forums_after(after).take(PORTION).map(look).collect()
        });
        let (mut below, now) = (self.below.lock(), Instant::now());
        seen.iter().for_each(|(forum, is_below)| below.note(*forum, *is_below, now));
        seen.last().map(|(last, _)| *last).filter(|_| seen.len() == PORTION)
    }

    /// Keeps gauges and gRPC's health service to the truth until shutdown, and says then that nothing is served any more. A
    /// peer may connect to a hub that has none yet, so the service for peers depends on the group alone.
    pub async fn tell(self: Arc<Self>, reporter: HealthReporter, shutdown: CancellationToken) {
        let mut told = None;
        loop {
            let going = shutdown.is_cancelled();
            let facts = self.facts();
            gauges::set(self.walked().as_deref(), &facts);
            let now = (!going && problems::is_ready(&facts), !going && facts.quorum);
            if told != Some(now) {
                told = Some(now);
                let status = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
                reporter.set_service_status("", status(now.0)).await;
                reporter.set_service_status(PeerServiceServer::<()>::NAME, status(now.1)).await;
            }
            if going {
                return;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep(TELL_EVERY) => {}
            }
        }
    }
}

async fn changed(peers: &mut watch::Receiver<u64>) {
    if peers.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

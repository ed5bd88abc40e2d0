//! What a peer is sent of its own accord: greeting, the forums it holds, the log from its cursor on, heartbeats.

use std::{collections::BTreeSet, sync::Arc};

use loop_net::queue::Gone;
use loop_proto::{
    breakage::{self, Breakage},
    content::ContentHash,
    ids::PeerId,
    v1::{self, hub_to_peer::Kind},
};
use loop_raft_store::machine::{Forum, HubState, Replica};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    context::PeersContext,
    feed::{self, Held, Trimmed},
};
use crate::{log::PROPOSE_WITHIN, mesh::presence::PeerConnection};

/// Writes one peer's stream until it is gone.
pub(super) async fn run(cx: PeersContext, connection: Arc<PeerConnection>, cursor: u64) {
    let mut gone = connection.gone.subscribe();
    let why = tokio::select! {
        biased;
        () = cx.shutdown.cancelled() => "this hub is shutting down",
        _ = gone.wait_for(|gone| *gone) => "this connection has ended",
        sent = send_all(&cx, &connection, cursor) => match sent {
            Ok(Trimmed { trimmed_through }) => {
                tracing::warn!(
                    peer = %connection.peer, cursor, trimmed_through,
                    "the records this peer needs are gone: it was away longer than the log is kept"
                );
                "the records after your cursor are gone"
            }
            Err(Gone) => "",
        },
    };
    // If the stream is full or broken the peer notices by itself.
    let _ = connection.try_send(Kind::GoAway(v1::GoAway { reason: why.into() }));
    connection.gone.send_replace(true);
}

/// Tells the peer which published files it is counted on for, unless this hub may not know of all of them: the peer lets
/// the others go.
async fn tell_kept(cx: PeersContext, connection: Arc<PeerConnection>) {
    // A group that publishes nothing has nothing to tell.
    if cx.log.read(|state| state.manifest().is_empty()) {
        return;
    }
    if cx.log.fresh(Instant::now() + PROPOSE_WITHIN).await.is_err() {
        return;
    }
    let hashes: BTreeSet<ContentHash> =
        cx.log.read(|state| state.manifest().held_by(connection.peer).map(|file| file.hash).collect());
    let sha256 = hashes.into_iter().map(ContentHash::to_bytes).collect();
    // A connection that has ended hears it on the next one.
    let _ = connection.send(Kind::ContentKept(v1::ContentKept { sha256 })).await;
}

async fn send_all(cx: &PeersContext, connection: &Arc<PeerConnection>, cursor: u64) -> Result<Trimmed, Gone> {
    let peer = connection.peer;
    let (greeting, forums, mut held) =
        cx.log.read(|state| (greet(cx, state), held_forums(state, peer, cursor), Held::now(state, peer)));
    let mut told_hubs = greeting.hubs.clone();
    connection.send(Kind::Welcome(greeting)).await?;
    for forum in forums {
        connection.send(Kind::Forum(forum)).await?;
    }
    tokio::spawn(tell_kept(cx.clone(), connection.clone()));
    // The first batch is sent even if it is empty: it tells the peer that it has caught up.
    let newest = cx.log.read(HubState::newest);
    let (mut at, mut told) = (if breakage::is_on(Breakage::FeedSkipsToLive) { newest } else { cursor }, None);
    let mut heartbeat = interval(cx.config.peer_heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let portion = match feed::portion(cx.log.state(), &mut held, at) {
            Ok(portion) => portion,
            Err(trimmed) => return Ok(trimmed),
        };
        at = portion.through;
        connection.sends(at);
        if !portion.records.is_empty() {
            told = Some(at);
            connection.send(Kind::Records(v1::RecordBatch { records: portion.records, through: at })).await?;
        }
        if let Some(forum) = portion.invited_to {
            connection.send(Kind::Forum(forum)).await?;
        }
        if portion.more {
            continue;
        }
        tokio::select! {
            () = connection.wake.notified() => {}
            _ = heartbeat.tick() => {
                // A gap is told with the heartbeat: others' traffic must not cost this peer a message each.
                if told != Some(at) {
                    told = Some(at);
                    connection.send(Kind::Records(v1::RecordBatch { records: Vec::new(), through: at })).await?;
                }
                let newest = cx.log.read(HubState::newest);
                let hubs = changed_hubs(cx, &mut told_hubs);
                let heartbeat = v1::HubHeartbeat { newest, at_ms: cx.io.now_ms(), hubs };
                connection.send(Kind::Heartbeat(heartbeat)).await?;
            }
        }
    }
}

fn greet(cx: &PeersContext, state: &HubState) -> v1::Welcome {
    v1::Welcome {
        hub_id: cx.mesh.group.own_id(),
        heartbeat_ms: u32::try_from(cx.config.peer_heartbeat.as_millis()).unwrap_or(u32::MAX),
        trimmed_through: state.trimmed_through(),
        newest: state.newest(),
        hubs: hub_addrs(cx),
    }
}

fn hub_addrs(cx: &PeersContext) -> Vec<String> {
    cx.mesh.group.all().into_iter().map(|node| node.grpc_addr).collect()
}

/// All hubs if they are others than those told last, else none: a peer must know where to go when this hub is gone.
fn changed_hubs(cx: &PeersContext, told: &mut Vec<String>) -> Vec<String> {
    let hubs = hub_addrs(cx);
    if hubs == *told {
        return Vec::new();
    }
    told.clone_from(&hubs);
    hubs
}

/// The forums a peer holds, in whichever role, as they are by now.
fn held_forums(state: &HubState, peer: PeerId, cursor: u64) -> Vec<v1::ForumState> {
    let told = |forum: &Forum| {
        // A peer that is to get a copy is sent no records from before its invitation.
        let joining = forum.replica(peer).and_then(Replica::joining);
        let open_through = joining.map_or(cursor, |joining| joining.invitation.get().max(cursor));
        feed::forum_state(state, forum, &forum.assignment(), state.newest(), open_through)
    };
    state.forums_of(peer).map(told).collect()
}

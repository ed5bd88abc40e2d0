//! Which peers a new forum goes to. Decides only; the log makes it so.

use loop_proto::ids::PeerId;

use crate::hub::Hub;

/// The least loaded connected peers, the least loaded first: it becomes the primary. Known peers that are away fill
/// up what is missing; they catch up when they are back.
pub fn choose(hub: &Hub) -> Vec<PeerId> {
    let connected: Vec<PeerId> = hub.presence.everyone().into_iter().map(|(peer, _)| peer).collect();
    if connected.is_empty() {
        return Vec::new();
    }
    let mut peers: Vec<(bool, usize, usize, PeerId)> = hub.state.read(|state| {
        let load = |peer: PeerId| {
            let (mut replicas, mut primaries) = (0, 0);
            for forum in state.forums_of(peer) {
                replicas += 1;
                primaries += usize::from(forum.primary == peer);
            }
            (!connected.contains(&peer), primaries, replicas, peer)
        };
        state.peers().map(|peer| load(peer.id)).collect()
    });
    // Replicas first by how many a peer has; the primary of the chosen ones by how many primaries.
    peers.sort_unstable_by_key(|(away, _, replicas, peer)| (*away, *replicas, *peer));
    peers.truncate(hub.config.replicas);
    peers.sort_unstable_by_key(|(away, primaries, replicas, peer)| (*away, *primaries, *replicas, *peer));
    peers.into_iter().map(|(.., peer)| peer).collect()
}

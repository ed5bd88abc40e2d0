//! What a hub's memory pays for a forum and for a peer. Prints it, and holds it to a bound.

#![cfg(target_os = "linux")]

use bytes::Bytes;
use loop_proto::v1::{self, command::Body, outcome::Kind};
use loop_raft_store::machine::{Bounds, HubState, apply_command};

const PEERS: u32 = 1_000;
const FORUMS: u32 = 10_000;

/// Resident memory of this process, bytes; of a page's size, 4 KB is taken, which larger ones only make smaller.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn apply(state: &mut HubState, number: u32, body: Body) {
    let request_id = Bytes::from([number.to_be_bytes(); 4].concat());
    let applied = apply_command(state, v1::Command { request_id, at_ms: 1, body: Some(body) });
    assert!(!matches!(applied.outcome.kind, Some(Kind::Rejection(_)) | None), "{:?}", applied.outcome);
}

fn trim(state: &mut HubState) {
    let through = state.newest();
    apply(state, 0, Body::TrimTasks(v1::TrimTasks { through, kept_through: through }));
}

#[test]
fn ten_thousand_forums_and_a_thousand_peers_fit_into_little_memory() {
    let mut state = HubState::new(Bounds::STANDARD);
    let start = resident();
    for peer in 1..=PEERS {
        apply(
            &mut state,
            peer,
            Body::RegisterPeer(v1::RegisterPeer {
                name: format!("machine {peer}"),
                secret_hash: Bytes::from([peer.to_be_bytes(); 8].concat()),
                owner: format!("owner {}", peer % 300),
                network: format!("network {}", peer % 100),
            }),
        );
    }
    let with_peers = resident();
    for forum in 0..FORUMS {
        let replicas = (0..3).map(|nth| 1 + (forum * 7 + nth * 331) % PEERS).collect();
        let key = Bytes::from([forum.to_be_bytes(); 4].concat());
        apply(&mut state, forum, Body::OpenForum(v1::OpenForum { key, replicas, ..Default::default() }));
        if forum % 100 == 0 {
            trim(&mut state);
        }
    }
    trim(&mut state);
    let with_forums = resident();
    // Each of a hundred forums is on the move, the rest of the log is gone.
    for forum in 0..100 {
        apply(
            &mut state,
            forum,
            Body::InvitePeer(v1::InvitePeer {
                forum_id: 178 + forum,
                target: 1 + (forum * 7 + 500) % PEERS,
                source: 1 + (forum * 7) % PEERS,
                replaces: 1 + (forum * 7) % PEERS,
                cause: v1::InvitationCause::Balance.into(),
            }),
        );
    }
    let per_peer = with_peers.saturating_sub(start) / u64::from(PEERS);
    let per_forum = with_forums.saturating_sub(with_peers) / u64::from(FORUMS);
    println!("{per_peer} bytes per peer, {per_forum} bytes per forum, {:?}", state.counts());
    assert!(per_peer < 2_048, "{per_peer} bytes per peer");
    assert!(per_forum < 2_048, "{per_forum} bytes per forum");
    state.check_invariants().unwrap();
}

//! How long the leader takes to plan where forums should be: at rest, and with a tenth of the peers lost.
//!
//! The aim is 100 ms for 10,000 forums on 1,000 peers; the leader plans once a second.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use loop_hub::placement::balance::{ForumRate, Load, PeerLoad, Policy, plan};
use loop_proto::{
    ids::PeerId,
    v1::{self, command::Body},
};
use loop_raft_store::machine::{Bounds, HubState, apply_command};

const PEERS: u32 = 1_000;
const FORUMS: u32 = 10_000;
/// Owners and networks that peers are of.
const OWNERS: u32 = 300;
const NETWORKS: u32 = 40;

fn apply(state: &mut HubState, number: u32, body: Body) {
    let request_id = Bytes::from([number.to_be_bytes(); 4].concat());
    apply_command(state, v1::Command { request_id, at_ms: 1, body: Some(body) });
}

/// Every forum on three peers, evenly.
fn founded() -> HubState {
    let mut state = HubState::new(Bounds::STANDARD);
    for peer in 0..PEERS {
        let register = v1::RegisterPeer {
            name: "peer".into(),
            secret_hash: Bytes::from([peer.to_be_bytes(); 8].concat()),
            owner: format!("owner {}", peer % OWNERS),
            network: format!("network {}", peer % NETWORKS),
        };
        apply(&mut state, peer, Body::RegisterPeer(register));
    }
    for forum in 0..FORUMS {
        let key = Bytes::from([forum.to_be_bytes(); 4].concat());
        let replicas = [0, 333, 666].map(|apart| (forum + apart) % PEERS + 1).to_vec();
        apply(
            &mut state,
            PEERS + forum,
            Body::OpenForum(v1::OpenForum { key, replicas, ..Default::default() }),
        );
    }
    assert_eq!(state.counts().forums, FORUMS as usize);
    state
}

fn load(state: &HubState, lost: impl Fn(PeerId) -> bool) -> Load {
    let peer = |id: PeerId| PeerLoad {
        absent_ms: lost(id).then_some(3_600_000),
        requests_per_minute: 600,
        ..PeerLoad::default()
    };
    let rate =
        |id: u32| ForumRate { tasks_per_minute: u64::from(id % 7), reads_per_minute: u64::from(id % 100) };
    Load {
        now_ms: 1_000_000,
        peers: state.peers().map(|known| (known.id, peer(known.id))).collect(),
        forums: state.forums().map(|forum| (forum.id, rate(forum.id.get()))).collect(),
        ..Load::default()
    }
}

fn plans(c: &mut Criterion) {
    let state = founded();
    let mut group = c.benchmark_group("plan of 10,000 forums on 1,000 peers");
    let at_rest = load(&state, |_| false);
    let policy = Policy::default();
    assert!(plan(&state, &at_rest, &policy).steps.is_empty());
    group.bench_function("at rest", |b| b.iter(|| plan(black_box(&state), black_box(&at_rest), &policy)));
    let tenth_lost = load(&state, |peer| peer.get() % 10 == 0);
    assert!(!plan(&state, &tenth_lost, &policy).steps.is_empty());
    group.bench_function("a tenth of the peers lost", |b| {
        b.iter(|| plan(black_box(&state), black_box(&tenth_lost), &policy))
    });
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);

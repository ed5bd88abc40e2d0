//! How fast a hub applies committed commands, and how long its snapshots take.
//!
//! Commands are decoded from bytes, as the log holds them. The state is in its steady form: full windows, rotating log.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use loop_proto::v1::{self, command::Body};
use loop_raft_store::machine::{Bounds, HubState, apply_bytes, apply_command, snapshot};
use prost::Message;

/// Write and answer pairs in one measured batch.
const PAIRS: u64 = 1_000;
/// Browsers that write.
const SESSIONS: u64 = 10_000;
/// A browser's request: URL, form and headers, as captured from real ones.
const REQUEST_BYTES: usize = 900;
/// One message's facts: text, HTML and the other columns.
const FACTS_BYTES: usize = 400;

fn command(request: u64, at_ms: u64, body: Body) -> v1::Command {
    let request_id = Bytes::from([request.to_be_bytes(), [7; 8]].concat());
    v1::Command { request_id, at_ms, body: Some(body) }
}

/// Three peers and `forums` forums, each held by all of them.
fn founded(forums: u32) -> HubState {
    let mut state = HubState::new(Bounds::STANDARD);
    for peer in 1..=3u8 {
        let secret_hash = Bytes::from(vec![peer; 32]);
        let register = v1::RegisterPeer { secret_hash, ..v1::RegisterPeer::default() };
        apply_command(&mut state, command(0, 1, Body::RegisterPeer(register)));
    }
    for forum in 0..forums {
        let key = Bytes::from([forum.to_be_bytes(); 4].concat());
        let open = v1::OpenForum { key, replicas: vec![1, 2, 3] };
        apply_command(&mut state, command(0, 1, Body::OpenForum(open)));
    }
    assert_eq!(state.counts().forums, forums as usize);
    state
}

/// Makes writes and their answers, each taking two records of a log that holds nothing else.
struct Writers {
    forums: u64,
    newest: u64,
    written: u64,
}

impl Writers {
    fn pair(&mut self) -> [Bytes; 2] {
        let (task_id, request) = (self.newest + 1, 2 * self.written + 1);
        let forum_id = 178 + (self.written % self.forums) as u32;
        let session_id = format!("session-{}", self.written % SESSIONS);
        self.newest += 2;
        self.written += 1;
        // 2,000 writes a second of log time: receipts are forgotten by count and by age.
        let at_ms = 1_000 + self.written / 2;
        let append = v1::AppendTask {
            forum_id,
            request: Bytes::from(vec![b'r'; REQUEST_BYTES]),
            session_id: session_id.clone(),
            creates_message: true,
            origin_hub: 1,
        };
        let session = v1::SessionRecord {
            id: session_id,
            user_id: Some("414".into()),
            data: Bytes::from(vec![b's'; 100]),
            ..v1::SessionRecord::default()
        };
        let answer = v1::AnswerTask {
            task_id,
            forum_id,
            peer_id: 1,
            epoch: 1,
            receipt: Some(v1::Receipt { status: 200, sid_json: Some("2867".into()), lid: Some("1".into()) }),
            forum_facts: Bytes::from(vec![b'f'; FACTS_BYTES]),
            directory_facts: Bytes::new(),
            sessions: vec![session],
        };
        [(request, Body::AppendTask(append)), (request + 1, Body::AnswerTask(answer))]
            .map(|(request, body)| Bytes::from(command(request, at_ms, body).encode_to_vec()))
    }
}

/// Every replica has followed so far: the log is trimmed to its budget, as in a running group.
fn keep(state: &mut HubState) {
    let kept_through = state.newest();
    let trim = v1::TrimTasks { through: 0, kept_through };
    apply_command(state, command(0, 1, Body::TrimTasks(trim)));
}

fn apply_pairs(state: &mut HubState, pairs: Vec<[Bytes; 2]>) {
    keep(state);
    for command in pairs.into_iter().flatten() {
        let applied = apply_bytes(state, command);
        assert!(!matches!(applied.outcome.kind, Some(v1::outcome::Kind::Rejection(_)) | None));
        black_box(applied.events);
    }
}

fn write_and_answer(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    group.throughput(Throughput::Elements(2 * PAIRS));
    for forums in [1, 1_000] {
        let mut state = founded(forums);
        let newest = state.newest();
        let mut writers = Writers { forums: forums.into(), newest, written: 0 };
        // Fill the windows: 200,000 receipts and most of the log's byte budget.
        for _ in 0..300 {
            let pairs = (0..PAIRS).map(|_| writers.pair()).collect();
            apply_pairs(&mut state, pairs);
        }
        group.bench_function(format!("write and answer, {forums} forums"), |b| {
            b.iter_batched(
                || (0..PAIRS).map(|_| writers.pair()).collect(),
                |pairs| apply_pairs(&mut state, pairs),
                BatchSize::PerIteration,
            );
        });
        // Apply stands still while the state is copied for a snapshot.
        group.bench_function(format!("copy of full windows, {forums} forums"), |b| {
            b.iter(|| black_box(state.clone()));
        });
        println!("{state:?}");
    }
    group.finish();
}

fn snapshots(c: &mut Criterion) {
    let state = founded(100_000);
    let bytes = snapshot::encode(&state);
    let mut group = c.benchmark_group("snapshot of 100,000 forums");
    group.sample_size(10).throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("copy", |b| b.iter(|| black_box(state.clone())));
    group.bench_function("encode", |b| b.iter(|| black_box(snapshot::encode(&state))));
    group.bench_function("decode", |b| b.iter(|| black_box(snapshot::decode(&bytes).is_ok())));
    group.finish();
}

criterion_group!(benches, write_and_answer, snapshots);
criterion_main!(benches);

//! How fast a hub applies committed commands, and how long its snapshots take.
//!
//! Commands are decoded from bytes, as the log holds them. The state is in its steady form: full windows, rotating log.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use loop_atomjump::{Call, Given, Row, Session, WriteView, execute};
use loop_proto::{
    ids::{ForumId, TaskId},
    v1::{self, command::Body},
};
use loop_raft_store::machine::{Bounds, HubState, apply_bytes, apply_command, snapshot};
use prost::Message;

/// Write and answer pairs in one measured batch.
const PAIRS: u64 = 1_000;
/// Browsers that write.
const SESSIONS: u64 = 10_000;

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
        let open = v1::OpenForum { key, replicas: vec![1, 2, 3], ..Default::default() };
        apply_command(&mut state, command(0, 1, Body::OpenForum(open)));
    }
    assert_eq!(state.counts().forums, forums as usize);
    state
}

/// Makes writes, and their answers as honest peers make them.
struct Writers {
    forums: u64,
    state: HubState,
    written: u64,
}

/// A forum in which nobody else has the writer's name, and nothing was said before.
struct Empty(v1::ForumStored);

impl WriteView for Empty {
    type Error = std::convert::Infallible;

    fn forum(&self) -> Option<&v1::ForumStored> {
        Some(&self.0)
    }

    fn is_subscriber(&self, _user: u32) -> bool {
        false
    }

    fn message(&self, _id: u32) -> Result<Option<std::sync::Arc<Row>>, Self::Error> {
        Ok(None)
    }

    fn authors_named(&self, _name: &str) -> Result<Vec<Option<u32>>, Self::Error> {
        Ok(Vec::new())
    }

    fn was_said(&self, _ip: &str, _text: &str, _since_s: u64, _except: u32) -> bool {
        false
    }
}

impl Writers {
    /// Applied to a state of its own first: the answer depends on the ids that the task is given.
    fn pair(&mut self) -> [Bytes; 2] {
        let number = 2 * self.written + 1;
        let forum_id = 178 + (self.written % self.forums) as u32;
        let session_id = format!("session-{}", self.written % SESSIONS);
        self.written += 1;
        // 2,000 writes a second of log time: receipts are forgotten by count and by age.
        let at_ms = 1_000 + self.written / 2;
        let request = request(&session_id);
        let append = v1::AppendTask {
            forum_id,
            request: request.encode_to_vec().into(),
            session_id,
            creates_message: true,
            named_message: 0,
        };
        let append = Bytes::from(command(number, at_ms, Body::AppendTask(append)).encode_to_vec());
        apply_bytes(&mut self.state, append.clone()).expect("a command");
        let newest = self.state.newest();
        let record = self.state.open_task(TaskId::new(newest).unwrap()).unwrap().clone();
        let task = record.task().unwrap();
        let forum = ForumId::new(forum_id).unwrap();
        let given = Given { message_id: task.message_id, open_message: None };
        let call = Call::read(&request, Some(forum), given, record.at).unwrap();
        let view = Empty(v1::ForumStored { id: forum_id, ..Default::default() });
        let executed = execute(&call, Session::of(task.session.as_deref()), &view).unwrap();
        let answer = v1::AnswerTask {
            task_id: newest,
            forum_id,
            peer_id: 1,
            epoch: 1,
            receipt: Some(executed.receipt),
            facts: v1::Facts { facts: executed.facts }.encode_to_vec().into(),
            session: executed.session,
        };
        let answer = Bytes::from(command(number + 1, at_ms, Body::AnswerTask(answer)).encode_to_vec());
        apply_bytes(&mut self.state, answer.clone()).expect("a command");
        keep(&mut self.state);
        [append, answer]
    }
}

/// A commit as AtomJump's front end sends it.
fn request(session_id: &str) -> v1::ClientRequest {
    let query = format!(
        "callback=jQuery111001906744773801886_1583350777476&action=ssshout&lat=&lon=&whisper_to=&whisper_site=\
         &your_name=Ann&passcode=ajps_test&remoteapp=true&clientremoteurl=https%3A%2F%2Ftest.atomjump.com%2F\
         &units=mi&short_code=&public_to=&volume=1.00&ses={session_id}&cs=21633478&typing=off&msg_id=1\
         &message=A+sentence+of+usual+length%2C+with+a+link+to+https%3A%2F%2Fatomjump.com%2F+in+it.&_=1583350777477"
    );
    v1::ClientRequest {
        endpoint: v1::Endpoint::Shout.into(),
        method: "GET".into(),
        query: query.into(),
        session_id: session_id.to_owned(),
        base_url: "https://atomjump.com/api".into(),
        ..Default::default()
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
        let applied = apply_bytes(state, command).expect("a command");
        assert!(!matches!(applied.outcome.kind, Some(v1::outcome::Kind::Rejection(_)) | None));
        black_box(applied.events);
    }
}

fn write_and_answer(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    group.throughput(Throughput::Elements(2 * PAIRS));
    for forums in [1, 1_000] {
        let mut state = founded(forums);
        let mut writers = Writers { forums: forums.into(), state: state.clone(), written: 0 };
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

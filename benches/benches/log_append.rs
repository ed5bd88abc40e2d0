//! Durable appends to the Raft log: one batch, one wait until it is on disk. Both engines, 512-byte commands.
//!
//! The log is purged as it grows, so what is measured is the steady state of a hub, not an ever larger file.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use loop_raft_store::{
    log_store::{self, Engine, LogStore, LogStoreConfig},
    raft_types::{Entry, HubRaft, LeaderId, LogId, Proposal},
};
use openraft::{
    EntryPayload,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

const COMMAND_BYTES: usize = 512;
/// Entries kept behind the newest, and how many more gather before the older ones are purged.
const KEPT: u64 = 20_000;
const PURGED_AT_ONCE: u64 = 65_536;

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 1 }, index)
}

fn entries(first: u64, count: u64) -> Vec<Entry> {
    let command = Bytes::from(vec![0x5a; COMMAND_BYTES]);
    (first..first + count)
        .map(|index| Entry {
            log_id: log_id(index),
            payload: EntryPayload::Normal(Proposal(command.clone())),
        })
        .collect()
}

async fn append(store: &mut LogStore, batch: Vec<Entry>) {
    let (done, durable) = HubRaft::oneshot();
    store.append(batch, IOFlushed::signal(done)).await.expect("appended");
    durable.await.expect("answered").expect("durable");
}

fn log_append(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for engine in [Engine::Sled, Engine::Segment] {
        let mut group = criterion.benchmark_group(format!("log_append/{engine:?}").to_lowercase());
        for batch in [1, 16, 128, 1024] {
            let temp = tempfile::tempdir().expect("a directory");
            let mut store = log_store::open(LogStoreConfig::new(temp.path(), engine)).expect("a new log");
            let mut purger = store.clone();
            let (mut next, mut purged) = (0, 0);
            group.throughput(Throughput::Elements(batch));
            group.bench_function(batch.to_string(), |bencher| {
                bencher.iter_batched(
                    || {
                        if next - purged > KEPT + PURGED_AT_ONCE {
                            purged = next - KEPT;
                            runtime.block_on(purger.purge(log_id(purged - 1))).expect("purged");
                        }
                        next += batch;
                        entries(next - batch, batch)
                    },
                    |batch| runtime.block_on(append(&mut store, batch)),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, log_append);
criterion_main!(benches);

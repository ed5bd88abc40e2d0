//! The log store against a plain model, over restarts, on both engines.

use std::path::Path;

use loop_raft_store::{
    log_store::{Engine, LogError, LogStore},
    raft_types::Entry,
};
use openraft::{LogState, RaftLogReader, storage::RaftLogStorage};
use proptest::prelude::*;

use crate::support::{Change, ENGINES, Model, append, durable, entry, log_id, open, read};

#[derive(Clone, Debug)]
enum Step {
    Change(Change),
    Reopen,
    Read { start: u64, len: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![6 => 0..700usize, 1 => 3_950..4_050usize, 1 => 8_000..13_000usize];
    let change = prop_oneof![
        6 => prop::collection::vec(size, 1..12).prop_map(|sizes| Change::Append { sizes }),
        2 => (1..30u64).prop_map(|back| Change::Truncate { back }),
        2 => (1..40u64).prop_map(|count| Change::Purge { count }),
        1 => Just(Change::Vote),
    ];
    prop_oneof![
        8 => change.prop_map(Step::Change),
        2 => Just(Step::Reopen),
        2 => (0..80u64, 0..40u64).prop_map(|(start, len)| Step::Read { start, len }),
    ]
}

async fn change(store: &mut LogStore, model: &mut Model, change: &Change) {
    match change {
        Change::Append { sizes } => append(store, model.new_entries(sizes)).await.unwrap(),
        Change::Truncate { back } => store.truncate_after(model.last_before(*back)).await.unwrap(),
        Change::Purge { count } => store.purge(model.purge_id(*count)).await.unwrap(),
        Change::Vote => store.save_vote(&model.next_vote()).await.unwrap(),
    }
    model.take(change);
}

async fn take(mut store: LogStore, model: &mut Model, step: Step, dir: &Path, engine: Engine) -> LogStore {
    match step {
        Step::Change(next) => change(&mut store, model, &next).await,
        Step::Reopen => {
            drop(store);
            store = open(dir, engine).unwrap();
            assert!(Model::of(&store, model.term).await.unwrap() == *model, "after reopening");
        }
        Step::Read { start, len } => {
            let (start, end) = (model.first() + start, model.first() + start + len);
            let inside = |entry: &&Entry| (start..end).contains(&entry.log_id.index());
            let expected: Vec<Entry> = model.entries.iter().filter(inside).cloned().collect();
            assert!(read(&store, start, end).await.unwrap() == expected, "{start}..{end}");
            let limited = store.limited_get_log_entries(start, end).await.unwrap();
            assert!(limited == expected[..limited.len()] && limited.is_empty() == expected.is_empty());
        }
    }
    let state = store.get_log_state().await.unwrap();
    assert_eq!(state, LogState { last_purged_log_id: model.purged, last_log_id: model.last() });
    assert_eq!(store.read_vote().await.unwrap(), model.vote);
    store
}

fn agrees_with_the_model(engine: Engine, steps: Vec<Step>) {
    let temp = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut store = open(temp.path(), engine).unwrap();
        let mut model = Model::new();
        for step in steps.into_iter().chain([Step::Reopen]) {
            store = take(store, &mut model, step, temp.path(), engine).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_segment_log_does_what_a_vector_would(steps in prop::collection::vec(step(), 1..40)) {
        agrees_with_the_model(Engine::Segment, steps);
    }

    #[test]
    fn the_sled_log_does_what_a_vector_would(steps in prop::collection::vec(step(), 1..40)) {
        agrees_with_the_model(Engine::Sled, steps);
    }
}

/// Goal: one sync serves all who wait. Method: queue many appends without waiting, then count syncs.
#[tokio::test]
async fn appends_that_queue_up_share_a_sync() {
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        let mut store = open(temp.path(), engine).unwrap();
        let mut waiting = Vec::new();
        for index in 0..500 {
            let (callback, durable) = durable();
            store.append([entry(1, index, 512)], callback).await.unwrap();
            waiting.push(durable);
        }
        for durable in waiting {
            durable.await.unwrap();
        }
        let metrics = store.metrics();
        assert_eq!(metrics.entries, 500);
        assert!(metrics.bytes > 500 * 512);
        assert!(metrics.fsyncs < 250, "{engine:?}: {metrics:?}");
    }
}

/// Goal: a purge of whole trees and files, at indexes a long-lived node reaches.
#[tokio::test]
async fn a_log_far_along_is_purged_truncated_and_found_again() {
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        let mut store = open(temp.path(), engine).unwrap();
        // Across the border of sled's trees, at 65,536 and at 131,072.
        store.purge(log_id(1, 64_999)).await.unwrap();
        for first in (65_000..132_000).step_by(1000) {
            let entries = (first..first + 1000).map(|index| entry(2, index, 40)).collect();
            append(&mut store, entries).await.unwrap();
        }
        store.purge(log_id(2, 70_000)).await.unwrap();
        store.truncate_after(Some(log_id(2, 131_010))).await.unwrap();
        append(&mut store, vec![entry(3, 131_011, 40)]).await.unwrap();
        store.truncate_after(Some(log_id(2, 100_000))).await.unwrap();
        append(&mut store, (100_001..100_100).map(|index| entry(4, index, 40)).collect()).await.unwrap();
        for reopened in [false, true] {
            if reopened {
                drop(store);
                store = open(temp.path(), engine).unwrap();
            }
            let all = read(&store, 0, u64::MAX).await.unwrap();
            assert_eq!(all.len(), 30_099, "{engine:?}");
            assert_eq!(all[0].log_id, log_id(2, 70_001));
            assert_eq!(all[29_999].log_id, log_id(2, 100_000));
            assert_eq!(all[30_000].log_id, log_id(4, 100_001));
        }
        if engine == Engine::Segment {
            let bytes: u64 = std::fs::read_dir(temp.path())
                .unwrap()
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum();
            assert!(bytes < 6 << 20, "purged segments are gone, {bytes} bytes are left");
        }
    }
}

#[tokio::test]
async fn an_entry_larger_than_queue_and_segment_passes() {
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        let config = loop_raft_store::log_store::LogStoreConfig {
            queue_bytes: 1 << 20,
            ..crate::support::config(temp.path(), engine)
        };
        let mut store = loop_raft_store::log_store::open(config.clone()).unwrap();
        let entries: Vec<Entry> = (0..4).map(|index| entry(1, index, 3 << 20)).collect();
        for entry in &entries {
            append(&mut store, vec![entry.clone()]).await.unwrap();
        }
        drop(store);
        let mut store = loop_raft_store::log_store::open(config).unwrap();
        assert!(read(&store, 0, 9).await.unwrap() == entries);
        let limited = store.limited_get_log_entries(1, 9).await.unwrap();
        assert!(limited == entries[1..2], "a read is bounded by bytes, and is never empty");
    }
}

#[tokio::test]
async fn a_hole_is_never_made() {
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        let mut store = open(temp.path(), engine).unwrap();
        append(&mut store, vec![entry(1, 0, 10), entry(1, 1, 10)]).await.unwrap();
        assert!(append(&mut store, vec![entry(1, 3, 10)]).await.is_err());
        assert!(append(&mut store, vec![entry(1, 1, 10)]).await.is_err());
        append(&mut store, vec![entry(1, 2, 10)]).await.unwrap();
        assert_eq!(read(&store, 0, 9).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn committed_rides_with_the_next_sync() {
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        let mut store = open(temp.path(), engine).unwrap();
        append(&mut store, vec![entry(1, 0, 10), entry(1, 1, 10)]).await.unwrap();
        let before = store.metrics().fsyncs;
        store.save_committed(Some(log_id(1, 0))).await.unwrap();
        append(&mut store, vec![entry(1, 2, 10)]).await.unwrap();
        assert_eq!(store.metrics().fsyncs, before + 1);
        drop(store);
        let mut store = open(temp.path(), engine).unwrap();
        assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 0)));
    }
}

#[test]
fn a_directory_belongs_to_one_store_and_one_engine() {
    for (engine, other) in [(Engine::Sled, Engine::Segment), (Engine::Segment, Engine::Sled)] {
        let temp = tempfile::tempdir().unwrap();
        let store = open(temp.path(), engine).unwrap();
        assert!(matches!(open(temp.path(), engine), Err(LogError::InUse { .. })));
        drop(store);
        assert!(matches!(open(temp.path(), other), Err(LogError::OtherEngine { .. })));
        open(temp.path(), engine).unwrap();
    }
}

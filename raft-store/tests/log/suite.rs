//! openraft's own tests of a storage, on both engines with the real state machine.

use std::sync::Arc;

use loop_raft_store::{
    adapter::{self, ApplySink, StateMachine},
    log_store::{Engine, LogStore},
    machine::{Bounds, Event, HubState},
    raft_types::HubRaft,
};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt,
};
use tempfile::TempDir;

struct Nobody;

impl ApplySink for Nobody {
    fn applied(&self, _events: &[Event], _applied_index: u64) {}
    fn replaced(&self, _applied_index: u64) {}
}

struct Builder(Engine);

impl StoreBuilder<HubRaft, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<HubRaft>> {
        let temp = tempfile::tempdir().map_err(error)?;
        let log = crate::support::open(&temp.path().join("log"), self.0).map_err(error)?;
        let state = HubState::new(Bounds::STANDARD);
        let (machine, _) =
            adapter::open(&temp.path().join("snapshots"), Arc::new(Nobody), state).map_err(error)?;
        Ok((temp, log, machine))
    }
}

fn error<E: std::error::Error + 'static>(error: E) -> StorageError<HubRaft> {
    StorageError::read(HubRaft::err_from_error(&error))
}

// The suite panics or errs where a rule is broken that openraft's core relies on.

#[test]
fn sled_keeps_openrafts_rules() {
    HubRaft::run(async { Suite::test_all(Builder(Engine::Sled)).await.unwrap() });
}

#[test]
fn segment_keeps_openrafts_rules() {
    HubRaft::run(async { Suite::test_all(Builder(Engine::Segment)).await.unwrap() });
}

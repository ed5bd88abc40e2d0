//! A snapshot of a hub that kept sessions as peers wrote them, written by that version.

use loop_raft_store::machine::{Bounds, HubState, snapshot};

const VERSION_1: &[u8] = include_bytes!("../fixtures/snapshot-v1.bin");

#[test]
fn an_older_snapshot_is_refused_with_what_can_be_read() {
    let refused = snapshot::decode(VERSION_1).unwrap_err();
    assert_eq!(refused, snapshot::BadSnapshot::Version { found: 1 });
    assert_eq!(refused.to_string(), "snapshot version 1, this hub reads versions 3 to 4");
    let mut newer = snapshot::encode(&HubState::new(Bounds::STANDARD));
    assert_eq!(newer[8..12], snapshot::VERSION.to_le_bytes());
    newer[8] += 1;
    assert_eq!(snapshot::decode(&newer).unwrap_err(), snapshot::BadSnapshot::Version { found: 5 });
}

/// Version 4 added the manifest of published files; a state without any is the same but for the number.
#[test]
fn a_snapshot_from_before_published_files_is_read_as_one_without_any() {
    let state = HubState::new(Bounds::STANDARD);
    let mut older = snapshot::encode(&state);
    older[8] = 3;
    let body = older.len() - 4;
    let crc = crc32fast::hash(&older[..body]);
    older[body..].copy_from_slice(&crc.to_le_bytes());
    assert!(snapshot::decode(&older).unwrap() == state);
}

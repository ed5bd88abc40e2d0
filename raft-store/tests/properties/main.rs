//! What holds for every history of commands, and for every string of bytes.

mod model;
mod ops;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use loop_proto::{
    ids::{ForumEpoch, ForumId},
    v1::{self, outcome::Kind},
};
use loop_raft_store::machine::{
    Applied, Bounds, Event, HubState, RecordBody, apply_bytes, apply_command, snapshot,
};
use ops::{Step, View};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use prost::Message;

/// Runs a history; `look` sees each command, what it came to, and the state after it.
fn run(
    bounds: Bounds,
    steps: &[Step],
    mut look: impl FnMut(&v1::Command, &Applied, &HubState),
) -> (HubState, Vec<v1::Command>) {
    let mut state = HubState::new(bounds);
    let mut clock_ms = 1_000u64;
    let mut commands = Vec::new();
    for step in steps {
        clock_ms = clock_ms.saturating_add_signed(step.clock_ms.into());
        let command = View { state: &state, clock_ms }.command(&step.op);
        let applied = apply_command(&mut state, command.clone());
        look(&command, &applied, &state);
        commands.push(command);
    }
    (state, commands)
}

fn kind(applied: &Applied) -> &Kind {
    applied.outcome.kind.as_ref().expect("every command has an outcome")
}

proptest! {
    #[test]
    fn the_same_commands_make_the_same_state_bytes_and_events(steps in ops::history()) {
        let mut first_events = Vec::new();
        let (state, commands) = run(ops::tight(), &steps, |_, applied, _| {
            first_events.push((applied.outcome.clone(), applied.events.clone()));
        });
        let mut again = HubState::new(ops::tight());
        for (command, (outcome, events)) in commands.iter().zip(&first_events) {
            let applied = apply_bytes(&mut again, Bytes::from(command.encode_to_vec()));
            prop_assert_eq!(&applied.outcome, outcome);
            prop_assert_eq!(&applied.events, events);
        }
        prop_assert!(again == state, "{:?} became {:?}", state, again);
        prop_assert!(snapshot::encode(&again) == snapshot::encode(&state));
    }

    #[test]
    fn a_snapshot_taken_anywhere_goes_on_like_the_state_it_was_taken_of(
        steps in ops::history(),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(steps.len());
        let mut taken = None;
        let mut count = 0;
        let (state, commands) = run(ops::tight(), &steps, |_, _, state| {
            if count == at {
                taken = Some((state.clone(), snapshot::encode(state)));
            }
            count += 1;
        });
        let (of, bytes) = taken.expect("the index lies inside the history");
        let mut read = snapshot::decode(&bytes).unwrap();
        prop_assert!(read == of, "{:?} reads as {:?}", of, read);
        prop_assert!(snapshot::encode(&read) == bytes);
        for command in &commands[at + 1..] {
            apply_command(&mut read, command.clone());
        }
        prop_assert!(read == state, "{:?} became {:?}", state, read);
    }

    #[test]
    fn the_state_obeys_its_invariants_and_refusals_change_nothing_but_time(steps in ops::history()) {
        let mut before = HubState::new(ops::tight());
        run(ops::tight(), &steps, |_, applied, state| {
            state.check_invariants().unwrap();
            assert!(state.now() >= before.now());
            if matches!(kind(applied), Kind::Rejection(_)) {
                let trims_only = |event: &Event| matches!(event, Event::Trimmed { .. });
                assert!(applied.events.iter().all(trims_only));
                assert_eq!(state.ids(), before.ids());
            }
            before = state.clone();
        });
    }

    #[test]
    fn records_are_dense_ids_rise_and_each_task_is_answered_once(steps in ops::history()) {
        let (mut newest, mut message, mut trimmed) = (0, 0, 0);
        let (mut tasks, mut requests, mut sessions) = (BTreeSet::new(), BTreeSet::new(), 0);
        let (state, _) = run(ops::tight(), &steps, |_, applied, state| {
            for event in &applied.events {
                match event {
                    Event::RecordAppended(record) => {
                        assert_eq!(record.id.get(), newest + 1);
                        newest = record.id.get();
                        let read = v1::Record::decode(record.encoded.clone()).unwrap();
                        assert_eq!((read.id, read.at_ms), (newest, record.at.0));
                        match &record.body {
                            RecordBody::Task(task) => {
                                assert!(task.message_id.is_none_or(|id| id.get() > message));
                                message = task.message_id.map_or(message, |id| id.get());
                                tasks.insert(newest);
                                requests.insert(task.request_id);
                            }
                            RecordBody::Facts(facts) => {
                                let closed = facts.task.is_none_or(|task| tasks.remove(&task.get()));
                                assert!(closed, "closed twice, or never open");
                            }
                            RecordBody::Assignment(_) => {}
                        }
                    }
                    Event::Trimmed { through } => {
                        assert!(*through > trimmed && *through <= newest);
                        trimmed = *through;
                    }
                    Event::SessionStored(_) => sessions += 1,
                    Event::ForumOpened(id) => assert!(state.forum(*id).is_some()),
                    Event::PeerRegistered(id) => assert!(state.peer(*id).is_some()),
                }
            }
            assert_eq!((state.newest(), state.trimmed_through()), (newest, trimmed));
        });
        let open: BTreeSet<u64> = state.open_tasks().map(|record| record.id.get()).collect();
        prop_assert_eq!(open, tasks);
        prop_assert!(state.counts().sessions <= sessions);
    }

    #[test]
    fn epochs_only_rise_and_the_primary_is_always_a_replica(steps in ops::history()) {
        let mut epochs: BTreeMap<ForumId, ForumEpoch> = BTreeMap::new();
        let mut answered_under: BTreeMap<ForumId, ForumEpoch> = BTreeMap::new();
        run(ops::tight(), &steps, |_, applied, state| {
            for event in &applied.events {
                let Event::RecordAppended(record) = event else { continue };
                let Some(forum) = record.forum.and_then(|id| state.forum(id)) else { continue };
                match &record.body {
                    RecordBody::Assignment(held) => {
                        let before = epochs.insert(forum.id, held.epoch).unwrap_or_default();
                        assert_eq!(held.epoch.0, before.0 + 1);
                        assert!(held.replicas.contains(&held.primary));
                        assert_eq!(*held, forum.assignment());
                    }
                    RecordBody::Facts(facts) => {
                        assert_eq!(facts.epoch, epochs[&forum.id]);
                        let before = answered_under.insert(forum.id, facts.epoch).unwrap_or_default();
                        assert!(facts.epoch >= before);
                        assert!(facts.task.is_none() || facts.peer == forum.primary);
                    }
                    RecordBody::Task(_) => {}
                }
            }
        });
    }

    #[test]
    fn ids_receipts_and_refusals_are_those_of_a_model_that_forgets_nothing(steps in ops::history()) {
        let mut model = model::Model::new();
        let (state, _) = run(ops::wide(), &steps, |command, applied, state| {
            model.follow(command, kind(applied));
            assert_eq!(state.newest(), model.records());
        });
        let open: Vec<u64> = state.open_tasks().map(|record| record.id.get()).collect();
        prop_assert_eq!(open, model.open());
        for (id, version) in model.sessions() {
            prop_assert_eq!(state.session(id).map(|session| session.version), Some(version));
        }
    }

    #[test]
    fn changed_bytes_of_a_snapshot_are_refused_or_mean_a_sound_state(
        steps in ops::history(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (state, _) = run(ops::tight(), &steps, |_, _, _| {});
        let mut bytes = snapshot::encode(&state);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(read) = snapshot::decode(&bytes) {
            prop_assert!(read == state, "a changed byte got past the checksum");
        }
        // Whoever can write snapshots can write checksums.
        if let Some(body) = bytes.len().checked_sub(4) {
            let crc = crc32fast::hash(&bytes[..body]);
            bytes[body..].copy_from_slice(&crc.to_le_bytes());
        }
        if let Ok(mut read) = snapshot::decode(&bytes) {
            read.check_invariants().unwrap();
            for step in &steps {
                let command = View { state: &read, clock_ms: 0 }.command(&step.op);
                apply_command(&mut read, command);
            }
            let _ = snapshot::encode(&read);
        }
    }

    #[test]
    fn any_bytes_are_refused_as_a_snapshot(bytes: Vec<u8>) {
        prop_assert!(snapshot::decode(&bytes).is_err());
        let framed = [&b"LOOPHUB\0\x01\0\0\0"[..], &bytes].concat();
        let framed = [&framed[..], &crc32fast::hash(&framed).to_le_bytes()].concat();
        if let Ok(state) = snapshot::decode(&framed) {
            state.check_invariants().unwrap();
        }
    }

    #[test]
    fn any_bytes_are_a_command_that_is_applied_or_refused(
        bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..8),
        steps in ops::history(),
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        let (mut state, commands) = run(ops::tight(), &steps, |_, _, _| {});
        for bytes in bytes {
            apply_bytes(&mut state, Bytes::from(bytes));
        }
        for command in commands {
            let mut bytes = command.encode_to_vec();
            let at = change.0.index(bytes.len());
            bytes[at] = change.1;
            prop_assert!(apply_bytes(&mut state, Bytes::from(bytes)).outcome.kind.is_some());
            state.check_invariants().unwrap();
        }
    }
}

/// Goal: the properties above are about something. Method: over many histories, see every outcome and every refusal
/// a readable command can meet, and something lapse and be trimmed.
#[test]
fn histories_reach_every_outcome_and_refusal() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let steps = ops::history().new_tree(&mut runner).unwrap().current();
        let mut sessions = 0;
        run(ops::tight(), &steps, |_, applied, state| {
            seen.insert(match kind(applied) {
                Kind::Rejection(no) => no.code().as_str_name(),
                Kind::ForumOpened(_) => "forum opened",
                Kind::TaskAppended(appended) if appended.duplicate => "task known",
                Kind::TaskAppended(_) => "task appended",
                Kind::TaskAnswered(_) => "task answered",
                Kind::FactsStored(_) => "facts stored",
                Kind::PeerRegistered(_) => "peer registered",
                Kind::UserIdsLeased(_) => "user ids leased",
                Kind::PrimaryMoved(_) => "primary moved",
                Kind::TasksTrimmed(_) => "tasks trimmed",
            });
            if state.counts().sessions < sessions {
                seen.insert("session lapsed");
            }
            sessions = state.counts().sessions;
        });
    }
    let codes = (1..=13).filter_map(|code| v1::RejectionCode::try_from(code).ok());
    let mut expected: BTreeSet<&str> = codes.map(|code| code.as_str_name()).collect();
    expected.extend(["forum opened", "task known", "task appended", "task answered", "facts stored"]);
    expected.extend([
        "peer registered",
        "user ids leased",
        "primary moved",
        "tasks trimmed",
        "session lapsed",
    ]);
    assert_eq!(seen, expected);
}

#[test]
fn an_older_or_newer_layout_is_named() {
    let mut bytes = snapshot::encode(&HubState::new(Bounds::STANDARD));
    bytes[8] = 7;
    let refused = snapshot::decode(&bytes).unwrap_err();
    assert_eq!(refused.to_string(), "snapshot version 7, this hub reads version 1");
    assert_eq!(snapshot::decode(b"LOOP").unwrap_err(), snapshot::BadSnapshot::Foreign);
}

//! What holds for every history of commands, and for every string of bytes.

#[path = "../executor/mod.rs"]
mod executor;
mod model;
mod ops;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use executor::Copies;
use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, TaskId},
    v1::{self, command::Body, fact::Kind as FactKind, outcome::Kind},
};
use loop_raft_store::machine::{
    Applied, Assignment, Bounds, Event, HubState, InvitationStatus, JoinStage, NextIds, Record, RecordBody,
    apply_bytes, apply_command, snapshot,
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
    let (mut state, mut copies) = (HubState::new(bounds), Copies::default());
    let mut clock_ms = 1_000u64;
    let mut commands = Vec::new();
    for step in steps {
        clock_ms = clock_ms.saturating_add_signed(step.clock_ms.into());
        let command = View { state: &state, copies: &copies, clock_ms }.command(&step.op);
        let applied = apply_command(&mut state, command.clone());
        records(&applied).for_each(|record| copies.apply(record));
        look(&command, &applied, &state);
        commands.push(command);
    }
    (state, commands)
}

fn kind(applied: &Applied) -> &Kind {
    applied.outcome.kind.as_ref().expect("every command has an outcome")
}

fn records(applied: &Applied) -> impl Iterator<Item = &Record> {
    applied.events.iter().filter_map(|event| match event {
        Event::RecordAppended(record) => Some(record.as_ref()),
        _ => None,
    })
}

/// The one row that a record of the hubs themselves brings.
fn row_of_hubs(record: &Record) -> Option<FactKind> {
    let body = record.facts().filter(|facts| facts.peer.is_none())?;
    let [fact] = <[v1::Fact; 1]>::try_from(v1::Facts::decode(body.facts.clone()).unwrap().facts).unwrap();
    Some(fact.kind.unwrap())
}

/// What may become of a forum's replicas in one step. A dumb reading of the records alone, as a peer has them.
fn lawful_step(before: Option<&Assignment>, now: &Assignment, record: TaskId) {
    assert!(now.replicas.contains(&now.primary), "the primary serves");
    let roles = now.replicas.iter().chain(&now.draining).copied();
    let all: Vec<PeerId> = roles.chain(now.joining.iter().map(|joining| joining.peer)).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "one peer in two roles");
    let Some(before) = before else {
        assert_eq!((now.epoch, now.joining.len(), now.draining.len()), (ForumEpoch(1), 0, 0));
        return;
    };
    assert!(now.epoch == before.epoch || now.epoch.0 == before.epoch.0 + 1);
    assert!(now.primary == before.primary || now.epoch > before.epoch, "a new primary without a new epoch");
    let joined = |peer| before.joining.iter().find(move |joining| joining.peer == peer);
    for peer in now.replicas.iter().filter(|peer| !before.replicas.contains(peer)) {
        let caught_up = joined(*peer).is_some_and(|joining| joining.stage == JoinStage::CatchingUp);
        let taken_back = before.draining.contains(peer);
        assert!(caught_up || taken_back, "{peer} serves out of turn");
    }
    for peer in now.draining.iter().filter(|peer| !before.draining.contains(peer)) {
        assert!(before.replicas.contains(peer), "{peer} drains and did not serve");
    }
    for joining in &now.joining {
        match joined(joining.peer).filter(|known| known.invitation == joining.invitation) {
            Some(known) => {
                assert!(joining.stage as u8 >= known.stage as u8 && known.source == joining.source)
            }
            None => assert_eq!((joining.invitation, joining.stage), (record, JoinStage::Invited)),
        }
        assert!(!before.draining.contains(&joining.peer), "{} drains and is invited", joining.peer);
    }
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
            let applied = apply_bytes(&mut again, Bytes::from(command.encode_to_vec())).unwrap();
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
            assert!(state.now() >= before.now() && state.kept_through() >= before.kept_through());
            if matches!(kind(applied), Kind::Rejection(_)) {
                // Time trims, and lets go of what was abandoned.
                let is_time = |event: &Event| matches!(event, Event::Trimmed { .. } | Event::RecordAppended(_));
                assert!(applied.events.iter().all(is_time));
                let removed = |record| matches!(row_of_hubs(record), Some(FactKind::MessageRemoved(_)));
                assert!(records(applied).all(removed));
                let task = before.ids().task + records(applied).count() as u64;
                assert_eq!(state.ids(), NextIds { task, ..before.ids() });
            }
            before = state.clone();
        });
    }

    #[test]
    fn records_are_dense_ids_rise_and_each_task_is_answered_once(steps in ops::history()) {
        let (mut newest, mut message, mut trimmed) = (0, 0, 0);
        let (mut tasks, mut requests, mut users) = (BTreeSet::new(), BTreeSet::new(), 0);
        let (state, _) = run(ops::tight(), &steps, |command, applied, state| {
            // What the budget takes by itself is what every forum has on disk somewhere.
            let may_go = match command.body.as_ref() {
                Some(Body::TrimTasks(trim)) => trim.through.max(state.kept_through()),
                _ => state.kept_through(),
            };
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
                                if let Some(FactKind::UserStored(user)) = row_of_hubs(record) {
                                    assert_eq!(user.id, 414 + users, "users are given out in order");
                                    users += 1;
                                }
                            }
                            RecordBody::Assignment(_) | RecordBody::Audit => {}
                            RecordBody::Closed { forum, .. } => assert!(state.was_closed(*forum)),
                        }
                    }
                    Event::Trimmed { through } => {
                        assert!(*through > trimmed && *through <= newest && *through <= may_go);
                        trimmed = *through;
                    }
                    Event::ForumOpened(id) => assert!(state.forum(*id).is_some()),
                    Event::InvitationChanged(id) => assert!(id.get() <= newest, "of a record that there is"),
                    Event::ForumClosed(id) => {
                        assert!(state.was_closed(*id) && state.forums().all(|forum| forum.id != *id));
                        let dropped = |task: &u64| TaskId::new(*task).is_some_and(|id| state.open_task(id).is_none());
                        tasks.retain(|task| !dropped(task));
                    }
                    Event::PeerRegistered(id) | Event::PeerStateChanged(id) => {
                        assert!(state.peer(*id).is_some());
                    }
                    Event::ReplicasChanged { forum, left } => {
                        let forum = state.forum(*forum).unwrap();
                        assert!(left.iter().all(|peer| forum.replica(*peer).is_none()));
                    }
                }
            }
            assert_eq!((state.newest(), state.trimmed_through()), (newest, trimmed));
        });
        let open: BTreeSet<u64> = state.open_tasks().map(|record| record.id.get()).collect();
        prop_assert_eq!(open, tasks);
        prop_assert!(state.counts().sessions <= users as usize);
        prop_assert_eq!(state.ids().user, u64::from(414 + users));
    }

    #[test]
    fn a_forum_is_held_as_its_newest_assignment_says_and_answers_come_from_who_serves(steps in ops::history()) {
        let mut held: BTreeMap<ForumId, Assignment> = BTreeMap::new();
        let mut answered_under: BTreeMap<ForumId, ForumEpoch> = BTreeMap::new();
        run(ops::tight(), &steps, |_, applied, state| {
            for event in &applied.events {
                let Event::RecordAppended(record) = event else { continue };
                let Some(forum) = record.forum.and_then(|id| state.forum(id)) else { continue };
                match &record.body {
                    RecordBody::Assignment(now) => {
                        let before = held.insert(forum.id, now.clone());
                        lawful_step(before.as_ref(), now, record.id);
                        assert_eq!(*now, forum.assignment());
                    }
                    RecordBody::Facts(facts) => {
                        let held = &held[&forum.id];
                        assert_eq!(facts.epoch, held.epoch);
                        let before = answered_under.insert(forum.id, facts.epoch).unwrap_or_default();
                        assert!(facts.epoch >= before);
                        let is_answer = facts.peer == Some(held.primary) && facts.task.is_some();
                        assert!(is_answer || facts.peer.is_none() && facts.task.is_none());
                    }
                    RecordBody::Task(_) | RecordBody::Audit | RecordBody::Closed { .. } => {}
                }
            }
            for forum in state.forums() {
                assert_eq!(held[&forum.id], forum.assignment());
            }
        });
    }

    /// So that no forum is closed for being empty while anybody has a message of it.
    #[test]
    fn a_forum_is_empty_exactly_while_no_copy_has_a_message_of_it_and_no_task_is_open(steps in ops::history()) {
        let mut copies = Copies::default();
        run(ops::tight(), &steps, |command, applied, state| {
            let had_messages = |forum| copies.has_messages(forum);
            if let (Some(Body::CloseForum(v1::CloseForum { forum_id, forced: false })), Kind::Done(_)) =
                (command.body.as_ref(), kind(applied))
            {
                assert!(!had_messages(*forum_id), "f{forum_id} was closed with messages");
            }
            records(applied).for_each(|record| copies.apply(record));
            for forum in state.forums() {
                let is_empty = !copies.has_messages(forum.id.get()) && forum.open_tasks.is_empty();
                assert_eq!(forum.occupancy.empty_since.is_some(), is_empty, "{} {:?}", forum.id, forum.occupancy);
            }
        });
    }

    #[test]
    fn no_copy_that_counts_is_taken_away_unless_another_one_that_counts_is_there(steps in ops::history()) {
        let mut before = HubState::new(ops::tight());
        run(ops::tight(), &steps, |command, applied, state| {
            if let (Some(Body::RemoveReplica(remove)), Kind::ReplicasChanged(_)) =
                (command.body.as_ref(), kind(applied))
            {
                let (forum, peer) =
                    (ForumId::new(remove.forum_id).unwrap(), PeerId::new(remove.peer_id).unwrap());
                let present = |peer: PeerId| state.peer(peer).is_some_and(|peer| peer.is_present());
                let forum = before.forum(forum).unwrap();
                if let Some(replica) = forum.replica(peer) {
                    let others = forum.replicas.iter().filter(|other| other.peer != peer);
                    let left = others.filter(|other| other.is_confirmed() && present(other.peer)).count();
                    let counts = present(peer) || replica.confirmed_at.is_some();
                    assert!(!counts || left as u32 >= remove.others_min.max(1), "{left} left");
                    assert!(forum.serving().any(|other| other != peer));
                }
            }
            before = state.clone();
        });
    }

    #[test]
    fn ids_receipts_and_refusals_are_those_of_a_model_that_forgets_nothing(steps in ops::history()) {
        let mut model = model::Model::new();
        let (state, _) = run(ops::wide(), &steps, |command, applied, state| {
            model.follow(command, kind(applied), records(applied));
            assert_eq!(state.newest(), model.records());
        });
        let open: Vec<u64> = state.open_tasks().map(|record| record.id.get()).collect();
        prop_assert_eq!(open, model.open());
        prop_assert_eq!(state.counts().sessions, model.sessions().len());
        for (id, session) in model.sessions() {
            let kept = v1::SessionRecord::clone(state.session(id).unwrap());
            prop_assert_eq!(v1::SessionRecord { created_at_s: 0, updated_at_s: 0, ..kept }, session.clone());
        }
        prop_assert_eq!(state.counts().open_messages, model.open_messages());
        model.check_rows();
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
                let command = View { state: &read, copies: &Copies::default(), clock_ms: 0 }.command(&step.op);
                apply_command(&mut read, command);
            }
            let _ = snapshot::encode(&read);
        }
    }

    #[test]
    fn any_bytes_are_refused_as_a_snapshot(bytes: Vec<u8>) {
        prop_assert!(snapshot::decode(&bytes).is_err());
        let framed = [&b"LOOPHUB\0\x04\0\0\0"[..], &bytes].concat();
        let framed = [&framed[..], &crc32fast::hash(&framed).to_le_bytes()].concat();
        if let Ok(state) = snapshot::decode(&framed) {
            state.check_invariants().unwrap();
        }
    }

    #[test]
    fn any_bytes_are_a_command_that_is_applied_or_refused_or_is_not_known_and_changes_nothing(
        bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..8),
        steps in ops::history(),
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        let (mut state, commands) = run(ops::tight(), &steps, |_, _, _| {});
        for bytes in bytes {
            let before = snapshot::encode(&state);
            if apply_bytes(&mut state, Bytes::from(bytes)).is_err() {
                prop_assert!(snapshot::encode(&state) == before);
            }
        }
        for command in commands {
            let mut bytes = command.encode_to_vec();
            let at = change.0.index(bytes.len());
            bytes[at] = change.1;
            if let Ok(applied) = apply_bytes(&mut state, Bytes::from(bytes)) {
                prop_assert!(applied.outcome.kind.is_some());
            }
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
    for _ in 0..800 {
        let steps = ops::history().new_tree(&mut runner).unwrap().current();
        let (mut sessions, mut drained, mut doubted) = (0, 0usize, 0usize);
        run(ops::tight(), &steps, |command, applied, state| {
            seen.insert(match kind(applied) {
                Kind::Rejection(no) => no.code().as_str_name(),
                Kind::ForumOpened(_) => "forum opened",
                Kind::TaskAppended(appended) if appended.duplicate => "task known",
                Kind::TaskAppended(_) => "task appended",
                Kind::TaskAnswered(_) => "task answered",
                Kind::PeerRegistered(_) => "peer registered",
                Kind::PrimaryMoved(_) => "primary moved",
                Kind::TasksTrimmed(_) => "tasks trimmed",
                Kind::PeerInvited(_) => "peer invited",
                Kind::ReplicasChanged(changed) if changed.record_id == 0 => "replicas as they were",
                Kind::ReplicasChanged(_) => "replicas changed",
                Kind::Done(_)
                    if applied.events.iter().any(|event| matches!(event, Event::ForumClosed(_))) =>
                {
                    "forum closed"
                }
                Kind::Done(_) => "done",
                Kind::ForumAudited(_) => "forum audited",
            });
            seen.extend(state.invitations_newest_first().map(|invitation| match invitation.status {
                InvitationStatus::Waiting => "waiting",
                InvitationStatus::Accepted => "accepted",
                InvitationStatus::Completed => "completed",
                InvitationStatus::Rejected => "rejected",
                InvitationStatus::Timeout => "timeout",
            }));
            let draining = state.forums().map(|forum| forum.draining().count()).sum();
            if draining > drained {
                seen.insert("draining");
            }
            if draining < drained && matches!(kind(applied), Kind::PrimaryMoved(_)) {
                seen.insert("taken back");
            }
            if let Some(Body::ReinstateReplica(_)) = command.body.as_ref()
                && draining < drained
            {
                seen.insert("reinstated");
            }
            let unconfirmed = state.forums().map(|forum| forum.assignment().unconfirmed.len()).sum();
            if unconfirmed < doubted && matches!(command.body.as_ref(), Some(Body::ConfirmReplica(_))) {
                seen.insert("confirmed");
            }
            doubted = unconfirmed;
            drained = draining;
            if state.counts().sessions < sessions {
                seen.insert("session lapsed");
            }
            sessions = state.counts().sessions;
            seen.extend(records(applied).filter_map(|record| match row_of_hubs(record) {
                Some(FactKind::MessageRemoved(_)) => Some("message abandoned"),
                Some(FactKind::UserStored(_)) => Some("user made"),
                Some(_) => None,
                None => record.task()?.open_message.map(|_| "message gone on with"),
            }));
        });
    }
    let codes = (1..=20).filter_map(|code| v1::RejectionCode::try_from(code).ok());
    let mut expected: BTreeSet<&str> = codes.map(|code| code.as_str_name()).collect();
    expected.extend(["forum opened", "task known", "task appended", "task answered"]);
    expected.extend([
        "peer registered",
        "user made",
        "message gone on with",
        "message abandoned",
        "primary moved",
        "tasks trimmed",
        "session lapsed",
        "peer invited",
        "replicas as they were",
        "replicas changed",
        "done",
        "forum closed",
        "forum audited",
        "waiting",
        "accepted",
        "completed",
        "rejected",
        "timeout",
        "draining",
        "taken back",
        "reinstated",
        "confirmed",
    ]);
    assert_eq!(seen, expected);
}

#[test]
fn an_older_or_newer_layout_is_named() {
    let mut bytes = snapshot::encode(&HubState::new(Bounds::STANDARD));
    bytes[8] = 7;
    let refused = snapshot::decode(&bytes).unwrap_err();
    assert_eq!(refused.to_string(), "snapshot version 7, this hub reads versions 4 to 4");
    assert_eq!(snapshot::decode(b"LOOP").unwrap_err(), snapshot::BadSnapshot::Foreign);
}

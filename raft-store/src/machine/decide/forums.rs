//! Opening a forum, moving its primary, its settings and marks.

use loop_atomjump::new_rows;
use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, RequestId},
    v1::{self, RejectionCode, fact::Kind as FactKind, outcome::Kind},
};

use super::{
    super::{
        command::OpenForum,
        evolve::Change,
        forum::Forum,
        occupancy::Occupancy,
        peers::PeerState,
        receipts::Made,
        record::{Assignment, FactsBody, Record, RecordBody},
        replica::ReplicaRole,
        state::HubState,
    },
    closing::make_room,
    decision::{
        Decided, Decision, check_room_for_work, exhausted, known_forum, next_record, not_taking,
        other_command, present_peer, rejection,
    },
    replicas::NextSet,
};

pub(super) fn open_forum(state: &HubState, command: &OpenForum) -> Decided {
    if let Some(forum) = state.forums.by_key(command.key).and_then(|id| state.forum(id)) {
        return Ok(Decision::unchanged(forum_opened(forum.id, &forum.assignment(), true)));
    }
    check_replicas(state, &command.replicas)?;
    check_room_for_work(state)?;
    let mut changes = make_room(state)?;
    let Some(id) = u32::try_from(state.forums.next_id()).ok().and_then(ForumId::new) else {
        return Err(exhausted());
    };
    let epoch = ForumEpoch(1);
    let (primary, replicas) = (command.replicas[0], command.replicas.clone());
    let assignment = Assignment {
        epoch,
        primary,
        replicas,
        joining: Vec::new(),
        draining: Vec::new(),
        unconfirmed: Vec::new(),
    };
    let answer = forum_opened(id, &assignment, false);
    let occupancy = Occupancy::of_new_forum(state.steady());
    let forum = Forum::new(id, command.key, &assignment, state.now, occupancy);
    let row = new_rows::new_forum(id, command.key, &command.title, command.decays_at_s, state.now);
    // Whoever reads the stream learns first who holds the forum.
    let bodies = [
        RecordBody::Assignment(assignment),
        RecordBody::Facts(FactsBody::of_hubs(epoch, FactKind::ForumStored(row))),
    ];
    let ahead = changes.iter().filter(|change| matches!(change, Change::ForumClosed(..))).count() as u64;
    changes.push(Change::ForumOpened(forum));
    for (ahead, body) in (ahead..).zip(bodies) {
        let record = Record::new(next_record(state, ahead)?, state.now, Some(id), body);
        changes.push(Change::RecordAppended(record));
    }
    Ok(Decision { answer, changes })
}

fn check_replicas(state: &HubState, replicas: &[PeerId]) -> Result<(), v1::Rejection> {
    let (held, max) = (replicas.len() as u64, state.bounds.replicas_max);
    if held == 0 || held > max {
        return Err(rejection(RejectionCode::BadReplicas, held, max));
    }
    for (at, id) in replicas.iter().enumerate() {
        let peer = state.peer(*id).filter(|_| !replicas[..at].contains(id));
        let peer = peer.ok_or_else(|| rejection(RejectionCode::BadReplicas, id.get().into(), 0))?;
        if peer.state != PeerState::Active {
            return Err(not_taking(peer));
        }
    }
    Ok(())
}

/// To a serving replica, or to a draining one, which follows the stream and so can serve again.
pub(super) fn move_primary(
    state: &HubState,
    proposal: RequestId,
    forum: ForumId,
    to: PeerId,
    expected_epoch: ForumEpoch,
) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Move { forum: of, epoch }) if of == forum => {
            return Ok(Decision::unchanged(moved(epoch)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    let forum = known_forum(state, forum)?;
    present_peer(state, to)?;
    if expected_epoch != forum.epoch {
        return Err(rejection(RejectionCode::StaleEpoch, expected_epoch.0, forum.epoch.0));
    }
    let held = u64::from(to.get());
    let replica = forum.replica(to).filter(|replica| replica.joining().is_none());
    let replica = replica.ok_or_else(|| rejection(RejectionCode::NotAReplica, held, 0))?;
    // Also to the present primary: a new epoch refuses what that peer answered before it was restarted.
    let mut next = NextSet::of(state, forum);
    next.lead(to)?;
    if replica.is_draining() {
        next.set(to, ReplicaRole::Serving { since: next.epoch() });
    }
    let epoch = next.epoch();
    let (_, mut changes) = next.recorded(next_record(state, 0)?);
    changes.push(Change::ProposalMade { proposal, made: Made::Move { forum: forum.id, epoch } });
    Ok(Decision { answer: moved(epoch), changes })
}

pub(super) fn set_forum_replicas(state: &HubState, forum: ForumId, replicas: u32) -> Decided {
    let forum = known_forum(state, forum)?;
    if u64::from(replicas) > state.bounds.replicas_max {
        return Err(rejection(RejectionCode::BadReplicas, replicas.into(), state.bounds.replicas_max));
    }
    let wanted = (replicas > 0).then_some(replicas);
    let mut decision = Decision::unchanged(Kind::Done(v1::Done {}));
    if forum.replicas_wanted != wanted {
        decision.changes.push(Change::ReplicasWanted { forum: forum.id, wanted });
    }
    Ok(decision)
}

pub(super) fn audit_forum(state: &HubState, proposal: RequestId, forum: ForumId) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Audited { forum: of, record }) if of == forum => {
            return Ok(Decision::unchanged(forum_audited(record)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    let forum = known_forum(state, forum)?.id;
    check_room_for_work(state)?;
    let id = next_record(state, 0)?;
    let record = Record::new(id, state.now, Some(forum), RecordBody::Audit);
    let made = Made::Audited { forum, record: id.get() };
    let changes = vec![Change::RecordAppended(record), Change::ProposalMade { proposal, made }];
    Ok(Decision { answer: forum_audited(id.get()), changes })
}

fn forum_opened(id: ForumId, assignment: &Assignment, existed: bool) -> Kind {
    Kind::ForumOpened(v1::ForumOpened { forum_id: id.get(), assignment: Some(assignment.into()), existed })
}

fn moved(epoch: ForumEpoch) -> Kind {
    Kind::PrimaryMoved(v1::PrimaryMoved { epoch: epoch.0 })
}

fn forum_audited(record_id: u64) -> Kind {
    Kind::ForumAudited(v1::ForumAudited { record_id })
}

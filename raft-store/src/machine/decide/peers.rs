//! Peers: joining, user ids, and what an operator lets them hold.

use loop_proto::{
    ids::{PeerId, RequestId},
    v1::{self, outcome::Kind},
};

use super::{
    super::{
        attendance::Attendance,
        bounds::RECORDS_PER_COMMAND_MAX,
        command::RegisterPeer,
        evolve::Change,
        invitations::InvitationStatus,
        peers::{Peer, PeerState},
        receipts::Made,
        state::HubState,
    },
    Decided, Decision, exhausted, full, known_peer, next_record, other_command, present_peer,
    replicas::NextSet,
};

pub(super) fn register_peer(state: &HubState, command: RegisterPeer) -> Decided {
    let known = state.peer_by_secret_hash(&command.secret_hash);
    let (id, registered_at, peer_state, attendance, doubted_at) = match known {
        Some(peer) => (peer.id, peer.registered_at, peer.state, peer.attendance, peer.doubted_at),
        None if state.peers.len() as u64 >= state.bounds.peers_max => {
            return Err(full(state.bounds.peers_max));
        }
        None => {
            let id = state.peers.next_id().ok_or_else(exhausted)?;
            (id, state.now, PeerState::default(), Attendance::joined(state.steady()), None)
        }
    };
    let peer = Peer {
        id,
        name: command.name,
        secret_hash: command.secret_hash,
        owner: command.owner,
        network: command.network,
        registered_at,
        state: peer_state,
        attendance,
        doubted_at,
    };
    let answer = Kind::PeerRegistered(v1::PeerRegistered { peer_id: id.get() });
    if known == Some(&peer) {
        return Ok(Decision::unchanged(answer));
    }
    Ok(Decision { answer, changes: vec![Change::PeerRegistered(peer)] })
}

pub(super) fn lease_user_ids(state: &HubState, proposal: RequestId, peer: PeerId, count: u32) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Lease { peer: to, first, count }) if to == peer => {
            return Ok(Decision::unchanged(leased(first, count)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    present_peer(state, peer)?;
    let left = (u64::from(state.bounds.user_id_max) + 1).saturating_sub(state.next_user);
    let count = u64::from(count.min(state.bounds.user_id_block_max)).min(left);
    let (Ok(first), Ok(count)) = (u32::try_from(state.next_user), u32::try_from(count)) else {
        return Err(exhausted());
    };
    if count == 0 {
        return Err(exhausted());
    }
    Ok(Decision {
        answer: leased(first, count),
        changes: vec![
            Change::UserIdsLeased { count },
            Change::ProposalMade { proposal, made: Made::Lease { peer, first, count } },
        ],
    })
}

/// How many invitations one command ends at most. Those of a removed peer that are left take no further step; the
/// leader closes them when they are overdue, or the same command again does.
const ENDED_PER_COMMAND_MAX: usize = RECORDS_PER_COMMAND_MAX as usize;

pub(super) fn set_peer_state(state: &HubState, peer: PeerId, to: PeerState) -> Decided {
    let peer = known_peer(state, peer)?;
    let mut changes = Vec::new();
    if peer.state != to {
        changes.push(Change::PeerStateSet { peer: peer.id, state: to });
    }
    if to == PeerState::Removed {
        let open = state.open_invitations_to(peer.id).take(ENDED_PER_COMMAND_MAX);
        // A peer is invited to a forum once at a time, so each of these records is another forum's.
        for (ahead, invitation) in open.enumerate() {
            let Some(forum) = state.forum(invitation.forum) else { continue };
            let mut next = NextSet::of(state, forum);
            next.end(invitation, InvitationStatus::Timeout, v1::RejectReason::Unspecified);
            changes.extend(next.recorded(next_record(state, ahead as u64)?).1);
        }
    }
    Ok(Decision { answer: Kind::Done(v1::Done {}), changes })
}

/// Peers that are not known are left out: a leader cannot have seen them.
pub(super) fn note_presence(state: &HubState, peers: Vec<(PeerId, bool)>) -> Decision {
    let changed = |(id, connected): &(PeerId, bool)| {
        state.peer(*id).is_some_and(|peer| peer.attendance.connected != *connected)
    };
    let changes = peers.into_iter().filter(changed);
    let changes = changes.map(|(peer, connected)| Change::PresenceNoted { peer, connected }).collect();
    Decision { answer: Kind::Done(v1::Done {}), changes }
}

fn leased(first: u32, count: u32) -> Kind {
    Kind::UserIdsLeased(v1::UserIdsLeased { first, count })
}

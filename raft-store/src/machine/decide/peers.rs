//! Peers: joining, and what an operator lets them hold.

use loop_proto::{
    ids::PeerId,
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
        state::HubState,
    },
    decision::{Decided, Decision, exhausted, full, known_peer, next_record},
    replicas::NextSet,
};

pub(super) fn register_peer(state: &HubState, command: RegisterPeer) -> Decided {
    let known = state.peer_by_secret_hash(&command.secret_hash);
    let peer = match known {
        Some(peer) => peer.clone(),
        None if state.peers.len() as u64 >= state.bounds.peers_max => {
            return Err(full(state.bounds.peers_max));
        }
        None => {
            let id = state.peers.next_id().ok_or_else(exhausted)?;
            Peer::new(id, command.secret_hash, state.now, Attendance::joined(state.steady()))
        }
    };
    let peer = Peer { name: command.name, owner: command.owner, network: command.network, ..peer };
    let answer = Kind::PeerRegistered(v1::PeerRegistered { peer_id: peer.id.get() });
    if known == Some(&peer) {
        return Ok(Decision::unchanged(answer));
    }
    Ok(Decision { answer, changes: vec![Change::PeerRegistered(peer)] })
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

/// One that is suspended already has said nothing new: what was under way came with it.
pub(super) fn note_breach(state: &HubState, peer: PeerId, rule: u32) -> Decided {
    known_peer(state, peer)?;
    let mut changes = Vec::new();
    if state.suspended_ms(peer) == 0 {
        changes.push(Change::PeerBreached { peer, rule });
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

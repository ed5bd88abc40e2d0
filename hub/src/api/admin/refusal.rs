//! A committed no, in words: what stands against it and what to do next. Pure.

use loop_proto::{
    ids::PeerId,
    v1::{self, RejectionCode},
};
use loop_raft_store::machine::{Forum, ReplicaRole};
use tonic::Status;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// That a peer gets a forum.
    Invite,
    /// Another number of replicas.
    Replicas,
    /// Another state of a peer.
    PeerState,
    /// Digests.
    Audit,
    /// Its end.
    Close,
    /// Files to be served, or no more.
    Publish,
}

/// The no to what was asked of `forum`, which is as it was just afterwards.
pub(super) fn refusal(asked: Asked, no: &v1::Rejection, forum: Option<&Forum>) -> Status {
    let name = forum.map_or_else(|| "this forum".to_owned(), |forum| forum.id.to_string());
    let peer = PeerId::new(u32::try_from(no.held).unwrap_or(0));
    let held = peer.map_or_else(|| "this peer".to_owned(), |peer| peer.to_string());
    match no.code() {
        RejectionCode::UnknownForum => {
            Status::not_found(format!("nobody has opened forum f{}; `hubctl forums` lists them", no.held))
        }
        RejectionCode::UnknownPeer => {
            Status::not_found(format!("no peer {held} has ever joined; `hubctl peers` lists them"))
        }
        RejectionCode::AlreadyAReplica => {
            let role = peer.and_then(|peer| forum?.replica(peer)).map(|replica| replica.role);
            Status::failed_precondition(holds_already(&held, &name, role))
        }
        RejectionCode::NotAReplica => Status::failed_precondition(format!(
            "{held} does not serve {name}{}: name one that does with --from, or add a replica with \
             `hubctl forum add`",
            those_who_do(forum)
        )),
        RejectionCode::PeerState => Status::failed_precondition(peer_state(&held, no.current)),
        RejectionCode::WrongStage if asked == Asked::Invite => Status::failed_precondition(format!(
            "{held} is about to take the same place in {name} (invitation {}): wait until that is over, \
             `hubctl migrations --watch` shows it",
            no.current
        )),
        RejectionCode::BadReplicas if asked == Asked::Replicas => Status::invalid_argument(format!(
            "{} replicas are more than a forum may have, which is {}",
            no.held, no.current
        )),
        RejectionCode::BadReplicas => Status::failed_precondition(format!(
            "all {} places of {name} are taken or promised: move one with `hubctl forum move` instead",
            no.current
        )),
        RejectionCode::LastReplica => {
            Status::failed_precondition(format!("nobody else serves {name}: add a replica first"))
        }
        RejectionCode::Full => Status::resource_exhausted(full(asked, no.current)),
        RejectionCode::IdsExhausted => {
            Status::resource_exhausted("the hubs have no number left to give; see `hubctl ids`")
        }
        RejectionCode::ForumInUse => Status::failed_precondition(format!(
            "{name} is in use; it is closed with whatever is in it if that is forced"
        )),
        RejectionCode::Malformed => Status::invalid_argument(
            "the hubs cannot take this: either the request id was used for something else before, or they run \
             different versions (`hubctl status` on each)",
        ),
        code @ (RejectionCode::Unspecified
        | RejectionCode::UnknownTask
        | RejectionCode::StaleEpoch
        | RejectionCode::NotPrimary
        | RejectionCode::AlreadyAnswered
        | RejectionCode::OutOfOrder
        | RejectionCode::BreaksRules
        | RejectionCode::UnknownInvitation
        | RejectionCode::NotCaughtUp
        | RejectionCode::WrongStage) => Status::failed_precondition(format!(
            "{name} is not as it was when this was asked ({}): look at it with `hubctl forum show` and ask again",
            code.as_str_name()
        )),
    }
}

fn full(asked: Asked, bound: u64) -> String {
    match asked {
        Asked::Publish => format!(
            "{bound} files are published already, which is all there may be: remove some with `hubctl static remove`, \
             or publish with --prune"
        ),
        _ => format!(
            "not now: the hubs' bound of {bound} is reached, by moves under way or by records that wait for peers that \
             are away; ask again when `hubctl migrations` shows less, or bring those peers back"
        ),
    }
}

fn holds_already(peer: &str, forum: &str, role: Option<ReplicaRole>) -> String {
    match role {
        Some(ReplicaRole::Joining { .. }) => {
            format!("{peer} is on its way to {forum} already: follow it with `hubctl migrations --watch`")
        }
        Some(ReplicaRole::Draining { .. }) => format!(
            "{peer} was replaced in {forum} a moment ago and still lets go of it: ask again when \
             `hubctl migrations` shows nothing of it"
        ),
        Some(ReplicaRole::Serving { .. }) | None => {
            format!("{peer} serves {forum} already: name another peer with --to")
        }
    }
}

fn those_who_do(forum: Option<&Forum>) -> String {
    let peers: Vec<String> =
        forum.into_iter().flat_map(Forum::serving).map(|peer| peer.to_string()).collect();
    match peers.as_slice() {
        [] => String::new(),
        [one] => format!(" ({one} does)"),
        many => format!(" ({} do)", many.join(", ")),
    }
}

fn peer_state(peer: &str, state: u64) -> String {
    let state = i32::try_from(state).ok().and_then(|state| v1::PeerState::try_from(state).ok());
    match state {
        Some(v1::PeerState::Paused) => {
            format!(
                "{peer} is paused and gets nothing new: `hubctl peer resume {peer}` lets it take forums again"
            )
        }
        Some(v1::PeerState::Draining) => {
            format!("{peer} is being emptied: `hubctl peer resume {peer}` lets it take forums again")
        }
        Some(v1::PeerState::Removed) => {
            format!("{peer} is removed: `hubctl peer resume {peer}` takes it back, if it still exists")
        }
        Some(v1::PeerState::Active | v1::PeerState::Unspecified) | None => {
            format!("{peer} takes no forums now; `hubctl peers` shows its state")
        }
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::ids::ForumId;
    use loop_raft_store::machine::{HubState, bounds::Bounds, command::Command, command::Stamped};
    use tonic::Code;

    use super::*;

    /// Forum f178, served by p1 and p2; p3 is invited in place of p2.
    fn state() -> HubState {
        use v1::command::Body;
        let mut state = HubState::new(Bounds::default());
        let mut request = 0u8;
        let mut run = |body: Body| {
            request += 1;
            let command = Command::try_from(body).unwrap();
            let at = loop_proto::ids::HubTime(1);
            let request = loop_proto::ids::RequestId([request; 16]);
            let applied = loop_raft_store::machine::apply(&mut state, Stamped { at, request, command });
            let kind = applied.outcome.kind.unwrap();
            assert!(!matches!(kind, v1::outcome::Kind::Rejection(_)), "{kind:?}");
        };
        for peer in 1..=4u8 {
            run(Body::RegisterPeer(v1::RegisterPeer {
                name: format!("peer-{peer}"),
                secret_hash: vec![peer; 32].into(),
                ..Default::default()
            }));
        }
        run(Body::OpenForum(v1::OpenForum {
            key: vec![7; 16].into(),
            replicas: vec![1, 2],
            ..Default::default()
        }));
        run(Body::InvitePeer(v1::InvitePeer {
            forum_id: 178,
            target: 3,
            source: 1,
            replaces: 2,
            cause: v1::InvitationCause::Operator.into(),
        }));
        state
    }

    fn said(asked: Asked, code: RejectionCode, held: u64, current: u64) -> Status {
        let state = state();
        let forum = state.forum(ForumId::new(178).unwrap()).unwrap();
        refusal(asked, &v1::Rejection { code: code.into(), held, current }, Some(forum))
    }

    #[track_caller]
    fn assert_said(status: &Status, code: Code, parts: &[&str]) {
        assert_eq!(status.code(), code, "{}", status.message());
        for part in parts {
            assert!(status.message().contains(part), "{:?} in {}", part, status.message());
        }
    }

    #[test]
    fn a_move_to_a_peer_that_has_the_forum_says_in_which_way_it_has_it() {
        let to = |peer| said(Asked::Invite, RejectionCode::AlreadyAReplica, peer, 0);
        assert_said(&to(1), Code::FailedPrecondition, &["p1 serves f178 already", "--to"]);
        assert_said(&to(3), Code::FailedPrecondition, &["p3 is on its way to f178", "migrations"]);
    }

    #[test]
    fn a_move_from_a_peer_that_has_not_the_forum_names_those_that_have() {
        let status = said(Asked::Invite, RejectionCode::NotAReplica, 4, 0);
        assert_said(&status, Code::FailedPrecondition, &["p4 does not serve f178 (p1, p2 do)", "--from"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let forum = said(Asked::Invite, RejectionCode::UnknownForum, 9, 0);
        assert_said(&forum, Code::NotFound, &["f9", "hubctl forums"]);
        let peer = said(Asked::Invite, RejectionCode::UnknownPeer, 9, 0);
        assert_said(&peer, Code::NotFound, &["p9", "hubctl peers"]);
    }

    #[test]
    fn a_peer_that_takes_nothing_says_why_and_how_it_would() {
        for (state, word) in [
            (v1::PeerState::Paused, "paused"),
            (v1::PeerState::Draining, "emptied"),
            (v1::PeerState::Removed, "removed"),
        ] {
            let status = said(Asked::Invite, RejectionCode::PeerState, 4, state as u64);
            assert_said(&status, Code::FailedPrecondition, &["p4 is", word, "hubctl peer resume p4"]);
        }
    }

    #[test]
    fn places_that_are_taken_are_told_apart_from_a_number_that_is_too_high() {
        let places = said(Asked::Invite, RejectionCode::BadReplicas, 5, 4);
        assert_said(&places, Code::FailedPrecondition, &["all 4 places of f178", "forum move"]);
        let number = said(Asked::Replicas, RejectionCode::BadReplicas, 9, 4);
        assert_said(&number, Code::InvalidArgument, &["9 replicas", "4"]);
        let taken = said(Asked::Invite, RejectionCode::WrongStage, 3, 6);
        assert_said(&taken, Code::FailedPrecondition, &["p3", "invitation 6", "migrations"]);
    }

    #[test]
    fn every_code_has_a_sentence_and_numbers_out_of_range_do_no_harm() {
        for code in 0..=20 {
            let code = RejectionCode::try_from(code).unwrap();
            let asked = [
                Asked::Invite,
                Asked::Replicas,
                Asked::PeerState,
                Asked::Audit,
                Asked::Close,
                Asked::Publish,
            ];
            for asked in asked {
                let no = v1::Rejection { code: code.into(), held: u64::MAX, current: u64::MAX };
                assert!(refusal(asked, &no, None).message().len() > 20, "{code:?}");
            }
        }
    }
}

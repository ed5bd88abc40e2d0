//! What a refusal means, for the person who asked.

use loop_proto::v1::{self, PeerState, RejectionCode};
use tonic::Status;

use crate::proposer::ProposeError;

/// The hubs' no, as a status an operator can act on.
pub(super) fn refused(rejection: &v1::Rejection) -> Status {
    let (held, current) = (rejection.held, rejection.current);
    let text = match rejection.code() {
        RejectionCode::UnknownForum => return Status::not_found("nobody has opened this forum"),
        RejectionCode::UnknownPeer => return Status::not_found("no peer of this id has ever joined"),
        RejectionCode::StaleEpoch => format!("the forum has moved on to e{current} meanwhile; look again"),
        RejectionCode::NotPrimary => format!("p{held} is not the primary, p{current} is"),
        RejectionCode::NotAReplica => format!("p{held} does not serve this forum"),
        RejectionCode::AlreadyAReplica => format!("p{held} holds this forum already, or is on the way to it"),
        RejectionCode::BadReplicas => format!("{held} replicas are too many: a forum has at most {current}"),
        RejectionCode::Full => {
            format!("as much as may is under way or kept already (at most {current}); try again later")
        }
        RejectionCode::UnknownInvitation => "this invitation has ended, or there was none".to_owned(),
        RejectionCode::NotCaughtUp => format!("the peer is at t{held} and must be at t{current} first"),
        RejectionCode::LastReplica => "nobody else serves this forum: it would be lost".to_owned(),
        RejectionCode::WrongStage => {
            "this replica is the primary, or another peer is about to take its place".to_owned()
        }
        RejectionCode::PeerState => format!("p{held} is {}: it takes no forums", state(current)),
        RejectionCode::IdsExhausted => "no more ids can be given out".to_owned(),
        RejectionCode::Malformed => "these hubs do not know this command; do they run one version?".to_owned(),
        code @ (RejectionCode::Unspecified
        | RejectionCode::UnknownTask
        | RejectionCode::AlreadyAnswered
        | RejectionCode::OutOfOrder
        | RejectionCode::StaleSession) => format!("refused: {}", code.as_str_name()),
    };
    Status::failed_precondition(text)
}

/// A peer's state by its number on the wire.
fn state(number: u64) -> &'static str {
    let state = i32::try_from(number).ok().and_then(|number| PeerState::try_from(number).ok());
    match state {
        Some(PeerState::Active) => "active",
        Some(PeerState::Paused) => "paused",
        Some(PeerState::Draining) => "draining",
        Some(PeerState::Removed) => "removed",
        Some(PeerState::Unspecified) | None => "in another state",
    }
}

/// No word from the leader: the operator tries again.
pub(super) fn unproposed(error: ProposeError) -> Status {
    match error {
        ProposeError::Indeterminate => Status::unavailable(
            "the leader has not answered in time; it may still be done: look before you try again",
        ),
        ProposeError::NoLeader | ProposeError::Closed => Status::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_no_has_words_and_what_is_not_there_is_not_found() {
        for number in 0..=19 {
            let code = RejectionCode::try_from(number).unwrap();
            let status = refused(&v1::Rejection { code: code.into(), held: 3, current: 2 });
            assert!(status.message().len() > 10, "{code:?}");
            let missing = matches!(code, RejectionCode::UnknownForum | RejectionCode::UnknownPeer);
            assert_eq!(status.code() == tonic::Code::NotFound, missing, "{code:?}");
        }
        let paused = v1::Rejection { code: RejectionCode::PeerState.into(), held: 3, current: 2 };
        assert_eq!(refused(&paused).message(), "p3 is paused: it takes no forums");
    }
}

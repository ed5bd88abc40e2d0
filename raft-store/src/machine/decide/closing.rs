//! The end of a forum: of one in which there has been nothing for long enough, or at an operator's word.

use loop_proto::{
    ids::ForumId,
    v1::{self, RejectionCode, outcome::Kind},
};

use super::{
    super::{
        bounds::EMPTY_FORUM_GRACE_MS,
        evolve::Change,
        forum::Forum,
        invitations::{Invitation, InvitationStatus},
        record::{Record, RecordBody},
        state::HubState,
    },
    decision::{Decided, Decision, full, known_forum, next_record, rejection},
};

/// Asked again of a forum that is closed already, it is done.
pub(super) fn close_forum(state: &HubState, forum: ForumId, forced: bool) -> Decided {
    let done = Kind::Done(v1::Done {});
    if state.was_closed(forum) {
        return Ok(Decision::unchanged(done));
    }
    let forum = known_forum(state, forum)?;
    if !forced {
        check_empty_for(state, forum, state.bounds.empty_forum_age_ms)?;
    }
    Ok(Decision { answer: done, changes: closing(state, forum, forced)? })
}

/// The changes that make room for another forum; none if there is room. What nobody has written into goes first, the longest
/// empty of it before all.
pub(super) fn make_room(state: &HubState) -> Result<Vec<Change>, v1::Rejection> {
    let max = state.bounds.forums_max;
    if (state.forums.len() as u64) < max {
        return Ok(Vec::new());
    }
    let oldest = state.empty_forums().next().ok_or_else(|| full(max))?;
    check_empty_for(state, oldest, EMPTY_FORUM_GRACE_MS).map_err(|_| full(max))?;
    closing(state, oldest, false)
}

fn check_empty_for(state: &HubState, forum: &Forum, least_ms: u64) -> Result<(), v1::Rejection> {
    let empty_for = forum.occupancy.empty_since.map(|since| state.steady().0.saturating_sub(since.0));
    let held = empty_for.unwrap_or(0);
    if empty_for.is_none() || held < least_ms {
        return Err(rejection(RejectionCode::ForumInUse, held, least_ms));
    }
    Ok(())
}

/// One record on the directory, which also those peers follow that kept rows of the forum when it was taken from them.
fn closing(state: &HubState, forum: &Forum, forced: bool) -> Result<Vec<Change>, v1::Rejection> {
    let body = RecordBody::Closed { forum: forum.id, forced };
    let record = Record::new(next_record(state, 0)?, state.now, None, body);
    let open = forum.joining().filter_map(|joining| state.invitation(joining.invitation));
    let (status, changed_at) = (InvitationStatus::Timeout, state.now);
    let ended = open.map(|invitation| Invitation { status, changed_at, ..*invitation });
    let mut changes: Vec<Change> = ended.map(Change::InvitationStored).collect();
    changes.push(Change::ForumClosed(record, forum.id));
    Ok(changes)
}

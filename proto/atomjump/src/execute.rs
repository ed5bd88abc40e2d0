//! What a write changes. The rows it is shown must contain the executions before it, committed or not.

use loop_proto::{
    ids::ForumId,
    v1::{self, Endpoint},
};

use crate::{
    call::Call,
    endpoints::{hide, shout, visit},
    session::Session,
    stored_session::StoredSession,
    text,
    view::{UserIds, View, Viewer},
};

/// Longest `msg_id` that is kept, characters. Honest ones count a page's messages.
const LID_CHARS_MAX: usize = 64;

/// What a write changed.
#[derive(Default)]
pub struct Executed {
    /// Rows of the forum's stream.
    pub forum_facts: Vec<v1::Fact>,
    /// Rows every peer keeps: users.
    pub directory_facts: Vec<v1::Fact>,
    /// The session's new record, if it changed; `version` is the one it was made from.
    pub record: Option<v1::SessionRecord>,
    /// What the writer, and a re-send, will be told.
    pub receipt: v1::Receipt,
    /// The session as it is afterwards.
    pub(crate) session: Session,
}

/// Executes a write. What is none, or names no forum, changes nothing, and its receipt says so.
pub fn execute<V: View>(
    call: &Call,
    stored: &StoredSession,
    view: &V,
    ids: &mut dyn UserIds,
) -> Result<Executed, V::Error> {
    match (call.endpoint, call.forum) {
        (Endpoint::Shout, Some(forum)) => shouted(call, forum, stored, view, ids),
        (Endpoint::HideMessage, Some(_)) => {
            let viewer = Viewer { user: stored.session.user(), ip: &call.request.ip, group: None };
            let forum_facts = hide::facts(&call.request, &viewer, view)?;
            Ok(Executed { forum_facts, receipt: status(200), ..Executed::default() })
        }
        (Endpoint::Shout | Endpoint::HideMessage, None) => {
            Ok(Executed { receipt: status(200), session: stored.session.clone(), ..Executed::default() })
        }
        _ => Ok(Executed { receipt: status(400), ..Executed::default() }),
    }
}

fn shouted<V: View>(
    call: &Call,
    forum: ForumId,
    stored: &StoredSession,
    view: &V,
    ids: &mut dyn UserIds,
) -> Result<Executed, V::Error> {
    let request = &call.request;
    let mut session = stored.session.clone();
    let visit = visit::enter(request, &mut session, view, forum, ids)?;
    let decided = match visit.forum.as_ref().or(view.forum()) {
        Some(row) => shout::decide(request, &mut session, view, row, call.message_id)?,
        None => shout::Shout::default(),
    };
    if request.is_remote_app() && !request.is_robot {
        visit::leave(&mut session, view, forum);
    }
    let mut forum_facts = visit.forum_facts();
    forum_facts.extend(decided.facts);
    Ok(Executed {
        forum_facts,
        directory_facts: visit.directory_facts(),
        record: stored.changed(&session, request),
        receipt: v1::Receipt { sid_json: decided.sid_json, lid: lid(call), ..status(200) },
        session,
    })
}

/// `msg_id`, given back as it came.
pub(crate) fn lid(call: &Call) -> Option<String> {
    call.request.params.text("msg_id").map(|lid| text::cut(&lid, LID_CHARS_MAX).to_owned())
}

fn status(status: u32) -> v1::Receipt {
    v1::Receipt { status, ..Default::default() }
}

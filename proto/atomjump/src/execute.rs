//! What a write changes. The rows it is shown must contain the executions before it, committed or not.

use loop_proto::v1::{self, Endpoint};

use crate::{
    call::Call,
    endpoints::{hide, shout},
    session::Session,
    text,
    view::{Viewer, WriteView},
};

/// Longest `msg_id` that is kept, characters. Honest ones count a page's messages.
const LID_CHARS_MAX: usize = 64;

/// What a write changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// Rows of the forum.
    pub facts: Vec<v1::Fact>,
    /// What of its session.
    pub session: Option<v1::SessionChange>,
    /// What the writer, and a re-send, will be told.
    pub receipt: v1::Receipt,
}

/// Executes a write. What is none, or names no forum, changes nothing, and its receipt says so.
pub fn execute<V: WriteView>(call: &Call, session: Session<'_>, view: &V) -> Result<Executed, V::Error> {
    match (call.endpoint, call.forum) {
        (Endpoint::Shout, Some(_)) => shout::execute(call, session, view),
        (Endpoint::HideMessage, Some(_)) => {
            let viewer = Viewer { user: session.user(), ip: &call.request.ip, group: None };
            let facts = hide::facts(&call.request, &viewer, view)?;
            Ok(Executed { facts, receipt: status(200), ..Executed::default() })
        }
        (Endpoint::Shout | Endpoint::HideMessage, None) => Ok(nothing(200)),
        _ => Ok(nothing(400)),
    }
}

/// A request with more in it than any browser sends is refused, and changes nothing.
pub fn execute_refused() -> Executed {
    nothing(400)
}

fn nothing(code: u32) -> Executed {
    Executed { receipt: status(code), ..Executed::default() }
}

/// `msg_id`, given back as it came.
pub(crate) fn lid(call: &Call) -> Option<String> {
    call.request.params.text("msg_id").map(|lid| text::cut(&lid, LID_CHARS_MAX).to_owned())
}

/// A receipt that says nothing but how it went.
pub(crate) fn status(status: u32) -> v1::Receipt {
    v1::Receipt { status, ..Default::default() }
}

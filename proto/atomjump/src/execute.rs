//! What a write changes. The rows it is shown must contain the executions before it, committed or not.

use loop_proto::v1::Endpoint;

use crate::{
    call::Call,
    endpoints::{hide, shout},
    executed::{Executed, status},
    session::Session,
    view::{Viewer, WriteView},
};

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

//! One client call each, from request to answer.

mod fresh;
mod read;
mod write;

pub use fresh::fresh;
pub use read::read;
pub use write::{WAITING_MAX, write};

use loop_atomjump::{Answer, Call, Given, refused};
use loop_proto::ids::{ForumId, HubTime};

use crate::{gateway::ClientCall, hub::Hub};

/// The call as rendering reads it, before its forum is looked up.
fn decoded(hub: &Hub, call: &ClientCall) -> Result<Call, Answer> {
    Call::read(&call.request, None, Given::default(), now(hub)).map_err(|too_much| refused(&too_much))
}

/// The time that answers are for: never before what the hubs have agreed on.
fn now(hub: &Hub) -> HubTime {
    HubTime(hub.io.now_ms()).max(hub.state.read(|state| state.now()))
}

/// The forum the call is routed by, if somebody has opened it.
fn forum_of(hub: &Hub, call: &ClientCall) -> Option<ForumId> {
    call.forum.and_then(|key| hub.state.read(|state| state.forum_by_key(key)))
}

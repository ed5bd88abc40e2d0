//! One client call each, from request to answer.

mod fresh;
mod read;
mod write;

pub use fresh::fresh;
pub use read::read;
pub use write::{WAITING_MAX, write};

use loop_proto::ids::{ForumId, HubTime};

use crate::{gateway::ClientCall, hub::Hub};

/// The call as rendering reads it.
fn rendered(
    hub: &Hub,
    call: &ClientCall,
    forum: Option<ForumId>,
) -> Result<loop_atomjump::Call, loop_atomjump::Answer> {
    let agreed = hub.state.read(|state| state.now());
    let now = HubTime(hub.io.now_ms().max(agreed.0));
    loop_atomjump::Call::read(&call.request, forum, loop_atomjump::Given::default(), now)
        .map_err(|too_much| loop_atomjump::refused(&too_much))
}

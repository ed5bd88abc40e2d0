//! Whether an answer can follow from its task: asked by the machine when it applies one, and by a hub before it proposes one.

use loop_atomjump::{Call, Claim, Extent, Given, Rule, Session, conform};
use loop_proto::v1;
use prost::Message;

use super::record::{Record, TaskBody};

/// Whether the claim is what the task's request, session and place in the log allow. `record` is the task's own. A request that
/// cannot be read is one that is refused.
pub fn judge(record: &Record, task: &TaskBody, claim: &Claim<'_>, extent: Extent) -> Result<(), Rule> {
    let given = Given { message_id: task.message_id, open_message: task.open_message };
    let request = v1::ClientRequest::decode(task.request.clone()).ok();
    let call = request.and_then(|request| Call::read(&request, record.forum, given, record.at).ok());
    conform(call.as_ref(), Session::of(task.session.as_deref()), claim, extent)
}

//! Whether an answer can follow from its task: asked by the machine when it applies one, and by a hub before it proposes one.

use loop_atomjump::{Call, Claim, Extent, Given, Rule, Session, conform};
use loop_proto::{
    breakage::{self, Breakage},
    v1,
};
use prost::Message;

use super::record::{Record, TaskBody};

/// Whether the claim is what the task's request, session and place in the log allow. `record` is the task's own. A request that
/// cannot be read is one that is refused.
pub fn judge(record: &Record, task: &TaskBody, claim: &Claim<'_>, extent: Extent) -> Result<(), Rule> {
    let given = Given { message_id: task.message_id, open_message: task.open_message };
    let request = v1::ClientRequest::decode(task.request.clone()).ok();
    let call = request.and_then(|request| Call::read(&request, record.forum, given, record.at).ok());
    let judged = conform(call.as_ref(), Session::of(task.session.as_deref()), claim, extent);
    judged.or_else(|rule| if is_unchecked(rule) { Ok(()) } else { Err(rule) })
}

fn is_unchecked(rule: Rule) -> bool {
    breakage::is_on(match rule {
        Rule::Kind => Breakage::KindUnchecked,
        Rule::Forum => Breakage::ForumUnchecked,
        Rule::Message => Breakage::MessageUnchecked,
        Rule::Columns => Breakage::ColumnsUnchecked,
        Rule::Text => Breakage::TextUnchecked,
        Rule::Place => Breakage::PlaceUnchecked,
        Rule::Session => Breakage::SessionUnchecked,
        Rule::Receipt => Breakage::ReceiptUnchecked,
        Rule::Missing => Breakage::MissingUnchecked,
        Rule::Unreadable | Rule::Content | Rule::Position => return false,
    })
}

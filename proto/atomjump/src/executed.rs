//! What a write came to. Owns what every receipt has; never knows what a request means.

use loop_proto::v1;

use crate::{call::Call, text};

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

/// `msg_id`, given back as it came.
pub(crate) fn lid(call: &Call) -> Option<String> {
    call.request.params.text("msg_id").map(|lid| text::cut(&lid, LID_CHARS_MAX).to_owned())
}

/// A receipt that says nothing but how it went.
pub(crate) fn status(status: u32) -> v1::Receipt {
    v1::Receipt { status, ..Default::default() }
}

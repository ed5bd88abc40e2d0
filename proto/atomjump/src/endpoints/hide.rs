//! `de.php`: hides the message its author stopped typing, or deletes one of the author's own.
//!
//! Unlike the PHP, touches only messages of the named forum, and only for their author.

use loop_proto::v1::{self, fact::Kind};

use super::{Answer, HTML};
use crate::{
    request::{Request, message_id},
    view::{Viewer, WriteView},
};

/// What the request changes.
pub fn facts<V: WriteView>(
    request: &Request,
    viewer: &Viewer<'_>,
    view: &V,
) -> Result<Vec<v1::Fact>, V::Error> {
    let Some(id) = message_id(request.params.get("mid")) else { return Ok(Vec::new()) };
    if request.params.non_empty("passcode").is_none() {
        return Ok(Vec::new());
    }
    let Some(row) = view.message(id.get())? else { return Ok(Vec::new()) };
    if !viewer.is_author(&row.message) {
        return Ok(Vec::new());
    }
    let kind = if !request.params.has("just_typing") {
        Kind::MessageRemoved(v1::MessageRemoved { id: id.get(), forum_id: row.message.forum_id })
    } else if row.message.active {
        Kind::MessageHidden(v1::MessageHidden {
            id: id.get(),
            forum_id: row.message.forum_id,
            finished: false,
        })
    } else {
        return Ok(Vec::new());
    };
    Ok(vec![v1::Fact { kind: Some(kind) }])
}

/// The answer, the same whatever happened. Without a callback AtomJump prints nothing.
pub fn answer(request: &Request) -> Answer {
    if request.has_callback() { Answer::jsonp(HTML, b"\"\"".to_vec()) } else { Answer::empty() }
}

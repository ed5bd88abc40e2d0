//! Rows that a peer has sent, checked one by one before anybody is shown anything of them.

use std::{collections::BTreeSet, sync::Arc};

use loop_atomjump::{Row, escape, is_harmless};
use loop_proto::v1;
use prost::Message;

use super::view::Position;

/// Longest row, bytes: AtomJump's widest columns are 512 and 1,024 characters.
const ROW_BYTES_MAX: usize = 16 << 10;
/// Most subscriptions of one forum.
const SUBSCRIPTIONS_MAX: usize = 10_000;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Of which forum.
    pub forum: u32,
    /// Everything up to this record.
    pub fence: u64,
    /// Older than this message; `None`: the newest.
    pub before: Option<Position>,
    /// Written at this time at the latest, seconds.
    pub latest_s: u64,
    /// At most so many.
    pub limit: usize,
}

/// A page of rows that can be shown.
#[derive(Debug)]
pub(super) struct Page {
    pub as_of: u64,
    pub forum: Option<v1::ForumStored>,
    pub subscriptions: Vec<v1::SubscriptionStored>,
    pub messages: Vec<v1::MessageStored>,
    pub is_complete: bool,
}

/// Takes the reply if it answers what was asked.
pub(super) fn page(asked: Asked, reply: v1::RowsReply) -> Result<Page, &'static str> {
    if reply.as_of < asked.fence {
        return Err("rows from before the fence");
    }
    if reply.messages.len() > asked.limit || reply.subscriptions.len() > SUBSCRIPTIONS_MAX {
        return Err("more rows than were asked for");
    }
    if reply.messages.is_empty() && !reply.complete {
        return Err("no rows, and yet there are more");
    }
    if !reply.forum.as_ref().is_none_or(|row| row.id == asked.forum && fits(row)) {
        return Err("a row of another forum");
    }
    if reply.subscriptions.iter().any(|row| row.forum_id != asked.forum) {
        return Err("a subscription of another forum");
    }
    let mut before = asked.before.unwrap_or((asked.latest_s, u32::MAX));
    let mut ids = BTreeSet::new();
    for message in &reply.messages {
        let at = (message.shouted_at_s, message.id);
        if message.forum_id != asked.forum || message.id == 0 || !message.active || !fits(message) {
            return Err("a message that was not asked for");
        }
        if !ids.insert(message.id) {
            return Err("a message twice");
        }
        if at >= before {
            return Err("messages out of order");
        }
        before = at;
    }
    let v1::RowsReply { as_of, forum, subscriptions, messages, complete, .. } = reply;
    let harmless = |mut message| {
        make_harmless(&mut message);
        message
    };
    let messages = messages.into_iter().map(harmless).collect();
    Ok(Page { as_of, forum, subscriptions, messages, is_complete: complete })
}

/// A user's row, if it is the one that was asked for.
pub(super) fn user(
    id: u32,
    fence: u64,
    reply: v1::RowsReply,
) -> Result<Option<v1::UserStored>, &'static str> {
    match reply.user {
        _ if reply.as_of < fence => Err("a row from before the fence"),
        Some(user) if user.id != id || !fits(&user) => Err("a user that was not asked for"),
        user => Ok(user),
    }
}

/// The rows as rendering has them.
pub(super) fn rows(page: Vec<v1::MessageStored>) -> impl Iterator<Item = Arc<Row>> {
    page.into_iter().map(Row::new)
}

fn fits(row: &impl Message) -> bool {
    row.encoded_len() <= ROW_BYTES_MAX
}

/// Markup that is not on the list is shown as the plain text beside it: old rows may hold anything, and so may a liar's.
pub(super) fn make_harmless(message: &mut v1::MessageStored) {
    if !is_harmless(&message.html) {
        message.html = escape::attr(&message.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked { forum: 7, fence: 10, before: Some((100, 50)), latest_s: 200, limit: 3 };

    fn message(id: u32) -> v1::MessageStored {
        v1::MessageStored { id, forum_id: 7, active: true, shouted_at_s: 99, ..Default::default() }
    }

    fn reply(messages: Vec<v1::MessageStored>) -> v1::RowsReply {
        v1::RowsReply { as_of: 10, messages, complete: true, ..Default::default() }
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        assert!(page(ASKED, reply(vec![message(9), message(8)])).is_ok());
        let refused: [v1::RowsReply; 10] = [
            reply(vec![
                v1::MessageStored { shouted_at_s: 98, ..message(9) },
                v1::MessageStored { shouted_at_s: 97, ..message(9) },
            ]),
            v1::RowsReply { as_of: 9, ..reply(vec![]) },
            reply(vec![message(4), message(3), message(2), message(1)]),
            v1::RowsReply { complete: false, ..reply(vec![]) },
            v1::RowsReply { forum: Some(v1::ForumStored { id: 8, ..Default::default() }), ..reply(vec![]) },
            reply(vec![v1::MessageStored { forum_id: 8, ..message(1) }]),
            reply(vec![v1::MessageStored { active: false, ..message(1) }]),
            reply(vec![v1::MessageStored { html: "x".repeat(20_000), ..message(1) }]),
            reply(vec![message(8), message(9)]),
            reply(vec![v1::MessageStored { shouted_at_s: 101, ..message(1) }]),
        ];
        for (number, reply) in refused.into_iter().enumerate() {
            assert!(page(ASKED, reply).is_err(), "reply {number}");
        }
        let other = v1::UserStored { id: 2, ..Default::default() };
        assert!(user(1, 0, v1::RowsReply { user: Some(other), ..Default::default() }).is_err());
    }

    #[test]
    fn markup_that_could_run_is_shown_as_text() {
        let row = v1::MessageStored {
            text: "Ann: <b>".into(),
            html: "<script>alert(1)</script>".into(),
            ..message(1)
        };
        let page = page(ASKED, reply(vec![row])).unwrap();
        assert_eq!(page.messages[0].html, "Ann: &lt;b&gt;");
    }
}

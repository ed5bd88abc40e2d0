//! The rows of the forums it holds, as an honest peer would have them, and what it sends in their place.

use loop_atomjump::{Call, Executed, ForumWindow, Given, Rows, Session, Whole, execute, execute_refused};
use loop_proto::{
    ids::{ForumId, HubTime, MessageId},
    v1::{self, rows_request::Kind},
};
use prost::Message;
use serde::{Deserialize, Serialize};

use super::Victim;
use crate::world::liar::SCRIPT;

/// Messages it keeps of a forum.
const MESSAGES_MAX: usize = 100_000;
/// Longer than any row that hubs take, bytes.
const LONG_ROW: usize = 17 << 10;

/// Rows of one forum.
pub(super) struct ForumRows(ForumWindow);

impl ForumRows {
    pub(super) fn new() -> Self {
        Self(ForumWindow::new(Rows { is_complete: true, ..Rows::default() }, MESSAGES_MAX))
    }

    /// Takes what the log says.
    pub(super) fn apply(&mut self, facts: &v1::Facts, record: u64) {
        facts.facts.iter().for_each(|fact| self.0.apply(fact, record));
    }

    /// What an honest peer would make of the task.
    pub(super) fn execute(&self, record: &v1::Record, task: &v1::Task) -> Executed {
        let given = Given {
            message_id: task.message_id.and_then(MessageId::new),
            open_message: task.open_message.and_then(MessageId::new),
        };
        let request = v1::ClientRequest::decode(task.request.clone()).ok();
        let (forum, at) = (ForumId::new(record.forum_id), HubTime(record.at_ms));
        let call = request.and_then(|request| Call::read(&request, forum, given, at).ok());
        let Some(call) = call else { return execute_refused() };
        match execute(&call, Session::of(task.session.as_ref()), &Whole(&self.0)) {
            Ok(executed) => executed,
        }
    }

    /// The true answer to a request for rows.
    pub(super) fn answer(&self, asked: &v1::ForumRows, as_of: u64) -> v1::RowsReply {
        let before = asked.before.map(|before| (before.shouted_at_s, before.id));
        let limit = asked.limit as usize;
        let mut messages: Vec<v1::MessageStored> =
            self.0.active_before(before).take(limit + 1).cloned().collect();
        let complete = messages.len() <= limit;
        messages.truncate(limit);
        let forum = before.is_none().then(|| self.0.forum().cloned()).flatten();
        v1::RowsReply { as_of, messages, complete, forum, ..Default::default() }
    }
}

/// What it sends in place of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowLie {
    /// The true rows.
    None,
    /// Messages of another forum.
    OtherForum,
    /// A message under an id that none has.
    NoId,
    /// More messages than were asked for.
    TooMany,
    /// One that is larger than any.
    Long,
    /// Each one twice.
    Doubled,
    /// The oldest first.
    Reversed,
    /// Rows from before the log's newest record of the forum.
    Old,
    /// Nothing, and that there is more.
    Nothing,
    /// Messages with script in place of their markup.
    Script,
}

impl RowLie {
    /// Those that cannot be what was asked for.
    pub const IMPOSSIBLE: [Self; 8] = [
        Self::OtherForum,
        Self::NoId,
        Self::TooMany,
        Self::Long,
        Self::Doubled,
        Self::Reversed,
        Self::Old,
        Self::Nothing,
    ];

    /// The reply with this lie in it.
    pub(super) fn tell(self, mut reply: v1::RowsReply, victim: Victim) -> v1::RowsReply {
        let messages = &mut reply.messages;
        match self {
            Self::None => {}
            Self::OtherForum => messages.iter_mut().for_each(|message| message.forum_id = victim.forum),
            Self::NoId => messages.iter_mut().for_each(|message| message.id = 0),
            Self::TooMany => *messages = vec![v1::MessageStored::default(); 2000],
            Self::Long => messages.iter_mut().for_each(|message| message.html = "x".repeat(LONG_ROW)),
            Self::Doubled => {
                let doubled = messages.iter().flat_map(|message| [message.clone(), message.clone()]);
                *messages = doubled.collect();
            }
            Self::Reversed => messages.reverse(),
            Self::Old => reply.as_of = 0,
            Self::Nothing => (reply.messages, reply.complete) = (Vec::new(), false),
            Self::Script => messages.iter_mut().for_each(|message| message.html = SCRIPT.into()),
        }
        reply
    }
}

/// Whether a request is for a forum's rows, and which.
pub(super) fn of_forum(request: &v1::RowsRequest) -> Option<&v1::ForumRows> {
    match &request.kind {
        Some(Kind::Forum(forum)) => Some(forum),
        _ => None,
    }
}

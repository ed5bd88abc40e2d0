//! The unfinished messages of all forums: those their authors may still go on with.
//!
//! Owns how long one waits for its author, and that none goes while a task goes on with it. Whoever comes back to one that has
//! gone meanwhile is known again for a day, so that what is sent then is a message of its own and not lost. Never reads what a
//! message says.

use std::collections::{BTreeMap, VecDeque};

use loop_proto::{
    ids::{ForumId, HubTime, MessageId},
    v1::{self, fact::Kind},
};

use super::{
    bounds::Bounds,
    shared::{Blocked, SharedMap, SharedSet},
};

/// A message that is not finished.
#[derive(Clone, PartialEq)]
pub(super) struct OpenMessage {
    /// Its forum.
    pub forum: ForumId,
    /// Its author's user; `None`: it has none, and the address tells the author.
    pub author: Option<u32>,
    /// Its author's fake address.
    pub address: String,
    /// When it was written last, in the log's time without its jumps.
    pub at: HubTime,
}

impl OpenMessage {
    /// Whether a request to `forum` by this user, or without one from this address, may go on with it.
    fn is_of(&self, forum: ForumId, user: Option<u32>, address: &str) -> bool {
        self.forum == forum && self.is_by(user, address)
    }

    fn is_by(&self, user: Option<u32>, address: &str) -> bool {
        match self.author {
            Some(author) => user == Some(author),
            None => user.is_none() && self.address == address,
        }
    }
}

/// What a fact makes of the table.
pub(super) enum Step {
    /// A message is begun, or gone on with and still unfinished.
    Opened(MessageId, OpenMessage),
    /// A message is finished.
    Stored(MessageId),
    /// A message is finished, and not shown: it says what was said before.
    Hidden(MessageId),
    /// A message is gone.
    Removed(MessageId),
}

impl Step {
    /// What a committed fact of `forum` makes of the table, if it makes anything of it. A message that is hidden only
    /// stays unfinished: its author has stopped typing and may go on.
    pub(super) fn of(fact: &v1::Fact, forum: ForumId, at: HubTime) -> Option<Self> {
        match fact.kind.as_ref()? {
            Kind::MessageStored(message) if message.status() == v1::MessageStatus::Typing => {
                let (author, address) = (message.author_id, message.author_address.clone());
                Some(Self::Opened(MessageId::new(message.id)?, OpenMessage { forum, author, address, at }))
            }
            Kind::MessageStored(message) => MessageId::new(message.id).map(Self::Stored),
            Kind::MessageHidden(hidden) if hidden.finished => MessageId::new(hidden.id).map(Self::Hidden),
            Kind::MessageRemoved(removed) => MessageId::new(removed.id).map(Self::Removed),
            _ => None,
        }
    }
}

/// A message's place in the order in which they go: those that a task waits for last, else the oldest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age {
    pub is_awaited: bool,
    pub at: HubTime,
    pub id: MessageId,
}

/// Unfinished messages by age, cut as sessions are.
impl Blocked for Age {
    type Block = (bool, u64);

    fn block(&self) -> Self::Block {
        (self.is_awaited, self.at.0 >> 20)
    }
}

/// All unfinished messages.
#[derive(Clone, Default, PartialEq)]
pub(super) struct OpenMessages {
    by_id: SharedMap<MessageId, OpenMessage>,
    by_age: SharedSet<Age>,
    // How many open tasks go on with each; also with one that is finished by now.
    awaited: BTreeMap<MessageId, u32>,
    // Those that nobody came back to in time, since when, the next to be forgotten first. As many as may be unfinished.
    lapsed: SharedMap<MessageId, OpenMessage>,
    lapsed_order: VecDeque<MessageId>,
}

/// How long it is remembered that a message was taken away unfinished, milliseconds.
const LAPSED_REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

impl OpenMessages {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn contains(&self, id: MessageId) -> bool {
        self.by_id.get(&id).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (MessageId, &OpenMessage)> {
        self.by_id.iter().map(|(id, message)| (*id, message))
    }

    /// Whether a request may go on with that message; see [`OpenMessage::is_of`].
    pub fn is_of(&self, id: MessageId, forum: ForumId, user: Option<u32>, address: &str) -> bool {
        self.by_id.get(&id).is_some_and(|message| message.is_of(forum, user, address))
    }

    /// Puts a message in, in place of what was known of it. Whether it was unfinished before.
    pub fn put(&mut self, id: MessageId, message: OpenMessage) -> bool {
        let known = self.take(id);
        self.by_age.insert(self.age(id, &message));
        self.by_id.insert(id, message);
        known.is_some()
    }

    /// Lets a message go; not at the word of another forum. Whether it was there.
    pub fn close(&mut self, id: MessageId, forum: ForumId) -> bool {
        self.by_id.get(&id).is_some_and(|message| message.forum == forum) && self.take(id).is_some()
    }

    /// Does a fact's step: whether its message was an unfinished one of the forum before. None goes to another forum.
    pub fn step(&mut self, forum: ForumId, step: &Step) -> Option<bool> {
        match step {
            Step::Opened(id, message) => {
                let is_anothers = self.by_id.get(id).is_some_and(|known| known.forum != message.forum);
                (!is_anothers).then(|| self.put(*id, message.clone()))
            }
            Step::Stored(id) | Step::Hidden(id) | Step::Removed(id) => Some(self.close(*id, forum)),
        }
    }

    /// Lets all unfinished messages of a forum lapse.
    pub fn lapse_all_of(&mut self, forum: ForumId, now: HubTime, bounds: &Bounds) {
        let of_forum = self.iter().filter(|(_, message)| message.forum == forum).map(|(id, _)| id);
        for id in of_forum.collect::<Vec<_>>() {
            self.lapse(id, now, bounds);
        }
    }

    /// Nobody came back to the message in time: it is gone, and whose it was is remembered for a while. Its forum.
    pub fn lapse(&mut self, id: MessageId, now: HubTime, bounds: &Bounds) -> Option<ForumId> {
        let message = self.take(id)?;
        let forum = message.forum;
        self.put_lapsed(id, OpenMessage { at: now, ..message });
        while let Some(oldest) = self.lapsed_order.front().copied() {
            let since = self.lapsed.get(&oldest).map_or(0, |message| message.at.0);
            let is_over = self.lapsed_order.len() as u64 > bounds.open_messages_max;
            if !is_over && since.saturating_add(LAPSED_REMEMBERED_MS) > now.0 {
                break;
            }
            self.lapsed_order.pop_front();
            self.lapsed.remove(&oldest);
        }
        Some(forum)
    }

    /// Puts a message in that has lapsed at `message.at`, later than all others.
    pub fn put_lapsed(&mut self, id: MessageId, message: OpenMessage) {
        if self.lapsed.insert(id, message).is_none() {
            self.lapsed_order.push_back(id);
        }
    }

    /// Those that have lapsed, the next to be forgotten first.
    pub fn lapsed(&self) -> impl Iterator<Item = (MessageId, &OpenMessage)> {
        self.lapsed_order.iter().filter_map(|id| Some((*id, self.lapsed.get(id)?)))
    }

    /// Whether the message was this author's, in such a forum, and lapsed.
    pub fn has_lapsed(
        &self,
        id: MessageId,
        is_here: impl Fn(ForumId) -> bool,
        user: Option<u32>,
        address: &str,
    ) -> bool {
        let is_own = |message: &OpenMessage| is_here(message.forum) && message.is_by(user, address);
        self.lapsed.get(&id).is_some_and(is_own)
    }

    /// A task that goes on with the message is open from here on.
    pub fn begin_waiting(&mut self, id: MessageId) {
        self.change_waiting(id, |waiting| waiting.saturating_add(1));
    }

    /// Such a task is answered.
    pub fn end_waiting(&mut self, id: MessageId) {
        self.change_waiting(id, |waiting| waiting.saturating_sub(1));
    }

    /// The messages that must go: all that is above the bound, and of those that have lapsed at most `lapsed_max`. While
    /// a task goes on with one it does not lapse: whoever committed it may have been gone for as long as the forum's
    /// peers were.
    pub fn due(&self, now: HubTime, bounds: &Bounds, lapsed_max: usize) -> Vec<(MessageId, ForumId)> {
        let over = (self.len() as u64).saturating_sub(bounds.open_messages_max);
        let mut due = Vec::new();
        for age in self.by_age.iter() {
            let lapsed = !age.is_awaited && age.at.0.saturating_add(bounds.open_message_age_ms) <= now.0;
            if due.len() as u64 >= over && (!lapsed || due.len() >= lapsed_max) {
                break;
            }
            due.extend(self.by_id.get(&age.id).map(|message| (age.id, message.forum)));
        }
        due
    }

    fn age(&self, id: MessageId, message: &OpenMessage) -> Age {
        Age { is_awaited: self.awaited.contains_key(&id), at: message.at, id }
    }

    fn take(&mut self, id: MessageId) -> Option<OpenMessage> {
        let message = self.by_id.remove(&id)?;
        self.by_age.remove(&self.age(id, &message));
        Some(message)
    }

    fn change_waiting(&mut self, id: MessageId, change: impl Fn(u32) -> u32) {
        let message = self.take(id);
        match change(self.awaited.get(&id).copied().unwrap_or(0)) {
            0 => self.awaited.remove(&id),
            waiting => self.awaited.insert(id, waiting),
        };
        if let Some(message) = message {
            self.put(id, message);
        }
    }

    /// Checks the indexes; `awaited` are the messages that the open tasks go on with.
    pub fn check(&self, now: HubTime, awaited: impl Iterator<Item = MessageId>) -> Result<(), &'static str> {
        let indexed = |(id, message): (MessageId, &OpenMessage)| self.by_age.contains(&self.age(id, message));
        if self.by_age.len() != self.by_id.len() || !self.iter().all(indexed) {
            return Err("the index of unfinished messages by age is wrong");
        }
        if self.lapsed.len() != self.lapsed_order.len() || self.lapsed().count() != self.lapsed.len() {
            return Err("the order of lapsed messages is wrong");
        }
        if self.iter().chain(self.lapsed()).any(|(_, message)| message.at > now) {
            return Err("an unfinished message lies in the future");
        }
        let mut counted: BTreeMap<MessageId, u32> = BTreeMap::new();
        for id in awaited {
            *counted.entry(id).or_default() += 1;
        }
        if counted != self.awaited {
            return Err("the tasks that go on with messages are miscounted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { open_messages_max: 3, open_message_age_ms: 100, ..Bounds::STANDARD };

    fn id(raw: u32) -> MessageId {
        MessageId::new(raw).unwrap()
    }

    fn forum(raw: u32) -> ForumId {
        ForumId::new(raw).unwrap()
    }

    fn message(author: Option<u32>, at: u64) -> OpenMessage {
        OpenMessage { forum: forum(1), author, address: "192.0.0.0".into(), at: HubTime(at) }
    }

    fn due(messages: &OpenMessages, now: u64) -> Vec<u32> {
        messages.due(HubTime(now), &BOUNDS, 2).iter().map(|(id, _)| id.get()).collect()
    }

    #[test]
    fn a_message_is_gone_on_with_by_its_author_in_its_forum() {
        let mut messages = OpenMessages::default();
        messages.put(id(1), message(Some(7), 0));
        messages.put(id(2), message(None, 0));
        let may = |raw, of, user| messages.is_of(id(raw), forum(of), user, "192.0.0.0");
        assert!(may(1, 1, Some(7)) && !may(1, 2, Some(7)) && !may(1, 1, Some(8)) && !may(1, 1, None));
        assert!(may(2, 1, None) && !may(2, 1, Some(7)) && !may(3, 1, None));
        assert!(!messages.is_of(id(2), forum(1), None, "192.1.1.1"));
    }

    #[test]
    fn the_oldest_go_first_and_those_a_task_waits_for_only_above_the_bound() {
        let mut messages = OpenMessages::default();
        for (raw, at) in [(1, 10), (2, 20), (3, 30)] {
            messages.put(id(raw), message(None, at));
        }
        assert_eq!(
            (due(&messages, 109), due(&messages, 110), due(&messages, 999)),
            (vec![], vec![1], vec![1, 2])
        );
        messages.begin_waiting(id(1));
        messages.begin_waiting(id(1));
        messages.put(id(2), message(None, 25));
        assert_eq!(
            (due(&messages, 124), due(&messages, 125), due(&messages, 999)),
            (vec![], vec![2], vec![2, 3])
        );
        messages.begin_waiting(id(2));
        messages.begin_waiting(id(3));
        messages.put(id(4), message(None, 40));
        messages.begin_waiting(id(4));
        assert_eq!(due(&messages, 999), [1]);
        messages.end_waiting(id(1));
        assert_eq!(due(&messages, 999), [1], "a task waits still, but they are too many");
        messages.close(id(1), forum(2));
        messages.close(id(1), forum(1));
        messages.end_waiting(id(1));
        assert_eq!((messages.len(), due(&messages, 999)), (3, vec![]));
        messages.check(HubTime(40), [2, 3, 4].into_iter().map(id)).unwrap();
        assert!(messages.check(HubTime(39), [2, 3, 4].into_iter().map(id)).is_err());
        assert!(messages.check(HubTime(40), [2, 3].into_iter().map(id)).is_err());
    }
}

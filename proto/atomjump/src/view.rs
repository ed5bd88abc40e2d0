//! What an endpoint may see of the rows. Owns who may see a message; never knows where rows are kept.

use std::{
    hash::{DefaultHasher, Hasher},
    sync::{Arc, OnceLock},
};

use loop_proto::v1;

use crate::json;

/// Whoever reads or writes.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a> {
    /// The session's user.
    pub user: Option<u32>,
    /// The session's fake address.
    pub ip: &'a str,
    /// The group whose whispers it may see.
    pub group: Option<u32>,
}

impl Viewer<'_> {
    /// Whether the row may be shown.
    pub fn sees(&self, row: &v1::MessageStored) -> bool {
        row.whisper_to_address.is_empty() || self.is_recipient(row) || self.is_author(row)
    }

    /// Whether it is shown as a whisper.
    pub fn is_whisper(&self, row: &v1::MessageStored) -> bool {
        let has_target = !row.whisper_to_address.is_empty();
        has_target && self.user.is_some() && (self.is_recipient(row) || self.is_author(row))
    }

    /// Whether the row was written by this user, or, having no user, from this address.
    pub fn is_author(&self, row: &v1::MessageStored) -> bool {
        match row.author_id {
            Some(author) => self.user == Some(author),
            None => row.author_address == self.ip,
        }
    }

    fn is_recipient(&self, row: &v1::MessageStored) -> bool {
        match row.whisper_to_id {
            Some(to) => self.user == Some(to) || self.group == Some(to),
            None => row.whisper_to_address == self.ip,
        }
    }
}

/// A message, with the parts of its JSON that are the same for every reader.
#[derive(Debug)]
pub struct Row {
    /// The row itself.
    pub message: v1::MessageStored,
    /// The author's name in lower case, for comparing.
    pub name_key: String,
    php: OnceLock<Vec<u8>>,
    fast: OnceLock<Vec<u8>>,
    content: OnceLock<u64>,
}

impl Row {
    /// Wraps a row.
    pub fn new(message: v1::MessageStored) -> Arc<Self> {
        let name_key = message.author_name.to_lowercase();
        Arc::new(Self {
            message,
            name_key,
            php: OnceLock::new(),
            fast: OnceLock::new(),
            content: OnceLock::new(),
        })
    }

    /// The same row, shown no more.
    pub fn hidden(&self, finished: bool) -> Arc<Self> {
        let mut message = self.message.clone();
        message.active = false;
        if finished {
            message.set_status(v1::MessageStatus::Final);
        }
        Self::new(message)
    }

    /// Its element in PHP's dialect, up to the time.
    pub fn php_json(&self) -> &[u8] {
        self.php.get_or_init(|| {
            let mut php = Vec::with_capacity(self.message.html.len() + 96);
            php.extend_from_slice(b"{\"id\":\"");
            json::number(&mut php, self.message.id.into());
            php.extend_from_slice(b"\",\"text\":");
            json::php_string(&mut php, &self.message.html);
            php.extend_from_slice(b",\"lat\":null,\"lon\":null,\"dist\":null,\"ago\":");
            php
        })
    }

    /// Its element in loop-server-fast's dialect, up to the time.
    pub fn fast_json(&self) -> &[u8] {
        self.fast.get_or_init(|| {
            let mut fast = Vec::with_capacity(self.message.html.len() + 48);
            fast.extend_from_slice(b"{\"id\":");
            json::number(&mut fast, self.message.id.into());
            fast.extend_from_slice(b",\"text\":");
            json::plain_string(&mut fast, &self.message.html);
            fast.extend_from_slice(b",\"ago\":");
            fast
        })
    }

    /// Stands for what readers are shown of it, in this process: whoever was shown a row with another one must be shown this one.
    pub fn content(&self) -> u64 {
        *self.content.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            hasher.write(self.php_json());
            hasher.finish()
        })
    }

    /// What it costs in memory, bytes, with its JSON ready in both dialects.
    pub fn bytes(&self) -> usize {
        let message = &self.message;
        let addresses = message.author_address.len() + message.whisper_to_address.len();
        656 + 3 * message.html.len() + message.text.len() + 3 * message.author_name.len() + addresses
    }

    /// Where it stands in its forum: later messages are greater.
    pub fn key(&self) -> (u64, u32) {
        (self.message.shouted_at_s, self.message.id)
    }
}

/// One forum's rows as a reader is shown them.
pub trait ReadView {
    /// Why rows could not be had.
    type Error;

    /// The forum's row; `None` if it has none.
    fn forum(&self) -> Option<&v1::ForumStored>;

    /// Whether `user` is an active subscriber, an owner in AtomJump's words.
    fn is_subscriber(&self, user: u32) -> bool;

    /// Active messages `viewer` may see, newest first, at most `limit`.
    fn newest(
        &self,
        viewer: &Viewer<'_>,
        limit: usize,
        visit: &mut dyn FnMut(&Row),
    ) -> Result<(), Self::Error>;

    /// A user, of whatever forum.
    fn user(&self, id: u32) -> Result<Option<v1::UserStored>, Self::Error>;
}

/// One forum's rows as an execution needs them: with what the executions before it changed, committed or not.
pub trait WriteView {
    /// Why rows could not be had.
    type Error;

    /// The forum's row; `None` if it has none.
    fn forum(&self) -> Option<&v1::ForumStored>;

    /// Whether `user` is an active subscriber.
    fn is_subscriber(&self, user: u32) -> bool;

    /// A message of this forum, hidden ones too.
    fn message(&self, id: u32) -> Result<Option<Arc<Row>>, Self::Error>;

    /// The authors who used a name, compared without case, in active messages; by their first one.
    fn authors_named(&self, name: &str) -> Result<Vec<Option<u32>>, Self::Error>;

    /// Whether another message with this text came from this address since `since_s`.
    fn was_said(&self, ip: &str, text: &str, since_s: u64, except: u32) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(user: u32) -> Viewer<'static> {
        Viewer { user: Some(user), ip: "192.1.1.1", group: None }
    }

    fn whisper(to_address: &str, to_id: Option<u32>) -> v1::MessageStored {
        v1::MessageStored {
            author_id: Some(7),
            author_address: "192.2.2.2".into(),
            whisper_to_address: to_address.into(),
            whisper_to_id: to_id,
            ..Default::default()
        }
    }

    #[test]
    fn a_whisper_is_seen_by_its_two_people_only() {
        let row = whisper("192.9.9.9", Some(8));
        assert!(viewer(7).sees(&row) && viewer(8).sees(&row) && !viewer(9).sees(&row));
        assert!(viewer(7).is_whisper(&row) && viewer(8).is_whisper(&row));
        // The address counts only where no user was named.
        assert!(!viewer(9).sees(&whisper("192.1.1.1", Some(8))));
        assert!(viewer(9).sees(&whisper("192.1.1.1", None)));
    }

    #[test]
    fn a_group_whisper_is_seen_by_subscribers_and_public_messages_by_all() {
        let row = whisper("1.1.2.1", Some(431));
        assert!(Viewer { group: Some(431), ..viewer(9) }.is_whisper(&row));
        assert!(!viewer(9).sees(&row));
        let public = whisper("", None);
        assert!(Viewer { user: None, ..viewer(9) }.sees(&public) && !viewer(7).is_whisper(&public));
    }

    #[test]
    fn rows_hold_their_json_ready() {
        let row = Row::new(v1::MessageStored { id: 5, html: "a/é".into(), ..Default::default() });
        assert_eq!(
            row.php_json(),
            br#"{"id":"5","text":"a\/\u00e9","lat":null,"lon":null,"dist":null,"ago":"#
        );
        assert_eq!(row.fast_json(), r#"{"id":5,"text":"a/é","ago":"#.as_bytes());
    }
}

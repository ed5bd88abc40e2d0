//! What a request may know of its session. Owns which forums a session may read; never knows where sessions are kept.

use loop_proto::v1;

/// A session as committed, or none: robots have none, and no session is kept before its first write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session<'a> {
    record: Option<&'a v1::SessionRecord>,
}

impl<'a> Session<'a> {
    /// Looks at the record.
    pub fn of(record: Option<&'a v1::SessionRecord>) -> Self {
        Self { record }
    }

    /// Who writes in it; `None` before its first write.
    pub fn user(self) -> Option<u32> {
        self.record.map(|record| record.user_id).filter(|user| *user != 0)
    }

    /// The display name given last; empty if none.
    pub fn name(self) -> &'a str {
        self.record.map_or("", |record| &record.name)
    }

    /// The latitude given last, as it was given; empty if none.
    pub fn latitude(self) -> &'a str {
        self.record.map_or("", |record| &record.latitude)
    }

    /// The longitude given last, likewise.
    pub fn longitude(self) -> &'a str {
        self.record.map_or("", |record| &record.longitude)
    }

    /// The email given with a password in this session; empty if none.
    pub fn email(self) -> &'a str {
        self.record.map_or("", |record| &record.email)
    }

    /// Whether the forum's own password was given in this session.
    pub fn holds_password_of(self, forum: u32) -> bool {
        self.record.is_some_and(|record| record.forums_granted.contains(&forum))
    }

    /// Whether it may read the forum's messages. Unlike in the PHP, a visit of an open forum opens no other.
    pub fn may_read(self, forum: &v1::ForumStored) -> bool {
        forum.password_hash.is_none() || self.holds_password_of(forum.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protected_forum_is_read_with_its_own_password_only() {
        let record = v1::SessionRecord { forums_granted: vec![186], ..Default::default() };
        let (granted, stranger) = (Session::of(Some(&record)), Session::default());
        let forum = |id, password: Option<&str>| v1::ForumStored {
            id,
            password_hash: password.map(str::to_owned),
            ..Default::default()
        };
        assert!(stranger.may_read(&forum(1, None)));
        assert!(granted.may_read(&forum(186, Some("x"))) && !stranger.may_read(&forum(186, Some("x"))));
        assert!(!granted.may_read(&forum(190, Some("x"))));
    }
}

//! The newest committed record of each browser session, until it lapses by log time.
//!
//! Owns how changes are put into a session. Never prints its id: whoever has the id is the user.

use std::{fmt, sync::Arc};

use loop_proto::{
    ids::{HubTime, SESSION_ID_MAX, TaskId, is_session_id},
    v1,
};

use super::{
    bounds::Bounds,
    shared::{Blocked, Keyed, SharedMap, SharedSet, fold},
};

/// What a session costs in memory besides its data: record, strings, two indexes' entries.
const SESSION_OVERHEAD_BYTES: u64 = 320;

/// A session id: 1 to 32 of `[A-Za-z0-9,-]`. Full authority over a user's session, so it never prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId {
    // Padded with zeros, which no id contains: inline, so that look-ups allocate nothing.
    padded: [u8; SESSION_ID_MAX],
}

impl SessionId {
    /// `None` unless it is 1 to 32 of the allowed characters.
    pub fn parse(id: &str) -> Option<Self> {
        if !is_session_id(id.as_bytes()) {
            return None;
        }
        let mut padded = [0; SESSION_ID_MAX];
        padded[..id.len()].copy_from_slice(id.as_bytes());
        Some(Self { padded })
    }

    /// The id and zeros after it.
    pub(super) fn padded(&self) -> &[u8; SESSION_ID_MAX] {
        &self.padded
    }

    /// The id itself. A secret.
    pub fn as_str(&self) -> &str {
        let len = self.padded.iter().position(|byte| *byte == 0).unwrap_or(SESSION_ID_MAX);
        std::str::from_utf8(&self.padded[..len]).expect("a session id was parsed from ASCII")
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session …")
    }
}

impl Keyed for SessionId {
    fn spread(&self) -> u64 {
        fold(self.padded())
    }
}

/// Sessions by the time they lapse, about 17 minutes to a block: days of it must not be a million blocks.
impl Blocked for (HubTime, SessionId) {
    type Block = u64;

    fn block(&self) -> Self::Block {
        self.0.0 >> 20
    }
}

/// One session as the hubs keep it.
#[derive(Clone, PartialEq)]
pub(super) struct Session {
    pub record: Arc<v1::SessionRecord>,
    /// When it was last used or changed, by the log's time.
    pub stored_at: HubTime,
}

/// All sessions.
#[derive(Clone, Default, PartialEq)]
pub struct Sessions {
    by_id: SharedMap<SessionId, Session>,
    by_expiry: SharedSet<(HubTime, SessionId)>,
    bytes: u64,
}

impl Sessions {
    /// The newest committed record of a session.
    pub fn get(&self, id: &SessionId) -> Option<&Arc<v1::SessionRecord>> {
        self.by_id.get(id).map(|session| &session.record)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.by_id.len() == 0
    }

    /// What they cost, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.iter().map(|(_, session)| session)
    }

    pub(super) fn store(&mut self, id: SessionId, session: Session, bounds: &Bounds) {
        self.remove(&id, bounds);
        self.bytes += bytes(&session.record);
        self.by_expiry.insert((expiry(&session, bounds), id));
        self.by_id.insert(id, session);
    }

    /// Forgets the `count` sessions that lapse first.
    pub(super) fn forget(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, id)) = self.by_expiry.pop_first() else { return };
            let Some(session) = self.by_id.remove(&id) else { continue };
            self.bytes -= bytes(&session.record);
        }
    }

    /// How many sessions must go: all that is above the bounds, and of those that have lapsed at most `lapsed_max`.
    pub(super) fn due(&self, now: HubTime, bounds: &Bounds, lapsed_max: usize) -> usize {
        let (mut kept, mut bytes_kept) = (self.by_id.len() as u64, self.bytes);
        let mut due = 0;
        for (expiry, id) in self.by_expiry.iter() {
            let over = kept > bounds.sessions_max || bytes_kept > bounds.sessions_bytes_max;
            if !over && (*expiry > now || due >= lapsed_max) {
                break;
            }
            kept -= 1;
            bytes_kept -= self.by_id.get(id).map_or(0, |session| bytes(&session.record));
            due += 1;
        }
        due
    }

    fn remove(&mut self, id: &SessionId, bounds: &Bounds) {
        if let Some(session) = self.by_id.remove(id) {
            self.bytes -= bytes(&session.record);
            self.by_expiry.remove(&(expiry(&session, bounds), *id));
        }
    }

    pub(super) fn check(&self, bounds: &Bounds) -> Result<(), &'static str> {
        let indexed = |(id, session): (&SessionId, &Session)| {
            session.record.id == id.as_str() && self.by_expiry.contains(&(expiry(session, bounds), *id))
        };
        if self.by_id.len() != self.by_expiry.len() || !self.by_id.iter().all(indexed) {
            return Err("the index of sessions by expiry is wrong");
        }
        if self.iter().map(|session| bytes(&session.record)).sum::<u64>() != self.bytes {
            return Err("the sessions' bytes are miscounted");
        }
        Ok(())
    }
}

/// A session that begins with this user.
pub(super) fn new(id: &SessionId, user: u32, version: TaskId, now: HubTime) -> Arc<v1::SessionRecord> {
    Arc::new(v1::SessionRecord {
        id: id.as_str().to_owned(),
        version: version.get(),
        user_id: user,
        created_at_s: now.seconds(),
        updated_at_s: now.seconds(),
        ..Default::default()
    })
}

/// The session with what is set in `change`.
pub(super) fn changed(
    record: &v1::SessionRecord,
    change: &v1::SessionChange,
    version: TaskId,
    now: HubTime,
) -> Arc<v1::SessionRecord> {
    let or = |new: &Option<String>, old: &String| new.as_ref().unwrap_or(old).clone();
    Arc::new(v1::SessionRecord {
        version: version.get(),
        updated_at_s: now.seconds(),
        name: or(&change.name, &record.name),
        latitude: or(&change.latitude, &record.latitude),
        longitude: or(&change.longitude, &record.longitude),
        ..record.clone()
    })
}

/// When a session lapses.
fn expiry(session: &Session, bounds: &Bounds) -> HubTime {
    HubTime(session.stored_at.0.saturating_add(bounds.session_age_ms))
}

fn bytes(record: &v1::SessionRecord) -> u64 {
    let texts = [&record.name, &record.latitude, &record.longitude, &record.email];
    let texts: usize = texts.into_iter().map(String::len).sum();
    (texts + 4 * record.forums_granted.len()) as u64 + SESSION_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_1_to_32_of_phps_characters_and_never_prints() {
        let id = SessionId::parse("0abcdefghij,-KLMNOPQRSTUVWXYZ019").unwrap();
        assert_eq!(id.as_str(), "0abcdefghij,-KLMNOPQRSTUVWXYZ019");
        assert_eq!(format!("{id:?}"), "session …");
        let too_long = "a".repeat(33);
        for bad in ["", "a b", "é", "a\0", "../x", too_long.as_str()] {
            assert_eq!(SessionId::parse(bad), None);
        }
    }

    #[test]
    fn a_stored_session_replaces_the_one_before_in_count_bytes_and_expiry() {
        let bounds = Bounds { session_age_ms: 100, ..Bounds::STANDARD };
        let (id, at) = (SessionId::parse("abc").unwrap(), HubTime);
        let first = new(&id, 414, TaskId::new(1).unwrap(), at(0));
        let change = v1::SessionChange { name: Some("Ann".into()), ..Default::default() };
        let named = changed(&first, &change, TaskId::new(2).unwrap(), at(5));
        let mut sessions = Sessions::default();
        sessions.store(id, Session { record: named, stored_at: at(0) }, &bounds);
        assert_eq!((sessions.bytes(), sessions.due(at(99), &bounds, 8)), (SESSION_OVERHEAD_BYTES + 3, 0));
        assert_eq!(sessions.due(at(100), &bounds, 8), 1);
        sessions.store(id, Session { record: first, stored_at: at(5) }, &bounds);
        assert_eq!((sessions.len(), sessions.bytes()), (1, SESSION_OVERHEAD_BYTES));
        assert_eq!((sessions.due(at(104), &bounds, 8), sessions.due(at(105), &bounds, 8)), (0, 1));
        sessions.check(&bounds).unwrap();
        sessions.forget(3);
        assert!(sessions.is_empty() && sessions.bytes() == 0);
        sessions.check(&bounds).unwrap();
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let id = SessionId::parse("abc").unwrap();
        let first = new(&id, 414, TaskId::new(1).unwrap(), HubTime(1_000));
        let place = v1::SessionChange { latitude: Some("48.5".into()), ..Default::default() };
        let name = v1::SessionChange { name: Some("Ann".into()), ..Default::default() };
        let at = |raw| TaskId::new(raw).unwrap();
        let both = changed(&changed(&first, &place, at(2), HubTime(2_000)), &name, at(3), HubTime(3_000));
        assert_eq!(
            (both.name.as_str(), both.latitude.as_str(), both.longitude.as_str()),
            ("Ann", "48.5", "")
        );
        assert_eq!((both.user_id, both.version, both.created_at_s, both.updated_at_s), (414, 3, 1, 3));
    }
}

//! A session as it was stored, and whether a changed one is worth storing again.

use loop_proto::v1;

use crate::{request::Request, session::Session};

/// A session that changed in nothing but its last use is stored again only after this time, seconds.
const REFRESH_S: u64 = 86_400;

/// A session as read, and the record it came from.
#[derive(Default)]
pub struct StoredSession {
    record: Option<v1::SessionRecord>,
    pub(crate) session: Session,
}

impl StoredSession {
    /// Reads the record; an empty session if there is none.
    pub fn of(record: Option<v1::SessionRecord>) -> Self {
        let session = record.as_ref().map(|record| Session::parse(&record.data)).unwrap_or_default();
        Self { record, session }
    }

    /// The record to store, if there is anything new in `session`.
    pub(crate) fn changed(&self, session: &Session, request: &Request) -> Option<v1::SessionRecord> {
        if request.session_id.is_empty() || (*session == self.session && session.user().is_none()) {
            return None;
        }
        let user_id = session.user().map(|id| id.to_string());
        let held = self.record.as_ref();
        let is_fresh = held.is_some_and(|record| {
            record.user_id == user_id && request.now_s.saturating_sub(record.updated_at_s) < REFRESH_S
        });
        if *session == self.session && is_fresh {
            return None;
        }
        Some(v1::SessionRecord {
            id: request.session_id.clone(),
            version: held.map_or(0, |record| record.version),
            user_id,
            created_at_s: held.map_or(request.now_s, |record| record.created_at_s),
            updated_at_s: request.now_s,
            data: session.serialise().into(),
        })
    }
}

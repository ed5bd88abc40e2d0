//! Users and sessions: what every forum shares. The newest in memory, the rest on disk.

use loop_proto::v1;
use parking_lot::Mutex;

use super::{recent::Recent, store::Store};
use crate::backend::BackendError;

/// Users and sessions remembered at least, each; twice as many at most, and those still queued.
const USERS_KEPT: usize = 2048;
const SESSIONS_KEPT: usize = 8192;

/// Users and sessions of this peer.
pub struct Directory {
    users: Mutex<Recent<u32, v1::UserStored>>,
    sessions: Mutex<Recent<String, v1::SessionRecord>>,
}

impl Directory {
    /// Empty.
    pub fn new() -> Self {
        Self { users: Mutex::new(Recent::new(USERS_KEPT)), sessions: Mutex::new(Recent::new(SESSIONS_KEPT)) }
    }

    /// Takes a committed user.
    pub fn apply_user(&self, user: v1::UserStored, record: u64, durable: u64) {
        self.users.lock().insert(user.id, user, record, durable);
    }

    /// Takes a committed session.
    pub fn apply_session(&self, session: v1::SessionRecord, record: u64, durable: u64) {
        self.sessions.lock().insert(session.id.clone(), session, record, durable);
    }

    /// Users and sessions were written to the disk past this: what it has by now is asked of it again.
    pub fn forget_durable(&self, durable: u64) {
        self.users.lock().forget_durable(durable);
        self.sessions.lock().forget_durable(durable);
    }

    /// A user by id.
    pub fn user(&self, store: &Store, id: u32) -> Result<Option<v1::UserStored>, BackendError> {
        let recent = self.users.lock().get(&id).cloned();
        match recent {
            Some(user) => Ok(Some(user)),
            None => store.user(id),
        }
    }

    /// The newest of what came with a request and what was applied here. The disk is asked only where the request came
    /// without any: the hubs forget sessions sooner than peers do.
    pub fn newest_session(
        &self,
        store: &Store,
        id: &str,
        sent: Option<&v1::SessionRecord>,
    ) -> Result<Option<v1::SessionRecord>, BackendError> {
        let applied = self.sessions.lock().get(id).cloned();
        match (applied, sent) {
            (Some(applied), Some(sent)) if applied.version < sent.version => Ok(Some(sent.clone())),
            (Some(applied), _) => Ok(Some(applied)),
            (None, Some(sent)) => Ok(Some(sent.clone())),
            (None, None) if id.is_empty() => Ok(None),
            (None, None) => store.session(id),
        }
    }
}

//! Users: what every forum shares. The newest in memory, the rest on disk.

use loop_proto::v1;
use parking_lot::Mutex;

use super::{recent::Recent, store::Store};
use crate::backend::BackendError;

/// Users remembered at least; twice as many at most, and those still queued.
const USERS_KEPT: usize = 2048;

/// Users of this peer.
pub struct Directory {
    users: Mutex<Recent<u32, v1::UserStored>>,
}

impl Directory {
    /// Empty.
    pub fn new() -> Self {
        Self { users: Mutex::new(Recent::new(USERS_KEPT)) }
    }

    /// Takes a committed user.
    pub fn apply_user(&self, user: v1::UserStored, record: u64, durable: u64) {
        self.users.lock().insert(user.id, user, record, durable);
    }

    /// Users were written to the disk past this: what it has by now is asked of it again.
    pub fn forget_durable(&self, durable: u64) {
        self.users.lock().forget_durable(durable);
    }

    /// A user by id.
    pub fn user(&self, store: &Store, id: u32) -> Result<Option<v1::UserStored>, BackendError> {
        let recent = self.users.lock().get(&id).cloned();
        match recent {
            Some(user) => Ok(Some(user)),
            None => store.user(id),
        }
    }
}

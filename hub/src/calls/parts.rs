//! What serving a call uses.

use std::sync::Arc;

use loop_atomjump::{Answer, Call, Given, refused};
use loop_hub_edge::gateway::{CallError, ClientCall};
use loop_proto::ids::ForumId;

use super::{waiters::Waiters, watchers::Watchers};
use crate::{
    log::{AgreedLog, Stale},
    mesh::traffic::Traffic,
    placement::Placement,
    windows::Windows,
};

/// Serves clients' calls.
pub struct Calls {
    /// What is agreed, and the way to change it.
    pub log: AgreedLog,
    /// The newest rows of forums that are looked at.
    pub windows: Arc<Windows>,
    /// Browsers that wait for a write.
    pub waiters: Arc<Waiters>,
    /// Browsers that watch a forum.
    pub watchers: Arc<Watchers>,
    /// Where new forums go.
    pub placement: Placement,
    /// Where reads are counted.
    pub traffic: Arc<Traffic>,
}

impl Calls {
    /// The call as rendering reads it, before its forum is looked up.
    pub(super) fn decoded(&self, call: &ClientCall) -> Result<Call, Answer> {
        let call = Call::read(&call.request, None, Given::default(), self.log.now());
        call.map_err(|too_much| refused(&too_much))
    }

    /// The forum the call is routed by, if somebody has opened it.
    pub(super) fn forum_of(&self, call: &ClientCall) -> Option<ForumId> {
        call.forum.and_then(|key| self.log.read(|state| state.forum_by_key(key)))
    }
}

impl From<Stale> for CallError {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::NoLeader => Self::NoLeader,
            Stale::Behind => Self::Timeout,
        }
    }
}

//! Which copies of a forum are live: complete, serving, and on a peer that is connected.
//!
//! One definition for the plan, for operators and for metrics.

use loop_proto::ids::PeerId;
use loop_raft_store::machine::Forum;

/// Records a live copy may lack: what a connected peer applies in less than a second.
pub const LAG_MAX: u64 = 4096;

/// Whether a peer with this cursor has all of the forum, but for what is on its way to it.
pub fn is_complete(forum: &Forum, cursor: u64) -> bool {
    cursor.saturating_add(LAG_MAX) >= forum.newest_record
}

/// Peers whose copies are live. `cursor` is that of a connected peer; `None`: it is not connected.
pub fn live<'a>(
    forum: &'a Forum,
    cursor: impl Fn(PeerId) -> Option<u64> + 'a,
) -> impl Iterator<Item = PeerId> + 'a {
    forum.serving().filter(move |peer| cursor(*peer).is_some_and(|cursor| is_complete(forum, cursor)))
}

/// How many live copies a forum shall have, where `by_default` says it for those of which nothing was said.
pub fn wanted(forum: &Forum, by_default: usize) -> usize {
    forum.replicas_wanted.map_or(by_default, |wanted| wanted as usize)
}

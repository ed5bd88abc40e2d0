//! How many live copies every forum has: one walk over all of them, in portions, so that nobody waits for it.
//!
//! Counts only. What a live copy is, is `liveness`'s matter; what follows from the counts, `problems`'s.

use std::collections::BTreeSet;

use loop_proto::ids::{ForumId, PeerId};
use loop_raft_store::machine::Forum;

/// Forums named as examples; there may be a million of them.
const FORUMS_NAMED: usize = 3;
/// Peers named as examples.
const PEERS_NAMED: usize = 5;
/// Forums with that many live copies or more are counted together.
pub const LIVE_MAX: usize = 4;

/// What a walk has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Forums by number of live copies.
    pub by_live: [u64; LIVE_MAX + 1],
    /// Without any.
    pub dead: Sample,
    /// With one where more are wanted.
    pub last: Sample,
}

/// Some of many forums, and the peers that matter to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub forums: Vec<ForumId>,
    /// Some of the peers: those with a live copy, or where there is none those that are away and have one.
    pub peers: BTreeSet<PeerId>,
    /// Peers that are connected and lack a part of what was written.
    pub behind: BTreeSet<PeerId>,
}

impl Sample {
    fn add(&mut self, forum: ForumId) {
        self.count += 1;
        if self.forums.len() < FORUMS_NAMED {
            self.forums.push(forum);
        }
    }
}

fn add_some(peers: &mut BTreeSet<PeerId>, peer: PeerId) {
    if peers.len() < PEERS_NAMED {
        peers.insert(peer);
    }
}

impl Census {
    /// How many forums there are.
    pub fn forums(&self) -> u64 {
        self.by_live.iter().sum()
    }

    /// How many forums have this many live copies.
    pub fn with(&self, live: usize) -> u64 {
        self.by_live[live.min(LIVE_MAX)]
    }

    /// Counts one forum in, whose copies on `live` are live and which shall have `wanted` of them. Whether it has fewer.
    pub fn count(
        &mut self,
        forum: &Forum,
        live: &[PeerId],
        wanted: usize,
        is_connected: impl Fn(PeerId) -> bool,
    ) -> bool {
        self.by_live[live.len().min(LIVE_MAX)] += 1;
        match live {
            [] => {
                self.dead.add(forum.id);
                for peer in forum.serving() {
                    let peers = if is_connected(peer) { &mut self.dead.behind } else { &mut self.dead.peers };
                    add_some(peers, peer);
                }
            }
            [holder] if wanted > 1 => {
                self.last.add(forum.id);
                add_some(&mut self.last.peers, *holder);
            }
            _ => {}
        }
        live.len() < wanted
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::v1::{self, command};
    use loop_raft_store::machine::{self, HubState, bounds::Bounds};

    use super::*;
    use crate::placement::liveness::wanted;

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    /// Six peers; a forum for each of these sets of them.
    fn forums(holders: &[&[u32]]) -> Vec<Forum> {
        let mut state = HubState::new(Bounds::default());
        let mut apply = |n: u8, body| {
            let command = v1::Command { request_id: vec![n; 16].into(), at_ms: 1, body: Some(body) };
            machine::apply_command(&mut state, command);
        };
        for n in 1..=6 {
            let secret_hash = vec![n; 32].into();
            let register = v1::RegisterPeer { name: "p".into(), secret_hash, ..Default::default() };
            apply(n, command::Body::RegisterPeer(register));
        }
        for (n, replicas) in (10..).zip(holders) {
            let open =
                v1::OpenForum { key: vec![n; 16].into(), replicas: replicas.to_vec(), ..Default::default() };
            apply(n, command::Body::OpenForum(open));
        }
        let opened: Vec<Forum> = state.forums().cloned().collect();
        assert_eq!(opened.len(), holders.len());
        opened
    }

    #[test]
    fn forums_are_counted_by_their_live_copies_and_the_worst_are_named_with_who_can_help() {
        let forums = forums(&[&[1, 2, 3], &[1, 2, 3], &[4, 5], &[5, 6], &[1, 2, 3, 4]]);
        let mut census = Census::default();
        let connected = |at: PeerId| at == peer(1) || at == peer(2) || at == peer(3) || at == peer(5);
        let live: [&[u32]; 5] = [&[1, 2, 3], &[1], &[], &[], &[1, 2, 3, 4]];
        let below: Vec<bool> = forums
            .iter()
            .zip(live)
            .map(|(forum, live)| {
                let live: Vec<PeerId> = live.iter().map(|id| peer(*id)).collect();
                census.count(forum, &live, wanted(forum, 3), connected)
            })
            .collect();
        assert_eq!(below, [false, true, true, true, false]);
        assert_eq!((census.forums(), census.by_live), (5, [2, 1, 0, 1, 1]));
        assert_eq!((census.with(1), census.with(99)), (1, 1));
        let ids: Vec<u32> = census.dead.forums.iter().map(|forum| forum.get()).collect();
        assert_eq!(ids, [forums[2].id.get(), forums[3].id.get()]);
        assert_eq!(census.dead.peers, [peer(4), peer(6)].into(), "p5 is there and only behind");
        assert_eq!(census.dead.behind, [peer(5)].into());
        assert_eq!((census.last.count, &census.last.peers), (1, &[peer(1)].into()));
    }

    #[test]
    fn where_one_copy_is_all_that_is_wanted_one_is_not_too_few() {
        let forums = forums(&[&[1]]);
        let mut census = Census::default();
        assert!(!census.count(&forums[0], &[peer(1)], 1, |_| true));
        assert_eq!((census.with(1), census.last.count), (1, 0));
    }

    #[test]
    fn of_many_forums_some_are_named_and_all_are_counted() {
        let forums = forums(&[&[1, 2, 3, 4, 5, 6][..3]; 9]);
        let mut census = Census::default();
        for forum in &forums {
            census.count(forum, &[], 3, |_| false);
        }
        assert_eq!((census.dead.count, census.dead.forums.len()), (9, FORUMS_NAMED));
    }
}

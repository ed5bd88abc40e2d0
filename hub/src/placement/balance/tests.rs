//! The plan against the real machine: every step that is not held back is carried out, round after round of one second.

use std::collections::BTreeMap;

use loop_proto::{
    ids::{ForumId, PeerId},
    v1::{self, command, outcome},
};
use loop_raft_store::machine::{self, Forum, HubState, JoinStage, bounds::Bounds};

use super::*;
use crate::mesh::traffic::ForumRate;

pub(crate) struct World {
    pub state: HubState,
    pub load: Load,
    pub policy: Policy,
    pub heat: Heat,
    pub proposals: u64,
    /// How many replicas were copied.
    pub copies: usize,
}

pub(crate) fn peer(id: u32) -> PeerId {
    PeerId::new(id).unwrap()
}

/// A peer that is connected and has everything.
pub(super) fn here() -> PeerLoad {
    PeerLoad { cursor: u64::MAX, ..PeerLoad::default() }
}

pub(crate) fn forum(id: u32) -> ForumId {
    ForumId::new(id).unwrap()
}

impl World {
    pub fn new(peers: u32) -> Self {
        let mut world = Self {
            state: HubState::new(Bounds { forum_id_first: 1, ..Bounds::default() }),
            load: Load { now_ms: 1_000_000, ..Load::default() },
            policy: Policy { probation_ms: 0, copy_grace_ms: 0, ..Policy::default() },
            heat: Heat::default(),
            proposals: 0,
            copies: 0,
        };
        (0..peers).for_each(|_| world.join(""));
        world
    }

    pub fn join(&mut self, owner: &str) {
        let number = u8::try_from(self.state.peers().len() + 1).unwrap();
        let register = v1::RegisterPeer {
            name: "p".into(),
            secret_hash: vec![number; 32].into(),
            owner: owner.into(),
            network: String::new(),
        };
        self.apply(command::Body::RegisterPeer(register));
        self.load.peers.insert(peer(number.into()), here());
    }

    pub fn open(&mut self, replicas: &[u32]) {
        let number = u32::try_from(self.state.counts().forums).unwrap();
        let mut key = vec![0; 12];
        key.extend(number.to_be_bytes());
        let open = v1::OpenForum { key: key.into(), replicas: replicas.to_vec(), ..Default::default() };
        self.apply(command::Body::OpenForum(open));
    }

    /// `forums` forums on three peers in a row each, round and round over the first `peers`.
    pub fn open_evenly(&mut self, forums: u32, peers: u32) {
        for at in 0..forums {
            self.open(&[at % peers + 1, (at + 1) % peers + 1, (at + 2) % peers + 1]);
        }
    }

    pub fn apply(&mut self, body: command::Body) -> outcome::Kind {
        self.proposals += 1;
        let mut request_id = vec![0; 8];
        request_id.extend(self.proposals.to_be_bytes());
        let at_ms = self.load.now_ms;
        let command = v1::Command { request_id: request_id.into(), at_ms, body: Some(body) };
        machine::apply_command(&mut self.state, command).outcome.kind.unwrap()
    }

    pub fn set_state(&mut self, id: u32, state: v1::PeerState) {
        self.apply(command::Body::SetPeerState(v1::SetPeerState { peer_id: id, state: state.into() }));
    }

    pub fn away(&mut self, id: u32, absent_ms: u64) {
        let load = PeerLoad { absent_ms: Some(absent_ms), ..PeerLoad::default() };
        self.load.peers.insert(peer(id), load);
    }

    /// It has come back.
    pub fn back(&mut self, id: u32) {
        self.load.peers.insert(peer(id), here());
    }

    pub fn whole_plan(&self) -> Plan {
        plan(&self.state, &self.load, &self.policy)
    }

    pub fn plan(&self) -> Vec<Step> {
        self.whole_plan().steps
    }

    /// One second: plans, carries out, completes what was begun before.
    pub fn second(&mut self) -> Vec<Step> {
        self.load.now_ms += 1000;
        self.load.hot = self.heat.note(&self.load.forums, self.state.counts().forums, self.load.now_ms);
        self.tell_presence();
        self.complete();
        let steps = self.plan();
        assert_eq!(steps, self.plan(), "the same input gives the same plan");
        for step in steps.iter().filter(|step| !step.held_back) {
            let kind = self.carry_out(step);
            assert!(!matches!(kind, outcome::Kind::Rejection(_)), "{step:?}: {kind:?}");
        }
        assert!(self.state.open_invitations().count() <= 2 * self.policy.migrations_max);
        self.state.check_invariants().unwrap();
        steps
    }

    pub fn carry_out(&mut self, step: &Step) -> outcome::Kind {
        self.apply(step.command())
    }

    /// The leader's word about who is there, once a second; it also lets the log's time go on.
    pub fn tell_presence(&mut self) {
        let (away, connected): (Vec<_>, Vec<_>) =
            self.load.peers.iter().partition(|(_, load)| load.absent_ms.is_some());
        let ids = |peers: Vec<(&PeerId, &PeerLoad)>| peers.into_iter().map(|(id, _)| id.get()).collect();
        let note = v1::NotePresence { connected: ids(connected), away: ids(away) };
        self.apply(command::Body::NotePresence(note));
    }

    /// What has come to serve is compared and found equal.
    pub fn confirm(&mut self) {
        for (forum, peer) in self.whole_plan().unconfirmed {
            let audit_record = self.state.forum(forum).unwrap().newest_record;
            let (forum_id, peer_id) = (forum.get(), peer.get());
            self.apply(command::Body::ConfirmReplica(v1::ConfirmReplica { forum_id, peer_id, audit_record }));
        }
    }

    /// What has come to serve is confirmed, and every invited peer that is there comes to serve.
    pub fn complete(&mut self) {
        self.confirm();
        self.complete_copies();
    }

    /// Every invited peer that is there comes to serve.
    pub fn complete_copies(&mut self) {
        let open: Vec<machine::Invitation> = self.state.open_invitations().copied().collect();
        for invitation in open {
            if self.load.peers.get(&invitation.target).is_none_or(|load| load.absent_ms.is_some()) {
                continue;
            }
            let (forum_id, invitation_id) = (invitation.forum.get(), invitation.id.get());
            let (peer_id, cursor) = (invitation.target.get(), self.state.newest());
            self.apply(command::Body::AnswerInvitation(v1::AnswerInvitation {
                forum_id,
                invitation_id,
                peer_id,
                accepted: true,
                reason: 0,
            }));
            self.apply(command::Body::SeedReplica(v1::SeedReplica {
                forum_id,
                invitation_id,
                peer_id,
                cursor,
            }));
            let caught_up_through = self.state.newest();
            self.apply(command::Body::CutOver(v1::CutOver { forum_id, invitation_id, caught_up_through }));
            self.copies += 1;
        }
    }

    /// Seconds until nothing is planned and nothing is under way.
    pub fn settle(&mut self, seconds_max: usize) -> usize {
        for second in 0..seconds_max {
            if self.second().is_empty() && self.state.open_invitations().next().is_none() {
                return second;
            }
        }
        panic!("still planning after {seconds_max} seconds: {:?}", self.plan());
    }

    pub fn assert_quiet(&mut self, seconds: usize) {
        for _ in 0..seconds {
            assert_eq!(self.second(), []);
        }
    }

    pub fn replicas(&self) -> BTreeMap<u32, usize> {
        let held = |peer: &machine::Peer| (peer.id.get(), self.state.forums_of(peer.id).count());
        self.state.peers().map(held).collect()
    }

    pub fn primaries(&self) -> BTreeMap<u32, usize> {
        let led = |peer: &machine::Peer| {
            (peer.id.get(), self.state.forums().filter(|forum| forum.primary == peer.id).count())
        };
        self.state.peers().map(led).collect()
    }

    pub fn assert_all_on(&self, replicas: usize) {
        assert!(self.state.forums().all(|forum| forum.serving().count() == replicas));
    }
}

fn assert_even(counts: &BTreeMap<u32, usize>, except: &[u32]) {
    let counts: Vec<usize> =
        counts.iter().filter(|(id, _)| !except.contains(id)).map(|(_, count)| *count).collect();
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let even = |count: &usize| (*count as f64 - mean).abs() <= (mean / 10.0).max(1.0);
    assert!(counts.iter().all(even), "mean {mean}: {counts:?}");
}

#[test]
fn twelve_peers_and_six_hundred_forums_become_even_and_stay_so() {
    let mut world = World::new(6);
    world.open_evenly(600, 6);
    world.assert_quiet(3);
    (0..6).for_each(|_| world.join(""));
    world.settle(300);
    assert_even(&world.replicas(), &[]);
    assert_even(&world.primaries(), &[]);
    world.assert_all_on(3);
    assert!(world.copies <= 1000, "900 replicas had to move, {} did", world.copies);
    world.assert_quiet(120);
}

#[test]
fn a_lost_peers_forums_are_back_on_three_peers_and_its_return_brings_nothing_back_to_it_but_balance() {
    let mut world = World::new(12);
    world.open_evenly(600, 12);
    for _ in 0..60 {
        world.load.now_ms += 60_000;
        world.tell_presence();
    }
    world.away(4, 599_000);
    assert_eq!(world.second(), [], "it may come back");
    world.away(4, 600_000);
    world.settle(300);
    assert_eq!(world.replicas()[&4], 0);
    world.assert_all_on(3);
    assert_even(&world.replicas(), &[4]);
    let copied = world.copies;
    world.back(4);
    world.settle(300);
    assert_even(&world.replicas(), &[]);
    assert!(world.copies - copied <= 160, "only what the peer is to hold again moves");
}

#[test]
fn a_removed_peers_forums_go_to_others_and_nobody_gets_more_than_it_gives() {
    let mut world = World::new(6);
    world.open_evenly(60, 6);
    for id in [2, 3] {
        world.load.peers.get_mut(&peer(id)).unwrap().limits.forums = 32;
    }
    world.set_state(1, v1::PeerState::Removed);
    world.load.peers.remove(&peer(1));
    // The peer's connection is refused; the forums it led have been taken over.
    let led: Vec<Forum> = world.state.forums().filter(|f| f.primary == peer(1)).cloned().collect();
    for forum in led {
        let to = forum.serving().find(|other| *other != peer(1)).unwrap();
        let action = Action::MovePrimary { to, epoch: forum.epoch };
        world.carry_out(&Step { forum: forum.id, action, why: Why::Lost, held_back: false });
    }
    world.settle(200);
    let replicas = world.replicas();
    assert_eq!(replicas[&1], 0);
    assert!(replicas[&2] <= 32 && replicas[&3] <= 32, "{replicas:?}");
    world.assert_all_on(3);
    world.assert_quiet(60);
}

#[test]
fn a_draining_peer_is_emptied_and_a_paused_one_keeps_what_it_has() {
    let mut world = World::new(6);
    world.open_evenly(60, 6);
    world.set_state(1, v1::PeerState::Draining);
    world.set_state(2, v1::PeerState::Paused);
    let paused = world.replicas()[&2];
    world.settle(200);
    assert_eq!((world.replicas()[&1], world.replicas()[&2]), (0, paused));
    assert_eq!(world.primaries()[&1], 0);
    world.assert_all_on(3);
}

#[test]
fn forums_with_the_fewest_copies_come_first() {
    let mut world = World::new(4);
    world.open(&[1, 2, 3]);
    world.open(&[1, 2]);
    world.open(&[1]);
    world.policy.migrations_max = 1;
    let steps = world.plan();
    assert_eq!(steps[0].forum, forum(3));
    assert_eq!((steps[0].why, steps[0].held_back), (Why::LastCopy, false));
    assert_eq!(steps[1].why, Why::TooFew);
    assert_eq!((steps[1].forum, steps[1].held_back), (forum(2), true));
    world.settle(20);
    world.assert_all_on(3);
}

#[test]
fn nobody_gives_or_gets_too_much_at_once() {
    let mut world = World::new(12);
    world.open_evenly(120, 11);
    let steps = world.second();
    let now: Vec<&Step> = steps.iter().filter(|step| !step.held_back).collect();
    let invites = now.iter().filter_map(|step| match step.action {
        Action::Invite { target, .. } => Some(target),
        _ => None,
    });
    assert_eq!(invites.collect::<Vec<_>>(), [peer(12), peer(12)], "two at a time to the new one");
}

#[test]
fn fewer_peers_than_wanted_replicas_is_nothing_to_plan_for() {
    let mut world = World::new(2);
    world.open(&[1, 2]);
    world.assert_quiet(5);
    world.join("");
    world.settle(5);
    world.assert_all_on(3);
}

#[test]
fn successors_are_taken_from_other_owners() {
    let mut world = World::new(0);
    for owner in ["ann", "bob", "cy"].repeat(3) {
        world.join(owner);
    }
    (0..30).for_each(|at| world.open(&[at % 3 * 3 + 1, at % 3 * 3 + 2, at % 3 * 3 + 3]));
    world.away(3, 700_000);
    world.settle(100);
    world.assert_all_on(3);
    let owner = |peer| world.state.peer(peer).unwrap().owner.as_str();
    for forum in world.state.forums() {
        let owners: std::collections::BTreeSet<&str> = forum.serving().map(owner).collect();
        assert_eq!(owners.len(), 3, "{:?}", forum.assignment());
    }
}

#[test]
fn a_hot_forum_gets_a_replica_and_the_quiet_ones_are_left_alone_and_nothing_thrashes_when_it_cools() {
    let mut world = World::new(6);
    world.open_evenly(200, 6);
    world.settle(20);
    let before: Vec<_> = world.state.forums().skip(1).map(Forum::assignment).collect();
    let rate = |requests| ForumRate { tasks_per_minute: requests / 10, reads_per_minute: requests };
    world.load.forums = (1..=200).map(|id| (forum(id), rate(6))).collect();
    world.load.forums.insert(forum(1), rate(60_000));
    let grown = (0..10).find(|_| {
        world.second();
        world.state.forum(forum(1)).unwrap().serving().count() == 4
    });
    assert!(grown.is_some(), "it has its capacity within ten seconds");
    world.assert_quiet(120);
    world.load.forums.remove(&forum(1));
    for second in 0..600 {
        let steps = world.second();
        assert!(second >= 59 || steps.is_empty(), "it may become busy again");
        assert!(steps.iter().all(|step| step.why == Why::TooMany), "{steps:?}");
    }
    let hot = world.state.forum(forum(1)).unwrap();
    assert_eq!((hot.serving().count(), world.copies), (3, 1));
    let after: Vec<_> = world.state.forums().skip(1).map(Forum::assignment).collect();
    assert_eq!(before, after);
}

#[test]
fn primaries_are_spread_without_copying_anything() {
    let mut world = World::new(3);
    (0..30).for_each(|_| world.open(&[1, 2, 3]));
    world.settle(30);
    assert_even(&world.primaries(), &[]);
    assert_eq!(world.copies, 0);
}

#[test]
fn a_peer_that_said_no_is_not_asked_again_at_once_and_one_that_is_behind_not_at_all() {
    let mut world = World::new(4);
    world.open(&[1, 2]);
    world.load.peers.get_mut(&peer(3)).unwrap().behind_ms = Some(0);
    world.second();
    let invitation = *world.state.open_invitations().next().unwrap();
    assert_eq!(invitation.target, peer(4));
    world.apply(command::Body::AnswerInvitation(v1::AnswerInvitation {
        forum_id: 1,
        invitation_id: invitation.id.get(),
        peer_id: 4,
        accepted: false,
        reason: v1::RejectReason::DiskFull.into(),
    }));
    world.assert_quiet(50);
    for _ in 0..15 {
        world.second();
    }
    assert!(world.state.forum(forum(1)).unwrap().is_served_by(peer(4)));
}

#[test]
fn a_full_disk_gets_nothing() {
    let mut world = World::new(3);
    world.open(&[1, 2]);
    let full = world.load.peers.get_mut(&peer(3)).unwrap();
    (full.limits.disk_bytes, full.disk_bytes) = (100, 95);
    world.assert_quiet(3);
}

#[test]
fn what_is_under_way_is_not_planned_again() {
    let mut world = World::new(3);
    world.open(&[1, 2]);
    let steps = world.plan();
    world.carry_out(&steps[0]);
    assert_eq!(world.plan(), []);
    let joining = world.state.forum(forum(1)).unwrap().joining().next().unwrap();
    assert_eq!(joining.stage, JoinStage::Invited);
}

//! Volunteers who drop in and out: no live copy is taken away too early, newcomers cost nothing, last copies come first.

use loop_proto::{
    ids::PeerId,
    v1::{self, command},
};
use loop_raft_store::machine::Forum;

use super::{
    tests::{World, forum, here, peer},
    *,
};

const MINUTE: u64 = 60;

/// A group of `peers` founders with the rules as they ship, some hours old, nothing to do.
fn grown_up(peers: u32, forums: u32) -> World {
    let mut world = World::new(peers);
    world.policy = Policy::default();
    world.open_evenly(forums, peers);
    pass(&mut world, 24 * 60 * MINUTE);
    world.assert_quiet(3);
    world
}

/// Time goes by without a plan being made.
fn pass(world: &mut World, seconds: u64) {
    for _ in 0..seconds / MINUTE {
        world.load.now_ms += 60_000;
        world.tell_presence();
    }
}

/// Peers whose copies of this forum serve.
fn holders(world: &World, id: u32) -> Vec<u32> {
    let mut holders: Vec<u32> = world.state.forum(forum(id)).unwrap().serving().map(PeerId::get).collect();
    holders.sort_unstable();
    holders
}

fn draining(world: &World) -> usize {
    world.state.forums().map(|forum| forum.draining().count()).sum()
}

/// Serving copies of connected peers, and of them those that are confirmed.
fn live(world: &World, forum: &Forum) -> (usize, usize) {
    let here = |peer: PeerId| world.load.peers.get(&peer).is_some_and(|load| load.absent_ms.is_none());
    let live = || forum.replicas.iter().filter(|replica| replica.is_serving() && here(replica.peer));
    (live().count(), live().filter(|replica| replica.is_confirmed()).count())
}

#[test]
fn guests_of_fifteen_seconds_get_no_forum_and_cost_no_copy() {
    let mut world = World::new(3);
    world.policy = Policy::default();
    world.open_evenly(13, 3);
    pass(&mut world, 2 * MINUTE);
    for guest in 4..9 {
        world.join("guest");
        for _ in 0..15 {
            world.second();
        }
        world.away(guest, 0);
        for second in 0..60u64 {
            world.away(guest, second * 1000);
            world.second();
        }
    }
    assert_eq!(world.copies, 0);
    for id in 1..=13 {
        assert_eq!(holders(&world, id), [1, 2, 3]);
    }
}

#[test]
fn a_guest_that_stays_is_tried_with_a_few_additional_copies_and_shares_evenly_once_it_is_proven() {
    let mut world = grown_up(3, 30);
    world.join("new");
    pass(&mut world, 2 * MINUTE);
    for _ in 0..60 {
        world.second();
    }
    let tried: Vec<u32> = (1..=30).filter(|id| holders(&world, *id).contains(&4)).collect();
    assert_eq!(tried.len(), 4);
    assert!(world.state.forums().all(|forum| forum.primary != peer(4)));
    assert!((1..=30).all(|id| [1, 2, 3].iter().all(|founder| holders(&world, id).contains(founder))));
    pass(&mut world, 13 * 60 * MINUTE);
    for _ in 0..300 {
        world.load.now_ms += 30_000;
        world.second();
    }
    let replicas = world.replicas();
    assert!(replicas.values().all(|held| (20..=25).contains(held)), "{replicas:?}");
    assert_eq!((draining(&world), world.primaries()[&4] > 0), (0, true));
}

#[test]
fn a_replaced_copy_is_kept_until_its_successors_is_confirmed_and_for_a_while_after() {
    let mut world = World::new(4);
    world.policy.copy_grace_ms = 600_000;
    world.open(&[1, 2, 3]);
    world.set_state(1, v1::PeerState::Draining);
    world.second();
    world.complete_copies();
    assert_eq!((holders(&world, 1), draining(&world)), (vec![2, 3, 4], 1));
    for _ in 0..20 {
        let due = world.plan();
        assert!(due.iter().all(|step| !matches!(step.action, Action::Remove { .. })), "{due:?}");
        world.load.now_ms += 60_000;
        world.tell_presence();
    }
    world.confirm();
    assert!(world.plan().iter().all(|step| step.why != Why::Replaced), "for a while after");
    pass(&mut world, 10 * MINUTE);
    let steps = world.second();
    assert_eq!(steps.iter().map(|step| step.why).collect::<Vec<_>>(), [Why::Replaced]);
    assert_eq!((holders(&world, 1), draining(&world)), (vec![2, 3, 4], 0));
}

#[test]
fn a_replaced_copy_is_taken_back_without_copying_when_its_successor_leaves() {
    let mut world = World::new(4);
    world.policy.copy_grace_ms = 600_000;
    world.open(&[1, 2, 3]);
    world.set_state(1, v1::PeerState::Draining);
    world.second();
    world.complete_copies();
    world.away(4, 5_000);
    assert_eq!(world.plan(), [], "it may be back in a moment");
    world.away(4, 30_000);
    let steps = world.second();
    assert_eq!(steps.iter().map(|step| step.why).collect::<Vec<_>>(), [Why::TakenBack]);
    assert_eq!((holders(&world, 1), world.copies), (vec![1, 2, 3, 4], 1));
}

#[test]
fn where_a_forum_lacks_a_copy_a_replaced_one_that_still_follows_is_taken_back_before_another_is_made() {
    let mut world = grown_up(4, 1);
    world.join("new");
    pass(&mut world, 2 * MINUTE);
    // An operator moves it to somebody who does not count yet.
    let from = holders(&world, 1)[0];
    let source = peer(*holders(&world, 1).last().unwrap());
    let action = Action::Invite { target: peer(5), source, replaces: Some(peer(from)) };
    world.carry_out(&Step { forum: forum(1), action, why: Why::UnevenReplicas, held_back: false });
    world.complete_copies();
    assert!(draining(&world) == 1 && holders(&world, 1).contains(&5));
    let steps = world.second();
    let taken_back = Action::Reinstate { peer: peer(from) };
    assert_eq!(steps.iter().map(|step| step.action).collect::<Vec<_>>(), [taken_back]);
    assert_eq!(holders(&world, 1).len(), 4, "the new one is tried with it");
}

#[test]
fn the_last_live_copy_is_doubled_before_anything_else_moves() {
    let mut world = grown_up(6, 60);
    world.join("busy");
    world.set_state(6, v1::PeerState::Draining);
    world.policy.migrations_max = 4;
    world.second();
    assert_eq!(world.state.open_invitations().count(), 4, "as many as may move");
    // Two of the three that hold f1, f7, f13 and so on.
    world.away(2, 30_000);
    world.away(3, 30_000);
    let steps = world.plan();
    let now: Vec<&Step> = steps.iter().filter(|step| !step.held_back).collect();
    assert!(!now.is_empty() && now.iter().all(|step| step.why == Why::LastCopy), "{now:?}");
    assert!(steps.iter().all(|step| step.why != Why::UnevenReplicas && step.why != Why::Probation));
}

#[test]
fn no_live_copy_goes_while_fewer_than_wanted_others_are_live_and_confirmed() {
    let mut world = World::new(8);
    world.policy.copy_grace_ms = 5_000;
    world.open_evenly(40, 8);
    for round in 0u32..400 {
        // Somebody is always away, somebody is always to be emptied.
        let (gone, emptied) = (round / 7 % 8 + 1, round / 31 % 8 + 1);
        for id in 1..=8 {
            world.back(id);
            let state = if id == emptied { v1::PeerState::Draining } else { v1::PeerState::Active };
            world.set_state(id, state);
        }
        world.away(gone, u64::from(round % 7) * 100_000);
        let before: Vec<Forum> = world.state.forums().cloned().collect();
        let steps = world.second();
        for step in steps.iter().filter(|step| matches!(step.action, Action::Remove { .. })) {
            let now = world.state.forum(step.forum).unwrap();
            let (_, confirmed) = live(&world, now);
            assert!(
                confirmed >= 3,
                "{step:?} left {:?}, was {:?}",
                now,
                before[step.forum.get() as usize - 1]
            );
        }
    }
    assert!(world.copies > 20, "things moved: {}", world.copies);
}

#[test]
fn a_peer_that_comes_back_from_its_absences_is_waited_for() {
    let mut world = grown_up(6, 12);
    // It is away for an hour now and then.
    for _ in 0..3 {
        world.away(1, 0);
        pass(&mut world, 60 * MINUTE);
        world.back(1);
        pass(&mut world, 10 * 60 * MINUTE);
    }
    world.away(1, 90 * 60_000);
    world.assert_quiet(3);
    world.away(1, 130 * 60_000);
    assert!(world.second().iter().any(|step| step.why == Why::Lost));
}

#[test]
fn what_cannot_be_done_is_told_peer_by_peer() {
    let mut world = World::new(5);
    world.open(&[1, 2, 3]);
    world.set_state(1, v1::PeerState::Draining);
    let full = world.load.peers.get_mut(&peer(4)).unwrap();
    (full.limits.disk_bytes, full.disk_bytes) = (100, 95);
    world.away(5, 1_000);
    let plan = world.whole_plan();
    assert_eq!((plan.steps, plan.blocked.total), (vec![], 1));
    let blocked = &plan.blocked.forums[0];
    assert_eq!((blocked.forum, blocked.to_string()), (forum(1), "a copy in place of that of p1".to_owned()));
    let told: Vec<String> = blocked.obstacles.iter().map(|(peer, why)| format!("{peer} {why}")).collect();
    assert_eq!(
        told,
        ["p4 disk full", "p5 away", "p1 holds it already", "p2 holds it already", "p3 holds it already"]
    );
}

#[test]
fn more_replicas_than_there_are_peers_for_is_told() {
    let mut world = World::new(3);
    world.open(&[1, 2, 3]);
    world.apply(command::Body::SetForumReplicas(v1::SetForumReplicas { forum_id: 1, replicas: 4 }));
    let plan = world.whole_plan();
    assert_eq!((plan.steps.len(), plan.blocked.total), (0, 1));
    assert_eq!(plan.blocked.forums[0].to_string(), "one more copy");
}

#[test]
fn a_forum_of_which_no_copy_is_there_waits_for_its_peers_and_says_so() {
    let mut world = World::new(6);
    world.open(&[1, 2, 3]);
    for id in 1..=3 {
        world.away(id, 700_000);
    }
    let plan = world.whole_plan();
    assert_eq!((plan.steps, plan.blocked.total), (vec![], 1));
    assert_eq!(plan.blocked.forums[0].why, Why::NoCopy);
    world.back(2);
    assert!(world.second().iter().any(|step| step.why == Why::LastCopy));
}

#[test]
fn a_connected_copy_that_never_gets_on_is_no_copy_that_is_there() {
    let mut world = World::new(4);
    world.policy.replicas = 2;
    // The log must be longer than what a live copy may lack.
    (0..4_200).for_each(|_| world.open(&[1, 3]));
    world.open(&[1, 2]);
    let last = world.state.forums().last().unwrap().id;
    let doubled = |world: &World| {
        let of_last = |step: &&Step| step.forum == last && step.why == Why::LastCopy;
        world.plan().iter().filter(of_last).count()
    };
    let frozen = PeerLoad { cursor: 0, behind_ms: Some(30_000), ..here() };
    world.load.peers.insert(peer(2), frozen.clone());
    assert_eq!(doubled(&world), 0, "it may be a moment behind");
    world.load.peers.insert(peer(2), PeerLoad { behind_ms: Some(60_000), ..frozen });
    assert_eq!(doubled(&world), 1);
}

#[test]
fn no_trial_copy_is_planned_that_would_be_one_more_than_any_forum_may_have() {
    let mut world = World::new(4);
    world.policy = Policy { replicas: 4, ..Policy::default() };
    (0..5).for_each(|_| world.open(&[1, 2, 3, 4]));
    pass(&mut world, 24 * 60 * MINUTE);
    world.join("new");
    pass(&mut world, 2 * MINUTE);
    for _ in 0..5 {
        let steps = world.second();
        assert!(steps.iter().all(|step| step.why != Why::Probation), "{steps:?}");
    }
}

#[test]
fn a_peer_that_declines_for_no_reason_that_is_known_is_not_asked_again_at_once() {
    let mut world = World::new(3);
    world.policy.replicas = 2;
    world.open(&[1]);
    let asked = |world: &World| {
        let open = world.state.open_invitations().next().unwrap();
        (open.id.get(), open.target)
    };
    world.carry_out(&world.plan()[0].clone());
    let (invitation_id, first) = asked(&world);
    world.apply(command::Body::AnswerInvitation(v1::AnswerInvitation {
        forum_id: 1,
        invitation_id,
        peer_id: first.get(),
        accepted: false,
        reason: v1::RejectReason::Unspecified.into(),
    }));
    world.carry_out(&world.plan()[0].clone());
    assert_ne!(asked(&world).1, first);
}

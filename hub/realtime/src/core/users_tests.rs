use proptest::prelude::*;

use super::*;

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn message(from: &str, to: &str, forwarded: bool) -> Message {
    Message::read(&format!("{{\"from\":\"{from}\",\"to\":\"{to}\",\"forwarded\":{forwarded}}}")).unwrap()
}

fn list(users: &Users) -> Vec<&str> {
    users.list().map(UserName::as_str).collect()
}

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);

#[test]
fn a_connection_has_one_name_and_takes_it_along() {
    let mut users = Users::default();
    assert_eq!(users.identify(A, name("Anna")), Change::List);
    assert_eq!(
        users.identify(A, name("Anna")),
        Change::Nothing,
        "said twice it is one user and one connection"
    );
    assert_eq!(users.identify(B, name("Anna")), Change::Counts);
    assert_eq!(users.identify(A, name("Billy")), Change::List);
    assert_eq!(list(&users), ["Anna", "Billy"]);
    assert_eq!(users.leave(B), Change::List);
    assert_eq!(users.leave(A), Change::List);
    assert_eq!(users.leave(A), Change::Nothing);
    assert_eq!((list(&users).len(), users.identified().count()), (0, 0), "nobody is left behind");
}

#[test]
fn each_connection_gets_one_copy_the_recipients_first_in_the_order_of_their_coming() {
    let mut users = Users::default();
    users.identify(B, name("Anna"));
    users.identify(A, name("Anna"));
    users.identify(C, name("Billy"));
    assert_eq!(users.route(&message("Billy", "Anna", false)).here, [B, A, C]);
    assert_eq!(users.route(&message("Anna", "Anna", false)).here, [B, A], "to oneself: once each");
    assert_eq!(
        users.route(&message("Anna", "nobody", false)).here,
        [B, A],
        "its sender is told all the same"
    );
    assert_eq!(users.route(&message("nobody", "nobody else", false)), Route::default());
}

#[test]
fn only_hubs_that_have_sender_or_recipient_get_a_message_once_and_what_is_forwarded_goes_nowhere() {
    let (mut one, mut two, mut three) = (Users::default(), Users::default(), Users::default());
    one.identify(A, name("Anna"));
    two.identify(A, name("Billy"));
    two.identify(B, name("Anna"));
    three.identify(A, name("Carl"));
    for (hub, users) in [(2, &two), (3, &three)] {
        for part in users.news(7, None) {
            assert!(one.heard(hub, part).is_some());
        }
    }
    let route = one.route(&message("Anna", "Billy", false));
    assert_eq!((route.here, route.hubs), (vec![A], vec![2]), "both are on hub 2: one copy");
    assert_eq!(one.route(&message("Carl", "Anna", false)).hubs, [2, 3]);
    assert_eq!(one.route(&message("Anna", "Billy", true)), Route { here: vec![A], hubs: vec![] });
    assert_eq!(one.route(&message("Anna", "nobody", false)).hubs, [2]);
}

#[test]
fn a_dead_hubs_users_stay_for_a_lease_and_no_longer_and_one_that_comes_back_keeps_them() {
    let (mut here, mut there) = (Users::default(), Users::default());
    there.identify(A, name("Anna"));
    let hear_all = |here: &mut Users, there: &Users, boot| {
        there
            .news(boot, None)
            .into_iter()
            .fold(Change::Nothing, |change, part| change.max(here.heard(2, part).unwrap()))
    };
    hear_all(&mut here, &there, 1);
    let second = Duration::from_secs(1);
    assert!(!here.lost(3, second), "nothing was ever heard of hub 3");
    assert!(here.lost(2, second));
    assert!(here.lost(2, second * 2), "the lease runs from the first time");
    assert_eq!(here.expire(second), Change::Nothing);
    assert_eq!(list(&here), ["Anna"]);
    // The same life, the same users: nobody notices.
    assert_eq!(hear_all(&mut here, &there, 1), Change::Nothing);
    assert_eq!(here.expire(second * 60), Change::Nothing);
    // Another life: who is not in it is gone at once.
    let mut reborn = Users::default();
    reborn.identify(A, name("Billy"));
    here.lost(2, second * 60);
    assert_eq!(hear_all(&mut here, &reborn, 2), Change::List);
    assert_eq!(list(&here), ["Billy"]);
    here.lost(2, second * 60);
    assert_eq!(here.expire(second * 60 + LEASE), Change::List);
    assert!(list(&here).is_empty() && !here.any_lost());
    // Changes alone say nothing of a hub that was forgotten.
    assert!(here.heard(2, reborn.news(2, Some(1)).remove(0)).is_none());
}

#[test]
fn a_long_list_comes_in_parts_and_counts_when_it_is_whole() {
    let (mut here, mut there) = (Users::default(), Users::default());
    for n in 0..=PART_USERS as u64 {
        there.identify(ConnectionId(n), name(&format!("u{n}")));
    }
    let parts = there.news(1, None);
    assert_eq!(
        parts.iter().map(|part| (part.whole, part.more)).collect::<Vec<_>>(),
        [(true, true), (false, false)]
    );
    let mut changes = parts.into_iter().map(|part| here.heard(2, part).unwrap());
    assert_eq!((changes.next(), changes.next()), (Some(Change::Nothing), Some(Change::List)));
    assert_eq!(here.count(), PART_USERS + 1);
    // A list that begins anew in the middle of one replaces it.
    let parts = there.news(1, None);
    assert!(here.heard(2, parts[0].clone()).is_some());
    for part in parts {
        assert!(here.heard(2, part).is_some());
    }
    assert_eq!(here.count(), PART_USERS + 1);
}

#[derive(Clone, Debug)]
enum Step {
    Identify(usize, u64, u8),
    Leave(usize, u64),
    /// Hub to hub: what there is to tell arrives.
    Tell(usize, usize),
    /// What there is to tell is lost on its way.
    Lose(usize, usize),
    /// The link breaks and comes back: all is told.
    Reconnect(usize, usize),
    Restart(usize),
}

const HUBS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (hub, connection) = (0..HUBS, 0..5_u64);
    let step = prop_oneof![
        4 => (hub.clone(), connection.clone(), 0..4_u8).prop_map(|(hub, c, name)| Step::Identify(hub, c, name)),
        2 => (hub.clone(), connection).prop_map(|(hub, c)| Step::Leave(hub, c)),
        4 => (hub.clone(), hub.clone()).prop_map(|(from, to)| Step::Tell(from, to)),
        1 => (hub.clone(), hub.clone()).prop_map(|(from, to)| Step::Lose(from, to)),
        1 => (hub.clone(), hub.clone()).prop_map(|(from, to)| Step::Reconnect(from, to)),
        1 => hub.prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 0..120)
}

/// Hubs, and what each has told each other so far.
#[derive(Default)]
struct World {
    hubs: [Users; HUBS],
    boots: [u64; HUBS],
    told: [[Option<u64>; HUBS]; HUBS],
}

impl World {
    fn tell(&mut self, from: usize, to: usize, arrives: bool) {
        if from == to {
            return;
        }
        let news = self.hubs[from].news(self.boots[from] + 1, self.told[from][to]);
        self.told[from][to] = Some(self.hubs[from].version());
        for part in news {
            if arrives && self.hubs[to].heard(from as u64, part).is_none() {
                self.told[from][to] = None;
                return self.tell(from, to, true);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Identify(hub, c, n) => {
                self.hubs[hub].identify(ConnectionId(c), name(&format!("u{n}")));
            }
            Step::Leave(hub, c) => {
                self.hubs[hub].leave(ConnectionId(c));
            }
            Step::Tell(from, to) => self.tell(from, to, true),
            Step::Lose(from, to) => self.tell(from, to, false),
            Step::Reconnect(from, to) => {
                self.hubs[to].lost(from as u64, Duration::ZERO);
                self.told[from][to] = None;
                self.tell(from, to, true);
            }
            Step::Restart(hub) => {
                self.hubs[hub] = Users::default();
                self.boots[hub] += 1;
                self.told[hub] = [None; HUBS];
                self.told.iter_mut().for_each(|told| told[hub] = None);
            }
        }
    }
}

proptest! {
    /// However news are lost, links break and hubs start anew: once all have spoken, all have the same sorted list, which is
    /// who is really connected; and a message reaches exactly those connections.
    #[test]
    fn once_all_have_spoken_all_know_who_is_there(steps in steps()) {
        let mut world = World::default();
        steps.into_iter().for_each(|step| world.take(step));
        let pairs = (0..HUBS).flat_map(|from| (0..HUBS).map(move |to| (from, to)));
        pairs.for_each(|(from, to)| world.tell(from, to, true));
        let mut really: Vec<&UserName> = world.hubs.iter().flat_map(|hub| hub.names.values()).collect();
        really.sort();
        really.dedup();
        for (n, hub) in world.hubs.iter().enumerate() {
            prop_assert_eq!(hub.list().collect::<Vec<_>>(), really.clone());
            for to in &really {
                let with: Vec<u64> = (0..HUBS)
                    .filter(|other| *other != n && world.hubs[*other].here.contains_key(*to))
                    .map(|other| other as u64)
                    .collect();
                prop_assert_eq!(hub.route(&message("nobody", to.as_str(), false)).hubs, with);
            }
        }
    }
}

//! What is not well, in sentences that say what to do next. Pure.
//!
//! Peers are named as their volunteers called them; forums by number, because their names are secrets.

use std::{fmt, time::Duration};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};

/// What a report is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The hub that reports.
    pub own: u64,
    /// The hubs that vote, and whether this one reaches them. Empty: it is in no group.
    pub voters: Vec<(u64, bool)>,
    /// Who leads, or led last.
    pub leader: Option<u64>,
    /// A leader with a majority has answered a moment ago.
    pub quorum: bool,
    /// How long ago the newest answered question to a leader was asked; nothing: none was ever answered.
    pub led_ago: Option<Duration>,
    /// Everything agreed is applied here.
    pub current: bool,
    /// Peers that are connected, to whichever hub.
    pub peers_connected: u64,
    /// Peers that ever joined and were not removed.
    pub peers: u64,
    /// The forums' copies; nothing: not looked at yet.
    pub copies: Option<Copies>,
    /// How long a forum may have fewer live copies than wanted before it is told.
    pub grace: Duration,
    /// What is not well beside what browsers are served from, in a sentence.
    pub beside: Option<String>,
}

/// The copies of all forums.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    /// How many forums there are.
    pub forums: u64,
    /// Those with one live copy, however many are wanted.
    pub with_one: u64,
    /// Those without a live copy.
    pub dead: Ailing,
    /// Those with one where more are wanted.
    pub last: Ailing,
    /// Those with fewer than wanted for longer than the grace.
    pub overdue: Ailing,
}

/// Forums that something ails.
#[derive(Clone, Debug, Default)]
pub struct Ailing {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub forums: Vec<ForumId>,
    /// Peers that have copies.
    pub peers: Vec<NamedPeer>,
    /// Peers that have copies, are connected and lack a part of what was written.
    pub behind: Vec<NamedPeer>,
}

/// A peer and what its volunteer called it.
#[derive(Clone, Debug)]
pub struct NamedPeer(pub PeerId, pub String);

impl fmt::Display for NamedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted, with whatever could spoil a line or a terminal escaped.
        write!(f, "{} {:?}", self.0, self.1)
    }
}

/// The whole report.
pub fn report(facts: &Facts) -> v1::HealthReport {
    let count = |of: fn(&Copies) -> u64| facts.copies.as_ref().map_or(0, of);
    v1::HealthReport {
        ready: is_ready(facts),
        quorum: facts.quorum,
        forums: count(|copies| copies.forums),
        forums_without_live_copy: count(|copies| copies.dead.count),
        forums_with_one_live_copy: count(|copies| copies.with_one),
        forums_below_wanted: count(|copies| copies.overdue.count),
        grace_ms: u64::try_from(facts.grace.as_millis()).unwrap_or(u64::MAX),
        problems: problems(facts),
    }
}

/// Whether this hub would serve a read and a write now.
pub fn is_ready(facts: &Facts) -> bool {
    let has_forums_to_serve = |copies: &Copies| copies.forums == 0 || copies.dead.count < copies.forums;
    facts.quorum
        && facts.current
        && facts.peers_connected > 0
        && facts.copies.as_ref().is_some_and(has_forums_to_serve)
}

/// What is not well, most urgent first: what stops everything, what is out of reach, what is in danger.
fn problems(facts: &Facts) -> Vec<String> {
    let copies = facts.copies.as_ref();
    let of = |ailing: fn(&Copies) -> &Ailing| copies.map(ailing).filter(|ailing| ailing.count > 0);
    let total = copies.map_or(0, |copies| copies.forums);
    [
        (!facts.quorum).then(|| no_quorum(facts)),
        (facts.quorum && !facts.current).then(|| NOT_CURRENT.to_owned()),
        (facts.peers_connected == 0).then(|| no_peer(facts)),
        copies.is_none().then(|| NOT_LOOKED.to_owned()),
        of(|copies| &copies.dead).map(|dead| without_live_copy(dead, total)),
        of(|copies| &copies.last).map(|last| last_copy(last, total)),
        of(|copies| &copies.overdue).map(|overdue| below_wanted(overdue, total, facts.grace)),
        facts.quorum.then(|| hubs_away(facts)).flatten(),
        facts.beside.clone(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const NOT_CURRENT: &str = "this hub does not have all yet that was written while it was away: it serves as soon as it \
                           has; ask another hub meanwhile";

const NOT_LOOKED: &str = "this hub was started a moment ago and has not looked at its forums yet: ask again";

fn no_quorum(facts: &Facts) -> String {
    let own = facts.own;
    let hubs = facts.voters.len();
    if hubs == 0 {
        return format!("h{own} is in no group of hubs: start it with --bootstrap or --join");
    }
    let since = match facts.led_ago {
        Some(ago) => format!("no leader with a majority of hubs has answered h{own} for {}", spelt(ago)),
        None => format!("no leader with a majority of hubs has answered h{own} since it was started"),
    };
    let away = away(facts);
    let needed = hubs / 2 + 1;
    if hubs - away.len() >= needed && !away.is_empty() {
        let led = facts.leader.map(|leader| format!(" (h{leader} led last)")).unwrap_or_default();
        return format!(
            "{since}{led}: nothing is read or written here until one does; h{own} does not reach {}: start it or mend \
             the network, unless an election ends this in a moment",
            list(&away)
        );
    }
    if away.is_empty() {
        return format!(
            "{since}: nothing is read or written here until one does; h{own} reaches all hubs, so an election should \
             end this in a moment; if it does not, look into the hubs' logs"
        );
    }
    format!(
        "{since}: nothing can be read or written until {needed} of {hubs} hubs run and reach one another; h{own} does \
         not reach {}: start what is down, or mend the network between them",
        list(&away)
    )
}

fn no_peer(facts: &Facts) -> String {
    let peers = facts.peers;
    match peers {
        // Whoever is cut off cannot know what others see.
        1.. if !facts.quorum => {
            format!("none of the {peers} peers is connected to this hub, or to another that it reaches")
        }
        0 => "no peer has joined yet, and nothing can be read or written without one: start `loop-peer --hub HOST:PORT \
              --join-token TOKEN`"
            .to_owned(),
        1 => "the only peer is not connected, and nothing can be read or written without it: start it again, or look \
              into its log (`hubctl peers` shows who it is)"
            .to_owned(),
        _ => format!(
            "none of the {peers} peers is connected, and nothing can be read or written without them: start them \
             again, or look into their logs (`hubctl peers` shows who they are)"
        ),
    }
}

fn without_live_copy(dead: &Ailing, total: u64) -> String {
    let back = any_of(&dead.peers).map(|peers| format!("{peers} is back"));
    let catches_up = any_of(&dead.behind).map(|peers| format!("{peers} has caught up"));
    let until: Vec<String> = back.into_iter().chain(catches_up).collect();
    let until = match until.is_empty() {
        true => "a peer that has them is back".to_owned(),
        false => until.join(", or "),
    };
    let (has, them) = if dead.count == 1 { ("has", "it") } else { ("have", "them") };
    format!(
        "{} {has} no live copy: nobody can read {them} until {until}; `hubctl forums --unhealthy` shows all such",
        forums(dead, total)
    )
}

fn last_copy(last: &Ailing, total: u64) -> String {
    let on = any_of(&last.peers).unwrap_or_else(|| "one peer".to_owned());
    let (has, them) = if last.count == 1 { ("has", "it") } else { ("have", "them") };
    format!(
        "{} {has} one live copy left, on {on}: keep that running until others have copies of {them}; `hubctl plan` \
         shows what is done for that",
        forums(last, total)
    )
}

fn below_wanted(overdue: &Ailing, total: u64, grace: Duration) -> String {
    let has = if overdue.count == 1 { "has" } else { "have" };
    format!(
        "{} {has} had fewer live copies than wanted for more than {}: `hubctl plan` shows what is done, and what stands \
         in its way; bring peers back (`hubctl peers`), or start more",
        forums(overdue, total),
        spelt(grace)
    )
}

/// Hubs that are not reached although the group goes on.
fn hubs_away(facts: &Facts) -> Option<String> {
    let away = away(facts);
    let (first, hubs) = (away.first()?, facts.voters.len());
    let left = hubs - away.len();
    let spare = left.saturating_sub(hubs / 2 + 1);
    let bears = match spare {
        0 => "if one more goes, nothing can be read or written".to_owned(),
        _ => format!("{spare} more may go"),
    };
    Some(format!(
        "h{} does not reach {}: the group goes on with {left} of {hubs} hubs, and {bears}; start what is down, or \
         replace it (`hubctl hub remove h{first}`, then a new hub with --join)",
        facts.own,
        list(&away)
    ))
}

fn away(facts: &Facts) -> Vec<u64> {
    facts.voters.iter().filter(|(_, reached)| !reached).map(|(hub, _)| *hub).collect()
}

/// `2 of 13 forums (f178, f180)`.
fn forums(ailing: &Ailing, total: u64) -> String {
    let mut named: Vec<String> = ailing.forums.iter().map(ToString::to_string).collect();
    if ailing.count > named.len() as u64 {
        named.push("…".to_owned());
    }
    let forums = if total == 1 { "forum" } else { "forums" };
    format!("{} of {total} {forums} ({})", ailing.count, named.join(", "))
}

/// `p3 "attic" or p6 "shed"`; nothing for nobody.
fn any_of(peers: &[NamedPeer]) -> Option<String> {
    (!peers.is_empty()).then(|| peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))
}

fn list(hubs: &[u64]) -> String {
    hubs.iter().map(|hub| format!("h{hub}")).collect::<Vec<_>>().join(", ")
}

/// A length of time in the unit that fits.
fn spelt(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Facts {
        Facts {
            own: 1,
            voters: vec![(1, true), (2, true), (3, true)],
            leader: Some(2),
            quorum: true,
            led_ago: Some(Duration::from_millis(90)),
            current: true,
            peers_connected: 3,
            peers: 3,
            copies: Some(Copies { forums: 13, ..Copies::default() }),
            grace: Duration::from_secs(600),
            beside: None,
        }
    }

    fn ailing(count: u64, forums: &[u32], peers: &[(u32, &str)]) -> Ailing {
        Ailing {
            count,
            forums: forums.iter().map(|id| ForumId::new(*id).unwrap()).collect(),
            peers: peers
                .iter()
                .map(|(id, name)| NamedPeer(PeerId::new(*id).unwrap(), (*name).into()))
                .collect(),
            behind: Vec::new(),
        }
    }

    fn with(copies: Copies) -> Facts {
        Facts { copies: Some(copies), ..well() }
    }

    fn only(facts: &Facts) -> String {
        let mut problems = report(facts).problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }

    #[test]
    fn a_group_that_is_well_has_no_problems_also_before_its_first_forum() {
        for forums in [0, 13] {
            let report = report(&with(Copies { forums, ..Copies::default() }));
            assert!(report.ready && report.quorum && report.problems.is_empty(), "{report:?}");
            assert_eq!((report.forums, report.grace_ms), (forums, 600_000));
        }
    }

    #[test]
    fn what_browsers_do_not_need_is_told_and_keeps_no_hub_from_serving() {
        let facts = Facts { beside: Some("the projection is down".into()), ..well() };
        assert_eq!(only(&facts), "the projection is down");
        assert!(report(&facts).ready);
    }

    #[test]
    fn a_hub_is_ready_only_if_it_would_serve_a_read_and_a_write_now() {
        let lacks = [
            Facts { quorum: false, ..well() },
            Facts { current: false, ..well() },
            Facts { peers_connected: 0, ..well() },
            Facts { copies: None, ..well() },
            with(Copies { forums: 2, dead: ailing(2, &[1, 2], &[]), ..Copies::default() }),
        ];
        for facts in lacks {
            let report = report(&facts);
            assert!(!report.ready && !report.problems.is_empty(), "{report:?}");
        }
        let one_of_two = with(Copies { forums: 2, dead: ailing(1, &[1], &[]), ..Copies::default() });
        assert!(report(&one_of_two).ready, "the other one is served");
        assert_eq!(report(&one_of_two).forums_without_live_copy, 1);
    }

    #[test]
    fn a_lost_majority_says_since_when_and_how_many_hubs_it_takes() {
        let facts = Facts {
            quorum: false,
            led_ago: Some(Duration::from_secs(25)),
            voters: vec![(1, true), (2, false), (3, false)],
            ..well()
        };
        let text = only(&facts);
        assert!(text.contains("for 25 s") && text.contains("until 2 of 3 hubs run"), "{text}");
        assert!(text.contains("does not reach h2, h3"), "{text}");
        let electing = only(&Facts { quorum: false, led_ago: None, ..well() });
        assert!(electing.contains("since it was started") && electing.contains("election"), "{electing}");
        let alone = only(&Facts { quorum: false, voters: vec![], ..well() });
        assert!(alone.contains("--bootstrap or --join"), "{alone}");
        let leader_lost = Facts { quorum: false, voters: vec![(1, true), (2, false), (3, true)], ..well() };
        let text = only(&leader_lost);
        assert!(text.contains("h2 led last") && text.contains("does not reach h2"), "{text}");
    }

    #[test]
    fn a_hub_that_is_away_is_told_with_what_the_group_can_still_bear() {
        let three = only(&Facts { voters: vec![(1, true), (2, true), (3, false)], ..well() });
        assert!(three.contains("h1 does not reach h3") && three.contains("if one more goes"), "{three}");
        assert!(three.contains("hub remove h3"), "{three}");
        let five = vec![(1, true), (2, true), (3, true), (4, false), (5, true)];
        let five = only(&Facts { voters: five, ..well() });
        assert!(five.contains("4 of 5 hubs, and 1 more may go"), "{five}");
    }

    #[test]
    fn forums_without_a_live_copy_name_the_peers_that_would_help() {
        let mut dead = ailing(2, &[178, 180], &[(3, "attic"), (6, "garden shed")]);
        let of = |dead: &Ailing| only(&with(Copies { forums: 13, dead: dead.clone(), ..Copies::default() }));
        let text = of(&dead);
        assert!(text.starts_with("2 of 13 forums (f178, f180) have no live copy"), "{text}");
        assert!(text.contains("until p3 \"attic\" or p6 \"garden shed\" is back;"), "{text}");
        dead.behind = vec![NamedPeer(PeerId::new(2).unwrap(), "loft".into())];
        assert!(of(&dead).contains("is back, or p2 \"loft\" has caught up"), "{}", of(&dead));
        dead.peers.clear();
        assert!(of(&dead).contains("until p2 \"loft\" has caught up"), "{}", of(&dead));
        (dead.count, dead.forums) = (900, vec![ForumId::new(1).unwrap()]);
        assert!(of(&dead).contains("900 of 13 forums (f1, …)"), "{}", of(&dead));
    }

    #[test]
    fn the_most_urgent_comes_first() {
        let facts = Facts {
            quorum: false,
            peers_connected: 0,
            copies: Some(Copies {
                forums: 13,
                with_one: 1,
                dead: ailing(2, &[1, 2], &[]),
                last: ailing(1, &[3], &[(1, "attic")]),
                overdue: ailing(3, &[1, 2, 3], &[]),
            }),
            ..well()
        };
        let problems = report(&facts).problems;
        let order = [
            "no leader",
            "none of the 3 peers",
            "no live copy",
            "one live copy left",
            "for more than 10 min",
        ];
        assert_eq!(problems.len(), order.len(), "{problems:?}");
        for (problem, words) in problems.iter().zip(order) {
            assert!(problem.contains(words), "{words:?} in {problem:?}");
        }
    }

    #[test]
    fn every_problem_says_what_to_do_next() {
        let ill = Ailing { count: 1, forums: vec![ForumId::new(9).unwrap()], ..Ailing::default() };
        let copies = |of: fn(&mut Copies) -> &mut Ailing| {
            let mut copies = Copies { forums: 13, ..Copies::default() };
            *of(&mut copies) = ill.clone();
            with(copies)
        };
        for facts in [
            copies(|copies| &mut copies.dead),
            copies(|copies| &mut copies.last),
            copies(|copies| &mut copies.overdue),
            Facts { peers_connected: 0, ..well() },
            Facts { peers_connected: 0, peers: 1, ..well() },
            Facts { peers_connected: 0, peers: 0, ..well() },
        ] {
            let text = only(&facts);
            assert!(text.contains("`hubctl") || text.contains("`loop-peer"), "{text}");
        }
        for facts in [Facts { current: false, ..well() }, Facts { copies: None, ..well() }] {
            assert!(only(&facts).contains("ask a"), "{facts:?}");
        }
    }

    #[test]
    fn a_name_that_a_volunteer_chose_cannot_spoil_the_line() {
        let peer = NamedPeer(PeerId::new(3).unwrap(), "a \"\u{1b}[31m\n".into());
        assert_eq!(peer.to_string(), r#"p3 "a \"\u{1b}[31m\n""#);
    }
}

//! What hubs say about who holds what, held against what is on the peers' disks.
//!
//! Asked the way operators ask: `hubctl … --json`. Holds at rest only: whoever compares waits until cursors agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use loop_local::Who;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{copies::Copies, expect::ensure, guest::Guest, hubctl::done, system::System};

/// How long it may take until everything has come to rest and the hubs say what is there.
const REST_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A peer's machine, as somebody sees it who stands beside it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What its owner called it.
    pub name: String,
    /// What it keeps.
    pub folder: PathBuf,
    /// Whether its process runs.
    pub runs: bool,
}

/// All machines of a system: its own peers, and guests that are here. A guest that has gone is given by name.
pub fn machines<'a>(
    system: &System,
    here: impl IntoIterator<Item = &'a Guest>,
    gone: impl IntoIterator<Item = &'a str>,
) -> Vec<Machine> {
    let own = (0..system.cluster.peer_count()).map(|at| {
        let member = system.cluster.member(Who::Peer(at));
        let folder = system.cluster.data_dir(Who::Peer(at));
        Machine { name: member.name, folder, runs: member.pid.is_some() }
    });
    let guest = |name: &str, runs| {
        let folder = Guest::folder(system, name);
        Machine { name: name.to_owned(), folder, runs }
    };
    let here = here.into_iter().map(|present| guest(&present.name, true));
    let gone = gone.into_iter().map(|name| guest(name, false));
    own.chain(here).chain(gone).collect()
}

/// Panics unless what hub `at` says in `peers`, `forums`, `forum show`, `status` and `plan` comes to be what is there.
pub async fn are_true(what: &str, system: &System, at: usize, machines: &[Machine]) {
    if let Err(untrue) = become_true(system, at, machines).await {
        panic!("{what}: h{} does not tell it as it is: {untrue}", at + 1);
    }
}

/// Waits for that; what is said that is not so.
pub async fn become_true(system: &System, at: usize, machines: &[Machine]) -> Result<(), String> {
    let until = Instant::now() + REST_WITHIN;
    loop {
        match compare(system, at, machines).await {
            Err(_) if Instant::now() < until => sleep(LOOK_EVERY).await,
            compared => return compared,
        }
    }
}

async fn compare(system: &System, at: usize, machines: &[Machine]) -> Result<(), String> {
    let before = look(machines)?;
    let said = Said::ask(system, at).await.map_err(|error| format!("{error:#}"))?;
    // What was asked while something moved says nothing.
    ensure(before == look(machines)?, || "the disks still change".to_owned())?;
    said.hold(&Truth::new(machines, &before, &said)?)
}

fn look(machines: &[Machine]) -> Result<Vec<Copies>, String> {
    let look = |machine: &Machine| Copies::look(&machine.folder).map_err(|error| format!("{error:#}"));
    machines.iter().map(look).collect()
}

/// What one hub says.
struct Said {
    peers: Value,
    forums: Value,
    shown: BTreeMap<u32, Value>,
    status: Value,
    plan: Value,
}

impl Said {
    async fn ask(system: &System, at: usize) -> anyhow::Result<Self> {
        let peers = done(system, at, "peers").await?;
        let forums = done(system, at, "forums --limit 100000").await?;
        let plan = done(system, at, "plan").await?;
        let mut shown = BTreeMap::new();
        for forum in list(&forums["forums"]).iter().take(20) {
            let id = number(&forum["forum"]);
            shown.insert(id, done(system, at, &format!("forum show f{id}")).await?);
        }
        // Its exit code is another test's matter.
        let status = crate::hubctl::ask(system, at, "--json status").await?.json()?;
        Ok(Self { peers, forums, shown, status, plan })
    }

    fn hold(&self, truth: &Truth<'_>) -> Result<(), String> {
        let mut live_counts = BTreeMap::new();
        for forum in list(&self.forums["forums"]) {
            let id = number(&forum["forum"]);
            self.hold_forum(id, forum, truth)?;
            let shown = self.shown.get(&id);
            for field in ["primary", "replicas", "draining", "live", "replicas_wanted"] {
                ensure(shown.is_none_or(|shown| shown[field] == forum[field]), || {
                    format!(
                        "f{id}: `forum show` says {field} {}, `forums` {}",
                        shown.unwrap_or(forum)[field],
                        forum[field]
                    )
                })?;
            }
            live_counts
                .insert(id, (numbers(&forum["live"]).len(), number(&forum["replicas_wanted"]) as usize));
        }
        self.hold_peers(truth)?;
        self.hold_status(truth, &live_counts)?;
        self.hold_plan(truth, &live_counts)
    }

    /// Who holds a forum, and how many of the copies are live.
    fn hold_forum(&self, id: u32, forum: &Value, truth: &Truth<'_>) -> Result<(), String> {
        let (replicas, draining) = (numbers(&forum["replicas"]), numbers(&forum["draining"]));
        ensure(list(&forum["joining"]).is_empty(), || format!("f{id} is on its way: {}", forum["joining"]))?;
        let said: BTreeSet<u32> = replicas.union(&draining).copied().collect();
        ensure(said.len() == replicas.len() + draining.len(), || format!("f{id}: somebody has two roles"))?;
        ensure(replicas.contains(&number(&forum["primary"])), || {
            format!("f{id}: its primary does not serve")
        })?;
        let holders = truth.running_holders(id);
        let said: BTreeSet<u32> = said.intersection(&truth.running).copied().collect();
        ensure(said == holders, || format!("f{id} is said to be on {said:?}, and is on {holders:?}"))?;
        let whole = truth.running_whole(id);
        let live: BTreeSet<u32> = replicas.intersection(&whole).copied().collect();
        let told = numbers(&forum["live"]);
        ensure(told == live, || format!("f{id}: {told:?} are said to be live, {live:?} are"))?;
        let few = live.len() < number(&forum["replicas_wanted"]) as usize;
        ensure(forum["below_for_ms"].is_null() != few, || {
            format!("f{id} has {} live copies: {}", live.len(), forum["below_for_ms"])
        })
    }

    fn hold_peers(&self, truth: &Truth<'_>) -> Result<(), String> {
        for peer in list(&self.peers["peers"]) {
            let (id, name) = (number(&peer["peer"]), &peer["name"]);
            let connected = !peer["connected_to_hub"].is_null();
            ensure(connected == truth.running.contains(&id), || format!("{name}: connected {connected}"))?;
            let with = |role: &str| {
                let forums = list(&self.forums["forums"]).iter();
                forums.filter(|forum| numbers(&forum[role]).contains(&id)).count() as u64
            };
            ensure(peer["forums"] == with("replicas"), || {
                format!("{name}: {} forums, {} are listed", peer["forums"], with("replicas"))
            })?;
            if let Some(copies) = truth.copies.get(&id).filter(|_| connected) {
                let held = copies.forums.len() as u64;
                ensure(with("replicas") + with("draining") == held, || {
                    format!("{name} holds {held} forums")
                })?;
                ensure(peer["cursor"] == copies.cursor, || {
                    format!("{name}: cursor {}, not {}", peer["cursor"], copies.cursor)
                })?;
                ensure(copies.leaving.is_empty(), || format!("{name} still deletes {:?}", copies.leaving))?;
            }
        }
        Ok(())
    }

    fn hold_status(&self, truth: &Truth<'_>, live: &BTreeMap<u32, (usize, usize)>) -> Result<(), String> {
        let (status, health) = (&self.status, &self.status["health"]);
        let count = |fits: fn(usize, usize) -> bool| {
            live.values().filter(|(live, wanted)| fits(*live, *wanted)).count() as u64
        };
        for (said, is) in [
            (&status["connected_peers"], truth.running.len() as u64),
            (&status["peers"], truth.copies.len() as u64),
            (&status["forums"], live.len() as u64),
            (&health["forums"], live.len() as u64),
            (&health["forums_without_live_copy"], count(|live, _| live == 0)),
            (&health["forums_with_one_live_copy"], count(|live, _| live == 1)),
        ] {
            ensure(said == is, || format!("status says {said}, it is {is}: {status}"))?;
        }
        let below = count(|live, wanted| live < wanted);
        let told = health["forums_below_wanted"].as_u64().unwrap_or(u64::MAX);
        ensure(told <= below, || format!("{told} forums are said to be below, {below} are"))
    }

    /// What is due is due, what cannot be done cannot, and why not is so.
    fn hold_plan(&self, truth: &Truth<'_>, live: &BTreeMap<u32, (usize, usize)>) -> Result<(), String> {
        let blocked = list(&self.plan["blocked"]);
        for entry in blocked {
            let id = number(&entry["forum"]);
            let (live, wanted) = live.get(&id).copied().unwrap_or_default();
            let holders = truth.running_holders(id);
            let drains = holders.iter().any(|peer| self.state(*peer) == "draining");
            ensure(live < wanted || drains, || {
                format!("f{id} has {live} of {wanted} copies and lacks none: {entry}")
            })?;
            for obstacle in list(&entry["obstacles"]) {
                let (peer, why) = (number(&obstacle["peer"]), obstacle["why"].as_str().unwrap_or_default());
                let fits = match why {
                    "away" => !truth.running.contains(&peer),
                    "holds it already" => holders.contains(&peer),
                    "paused" => self.state(peer) == "paused",
                    "is itself to be emptied" => self.state(peer) == "draining",
                    _ => truth.running.contains(&peer) && !holders.contains(&peer),
                };
                ensure(fits, || format!("f{id}: p{peer} is said to be in the way because `{why}`"))?;
            }
        }
        let due = |id: &u32| {
            let steps = list(&self.plan["steps"]).iter().chain(blocked);
            steps.filter(|entry| number(&entry["forum"]) == *id).count() > 0
        };
        for (id, (live, wanted)) in live {
            // One whose peers are away for a moment only is waited for, unless there is one copy left.
            let lacks = *live == 1 && *wanted > 1 || *live == 0;
            ensure(!lacks || due(id), || {
                format!("f{id} has {live} of {wanted} live copies and nothing is due")
            })?;
        }
        Ok(())
    }

    fn state(&self, peer: u32) -> &str {
        let found = list(&self.peers["peers"]).iter().find(|entry| number(&entry["peer"]) == peer);
        found.and_then(|entry| entry["state"].as_str()).unwrap_or("unknown")
    }
}

/// What is on the disks, by the peers' numbers.
struct Truth<'a> {
    running: BTreeSet<u32>,
    copies: BTreeMap<u32, &'a Copies>,
}

impl<'a> Truth<'a> {
    fn new(machines: &[Machine], copies: &'a [Copies], said: &Said) -> Result<Self, String> {
        let mut truth = Self { running: BTreeSet::new(), copies: BTreeMap::new() };
        for (machine, copies) in machines.iter().zip(copies) {
            let named =
                list(&said.peers["peers"]).iter().filter(|peer| peer["name"] == machine.name.as_str());
            let [peer] = named.collect::<Vec<_>>()[..] else {
                return Err(format!("`hubctl peers` does not list {} once", machine.name));
            };
            let id = number(&peer["peer"]);
            truth.copies.insert(id, copies);
            if machine.runs {
                truth.running.insert(id);
            }
        }
        Ok(truth)
    }

    /// Running peers with the forum on their disks.
    fn running_holders(&self, forum: u32) -> BTreeSet<u32> {
        let running = self.copies.iter().filter(|(peer, _)| self.running.contains(peer));
        running.filter(|(_, copies)| copies.forums.contains_key(&forum)).map(|(peer, _)| *peer).collect()
    }

    /// Those of them who have every message of it that is anywhere.
    fn running_whole(&self, forum: u32) -> BTreeSet<u32> {
        let all = self.copies.values().filter_map(|copies| copies.forums.get(&forum));
        let all: BTreeSet<u64> = all.flatten().copied().collect();
        let whole = |peer: &u32| self.copies[peer].has(forum, &all);
        self.running_holders(forum).into_iter().filter(whole).collect()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).unwrap_or(u32::MAX)
}

fn numbers(value: &Value) -> BTreeSet<u32> {
    list(value).iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said() -> Said {
        let forum = json!({ "forum": 5, "primary": 1, "replicas": [1, 2], "draining": [], "joining": [],
            "live": [1], "below_for_ms": 10, "replicas_wanted": 2 });
        let peer = |id: u32, hub: Option<u64>| {
            json!({ "peer": id, "name": format!("peer-{id}"), "connected_to_hub": hub, "forums": 1,
                "cursor": 9, "state": "active" })
        };
        Said {
            peers: json!({ "peers": [peer(1, Some(1)), peer(2, None)] }),
            shown: [(5, forum.clone())].into(),
            forums: json!({ "forums": [forum] }),
            status: json!({ "connected_peers": 1, "peers": 2, "forums": 1, "health": { "forums": 1,
                "forums_without_live_copy": 0, "forums_with_one_live_copy": 1, "forums_below_wanted": 0 } }),
            plan: json!({ "steps": [], "blocked": [{ "forum": 5, "obstacles": [
                { "peer": 1, "why": "holds it already" }, { "peer": 2, "why": "away" }] }] }),
        }
    }

    /// peer-1 runs and has the forum whole; peer-2 has stopped and has all but the last message.
    fn told(change: impl FnOnce(&mut Said, &mut [Copies])) -> Result<(), String> {
        let forums = |messages: &[u64]| [(5, messages.iter().copied().collect())].into();
        let mut copies = [
            Copies { cursor: 9, forums: forums(&[1, 2]), ..Copies::default() },
            Copies { cursor: 7, forums: forums(&[1]), ..Copies::default() },
        ];
        let machines = [("peer-1", true), ("peer-2", false)].map(|(name, runs)| Machine {
            name: name.into(),
            folder: PathBuf::new(),
            runs,
        });
        let mut said = said();
        change(&mut said, &mut copies);
        said.hold(&Truth::new(&machines, &copies, &said)?)
    }

    #[test]
    fn the_truth_passes_and_each_untruth_is_found() {
        assert_eq!(told(|_, _| ()), Ok(()));
        type Untruth = fn(&mut Said, &mut [Copies]);
        let untruths: [(&str, Untruth); 11] = [
            ("two live", |said, _| said.forums["forums"][0]["live"] = json!([1, 2])),
            ("not whole", |_, copies| {
                copies[0].forums.insert(5, [1].into());
                copies[1].forums.insert(5, [1, 2].into());
            }),
            ("gone from the disk", |_, copies| copies[0].forums.clear()),
            ("never below", |said, _| said.forums["forums"][0]["below_for_ms"] = Value::Null),
            ("shown otherwise", |said, _| said.shown.get_mut(&5).unwrap()["primary"] = json!(2)),
            ("connected", |said, _| said.peers["peers"][1]["connected_to_hub"] = json!(3)),
            ("cursor", |_, copies| copies[0].cursor = 8),
            ("all is well", |said, _| said.status["health"]["forums_with_one_live_copy"] = json!(0)),
            ("nothing is to be done", |said, _| said.plan["blocked"] = json!([])),
            ("in the way", |said, _| said.plan["blocked"][0]["obstacles"][0]["why"] = json!("disk full")),
            ("away", |said, _| said.plan["blocked"][0]["obstacles"][0]["why"] = json!("away")),
        ];
        for (what, untruth) in untruths {
            assert!(told(untruth).is_err(), "{what} went unnoticed");
        }
    }
}

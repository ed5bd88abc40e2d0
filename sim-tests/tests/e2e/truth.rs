//! Operators are told the truth while processes stand still (SIGSTOP: connections stay open, nothing is answered):
//! `/readyz`, `hubctl status` and `/metrics` say so within two seconds, and take it back within two seconds.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::join_all;
use loop_local::{Signal, Who};
use loop_sim_tests::{
    churn::metric,
    client::{Commit, Visitor, client},
    copies::Copies,
    expect::{ensure, eventually, unique},
    hubctl::{self, Said},
    system::System,
};
use tokio::time::{Instant, sleep};

/// What is promised.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What is asserted is so many times that: a machine with two cores that runs everything, builds included, and starts
/// a `hubctl` for each question. What was measured is printed.
const SLACK: u32 = 3;

/// Exit code of `hubctl status` when something is not well.
const NOT_WELL: i32 = 5;
/// Hubs of tests count on a peer that has been there for a second.
const COUNTED_ON_AFTER: Duration = Duration::from_millis(1100);

/// What is left of it; `since` may be still to come.
fn left(since: Instant) -> Duration {
    (since + TOLD_WITHIN * SLACK).saturating_duration_since(Instant::now())
}

/// Where an operator looks.
#[derive(Clone, Copy)]
struct Eyes<'a> {
    system: &'a System,
    /// The hub that is asked, from 0.
    hub: usize,
}

impl Eyes<'_> {
    async fn readyz(&self) -> Result<(u16, String)> {
        let url = format!("{}/readyz", self.system.hub(self.hub));
        let answer = client(Duration::from_secs(1)).get(url).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    async fn status(&self) -> Result<Said> {
        hubctl::ask(self.system, self.hub, "status").await
    }

    async fn metric(&self, series: &str) -> Result<f64> {
        metric(&self.system.hub(self.hub), series).await
    }
}

/// What an operator must come to see.
struct Signs<'a> {
    readyz: u16,
    /// In the body of `/readyz`; and where `status` does not exit with 0, in what it says.
    words: &'a str,
    exits: i32,
    metrics: &'a [(&'a str, f64)],
}

impl Signs<'_> {
    /// Waits until all of it is seen; tells how long each took since `since`.
    async fn come(&self, what: &str, eyes: Eyes<'_>, since: Instant) {
        let left = left(since);
        let readyz = async {
            eventually(&format!("told by /readyz: {what}"), left, || async {
                let (status, body) = eyes.readyz().await.map_err(|error| format!("{error:#}"))?;
                let fits = status == self.readyz && body.contains(self.words);
                ensure(fits, || format!("{status}, not {} with {:?}: {body}", self.readyz, self.words))
            })
            .await;
            ("/readyz".to_owned(), since.elapsed())
        };
        let status = async {
            eventually(&format!("told by status: {what}"), left, || async {
                let said = eyes.status().await.map_err(|error| format!("{error:#}"))?;
                let tells = said.code == Some(0) || format!("{}{}", said.out, said.err).contains(self.words);
                ensure(said.code == Some(self.exits) && tells, || {
                    format!("not {} with {:?}: {said:?}", self.exits, self.words)
                })
            })
            .await;
            ("hubctl status".to_owned(), since.elapsed())
        };
        let metrics = join_all(self.metrics.iter().map(|(series, value)| async move {
            eventually(&format!("told by {series}: {what}"), left, || async {
                let found = eyes.metric(series).await.map_err(|error| format!("{error:#}"))?;
                ensure(found == *value, || format!("{found}, not {value}"))
            })
            .await;
            ((*series).to_owned(), since.elapsed())
        }));
        let (readyz, status, metrics) = tokio::join!(readyz, status, metrics);
        for (sign, took) in [readyz, status].into_iter().chain(metrics) {
            println!("h{}: {what}: {sign} after {} ms", eyes.hub + 1, took.as_millis());
        }
    }
}

/// All is well, as hub `hub` sees it.
async fn told_well(system: &System, hub: usize, what: &str, since: Instant, more: &[(&str, f64)]) {
    let metrics: Vec<(&str, f64)> =
        [("loop_ready", 1.0), ("loop_quorum", 1.0)].iter().chain(more).copied().collect();
    let signs = Signs { readyz: 200, words: "", exits: 0, metrics: &metrics };
    signs.come(what, Eyes { system, hub }, since).await;
}

/// The same; then it serves a read and a write at once.
async fn well(system: &System, hub: usize, what: &str, since: Instant, more: &[(&str, f64)]) -> Result<()> {
    told_well(system, hub, what, since, more).await;
    serves(system, hub).await.with_context(|| format!("h{} said it was ready: {what}", hub + 1))
}

async fn serves(system: &System, hub: usize) -> Result<()> {
    let (hub, forum) = (system.hub(hub), unique("ajps_ready_"));
    let visitor = Visitor::open(&hub, &forum).await?;
    visitor.commit(&hub, &Commit::new(1, "a hub that is ready takes this")).await?;
    let shown = visitor.messages(&hub, 25).await?;
    anyhow::ensure!(shown.len() == 1, "{shown:?}");
    Ok(())
}

fn signal(system: &mut System, all: &[Who], signal: Signal) -> Result<Instant> {
    for who in all {
        system.cluster.signal(*who, signal)?;
    }
    Ok(Instant::now())
}

async fn open_forums(system: &System, count: usize) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for at in 0..count {
        let (hub, name) = (system.hub(at % system.cluster.hub_count()), unique("ajps_truth_"));
        let visitor = Visitor::open(&hub, &name).await?;
        visitor.commit(&hub, &Commit::new(1, "hello")).await?;
        names.push(name);
    }
    Ok(names)
}

async fn leader(system: &System) -> Result<usize> {
    match system.leader().await? {
        Who::Hub(at) => Ok(at),
        Who::Peer(_) => anyhow::bail!("a peer leads"),
    }
}

/// Everything as it should be, seen through every hub.
async fn all_well(system: &System, what: &str, since: Instant) -> Result<()> {
    let hubs = (0..system.cluster.hub_count())
        .map(|hub| well(system, hub, what, since, &[("loop_hubs_reachable", 3.0)]));
    join_all(hubs).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_hubs_that_stand_still_are_told_by_the_third_and_taken_back() -> Result<()> {
    let mut system = System::start().await?;
    open_forums(&system, 3).await?;
    all_well(&system, "at the start", Instant::now()).await?;
    for stays in ["the leader", "a follower"] {
        let leads = leader(&system).await?;
        let left = if stays == "the leader" { leads } else { (leads + 1) % 3 };
        let stopped: Vec<Who> = (0..3).filter(|at| *at != left).map(Who::Hub).collect();
        let since = signal(&mut system, &stopped, Signal::Pause)?;
        let signs = Signs {
            readyz: 503,
            words: "leader",
            exits: NOT_WELL,
            metrics: &[("loop_quorum", 0.0), ("loop_ready", 0.0), ("loop_leader", 0.0)],
        };
        let what = format!("two of three hubs stand still, {stays} is left");
        signs.come(&what, Eyes { system: &system, hub: left }, since).await;
        let visitor = Visitor::with_session(&unique("ajps_truth_"), "");
        let read = visitor.patient_for(Duration::from_secs(10)).read(&system.hub(left), 25).await;
        assert!(read.is_err(), "a hub that said it would not serve a read serves it: {read:?}");
        let since = signal(&mut system, &stopped, Signal::Resume)?;
        all_well(&system, "both hubs go on", since).await?;
    }
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_is_missed_and_the_others_serve() -> Result<()> {
    let mut system = System::start().await?;
    open_forums(&system, 3).await?;
    all_well(&system, "at the start", Instant::now()).await?;
    let stopped = leader(&system).await?;
    let since = signal(&mut system, &[Who::Hub(stopped)], Signal::Pause)?;
    let name = format!("h{}", stopped + 1);
    let others: Vec<usize> = (0..3).filter(|at| *at != stopped).collect();
    let signs = Signs {
        readyz: 200,
        words: &name,
        exits: 0,
        metrics: &[("loop_quorum", 1.0), ("loop_ready", 1.0), ("loop_hubs_reachable", 2.0)],
    };
    let looks = others
        .iter()
        .map(|hub| signs.come("the leader stands still", Eyes { system: &system, hub: *hub }, since));
    join_all(looks).await;
    for hub in others {
        serves(&system, hub).await.with_context(|| format!("h{} said it was ready", hub + 1))?;
    }
    let since = signal(&mut system, &[Who::Hub(stopped)], Signal::Resume)?;
    all_well(&system, "the leader goes on", since).await?;
    system.assert_nobody_fell();
    Ok(())
}

/// What a reader of the running peers' databases sees: forums by number of whole copies there.
fn copies_on_running(system: &System, forums: &[u32], stopped: &[Who]) -> Result<Vec<(u32, usize)>> {
    let peers = (0..system.cluster.peer_count()).map(Who::Peer).filter(|peer| !stopped.contains(peer));
    let disks: Vec<Copies> =
        peers.map(|peer| Copies::look(&system.cluster.data_dir(peer))).collect::<Result<_>>()?;
    let on = |forum: u32| disks.iter().filter(|disk| disk.forums.contains_key(&forum)).count();
    Ok(forums.iter().map(|forum| (*forum, on(*forum))).collect())
}

async fn unhealthy(eyes: Eyes<'_>) -> Result<Vec<u32>> {
    let listed = hubctl::done(eyes.system, eyes.hub, "forums --unhealthy").await?;
    let forums = listed["forums"].as_array().context("a list")?;
    forums.iter().map(|forum| Ok(forum["forum"].as_u64().context("a number")?.try_into()?)).collect()
}

/// Waits until `forums --unhealthy` lists these and no others.
async fn listed_as_unhealthy(what: &str, eyes: Eyes<'_>, since: Instant, expected: &[u32]) {
    let left = left(since);
    eventually(&format!("listed by forums --unhealthy: {what}"), left, || async {
        let listed = unhealthy(eyes).await.map_err(|error| format!("{error:#}"))?;
        ensure(listed == expected, || format!("{listed:?}, not {expected:?}"))
    })
    .await;
    println!("h{}: {what}: forums --unhealthy after {} ms", eyes.hub + 1, since.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forum_whose_peers_all_stand_still_is_named_while_others_are_served() -> Result<()> {
    let mut system = System::start_with(|config| {
        config.peers = 4;
        // Who holds what stays as it is while it is counted.
        config.hub_args = vec!["--balance".into(), "false".into()];
    })
    .await?;
    // Forums that are opened before the fourth peer has come are all on the other three.
    let since = Instant::now();
    join_all(
        (0..3).map(|hub| told_well(&system, hub, "four peers", since, &[("loop_peers_connected", 4.0)])),
    )
    .await;
    // Nor are forums given to one that hubs do not count on yet.
    sleep(COUNTED_ON_AFTER).await;
    let names = open_forums(&system, 6).await?;
    let mut ids = Vec::new();
    for name in &names {
        ids.push(system.forum(name).await?.forum_id);
    }
    ids.sort_unstable();
    all_well(&system, "at the start", Instant::now()).await?;
    let victim = system.forum(&names[0]).await?.forum_id;
    let stopped = system.replicas(&names[0]).await?;
    let since = signal(&mut system, &stopped, Signal::Pause)?;
    let copies = copies_on_running(&system, &ids, &stopped)?;
    let with = |number: usize| copies.iter().filter(|(_, copies)| *copies == number).count() as f64;
    assert!(copies.contains(&(victim, 0)) && with(1) > 0.0, "{copies:?}");
    // A peer holds one of the four's shares; `well` has opened three more forums.
    let word = format!("f{victim}");
    let signs =
        Signs { readyz: 200, words: &word, exits: NOT_WELL, metrics: &[("loop_peers_connected", 1.0)] };
    let eyes = Eyes { system: &system, hub: 0 };
    let looks =
        (0..3).map(|hub| signs.come("a forum's peers stand still", Eyes { system: &system, hub }, since));
    join_all(looks).await;
    let listed = unhealthy(eyes).await?;
    for (forum, copies) in &copies {
        assert!(*copies < 3 && listed.contains(forum), "f{forum} has {copies} copies: {listed:?}");
    }
    let since = signal(&mut system, &stopped, Signal::Resume)?;
    let connected = [("loop_peers_connected", 4.0), ("loop_forums{live=\"0\"}", 0.0)];
    well(&system, 0, "its peers go on", since, &connected).await?;
    listed_as_unhealthy("its peers go on", Eyes { system: &system, hub: 0 }, since, &[]).await;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hub_is_ready_while_all_peers_stand_still() -> Result<()> {
    let mut system = System::start().await?;
    open_forums(&system, 3).await?;
    all_well(&system, "at the start", Instant::now()).await?;
    let stopped: Vec<Who> = (0..3).map(Who::Peer).collect();
    let since = signal(&mut system, &stopped, Signal::Pause)?;
    let signs = Signs {
        readyz: 503,
        words: "peer",
        exits: NOT_WELL,
        metrics: &[("loop_ready", 0.0), ("loop_quorum", 1.0), ("loop_peers_connected", 0.0)],
    };
    join_all((0..3).map(|hub| signs.come("all peers stand still", Eyes { system: &system, hub }, since)))
        .await;
    let since = signal(&mut system, &stopped, Signal::Resume)?;
    let all = [("loop_peers_connected", 3.0)];
    let hubs = (0..3).map(|hub| well(&system, hub, "all peers go on", since, &all));
    join_all(hubs).await.into_iter().collect::<Result<()>>()?;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_forums_peers_that_stands_still_is_told_at_once_and_is_a_fault_after_the_grace() -> Result<()>
{
    const GRACE: Duration = Duration::from_secs(8);
    let mut system = System::start_with(|config| {
        config.hub_args = vec!["--peer-grace-s".into(), GRACE.as_secs().to_string()];
    })
    .await?;
    let names = open_forums(&system, 2).await?;
    let mut ids = Vec::new();
    for name in &names {
        ids.push(system.forum(name).await?.forum_id);
    }
    ids.sort_unstable();
    let stopped = [system.replicas(&names[0]).await?[1]];
    let since = signal(&mut system, &stopped, Signal::Pause)?;
    let eyes = Eyes { system: &system, hub: 1 };
    let signs = Signs {
        readyz: 200,
        words: "",
        exits: 0,
        metrics: &[("loop_peers_connected", 2.0), ("loop_forums{live=\"2\"}", 2.0)],
    };
    tokio::join!(
        signs.come("one of three peers stands still", eyes, since),
        listed_as_unhealthy("one of three peers stands still", eyes, since, &ids),
    );
    let signs = Signs {
        readyz: 200,
        words: "fewer live copies",
        exits: NOT_WELL,
        metrics: &[("loop_forums_under_replicated_overdue", 2.0)],
    };
    signs.come("for longer than the grace", eyes, since + GRACE).await;
    let since = signal(&mut system, &stopped, Signal::Resume)?;
    let live = [("loop_forums{live=\"2\"}", 0.0), ("loop_forums_under_replicated", 0.0)];
    well(&system, 1, "the peer goes on", since, &live).await?;
    listed_as_unhealthy("the peer goes on", Eyes { system: &system, hub: 1 }, since, &[]).await;
    system.assert_nobody_fell();
    Ok(())
}

//! One look each second: which permanent peers have which forums whole, and whether hubs serve them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use loop_local::Who;

use super::{
    forums::Forums,
    metrics::moved_bytes,
    verdict::{Lost, Row, Verdict},
};
use crate::{
    copies::Copies,
    expect::{ensure, eventually},
    system::System,
};

/// A message must be on a live copy's disk so long after it was acknowledged; on an idle machine it takes milliseconds.
const SETTLED: Duration = Duration::from_secs(5);

/// Reads begun with each look, over all forums and hubs in turn, and most that may be under way.
const READS_PER_LOOK: usize = 60;
const UNDER_WAY_MAX: usize = 200;

/// How long forums may take until each is on all permanent peers.
const REST_WITHIN: Duration = Duration::from_secs(120);

/// What has been seen so far.
pub(super) struct Looker {
    folders: Vec<std::path::PathBuf>,
    hubs: Vec<String>,
    forums: Forums,
    looks: usize,
    next_read: usize,
    /// Whole copies of each forum on permanent peers, at the last look.
    copies: BTreeMap<u32, usize>,
    fewest: BTreeMap<u32, usize>,
    lost: BTreeMap<u32, Lost>,
    moved_before: u64,
}

impl Looker {
    pub(super) fn new(system: &System, forums: Forums) -> Self {
        let peers = (0..system.cluster.peer_count()).map(Who::Peer);
        Self {
            folders: peers.map(|peer| system.cluster.data_dir(peer)).collect(),
            hubs: system.hubs(),
            forums,
            looks: 0,
            next_read: 0,
            copies: BTreeMap::new(),
            fewest: BTreeMap::new(),
            lost: BTreeMap::new(),
            moved_before: 0,
        }
    }

    /// Waits until every forum is on every permanent peer, whole.
    pub(super) async fn at_rest(&mut self, system: &System) -> Result<()> {
        eventually("on all permanent peers", REST_WITHIN, || async {
            let counts = self.count(Duration::ZERO).map_err(|error| format!("{error:#}"))?;
            let short = counts.values().filter(|copies| **copies < self.folders.len()).count();
            ensure(short == 0, || format!("{short} forums are not"))
        })
        .await;
        self.moved_before = moved_bytes(system).await?;
        Ok(())
    }

    /// Whole copies of each forum on permanent peers now: what was promised `settled` ago is all there.
    fn count(&self, settled: Duration) -> Result<BTreeMap<u32, usize>> {
        // What must be there is fixed before the disks are looked at.
        let promised: Vec<(u32, BTreeSet<u64>)> =
            self.forums.all.iter().map(|forum| (forum.id, forum.promised(settled))).collect();
        let disks: Vec<Copies> =
            self.folders.iter().map(|folder| Copies::look(folder)).collect::<Result<_>>()?;
        let whole = |forum: u32, promised: &BTreeSet<u64>| {
            disks.iter().filter(|disk| disk.has(forum, promised)).count()
        };
        Ok(promised.iter().map(|(forum, promised)| (*forum, whole(*forum, promised))).collect())
    }

    pub(super) fn look(&mut self, at: Duration) -> Result<()> {
        self.copies = self.count(SETTLED)?;
        for (forum, copies) in &self.copies {
            let fewest = self.fewest.entry(*forum).or_insert(usize::MAX);
            *fewest = (*fewest).min(*copies);
            if *copies == 0 {
                self.lost.entry(*forum).or_insert(Lost { forum: *forum, at, looks: 0 }).looks += 1;
            }
        }
        self.visit();
        self.looks += 1;
        Ok(())
    }

    /// Somebody writes somewhere; some read.
    fn visit(&mut self) {
        let count = self.forums.all.len();
        self.forums.write(self.looks % count, &self.hubs);
        let pairs = count * self.hubs.len();
        for _ in 0..READS_PER_LOOK.min(pairs) {
            if self.forums.under_way() >= UNDER_WAY_MAX {
                return;
            }
            // Every forum through one hub, then every forum through the next.
            let (at, hub) = (self.next_read % count, self.next_read / count % self.hubs.len());
            self.forums.read(at, &self.hubs[hub]);
            self.next_read += 1;
        }
    }

    pub(super) async fn row(&self, system: &System, at: Duration, guests: usize) -> Row {
        let with = |number: usize| self.copies.values().filter(|copies| **copies == number).count();
        let served = self.forums.served();
        Row {
            at,
            guests,
            copies: [with(3), with(2), with(1), with(0)],
            reads: served.reads,
            writes: served.writes,
            unserved: served.unserved.len(),
            slowest_read: served.slowest_read,
            moved: moved_bytes(system).await.map(|moved| moved.saturating_sub(self.moved_before)).ok(),
            hubs_say: hubs_say(system).await.unwrap_or_else(|error| format!("{error:#}")),
        }
    }

    pub(super) async fn verdict(mut self, system: &System, took: Duration, guests: usize) -> Result<Verdict> {
        self.forums.finish().await;
        let fewest = |number: usize| self.fewest.values().filter(|fewest| **fewest == number).count();
        let invitations = system.admin()?.invitations(false, 100_000).await?;
        let mut by_cause: BTreeMap<String, usize> = BTreeMap::new();
        for invitation in &invitations {
            let key = format!("{:?}, {:?}", invitation.cause(), invitation.status()).to_lowercase();
            *by_cause.entry(key).or_default() += 1;
        }
        Ok(Verdict {
            forums: self.forums.all.len(),
            guests,
            took,
            looks: self.looks,
            fewest: [fewest(3), fewest(2), fewest(1), fewest(0)],
            gone_now: self.copies.values().filter(|copies| **copies == 0).count(),
            lost: self.lost.into_values().collect(),
            served: self.forums.served(),
            moved: moved_bytes(system).await?.saturating_sub(self.moved_before),
            invitations: by_cause,
        })
    }
}

/// What operators are told.
async fn hubs_say(system: &System) -> Result<String> {
    let admin = system.admin()?;
    let plan = match admin.plan().await {
        Ok(plan) => format!("plan {} steps", plan.steps.len()),
        Err(error) => format!("no plan ({})", error.exit_code()),
    };
    let health = match admin.status().await?.health {
        Some(health) => format!(
            "without a live copy {}, with one {}, below wanted {}",
            health.forums_without_live_copy, health.forums_with_one_live_copy, health.forums_below_wanted
        ),
        None => "nothing of copies".to_owned(),
    };
    Ok(format!("{health}; {plan}"))
}

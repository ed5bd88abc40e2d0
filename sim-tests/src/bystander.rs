//! An honest visitor who goes on writing and reading while others misbehave, and notes every trouble.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    client::{Commit, Visitor, sid},
    expect::unique,
};

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(50);

/// What the visitor met with.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Messages written and found again.
    pub messages: u64,
    /// The slowest call.
    pub slowest: Duration,
    /// What went wrong.
    pub troubles: Vec<String>,
}

/// A visitor at work.
pub struct Bystander {
    stop: watch::Sender<bool>,
    work: JoinHandle<Met>,
}

impl Bystander {
    /// Sets out, using each of `hubs` (`http://host:port`) in turn, in a forum of their own.
    pub async fn start(hubs: &[String]) -> Result<Self> {
        let forum = unique("ajps_honest_");
        let visitor = Visitor::open(&hubs[0], &forum).await?.patient_for(Duration::from_secs(15));
        let (stop, stopped) = watch::channel(false);
        let hubs = hubs.to_vec();
        Ok(Self { stop, work: tokio::spawn(go_on(visitor, hubs, stopped)) })
    }

    /// Stops and tells.
    pub async fn finish(self) -> Result<Met> {
        // Nobody listening means it has ended already.
        let _ended = self.stop.send(true);
        Ok(self.work.await?)
    }

    /// Stops; panics unless everything went well, no call took longer than `slowest`, and there were some.
    pub async fn assert_undisturbed(self, slowest: Duration) -> Result<()> {
        let met = self.finish().await?;
        println!(
            "an honest visitor wrote {} messages, the slowest call took {:?}",
            met.messages, met.slowest
        );
        assert!(met.troubles.is_empty(), "an honest visitor met with: {:#?}", met.troubles);
        assert!(met.messages > 0, "the honest visitor got nothing done");
        assert!(met.slowest <= slowest, "an honest visitor waited {:?}", met.slowest);
        Ok(())
    }
}

async fn go_on(visitor: Visitor, hubs: Vec<String>, stopped: watch::Receiver<bool>) -> Met {
    let mut met = Met::default();
    while !*stopped.borrow() {
        let number = met.messages as usize;
        let (writes, reads) = (&hubs[number % hubs.len()], &hubs[(number + 1) % hubs.len()]);
        if let Err(trouble) = once(&visitor, writes, reads, &mut met).await {
            met.troubles.push(trouble);
        }
        met.messages += 1;
        sleep(PAUSE).await;
    }
    met
}

/// Writes through one hub and must find it through another.
async fn once(visitor: &Visitor, writes: &str, reads: &str, met: &mut Met) -> Result<(), String> {
    let number = met.messages + 1;
    let text = format!("honest message {number}");
    let start = Instant::now();
    let answer = visitor.commit(writes, &Commit::new(number, &text)).await;
    met.slowest = met.slowest.max(start.elapsed());
    let answer = answer.map_err(|failure| format!("writing {number}: {failure}"))?;
    let id = sid(&answer).ok_or_else(|| format!("writing {number}: no sid"))?;
    let start = Instant::now();
    let messages = visitor.messages(reads, 25).await;
    met.slowest = met.slowest.max(start.elapsed());
    let messages = messages.map_err(|failure| format!("reading {number}: {failure}"))?;
    match messages.iter().find(|(found, _)| *found == id) {
        Some((_, found)) if found.ends_with(&text) => Ok(()),
        other => Err(format!(
            "message {number} was acknowledged through {writes} and read through {reads} as {other:?}"
        )),
    }
}

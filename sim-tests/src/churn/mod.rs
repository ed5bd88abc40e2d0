//! The guests' script: forums on permanent peers, and volunteers who drop in for seconds and are gone again. Each
//! second it is looked at what the permanent peers have on their disks, and the hubs are asked for the forums.
//!
//! Owns who comes and goes when. Never believes what the hubs say about copies.

mod forums;
mod look;
mod metrics;
mod verdict;

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    guest::{Guest, Leaving},
    system::System,
};
use forums::Forums;
use look::Looker;

pub use forums::READ_WITHIN;
pub use metrics::{metric, moved_bytes};
pub use verdict::{HEADING, Row, Verdict};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who comes, when, for how long.
#[derive(Clone, Debug)]
pub struct Script {
    /// Forums on the permanent peers.
    pub forums: usize,
    /// Messages in each before the first guest comes.
    pub messages: u64,
    /// Guests, one after the other.
    pub guests: usize,
    /// From one guest's coming to the next one's.
    pub every: Duration,
    /// How long each of them stays.
    pub stay: Duration,
    /// How long everything is looked at after the last one has had their time.
    pub watch: Duration,
    /// Between two lines of the table.
    pub tell_every: Duration,
    /// More arguments for every hub.
    pub hub_args: Vec<String>,
}

impl Script {
    /// As it was tried: 15 s each, 75 s apart, everything with its defaults.
    pub fn new(forums: usize, guests: usize) -> Self {
        Self {
            forums,
            messages: 5,
            guests,
            every: Duration::from_secs(75),
            stay: Duration::from_secs(15),
            watch: Duration::from_secs(75),
            tell_every: Duration::from_secs(15),
            hub_args: Vec::new(),
        }
    }

    fn takes(&self) -> Duration {
        self.every * u32::try_from(self.guests).unwrap_or(u32::MAX) + self.watch
    }
}

/// What a guest calls itself, by its place in the story, from 1.
pub fn guest_name(number: usize) -> String {
    format!("guest-{number}")
}

/// Who is due.
struct Door<'a> {
    script: &'a Script,
    began_at: Instant,
    come: usize,
    inside: Vec<(Guest, Instant)>,
}

impl<'a> Door<'a> {
    fn new(script: &'a Script) -> Self {
        Self { script, began_at: Instant::now(), come: 0, inside: Vec::new() }
    }

    /// Lets in and out whoever is due. Every second one just falls silent.
    async fn turn(&mut self, system: &System) -> Result<()> {
        let now = Instant::now();
        while let Some(at) = self.inside.iter().position(|(_, until)| *until <= now) {
            let (guest, _) = self.inside.swap_remove(at);
            guest.leave(if self.come.is_multiple_of(2) { Leaving::Killed } else { Leaving::Asked }).await?;
        }
        let due = self.began_at + self.script.every * u32::try_from(self.come).unwrap_or(u32::MAX);
        if self.come < self.script.guests && due <= now {
            self.come += 1;
            let guest = Guest::arrive(system, &guest_name(self.come), &[])?;
            self.inside.push((guest, now + self.script.stay));
        }
        Ok(())
    }
}

/// Tells the story on a system of three hubs and three permanent peers; `told` hears the lines of the table.
pub async fn tell(script: &Script, mut told: impl FnMut(&Row)) -> Result<(System, Verdict)> {
    let system = System::start_as_shipped(|config| config.hub_args = script.hub_args.clone()).await?;
    let forums = Forums::open(&system, script.forums, script.messages).await?;
    let mut looker = Looker::new(&system, forums);
    looker.at_rest(&system).await?;
    let began_at = Instant::now();
    let mut door = Door::new(script);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_at: Option<Instant> = None;
    while began_at.elapsed() < script.takes() {
        ticks.tick().await;
        door.turn(&system).await?;
        looker.look(began_at.elapsed())?;
        if told_at.is_none_or(|at| at.elapsed() >= script.tell_every) {
            told_at = Some(Instant::now());
            told(&looker.row(&system, began_at.elapsed(), door.inside.len()).await);
        }
    }
    let verdict = looker.verdict(&system, began_at.elapsed(), door.come).await?;
    Ok((system, verdict))
}

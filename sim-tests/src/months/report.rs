//! What came of a run, for people and as JSON.

use std::{collections::BTreeMap, fmt};

use loop_proto::ids::ForumId;
use serde::Serialize;

use super::{
    agenda::{DAY, Ms, SECOND},
    story::clock,
    world::{Topic, World},
};

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which population.
    pub scenario: String,
    /// Everything follows from it.
    pub seed: u64,
    /// How long it ran, days.
    pub days: f64,
    /// Forums at the end.
    pub forums: usize,
    /// Machines that ever joined.
    pub machines: usize,
    /// Visits, of all machines.
    pub visits: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Part of the time in which a steady machine was up, that forums were served in: on average, and the worst forum's.
    pub availability_mean: f64,
    /// The worst forum's.
    pub availability_worst: f64,
    /// Which one.
    pub worst_forum: String,
    /// The longest time a forum was not served at a stretch, seconds.
    pub dark_longest_s: f64,
    /// Which forum's, and when.
    pub dark_longest_where: String,
    /// Part of the time forums were not served although a connected machine had all of them, on average.
    pub needless_mean: f64,
    /// The worst forum's, and which.
    pub needless_worst: f64,
    /// Which one.
    pub needless_forum: String,
    /// Times a forum was not served for longer than a takeover takes.
    pub dark_long: u32,
    /// Forums nobody has any more.
    pub lost: usize,
    /// Live complete copies taken away while fewer than wanted lived.
    pub taken_away: u32,
    /// Bytes copied per forum and day, times its size: on average.
    pub copied_mean: f64,
    /// The worst forum's average day.
    pub copied_worst: f64,
    /// Which one.
    pub copied_worst_forum: String,
    /// The average day of one in a hundred forums is worse than this.
    pub copied_p99: f64,
    /// The worst day of any forum.
    pub copied_worst_day: f64,
    /// All forums together, day by day, per forum.
    pub copied_by_day: Vec<f64>,
    /// Copies that came to serve, per day.
    pub copies_per_day: f64,
    /// Copies that came to nothing, per day.
    pub broken_off_per_day: f64,
    /// New primaries, per day.
    pub primaries_per_day: f64,
    /// Part of the time forums had fewer live copies than wanted.
    pub below_wanted: f64,
    /// They were led by a copy that was not compared with others yet, although one that was is live.
    pub led_by_doubtful: f64,
    /// One live copy.
    pub one_copy: f64,
    /// None.
    pub no_copy: f64,
    /// Machines that started over.
    pub started_over: u64,
    /// Plans.
    pub plans: u64,
    /// Needs nobody could meet, per plan.
    pub blocked: f64,
    /// Steps, by reason.
    pub steps: BTreeMap<String, u64>,
    /// Steps that were refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Promises that were not kept: what, and the story.
    pub broken: Vec<Promise>,
    /// How many.
    pub broken_promises: usize,
}

/// A promise that was not kept.
#[derive(Clone, Debug, Serialize)]
pub struct Promise {
    /// When.
    pub at: String,
    /// Which forum's.
    pub forum: String,
    /// Which.
    pub what: String,
    /// What had happened.
    pub story: Vec<String>,
}

fn ratio(part: Ms, whole: Ms) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Report {
    /// Adds up a world whose run is over.
    pub fn of(world: &mut World) -> Self {
        let (now, counts) = (world.now, world.counts_now());
        world.topics.iter_mut().for_each(|topic| topic.meter.end(now, counts));
        check_promises(world);
        let topics = &world.topics;
        let days = now as f64 / DAY as f64;
        let sum = |of: fn(&Topic) -> u64| topics.iter().map(of).sum::<u64>();
        let counted = sum(|topic| topic.meter.counted);
        let least =
            |one: &&Topic, other: &&Topic| one.meter.availability().total_cmp(&other.meter.availability());
        let worst = topics.iter().min_by(least);
        let most_copied = topics.iter().max_by_key(|topic| topic.meter.moved.iter().sum::<u64>());
        let needless = topics.iter().max_by_key(|topic| topic.meter.needless);
        let darkest = topics.iter().max_by_key(|topic| topic.meter.dark_longest.0);
        let copied: Vec<f64> = topics.iter().map(|topic| copied_per_day(topic, days)).collect();
        let worst_day = topics.iter().flat_map(|topic| topic.meter.moved.iter().copied()).max().unwrap_or(0);
        let name = |topic: Option<&Topic>| topic.map_or_else(String::new, |topic| topic.id.to_string());
        Self {
            scenario: world.scenario.name.into(),
            seed: world.seed,
            days,
            forums: topics.len(),
            machines: world.machines.len(),
            visits: world.counts.visits,
            acknowledged: world.counts.acknowledged,
            availability_mean: 1.0 - ratio(sum(|topic| topic.meter.dark), counted),
            availability_worst: worst.map_or(1.0, |topic| topic.meter.availability()),
            worst_forum: name(worst),
            needless_mean: ratio(sum(|topic| topic.meter.needless), counted),
            needless_worst: needless.map_or(0.0, |topic| ratio(topic.meter.needless, topic.meter.counted)),
            needless_forum: name(needless),
            dark_longest_s: darkest.map_or(0.0, |topic| topic.meter.dark_longest.0 as f64 / SECOND as f64),
            dark_longest_where: darkest.map_or_else(String::new, |topic| {
                format!("{} from {}", topic.id, clock(topic.meter.dark_longest.1))
            }),
            dark_long: topics.iter().map(|topic| topic.meter.dark_long.0).sum(),
            lost: topics.iter().filter(|topic| topic.lost).count(),
            taken_away: topics.iter().map(|topic| topic.meter.taken).sum(),
            copied_mean: copied.iter().sum::<f64>() / copied.len().max(1) as f64,
            copied_worst: copied.iter().copied().fold(0.0, f64::max),
            copied_worst_forum: name(most_copied),
            copied_p99: p99(&copied),
            copied_worst_day: worst_day as f64 / 1000.0,
            copied_by_day: by_day(topics),
            copies_per_day: topics.iter().map(|topic| f64::from(topic.meter.copies)).sum::<f64>() / days,
            broken_off_per_day: topics.iter().map(|topic| f64::from(topic.meter.broken)).sum::<f64>() / days,
            primaries_per_day: topics.iter().map(|topic| f64::from(topic.meter.primaries)).sum::<f64>()
                / days,
            below_wanted: ratio(sum(|topic| topic.meter.below), counted),
            led_by_doubtful: ratio(sum(|topic| topic.meter.doubtful), counted),
            one_copy: ratio(sum(|topic| topic.meter.one), counted),
            no_copy: ratio(sum(|topic| topic.meter.none), counted),
            started_over: world.counts.started_over,
            plans: world.counts.plans,
            blocked: world.counts.blocked as f64 / world.counts.plans.max(1) as f64,
            steps: world.counts.steps.clone(),
            refused: world.counts.refused.clone(),
            broken_promises: world.broken.len(),
            broken: world.broken.iter().filter(|broken| !broken.story.is_empty()).map(Promise::of).collect(),
        }
    }

    /// Whether everything that was promised was kept.
    pub fn is_fine(&self) -> bool {
        self.broken_promises == 0
    }
}

impl Promise {
    fn of(broken: &super::world::Broken) -> Self {
        let forum = broken.forum.map_or_else(String::new, |forum: ForumId| forum.to_string());
        let story = broken.story.clone();
        Self { at: clock(broken.at), forum, what: broken.what.clone(), story }
    }
}

fn copied_per_day(topic: &Topic, days: f64) -> f64 {
    topic.meter.moved.iter().sum::<u64>() as f64 / 1000.0 / days.max(1.0)
}

fn p99(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(0.0)
}

fn by_day(topics: &[Topic]) -> Vec<f64> {
    let days = topics.iter().map(|topic| topic.meter.moved.len()).max().unwrap_or(0);
    let on = |day: usize| topics.iter().filter_map(move |topic| topic.meter.moved.get(day)).sum::<u64>();
    (0..days).map(|day| on(day) as f64 / 1000.0 / topics.len().max(1) as f64).collect()
}

/// What the population is promised at the end.
fn check_promises(world: &mut World) {
    let days = world.now as f64 / DAY as f64;
    let promises = world.scenario.promises;
    let mut broken = Vec::new();
    for topic in &world.topics {
        let served = topic.meter.availability();
        if let Some(least) = promises.availability.filter(|least| served < *least) {
            broken.push((
                topic.id,
                format!("served {:.4} % of the time, promised {:.2} %", served * 100.0, least * 100.0),
            ));
        }
        let copied = copied_per_day(topic, days);
        if let Some(most) = promises.copied_per_day.filter(|most| copied > *most) {
            broken.push((topic.id, format!("copied {copied:.2} times its size a day, promised {most}")));
        }
    }
    for (forum, what) in broken {
        world.broke(Some(forum), what);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: f64| format!("{:.5} %", part * 100.0);
        let rows = [
            ("forums, machines, visits", format!("{}, {}, {}", self.forums, self.machines, self.visits)),
            ("messages acknowledged", self.acknowledged.to_string()),
            ("served, mean", percent(self.availability_mean)),
            ("served, worst forum", format!("{} {}", percent(self.availability_worst), self.worst_forum)),
            (
                "not served, but somebody had it",
                format!(
                    "{}, worst {} {}",
                    percent(self.needless_mean),
                    percent(self.needless_worst),
                    self.needless_forum
                ),
            ),
            ("longest not served", format!("{:.1} s, {}", self.dark_longest_s, self.dark_longest_where)),
            ("times not served for over 2 s", self.dark_long.to_string()),
            ("forums lost", self.lost.to_string()),
            ("live copies taken too early", self.taken_away.to_string()),
            ("copied per forum and day, mean", format!("{:.3} times its size", self.copied_mean)),
            ("  1 in 100 forums, more than", format!("{:.3} times its size", self.copied_p99)),
            (
                "  worst forum",
                format!("{:.3} times its size, {}", self.copied_worst, self.copied_worst_forum),
            ),
            ("  worst forum's worst day", format!("{:.3} times its size", self.copied_worst_day)),
            (
                "copies a day, broken off",
                format!("{:.1}, {:.1}", self.copies_per_day, self.broken_off_per_day),
            ),
            ("new primaries a day", format!("{:.1}", self.primaries_per_day)),
            ("below the wanted number", percent(self.below_wanted)),
            ("one live copy", percent(self.one_copy)),
            ("no live copy", percent(self.no_copy)),
            ("led by a copy not yet compared", percent(self.led_by_doubtful)),
            ("machines that started over", self.started_over.to_string()),
            ("plans, needs none could meet", format!("{}, {:.2} each", self.plans, self.blocked)),
            ("broken promises", self.broken_promises.to_string()),
        ];
        writeln!(f, "{} seed {}, {:.2} days", self.scenario, self.seed, self.days)?;
        for (what, value) in rows {
            writeln!(f, "  {what:<32} {value}")?;
        }
        let days: Vec<String> = self.copied_by_day.iter().map(|copied| format!("{copied:.2}")).collect();
        writeln!(f, "  {:<32} {}", "  day by day", days.join(" "))?;
        for (why, count) in &self.steps {
            writeln!(f, "  step: {why:<40} {count:>8}")?;
        }
        for (code, count) in &self.refused {
            writeln!(f, "  refused: {code:<37} {count:>8}")?;
        }
        for promise in &self.broken {
            writeln!(f, "{}: {} {}", promise.at, promise.forum, promise.what)?;
        }
        Ok(())
    }
}

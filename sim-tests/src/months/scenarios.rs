//! Who takes part in a modelled month: populations of volunteers, their forums, and what happens to them.

use loop_proto::v1::PeerLimits;

use super::{
    agenda::{DAY, HOUR, MINUTE, Ms, SECOND},
    chance::Spread,
    machines::{Habit, Lie},
};

/// A population.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How it is asked for.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How many days it is run for if nobody says otherwise, in hours.
    pub hours: u64,
    /// Forums from the start.
    pub forums: usize,
    /// Others are opened that often.
    pub opens_every: Ms,
    /// A forum becomes busy that often.
    pub crowds_every: Ms,
    /// Messages to all forums together.
    pub messages_per_hour: u64,
    /// One of these for each machine.
    pub habits: Vec<Habit>,
    /// What is done to whom, and when.
    pub deeds: Vec<(Ms, Deed)>,
    /// Another hub leads that often.
    pub leader_changes: Option<Ms>,
    /// What is promised of it besides what always is.
    pub promises: Promises,
}

/// What a population is promised at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promises {
    /// Every forum is served for this part of the time in which a steady peer is up.
    pub availability: Option<f64>,
    /// Bytes copied of a forum on an average day, times its size.
    pub copied_per_day: Option<f64>,
}

/// Something done to machines. They are named by their place in the order in which they joined.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Its disk burns.
    Destroy(usize),
    /// The operator has it emptied.
    Drain(usize),
    /// The operator takes it out.
    Retire(usize),
    /// These go in one moment, and come back one after another.
    LeaveAtOnce {
        /// The first of them.
        first: usize,
        /// The last of them.
        last: usize,
        /// Between two that come back.
        back_each: Ms,
    },
}

const KB: u64 = 1_000;
const MB: u64 = 1_000 * KB;
const GB: u64 = 1_000 * MB;

const NEVER: Ms = 100_000 * DAY;

fn limits(disk_bytes: u64, forums: u32, bandwidth: u64) -> PeerLimits {
    PeerLimits { disk_bytes, memory_bytes: 0, bytes_per_second: bandwidth, forums, forum_bytes: 0 }
}

fn steady() -> Habit {
    Habit {
        name: "steady",
        steady: true,
        joins: Spread::Even(1, 5 * SECOND),
        stay: Spread::Exponential(40 * HOUR),
        away: Spread::Skewed { median: 8 * MINUTE, hundredths: 120, most: HOUR },
        long_away: None,
        quits: 0,
        bandwidth: 2 * MB,
        limits: limits(50 * GB, 0, 2 * MB),
        lie: None,
    }
}

/// Comes a few times a day for some twenty minutes.
fn visitor() -> Habit {
    Habit {
        name: "visitor",
        steady: false,
        joins: Spread::Even(10 * MINUTE, DAY),
        stay: Spread::Skewed { median: 20 * MINUTE, hundredths: 100, most: 12 * HOUR },
        away: Spread::Exponential(5 * HOUR),
        long_away: Some((40, Spread::Even(2 * DAY, 10 * DAY))),
        quits: 150,
        bandwidth: MB,
        limits: limits(5 * GB, 0, MB),
        lie: None,
    }
}

/// As a visitor, with little to give.
fn small_visitor() -> Habit {
    Habit { name: "small", bandwidth: 200 * KB, limits: limits(40 * MB, 30, 200 * KB), ..visitor() }
}

fn guest(every: Ms, rounds: Ms) -> Habit {
    Habit {
        name: "guest",
        steady: false,
        // Their turns are in the list of deeds' stead: each joins one turn after the one before.
        joins: Spread::Fixed(every),
        stay: Spread::Fixed(15 * SECOND),
        away: Spread::Fixed(every * rounds - 15 * SECOND),
        long_away: None,
        quits: 0,
        bandwidth: 10 * MB,
        limits: limits(0, 0, 0),
        lie: None,
    }
}

fn base(name: &'static str, about: &'static str) -> Scenario {
    Scenario {
        name,
        about,
        hours: 7 * 24,
        forums: 500,
        opens_every: 6 * HOUR,
        crowds_every: 12 * HOUR,
        messages_per_hour: 500,
        habits: vec![steady(); 12],
        deeds: Vec::new(),
        leader_changes: None,
        promises: Promises::default(),
    }
}

fn month() -> Scenario {
    let mut habits = vec![steady(); 12];
    habits.extend(vec![visitor(); 50]);
    habits.extend(vec![small_visitor(); 10]);
    // Takes the place of the one that is emptied.
    habits.push(Habit { name: "successor", joins: Spread::Fixed(17 * DAY), ..steady() });
    let deeds = vec![(10 * DAY, Deed::Destroy(4)), (17 * DAY, Deed::Drain(7)), (19 * DAY, Deed::Retire(7))];
    let promises = Promises { availability: Some(0.9999), copied_per_day: Some(3.0) };
    Scenario {
        hours: 30 * 24,
        habits,
        deeds,
        promises,
        ..base("month", "12 steady machines, 60 that come and go; one dies, one is replaced")
    }
}

fn guests(name: &'static str, forums: usize, guests: u64) -> Scenario {
    let permanent = Habit { name: "permanent", stay: Spread::Fixed(NEVER), ..steady() };
    let mut habits = vec![permanent; 3];
    habits.extend((0..guests).map(|at| Habit {
        joins: Spread::Fixed(5 * MINUTE + at * 75 * SECOND),
        ..guest(75 * SECOND, guests)
    }));
    let about = "3 permanent machines, and guests who stay for 15 seconds, one every 75";
    Scenario {
        hours: 24,
        forums,
        opens_every: NEVER,
        crowds_every: NEVER,
        messages_per_hour: 200,
        habits,
        ..base(name, about)
    }
}

fn day_and_night() -> Scenario {
    let volunteer = |up_at: u32, down_at: u32| Habit {
        name: "volunteer",
        steady: false,
        joins: Spread::UntilHour(up_at),
        stay: Spread::UntilHour(down_at),
        away: Spread::UntilHour(up_at),
        long_away: Some((20, Spread::Even(20 * HOUR, 3 * DAY))),
        quits: 100,
        bandwidth: 2 * MB,
        limits: limits(20 * GB, 0, 2 * MB),
        lie: None,
    };
    let mut habits = vec![steady(); 3];
    habits.extend(vec![volunteer(8, 18); 15]);
    habits.extend(vec![volunteer(19, 4); 15]);
    Scenario {
        habits,
        ..base("day-and-night", "3 steady machines, and 30 that are on for a day's work in two time zones")
    }
}

fn flash_crowd() -> Scenario {
    let newcomer = Habit {
        name: "newcomer",
        joins: Spread::Even(6 * HOUR, 6 * HOUR + MINUTE),
        stay: Spread::Even(115 * MINUTE, 125 * MINUTE),
        away: Spread::Exponential(12 * HOUR),
        long_away: None,
        quits: 2,
        ..visitor()
    };
    let mut habits = vec![steady(); 6];
    habits.extend(vec![newcomer; 60]);
    Scenario {
        hours: 3 * 24,
        habits,
        ..base("flash-crowd", "6 steady machines, and 60 newcomers within a minute, for two hours")
    }
}

fn half_leaves() -> Scenario {
    let deeds = (0..3).map(|round| {
        let deed = Deed::LeaveAtOnce { first: 0, last: 11, back_each: 20 * MINUTE };
        (12 * HOUR + round * 2 * DAY, deed)
    });
    Scenario {
        habits: vec![steady(); 24],
        deeds: deeds.collect(),
        ..base("half-leaves", "24 steady machines; half of them go at once and come back one by one")
    }
}

fn only_guests() -> Scenario {
    let mut habits = vec![Habit { joins: Spread::Even(1, 5 * SECOND), ..visitor() }; 12];
    habits.extend(vec![visitor(); 48]);
    // Somebody has to count: here every one of them does.
    habits.iter_mut().for_each(|habit| habit.steady = true);
    Scenario { forums: 200, habits, ..base("only-guests", "60 machines that come and go, and nobody else") }
}

fn leader_changes() -> Scenario {
    Scenario {
        name: "leader-changes",
        about: "as month, and every 20 minutes another hub leads that remembers nothing",
        hours: 7 * 24,
        leader_changes: Some(20 * MINUTE),
        deeds: vec![(3 * DAY, Deed::Destroy(4))],
        // All of its machines are new in its first days; a month has others.
        promises: Promises { copied_per_day: Some(4.0), ..month().promises },
        ..month()
    }
}

fn liars() -> Scenario {
    let liar = |lie: Lie| Habit {
        name: "liar",
        steady: false,
        joins: Spread::Even(HOUR, 2 * HOUR),
        stay: Spread::Exponential(10 * HOUR),
        limits: limits(0, 0, 0),
        lie: Some(lie),
        ..steady()
    };
    let mut habits = vec![steady(); 12];
    for lie in [Lie::Silent, Lie::Busy, Lie::Wrong] {
        habits.extend(vec![liar(lie); 4]);
    }
    habits.extend(vec![visitor(); 20]);
    Scenario {
        habits,
        deeds: vec![(3 * DAY, Deed::Destroy(4)), (5 * DAY, Deed::Destroy(6))],
        ..base("liars", "12 steady machines, and 12 that claim endless disks: no copy ends, or none is right")
    }
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    vec![
        month(),
        guests("guests", 13, 5),
        guests("guests-300", 300, 50),
        day_and_night(),
        flash_crowd(),
        half_leaves(),
        only_guests(),
        leader_changes(),
        liars(),
    ]
}

/// The one of that name.
pub fn find(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

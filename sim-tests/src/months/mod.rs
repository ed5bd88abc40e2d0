//! A model of weeks and months of volunteers: the plan that ships against the machine that ships, both pure, with
//! everything around them modelled from event to event, so that a month takes a minute. All of a run follows from its
//! seed.
//!
//! What `world` (the simulation) shows in seconds of simulated time, a message lost or a cursor that jumps, is not
//! looked for here. This shows what takes days: copies that are moved in circles, forums that end up on machines that
//! are never there, copies taken away one at a time until none is left.

pub mod agenda;
mod chance;
mod copying;
mod leader;
mod machines;
mod measure;
pub mod plan_adapter;
pub mod report;
pub mod scenarios;
mod story;
mod visits;
pub mod world;
mod writes;

use agenda::{Event, HOUR, MINUTE, Ms};
use chance::{Spread, generator};
use report::Report;
use scenarios::Scenario;
use world::{JOINERS, TICK, World};

/// When the first forums are opened: the machines that are to be there from the start are.
const OPENED_AT: Ms = MINUTE;

/// How a run is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Everything follows from it.
    pub seed: u64,
    /// How long, of the scenario's time.
    pub length: Ms,
    /// Broken promises are counted and do not end the run.
    pub only_count: bool,
}

/// Runs a population for a while.
pub fn run(scenario: Scenario, order: Order, mut watch: impl FnMut(&World)) -> Report {
    let mut world = World::new(scenario, order.seed);
    begin(&mut world, order.seed);
    let mut until = 6 * HOUR;
    while world.now < order.length && (order.only_count || world.broken.is_empty()) {
        world.run_until(until.min(order.length), order.only_count);
        watch(&world);
        until += 6 * HOUR;
    }
    if order.only_count || world.broken.is_empty() {
        world.check_state();
    }
    Report::of(&mut world)
}

fn begin(world: &mut World, seed: u64) {
    let mut draw = generator(seed, JOINERS, 0);
    for habit in 0..world.scenario.habits.len() {
        let at = world.scenario.habits[habit].joins.draw(&mut draw, 0);
        world.agenda.at(at, Event::Join(habit));
    }
    world.run_until(OPENED_AT, true);
    world.open_first();
    world.agenda.at(OPENED_AT, Event::Tick);
    world.agenda.at(OPENED_AT + TICK, Event::Write);
    let wait = Spread::Exponential(world.scenario.opens_every).draw(&mut world.openers, 0);
    world.agenda.at(OPENED_AT + wait, Event::Open);
    let wait = Spread::Exponential(world.scenario.crowds_every).draw(&mut world.openers, 0);
    world.agenda.at(OPENED_AT + wait, Event::Crowd { forum: 0, busy: true });
    if let Some(every) = world.scenario.leader_changes {
        world.agenda.at(every, Event::NewLeader);
    }
    for at in 0..world.scenario.deeds.len() {
        world.agenda.at(world.scenario.deeds[at].0, Event::Deed(at));
    }
}

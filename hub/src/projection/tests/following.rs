//! Rows that follow the log step by step are those that its state has, whenever one looks.

use std::collections::{BTreeMap, BTreeSet};

use loop_raft_store::machine::{HubState, apply_command};

use super::{
    super::{
        expected::Expected,
        portion::Portion,
        rows::{Cell, Key, TABLES, Table},
        window::{Net, Window},
    },
    history::{History, tight},
};

type Rows = BTreeMap<(Table, Key), Vec<Cell>>;

fn rows_of(state: &HubState, records_max: u64) -> (Rows, Window) {
    let (expected, window) = Expected::of(state, records_max);
    let rows =
        |table| expected.rows(table).map(move |(key, cells)| ((table, key), cells)).collect::<Vec<_>>();
    (TABLES.into_iter().flat_map(rows).collect(), window)
}

fn follow(rows: &mut Rows, window: &mut Window, portion: Portion) {
    let mut net = Net::default();
    portion.steps.into_iter().for_each(|step| window.take(step, &mut net));
    portion.rows.into_iter().for_each(|row| net.put(row));
    window.slide(portion.newest, portion.trimmed_through, &mut net);
    for table in TABLES {
        for (key, cells) in net.of(table) {
            match cells {
                Some(cells) => drop(rows.insert((table, key), cells.to_vec())),
                None => drop(rows.remove(&(table, key))),
            }
        }
    }
}

/// Requests, by a dumb reading of the log: what must have a row, and its status.
fn requests(state: &HubState, after: u64) -> BTreeMap<u64, &'static str> {
    let records = || state.records_after(after);
    let answered: BTreeSet<_> = records().filter_map(|record| record.facts()?.task).collect();
    let open: BTreeSet<_> = state.open_tasks().map(|record| record.id).collect();
    let logged = records().filter(|record| record.task().is_some()).map(|record| record.id);
    let all: BTreeSet<_> = logged.chain(open.iter().copied()).collect();
    let status = |id| match (open.contains(id), answered.contains(id)) {
        (true, _) => "waiting",
        (false, true) => "responded",
        (false, false) => "timeout",
    };
    all.iter().map(|id| (id.get(), status(id))).collect()
}

#[test]
fn rows_that_follow_the_log_are_those_of_the_state_at_every_step() {
    let mut seen = BTreeSet::new();
    for (seed, records_max) in [(1, 300), (2, 1_500), (3, 10_000), (4, 40)] {
        let (mut history, mut state) = (History::from(seed), HubState::new(tight()));
        let (mut rows, mut window) = rows_of(&state, records_max);
        for step in 0..4_000 {
            let (mut events, batch) = (Vec::new(), 1 + history.below(3));
            for _ in 0..batch {
                let command = history.next(&state);
                events.extend(apply_command(&mut state, command).events);
            }
            follow(&mut rows, &mut window, Portion::of(&state, &events, step));
            if step % 97 != 0 {
                continue;
            }
            let (whole, fresh) = rows_of(&state, records_max);
            assert_eq!(first_difference(&rows, &whole), None, "seed {seed}, step {step}");
            assert_eq!(window.after(), fresh.after());
            let status = |((table, key), cells): (&(Table, Key), &Vec<Cell>)| match (table, &cells[3]) {
                (Table::Request, Cell::Word(status)) => Some((key[0], *status)),
                _ => None,
            };
            let requests_now: BTreeMap<u64, &str> =
                rows.iter().filter(|row| row.0.0 == Table::Request).filter_map(status).collect();
            assert_eq!(requests_now, requests(&state, window.after()), "seed {seed}, step {step}");
            seen.extend(requests_now.values().copied());
            seen.extend(rows.keys().map(|(table, _)| table.name()));
        }
        state.check_invariants().unwrap();
    }
    assert_eq!(seen.len(), 3 + TABLES.len(), "the histories reach everything: {seen:?}");
}

/// The first row that differs, if any does.
fn first_difference(rows: &Rows, whole: &Rows) -> Option<(Table, Key)> {
    let differs = |key: &&(Table, Key)| rows.get(*key) != whole.get(*key);
    rows.keys().chain(whole.keys()).find(differs).copied()
}

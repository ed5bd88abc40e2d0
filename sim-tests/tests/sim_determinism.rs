//! The same seed gives the same run, byte for byte. Everything else the simulation says rests on it.

mod sim_support;

use loop_sim_tests::world::report::commit;
use sim_support::run;

/// Two processes, so that neither the state of this one nor where its memory lies can help.
#[test]
fn one_seed_is_one_run() {
    let runs = [
        ("calm", 3),
        ("failover", 4),
        ("chaos", 5),
        ("chaos", 6),
        ("sick-disks", 7),
        ("liars", 8),
        ("bit-rot", 9),
    ];
    for (scenario, seed) in runs {
        let (one, other) = (run(scenario, seed), run(scenario, seed));
        if one.digest == other.digest && one.events == other.events {
            assert_eq!(one, other, "{scenario} {seed}: the same events and another outcome");
            continue;
        }
        let same = one.marks.iter().zip(&other.marks).take_while(|(one, other)| one == other).count();
        panic!(
            "{scenario} seed {seed} gave two runs ({} and {} events); they part between {:.1} and {:.1} simulated s. \
             Commit {}. Compare: make sim SCENARIO={scenario} SEED={seed} TRACE=1",
            one.events,
            other.events,
            same as f64 / 10.0,
            (same + 1) as f64 / 10.0,
            commit(),
        );
    }
}

/// Two seeds are two runs: a digest that never changes would prove nothing.
#[test]
fn another_seed_is_another_run() {
    let (one, other) = (run("calm", 1), run("calm", 2));
    assert_ne!(one.digest, other.digest);
    assert!(one.events > 1000 && one.acked > 10, "{one:?}");
}

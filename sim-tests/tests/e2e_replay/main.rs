//! Captured exchanges with the real AtomJump, replayed in their order against a running system, each through the next
//! hub. Printed for each: the same, improved on purpose and why, or different. None may be different.
//!
//! Exchanges the contract only tells of in words are made from those words and stand among them. After each one the
//! system is brought to where the real one was, by requests, so that an improvement does not show again in every
//! later answer.

#[expect(dead_code, reason = "shared with the replay without a system, which compares more")]
#[path = "../../../proto/atomjump/tests/replay/answers.rs"]
mod answers;
#[expect(dead_code, reason = "shared with the replay without a system, which compares more")]
#[path = "../../../proto/atomjump/tests/replay/capture.rs"]
mod capture;
mod compare;
mod http;
#[path = "../../../proto/atomjump/tests/replay/improved.rs"]
mod improved;
mod names;
mod outcomes;
#[path = "../../../proto/atomjump/tests/replay/page.rs"]
mod page;
mod replay;
mod sample_urls;
mod told;

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use capture::Capture;
use compare::Compared;
use http::Request;
use improved::IMPROVED;
use loop_local::Who;
use loop_sim_tests::{
    expect::{ensure, eventually},
    system::System,
};
use outcomes::{IMPROVED_HERE, TOLD_LATER, later};
use replay::Replay;

/// The captures, the peer's and those only a whole system can answer.
fn captures() -> Vec<Capture> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut captures = Capture::read_all(&here.join("../peer/tests/fixtures/atomjump"));
    captures.extend(Capture::read_all(&here.join("fixtures/atomjump")));
    captures.sort_by(|a, b| a.number.cmp(&b.number));
    captures
}

/// The lines of the table, and how many there are of each kind.
#[derive(Default)]
struct Table {
    lines: String,
    same: usize,
    improved: usize,
    later: usize,
    different: usize,
    /// Those of this test's own list that showed.
    shown: BTreeSet<&'static str>,
}

impl Table {
    fn line(&mut self, number: &str, name: &str, verdict: &str) {
        self.lines.push_str(&format!("{number} {name:45} {verdict}\n"));
    }

    fn capture(&mut self, capture: &Capture, Compared { differences, lasting }: &Compared) {
        let lists = IMPROVED.iter().chain(IMPROVED_HERE);
        let entries: Vec<_> = lists.filter(|(number, ..)| *number == capture.number).collect();
        let allowed = |difference: &String| {
            entries.iter().any(|(_, parts, _)| parts.iter().any(|part| difference.starts_with(part)))
        };
        let verdict = match (differences.is_empty(), differences.iter().all(allowed), entries.first()) {
            (true, ..) => {
                self.same += 1;
                if *lasting { "same but for messages improved before" } else { "same" }.to_owned()
            }
            (false, true, Some((number, _, reason))) => {
                self.improved += 1;
                self.shown.insert(number);
                format!("improved: {reason}")
            }
            _ => {
                self.different += 1;
                format!("DIFFERENT: {}", differences.join("\n      "))
            }
        };
        self.line(&capture.number, &capture.name, &verdict);
    }

    fn told(&mut self, told: &told::Told, differences: &[String]) {
        let verdict = match (differences.is_empty(), told.improved) {
            (true, None) => "same, as told in words".to_owned(),
            (true, Some(reason)) => format!("improved: {reason}"),
            (false, _) => format!("DIFFERENT: {}", differences.join("\n      ")),
        };
        let count = match (differences.is_empty(), told.improved) {
            (true, None) => &mut self.same,
            (true, Some(_)) => &mut self.improved,
            (false, _) => &mut self.different,
        };
        *count += 1;
        self.line(told.number, told.name, &verdict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_exchanges_are_answered_alike_through_alternating_hubs() -> Result<()> {
    let files = tempfile::tempdir()?;
    std::fs::create_dir(files.path().join("images"))?;
    std::fs::write(files.path().join("images/ear.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>")?;
    let folder = files.path().to_path_buf();
    let mut system = System::start_with(|config| config.static_dir = Some(folder)).await?;
    let mut replay = Replay::new((0..3).map(|at| system.cluster.hub_http(at)).collect());
    let mut table = Table::default();
    let mut told = told::all().into_iter().peekable();
    for capture in captures() {
        while let Some(told) = told.next_if(|told| told.number < capture.number.as_str()) {
            replay.arrange(told.number).await;
            let differences = replay.told(&told).await;
            table.told(&told, &differences);
        }
        replay.arrange(&capture.number).await;
        if let Some(reason) = later(&capture.number, capture.path()) {
            table.later += 1;
            table.line(&capture.number, &capture.name, reason);
        } else if !capture.name.starts_with("database_down") {
            let compared = replay.capture(&capture).await;
            table.capture(&capture, &compared);
        }
        replay.follow(&capture).await;
    }
    assert!(told.next().is_none(), "told after the last capture");
    for (number, name, reason) in TOLD_LATER {
        table.later += 1;
        table.line(number, name, reason);
    }
    let Table { lines, same, improved, later, different, shown } = table;
    println!("{lines}\n{same} same, {improved} improved, {later} later, {different} different");
    assert_eq!(different, 0, "\n{lines}");
    // An improvement that is none any more must leave the list.
    let listed = IMPROVED_HERE.iter().map(|(number, ..)| *number);
    let unused: Vec<_> = listed.filter(|number| !shown.contains(number)).collect();
    assert!(unused.is_empty(), "{unused:?}");
    assert!(same > 100, "\n{lines}");
    system.assert_nobody_fell();
    Ok(())
}

/// The front end warns after 3 s without an answer to a read and sends a commit again after 20 s; some room for a
/// loaded machine.
const READ_TOLD_WITHIN: Duration = Duration::from_secs(4);
const WRITE_TOLD_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn without_any_peer_writes_are_answered_as_without_a_database_and_reads_from_memory() -> Result<()> {
    let mut system = System::start().await?;
    let hubs: Vec<_> = (0..3).map(|at| system.cluster.hub_http(at)).collect();
    // A forum with a message in it; the captures ask for one that nobody has opened.
    Replay::new(hubs.clone()).arrange("205").await;
    for hub in &hubs {
        let status = Request::get(compare::PHP_HOST, "/check-status.php").send(*hub).await;
        assert_eq!((status.status, status.body.as_str()), (200, ""));
    }
    for at in 0..system.cluster.peer_count() {
        system.cluster.kill(Who::Peer(at)).await?;
    }
    let down: Vec<Capture> =
        captures().into_iter().filter(|capture| capture.name.starts_with("database_down")).collect();
    assert_eq!(down.len(), 2);
    for (at, hub) in hubs.iter().enumerate() {
        let mut targets: Vec<String> =
            down.iter().map(|capture| format!("{}?{}", capture.path(), capture.query())).collect();
        targets.push(targets[0].replace("ajps_test", "ajps_notify"));
        // It is waited for to the end of its time: once is enough.
        targets.extend((at == 0).then(|| targets[1].replace("ajps_test", "ajps_notify")));
        for target in &targets {
            let asked = Instant::now();
            let answer = Request::get(compare::PHP_HOST, target).send(*hub).await;
            let took = asked.elapsed();
            let script = target.split('?').next().unwrap_or_default();
            println!("{script} through hub {}: {} after {took:?}", at + 1, answer.status);
            let is_opened = target.contains("ajps_notify");
            if script != "/index.php" {
                // Better than without a database: every hub has what was written while it was there.
                assert!(took < READ_TOLD_WITHIN, "{took:?}");
                assert_eq!(answer.status, 200);
                assert_eq!(answer.body.contains("ping subscribers"), is_opened, "{answer:?}");
                continue;
            }
            assert!(took < WRITE_TOLD_WITHIN, "{took:?}");
            // What is in the log and waits for a peer is not told to have failed.
            assert_eq!(answer.status, if is_opened { 504 } else { 503 }, "{answer:?}");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
            if !is_opened {
                assert_eq!(answer.body, "");
                assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
            }
        }
        let status = eventually("without peers", READ_TOLD_WITHIN, || async {
            let status = Request::get(compare::PHP_HOST, "/check-status.php").send(*hub).await;
            // The hub a peer hung on tells the others that it is gone.
            ensure(status.status == 503, || format!("{status:?}")).map(|()| status)
        });
        assert_eq!(status.await.body, "");
    }
    system.assert_nobody_fell();
    Ok(())
}

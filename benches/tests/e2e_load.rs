//! Every workload of `load`, for a moment: each has successes and no failure, so that none breaks unseen. What the figures are
//! is nobody's concern here. etcd is not needed.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

/// A machine that does much else at the same time must not lose its leader: a new one fails requests, as it should.
const PATIENT: [&str; 4] = ["--election-min-ms", "2000", "--election-max-ms", "3000"];

/// Peers are counted on, and copies let go, as soon as they could be: what is moved for a moment is moved whole.
const HURRIED: [&str; 4] = ["--peer-probation-s", "1", "--copy-grace-s", "0"];

/// What a run of `load` with these arguments printed.
struct Ran {
    arguments: String,
    output: Output,
}

/// Lets it run to its end, whatever comes of another one beside it: it stops what it has started.
async fn load(arguments: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    let hub_args = PATIENT.into_iter().chain(HURRIED).map(|arg| format!("--hub-arg={arg}"));
    command.args(arguments.split(' ')).arg("--json").args(hub_args).stdin(Stdio::null());
    Ran { arguments: arguments.to_owned(), output: command.output().await.expect("load can be started") }
}

impl Ran {
    /// Line by line.
    fn lines(&self) -> Vec<Value> {
        let Output { status, stdout, stderr } = &self.output;
        let (out, err) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
        assert!(status.success(), "load {}: {status}\n{out}\n{err}", self.arguments);
        out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// Requests were answered, in some time, and none failed.
fn assert_worked(what: &str, summary: &Value) {
    assert_eq!(summary["failures"], 0, "{what}: {summary}");
    for figure in ["count", "rate", "p50_ms", "p99_ms", "max_ms"] {
        assert!(
            summary[figure].as_f64().is_some_and(|value| value > 0.0),
            "{what} has no {figure}: {summary}"
        );
    }
}

/// One row for each of these workloads.
fn assert_rows(rows: &[Value], systems: &[&str], workloads: &[&str]) {
    for system in systems {
        for workload in workloads {
            let of = |row: &&Value| row["system"] == *system && row["workload"] == *workload;
            let row = rows.iter().find(of);
            let row = row.unwrap_or_else(|| panic!("no {workload} of {system} in {rows:#?}"));
            assert_worked(workload, row);
        }
    }
}

const SUITE: &str = "--seconds 0.7 --warmup 0.1 --in-flight 8";
const MIGRATE: &str = "migrate --messages 200 --writes 50 --reads 50 --quiet 1";
const READS: &str =
    "reads --rounds 1 --messages 40 --many 8 --messages-each 30 --seconds 0.5 --warmup 0.1 --in-flight 8";
const HOT: &str = "hot --quiet 20 --reads 600 --cooling 2 --part 2";

const WATCH: &str = "watch --watchers 60 --watched-forums 3 --messages 6 --pause-ms 20";

fn assert_watch(lines: &[Value]) {
    let [line] = lines else { panic!("one line, not {lines:#?}") };
    // Twenty watchers of a forum are each sent what is said in it.
    assert_eq!(
        (&line["delivery"]["count"], &line["delivery"]["failures"]),
        (&120.into(), &0.into()),
        "{line}"
    );
    assert!(line["bytes_each"].is_number(), "{line}");
}

fn assert_suite(engine: &str, rows: &[Value]) {
    const WORKLOADS: [&str; 7] = [
        "proposals, 8 in flight",
        "write, one hub, 8 in flight",
        "write, all hubs, 8 in flight",
        "read, one hub, 8 in flight",
        "read, all hubs, 8 in flight",
        "visible: HTTP write",
        "visible: record, 500/s",
    ];
    assert_rows(rows, &[engine], &WORKLOADS);
    assert_eq!(rows.len(), WORKLOADS.len(), "{rows:#?}");
}

fn assert_migrate(phases: &[Value]) {
    let names: Vec<&str> = phases.iter().filter_map(|phase| phase["phase"].as_str()).collect();
    assert_eq!(names, ["before", "move", "between", "reverse", "after"]);
    for phase in phases {
        for people in ["reads", "writes"] {
            assert_eq!(phase[people]["failures"], 0, "{phase}");
        }
        // People may still be on their way to the first, and a move of so small a forum be over before anybody was due.
        if ["between", "after"].contains(&phase["phase"].as_str().unwrap_or_default()) {
            assert_worked("reads", &phase["reads"]);
            assert_worked("writes", &phase["writes"]);
        }
    }
}

fn assert_reads(rows: &[Value]) {
    let parts = ["read, one forum", "read, forums in turn", "read, 10 writes/s"];
    assert_rows(rows, &["1 hub", "3 hubs", "node"], &parts);
    let found = rows.last().expect("a last line");
    assert_eq!(found["rows_asked"], 0, "loaded windows ask nobody: {found}");
    let bytes = |of: &str| found["bytes"][of].as_u64().expect("bytes of an answer");
    assert!(bytes("ours").abs_diff(bytes("node")) * 20 <= bytes("node"), "answers are of one size: {found}");
}

fn assert_hot(news: &[Value]) {
    let seen = |who: &str| news.iter().filter(|line| line["who"] == *who).collect::<Vec<_>>();
    assert_eq!((seen("busy").len(), seen("quiet").len()), (2, 4), "{news:#?}");
    for line in seen("busy").into_iter().chain(seen("quiet")) {
        assert_eq!(line["seen"]["writes"]["failures"], 0, "{line}");
        assert_worked("reads", &line["seen"]["reads"]);
    }
    let grown = news.iter().find_map(|line| line["replicas"].as_u64());
    assert_eq!(grown, Some(4), "the busy forum gets its further replica: {news:#?}");
}

#[tokio::test]
async fn every_workload_has_successes_and_no_failure() {
    let others = async {
        let sled = load(&format!("run all --engine sled {SUITE}")).await;
        let segment = load(&format!("run all --engine segment {SUITE}")).await;
        (sled, segment, load(MIGRATE).await, load(READS).await, load(WATCH).await)
    };
    // The first of them waits most of the time.
    let (hot, (sled, segment, migrate, reads, watch)) = tokio::join!(load(HOT), others);
    assert_suite("sled", &sled.lines());
    assert_suite("segment", &segment.lines());
    assert_migrate(&migrate.lines());
    assert_reads(&reads.lines());
    assert_watch(&watch.lines());
    assert_hot(&hot.lines());
}

//! Who may depend on whom, and what the four pure cores may not touch. The table is ARCHITECTURE's; this holds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use loop_sim_tests::{
    imports::Imports,
    source::{Source, files, repository, words},
};

/// Package → the packages of ours it may use, in any kind of dependency.
const ARROWS: &[(&str, &[&str])] = &[
    ("loop-proto", &[]),
    ("loop-atomjump", &["loop-proto"]),
    ("loop-raft-store", &["loop-proto", "loop-atomjump"]),
    ("loop-net", &["loop-proto"]),
    ("loop-hub-edge", &["loop-proto", "loop-atomjump", "loop-net"]),
    ("loop-realtime", &["loop-proto"]),
    ("loop-admin", &["loop-proto", "loop-net"]),
    ("loop-hubctl", &["loop-proto", "loop-net", "loop-admin"]),
    // The last two in tests only: what a hub says of its data must be recognised.
    ("loop-local", &["loop-proto", "loop-admin", "loop-hub", "loop-raft-store"]),
    // The last two in tests only: a real hub is looked at as an operator does.
    (
        "loop-hub",
        &[
            "loop-proto",
            "loop-atomjump",
            "loop-raft-store",
            "loop-net",
            "loop-hub-edge",
            "loop-realtime",
            "loop-admin",
            "loop-hubctl",
        ],
    ),
    ("loop-peer", &["loop-proto", "loop-atomjump"]),
    ("loop-console", &["loop-peer"]),
    (
        "loop-sim-tests",
        &[
            "loop-proto",
            "loop-atomjump",
            "loop-raft-store",
            "loop-net",
            "loop-admin",
            "loop-hubctl",
            "loop-local",
            "loop-hub",
            "loop-peer",
        ],
    ),
    (
        "loop-benches",
        &[
            "loop-proto",
            "loop-atomjump",
            "loop-raft-store",
            "loop-net",
            "loop-hub-edge",
            "loop-admin",
            "loop-local",
            "loop-hub",
            "loop-peer",
        ],
    ),
];

/// Folders of synchronous functions over values: the same input gives the same output on every machine.
const PURE: [&str; 4] =
    ["raft-store/src/machine", "peer/src/replica", "proto/atomjump/src", "hub/realtime/src/core"];

/// Crates in which no two files use one another in a circle.
const WITHOUT_CIRCLES: &[&str] = &[
    "proto",
    "proto/atomjump",
    "raft-store",
    "hub/net",
    "hub/edge",
    "hub/realtime",
    "hub/admin",
    "hub/ctl",
    "hub/local",
    "hub",
    "peer",
    "vm/console",
];

/// The rooms of a hub, as in ARCHITECTURE's map: each uses those before it, and none after.
const ROOMS: [&str; 23] = [
    "config",
    "outside",
    "error",
    "group",
    "raft",
    "log",
    "projection",
    "breaches",
    "mesh",
    "membership",
    "placement",
    "windows",
    "calls",
    "identity",
    "transfer",
    "content",
    "applied",
    "peers",
    "leader",
    "health",
    "sizes",
    "telemetry",
    "api",
];

/// Words that have no place in them, with the reason.
const IMPURE: [(&[&str], &str); 6] = [
    (&["async", "await", "tokio", "futures", "spawn"], "waiting"),
    (&["SystemTime", "Instant", "sleep"], "a clock"),
    (&["rand", "random", "thread_rng", "RandomState"], "chance"),
    (&["HashMap", "HashSet"], "an order that differs between machines"),
    (&["tracing", "metrics", "println", "eprintln", "print", "eprint"], "output"),
    (
        &[
            "fs", "net", "env", "process", "thread", "Mutex", "RwLock", "openraft", "sled", "tonic",
            "rusqlite",
        ],
        "the outside world",
    ),
];

fn metadata() -> serde_json::Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--locked"])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

#[test]
fn packages_depend_on_one_another_only_along_the_arrows() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let Some(allowed) = allowed.get(name) else {
            wrong.push(format!("{name} is a new package: give it its arrows here and in ARCHITECTURE.md"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            let ours = dependency["path"].is_string() || to.starts_with("loop-");
            if ours && !allowed.contains(&to) {
                let kind = dependency["kind"].as_str().unwrap_or("normal");
                wrong.push(format!("{name} → {to} ({kind})"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not in the table:\n  {}", wrong.join("\n  "));
    assert_eq!(packages.len(), ARROWS.len(), "a package of the table is gone");
}

#[test]
fn no_two_files_use_one_another_in_a_circle() {
    let mut wrong = Vec::new();
    for name in WITHOUT_CIRCLES {
        let imports = Imports::read(&repository().join(name).join("src/lib.rs")).expect("readable files");
        assert!(imports.len() > 1, "{name} has more than one file");
        for circle in imports.circles() {
            wrong.push(format!("a circle of {} files:", circle.len()));
            wrong.extend(circle.iter().map(|(file, uses)| {
                let used = uses.iter().map(|(to, by)| format!("{} ({by})", shown(to)));
                format!("  {} uses {}", shown(file), used.collect::<Vec<_>>().join(", "))
            }));
        }
    }
    assert!(
        wrong.is_empty(),
        "move what both need into a file below both, or to where it belongs:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn the_rooms_of_a_hub_use_one_another_one_way() {
    let root = repository().join("hub/src");
    let room = |file: &Path| {
        let inside = file.strip_prefix(&root).expect("a file of the hub").components().next();
        let name =
            inside.and_then(|first| Path::new(first.as_os_str()).file_stem()?.to_str().map(str::to_owned));
        name.expect("a file has a name")
    };
    let place = |room: &str| ROOMS.iter().position(|name| *name == room);
    let imports = Imports::read(&root.join("lib.rs")).expect("readable files");
    let mut wrong = BTreeSet::new();
    for (from, to, by) in imports.all() {
        let (of, other) = (room(from), room(to));
        // `run` puts everything together; the root only names the rooms.
        if of == other || of == "run" || of == "lib" || other == "lib" {
            continue;
        }
        match (place(&of), place(&other)) {
            (Some(of), Some(other)) if other < of => {}
            _ => drop(wrong.insert(format!("{} uses {} ({by})", shown(from), shown(to)))),
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "against the order of the rooms:\n  {}", wrong.join("\n  "));
}

fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

#[test]
fn the_pure_cores_know_no_clock_no_chance_and_no_outside() {
    let mut wrong = Vec::new();
    for folder in PURE {
        let paths = files(&repository().join(folder), &[".rs"]).unwrap_or_default();
        assert!(!paths.is_empty(), "no source under {folder}: where did the pure core go?");
        let sources: Vec<Source> =
            paths.iter().map(|path| Source::read(path).expect("a readable file")).collect();
        let tests: BTreeSet<PathBuf> = sources.iter().flat_map(Source::test_modules).collect();
        for source in sources.iter().filter(|source| !tests.contains(&source.path)) {
            impurities(source, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "a pure core touches:\n  {}", wrong.join("\n  "));
}

fn impurities(source: &Source, found: &mut Vec<String>) {
    let code = source.shipped_code();
    let path = source.path.strip_prefix(repository()).unwrap_or(&source.path).display();
    for (line, word) in words(&code) {
        for (banned, reason) in IMPURE {
            if banned.contains(&word) && !is_name_of_ours(&code, line, word) {
                found.push(format!("{path}:{line}: {word} ({reason})"));
            }
        }
    }
}

/// `process` and the like are also good names for fields: only a path (`std::process`) or a macro (`print!`) counts.
fn is_name_of_ours(code: &str, line: usize, word: &str) -> bool {
    if !matches!(word, "metrics" | "random" | "fs" | "net" | "env" | "process" | "thread" | "print" | "spawn")
    {
        return false;
    }
    let text = code.lines().nth(line - 1).unwrap_or_default();
    let as_path = text.contains(&format!("{word}::")) || text.contains(&format!("::{word}"));
    !as_path && !text.contains(&format!("{word}!"))
}

#[test]
fn the_scan_sees_what_it_is_for() {
    let text = "use std::time::Instant;\nlet process = 1; // tokio\nfn f() { print!(\"HashMap\"); x.await; std::fs::read(y) }\n";
    let mut found = Vec::new();
    impurities(&Source::new(Path::new("core.rs"), text), &mut found);
    let lines: Vec<String> = found.iter().map(|f| f.replace("core.rs:", "")).collect();
    assert_eq!(
        lines,
        ["1: Instant (a clock)", "3: print (output)", "3: await (waiting)", "3: fs (the outside world)"]
    );
}

#[test]
fn a_peer_carries_no_part_of_a_hub() {
    // A peer is a volunteer's machine: it must not carry the hubs' consensus, not even through somebody else.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "-p", "loop-peer", "-e", "normal", "--prefix", "none", "--offline", "--locked"])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&tree.stdout);
    assert!(
        tree.status.success() && text.contains("loop-proto"),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    for banned in ["openraft ", "sled ", "loop-hub ", "loop-raft-store "] {
        let carried: Vec<&str> = text.lines().filter(|line| line.starts_with(banned)).collect();
        assert!(carried.is_empty(), "loop-peer carries {carried:?}");
    }
}

#[test]
fn what_ships_has_no_switch_for_bugs() {
    let metadata = metadata();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    for package in list(&metadata["packages"]) {
        let name = package["name"].as_str().expect("a name");
        let turned_on = list(&package["dependencies"])
            .iter()
            .any(|to| list(&to["features"]).contains(&"breakages".into()));
        assert_eq!(turned_on, name == "loop-sim-tests", "{name} turns on `breakages`: {turned_on}");
    }
    // Neither does a feature that is on by default, nor anything in between.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "-p", "loop-hub", "-p", "loop-peer", "-p", "loop-benches", "-e", "features,normal"])
        .args(["--prefix", "none", "--offline", "--locked"])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&tree.stdout);
    assert!(text.contains("loop-proto feature \"grpc\""), "{}", String::from_utf8_lossy(&tree.stderr));
    assert!(!text.contains("feature \"breakages\""), "{text}");
}

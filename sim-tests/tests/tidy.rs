//! House rules that need no compiler: small files, small functions, headers, and no test or code left for later.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use loop_sim_tests::source::{Source, files, functions, repository, words};

/// Longest file, lines; tests apart.
const FILE_LINES_MAX: usize = 600;

/// Longest function, lines; tests apart.
const FUNCTION_LINES_MAX: usize = 70;

/// Folders with our sources.
const PARTS: [&str; 7] = ["proto", "raft-store", "hub", "peer", "vm", "sim-tests", "benches"];

/// Every source of ours.
fn rust_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for part in PARTS {
        let paths = files(&repository().join(part), &[".rs"]).expect(part);
        assert!(!paths.is_empty(), "no source under {part}: is the list of parts still right?");
        sources.extend(paths.iter().map(|path| Source::read(path).expect("a readable file")));
    }
    sources
}

/// Those that ship: neither cargo's test files nor modules that exist for tests only.
fn shipped_sources() -> Vec<Source> {
    let sources = rust_sources();
    let tests: BTreeSet<PathBuf> = sources.iter().flat_map(Source::test_modules).collect();
    sources.into_iter().filter(|source| !source.is_story() && !tests.contains(&source.path)).collect()
}

fn short(path: &Path) -> PathBuf {
    path.strip_prefix(repository()).unwrap_or(path).to_path_buf()
}

fn report(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
}

#[test]
fn files_stay_small_enough_to_read() {
    let mut long = Vec::new();
    for source in shipped_sources() {
        let lines = source.shipped_lines();
        if lines > FILE_LINES_MAX {
            long.push(format!("{}: {lines} lines", short(&source.path).display()));
        }
    }
    for path in files(&repository(), &[".js", ".mjs", ".css", ".proto", ".html", ".sh"]).unwrap() {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{}: {lines} lines", short(&path).display()));
        }
    }
    report(&format!("files of more than {FILE_LINES_MAX} lines; split them by idea"), long);
}

#[test]
fn functions_stay_small_enough_to_read() {
    let mut long = Vec::new();
    for source in &shipped_sources() {
        for function in functions(&source.shipped_code()) {
            if function.lines > FUNCTION_LINES_MAX {
                let Source { path, .. } = source;
                let path = short(path);
                long.push(format!(
                    "{}:{}: {} has {} lines",
                    path.display(),
                    function.line,
                    function.name,
                    function.lines
                ));
            }
        }
    }
    report(&format!("functions of more than {FUNCTION_LINES_MAX} lines"), long);
}

#[test]
fn every_file_says_what_it_owns() {
    let (shipped, all) = (shipped_sources(), rust_sources());
    let sources = shipped.iter().chain(all.iter().filter(|source| source.is_story()));
    let without = sources.filter(|source| !source.has_header());
    report("files without a //! header", without.map(|s| short(&s.path).display().to_string()).collect());
}

#[test]
fn nothing_is_left_for_later() {
    let mut found = Vec::new();
    for source in rust_sources() {
        let path = short(&source.path);
        for (at, line) in source.code.lines().enumerate() {
            let tight: String = line.split_whitespace().collect();
            if tight.contains("#[ignore") {
                found.push(format!("{}:{}: an ignored test", path.display(), at + 1));
            }
            for banned in ["todo!(", "unimplemented!(", "dbg!("] {
                if tight.contains(banned) {
                    found.push(format!("{}:{}: {banned})", path.display(), at + 1));
                }
            }
        }
    }
    report("left for later", found);
}

#[test]
fn no_file_permits_unsafe_code() {
    let unsafe_code: Vec<String> = rust_sources()
        .iter()
        .flat_map(|source| {
            let path = short(&source.path).display().to_string();
            let lines: Vec<usize> =
                words(&source.code).filter(|(_, w)| *w == "unsafe").map(|(at, _)| at).collect();
            lines.into_iter().map(move |line| format!("{path}:{line}"))
        })
        .collect();
    report("unsafe code", unsafe_code);
}

#[test]
fn scripts_are_executable_and_stop_at_the_first_error() {
    use std::os::unix::fs::PermissionsExt;
    let mut scripts = files(&repository().join("scripts"), &[".sh"]).expect("scripts/");
    scripts.push(repository().join(".ci/run"));
    let mut wrong = Vec::new();
    for path in scripts {
        let text = std::fs::read_to_string(&path).expect("a readable script");
        if !text.contains("set -euo pipefail") {
            wrong.push(format!("{} goes on after an error", short(&path).display()));
        }
        if std::fs::metadata(&path).unwrap().permissions().mode() & 0o111 == 0 {
            wrong.push(format!("{} is not executable", short(&path).display()));
        }
    }
    report("scripts", wrong);
}

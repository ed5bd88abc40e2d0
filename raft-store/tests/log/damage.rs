//! A damaged log: it is refused, with the entry and what to do, or it is whole. Nothing in between.

use std::{fs, path::Path};

use loop_raft_store::{
    log_store::{self, Engine, LogError, LogStoreConfig},
    raft_types::Entry,
};

use crate::support::{ENGINES, append, config, entry, open, read};

const ENTRIES: u64 = 240;

fn written(first: u64) -> Vec<Entry> {
    (first..ENTRIES).map(|index| entry(1, index, 60 + (index as usize * 7) % 300)).collect()
}

/// A closed log of entries `0..ENTRIES`, in groups of eight.
async fn write(dir: &Path, engine: Engine) {
    let mut store = open(dir, engine).unwrap();
    for group in written(0).chunks(8) {
        append(&mut store, group.to_vec()).await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        match item.file_type().unwrap().is_dir() {
            true => copy(&item.path(), &target),
            false => drop(fs::copy(item.path(), target).unwrap()),
        }
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Opens and reads everything: the entries, or why not.
async fn open_and_read(config: LogStoreConfig) -> Result<Vec<Entry>, String> {
    let store = match log_store::open(config) {
        Ok(store) => store,
        Err(error @ LogError::Corrupt(_)) => return Err(error.to_string()),
        Err(other) => panic!("not the error for a damaged log: {other}"),
    };
    read(&store, 0, u64::MAX).await.map_err(|error| error.to_string())
}

/// Flips a bit in every copy of entry `index`'s bytes.
fn damage_entry(dir: &Path, index: u64) {
    let pattern = format!("[t1 i{index}] ");
    let mut damaged = 0;
    for path in files(dir) {
        let mut bytes = fs::read(&path).unwrap();
        let mut at = 0;
        while let Some(found) =
            bytes[at..].windows(pattern.len()).position(|window| window == pattern.as_bytes())
        {
            at += found + pattern.len();
            bytes[at - 1] ^= 0x08;
            damaged += 1;
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(damaged > 0, "entry {index} is on disk in clear");
}

#[tokio::test]
async fn an_entry_damaged_in_the_middle_is_named_with_what_to_do() {
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), engine).await;
        damage_entry(temp.path(), 120);
        let message = open_and_read(config(temp.path(), engine)).await.expect_err("refused");
        println!("{engine:?}: {message}");
        // sled drops a whole write together, so it may name the first entry of the group.
        let named = (112..=120).any(|index| message.contains(&format!("at entry {index} ")));
        assert!(named, "{engine:?}: {message}");
        assert!(message.contains(&temp.path().display().to_string()), "{message}");
        assert!(message.contains("aside") && message.contains("hubctl hub remove"), "{message}");
    }
}

/// Goal: damage at the very end is not mistaken for a write cut short, once the acknowledgement reached the disk.
#[tokio::test]
async fn a_lost_end_is_noticed() {
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), engine).await;
        damage_entry(temp.path(), ENTRIES - 1);
        let message = open_and_read(config(temp.path(), engine)).await.expect_err("refused");
        assert!(message.contains("at entry 23"), "{engine:?}: {message}");
    }
}

/// Goal: no single flipped bit, wherever it is, makes a log say something else than what was written.
#[tokio::test]
async fn a_flipped_bit_anywhere_is_refused_or_harmless() {
    // sled panics on some kinds of damage; that is caught, but each would print itself.
    std::panic::set_hook(Box::new(|_| {}));
    for engine in ENGINES {
        let temp = tempfile::tempdir().unwrap();
        let (whole, dir) = (temp.path().join("whole"), temp.path().join("damaged"));
        write(&whole, engine).await;
        let (mut refused, mut harmless) = (0, 0);
        for path in files(&whole) {
            let len = fs::metadata(&path).unwrap().len();
            // Where there is something; the rest of a reserved file is zeros.
            let used =
                fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
            let step = (used / 60).max(1) | 1;
            for at in (0..len.min(used + 20)).step_by(step as usize) {
                let _ = fs::remove_dir_all(&dir);
                copy(&whole, &dir);
                let target = dir.join(path.strip_prefix(&whole).unwrap());
                let mut bytes = fs::read(&target).unwrap();
                bytes[at as usize] ^= 1 << (at % 8);
                fs::write(&target, bytes).unwrap();
                match open_and_read(config(&dir, engine)).await {
                    Err(_) => refused += 1,
                    Ok(found) => {
                        assert!(
                            found == written(0),
                            "{engine:?}: byte {at} of {} changed the log",
                            path.display()
                        );
                        harmless += 1;
                    }
                }
            }
        }
        println!("{engine:?}: {refused} refused, {harmless} harmless");
        assert!(refused > harmless, "{engine:?}: {refused} refused, {harmless} harmless");
    }
}

#[tokio::test]
async fn a_missing_or_cut_segment_is_refused() {
    let segments = |dir: &Path| -> Vec<_> {
        files(dir).into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect()
    };
    for (hurt, which) in [("removed", 0), ("removed", 1), ("cut", 0), ("cut", 1), ("emptied", 1)] {
        let temp = tempfile::tempdir().unwrap();
        let small = LogStoreConfig { segment_bytes: 8 << 10, ..config(temp.path(), Engine::Segment) };
        let mut store = log_store::open(small.clone()).unwrap();
        append(&mut store, written(0)).await.unwrap();
        drop(store);
        let path = &segments(temp.path())[which];
        let len = fs::metadata(path).unwrap().len();
        match hurt {
            "removed" => fs::remove_file(path).unwrap(),
            "cut" => fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len - 40).unwrap(),
            _ => fs::write(path, b"").unwrap(),
        }
        let message = open_and_read(small).await.expect_err(hurt);
        assert!(message.contains("corrupt at entry"), "{hurt} {which}: {message}");
    }
}

/// Goal: a write that the power cut short, and nobody was told of, is dropped and does not come back.
#[tokio::test]
async fn a_torn_end_of_the_last_segment_is_dropped() {
    let temp = tempfile::tempdir().unwrap();
    write(temp.path(), Engine::Segment).await;
    let last =
        files(temp.path()).into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "seg")).max();
    let last = last.unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // The beginning of a record that announces 200 bytes, and some of them.
    bytes[end..end + 4].copy_from_slice(&200u32.to_be_bytes());
    bytes[end + 4..end + 90].fill(0xee);
    fs::write(&last, bytes).unwrap();
    for _ in 0..2 {
        let found = open_and_read(config(temp.path(), Engine::Segment)).await.unwrap();
        assert!(found == written(0));
    }
    let mut store = open(temp.path(), Engine::Segment).unwrap();
    append(&mut store, vec![entry(2, ENTRIES, 50)]).await.unwrap();
    drop(store);
    let store = open(temp.path(), Engine::Segment).unwrap();
    assert_eq!(read(&store, ENTRIES, u64::MAX).await.unwrap(), [entry(2, ENTRIES, 50)]);
}

/// Goal: damage that appears while the log is open stops it. Method: damage under an open store, then read what the
/// cache does not hold.
#[tokio::test]
async fn a_damaged_entry_stops_an_open_store() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = open(temp.path(), Engine::Segment).unwrap();
    append(&mut store, written(0)).await.unwrap();
    damage_entry(temp.path(), 20);
    assert!(read(&store, 0, 20).await.unwrap() == written(0)[..20]);
    let message = read(&store, 0, 40).await.unwrap_err().to_string();
    assert!(message.contains("at entry 20 "), "{message}");
    let stopped = append(&mut store, vec![entry(1, ENTRIES, 10)]).await.unwrap_err().to_string();
    assert!(stopped.contains("stopped") && stopped.contains("at entry 20 "), "{stopped}");
    assert!(read(&store, ENTRIES - 1, ENTRIES).await.is_err(), "not even from the cache");
}

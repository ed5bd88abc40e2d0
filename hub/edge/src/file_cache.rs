//! Files kept in memory, least recently used first out. Pure: the time is an argument.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::files::File;

/// Bytes an entry takes besides key and body.
const ENTRY_OVERHEAD: usize = 512;

/// A bounded memory of files, and of files nobody has.
pub struct FileCache {
    bytes_max: usize,
    bytes: usize,
    clock: u64,
    entries: BTreeMap<String, Entry>,
    by_use: BTreeMap<u64, String>,
}

struct Entry {
    file: Option<File>,
    until: Instant,
    bytes: usize,
    used: u64,
}

impl FileCache {
    /// Keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, clock: 0, entries: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    /// What is known of `key`: a file, or `Some(None)` that there is none.
    pub fn get(&mut self, key: &str, now: Instant) -> Option<Option<File>> {
        if self.entries.get(key)?.until <= now {
            self.remove(key);
            return None;
        }
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        let name = self.by_use.remove(&entry.used)?;
        entry.used = self.clock;
        self.by_use.insert(self.clock, name);
        Some(entry.file.clone())
    }

    /// Remembers for `ttl`; `None`: that there is none. What does not fit is not kept.
    pub fn put(&mut self, key: &str, file: Option<File>, ttl: Duration, now: Instant) {
        self.remove(key);
        let bytes = 2 * key.len() + file.as_ref().map_or(0, |f| f.body.len()) + ENTRY_OVERHEAD;
        if bytes > self.bytes_max {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            let Some(oldest) = self.by_use.first_key_value().map(|(_, key)| key.clone()) else { break };
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.by_use.insert(self.clock, key.to_owned());
        self.entries.insert(key.to_owned(), Entry { file, until: now + ttl, bytes, used: self.clock });
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
            self.by_use.remove(&entry.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::files::{UNKNOWN_TYPE, etag_of};

    fn file(bytes: usize) -> Option<File> {
        let body = Bytes::from(vec![b'x'; bytes]);
        let etag = etag_of(&body);
        let cache_control = UNKNOWN_TYPE;
        Some(File { body, content_type: UNKNOWN_TYPE, etag, last_modified: None, cache_control, inert: true })
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_used_goes_first_and_nothing_outstays_its_time() {
        let now = Instant::now();
        let ttl = Duration::from_secs(10);
        let mut cache = FileCache::new(4000);
        cache.put("a", file(1000), ttl, now);
        cache.put("b", file(1000), ttl, now);
        assert!(cache.get("a", now).is_some());
        cache.put("c", file(1000), ttl, now);
        assert!(cache.get("b", now).is_none(), "b was used least recently");
        assert!(cache.get("a", now).is_some() && cache.get("c", now).is_some());
        assert!(cache.get("a", now + ttl).is_none());
        cache.put("gone", None, ttl, now);
        assert!(matches!(cache.get("gone", now), Some(None)));
        cache.put("huge", file(5000), ttl, now);
        assert!(cache.get("huge", now).is_none());
    }

    proptest::proptest! {
        #[test]
        fn it_never_holds_more_than_it_may(puts in proptest::collection::vec((0u8..20, 0usize..3000), 0..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let now = runtime.block_on(async { Instant::now() });
            let mut cache = FileCache::new(8000);
            for (key, size) in puts {
                cache.put(&key.to_string(), file(size), Duration::from_secs(1), now);
                let held: usize = cache.entries.values().map(|e| e.bytes).sum();
                proptest::prop_assert!(held == cache.bytes && held <= 8000);
                proptest::prop_assert_eq!(cache.entries.len(), cache.by_use.len());
            }
        }
    }
}

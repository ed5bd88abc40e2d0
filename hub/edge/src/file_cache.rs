//! Files kept in memory, least recently used first out. Pure.

use std::collections::BTreeMap;

use super::files::File;

/// Bytes an entry takes besides key and body.
const ENTRY_OVERHEAD: usize = 512;

/// A bounded memory of files.
pub struct FileCache {
    bytes_max: usize,
    bytes: usize,
    clock: u64,
    entries: BTreeMap<String, Entry>,
    by_use: BTreeMap<u64, String>,
}

struct Entry {
    file: File,
    bytes: usize,
    used: u64,
}

impl FileCache {
    /// Keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, clock: 0, entries: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    /// The file of `key`.
    pub fn get(&mut self, key: &str) -> Option<File> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        let name = self.by_use.remove(&entry.used)?;
        entry.used = self.clock;
        self.by_use.insert(self.clock, name);
        Some(entry.file.clone())
    }

    /// Remembers it. What does not fit is not kept.
    pub fn put(&mut self, key: &str, file: File) {
        self.remove(key);
        let bytes = 2 * key.len() + file.body.len() + ENTRY_OVERHEAD;
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
        self.entries.insert(key.to_owned(), Entry { file, bytes, used: self.clock });
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
    use crate::files::{etag_of, type_of};

    fn file(bytes: usize) -> File {
        let body = Bytes::from(vec![b'x'; bytes]);
        let (etag, kind) = (etag_of(&body), type_of("/x"));
        File { body, content_type: kind.clone(), etag, last_modified: None, cache_control: kind, inert: true }
    }

    #[test]
    fn the_least_used_goes_first() {
        let mut cache = FileCache::new(4000);
        cache.put("a", file(1000));
        cache.put("b", file(1000));
        assert!(cache.get("a").is_some());
        cache.put("c", file(1000));
        assert!(cache.get("b").is_none(), "b was used least recently");
        assert!(cache.get("a").is_some() && cache.get("c").is_some());
        cache.put("huge", file(5000));
        assert!(cache.get("huge").is_none());
    }

    proptest::proptest! {
        #[test]
        fn it_never_holds_more_than_it_may(puts in proptest::collection::vec((0u8..20, 0usize..3000), 0..60)) {
            let mut cache = FileCache::new(8000);
            for (key, size) in puts {
                cache.put(&key.to_string(), file(size));
                let held: usize = cache.entries.values().map(|e| e.bytes).sum();
                proptest::prop_assert!(held == cache.bytes && held <= 8000);
                proptest::prop_assert_eq!(cache.entries.len(), cache.by_use.len());
            }
        }
    }
}

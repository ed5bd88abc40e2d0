//! The manifest of published files: which bytes hubs serve under which path. Never knows the bytes themselves.

use std::{collections::BTreeMap, sync::Arc};

use loop_proto::{
    content::{self, ContentHash, FILE_BYTES_MAX, FILES_MAX, HOLDERS_MAX},
    ids::PeerId,
    v1,
};

/// One published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFile {
    /// What its bytes must hash to.
    pub hash: ContentHash,
    /// How many bytes it has.
    pub size: u64,
    /// What browsers are told it is.
    pub kind: v1::ContentType,
    /// Who had it on disk when it was published. A peer may have lost it since.
    pub holders: Vec<PeerId>,
}

/// The manifest. A clone shares all of it until one of both changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    files: Arc<BTreeMap<String, ContentFile>>,
}

impl Manifest {
    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file of that path.
    pub fn get(&self, path: &str) -> Option<&ContentFile> {
        self.files.get(path)
    }

    /// All files by path, those whose path comes after `after`.
    pub fn after<'a>(&'a self, after: &str) -> impl Iterator<Item = (&'a String, &'a ContentFile)> + use<'a> {
        let from = std::ops::Bound::Excluded(after.to_owned());
        self.files.range((from, std::ops::Bound::Unbounded))
    }

    /// The files `peer` is counted on for.
    pub fn held_by(&self, peer: PeerId) -> impl Iterator<Item = &ContentFile> + '_ {
        self.files.values().filter(move |file| file.holders.contains(&peer))
    }

    pub(super) fn put(&mut self, path: String, file: ContentFile) {
        Arc::make_mut(&mut self.files).insert(path, file);
    }

    pub(super) fn remove(&mut self, path: &str) {
        Arc::make_mut(&mut self.files).remove(path);
    }

    /// Checks what must hold of it alone.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.len() > FILES_MAX {
            return Err("more files are published than may be");
        }
        let is_fine = |(path, file): (&String, &ContentFile)| content::is_path(path) && file.is_fine();
        if !self.files.iter().all(is_fine) {
            return Err("a published file has no path, is too long, or is on too many peers");
        }
        Ok(())
    }
}

impl ContentFile {
    /// Reads an entry as messages carry it; the error names the field.
    pub(super) fn of_wire(entry: &v1::ContentEntry) -> Result<Self, &'static str> {
        let hash = ContentHash::from_bytes(&entry.sha256).ok_or("sha256")?;
        let kind = v1::ContentType::try_from(entry.r#type).map_err(|_| "type")?;
        let holders: Option<Vec<PeerId>> = entry.holders.iter().map(|raw| PeerId::new(*raw)).collect();
        let file = Self { hash, size: entry.size, kind, holders: holders.ok_or("holders")? };
        if !content::is_path(&entry.path) {
            return Err("path");
        }
        if file.is_fine() { Ok(file) } else { Err("size or holders") }
    }

    /// The same as a message.
    pub fn to_wire(&self, path: &str) -> v1::ContentEntry {
        v1::ContentEntry {
            path: path.to_owned(),
            sha256: self.hash.to_bytes(),
            size: self.size,
            r#type: self.kind.into(),
            holders: self.holders.iter().map(|peer| peer.get()).collect(),
        }
    }

    fn is_fine(&self) -> bool {
        let once = |(at, peer): (usize, &PeerId)| !self.holders[..at].contains(peer);
        self.size <= FILE_BYTES_MAX
            && (1..=HOLDERS_MAX).contains(&self.holders.len())
            && self.holders.iter().enumerate().all(once)
    }
}

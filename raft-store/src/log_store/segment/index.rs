//! The files of a log by name, and where each entry lies in them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::super::disk::File;

/// The name of a segment file.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:010}.seg")
}

/// Where a segment is copied before the copy takes its place.
pub(super) fn copy_name(number: u32) -> String {
    format!("{number:010}.new")
}

/// The number of a segment file, if the name is one.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 10).then(|| digits.parse().ok())?
}

/// Where an entry's record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u32,
    pub offset: u32,
    /// Length of the entry's bytes, without the record's header.
    pub len: u32,
}

/// Which entries there are, and where.
#[derive(Default)]
pub(super) struct Index {
    pub first: u64,
    pub places: VecDeque<Place>,
    pub files: BTreeMap<u32, Arc<dyn File>>,
}

impl Index {
    pub fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    pub fn push(&mut self, index: u64, place: Place) {
        if self.places.is_empty() {
            self.first = index;
        }
        self.places.push_back(place);
    }

    /// Forgets entries from `next` on. `next` below the first one empties it and moves it there.
    pub fn truncate(&mut self, next: u64) {
        self.places.truncate(usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX));
        self.first = self.first.min(next);
    }

    /// Forgets entries before `first`.
    pub fn purge(&mut self, first: u64) {
        let gone = first.saturating_sub(self.first).min(self.places.len() as u64);
        self.places.drain(..gone as usize);
        self.first = self.first.max(first);
    }
}

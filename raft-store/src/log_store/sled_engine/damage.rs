//! How damage that is found in sled's own files is told.

use std::path::Path;

use super::super::error::{Corruption, LogError};

/// The log in `dir` is damaged, at an entry if that is known.
pub(super) fn corrupt(dir: &Path, index: Option<u64>, what: String) -> LogError {
    Corruption { dir: dir.to_owned(), index, place: "sled/db".into(), what }.into()
}

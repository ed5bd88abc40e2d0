//! The mark that this peer has started over, until a hub has heard of it.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::parts;

/// On disk before the cursor jumps over records, gone when the hubs know.
pub struct Mark(PathBuf);

impl Mark {
    /// Inside the data folder.
    pub fn within(data_dir: &Path) -> Self {
        Self(data_dir.join("started-over"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether hubs must be told.
    pub fn is_set(&self) -> bool {
        self.0.exists()
    }

    /// From here on hubs must be told.
    pub fn set(&self) -> io::Result<()> {
        File::create(&self.0)?.sync_all()?;
        self.0.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    /// A hub knows.
    pub fn clear(&self) -> io::Result<()> {
        parts::remove(&self.0)
    }
}

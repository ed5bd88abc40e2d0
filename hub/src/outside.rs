//! Everything a hub gets from the outside: sockets, clock and chance, and where its data lies.

use std::{io, path::Path, sync::Arc};

use loop_net::io::Io;
use loop_raft_store::{
    adapter::ApplySink,
    log_store::{
        Sink,
        disk::{Dir, RealDir},
    },
};

/// One of the things that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its name, as the metrics have it.
    pub what: &'static str,
    /// How much of it there is.
    pub now: u64,
    /// The most there may be.
    pub limit: u64,
}

impl Size {
    /// So much of so much.
    pub fn new(what: &'static str, (now, limit): (usize, usize)) -> Self {
        Self { what, now: now as u64, limit: limit as u64 }
    }
}

/// Hears how much a hub keeps.
pub type TellSizes = dyn Fn(&[Size]) + Send + Sync;

type OpenDir = dyn Fn(&Path) -> io::Result<Arc<dyn Dir>> + Send + Sync;

/// What the outside supplies. Cheap to clone.
#[derive(Clone)]
pub struct Outside {
    /// Sockets, clock and chance.
    pub io: Io,
    open_dir: Arc<OpenDir>,
    sink: Sink,
    witness: Option<Arc<dyn ApplySink>>,
    sizes: Option<Arc<TellSizes>>,
}

impl Outside {
    /// The machine's own disk beside this.
    pub fn new(io: Io) -> Self {
        let open_dir = |path: &Path| Ok(Arc::new(RealDir::open(path)?) as Arc<dyn Dir>);
        Self { io, open_dir: Arc::new(open_dir), sink: Sink::Thread, witness: None, sizes: None }
    }

    /// The same with another disk, written to by tasks of the runtime and without threads, so that a simulation
    /// repeats.
    pub fn with_disk(self, open_dir: Arc<OpenDir>) -> Self {
        Self { open_dir, sink: Sink::Task, ..self }
    }

    /// The same, and `witness` is told what this hub applies, before anybody else is.
    pub fn with_witness(self, witness: Arc<dyn ApplySink>) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// The same, and `told` hears once a second how much this hub keeps.
    pub fn with_sizes(self, told: Arc<TellSizes>) -> Self {
        Self { sizes: Some(told), ..self }
    }

    /// A directory for the log or the snapshots; made if missing. `ResourceBusy` if it is in use.
    pub fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        (self.open_dir)(path)
    }

    /// Who writes to such a directory.
    pub const fn sink(&self) -> Sink {
        self.sink
    }

    /// Who is told, besides the hub itself, what it applies.
    pub fn witness(&self) -> Option<Arc<dyn ApplySink>> {
        self.witness.clone()
    }

    /// Tells whoever wants to know how much is kept.
    pub fn tell_sizes(&self, sizes: &[Size]) {
        if let Some(told) = &self.sizes {
            told(sizes);
        }
    }
}

//! Volunteers who come and go of their own will: peers that leave and stay away until the story has them return, with the
//! disk they left with, with an older one, or with none, as somebody new.
//!
//! Owns who is out, and copies of folders that were set aside. A peer that is out is no fault: healing does not bring it
//! back, and no fault strikes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{World, hosts::Given};

/// How somebody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The machine is switched off.
    Power,
    /// The process is asked to stop.
    Asked,
}

/// Seen when somebody came who had been somebody else.
pub const ANEW: &str = "volunteers: one came back as somebody new";
/// Seen when somebody came back with what it had on its disk at an earlier time.
pub const OLD: &str = "volunteers: one came back with an older disk";

/// What a peer says that lacks a copy which the log says it has.
const NOT_HERE: &str = "the hubs count on a copy that is not here";

/// Who is out. See the module.
#[derive(Default)]
pub struct Volunteers {
    out: BTreeSet<usize>,
    set_aside: BTreeMap<usize, PathBuf>,
    /// Who came with an older disk, by the name of its machine.
    older: BTreeSet<String>,
    /// How often somebody left, or came as somebody new.
    changes: u64,
}

impl World {
    /// Whether a peer is out of its own will.
    pub fn is_out(&self, peer: usize) -> bool {
        self.volunteers.out.contains(&peer)
    }

    /// Whether it is out, by the name of its machine.
    pub(super) fn is_out_by_name(&self, name: &str) -> bool {
        self.volunteers.out.iter().any(|peer| self.peers[*peer].machine.name == name)
    }

    /// Whether this is what a peer with an older disk rightly says: copies that it had taken since are not there.
    pub(super) fn is_of_older_disk(&self, error: &str) -> bool {
        let says = error.split_once(": ").filter(|(_, says)| says.starts_with(NOT_HERE));
        says.is_some_and(|(name, _)| self.volunteers.older.contains(name))
    }

    /// The peers that are not out.
    pub fn peers_in(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|peer| !self.is_out(*peer)).collect()
    }

    /// How often somebody left, or came as somebody new.
    pub(super) fn changes(&self) -> u64 {
        self.volunteers.changes
    }

    /// One more volunteer, for the first time. Returns its number among the peers.
    pub fn newcomer(&mut self) -> usize {
        self.add_peers(1);
        self.volunteers.changes += 1;
        self.peers.len() - 1
    }

    /// What a peer gives from its next start on.
    pub fn gives(&mut self, peer: usize, given: Given) {
        *self.peers[peer].given.lock() = given;
    }

    /// A peer leaves until it [returns](Self::returns). False: it is out already, or something is wrong with its machine.
    pub fn leaves(&mut self, peer: usize, exit: Exit) -> bool {
        let name = self.peer_name(peer);
        if self.is_out(peer) || self.has_no_power(&name) {
            return false;
        }
        self.trace.tell("volunteer", &format!("{name} leaves: {exit:?}"));
        self.volunteers.out.insert(peer);
        self.volunteers.changes += 1;
        match exit {
            Exit::Power => self.cut_off_peer(peer),
            Exit::Asked => self.peers[peer].machine.stop(),
        }
        true
    }

    /// A peer that is out returns, with what it has on its disk.
    pub fn returns(&mut self, peer: usize) {
        if self.volunteers.out.remove(&peer) {
            let name = self.peer_name(peer);
            self.trace.tell("volunteer", &format!("{name} returns"));
            self.sim.bounce(name);
        }
    }

    /// What a peer that is out has on its disk is destroyed: whoever returns there is somebody new.
    pub fn destroy(&mut self, peer: usize) -> io::Result<()> {
        assert!(self.is_out(peer), "only a disk that nobody uses is destroyed");
        let name = self.peer_name(peer);
        self.trace.tell("volunteer", &format!("the disk of {name} is destroyed"));
        self.volunteers.changes += 1;
        // A machine that was asked to stop a moment ago may not have come to its end.
        self.cut_off_peer(peer);
        self.forget_peer(peer, true);
        self.saw(ANEW);
        remove(&self.peers[peer].folder)
    }

    /// Keeps what a peer has on its disk now.
    pub fn set_aside(&mut self, peer: usize) -> io::Result<()> {
        let name = self.peer_name(peer);
        self.trace.tell("volunteer", &format!("the disk of {name} is copied"));
        let to = self.folder.path().join(format!("aside-{name}"));
        remove(&to)?;
        copy(&self.peers[peer].folder, &to)?;
        self.volunteers.set_aside.insert(peer, to);
        Ok(())
    }

    /// A peer that is out has on its disk what was set aside, and nothing that came since.
    pub fn put_back(&mut self, peer: usize) -> io::Result<()> {
        assert!(self.is_out(peer), "only a disk that nobody uses is replaced");
        let Some(from) = self.volunteers.set_aside.get(&peer).cloned() else { return Ok(()) };
        let name = self.peer_name(peer);
        self.trace.tell("volunteer", &format!("the disk of {name} is as it was when it was copied"));
        self.cut_off_peer(peer);
        self.forget_peer(peer, false);
        self.saw(OLD);
        self.volunteers.older.insert(name);
        remove(&self.peers[peer].folder)?;
        copy(&from, &self.peers[peer].folder)
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Copies a folder with all that is in it. SQLite's shared memory is made anew by whoever opens the database.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &target)?,
            _ if entry.file_name().to_string_lossy().ends_with("-shm") => {}
            _ => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

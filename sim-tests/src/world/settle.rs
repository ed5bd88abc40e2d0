//! The end of every run: faults stop, and within bounded simulated time everybody is served and all copies are equal.
//!
//! Also the looks at peers' databases in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use loop_proto::ids::ForumKey;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Failure, World, copies::Held, operator::Order};
use crate::{
    invariants::{Copy, Moved, Told},
    replica::Row,
};

/// How long visitors may take to come to an end once everything has healed. A peer that was cut off for long waits up to
/// 10 s before it dials again, a visitor up to 8 s for each answer.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// And the replicas to have everything, with nobody on the way: an invitation that stands still is closed after up to
/// ten times its patience of 10 s, if its target was writing what it was sent.
const CONVERGED_WITHIN: Duration = Duration::from_secs(120);
/// Beyond that, copies that are none to be found out: their peers are asked three times for a minute, two copies at a time.
const FOUND_OUT_WITHIN: Duration = Duration::from_secs(300);
/// And forums in which there is nothing to be gone, once they may be closed.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Where they stay for longer, they are not waited for.
const LONGEST_ABANDONED: Duration = Duration::from_secs(3600);
/// And operators to be told how it is.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// And to be compared by the hubs themselves.
const VERIFIED_WITHIN: Duration = Duration::from_secs(30);

impl World {
    /// Heals, and fails unless everybody is served and what was promised is kept, in time.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.heal();
        self.oracle.close();
        let patience = self.shape.pace.patience;
        let (served_within, converged_within) = (SERVED_WITHIN * patience, CONVERGED_WITHIN * patience);
        let served_within = served_within + self.found_out_within();
        let until = self.elapsed() + served_within;
        while !self.step()? {
            if self.elapsed() >= until {
                let open = self.ledger.open_tasks();
                let why = format!(
                    "somebody is not served {served_within:?} after everything healed; open tasks {open:?}"
                );
                return Err(Failure(why));
            }
        }
        let converged_within = converged_within + self.found_out_within();
        self.run_until("every replica has everything", converged_within, |world| world.converged())?;
        self.run_until("every forum in which there is nothing is gone", self.closed_within(), |world| {
            world.has_no_abandoned_forum()
        })?;
        self.verify()?;
        // Forums may have gone on moving while the operator asked.
        self.run_until("every replica has everything again", converged_within, |world| world.converged())?;
        self.ask_for_live_copies()?;
        let copies = self.copies(true).map_err(Failure)?;
        let mut by_forum: BTreeMap<usize, Vec<Copy>> = BTreeMap::new();
        for copy in copies {
            by_forum.entry(copy.number).or_default().push(copy);
        }
        self.count_moved();
        let commits = self.oracle.commits();
        self.invariants.each(|invariant| invariant.at_end(&commits, &by_forum));
        self.check()
    }

    /// How long forums in which there is nothing may stay, and what is left of them.
    fn closed_within(&self) -> Duration {
        Duration::from_millis(self.tuning.lock().empty_forum_age_ms) + GONE_WITHIN * self.shape.pace.patience
    }

    /// Whether each forum in which there is nothing is closed, where that does not take longer than a run, and no peer that is there
    /// has anything of one that is closed.
    fn has_no_abandoned_forum(&self) -> Result<(), String> {
        let empty = self.ledger.empty();
        if !empty.is_empty() && self.closed_within() < LONGEST_ABANDONED {
            return Err(format!("there is nothing in forums {empty:?}"));
        }
        for peer in self.peers_in() {
            let Some(held) = self.disk_of(peer)? else { continue };
            if let Some(forum) =
                self.ledger.closed().into_iter().find(|forum| held.forums.contains_key(forum))
            {
                return Err(format!("{} has rows of forum {forum}", self.peers[peer].machine.name));
            }
        }
        Ok(())
    }

    /// How long hubs may take to find out that copies are none of which it was said that they had come.
    fn found_out_within(&self) -> Duration {
        let any = self.peers.iter().any(|peer| peer.tongue.faked());
        if any { FOUND_OUT_WITHIN } else { Duration::ZERO }
    }

    /// The operator asks which copies are live, and is told what is so. What changes meanwhile hubs tell a moment later.
    fn ask_for_live_copies(&mut self) -> Result<(), Failure> {
        let until = self.elapsed() + TOLD_WITHIN * self.shape.pace.patience;
        loop {
            let told = self.desk.take_told().map(|told| Told { seen: self.all_live_copies(), ..told });
            match told {
                Some(told) if told.first_untruth().is_none() || self.elapsed() >= until => {
                    self.invariants.each(|invariant| invariant.on_told(&told));
                    return self.check();
                }
                None if self.elapsed() >= until => {
                    return Err(Failure(format!("no hub told of live copies within {TOLD_WITHIN:?}")));
                }
                _ if self.desk.is_idle() => self.desk.order(Order::LiveCopies),
                _ => {}
            }
            self.run_for(Duration::from_millis(200))?;
        }
    }

    fn all_live_copies(&self) -> BTreeMap<u32, BTreeSet<u32>> {
        let forums = self.ledger.assignments().into_keys();
        forums.map(|forum| (forum, self.live_copies(forum).into_iter().collect())).collect()
    }

    /// Tells what was moved between peers, if nothing else happened than that they came and went.
    fn count_moved(&self) {
        let commits = self.oracle.commits();
        let moved = Moved {
            bytes: self.meter.relayed(),
            forums: self.forums.len() as u64,
            messages: commits.len() as u64,
            text_bytes: commits.iter().map(|commit| commit.text.len() as u64).sum(),
            changes: self.changes(),
        };
        self.trace.tell("volunteer", &format!("{moved:?}"));
        if self.only_volunteers_moved() {
            self.invariants.each(|invariant| invariant.on_moved(&moved));
        }
    }

    /// The operator has each forum's replicas compared, and they are equal: also where copies had to be found out first that
    /// are none, whose peers cannot answer.
    fn verify(&mut self) -> Result<(), Failure> {
        let within = VERIFIED_WITHIN * self.shape.pace.patience + self.found_out_within();
        for forum in self.ledger.assignments().into_keys() {
            self.run_until("found equal", within, |world| {
                match world.desk.take_equal(forum) {
                    true => return Ok(()),
                    false if world.desk.is_idle() => world.desk.order(Order::Verify(forum)),
                    false => {}
                }
                Err(format!("the replicas of forum {forum}"))
            })?;
        }
        Ok(())
    }

    /// Whether nothing is open and every serving replica has all of its forum on disk.
    fn converged(&mut self) -> Result<(), String> {
        let open = self.ledger.open_tasks();
        if !open.is_empty() {
            return Err(format!("tasks {open:?} are open"));
        }
        if self.is_replacing() {
            return Err("a hub's place is still empty".into());
        }
        // Whoever is out keeps its place for as long as the hubs wait for it; nothing is known of what it will have.
        let here: BTreeMap<u32, usize> =
            self.peers_in().into_iter().filter_map(|peer| Some((self.peer_id(peer)?, peer))).collect();
        for (forum, assignment) in self.ledger.assignments() {
            let mut moving = assignment.joining.iter().map(|j| &j.peer_id).chain(&assignment.draining);
            if moving.any(|id| here.contains_key(id)) {
                return Err(format!("forum {forum} is on its way: {assignment:?}"));
            }
            let newest = self.ledger.newest_of(forum, u64::MAX);
            let serving: Vec<(u32, usize)> =
                assignment.replicas.iter().filter_map(|id| Some((*id, *here.get(id)?))).collect();
            if serving.is_empty() {
                return Err(format!("nobody who is there serves forum {forum}: {assignment:?}"));
            }
            for (id, peer) in serving {
                let cursor = match self.open(peer)? {
                    Some(db) => cursor(&db).map_err(|error| error.to_string())?,
                    None => 0,
                };
                if cursor < newest {
                    return Err(format!("peer {id} has {cursor} of forum {forum}, which is at {newest}"));
                }
            }
        }
        Ok(())
    }

    /// Whether a peer has on disk what the forums it serves were at by record `due`.
    pub(super) fn has_all_of(&mut self, peer: usize, due: u64) -> Result<(), String> {
        let Some(id) = self.peer_id(peer) else { return Err("it has not joined".into()) };
        let cursor = match self.open(peer)? {
            Some(db) => cursor(&db).map_err(|error| error.to_string())?,
            None => 0,
        };
        for (forum, assignment) in self.ledger.assignments() {
            let newest = self.ledger.newest_of(forum, due);
            if assignment.replicas.contains(&id) && cursor < newest {
                return Err(format!("it has {cursor} of forum {forum}, which was at {newest}"));
            }
        }
        Ok(())
    }

    /// The number among the run's forums of one that a hub has opened.
    pub(super) fn forum_number(&self, forum: u32) -> Option<usize> {
        (0..self.peers.len()).find_map(|peer| {
            let db = self.open(peer).ok()??;
            let sql = "SELECT passcode FROM tbl_layer WHERE int_layer_id = ?1";
            let key: String = db.query_row(sql, [forum], |row| row.get(0)).optional().ok()??;
            self.forums.iter().position(|name| ForumKey::of_name(name.as_bytes()).to_hex() == key)
        })
    }

    /// Looks at every copy there is and holds it against the others.
    pub(super) fn look_at_copies(&mut self) -> Result<(), Failure> {
        let copies = self.copies(false).map_err(Failure)?;
        for copy in &copies {
            self.invariants.each(|invariant| invariant.on_copy(copy));
        }
        self.look_at_disks().map_err(Failure)?;
        self.note_live_forums();
        Ok(())
    }

    /// What a peer has on its disk; `None`: no database.
    pub(super) fn disk_of(&self, peer: usize) -> Result<Option<Held>, String> {
        let Some(db) = self.open(peer)? else { return Ok(None) };
        held(&db).map_err(|error| format!("the database of {}: {error}", self.peers[peer].machine.name))
    }

    fn open(&self, peer: usize) -> Result<Option<Connection>, String> {
        let path = self.peers[peer].folder.join("loop.sqlite3");
        if !path.exists() {
            return Ok(None);
        }
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        db.map(Some).map_err(|error| error.to_string())
    }

    /// The copies of replicas that serve, as of what each peer has on disk; with `all`, of the present replicas only.
    fn copies(&self, all: bool) -> Result<Vec<Copy>, String> {
        let mut copies = Vec::new();
        let now = self.ledger.assignments();
        let looked_at = if all { self.peers_in() } else { (0..self.peers.len()).collect() };
        for peer in looked_at {
            let (Some(id), Some(db)) = (self.peer_id(peer), self.open(peer)?) else { continue };
            // Of one of which it was said that it had a copy that it has not, nothing can be asked.
            if !all && self.peers[peer].tongue.faked() {
                continue;
            }
            let after = if all { Some(0) } else { self.whole_after(peer) };
            let Some(after) = after else { continue };
            let found =
                self.copies_of(id, &db, after).map_err(|error| format!("peer {id}'s database: {error}"))?;
            copies.extend(found.into_iter().filter(|copy| {
                !all || now.get(&copy.forum).is_some_and(|assignment| assignment.replicas.contains(&id))
            }));
        }
        Ok(copies)
    }

    /// From which record on a peer's copies can be whole: one that has started over lacks what its cursor jumped over,
    /// until the log has made each of its copies one that comes anew. `None`: that has only just happened.
    fn whole_after(&self, peer: usize) -> Option<u64> {
        let host = &self.peers[peer];
        if self.starts_over(peer) {
            return None;
        }
        let logged = self.logged.lock();
        let last = logged.started_over.iter().rev().find(|(name, _)| *name == host.machine.name);
        Some(last.map_or(0, |(_, cursor)| *cursor))
    }

    /// Whether a peer has only just started over.
    pub(super) fn starts_over(&self, peer: usize) -> bool {
        self.peers[peer].folder.join("started-over").exists()
    }

    fn copies_of(&self, peer: u32, db: &Connection, after: u64) -> rusqlite::Result<Vec<Copy>> {
        // One transaction: cursor and rows are of one moment.
        let db = db.unchecked_transaction()?;
        let Some(cursor) = cursor(&db).optional()? else { return Ok(Vec::new()) };
        let mut copies = Vec::new();
        for (number, name) in self.forums.iter().enumerate() {
            let key = ForumKey::of_name(name.as_bytes()).to_hex();
            // One that was closed and opened anew may be here twice, until what is left of the first is deleted.
            let mut found = db.prepare("SELECT int_layer_id FROM tbl_layer WHERE passcode = ?1")?;
            let found = found.query_map([key], |row| row.get(0))?.collect::<rusqlite::Result<Vec<u32>>>()?;
            let serves = |forum: &u32| self.ledger.serves_at(*forum, after, cursor, peer);
            let Some(forum) = found.into_iter().find(serves) else { continue };
            let newest = self.ledger.newest_of(forum, cursor);
            copies.push(Copy { forum, number, peer, cursor, newest, rows: rows(&db, forum)? });
        }
        Ok(copies)
    }
}

fn cursor(db: &Connection) -> rusqlite::Result<u64> {
    db.query_row("SELECT value FROM meta WHERE name = 'cursor'", [], |row| {
        Ok(u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0))
    })
}

/// What a database holds; `None`: it is only just being made.
fn held(db: &Connection) -> rusqlite::Result<Option<Held>> {
    // One transaction: cursor and rows are of one moment.
    let db = db.unchecked_transaction()?;
    let Some(cursor) = cursor(&db).optional()? else { return Ok(None) };
    let mut held = Held { cursor, ..Held::default() };
    let mut forums = db.prepare("SELECT int_layer_id FROM tbl_layer")?;
    for forum in forums.query_map([], |row| row.get(0))? {
        held.forums.insert(forum?, BTreeSet::new());
    }
    let mut rows = db.prepare("SELECT int_layer_id, int_ssshout_id FROM tbl_ssshout")?;
    for row in rows.query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?)))? {
        let (forum, message) = row?;
        held.forums.entry(forum).or_default().insert(message.into());
    }
    drop((forums, rows));
    Ok(Some(held))
}

fn rows(db: &Connection, forum: u32) -> rusqlite::Result<Vec<Row>> {
    let mut statement = db.prepare(
        "SELECT int_ssshout_id, var_shouted, enm_active, enm_status FROM tbl_ssshout WHERE int_layer_id = ?1 \
         ORDER BY int_ssshout_id",
    )?;
    let rows = statement.query_map([forum], |row| {
        Ok(Row {
            id: row.get::<_, u32>(0)?.into(),
            text: row.get(1)?,
            active: row.get::<_, String>(2)? == "true",
            is_final: row.get::<_, String>(3)? == "final",
        })
    })?;
    rows.collect()
}

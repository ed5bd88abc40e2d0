//! Reads a checkpoint into a scratch database, proves it, and makes it the forum's rows.
//!
//! Until it is proven nothing of the forum is touched. Then the rows are exchanged in short transactions between those
//! of the log, so that other forums never wait long; until the last of them the forum has no checkpoint on record, and
//! after a crash in between it gets another one. What was staged is deleted only after that last one: the next
//! checkpoint may be older than this.

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use loop_proto::{ids::ForumId, v1};
use sha2::{Digest as _, Sha256};

use super::{
    super::{
        EmbeddedBackend,
        record::staged_changes,
        store::{Change, Scratch},
    },
    digest::digest,
    export::hex,
    lexer::Stop,
    reader::{Content, Marks, Reader},
};
use crate::backend::{BackendError, Digest, InstallError, Progress, Scope};

/// Rows and bytes of one transaction: some ten milliseconds.
const SLICE_ROWS: usize = 1000;
const SLICE_BYTES: usize = 1 << 20;
/// Whether to stop is asked after so many rows.
const ASK_ROWS: u64 = 256;

/// Scratch databases of one process have names of their own: one attempt may end while the next has begun.
static ATTEMPT: AtomicU64 = AtomicU64::new(0);

/// Whoever waits: told of progress, asked whether to go on.
pub struct Watcher<'a> {
    /// Told how far it is.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Asked now and then.
    pub is_cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Bytes of the file.
    pub bytes: u64,
}

impl Watcher<'_> {
    /// Stops if told so.
    pub fn check(&self) -> Result<(), InstallError> {
        if (self.is_cancelled)() { Err(InstallError::Cancelled) } else { Ok(()) }
    }

    /// `part` of `whole` of one half is done. Reading is the first half, writing the second.
    fn tell(&self, is_second: bool, part: u64, whole: u64) {
        let half = self.bytes / 2;
        let share = u128::from(half) * u128::from(part.min(whole)) / u128::from(whole.max(1));
        let before = if is_second { self.bytes - half } else { 0 };
        let bytes_done = before + u64::try_from(share).unwrap_or(half);
        (self.progress)(Progress { bytes_done, bytes_total: self.bytes });
    }
}

/// What a file had, in a scratch database.
pub struct Proven {
    rows: Scratch,
    /// The users its forum concerns; all users of the directory's.
    pub users: Vec<u32>,
    /// What it is of.
    pub scope: Scope,
    /// What it says of itself.
    pub marks: Marks,
    /// The digest of its rows.
    pub digest: Digest,
}

impl Proven {
    /// Rows that [`Self::each_row`] comes by, about.
    fn rows_count(&self) -> u64 {
        self.users.len() as u64 + self.digest.messages
    }

    /// The forum's rows and the users it concerns. What else the file has is left there.
    fn each_row<E: From<BackendError>>(
        &self,
        forum: u32,
        visit: &mut dyn FnMut(Change) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(row) = self.rows.forum(forum)? {
            visit(Change::Forum(row))?;
        }
        for row in self.rows.subscriptions(forum)? {
            visit(Change::Subscription(row))?;
        }
        for id in &self.users {
            if let Some(user) = self.rows.user(*id)? {
                visit(Change::NewUser(user))?;
            }
        }
        self.rows.each_message(forum, |message| visit(Change::Message(message)))
    }
}

/// A refusal of the file as a whole.
pub fn refused(reason: impl Into<String>) -> InstallError {
    InstallError::Refused { line: 0, reason: reason.into() }
}

impl From<Stop> for InstallError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused { line, reason } => Self::Refused { line, reason: reason.into_owned() },
            Stop::Io(error) => BackendError::Fatal(format!("cannot read the checkpoint: {error}")).into(),
        }
    }
}

/// Whether the file is the one that was announced, to the byte.
pub fn check_bytes(
    file: &Path,
    header: &v1::CheckpointHeader,
    watcher: &Watcher<'_>,
) -> Result<(), InstallError> {
    if watcher.bytes != header.bytes {
        let (has, wanted) = (watcher.bytes, header.bytes);
        return Err(refused(format!("the file has {has} bytes, {wanted} were announced")));
    }
    let mut reader = open(file)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        watcher.check()?;
        match reader.read(&mut buffer).map_err(Stop::Io)? {
            0 => break,
            read => sha.update(&buffer[..read]),
        }
    }
    if sha.finalize()[..] != header.sha256[..] {
        return Err(refused("the file's SHA-256 is not the announced one"));
    }
    Ok(())
}

fn open(file: &Path) -> Result<File, InstallError> {
    File::open(file).map_err(|error| {
        BackendError::Fatal(format!("cannot read the checkpoint {}: {error}", file.display())).into()
    })
}

impl EmbeddedBackend {
    /// Reads the file into a scratch database: every row is allowed, none comes twice, none is another forum's.
    pub(super) fn prove(
        &self,
        file: &Path,
        content: Content,
        messages_max: u64,
        watcher: &Watcher<'_>,
    ) -> Result<Proven, InstallError> {
        let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
        let rows = self.store.scratch(&format!("checkpoint-{attempt}"))?;
        let mut reader = Reader::new(open(file)?, content);
        let (mut count, mut messages) = (0_u64, 0_u64);
        while let Some(row) = reader.next_row()? {
            count += 1;
            if count.is_multiple_of(ASK_ROWS) {
                watcher.check()?;
                watcher.tell(false, reader.offset(), watcher.bytes);
            }
            if let Change::Message(message) = &row {
                messages += 1;
                if messages > messages_max {
                    reader.refuse(format!("more messages than the {messages_max} that were announced"))?;
                }
                // Ids are unique over all forums: this row would take the place of another forum's.
                if self.store.forum_of_message(message.id)?.is_some_and(|forum| forum != message.forum_id) {
                    reader.refuse("a message whose id belongs to another forum's")?;
                }
            }
            if !rows.add(&row)? {
                reader.refuse("a row whose key is there twice")?;
            }
        }
        let scope = match (content, reader.forum().and_then(ForumId::new)) {
            (Content::Directory, _) => Scope::Directory,
            (Content::Forum(_), Some(forum)) => Scope::Forum(forum),
            (Content::Forum(_), None) => return Err(refused("the file has no row of a forum")),
        };
        let users = match scope {
            Scope::Forum(forum) => rows.users_of(forum.get())?,
            Scope::Directory => rows.user_ids()?,
        };
        let digest = digest(&rows, scope, || watcher.check())?;
        if let Some((messages, announced)) = &reader.marks().end
            && (*messages, announced) != (digest.messages, &hex(&digest.sha256))
        {
            reader.refuse("the rows are not those the end speaks of: count or digest differ")?;
        }
        Ok(Proven { rows, users, scope, marks: reader.marks().clone(), digest })
    }

    /// Exchanges the forum's rows for these, while the invitation is open and has no checkpoint.
    pub(super) fn exchange(
        &self,
        proven: &Proven,
        forum: u32,
        invitation: u64,
        watcher: &Watcher<'_>,
    ) -> Result<(), InstallError> {
        while self.store.make_room(forum, invitation)?.ok_or_else(closed)? {
            watcher.check()?;
        }
        let (mut slice, mut bytes, mut done) = (Vec::new(), 0, 0_u64);
        let mut write = |slice: &mut Vec<Change>| {
            watcher.check()?;
            done += slice.len() as u64;
            if !self.store.install_rows(forum, invitation, std::mem::take(slice))? {
                return Err(closed());
            }
            watcher.tell(true, done, proven.rows_count());
            Ok(())
        };
        proven.each_row::<InstallError>(forum, &mut |row| {
            bytes += weight(&row);
            slice.push(row);
            if slice.len() >= SLICE_ROWS || bytes >= SLICE_BYTES {
                bytes = 0;
                write(&mut slice)?;
            }
            Ok(())
        })?;
        write(&mut slice)
    }

    /// Exchanges the forum's rows for these at once, which holds up everything else.
    pub(super) fn exchange_at_once(
        &self,
        proven: Proven,
        forum: u32,
        watcher: &Watcher<'_>,
    ) -> Result<(), BackendError> {
        let done = Arc::new(AtomicU64::new(0));
        let (written, count) = (Arc::clone(&done), proven.rows_count());
        let walk = move |install: &mut dyn FnMut(Change) -> Result<(), BackendError>| {
            proven.each_row(forum, &mut |row| {
                written.fetch_add(1, Ordering::Relaxed);
                install(row)
            })
        };
        self.store.replace_forum(forum, walk, &|| watcher.tell(true, done.load(Ordering::Relaxed), count))
    }

    /// Puts what was staged after the checkpoint's cursor on top; with the last of it the checkpoint is in place.
    pub(super) fn exchange_staged(
        &self,
        forum: u32,
        invitation: u64,
        cursor: u64,
        watcher: &Watcher<'_>,
    ) -> Result<(), InstallError> {
        let mut through = cursor;
        loop {
            watcher.check()?;
            let staged = self.store.staged_after((forum, invitation), through)?;
            let mut changes = Vec::new();
            for record in staged {
                through = record.record;
                changes.extend(staged_changes(record.record, forum, &record.facts)?);
            }
            let done = self.store.install_staged((forum, invitation), cursor, (through, changes))?;
            if done.ok_or_else(closed)? {
                return Ok(());
            }
        }
    }

    /// Adds users; `replace`: whatever there is of them is older.
    pub(super) fn add_users(
        &self,
        proven: &Proven,
        replace: bool,
        watcher: &Watcher<'_>,
    ) -> Result<(), InstallError> {
        let (mut done, whole) = (0, proven.users.len() as u64);
        for some in proven.users.chunks(SLICE_ROWS) {
            watcher.check()?;
            let mut changes = Vec::new();
            for id in some {
                let user = proven.rows.user(*id)?;
                changes.extend(
                    user.map(|user| if replace { Change::User(user) } else { Change::NewUser(user) }),
                );
            }
            self.store.write(changes, 0)?;
            done += some.len() as u64;
            watcher.tell(true, done, whole);
        }
        Ok(())
    }
}

/// The forum was dropped, invited anew, or has its checkpoint already.
fn closed() -> InstallError {
    BackendError::Unavailable("the invitation this checkpoint is for is not open").into()
}

/// Bytes of a row, about.
fn weight(row: &Change) -> usize {
    match row {
        Change::Message(message) => message.text.len() + message.html.len(),
        _ => 0,
    }
}

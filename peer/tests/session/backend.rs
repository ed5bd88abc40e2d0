//! A small backend in memory: forums are lists of lines. Real in all that a session can see of one — applied and
//! pending executions, a durable cursor that trails until it is flushed, users, copies that come and go as files.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use loop_peer::backend::{
    AppliedRecord, Backend, BackendError, Digest, Executed, ForumPage, InstallError, Joining, Progress,
    Scope, Work,
};
use loop_proto::{
    ids::{ForumId, TaskId},
    v1,
};
use prost::Message;
use sha2::Digest as _;
use tokio::sync::{oneshot, watch};

/// What no copy may contain.
pub const FORBIDDEN: &str = "DROP TABLE";

#[derive(Clone, Default)]
struct State {
    applied: u64,
    lines: BTreeMap<ForumId, Vec<String>>,
    users: Vec<u32>,
    pending: BTreeMap<ForumId, Vec<(TaskId, String)>>,
    executions: u32,
    joining: BTreeMap<ForumId, (TaskId, Option<u64>)>,
    staged: BTreeMap<ForumId, Vec<(u64, String)>>,
}

pub struct MemoryBackend {
    state: Mutex<State>,
    durable: watch::Sender<u64>,
    /// Whether the cursor becomes durable with each apply, or only on [`Self::flush`].
    pub flushes_itself: AtomicBool,
    pub closed: AtomicBool,
    pub disk_bytes: AtomicU64,
    /// Whether an installation waits before its last step.
    pub holds_installs: AtomicBool,
    /// Whether a task "not now" can be executed.
    pub can_execute: AtomicBool,
}

impl MemoryBackend {
    pub fn new(durable: u64) -> Self {
        Self {
            state: Mutex::new(State { applied: durable, ..State::default() }),
            durable: watch::Sender::new(durable),
            flushes_itself: AtomicBool::new(true),
            closed: AtomicBool::new(false),
            disk_bytes: AtomicU64::new(4096),
            holds_installs: AtomicBool::new(false),
            can_execute: AtomicBool::new(false),
        }
    }

    /// What the next process finds, all of it having become durable.
    pub fn reopened(&self) -> Self {
        let state = self.state.lock().unwrap().clone();
        let state = State { pending: BTreeMap::new(), executions: 0, ..state };
        Self { state: Mutex::new(state.clone()), ..Self::new(state.applied) }
    }

    /// Lines that are kept aside.
    pub fn staged(&self, forum: u32) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let staged = state.staged.get(&ForumId::new(forum).unwrap()).into_iter().flatten();
        staged.map(|(_, line)| line.clone()).collect()
    }

    pub fn lines(&self, forum: u32) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.lines.get(&ForumId::new(forum).unwrap()).cloned().unwrap_or_default()
    }

    pub fn users(&self) -> Vec<u32> {
        self.state.lock().unwrap().users.clone()
    }

    pub fn executions(&self) -> u32 {
        self.state.lock().unwrap().executions
    }
}

/// A copy as this backend makes and reads them: its lines.
#[derive(Clone)]
pub struct Copy {
    pub header: v1::CheckpointHeader,
    pub bytes: Vec<u8>,
}

impl Copy {
    pub fn of_lines<'a>(forum_id: u32, cursor: u64, lines: impl IntoIterator<Item = &'a String>) -> Self {
        let lines: Vec<String> = lines.into_iter().cloned().collect();
        let bytes: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let header = v1::CheckpointHeader {
            forum_id,
            cursor,
            bytes: bytes.len() as u64,
            sha256: sha2::Sha256::digest(&bytes).to_vec().into(),
            digest: digest(&lines).into(),
            messages: lines.len() as u64,
        };
        Self { header, bytes }
    }
}

pub fn digest(lines: &[String]) -> Vec<u8> {
    sha2::Sha256::digest(lines.join("|")).to_vec()
}

fn text_of(work: &Work) -> String {
    let query = work.request.as_ref().map(|request| &request.query[..]).unwrap_or_default();
    String::from_utf8_lossy(query).into_owned()
}

fn line_fact(forum: ForumId, text: &str, id: u32) -> v1::Fact {
    let message =
        v1::MessageStored { id, forum_id: forum.get(), text: text.to_owned(), ..Default::default() };
    v1::Fact { kind: Some(v1::fact::Kind::MessageStored(message)) }
}

impl Backend for MemoryBackend {
    fn durable_cursor(&self) -> u64 {
        *self.durable.borrow()
    }

    fn durable_changed(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    fn apply(&self, records: Vec<AppliedRecord>, through: u64) -> Result<(), BackendError> {
        let mut state = self.state.lock().unwrap();
        assert!(through > state.applied, "the cursor must rise");
        for record in records {
            if let (Some(forum), Some(task)) = (record.forum, record.closes)
                && let Some(pending) = state.pending.get_mut(&forum)
            {
                pending.retain(|(pending, _)| *pending != task);
            }
            let (id, joining) = (record.id.get(), record.forum.and_then(|forum| state.joining.get(&forum)));
            let installed = joining.and_then(|(_, installed)| *installed);
            let aside = matches!(joining, Some((_, None)));
            assert!(record.staged || !aside, "{id} was not kept aside");
            for fact in v1::Facts::decode(record.facts).unwrap().facts {
                match fact.kind.unwrap() {
                    v1::fact::Kind::MessageStored(message) => {
                        let forum = ForumId::new(message.forum_id).unwrap();
                        if aside {
                            state.staged.entry(forum).or_default().push((id, message.text));
                        } else if installed.is_none_or(|installed| id > installed) {
                            state.lines.entry(forum).or_default().push(message.text);
                        }
                    }
                    v1::fact::Kind::UserStored(user) => state.users.push(user.id),
                    other => panic!("unexpected fact {other:?}"),
                }
            }
        }
        state.applied = through;
        if self.flushes_itself.load(Ordering::SeqCst) {
            self.durable.send_replace(through);
        }
        Ok(())
    }

    fn execute(&self, task: TaskId, work: &Work) -> Result<Executed, BackendError> {
        let mut state = self.state.lock().unwrap();
        let forum = work.forum;
        let text = text_of(work);
        if text == "fatal" {
            return Err(BackendError::Fatal("disk full".into()));
        }
        if text == "not now" && !self.can_execute.load(Ordering::SeqCst) {
            return Err(BackendError::Unavailable("not now"));
        }
        state.executions += 1;
        let before =
            state.lines.get(&forum).map_or(0, Vec::len) + state.pending.get(&forum).map_or(0, Vec::len);
        let line = format!("{before}:{text}");
        state.pending.entry(forum).or_default().push((task, line.clone()));
        let id = work.given.message_id.map_or(0, |id| id.get());
        // Who has a session is given a name, so that a test sees both ways of it.
        let session = work.session.as_ref().map(|session| v1::SessionChange {
            name: Some(format!("user {}", session.user_id)),
            ..Default::default()
        });
        let receipt = v1::Receipt { status: 200, ..Default::default() };
        Ok(Executed { facts: vec![line_fact(forum, &line, id)], session, receipt })
    }

    fn forget_pending(&self, forum: ForumId) {
        self.state.lock().unwrap().pending.remove(&forum);
    }

    /// A line's place is its number from 1, at the time of the same number.
    fn forum_rows(
        &self,
        forum: ForumId,
        before: Option<(u64, u32)>,
        limit: usize,
    ) -> Result<ForumPage, BackendError> {
        let state = self.state.lock().unwrap();
        let lines = state.lines.get(&forum).map(Vec::as_slice).unwrap_or_default();
        let end = before.map_or(lines.len(), |(at, _)| (at as usize - 1).min(lines.len()));
        let numbered =
            (1..).zip(&lines[..end]).collect::<Vec<(u32, &String)>>().into_iter().rev().take(limit);
        let messages = numbered.map(|(id, text)| v1::MessageStored {
            id,
            forum_id: forum.get(),
            text: text.clone(),
            shouted_at_s: id.into(),
            ..Default::default()
        });
        let row = v1::ForumStored { id: forum.get(), ..Default::default() };
        Ok(ForumPage {
            forum: before.is_none().then_some(row),
            subscriptions: Vec::new(),
            messages: messages.collect(),
            complete: end <= limit,
        })
    }

    fn user(&self, id: u32) -> Result<Option<v1::UserStored>, BackendError> {
        let state = self.state.lock().unwrap();
        Ok(state.users.contains(&id).then(|| v1::UserStored { id, ..Default::default() }))
    }

    fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::SeqCst)
    }

    fn joining(&self) -> Result<Vec<Joining>, BackendError> {
        let state = self.state.lock().unwrap();
        let joining = |(forum, (invitation, installed)): (&ForumId, &(TaskId, Option<u64>))| Joining {
            forum: *forum,
            invitation: *invitation,
            installed: *installed,
        };
        Ok(state.joining.iter().map(joining).collect())
    }

    fn begin_joining(&self, forum: ForumId, invitation: TaskId) -> Result<(), BackendError> {
        let mut state = self.state.lock().unwrap();
        if state.joining.get(&forum).is_none_or(|(known, _)| *known != invitation) {
            state.joining.insert(forum, (invitation, None));
            state.staged.remove(&forum);
        }
        Ok(())
    }

    fn end_joining(&self, forum: ForumId) -> Result<(), BackendError> {
        let ended = self.state.lock().unwrap().joining.remove(&forum);
        assert!(matches!(ended, Some((_, Some(_)))), "serves without a copy");
        Ok(())
    }

    fn keep_forum(&self, _forum: ForumId) -> Result<(), BackendError> {
        Ok(())
    }

    fn forums_kept(&self) -> Result<Vec<ForumId>, BackendError> {
        Ok(Vec::new())
    }

    fn drop_empty_forum(&self, forum: ForumId) -> Result<(), BackendError> {
        self.drop_forum(forum)
    }

    fn drop_forum(&self, forum: ForumId) -> Result<(), BackendError> {
        let mut state = self.state.lock().unwrap();
        state.lines.remove(&forum);
        state.staged.remove(&forum);
        state.joining.remove(&forum);
        Ok(())
    }

    fn export(
        &self,
        scope: Scope,
        at_least: u64,
        file: &Path,
        _progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<v1::CheckpointHeader, BackendError> {
        let state = self.state.lock().unwrap();
        if state.applied < at_least {
            return Err(BackendError::Unavailable("not that far"));
        }
        let copy = match scope {
            Scope::Forum(forum) => {
                Copy::of_lines(forum.get(), state.applied, state.lines.get(&forum).into_iter().flatten())
            }
            Scope::Directory => {
                Copy::of_lines(0, state.applied, &state.users.iter().map(u32::to_string).collect::<Vec<_>>())
            }
        };
        fs::write(file, &copy.bytes).unwrap();
        Ok(copy.header)
    }

    fn install(
        &self,
        header: &v1::CheckpointHeader,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), InstallError> {
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Some(at) = lines.iter().position(|line| line.contains(FORBIDDEN)) {
            return Err(InstallError::Refused { line: at as u64 + 1, reason: "not allowed".into() });
        }
        if header.digest != digest(&lines) {
            return Err(InstallError::Refused { line: 0, reason: "another digest".into() });
        }
        progress(Progress { bytes_done: header.bytes, bytes_total: header.bytes });
        while self.holds_installs.load(Ordering::SeqCst) && !is_cancelled() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut state = self.state.lock().unwrap();
        if is_cancelled() {
            return Err(InstallError::Cancelled);
        }
        let Some(forum) = ForumId::new(header.forum_id) else {
            state.users = lines.iter().map(|line| line.parse().unwrap()).collect();
            state.applied = header.cursor;
            self.durable.send_replace(header.cursor);
            return Ok(());
        };
        let Some((_, installed @ None)) = state.joining.get_mut(&forum) else {
            return Err(BackendError::Unavailable("no open invitation").into());
        };
        *installed = Some(header.cursor);
        let later = state.staged.remove(&forum).into_iter().flatten();
        let later = later.filter(|(id, _)| *id > header.cursor).map(|(_, line)| line);
        state.lines.insert(forum, lines.into_iter().chain(later).collect());
        Ok(())
    }

    fn audit(&self, forum: ForumId) -> Result<oneshot::Receiver<Digest>, BackendError> {
        let (done, receiver) = oneshot::channel();
        let lines = self.state.lock().unwrap().lines.get(&forum).cloned().unwrap_or_default();
        let sha256 = digest(&lines).as_slice().try_into().unwrap();
        let _ = done.send(Digest { sha256, messages: lines.len() as u64 });
        Ok(receiver)
    }

    fn forums_on_disk(&self) -> Result<Vec<ForumId>, BackendError> {
        let state = self.state.lock().unwrap();
        let mut forums: Vec<ForumId> = state.lines.keys().chain(state.staged.keys()).copied().collect();
        forums.dedup();
        Ok(forums)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

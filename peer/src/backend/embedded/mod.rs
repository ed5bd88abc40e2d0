//! The backend that needs nothing installed: AtomJump's endpoints in Rust over AtomJump's tables in SQLite.
//!
//! Owns which rows are in memory and in what order memory, queue and disk learn of a record. The endpoints are pure
//! functions over a view of this; they never write. Never knows hubs, epochs or cursors of others.

mod checkpoint;
mod dates;
mod directory;
mod endpoints;
mod escape;
mod forum_window;
mod forums;
mod joining;
mod json;
mod peano;
mod recent;
mod record;
mod request;
mod session;
mod store;
mod text;
mod view;

use std::path::{Path, PathBuf};

use loop_proto::{
    ids::{ForumId, TaskId},
    v1::{self, Endpoint, fact::Kind},
};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{
    AppliedRecord, Backend, BackendError, Digest, Execution, InstallError, Joining, Progress, Scope, UserIds,
    Work,
};
pub use checkpoint::Imported;
use directory::Directory;
use endpoints::{
    Answer, HTML, JSON, chat_page, hide, index_page, logged_status, message_buttons,
    search::{self, Extra},
    shout,
    visit::{self, Visit},
};
use forum_window::ForumWindow;
use forums::{ForumView, Forums};
use joining::JoiningForums;
use record::{Decoded, Fate};
use request::Request;
use session::Session;
pub use store::WriteMode;
use store::{Change, Store};
use view::{View, Viewer};

/// A session that changed in nothing but its last use is stored again only after this time, seconds.
const SESSION_REFRESH_S: u64 = 86_400;

/// How an [`EmbeddedBackend`] works.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Folder of the database; made if missing.
    pub dir: PathBuf,
    /// Newest messages of a forum kept in memory; at least 1.
    pub window_messages: usize,
    /// Forums kept in memory; at least 1. Those with executions under way come on top.
    pub resident_forums_max: usize,
    /// Public address of the cluster, for links inside messages; `None`: the address the writing browser used.
    pub web_root: Option<String>,
    /// Who writes to the database; anything but a thread is for simulations.
    pub writes: WriteMode,
}

impl EmbeddedConfig {
    /// The usual sizes: about 3 MB for each forum whose window is full.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            window_messages: 1000,
            resident_forums_max: 128,
            web_root: None,
            writes: WriteMode::Thread,
        }
    }
}

/// AtomJump over SQLite.
pub struct EmbeddedBackend {
    store: Store,
    forums: Forums,
    directory: Directory,
    web_root: Option<String>,
    /// Held while records are applied, so that queue and memory take them in the same order.
    applying: Mutex<JoiningForums>,
}

impl EmbeddedBackend {
    /// Opens or creates the data folder. Fails if it is in use, unreadable or from a newer version.
    pub fn open(config: EmbeddedConfig) -> Result<Self, BackendError> {
        let store = Store::open(&config.dir, config.writes)?;
        let joining = JoiningForums::new(&store.joining()?);
        Ok(Self {
            store,
            forums: Forums::new(config.window_messages.max(1), config.resident_forums_max.max(1)),
            directory: Directory::new(),
            web_root: config.web_root,
            applying: Mutex::new(joining),
        })
    }

    /// Puts everything applied so far on disk, where no thread does it: see [`WriteMode::WhenTold`].
    pub fn commit_queued(&self) -> Result<(), BackendError> {
        self.store.commit_queued()
    }

    /// Waits until everything asked for so far is on disk: records, and the beginnings and ends of invitations.
    pub fn flush(&self) -> Result<(), BackendError> {
        self.store.flush()
    }

    /// The request decoded, or the answer to one that is too large.
    fn request(&self, work: &Work) -> Result<Request, Answer> {
        Request::read(work, self.web_root.as_deref())
            .map_err(|too_much| Answer::refused(400, &format!("The request has {too_much}.")))
    }

    /// Calls `use_view` with a view of the forum; an empty one for requests that name none.
    fn with_view<T>(
        &self,
        forum: Option<ForumId>,
        use_view: impl FnOnce(&dyn View) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let Some(forum) = forum else {
            return use_view(&ForumView::of_none(&self.store, &self.directory));
        };
        self.forums.read(&self.store, forum.get(), |window| {
            use_view(&ForumView::committed(window, forum.get(), &self.store, &self.directory))
        })
    }

    fn session_of(&self, request: &Request, sent: Option<&v1::SessionRecord>) -> Result<Held, BackendError> {
        if request.is_robot {
            return Ok(Held::default());
        }
        Ok(Held::of(self.directory.newest_session(&self.store, &request.session_id, sent)?))
    }

    fn search(
        &self,
        work: &Work,
        request: &Request,
        content_type: &'static str,
        ids: &mut dyn UserIds,
    ) -> Result<Execution, BackendError> {
        let held = self.session_of(request, work.session.as_ref())?;
        let mut session = held.session.clone();
        let (visit, body) = self.with_view(work.forum, |view| {
            let visit = match work.forum {
                Some(forum) => visit::enter(request, &mut session, view, forum, ids)?,
                None => Visit::default(),
            };
            if let Some(forum) = work.forum.filter(|_| !request.is_robot) {
                visit::leave(&mut session, view, forum);
                if session.number("view-count") != Some(1) {
                    session.set_int("view-count", 1);
                }
            }
            let extra =
                Extra { title: visit.forum.as_ref().map(|forum| forum.title.as_str()), ..Extra::default() };
            let body = search::body(request, &session, view, request.records(), extra)?;
            Ok((visit, body))
        })?;
        Ok(Execution {
            forum_facts: visit.forum_facts(),
            directory_facts: visit.directory_facts(),
            session: held.changed(&session, request),
            body: Answer::jsonp(content_type, body).into(),
            ..Execution::default()
        })
    }

    /// A read that changes nothing.
    fn plain_read(
        &self,
        work: &Work,
        request: &Request,
        answer: impl FnOnce(&Session, &dyn View) -> Result<Answer, BackendError>,
    ) -> Result<Execution, BackendError> {
        let held = self.session_of(request, work.session.as_ref())?;
        let answer = self.with_view(work.forum, |view| answer(&held.session, view))?;
        Ok(answered(answer))
    }

    /// The session an execution works on: what an earlier one of this forum left, before it is committed, else the
    /// newest that is.
    fn session_in(&self, window: &ForumWindow, work: &Work, request: &Request) -> Result<Held, BackendError> {
        match window.pending_session(&request.session_id).filter(|_| !request.is_robot) {
            Some(pending) => Ok(Held::of(Some(pending.clone()))),
            None => self.session_of(request, work.session.as_ref()),
        }
    }

    fn shout(
        &self,
        task: TaskId,
        work: &Work,
        request: &Request,
        ids: &mut dyn UserIds,
    ) -> Result<Execution, BackendError> {
        let Some(forum) = work.forum else {
            return self.shout_nowhere(work, request);
        };
        self.forums.write(&self.store, forum.get(), |window| {
            window.drop_pending_from(task.get());
            let held = self.session_in(window, work, request)?;
            let mut session = held.session.clone();
            let view = ForumView::pending(window, forum.get(), &self.store, &self.directory);
            let visit = visit::enter(request, &mut session, &view, forum, ids)?;
            let decided = match visit.forum.as_ref().or(view.forum()) {
                Some(row) => shout::decide(request, &mut session, &view, row, work.message_id)?,
                None => shout::Shout::default(),
            };
            if request.is_remote_app() && !request.is_robot {
                visit::leave(&mut session, &view, forum);
            }
            let record = held.changed(&session, request);
            let mut forum_facts = visit.forum_facts();
            forum_facts.extend(decided.facts);
            window.push_pending(task.get(), &forum_facts, record.as_ref());

            let receipt = v1::Receipt { status: 200, sid_json: decided.sid_json, lid: lid(request) };
            let view = ForumView::pending(window, forum.get(), &self.store, &self.directory);
            let body = written(request, &session, &view, &receipt)?.into();
            let directory_facts = visit.directory_facts();
            Ok(Execution { forum_facts, directory_facts, session: record, receipt, body })
        })
    }

    /// A write that names no forum stores nothing and says so by leaving `sid` out.
    fn shout_nowhere(&self, work: &Work, request: &Request) -> Result<Execution, BackendError> {
        let held = self.session_of(request, work.session.as_ref())?;
        let receipt = v1::Receipt { status: 200, sid_json: None, lid: None };
        let answer = self.with_view(None, |view| written(request, &held.session, view, &receipt))?;
        Ok(Execution { receipt, ..answered(answer) })
    }

    fn hide(&self, task: TaskId, work: &Work, request: &Request) -> Result<Execution, BackendError> {
        let forum_facts = match work.forum {
            Some(forum) => self.forums.write(&self.store, forum.get(), |window| {
                window.drop_pending_from(task.get());
                let held = self.session_in(window, work, request)?;
                let viewer = Viewer { user: held.session.user(), ip: &request.ip, group: None };
                let view = ForumView::pending(window, forum.get(), &self.store, &self.directory);
                let facts = hide::facts(request, &viewer, &view)?;
                window.push_pending(task.get(), &facts, None);
                Ok(facts)
            })?,
            None => Vec::new(),
        };
        let receipt = v1::Receipt { status: 200, ..Default::default() };
        Ok(Execution { forum_facts, receipt, ..answered(hide::answer(request)) })
    }
}

impl Backend for EmbeddedBackend {
    fn durable_cursor(&self) -> u64 {
        self.store.durable()
    }

    fn durable_changed(&self) -> watch::Receiver<u64> {
        self.store.durable_changed()
    }

    fn apply(&self, records: Vec<AppliedRecord>, through: u64) -> Result<(), BackendError> {
        let joining = self.applying.lock();
        // Everything is read before anything is changed: a record that cannot be read leaves no trace.
        let decode = |record: AppliedRecord| {
            let staged = record.staged;
            let record = Decoded::of(record)?;
            let fate = joining.fate(&record, staged)?;
            Ok((record, fate))
        };
        let records = records.into_iter().map(decode).collect::<Result<Vec<_>, BackendError>>()?;
        let changes = records.iter().flat_map(|(record, fate)| record.changes(*fate)).collect();
        self.store.write(changes, through)?;
        let durable = self.store.durable();
        for (record, fate) in records {
            if let Some(forum) = record.forum.filter(|_| fate == Fate::Apply) {
                self.forums.apply(forum, record.id, record.closes, &record.facts);
            }
            for fact in record.facts {
                if let Some(Kind::UserStored(user)) = fact.kind {
                    self.directory.apply_user(user, record.id, durable);
                }
            }
            for session in record.sessions {
                self.directory.apply_session(session, record.id, durable);
            }
        }
        self.forums.set_applied_through(through);
        Ok(())
    }

    fn execute(&self, task: TaskId, work: &Work, ids: &mut dyn UserIds) -> Result<Execution, BackendError> {
        self.store.check()?;
        let request = match self.request(work) {
            Ok(request) => request,
            Err(refusal) => return Ok(refused(refusal)),
        };
        match work.request.endpoint() {
            Endpoint::Shout => self.shout(task, work, &request, ids),
            Endpoint::HideMessage => self.hide(task, work, &request),
            _ => Ok(refused(Answer::refused(400, "This is not a write."))),
        }
    }

    fn forget_pending(&self, forum: ForumId) {
        self.forums.forget_pending(forum.get());
    }

    fn read(
        &self,
        work: &Work,
        receipt: Option<&v1::Receipt>,
        ids: &mut dyn UserIds,
    ) -> Result<Execution, BackendError> {
        self.store.check()?;
        let request = match self.request(work) {
            Ok(request) => request,
            Err(refusal) => return Ok(refused(refusal)),
        };
        let request = &request;
        match (work.request.endpoint(), receipt) {
            (Endpoint::Shout, Some(receipt)) => {
                self.plain_read(work, request, |session, view| written(request, session, view, receipt))
            }
            (Endpoint::HideMessage, _) => Ok(answered(hide::answer(request))),
            (Endpoint::SearchChat, _) => self.search(work, request, HTML, ids),
            (Endpoint::Index, _) if request.is_remote_app() => self.search(work, request, JSON, ids),
            (Endpoint::Index, _) => Ok(answered(index_page::answer(request))),
            (Endpoint::FastSearchChat, _) => {
                self.plain_read(work, request, |session, view| search::fast(request, session, view))
            }
            (Endpoint::ChatPage, _) => {
                self.plain_read(work, request, |session, view| Ok(chat_page::answer(request, session, view)))
            }
            (Endpoint::LoggedStatus, _) => {
                self.plain_read(work, request, |session, view| logged_status::answer(request, session, view))
            }
            (Endpoint::MessageButtons, _) => Ok(answered(message_buttons::answer())),
            // One that cannot write (a wrong checksum, no forum) is no task: it is told what a write would show.
            (Endpoint::Shout, None) => {
                let receipt =
                    work.forum.map(|_| v1::Receipt { status: 200, sid_json: None, lid: lid(request) });
                self.plain_read(work, request, |session, view| {
                    written(request, session, view, &receipt.unwrap_or_default())
                })
            }
            (Endpoint::Static | Endpoint::Unspecified, _) => {
                Ok(answered(Answer::refused(404, "There is no such page.")))
            }
        }
    }

    fn joining(&self) -> Result<Vec<Joining>, BackendError> {
        self.store.joining()
    }

    fn begin_joining(&self, forum: ForumId, invitation: TaskId) -> Result<(), BackendError> {
        let mut joining = self.applying.lock();
        let (forum, invitation) = (forum.get(), invitation.get());
        if joining.get(forum).is_none_or(|open| open.invitation != invitation) {
            self.store.write(vec![Change::BeginJoining { forum, invitation }], 0)?;
            joining.begin(forum, invitation);
            self.forums.forget(forum);
        }
        Ok(())
    }

    fn end_joining(&self, forum: ForumId) -> Result<(), BackendError> {
        let mut joining = self.applying.lock();
        match joining.get(forum.get()) {
            None => return Ok(()),
            Some(open) if open.installed.is_none() => {
                return Err(BackendError::Unavailable("the forum's checkpoint is not in place"));
            }
            Some(_) => {}
        }
        self.store.write(vec![Change::EndJoining(forum.get())], 0)?;
        joining.end(forum.get());
        Ok(())
    }

    fn drop_forum(&self, forum: ForumId) -> Result<(), BackendError> {
        let mut joining = self.applying.lock();
        self.store.write(vec![Change::DropForum(forum.get())], 0)?;
        joining.end(forum.get());
        self.forums.forget(forum.get());
        Ok(())
    }

    fn keep_forum(&self, forum: ForumId) -> Result<(), BackendError> {
        self.store.write(vec![Change::KeepForum(forum.get())], 0)?;
        self.forums.forget(forum.get());
        Ok(())
    }

    fn forums_kept(&self) -> Result<Vec<ForumId>, BackendError> {
        self.store.kept()
    }

    fn export(
        &self,
        scope: Scope,
        at_least: u64,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<v1::CheckpointHeader, BackendError> {
        self.export_checkpoint(scope, at_least, file, progress)
    }

    fn install(
        &self,
        header: &v1::CheckpointHeader,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), InstallError> {
        self.install_checkpoint(header, file, progress, is_cancelled)?;
        // What the forum's first writer would otherwise wait for at the cut-over: its newest messages, and the names
        // used in all older ones.
        if let Some(forum) = ForumId::new(header.forum_id) {
            self.with_view(Some(forum), |view| view.authors_named("").map(drop))?;
        }
        Ok(())
    }

    fn audit(&self, forum: ForumId) -> Result<oneshot::Receiver<Digest>, BackendError> {
        self.audit_forum(forum)
    }

    fn forums_on_disk(&self) -> Result<Vec<ForumId>, BackendError> {
        self.store.forums()
    }

    fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }

    fn close(&self) {
        self.store.close();
    }
}

/// A session as read, and the record it came from.
#[derive(Default)]
struct Held {
    record: Option<v1::SessionRecord>,
    session: Session,
}

impl Held {
    fn of(record: Option<v1::SessionRecord>) -> Self {
        let session = record.as_ref().map(|record| Session::parse(&record.data)).unwrap_or_default();
        Self { record, session }
    }

    /// The record to store, if there is anything new in it.
    fn changed(&self, session: &Session, request: &Request) -> Option<v1::SessionRecord> {
        if request.session_id.is_empty() || (*session == self.session && session.user().is_none()) {
            return None;
        }
        let user_id = session.user().map(|id| id.to_string());
        let held = self.record.as_ref();
        let is_fresh = held.is_some_and(|record| {
            record.user_id == user_id && request.now_s.saturating_sub(record.updated_at_s) < SESSION_REFRESH_S
        });
        if *session == self.session && is_fresh {
            return None;
        }
        Some(v1::SessionRecord {
            id: request.session_id.clone(),
            version: held.map_or(0, |record| record.version),
            user_id,
            created_at_s: held.map_or(request.now_s, |record| record.created_at_s),
            updated_at_s: request.now_s,
            data: session.serialise().into(),
        })
    }
}

fn answered(answer: Answer) -> Execution {
    Execution { body: answer.into(), ..Execution::default() }
}

/// A write that was not looked at.
fn refused(answer: Answer) -> Execution {
    let receipt = v1::Receipt { status: answer.status, ..Default::default() };
    Execution { receipt, ..answered(answer) }
}

/// `msg_id`, given back as it came.
fn lid(request: &Request) -> Option<String> {
    /// Longest `msg_id` that is kept, characters. Honest ones count a page's messages.
    const LID_CHARS_MAX: usize = 64;
    request.params.text("msg_id").map(|lid| text::cut(&lid, LID_CHARS_MAX).to_owned())
}

/// What the writer of a message is told: the list, with `sid` and `lid`; nothing without `remoteapp`.
fn written(
    request: &Request,
    session: &Session,
    view: &dyn View,
    receipt: &v1::Receipt,
) -> Result<Answer, BackendError> {
    if !request.is_remote_app() {
        return Ok(Answer::empty());
    }
    let extra = Extra { title: None, sid_json: receipt.sid_json.as_deref(), lid: receipt.lid.as_deref() };
    let body = search::body(request, session, view, shout::RECORDS_AFTER_WRITE, extra)?;
    Ok(Answer::jsonp(JSON, body))
}

#[cfg(test)]
mod tests;

//! A small backend in memory: forums are lists of lines. Real in all that a session can see of one — applied and
//! pending executions, a durable cursor that trails until it is flushed, user ids.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use loop_peer::backend::{AppliedRecord, Backend, BackendError, Execution, UserIds, Work};
use loop_proto::{
    ids::{ForumId, TaskId},
    v1,
};
use prost::Message;
use tokio::sync::watch;

#[derive(Default)]
struct State {
    applied: u64,
    lines: BTreeMap<ForumId, Vec<String>>,
    users: Vec<u32>,
    pending: BTreeMap<ForumId, Vec<(TaskId, String)>>,
    executions: u32,
}

pub struct MemoryBackend {
    state: Mutex<State>,
    durable: watch::Sender<u64>,
    /// Whether the cursor becomes durable with each apply, or only on [`Self::flush`].
    pub flushes_itself: AtomicBool,
    pub closed: AtomicBool,
}

impl MemoryBackend {
    pub fn new(durable: u64) -> Self {
        Self {
            state: Mutex::new(State { applied: durable, ..State::default() }),
            durable: watch::Sender::new(durable),
            flushes_itself: AtomicBool::new(true),
            closed: AtomicBool::new(false),
        }
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

fn text_of(work: &Work) -> String {
    String::from_utf8_lossy(&work.request.query).into_owned()
}

fn line_fact(forum: ForumId, text: &str, id: u32) -> v1::Fact {
    let message =
        v1::MessageStored { id, forum_id: forum.get(), text: text.to_owned(), ..Default::default() };
    v1::Fact { kind: Some(v1::fact::Kind::MessageStored(message)) }
}

/// A request whose text begins with "new" comes from somebody without a user id.
fn user_fact(text: &str, ids: &mut dyn UserIds) -> Result<Vec<v1::Fact>, BackendError> {
    if !text.starts_with("new") {
        return Ok(Vec::new());
    }
    let id = ids.take().ok_or(BackendError::Unavailable("no user id"))?;
    let user = v1::UserStored { id, ..Default::default() };
    Ok(vec![v1::Fact { kind: Some(v1::fact::Kind::UserStored(user)) }])
}

fn page(lines: impl Iterator<Item = String>) -> v1::ResponseBody {
    let body = lines.collect::<Vec<_>>().join("\n").into_bytes().into();
    v1::ResponseBody { status: 200, content_type: "text/plain".into(), body, ..Default::default() }
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
            for fact in v1::Facts::decode(record.facts).unwrap().facts {
                match fact.kind.unwrap() {
                    v1::fact::Kind::MessageStored(message) => {
                        let forum = ForumId::new(message.forum_id).unwrap();
                        state.lines.entry(forum).or_default().push(message.text);
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

    fn execute(&self, task: TaskId, work: &Work, ids: &mut dyn UserIds) -> Result<Execution, BackendError> {
        let mut state = self.state.lock().unwrap();
        let forum = work.forum.unwrap();
        let text = text_of(work);
        if text == "fatal" {
            return Err(BackendError::Fatal("disk full".into()));
        }
        let directory_facts = user_fact(&text, ids)?;
        state.executions += 1;
        let before =
            state.lines.get(&forum).map_or(0, Vec::len) + state.pending.get(&forum).map_or(0, Vec::len);
        let line = format!("{before}:{text}");
        state.pending.entry(forum).or_default().push((task, line.clone()));
        Ok(Execution {
            forum_facts: vec![line_fact(forum, &line, work.message_id.map_or(0, |id| id.get()))],
            directory_facts,
            session: None,
            receipt: v1::Receipt { status: 200, ..Default::default() },
            body: page(std::iter::once(line)),
        })
    }

    fn forget_pending(&self, forum: ForumId) {
        self.state.lock().unwrap().pending.remove(&forum);
    }

    fn read(
        &self,
        work: &Work,
        _receipt: Option<&v1::Receipt>,
        ids: &mut dyn UserIds,
    ) -> Result<Execution, BackendError> {
        let directory_facts = user_fact(&text_of(work), ids)?;
        let state = self.state.lock().unwrap();
        let lines = work.forum.and_then(|forum| state.lines.get(&forum)).into_iter().flatten().cloned();
        Ok(Execution { directory_facts, body: page(lines), ..Default::default() })
    }

    fn disk_bytes(&self) -> u64 {
        4096
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

//! What a peer does, as tests of the machine need it: keeps the rows that records bring, and executes honestly.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use bytes::Bytes;
use loop_atomjump::{Call, Executed, Given, Row, Session, WriteView, execute, execute_refused};
use loop_proto::v1::{self, fact::Kind};
use loop_raft_store::machine::{Record, RecordBody, TaskBody};
use prost::Message;

/// The rows of all forums, and all users.
#[derive(Default)]
pub struct Copies {
    forums: BTreeMap<u32, v1::ForumStored>,
    messages: BTreeMap<u32, v1::MessageStored>,
    users: BTreeMap<u32, v1::UserStored>,
}

impl Copies {
    /// Applies a record as every replica does.
    pub fn apply(&mut self, record: &Record) {
        if let RecordBody::Closed { forum, .. } = record.body {
            self.forums.remove(&forum.get());
            self.messages.retain(|_, message| message.forum_id != forum.get());
        }
        let Some(body) = record.facts() else { return };
        for fact in v1::Facts::decode(body.facts.clone()).unwrap().facts {
            match fact.kind.unwrap() {
                Kind::ForumStored(forum) => {
                    assert!(self.forums.insert(forum.id, forum).is_none(), "a forum's row comes once");
                }
                Kind::UserStored(user) => {
                    assert!(record.forum.is_none(), "users are in the directory");
                    assert!(self.users.insert(user.id, user).is_none(), "a user's row comes once");
                }
                Kind::MessageStored(message) => {
                    self.messages.insert(message.id, message);
                }
                Kind::MessageRemoved(removed) => {
                    self.messages.remove(&removed.id);
                }
                Kind::MessageHidden(hidden) => {
                    let Some(message) = self.messages.get_mut(&hidden.id) else { continue };
                    message.active = false;
                    if hidden.finished {
                        message.set_status(v1::MessageStatus::Final);
                    }
                }
                Kind::SubscriptionStored(_) => panic!("nobody subscribes yet"),
            }
        }
    }

    /// Executes a task on what has been applied.
    pub fn execute(&self, record: &Record, task: &TaskBody) -> Executed {
        let Ok(request) = v1::ClientRequest::decode(task.request.clone()) else { return execute_refused() };
        let given = Given { message_id: task.message_id, open_message: task.open_message };
        let Ok(call) = Call::read(&request, record.forum, given, record.at) else { return execute_refused() };
        let session = Session::of(task.session.as_deref());
        execute(&call, session, &Copy { all: self, forum: record.forum.unwrap().get() }).unwrap()
    }

    /// The rows of a forum's unfinished messages, oldest first.
    pub fn unfinished(&self, forum: u32) -> impl DoubleEndedIterator<Item = &v1::MessageStored> {
        let wanted = move |row: &&v1::MessageStored| {
            row.forum_id == forum && row.status() == v1::MessageStatus::Typing
        };
        self.messages.values().filter(wanted)
    }

    /// Whether there is a message of the forum, finished or not, shown or not.
    pub fn has_messages(&self, forum: u32) -> bool {
        self.messages.values().any(|message| message.forum_id == forum)
    }

    /// The user of that id.
    pub fn user(&self, id: u32) -> Option<&v1::UserStored> {
        self.users.get(&id)
    }

    /// The message of that id.
    pub fn message(&self, id: u32) -> Option<&v1::MessageStored> {
        self.messages.get(&id)
    }
}

/// One forum of them.
struct Copy<'a> {
    all: &'a Copies,
    forum: u32,
}

impl WriteView for Copy<'_> {
    type Error = Infallible;

    fn forum(&self) -> Option<&v1::ForumStored> {
        self.all.forums.get(&self.forum)
    }

    fn is_subscriber(&self, _user: u32) -> bool {
        false
    }

    fn message(&self, id: u32) -> Result<Option<Arc<Row>>, Infallible> {
        let row = self.all.messages.get(&id).filter(|row| row.forum_id == self.forum);
        Ok(row.map(|row| Row::new(row.clone())))
    }

    fn authors_named(&self, _name: &str) -> Result<Vec<Option<u32>>, Infallible> {
        Ok(Vec::new())
    }

    fn was_said(&self, ip: &str, text: &str, since_s: u64, except: u32) -> bool {
        self.all.messages.values().any(|row| {
            (row.forum_id, row.author_address.as_str(), row.text.as_str()) == (self.forum, ip, text)
                && row.shouted_at_s >= since_s
                && row.id != except
        })
    }
}

/// A browser's request to one of AtomJump's scripts, encoded.
pub fn request(endpoint: v1::Endpoint, params: &str, session: &str) -> Bytes {
    let query = format!("passcode=x&cs=21633478&{}", params.replace(' ', "+"));
    let request = v1::ClientRequest {
        endpoint: endpoint.into(),
        query: Bytes::from(query.into_bytes()),
        session_id: session.to_owned(),
        ..Default::default()
    };
    Bytes::from(request.encode_to_vec())
}

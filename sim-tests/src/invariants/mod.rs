//! What must hold in every run, each as a file of its own. They see what clients were told, what hubs applied, what
//! peers have on disk and how much each keeps in memory; they never see inside a hub or a peer.

mod acknowledged_is_kept;
mod copies_follow_the_log;
mod dense_and_increasing_ids;
mod linearizable;
mod memory_is_bounded;
mod one_answer;
mod one_primary;
mod one_user_per_session;
mod replicas_agree;

use std::{collections::BTreeMap, sync::Arc};

use loop_proto::v1::{self, fact, record::Body};
use parking_lot::Mutex;
use prost::Message;

use crate::replica::Row;

/// A commit as its writer knows it.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Whose session it is, by number.
    pub by: usize,
    /// The forum's number among those of the run.
    pub forum: usize,
    /// The text, which no other commit of the run has.
    pub text: String,
    /// The row that was shown while it was typed, and when that was asked for.
    pub typed: Option<(u64, u64)>,
    /// When it was first sent, as a place in the order of all that clients do and are told.
    pub sent: u64,
    /// How often it was sent.
    pub sendings: u32,
    /// The id it was acknowledged with, and when.
    pub acked: Option<(u64, u64)>,
}

impl Commit {
    /// When its id was first asked for.
    pub fn id_asked(&self) -> u64 {
        self.typed.map_or(self.sent, |(_, asked)| asked)
    }
}

/// A row that somebody types, as its writer knows it.
#[derive(Clone, Debug, Default)]
pub struct Typing {
    /// The forum's number among those of the run.
    pub forum: usize,
    /// When it was asked for.
    pub asked: u64,
    /// Its id, and when that was told.
    pub told: Option<(u64, u64)>,
}

/// Somebody wants a message to be seen no more.
#[derive(Clone, Debug, Default)]
pub struct Hide {
    /// The forum's number among those of the run.
    pub forum: usize,
    /// The message.
    pub id: u64,
    /// Whether it is the asker's own; nothing may happen to anybody else's.
    pub own: bool,
    /// When it was first asked for.
    pub asked: u64,
    /// When that was answered.
    pub answered: Option<u64>,
}

/// How a message looks to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Somebody is typing it.
    Typing,
    /// It says this.
    Says(String),
}

/// What a read showed.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The forum's number among those of the run.
    pub forum: usize,
    /// When it was asked, in the order of all that clients do and are told.
    pub asked: u64,
    /// When it was answered.
    pub answered: u64,
    /// How many messages were asked for. AtomJump shows one more, if there is one.
    pub records: usize,
    /// Ids and looks, newest first.
    pub rows: Vec<(u64, Look)>,
}

/// One replica's copy of a forum, read from its database.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The forum's id.
    pub forum: u32,
    /// The forum's number among those of the run.
    pub number: usize,
    /// Whose copy.
    pub peer: u32,
    /// What it has on disk.
    pub cursor: u64,
    /// The newest record of the forum's stream that is not after the cursor.
    pub newest: u64,
    /// All its messages, by id.
    pub rows: Vec<Row>,
}

/// How much a machine keeps of something, by its own word.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The machine.
    pub who: &'a str,
    /// Of what.
    pub what: &'static str,
    /// How much.
    pub now: u64,
    /// The most it may be.
    pub limit: u64,
}

/// One rule.
pub trait Invariant: Send {
    /// Its name, as a failure gives it.
    fn name(&self) -> &'static str;

    /// A record was applied by the first hub. In log order, each once.
    fn on_record(&mut self, _record: &v1::Record) -> Result<(), String> {
        Ok(())
    }

    /// A commit is sent for the first time.
    fn on_sent(&mut self, _commit: &Commit) -> Result<(), String> {
        Ok(())
    }

    /// A commit was acknowledged.
    fn on_ack(&mut self, _commit: &Commit) -> Result<(), String> {
        Ok(())
    }

    /// Somebody begins to type, or is told the id of what they type.
    fn on_typing(&mut self, _typing: &Typing) -> Result<(), String> {
        Ok(())
    }

    /// A message is asked to be hidden, or that was answered.
    fn on_hide(&mut self, _hide: &Hide) -> Result<(), String> {
        Ok(())
    }

    /// A read was answered.
    fn on_shown(&mut self, _shown: &Shown) -> Result<(), String> {
        Ok(())
    }

    /// A replica was looked at, at any time.
    fn on_copy(&mut self, _copy: &Copy) -> Result<(), String> {
        Ok(())
    }

    /// A machine said how much it keeps.
    fn on_held(&mut self, _held: Held<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Everything has healed and caught up: `commits` is all that was ever sent, `copies` what the serving replicas
    /// hold, by forum.
    fn at_end(&mut self, _commits: &[Commit], _copies: &BTreeMap<usize, Vec<Copy>>) -> Result<(), String> {
        Ok(())
    }
}

/// The rows a record changes; of one that cannot be read, none.
fn facts_of(record: &v1::Record) -> Vec<fact::Kind> {
    let Some(Body::Facts(facts)) = &record.body else { return Vec::new() };
    let facts = v1::Facts::decode(facts.facts.clone()).unwrap_or_default().facts;
    facts.into_iter().filter_map(|fact| fact.kind).collect()
}

/// All rules of a run, and the first that was broken. Clones share it.
#[derive(Clone)]
pub struct Invariants(Arc<Mutex<Inner>>);

struct Inner {
    rules: Vec<Box<dyn Invariant>>,
    broken: Option<String>,
}

impl Invariants {
    /// All of them.
    pub fn all() -> Self {
        let rules: Vec<Box<dyn Invariant>> = vec![
            Box::<acknowledged_is_kept::AcknowledgedIsKept>::default(),
            Box::<copies_follow_the_log::CopiesFollowTheLog>::default(),
            Box::<dense_and_increasing_ids::DenseAndIncreasingIds>::default(),
            Box::<linearizable::Linearizable>::default(),
            Box::<memory_is_bounded::MemoryIsBounded>::default(),
            Box::<one_answer::OneAnswer>::default(),
            Box::<one_primary::OnePrimary>::default(),
            Box::<one_user_per_session::OneUserPerSession>::default(),
            Box::<replicas_agree::ReplicasAgree>::default(),
        ];
        Self(Arc::new(Mutex::new(Inner { rules, broken: None })))
    }

    /// Asks each rule.
    pub fn each(&self, mut ask: impl FnMut(&mut dyn Invariant) -> Result<(), String>) {
        let inner = &mut *self.0.lock();
        for rule in &mut inner.rules {
            if let Err(what) = ask(rule.as_mut())
                && inner.broken.is_none()
            {
                inner.broken = Some(format!("{}: {what}", rule.name()));
            }
        }
    }

    /// A rule that has no file of its own was broken.
    pub fn broken(&self, name: &str, what: String) {
        self.0.lock().broken.get_or_insert_with(|| format!("{name}: {what}"));
    }

    /// The first rule that was broken, and how.
    pub fn first_broken(&self) -> Option<String> {
        self.0.lock().broken.clone()
    }
}

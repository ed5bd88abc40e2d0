//! What must hold in every run, each as a file of its own. They see what clients were told, what hubs applied, what
//! peers have on disk and how much each keeps in memory; they never see inside a hub or a peer.

mod acknowledged_is_kept;
mod acknowledged_is_somewhere;
mod answers_follow_from_tasks;
mod copies_follow_the_log;
mod dense_and_increasing_ids;
mod evenness_comes_last;
mod last_copies_come_first;
mod linearizable;
mod live_forums_are_served;
mod memory_is_bounded;
mod moves_are_bounded;
mod no_live_copy_is_taken;
mod one_answer;
mod one_primary;
mod one_user_per_session;
mod only_empty_forums_are_closed;
mod operators_are_told_the_truth;
mod peers_keep_what_may_be_the_last;
mod replaced_copies_serve_again;
mod replicas_agree;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

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

/// A replica that served, or had been replaced and not been let go, is no replica any more.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The record that says so.
    pub record: u64,
    /// The forum's id.
    pub forum: u32,
    /// Whose replica.
    pub peer: u32,
    /// Its peer was connected, and had all of the forum on its disk.
    pub live: bool,
    /// How many replicas the hubs want.
    pub wanted: usize,
    /// Who serves from then on.
    pub others: Vec<Other>,
}

/// Somebody else who serves a forum.
#[derive(Clone, Copy, Debug)]
pub struct Other {
    /// Who.
    pub peer: u32,
    /// It is connected, or was so short a while ago that the hubs could not know better.
    pub connected: bool,
    /// It has all of the forum on its disk.
    pub complete: bool,
    /// The log says that its copy was compared.
    pub confirmed: bool,
    /// Its peer has been there for as long as it has to before it counts.
    pub proven: bool,
}

/// What is on the disks of all machines that have not been destroyed.
#[derive(Clone, Debug, Default)]
pub struct Disks {
    /// The ids of messages, by the forum's number.
    pub messages: BTreeMap<usize, BTreeSet<u64>>,
    /// Records up to and including this one are gone from the hubs' log.
    pub trimmed_through: u64,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// The messages of a forum.
    Read,
    /// That a message is kept.
    Write,
}

/// A call had no usable answer.
#[derive(Clone, Copy, Debug)]
pub struct Unanswered {
    /// The forum's number among those of the run.
    pub forum: usize,
    /// Of what kind.
    pub what: Call,
    /// When the first such call of this forum began that was not followed by one that was answered, simulated.
    pub since: Duration,
    /// Simulated time.
    pub now: Duration,
}

/// How much was moved between peers, in a run in which nothing happened but that peers came and went.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Bytes of copies that passed through hubs.
    pub bytes: u64,
    /// How many forums there are.
    pub forums: u64,
    /// How many messages they have.
    pub messages: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// How often a peer came or went.
    pub changes: u64,
}

/// Somebody was asked to hold a forum.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The record that says so.
    pub record: u64,
    /// The forum's id.
    pub forum: u32,
    /// How many live copies it has.
    pub live: usize,
    /// The forums that have a single one and could have been given another, and for how long since hubs must know of it.
    pub waiting: Vec<(u32, Duration)>,
}

/// A copy was begun for evenness, or to try a new peer.
#[derive(Clone, Copy, Debug)]
pub struct Levelled {
    /// The forum's id.
    pub forum: u32,
    /// How many live copies it has.
    pub live: usize,
    /// How many replicas the hubs want.
    pub wanted: usize,
    /// It has been so for long enough that hubs must know of it.
    pub known: bool,
}

/// A peer has let go of a forum that it had on its disk.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    /// The forum's id.
    pub forum: u32,
    /// The peer.
    pub peer: u32,
    /// How many messages it had of it.
    pub messages: usize,
    /// How many others serve, with copies that were compared, by the newest record the peer had applied.
    pub confirmed_others: usize,
}

/// What an operator was told, beside what is.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Whose copies of each forum are live, as told.
    pub live: BTreeMap<u32, BTreeSet<u32>>,
    /// How many forums have none, as told.
    pub without: u64,
    /// How many have one, as told.
    pub with_one: u64,
    /// Whose copies of each forum are live, by what is on disks.
    pub seen: BTreeMap<u32, BTreeSet<u32>>,
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

    /// A replica ended.
    fn on_ended(&mut self, _ended: &Ended) -> Result<(), String> {
        Ok(())
    }

    /// A copy was begun.
    fn on_begun(&mut self, _begun: &Begun) -> Result<(), String> {
        Ok(())
    }

    /// A copy was begun for evenness.
    fn on_levelled(&mut self, _levelled: &Levelled) -> Result<(), String> {
        Ok(())
    }

    /// A peer has let go of a forum.
    fn on_dropped(&mut self, _dropped: &Dropped) -> Result<(), String> {
        Ok(())
    }

    /// For how long, since hubs must know of it, forums have had fewer live copies than wanted and a replaced one that is
    /// whole.
    fn on_idle(&mut self, _idle_for: &BTreeMap<u32, Duration>) -> Result<(), String> {
        Ok(())
    }

    /// An operator was told how it is, while nothing happened.
    fn on_told(&mut self, _told: &Told) -> Result<(), String> {
        Ok(())
    }

    /// All disks were looked at.
    fn on_disks(&mut self, _disks: &Disks) -> Result<(), String> {
        Ok(())
    }

    /// Since when, simulated, each forum has had a complete copy on a connected peer, with nothing wrong but that peers
    /// come and go; of those that have one. By their numbers.
    fn on_live(&mut self, _live_since: &BTreeMap<usize, Duration>) -> Result<(), String> {
        Ok(())
    }

    /// A call had no usable answer.
    fn on_unanswered(&mut self, _unanswered: &Unanswered) -> Result<(), String> {
        Ok(())
    }

    /// It was counted what was moved.
    fn on_moved(&mut self, _moved: &Moved) -> Result<(), String> {
        Ok(())
    }

    /// Everything has healed and caught up: `commits` is all that was ever sent, `copies` what the serving replicas
    /// hold, by forum.
    fn at_end(&mut self, _commits: &[Commit], _copies: &BTreeMap<usize, Vec<Copy>>) -> Result<(), String> {
        Ok(())
    }
}

/// The rows a record changes; of one that cannot be read, none.
pub(crate) fn facts_of(record: &v1::Record) -> Vec<fact::Kind> {
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
            Box::<acknowledged_is_somewhere::AcknowledgedIsSomewhere>::default(),
            Box::<answers_follow_from_tasks::AnswersFollowFromTasks>::default(),
            Box::<copies_follow_the_log::CopiesFollowTheLog>::default(),
            Box::<dense_and_increasing_ids::DenseAndIncreasingIds>::default(),
            Box::<evenness_comes_last::EvennessComesLast>::default(),
            Box::<last_copies_come_first::LastCopiesComeFirst>::default(),
            Box::<linearizable::Linearizable>::default(),
            Box::<live_forums_are_served::LiveForumsAreServed>::default(),
            Box::<memory_is_bounded::MemoryIsBounded>::default(),
            Box::<moves_are_bounded::MovesAreBounded>::default(),
            Box::<no_live_copy_is_taken::NoLiveCopyIsTaken>::default(),
            Box::<one_answer::OneAnswer>::default(),
            Box::<one_primary::OnePrimary>::default(),
            Box::<one_user_per_session::OneUserPerSession>::default(),
            Box::<only_empty_forums_are_closed::OnlyEmptyForumsAreClosed>::default(),
            Box::<operators_are_told_the_truth::OperatorsAreToldTheTruth>::default(),
            Box::<peers_keep_what_may_be_the_last::PeersKeepWhatMayBeTheLast>::default(),
            Box::<replaced_copies_serve_again::ReplacedCopiesServeAgain>::default(),
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

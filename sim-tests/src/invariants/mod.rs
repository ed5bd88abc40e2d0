//! What must hold in every run, each as a file of its own. They see what clients were told, what hubs applied and what
//! peers have on disk; they never see inside a hub or a peer.

mod acknowledged_is_kept;
mod dense_and_increasing_ids;
mod one_answer;
mod one_primary;
mod one_user_per_session;
mod reads_show_what_was_acknowledged;
mod replicas_agree;

use std::{collections::BTreeMap, sync::Arc};

use loop_proto::v1;
use parking_lot::Mutex;

use crate::replica::Row;

/// A commit as its writer knows it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The forum's number among those of the run.
    pub forum: usize,
    /// The text, which no other commit of the run has.
    pub text: String,
    /// When it was first sent, as a place in the order of all that clients do and are told.
    pub sent: u64,
    /// How often it was sent.
    pub sendings: u32,
    /// The id it was acknowledged with, and when.
    pub acked: Option<(u64, u64)>,
}

/// What a read showed.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The forum's number among those of the run.
    pub forum: usize,
    /// When it was asked, in the order of all that clients do and are told.
    pub asked: u64,
    /// How many messages were asked for.
    pub records: usize,
    /// Ids and texts, newest first.
    pub rows: Vec<(u64, String)>,
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

/// One rule.
pub trait Invariant: Send {
    /// Its name, as a failure gives it.
    fn name(&self) -> &'static str;

    /// A record was applied by the first hub. In log order, each once.
    fn on_record(&mut self, _record: &v1::Record) -> Result<(), String> {
        Ok(())
    }

    /// A commit was acknowledged.
    fn on_ack(&mut self, _commit: &Commit) -> Result<(), String> {
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

    /// Everything has healed and caught up: `commits` is all that was ever sent, `copies` what the serving replicas
    /// hold, by forum.
    fn at_end(&mut self, _commits: &[Commit], _copies: &BTreeMap<usize, Vec<Copy>>) -> Result<(), String> {
        Ok(())
    }
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
            Box::<dense_and_increasing_ids::DenseAndIncreasingIds>::default(),
            Box::<one_answer::OneAnswer>::default(),
            Box::<one_primary::OnePrimary>::default(),
            Box::<one_user_per_session::OneUserPerSession>::default(),
            Box::<reads_show_what_was_acknowledged::ReadsShowWhatWasAcknowledged>::default(),
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

//! The people of the story: in each forum somebody who writes now and then and looks often. They note what they were
//! promised, and what they were refused.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    client::{Commit, Visitor, sid},
    expect::unique,
    system::System,
};

/// How long a read may take, and a second one after it. AtomJump's browser gives up later.
pub const READ_WITHIN: Duration = Duration::from_secs(8);

/// How long a message may take over all its sendings, which is AtomJump's browser sending it three times.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// Forums opened at a time.
const AT_ONCE: usize = 16;

/// Messages asked for by a read, and how many of the newest must be among them.
const READ_RECORDS: u32 = 100;
const READ_CHECKED: usize = 50;

/// A message of ordinary length.
const TEXT: &str =
    "The bells of the old town hall ring a quarter late since the frost; somebody ought to have a look.";

/// One forum and what its visitor knows.
pub struct Forum {
    /// Its number.
    pub id: u32,
    visitor: Visitor,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    sent: u64,
    writing: bool,
    acked: Vec<(u64, Instant)>,
    unwritten: Vec<String>,
    unread: Vec<String>,
    again: usize,
    slowest_read: Duration,
    reads: usize,
}

/// What came of all reads and writes so far.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Reads that were answered, with everything acknowledged before they were sent.
    pub reads: usize,
    /// Of those, how many had to be sent twice.
    pub again: usize,
    /// The slowest.
    pub slowest_read: Duration,
    /// Messages acknowledged.
    pub writes: usize,
    /// What was not served: the forum and why.
    pub troubles: Vec<(u32, String)>,
    /// Forums that were not served at some time.
    pub unserved: BTreeSet<u32>,
}

/// All forums of the story.
pub struct Forums {
    /// By their place in the story.
    pub all: Vec<Arc<Forum>>,
    tasks: JoinSet<()>,
}

impl Forums {
    /// Opens `count` forums and writes `messages` into each.
    pub async fn open(system: &System, count: usize, messages: u64) -> Result<Self> {
        let mut opening: JoinSet<Result<Arc<Forum>>> = JoinSet::new();
        let (mut all, hubs) = (Vec::new(), system.hubs());
        for at in 0..count {
            if opening.len() >= AT_ONCE {
                all.push(opening.join_next().await.context("one is under way")???);
            }
            opening.spawn(open(system.admin()?, hubs.clone(), at, messages));
        }
        while let Some(forum) = opening.join_next().await {
            all.push(forum??);
        }
        all.sort_by_key(|forum| forum.id);
        Ok(Self { all, tasks: JoinSet::new() })
    }

    /// Has somebody write in a forum, unless they still are about to.
    pub fn write(&mut self, at: usize, hubs: &[String]) {
        let forum = self.all[at].clone();
        if !std::mem::replace(&mut forum.book.lock().writing, true) {
            let hubs = hubs.to_vec();
            self.tasks.spawn(async move { forum.write(&hubs, at).await });
        }
    }

    /// Has somebody read a forum through a hub.
    pub fn read(&mut self, at: usize, hub: &str) {
        let (forum, hub) = (self.all[at].clone(), hub.to_owned());
        self.tasks.spawn(async move { forum.read(&hub).await });
    }

    /// Takes note of those that have ended; how many are still under way.
    pub fn under_way(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }

    /// Waits for all of them.
    pub async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// What came of them so far.
    pub fn served(&self) -> Served {
        let mut served = Served::default();
        for forum in &self.all {
            let book = forum.book.lock();
            served.reads += book.reads;
            served.again += book.again;
            served.slowest_read = served.slowest_read.max(book.slowest_read);
            served.writes += book.acked.len();
            let troubles = book.unread.iter().chain(&book.unwritten);
            served.troubles.extend(troubles.map(|trouble| (forum.id, trouble.clone())));
        }
        served.unserved = served.troubles.iter().map(|(forum, _)| *forum).collect();
        served
    }
}

async fn open(admin: loop_admin::Admin, hubs: Vec<String>, at: usize, messages: u64) -> Result<Arc<Forum>> {
    let name = unique("ajps_guests_");
    let visitor = Visitor::open(&hubs[at % hubs.len()], &name).await?;
    let key = loop_proto::ids::ForumKey::of_name(name.as_bytes()).0.to_vec();
    let which = loop_proto::v1::show_forum_request::Which::Key(key.into());
    let visitor = visitor.patient_for(READ_WITHIN);
    let forum = Forum { id: admin.forum(which).await?.forum_id, visitor, book: Mutex::default() };
    for message in 0..messages {
        forum.write(&hubs, at + message as usize).await;
    }
    let unwritten = forum.book.lock().unwritten.first().cloned();
    unwritten.map_or(Ok(Arc::new(forum)), |why| Err(anyhow::anyhow!("before any guest came: {why}")))
}

impl Forum {
    /// What was acknowledged at least `settled` ago: must be on every copy that counts.
    pub fn promised(&self, settled: Duration) -> BTreeSet<u64> {
        let book = self.book.lock();
        book.acked.iter().filter(|(_, at)| at.elapsed() >= settled).map(|(id, _)| *id).collect()
    }

    async fn write(&self, hubs: &[String], first: usize) {
        let number = {
            let mut book = self.book.lock();
            book.sent += 1;
            book.sent
        };
        let text = format!("{TEXT} ({number})");
        let (sent_at, mut hub) = (Instant::now(), first);
        let ended = loop {
            let failure =
                match self.visitor.commit(&hubs[hub % hubs.len()], &Commit::new(number, &text)).await {
                    Ok(answer) => match sid(&answer) {
                        Some(id) => break Ok(id),
                        None => break Err(format!("message {number} was answered without an id: {answer}")),
                    },
                    Err(failure) => failure,
                };
            if sent_at.elapsed() >= WRITE_WITHIN {
                break Err(format!("message {number} was not taken within {WRITE_WITHIN:?}: {failure}"));
            }
            hub += 1;
            sleep(Duration::from_millis(500)).await;
        };
        let mut book = self.book.lock();
        book.writing = false;
        match ended {
            Ok(id) => book.acked.push((id, Instant::now())),
            Err(why) => book.unwritten.push(why),
        }
    }

    async fn read(&self, hub: &str) {
        let promised: Vec<u64> = self.promised(Duration::ZERO).into_iter().collect();
        let newest = &promised[promised.len().saturating_sub(READ_CHECKED)..];
        let mut failure = String::new();
        for again in [false, true] {
            let sent_at = Instant::now();
            match self.visitor.messages(hub, READ_RECORDS).await {
                Ok(shown) => {
                    let shown: BTreeSet<u64> = shown.into_iter().map(|(id, _)| id).collect();
                    let missing = newest.iter().filter(|id| !shown.contains(id)).count();
                    let mut book = self.book.lock();
                    book.slowest_read = book.slowest_read.max(sent_at.elapsed());
                    if missing > 0 {
                        book.unread.push(format!("{hub} does not show {missing} acknowledged messages"));
                    } else {
                        book.reads += 1;
                        book.again += usize::from(again);
                    }
                    return;
                }
                Err(error) => failure = error.to_string(),
            }
        }
        self.book.lock().unread.push(format!("{hub} showed nothing, asked twice: {failure}"));
    }
}

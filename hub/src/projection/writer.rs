//! Keeps the tables to what this hub has applied, for as long as it runs: connects, makes them anew from the state, follows,
//! and begins again when something goes wrong.
//!
//! Nothing of the hub ever waits for it.

use std::{sync::Arc, time::Duration};

use loop_raft_store::adapter::StateReader;
use metrics::counter;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    database::{Database, Found, Mark},
    expected::Expected,
    inbox::{Inbox, Missed},
    rows::TABLES,
    status::{Phase, Status},
    trouble::Trouble,
    verify::{self, Verified},
    window::{Net, Window},
};
use crate::config::ProjectionConfig;

/// Rows of one batch, before the step of the log that reaches it.
const BATCH_ROWS: usize = 1024;
/// Wait for more to come before a batch is written.
const GATHER: Duration = Duration::from_millis(10);
/// How often a writer without work says that it is alive, and looks whether the tables are.
const BEAT: Duration = Duration::from_secs(5);
/// Pauses between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How often a comparison begins again because the tables were made anew meanwhile.
const VERIFY_TRIES: usize = 3;
/// Between two looks at whether the last step of the log has come.
const LOOK: Duration = Duration::from_millis(5);

/// What operators ask the writer for.
pub enum Order {
    /// Make the tables anew.
    Rebuild(oneshot::Sender<Result<Mark, Trouble>>),
    /// Compare them with the state.
    Verify(oneshot::Sender<Result<Verified, Trouble>>),
}

/// The one that writes.
pub struct Writer {
    /// Where.
    pub config: ProjectionConfig,
    /// This hub's number.
    pub hub: u64,
    /// A name that no other process has.
    pub name: [u8; 16],
    /// What was applied.
    pub inbox: Arc<Inbox>,
    /// The state, to begin with.
    pub state: StateReader,
    /// Where it tells how far it is.
    pub status: Arc<Status>,
    /// What it is asked.
    pub orders: mpsc::Receiver<Order>,
    /// Ends it.
    pub shutdown: CancellationToken,
    /// What the tables are, as long as they can be gone on with.
    pub following: Option<Following>,
    /// How long it waits before it makes tables anew that could not follow; rises until they can.
    pub patience: Duration,
}

/// Tables that are of some moment, and what is to be written next.
pub struct Following {
    window: Window,
    /// The tables are of this moment, for certain.
    written: Mark,
    /// What leads from there to `next`; empty: nothing.
    net: Net,
    next: Mark,
}

impl Writer {
    /// Runs until shutdown.
    pub async fn run(mut self) {
        let mut pause = PAUSE.0;
        // Whoever asked for tables made anew while there was no database.
        let mut asked = None;
        loop {
            let tried = self.session(&mut asked, &mut pause).await;
            let Err(trouble) = tried else { return };
            if self.status.enter(Phase::Down(trouble.to_string())) {
                tracing::warn!(place = %self.config.place, %trouble, "the projection is down");
            }
            if let Some(asked) = asked.take() {
                // Whoever asked may have gone.
                let _ = asked.send(Err(trouble.clone()));
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                order = self.orders.recv() => match order {
                    Some(Order::Rebuild(answer)) => asked = Some(answer),
                    Some(Order::Verify(answer)) => drop(answer.send(Err(trouble))),
                    None => return,
                },
                () = sleep(pause) => pause = (pause * 2).min(PAUSE.1),
            }
        }
    }

    /// From one connection to its end; ends well with the hub only.
    async fn session(&mut self, asked: &mut Option<Sender>, pause: &mut Duration) -> Result<(), Trouble> {
        let (mut database, found) = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Ok(()),
            opened = Database::open(&self.config, self.hub, self.name) => opened?,
        };
        let goes_on =
            asked.is_none() && self.following.as_ref().is_some_and(|following| following.goes_on(found));
        if goes_on {
            self.flush(&mut database).await?;
        } else {
            self.rebuild(&mut database).await?;
        }
        if let Some(asked) = asked.take() {
            let _ = asked.send(Ok(self.written()));
        }
        *pause = PAUSE.0;
        self.status.enter(Phase::Following);
        let Mark { applied, newest, .. } = self.written();
        tracing::info!(place = %self.config.place, applied, newest, "the projection is written");
        self.follow(database).await
    }

    async fn follow(&mut self, mut database: Database) -> Result<(), Trouble> {
        // What came while the tables were made.
        self.write_what_came(&mut database, u64::MAX).await?;
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {
                    database.close().await;
                    return Ok(());
                }
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order, &mut database).await?,
                    None => return Ok(()),
                },
                () = self.inbox.came() => {
                    sleep(GATHER).await;
                    self.write_what_came(&mut database, u64::MAX).await?;
                }
                () = sleep(BEAT) => database.beat().await?,
            }
        }
    }

    /// An order that fails is answered with why, and ends the connection.
    async fn obey(&mut self, order: Order, database: &mut Database) -> Result<(), Trouble> {
        match order {
            Order::Rebuild(answer) => {
                let made = self.rebuild(database).await.map(|()| self.written());
                let _ = answer.send(made.clone());
                made?;
                self.status.enter(Phase::Following);
            }
            Order::Verify(answer) => {
                let verified = self.verify(database).await;
                let failed = verified.as_ref().err().cloned();
                let _ = answer.send(verified);
                failed.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    fn written(&self) -> Mark {
        self.following.as_ref().map_or_else(Mark::default, |following| following.written)
    }

    /// All rows of the state of this moment. What is applied meanwhile waits in the inbox.
    async fn rebuild(&mut self, database: &mut Database) -> Result<(), Trouble> {
        self.status.enter(Phase::Rebuilding);
        self.following = None;
        self.inbox.open();
        let (state, applied) = self.state.copy();
        database.clear().await?;
        let (expected, window) = Expected::of(&state, self.config.records);
        let mut rows = 0;
        for table in TABLES {
            rows += database.replace(table, expected.rows(table)).await?;
        }
        let mark = Mark { applied, newest: state.newest(), after: window.after() };
        database.set_mark(mark).await?;
        self.following = Some(Following { window, written: mark, net: Net::default(), next: mark });
        self.status.rebuilt(mark, rows);
        counter!("loop_projection_rebuilds_total").increment(1);
        counter!("loop_projection_rows_total").increment(rows as u64);
        Ok(())
    }

    /// Writes everything that has come, up to entry `through` of Raft's log. Where something was let go, all is made anew.
    async fn write_what_came(&mut self, database: &mut Database, through: u64) -> Result<(), Trouble> {
        loop {
            let portions = match self.inbox.take(through, BATCH_ROWS) {
                Ok(portions) => portions,
                Err(Missed) => {
                    self.begin_again(database).await?;
                    continue;
                }
            };
            if portions.is_empty() {
                self.patience = Duration::ZERO;
                self.status.level();
                return Ok(());
            }
            if let Some(following) = &mut self.following {
                portions.into_iter().for_each(|portion| following.take(portion));
            }
            self.flush(database).await?;
        }
    }

    /// Something was let go. A database that never keeps up is given ever more time between two attempts.
    async fn begin_again(&mut self, database: &mut Database) -> Result<(), Trouble> {
        tracing::warn!(place = %self.config.place, "rows came faster than the database takes them: they are made anew");
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Err(Trouble("this hub stops".to_owned())),
            () = sleep(self.patience) => {}
        }
        self.patience = (self.patience * 2).clamp(PAUSE.0, PAUSE.1);
        self.rebuild(database).await?;
        self.status.enter(Phase::Following);
        Ok(())
    }

    async fn flush(&mut self, database: &mut Database) -> Result<(), Trouble> {
        let Some(following) = self.following.as_mut().filter(|following| following.next != following.written)
        else {
            return Ok(());
        };
        database.write(&following.net, following.next).await?;
        let rows = std::mem::take(&mut following.net).len();
        following.written = following.next;
        self.status.wrote(following.written, rows);
        counter!("loop_projection_batches_total").increment(1);
        counter!("loop_projection_rows_total").increment(rows as u64);
        Ok(())
    }

    /// Brings the tables to the state of this moment exactly, and compares them with it.
    async fn verify(&mut self, database: &mut Database) -> Result<Verified, Trouble> {
        for _ in 0..VERIFY_TRIES {
            let (state, applied) = self.state.copy();
            while self.written().applied < applied {
                self.write_what_came(database, applied).await?;
                // The step is in the state and on its way to the inbox.
                sleep(LOOK).await;
            }
            if self.written().applied == applied {
                let (expected, _) = Expected::of(&state, self.config.records);
                return verify::compare(database, &expected, self.written()).await;
            }
        }
        Err(Trouble("the tables were made anew while they were compared: ask again".to_owned()))
    }
}

/// Answers whoever asked for tables made anew.
type Sender = oneshot::Sender<Result<Mark, Trouble>>;

impl Following {
    /// Whether tables that were found are these. The last batch may have been written whole, and nobody was told.
    fn goes_on(&self, found: Found) -> bool {
        matches!(found, Found::Own(at) if at == self.written.applied || at == self.next.applied)
    }

    fn take(&mut self, portion: super::portion::Portion) {
        if portion.applied <= self.next.applied {
            // The tables were made of a state that had it.
            return;
        }
        for step in portion.steps {
            self.window.take(step, &mut self.net);
        }
        for row in portion.rows {
            self.net.put(row);
        }
        self.window.slide(portion.newest, portion.trimmed_through, &mut self.net);
        self.next = Mark { applied: portion.applied, newest: portion.newest, after: self.window.after() };
    }
}

//! What this hub has applied, as rows of a MySQL or MariaDB database of its own, for whoever wants to ask in SQL.
//!
//! Disposable: the rows may vanish at any moment, as those of a MEMORY table do with its server; they say of which entry of
//! Raft's log they are, and are made anew from the state. Nothing is decided from them, and the hub never waits for them.
//! Each hub writes into a database of its own, and nobody else into that.

mod database;
mod expected;
mod inbox;
mod portion;
mod rows;
mod schema;
mod status;
#[cfg(test)]
mod tests;
mod trouble;
mod verify;
mod window;
mod writer;

use std::{sync::Arc, time::Duration};

use loop_proto::ids::HubId;
use loop_raft_store::adapter::{ApplySink, StateReader};
use metrics::gauge;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    database::Mark,
    status::{Report, Standing},
    trouble::Trouble,
    verify::{Difference, How, Verified},
};
use self::{
    inbox::{Followed, Inbox},
    status::Status,
    writer::{Order, Writer},
};
use crate::config::ProjectionConfig;

/// Orders that may wait.
const ORDERS_MAX: usize = 4;
/// How often metrics are told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// One hub's projection.
pub struct Projection {
    config: ProjectionConfig,
    hub: HubId,
    inbox: Arc<Inbox>,
    status: Arc<Status>,
    orders: mpsc::Sender<Order>,
    /// Until the writer takes it.
    to_obey: Mutex<Option<mpsc::Receiver<Order>>>,
    ended: CancellationToken,
}

impl Projection {
    /// Nothing is written before [`Self::run`].
    pub fn new(config: ProjectionConfig, hub: HubId) -> Arc<Self> {
        let (orders, to_obey) = mpsc::channel(ORDERS_MAX);
        Arc::new(Self {
            config,
            hub,
            inbox: Arc::default(),
            status: Arc::default(),
            orders,
            to_obey: Mutex::new(Some(to_obey)),
            ended: CancellationToken::new(),
        })
    }

    /// Hears what is applied after `first` has.
    pub fn follow(&self, first: Arc<dyn ApplySink>) -> Arc<dyn ApplySink> {
        Arc::new(Followed { first, inbox: self.inbox.clone() })
    }

    /// Gives it the state to read from; once, before [`Self::run`].
    pub fn attach(&self, state: StateReader) {
        self.inbox.attach(state);
    }

    /// Writes until shutdown; `name` is one that no other process has.
    pub async fn run(self: Arc<Self>, name: [u8; 16], shutdown: CancellationToken) {
        let (Some(state), Some(orders)) = (self.inbox.state().cloned(), self.to_obey.lock().take()) else {
            return;
        };
        let writer = Writer {
            config: self.config.clone(),
            hub: self.hub.get(),
            name,
            inbox: self.inbox.clone(),
            state: state.clone(),
            status: self.status.clone(),
            orders,
            shutdown: shutdown.clone(),
            following: None,
            patience: Duration::ZERO,
        };
        tokio::select! {
            () = writer.run() => {}
            () = self.tell(&state) => {}
        }
        self.ended.cancel();
    }

    async fn tell(&self, state: &StateReader) {
        loop {
            let report = self.report();
            let newest = state.read(|state| state.newest());
            gauge!("loop_projection_lag_records").set(newest.saturating_sub(report.mark.newest) as f64);
            for (standing, name) in Standing::ALL {
                gauge!("loop_projection_state", "state" => name)
                    .set(f64::from(u8::from(report.standing == standing)));
            }
            sleep(TELL_EVERY).await;
        }
    }

    /// Waits for a moment until the database is given up.
    pub async fn ended(&self, within: Duration) {
        // It is given up with the process.
        let _ = timeout(within, self.ended.cancelled()).await;
    }

    /// Where the rows are, without the password.
    pub fn place(&self) -> &str {
        &self.config.place
    }

    /// What it was started with.
    pub const fn config(&self) -> &ProjectionConfig {
        &self.config
    }

    /// What the tables are kept by, as SQL names it.
    pub const fn engine(&self) -> &'static str {
        schema::engine(self.config.engine)
    }

    /// How far it is.
    pub fn report(&self) -> Report {
        self.status.report(!self.inbox.is_level())
    }

    /// What an operator must be told, if anything.
    pub fn problem(&self) -> Option<String> {
        self.report().problem(self.place())
    }

    /// Rows that wait to be written, and how many may.
    pub fn held(&self) -> (usize, usize) {
        self.inbox.held()
    }

    /// Makes the tables anew. Of which moment they are then.
    pub async fn rebuild(&self) -> Result<Mark, Trouble> {
        self.order(Order::Rebuild).await
    }

    /// Compares the tables with the state.
    pub async fn verify(&self) -> Result<Verified, Trouble> {
        self.order(Order::Verify).await
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Trouble>>) -> Order,
    ) -> Result<T, Trouble> {
        let stops = || Trouble("this hub stops".to_owned());
        let (answer, answered) = oneshot::channel();
        self.orders.try_send(order(answer)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                Trouble("the projection is asked for much already: ask again".to_owned())
            }
            mpsc::error::TrySendError::Closed(_) => stops(),
        })?;
        answered.await.map_err(|_| stops())?
    }
}

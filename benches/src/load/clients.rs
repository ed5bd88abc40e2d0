//! Clients that make one request after the other. Owns the loop around them; never knows what they ask.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinSet;

use super::{Figures, Pace, Schedule, Span};

/// One client of a workload.
pub trait Client: Send + 'static {
    /// Makes one request and checks its answer; an error says what was wrong, without naming sessions or forums.
    fn call(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Runs `clients` side by side; gives them back with what they measured.
pub async fn run<C: Client>(clients: Vec<C>, pace: Pace, span: Span) -> (Vec<C>, Figures) {
    let schedule = Schedule::start(pace, span);
    let figures = Arc::new(Mutex::new(Figures::default()));
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let (schedule, figures) = (schedule.clone(), figures.clone());
        tasks.spawn(async move {
            while let Some(due) = schedule.due().await {
                let outcome = client.call().await;
                if !schedule.counts(due) {
                    continue;
                }
                // A histogram is whole after every record, so a poisoned lock is no harm.
                let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
                match outcome {
                    Ok(()) => figures.answered(due),
                    Err(reason) => figures.failed(reason),
                }
            }
            client
        });
    }
    let clients = tasks.join_all().await;
    let mut total = Figures::default();
    total.add(&figures.lock().unwrap_or_else(PoisonError::into_inner));
    total.fail_many(schedule.unserved(), "due, but never made: the system was too slow for this rate".into());
    (clients, total)
}

//! Workload `http-write`: commits as a browser sends them, through hub and peer and hub again.
//!
//! Every client has a session and a connection of its own; each message is unlike any other. Every answer must carry a
//! message id, and no id may come twice.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::{
    Figures, Pace, Span,
    clients::{self, Client},
    system::{System, unique},
    visitor::Visitor,
};

/// Which hubs take the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// The first one.
    One,
    /// Each in turn.
    All,
}

impl Through {
    /// The HTTP address for client `at`.
    pub fn address(self, system: &System, at: usize) -> &str {
        match self {
            Self::One => &system.hubs[0].http,
            Self::All => &system.hubs[at % system.hubs.len()].http,
        }
    }

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one hub",
            Self::All => "all hubs",
        }
    }
}

struct Writer {
    visitor: Visitor,
    ids: Vec<u64>,
}

impl Client for Writer {
    async fn call(&mut self) -> Result<(), String> {
        let id = self.visitor.post().await.map_err(|error| format!("{error:#}"))?;
        self.ids.push(id);
        Ok(())
    }
}

/// One run of `writers` clients over `forums` new forums.
pub async fn run(
    system: &System,
    through: Through,
    pace: Pace,
    writers: usize,
    forums: usize,
    span: Span,
) -> Result<Figures> {
    let names: Vec<String> = (0..forums.max(1)).map(|_| unique("load-forum-")).collect();
    let mut clients = Vec::with_capacity(writers);
    for at in 0..writers {
        let address = through.address(system, at);
        let visitor =
            Visitor::arrive(address, &names[at % names.len()]).await.context("a visitor's arrival")?;
        clients.push(Writer { visitor, ids: Vec::new() });
    }
    let (clients, mut figures) = clients::run(clients, pace, span).await;
    let ids: Vec<u64> = clients.into_iter().flat_map(|client| client.ids).collect();
    let different = ids.iter().collect::<BTreeSet<_>>().len();
    figures.fail_many((ids.len() - different) as u64, "a message id was given twice".into());
    Ok(figures)
}

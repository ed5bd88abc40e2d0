//! Workload `http-read`: polls (`search-chat.php?records=25`) of one forum of 60 messages, as open pop-ups make them.

use anyhow::{Context, Result, ensure};

use super::{
    Figures, Pace, Span,
    clients::{self, Client},
    http_write::Through,
    system::{System, unique},
    visitor::Visitor,
};

/// Messages in the forum.
const MESSAGES: usize = 60;

/// Messages asked for.
const RECORDS: u32 = 25;

struct Reader {
    visitor: Visitor,
    path: String,
    /// The size of a full answer. "3 seconds ago" makes it vary a little.
    bytes: usize,
}

impl Client for Reader {
    async fn call(&mut self) -> Result<(), String> {
        let bytes = self.visitor.poll_unread(&self.path).await.map_err(|error| format!("{error:#}"))?;
        if bytes * 10 < self.bytes * 9 {
            return Err(format!("an answer of {bytes} bytes where the first had {}", self.bytes));
        }
        Ok(())
    }
}

/// One run of `readers` keep-alive connections.
pub async fn run(
    system: &System,
    through: Through,
    pace: Pace,
    readers: usize,
    span: Span,
) -> Result<Figures> {
    let forum = unique("load-forum-");
    let mut author = Visitor::arrive(&system.hubs[0].http, &forum).await.context("the author's arrival")?;
    for _ in 0..MESSAGES {
        author.post().await.context("filling the forum")?;
    }
    let mut clients = Vec::with_capacity(readers);
    for at in 0..readers {
        let mut visitor = Visitor::arrive(through.address(system, at), &forum).await?;
        let answer = visitor.poll(RECORDS).await?;
        let rows = answer["res"].as_array().map_or(0, Vec::len);
        // AtomJump shows one more than it is asked for.
        ensure!(rows == RECORDS as usize + 1, "a poll for {RECORDS} messages brought {rows}");
        let path = visitor.poll_path(RECORDS);
        let bytes = visitor.poll_unread(&path).await?;
        clients.push(Reader { visitor, path, bytes });
    }
    Ok(clients::run(clients, pace, span).await.1)
}

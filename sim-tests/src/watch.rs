//! A browser that watches a forum, without a screen: the hub's events, put together to the list it shows.

use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    client::{Visitor, client, poll, query},
    watched::{Lines, List},
};

/// Longest time of one watch.
const WATCH_MAX: Duration = Duration::from_secs(120);

/// A watch that is open.
pub struct Watch {
    response: reqwest::Response,
    text: String,
    lines: Lines,
    /// The list it shows.
    pub list: List,
}

impl Watch {
    /// Begins to watch the visitor's forum through `hub`.
    pub async fn begin(hub: &str, visitor: &Visitor) -> Result<Self> {
        Self::ask(hub, visitor, List::default()).await
    }

    /// Goes on through another hub, as browsers do whose connection is lost.
    pub async fn go_on(self, hub: &str, visitor: &Visitor) -> Result<Self> {
        Self::ask(hub, visitor, self.list).await
    }

    async fn ask(hub: &str, visitor: &Visitor, list: List) -> Result<Self> {
        let parameters = poll(visitor.forum(), visitor.session(), 25);
        let request = client(WATCH_MAX).get(format!("{hub}/api/watch?{}", query(&parameters)));
        let request = match list.last {
            Some(last) => request.header("Last-Event-ID", last),
            None => request,
        };
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        ensure!(response.status() == 200, "status {}", response.status());
        Ok(Self { response, text: String::new(), lines: Lines::default(), list })
    }

    /// Takes events until the list is as wanted; how many that took.
    pub async fn until(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&[(u64, String)]) -> bool,
    ) -> Result<usize> {
        let mut events = 0;
        let waited = timeout(within, async {
            while self.list.last.is_none() || !wanted(&self.list.rows) {
                let Some((number, change)) = self.event().await? else { bail!("the hub ended it") };
                self.take(number, &change)?;
                events += 1;
            }
            Ok(events)
        });
        match waited.await {
            Ok(taken) => taken,
            Err(_) => bail!("{what}: not pushed within {within:?}; the list is {:?}", self.list.rows),
        }
    }

    /// Waits until the hub or the way to it ends the watch.
    pub async fn end(&mut self, within: Duration) -> Result<()> {
        let end = async {
            while let Ok(Some((number, change))) = self.event().await {
                self.take(number, &change)?;
            }
            Ok(())
        };
        timeout(within, end).await.context("the watch went on")?
    }

    fn take(&mut self, number: u64, change: &Value) -> Result<()> {
        self.list.take(number, change).map_err(Error::msg)
    }

    async fn event(&mut self) -> Result<Option<(u64, Value)>> {
        loop {
            while let Some((line, rest)) = self.text.split_once('\n') {
                let event = self.lines.take(line).map_err(Error::msg)?;
                self.text = rest.to_owned();
                if event.is_some() {
                    return Ok(event);
                }
            }
            let chunk = self.response.chunk().await.map_err(reqwest::Error::without_url)?;
            let Some(chunk) = chunk else { return Ok(None) };
            self.text.push_str(std::str::from_utf8(&chunk).context("an event that is not text")?);
        }
    }
}

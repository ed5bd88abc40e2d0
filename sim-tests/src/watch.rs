//! A browser that watches a forum, without a screen: the hub's events, put together to the list it shows.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{Visitor, client, poll, query, rows};

/// Longest time of one watch.
const WATCH_MAX: Duration = Duration::from_secs(120);

/// A watch that is open.
pub struct Watch {
    response: reqwest::Response,
    text: String,
    /// The number of the last event.
    pub last: Option<u64>,
    /// The list, newest first: ids and texts.
    pub list: Vec<(u64, String)>,
}

impl Watch {
    /// Begins to watch the visitor's forum through `hub`.
    pub async fn begin(hub: &str, visitor: &Visitor) -> Result<Self> {
        Self::ask(hub, visitor, None, Vec::new()).await
    }

    /// Goes on through another hub, as browsers do whose connection is lost.
    pub async fn go_on(self, hub: &str, visitor: &Visitor) -> Result<Self> {
        Self::ask(hub, visitor, self.last, self.list).await
    }

    async fn ask(hub: &str, visitor: &Visitor, last: Option<u64>, list: Vec<(u64, String)>) -> Result<Self> {
        let parameters = poll(visitor.forum(), visitor.session(), 25);
        let request = client(WATCH_MAX).get(format!("{hub}/api/watch?{}", query(&parameters)));
        let request = match last {
            Some(last) => request.header("Last-Event-ID", last),
            None => request,
        };
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        ensure!(response.status() == 200, "status {}", response.status());
        Ok(Self { response, text: String::new(), last, list })
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
            while self.last.is_none() || !wanted(&self.list) {
                let Some((number, change)) = self.event().await? else { bail!("the hub ended it") };
                self.take(number, &change)?;
                events += 1;
            }
            Ok(events)
        });
        match waited.await {
            Ok(taken) => taken,
            Err(_) => bail!("{what}: not pushed within {within:?}; the list is {:?}", self.list),
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
        let new = rows(change).with_context(|| format!("no list: {change}"))?;
        let ids = change["ids"].as_array().context("no ids")?;
        let before = std::mem::take(&mut self.list);
        for id in ids {
            let id: u64 = id.as_str().context("an id that is no text")?.parse()?;
            let row = new.iter().chain(&before).find(|(known, _)| *known == id);
            self.list.push(row.with_context(|| format!("message {id} was never sent"))?.clone());
        }
        self.last = Some(number);
        Ok(())
    }

    async fn event(&mut self) -> Result<Option<(u64, Value)>> {
        let (mut number, mut data) = (None, None);
        loop {
            while let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(id) = line.strip_prefix("id: ") {
                    number = Some(id.parse()?);
                } else if let Some(text) = line.strip_prefix("data: ") {
                    data = Some(serde_json::from_str(text)?);
                } else if let (true, Some(number), Some(data)) = (line.is_empty(), number, data.take()) {
                    return Ok(Some((number, data)));
                }
            }
            let chunk = self.response.chunk().await.map_err(reqwest::Error::without_url)?;
            let Some(chunk) = chunk else { return Ok(None) };
            self.text.push_str(std::str::from_utf8(&chunk).context("an event that is not text")?);
        }
    }
}

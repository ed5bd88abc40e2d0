//! Writers that hold to AtomJump's own rule: a commit without an answer is sent again, the same, through another hub.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::client::{Commit, Visitor, sid};

/// A load of messages for one forum.
#[derive(Clone, Debug)]
pub struct Load {
    /// The forum's name.
    pub forum: String,
    /// Writers, each with a session of its own.
    pub writers: usize,
    /// Messages of each writer, one after the other.
    pub messages: u64,
    /// Marks this load's texts, so that several loads of one forum are told apart.
    pub mark: String,
    /// How long a writer waits for an answer before it sends the commit again.
    pub answer_within: Duration,
    /// How long a commit may take over all its sendings.
    pub give_up_after: Duration,
}

impl Load {
    /// Eight writers of 200 messages.
    pub fn new(forum: &str, mark: &str) -> Self {
        Self {
            forum: forum.to_owned(),
            writers: 8,
            messages: 200,
            mark: mark.to_owned(),
            // AtomJump's browser waits 20 s; a shorter time makes more re-sends, which is the harder case.
            answer_within: Duration::from_secs(3),
            give_up_after: Duration::from_secs(60),
        }
    }

    /// All messages of the load.
    pub fn total(&self) -> u64 {
        self.messages * self.writers as u64
    }
}

/// One acknowledged message.
#[derive(Clone, Debug)]
pub struct Acked {
    /// Who wrote it.
    pub writer: usize,
    /// Its text.
    pub text: String,
    /// The id it was given.
    pub id: u64,
    /// When it was first sent.
    pub sent: Instant,
    /// When it was acknowledged.
    pub acked: Instant,
    /// How often it was sent.
    pub sendings: u32,
}

/// What the writers were promised.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// Every acknowledged message.
    pub acked: Vec<Acked>,
    /// Each refusal or missing answer, in words.
    pub failures: Vec<String>,
}

impl Promises {
    /// The longest time in which no writer had a success.
    pub fn longest_gap(&self) -> Duration {
        let mut times: Vec<Instant> = self.acked.iter().map(|acked| acked.acked).collect();
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Messages that were sent more than once.
    pub fn resent(&self) -> usize {
        self.acked.iter().filter(|acked| acked.sendings > 1).count()
    }

    /// The failures by kind, with their number.
    pub fn failure_kinds(&self) -> Vec<(String, usize)> {
        let mut kinds = std::collections::BTreeMap::new();
        for failure in &self.failures {
            *kinds.entry(failure.clone()).or_insert(0) += 1;
        }
        kinds.into_iter().collect()
    }
}

/// A load under way.
pub struct Writing {
    tasks: JoinSet<Result<(Vec<Acked>, Vec<String>)>>,
    acked: watch::Receiver<u64>,
}

impl Writing {
    /// Sets the writers off, spread over `hubs` (`http://host:port`).
    pub async fn start(load: &Load, hubs: &[String]) -> Result<Self> {
        let (count, acked) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for number in 0..load.writers {
            let visitor = Visitor::arrive(&hubs[number % hubs.len()], &load.forum).await?;
            let writer = Writer {
                number,
                visitor: visitor.patient_for(load.answer_within),
                hubs: hubs.to_vec(),
                hub: number,
                load: load.clone(),
                count: count.clone(),
                failures: Vec::new(),
            };
            tasks.spawn(writer.write());
        }
        Ok(Self { tasks, acked })
    }

    /// Waits until `count` messages are acknowledged.
    pub async fn acked(&mut self, count: u64) -> Result<()> {
        self.acked.wait_for(|acked| *acked >= count).await.context("the writers ended before that")?;
        Ok(())
    }

    /// Waits until everything is acknowledged.
    pub async fn finish(mut self) -> Result<Promises> {
        let mut promises = Promises::default();
        while let Some(writer) = self.tasks.join_next().await {
            let (acked, failures) = writer??;
            promises.acked.extend(acked);
            promises.failures.extend(failures);
        }
        Ok(promises)
    }
}

struct Writer {
    number: usize,
    visitor: Visitor,
    hubs: Vec<String>,
    /// The one in use, counted on when it fails.
    hub: usize,
    load: Load,
    count: watch::Sender<u64>,
    failures: Vec<String>,
}

impl Writer {
    async fn write(mut self) -> Result<(Vec<Acked>, Vec<String>)> {
        let mut acked = Vec::new();
        for msg_id in 1..=self.load.messages {
            let text = format!("{}-w{}-n{msg_id:04}", self.load.mark, self.number);
            acked.push(self.commit(msg_id, text).await?);
            self.count.send_modify(|count| *count += 1);
        }
        Ok((acked, self.failures))
    }

    async fn commit(&mut self, msg_id: u64, text: String) -> Result<Acked> {
        let sent = Instant::now();
        let mut sendings = 0;
        loop {
            let hub = &self.hubs[self.hub % self.hubs.len()];
            sendings += 1;
            let failure = match self.visitor.commit(hub, &Commit::new(msg_id, &text)).await {
                Ok(answer) => match sid(&answer) {
                    Some(id) => {
                        let lid = answer["lid"].as_str();
                        if lid != Some(msg_id.to_string().as_str()) {
                            bail!("message {msg_id} was answered with lid {lid:?}");
                        }
                        let acked = Instant::now();
                        return Ok(Acked { writer: self.number, text, id, sent, acked, sendings });
                    }
                    None => bail!("an answer without sid: {answer}"),
                },
                Err(failure) => failure.to_string(),
            };
            if sent.elapsed() > self.load.give_up_after {
                bail!("{text} was sent {sendings} times without success, at last: {failure}");
            }
            self.failures.push(failure);
            self.hub += 1;
            // A browser waits 10 s here; the shorter pause finds the end of a gap more exactly.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

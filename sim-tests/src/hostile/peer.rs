//! Its life on one hub: joins, comes, follows the log, does what it came for, and looks whether it may come again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use loop_proto::v1::{
    self, hub_to_peer::Kind as FromHub, peer_service_client::PeerServiceClient, peer_to_hub::Kind, record,
};
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{interval, sleep},
};
use tonic::{Status, Streaming, transport::Channel};

use super::{
    Attempt, Event, PLANTED, Victim, lies,
    rows::{ForumRows, RowLie, of_forum},
};

/// Messages that may wait for the hub.
const WAITING_MAX: usize = 256;
/// Shorter than any heartbeat hubs expect.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Largest message it reads, bytes; as honest peers do.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What it has said is known to all hubs a moment later: until then it may be let in once more.
const COMES_AGAIN_MAX: u32 = 25;
const COMES_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Who it is and what it is to do.
pub struct Options {
    /// `host:port` of a hub.
    pub hub: String,
    /// The volunteers' token.
    pub token: String,
    /// What it calls itself.
    pub name: String,
    /// Whose machine it says it runs on.
    pub owner: String,
    /// A secret of its own.
    pub secret: [u8; 32],
    /// What it tries.
    pub attempt: Attempt,
    /// Whom it is to harm.
    pub victim: Victim,
}

/// Runs until its stream has ended and it knows whether it may come again. `tell` hears what happens.
pub async fn run(options: Options, mut tell: impl FnMut(Event)) -> Result<()> {
    let mut client = dial(&options.hub).await?;
    let join = v1::JoinRequest {
        token: options.token.clone(),
        name: options.name.clone(),
        secret: options.secret.to_vec().into(),
        owner: options.owner.clone(),
        network: options.name.clone(),
    };
    let me = client.join(join).await?.into_inner().peer_id;
    tell(Event::Joined { peer: me });
    let cursor = if options.attempt == Attempt::HelloCursor { 1 << 63 } else { 0 };
    let (mut hostile, inbound) = match Hostile::come(&options, me, &mut client, cursor).await {
        Ok(come) => come,
        Err(status) => return refused(&status, tell),
    };
    let why = hostile.work(inbound, &mut tell).await.unwrap_or_else(|error| error.to_string());
    tell(Event::Ended { why });
    for _ in 0..COMES_AGAIN_MAX {
        if let Err(status) = come_again(&options, me, &mut client).await {
            return refused(&status, tell);
        }
        sleep(COMES_AGAIN_AFTER).await;
    }
    tell(Event::Connected);
    Ok(())
}

fn refused(status: &Status, mut tell: impl FnMut(Event)) -> Result<()> {
    tell(Event::Refused { code: format!("{:?}", status.code()), why: status.message().to_owned() });
    Ok(())
}

async fn dial(hub: &str) -> Result<PeerServiceClient<Channel>> {
    let channel =
        Channel::from_shared(format!("http://{hub}"))?.connect().await.context("dialling the hub")?;
    Ok(PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// Whether it is welcome once more, as an honest peer with nothing on disk.
async fn come_again(
    options: &Options,
    me: u32,
    client: &mut PeerServiceClient<Channel>,
) -> Result<(), Status> {
    let (_hostile, mut inbound) = Hostile::come(options, me, client, 0).await?;
    inbound.message().await.map(drop)
}

/// A forum it holds.
struct Held {
    epoch: u64,
    primary: u32,
    rows: ForumRows,
}

struct Hostile<'a> {
    options: &'a Options,
    me: u32,
    hub: mpsc::Sender<v1::PeerToHub>,
    cursor: u64,
    newest: u64,
    held: BTreeMap<u32, Held>,
    /// Its true answers that it has not given, by task.
    kept_back: BTreeMap<u64, v1::Answer>,
    has_tried: bool,
    saw_planted: bool,
    row_lies: usize,
}

impl<'a> Hostile<'a> {
    async fn come(
        options: &'a Options,
        me: u32,
        client: &mut PeerServiceClient<Channel>,
        cursor: u64,
    ) -> Result<(Self, Streaming<v1::HubToPeer>), Status> {
        let (hub, outbound) = mpsc::channel(WAITING_MAX);
        let hello = v1::Hello {
            peer_id: me,
            secret: options.secret.to_vec().into(),
            cursor,
            version: "hostile".into(),
            restarted: true,
            ..Default::default()
        };
        let hostile = Self {
            options,
            me,
            hub,
            cursor,
            newest: 0,
            held: BTreeMap::new(),
            kept_back: BTreeMap::new(),
            has_tried: false,
            saw_planted: false,
            row_lies: 0,
        };
        hostile.say(Kind::Hello(hello)).await.map_err(|_| Status::cancelled("the stream is gone"))?;
        let outbound = received(outbound);
        let inbound = client.work(outbound).await?.into_inner();
        Ok((hostile, inbound))
    }

    async fn say(&self, kind: Kind) -> Result<()> {
        self.hub.send(v1::PeerToHub { kind: Some(kind) }).await.ok().context("the hub takes nothing more")
    }

    /// Until the stream ends; why it did.
    async fn work(
        &mut self,
        mut inbound: Streaming<v1::HubToPeer>,
        tell: &mut impl FnMut(Event),
    ) -> Result<String> {
        let mut heartbeat = interval(HEARTBEAT);
        loop {
            let message = tokio::select! {
                message = inbound.message() => message,
                _ = heartbeat.tick() => {
                    let status = v1::PeerStatus { cursor: self.cursor, ..Default::default() };
                    // A stream that is gone says so when it is read.
                    let _ = self.say(Kind::Status(status)).await;
                    continue;
                }
            };
            match message {
                Ok(Some(v1::HubToPeer { kind: Some(FromHub::GoAway(away)) })) => return Ok(away.reason),
                Ok(Some(v1::HubToPeer { kind: Some(kind) })) => self.hear(kind, tell).await?,
                Ok(Some(_)) => bail!("a message without content"),
                Ok(None) => return Ok("the hub closed the stream".into()),
                Err(status) => return Ok(status.message().to_owned()),
            }
        }
    }

    async fn hear(&mut self, kind: FromHub, tell: &mut impl FnMut(Event)) -> Result<()> {
        match kind {
            FromHub::Welcome(welcome) => {
                tell(Event::Connected);
                self.newest = welcome.newest;
                let (attempt, victim) = (self.options.attempt, self.options.victim);
                let unasked = lies::unasked(attempt, victim, self.newest);
                let is_any = !unasked.is_empty();
                for kind in unasked {
                    // What the hub thinks of it is heard as the stream's end.
                    let _ = self.say(kind).await;
                }
                if is_any {
                    tell(Event::Tried { what: attempt.name() });
                }
            }
            FromHub::Forum(forum) => {
                if let Some(assignment) = &forum.assignment {
                    self.assigned(forum.forum_id, assignment);
                }
                for task in forum.open_tasks {
                    self.record(v1::Record::decode(task)?, tell).await?;
                }
            }
            FromHub::Records(batch) => {
                for bytes in batch.records {
                    self.saw_planted |= bytes.windows(PLANTED.len()).any(|part| part == PLANTED.as_bytes());
                    self.record(v1::Record::decode(bytes)?, tell).await?;
                }
                self.cursor = self.cursor.max(batch.through);
            }
            FromHub::Rows(request) => self.rows(&request, tell).await?,
            FromHub::Verdict(verdict) => {
                let code = verdict.rejection.map(|rejection| rejection.code().as_str_name().to_owned());
                tell(Event::Verdict { code: code.unwrap_or_default() });
            }
            FromHub::Heartbeat(_) | FromHub::GoAway(_) | FromHub::Export(_) | FromHub::ContentKept(_) => {}
        }
        Ok(())
    }

    fn assigned(&mut self, forum: u32, assignment: &v1::Assignment) {
        let held = self.held.entry(forum);
        let held = held.or_insert_with(|| Held { epoch: 0, primary: 0, rows: ForumRows::new() });
        (held.epoch, held.primary) = (assignment.epoch, assignment.primary);
    }

    async fn record(&mut self, record: v1::Record, tell: &mut impl FnMut(Event)) -> Result<()> {
        match &record.body {
            Some(record::Body::Assignment(assignment)) => self.assigned(record.forum_id, assignment),
            Some(record::Body::Facts(closing)) => {
                let facts = v1::Facts::decode(closing.facts.clone())?;
                if let Some(held) = self.held.get_mut(&record.forum_id) {
                    held.rows.apply(&facts, record.id);
                }
                let Some(task) = closing.task_id.filter(|_| record.forum_id != 0) else { return Ok(()) };
                tell(Event::Closed { by: closing.peer_id, planted: self.saw_planted });
                if let Some(late) =
                    self.kept_back.remove(&task).filter(|_| self.options.attempt == Attempt::Late)
                {
                    tell(Event::Tried { what: "an answer that comes late".into() });
                    self.say(Kind::Answer(late)).await?;
                }
            }
            Some(record::Body::Task(task)) => self.execute(&record, task, tell).await?,
            Some(record::Body::Closed(closed)) => drop(self.held.remove(&closed.forum_id)),
            Some(record::Body::Audit(_)) | None => {}
        }
        Ok(())
    }

    /// Answers a task as it has come to, if it is its own, or is to be anybody's.
    async fn execute(
        &mut self,
        record: &v1::Record,
        task: &v1::Task,
        tell: &mut impl FnMut(Event),
    ) -> Result<()> {
        let Some(held) = self.held.get(&record.forum_id) else { return Ok(()) };
        let is_own = held.primary == self.me;
        let executed = held.rows.execute(record, task);
        let truth = v1::Answer {
            task_id: record.id,
            forum_id: record.forum_id,
            epoch: held.epoch,
            receipt: Some(executed.receipt),
            facts: v1::Facts { facts: executed.facts }.encode_to_vec().into(),
            session: executed.session,
        };
        let attempt = self.options.attempt;
        let said = match attempt {
            Attempt::Late => {
                self.kept_back.insert(record.id, truth);
                return Ok(());
            }
            // While it is the primary it keeps silent, which costs it the place.
            Attempt::NotPrimary if is_own => return Ok(()),
            Attempt::NotPrimary => vec![truth],
            _ if !is_own => return Ok(()),
            Attempt::Twice => vec![truth.clone(), truth],
            Attempt::StaleEpoch => {
                vec![v1::Answer { epoch: truth.epoch.saturating_sub(1), ..truth.clone() }, truth]
            }
            Attempt::PlantedSession if self.has_tried => vec![truth],
            attempt => vec![lies::twist(attempt, self.options.victim, &truth).unwrap_or(truth)],
        };
        self.has_tried = true;
        tell(Event::Tried { what: attempt.name() });
        for answer in said {
            // What the hub thinks of it is heard as a verdict, or the stream's end.
            let _ = self.say(Kind::Answer(answer)).await;
        }
        Ok(())
    }

    async fn rows(&mut self, request: &v1::RowsRequest, tell: &mut impl FnMut(Event)) -> Result<()> {
        let known = of_forum(request).and_then(|asked| Some((asked, self.held.get(&asked.forum_id)?)));
        let Some((asked, held)) = known.filter(|_| self.cursor >= request.fence) else {
            let refusal = v1::RowsReply { id: request.id, refused: true, ..Default::default() };
            return self.say(Kind::Rows(refusal)).await;
        };
        let lie = match self.options.attempt {
            Attempt::Rows => RowLie::IMPOSSIBLE[self.row_lies % RowLie::IMPOSSIBLE.len()],
            Attempt::ScriptRows => RowLie::Script,
            _ => RowLie::None,
        };
        let reply = lie.tell(held.rows.answer(asked, self.cursor), self.options.victim);
        self.row_lies += 1;
        tell(Event::Asked { lie });
        self.say(Kind::Rows(v1::RowsReply { id: request.id, ..reply })).await
    }
}

fn received<T: Send + 'static>(mut rx: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send + 'static {
    futures::stream::poll_fn(move |cx| rx.poll_recv(cx))
}

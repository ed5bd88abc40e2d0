//! One work stream, from the greeting to its end: a single loop that owns the driver and selects over the hub,
//! the clock and the disk. Never dials and never decides what to do after the end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use loop_proto::{
    content::ContentHash,
    ids::{ForumId, TaskId},
    v1::{self, hub_to_peer, peer_to_hub},
};
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    decode,
    driver::{DriveError, Effect},
    giving,
    link::{Quoted, WorkStream},
    outbox::Outbox,
    peer::Peer,
    rows::Reads,
    seeding::{ORDERS_MAX, Report, Result as Seeded},
    sizes,
    timers::{Due, Later, Timers},
};
use crate::{
    backend::Digest,
    config::HubAddr,
    replica::{Input, Violation},
};

/// How long the hub is given, on shutdown, to take what is on its way to it.
const FAREWELL: Duration = Duration::from_millis(500);

/// How a work stream ended.
#[derive(Debug)]
pub enum Ended {
    /// We were asked to stop.
    Shutdown,
    /// The hub asked us to go elsewhere.
    GoAway(String),
    /// This hub cannot be worked with as things are; another one, or this one a little later.
    Elsewhere(String),
    /// Anything else that a new connection may heal.
    Broken(String),
    /// The process cannot go on.
    Backend(String),
}

type Step = Result<(), Ended>;

/// One connection's state.
pub struct Worker<'a> {
    peer: &'a mut Peer,
    hub: HubAddr,
    outbox: Outbox,
    reads: Reads,
    timers: Timers,
    durable: watch::Receiver<u64>,
    welcome: v1::Welcome,
    cursor: u64,
    disk_bytes: u64,
    memory_bytes: u64,
    /// Whether records have come: the stream works.
    pub fed: bool,
    /// The hubs there are now, if they have changed since the greeting.
    pub newer_hubs: Option<Vec<String>>,
}

impl<'a> Worker<'a> {
    /// Takes over a greeted stream that began from `cursor`.
    pub fn new(peer: &'a mut Peer, hub: &HubAddr, stream: &WorkStream, cursor: u64) -> Self {
        let reads = Reads::new(peer.reader.clone(), stream.outbox.clone());
        let heartbeat = Duration::from_millis(u64::from(stream.welcome.heartbeat_ms));
        Self {
            hub: hub.clone(),
            outbox: stream.outbox.clone(),
            reads,
            timers: Timers::new(heartbeat, Instant::now()),
            durable: peer.backend.durable_changed(),
            welcome: stream.welcome.clone(),
            cursor,
            disk_bytes: 0,
            memory_bytes: 0,
            fed: false,
            newer_hubs: None,
            peer,
        }
    }

    /// Works until the stream ends.
    pub async fn run(
        &mut self,
        stream: WorkStream,
        broken: &mut mpsc::Receiver<String>,
        shutdown: &CancellationToken,
    ) -> Ended {
        let WorkStream { mut inbound, outbox, .. } = stream;
        drop(outbox);
        let begins = Input::Connected { cursor: self.cursor, newest: self.welcome.newest };
        let begun = match self.push(begins).await {
            Ok(()) => self.report_again().await,
            Err(ended) => Err(ended),
        };
        let mut ended = match begun {
            Ok(()) => self.select(&mut inbound, broken, shutdown).await,
            Err(ended) => ended,
        };
        // The feed is over for the core, whatever ended it.
        if let Err(error) = self.peer.driver.push(Input::Disconnected) {
            tracing::error!(%error, "the core refused a disconnect");
        }
        while let Ok(Some(_)) = self.peer.driver.next() {}
        if matches!(ended, Ended::Shutdown) {
            ended = self.farewell(inbound).await;
        }
        ended
    }

    async fn select(
        &mut self,
        inbound: &mut tonic::Streaming<v1::HubToPeer>,
        broken: &mut mpsc::Receiver<String>,
        shutdown: &CancellationToken,
    ) -> Ended {
        loop {
            let wake = self.reads.deadline().map_or(self.timers.next(), |at| at.min(self.timers.next()));
            // In this order, and never at random: a simulation must be able to repeat it. Those that are rarely ready
            // come first, so that a busy hub cannot starve them.
            let step = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ended::Shutdown,
                Some(error) = broken.recv() => return Ended::Backend(error),
                () = tokio::time::sleep_until(wake) => self.on_clock().await,
                Ok(()) = self.durable.changed(), if !self.timers.status_pending() => {
                    self.timers.cursor_moved(Instant::now());
                    Ok(())
                }
                Some(report) = self.peer.reports.recv() => self.on_report(report).await,
                Some(report) = self.peer.audits.1.recv() => {
                    self.peer.reported.note(report.clone(), Instant::now());
                    self.send(peer_to_hub::Kind::Audit(report)).await
                }
                message = inbound.message() => match message {
                    Ok(Some(message)) => self.on_message(message).await,
                    Ok(None) => return Ended::Broken("the hub closed the stream".into()),
                    Err(status) => return Ended::Broken(Quoted(status.message()).to_string()),
                },
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn on_message(&mut self, message: v1::HubToPeer) -> Step {
        self.timers.heard(Instant::now());
        match message.kind {
            Some(hub_to_peer::Kind::Records(batch)) => {
                let (entries, through) = decode::batch(&batch).map_err(broken)?;
                self.fed = true;
                self.push(Input::Records { entries, through }).await?;
                self.peer.giving.applied(self.peer.driver.replica().applied());
                let refused = self.reads.release(self.peer.driver.replica());
                self.reply(refused).await
            }
            Some(hub_to_peer::Kind::Rows(asked)) => {
                let bytes = asked.encoded_len();
                let read = decode::read(asked).map_err(broken)?;
                let refused = self.reads.accept(read, bytes, self.peer.driver.replica());
                self.reply(refused).await
            }
            Some(hub_to_peer::Kind::Forum(state)) => {
                let snapshot = decode::forum_state(state).map_err(broken)?;
                self.push(Input::Forum(snapshot)).await
            }
            Some(hub_to_peer::Kind::Verdict(verdict)) => {
                let (forum, task, refusal) = decode::verdict(&verdict).map_err(broken)?;
                tracing::debug!(%forum, %task, ?refusal, "an answer was not taken");
                self.push(Input::Refused { forum, task, refusal }).await
            }
            Some(hub_to_peer::Kind::GoAway(away)) => Err(Ended::GoAway(Quoted(&away.reason).to_string())),
            Some(hub_to_peer::Kind::Welcome(_)) => Err(broken(decode::Malformed("a second welcome"))),
            Some(hub_to_peer::Kind::Heartbeat(heartbeat)) => {
                if !heartbeat.hubs.is_empty() {
                    self.newer_hubs = Some(heartbeat.hubs);
                }
                Ok(())
            }
            Some(hub_to_peer::Kind::Export(asked)) => {
                self.give(asked).await;
                Ok(())
            }
            Some(hub_to_peer::Kind::ContentKept(kept)) => {
                self.let_content_go(decode::content_kept(&kept).map_err(broken)?);
                Ok(())
            }
            // Unknown kinds are a newer hub's.
            None => Ok(()),
        }
    }

    async fn on_clock(&mut self) -> Step {
        let now = Instant::now();
        while let Some(due) = self.timers.due(now) {
            match due {
                Due::Silence => {
                    let ms = self.timers.patience().as_millis();
                    return Err(Ended::Broken(format!("the hub was silent for {ms} ms")));
                }
                Due::Heartbeat => {
                    self.disk_bytes = self.disk_bytes_now();
                    self.memory_bytes = (self.peer.courier.io.memory_bytes)();
                    self.peer.giving.expire(now);
                    sizes::tell(self.peer, &self.outbox, &self.reads);
                    self.send_status().await?;
                }
                Due::Status => self.send_status().await?,
                Due::Tick => self.push(Input::Tick).await?,
                Due::Later(Later::Retry(forum)) => self.push(Input::RetryDue(forum)).await?,
                Due::Later(Later::Resend(forum)) => self.push(Input::ResendDue(forum)).await?,
            }
        }
        let late = self.reads.expire(now);
        self.reply(late).await
    }

    /// Gives the core an input and carries out what follows, sending each answer before the next execution.
    async fn push(&mut self, input: Input) -> Step {
        self.peer.driver.push(input).map_err(|error| drive_error(error.into()))?;
        while let Some(effect) = self.peer.driver.next().map_err(drive_error)? {
            match effect {
                Effect::Send(answer) => {
                    self.peer.has_answered = true;
                    self.send(peer_to_hub::Kind::Answer(*answer)).await?;
                }
                Effect::RetryLater { forum, attempt } => {
                    self.timers.put_off(Later::Retry(forum), attempt, Instant::now());
                }
                Effect::ResendLater { forum, attempt } => {
                    self.timers.put_off(Later::Resend(forum), attempt, Instant::now());
                }
                Effect::Invited { forum, invitation } => {
                    let refused = self.refuse_invitation(forum);
                    self.reply_to_invitation(forum, invitation, refused).await?;
                }
                Effect::Refuse { forum, invitation } => {
                    let missed = Some(v1::RejectReason::BadCheckpoint);
                    self.reply_to_invitation(forum, invitation, missed).await?;
                }
                Effect::Lost(forum) => return self.lost(forum),
                Effect::Seeded(seeded) => self.send(peer_to_hub::Kind::Seeded(seeded)).await?,
                Effect::Audit { forum, record, digest } => self.report_digest(forum, record, digest),
            }
        }
        Ok(())
    }

    /// Told once per process: if nobody else has the forum there is nothing the hubs could give back.
    fn lost(&mut self, forum: ForumId) -> Step {
        if std::mem::replace(&mut self.peer.has_lost, true) {
            return Ok(());
        }
        tracing::error!(%forum, "the hubs count on a copy that is not here; getting all forums anew");
        match self.peer.mark.set() {
            Ok(()) => Err(Ended::Elsewhere("this peer's copies are to come again".into())),
            Err(error) => Err(Ended::Backend(format!("cannot note that this peer starts over: {error}"))),
        }
    }

    /// A digest takes as long as reading the forum does; it is reported on whatever connection there is then.
    fn report_digest(&self, forum: ForumId, record: TaskId, digest: oneshot::Receiver<Digest>) {
        let Ok(room) = self.peer.audits.0.clone().try_reserve_owned() else {
            return tracing::warn!(%forum, "too many audits at once; one is not answered");
        };
        tokio::spawn(async move {
            let Ok(digest) = digest.await else { return };
            room.send(v1::AuditReport {
                forum_id: forum.get(),
                record_id: record.get(),
                digest: digest.sha256.to_vec().into(),
                messages: digest.messages,
            });
        });
    }

    /// Whoever asked for these may not have heard them: the connection before may have broken with them.
    async fn report_again(&mut self) -> Step {
        for report in self.peer.reported.lately(Instant::now()) {
            self.send(peer_to_hub::Kind::Audit(report)).await?;
        }
        Ok(())
    }

    /// Why this peer does not take the forum; `None`: it does.
    fn refuse_invitation(&self, forum: ForumId) -> Option<v1::RejectReason> {
        let replica = self.peer.driver.replica();
        let courier = &self.peer.courier;
        let refused = courier.limits.refuse_forum(replica.forums_beside(forum), self.disk_bytes_now());
        let is_busy = replica.unseeded_beside(forum) >= ORDERS_MAX;
        refused.or_else(|| is_busy.then_some(v1::RejectReason::Busy))
    }

    async fn reply_to_invitation(
        &self,
        forum: ForumId,
        invitation: TaskId,
        refused: Option<v1::RejectReason>,
    ) -> Step {
        tracing::info!(%forum, %invitation, ?refused, "invited");
        let reply = v1::InvitationReply {
            forum_id: forum.get(),
            invitation_id: invitation.get(),
            accepted: refused.is_none(),
            reason: refused.unwrap_or_default().into(),
        };
        self.send(peer_to_hub::Kind::Invitation(reply)).await
    }

    async fn on_report(&mut self, report: Report) -> Step {
        let Report { forum, invitation, result } = report;
        match result {
            Seeded::Installed { cursor } => self.push(Input::Installed { forum, invitation, cursor }).await,
            Seeded::Refused(reason) => self.reply_to_invitation(forum, invitation, Some(reason)).await,
        }
    }

    /// Another peer needs a copy of what this one has.
    async fn give(&self, asked: v1::ExportRequest) {
        let forum = ForumId::new(asked.forum_id);
        if forum.is_some_and(|forum| self.peer.driver.replica().epoch_of(forum).is_none()) {
            return giving::refuse(&self.outbox, asked.relay_id, "does not serve this forum").await;
        }
        self.peer.giving.give(asked, self.hub.clone(), self.outbox.clone());
    }

    /// Published files that nobody counts on go from the disk, beside all else.
    fn let_content_go(&self, kept: BTreeSet<ContentHash>) {
        let (store, io) = (Arc::clone(&self.peer.reader.content().store), &self.peer.courier.io);
        let (blocking, now_ms) = (io.blocking, (io.wall_ms)());
        self.peer.courier.jobs.spawn(async move {
            match blocking.run(move || store.retain(&kept, now_ms)).await {
                Some(Ok(0)) | None => {}
                Some(Ok(files)) => tracing::info!(files, "files that are published no more are removed"),
                Some(Err(error)) => {
                    tracing::warn!(%error, "files that are published no more cannot be removed")
                }
            }
        });
    }

    fn disk_bytes_now(&self) -> u64 {
        self.peer.backend.disk_bytes().saturating_add(self.peer.reader.content().store.bytes())
    }

    async fn send_status(&mut self) -> Step {
        let replica = self.peer.driver.replica();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let status = v1::PeerStatus {
            cursor: self.peer.backend.durable_cursor(),
            executing: count(replica.unexecuted() + self.reads.count()),
            disk_bytes: self.disk_bytes,
            forums: count(replica.forum_count()),
            memory_bytes: self.memory_bytes,
            requests: self.peer.driver.answered() + self.peer.reader.answered(),
            seeding: self.peer.seeding.progress(),
        };
        self.send(peer_to_hub::Kind::Status(status)).await
    }

    async fn reply(&self, replies: impl IntoIterator<Item = v1::RowsReply>) -> Step {
        for reply in replies {
            self.send(peer_to_hub::Kind::Rows(reply)).await?;
        }
        Ok(())
    }

    /// A hub that takes nothing for as long as it may be silent is as good as gone.
    async fn send(&self, kind: peer_to_hub::Kind) -> Step {
        match timeout(self.timers.patience(), self.outbox.send(kind)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Broken("the stream to the hub is closed".into())),
            Err(_) => Err(Ended::Broken("the hub takes nothing any more".into())),
        }
    }

    /// Ends our side of the stream after all that is queued, and waits a moment for the hub to end its own.
    async fn farewell(&mut self, mut inbound: tonic::Streaming<v1::HubToPeer>) -> Ended {
        let (closed, nothing) = Outbox::new();
        drop(nothing);
        self.reads = Reads::new(self.peer.reader.clone(), closed.clone());
        self.outbox = closed;
        let drained = async { while let Ok(Some(_)) = inbound.message().await {} };
        let _ = timeout(FAREWELL, drained).await;
        Ended::Shutdown
    }
}

fn broken(error: decode::Malformed) -> Ended {
    Ended::Broken(error.to_string())
}

fn drive_error(error: DriveError) -> Ended {
    match error {
        DriveError::Violation(violation @ Violation::Lags { .. }) => Ended::Elsewhere(violation.to_string()),
        DriveError::Violation(violation) => Ended::Broken(format!("malformed feed: {violation}")),
        DriveError::Backend(error) => Ended::Backend(error),
    }
}

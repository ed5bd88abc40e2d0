//! Reads: which replica answers, how long it is waited for, and what its answer may change.
//!
//! A read goes to a replica that has applied everything acknowledged before it (the fence). Never writes to the log
//! itself but for what the replica says the read changed.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumId, PeerId},
    v1::{self, RejectionCode, command, outcome},
};
use metrics::{counter, histogram};
use prost::Message;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    gateway::{CallError, ClientCall},
    hub::Hub,
    peer_service::check_facts,
    presence::Whereabouts,
    proposer::ProposeError,
};

/// A replica that has not answered after this is overtaken by a second one, unless reads here usually take longer.
const HEDGE_AFTER: Duration = Duration::from_millis(50);
/// How often a read is made again because the session or the assignment had moved under it.
const ATTEMPTS_MAX: usize = 4;

/// What a read is made of, whoever answers it.
pub struct Read {
    /// The forum, if it names one that is open.
    pub forum: Option<ForumId>,
    /// An encoded request.
    pub request: bytes::Bytes,
    /// Whose session it carries.
    pub session_id: String,
    /// Set: render this write's answer again.
    pub receipt: Option<v1::Receipt>,
}

impl Read {
    /// A read of what a client asked.
    pub fn new(forum: Option<ForumId>, call: &ClientCall) -> Self {
        Self {
            forum,
            request: call.request.encode_to_vec().into(),
            session_id: call.request.session_id.clone(),
            receipt: None,
        }
    }
}

/// Has `read` answered by a replica, at the latest at `deadline`.
pub async fn serve(hub: &Arc<Hub>, read: &Read, deadline: Instant) -> Result<v1::ResponseBody, CallError> {
    for _ in 0..ATTEMPTS_MAX {
        let (request, candidates) = prepare(hub, read, deadline).await?;
        if candidates.is_empty() {
            return Err(CallError::NoPeer);
        }
        let (peer, mut reply) = ask(hub, &request, candidates, deadline).await?;
        let Some(body) = reply.body.take() else { continue };
        if let Some(forum) = read.forum {
            hub.traffic.read(forum);
        }
        if changed_nothing(&reply) {
            return Ok(body);
        }
        match store(hub, peer, read, reply, deadline).await? {
            Stored::Committed => return Ok(body),
            Stored::Overtaken => counter!("loop_reads_repeated_total").increment(1),
        }
    }
    Err(CallError::Timeout)
}

/// Waits for what was acknowledged so far and looks up who can answer.
async fn prepare(
    hub: &Arc<Hub>,
    read: &Read,
    deadline: Instant,
) -> Result<(v1::ReadRequest, Vec<(PeerId, Whereabouts)>), CallError> {
    fresh(hub, deadline).await?;
    let fenced = !breakage::is_on(Breakage::UnfencedRead);
    let (request, holders) = hub.state.read(|state| {
        let forum = read.forum.and_then(|forum| state.forum(forum));
        let request = v1::ReadRequest {
            forum_id: forum.map_or(0, |forum| forum.id.get()),
            epoch: forum.map_or(0, |forum| forum.epoch.0),
            fence: forum.filter(|_| fenced).map_or(0, |forum| forum.newest_record),
            request: read.request.clone(),
            session: state.session(&read.session_id).cloned(),
            receipt: read.receipt.clone(),
            now_ms: hub.io.now_ms().max(state.now().0),
            ..v1::ReadRequest::default()
        };
        (request, forum.map(|forum| forum.serving().collect::<Vec<_>>()))
    });
    let candidates = match holders {
        Some(holders) => hub.presence.find_all(holders),
        None => hub.presence.everyone(),
    };
    Ok((request, candidates))
}

/// Waits until everything acknowledged before this call is applied here.
pub async fn fresh(hub: &Hub, deadline: Instant) -> Result<(), CallError> {
    let (asked_at, freshness) = (Instant::now(), &hub.health.freshness);
    let within = deadline.saturating_duration_since(asked_at);
    let index = hub.proposer.read_index(within).await.map_err(|_| CallError::NoLeader)?;
    freshness.led(asked_at);
    let applied = timeout_at(deadline, hub.state.wait_applied(index)).await;
    applied.map_err(|_| CallError::Timeout)?.map_err(|_| CallError::NoLeader)?;
    freshness.current(asked_at);
    Ok(())
}

/// Asks the better of two replicas chosen by chance, and a further one whenever an answer is overdue or lost.
async fn ask(
    hub: &Arc<Hub>,
    request: &v1::ReadRequest,
    mut candidates: Vec<(PeerId, Whereabouts)>,
    deadline: Instant,
) -> Result<(PeerId, v1::ReadReply), CallError> {
    let mut asked = FuturesUnordered::new();
    let mut overdue = Instant::now();
    loop {
        if !candidates.is_empty() && (asked.is_empty() || Instant::now() >= overdue) {
            let (peer, at) = take_better(hub, &mut candidates);
            overdue = Instant::now() + hedge_delay(&at);
            asked.push(ask_one(hub.clone(), peer, at, request.clone()));
        }
        if asked.is_empty() {
            return Err(CallError::NoPeer);
        }
        let wake = if candidates.is_empty() { deadline } else { overdue.min(deadline) };
        tokio::select! {
            Some((peer, reply)) = asked.next() => {
                if let Some(reply) = reply.filter(|reply| reply.body.is_some()) {
                    return Ok((peer, reply));
                }
                counter!("loop_reads_unanswered_total").increment(1);
                // Lost: nothing is won by waiting for the others before somebody else is asked.
                overdue = Instant::now();
            }
            () = sleep_until(wake) => {
                if Instant::now() >= deadline {
                    return Err(CallError::Timeout);
                }
                counter!("loop_reads_hedged_total").increment(1);
            }
        }
    }
}

/// Twice what a read takes there lately, so that about one in twenty is asked twice, and never at once.
fn hedge_delay(at: &Whereabouts) -> Duration {
    HEDGE_AFTER.max(Duration::from_micros(at.load() * 4)).min(Duration::from_millis(500))
}

/// Power of two choices: better than the best of all, which every hub would rush to at once.
fn take_better(hub: &Hub, candidates: &mut Vec<(PeerId, Whereabouts)>) -> (PeerId, Whereabouts) {
    let first = hub.io.random_below(candidates.len());
    let second = hub.io.random_below(candidates.len());
    let better = if candidates[second].1.load() < candidates[first].1.load() { second } else { first };
    candidates.swap_remove(better)
}

async fn ask_one(
    hub: Arc<Hub>,
    peer: PeerId,
    at: Whereabouts,
    request: v1::ReadRequest,
) -> (PeerId, Option<v1::ReadReply>) {
    let asked_at = Instant::now();
    let reply = match at {
        Whereabouts::Here(connection) => match connection.read(request) {
            Ok(pending) => {
                let reply = pending.reply().await.ok();
                connection.took(micros(asked_at));
                reply
            }
            Err(_) => None,
        },
        Whereabouts::There { hub: other, .. } => hub.links.read(other, peer.get(), request).await.ok(),
    };
    histogram!("loop_read_seconds").record(asked_at.elapsed().as_secs_f64());
    (peer, reply)
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

fn changed_nothing(reply: &v1::ReadReply) -> bool {
    reply.forum_facts.is_empty() && reply.directory_facts.is_empty() && reply.sessions.is_empty()
}

enum Stored {
    Committed,
    /// The session or the assignment has moved on: the read must be made again on what is there now.
    Overtaken,
}

/// Has what a read changed committed.
async fn store(
    hub: &Hub,
    peer: PeerId,
    read: &Read,
    reply: v1::ReadReply,
    deadline: Instant,
) -> Result<Stored, CallError> {
    let Some(forum) = read.forum.filter(|forum| forum.get() == reply.forum_id) else {
        tracing::warn!(%peer, "a read of no forum may not change anything");
        return Err(CallError::Timeout);
    };
    if let Err(reason) = check_facts(forum, &reply.forum_facts, &reply.directory_facts, &reply.sessions) {
        tracing::warn!(%peer, reason, "a reply to a read that breaks the rules");
        return Err(CallError::Timeout);
    }
    let facts = command::Body::StoreFacts(v1::StoreFacts {
        forum_id: reply.forum_id,
        peer_id: peer.get(),
        epoch: reply.epoch,
        forum_facts: reply.forum_facts,
        directory_facts: reply.directory_facts,
        sessions: reply.sessions,
    });
    let within = deadline.saturating_duration_since(Instant::now());
    let outcome = hub.proposer.propose(hub.new_request_id(), facts, within).await;
    match outcome.map_err(read_error)?.kind {
        Some(outcome::Kind::FactsStored(_)) => Ok(Stored::Committed),
        Some(outcome::Kind::Rejection(rejection)) => match rejection.code() {
            RejectionCode::StaleSession | RejectionCode::StaleEpoch | RejectionCode::NotAReplica => {
                Ok(Stored::Overtaken)
            }
            RejectionCode::Full => Err(CallError::Full("sessions or records")),
            code => {
                tracing::warn!(%peer, ?code, "what a read changed was refused");
                Err(CallError::Timeout)
            }
        },
        other => {
            tracing::error!(?other, "facts came to something else");
            Err(CallError::Timeout)
        }
    }
}

/// A read may always be made again, so nothing about it is indeterminate.
fn read_error(error: ProposeError) -> CallError {
    match error {
        ProposeError::NoLeader | ProposeError::Closed => CallError::NoLeader,
        ProposeError::Indeterminate => CallError::Timeout,
    }
}

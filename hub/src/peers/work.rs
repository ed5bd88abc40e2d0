//! One peer's work stream: greeting, what comes in, and its end.

use std::sync::Arc;

use futures::{StreamExt, future::join_all, stream::BoxStream};
use loop_atomjump::Rule;
use loop_net::queue::Queue;
use loop_proto::{
    ids::PeerId,
    v1::{self, command, peer_to_hub},
};
use loop_raft_store::machine::HubState;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::{
    answers::{self, NotTaken},
    context::PeersContext,
    outgoing, reports,
    started_over::restart_replicas,
};
use crate::{
    breaches::note_breach,
    identity::{identify, refuse_unwanted},
    log::{PROPOSE_WITHIN, ProposeError},
    mesh::presence::{OUTGOING_KILOBYTES_MAX, PeerConnection},
};

/// A connection is broken after this many heartbeats of silence.
pub(super) const SILENT_HEARTBEATS_MAX: u32 = 4;
/// A peer that is ahead of its hub waits this many heartbeats before it has to try another.
const CATCH_UP_HEARTBEATS_MAX: u32 = 2;

/// Greets a peer and starts its stream.
pub(super) async fn accept(
    cx: PeersContext,
    mut incoming: Streaming<v1::PeerToHub>,
) -> Result<BoxStream<'static, Result<v1::HubToPeer, Status>>, Status> {
    let silence = cx.config.peer_heartbeat * SILENT_HEARTBEATS_MAX;
    let first = tokio::time::timeout(silence, incoming.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no Hello in time"))??;
    let Some(v1::PeerToHub { kind: Some(peer_to_hub::Kind::Hello(hello)) }) = first else {
        return Err(Status::invalid_argument("the first message of a work stream is Hello"));
    };
    let peer = identify(&cx.log, hello.peer_id, &hello.secret).await?;
    catch_up_with(&cx, hello.cursor).await?;
    let (tx, outgoing) = Queue::new(cx.config.peer_queue, OUTGOING_KILOBYTES_MAX);
    let (serial, limits) = (cx.mesh.presence.next_serial(), hello.limits.unwrap_or_default());
    let connection = PeerConnection::new(peer, serial, hello.cursor, limits, tx);
    let version: String = hello.version.chars().filter(|c| !c.is_control()).take(32).collect();
    tracing::info!(%peer, cursor = hello.cursor, version, "a peer has connected");
    cx.mesh.presence.arrived(connection.clone());
    // Removed or suspended in this moment? The event may have passed before this connection could be found.
    refuse_unwanted(&cx.log, peer).inspect_err(|_| {
        connection.gone.send_replace(true);
        cx.mesh.presence.left(&connection);
    })?;
    tokio::spawn({
        let (cx, connection) = (cx.clone(), connection.clone());
        async move {
            let ready = (!hello.started_over || restart_replicas(&cx, peer).await)
                && (!hello.restarted || void_earlier_answers(&cx, peer).await);
            if !ready {
                connection.gone.send_replace(true);
                return;
            }
            outgoing::run(cx, connection, hello.cursor).await;
        }
    });
    tokio::spawn(async move {
        let why = receive(&cx, &connection, incoming).await;
        connection.gone.send_replace(true);
        cx.mesh.presence.left(&connection);
        tracing::info!(%peer, why, "a peer's connection has ended");
    });
    Ok(outgoing.map(Ok).boxed())
}

/// Waits until this hub knows what a peer has, if it was only just started or is behind.
async fn catch_up_with(cx: &PeersContext, cursor: u64) -> Result<(), Status> {
    let deadline = Instant::now() + cx.config.peer_heartbeat * CATCH_UP_HEARTBEATS_MAX;
    let has_it = |state: &HubState| (cursor <= state.newest()).then_some(());
    let found = cx.log.find(deadline, has_it).await.map_err(|_| {
        Status::unavailable("this hub is behind and cannot ask the others at the moment: try another one")
    })?;
    found.ok_or_else(|| {
        let newest = cx.log.read(HubState::newest);
        Status::failed_precondition(format!(
            "cursor {cursor} lies above the log's newest record {newest}: this data is of another group of hubs"
        ))
    })
}

/// A restarted peer no longer knows what it had answered, and such an answer may still be on its way into the log: a
/// second execution must not mix with it. A new epoch refuses the old answers. `false`: not now, the peer comes again.
async fn void_earlier_answers(cx: &PeersContext, peer: PeerId) -> bool {
    let deadline = Instant::now() + PROPOSE_WITHIN;
    if cx.log.fresh(deadline).await.is_err() {
        return false;
    }
    let forums: Vec<(u32, u64)> = cx.log.read(|state| {
        let own = state.forums_of(peer).filter(|f| f.primary == peer && !f.open_tasks.is_empty());
        own.map(|forum| (forum.id.get(), forum.epoch.0)).collect()
    });
    let moves = forums.into_iter().map(|(forum_id, expected_epoch)| {
        let renew = v1::MovePrimary { forum_id, to_peer: peer.get(), expected_epoch };
        cx.log.propose(command::Body::MovePrimary(renew), PROPOSE_WITHIN)
    });
    // A refusal means that somebody else has raised the epoch, which serves as well.
    let settled = |moved: &Result<(), ProposeError>| matches!(moved, Ok(()) | Err(ProposeError::Rejected(_)));
    join_all(moves).await.iter().all(settled) && cx.log.fresh(deadline).await.is_ok()
}

/// Takes what the peer says until the stream ends; says why it ended.
async fn receive(
    cx: &PeersContext,
    connection: &Arc<PeerConnection>,
    mut incoming: Streaming<v1::PeerToHub>,
) -> &'static str {
    let silence = cx.config.peer_heartbeat * SILENT_HEARTBEATS_MAX;
    let mut gone = connection.gone.subscribe();
    loop {
        let message = tokio::select! {
            biased;
            () = cx.shutdown.cancelled() => return "this hub is shutting down",
            _ = gone.wait_for(|gone| *gone) => return "replaced by a newer one, or broken",
            message = tokio::time::timeout(silence, incoming.message()) => message,
        };
        let kind = match message {
            Ok(Ok(Some(v1::PeerToHub { kind: Some(kind) }))) => kind,
            Ok(Ok(Some(_))) => return "it sent a message this hub cannot read",
            Ok(Ok(None)) => return "the peer closed it",
            // The only length that is compared on this stream: an honest peer sends nothing that comes near it.
            Ok(Err(status)) if status.code() == Code::OutOfRange => {
                note_breach(&cx.log, connection.peer, Rule::Unreadable).await;
                return "it sent a message that is larger than any";
            }
            Ok(Err(_)) => return "it broke",
            Err(_) => return "the peer was silent",
        };
        if let Err(reason) = take(cx, connection, kind).await {
            tracing::warn!(peer = %connection.peer, %reason, "a message that cannot be taken");
            note_breach(&cx.log, connection.peer, reason.rule()).await;
            return "it sent a message that breaks the rules";
        }
    }
}

/// Takes one message. An error: the peer broke a rule that an honest one cannot break.
async fn take(
    cx: &PeersContext,
    connection: &Arc<PeerConnection>,
    kind: peer_to_hub::Kind,
) -> Result<(), NotTaken> {
    match kind {
        peer_to_hub::Kind::Hello(_) => return Err(NotTaken::Malformed("a second Hello")),
        peer_to_hub::Kind::Status(status) => {
            answers::is_in_the_log(cx, status.cursor).await?;
            connection.said(status);
        }
        peer_to_hub::Kind::Rows(reply) => connection.replied(reply),
        peer_to_hub::Kind::Answer(answer) => return answers::take(cx, connection, answer).await,
        peer_to_hub::Kind::Invitation(reply) => reports::answered(cx, connection, reply).await?,
        peer_to_hub::Kind::Seeded(seeded) => reports::seeded(cx, connection, seeded).await?,
        peer_to_hub::Kind::Audit(report) => reports::audited(cx, connection, report)?,
        peer_to_hub::Kind::ExportRefused(refused) => cx.transfer.relays.refused(connection.peer, &refused),
    }
    Ok(())
}

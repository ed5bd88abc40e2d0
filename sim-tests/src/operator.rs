//! What an operator asks of the hubs about forums that move. Asks the way hubctl does, through any hub that answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use loop_local::Who;
use loop_proto::v1::{InvitationInfo, InvitationStatus, PeerState};

use crate::{expect::eventually, system::System};

/// How long a move of a small forum may take on a machine that runs everything.
pub const MOVE_WITHIN: Duration = Duration::from_secs(60);

/// The number of a peer by its place in the system.
pub async fn peer_id(system: &System, who: Who) -> Result<u32> {
    let Who::Peer(at) = who else { anyhow::bail!("{who:?} is no peer") };
    let name = format!("peer-{}", at + 1);
    let peers = system.admin()?.peers().await?;
    let peer = peers.into_iter().find(|peer| peer.name == name).context("no such peer has joined")?;
    Ok(peer.peer_id)
}

/// The running peers that have no part in a forum.
pub async fn outsiders(system: &System, forum: &str) -> Result<Vec<Who>> {
    let holders = system.replicas(forum).await?;
    let peers = system.cluster.members().into_iter();
    let running = peers.filter(|member| matches!(member.who, Who::Peer(_)) && member.pid.is_some());
    Ok(running.map(|member| member.who).filter(|who| !holders.contains(who)).collect())
}

/// Asks for a forum to move; the invitation's number.
pub async fn start_move(system: &System, forum: &str, from: Who, to: Who) -> Result<u64> {
    let forum_id = system.forum(forum).await?.forum_id;
    let (from, to) = (peer_id(system, from).await?, peer_id(system, to).await?);
    Ok(system.admin()?.move_forum(forum_id, from, to).await?)
}

/// The invitation as the hubs know it.
pub async fn invitation(system: &System, id: u64) -> Result<InvitationInfo> {
    let all = system.admin()?.invitations(false, 1000).await?;
    all.into_iter()
        .find(|invitation| invitation.invitation_id == id)
        .context("the hubs do not know this invitation")
}

/// Waits until the invitation is over and the forum has no replica on its way or draining; how it ended.
pub async fn settled(system: &System, forum: &str, id: u64) -> InvitationStatus {
    eventually("settled", MOVE_WITHIN, || async {
        let info = invitation(system, id).await.map_err(|error| error.to_string())?;
        let status = info.status();
        let open = matches!(status, InvitationStatus::Waiting | InvitationStatus::Accepted);
        let assignment = system.forum(forum).await.map_err(|error| error.to_string())?.assignment;
        let assignment = assignment.ok_or("no assignment")?;
        let still = !assignment.joining.is_empty() || !assignment.draining.is_empty();
        if open || still {
            Err(format!("{status:?}: {assignment:?}, {}", info.waits_for))
        } else {
            Ok(status)
        }
    })
    .await
}

/// Fails unless all serving replicas have the same digest at one position of the log.
pub async fn verify(system: &System, forum: &str) -> Result<()> {
    let forum_id = system.forum(forum).await?.forum_id;
    let answer = system.admin()?.verify_forum(forum_id).await?;
    ensure!(answer.equal && !answer.replicas.is_empty(), "the replicas differ: {answer:?}");
    ensure!(
        answer.replicas.iter().all(|replica| replica.digest.len() == 32),
        "a digest is missing: {answer:?}"
    );
    Ok(())
}

/// Says what shall become of a peer.
pub async fn set_peer_state(system: &System, who: Who, state: PeerState) -> Result<()> {
    let id = peer_id(system, who).await?;
    Ok(system.admin()?.set_peer_state(id, state).await?)
}

/// Waits until a peer that no longer holds the forum has no row of it left.
pub async fn rows_are_gone(system: &System, peer: Who, forum: &str) {
    eventually("without the forum's rows", MOVE_WITHIN, || async {
        let rows = system.rows(peer, forum).map_err(|error| error.to_string())?;
        if rows.is_empty() { Ok(()) } else { Err(format!("{} rows", rows.len())) }
    })
    .await;
}

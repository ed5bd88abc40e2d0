//! The set of hubs: forming the group, entering one that runs, keeping up with changes, handing over the lead.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use loop_proto::v1::{self, admin_service_client::AdminServiceClient};
use loop_raft_store::{log_store::disk::Dir, raft_types::HubNode};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep, timeout};

use crate::{admin_service, changes, channel, group_secret::ShowSecret, hub::Hub, run::HubError};

/// The file beside the log of a hub that was taken out of its group.
const TAKEN_OUT: &str = "taken-out";
/// How long a hub that wants to enter waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often a hub asks whether the group goes on without it, and how long one answer may take.
const ASK_WHETHER_OUT: Duration = Duration::from_secs(2);
/// Longest wait for another hub to take over the lead when this one goes.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);

/// Forms the group if this hub is to and has no data, or asks to be taken into one.
pub async fn form_or_enter(hub: &Arc<Hub>) -> Result<(), HubError> {
    let group_error = |error: &dyn std::fmt::Display| HubError::Group(error.to_string());
    let is_new = !hub.raft.is_initialized().await.map_err(|error| group_error(&error))?;
    if is_new && hub.config.bootstrap {
        let members: BTreeMap<u64, HubNode> = hub
            .config
            .cluster
            .iter()
            .map(|(id, at)| (*id, HubNode { grpc_addr: at.grpc.clone(), http_addr: at.http.clone() }))
            .collect();
        // All first members may do this at once: with one and the same membership only one leader can come of it.
        if let Err(error) = hub.raft.initialize(members).await
            && !hub.raft.is_initialized().await.unwrap_or(false)
        {
            return Err(group_error(&error));
        }
        tracing::info!(hubs = hub.config.cluster.len(), "formed a new group");
    } else if let Some(join) = &hub.config.join {
        // With data, too: it may have gone down on its way in, and nobody makes it a voter unasked.
        tokio::spawn(enter(hub.clone(), join.clone()));
    } else if is_new {
        tracing::warn!("this hub has no data and is in no group: start it with --bootstrap or --join");
    }
    Ok(())
}

/// Whether nothing but asking makes this hub a voter. One whose log says that it is one waits to see that agreed or taken
/// back: asking would bring it in again where it was taken out meanwhile.
fn must_ask(hub: &Hub) -> bool {
    let metrics = hub.raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.membership().voter_ids().all(|id| id != hub.group.own_id())
}

/// Asks until it is a voter: first the hub it was pointed to, then whoever that one says leads.
async fn enter(hub: Arc<Hub>, pointed_to: String) {
    let mut at = pointed_to.clone();
    let own = hub.group.own_id();
    while !hub.shutdown.is_cancelled() && !changes::votes(hub.state.membership().membership(), own) {
        if !must_ask(&hub) {
            sleep(ASK_AGAIN).await;
            continue;
        }
        match ask(&hub, &at).await {
            Ok(()) => {
                tracing::info!("entered the group");
                return;
            }
            Err(status) => {
                let leader = status.message().strip_prefix("not-leader:").filter(|leader| !leader.is_empty());
                if leader.is_none() {
                    tracing::warn!(at, why = status.message(), "not in the group yet; asking again");
                }
                at = leader.map_or_else(|| pointed_to.clone(), ToOwned::to_owned);
            }
        }
        sleep(ASK_AGAIN).await;
    }
}

async fn ask(hub: &Hub, at: &str) -> Result<(), tonic::Status> {
    let channel = channel::connect_lazy(&hub.io, at)
        .map_err(|error| tonic::Status::invalid_argument(format!("--join {at}: {error}")))?;
    let request = v1::AddHubRequest { node: Some(hub.config.own_node()) };
    let request = admin_service::authorized(tonic::Request::new(request), hub.config.admin_token.as_ref());
    let channel = ShowSecret::new(hub.config.group_secret.as_ref()).on(channel);
    AdminServiceClient::new(channel).add_hub(request).await.map(drop)
}

/// Keeps the known hubs the same as Raft's membership, once there is one.
pub async fn follow(hub: Arc<Hub>) {
    let mut metrics = hub.raft.server_metrics();
    loop {
        let nodes: Vec<v1::HubNode> = metrics
            .borrow_watched()
            .membership_config
            .membership()
            .nodes()
            .map(|(id, node)| v1::HubNode {
                node_id: *id,
                grpc_addr: node.grpc_addr.clone(),
                http_addr: node.http_addr.clone(),
            })
            .collect();
        if !nodes.is_empty() {
            hub.group.replace(nodes);
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Notes beside a hub's log that it was taken out of its group, so that no restart brings it back.
pub fn note_taken_out(log_dir: &dyn Dir) {
    let note = || {
        let file = log_dir.create(TAKEN_OUT)?;
        file.write_at(b"Out of its group: this log is of no more use.\n", 0)?;
        file.sync_all()?;
        log_dir.sync()
    };
    if let Err(error) = note() {
        tracing::warn!(%error, "cannot note that this hub is out of its group: do not start it again");
    }
}

/// Whether the hub with the log in this folder was taken out of its group, as far as it has noticed.
pub fn is_noted_out(log_folder: &Path) -> bool {
    log_folder.join(TAKEN_OUT).exists()
}

/// An error if the hub with this log was taken out of its group before.
pub fn check_is_not_out(log_dir: &dyn Dir) -> io::Result<()> {
    match log_dir.list()?.iter().any(|name| name == TAKEN_OUT) {
        true => Err(io::Error::other(
            "this hub was taken out of its group and cannot come back: start a new one with an empty --data-dir, a \
             --node-id no hub has had, and --join",
        )),
        false => Ok(()),
    }
}

/// Resolves once this hub was taken out of the group. It must not keep the peers and browsers that are connected to it: nobody
/// tells it anything any more. Not for a hub that is on its way in, whose log begins with groups it was not in.
pub async fn taken_out(hub: &Hub) {
    let own = hub.group.own_id();
    let mut was_member = false;
    loop {
        sleep(ASK_WHETHER_OUT).await;
        let metrics = hub.raft.metrics().borrow_watched().clone();
        let is_member = metrics.membership_config.membership().get_node(&own).is_some();
        if was_member && !is_member {
            return;
        }
        was_member |= is_member;
        if !is_member || metrics.current_leader == Some(own) {
            continue;
        }
        // The entry that took it out may never have reached this hub: it follows a leader that has forgotten it.
        let known = metrics.last_log_index.unwrap_or(0);
        for other in hub.group.others().into_iter().map(|node| node.node_id) {
            let may_lead = metrics.current_leader.is_none_or(|leader| leader == other);
            if may_lead && goes_on_without(hub, other, known).await {
                return;
            }
        }
    }
}

/// Whether another hub leads, knows more than this one, and does not count it among the group.
async fn goes_on_without(hub: &Hub, other: u64, known: u64) -> bool {
    let Some(channel) = hub.group.channel(other) else { return false };
    let request = tonic::Request::new(v1::StatusRequest {});
    let request = admin_service::authorized(request, hub.config.admin_token.as_ref());
    let mut client = AdminServiceClient::new(channel);
    let Ok(Ok(status)) = timeout(ASK_WHETHER_OUT, client.status(request)).await else { return false };
    let status = status.into_inner();
    let mut members = status.hubs.iter().filter_map(|hub| hub.node.as_ref());
    status.leader == Some(other)
        && status.applied_index > known
        && members.all(|node| node.node_id != hub.group.own_id())
}

/// Gives the lead to another voter, so that the others need not find out by silence.
pub async fn hand_over(hub: &Hub) {
    if !hub.raft.is_leader() {
        return;
    }
    let metrics = hub.raft.metrics().borrow_watched().clone();
    let own = hub.group.own_id();
    let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
    let matched = metrics.replication.unwrap_or_default();
    let best =
        matched.into_iter().filter(|(id, _)| *id != own && voters.contains(id)).max_by_key(|(_, log)| *log);
    let Some((successor, _)) = best else { return };
    tracing::info!(successor, "handing over the lead");
    if let Err(error) = hub.raft.trigger().transfer_leader(successor).await {
        tracing::warn!(%error, "could not hand over the lead");
        return;
    }
    let until = Instant::now() + HAND_OVER_WITHIN;
    while hub.raft.is_leader() && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
}

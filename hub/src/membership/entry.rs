//! The set of hubs: forming the group, entering one that runs, keeping up with changes, handing over the lead.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use loop_net::{admin_token::authorized, channel, group_secret::ShowSecret, io::Io};
use loop_proto::v1::{self, admin_service_client::AdminServiceClient};
use loop_raft_store::raft_types::HubNode;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::changes::votes;
use crate::{config::HubConfig, error::HubError, group::Group, log::AgreedLog, raft::HubRaftNode};

/// How long a hub that wants to enter waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often a hub asks whether the group goes on without it, and how long one answer may take.
const ASK_WHETHER_OUT: Duration = Duration::from_secs(2);
/// Longest wait for another hub to take over the lead when this one goes.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);

/// One hub's part in its group. Cheap to clone.
#[derive(Clone)]
pub struct Membership {
    /// Whether it forms a group, or asks to be taken into one.
    pub config: Arc<HubConfig>,
    /// The outside.
    pub io: Io,
    /// The hubs it knows.
    pub group: Arc<Group>,
    /// Its Raft node.
    pub raft: HubRaftNode,
    /// What is agreed.
    pub log: AgreedLog,
    /// Ends the asking.
    pub shutdown: CancellationToken,
}

impl Membership {
    /// Forms the group if this hub is to and has no data, or asks to be taken into one.
    pub async fn form_or_enter(&self) -> Result<(), HubError> {
        let group_error = |error: &dyn std::fmt::Display| HubError::Group(error.to_string());
        let is_new = !self.raft.is_initialized().await.map_err(|error| group_error(&error))?;
        if is_new && self.config.bootstrap {
            let members: BTreeMap<u64, HubNode> = self
                .config
                .cluster
                .iter()
                .map(|(id, at)| (*id, HubNode { grpc_addr: at.grpc.clone(), http_addr: at.http.clone() }))
                .collect();
            // All first members may do this at once: with one and the same membership only one leader can come of it.
            if let Err(error) = self.raft.initialize(members).await
                && !self.raft.is_initialized().await.unwrap_or(false)
            {
                return Err(group_error(&error));
            }
            tracing::info!(hubs = self.config.cluster.len(), "formed a new group");
        } else if let Some(join) = &self.config.join {
            // With data, too: it may have gone down on its way in, and nobody makes it a voter unasked.
            let (own, join) = (self.clone(), join.clone());
            tokio::spawn(async move { own.enter(join).await });
        } else if is_new {
            tracing::warn!("this hub has no data and is in no group: start it with --bootstrap or --join");
        }
        Ok(())
    }

    /// Whether nothing but asking makes this hub a voter. One whose log says that it is one waits to see that agreed or taken
    /// back: asking would bring it in again where it was taken out meanwhile.
    fn must_ask(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().all(|id| id != self.group.own_id())
    }

    /// Asks until it is a voter: first the hub it was pointed to, then whoever that one says leads.
    async fn enter(self, pointed_to: String) {
        let mut at = pointed_to.clone();
        let own = self.group.own_id();
        while !self.shutdown.is_cancelled() && !votes(self.log.state().membership().membership(), own) {
            if !self.must_ask() {
                sleep(ASK_AGAIN).await;
                continue;
            }
            match self.ask(&at).await {
                Ok(()) => {
                    tracing::info!("entered the group");
                    return;
                }
                Err(status) => {
                    let leader =
                        status.message().strip_prefix("not-leader:").filter(|leader| !leader.is_empty());
                    if leader.is_none() {
                        tracing::warn!(at, why = status.message(), "not in the group yet; asking again");
                    }
                    at = leader.map_or_else(|| pointed_to.clone(), ToOwned::to_owned);
                }
            }
            sleep(ASK_AGAIN).await;
        }
    }

    async fn ask(&self, at: &str) -> Result<(), tonic::Status> {
        let channel = channel::connect_lazy(&self.io, at)
            .map_err(|error| tonic::Status::invalid_argument(format!("--join {at}: {error}")))?;
        let request = v1::AddHubRequest { node: Some(self.config.own_node()) };
        let request = authorized(tonic::Request::new(request), self.config.admin_token.as_ref());
        let channel = ShowSecret::new(self.config.group_secret.as_ref()).on(channel);
        AdminServiceClient::new(channel).add_hub(request).await.map(drop)
    }

    /// Keeps the known hubs the same as Raft's membership, once there is one.
    pub async fn follow(self) {
        let mut metrics = self.raft.server_metrics();
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
                self.group.replace(nodes);
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves once this hub was taken out of the group. It must not keep the peers and browsers that are connected to it: nobody
    /// tells it anything any more. Not for a hub that is on its way in, whose log begins with groups it was not in.
    pub async fn taken_out(&self) {
        let own = self.group.own_id();
        let mut was_member = false;
        loop {
            sleep(ASK_WHETHER_OUT).await;
            let metrics = self.raft.metrics().borrow_watched().clone();
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
            for other in self.group.others().into_iter().map(|node| node.node_id) {
                let may_lead = metrics.current_leader.is_none_or(|leader| leader == other);
                if may_lead && self.goes_on_without(other, known).await {
                    return;
                }
            }
        }
    }

    /// Whether another hub leads, knows more than this one, and does not count it among the group.
    async fn goes_on_without(&self, other: u64, known: u64) -> bool {
        let Some(channel) = self.group.channel(other) else { return false };
        let request = tonic::Request::new(v1::StatusRequest {});
        let request = authorized(request, self.config.admin_token.as_ref());
        let mut client = AdminServiceClient::new(channel);
        let Ok(Ok(status)) = timeout(ASK_WHETHER_OUT, client.status(request)).await else { return false };
        let status = status.into_inner();
        let mut members = status.hubs.iter().filter_map(|hub| hub.node.as_ref());
        status.leader == Some(other)
            && status.applied_index > known
            && members.all(|node| node.node_id != self.group.own_id())
    }
}

/// Gives the lead to another voter, so that the others need not find out by silence.
pub async fn hand_over(raft: &HubRaftNode, own: u64) {
    if !raft.is_leader() {
        return;
    }
    let metrics = raft.metrics().borrow_watched().clone();
    let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
    let matched = metrics.replication.unwrap_or_default();
    let best =
        matched.into_iter().filter(|(id, _)| *id != own && voters.contains(id)).max_by_key(|(_, log)| *log);
    let Some((successor, _)) = best else { return };
    tracing::info!(successor, "handing over the lead");
    if let Err(error) = raft.trigger().transfer_leader(successor).await {
        tracing::warn!(%error, "could not hand over the lead");
        return;
    }
    let until = Instant::now() + HAND_OVER_WITHIN;
    while raft.is_leader() && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
}

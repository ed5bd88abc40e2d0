//! Changes of the set of hubs: one at a time, and each to its end.
//!
//! Raft takes two steps: first the old group and the new one must both agree, then the new one alone. A leader that is lost
//! between them leaves a group that depends on both, so whoever leads next takes the second step.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use loop_proto::breakage::{self, Breakage};
use loop_raft_store::raft_types::{HubNode, HubRaft};
use openraft::{
    ChangeMembers, Membership, ServerState,
    async_runtime::watch::WatchReceiver,
    error::{ClientWriteError, RaftError},
    metrics::RaftServerMetrics,
};
use tokio::{sync::Mutex, time::sleep};

use crate::raft::HubRaftNode;

/// How long after a failure the second step is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The way to change the group, for one at a time.
#[derive(Clone, Default)]
pub struct Changes(Arc<Mutex<()>>);

/// Why the group could not be changed.
pub type ChangeError = RaftError<HubRaft, ClientWriteError<HubRaft>>;

impl Changes {
    /// Takes both steps of a change. Hubs that vote no more leave the group.
    pub async fn make(
        &self,
        raft: &HubRaftNode,
        change: ChangeMembers<u64, HubNode>,
    ) -> Result<(), ChangeError> {
        let _alone = self.0.lock().await;
        raft.change_membership(change, false).await.map(drop)
    }

    /// Takes the second step of a change, if only the first one is taken and nobody here is about to.
    async fn finish(&self, raft: &HubRaftNode) -> Result<(), ChangeError> {
        let _alone = self.0.lock().await;
        let metrics = raft.server_metrics().borrow_watched().clone();
        let Some(voters) = left_half_done(&metrics) else { return Ok(()) };
        tracing::info!(?voters, "a change of the group was left half done: seeing it through");
        raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false).await.map(drop)
    }
}

/// Takes the second step of every change that another leader has begun, while this hub leads.
pub async fn see_through(changes: Changes, raft: HubRaftNode) {
    let mut metrics = raft.server_metrics();
    loop {
        if let Err(error) = changes.finish(&raft).await {
            tracing::warn!(%error, "the change of the group is still half done");
            sleep(AGAIN_AFTER).await;
        } else if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// The hubs that are to vote once the change is done whose first step alone is agreed, if this hub leads.
fn left_half_done(metrics: &RaftServerMetrics<HubRaft>) -> Option<BTreeSet<u64>> {
    if breakage::is_on(Breakage::ChangeHalfDone) {
        return None;
    }
    let agreed = &metrics.committed_membership_config;
    let is_agreed = agreed.log_id() == metrics.membership_config.log_id();
    match agreed.membership().get_joint_config().as_slice() {
        [_, .., after] if is_agreed && metrics.state == ServerState::Leader => Some(after.clone()),
        _ => None,
    }
}

/// Whether a hub's vote counts, by what is agreed. Until a change is, the group stands and falls with the hubs it had: an
/// operator who took a newcomer for a voter could switch off one too many.
pub fn votes(agreed: &Membership<u64, HubNode>, hub: u64) -> bool {
    let configs = agreed.get_joint_config();
    !configs.is_empty() && configs.iter().all(|voters| voters.contains(&hub))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A group of two that became one of three lost a hub in between, and with it the majority of the two.
    #[test]
    fn a_hub_on_its_way_in_does_not_vote_before_all_agree() {
        let hubs = |ids: &[u64]| ids.iter().map(|id| (*id, HubNode::default())).collect::<BTreeMap<_, _>>();
        let group =
            |configs: Vec<BTreeSet<u64>>| Membership::<u64, HubNode>::new(configs, hubs(&[1, 3, 4])).unwrap();
        let between = group(vec![BTreeSet::from([1, 3]), BTreeSet::from([1, 3, 4])]);
        assert_eq!([1, 3, 4].map(|hub| votes(&between, hub)), [true, true, false]);
        let after = group(vec![BTreeSet::from([1, 3, 4])]);
        assert_eq!([1, 2, 4].map(|hub| votes(&after, hub)), [true, false, true]);
        assert!(!votes(&Membership::default(), 1), "nothing is agreed yet");
    }
}

//! The plan: every rule in its turn.

use loop_proto::ids::{ForumId, PeerId};
use loop_raft_store::machine::HubState;

use super::{blocked::Blocked, load::Load, planner::Planner, policy::Policy, step::Step, view::View};

/// What should be done, and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is due, most urgent first.
    pub steps: Vec<Step>,
    /// What is due and cannot be done.
    pub blocked: Blocked,
    /// Copies that serve, are live and have not been compared with another's.
    pub unconfirmed: Vec<(ForumId, PeerId)>,
}

/// What should be done now, most urgent first. Takes what is under way as done.
pub fn plan(state: &HubState, load: &Load, policy: &Policy) -> Plan {
    let view = View::new(state, load, policy);
    let unconfirmed = view.unconfirmed();
    let mut planner = Planner { view, policy: *policy, steps: Vec::new(), blocked: Blocked::default() };
    planner.take_back();
    planner.make_room();
    let saving = planner.double_last_copies();
    planner.meet_needs();
    planner.let_go_of_replaced();
    if !saving {
        planner.relieve_busy();
    }
    planner.remove_excess();
    if !saving {
        planner.even_replicas();
        planner.try_newcomers();
    }
    planner.steady_primaries();
    planner.even_primaries();
    Plan { steps: planner.steps, blocked: planner.blocked, unconfirmed }
}

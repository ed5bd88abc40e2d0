//! How much may happen, and when.

use loop_raft_store::machine::HubState;

use super::standing::Patience;

/// How much may happen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Replicas of a forum for which nothing else was said.
    pub replicas: usize,
    /// Replicas of a busy one.
    pub replicas_max: usize,
    /// A peer that is away longer is lost, milliseconds, if nothing is known of its habits.
    pub grace_ms: u64,
    /// How long a peer must have been there before its copies count, milliseconds.
    pub probation_ms: u64,
    /// How long a replaced copy is kept once its successor's was confirmed, milliseconds.
    pub copy_grace_ms: u64,
    /// Invitations under way at once.
    pub migrations_max: usize,
    /// Of them, to one peer.
    pub per_target_max: usize,
    /// Of them, from one peer.
    pub per_source_max: usize,
    /// Primaries moved by one plan for evenness.
    pub primary_moves_max: usize,
    /// Steps of one plan, those held back included.
    pub steps_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            replicas: 3,
            replicas_max: 4,
            grace_ms: 600_000,
            probation_ms: 12 * 3_600_000,
            copy_grace_ms: 600_000,
            migrations_max: 8,
            per_target_max: 2,
            per_source_max: 2,
            primary_moves_max: 16,
            steps_max: 256,
        }
    }
}

impl Policy {
    /// What is to be proven at this point of the log, and how long an absence is borne.
    pub fn patience(&self, state: &HubState) -> Patience {
        Patience { now: state.steady(), probation_ms: self.probation_ms, grace_ms: self.grace_ms }
    }
}

//! Every maximum of the agreed state. Part of the state itself, so that all hubs hold the same ones.

/// Maxima and first ids. Chosen once, when the hub group is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most forums.
    pub forums_max: u64,
    /// Most peers.
    pub peers_max: u64,
    /// Most replicas of one forum that serve or will serve beside each other.
    pub replicas_max: u64,
    /// Most invitations under way at once, all forums together.
    pub invitations_open_max: u64,
    /// How many invitations that have ended are remembered.
    pub invitations_kept: u64,
    /// Most unanswered tasks, all forums together.
    pub open_tasks_max: u64,
    /// Most unanswered tasks of one forum, so that one forum without peers cannot use up everybody's room.
    pub open_tasks_per_forum_max: u64,
    /// Most bytes of unanswered tasks. They outlive the trim point, so the log's budget does not bound them.
    pub open_tasks_bytes_max: u64,
    /// Longest request of one task, bytes.
    pub request_bytes_max: u64,
    /// Most facts of one answer, bytes.
    pub facts_bytes_max: u64,
    /// The log's budget: above as many records the oldest go, unless some forum's replicas have not got them yet.
    pub records_max: u64,
    /// The same in bytes.
    pub records_bytes_max: u64,
    /// Most answered requests remembered for re-sends.
    pub receipts_max: u64,
    /// Most bytes of remembered receipts.
    pub receipts_bytes_max: u64,
    /// How long after its answer a request is recognised when it is sent again, milliseconds.
    pub receipt_age_ms: u64,
    /// Most proposals of hubs (moves, invitations, marks) remembered for their retries.
    pub proposals_max: u64,
    /// How long such a proposal is remembered, milliseconds.
    pub proposal_age_ms: u64,
    /// Most sessions.
    pub sessions_max: u64,
    /// Most bytes of all sessions.
    pub sessions_bytes_max: u64,
    /// How long a session is kept after its last task or change, milliseconds.
    pub session_age_ms: u64,
    /// Most unfinished messages, all forums together.
    pub open_messages_max: u64,
    /// How long an unfinished message stays that nobody goes on with, milliseconds.
    pub open_message_age_ms: u64,
    /// How long a forum stays in which there is nothing, milliseconds.
    pub empty_forum_age_ms: u64,
    /// How long a peer is suspended that says for the first time what cannot be, milliseconds; each further time twice as
    /// long, a day at most.
    pub suspension_ms: u64,
    /// The first message id given out.
    pub message_id_first: u32,
    /// The last message id that may be given out; `int_ssshout_id` is 32 bits wide.
    pub message_id_max: u32,
    /// The first user id given out.
    pub user_id_first: u32,
    /// The last user id that may be given out.
    pub user_id_max: u32,
    /// The first forum id given out.
    pub forum_id_first: u32,
}

/// A target may serve if it misses at most this many records, counted to its forum's newest one. It has applied all of
/// them by the time it answers anything, so this bounds how long that takes, a fraction of a second.
pub const CUT_OVER_LAG_MAX: u64 = 1024;

/// Most records one command makes: one for every invitation that ends with a removed peer.
pub(super) const RECORDS_PER_COMMAND_MAX: u64 = 256;

/// New work is refused where the log has reached this many times its budget.
pub const LOG_BUDGETS_FOR_WORK: u64 = 2;

/// Every command that appends is refused where the log has reached this many times its budget.
pub const LOG_BUDGETS_FOR_STEPS: u64 = 4;

/// Where there is no room for another forum, the one that has been empty for longest makes room, if that is for longer than this,
/// milliseconds: whoever has just opened one is about to write into it.
pub const EMPTY_FORUM_GRACE_MS: u64 = MINUTE_MS;

const MIB: u64 = 1 << 20;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

impl Bounds {
    /// What a group of hubs on small machines can hold. First ids are those of AtomJump's shell database.
    pub const STANDARD: Self = Self {
        forums_max: 1_000_000,
        peers_max: 10_000,
        replicas_max: 4,
        invitations_open_max: 10_000,
        invitations_kept: 10_000,
        open_tasks_max: 100_000,
        open_tasks_per_forum_max: 10_000,
        open_tasks_bytes_max: 256 * MIB,
        request_bytes_max: 256 << 10,
        // One message: at most 512 characters of text and 1,024 of HTML, and some short columns. Much more would be
        // taken apart into far more memory than it has bytes.
        facts_bytes_max: 64 << 10,
        records_max: 1_000_000,
        records_bytes_max: 1024 * MIB,
        receipts_max: 200_000,
        receipts_bytes_max: 64 * MIB,
        receipt_age_ms: 15 * MINUTE_MS,
        proposals_max: 200_000,
        proposal_age_ms: 2 * MINUTE_MS,
        sessions_max: 1_000_000,
        sessions_bytes_max: 1024 * MIB,
        session_age_ms: 1000 * DAY_MS,
        open_messages_max: 100_000,
        open_message_age_ms: 15 * MINUTE_MS,
        empty_forum_age_ms: DAY_MS,
        suspension_ms: MINUTE_MS,
        message_id_first: 2867,
        message_id_max: u32::MAX,
        user_id_first: 414,
        user_id_max: u32::MAX,
        forum_id_first: 178,
    };
}

impl Bounds {
    /// Most replicas of one forum in any role: while one takes another's place there are both.
    pub const fn replicas_of_any_role_max(&self) -> u64 {
        self.replicas_max.saturating_mul(2)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::STANDARD
    }
}

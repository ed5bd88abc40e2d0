//! The rows of the projection, as values: which tables there are, what a row of each is made of, and how a value is told
//! to the database and read from it. Pure; never knows a connection.
//!
//! All values are numbers, hexadecimal, words of this file or dates, so no text of anybody is ever part of a statement.

use std::fmt::Write;

use loop_atomjump::dates;
use loop_proto::ids::{ForumId, ForumKey, HubTime, PeerId};
use loop_raft_store::machine::{Forum, Invitation, InvitationStatus, Peer, PeerState};

/// Longest name of a peer in a row, characters.
pub const NAME_CHARS_MAX: usize = 64;
/// The last moment a `DATETIME` can hold, seconds.
const LAST_SECOND: u64 = 253_402_300_799;

/// The tables, in the order they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Forums.
    Layer,
    /// Volunteers' machines.
    Peer,
    /// Who was asked to hold what.
    Invitation,
    /// Writes of clients.
    Request,
    /// Which change of a session has reached which forum.
    SessionUpdate,
    /// Who has written in which forum.
    UserLayer,
    /// How many requests of a forum each peer has answered.
    Traffic,
}

/// All of them.
pub const TABLES: [Table; 7] = [
    Table::Layer,
    Table::Peer,
    Table::Invitation,
    Table::Request,
    Table::SessionUpdate,
    Table::UserLayer,
    Table::Traffic,
];

/// Of what kind a column's values are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Below 2^32.
    Small,
    /// Any number.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
    /// 16 bytes.
    Bytes,
    /// A peer's name.
    Name,
    /// A date in UTC, to the millisecond.
    Time,
}

/// One column: its name, its kind, and whether it may be empty.
pub type Column = (&'static str, Kind, bool);

const REQUEST_TYPES: &[&str] = &["read", "write", "static"];
const REQUEST_STATUSES: &[&str] = &["responded", "waiting", "timeout"];
const INVITATION_STATUSES: &[&str] = &["waiting", "accepted", "completed", "rejected", "timeout"];
const PEER_STATES: &[&str] = &["active", "paused", "draining", "removed"];

impl Table {
    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Layer => "tbl_p2p_layer",
            Self::Peer => "tbl_peer",
            Self::Invitation => "tbl_invitation",
            Self::Request => "tbl_client_request",
            Self::SessionUpdate => "tbl_session_update",
            Self::UserLayer => "tbl_users_p2p_layer",
            Self::Traffic => "tbl_traffic_balance",
        }
    }

    /// The columns of its primary key, one or two numbers; then the others.
    pub const fn columns(self) -> (&'static [Column], &'static [Column]) {
        use Kind::{Bytes, Name, Number, Small, Time, Word};
        match self {
            Self::Layer => (
                &[("int_p2p_layer_id", Small, false)],
                &[
                    ("bin_layer_key", Bytes, false),
                    ("int_requests_handled", Number, false),
                    ("int_requests_waiting", Number, false),
                    ("int_newest_record_id", Number, false),
                    ("int_primary_peer_id", Small, false),
                    ("int_peers_serving", Small, false),
                    ("date_opened", Time, false),
                ],
            ),
            Self::Peer => (
                &[("int_peer_id", Small, false)],
                &[
                    ("var_peer_name", Name, false),
                    ("enm_state", Word(PEER_STATES), false),
                    ("date_activated", Time, false),
                ],
            ),
            Self::Invitation => (
                &[("int_invitation_id", Number, false)],
                &[
                    ("int_peer_id", Small, false),
                    ("int_p2p_layer_id", Small, false),
                    ("int_source_peer_id", Small, false),
                    ("int_replaces_peer_id", Small, true),
                    ("enm_status", Word(INVITATION_STATUSES), false),
                    ("date_invited", Time, false),
                    ("date_changed", Time, false),
                ],
            ),
            Self::Request => (
                &[("int_request_id", Number, false)],
                &[
                    ("int_p2p_layer_id", Small, false),
                    ("bin_request_id", Bytes, false),
                    ("enm_type", Word(REQUEST_TYPES), false),
                    ("enm_status", Word(REQUEST_STATUSES), false),
                    ("int_message_id", Small, true),
                    ("int_peer_id", Small, true),
                    ("int_answer_record_id", Number, true),
                    ("date_when_received", Time, false),
                    ("date_when_answered", Time, true),
                ],
            ),
            Self::SessionUpdate => (
                &[("int_p2p_layer_id", Small, false), ("int_session_update_id", Number, false)],
                &[("int_request_id", Number, false)],
            ),
            Self::UserLayer => (
                &[("int_user_id", Small, false), ("int_p2p_layer_id", Small, false)],
                &[("int_last_request_id", Number, false)],
            ),
            Self::Traffic => (
                &[("int_peer_id", Small, false), ("int_p2p_layer_id", Small, false)],
                &[("int_requests_handled", Number, false)],
            ),
        }
    }

    /// Its indexes beside the primary key.
    pub const fn indexes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Layer => &[("layer_key", "bin_layer_key")],
            Self::Peer => &[],
            Self::Invitation => &[("invite_status", "int_p2p_layer_id, enm_status")],
            // What AtomJump's sketch is for: which requests of these forums are newer than the last one seen.
            Self::Request => &[("check_new", "int_p2p_layer_id, int_request_id")],
            Self::SessionUpdate => &[],
            Self::UserLayer | Self::Traffic => &[("by_layer", "int_p2p_layer_id")],
        }
    }
}

/// A primary key; the second number is 0 where there is one only.
pub type Key = [u64; 2];

/// One value.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum Cell {
    /// None.
    Null,
    /// A number.
    Number(u64),
    /// A word of its column.
    Word(&'static str),
    /// A hash.
    Bytes([u8; 16]),
    /// A name; cut where it is longer than its column.
    Name(String),
    /// A moment.
    Time(HubTime),
}

impl Cell {
    /// As a statement has it.
    pub fn put(&self, statement: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Null => write!(statement, "NULL"),
            Self::Number(number) => write!(statement, "{number}"),
            Self::Word(word) => write!(statement, "'{word}'"),
            Self::Bytes(bytes) => put_hex(statement, bytes),
            Self::Name(name) if name.is_empty() => write!(statement, "''"),
            Self::Name(name) => {
                statement.push_str("_utf8mb4 ");
                put_hex(statement, name.as_bytes())
            }
            Self::Time(at) => write!(statement, "'{}'", date(*at)),
        };
    }

    /// As the database answers it.
    pub fn text(&self) -> Option<Vec<u8>> {
        Some(match self {
            Self::Null => return None,
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Word(word) => word.as_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Name(name) => name.as_bytes().to_vec(),
            Self::Time(at) => date(*at).into_bytes(),
        })
    }
}

fn put_hex(statement: &mut String, bytes: &[u8]) -> std::fmt::Result {
    statement.push_str("x'");
    for byte in bytes {
        write!(statement, "{byte:02x}")?;
    }
    write!(statement, "'")
}

fn date(at: HubTime) -> String {
    let seconds = at.seconds().min(LAST_SECOND);
    format!("{}.{:03}", dates::sql(seconds), at.0 % 1000)
}

/// What becomes of one row: its values, or none where it goes.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct RowChange {
    /// Whose.
    pub table: Table,
    /// Which.
    pub key: Key,
    /// All columns but the key's, in the table's order.
    pub cells: Option<Vec<Cell>>,
}

impl RowChange {
    /// The row of a forum that is open.
    pub fn forum(forum: &Forum) -> Self {
        let waiting = forum.open_tasks.len() as u64;
        let cells = vec![
            Cell::Bytes(forum.key.0),
            Cell::Number(forum.tasks_appended.saturating_sub(waiting)),
            Cell::Number(waiting),
            Cell::Number(forum.newest_record),
            Cell::Number(forum.primary.get().into()),
            Cell::Number(forum.serving().count() as u64),
            Cell::Time(forum.opened_at),
        ];
        Self { table: Table::Layer, key: [forum.id.get().into(), 0], cells: Some(cells) }
    }

    /// A forum is gone.
    pub fn no_forum(forum: ForumId) -> Self {
        Self { table: Table::Layer, key: [forum.get().into(), 0], cells: None }
    }

    /// The row of a peer.
    pub fn peer(peer: &Peer) -> Self {
        let state = match peer.state {
            PeerState::Active => "active",
            PeerState::Paused => "paused",
            PeerState::Draining => "draining",
            PeerState::Removed => "removed",
        };
        let name = peer.name.chars().take(NAME_CHARS_MAX).collect();
        let cells = vec![Cell::Name(name), Cell::Word(state), Cell::Time(peer.registered_at)];
        Self { table: Table::Peer, key: [peer.id.get().into(), 0], cells: Some(cells) }
    }

    /// The row of an invitation that is open or remembered.
    pub fn invitation(invitation: &Invitation) -> Self {
        let status = match invitation.status {
            InvitationStatus::Waiting => "waiting",
            InvitationStatus::Accepted => "accepted",
            InvitationStatus::Completed => "completed",
            InvitationStatus::Rejected => "rejected",
            InvitationStatus::Timeout => "timeout",
        };
        let peer = |peer: PeerId| Cell::Number(peer.get().into());
        let cells = vec![
            peer(invitation.target),
            Cell::Number(invitation.forum.get().into()),
            peer(invitation.source),
            invitation.replaces.map_or(Cell::Null, peer),
            Cell::Word(status),
            Cell::Time(invitation.invited_at),
            Cell::Time(invitation.changed_at),
        ];
        Self { table: Table::Invitation, key: [invitation.id.get(), 0], cells: Some(cells) }
    }
}

/// A forum's key as views show it.
pub fn layer_name(column: &str) -> String {
    debug_assert_eq!(ForumKey([0; 16]).to_hex().len(), 32);
    format!("LOWER(HEX({column}))")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cell: &Cell) -> String {
        let mut statement = String::new();
        cell.put(&mut statement);
        statement
    }

    #[test]
    fn nothing_that_somebody_wrote_is_part_of_a_statement() {
        let name = Cell::Name("x'); DROP TABLE tbl_peer; -- \u{1F600}".into());
        let told = told(&name);
        let hex = told.strip_prefix("_utf8mb4 x'").and_then(|rest| rest.strip_suffix('\'')).unwrap();
        assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{told}");
        assert_eq!(name.text().unwrap(), "x'); DROP TABLE tbl_peer; -- \u{1F600}".as_bytes());
    }

    #[test]
    fn every_moment_is_a_date_that_the_database_takes() {
        assert_eq!(told(&Cell::Time(HubTime(0))), "'1970-01-01 00:00:00.000'");
        assert_eq!(told(&Cell::Time(HubTime(1_700_000_000_123))), "'2023-11-14 22:13:20.123'");
        assert!(told(&Cell::Time(HubTime(u64::MAX))).starts_with("'9999-12-31 23:59:59."));
    }

    #[test]
    fn rows_are_narrow_and_fixed() {
        for table in TABLES {
            let (key, rest) = table.columns();
            assert!(matches!(key.len(), 1 | 2), "{table:?}");
            let bytes = |column: &Column| match column.1 {
                Kind::Small => 4,
                Kind::Number | Kind::Time => 8,
                Kind::Word(_) => 1,
                Kind::Bytes => 16,
                Kind::Name => 4 * NAME_CHARS_MAX + 1,
            };
            let width: usize = key.iter().chain(rest).map(bytes).sum();
            assert!(width < if table == Table::Peer { 300 } else { 80 }, "{table:?} has {width} bytes");
        }
    }
}

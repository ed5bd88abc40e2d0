//! The statements that make the tables and views. MariaDB and MySQL 8 take them alike.
//!
//! Table and column names are those of AtomJump's sketch of this system's database; what the sketch has and a table cannot or
//! must not hold (long texts, forums' names) is in views only, empty or as a hash.

use std::fmt::Write;

use super::rows::{Column, Kind, NAME_CHARS_MAX, TABLES, Table, layer_name};
use crate::config::ProjectionEngine;

/// The table that says of which moment the others are, and who writes them.
pub const MARK: &str = "tbl_projection";

/// What a table's comment begins with if it is one of ours. The number rises when tables change.
pub const COMMENT: &str = "loop-server-p2p projection";
const LAYOUT: u32 = 1;

/// How long a browser is kept waiting for its write, seconds: longer, and it was told that it is not answered yet.
const WAITS_S: u32 = 10;

/// The engine's name in SQL.
pub const fn engine(engine: ProjectionEngine) -> &'static str {
    match engine {
        ProjectionEngine::Memory => "MEMORY",
        ProjectionEngine::Innodb => "InnoDB",
        ProjectionEngine::Ndbcluster => "NDBCLUSTER",
    }
}

/// The comment of our tables.
pub fn comment() -> String {
    format!("{COMMENT} {LAYOUT}")
}

/// The statements that make all tables that are missing.
pub fn tables(on: ProjectionEngine) -> Vec<String> {
    let rest = format!("ENGINE={} DEFAULT CHARACTER SET=utf8mb4 COMMENT='{}'", engine(on), comment());
    let mark = format!(
        "CREATE TABLE IF NOT EXISTS {MARK} (int_row TINYINT UNSIGNED NOT NULL, int_hub_id BIGINT UNSIGNED NOT NULL, \
         bin_writer BINARY(16) NOT NULL, int_writing_through BIGINT UNSIGNED NOT NULL, \
         int_applied_through BIGINT UNSIGNED NOT NULL, int_newest_record_id BIGINT UNSIGNED NOT NULL, \
         int_requests_after BIGINT UNSIGNED NOT NULL, date_written DATETIME(3) NOT NULL, \
         PRIMARY KEY (int_row) USING BTREE) {rest}"
    );
    let made = TABLES.into_iter().map(|table| format!("{} {rest}", table_of(table)));
    std::iter::once(mark).chain(made).collect()
}

fn table_of(table: Table) -> String {
    let (key, others) = table.columns();
    let mut statement = format!("CREATE TABLE IF NOT EXISTS {} (", table.name());
    for column in key.iter().chain(others) {
        statement.push_str(&definition(column));
        statement.push_str(", ");
    }
    let key: Vec<&str> = key.iter().map(|(name, ..)| *name).collect();
    // Writing to a String cannot fail. MEMORY's own choice would be a hash, which cannot answer "newer than".
    let _ = write!(statement, "PRIMARY KEY ({}) USING BTREE", key.join(", "));
    for (name, columns) in table.indexes() {
        let _ = write!(statement, ", KEY {name} ({columns}) USING BTREE");
    }
    statement + ")"
}

fn definition((name, kind, may_be_empty): &Column) -> String {
    let kind = match kind {
        Kind::Small => "INT UNSIGNED".to_owned(),
        Kind::Number => "BIGINT UNSIGNED".to_owned(),
        Kind::Word(words) => format!("ENUM('{}') CHARACTER SET ascii", words.join("','")),
        Kind::Bytes => "BINARY(16)".to_owned(),
        Kind::Name => format!("VARCHAR({NAME_CHARS_MAX}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        Kind::Time => "DATETIME(3)".to_owned(),
    };
    let empty = if *may_be_empty { "DEFAULT NULL" } else { "NOT NULL" };
    format!("{name} {kind} {empty}")
}

/// The statements that make the views, which have exactly the sketch's columns.
pub fn views() -> Vec<String> {
    let view = |name: &str, columns: &str, table: Table| {
        format!("CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM {}", table.name())
    };
    let waits_too_long = format!(
        "CASE WHEN enm_status = 'waiting' AND date_when_received < UTC_TIMESTAMP(3) - INTERVAL {WAITS_S} SECOND \
         THEN 'timeout' ELSE CAST(enm_status AS CHAR(9)) END AS enm_status"
    );
    let request = format!(
        "int_request_id, int_p2p_layer_id, CAST(NULL AS CHAR(4000)) AS var_request, date_when_received, enm_type, \
         {waits_too_long}"
    );
    let layer =
        format!("int_p2p_layer_id, {} AS var_layer_name, int_requests_handled", layer_name("bin_layer_key"));
    let invitation = "int_peer_id, int_p2p_layer_id, CAST(NULL AS CHAR(4000)) AS var_sql_insert, enm_status";
    let session = "int_session_update_id, int_p2p_layer_id, CAST(NULL AS CHAR(4000)) AS var_session_update";
    vec![
        view("atomjump_client_request", &request, Table::Request),
        view("atomjump_peer", "int_peer_id, var_peer_name, date_activated", Table::Peer),
        view("atomjump_invitation", invitation, Table::Invitation),
        view("atomjump_session_update", session, Table::SessionUpdate),
        view("atomjump_users_p2p_layer", "int_user_id, int_p2p_layer_id", Table::UserLayer),
        view(
            "atomjump_traffic_balance",
            "int_peer_id, int_p2p_layer_id, int_requests_handled",
            Table::Traffic,
        ),
        view("atomjump_p2p_layer", &layer, Table::Layer),
    ]
}

/// All names that are ours.
pub fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(MARK).chain(TABLES.into_iter().map(Table::name))
}

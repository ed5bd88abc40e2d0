//! From an embedded peer into a stock MariaDB with AtomJump's tables, out of it with its own tool, into another peer.

use std::fs;

use loop_peer::backend::Backend;

use crate::{
    forum::{FORUM, digest, export, fill, open, rows},
    mariadb::{MariaDb, text},
};

const WIDEN: &str = "ALTER TABLE tbl_ssshout CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; \
     ALTER TABLE tbl_layer CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; \
     ALTER TABLE tbl_user CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// Sessions as the real AtomJump has them beside the rows of the forum.
const SESSIONS: &str = "INSERT INTO php_session (session_id, user_id, date_created, last_updated, session_data) VALUES \
     ('alice1', '414', NOW(), NOW(), 'logged-user|i:414;temp-user-name|s:4:\\\"O\\'Z\\\";'), \
     ('bob111', '415', NOW(), NOW(), ''), ('nobody', NULL, NOW(), NOW(), 'x')";

#[test]
fn a_forum_goes_through_a_stock_mariadb_and_is_the_same_afterwards() {
    let mariadb = MariaDb::start();
    let dir = tempfile::tempdir().unwrap();
    let there = open(&dir.path().join("there"));
    fill(&there);
    let file = dir.path().join("forum.sql");
    let header = export(&there, &file);
    let before = rows(&there);
    mariadb.create("wide");
    mariadb.query("wide", WIDEN);
    let loaded = mariadb.load("wide", &file);
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    let count = |table: &str| mariadb.query("wide", &format!("SELECT COUNT(*) FROM {table}"));
    assert_eq!(count("tbl_ssshout"), "COUNT(*)\n14\n");
    assert_eq!(count("php_session"), "COUNT(*)\n0\n", "sessions are the hubs' alone");
    let hex = mariadb.query("wide", "SELECT HEX(var_shouted) FROM tbl_ssshout WHERE int_ssshout_id = 2870");
    assert_eq!(hex, "HEX(var_shouted)\n6E756C200020616E6420636F6E74726F6C205A201A20616E64200820616E64207F\n");

    mariadb.query("wide", SESSIONS);
    let dump = dir.path().join("dump.sql");
    mariadb.dump("wide", FORUM, &dump);
    assert!(fs::read_to_string(&dump).unwrap().contains("alice1"), "the dump has sessions");
    let here = open(&dir.path().join("here"));
    let imported = here.import(&dump, &|_| {}, &|| false).unwrap();
    assert_eq!(imported.digest.sha256[..], header.digest[..]);
    assert_eq!((imported.digest.messages, imported.users), (14, 5));
    assert_eq!(digest(&here), digest(&there));
    assert_eq!(rows(&here), before);

    stock_columns(&mariadb, &file);
}

/// AtomJump's own columns hold no characters of four bytes: the load says so and leaves nothing, or they are cut as
/// AtomJump cuts them.
fn stock_columns(mariadb: &MariaDb, file: &std::path::Path) {
    mariadb.create("stock");
    let refused = mariadb.load("stock", file);
    assert!(!refused.status.success());
    let message = text(&refused.stderr);
    assert!(message.contains("ERROR 1366"), "{message}");
    for table in ["tbl_layer", "tbl_ssshout", "tbl_user", "php_session", "tbl_layer_subscription"] {
        assert_eq!(mariadb.query("stock", &format!("SELECT COUNT(*) FROM {table}")), "COUNT(*)\n0\n");
    }
    let cut = file.with_extension("cut.sql");
    fs::write(&cut, fs::read_to_string(file).unwrap().replacen("STRICT_ALL_TABLES,", "", 2)).unwrap();
    let loaded = mariadb.load("stock", &cut);
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    let shown = mariadb.query("stock", "SELECT var_shouted FROM tbl_ssshout WHERE int_ssshout_id = 2871");
    assert!(shown.contains("東京 – ?"), "{shown}");
}

#[test]
fn every_byte_of_text_comes_through_an_export_and_an_import() {
    let dir = tempfile::tempdir().unwrap();
    let there = open(&dir.path().join("there"));
    fill(&there);
    let file = dir.path().join("forum.sql");
    export(&there, &file);
    let here = open(&dir.path().join("here"));
    here.import(&file, &|_| {}, &|| false).unwrap();
    assert_eq!(digest(&here), digest(&there));
    assert_eq!(rows(&here), rows(&there));
    // Again over what is there, and over something else.
    fill(&here);
    here.import(&file, &|_| {}, &|| false).unwrap();
    assert_eq!(digest(&here), digest(&there));
    assert_eq!(here.forums_on_disk().unwrap().len(), 1);
}

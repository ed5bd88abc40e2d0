//! What becomes of the rows in a real MariaDB: that lives, dies in the middle, is not there yet, refuses, is full, or is another
//! hub's.

use super::{
    super::{Difference, How, rows::Table},
    mariadb::{MariaDb, PASSWORD},
    stage::Stage,
};
use crate::config::ProjectionEngine;

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_those_of_the_state_also_after_the_database_was_killed() {
    let mut database = MariaDb::start();
    let url = database.create("loop_h1");
    let mut stage = Stage::new(1, &url, 7);
    stage.go_on(3_000).await;
    assert!(stage.is_equal().await > 500);
    look_at_the_tables(&database, &stage);
    look_at_the_views(&database, &stage);

    database.kill();
    // The hub goes on as if nothing had happened.
    stage.go_on(2_000).await;
    assert!(stage.down().await.contains("is it running"), "{:?}", stage.projection.report());
    let no = stage.projection.verify().await.unwrap_err().to_string();
    assert!(no.contains("is it running"), "{no}");
    database.start_again();
    stage.go_on(500).await;
    stage.caught_up().await;
    stage.is_equal().await;
    assert_eq!(stage.projection.report().rebuilds, 2, "MEMORY had lost everything");

    what_somebody_changes_is_found(&database, &stage).await;
    stage.stop().await;

    // The same database, kept by another engine: a kill loses no row of it, but it is of another process.
    let mut stage = Stage::with(1, &url, 8, ProjectionEngine::Innodb);
    stage.go_on(500).await;
    stage.is_equal().await;
    let engine = "SELECT DISTINCT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND ENGINE IS NOT NULL";
    assert_eq!(database.query("loop_h1", engine), "InnoDB");
    database.kill();
    stage.go_on(100).await;
    database.start_again();
    stage.caught_up().await;
    stage.is_equal().await;
    assert_eq!(stage.projection.report().rebuilds, 1, "nothing was lost, so nothing was made anew");

    // It stands still, and nobody waits for it.
    database.stand_still();
    stage.go_on(2_000).await;
    database.go_on();
    stage.caught_up().await;
    stage.is_equal().await;
    stage.stop().await;
}

fn look_at_the_tables(database: &MariaDb, stage: &Stage) {
    let query = |statement: &str| database.query("loop_h1", statement);
    let number = |statement: &str| database.number("loop_h1", statement);
    for table in super::super::rows::TABLES {
        let shown = query(&format!("SHOW CREATE TABLE {}", table.name()));
        assert!(shown.contains("ENGINE=MEMORY"), "{shown}");
    }
    let waiting = "SELECT COUNT(*) FROM tbl_client_request WHERE enm_status = 'waiting'";
    assert_eq!(number(waiting), stage.open_tasks());
    assert_eq!(number("SELECT COUNT(*) FROM tbl_p2p_layer"), stage.forums());
    // No more than the window, and those that wait.
    assert!(number("SELECT COUNT(*) FROM tbl_client_request") <= 1_000 + stage.open_tasks());
    assert_eq!(query("SELECT int_applied_through = int_writing_through FROM tbl_projection"), "1");
    // What is newer than what one has seen of some forums is found by the index alone.
    let newer = "int_p2p_layer_id IN (178, 179) AND int_request_id > 1000";
    let plan = query(&format!("EXPLAIN SELECT int_request_id FROM tbl_client_request WHERE {newer}"));
    let plan: Vec<&str> = plan.split('\t').collect();
    assert_eq!((plan[3], plan[5]), ("range", "check_new"), "{plan:?}");
}

fn look_at_the_views(database: &MariaDb, stage: &Stage) {
    let query = |statement: &str| database.query("loop_h1", statement);
    let columns = |view: &str| {
        query(&format!(
            "SELECT GROUP_CONCAT(COLUMN_NAME ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{view}'"
        ))
    };
    let expected = [
        (
            "atomjump_client_request",
            "int_request_id,int_p2p_layer_id,var_request,date_when_received,enm_type,enm_status",
        ),
        ("atomjump_peer", "int_peer_id,var_peer_name,date_activated"),
        ("atomjump_invitation", "int_peer_id,int_p2p_layer_id,var_sql_insert,enm_status"),
        ("atomjump_traffic_balance", "int_peer_id,int_p2p_layer_id,int_requests_handled"),
        ("atomjump_p2p_layer", "int_p2p_layer_id,var_layer_name,int_requests_handled"),
    ];
    for (view, wanted) in expected {
        assert_eq!(columns(view), wanted, "{view}");
    }
    // All these requests were sent years ago: whoever waits has been told so.
    let waiting = "SELECT COUNT(*) FROM atomjump_client_request WHERE enm_status = 'waiting'";
    assert_eq!(query(waiting), "0");
    let told = "SELECT COUNT(*) FROM atomjump_client_request WHERE enm_status = 'timeout'";
    assert!(query(told).parse::<u64>().unwrap() >= stage.open_tasks());
    let names = query("SELECT var_peer_name FROM atomjump_peer");
    assert!(names.contains("DROP TABLE tbl_peer"), "a name is a name: {names}");
}

async fn what_somebody_changes_is_found(database: &MariaDb, stage: &Stage) {
    database.query(
        "loop_h1",
        "UPDATE tbl_peer SET var_peer_name = 'other', enm_state = 'removed' WHERE int_peer_id = 1; \
         DELETE FROM tbl_peer WHERE int_peer_id = 2; INSERT INTO tbl_traffic_balance VALUES (99, 98, 1)",
    );
    let verified = stage.projection.verify().await.unwrap();
    let difference = |table, key, how| Difference { table, key, how };
    let expected = [
        difference(Table::Peer, [1, 0], How::Columns(vec!["var_peer_name", "enm_state"])),
        difference(Table::Peer, [2, 0], How::Missing),
        difference(Table::Traffic, [99, 98], How::Unexpected),
    ];
    assert_eq!((verified.differing, &verified.differences[..]), (3, &expected[..]));
    stage.projection.rebuild().await.unwrap();
    stage.is_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_or_refuses_is_named_and_the_hub_goes_on() {
    let mut database = MariaDb::prepare();
    let mut stage = Stage::new(1, &database.url("loop_h1"), 9);
    stage.go_on(1_000).await;
    assert!(stage.down().await.contains("is it running"));
    database.start_again();
    let user = database.create("other").replace("/other", "/loop_h1");
    assert_eq!(user, database.url("loop_h1"));

    // Each reason is told as soon as it is tried.
    let refused = async |stage: &Stage| stage.projection.rebuild().await.unwrap_err().to_string();
    let told = refused(&stage).await;
    assert!(told.contains("GRANT ALL") || told.contains("CREATE DATABASE"), "{told}");
    database.create("loop_h1");
    database.query("loop_h1", "SET GLOBAL max_heap_table_size = 16384");
    let told = refused(&stage).await;
    assert!(told.contains("max_heap_table_size") && told.contains("1114"), "{told}");
    assert!(stage.projection.problem().unwrap().contains("max_heap_table_size"));
    stage.go_on(1_000).await;
    database.query("loop_h1", "SET GLOBAL max_heap_table_size = 16777216");
    stage.projection.rebuild().await.unwrap();
    stage.caught_up().await;
    stage.is_equal().await;
    assert_eq!(stage.projection.problem(), None);

    nobody_else_writes_into_a_hubs_database(&database, &stage).await;
    a_wrong_password_is_told_and_no_password_is(&database).await;
    what_is_not_the_projections_is_left_alone(&database).await;
    stage.stop().await;
}

async fn nobody_else_writes_into_a_hubs_database(database: &MariaDb, first: &Stage) {
    let second = Stage::new(2, &database.url("loop_h1"), 10);
    let told = second.down().await;
    assert!(told.contains("hub h1 writes into this database") && told.contains("one of its own"), "{told}");
    second.stop().await;
    first.is_equal().await;
}

async fn a_wrong_password_is_told_and_no_password_is(database: &MariaDb) {
    let url = database.url("loop_h1").replace("word@", "wort@");
    let stage = Stage::new(3, &url, 11);
    let told = stage.down().await;
    assert!(told.contains("password in --projection-url"), "{told}");
    let problem = stage.projection.problem().unwrap();
    assert!(!problem.contains("wort") && !problem.contains(PASSWORD), "{problem}");
    stage.stop().await;
}

async fn what_is_not_the_projections_is_left_alone(database: &MariaDb) {
    let url = database.create("chat");
    database.query("chat", "CREATE TABLE tbl_peer (mine INT); INSERT INTO tbl_peer VALUES (5)");
    let stage = Stage::new(4, &url, 12);
    let told = stage.down().await;
    assert!(told.contains("tbl_peer") && told.contains("a database of its own"), "{told}");
    assert_eq!(database.query("chat", "SELECT mine FROM tbl_peer"), "5");
    stage.stop().await;
}

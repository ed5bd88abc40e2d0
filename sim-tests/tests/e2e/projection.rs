//! A hub's rows in a real MariaDB, as an operator sees them: with SQL and with hubctl.

#[path = "../../../hub/tests/mariadb/mod.rs"]
mod mariadb;

use std::time::Duration;

use anyhow::{Result, ensure};
use loop_local::Who;
use loop_proto::ids::ForumKey;
use loop_sim_tests::{
    client::{Commit, Visitor},
    expect::{eventually, unique},
    hubctl,
    system::System,
};

use self::mariadb::{MariaDb, PASSWORD};

/// How long rows may take to follow.
const SOON: Duration = Duration::from_secs(20);

const DATABASE: &str = "loop_h1";

/// Waits until SQL answers this.
async fn answers(database: &MariaDb, statement: &str, wanted: &str) {
    eventually("in the tables", SOON, || async {
        let answer = database.query(DATABASE, statement);
        if answer == wanted { Ok(()) } else { Err(format!("{statement}: {answer}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_seen_in_sql_from_waiting_to_responded_and_hubctl_vouches_for_the_rows() -> Result<()> {
    let mut database = MariaDb::start();
    let url = database.create(DATABASE);
    let mut system = System::start_with(|config| {
        (config.hubs, config.peers) = (1, 1);
        config.env.push(("LOOP_HUB_PROJECTION_URL".to_owned(), url.clone()));
    })
    .await?;
    let (hub, forum) = (system.hub(0), unique("ajps_projection_"));
    let visitor = Visitor::arrive(&hub, &forum).await?;
    visitor.commit(&hub, &Commit::new(1, "the first")).await?;
    let key = ForumKey::of_name(forum.as_bytes()).to_hex();
    let of_forum = format!(
        "SELECT enm_type, enm_status, COUNT(*) FROM tbl_client_request JOIN tbl_p2p_layer USING (int_p2p_layer_id) \
         WHERE bin_layer_key = UNHEX('{key}') GROUP BY 1, 2 ORDER BY 2"
    );
    answers(&database, &of_forum, "write\tresponded\t1").await;

    // Nobody is there to answer the second one.
    system.cluster.kill(Who::Peer(0)).await?;
    let waits = tokio::spawn({
        let (hub, visitor) = (hub.clone(), visitor.clone());
        async move { visitor.commit(&hub, &Commit::new(2, "the second")).await }
    });
    answers(&database, &of_forum, "write\tresponded\t1\nwrite\twaiting\t1").await;
    // The database loses everything meanwhile, and has it again.
    database.kill();
    database.start_again();
    answers(&database, &of_forum, "write\tresponded\t1\nwrite\twaiting\t1").await;
    system.cluster.start_one(Who::Peer(0))?;
    answers(&database, &of_forum, "write\tresponded\t2").await;
    drop(waits.await?);

    let status = hubctl::done(&system, 0, "projection status").await?;
    let shown = &status["projection"];
    ensure!(
        status["hub"] == 1 && shown["standing"] == "caught-up" && shown["engine"] == "MEMORY",
        "{status}"
    );
    let verified = hubctl::done(&system, 0, "projection verify").await?;
    ensure!(verified["equal"] == true && verified["rows"].as_u64() > Some(4), "{verified}");
    database.query(DATABASE, "DELETE FROM tbl_peer");
    let differs = hubctl::ask(&system, 0, "projection verify").await?;
    ensure!(differs.code == Some(1) && differs.out.contains("tbl_peer"), "{differs:?}");
    hubctl::done(&system, 0, "projection rebuild").await?;
    hubctl::done(&system, 0, "projection verify").await?;

    database.kill();
    eventually("down", SOON, || async {
        let said = hubctl::ask(&system, 0, "projection status").await.map_err(|error| error.to_string())?;
        let is_down = said.code == Some(5) && said.out.contains("is it running");
        if is_down { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    let told = hubctl::ask(&system, 0, "status").await?;
    ensure!(told.out.contains("the projection in loop_h1"), "{told:?}");
    // Browsers notice nothing.
    visitor.commit(&hub, &Commit::new(3, "the third")).await?;
    for (name, log) in system.logs()? {
        ensure!(!log.contains(PASSWORD) && !log.contains(&url), "{name} tells the password");
    }
    system.assert_nobody_fell();
    Ok(())
}

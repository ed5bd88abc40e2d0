//! Whoever asks for forums that nobody has written in leaves nothing behind: no forum, session or user at the hubs, no
//! record in the log, nothing on peers' disks. `make anonymous` does it many times as often.

use anyhow::Result;
use loop_sim_tests::{
    anonymous::{Seen, read_unknown_forums},
    client::{Commit, Visitor},
    expect::unique,
    system::System,
};

/// Reads of as many forums.
const READS: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_random_forums_leave_nothing_behind() -> Result<()> {
    let mut system = System::start().await?;
    let visitor = Visitor::arrive(&system.hub(0), &unique("ajps_real_")).await?;
    visitor.commit(&system.hub(0), &Commit::new(1, "the only one")).await?;

    let before = Seen::now(&system).await?;
    let took = read_unknown_forums(&system, READS).await?;
    let after = Seen::now(&system).await?;
    println!("before\n{before}\nafter {READS} reads in {took:?}\n{after}");
    assert_eq!(before.agreed, after.agreed);
    assert!(
        before.agreed.forums == 1 && before.agreed.rows["tbl_ssshout"] >= 1,
        "there is something to count"
    );
    system.assert_nobody_fell();
    Ok(())
}

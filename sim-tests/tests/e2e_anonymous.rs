//! Whoever asks for forums that nobody has written in leaves nothing behind: no forum, session or user at the hubs, no
//! record in the log, nothing on peers' disks.

use anyhow::Result;
use loop_sim_tests::{
    client::{Commit, Visitor},
    expect::unique,
    raw_http,
    system::System,
};
use tokio::task::JoinSet;

/// Reads of as many forums, each without a cookie.
const READS: usize = 3_000;
/// At a time.
const AT_ONCE: usize = 32;

/// What could have grown: the ids that come next, and the number of forums.
async fn numbers(system: &System) -> Result<(u64, u64, u64, usize)> {
    let admin = system.admin()?;
    let ids = admin.ids().await?;
    let forums = admin.forums(None, 10_000).await?.0.len();
    Ok((ids.next_task_id, ids.next_user_id, ids.next_message_id, forums))
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_random_forums_leave_nothing_behind() -> Result<()> {
    let mut system = System::start().await?;
    let hubs = system.hubs();
    let forum = unique("ajps_real_");
    let visitor = Visitor::arrive(&hubs[0], &forum).await?;
    visitor.commit(&hubs[0], &Commit::new(1, "the only one")).await?;

    let before = numbers(&system).await?;
    let mut reads: JoinSet<Result<()>> = JoinSet::new();
    for at in 0..READS {
        if reads.len() >= AT_ONCE {
            reads.join_next().await.transpose()?.transpose()?;
        }
        let (hub, name) = (system.cluster.hub_http(at % 3), unique("ajps_random_"));
        reads.spawn(async move {
            let script = ["search-chat.php?records=25&", "search-secure.php?", "logged-status.php?"][at % 3];
            let target = format!("/{script}callback=a&passcode={name}&uniqueFeedbackId={name}");
            let answer = raw_http::get(hub, target.as_bytes()).await?;
            assert_eq!(answer.status, Some(200), "{target}: {}", answer.body);
            Ok(())
        });
    }
    while let Some(read) = reads.join_next().await {
        read??;
    }
    let after = numbers(&system).await?;
    println!("task, user, message ids and forums before {before:?}, after {READS} reads {after:?}");
    assert_eq!(before, after);
    system.assert_nobody_fell();
    Ok(())
}

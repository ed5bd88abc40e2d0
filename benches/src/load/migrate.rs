//! Workload `migrate`: a big forum moves to another peer and back, while people write and read through every hub.
//!
//! Owns what moves when. People are measured before, during and after each move.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use loop_admin::Admin;
use loop_proto::{
    ids::ForumKey,
    v1::{ForumInfo, InvitationStatus, show_forum_request::Which},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    crowd::{Crowd, Pace, Phase, arrive},
    system::{System, unique},
};

/// Writers that fill the forum.
const FILLERS: u32 = 64;

/// People of each kind.
const PEOPLE: u32 = 40;

/// How long one move may take.
const MOVE_WITHIN: Duration = Duration::from_secs(600);

/// What to move, and under which load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Messages in the forum before the first move.
    pub messages: u64,
    /// Writes a second.
    pub writes: f64,
    /// Reads a second.
    pub reads: f64,
    /// How long people are measured without a move, before and after.
    pub quiet: Duration,
}

/// Fills a forum, moves it and moves it back; `told` hears of each phase as it ends.
pub async fn run(system: &System, options: Options, mut told: impl FnMut(Phase)) -> Result<()> {
    let admin = system.admin();
    let forum = unique("load-forum-");
    fill(system, &forum, options.messages).await.context("filling the forum")?;
    let info = find(admin, &forum).await?;
    let (from, to) = ends(admin, &info).await?;
    let pace = Pace { people: PEOPLE, writes: options.writes, reads: options.reads };
    let crowd = Crowd::gather(system, std::slice::from_ref(&forum), pace).await?;
    sleep(options.quiet).await;
    told(crowd.phase("before", options.quiet));
    for (phase, after) in [("move", "between"), ("reverse", "after")] {
        let begin = Instant::now();
        let id = match phase {
            "move" => admin.move_forum(info.forum_id, from, to).await?,
            _ => admin.reverse_forum(info.forum_id).await?,
        };
        settle(admin, info.forum_id, id).await?;
        told(crowd.phase(phase, begin.elapsed()));
        sleep(options.quiet).await;
        told(crowd.phase(after, options.quiet));
        let answer = admin.verify_forum(info.forum_id).await?;
        ensure!(answer.equal, "the replicas differ after the {phase}: {answer:?}");
    }
    crowd.send_home().await;
    let now = find(admin, &forum).await?.assignment.context("no assignment")?;
    ensure!(
        now.replicas.contains(&from) && !now.replicas.contains(&to),
        "the reverse did not bring it back: {now:?}"
    );
    Ok(())
}

async fn fill(system: &System, forum: &str, messages: u64) -> Result<()> {
    let mut fillers: JoinSet<Result<()>> = JoinSet::new();
    for (at, mut visitor) in (0..).zip(arrive(system, &[forum.to_owned()], FILLERS).await?) {
        let fillers_count = u64::from(FILLERS);
        let share = messages / fillers_count + u64::from(at < messages % fillers_count);
        fillers.spawn(async move {
            for _ in 0..share {
                visitor.post().await?;
            }
            Ok(())
        });
    }
    while let Some(filled) = fillers.join_next().await {
        filled??;
    }
    Ok(())
}

async fn find(admin: &Admin, forum: &str) -> Result<ForumInfo> {
    let key = ForumKey::of_name(forum.as_bytes()).0.to_vec();
    Ok(admin.forum(Which::Key(key.into())).await?)
}

/// The forum's primary, and a connected peer that has no part in it.
async fn ends(admin: &Admin, info: &ForumInfo) -> Result<(u32, u32)> {
    let assignment = info.assignment.as_ref().context("no assignment")?;
    let peers = admin.peers().await?;
    let free = peers.iter().find(|p| p.connected_to.is_some() && !assignment.replicas.contains(&p.peer_id));
    let free = free.context("every peer holds the forum already: more peers than replicas are needed")?;
    Ok((assignment.primary, free.peer_id))
}

/// Waits until the move is over and nothing of it is left.
async fn settle(admin: &Admin, forum: u32, id: u64) -> Result<()> {
    let until = Instant::now() + MOVE_WITHIN;
    loop {
        let all = admin.invitations(false, 100).await?;
        let info = all
            .into_iter()
            .find(|info| info.invitation_id == id)
            .context("the hubs forgot the invitation")?;
        let assignment = admin.forum(Which::ForumId(forum)).await?.assignment.context("no assignment")?;
        match info.status() {
            InvitationStatus::Completed if assignment.draining.is_empty() => return Ok(()),
            InvitationStatus::Completed | InvitationStatus::Waiting | InvitationStatus::Accepted => {}
            ended => bail!("the move ended as {ended:?} ({:?})", info.reason()),
        }
        ensure!(Instant::now() < until, "the move is not over after {MOVE_WITHIN:?}: {}", info.waits_for);
        sleep(Duration::from_millis(20)).await;
    }
}

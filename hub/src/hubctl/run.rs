//! One question or order from the command line, answered.

use std::{
    io::{Read, Write},
    time::Duration,
};

use loop_proto::{
    ids::ForumKey,
    v1::{PeerState, show_forum_request::Which},
};
use tokio::time::Instant;

use super::{
    Admin, Args, Command, CtlError, ForumCommand, ForumRef, PeerCommand, PeerRef,
    moves::{DoneView, InvitationsView, Looked, MigrationsView, PlanView, VerifyView},
    view::{ForumView, ForumsView, IdsView, PeersView, StatusView, TasksView, View},
};

/// How often `migrations --watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Migrations shown at once.
const MIGRATIONS_MAX: u32 = 1000;
/// Longest forum name read from standard input, bytes.
const NAME_BYTES_MAX: u64 = 64 << 10;

/// Asks what `args` say and writes the answer to `out`. `now_ms` is Unix time, for "3 min ago"; `input` is where
/// `--name -` reads from.
pub async fn run(args: &Args, now_ms: u64, input: impl Read, out: &mut impl Write) -> Result<(), CtlError> {
    let admin = Admin::new(&args.hubs, args.timeout)?;
    match &args.command {
        Command::Status => print(&StatusView::from(admin.status().await?), args.json, now_ms, out),
        Command::Peers => print(&PeersView::from(admin.peers().await?), args.json, now_ms, out),
        Command::Forums { peer, limit } => {
            print(&ForumsView::from(admin.forums(*peer, *limit).await?), args.json, now_ms, out)
        }
        Command::Forum(ForumCommand::Show { id, name }) => {
            let which = match (id, name) {
                (Some(id), _) => Which::ForumId(id.0.get()),
                (None, Some(name)) => Which::Key(key(name, input)?.0.to_vec().into()),
                (None, None) => return Err(CtlError::Usage("name a forum by id or by --name".into())),
            };
            print(&ForumView::from(admin.forum(which).await?), args.json, now_ms, out)
        }
        Command::Tasks { forum, limit } => {
            let tasks = admin.tasks(forum.map(|forum| forum.0.get()), *limit).await?;
            print(&TasksView::from(tasks), args.json, now_ms, out)
        }
        Command::Ids => print(&IdsView::from(admin.ids().await?), args.json, now_ms, out),
        Command::Forum(change) => {
            let done = change_forum(&admin, change).await?;
            print(&done, args.json, now_ms, out)
        }
        Command::Peer(change) => {
            let done = change_peer(&admin, *change).await?;
            print(&done, args.json, now_ms, out)
        }
        Command::Invitations { open, limit } => {
            let invitations = admin.invitations(*open, *limit).await?;
            print(&InvitationsView::from(invitations), args.json, now_ms, out)
        }
        Command::Migrations { watch } => migrations(&admin, *watch, args.json, now_ms, out).await,
        Command::Plan => print(&PlanView::from(admin.plan().await?), args.json, now_ms, out),
        Command::Verify { forum } => {
            let view = VerifyView::new(forum.0.get(), admin.verify_forum(forum.0.get()).await?);
            print(&view, args.json, now_ms, out)?;
            if view.equal { Ok(()) } else { Err(CtlError::Differ { forum: forum.0.get() }) }
        }
    }
}

async fn change_forum(admin: &Admin, change: &ForumCommand) -> Result<DoneView, CtlError> {
    let invited = |forum: &ForumRef, id| DoneView::invited(forum.0.get(), id);
    match change {
        ForumCommand::Show { .. } => Err(CtlError::Usage("nothing to change".into())),
        ForumCommand::Move { forum, from, to } => {
            Ok(invited(forum, admin.move_forum(forum.0.get(), *from, *to).await?))
        }
        ForumCommand::Add { forum, to } => Ok(invited(forum, admin.move_forum(forum.0.get(), 0, *to).await?)),
        ForumCommand::Reverse { forum } => Ok(invited(forum, admin.reverse_forum(forum.0.get()).await?)),
        ForumCommand::Replicas { forum, replicas } => {
            admin.set_forum_replicas(forum.0.get(), *replicas).await?;
            Ok(DoneView::replicas(forum.0.get(), *replicas))
        }
    }
}

async fn change_peer(admin: &Admin, change: PeerCommand) -> Result<DoneView, CtlError> {
    let (peer, state) = match change {
        PeerCommand::Drain(PeerRef { peer }) => (peer, PeerState::Draining),
        PeerCommand::Pause(PeerRef { peer }) => (peer, PeerState::Paused),
        PeerCommand::Resume(PeerRef { peer }) => (peer, PeerState::Active),
        PeerCommand::Remove(PeerRef { peer }) => (peer, PeerState::Removed),
    };
    admin.set_peer_state(peer, state).await?;
    Ok(DoneView::peer(peer, state))
}

/// Open invitations, once or every second. The rate of a copy is known from the second look on.
async fn migrations(
    admin: &Admin,
    watch: bool,
    json: bool,
    now_ms: u64,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    let began_at = Instant::now();
    let mut before = Looked::default();
    loop {
        let passed = began_at.elapsed();
        let now = Looked::at(passed, &admin.invitations(true, MIGRATIONS_MAX).await?);
        let view = MigrationsView::new(&before, &now);
        print(&view, json, now_ms + u64::try_from(passed.as_millis()).unwrap_or(0), out)?;
        if !watch {
            return Ok(());
        }
        before = now;
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// The hash stands for the name, which never leaves this process.
fn key(name: &str, input: impl Read) -> Result<ForumKey, CtlError> {
    if name != "-" {
        return Ok(ForumKey::of_name(name.as_bytes()));
    }
    let mut typed = Vec::new();
    input.take(NAME_BYTES_MAX).read_to_end(&mut typed)?;
    let end = typed.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    if end == 0 {
        return Err(CtlError::Usage("--name - found no name on standard input".into()));
    }
    Ok(ForumKey::of_name(&typed[..end]))
}

fn print(view: &impl View, json: bool, now_ms: u64, out: &mut impl Write) -> Result<(), CtlError> {
    let text = if json {
        serde_json::to_string_pretty(view).map_err(std::io::Error::from)? + "\n"
    } else {
        view.text(now_ms)
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_typed_and_a_name_piped_are_the_same_forum() {
        let nothing: &[u8] = b"";
        let typed = key("ajps_test", nothing).unwrap();
        assert_eq!(key("-", &b"ajps_test\r\n"[..]).unwrap(), typed);
        assert_eq!(typed, ForumKey::of_name(b"ajps_test"));
        assert_eq!(key("-", nothing).unwrap_err().exit_code(), 2);
    }
}

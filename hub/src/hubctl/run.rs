//! One question from the command line, answered; or one change, made.

use std::{
    io::{Read, Write},
    time::Duration,
};

use loop_proto::{
    ids::ForumKey,
    v1::{PeerState, show_forum_request::Which},
};

use super::{
    Admin, Args, Command, CtlError, ForumCommand, HubCommand, PeerCommand,
    view::{
        ForumView, ForumsView, HubRemoved, IdsView, InvitationsView, Invited, MigrationsView, PeerChanged,
        PeersView, PlanView, ReplicasChanged, StatusView, TasksView, VerifyView, View,
    },
    watch::{self, Shown},
};

/// Longest forum name read from standard input, bytes.
const NAME_BYTES_MAX: u64 = 64 << 10;

/// Most moves shown at once.
pub(super) const MIGRATIONS_MAX: u32 = 1000;

/// What a run of hubctl gets from the outside.
pub struct Outside<I, O> {
    /// Unix time when it was started, milliseconds: for "3 min ago".
    pub now_ms: u64,
    /// Where `--name -` reads from.
    pub input: I,
    /// Where answers go.
    pub out: O,
    /// Whether that is a terminal, which can be redrawn.
    pub terminal: bool,
}

/// Asks, or changes, what `args` say and writes the answer.
pub async fn run<I: Read, O: Write>(args: &Args, mut outside: Outside<I, O>) -> Result<(), CtlError> {
    let mut admin = Admin::new(&args.hubs, args.timeout)?;
    if let Some(token) = &args.admin_token {
        admin = admin.with_token(token.clone())?;
    }
    let (json, now_ms, out) = (args.json, outside.now_ms, &mut outside.out);
    match &args.command {
        Command::Status => {
            let view = StatusView::from(admin.status().await?);
            print(&view, json, now_ms, out)?;
            view.unwell().map_or(Ok(()), |why| Err(CtlError::Unwell(why)))
        }
        Command::Hub(HubCommand::Remove { hub }) => {
            let staying = admin.remove_hub(*hub).await?;
            print(&HubRemoved { hub: *hub, staying }, json, now_ms, out)
        }
        Command::Peers => print(&PeersView::from(admin.peers().await?), json, now_ms, out),
        Command::Peer(command) => {
            let (peer, state) = wanted(command)?;
            admin.set_peer_state(peer, state).await?;
            print(&PeerChanged::new(peer, state), json, now_ms, out)
        }
        Command::Forums { peer, unhealthy, limit } => {
            let (forums, more) = admin.forums_that(*peer, *unhealthy, *limit).await?;
            print(&ForumsView::new(forums, more, *unhealthy), json, now_ms, out)
        }
        Command::Forum(command) => forum(&admin, command, json, outside).await,
        Command::Tasks { forum, limit } => {
            let tasks = admin.tasks(forum.map(|forum| forum.0.get()), *limit).await?;
            print(&TasksView::from(tasks), json, now_ms, out)
        }
        Command::Ids => print(&IdsView::from(admin.ids().await?), json, now_ms, out),
        Command::Invitations { open, limit } => {
            let invitations = admin.invitations(*open, *limit).await?;
            print(&InvitationsView::from(invitations), json, now_ms, out)
        }
        Command::Migrations { watch: false, .. } => {
            let open = admin.invitations(true, MIGRATIONS_MAX).await?;
            print(&MigrationsView::new(open, None, now_ms), json, now_ms, out)
        }
        Command::Migrations { watch: true, interval_ms } => {
            let shown = Shown::choose(json, outside.terminal);
            watch::watch(&admin, Duration::from_millis(*interval_ms), shown, now_ms, out).await
        }
        Command::Plan => print(&PlanView::from(admin.plan().await?), json, now_ms, out),
        Command::Verify { forum, within } => {
            let forum = forum.0.get();
            let view = VerifyView::new(forum, admin.verify_forum_within(forum, *within).await?);
            print(&view, json, now_ms, out)?;
            view.problem().map_or(Ok(()), |problem| Err(CtlError::Unequal(problem)))
        }
    }
}

async fn forum<I: Read, O: Write>(
    admin: &Admin,
    command: &ForumCommand,
    json: bool,
    outside: Outside<I, O>,
) -> Result<(), CtlError> {
    let Outside { now_ms, input, mut out, .. } = outside;
    let (forum, invitation) = match command {
        ForumCommand::Show { id, name } => {
            let which = match (id, name) {
                (Some(id), _) => Which::ForumId(id.0.get()),
                (None, Some(name)) => Which::Key(key(name, input)?.0.to_vec().into()),
                (None, None) => return Err(CtlError::Usage("name a forum by id or by --name".into())),
            };
            return print(&ForumView::from(admin.forum(which).await?), json, now_ms, &mut out);
        }
        ForumCommand::Replicas { forum, replicas } => {
            let (forum, replicas) = (forum.0.get(), *replicas);
            admin.set_forum_replicas(forum, replicas).await?;
            return print(&ReplicasChanged { forum, replicas }, json, now_ms, &mut out);
        }
        ForumCommand::Move { forum, from, to } => (forum, admin.move_forum(forum.0.get(), *from, *to).await?),
        ForumCommand::Add { forum, to } => (forum, admin.move_forum(forum.0.get(), 0, *to).await?),
        ForumCommand::Reverse { forum } => (forum, admin.reverse_forum(forum.0.get()).await?),
    };
    print(&Invited { forum: forum.0.get(), invitation }, json, now_ms, &mut out)
}

fn wanted(command: &PeerCommand) -> Result<(u32, PeerState), CtlError> {
    match *command {
        PeerCommand::Drain { peer } => Ok((peer, PeerState::Draining)),
        PeerCommand::Pause { peer } => Ok((peer, PeerState::Paused)),
        PeerCommand::Resume { peer } => Ok((peer, PeerState::Active)),
        PeerCommand::Remove { peer, yes: true } => Ok((peer, PeerState::Removed)),
        PeerCommand::Remove { peer, yes: false } => Err(CtlError::Usage(format!(
            "removing p{peer} treats it as lost for ever: its connections are refused and its forums have a replica \
             less until others have copies. If it still runs, `hubctl peer drain p{peer}` empties it first without \
             that. If it is gone for good: `hubctl peer remove p{peer} --yes`"
        ))),
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

    #[test]
    fn removing_a_peer_needs_a_yes_and_says_what_to_do_instead() {
        let no = wanted(&PeerCommand::Remove { peer: 3, yes: false }).unwrap_err();
        assert_eq!(no.exit_code(), 2);
        assert!(no.to_string().contains("peer drain p3") && no.to_string().contains("--yes"), "{no}");
        let yes = wanted(&PeerCommand::Remove { peer: 3, yes: true }).unwrap();
        assert_eq!(yes, (3, PeerState::Removed));
    }
}

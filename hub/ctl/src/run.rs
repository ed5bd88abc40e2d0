//! One question from the command line, answered; or one change, made.

use std::{
    io::{Read, Write},
    time::Duration,
};

use loop_admin::{Admin, AdminError};
use loop_proto::{
    ids::ForumKey,
    v1::{ForumInfo, PeerState, PlannedStep, show_forum_request::Which},
};
use tokio::time::{Instant, sleep};

use super::{
    args::{
        Args, Command, ForumCommand, ForumRef, HubCommand, PeerCommand, ProjectionCommand, RealtimeCommand,
        StaticCommand,
    },
    confirm::Question,
    drain::Drain,
    folder,
    names::{Names, PeerRef},
    publish::Publish,
    table::Width,
    view::{
        BlockedView, ContentView, ForumClosed, ForumView, ForumsView, HubRemoved, IdsView, InvitationsView,
        Invited, Lacking, MigrationsView, Named, PeerChanged, PeersView, PlanView, ProjectionRebuilt,
        ProjectionVerified, ProjectionView, RealtimeConnectionsView, RealtimeUsersView, RemovedView,
        ReplicasChanged, StatusView, TasksView, Verdict, VerifyView, View,
    },
    watch::{self, MIGRATIONS_MAX, Shown},
};

/// Longest forum name read from standard input, bytes.
const NAME_BYTES_MAX: u64 = 64 << 10;

/// How long the hubs may take to plan anew after a change, and how often that is looked at.
const PLANNED_WITHIN: Duration = Duration::from_secs(3);
const PLAN_LOOK: Duration = Duration::from_millis(300);

/// What a run of hubctl gets from the outside.
pub struct Outside<I, O, E> {
    /// Unix time when it was started, milliseconds: for "3 min ago".
    pub now_ms: u64,
    /// Where `--name -` and a yes are read from.
    pub input: I,
    /// Where answers go.
    pub out: O,
    /// Where questions and remarks go.
    pub err: E,
    /// How wide `out` is where it is a terminal, which can be redrawn.
    pub terminal: Option<Width>,
    /// Whether somebody sits at `input` and `err`.
    pub asks: bool,
}

/// Asks, or changes, what `args` say and writes the answer.
pub async fn run<I: Read, O: Write, E: Write>(
    args: &Args,
    outside: Outside<I, O, E>,
) -> Result<(), AdminError> {
    let mut admin = Admin::new(&args.hubs, args.timeout)?;
    if let Some(token) = &args.admin_token {
        admin = admin.with_token(token.clone())?;
    }
    let width = if args.wide { Width::WIDE } else { outside.terminal.unwrap_or(Width::USUAL) };
    Run { admin, json: args.json, width, outside }.run(&args.command).await
}

struct Run<I, O, E> {
    admin: Admin,
    json: bool,
    width: Width,
    outside: Outside<I, O, E>,
}

impl<I: Read, O: Write, E: Write> Run<I, O, E> {
    async fn run(mut self, command: &Command) -> Result<(), AdminError> {
        match command {
            Command::Status => {
                let status = StatusView::from(self.admin.status().await?);
                self.print(&status)?;
                status.unwell().map_or(Ok(()), |why| Err(AdminError::Unwell(why)))
            }
            Command::Hub(HubCommand::Remove { hub, yes }) => self.remove_hub(*hub, *yes).await,
            Command::Peers => {
                let peers = PeersView::from(self.admin.peers().await?);
                self.print(&peers)
            }
            Command::Peer(command) => self.peer(command).await,
            Command::Forums { peer, unhealthy, limit } => {
                self.forums(peer.as_ref(), *unhealthy, *limit).await
            }
            Command::Forum(command) => self.forum(command).await,
            Command::Tasks { forum, limit } => {
                let forum = forum.map(|forum| forum.0.get());
                if let Some(id) = forum {
                    self.admin.forum(Which::ForumId(id)).await.map_err(|error| no_such_forum(id, error))?;
                }
                let tasks = TasksView::from(self.admin.tasks(forum, *limit).await?);
                self.print(&tasks)
            }
            Command::Ids => {
                let ids = IdsView::from(self.admin.ids().await?);
                self.print(&ids)
            }
            Command::Invitations { open, limit } => {
                let view = InvitationsView::from(self.admin.invitations(*open, *limit).await?);
                let peers = view.peers();
                let names = self.names().await?;
                self.print(&Named::new(view, peers, &names))
            }
            Command::Migrations { watch, interval_ms } => self.migrations(*watch, *interval_ms).await,
            Command::Plan => {
                let names = self.names().await?;
                let plan = PlanView::new(self.admin.plan().await?, &names);
                self.print(&plan)
            }
            Command::Verify { forum, within } => self.verify(forum.0.get(), *within).await,
            Command::Static(command) => self.published(command).await,
            Command::Realtime(command) => self.realtime(command).await,
            Command::Projection(command) => self.projection(*command).await,
        }
    }

    async fn projection(&mut self, command: ProjectionCommand) -> Result<(), AdminError> {
        match command {
            ProjectionCommand::Status => {
                let view = ProjectionView::from(self.admin.projection().await?);
                self.print(&view)?;
                view.unwell().map_or(Ok(()), |why| Err(AdminError::Unwell(why)))
            }
            ProjectionCommand::Rebuild { within } => {
                let view = ProjectionRebuilt::from(self.admin.rebuild_projection(within).await?);
                self.print(&view)
            }
            ProjectionCommand::Verify { within } => {
                let view = ProjectionVerified::from(self.admin.verify_projection(within).await?);
                self.print(&view)?;
                view.problem().map_or(Ok(()), |why| Err(AdminError::Unequal(why)))
            }
        }
    }

    async fn published(&mut self, command: &StaticCommand) -> Result<(), AdminError> {
        match command {
            StaticCommand::Publish { dir, prefix, prune, dry_run } => {
                let prefix = folder::prefix(prefix)?;
                let found = folder::walk(dir, &prefix)?;
                let watched = self.outside.terminal.is_some() && !self.json;
                let publish = Publish { found, prefix, prune: *prune, dry_run: *dry_run, watched };
                let view = publish.run(&self.admin).await?;
                self.print(&view)
            }
            StaticCommand::List { prefix } => {
                let view = ContentView::from(self.admin.content(prefix).await?);
                self.print(&view)
            }
            StaticCommand::Remove { paths } => {
                self.admin.remove_content(paths.clone()).await?;
                self.print(&RemovedView { removed: paths.clone() })
            }
        }
    }

    async fn realtime(&mut self, command: &RealtimeCommand) -> Result<(), AdminError> {
        match command {
            RealtimeCommand::Users { limit } => {
                let view = RealtimeUsersView::from(self.admin.realtime_users(*limit).await?);
                self.print(&view)
            }
            RealtimeCommand::Connections { limit } => {
                let view = RealtimeConnectionsView::from(self.admin.realtime_connections(*limit).await?);
                self.print(&view)
            }
        }
    }

    async fn names(&self) -> Result<Names, AdminError> {
        Ok(Names::new(self.admin.peers().await?))
    }

    fn shown(&self) -> Shown {
        Shown::choose(self.json, self.outside.terminal.is_some())
    }

    async fn remove_hub(&mut self, hub: u64, yes: bool) -> Result<(), AdminError> {
        let status = self.admin.status().await?;
        let members: Vec<(u64, String)> = status
            .hubs
            .into_iter()
            .filter_map(|hub| hub.node)
            .map(|node| (node.node_id, node.grpc_addr))
            .collect();
        let Some((_, at)) = members.iter().find(|(id, _)| *id == hub) else {
            let known: Vec<String> = members.iter().map(|(id, _)| format!("h{id}")).collect();
            return Err(AdminError::NotFound(format!(
                "no hub h{hub} in the group, which is {}; `hubctl status` shows them",
                known.join(", ")
            )));
        };
        if !yes {
            let warning = HubRemoved::warning(members.len() - 1).map(|warning| format!(" {warning}."));
            let means = format!(
                "h{hub} ({at}) leaves the group for ever: its data is of no more use, and its number is never used \
                 again.{}",
                warning.unwrap_or_default()
            );
            self.confirm(&means, &format!("h{hub}"))?;
        }
        let staying = self.admin.remove_hub(hub).await?;
        self.print(&HubRemoved { hub, staying })
    }

    /// A yes from whoever sits at the terminal. A script, which is what `--json` is for, is not asked.
    fn confirm(&mut self, means: &str, word: &str) -> Result<(), AdminError> {
        let question = Question { means, word, asks: self.outside.asks && !self.json };
        question.confirm(&mut self.outside.input, &mut self.outside.err)
    }

    async fn peer(&mut self, command: &PeerCommand) -> Result<(), AdminError> {
        let names = self.names().await?;
        let (wanted, state) = match command {
            PeerCommand::Drain { peer, .. } => (peer, PeerState::Draining),
            PeerCommand::Pause { peer } => (peer, PeerState::Paused),
            PeerCommand::Resume { peer } => (peer, PeerState::Active),
            PeerCommand::Remove { peer, .. } => (peer, PeerState::Removed),
        };
        let peer = self.resolve(wanted, &names)?;
        if let PeerCommand::Remove { yes: false, .. } = command {
            let (shown, typed) = (names.with_id(peer), names.typed(peer));
            self.confirm(&removal(&shown, &typed), &typed)?;
        }
        self.admin.set_peer_state(peer, state).await?;
        match command {
            PeerCommand::Drain { watch: true, wait, interval_ms, .. } => {
                let every = Duration::from_millis(*interval_ms);
                let drain = Drain { peer, every, wait: *wait, shown: self.shown(), width: self.width };
                drain.watch(&self.admin, &names, &mut self.outside.out).await
            }
            _ => self.print(&PeerChanged::new(peer, state, &names)),
        }
    }

    /// The id of a peer an order is about. Remarks if it could have been meant otherwise.
    fn resolve(&mut self, wanted: &PeerRef, names: &Names) -> Result<u32, AdminError> {
        if let Some(remark) = names.mistakable(wanted).filter(|_| !self.json) {
            writeln!(self.outside.err, "hubctl: {remark}")?;
        }
        names.id(wanted)
    }

    async fn forums(
        &mut self,
        peer: Option<&PeerRef>,
        unhealthy: bool,
        limit: u32,
    ) -> Result<(), AdminError> {
        let names = self.names().await?;
        let peer = match peer {
            Some(peer) => {
                names.known(peer)?;
                Some(self.resolve(peer, &names)?)
            }
            None => None,
        };
        let (forums, more) = self.admin.forums_that(peer, unhealthy, limit).await?;
        let peers: Vec<u32> = forums.iter().flat_map(holders).collect();
        self.print(&Named::new(ForumsView::new(forums, more, unhealthy), peers, &names))
    }

    async fn forum(&mut self, command: &ForumCommand) -> Result<(), AdminError> {
        let (forum, invitation) = match command {
            ForumCommand::Show { id, name } => {
                let which = self.which(id.as_ref(), name.as_deref())?;
                let (forum, names) = (self.admin.forum(which).await?, self.names().await?);
                let peers = holders(&forum);
                let blocked = forum.blocked.as_ref().map(|blocked| BlockedView::new(blocked, &names));
                let view = Lacking::new(ForumView::from(forum), blocked);
                return self.print(&Named::new(view, peers, &names));
            }
            ForumCommand::Close { id, name, yes } => {
                let which = self.which(id.as_ref(), name.as_deref())?;
                return self.close_forum(which, *yes).await;
            }
            ForumCommand::Replicas { forum, replicas } => {
                return self.replicas(forum.0.get(), *replicas).await;
            }
            ForumCommand::Move { forum, from, to } => {
                let names = self.names().await?;
                let (from, to) = (self.resolve(from, &names)?, self.resolve(to, &names)?);
                (forum, self.admin.move_forum(forum.0.get(), from, to).await?)
            }
            ForumCommand::Add { forum, to } => {
                let names = self.names().await?;
                let to = self.resolve(to, &names)?;
                (forum, self.admin.move_forum(forum.0.get(), 0, to).await?)
            }
            ForumCommand::Reverse { forum } => (forum, self.admin.reverse_forum(forum.0.get()).await?),
        };
        self.print(&Invited { forum: forum.0.get(), invitation })
    }

    fn which(&mut self, id: Option<&ForumRef>, name: Option<&str>) -> Result<Which, AdminError> {
        match (id, name) {
            (Some(id), _) => Ok(Which::ForumId(id.0.get())),
            (None, Some(name)) => Ok(Which::Key(key(name, &mut self.outside.input)?.0.to_vec().into())),
            (None, None) => Err(AdminError::Usage("name a forum by id or by --name".into())),
        }
    }

    async fn close_forum(&mut self, which: Which, yes: bool) -> Result<(), AdminError> {
        let closed = ForumClosed::of(&self.admin.forum(which).await?);
        if !yes {
            self.confirm(&closed.warning(), &format!("f{}", closed.forum))?;
        }
        self.admin.close_forum(closed.forum).await?;
        self.print(&closed)
    }

    async fn replicas(&mut self, forum: u32, replicas: u32) -> Result<(), AdminError> {
        self.admin.set_forum_replicas(forum, replicas).await?;
        let blocked = self.cannot_be_met(forum).await;
        self.print(&ReplicasChanged { forum, replicas, blocked })
    }

    /// Why a forum cannot have what it shall have now, once the hubs have planned for it. What cannot be found out is
    /// no reason to call the change, which is made, a failure.
    async fn cannot_be_met(&self, forum: u32) -> Option<BlockedView> {
        let until = Instant::now() + PLANNED_WITHIN;
        loop {
            let now = self.admin.forum(Which::ForumId(forum)).await.ok()?;
            let assignment = now.assignment.unwrap_or_default();
            if assignment.replicas.len() + assignment.joining.len() >= now.replicas_wanted as usize {
                return None;
            }
            let plan = self.admin.plan().await.ok()?;
            if let Some(blocked) = plan.blocked.iter().find(|blocked| blocked.forum_id == forum) {
                return Some(BlockedView::new(blocked, &self.names().await.unwrap_or_default()));
            }
            // Whatever else is planned for it, a new primary say, gives it no copy.
            let is_met = |step: &PlannedStep| step.forum_id == forum && step.what == "invite";
            if plan.steps.iter().any(is_met) || Instant::now() >= until {
                return None;
            }
            sleep(PLAN_LOOK).await;
        }
    }

    async fn migrations(&mut self, watch: bool, interval_ms: u64) -> Result<(), AdminError> {
        let (now_ms, width, shown) = (self.outside.now_ms, self.width, self.shown());
        if watch {
            let every = Duration::from_millis(interval_ms);
            return watch::watch(&self.admin, every, shown, (now_ms, width), &mut self.outside.out).await;
        }
        let open = self.admin.invitations(true, MIGRATIONS_MAX).await?;
        let view = MigrationsView::new(open, None, now_ms);
        let (peers, names) = (view.peers(), self.names().await?);
        self.print(&Named::new(view, peers, &names))
    }

    async fn verify(&mut self, forum: u32, within: Duration) -> Result<(), AdminError> {
        let names = self.names().await?;
        let view = VerifyView::new(forum, self.admin.verify_forum_within(forum, within).await?, &names);
        self.print(&view)?;
        match (view.problem(), view.verdict) {
            (None, _) => Ok(()),
            (Some(problem), Verdict::Unanswered) => Err(AdminError::Unfinished(problem)),
            (Some(problem), Verdict::NothingToCompare) => Err(AdminError::Impossible(problem)),
            (Some(problem), Verdict::Differ | Verdict::Equal) => Err(AdminError::Unequal(problem)),
        }
    }

    fn print(&mut self, view: &impl View) -> Result<(), AdminError> {
        let text = if self.json {
            serde_json::to_string_pretty(view).map_err(std::io::Error::from)? + "\n"
        } else {
            view.text_within(self.outside.now_ms, self.width)
        };
        self.outside.out.write_all(text.as_bytes())?;
        self.outside.out.flush()?;
        Ok(())
    }
}

/// Whoever has a part in a forum.
fn holders(forum: &ForumInfo) -> Vec<u32> {
    let Some(assignment) = &forum.assignment else { return Vec::new() };
    let joining = assignment.joining.iter().flat_map(|joining| [joining.peer_id, joining.source]);
    assignment.replicas.iter().chain(&assignment.draining).copied().chain(joining).collect()
}

fn no_such_forum(id: u32, error: AdminError) -> AdminError {
    match error {
        AdminError::NotFound(_) => {
            AdminError::NotFound(format!("nobody has opened forum f{id}; `hubctl forums` lists them"))
        }
        other => other,
    }
}

fn removal(shown: &str, typed: &str) -> String {
    format!(
        "Removing {shown} treats it as lost for ever: its connections are refused and its forums have a replica less \
         until others have copies. If it still runs, `hubctl peer drain {typed}` empties it first without that."
    )
}

/// The hash stands for the name, which never leaves this process.
fn key(name: &str, input: impl Read) -> Result<ForumKey, AdminError> {
    if name != "-" {
        return Ok(ForumKey::of_name(name.as_bytes()));
    }
    let mut typed = Vec::new();
    input.take(NAME_BYTES_MAX).read_to_end(&mut typed)?;
    let end = typed.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    if end == 0 {
        return Err(AdminError::Usage("--name - found no name on standard input".into()));
    }
    Ok(ForumKey::of_name(&typed[..end]))
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
    fn removing_a_peer_says_what_to_do_instead() {
        let means = removal("p3 attic", "attic");
        assert!(means.contains("p3 attic") && means.contains("`hubctl peer drain attic`"), "{means}");
    }
}

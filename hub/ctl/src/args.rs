//! The command line of `hubctl`.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand};
use loop_net::secret::Secret;
use loop_proto::ids::ForumId;

use super::names::PeerRef;

/// Asks the hubs how things are, and tells them where forums shall be.
///
/// A peer is named by its id (`3` or `p3`) or by what its owner called it (`attic`). What looks like an id is one: a peer
/// that is called `p3` is reached by its id only.
///
/// Exit codes: 0 answered or done, 1 the hub refused or replicas differ, 2 wrong usage, 3 no hub reachable, 4 not found,
/// 5 answered, and not all is well, 6 somebody did not answer or finish in time, 7 it cannot be done as things are. With
/// --json a failure is a line of JSON on standard error: {"error":{"code":…,"exit_code":…,"message":…}}.
#[derive(Clone, Debug, Parser)]
#[command(name = "hubctl", version, arg_required_else_help = true)]
pub struct Args {
    /// A hub's gRPC address, with or without `http://`; may be repeated: the first that answers is asked
    #[arg(
        long = "hub",
        value_name = "HOST:PORT",
        env = "LOOP_HUBCTL_HUB",
        value_delimiter = ',',
        default_value = "127.0.0.1:9080",
        global = true
    )]
    pub hubs: Vec<String>,
    /// The hubs' admin token, if they ask for one. Better given in the environment, out of sight of `ps`
    #[arg(
        long,
        value_name = "TOKEN",
        env = "LOOP_HUBCTL_ADMIN_TOKEN",
        hide_env_values = true,
        value_parser = token,
        global = true
    )]
    pub admin_token: Option<Secret>,
    /// Print JSON instead of a table, also when something goes wrong (then on standard error)
    #[arg(long, global = true)]
    pub json: bool,
    /// Show every column and all of it; else tables are as wide as the terminal, or 80
    #[arg(long, global = true)]
    pub wide: bool,
    /// Seconds each hub has to answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, global = true)]
    pub timeout: Duration,
    /// What to ask
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// The group: its hubs, who leads, how far it has come, and what is not well; exit code 5 if there is no majority of
    /// hubs, or a forum has no live copy, or too few for longer than --peer-grace-s
    Status,
    /// Which hubs form the group
    #[command(subcommand)]
    Hub(HubCommand),
    /// The volunteers' machines
    Peers,
    /// What becomes of one of them
    #[command(subcommand)]
    Peer(PeerCommand),
    /// The forums, by id
    Forums {
        /// Only those this peer holds, by its id or name
        #[arg(long, value_name = "PEER")]
        peer: Option<PeerRef>,
        /// Only those with fewer live copies than wanted
        #[arg(long)]
        unhealthy: bool,
        /// Most to list
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// One forum: show it, move it, say how many replicas it shall have
    #[command(subcommand)]
    Forum(ForumCommand),
    /// Which peers were asked to hold which forums, and what became of it; newest first
    Invitations {
        /// Only those of which something is still to be done
        #[arg(long)]
        open: bool,
        /// Most to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// What is on its way from peer to peer now: how far, how fast, and what it waits for
    Migrations {
        /// Go on showing it until Ctrl-C: redrawn on a terminal, else a line (with --json an object) when it changes
        #[arg(long)]
        watch: bool,
        /// How often to look, milliseconds
        #[arg(
            long,
            value_name = "MS",
            default_value_t = 1000,
            requires = "watch",
            value_parser = clap::value_parser!(u64).range(50..=3_600_000)
        )]
        interval_ms: u64,
    },
    /// What balance would do now, most urgent first, and what is due and cannot be done
    Plan,
    /// Compare all replicas of a forum at one position of the log
    ///
    /// Exit codes: 0 all answered and are equal, 1 they differ, 6 some did not answer in time and the others are equal,
    /// 7 there is only one replica, so nothing was compared.
    Verify {
        /// The forum, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
        /// Seconds the replicas may take
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
        within: Duration,
    },
    /// Tasks nobody has answered yet, oldest first
    Tasks {
        /// Only this forum's, as `12` or `f12`
        #[arg(long, value_name = "ID")]
        forum: Option<ForumRef>,
        /// Most to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// The numbers given next to messages, tasks, users and forums
    Ids,
    /// The files hubs serve beside their own: scripts, styles, pictures
    #[command(subcommand)]
    Static(StaticCommand),
    /// Socket.IO clients: who is there, and how they are connected
    #[command(subcommand)]
    Realtime(RealtimeCommand),
    /// The rows a hub keeps in MySQL or MariaDB: that of the first hub that answers, so name one with --hub
    #[command(subcommand)]
    Projection(ProjectionCommand),
}

/// What can be asked about Socket.IO clients.
#[derive(Clone, Debug, Subcommand)]
pub enum RealtimeCommand {
    /// Users on all hubs, in the order of the list that clients get, and where they are connected
    Users {
        /// Most to list
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Connections of the hub that answers, oldest first
    Connections {
        /// Most to list
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
}

/// What can be asked about a hub's rows in MySQL.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ProjectionCommand {
    /// Where they are and how far; exit code 5 if they are down, behind or being made anew
    Status,
    /// Make them anew from what the hub has applied
    Rebuild {
        /// Seconds it may take
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
        within: Duration,
    },
    /// Compare them, row by row, with what the hub has applied at that moment; exit code 1 if they differ
    Verify {
        /// Seconds it may take
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
        within: Duration,
    },
}

/// What may become of published files.
#[derive(Clone, Debug, Subcommand)]
pub enum StaticCommand {
    /// Publish a folder: each file is put on up to three peers, and every hub serves it from then on
    ///
    /// Hidden files are left out. What is published already and has not changed is not sent again, unless no peer that has
    /// it is connected. Nothing is changed before all bytes have been taken.
    Publish {
        /// The folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// What the paths begin with
        #[arg(long, value_name = "PATH", default_value = "/")]
        prefix: String,
        /// Remove what is published below the prefix and is not in the folder
        #[arg(long)]
        prune: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// What is published, by path
    List {
        /// Only paths that begin so
        #[arg(long, value_name = "PATH", default_value = "")]
        prefix: String,
    },
    /// Serve these paths no more
    Remove {
        /// The paths, from `/` on
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<String>,
    },
}

/// What may become of a hub.
#[derive(Clone, Debug, Subcommand)]
pub enum HubCommand {
    /// Take it out of the group for ever, running or not. Asks first, or needs --yes
    ///
    /// Its data is of no more use and its number is never used again. To replace it, start a new one with `--join`, an
    /// empty data folder and a number no hub has had: before this if the old one still runs, else after. `make run` does
    /// that itself: `make run ARGS="--replace-hub 2"`.
    Remove {
        /// The hub, as `3` or `h3`
        #[arg(value_name = "HUB", value_parser = hub_id)]
        hub: u64,
        /// Yes, for ever: do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What can be asked about one forum.
#[derive(Clone, Debug, Subcommand)]
pub enum ForumCommand {
    /// Who holds it and how far it has come
    Show {
        /// The forum's id, as `12` or `f12`
        #[arg(value_name = "ID", required_unless_present = "name")]
        id: Option<ForumRef>,
        /// The forum's name; only its hash is sent. `-` reads it from standard input, out of sight of `ps`
        #[arg(long, conflicts_with = "id", value_name = "NAME")]
        name: Option<String>,
    },
    /// Have one peer take the place of another
    Move {
        /// The forum, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
        /// The peer that leaves, by its id or name
        #[arg(long, value_name = "PEER")]
        from: PeerRef,
        /// The peer that takes its place
        #[arg(long, value_name = "PEER")]
        to: PeerRef,
    },
    /// Have one more peer hold it; it shall have one replica more from then on (`forum replicas` says so too)
    Add {
        /// The forum, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
        /// The peer that shall hold it too, by its id or name
        #[arg(long, value_name = "PEER")]
        to: PeerRef,
    },
    /// Move its last completed move back
    Reverse {
        /// The forum, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
    },
    /// Say how many replicas it shall have, and be told if that cannot be met now
    Replicas {
        /// The forum, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
        /// How many, 1 to 4; 0: as many as the hubs' default
        #[arg(value_name = "REPLICAS", value_parser = clap::value_parser!(u32).range(0..=64))]
        replicas: u32,
    },
    /// Delete it everywhere for ever, with all its messages. Asks first, or needs --yes
    ///
    /// Its name is free from then on: whoever writes under it opens a new forum. Forums in which there has been nothing for a day
    /// are closed by the hubs themselves.
    Close {
        /// The forum's id, as `12` or `f12`
        #[arg(value_name = "ID", required_unless_present = "name")]
        id: Option<ForumRef>,
        /// The forum's name; only its hash is sent. `-` reads it from standard input, out of sight of `ps`
        #[arg(long, conflicts_with = "id", value_name = "NAME")]
        name: Option<String>,
        /// Yes, with all its messages: do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What may become of a peer.
#[derive(Clone, Debug, Subcommand)]
pub enum PeerCommand {
    /// Have other peers take over all it holds; nothing new is given to it
    ///
    /// With --watch, exit codes: 0 it is empty, 6 --wait is over or Ctrl-C, 7 no other peer can take what is left. The
    /// draining goes on in all cases; `hubctl peer resume` ends it.
    Drain {
        /// The peer, by its id or name
        #[arg(value_name = "PEER")]
        peer: PeerRef,
        /// Stay until it is empty: shows how many forums are still to move, what it waits for and what cannot be done
        #[arg(long)]
        watch: bool,
        /// Stay so long at most, seconds
        #[arg(long, value_name = "SECONDS", requires = "watch", value_parser = days)]
        wait: Option<Duration>,
        /// How often to look, milliseconds
        #[arg(
            long,
            value_name = "MS",
            default_value_t = 1000,
            requires = "watch",
            value_parser = clap::value_parser!(u64).range(50..=3_600_000)
        )]
        interval_ms: u64,
    },
    /// Leave it what it holds and give it nothing new
    Pause {
        /// The peer, by its id or name
        #[arg(value_name = "PEER")]
        peer: PeerRef,
    },
    /// Let it take forums again, also after `drain` and `remove`
    Resume {
        /// The peer, by its id or name
        #[arg(value_name = "PEER")]
        peer: PeerRef,
    },
    /// Treat it as lost for ever: its connections are refused, its forums get other replicas at once. `drain` it
    /// first if it still runs: that way no forum is short of a replica meanwhile. Asks first, or needs --yes
    Remove {
        /// The peer, by its id or name
        #[arg(value_name = "PEER")]
        peer: PeerRef,
        /// Yes, without draining it first: do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A forum's id as an operator types it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForumRef(pub ForumId);

impl FromStr for ForumRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = number(text, 'f').and_then(ForumId::new);
        id.map(Self).ok_or_else(|| "a forum's id is a number from 1 on, as 12 or f12".to_owned())
    }
}

impl fmt::Display for ForumRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn hub_id(text: &str) -> Result<u64, String> {
    let id = number(text, 'h').filter(|id| *id > 0);
    id.map(u64::from).ok_or_else(|| "a hub's number is 1 or more, as 3 or h3".to_owned())
}

fn number(text: &str, prefix: char) -> Option<u32> {
    text.strip_prefix(prefix).unwrap_or(text).parse().ok()
}

fn token(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::from(text.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    up_to(text, 3600)
}

fn days(text: &str) -> Result<Duration, String> {
    up_to(text, 31 * 24 * 3600)
}

fn up_to(text: &str, most: u32) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..=f64::from(most)).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("between 0.001 and {most} seconds"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_question() {
        let args = parse("hubctl --hub a:1 status --hub b:2 --json --timeout 0.5").unwrap();
        assert_eq!(args.timeout, Duration::from_millis(500));
        assert!(args.json && args.hubs.contains(&"b:2".to_owned()));
        assert_eq!(parse("hubctl ids").unwrap().hubs, ["127.0.0.1:9080"]);
    }

    #[test]
    fn forums_are_named_by_number_or_letter_and_number() {
        for text in ["12", "f12"] {
            assert_eq!(text.parse::<ForumRef>().unwrap().to_string(), "f12");
        }
        for text in ["", "f", "0", "f0", "p12", "-1", "4294967296", "12 "] {
            assert!(text.parse::<ForumRef>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn changes_name_forums_and_peers_in_either_way() {
        for line in ["hubctl forum move f12 --from p2 --to p4", "hubctl forum move 12 --to 4 --from 2"] {
            let Command::Forum(ForumCommand::Move { forum, from, to }) = parse(line).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!((forum.0.get(), from, to), (12, PeerRef::Id(2), PeerRef::Id(4)));
        }
        let line = "hubctl forum move f12 --from attic --to p4";
        let Command::Forum(ForumCommand::Move { from, .. }) = parse(line).unwrap().command else {
            panic!("{line}")
        };
        assert_eq!(from, PeerRef::Name("attic".into()));
        for line in [
            "hubctl forum add f12 --to p4",
            "hubctl forum reverse 12",
            "hubctl forum replicas f12 4",
            "hubctl forum close f12",
            "hubctl forum close --name ajps_test --yes",
            "hubctl peer drain p3",
            "hubctl peer drain attic --watch --wait 600 --interval-ms 200 --json",
            "hubctl forums --peer attic --wide",
            "hubctl peer pause 3",
            "hubctl peer resume p3",
            "hubctl peer remove p3 --yes",
            "hubctl hub remove h3",
            "hubctl hub remove 3 --yes",
            "hubctl forums --unhealthy --peer p3",
            "hubctl invitations --open --limit 5",
            "hubctl migrations --watch --interval-ms 200 --json",
            "hubctl plan",
            "hubctl verify f12 --within 5",
            "hubctl static publish site --prefix /x --prune --dry-run --json",
            "hubctl static list --prefix /x/",
            "hubctl static remove /a.js /b.css",
        ] {
            parse(line).unwrap();
        }
    }

    #[test]
    fn the_admin_token_is_never_printed() {
        let args = parse("hubctl plan --admin-token a-token-nobody-may-see").unwrap();
        assert!(args.admin_token.is_some());
        assert!(!format!("{args:?}").contains("nobody-may-see"));
    }

    #[test]
    fn nonsense_is_refused_before_anything_is_sent() {
        for line in [
            "hubctl forum show",
            "hubctl forum show 3 --name x",
            "hubctl tasks --limit 0",
            "hubctl forums --peer 0",
            "hubctl status --timeout never",
            "hubctl status --timeout 1e300",
            "hubctl destroy",
            "hubctl forum move f12 --from p2",
            "hubctl forum move f12 --from 0 --to p4",
            "hubctl forum move p12 --from p2 --to p4",
            "hubctl forum add f12",
            "hubctl forum replicas f12",
            "hubctl forum replicas f12 -1",
            "hubctl forum close",
            "hubctl forum close 12 --name ajps_test",
            "hubctl peer drain",
            "hubctl peer drain p0",
            "hubctl peer drain p3 --wait 5",
            "hubctl peer explode p3",
            "hubctl hub remove",
            "hubctl hub remove p3",
            "hubctl hub remove 0",
            "hubctl invitations --limit 0",
            "hubctl migrations --interval-ms 200",
            "hubctl migrations --watch --interval-ms 1",
            "hubctl verify",
            "hubctl verify 0",
            "hubctl static publish",
            "hubctl static remove",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

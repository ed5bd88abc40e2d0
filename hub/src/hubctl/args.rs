//! The command line of `hubctl`.

use std::{fmt, str::FromStr, time::Duration};

use clap::{Parser, Subcommand};
use loop_proto::ids::ForumId;

/// Asks the hubs how things are, and tells them what to move.
///
/// Exit codes: 0 answered, 1 the hub refused or replicas differ, 2 wrong usage, 3 no hub reachable, 4 not found.
#[derive(Clone, Debug, Parser)]
#[command(name = "hubctl", version, arg_required_else_help = true)]
pub struct Args {
    /// A hub's gRPC address; may be repeated: the first that answers is asked
    #[arg(
        long = "hub",
        value_name = "HOST:PORT",
        env = "LOOP_HUBCTL_HUB",
        value_delimiter = ',',
        default_value = "127.0.0.1:9080",
        global = true
    )]
    pub hubs: Vec<String>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// Seconds to wait for each hub
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, global = true)]
    pub timeout: Duration,
    /// What to ask
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// The group: its hubs, who leads, how far it has come
    Status,
    /// The volunteers' machines
    Peers,
    /// The forums, by id
    Forums {
        /// Only those this peer holds, as `3` or `p3`
        #[arg(long, value_name = "ID", value_parser = peer_id)]
        peer: Option<u32>,
        /// Most to list
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// One forum
    #[command(subcommand)]
    Forum(ForumCommand),
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
    /// What a peer may hold
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Who was asked to hold which forum, and what became of it; newest first
    Invitations {
        /// Only those that are under way
        #[arg(long)]
        open: bool,
        /// Most to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Forums on the move: how far they are, how fast, and what they wait for
    Migrations {
        /// Look again every second, until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// What balance would do now, most urgent first
    Plan,
    /// Compare the digests of a forum's replicas at one position of the log; exit code 1 if they differ
    Verify {
        /// The forum's id, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
    },
}

/// What can be said of a peer.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum PeerCommand {
    /// Have its forums taken over by others until it holds none
    Drain(PeerRef),
    /// Let it keep what it holds and give it nothing new
    Pause(PeerRef),
    /// Let it hold forums again, also one that was removed
    Resume(PeerRef),
    /// Give it up for lost: its connections are refused, others get its forums
    Remove(PeerRef),
}

/// A peer as an operator names it.
#[derive(clap::Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRef {
    /// The peer's id, as `3` or `p3`
    #[arg(value_name = "PEER", value_parser = peer_id)]
    pub peer: u32,
}

/// What can be asked about one forum, or done with it.
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
    /// Move it from one peer to another while it is in use
    Move {
        /// The forum's id, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
        /// The peer that gives it up, as `3` or `p3`
        #[arg(long, value_name = "PEER", value_parser = peer_id)]
        from: u32,
        /// The peer that gets it
        #[arg(long, value_name = "PEER", value_parser = peer_id)]
        to: u32,
    },
    /// Keep it on one more peer
    Add {
        /// The forum's id, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
        /// The peer that gets it
        #[arg(long, value_name = "PEER", value_parser = peer_id)]
        to: u32,
    },
    /// Move its last completed move back
    Reverse {
        /// The forum's id, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
    },
    /// Say on how many peers it is to be kept
    Replicas {
        /// The forum's id, as `12` or `f12`
        #[arg(value_name = "FORUM")]
        forum: ForumRef,
        /// 1 to 4; 0: as many as the hubs' default
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(0..=4))]
        replicas: u32,
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

fn peer_id(text: &str) -> Result<u32, String> {
    let id = number(text, 'p').filter(|id| *id > 0);
    id.ok_or_else(|| "a peer's id is a number from 1 on, as 3 or p3".to_owned())
}

fn number(text: &str, prefix: char) -> Option<u32> {
    text.strip_prefix(prefix).unwrap_or(text).parse().ok()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "between 0.001 and 3600 seconds".to_owned())
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
    fn moves_name_a_forum_and_peers() {
        let args = parse("hubctl forum move f12 --from p3 --to 7").unwrap();
        let Command::Forum(ForumCommand::Move { forum, from, to }) = args.command else { panic!("{args:?}") };
        assert_eq!((forum.to_string().as_str(), from, to), ("f12", 3, 7));
        let args = parse("hubctl peer drain p3 --json").unwrap();
        assert!(matches!(args.command, Command::Peer(PeerCommand::Drain(PeerRef { peer: 3 }))));
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
    fn nonsense_is_refused_before_anything_is_sent() {
        for line in [
            "hubctl forum show",
            "hubctl forum show 3 --name x",
            "hubctl tasks --limit 0",
            "hubctl forums --peer 0",
            "hubctl status --timeout never",
            "hubctl status --timeout 1e300",
            "hubctl destroy",
            "hubctl forum move f1 --to p2",
            "hubctl forum move f1 --from p2",
            "hubctl forum replicas f1 5",
            "hubctl forum reverse",
            "hubctl peer drain",
            "hubctl peer remove 0",
            "hubctl verify p1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

//! Peers by what their owners called them: from what an operator types to an id, and back to something to read.

use std::{collections::BTreeMap, fmt::Write, str::FromStr};

use loop_admin::AdminError;
use loop_proto::v1;

use super::table::{clean, cut};

/// Longest name a peer can have, characters.
const NAME_CHARS_MAX: usize = 64;
/// How much of a name is shown beside an id.
const NAME_SHOWN: usize = 24;

/// A peer as an operator types it: `3` and `p3` are ids, whatever peers are called; anything else is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRef {
    /// The id the hubs gave it.
    Id(u32),
    /// What its owner called it.
    Name(String),
}

impl FromStr for PeerRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "a peer is named by its id, as 3 or p3, or by what its owner called it".to_owned();
        if looks_like_an_id(text) {
            let id = text.strip_prefix('p').unwrap_or(text).parse().ok().filter(|id| *id > 0);
            return id.map(Self::Id).ok_or_else(wrong);
        }
        let length = text.chars().count();
        let fine = (1..=NAME_CHARS_MAX).contains(&length) && !text.chars().any(char::is_control);
        if fine { Ok(Self::Name(text.to_owned())) } else { Err(wrong()) }
    }
}

/// Whether nobody can mean a name by it.
fn looks_like_an_id(text: &str) -> bool {
    let digits = text.strip_prefix('p').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// All peers that ever joined, for looking up.
#[derive(Clone, Debug, Default)]
pub struct Names {
    peers: Vec<v1::PeerInfo>,
    by_id: BTreeMap<u32, String>,
}

impl Names {
    pub fn new(peers: Vec<v1::PeerInfo>) -> Self {
        let by_id = peers.iter().map(|peer| (peer.peer_id, clean(&peer.name))).collect();
        Self { peers, by_id }
    }

    /// `p3 attic`; `p3` where the hubs know no name.
    pub fn with_id(&self, peer: u32) -> String {
        match self.name(peer) {
            Some(name) => format!("p{peer} {}", cut(name, NAME_SHOWN)),
            None => format!("p{peer}"),
        }
    }

    /// What its owner called it.
    pub fn name(&self, peer: u32) -> Option<&str> {
        self.by_id.get(&peer).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// What is known of a peer.
    pub fn get(&self, peer: u32) -> Option<&v1::PeerInfo> {
        self.peers.iter().find(|known| known.peer_id == peer)
    }

    /// As a peer can be named in an order: by its name if that is enough.
    pub fn typed(&self, peer: u32) -> String {
        match self.name(peer) {
            Some(name) if self.called(name).count() == 1 && is_a_word(name) => name.to_owned(),
            _ => format!("p{peer}"),
        }
    }

    /// The id of a peer that the hubs must know. Exit code 4 where they do not, 2 where several have the name.
    pub fn known(&self, wanted: &PeerRef) -> Result<u32, AdminError> {
        match wanted {
            PeerRef::Id(id) if self.get(*id).is_none() => Err(AdminError::NotFound(self.no_such_id(*id))),
            _ => self.id(wanted),
        }
    }

    /// The same for an order. Whether there is a peer with this id is the hubs' to say: another one may know more.
    pub fn id(&self, wanted: &PeerRef) -> Result<u32, AdminError> {
        let name = match wanted {
            PeerRef::Id(id) => return Ok(*id),
            PeerRef::Name(name) => name,
        };
        let called: Vec<&v1::PeerInfo> = self.called(name).collect();
        match called.as_slice() {
            [] => Err(AdminError::NotFound(self.no_such_name(name))),
            [one] => Ok(one.peer_id),
            many => Err(AdminError::Ambiguous(ambiguous(name, many))),
        }
    }

    /// A sentence where an id was typed that is also another peer's name.
    pub fn mistakable(&self, wanted: &PeerRef) -> Option<String> {
        let PeerRef::Id(id) = wanted else { return None };
        let other = self.called_like_an_id(*id)?;
        Some(format!(
            "p{id} is taken for the id; the peer that is called {} is p{}",
            clean(&other.name),
            other.peer_id
        ))
    }

    fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a v1::PeerInfo> {
        self.peers.iter().filter(move |peer| peer.name == name)
    }

    fn called_like_an_id(&self, id: u32) -> Option<&v1::PeerInfo> {
        let like = |peer: &&v1::PeerInfo| {
            let named = peer.name.parse() == Ok(PeerRef::Id(id));
            named && peer.peer_id != id
        };
        self.peers.iter().find(like)
    }

    fn no_such_id(&self, id: u32) -> String {
        let mut text = format!("no peer p{id} has ever joined; `hubctl peers` lists them");
        if let Some(other) = self.called_like_an_id(id) {
            let (name, other) = (clean(&other.name), other.peer_id);
            text += &format!(". The peer that is called {name} is p{other}: such a name is taken for an id");
        }
        text
    }

    fn no_such_name(&self, name: &str) -> String {
        let lower = name.to_lowercase();
        let near = |peer: &&v1::PeerInfo| {
            let other = peer.name.to_lowercase();
            !other.is_empty() && (other.contains(&lower) || lower.contains(&other))
        };
        let like: Vec<String> =
            self.peers.iter().filter(near).take(5).map(|peer| self.with_id(peer.peer_id)).collect();
        let hint =
            if like.is_empty() { String::new() } else { format!("did you mean {}? ", like.join(" or ")) };
        format!("no peer is called {}; {hint}`hubctl peers` lists them", clean(name))
    }
}

/// Whether a shell takes it for one word, as it is.
fn is_a_word(name: &str) -> bool {
    !looks_like_an_id(name)
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn ambiguous(name: &str, called: &[&v1::PeerInfo]) -> String {
    let mut text = format!("{} peers are called {}; name one by its id:", called.len(), clean(name));
    for peer in called {
        let owner = match peer.owner.as_str() {
            "" => "no owner named".to_owned(),
            owner => format!("owner {}", clean(owner)),
        };
        let there = match peer.connected_to {
            Some(hub) => format!("connected to h{hub}"),
            None => "away".to_owned(),
        };
        let state = super::view::state(peer.state());
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  p{}: {owner}, {state}, {there}", peer.peer_id);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(peer_id: u32, name: &str, connected_to: Option<u64>) -> v1::PeerInfo {
        let owner = if peer_id == 3 { "ann".into() } else { String::new() };
        let state = v1::PeerState::Active.into();
        v1::PeerInfo { peer_id, name: name.into(), owner, connected_to, state, ..Default::default() }
    }

    fn names() -> Names {
        Names::new(vec![
            peer(1, "attic", Some(2)),
            peer(2, "cellar", None),
            peer(3, "twin", Some(1)),
            peer(4, "twin", None),
            peer(5, "p9", None),
            peer(6, "Loft under the roof", None),
            peer(7, "2", None),
        ])
    }

    fn typed(text: &str) -> PeerRef {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_is_always_an_id_and_anything_else_a_name() {
        assert_eq!((typed("3"), typed("p3")), (PeerRef::Id(3), PeerRef::Id(3)));
        for name in ["attic", "p", "p3x", "f3", "3.5", "P3", "büro"] {
            assert_eq!(typed(name), PeerRef::Name(name.into()));
        }
        for text in ["", "0", "p0", "99999999999", "a\nb", &"x".repeat(65)] {
            assert!(text.parse::<PeerRef>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_finds_its_peer_and_one_that_nobody_has_is_not_found() {
        assert_eq!(names().known(&typed("attic")).unwrap(), 1);
        let near = names().known(&typed("Attic")).unwrap_err();
        assert_eq!(near.exit_code(), 4);
        assert!(near.to_string().contains("did you mean p1 attic?"), "{near}");
        let none = names().id(&typed("garage")).unwrap_err();
        assert!(none.exit_code() == 4 && none.to_string().contains("hubctl peers"), "{none}");
        assert!(!none.to_string().contains("mean"), "{none}");
    }

    #[test]
    fn a_name_of_two_peers_is_refused_with_both() {
        let error = names().id(&typed("twin")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("2 peers are called twin"), "{text}");
        assert!(text.contains("p3: owner ann, active, connected to h1"), "{text}");
        assert!(text.contains("p4: no owner named, active, away"), "{text}");
    }

    #[test]
    fn a_name_that_looks_like_an_id_is_reached_by_its_id_only_and_that_is_said() {
        let error = names().known(&typed("p9")).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("called p9 is p5"), "{error}");
        assert_eq!(names().known(&typed("p2")).unwrap(), 2, "the peer called 2 is p7");
        assert!(names().mistakable(&typed("p2")).unwrap().contains("called 2 is p7"));
        assert_eq!(names().mistakable(&typed("p1")), None);
        assert_eq!(names().id(&typed("p99")).unwrap(), 99, "an order is the hubs' to refuse");
    }

    #[test]
    fn an_order_that_is_suggested_can_be_typed_as_it_is() {
        for (id, order) in [(1, "attic"), (3, "p3"), (5, "p5"), (6, "p6"), (9, "p9")] {
            assert_eq!(names().typed(id), order);
        }
        assert_eq!((names().with_id(1), names().with_id(9)), ("p1 attic".into(), "p9".into()));
    }
}

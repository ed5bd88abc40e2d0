//! What a change came to, and where to see how it goes on.

use loop_proto::v1;
use serde::Serialize;

use super::{View, peers::state};

/// A peer was invited to a forum.
#[derive(Debug, Serialize)]
pub struct Invited {
    pub forum: u32,
    pub invitation: u64,
}

impl View for Invited {
    fn text(&self, _now_ms: u64) -> String {
        format!(
            "f{}: invitation t{} is under way; `hubctl migrations --watch` shows how far it is\n",
            self.forum, self.invitation
        )
    }
}

/// A hub has left the group.
#[derive(Debug, Serialize)]
pub struct HubRemoved {
    pub hub: u64,
    /// Who is in it now.
    pub staying: Vec<u64>,
}

impl View for HubRemoved {
    fn text(&self, _now_ms: u64) -> String {
        let staying: Vec<String> = self.staying.iter().map(|hub| format!("h{hub}")).collect();
        format!(
            "h{} is out of the group, which is {} now; stop it if it runs, and never start it on its old data again\n",
            self.hub,
            staying.join(", ")
        )
    }
}

/// A forum shall have another number of replicas.
#[derive(Debug, Serialize)]
pub struct ReplicasChanged {
    pub forum: u32,
    /// 0: as many as the hubs' default.
    pub replicas: u32,
}

impl View for ReplicasChanged {
    fn text(&self, _now_ms: u64) -> String {
        let wanted = match self.replicas {
            0 => "as many replicas as the hubs' default".to_owned(),
            1 => "1 replica".to_owned(),
            many => format!("{many} replicas"),
        };
        format!("f{} shall have {wanted}; `hubctl plan` shows what will be done for it\n", self.forum)
    }
}

/// Something shall become of a peer.
#[derive(Debug, Serialize)]
pub struct PeerChanged {
    peer: u32,
    state: &'static str,
    #[serde(skip)]
    means: &'static str,
}

impl PeerChanged {
    pub fn new(peer: u32, to: v1::PeerState) -> Self {
        let means = match to {
            v1::PeerState::Active => "it takes forums",
            v1::PeerState::Paused => "it keeps what it holds and gets nothing new",
            v1::PeerState::Draining => {
                "its forums go to other peers, one after another; `hubctl migrations --watch` shows them"
            }
            v1::PeerState::Removed => {
                "its connections are refused and its forums get other replicas; `hubctl peer resume` takes it back"
            }
            v1::PeerState::Unspecified => "the hubs decide",
        };
        Self { peer, state: state(to), means }
    }
}

impl View for PeerChanged {
    fn text(&self, _now_ms: u64) -> String {
        format!("p{} is {} now: {}\n", self.peer, self.state, self.means)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_says_where_to_look_next() {
        assert!(Invited { forum: 12, invitation: 77 }.text(0).contains("t77"));
        assert!(
            HubRemoved { hub: 2, staying: vec![1, 3] }
                .text(0)
                .contains("h2 is out of the group, which is h1, h3")
        );
        assert!(ReplicasChanged { forum: 12, replicas: 0 }.text(0).contains("default"));
        assert!(ReplicasChanged { forum: 12, replicas: 1 }.text(0).contains("1 replica;"));
        let removed = PeerChanged::new(3, v1::PeerState::Removed);
        assert!(removed.text(0).contains("p3 is removed now"));
        assert_eq!(serde_json::to_string(&removed).unwrap(), r#"{"peer":3,"state":"removed"}"#);
    }
}

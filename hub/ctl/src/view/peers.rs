//! The volunteers' machines.

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::table::{Table, Width},
    View, ago, dash, size,
};

#[derive(Debug, Serialize)]
pub struct PeersView {
    peers: Vec<PeerView>,
}

#[derive(Debug, Serialize)]
struct PeerView {
    peer: u32,
    name: String,
    owner: String,
    network: String,
    connected_to_hub: Option<u64>,
    state: &'static str,
    cursor: u64,
    executing: u32,
    forums: u32,
    primaries: u32,
    joining: u32,
    disk_bytes: u64,
    memory_bytes: u64,
    requests: u64,
    limits: LimitsView,
    registered_at_ms: u64,
    /// Nothing while it is connected.
    away_ms: Option<u64>,
    present_permille: u32,
    proven: bool,
    breaches: u32,
    breach: String,
    suspended_ms: u64,
}

/// What a volunteer gives; nothing where there is no limit, or the peer is away.
#[derive(Debug, Serialize)]
struct LimitsView {
    disk_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    bytes_per_second: Option<u64>,
    forums: Option<u64>,
    forum_bytes: Option<u64>,
}

impl From<v1::PeerLimits> for LimitsView {
    fn from(limits: v1::PeerLimits) -> Self {
        let some = |limit: u64| (limit > 0).then_some(limit);
        Self {
            disk_bytes: some(limits.disk_bytes),
            memory_bytes: some(limits.memory_bytes),
            bytes_per_second: some(limits.bytes_per_second),
            forums: some(limits.forums.into()),
            forum_bytes: some(limits.forum_bytes),
        }
    }
}

impl LimitsView {
    fn text(&self) -> String {
        let told = [
            self.disk_bytes.map(|bytes| format!("disk {}", size(bytes))),
            self.memory_bytes.map(|bytes| format!("memory {}", size(bytes))),
            self.bytes_per_second.map(|bytes| format!("{}/s", size(bytes))),
            self.forums.map(|forums| format!("{forums} forums")),
            self.forum_bytes.map(|bytes| format!("a forum {}", size(bytes))),
        ];
        dash(&told.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// As `hubctl peer` speaks of it.
pub const fn state(state: v1::PeerState) -> &'static str {
    match state {
        v1::PeerState::Unspecified => "unknown",
        v1::PeerState::Active => "active",
        v1::PeerState::Paused => "paused",
        v1::PeerState::Draining => "draining",
        v1::PeerState::Removed => "removed",
    }
}

impl From<Vec<v1::PeerInfo>> for PeersView {
    fn from(peers: Vec<v1::PeerInfo>) -> Self {
        let view = |peer: v1::PeerInfo| PeerView {
            peer: peer.peer_id,
            state: state(peer.state()),
            name: peer.name,
            owner: peer.owner,
            network: peer.network,
            connected_to_hub: peer.connected_to,
            cursor: peer.cursor,
            executing: peer.executing,
            forums: peer.forums,
            primaries: peer.primaries,
            joining: peer.joining,
            disk_bytes: peer.disk_bytes,
            memory_bytes: peer.memory_bytes,
            requests: peer.requests,
            limits: peer.limits.unwrap_or_default().into(),
            registered_at_ms: peer.registered_at_ms,
            away_ms: peer.away_ms,
            present_permille: peer.present_permille,
            proven: peer.proven,
            breaches: peer.breaches,
            breach: peer.breach,
            suspended_ms: peer.suspended_ms,
        };
        Self { peers: peers.into_iter().map(view).collect() }
    }
}

impl PeerView {
    /// `h2`, or for how long it has been on none.
    fn at(&self) -> String {
        match (self.connected_to_hub, self.away_ms) {
            (Some(hub), _) => format!("h{hub}"),
            (None, Some(ms)) => format!("away {}", lasting(ms)),
            (None, None) => "away".to_owned(),
        }
    }

    /// What it may do now.
    fn state(&self) -> String {
        match self.suspended_ms {
            0 => self.state.to_owned(),
            ms => format!("suspended, {} more", lasting(ms.next_multiple_of(1000))),
        }
    }

    /// What it said that cannot be.
    fn broke(&self) -> Option<String> {
        let times = match self.breaches {
            0 => return None,
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let owner = if self.owner.is_empty() { String::new() } else { format!(" of {}", self.owner) };
        let (peer, name, breach) = (self.peer, &self.name, &self.breach);
        Some(format!("p{peer} {name}{owner} was suspended {times}, last for {breach}\n"))
    }

    /// How much of the time it is there, as far as the hubs know.
    fn present(&self) -> String {
        match self.present_permille {
            0 => "-".to_owned(),
            permille => format!("{} %", permille / 10),
        }
    }
}

fn lasting(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl View for PeersView {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, now_ms: u64, width: Width) -> String {
        if self.peers.is_empty() {
            return "no peer has joined yet; start one with `loop-peer --hub HOST:PORT --join-token TOKEN`\n"
                .to_owned();
        }
        let mut table = Table::new(&[
            "PEER", "NAME", "HUB", "STATE", "FORUMS", "PRIMARY", "OWNER", "PRESENT", "PROVEN", "DISK",
            "JOINING", "NETWORK", "LIMITS", "MEMORY", "CURSOR", "BUSY", "REQUESTS", "JOINED",
        ])
        .names(&["NAME", "OWNER"])
        .extras(&[
            "PRESENT", "PROVEN", "DISK", "JOINING", "NETWORK", "LIMITS", "MEMORY", "CURSOR", "BUSY",
            "REQUESTS", "JOINED",
        ]);
        for peer in &self.peers {
            let there = |text: String| if peer.connected_to_hub.is_some() { text } else { "-".to_owned() };
            table.row(vec![
                format!("p{}", peer.peer),
                peer.name.clone(),
                peer.at(),
                peer.state(),
                peer.forums.to_string(),
                peer.primaries.to_string(),
                dash(&peer.owner),
                peer.present(),
                if peer.proven { "yes" } else { "no" }.to_owned(),
                there(size(peer.disk_bytes)),
                peer.joining.to_string(),
                dash(&peer.network),
                peer.limits.text(),
                there(size(peer.memory_bytes)),
                format!("t{}", peer.cursor),
                peer.executing.to_string(),
                there(peer.requests.to_string()),
                ago(peer.registered_at_ms, now_ms),
            ]);
        }
        let broke: String = self.peers.iter().filter_map(PeerView::broke).collect();
        table.render_within(width) + &broke
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_said_what_cannot_be_is_named_with_its_owner_and_what_it_said() {
        let liar = v1::PeerInfo {
            peer_id: 3,
            name: "attic".into(),
            owner: "mallory".into(),
            breaches: 2,
            breach: "an answer with a row of another forum".into(),
            suspended_ms: 53_001,
            ..Default::default()
        };
        let text = PeersView::from(vec![liar]).text(0);
        assert!(text.contains("suspended, 54 s more"), "{text}");
        let told =
            "p3 attic of mallory was suspended 2 times, last for an answer with a row of another forum\n";
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn a_peer_that_is_away_is_listed_as_away() {
        let away = v1::PeerInfo { peer_id: 3, name: "attic".into(), ..Default::default() };
        let text = PeersView::from(vec![away]).text(0);
        assert!(text.contains("p3") && text.contains("attic") && text.contains("away"), "{text}");
    }

    #[test]
    fn how_long_a_peer_has_been_away_and_how_often_it_is_there_is_shown() {
        let away = v1::PeerInfo {
            peer_id: 3,
            away_ms: Some(3 * 3_600_000),
            present_permille: 421,
            proven: true,
            ..Default::default()
        };
        let text = PeersView::from(vec![away]).text(0);
        assert!(text.contains("away 3 h") && text.contains("42 %") && text.contains("yes"), "{text}");
    }

    #[test]
    fn a_peer_is_shown_with_its_state_and_what_its_volunteer_gives() {
        let limits = v1::PeerLimits { disk_bytes: 10 << 30, forums: 50, ..Default::default() };
        let peer = v1::PeerInfo {
            peer_id: 3,
            connected_to: Some(2),
            state: v1::PeerState::Draining.into(),
            limits: Some(limits),
            disk_bytes: 3 << 20,
            ..Default::default()
        };
        let view = PeersView::from(vec![peer]);
        let text = view.text_within(0, Width::WIDE);
        for part in ["draining", "3.0 MiB", "disk 10.0 GiB, 50 forums"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["peers"][0]["state"], "draining");
        assert_eq!(json["peers"][0]["limits"]["forums"], 50);
        assert!(json["peers"][0]["limits"]["memory_bytes"].is_null(), "no limit is not a limit of 0");
    }
}

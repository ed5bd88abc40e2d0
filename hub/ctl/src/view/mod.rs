//! The hubs' answers as an operator reads them: one shape each, printed as a table or as JSON.
//!
//! Never holds a forum's name or a session id: the hubs do not send them.

mod blocked;
mod changed;
mod content;
mod drain;
mod forums;
mod group;
mod health;
mod invitations;
mod migrations;
mod named;
mod peers;
mod plan;
mod projection;
mod realtime;
mod shape;
mod tasks;
mod verify;

pub use blocked::{BlockedView, Lacking};
pub use changed::{ForumClosed, HubRemoved, Invited, PeerChanged, ReplicasChanged};
pub use content::{Change, ContentView, PublishedView, RemovedView};
pub use drain::{DrainView, Moving};
pub use forums::{ForumView, ForumsView};
pub use group::{IdsView, StatusView};
pub use invitations::InvitationsView;
pub use migrations::{MigrationsView, ended};
pub use named::Named;
pub use peers::{PeersView, state};
pub use plan::PlanView;
pub use projection::{ProjectionRebuilt, ProjectionVerified, ProjectionView};
pub use realtime::{RealtimeConnectionsView, RealtimeUsersView};
pub use shape::View;
pub use tasks::TasksView;
pub use verify::{Verdict, VerifyView};

use shape::{ago, dash, long, peers, size, some, stage, way};

#[cfg(test)]
mod tests {
    use loop_proto::v1;

    use super::{
        super::{names::Names, table::Width},
        *,
    };

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let now = 10_000_000_000;
        let told = |seconds: u64| ago(now - seconds * 1000, now);
        assert_eq!(told(0), "now");
        assert_eq!(told(119), "119 s ago");
        assert_eq!(told(7_199), "119 min ago");
        assert_eq!(told(172_799), "47 h ago");
        assert_eq!(told(864_000), "10 days ago");
        assert_eq!(ago(now + 5_000, now), "now");
        assert_eq!(ago(0, now), "-");
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        for (bytes, told) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_600_000, "1.5 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), told);
        }
    }

    const LONG: &str = "the-machine-in-the-attic-of-my-grandmother's-house-by-the-sea.example.org";

    fn long_names() -> Names {
        let peer = |peer_id| v1::PeerInfo { peer_id, name: LONG[..64].into(), ..Default::default() };
        Names::new((1..=4_000_000_003).step_by(1_000_000_001).map(peer).collect())
    }

    #[track_caller]
    fn fits(view: &impl View) {
        for (text, most) in
            [(view.text(1 << 41), 80), (view.text_within(1 << 41, Width::of_terminal(120)), 120)]
        {
            assert!(text.lines().count() > 1, "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= most, "{} of {most}: {line}", line.chars().count());
            }
        }
    }

    fn long_peers() -> Vec<v1::PeerInfo> {
        let limits = v1::PeerLimits {
            disk_bytes: 1 << 50,
            memory_bytes: 1 << 50,
            bytes_per_second: 1 << 40,
            forums: u32::MAX,
            forum_bytes: 1 << 40,
        };
        let peer = v1::PeerInfo {
            peer_id: u32::MAX,
            name: LONG[..64].into(),
            owner: LONG[..64].into(),
            network: LONG[..64].into(),
            cursor: u64::MAX >> 8,
            forums: 1_000_000,
            primaries: 1_000_000,
            joining: 1_000_000,
            state: v1::PeerState::Draining.into(),
            limits: Some(limits),
            present_permille: 1000,
            registered_at_ms: 1,
            ..Default::default()
        };
        vec![
            v1::PeerInfo { away_ms: Some(1 << 40), ..peer.clone() },
            v1::PeerInfo { connected_to: Some(12), requests: 1 << 40, disk_bytes: 1 << 50, ..peer },
        ]
    }

    fn long_invitation(status: v1::InvitationStatus, stage: v1::JoinStage) -> v1::InvitationInfo {
        v1::InvitationInfo {
            invitation_id: 1 << 40,
            forum_id: 4_000_000_000,
            source: 1_000_000_002,
            target: 2_000_000_003,
            replaces: 3_000_000_004,
            cause: v1::InvitationCause::LostPeer.into(),
            status: status.into(),
            stage: stage.into(),
            reason: v1::RejectReason::ForumTooLarge.into(),
            invited_at_ms: 1,
            changed_at_ms: 1,
            bytes_done: 1 << 49,
            bytes_total: 1 << 50,
            lag_records: 1 << 40,
            waits_for: "no replica of f4000000000 that could give p2000000003 its copy is connected; given up in 60 s \
                        or later"
                .into(),
        }
    }

    #[test]
    fn tables_of_peers_and_of_what_is_on_its_way_fit_their_screens() {
        let names = long_names();
        fits(&PeersView::from(long_peers()));
        let open = long_invitation(v1::InvitationStatus::Accepted, v1::JoinStage::Seeding);
        let rejected = long_invitation(v1::InvitationStatus::Rejected, v1::JoinStage::Unspecified);
        let view = InvitationsView::from(vec![open.clone(), rejected]);
        let peers = view.peers();
        fits(&Named::new(view, peers, &names));
        let behind = long_invitation(v1::InvitationStatus::Accepted, v1::JoinStage::CatchingUp);
        let view = MigrationsView::new(vec![open, behind], None, 2);
        let peers = view.peers();
        fits(&Named::new(view, peers, &names));
        let step = v1::PlannedStep {
            forum_id: 4_000_000_000,
            what: "remove replica".into(),
            peer_id: 1_000_000_002,
            replaces: 2_000_000_003,
            why:
                "the peer of a replica has been away for longer than peers that are away as often usually are"
                    .into(),
            held_back: true,
        };
        let obstacle = |peer_id| v1::Obstacle { peer_id, why: "is full and away and paused".into() };
        let blocked = v1::BlockedForum {
            forum_id: 4_000_000_000,
            needs: "a successor for p3000000004".into(),
            obstacles: (1..16).map(|at| obstacle(1_000_000_001 * (at % 4) + 1)).collect(),
            others: 1000,
        };
        let plan = v1::ShowPlanReply {
            steps: vec![step],
            planned_in_us: 1 << 40,
            blocked: vec![blocked.clone()],
            blocked_total: 1 << 40,
        };
        fits(&PlanView::new(plan, &names));
        let blocked = Some(BlockedView::new(&blocked, &names));
        fits(&ReplicasChanged { forum: 4_000_000_000, replicas: 4, blocked });
        fits(&PeerChanged::new(1_000_000_002, v1::PeerState::Removed, &names));
    }

    #[test]
    fn tables_of_forums_hubs_and_tasks_fit_their_screens() {
        let names = long_names();
        let joining = v1::JoiningReplica {
            peer_id: 4_000_000_004,
            invitation_id: 1 << 40,
            source: 1,
            stage: v1::JoinStage::CatchingUp.into(),
        };
        let peers = vec![1_000_000_002, 2_000_000_003, 3_000_000_004];
        let assignment = v1::Assignment {
            epoch: 1 << 40,
            primary: 1_000_000_002,
            replicas: peers.clone(),
            joining: vec![joining],
            draining: vec![3_999_999_999],
            ..Default::default()
        };
        let forum = v1::ForumInfo {
            forum_id: 4_000_000_000,
            assignment: Some(assignment),
            newest_record: 1 << 45,
            open_tasks: 1 << 40,
            tasks_appended: 1 << 45,
            opened_at_ms: 1,
            replicas_wanted: 4,
            tasks_per_minute: 1 << 30,
            reads_per_minute: 1 << 30,
            ..Default::default()
        };
        fits(&Named::new(ForumsView::new(vec![forum], true, false), peers, &names));
        let node = v1::HubNode {
            node_id: 9_999,
            grpc_addr: format!("{LONG}:9080"),
            http_addr: format!("{LONG}:8080"),
        };
        let hub =
            v1::HubInfo { node: Some(node), voter: true, matched_index: Some(1 << 45), reachable: true };
        fits(&StatusView::from(v1::StatusReply { hubs: vec![hub], ..Default::default() }));
        let task = v1::TaskInfo {
            task_id: 1 << 45,
            forum_id: 4_000_000_000,
            message_id: Some(u32::MAX),
            received_at_ms: 1,
            ..Default::default()
        };
        fits(&TasksView::from(vec![task]));
        let replica = |peer_id| v1::ReplicaDigest {
            peer_id,
            digest: vec![0xab; 32].into(),
            messages: u64::MAX,
            connected: true,
        };
        let replicas = [1_000_000_002, 2_000_000_003].map(replica).to_vec();
        let reply = v1::VerifyForumReply { record_id: 1 << 45, replicas, equal: true };
        fits(&VerifyView::new(4_000_000_000, reply, &names));
    }

    #[test]
    fn a_move_and_one_more_replica_look_different() {
        assert_eq!(way(Some(2), 4), "p2 → p4");
        assert_eq!(way(some(0), 4), "+ p4");
        assert_eq!(peers(&[1, 3]), "p1 p3");
    }
}

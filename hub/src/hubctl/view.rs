//! The hubs' answers as an operator reads them: one shape each, printed as a table or as JSON.
//!
//! Never holds a forum's name or a session id: the hubs do not send them.

use loop_proto::v1;
use serde::Serialize;

use super::{
    moves::{bytes, peer_state, stage},
    table::Table,
};

/// Something that prints as text for people and as JSON for scripts.
pub(super) trait View: Serialize {
    fn text(&self, now_ms: u64) -> String;
}

#[derive(Debug, Serialize)]
pub(super) struct StatusView {
    answered_by: u64,
    version: String,
    leader: Option<u64>,
    term: u64,
    applied_index: u64,
    newest_task: u64,
    trimmed_through: u64,
    open_tasks: u64,
    forums: u64,
    peers: u64,
    connected_peers: u64,
    sessions: u64,
    hubs: Vec<HubView>,
}

#[derive(Debug, Serialize)]
struct HubView {
    hub: u64,
    role: &'static str,
    grpc: String,
    http: String,
    matched_index: Option<u64>,
}

impl From<v1::StatusReply> for StatusView {
    fn from(reply: v1::StatusReply) -> Self {
        let leader = reply.leader;
        let hub = |info: v1::HubInfo| {
            let node = info.node.unwrap_or_default();
            let role = match (leader == Some(node.node_id), info.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            };
            HubView {
                hub: node.node_id,
                role,
                grpc: node.grpc_addr,
                http: node.http_addr,
                matched_index: info.matched_index,
            }
        };
        Self {
            answered_by: reply.hub_id,
            version: reply.version,
            leader,
            term: reply.term,
            applied_index: reply.applied_index,
            newest_task: reply.newest_task,
            trimmed_through: reply.trimmed_through,
            open_tasks: reply.open_tasks,
            forums: reply.forums,
            peers: reply.peers,
            connected_peers: reply.connected_peers,
            sessions: reply.sessions,
            hubs: reply.hubs.into_iter().map(hub).collect(),
        }
    }
}

impl View for StatusView {
    fn text(&self, _now_ms: u64) -> String {
        let leader = match self.leader {
            Some(leader) => format!("h{leader} leads in term {}", self.term),
            None => {
                format!("no hub leads (term {}): writes wait until a majority of hubs is back", self.term)
            }
        };
        let mut hubs = Table::new(&["HUB", "ROLE", "GRPC", "HTTP", "MATCHED"]);
        for hub in &self.hubs {
            let matched = hub.matched_index.map_or_else(|| "-".to_owned(), |index| index.to_string());
            hubs.row(vec![
                format!("h{}", hub.hub),
                hub.role.to_owned(),
                hub.grpc.clone(),
                hub.http.clone(),
                matched,
            ]);
        }
        format!(
            "answered by h{} (version {}, applied through {})\n{leader}\n\n{}\n\
             peers     {} of {} connected\nforums    {}\nsessions  {}\n\
             tasks     newest t{}, {} open, trimmed through t{}\n",
            self.answered_by,
            self.version,
            self.applied_index,
            hubs.render(),
            self.connected_peers,
            self.peers,
            self.forums,
            self.sessions,
            self.newest_task,
            self.open_tasks,
            self.trimmed_through,
        )
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PeersView {
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
    joining: u32,
    primaries: u32,
    requests: u64,
    disk_bytes: u64,
    memory_bytes: u64,
    limits: Option<LimitsView>,
    registered_at_ms: u64,
}

/// What a volunteer gives; 0: no limit. Unknown while its peer is away.
#[derive(Debug, Serialize)]
struct LimitsView {
    disk_bytes: u64,
    memory_bytes: u64,
    bytes_per_second: u64,
    forums: u32,
    forum_bytes: u64,
}

impl From<Vec<v1::PeerInfo>> for PeersView {
    fn from(peers: Vec<v1::PeerInfo>) -> Self {
        let view = |peer: v1::PeerInfo| PeerView {
            state: peer_state(peer.state()),
            peer: peer.peer_id,
            name: peer.name,
            owner: peer.owner,
            network: peer.network,
            connected_to_hub: peer.connected_to,
            cursor: peer.cursor,
            executing: peer.executing,
            forums: peer.forums,
            joining: peer.joining,
            primaries: peer.primaries,
            requests: peer.requests,
            disk_bytes: peer.disk_bytes,
            memory_bytes: peer.memory_bytes,
            limits: peer.limits.map(|limits| LimitsView {
                disk_bytes: limits.disk_bytes,
                memory_bytes: limits.memory_bytes,
                bytes_per_second: limits.bytes_per_second,
                forums: limits.forums,
                forum_bytes: limits.forum_bytes,
            }),
            registered_at_ms: peer.registered_at_ms,
        };
        Self { peers: peers.into_iter().map(view).collect() }
    }
}

impl View for PeersView {
    fn text(&self, now_ms: u64) -> String {
        if self.peers.is_empty() {
            return "no peer has joined yet; start one with `loop-peer --hub HOST:PORT --join-token TOKEN`\n"
                .to_owned();
        }
        let mut table = Table::new(&[
            "PEER", "NAME", "OWNER", "NETWORK", "STATE", "HUB", "CURSOR", "BUSY", "FORUMS", "COMING",
            "PRIMARY", "DISK", "MEMORY", "JOINED",
        ]);
        for peer in &self.peers {
            let limits = peer.limits.as_ref();
            table.row(vec![
                format!("p{}", peer.peer),
                peer.name.clone(),
                dash(&peer.owner),
                dash(&peer.network),
                peer.state.to_owned(),
                peer.connected_to_hub.map_or_else(|| "away".to_owned(), |hub| format!("h{hub}")),
                format!("t{}", peer.cursor),
                peer.executing.to_string(),
                of_limit(u64::from(peer.forums), limits.map_or(0, |l| u64::from(l.forums)), |n| {
                    n.to_string()
                }),
                peer.joining.to_string(),
                peer.primaries.to_string(),
                of_limit(peer.disk_bytes, limits.map_or(0, |l| l.disk_bytes), bytes),
                of_limit(peer.memory_bytes, limits.map_or(0, |l| l.memory_bytes), bytes),
                ago(peer.registered_at_ms, now_ms),
            ]);
        }
        table.render()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ForumView {
    forum: u32,
    epoch: u64,
    primary: u32,
    replicas: Vec<u32>,
    joining: Vec<JoiningView>,
    draining: Vec<u32>,
    replicas_wanted: u32,
    newest_record: u64,
    open_tasks: u64,
    tasks_appended: u64,
    tasks_per_minute: u64,
    reads_per_minute: u64,
    opened_at_ms: u64,
}

#[derive(Debug, Serialize)]
struct JoiningView {
    peer: u32,
    invitation: u64,
    source: u32,
    stage: &'static str,
}

impl From<&v1::JoiningReplica> for JoiningView {
    fn from(joining: &v1::JoiningReplica) -> Self {
        Self {
            peer: joining.peer_id,
            invitation: joining.invitation_id,
            source: joining.source,
            stage: stage(joining.stage()).unwrap_or("unknown"),
        }
    }
}

impl From<v1::ForumInfo> for ForumView {
    fn from(forum: v1::ForumInfo) -> Self {
        let assignment = forum.assignment.unwrap_or_default();
        Self {
            forum: forum.forum_id,
            epoch: assignment.epoch,
            primary: assignment.primary,
            joining: assignment.joining.iter().map(JoiningView::from).collect(),
            draining: assignment.draining,
            replicas: assignment.replicas,
            replicas_wanted: forum.replicas_wanted,
            tasks_per_minute: forum.tasks_per_minute,
            reads_per_minute: forum.reads_per_minute,
            newest_record: forum.newest_record,
            open_tasks: forum.open_tasks,
            tasks_appended: forum.tasks_appended,
            opened_at_ms: forum.opened_at_ms,
        }
    }
}

impl ForumView {
    fn replicas_text(&self) -> String {
        dash(&peers(&self.replicas))
    }

    /// With signs for those on their way: `+` coming, `-` going.
    fn all_text(&self) -> String {
        let joining = self.joining.iter().map(|joining| format!("+p{}", joining.peer));
        let draining = self.draining.iter().map(|peer| format!("-p{peer}"));
        let all: Vec<String> =
            self.replicas.iter().map(|peer| format!("p{peer}")).chain(joining).chain(draining).collect();
        dash(&all.join(" "))
    }

    fn joining_text(&self) -> String {
        let one = |joining: &JoiningView| {
            format!("joining   p{} {}, invited by t{}\n", joining.peer, joining.stage, joining.invitation)
        };
        self.joining.iter().map(one).collect()
    }
}

impl View for ForumView {
    fn text(&self, now_ms: u64) -> String {
        format!(
            "forum     f{}, opened {}\nprimary   p{} in epoch e{}\nreplicas  {}, {} wanted\n{}draining  {}\n\
             newest    record t{}\ntasks     {} appended, {} open, {} per minute lately\n\
             reads     {} per minute lately\n",
            self.forum,
            ago(self.opened_at_ms, now_ms),
            self.primary,
            self.epoch,
            self.replicas_text(),
            self.replicas_wanted,
            self.joining_text(),
            dash(&peers(&self.draining)),
            self.newest_record,
            self.tasks_appended,
            self.open_tasks,
            self.tasks_per_minute,
            self.reads_per_minute,
        )
    }
}

fn peers(peers: &[u32]) -> String {
    peers.iter().map(|peer| format!("p{peer}")).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Serialize)]
pub(super) struct ForumsView {
    forums: Vec<ForumView>,
    more: bool,
}

impl From<(Vec<v1::ForumInfo>, bool)> for ForumsView {
    fn from((forums, more): (Vec<v1::ForumInfo>, bool)) -> Self {
        Self { forums: forums.into_iter().map(ForumView::from).collect(), more }
    }
}

impl View for ForumsView {
    fn text(&self, now_ms: u64) -> String {
        if self.forums.is_empty() {
            return "no forum\n".to_owned();
        }
        let mut table =
            Table::new(&["FORUM", "PRIMARY", "REPLICAS", "EPOCH", "NEWEST", "TASKS", "OPEN", "OPENED"]);
        for forum in &self.forums {
            table.row(vec![
                format!("f{}", forum.forum),
                format!("p{}", forum.primary),
                forum.all_text(),
                format!("e{}", forum.epoch),
                format!("t{}", forum.newest_record),
                forum.tasks_appended.to_string(),
                forum.open_tasks.to_string(),
                ago(forum.opened_at_ms, now_ms),
            ]);
        }
        let more = if self.more { "there are more; --limit shows them\n" } else { "" };
        table.render() + more
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TasksView {
    tasks: Vec<TaskView>,
}

#[derive(Debug, Serialize)]
struct TaskView {
    task: u64,
    forum: u32,
    kind: &'static str,
    message: Option<u32>,
    received_at_ms: u64,
    origin_hub: u64,
}

impl From<Vec<v1::TaskInfo>> for TasksView {
    fn from(tasks: Vec<v1::TaskInfo>) -> Self {
        let view = |task: v1::TaskInfo| TaskView {
            task: task.task_id,
            forum: task.forum_id,
            kind: kind(task.endpoint()),
            message: task.message_id,
            received_at_ms: task.received_at_ms,
            origin_hub: task.origin_hub,
        };
        Self { tasks: tasks.into_iter().map(view).collect() }
    }
}

/// Only writes are tasks; whatever else a newer hub logs is shown as such.
fn kind(endpoint: v1::Endpoint) -> &'static str {
    match endpoint {
        v1::Endpoint::Shout => "post",
        v1::Endpoint::HideMessage => "hide",
        _ => "other",
    }
}

impl View for TasksView {
    fn text(&self, now_ms: u64) -> String {
        if self.tasks.is_empty() {
            return "no open task: everything that was accepted has been answered\n".to_owned();
        }
        let mut table = Table::new(&["TASK", "FORUM", "KIND", "MESSAGE", "RECEIVED", "HUB"]);
        for task in &self.tasks {
            table.row(vec![
                format!("t{}", task.task),
                format!("f{}", task.forum),
                task.kind.to_owned(),
                task.message.map_or_else(|| "-".to_owned(), |message| format!("m{message}")),
                ago(task.received_at_ms, now_ms),
                format!("h{}", task.origin_hub),
            ]);
        }
        table.render()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct IdsView {
    next_message: u64,
    message_limit: u64,
    next_task: u64,
    next_user: u64,
    next_forum: u64,
}

impl From<v1::IdsReply> for IdsView {
    fn from(ids: v1::IdsReply) -> Self {
        Self {
            next_message: ids.next_message_id,
            message_limit: ids.message_id_limit,
            next_task: ids.next_task_id,
            next_user: ids.next_user_id,
            next_forum: ids.next_forum_id,
        }
    }
}

impl View for IdsView {
    fn text(&self, _now_ms: u64) -> String {
        let used = match self.message_limit {
            0 => String::new(),
            // u128: the product of two numbers near 2^64 would not fit.
            limit => {
                let percent = u128::from(self.next_message) * 100 / u128::from(limit);
                format!("   {percent} % of {limit}")
            }
        };
        format!(
            "next message  m{}{used}\nnext task     t{}\nnext user     u{}\nnext forum    f{}\n",
            self.next_message, self.next_task, self.next_user, self.next_forum
        )
    }
}

/// What is used, and of how much where there is a limit.
fn of_limit(used: u64, limit: u64, show: fn(u64) -> String) -> String {
    if limit == 0 { show(used) } else { format!("{} of {}", show(used), show(limit)) }
}

pub(super) fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// How long ago a time was; two clocks may differ, so the future is "now".
pub(super) fn ago(then_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1000;
    match seconds {
        _ if then_ms == 0 => "-".to_owned(),
        0 => "now".to_owned(),
        1..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_a_leader_says_what_that_means() {
        let text = StatusView::from(v1::StatusReply { hub_id: 2, ..Default::default() }).text(0);
        assert!(text.contains("answered by h2") && text.contains("no hub leads"), "{text}");
    }

    #[test]
    fn the_leader_is_marked() {
        let node = |node_id| Some(v1::HubNode { node_id, ..Default::default() });
        let hubs = vec![
            v1::HubInfo { node: node(1), voter: true, matched_index: None },
            v1::HubInfo { node: node(2), voter: true, matched_index: Some(7) },
            v1::HubInfo { node: node(3), voter: false, matched_index: Some(0) },
        ];
        let view = StatusView::from(v1::StatusReply { leader: Some(2), hubs, ..Default::default() });
        let roles: Vec<&str> = view.hubs.iter().map(|hub| hub.role).collect();
        assert_eq!(roles, ["voter", "leader", "learner"]);
    }

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
    fn a_peer_that_is_away_is_listed_as_away() {
        let away = v1::PeerInfo { peer_id: 3, name: "attic".into(), ..Default::default() };
        let text = PeersView::from(vec![away]).text(0);
        assert!(text.contains("p3") && text.contains("attic") && text.contains("away"), "{text}");
    }

    #[test]
    fn the_share_of_message_ids_used_is_shown_and_cannot_overflow() {
        let ids =
            v1::IdsReply { next_message_id: u64::MAX, message_id_limit: u64::MAX, ..Default::default() };
        assert!(IdsView::from(ids).text(0).contains("100 % of"));
        assert!(IdsView::from(v1::IdsReply::default()).text(0).contains("next message  m0\n"));
    }
}

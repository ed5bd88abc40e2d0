//! The group of hubs, and the numbers it gives next.

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::table::{Table, Width},
    View,
    health::HealthView,
};

#[derive(Debug, Serialize)]
pub struct StatusView {
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
    /// Nothing from a hub of a version that does not tell.
    health: Option<HealthView>,
}

#[derive(Debug, Serialize)]
struct HubView {
    hub: u64,
    role: &'static str,
    /// By the hub that answers.
    reachable: bool,
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
                reachable: info.reachable,
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
            health: reply.health.map(HealthView::from),
        }
    }
}

impl StatusView {
    /// Why this does not serve as it should, in short; `None`: it does.
    pub fn unwell(&self) -> Option<String> {
        self.health.as_ref().and_then(HealthView::unwell)
    }

    /// Who leads, as far as that is certain.
    fn leads(&self) -> String {
        let certain = self.health.as_ref().is_none_or(HealthView::has_quorum);
        match self.leader {
            Some(leader) if certain => format!("h{leader} leads in term {}", self.term),
            Some(leader) => format!("NO MAJORITY of hubs answers; h{leader} led last, in term {}", self.term),
            None => {
                format!("no hub leads (term {}): writes wait until a majority of hubs is back", self.term)
            }
        }
    }
}

impl View for StatusView {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, _now_ms: u64, width: Width) -> String {
        let leader = self.leads();
        let health = self.health.as_ref().map(HealthView::text).unwrap_or_default();
        let mut hubs = Table::new(&["HUB", "ROLE", "REACHED", "GRPC", "HTTP", "MATCHED"]);
        for hub in &self.hubs {
            let matched = hub.matched_index.map_or_else(|| "-".to_owned(), |index| index.to_string());
            hubs.row(vec![
                format!("h{}", hub.hub),
                hub.role.to_owned(),
                if hub.reachable { "yes" } else { "NO" }.to_owned(),
                hub.grpc.clone(),
                hub.http.clone(),
                matched,
            ]);
        }
        format!(
            "answered by h{} (version {}, applied through {})\n{leader}\n{health}\n{}\n\
             peers     {} of {} connected\nforums    {}\nsessions  {}\n\
             tasks     newest t{}, {} open, trimmed through t{}\n",
            self.answered_by,
            self.version,
            self.applied_index,
            hubs.names(&["GRPC", "HTTP"]).render_within(width),
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
pub struct IdsView {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_a_leader_says_what_that_means() {
        let text = StatusView::from(v1::StatusReply { hub_id: 2, ..Default::default() }).text(0);
        assert!(text.contains("answered by h2") && text.contains("no hub leads"), "{text}");
    }

    #[test]
    fn a_leader_that_reaches_no_majority_is_not_said_to_lead_and_hubs_that_do_not_answer_are_marked() {
        let health = |quorum| Some(v1::HealthReport { ready: quorum, quorum, ..Default::default() });
        let hubs = [(1, true), (2, false)].map(|(node_id, reachable)| v1::HubInfo {
            node: Some(v1::HubNode { node_id, ..Default::default() }),
            reachable,
            ..Default::default()
        });
        let status = |quorum| {
            let (leader, health) = (Some(2), health(quorum));
            StatusView::from(v1::StatusReply { leader, health, hubs: hubs.to_vec(), ..Default::default() })
        };
        let (led, lost) = (status(true), status(false));
        assert!(led.text(0).contains("h2 leads") && led.unwell().is_none(), "{}", led.text(0));
        assert!(
            lost.text(0).contains("NO MAJORITY") && lost.text(0).contains("h2 led last"),
            "{}",
            lost.text(0)
        );
        assert!(lost.unwell().is_some());
        let text = led.text(0);
        let reached: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with('h') && line.contains("learner") || line.contains("leader "))
            .filter_map(|line| line.split_whitespace().nth(2))
            .collect();
        assert_eq!(reached, ["yes", "NO"], "{text}");
        let json = serde_json::to_value(&lost).unwrap();
        assert_eq!(
            (&json["health"]["quorum"], &json["hubs"][1]["reachable"]),
            (&false.into(), &false.into())
        );
    }

    #[test]
    fn the_leader_is_marked() {
        let node = |node_id| Some(v1::HubNode { node_id, ..Default::default() });
        let hubs = vec![
            v1::HubInfo { node: node(1), voter: true, matched_index: None, reachable: true },
            v1::HubInfo { node: node(2), voter: true, matched_index: Some(7), reachable: true },
            v1::HubInfo { node: node(3), voter: false, matched_index: Some(0), reachable: true },
        ];
        let view = StatusView::from(v1::StatusReply { leader: Some(2), hubs, ..Default::default() });
        let roles: Vec<&str> = view.hubs.iter().map(|hub| hub.role).collect();
        assert_eq!(roles, ["voter", "leader", "learner"]);
    }

    #[test]
    fn the_share_of_message_ids_used_is_shown_and_cannot_overflow() {
        let ids =
            v1::IdsReply { next_message_id: u64::MAX, message_id_limit: u64::MAX, ..Default::default() };
        assert!(IdsView::from(ids).text(0).contains("100 % of"));
        assert!(IdsView::from(v1::IdsReply::default()).text(0).contains("next message  m0\n"));
    }
}

//! What a change came to, and where to see how it goes on.

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::{names::Names, table::Width},
    BlockedView, View,
    peers::state,
};

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

impl HubRemoved {
    /// What it means that these stay, in a sentence; `None`: nothing that need be said.
    pub fn warning(staying: usize) -> Option<String> {
        match staying {
            1 => Some("With one hub all stops when it does: add two".to_owned()),
            2 => Some("With two hubs neither may fail: add one soon".to_owned()),
            even if even % 2 == 0 => Some(format!(
                "{even} hubs bear no more failures than {}: add one soon",
                even.saturating_sub(1)
            )),
            _ => None,
        }
    }
}

impl View for HubRemoved {
    fn text(&self, _now_ms: u64) -> String {
        let staying: Vec<String> = self.staying.iter().map(|hub| format!("h{hub}")).collect();
        let warning =
            Self::warning(self.staying.len()).map(|warning| format!("{warning} (`loop-hub --join`)\n"));
        format!(
            "h{} is out of the group for ever, which is {} now; it stops by itself\n\
             Never start it on its old data again, nor an empty one under its number\n{}",
            self.hub,
            staying.join(", "),
            warning.unwrap_or_default()
        )
    }
}

/// A forum shall have another number of replicas.
#[derive(Debug, Serialize)]
pub struct ReplicasChanged {
    pub forum: u32,
    /// 0: as many as the hubs' default.
    pub replicas: u32,
    /// Why that cannot be met now.
    pub blocked: Option<BlockedView>,
}

impl View for ReplicasChanged {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, _now_ms: u64, width: Width) -> String {
        let wanted = match self.replicas {
            0 => "as many replicas as the hubs' default".to_owned(),
            1 => "1 replica".to_owned(),
            many => format!("{many} replicas"),
        };
        let forum = self.forum;
        match &self.blocked {
            None => format!("f{forum} shall have {wanted}; `hubctl plan` shows what will be done for it\n"),
            Some(blocked) => {
                format!(
                    "f{forum} shall have {wanted}, which cannot be met now\n{}",
                    width.wrap(&blocked.sentence(), 2)
                )
            }
        }
    }
}

/// A forum is deleted everywhere.
#[derive(Debug, Serialize)]
pub struct ForumClosed {
    pub forum: u32,
    /// How many messages were ever finished in it, those that were deleted before included.
    messages: u64,
    unfinished: u64,
    open_tasks: u64,
    /// How many peers have a copy, or one on its way.
    copies: usize,
}

impl ForumClosed {
    /// What goes with the forum, as it is now.
    pub fn of(forum: &v1::ForumInfo) -> Self {
        let assignment = forum.assignment.clone().unwrap_or_default();
        let v1::Assignment { replicas, joining, draining, .. } = assignment;
        Self {
            forum: forum.forum_id,
            messages: forum.messages_finished,
            unfinished: forum.messages_unfinished,
            open_tasks: forum.open_tasks,
            copies: replicas.len() + joining.len() + draining.len(),
        }
    }

    /// What closing it would mean.
    pub fn warning(&self) -> String {
        format!(
            "f{} is deleted for ever, on all {} peers that have it: up to {} messages, {} more that somebody types, and {} \
             requests that nobody has answered yet.",
            self.forum, self.copies, self.messages, self.unfinished, self.open_tasks
        )
    }
}

impl View for ForumClosed {
    fn text(&self, _now_ms: u64) -> String {
        format!(
            "f{} is closed, with up to {} messages; the {} peers that have copies delete them, those that are away when they \
             are back\n",
            self.forum, self.messages, self.copies
        )
    }
}

/// Something shall become of a peer.
#[derive(Debug, Serialize)]
pub struct PeerChanged {
    peer: u32,
    name: Option<String>,
    state: &'static str,
    /// What it held when this was asked, copies on their way to it included.
    forums: Option<u32>,
    #[serde(skip)]
    means: String,
    #[serde(skip)]
    shown: String,
}

impl PeerChanged {
    pub fn new(peer: u32, to: v1::PeerState, names: &Names) -> Self {
        let forums = names.get(peer).map(|info| info.forums + info.joining);
        let (order, held) = (names.typed(peer), forums.map_or_else(|| "its forums".to_owned(), held));
        let means = match to {
            v1::PeerState::Active => "it takes forums".to_owned(),
            v1::PeerState::Paused => format!("it keeps {held} and gets nothing new"),
            v1::PeerState::Draining if forums == Some(0) => {
                "it holds nothing and gets nothing new".to_owned()
            }
            v1::PeerState::Draining => format!(
                "others take over {held}, one after another; `hubctl peer drain {order} --watch` stays until that is done"
            ),
            v1::PeerState::Removed => format!(
                "its connections are refused, and others get copies of {held} from those who have some (`hubctl plan`); \
                 `hubctl peer resume {order}` takes it back"
            ),
            v1::PeerState::Unspecified => "the hubs decide".to_owned(),
        };
        let name = names.name(peer).map(ToOwned::to_owned);
        Self { peer, name, state: state(to), forums, means, shown: names.with_id(peer) }
    }
}

fn held(forums: u32) -> String {
    match forums {
        0 => "nothing".to_owned(),
        1 => "its one forum".to_owned(),
        many => format!("its {many} forums"),
    }
}

impl View for PeerChanged {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, _now_ms: u64, width: Width) -> String {
        width.wrap(&format!("{} is {} now: {}", self.shown, self.state, self.means), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(forums: u32) -> Names {
        Names::new(vec![v1::PeerInfo { peer_id: 3, name: "attic".into(), forums, ..Default::default() }])
    }

    #[test]
    fn every_change_says_where_to_look_next() {
        assert!(Invited { forum: 12, invitation: 77 }.text(0).contains("t77"));
        let changed = |replicas| ReplicasChanged { forum: 12, replicas, blocked: None }.text(0);
        assert!(changed(0).contains("default") && changed(1).contains("1 replica;"));
        let removed = PeerChanged::new(3, v1::PeerState::Removed, &names(2));
        let text = removed.text_within(0, Width::WIDE);
        assert!(text.contains("p3 attic is removed now") && text.contains("its 2 forums"), "{text}");
        assert!(text.contains("hubctl peer resume attic"), "{text}");
        assert_eq!(
            serde_json::to_string(&removed).unwrap(),
            r#"{"peer":3,"name":"attic","state":"removed","forums":2}"#
        );
        let empty = PeerChanged::new(3, v1::PeerState::Draining, &names(0)).text(0);
        assert!(empty.contains("holds nothing"), "{empty}");
        let unknown = PeerChanged::new(9, v1::PeerState::Draining, &names(0)).text(0);
        assert!(unknown.starts_with("p9 is draining now: others take over its forums"), "{unknown}");
    }

    #[test]
    fn a_hub_that_is_out_is_out_for_ever_and_what_stays_is_told() {
        let text = HubRemoved { hub: 2, staying: vec![1, 3] }.text(0);
        assert!(text.contains("h2 is out of the group for ever, which is h1, h3"), "{text}");
        assert!(text.contains("neither may fail"), "{text}");
        assert_eq!(HubRemoved::warning(3), None);
        assert!(HubRemoved::warning(4).unwrap().contains("no more failures than 3"));
    }

    #[test]
    fn closing_a_forum_says_before_and_after_what_goes() {
        let assignment = v1::Assignment { replicas: vec![1, 2], draining: vec![3], ..Default::default() };
        let closed = ForumClosed::of(&v1::ForumInfo {
            forum_id: 12,
            assignment: Some(assignment),
            messages_finished: 40,
            messages_unfinished: 2,
            open_tasks: 1,
            ..Default::default()
        });
        let warning = closed.warning();
        for part in ["f12 is deleted for ever", "all 3 peers", "up to 40 messages, 2 more", "1 requests"] {
            assert!(warning.contains(part), "{warning}");
        }
        assert!(closed.text(0).starts_with("f12 is closed, with up to 40 messages; the 3 peers"));
        assert_eq!(
            serde_json::to_string(&closed).unwrap(),
            r#"{"forum":12,"messages":40,"unfinished":2,"open_tasks":1,"copies":3}"#
        );
    }

    #[test]
    fn more_replicas_than_there_are_peers_is_said_at_once() {
        let needs = v1::BlockedForum { forum_id: 12, needs: "one more copy".into(), ..Default::default() };
        let blocked = Some(BlockedView::new(&needs, &names(0)));
        let text = ReplicasChanged { forum: 12, replicas: 4, blocked }.text(0);
        assert!(
            text.contains("4 replicas, which cannot be met now") && text.contains("one more copy"),
            "{text}"
        );
    }
}

//! What is due and cannot be done, and why no peer can take it.

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::{
        names::Names,
        table::{Width, clean},
    },
    View,
};

/// A forum that lacks something nobody can give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockedView {
    pub forum: u32,
    needs: String,
    obstacles: Vec<ObstacleView>,
    /// Peers that are not among `obstacles` and cannot either.
    others: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ObstacleView {
    peer: u32,
    name: Option<String>,
    why: String,
}

impl BlockedView {
    pub fn new(blocked: &v1::BlockedForum, names: &Names) -> Self {
        let obstacle = |obstacle: &v1::Obstacle| ObstacleView {
            peer: obstacle.peer_id,
            name: names.name(obstacle.peer_id).map(ToOwned::to_owned),
            why: clean(&obstacle.why),
        };
        Self {
            forum: blocked.forum_id,
            needs: clean(&blocked.needs),
            obstacles: blocked.obstacles.iter().map(obstacle).collect(),
            others: blocked.others,
        }
    }

    /// `f178 needs one more copy; no other peer can help: p4 attic full, p6 loft away, and 3 more cannot`.
    pub fn sentence(&self) -> String {
        let obstacle = |obstacle: &ObstacleView| match &obstacle.name {
            Some(name) => format!("p{} {name} {}", obstacle.peer, obstacle.why),
            None => format!("p{} {}", obstacle.peer, obstacle.why),
        };
        let mut why: Vec<String> = self.obstacles.iter().map(obstacle).collect();
        match (why.is_empty(), self.others) {
            (true, 0) => why.push("there is no other peer".to_owned()),
            (false, 0) => {}
            (true, others) => why.push(format!("{others} peers cannot")),
            (false, others) => why.push(format!("and {others} more cannot")),
        }
        format!("f{} needs {}; no other peer can help: {}", self.forum, self.needs, why.join(", "))
    }
}

/// A forum, and what it lacks and nobody can give.
#[derive(Debug, Serialize)]
pub struct Lacking<V> {
    #[serde(flatten)]
    view: V,
    blocked: Option<BlockedView>,
}

impl<V> Lacking<V> {
    pub fn new(view: V, blocked: Option<BlockedView>) -> Self {
        Self { view, blocked }
    }
}

impl<V: View> View for Lacking<V> {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, now_ms: u64, width: Width) -> String {
        let lacks = self.blocked.as_ref().map(|blocked| format!("lacks     {}", blocked.sentence()));
        let lacks = lacks.map(|lacks| width.wrap(&lacks, 10)).unwrap_or_default();
        self.view.text_within(now_ms, width) + &lacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Forum {
        forum: u32,
    }

    impl View for Forum {
        fn text(&self, _now_ms: u64) -> String {
            "forum     f178\n".to_owned()
        }
    }

    #[test]
    fn a_forum_says_what_it_lacks() {
        let needs = v1::BlockedForum { forum_id: 178, needs: "one more copy".into(), ..Default::default() };
        let blocked = BlockedView::new(&needs, &Names::default());
        let text = Lacking::new(Forum { forum: 178 }, Some(blocked)).text(0);
        assert_eq!(
            text,
            "forum     f178\nlacks     f178 needs one more copy; no other peer can help: there is\n          no other \
             peer\n"
        );
        let whole = Lacking::new(Forum { forum: 178 }, None);
        assert_eq!(whole.text(0), "forum     f178\n");
        assert_eq!(serde_json::to_string(&whole).unwrap(), r#"{"forum":178,"blocked":null}"#);
    }

    #[test]
    fn whoever_cannot_help_is_named_with_the_reason() {
        let names = Names::new(vec![v1::PeerInfo { peer_id: 4, name: "attic".into(), ..Default::default() }]);
        let obstacle = |peer_id, why: &str| v1::Obstacle { peer_id, why: why.into() };
        let mut blocked = v1::BlockedForum {
            forum_id: 178,
            needs: "a successor for p3".into(),
            obstacles: vec![obstacle(4, "full"), obstacle(6, "away")],
            others: 0,
        };
        let said = |blocked: &v1::BlockedForum| BlockedView::new(blocked, &names).sentence();
        assert_eq!(
            said(&blocked),
            "f178 needs a successor for p3; no other peer can help: p4 attic full, p6 away"
        );
        blocked.others = 3;
        assert!(said(&blocked).ends_with("p6 away, and 3 more cannot"));
        blocked.obstacles.clear();
        assert!(said(&blocked).ends_with("can help: 3 peers cannot"));
        blocked.others = 0;
        assert!(said(&blocked).ends_with("there is no other peer"));
    }
}

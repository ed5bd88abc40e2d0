//! A peer that is being emptied: how far it is, what it waits for, what cannot be done.

use loop_proto::v1;
use serde::Serialize;

use super::{super::names::Names, BlockedView};

/// One look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrainView {
    peer: u32,
    name: Option<String>,
    /// Forums it still serves.
    pub to_move: usize,
    /// Forums another peer has taken over, of which it keeps a copy until that one has proved good.
    pub kept: usize,
    /// Forums on their way to it.
    pub joining: usize,
    /// The most it held since this was watched.
    pub at_most: usize,
    /// What is on its way from it.
    pub moving: Vec<Moving>,
    /// What cannot go anywhere.
    pub blocked: Vec<BlockedView>,
    /// Nothing is left.
    pub empty: bool,
    #[serde(skip)]
    pub shown: String,
}

/// A forum on its way from the peer to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moving {
    pub forum: u32,
    pub target: u32,
    target_name: Option<String>,
    pub waits_for: String,
    #[serde(skip)]
    shown: String,
}

impl Moving {
    pub fn new(info: &v1::InvitationInfo, names: &Names) -> Self {
        Self {
            forum: info.forum_id,
            target: info.target,
            target_name: names.name(info.target).map(ToOwned::to_owned),
            waits_for: info.waits_for.clone(),
            shown: names.with_id(info.target),
        }
    }

    /// `f178 → p4 attic: p4 has 35 % of the copy from p2`.
    pub fn line(&self) -> String {
        format!("f{} → {}: {}", self.forum, self.shown, self.waits_for)
    }
}

impl DrainView {
    pub fn new(peer: u32, names: &Names) -> Self {
        Self {
            peer,
            name: names.name(peer).map(ToOwned::to_owned),
            to_move: 0,
            kept: 0,
            joining: 0,
            at_most: 0,
            moving: Vec::new(),
            blocked: Vec::new(),
            empty: false,
            shown: names.with_id(peer),
        }
    }

    /// Forums it has in any way.
    pub fn held(&self) -> usize {
        self.to_move + self.kept + self.joining
    }

    /// `p3 attic: 12 of 40 forums still to move, 4 on their way, 3 kept until their successors have proved good`.
    pub fn summary(&self) -> String {
        if self.empty {
            return format!("{} is empty: it holds no forum any more and can be stopped", self.shown);
        }
        let mut text = format!("{}: {} of {} forums still to move", self.shown, self.to_move, self.at_most);
        for (count, words) in [
            (self.moving.len(), "on their way"),
            (self.kept, "kept until their successors have proved good"),
            (self.joining, "on their way to it"),
            (self.blocked.len(), "that nobody can take now"),
        ] {
            if count > 0 {
                text += &format!(", {count} {words}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_what_is_left_and_no_more() {
        let names = Names::new(vec![v1::PeerInfo { peer_id: 3, name: "attic".into(), ..Default::default() }]);
        let mut view = DrainView { to_move: 12, at_most: 40, ..DrainView::new(3, &names) };
        assert_eq!(view.summary(), "p3 attic: 12 of 40 forums still to move");
        view.kept = 3;
        let info =
            v1::InvitationInfo { forum_id: 178, target: 4, waits_for: "waits".into(), ..Default::default() };
        view.moving.push(Moving::new(&info, &names));
        assert!(view.summary().ends_with("1 on their way, 3 kept until their successors have proved good"));
        assert_eq!(view.moving[0].line(), "f178 → p4: waits");
        assert_eq!(view.held(), 15);
        view.empty = true;
        assert!(view.summary().contains("is empty"));
    }
}

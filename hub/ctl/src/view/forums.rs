//! Forums: who holds them in which role, and how much they have to do.

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::table::{Table, Width},
    View, ago, dash, long, peers, stage,
};

#[derive(Debug, Serialize)]
pub struct ForumView {
    forum: u32,
    epoch: u64,
    primary: u32,
    replicas: Vec<u32>,
    joining: Vec<JoiningView>,
    draining: Vec<u32>,
    replicas_wanted: u32,
    /// Of `replicas`, those that are complete and connected.
    live: Vec<u32>,
    /// Of `replicas`, those that have not been compared with another yet.
    unconfirmed: Vec<u32>,
    /// For how long fewer are live than wanted; nothing: they are not.
    below_for_ms: Option<u64>,
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

impl From<v1::JoiningReplica> for JoiningView {
    fn from(joining: v1::JoiningReplica) -> Self {
        Self {
            peer: joining.peer_id,
            invitation: joining.invitation_id,
            source: joining.source,
            stage: stage(joining.stage()),
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
            replicas: assignment.replicas,
            joining: assignment.joining.into_iter().map(JoiningView::from).collect(),
            draining: assignment.draining,
            replicas_wanted: forum.replicas_wanted,
            live: forum.live,
            unconfirmed: forum.unconfirmed,
            below_for_ms: forum.below_for_ms,
            newest_record: forum.newest_record,
            open_tasks: forum.open_tasks,
            tasks_appended: forum.tasks_appended,
            tasks_per_minute: forum.tasks_per_minute,
            reads_per_minute: forum.reads_per_minute,
            opened_at_ms: forum.opened_at_ms,
        }
    }
}

impl ForumView {
    /// `p1 p2 p3, p4 seeding, p5 draining`.
    fn replicas_text(&self) -> String {
        let mut text = dash(&peers(&self.replicas));
        for joining in &self.joining {
            text += &format!(", p{} {}", joining.peer, joining.stage);
        }
        for peer in &self.draining {
            text += &format!(", p{peer} draining");
        }
        text
    }
}

impl ForumView {
    /// How many live copies there are, of how many, and for how long there have been too few.
    fn copies_text(&self) -> String {
        let (live, wanted) = (self.live.len(), self.replicas_wanted);
        let few = match (live, self.below_for_ms) {
            (_, None) => String::new(),
            (0, Some(ms)) => format!(": NOBODY CAN READ IT (too few for {})", long(ms)),
            (_, Some(ms)) => format!(": too few for {}", long(ms)),
        };
        format!("{live} live, {wanted} wanted{few}")
    }

    /// Serving copies of peers that are away, or behind.
    fn not_live(&self) -> Vec<u32> {
        self.replicas.iter().filter(|peer| !self.live.contains(peer)).copied().collect()
    }
}

impl View for ForumView {
    fn text(&self, now_ms: u64) -> String {
        let mut text = format!(
            "forum     f{}, opened {}\nprimary   p{} in epoch e{}\ncopies    {}\nlive      {}\n",
            self.forum,
            ago(self.opened_at_ms, now_ms),
            self.primary,
            self.epoch,
            self.copies_text(),
            dash(&peers(&self.live)),
        );
        let not_live = self.not_live();
        if !not_live.is_empty() {
            text += &format!("not live  {} (away, or behind: `hubctl peers`)\n", peers(&not_live));
        }
        if !self.unconfirmed.is_empty() {
            text += &format!("new       {} (not compared with another copy yet)\n", peers(&self.unconfirmed));
        }
        for joining in &self.joining {
            let JoiningView { peer, invitation, source, stage } = joining;
            text += &format!("joining   p{peer}, {stage}, copy from p{source} (invitation t{invitation})\n");
        }
        if !self.draining.is_empty() {
            text += &format!("draining  {}\n", peers(&self.draining));
        }
        text + &format!(
            "newest    record t{}\ntasks     {} appended, {} open\nlately    {} tasks and {} reads a minute\n",
            self.newest_record,
            self.tasks_appended,
            self.open_tasks,
            self.tasks_per_minute,
            self.reads_per_minute,
        )
    }
}

#[derive(Debug, Serialize)]
pub struct ForumsView {
    forums: Vec<ForumView>,
    more: bool,
    #[serde(skip)]
    unhealthy: bool,
}

impl ForumsView {
    /// `unhealthy`: only those with too few live copies were asked for.
    pub fn new(forums: Vec<v1::ForumInfo>, more: bool, unhealthy: bool) -> Self {
        Self { forums: forums.into_iter().map(ForumView::from).collect(), more, unhealthy }
    }
}

impl View for ForumsView {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, now_ms: u64, width: Width) -> String {
        if self.forums.is_empty() {
            let none =
                if self.unhealthy { "every forum has as many live copies as wanted" } else { "no forum" };
            return format!("{none}\n");
        }
        let mut table = Table::new(&[
            "FORUM",
            "PRIMARY",
            "REPLICAS",
            "LIVE",
            "EPOCH",
            "NEWEST",
            "TASKS",
            "OPEN",
            "TASKS/MIN",
            "READS/MIN",
            "OPENED",
        ])
        .sentences(&["REPLICAS"])
        .extras(&["EPOCH", "NEWEST", "TASKS", "READS/MIN", "OPENED"]);
        for forum in &self.forums {
            table.row(vec![
                format!("f{}", forum.forum),
                format!("p{}", forum.primary),
                forum.replicas_text(),
                format!("{}/{}", forum.live.len(), forum.replicas_wanted),
                format!("e{}", forum.epoch),
                format!("t{}", forum.newest_record),
                forum.tasks_appended.to_string(),
                forum.open_tasks.to_string(),
                forum.tasks_per_minute.to_string(),
                forum.reads_per_minute.to_string(),
                ago(forum.opened_at_ms, now_ms),
            ]);
        }
        let more = if self.more { "there are more; --limit shows them\n" } else { "" };
        table.render_within(width) + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_shown_in_their_roles() {
        let joining = v1::JoiningReplica {
            peer_id: 4,
            invitation_id: 77,
            source: 2,
            stage: v1::JoinStage::CatchingUp.into(),
        };
        let assignment = v1::Assignment {
            epoch: 3,
            primary: 1,
            replicas: vec![1, 2],
            joining: vec![joining],
            draining: vec![5],
            ..Default::default()
        };
        let info = v1::ForumInfo { forum_id: 12, assignment: Some(assignment), ..Default::default() };
        let view = ForumView::from(info.clone());
        assert_eq!(view.replicas_text(), "p1 p2, p4 catching up, p5 draining");
        let text = view.text(0);
        assert!(text.contains("joining   p4, catching up, copy from p2 (invitation t77)"), "{text}");
        assert!(text.contains("draining  p5"), "{text}");
        let list = ForumsView::new(vec![info], false, false).text_within(0, Width::WIDE);
        assert!(list.contains("p1 p2, p4 catching up, p5 draining"), "{list}");
    }

    #[test]
    fn copies_that_are_not_live_are_told_apart_and_for_how_long_there_are_too_few() {
        let assignment = Some(v1::Assignment { primary: 1, replicas: vec![1, 2, 3], ..Default::default() });
        let info = v1::ForumInfo {
            forum_id: 12,
            assignment,
            replicas_wanted: 3,
            live: vec![1, 3],
            unconfirmed: vec![3],
            below_for_ms: Some(130_000),
            ..Default::default()
        };
        let view = ForumView::from(info.clone());
        let text = view.text(0);
        for part in [
            "copies    2 live, 3 wanted: too few for 2 min",
            "live      p1 p3",
            "not live  p2 (",
            "new       p3 (",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let list = ForumsView::new(vec![info.clone()], false, true);
        assert!(list.text(0).contains(" 2/3 "), "{}", list.text(0));
        let json = serde_json::to_value(&list).unwrap();
        let forum = &json["forums"][0];
        assert_eq!((&forum["live"][1], &forum["below_for_ms"]), (&3.into(), &130_000.into()));
        let dead = ForumView::from(v1::ForumInfo { live: vec![], ..info.clone() }).text(0);
        assert!(dead.contains("0 live, 3 wanted: NOBODY CAN READ IT"), "{dead}");
        let well = v1::ForumInfo { live: vec![1, 2, 3], below_for_ms: None, unconfirmed: vec![], ..info };
        let text = ForumView::from(well).text(0);
        assert!(
            text.contains("3 live, 3 wanted\n") && !text.contains("not live") && !text.contains("new "),
            "{text}"
        );
        assert!(ForumsView::new(vec![], false, true).text(0).contains("every forum has"));
    }
}

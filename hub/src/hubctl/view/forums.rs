//! Forums: who holds them in which role, and how much they have to do.

use loop_proto::v1;
use serde::Serialize;

use super::{super::table::Table, View, ago, dash, peers, stage};

#[derive(Debug, Serialize)]
pub struct ForumView {
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

impl View for ForumView {
    fn text(&self, now_ms: u64) -> String {
        let mut text = format!(
            "forum     f{}, opened {}\nprimary   p{} in epoch e{}\nreplicas  {} serving, {} wanted\nserving   {}\n",
            self.forum,
            ago(self.opened_at_ms, now_ms),
            self.primary,
            self.epoch,
            self.replicas.len(),
            self.replicas_wanted,
            dash(&peers(&self.replicas)),
        );
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
        let mut table = Table::new(&[
            "FORUM",
            "PRIMARY",
            "REPLICAS",
            "WANTED",
            "EPOCH",
            "NEWEST",
            "TASKS",
            "OPEN",
            "TASKS/MIN",
            "READS/MIN",
            "OPENED",
        ]);
        for forum in &self.forums {
            table.row(vec![
                format!("f{}", forum.forum),
                format!("p{}", forum.primary),
                forum.replicas_text(),
                forum.replicas_wanted.to_string(),
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
        table.render() + more
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
        let list = ForumsView::from((vec![info], false)).text(0);
        assert!(list.contains("p1 p2, p4 catching up, p5 draining"), "{list}");
    }
}

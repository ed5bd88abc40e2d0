//! Tasks nobody has answered yet.

use loop_proto::v1;
use serde::Serialize;

use super::{super::table::Table, View, ago};

#[derive(Debug, Serialize)]
pub struct TasksView {
    tasks: Vec<TaskView>,
}

#[derive(Debug, Serialize)]
struct TaskView {
    task: u64,
    forum: u32,
    kind: &'static str,
    message: Option<u32>,
    received_at_ms: u64,
}

impl From<Vec<v1::TaskInfo>> for TasksView {
    fn from(tasks: Vec<v1::TaskInfo>) -> Self {
        let view = |task: v1::TaskInfo| TaskView {
            task: task.task_id,
            forum: task.forum_id,
            kind: kind(task.endpoint()),
            message: task.message_id,
            received_at_ms: task.received_at_ms,
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
        let mut table = Table::new(&["TASK", "FORUM", "KIND", "MESSAGE", "RECEIVED"]);
        for task in &self.tasks {
            table.row(vec![
                format!("t{}", task.task),
                format!("f{}", task.forum),
                task.kind.to_owned(),
                task.message.map_or_else(|| "-".to_owned(), |message| format!("m{message}")),
                ago(task.received_at_ms, now_ms),
            ]);
        }
        table.render()
    }
}

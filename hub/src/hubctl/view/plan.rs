//! What balance would do now.

use loop_proto::v1;
use serde::Serialize;

use super::{super::table::Table, View, some};

#[derive(Debug, Serialize)]
pub struct PlanView {
    steps: Vec<StepView>,
    planned_in_us: u64,
}

#[derive(Debug, Serialize)]
struct StepView {
    forum: u32,
    what: String,
    peer: u32,
    replaces: Option<u32>,
    why: String,
    held_back: bool,
}

impl From<v1::ShowPlanReply> for PlanView {
    fn from(plan: v1::ShowPlanReply) -> Self {
        let view = |step: v1::PlannedStep| StepView {
            forum: step.forum_id,
            what: step.what,
            peer: step.peer_id,
            replaces: some(step.replaces),
            why: step.why,
            held_back: step.held_back,
        };
        Self { steps: plan.steps.into_iter().map(view).collect(), planned_in_us: plan.planned_in_us }
    }
}

impl View for PlanView {
    fn text(&self, _now_ms: u64) -> String {
        let took = format!("planned in {}.{} ms", self.planned_in_us / 1000, self.planned_in_us % 1000 / 100);
        if self.steps.is_empty() {
            return format!("nothing is to be done: every forum is where it should be ({took})\n");
        }
        let mut table = Table::new(&["FORUM", "STEP", "PEER", "REPLACES", "WHEN", "WHY"]);
        for step in &self.steps {
            table.row(vec![
                format!("f{}", step.forum),
                step.what.clone(),
                format!("p{}", step.peer),
                step.replaces.map_or_else(|| "-".to_owned(), |peer| format!("p{peer}")),
                if step.held_back { "later" } else { "now" }.to_owned(),
                step.why.clone(),
            ]);
        }
        let later = self.steps.iter().filter(|step| step.held_back).count();
        let held_back = match later {
            0 => String::new(),
            _ => format!("; {later} wait because as much as may is under way"),
        };
        format!("{}{} steps{held_back} ({took})\n", table.render(), self.steps.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_happens_now_and_what_later() {
        let step = |forum_id, held_back| v1::PlannedStep {
            forum_id,
            what: "invite".into(),
            peer_id: 4,
            replaces: 2,
            why: "a replica's peer is to be emptied".into(),
            held_back,
        };
        let plan = v1::ShowPlanReply {
            steps: vec![step(1, false), step(2, true)],
            planned_in_us: 1_250,
            ..Default::default()
        };
        let text = PlanView::from(plan).text(0);
        for part in ["f1 ", "now", "f2 ", "later", "to be emptied", "2 steps; 1 wait", "1.2 ms"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(PlanView::from(v1::ShowPlanReply::default()).text(0).contains("nothing is to be done"));
    }
}

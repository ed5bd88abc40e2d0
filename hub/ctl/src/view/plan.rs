//! What balance would do now, and what is due and cannot be done.

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::{
        names::Names,
        table::{Table, Width},
    },
    BlockedView, View, some,
};

#[derive(Debug, Serialize)]
pub struct PlanView {
    steps: Vec<StepView>,
    planned_in_us: u64,
    blocked: Vec<BlockedView>,
    /// More than are listed in `blocked`, if there are very many.
    blocked_total: u64,
}

#[derive(Debug, Serialize)]
struct StepView {
    forum: u32,
    what: String,
    peer: u32,
    peer_name: Option<String>,
    replaces: Option<u32>,
    replaces_name: Option<String>,
    why: String,
    held_back: bool,
    #[serde(skip)]
    shown: (String, String),
}

impl PlanView {
    pub fn new(plan: v1::ShowPlanReply, names: &Names) -> Self {
        let name = |peer| names.name(peer).map(ToOwned::to_owned);
        let view = |step: v1::PlannedStep| StepView {
            forum: step.forum_id,
            what: step.what,
            peer: step.peer_id,
            peer_name: name(step.peer_id),
            replaces: some(step.replaces),
            replaces_name: name(step.replaces),
            why: step.why,
            held_back: step.held_back,
            shown: (
                names.with_id(step.peer_id),
                some(step.replaces).map_or_else(|| "-".to_owned(), |peer| names.with_id(peer)),
            ),
        };
        let blocked: Vec<BlockedView> =
            plan.blocked.iter().map(|blocked| BlockedView::new(blocked, names)).collect();
        Self {
            steps: plan.steps.into_iter().map(view).collect(),
            planned_in_us: plan.planned_in_us,
            blocked_total: plan.blocked_total.max(blocked.len() as u64),
            blocked,
        }
    }

    fn table(&self, width: Width) -> String {
        let mut table = Table::new(&["FORUM", "STEP", "PEER", "REPLACES", "WHEN", "WHY"])
            .names(&["PEER", "REPLACES"])
            .sentences(&["WHY"]);
        for step in &self.steps {
            table.row(vec![
                format!("f{}", step.forum),
                step.what.clone(),
                step.shown.0.clone(),
                step.shown.1.clone(),
                if step.held_back { "later" } else { "now" }.to_owned(),
                step.why.clone(),
            ]);
        }
        table.render_within(width)
    }

    fn cannot_be_done(&self, width: Width) -> String {
        if self.blocked.is_empty() {
            return String::new();
        }
        let mut text = "\ndue, and cannot be done now:\n".to_owned();
        for blocked in &self.blocked {
            text += &format!("  {}", width.wrap(&blocked.sentence(), 4));
        }
        let more = self.blocked_total.saturating_sub(self.blocked.len() as u64);
        if more > 0 {
            text += &format!("  and {more} forums more\n");
        }
        text
    }
}

impl View for PlanView {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, _now_ms: u64, width: Width) -> String {
        let took = format!("planned in {}.{} ms", self.planned_in_us / 1000, self.planned_in_us % 1000 / 100);
        let steps = match (self.steps.len(), self.steps.iter().filter(|step| step.held_back).count()) {
            (0, _) if self.blocked.is_empty() => {
                format!("nothing is to be done now; `hubctl status` tells whether all is well ({took})\n")
            }
            (0, _) => format!("nothing can be done now ({took})\n"),
            (1, 0) => format!("{}1 step ({took})\n", self.table(width)),
            (all, 0) => format!("{}{all} steps ({took})\n", self.table(width)),
            (all, later) => format!(
                "{}{all} steps; {later} wait because as much as may is under way ({took})\n",
                self.table(width)
            ),
        };
        steps + &self.cannot_be_done(width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(vec![v1::PeerInfo { peer_id: 4, name: "attic".into(), ..Default::default() }])
    }

    fn step(forum_id: u32, held_back: bool) -> v1::PlannedStep {
        v1::PlannedStep {
            forum_id,
            what: "invite".into(),
            peer_id: 4,
            replaces: 2,
            why: "a replica's peer is to be emptied".into(),
            held_back,
        }
    }

    #[test]
    fn a_plan_says_what_happens_now_and_what_later() {
        let plan = v1::ShowPlanReply {
            steps: vec![step(1, false), step(2, true)],
            planned_in_us: 1_250,
            ..Default::default()
        };
        let view = PlanView::new(plan, &names());
        let text = view.text_within(0, Width::WIDE);
        for part in ["f1 ", "p4 attic", "now", "f2 ", "later", "to be emptied", "2 steps; 1 wait", "1.2 ms"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["steps"][0]["peer_name"], &json["blocked_total"]), (&"attic".into(), &0.into()));
        let nothing = PlanView::new(v1::ShowPlanReply::default(), &names()).text(0);
        assert!(nothing.contains("nothing is to be done"), "{nothing}");
    }

    #[test]
    fn what_cannot_be_done_stands_below_and_is_never_called_nothing_to_do() {
        let blocked = v1::BlockedForum {
            forum_id: 178,
            needs: "one more copy".into(),
            obstacles: vec![v1::Obstacle { peer_id: 4, why: "full".into() }],
            others: 0,
        };
        let mut plan = v1::ShowPlanReply { blocked: vec![blocked], blocked_total: 9, ..Default::default() };
        let text = PlanView::new(plan.clone(), &names()).text(0);
        assert!(
            text.starts_with("nothing can be done now") && !text.contains("nothing is to be done"),
            "{text}"
        );
        assert!(text.contains("f178 needs one more copy") && text.contains("and 8 forums more"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        plan.steps.push(step(1, false));
        let text = PlanView::new(plan, &names()).text(0);
        assert!(text.contains("1 step (") && text.contains("cannot be done now"), "{text}");
    }
}

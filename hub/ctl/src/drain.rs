//! A peer that is being emptied, watched until it is.
//!
//! On a terminal a bar; anywhere else a line, or with `--json` an object, when something has changed. Decides when nothing
//! more can be hoped for. Never moves anything itself.

use std::{collections::BTreeSet, io::Write, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loop_admin::{Admin, AdminError};
use loop_proto::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    names::Names,
    table::Width,
    view::{BlockedView, DrainView, Moving},
    watch::{MIGRATIONS_MAX, Shown},
};

/// Forums of one peer that are looked at.
const FORUMS_MAX: u32 = 100_000;
/// So long everything that is left must be blocked before that is believed: plans change, peers come.
const BLOCKED_FOR: Duration = Duration::from_secs(10);
/// So long nobody may plan anything for what is left.
const UNPLANNED_FOR: Duration = Duration::from_secs(30);
/// After so long without a change, what it waits for is said.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// Moves whose waiting is told at once.
const MOVES_TOLD: usize = 3;

/// What to watch, and how.
pub(super) struct Drain {
    pub peer: u32,
    pub every: Duration,
    /// Longest stay.
    pub wait: Option<Duration>,
    pub shown: Shown,
    pub width: Width,
}

/// What the hubs say at one look.
struct Seen {
    forums: Vec<v1::ForumInfo>,
    open: Vec<v1::InvitationInfo>,
    /// None while nobody plans: the lead moves, say.
    plan: Option<v1::ShowPlanReply>,
}

impl Drain {
    /// Ok when the peer is empty.
    pub async fn watch(&self, admin: &Admin, names: &Names, out: &mut impl Write) -> Result<(), AdminError> {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begin = Instant::now();
        let stop = tokio::signal::ctrl_c();
        tokio::pin!(stop);
        let mut watching = Watching::new(self.peer, names.clone());
        let screen = Screen::new(self.shown, self.width);
        let ended = loop {
            let seen = tokio::select! {
                biased;
                _ = &mut stop => break Err(watching.unfinished("interrupted")),
                seen = async {
                    tick.tick().await;
                    look(admin, self.peer).await
                } => seen,
            };
            let passed = begin.elapsed();
            let seen = match seen {
                Ok(seen) => Some(seen),
                Err(AdminError::Unreachable { .. }) => None,
                Err(error) => break Err(error),
            };
            let look = watching.look(seen, passed);
            screen.show(&watching, &look, out)?;
            match look.end {
                Some(end) => break end,
                None if self.wait.is_some_and(|wait| passed >= wait) => {
                    break Err(watching.unfinished("the time is up (--wait)"));
                }
                None => {}
            }
        };
        screen.finish();
        ended
    }
}

async fn look(admin: &Admin, peer: u32) -> Result<Seen, AdminError> {
    let (forums, _) = admin.forums(Some(peer), FORUMS_MAX).await?;
    let open = admin.invitations(true, MIGRATIONS_MAX).await?;
    let open = open.into_iter().filter(|info| info.replaces == peer && under_way(info)).collect();
    let plan = match admin.plan().await {
        Ok(plan) => Some(plan),
        Err(AdminError::Unreachable { .. } | AdminError::Refused { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Seen { forums, open, plan })
}

/// Not one that is over but for the end of the replica it replaced.
fn under_way(info: &v1::InvitationInfo) -> bool {
    matches!(info.status(), v1::InvitationStatus::Waiting | v1::InvitationStatus::Accepted)
}

/// What was seen so far.
struct Watching {
    peer: u32,
    names: Names,
    view: DrainView,
    changed_at: Duration,
    told_waits_at: Duration,
    blocked_since: Option<Duration>,
    unplanned_since: Option<Duration>,
}

/// What can be hoped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// Something moves or is planned, or nobody has planned anew.
    Open,
    /// All that is left is blocked.
    Blocked,
    /// Nothing is planned, and nothing stands against it.
    Unplanned,
}

/// What has come of one look.
struct Look {
    /// Anything has.
    changed: bool,
    /// More than how far a copy is.
    summary_changed: bool,
    /// Sentences about forums that were not blocked before.
    newly_blocked: Vec<String>,
    /// What it waits for, said now and then while nothing changes.
    waits: Vec<String>,
    end: Option<Result<(), AdminError>>,
}

impl Watching {
    fn new(peer: u32, names: Names) -> Self {
        Self {
            peer,
            view: DrainView::new(peer, &names),
            names,
            changed_at: Duration::ZERO,
            told_waits_at: Duration::ZERO,
            blocked_since: None,
            unplanned_since: None,
        }
    }

    /// After a look so long after the start. Without anything seen, nothing is known.
    fn look(&mut self, seen: Option<Seen>, at: Duration) -> Look {
        let mut look = Look {
            changed: false,
            summary_changed: false,
            newly_blocked: Vec::new(),
            waits: Vec::new(),
            end: None,
        };
        let Some(seen) = seen else {
            (self.blocked_since, self.unplanned_since) = (None, None);
            if self.is_quiet(at) {
                look.waits.push("no hub answers; asking again".to_owned());
            }
            return look;
        };
        let (view, outlook) = self.view_of(&seen);
        let was: BTreeSet<u32> = self.view.blocked.iter().map(|blocked| blocked.forum).collect();
        let new = view.blocked.iter().filter(|now| !was.contains(&now.forum));
        look.newly_blocked = new.map(BlockedView::sentence).collect();
        (look.changed, look.summary_changed) = (view != self.view, view.summary() != self.view.summary());
        self.view = view;
        if look.summary_changed {
            (self.changed_at, self.told_waits_at) = (at, at);
        }
        self.blocked_since = (outlook == Outlook::Blocked).then(|| self.blocked_since.unwrap_or(at));
        self.unplanned_since = (outlook == Outlook::Unplanned).then(|| self.unplanned_since.unwrap_or(at));
        if self.is_quiet(at) {
            look.waits = self.waits();
        }
        look.end = self.end(at);
        look
    }

    fn view_of(&self, seen: &Seen) -> (DrainView, Outlook) {
        let mut view = DrainView::new(self.peer, &self.names);
        let mut left = BTreeSet::new();
        for forum in &seen.forums {
            let Some(assignment) = &forum.assignment else { continue };
            if assignment.draining.contains(&self.peer) {
                view.kept += 1;
            } else if assignment.joining.iter().any(|joining| joining.peer_id == self.peer) {
                view.joining += 1;
            } else {
                view.to_move += 1;
                left.insert(forum.forum_id);
            }
        }
        view.empty = view.held() == 0;
        view.at_most = self.view.at_most.max(view.held());
        view.moving = seen.open.iter().map(|info| Moving::new(info, &self.names)).collect();
        let Some(plan) = &seen.plan else {
            // Nobody has planned anew; what was blocked still is, as far as is known.
            view.blocked = self.view.blocked.clone();
            view.blocked.retain(|blocked| left.contains(&blocked.forum));
            return (view, Outlook::Open);
        };
        let moving: BTreeSet<u32> = view.moving.iter().map(|moving| moving.forum).collect();
        let of_it = |forum: &u32| left.contains(forum) && !moving.contains(forum);
        // A forum may need several things.
        let mut told = BTreeSet::new();
        let blocked = plan.blocked.iter().filter(|blocked| of_it(&blocked.forum_id));
        let blocked = blocked.filter(|blocked| told.insert(blocked.forum_id));
        view.blocked = blocked.map(|blocked| BlockedView::new(blocked, &self.names)).collect();
        let planned = plan.steps.iter().any(|step| left.contains(&step.forum_id));
        // Of very many blocked forums only the first are listed.
        let truncated = plan.blocked_total > plan.blocked.len() as u64;
        let outlook = match view.blocked.len() {
            _ if left.is_empty() || planned || !view.moving.is_empty() => Outlook::Open,
            0 if !truncated => Outlook::Unplanned,
            some if some == left.len() || truncated => Outlook::Blocked,
            _ => Outlook::Open,
        };
        (view, outlook)
    }

    fn end(&self, at: Duration) -> Option<Result<(), AdminError>> {
        let since = |since: Option<Duration>, long: Duration| since.is_some_and(|since| at >= since + long);
        if self.view.empty {
            return Some(Ok(()));
        }
        let typed = self.names.typed(self.peer);
        if since(self.blocked_since, BLOCKED_FOR) {
            return Some(Err(AdminError::Impossible(format!(
                "no other peer can take what {} still holds ({}): free or start one of those named above, or add a \
                 peer. The draining goes on when one can; `hubctl peer resume {typed}` ends it",
                self.view.shown,
                forums(self.view.to_move)
            ))));
        }
        if since(self.unplanned_since, UNPLANNED_FOR) {
            return Some(Err(AdminError::Impossible(format!(
                "nothing is planned for what {} still holds ({}): see `hubctl plan`; hubs with --balance false move \
                 nothing by themselves, `hubctl forum move` does",
                self.view.shown,
                forums(self.view.to_move)
            ))));
        }
        None
    }

    fn is_quiet(&mut self, at: Duration) -> bool {
        let quiet = at >= self.changed_at.max(self.told_waits_at) + QUIET_FOR;
        if quiet {
            self.told_waits_at = at;
        }
        quiet
    }

    fn waits(&self) -> Vec<String> {
        let moving = self.view.moving.iter().take(MOVES_TOLD).map(Moving::line);
        let blocked = self.view.blocked.iter().take(MOVES_TOLD).map(BlockedView::sentence);
        let kept = (self.view.kept > 0 && self.view.to_move == 0)
            .then(|| "waits until the new copies have proved good (--copy-grace-s of the hubs)".to_owned());
        let mut waits: Vec<String> = moving.chain(blocked).chain(kept).collect();
        if waits.is_empty() {
            waits.push("waits for the hub that leads to plan the next moves (`hubctl plan`)".to_owned());
        }
        waits
    }

    fn unfinished(&self, why: &str) -> AdminError {
        let held = self.view.held();
        AdminError::Unfinished(format!(
            "{why}: {} still holds {}; the draining goes on, `hubctl peer resume {}` ends it",
            self.view.shown,
            forums(held),
            self.names.typed(self.peer)
        ))
    }
}

fn forums(count: usize) -> String {
    if count == 1 { "1 forum".to_owned() } else { format!("{count} forums") }
}

/// Where it is shown.
struct Screen {
    shown: Shown,
    width: Width,
    bar: ProgressBar,
}

impl Screen {
    fn new(shown: Shown, width: Width) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if shown == Shown::Redrawn {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("[{bar:20}] {wide_msg}").expect("a constant template is right");
            bar.set_style(style.progress_chars("=> "));
        }
        Self { shown, width, bar }
    }

    fn show(&self, watching: &Watching, look: &Look, out: &mut impl Write) -> Result<(), AdminError> {
        let view = &watching.view;
        let text = match self.shown {
            Shown::Json => {
                let line = |view| serde_json::to_string(view).map_err(std::io::Error::from);
                if look.changed { line(view)? + "\n" } else { String::new() }
            }
            Shown::Lines => {
                let summary = look.summary_changed.then(|| view.summary());
                self.lines(summary.iter().chain(&look.newly_blocked).chain(&look.waits))
            }
            Shown::Redrawn => {
                self.bar.set_length(view.at_most as u64);
                self.bar.set_position(view.at_most.saturating_sub(view.held()) as u64);
                self.bar.set_message(view.summary());
                let summary = view.empty.then(|| view.summary());
                self.lines(summary.iter().chain(&look.newly_blocked).chain(&look.waits))
            }
        };
        if !text.is_empty() {
            self.bar.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
        }
        Ok(())
    }

    fn lines<'a>(&self, lines: impl Iterator<Item = &'a String>) -> String {
        lines.map(|line| self.width.wrap(line, 2)).collect()
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: u32 = 3;

    fn names() -> Names {
        let peer = |peer_id, name: &str| v1::PeerInfo { peer_id, name: name.into(), ..Default::default() };
        Names::new(vec![peer(3, "attic"), peer(4, "loft"), peer(6, "cellar")])
    }

    fn serving(forum_id: u32) -> v1::ForumInfo {
        let assignment = v1::Assignment { replicas: vec![1, 2, PEER], ..Default::default() };
        v1::ForumInfo { forum_id, assignment: Some(assignment), ..Default::default() }
    }

    fn kept(forum_id: u32) -> v1::ForumInfo {
        let assignment =
            v1::Assignment { replicas: vec![1, 2, 4], draining: vec![PEER], ..Default::default() };
        v1::ForumInfo { forum_id, assignment: Some(assignment), ..Default::default() }
    }

    fn moving(forum_id: u32) -> v1::InvitationInfo {
        v1::InvitationInfo {
            forum_id,
            target: 4,
            replaces: PEER,
            status: v1::InvitationStatus::Accepted.into(),
            waits_for: "p4 has 35 % of the copy from p3".into(),
            ..Default::default()
        }
    }

    fn blocked(forums: &[u32]) -> v1::ShowPlanReply {
        let obstacle = |peer_id, why: &str| v1::Obstacle { peer_id, why: why.into() };
        let blocked = |forum_id: &u32| v1::BlockedForum {
            forum_id: *forum_id,
            needs: "a successor for p3".into(),
            obstacles: vec![obstacle(4, "full"), obstacle(6, "away")],
            others: 0,
        };
        let blocked: Vec<_> = forums.iter().map(blocked).collect();
        v1::ShowPlanReply { blocked_total: blocked.len() as u64, blocked, ..Default::default() }
    }

    fn steps(forums: &[u32]) -> v1::ShowPlanReply {
        let step =
            |forum_id: &u32| v1::PlannedStep { forum_id: *forum_id, held_back: true, ..Default::default() };
        v1::ShowPlanReply { steps: forums.iter().map(step).collect(), ..Default::default() }
    }

    fn seen(
        forums: Vec<v1::ForumInfo>,
        open: Vec<v1::InvitationInfo>,
        plan: v1::ShowPlanReply,
    ) -> Option<Seen> {
        Some(Seen { forums, open, plan: Some(plan) })
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_ends_well_when_the_last_forum_is_gone_and_what_is_kept_counts() {
        let mut watching = Watching::new(PEER, names());
        let look =
            watching.look(seen(vec![serving(1), serving(2)], vec![moving(1)], steps(&[2])), seconds(0));
        assert!(look.changed && look.end.is_none());
        assert_eq!(watching.view.summary(), "p3 attic: 2 of 2 forums still to move, 1 on their way");
        let look = watching.look(seen(vec![kept(1), serving(2)], vec![], steps(&[2])), seconds(1));
        assert!(look.changed && look.end.is_none());
        assert!(watching.view.summary().contains("1 of 2 forums still to move, 1 kept"));
        let look = watching.look(seen(vec![kept(1), kept(2)], vec![], steps(&[])), seconds(2));
        assert!(look.end.is_none(), "what is kept is needed until its successor has proved good");
        let long = watching.look(seen(vec![kept(1), kept(2)], vec![], steps(&[])), seconds(600));
        assert!(long.end.is_none() && long.waits[0].contains("--copy-grace-s"), "{:?}", long.waits);
        let look = watching.look(seen(vec![], vec![], steps(&[])), seconds(601));
        assert!(matches!(look.end, Some(Ok(()))));
        assert!(watching.view.summary().contains("p3 attic is empty"));
    }

    #[test]
    fn it_ends_when_all_that_is_left_has_been_blocked_for_a_while_and_says_by_whom() {
        let mut watching = Watching::new(PEER, names());
        let forums = || vec![serving(1), serving(2), kept(3)];
        let first = watching.look(seen(forums(), vec![], blocked(&[1, 2])), seconds(0));
        assert!(first.end.is_none());
        assert_eq!(
            first.newly_blocked[0],
            "f1 needs a successor for p3; no other peer can help: p4 loft full, p6 cellar away"
        );
        let again = watching.look(seen(forums(), vec![], blocked(&[1, 2])), seconds(9));
        assert!(again.end.is_none() && again.newly_blocked.is_empty() && !again.changed);
        let ended = watching.look(seen(forums(), vec![], blocked(&[1, 2])), seconds(10)).end.unwrap();
        let error = ended.unwrap_err();
        assert_eq!(error.exit_code(), 7);
        assert!(error.to_string().contains("p3 attic still holds (2 forums)"), "{error}");
        assert!(error.to_string().contains("peer resume attic"), "{error}");
    }

    #[test]
    fn as_long_as_anything_moves_or_is_planned_it_goes_on() {
        let mut watching = Watching::new(PEER, names());
        for (at, open, plan) in [
            (0, vec![], blocked(&[1, 2])),
            (9, vec![moving(1)], blocked(&[1, 2])),
            (30, vec![], v1::ShowPlanReply { blocked: blocked(&[1]).blocked, ..steps(&[2]) }),
            (60, vec![], steps(&[1, 2])),
            (120, vec![], blocked(&[1, 2])),
        ] {
            let look = watching.look(seen(vec![serving(1), serving(2)], open, plan), seconds(at));
            assert!(look.end.is_none(), "at {at} s");
        }
        watching.look(None, seconds(125));
        let look = watching.look(seen(vec![serving(1), serving(2)], vec![], blocked(&[1, 2])), seconds(131));
        assert!(look.end.is_none(), "what was not seen was not blocked");
    }

    #[test]
    fn hubs_that_plan_nothing_at_all_are_not_waited_for_for_ever() {
        let mut watching = Watching::new(PEER, names());
        let look = |watching: &mut Watching, at| {
            watching.look(seen(vec![serving(1)], vec![], steps(&[])), seconds(at)).end
        };
        assert!(look(&mut watching, 0).is_none() && look(&mut watching, 29).is_none());
        let error = look(&mut watching, 30).unwrap().unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains("--balance false"), "{error}");
    }

    #[test]
    fn what_it_waits_for_is_said_when_nothing_has_changed_for_a_while() {
        let mut watching = Watching::new(PEER, names());
        let look = |watching: &mut Watching, at| {
            watching.look(seen(vec![serving(1)], vec![moving(1)], steps(&[])), seconds(at)).waits
        };
        assert!(look(&mut watching, 0).is_empty() && look(&mut watching, 9).is_empty());
        assert_eq!(look(&mut watching, 10), ["f1 → p4 loft: p4 has 35 % of the copy from p3"]);
        assert!(look(&mut watching, 11).is_empty(), "once");
        assert_eq!(look(&mut watching, 20).len(), 1);
        assert_eq!(watching.look(None, seconds(40)).waits, ["no hub answers; asking again"]);
        let late = watching.unfinished("the time is up (--wait)");
        assert_eq!(late.exit_code(), 6);
        assert!(late.to_string().contains("still holds 1 forum;"), "{late}");
    }

    #[test]
    fn a_log_gets_lines_and_a_script_objects_when_something_changes() {
        let mut watching = Watching::new(PEER, names());
        let mut shown = |kind, at| {
            let screen = Screen::new(kind, Width::USUAL);
            let look = watching.look(seen(vec![serving(1)], vec![], blocked(&[1])), seconds(at));
            let mut out = Vec::new();
            screen.show(&watching, &look, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let lines = shown(Shown::Lines, 0);
        assert!(
            lines.starts_with("p3 attic: 1 of 1 forums still to move, 1 that nobody can take now\n"),
            "{lines}"
        );
        assert!(
            lines.contains("f1 needs a successor for p3") && lines.lines().all(|l| l.chars().count() <= 80)
        );
        assert_eq!(shown(Shown::Lines, 1), "");
        assert_eq!(shown(Shown::Json, 2), "");
        let mut watching = Watching::new(PEER, names());
        let look = watching.look(seen(vec![serving(1)], vec![moving(1)], steps(&[])), seconds(0));
        let mut out = Vec::new();
        Screen::new(Shown::Json, Width::USUAL).show(&watching, &look, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&value["to_move"], &value["moving"][0]["target_name"]), (&1.into(), &"loft".into()));
    }
}

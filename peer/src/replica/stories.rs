//! One rule each, told as a story.

use super::*;
use crate::backend::{Given, Work};
use loop_proto::ids::HubTime;

const ME: u32 = 1;
const OTHER: u32 = 2;

fn peer(id: u32) -> PeerId {
    PeerId::new(id).unwrap()
}

fn forum() -> ForumId {
    ForumId::new(7).unwrap()
}

fn task(id: u64) -> TaskId {
    TaskId::new(id).unwrap()
}

fn open_task() -> OpenTask {
    let work = Work {
        forum: forum(),
        request: Some(v1::ClientRequest::default()),
        session: None,
        given: Given::default(),
        now: HubTime(0),
    };
    OpenTask { work: Arc::new(work), size: 10 }
}

fn assignment(epoch: u64, primary: u32) -> Assignment {
    Assignment {
        epoch: ForumEpoch(epoch),
        primary: peer(primary),
        replicas: vec![peer(ME), peer(OTHER)],
        joining: vec![],
        draining: vec![],
        unconfirmed: vec![],
    }
}

fn entry(id: u64, body: EntryBody) -> Entry {
    Entry { id: task(id), forum: Some(forum()), body }
}

/// The forum is gone, as the directory says; there is nothing in it.
fn gone(id: u64) -> Entry {
    Entry { forum: None, ..entry(id, EntryBody::Closed { forum: forum(), forced: false }) }
}

fn asked(id: u64) -> Entry {
    entry(id, EntryBody::Task(open_task()))
}

fn closed(id: u64, closes: u64, by: u32, epoch: u64, rows: &'static str) -> Entry {
    let facts = Facts {
        closes: Some(task(closes)),
        peer: Some(peer(by)),
        epoch: ForumEpoch(epoch),
        rows: Bytes::from_static(rows.as_bytes()),
    };
    entry(id, EntryBody::Facts(facts))
}

/// What the hubs store themselves: a new forum's row, the end of a message nobody goes on with.
fn made_by_the_hubs(id: u64) -> Entry {
    let facts = Facts { closes: None, peer: None, epoch: ForumEpoch(1), rows: Bytes::from_static(b"row") };
    entry(id, EntryBody::Facts(facts))
}

fn assigned(id: u64, epoch: u64, primary: u32) -> Entry {
    entry(id, EntryBody::Assignment(assignment(epoch, primary)))
}

/// A replica whose executions are answered at once, and a transcript of what it did.
struct Told {
    replica: Replica,
    sent: Vec<v1::Answer>,
}

impl Told {
    fn connected(applied: u64) -> Self {
        Self::connected_with(applied, [])
    }

    fn connected_with(applied: u64, copies: impl IntoIterator<Item = (ForumId, Copied)>) -> Self {
        let mut told = Self { replica: Replica::new(peer(ME), applied, copies), sent: Vec::new() };
        told.says(Input::Connected { cursor: applied, newest: applied });
        told
    }

    fn described(&mut self, epoch: u64, primary: u32, as_of: u64, open: &[u64]) -> Vec<String> {
        let open = open.iter().map(|id| (task(*id), open_task())).collect();
        let snapshot = ForumSnapshot { forum: forum(), assignment: assignment(epoch, primary), as_of, open };
        self.says(Input::Forum(snapshot))
    }

    fn fed(&mut self, entries: Vec<Entry>, through: u64) -> Vec<String> {
        self.says(Input::Records { entries, through })
    }

    fn says(&mut self, input: Input) -> Vec<String> {
        let mut lines = Vec::new();
        let mut todo: std::collections::VecDeque<_> = self.replica.step(input).unwrap().into();
        while let Some(output) = todo.pop_front() {
            lines.push(match output {
                Output::Apply { records, through } => {
                    let staged = records.iter().filter(|record| record.staged).count();
                    let aside = if staged > 0 { format!(" ({staged} aside)") } else { String::new() };
                    format!("apply {}{aside} through {through}", records.len())
                }
                Output::BeginJoining { invitation, .. } => format!("begin joining {invitation}"),
                Output::EndJoining(_) => "end joining".into(),
                Output::Drop(_) => "drop".into(),
                Output::DropEmpty(_) => "drop if empty".into(),
                Output::Keep(_) => "keep".into(),
                Output::Invited { invitation, .. } => format!("invited {invitation}"),
                Output::Refuse { invitation, .. } => format!("refuse {invitation}"),
                Output::Seed { invitation, .. } => format!("seed {invitation}"),
                Output::Seeded { invitation, cursor, .. } => format!("seeded {invitation} at {cursor}"),
                Output::Lost(_) => "lost".into(),
                Output::Audit { record, .. } => format!("audit {record}"),
                Output::Forget(_) => "forget".into(),
                Output::Execute { task, epoch, .. } => {
                    let answer = v1::Answer {
                        task_id: task.get(),
                        forum_id: forum().get(),
                        epoch: epoch.0,
                        facts: Bytes::from(format!("{task}{epoch}")),
                        ..Default::default()
                    };
                    todo.extend(self.replica.step(Input::Executed(Box::new(answer))).unwrap());
                    format!("execute {task} {epoch}")
                }
                Output::Send(answer) => {
                    let line = format!("send t{} e{}", answer.task_id, answer.epoch);
                    self.sent.push(*answer);
                    line
                }
                Output::RetryLater { attempt, .. } => format!("retry later {attempt}"),
                Output::ResendLater { attempt, .. } => format!("resend later {attempt}"),
            });
        }
        lines
    }
}

#[test]
fn a_new_forum_is_learnt_from_its_assignment_and_its_task_executed_once() {
    let mut told = Told::connected(0);
    let lines = told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    assert_eq!(lines, ["apply 0 through 2", "execute t2 e1", "send t2 e1"]);
    assert_eq!(told.fed(vec![closed(3, 2, ME, 1, "t2e1")], 3), ["apply 1 through 3"]);
    assert_eq!(told.replica.unconfirmed(forum()), []);
}

#[test]
fn the_next_task_does_not_wait_for_the_answer_before_it() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    assert_eq!(told.fed(vec![asked(3)], 3), ["apply 0 through 3", "execute t3 e1", "send t3 e1"]);
    assert_eq!(told.replica.unconfirmed(forum()).len(), 2);
}

#[test]
fn what_the_hubs_store_themselves_is_applied_and_disturbs_no_answer() {
    let mut told = Told::connected(0);
    let lines = told.fed(vec![assigned(1, 1, ME), made_by_the_hubs(2), asked(3)], 3);
    assert_eq!(lines, ["apply 1 through 3", "execute t3 e1", "send t3 e1"]);
    assert_eq!(told.fed(vec![made_by_the_hubs(4)], 4), ["apply 1 through 4"]);
    assert_eq!(told.fed(vec![closed(5, 3, ME, 1, "t3e1")], 5), ["apply 1 through 5"]);
    // A copy on its way keeps them aside like any other facts.
    let lines = told.fed(vec![says(6, joining(1, 6, Stage::Invited)), made_by_the_hubs(7)], 7);
    assert_eq!(lines[..2], ["begin joining t6", "apply 1 (1 aside) through 7"]);
}

#[test]
fn another_replica_only_applies() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, OTHER), asked(2)], 2);
    assert_eq!(told.fed(vec![closed(3, 2, OTHER, 1, "x")], 3), ["apply 1 through 3"]);
}

#[test]
fn open_tasks_wait_until_the_feed_reaches_the_position_they_were_described_at() {
    let mut told = Told::connected(5);
    assert!(told.described(1, ME, 9, &[4, 5]).is_empty());
    assert_eq!(told.fed(vec![closed(6, 4, OTHER, 1, "x")], 8), ["apply 1 through 8"]);
    let lines = told.fed(vec![], 9);
    assert_eq!(lines, ["apply 0 through 9", "execute t5 e1", "send t5 e1"]);
}

#[test]
fn another_peers_answer_voids_all_that_was_built_on_ours() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2), asked(3)], 3);
    let lines = told.fed(vec![closed(4, 2, OTHER, 1, "x")], 4);
    assert_eq!(lines, ["apply 1 through 4", "forget", "execute t3 e1", "send t3 e1"]);
}

#[test]
fn a_new_epoch_begins_all_open_tasks_again_and_its_loss_ends_them() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    let lines = told.fed(vec![assigned(3, 2, ME)], 3);
    assert_eq!(lines, ["apply 0 through 3", "forget", "execute t2 e2", "send t2 e2"]);
    assert_eq!(told.fed(vec![assigned(4, 3, OTHER)], 4), ["apply 0 through 4", "forget"]);
    // Our answer under e2 is late; it is somebody else's fact now and confirms nothing.
    assert_eq!(told.fed(vec![closed(5, 2, OTHER, 3, "x")], 5), ["apply 1 through 5"]);
}

#[test]
fn a_verdict_of_out_of_order_repeats_all_from_the_oldest_once() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2), asked(3)], 3);
    let refused = |id| Input::Refused { forum: forum(), task: task(id), refusal: Refusal::SendAgain };
    assert_eq!(told.says(refused(2)), ["resend later 1"]);
    assert!(told.says(refused(3)).is_empty());
    // What is executed meanwhile is kept back: before the older ones it could only be refused.
    assert_eq!(told.fed(vec![asked(4)], 4), ["apply 0 through 4", "execute t4 e1"]);
    assert_eq!(told.says(Input::ResendDue(forum())), ["send t2 e1", "send t3 e1", "send t4 e1"]);
    assert_eq!(told.says(refused(4)), ["resend later 2"]);
}

#[test]
fn a_stale_epoch_waits_for_the_feed() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    let refusal = Refusal::FeedKnows;
    assert!(told.says(Input::Refused { forum: forum(), task: task(2), refusal }).is_empty());
}

#[test]
fn answers_nobody_speaks_of_are_repeated() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    let lines: Vec<_> = (0..4).flat_map(|_| told.says(Input::Tick)).collect();
    assert_eq!(lines, ["send t2 e1"]);
}

#[test]
fn after_a_reconnect_records_are_fed_again_but_applied_once() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    told.fed(vec![closed(3, 2, ME, 1, "t2e1")], 3);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 2, newest: 9 });
    told.described(1, ME, 5, &[]);
    assert!(told.fed(vec![closed(3, 2, ME, 1, "t2e1")], 3).is_empty());
    let lines = told.fed(vec![asked(4)], 5);
    assert_eq!(lines, ["apply 0 through 5", "execute t4 e1", "send t4 e1"]);
}

#[test]
fn after_a_reconnect_under_the_same_epoch_answers_are_said_again_not_made_anew() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2), asked(3)], 3);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 2, newest: 9 });
    assert!(told.described(1, ME, 4, &[]).is_empty());
    let lines = told.fed(vec![asked(3), closed(4, 2, ME, 1, "t2e1")], 4);
    assert_eq!(lines, ["apply 1 through 4", "send t3 e1"]);
}

#[test]
fn after_a_reconnect_under_a_newer_epoch_they_are_made_anew() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 2, newest: 9 });
    let lines = told.described(2, ME, 2, &[2]);
    assert_eq!(lines, ["forget", "execute t2 e2", "send t2 e2"]);
}

#[test]
fn a_forum_that_is_gone_after_a_reconnect_is_forgotten() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 2, newest: 9 });
    assert_eq!(told.fed(vec![], 3), ["forget", "drop", "apply 0 through 3"]);
}

#[test]
fn while_polling_facts_are_applied_and_nothing_executed() {
    let mut told = Told::connected(0);
    told.says(Input::Disconnected);
    told.says(Input::Polling { cursor: 0 });
    let lines = told.fed(vec![assigned(1, 1, ME), asked(2), closed(3, 2, OTHER, 1, "x")], 3);
    assert_eq!(lines, ["apply 1 through 3"]);
    assert_eq!(told.replica.epoch_of(forum()), None);
}

#[test]
fn a_backend_that_cannot_now_is_asked_again_later() {
    let mut replica = Replica::new(peer(ME), 0, []);
    replica.step(Input::Connected { cursor: 0, newest: 0 }).unwrap();
    replica.step(Input::Records { entries: vec![assigned(1, 1, ME), asked(2)], through: 2 }).unwrap();
    let out = replica.step(Input::NotExecuted { forum: forum() }).unwrap();
    assert!(matches!(out[..], [Output::RetryLater { attempt: 1, .. }]));
    assert!(replica.step(Input::Records { entries: vec![asked(3)], through: 3 }).unwrap().len() == 1);
    let out = replica.step(Input::RetryDue(forum())).unwrap();
    assert!(matches!(out[..], [Output::Execute { task, .. }] if task.get() == 2));
}

#[test]
fn a_forum_has_a_bounded_number_of_answers_on_their_way() {
    let mut told = Told::connected(0);
    let many = UNCONFIRMED_PER_FORUM_MAX as u64 + 50;
    let entries = std::iter::once(assigned(1, 1, ME)).chain((2..2 + many).map(asked)).collect();
    told.fed(entries, 1 + many);
    assert_eq!(told.sent.len(), UNCONFIRMED_PER_FORUM_MAX);
    assert_eq!(told.replica.unexecuted(), 50);
    let next = told.fed(vec![closed(2 + many, 2, ME, 1, "t2e1")], 2 + many);
    assert_eq!(next.len(), 3, "{next:?}");
}

#[test]
fn a_feed_that_jumps_back_or_descends_is_a_violation_and_changes_nothing() {
    let mut told = Told::connected(5);
    let step = |told: &mut Told, entries, through| told.replica.step(Input::Records { entries, through });
    let back = step(&mut told, vec![], 4).unwrap_err();
    assert_eq!(back, Violation::Backwards { fed: 5, through: 4 });
    let order = step(&mut told, vec![asked(8), asked(7)], 9).unwrap_err();
    assert_eq!(order, Violation::Order { id: 7, after: 8, through: 9 });
    let beyond = step(&mut told, vec![asked(8)], 7).unwrap_err();
    assert_eq!(beyond, Violation::Order { id: 8, after: 5, through: 7 });
    assert_eq!(told.replica.applied(), 5);
}

/// The forum with this peer at a stage of its way in, invited by record `invitation`; the other one is primary.
fn joining(epoch: u64, invitation: u64, stage: Stage) -> Assignment {
    let joining = Joining { invitation: task(invitation), stage };
    let replicas = vec![peer(OTHER)];
    Assignment { replicas, joining: vec![(peer(ME), joining)], ..assignment(epoch, OTHER) }
}

fn without_me(epoch: u64) -> Assignment {
    Assignment { replicas: vec![peer(OTHER)], ..assignment(epoch, OTHER) }
}

fn draining(epoch: u64) -> Assignment {
    Assignment { draining: vec![peer(ME)], ..without_me(epoch) }
}

fn says(id: u64, assignment: Assignment) -> Entry {
    entry(id, EntryBody::Assignment(assignment))
}

fn snapshot(assignment: Assignment, as_of: u64, open: &[u64]) -> Input {
    let open = open.iter().map(|id| (task(*id), open_task())).collect();
    Input::Forum(ForumSnapshot { forum: forum(), assignment, as_of, open })
}

fn installed(invitation: u64, cursor: u64) -> Input {
    Input::Installed { forum: forum(), invitation: task(invitation), cursor }
}

#[test]
fn a_copy_stays_if_the_log_shows_nobody_else_with_one_that_counts_and_is_let_go_if_it_does() {
    let mut told = Told::connected(8);
    told.fed(vec![says(9, assignment(1, OTHER))], 9);
    let doubtful = Assignment { unconfirmed: vec![peer(OTHER)], ..without_me(1) };
    assert_eq!(told.fed(vec![says(10, doubtful)], 10), ["keep", "apply 0 through 10"]);
    assert_eq!(told.replica.epoch_of(forum()), None, "it serves no more");
    assert_eq!(told.fed(vec![says(11, joining(1, 11, Stage::Invited))], 11)[0], "begin joining t11");
    let mut told = Told::connected(8);
    told.fed(vec![says(9, assignment(1, OTHER))], 9);
    assert_eq!(told.fed(vec![says(10, without_me(1))], 10), ["drop", "apply 0 through 10"]);
}

#[test]
fn an_invited_peer_keeps_facts_aside_until_its_checkpoint_is_there_and_serves_after_the_cut_over() {
    let mut told = Told::connected(9);
    let lines = told.fed(vec![says(10, joining(4, 10, Stage::Invited)), closed(11, 8, OTHER, 4, "x")], 11);
    assert_eq!(lines, ["begin joining t10", "apply 1 (1 aside) through 11", "invited t10"]);
    // Right after its invitation it is told what older tasks are still open.
    assert!(told.says(snapshot(joining(4, 10, Stage::Invited), 10, &[8, 9])).is_empty());
    assert_eq!(
        told.fed(vec![says(12, joining(4, 10, Stage::Seeding))], 12),
        ["apply 0 through 12", "seed t10"]
    );
    assert_eq!(told.replica.epoch_of(forum()), None);
    assert_eq!(told.says(installed(10, 11)), ["seeded t10 at 11"]);
    let lines = told.fed(vec![asked(13), closed(14, 13, OTHER, 4, "y")], 14);
    assert_eq!(lines, ["apply 1 through 14"]);
    told.fed(vec![says(15, joining(4, 10, Stage::CatchingUp)), asked(16)], 16);
    // The cut-over makes it the primary: the oldest open task is the one from before its invitation.
    let lines = told.fed(vec![says(17, assignment(5, ME))], 17);
    let executed = ["execute t9 e5", "send t9 e5", "execute t16 e5", "send t16 e5"];
    assert_eq!(lines[..2], ["end joining", "apply 0 through 17"]);
    assert_eq!(lines[2..], executed);
    assert_eq!(told.replica.epoch_of(forum()), Some(ForumEpoch(5)));
}

#[test]
fn what_the_hubs_wait_for_is_said_again_on_a_new_connection_and_now_and_then() {
    let mut told = Told::connected(9);
    told.fed(vec![says(10, joining(4, 10, Stage::Invited))], 10);
    let ticks = |told: &mut Told| (0..URGE_TICKS).flat_map(|_| told.says(Input::Tick)).collect::<Vec<_>>();
    assert_eq!(ticks(&mut told), ["invited t10"]);
    told.fed(vec![says(11, joining(4, 10, Stage::Seeding))], 11);
    assert_eq!(ticks(&mut told), ["seed t10"]);
    told.says(installed(10, 10));
    assert_eq!(ticks(&mut told), ["seeded t10 at 10"]);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 11, newest: 11 });
    assert_eq!(told.says(snapshot(joining(4, 10, Stage::Seeding), 11, &[])), ["seeded t10 at 10"]);
    told.fed(vec![says(12, joining(4, 10, Stage::CatchingUp))], 12);
    assert!(ticks(&mut told).is_empty());
}

#[test]
fn a_restarted_process_goes_on_from_what_its_backend_has() {
    let begun = |installed| (forum(), Copied::Joining { invitation: task(10), installed });
    let mut told = Told::connected_with(12, [begun(None)]);
    assert_eq!(told.says(snapshot(joining(4, 10, Stage::Seeding), 12, &[])), ["seed t10"]);
    let mut told = Told::connected_with(12, [begun(Some(11))]);
    assert_eq!(told.says(snapshot(joining(4, 10, Stage::Seeding), 12, &[])), ["seeded t10 at 11"]);
    assert_eq!(told.fed(vec![closed(13, 9, OTHER, 4, "x")], 13), ["apply 1 through 13"]);
}

#[test]
fn what_changes_at_a_position_comes_between_the_facts_before_and_after_it() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, OTHER), asked(2), asked(3), asked(4)], 4);
    let lines = told.fed(
        vec![
            closed(5, 2, OTHER, 1, "x"),
            entry(6, EntryBody::Audit),
            closed(7, 3, OTHER, 1, "y"),
            says(8, without_me(1)),
            closed(9, 4, OTHER, 1, "z"),
        ],
        9,
    );
    assert_eq!(lines, ["apply 1 through 5", "audit t6", "apply 1 through 7", "drop", "apply 0 through 9"]);
    assert_eq!(told.replica.forum_count(), 0);
}

#[test]
fn a_draining_replica_tells_its_digest_so_that_its_successors_copy_can_be_compared() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME)], 1);
    let lines = told.fed(vec![says(2, draining(2)), entry(3, EntryBody::Audit)], 3);
    assert!(lines.contains(&"audit t3".to_owned()), "{lines:?}");
}

#[test]
fn a_draining_replica_follows_and_neither_executes_nor_answers() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    let lines = told.fed(vec![says(3, draining(2)), asked(4)], 4);
    assert_eq!(lines, ["apply 0 through 4", "forget"]);
    assert_eq!(told.replica.epoch_of(forum()), None);
    assert_eq!(told.fed(vec![closed(5, 2, OTHER, 2, "x")], 5), ["apply 1 through 5"]);
    // Nobody else is left: it is taken back.
    let lines = told.fed(vec![assigned(6, 3, ME)], 6);
    assert_eq!(lines, ["apply 0 through 6", "execute t4 e3", "send t4 e3"]);
}

#[test]
fn replicas_that_come_and_go_do_not_disturb_the_primary() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    let invited = Joining { invitation: task(3), stage: Stage::Invited };
    let more = Assignment { joining: vec![(peer(3), invited)], ..assignment(1, ME) };
    assert_eq!(
        told.fed(vec![says(3, more), asked(4)], 4),
        ["apply 0 through 4", "execute t4 e1", "send t4 e1"]
    );
    assert_eq!(told.fed(vec![closed(5, 2, ME, 1, "t2e1")], 5), ["apply 1 through 5"]);
    assert_eq!(told.replica.unconfirmed(forum()).len(), 1);
}

#[test]
fn a_forum_not_described_is_dropped_unless_the_hub_knows_less_than_this_peer() {
    let mut told = Told::connected_with(9, [(forum(), Copied::Whole)]);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 9, newest: 8 });
    assert_eq!(told.fed(vec![closed(10, 7, OTHER, 1, "x")], 10), ["apply 1 through 10"]);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 10, newest: 10 });
    assert_eq!(told.fed(vec![], 10), ["drop"]);
    assert_eq!(told.fed(vec![closed(11, 7, OTHER, 1, "x")], 11), ["apply 0 through 11"]);
}

#[test]
fn while_polling_copies_begin_and_go_at_their_records() {
    let mut told = Told::connected(0);
    told.says(Input::Disconnected);
    told.says(Input::Polling { cursor: 0 });
    let log = vec![says(1, joining(4, 1, Stage::Invited)), closed(2, 1, OTHER, 4, "x")];
    assert_eq!(told.fed(log, 2), ["begin joining t1", "apply 1 (1 aside) through 2"]);
    assert_eq!(told.fed(vec![says(3, without_me(4))], 3), ["drop", "apply 0 through 3"]);
}

#[test]
fn an_invitation_whose_beginning_was_missed_is_refused() {
    let mut told = Told::connected(20);
    assert_eq!(told.says(snapshot(joining(4, 10, Stage::Seeding), 20, &[])), ["refuse t10"]);
    assert_eq!(
        told.fed(vec![says(21, joining(4, 10, Stage::Seeding))], 21),
        ["apply 0 through 21", "refuse t10"]
    );
    assert_eq!(told.fed(vec![closed(22, 9, OTHER, 4, "x")], 22), ["apply 0 through 22"]);
    assert_eq!(told.says(installed(10, 22)), [""; 0]);
}

#[test]
fn a_replica_that_lost_its_place_is_invited_again_and_keeps_its_rows_until_then() {
    let mut told = Told::connected_with(9, [(forum(), Copied::Whole)]);
    told.described(4, OTHER, 9, &[]);
    let lines = told.fed(vec![says(10, joining(4, 10, Stage::Invited))], 10);
    assert_eq!(lines, ["begin joining t10", "apply 0 through 10", "invited t10"]);
    // Given up, it is dropped; a late installation means nothing.
    assert_eq!(told.fed(vec![says(11, without_me(4))], 11), ["drop", "apply 0 through 11"]);
    assert_eq!(told.says(installed(10, 10)), [""; 0]);
}

#[test]
fn a_hub_that_has_not_heard_of_the_epoch_answered_under_is_left_for_another() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, OTHER), asked(2), assigned(3, 2, ME)], 3);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 2, newest: 2 });
    let refused = told.replica.step(snapshot(assignment(1, OTHER), 2, &[2])).unwrap_err();
    assert_eq!(refused, Violation::Lags { described: ForumEpoch(1), answered: ForumEpoch(2) });
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 2, newest: 3 });
    assert!(told.says(snapshot(assignment(2, ME), 3, &[2])).is_empty());
    assert_eq!(told.fed(vec![assigned(3, 2, ME)], 3), ["send t2 e2"]);
}

#[test]
fn what_a_lagging_hub_calls_open_is_not_executed_before_the_feed_has_caught_up() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    told.fed(vec![closed(3, 2, ME, 1, "t2e1"), asked(4)], 4);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 2, newest: 2 });
    assert!(told.described(1, ME, 2, &[2]).is_empty());
    assert!(told.fed(vec![closed(3, 2, ME, 1, "t2e1")], 3).is_empty());
    assert_eq!(told.fed(vec![asked(4)], 4), ["send t4 e1"]);
}

#[test]
fn hubs_that_count_on_a_copy_that_is_not_here_are_told() {
    let mut told = Told::connected(0);
    told.says(snapshot(assignment(5, ME), 12, &[]));
    // The database was lost: the whole log comes again, and the invitation in it has long been used.
    told.fed(vec![says(10, joining(4, 10, Stage::Invited)), says(11, assignment(5, ME))], 11);
    let lines = told.fed(vec![asked(12)], 12);
    assert_eq!(lines, ["apply 0 through 12"]);
    let lines: Vec<_> = (0..URGE_TICKS).flat_map(|_| told.says(Input::Tick)).collect();
    assert_eq!(lines, ["lost"]);
}

#[test]
fn a_closed_forum_goes_at_its_record_with_what_was_executed_for_it() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), asked(2)], 2);
    told.fed(vec![asked(3)], 3);
    let lines = told.fed(vec![closed(4, 2, ME, 1, "t2e1"), gone(5)], 6);
    assert_eq!(lines, ["apply 1 through 4", "drop if empty", "apply 0 through 6", "forget"]);
    assert_eq!((told.replica.forum_count(), told.replica.unexecuted()), (0, 0));
    assert_eq!(told.replica.epoch_of(forum()), None);
}

#[test]
fn a_closed_forum_goes_in_whichever_role_and_also_where_its_rows_were_kept() {
    for role in [draining(4), joining(4, 1, Stage::Invited)] {
        let mut told = Told::connected(0);
        told.fed(vec![says(1, role)], 1);
        assert_eq!(told.fed(vec![gone(2)], 2), ["drop if empty", "apply 0 through 2"]);
    }
    let mut told = Told::connected_with(9, [(forum(), Copied::Kept)]);
    assert_eq!(told.fed(vec![gone(10), gone(11)], 11), ["drop if empty", "apply 0 through 11"]);
}

#[test]
fn a_forum_that_an_operator_closes_goes_with_whatever_is_in_it() {
    let mut told = Told::connected_with(9, [(forum(), Copied::Whole)]);
    told.described(4, OTHER, 9, &[]);
    let body = EntryBody::Closed { forum: forum(), forced: true };
    assert_eq!(told.fed(vec![Entry { forum: None, ..entry(10, body) }], 10), ["drop", "apply 0 through 10"]);
}

#[test]
fn a_hub_that_lags_does_not_bring_back_a_forum_that_is_closed() {
    let mut told = Told::connected(0);
    told.fed(vec![assigned(1, 1, ME), gone(2)], 2);
    told.says(Input::Disconnected);
    told.says(Input::Connected { cursor: 1, newest: 1 });
    told.described(1, ME, 1, &[]);
    assert_eq!(told.fed(vec![gone(2)], 2), ["drop if empty"]);
    assert_eq!((told.replica.forum_count(), told.replica.epoch_of(forum())), (0, None));
}

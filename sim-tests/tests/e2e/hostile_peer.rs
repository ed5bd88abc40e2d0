//! A peer with valid credentials that says what cannot be, each time as a new volunteer: whatever it tries is refused and
//! counted, operators are shown whose it is, what honest people wrote stays as it was, and they go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use loop_atomjump::Rule;
use loop_sim_tests::{
    bystander::Bystander,
    hostile::{
        Attacked, Attempt, BREACHES, Event, HostilePeer, INVITATIONS, REFUSED, ROWS_REFUSED, RowLie, Stage,
    },
    resources::resident_bytes,
};

/// What an honest call may take beside all this, on two cores.
const SLOWEST: Duration = Duration::from_secs(4);

/// Resident memory of a hub or honest peer after all of this, bytes.
const RESIDENT_MAX: u64 = 300 << 20;

/// Answers to a task that cannot follow from it, and the rule that each of them breaks.
const FALSE_ANSWERS: [(Attempt, Rule); 15] = [
    // 1: kinds of rows against the request.
    (Attempt::OtherKind, Rule::Kind),
    (Attempt::SecondMessage, Rule::Kind),
    // 2: the message's number against the task's.
    (Attempt::MessageId, Rule::Message),
    // 3: rows of other forums.
    (Attempt::OtherForum, Rule::Forum),
    // 4: author, name, markup, date.
    (Attempt::Author, Rule::Columns),
    (Attempt::AuthorName, Rule::Columns),
    (Attempt::Script, Rule::Text),
    (Attempt::Date, Rule::Columns),
    // 5: users.
    (Attempt::User, Rule::Kind),
    // 6: sessions. An answer has no session's number any more; what is left is what the writer's own session is called.
    (Attempt::SessionName, Rule::Session),
    // 7: the forum's row.
    (Attempt::ForumRow, Rule::Kind),
    // 8: nothing stored, and a receipt that says otherwise.
    (Attempt::Missing, Rule::Missing),
    // 9: volume.
    (Attempt::Fat, Rule::Unreadable),
    (Attempt::Garbage, Rule::Unreadable),
    // Out of JSONP, by what the writer is told.
    (Attempt::Jsonp, Rule::Receipt),
];

/// What a peer says of its own accord, and the rule that it breaks.
const UNASKED: [(Attempt, Rule); 5] = [
    // 10: there are no leases of numbers any more; what is left is the last number of a task there can be.
    (Attempt::EndOfIds, Rule::Position),
    // 11: an answer has no body any more; what is left is one that comes before its task, with as much in it as fits,
    (Attempt::Early, Rule::Position),
    // and one that is larger than anything a hub reads.
    (Attempt::Oversized, Rule::Unreadable),
    (Attempt::NoForum, Rule::Unreadable),
    // Positions: 2^63 records on disk.
    (Attempt::Cursor, Rule::Position),
];

/// Runs `attack` beside an honest visitor, then looks at every forum's rows, at memory and logs.
async fn beside_an_honest_visitor(
    attack: impl AsyncFnOnce(&mut Stage) -> Result<Vec<Attacked>>,
) -> Result<()> {
    let mut stage = Stage::set().await?;
    // The last hub is restarted by one of the tests.
    let honest = Bystander::start(&stage.system.hubs()[..2]).await?;
    let attacked = attack(&mut stage).await?;
    stage.assert_unharmed(&attacked).await?;
    honest.assert_undisturbed(SLOWEST).await?;
    for member in stage.system.cluster.members() {
        let resident = resident_bytes(member.pid.context("it runs")?)?;
        ensure!(resident <= RESIDENT_MAX, "{} holds {} MiB", member.name, resident >> 20);
    }
    stage.system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_follow_from_its_task_is_refused_and_its_owner_is_named() -> Result<()> {
    beside_an_honest_visitor(async |stage: &mut Stage| {
        let mut all = Vec::new();
        for (attempt, rule) in FALSE_ANSWERS {
            println!("{attempt}");
            let before = stage.count(BREACHES).await?;
            let mut hostile = stage.enter(attempt).await?;
            let mut attacked = stage.lure(&hostile).await.with_context(|| attempt.name())?;
            hostile.until(|event| matches!(event, Event::Tried { .. }).then_some(())).await?;
            stage.assert_suspended(&mut hostile, rule, before).await?;
            stage.write(&mut attacked).await.with_context(|| attempt.name())?;
            stage.assert_all_shown(&attacked).await.with_context(|| attempt.name())?;
            all.push(attacked);
        }
        Ok(all)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asked_for_is_refused_and_its_owner_is_named() -> Result<()> {
    beside_an_honest_visitor(async |stage: &mut Stage| {
        for (attempt, rule) in UNASKED {
            println!("{attempt}");
            let before = stage.count(BREACHES).await?;
            let mut hostile = stage.enter(attempt).await?;
            stage.assert_suspended(&mut hostile, rule, before).await?;
        }
        // 9, 10: one peer's words do not become entries of the log without end.
        let before = stage.entries().await?;
        let mut hostile = stage.enter(Attempt::Invitations).await?;
        hostile.until(|event| matches!(event, Event::Tried { .. }).then_some(())).await?;
        stage.settled(&hostile).await?;
        let entries = stage.entries().await? - before;
        println!("{INVITATIONS} made-up invitations beside {entries} entries of others");
        ensure!(
            entries < INVITATIONS as u64 / 4,
            "{entries} entries of the log for {INVITATIONS} made-up invitations"
        );
        hostile.kill().await?;
        // Whoever comes with more than there is may have the disk of another group: it is not let in, which is all.
        let mut hostile = stage.enter(Attempt::HelloCursor).await?;
        let (code, why) = hostile.finish().await?;
        ensure!(code == "FailedPrecondition" && why.contains("another group"), "{code}: {why}");
        Ok(Vec::new())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn true_answers_at_the_wrong_time_are_refused_and_counted_and_nobody_is_blamed() -> Result<()> {
    const STALE: &str = "REJECTION_CODE_STALE_EPOCH";
    const ANSWERED: &str = "REJECTION_CODE_ALREADY_ANSWERED";
    const NOT_PRIMARY: &str = "REJECTION_CODE_NOT_PRIMARY";
    const OUT_OF_TIME: [(Attempt, &[&str]); 4] = [
        (Attempt::StaleEpoch, &[STALE]),
        (Attempt::Twice, &[ANSWERED]),
        (Attempt::Late, &[ANSWERED]),
        (Attempt::NotPrimary, &[NOT_PRIMARY, ANSWERED]),
    ];
    beside_an_honest_visitor(async |stage: &mut Stage| {
        let mut all = Vec::new();
        for (attempt, codes) in OUT_OF_TIME {
            println!("{attempt}");
            let (refused, breaches) = (stage.count(REFUSED).await?, stage.count(BREACHES).await?);
            let mut hostile = stage.enter(attempt).await?;
            let mut attacked = stage.lure(&hostile).await.with_context(|| attempt.name())?;
            stage.write(&mut attacked).await.with_context(|| attempt.name())?;
            let code = stage.verdict(&mut hostile).await?;
            ensure!(codes.contains(&code.as_str()), "{attempt} was told {code}");
            ensure!(stage.count(REFUSED).await? > refused, "{attempt} is not counted");
            // An honest peer that lost its connection says the same.
            ensure!(stage.count(BREACHES).await? == breaches, "{attempt} was blamed");
            hostile.kill().await?;
            stage.assert_all_shown(&attacked).await.with_context(|| attempt.name())?;
            all.push(attacked);
        }
        Ok(all)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_a_field_that_nobody_knows_does_not_get_into_the_log() -> Result<()> {
    beside_an_honest_visitor(async |stage: &mut Stage| {
        let mut hostile = stage.enter(Attempt::PlantedSession).await?;
        let attacked = stage.lure(&hostile).await?;
        let me = hostile.peer;
        // Its answer is true but for what nobody reads: it is taken without that.
        let (by, planted) = hostile
            .until(|event| match event {
                Event::Closed { by, planted } => Some((*by, *planted)),
                _ => None,
            })
            .await?;
        ensure!((by, planted) == (me, false), "closed by p{by}, with what was planted: {planted}");
        hostile.kill().await?;
        stage.assert_all_shown(&attacked).await?;
        Ok(vec![attacked])
    })
    .await
}

/// Messages of the forum whose rows are asked for: more than a window begins with.
const MESSAGES: usize = 230;
/// Reads that reach below the window, each of which asks a peer for rows.
const READS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_those_that_were_asked_for_are_refused_and_counted() -> Result<()> {
    beside_an_honest_visitor(async |stage: &mut Stage| {
        let (mut hostile, attacked) = with_rows(stage, Attempt::Rows).await?;
        let before = stage.count(ROWS_REFUSED).await?;
        for _ in 0..READS {
            stage.assert_shown(2, &attacked).await?;
        }
        let refused = stage.count(ROWS_REFUSED).await? - before;
        let mut told = Vec::new();
        while told.len() < RowLie::IMPOSSIBLE.len() {
            told.push(hostile.until(asked).await?);
        }
        println!("{refused} replies were refused");
        ensure!(told == RowLie::IMPOSSIBLE, "each kind of false rows was sent: {told:?}");
        ensure!(refused >= told.len() as u64, "{refused} were counted");
        hostile.kill().await?;
        Ok(vec![attacked])
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn script_in_rows_is_shown_as_text() -> Result<()> {
    beside_an_honest_visitor(async |stage: &mut Stage| {
        let (mut hostile, attacked) = with_rows(stage, Attempt::ScriptRows).await?;
        for _ in 0..READS / 4 {
            stage.assert_shown(2, &attacked).await?;
        }
        let lie = hostile.until(asked).await?;
        ensure!(lie == RowLie::Script, "it sent {lie:?}");
        hostile.kill().await?;
        Ok(vec![attacked])
    })
    .await
}

fn asked(event: &Event) -> Option<RowLie> {
    match event {
        Event::Asked { lie } => Some(*lie),
        _ => None,
    }
}

/// A forum with more messages than a window begins with, on a hub that has to ask peers for its rows.
async fn with_rows(stage: &mut Stage, attempt: Attempt) -> Result<(HostilePeer, Attacked)> {
    let hostile = stage.enter(attempt).await?;
    let mut attacked = stage.lure(&hostile).await?;
    for _ in 1..MESSAGES {
        stage.write(&mut attacked).await?;
    }
    stage.restart_hub(2).await?;
    Ok((hostile, attacked))
}

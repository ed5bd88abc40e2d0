//! A peer's answer on its way into the log: checked here, then proposed in the order it came.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use loop_atomjump::{Claim, Extent, Rule, Session, Viewer, fake_ip};
use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumId, TaskId},
    v1::{self, RejectionCode, command, fact::Kind, hub_to_peer, outcome},
};
use loop_raft_store::machine::{HubState, Record, judge};
use metrics::counter;
use prost::Message;
use tokio::time::Instant;

use super::context::PeersContext;
use crate::{breaches::note_breach, log::ProposeError, mesh::presence::PeerConnection};

/// Longest wait for the task that is answered: this hub may be behind the one that the peer had it from.
const TASK_WITHIN: Duration = Duration::from_millis(500);

/// Why a message of a peer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTaken {
    /// It is no message that an honest peer can send.
    #[error("{0}")]
    Malformed(&'static str),
    /// It cannot follow from its task.
    #[error("an answer with {0}")]
    Breaks(Rule),
}

impl NotTaken {
    /// The rule that was broken.
    pub(super) const fn rule(self) -> Rule {
        match self {
            Self::Malformed(_) => Rule::Unreadable,
            Self::Breaks(rule) => rule,
        }
    }
}

impl From<&'static str> for NotTaken {
    fn from(why: &'static str) -> Self {
        Self::Malformed(why)
    }
}

/// Takes an answer. An error: the peer broke a rule that an honest one cannot break.
pub(super) async fn take(
    cx: &PeersContext,
    connection: &Arc<PeerConnection>,
    answer: v1::Answer,
) -> Result<(), NotTaken> {
    let forum = ForumId::new(answer.forum_id).ok_or(NotTaken::Malformed("no forum"))?;
    let task = TaskId::new(answer.task_id).ok_or(NotTaken::Malformed("no task"))?;
    let receipt = answer.receipt.ok_or(NotTaken::Breaks(Rule::Unreadable))?;
    let facts_bytes_max = cx.log.read(|state| state.bounds().facts_bytes_max);
    if answer.facts.len() as u64 > facts_bytes_max {
        return Err(NotTaken::Breaks(Rule::Unreadable));
    }
    let Some(open) = open_task(cx, task).await? else {
        // Somebody else has answered it, or this hub does not know of it yet. The log is not asked: whoever makes up tasks
        // would fill it.
        let is_known = cx.log.read(HubState::newest) >= task.get();
        let code = RejectionCode::AlreadyAnswered.into();
        let rejection = is_known.then(|| v1::Rejection { code, ..Default::default() });
        tell(connection, answer.task_id, answer.forum_id, rejection);
        return Ok(());
    };
    if !breakage::is_on(Breakage::ConformUnchecked) {
        let facts = check(forum, &open, &answer.facts, answer.session.as_ref(), &receipt)?;
        check_author(cx, forum, &open, &facts)?;
    }
    if breakage::is_on(Breakage::AckBeforeCommit) {
        cx.waiters.committed(task, &receipt);
    }
    let answered = command::Body::AnswerTask(v1::AnswerTask {
        task_id: answer.task_id,
        forum_id: answer.forum_id,
        peer_id: connection.peer.get(),
        epoch: answer.epoch,
        receipt: Some(receipt),
        facts: answer.facts,
        session: answer.session,
    });
    let (forum_id, task_id, refused_to, then) =
        (answer.forum_id, answer.task_id, connection.clone(), cx.clone());
    let on_outcome = move |outcome| tell_refusal(then, &refused_to, task_id, forum_id, outcome);
    cx.log.submit(answered, on_outcome).await;
    Ok(())
}

/// The task, if nobody has answered it yet. An error: there is none.
async fn open_task(cx: &PeersContext, task: TaskId) -> Result<Option<Arc<Record>>, NotTaken> {
    is_in_the_log(cx, task.get()).await?;
    Ok(cx.log.read(|state| state.open_task(task).cloned()))
}

/// Waits until this hub knows the record, if it is behind the one that the peer had it from. An error: nobody has it.
pub(super) async fn is_in_the_log(cx: &PeersContext, record: u64) -> Result<(), NotTaken> {
    let has_it = |state: &HubState| (record <= state.newest()).then_some(());
    match cx.log.find(Instant::now() + TASK_WITHIN, has_it).await {
        Ok(None) => Err(NotTaken::Breaks(Rule::Position)),
        // Without a leader the record is not known in time, and the peer says it again.
        Ok(Some(())) | Err(_) => Ok(()),
    }
}

/// Whether the answer can follow from its task, as far as this hub can tell before those ahead of it are committed.
fn check(
    forum: ForumId,
    open: &Record,
    facts: &Bytes,
    change: Option<&v1::SessionChange>,
    receipt: &v1::Receipt,
) -> Result<Vec<v1::Fact>, NotTaken> {
    let task = open.task().ok_or(NotTaken::Malformed("an answer to what is no task"))?;
    if open.forum != Some(forum) {
        return Err(NotTaken::Breaks(Rule::Forum));
    }
    let facts = v1::Facts::decode(facts.clone()).map_err(|_| NotTaken::Breaks(Rule::Unreadable))?;
    let claim = Claim { facts: &facts.facts, session: change, receipt, is_open: None };
    judge(open, task, &claim, Extent::Whole).map_err(NotTaken::Breaks)?;
    Ok(facts.facts)
}

/// Only its author hides or removes a message. The log does not know who that is; this hub does if it has the message.
fn check_author(
    cx: &PeersContext,
    forum: ForumId,
    open: &Record,
    facts: &[v1::Fact],
) -> Result<(), NotTaken> {
    let session = open.task().and_then(|task| task.session.as_deref());
    let ip = fake_ip(session.map_or("", |session| &session.id).as_bytes());
    let viewer = Viewer { user: Session::of(session).user(), ip: &ip, group: None };
    for fact in facts {
        let id = match &fact.kind {
            Some(Kind::MessageRemoved(removed)) => removed.id,
            Some(Kind::MessageHidden(hidden)) => hidden.id,
            _ => continue,
        };
        if cx.windows.message(forum, id).is_some_and(|row| !viewer.is_author(&row.message)) {
            return Err(NotTaken::Breaks(Rule::Message));
        }
    }
    Ok(())
}

/// What was taken comes back to the peer as facts; only a refusal needs words.
fn tell_refusal(
    cx: PeersContext,
    connection: &PeerConnection,
    task_id: u64,
    forum_id: u32,
    outcome: Result<outcome::Kind, ProposeError>,
) {
    let rejection = match outcome {
        Err(ProposeError::Rejected(rejection)) => Some(rejection),
        Ok(_) => return,
        Err(_) => None,
    };
    let broken = rejection.filter(|rejection| rejection.code() == RejectionCode::BreaksRules);
    if let Some(rule) = broken.and_then(|rejection| Rule::of_number(rejection.held)) {
        let peer = connection.peer;
        tokio::spawn(async move { note_breach(&cx.log, peer, rule).await });
    }
    tell(connection, task_id, forum_id, rejection);
}

fn tell(connection: &PeerConnection, task_id: u64, forum_id: u32, rejection: Option<v1::Rejection>) {
    counter!("loop_answers_refused_total").increment(u64::from(rejection.is_some()));
    // A peer whose stream is full or gone starts over from the log when it is back.
    let verdict = v1::Verdict { task_id, forum_id, rejection };
    if connection.try_send(hub_to_peer::Kind::Verdict(verdict)).is_err() {
        connection.gone.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use loop_atomjump::{Call, Executed, ForumWindow, Given, Rows, Whole, execute, execute_refused};
    use loop_proto::v1::{Endpoint, RejectionCode, fact::Kind};
    use loop_raft_store::machine::{self, bounds::Bounds};

    use super::*;

    /// A hub's log, and the forum's rows as its peer has them.
    struct Log {
        state: HubState,
        commands: u8,
        rows: ForumWindow,
        applied: u64,
    }

    type Lie = fn(&mut Executed);

    fn forum() -> ForumId {
        ForumId::new(1).unwrap()
    }

    impl Log {
        /// One peer with forums 1 and 2.
        fn new() -> Self {
            let state = HubState::new(Bounds { forum_id_first: 1, ..Bounds::default() });
            let rows = ForumWindow::new(Rows { is_complete: true, ..Rows::default() }, 100);
            let mut log = Self { state, commands: 0, rows, applied: 0 };
            let secret_hash = vec![1; 32].into();
            let register = v1::RegisterPeer { name: "p".into(), secret_hash, ..Default::default() };
            log.apply(command::Body::RegisterPeer(register));
            for n in 1..=2 {
                let open = v1::OpenForum { key: vec![n; 16].into(), replicas: vec![1], ..Default::default() };
                log.apply(command::Body::OpenForum(open));
            }
            log
        }

        fn apply(&mut self, body: command::Body) -> outcome::Kind {
            self.commands += 1;
            let request_id = vec![self.commands; 16].into();
            let at_ms = 1_000 * u64::from(self.commands);
            let command = v1::Command { request_id, at_ms, body: Some(body) };
            let applied = machine::apply_command(&mut self.state, command);
            let new = self.state.records_after(self.applied).filter(|record| record.forum == Some(forum()));
            for record in new {
                let facts = record.facts().map(|body| v1::Facts::decode(body.facts.clone()).unwrap());
                facts
                    .iter()
                    .flat_map(|facts| &facts.facts)
                    .for_each(|fact| self.rows.apply(fact, record.id.get()));
            }
            self.applied = self.state.newest();
            applied.outcome.kind.unwrap()
        }

        /// A request of one session to forum 1, as its task. `named`: the message it goes on with.
        fn task(&mut self, endpoint: Endpoint, query: &str, named: Option<u32>) -> Arc<Record> {
            let request = v1::ClientRequest {
                endpoint: endpoint.into(),
                query: format!("cs=21633478&passcode=x&{query}").into(),
                session_id: "e9kk7q".into(),
                ..Default::default()
            };
            let append = v1::AppendTask {
                forum_id: 1,
                request: request.encode_to_vec().into(),
                session_id: request.session_id,
                creates_message: endpoint == Endpoint::Shout && named.is_none(),
                named_message: named.unwrap_or(0),
            };
            match self.apply(command::Body::AppendTask(append)) {
                outcome::Kind::TaskAppended(appended) => {
                    self.state.open_task(TaskId::new(appended.task_id).unwrap()).unwrap().clone()
                }
                other => panic!("{other:?}"),
            }
        }

        fn shout(&mut self, query: &str, named: Option<u32>) -> Arc<Record> {
            self.task(Endpoint::Shout, query, named)
        }

        fn execute(&self, record: &Record) -> Executed {
            let task = record.task().unwrap();
            let request = v1::ClientRequest::decode(task.request.clone()).unwrap();
            let given = Given { message_id: task.message_id, open_message: task.open_message };
            let call = Call::read(&request, record.forum, given, record.at).unwrap();
            execute(&call, Session::of(task.session.as_deref()), &Whole(&self.rows)).unwrap()
        }

        /// What the machine says to the answer of the forum's primary.
        fn answer(&mut self, record: &Record, executed: &Executed) -> outcome::Kind {
            self.apply(command::Body::AnswerTask(v1::AnswerTask {
                task_id: record.id.get(),
                forum_id: 1,
                peer_id: 1,
                epoch: 1,
                receipt: Some(executed.receipt.clone()),
                facts: encoded(executed),
                session: executed.session.clone(),
            }))
        }
    }

    fn encoded(executed: &Executed) -> Bytes {
        v1::Facts { facts: executed.facts.clone() }.encode_to_vec().into()
    }

    fn checked(record: &Record, executed: &Executed) -> Result<(), NotTaken> {
        check(forum(), record, &encoded(executed), executed.session.as_ref(), &executed.receipt).map(drop)
    }

    fn own_message(executed: &mut Executed) -> &mut v1::MessageStored {
        match executed.facts.first_mut().and_then(|fact| fact.kind.as_mut()) {
            Some(Kind::MessageStored(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_an_honest_peer_answers_is_proposed_and_taken() {
        let mut log = Log::new();
        let first = u32::try_from(log.state.ids().message).unwrap();
        let mut changed = Vec::new();
        let story = [
            (Endpoint::Shout, "typing=on&message=h&your_name=Ann".to_owned(), None),
            (Endpoint::Shout, format!("message=hello&msg_id=1&shout_id={first}"), Some(first)),
            (Endpoint::Shout, format!("message=too+late&shout_id={first}"), Some(first)),
            (Endpoint::Shout, "message=whisper&whisper_to=192.1.2.3:9&lat=48.5&lon=9".to_owned(), None),
            (Endpoint::HideMessage, format!("mid={first}"), None),
        ];
        for (endpoint, query, named) in story {
            let record = log.task(endpoint, &query, named);
            let executed = log.execute(&record);
            assert_eq!(checked(&record, &executed), Ok(()), "{query}: {executed:?}");
            let told = log.answer(&record, &executed);
            assert!(matches!(told, outcome::Kind::TaskAnswered(_)), "{query}: {told:?}");
            changed.push(executed.facts.len());
        }
        assert_eq!(changed, [1, 1, 0, 1, 1], "each did what it was meant to");
    }

    #[test]
    fn an_answer_that_breaks_a_rule_is_not_proposed_and_the_machine_would_refuse_it_by_the_same_rule() {
        let lies: [(Rule, Lie); 7] = [
            (Rule::Columns, |executed| own_message(executed).author_id = Some(u32::MAX)),
            (Rule::Columns, |executed| own_message(executed).author_address = "192.1.1.1".into()),
            (Rule::Forum, |executed| own_message(executed).forum_id = 2),
            (Rule::Message, |executed| own_message(executed).id += 1),
            (Rule::Missing, |executed| executed.facts.clear()),
            (Rule::Kind, |executed| executed.facts.push(executed.facts[0].clone())),
            (Rule::Receipt, |executed| executed.receipt.sid_json = Some("0".into())),
        ];
        for (number, (rule, lie)) in lies.into_iter().enumerate() {
            let mut log = Log::new();
            let record = log.shout("message=hello&your_name=Ann", None);
            let mut executed = log.execute(&record);
            lie(&mut executed);
            assert_eq!(checked(&record, &executed), Err(NotTaken::Breaks(rule)), "lie {number}");
            match log.answer(&record, &executed) {
                outcome::Kind::Rejection(told) => {
                    let expected = (RejectionCode::BreaksRules, u64::from(rule.number()));
                    assert_eq!((told.code(), told.held), expected, "lie {number}");
                }
                other => panic!("lie {number}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_a_message_says_is_looked_at_before_it_is_proposed_and_the_log_does_not_depend_on_it() {
        let mut log = Log::new();
        let record = log.shout("message=hello&your_name=Ann", None);
        let mut executed = log.execute(&record);
        executed.session = None;
        assert_eq!(checked(&record, &executed), Err(NotTaken::Breaks(Rule::Session)), "it gave a name");
        own_message(&mut executed).html = "<script>alert(1)</script>".into();
        own_message(&mut executed).author_name = "Eve".into();
        assert!(checked(&record, &executed).is_err());
        assert!(matches!(log.answer(&record, &executed), outcome::Kind::TaskAnswered(_)));
    }

    #[test]
    fn an_answer_is_for_its_tasks_own_forum_and_can_be_read() {
        let mut log = Log::new();
        let record = log.shout("message=hello", None);
        let Executed { receipt, session, .. } = log.execute(&record);
        let facts = encoded(&log.execute(&record));
        let other = ForumId::new(2).unwrap();
        let elsewhere = check(other, &record, &facts, session.as_ref(), &receipt);
        assert_eq!(elsewhere, Err(NotTaken::Breaks(Rule::Forum)));
        let garbage = check(forum(), &record, &Bytes::from_static(b"\xff"), session.as_ref(), &receipt);
        assert_eq!(garbage, Err(NotTaken::Breaks(Rule::Unreadable)));
        let mark = log.state.record(TaskId::new(1).unwrap()).unwrap();
        let no_task = check(forum(), mark, &facts, session.as_ref(), &receipt);
        assert!(matches!(no_task, Err(NotTaken::Malformed(_))));
    }

    #[test]
    fn a_request_that_cannot_be_read_is_answered_by_a_refusal_that_changes_nothing() {
        let mut log = Log::new();
        let append = v1::AppendTask { forum_id: 1, request: vec![0xff].into(), ..Default::default() };
        log.apply(command::Body::AppendTask(append));
        let record = log.state.open_tasks().next().unwrap().clone();
        let refused = execute_refused();
        assert_eq!(checked(&record, &refused), Ok(()));
        let receipt = v1::Receipt { status: 200, ..Default::default() };
        let pretends = Executed { receipt, ..Executed::default() };
        assert_eq!(checked(&record, &pretends), Err(NotTaken::Breaks(Rule::Receipt)));
        assert!(matches!(log.answer(&record, &refused), outcome::Kind::TaskAnswered(_)));
    }

    #[test]
    fn whether_an_unfinished_message_is_there_still_is_left_to_the_machine() {
        let mut log = Log::new();
        let begun = log.shout("typing=on&message=h", None);
        let executed = log.execute(&begun);
        assert!(matches!(log.answer(&begun, &executed), outcome::Kind::TaskAnswered(_)));
        let id = begun.task().unwrap().message_id.unwrap().get();
        let record = log.shout(&format!("message=hello&shout_id={id}"), Some(id));
        let mut passed_over = log.execute(&record);
        passed_over.facts.clear();
        assert_eq!(checked(&record, &passed_over), Ok(()), "one ahead of it may have finished the message");
        match log.answer(&record, &passed_over) {
            outcome::Kind::Rejection(told) => assert_eq!(told.held, u64::from(Rule::Missing.number())),
            other => panic!("{other:?}"),
        }
    }
}

//! What is committed as an answer is what its request, from its session and at its place in the log, may change and be told;
//! and a session says what its own requests have said, nothing else.

use std::collections::BTreeMap;

use loop_atomjump::{Call, Claim, Extent, ForumWindow, Given, Session, Whole, conform, execute};
use loop_proto::{
    ids::{ForumId, HubTime, MessageId},
    v1::{self, record::Body},
};
use prost::Message;

use super::Invariant;

/// The rule.
#[derive(Default)]
pub struct AnswersFollowFromTasks {
    /// Without an answer yet: where and when, and what was asked.
    open: BTreeMap<u64, (u32, u64, v1::Task)>,
    /// What each session has said of itself last.
    said: BTreeMap<String, v1::SessionChange>,
}

impl Invariant for AnswersFollowFromTasks {
    fn name(&self) -> &'static str {
        "answers follow from their tasks"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        match &record.body {
            Some(Body::Task(task)) => {
                self.open.insert(record.id, (record.forum_id, record.at_ms, task.clone()));
                task.session.as_ref().map_or(Ok(()), |session| self.check_session(record.id, session))
            }
            Some(Body::Facts(facts)) => self.answered(record.id, facts),
            _ => Ok(()),
        }
    }
}

impl AnswersFollowFromTasks {
    fn check_session(&self, task: u64, session: &v1::SessionRecord) -> Result<(), String> {
        let said = self.said.get(&session.id).cloned().unwrap_or_default();
        // One that was forgotten and is back is as new.
        let holds = |said: &Option<String>, now: &str| now.is_empty() || said.as_deref() == Some(now);
        let is_its_own = holds(&said.name, &session.name)
            && holds(&said.latitude, &session.latitude)
            && holds(&said.longitude, &session.longitude);
        if is_its_own {
            return Ok(());
        }
        Err(format!("in task {task} a session is {session:?}, which has said {said:?}"))
    }

    /// Asks `conform` itself: the machine's own way to it is what this rule is about.
    fn answered(&mut self, record: u64, answer: &v1::TaskFacts) -> Result<(), String> {
        let Some((forum, at_ms, task)) = answer.task_id.and_then(|task| self.open.remove(&task)) else {
            return Ok(());
        };
        let given = Given {
            message_id: task.message_id.and_then(MessageId::new),
            open_message: task.open_message.and_then(MessageId::new),
        };
        let request = v1::ClientRequest::decode(task.request.clone()).map_err(|error| error.to_string())?;
        let call = Call::read(&request, ForumId::new(forum), given, HubTime(at_ms)).ok();
        let session = Session::of(task.session.as_ref());
        let facts = v1::Facts::decode(answer.facts.clone()).map_err(|error| error.to_string())?.facts;
        // What is said of the session is not in the record; it follows from the request alone.
        let nothing = ForumWindow::default();
        let change = call.as_ref().and_then(|call| execute(call, session, &Whole(&nothing)).ok()?.session);
        let receipt = answer.receipt.clone().unwrap_or_default();
        let claim = Claim { facts: &facts, session: change.as_ref(), receipt: &receipt, is_open: None };
        conform(call.as_ref(), session, &claim, Extent::Whole)
            .map_err(|rule| format!("record {record} answers task {:?} with {rule}", answer.task_id))?;
        if let (Some(session), Some(change)) = (&task.session, change) {
            let said = self.said.entry(session.id.clone()).or_default();
            for (said, now) in [
                (&mut said.name, change.name),
                (&mut said.latitude, change.latitude),
                (&mut said.longitude, change.longitude),
            ] {
                if now.is_some() {
                    *said = now;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::v1::Endpoint;

    use super::*;

    const AT_MS: u64 = 1_795_000_000_000;

    fn session(name: &str) -> v1::SessionRecord {
        v1::SessionRecord { id: "s1".into(), user_id: 414, name: name.into(), ..Default::default() }
    }

    fn request() -> v1::ClientRequest {
        let query = "action=ssshout&message=hello&your_name=Ann&cs=21633478";
        v1::ClientRequest {
            endpoint: Endpoint::Shout.into(),
            method: "GET".into(),
            query: query.as_bytes().to_vec().into(),
            session_id: "s1".into(),
            ..Default::default()
        }
    }

    fn record(id: u64, body: Body) -> v1::Record {
        v1::Record { id, at_ms: AT_MS, forum_id: 178, body: Some(body) }
    }

    fn task(id: u64, name: &str) -> v1::Record {
        record(
            id,
            Body::Task(v1::Task {
                request: request().encode_to_vec().into(),
                message_id: Some(2867),
                session: Some(session(name)),
                ..Default::default()
            }),
        )
    }

    /// What a peer that holds the empty forum answers, changed by `lie`.
    fn answer(lie: impl FnOnce(&mut v1::MessageStored, &mut v1::Receipt)) -> v1::Record {
        let given = Given { message_id: MessageId::new(2867), open_message: None };
        let call = Call::read(&request(), ForumId::new(178), given, HubTime(AT_MS)).expect("a request");
        let forum = v1::ForumStored { id: 178, ..Default::default() };
        let mut window = ForumWindow::default();
        window.apply(&v1::Fact { kind: Some(v1::fact::Kind::ForumStored(forum)) }, 1);
        let Ok(executed) = execute(&call, Session::of(Some(&session(""))), &Whole(&window));
        let mut receipt = executed.receipt;
        let mut facts = v1::Facts { facts: executed.facts };
        let Some(v1::fact::Kind::MessageStored(message)) = &mut facts.facts[0].kind else {
            panic!("a message")
        };
        lie(message, &mut receipt);
        record(
            2,
            Body::Facts(v1::TaskFacts {
                task_id: Some(1),
                receipt: Some(receipt),
                facts: facts.encode_to_vec().into(),
                ..Default::default()
            }),
        )
    }

    fn told(records: &[v1::Record]) -> Result<(), String> {
        let mut rule = AnswersFollowFromTasks::default();
        records.iter().try_for_each(|record| rule.on_record(record))
    }

    #[test]
    fn an_honest_answer_follows_and_the_session_says_what_it_said() {
        assert_eq!(told(&[task(1, ""), answer(|_, _| ()), task(3, "Ann")]), Ok(()));
        let another = told(&[task(1, ""), answer(|_, _| ()), task(3, "Bob")]);
        assert!(another.is_err_and(|why| why.contains("which has said")));
        assert!(told(&[task(1, "nobody said so")]).is_err());
    }

    #[test]
    fn an_answer_that_cannot_follow_is_a_breach() {
        let elsewhere = told(&[task(1, ""), answer(|message, _| message.forum_id = 179)]);
        assert!(elsewhere.is_err_and(|why| why.contains("a row of another forum")));
        let other_text = told(&[task(1, ""), answer(|message, _| message.text.push('!'))]);
        assert!(other_text.is_err_and(|why| why.contains("something else than the request")));
        let told_wrong = told(&[task(1, ""), answer(|_, receipt| receipt.sid_json = Some("7".into()))]);
        assert!(told_wrong.is_err_and(|why| why.contains("a receipt")));
    }
}

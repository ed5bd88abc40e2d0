//! Honest executions conform; each lie breaks its rule.

use loop_proto::{
    ids::{ForumId, HubTime},
    v1::ClientRequest,
};

use super::*;
use crate::{Executed, ForumWindow, Given, Rows, Whole, execute};

fn forum() -> ForumWindow {
    let row = v1::ForumStored { id: 7, access: v1::ForumAccess::Public.into(), ..Default::default() };
    ForumWindow::new(Rows { forum: Some(row), is_complete: true, ..Rows::default() }, 100)
}

fn session() -> v1::SessionRecord {
    v1::SessionRecord { id: "e9kk7q".into(), user_id: 414, name: "Ann".into(), ..Default::default() }
}

fn call(endpoint: Endpoint, query: &str, message: Option<u32>, open: Option<u32>) -> Call {
    let request = ClientRequest {
        endpoint: endpoint.into(),
        query: query.as_bytes().to_vec().into(),
        session_id: "e9kk7q".into(),
        base_url: "http://h".into(),
        ..Default::default()
    };
    let given =
        Given { message_id: message.and_then(MessageId::new), open_message: open.and_then(MessageId::new) };
    Call::read(&request, ForumId::new(7), given, HubTime(5_000)).unwrap()
}

fn shout(query: &str, message: Option<u32>, open: Option<u32>) -> Call {
    call(Endpoint::Shout, &format!("cs=21633478&passcode=x&{query}"), message, open)
}

fn judge(call: &Call, executed: &Executed, is_open: Option<bool>) -> Result<(), Rule> {
    let record = session();
    let claim = Claim {
        facts: &executed.facts,
        session: executed.session.as_ref(),
        receipt: &executed.receipt,
        is_open,
    };
    let whole = conform(Some(call), Session::of(Some(&record)), &claim, Extent::Whole);
    let but_for_text = conform(Some(call), Session::of(Some(&record)), &claim, Extent::ButForText);
    // What does not depend on text is found by both, in the order in which it is looked at.
    assert!(whole == but_for_text || whole.is_err() && but_for_text.is_ok(), "{whole:?}, {but_for_text:?}");
    whole
}

fn executed(call: &Call, forum: &mut ForumWindow) -> Executed {
    let record = session();
    let executed = execute(call, Session::of(Some(&record)), &Whole(forum)).unwrap();
    for fact in &executed.facts {
        forum.apply(fact, 1);
    }
    executed
}

#[test]
fn what_an_honest_peer_does_conforms() {
    let mut forum = forum();
    let story = [
        (shout("typing=on&message=h&your_name=Bob&lat=48.5&lon=9", Some(1), None), None),
        (shout("typing=on&shout_id=1&message=ha", None, Some(1)), Some(true)),
        (shout("message=hallo+http%3A%2F%2Fa.b%2Fc.jpg&shout_id=1&msg_id=5", None, Some(1)), Some(true)),
        // It is finished: nothing happens any more.
        (shout("message=again&shout_id=1", None, None), None),
        (shout("message=whisper&whisper_to=192.1.2.3:9", Some(2), None), None),
        (shout("typing=on&message=x", Some(3), None), None),
        (call(Endpoint::HideMessage, "mid=3&passcode=x&just_typing=1", None, None), None),
        (call(Endpoint::HideMessage, "mid=2&passcode=x", None, None), None),
        (call(Endpoint::HideMessage, "mid=999&passcode=x", None, None), None),
        (call(Endpoint::SearchChat, "passcode=x", None, None), None),
        (call(Endpoint::Shout, "cs=1&passcode=x&message=m", Some(4), None), None),
    ];
    for (number, (call, is_open)) in story.into_iter().enumerate() {
        let executed = executed(&call, &mut forum);
        assert_eq!(judge(&call, &executed, is_open), Ok(()), "step {number}: {executed:?}");
    }
}

#[test]
fn a_repetition_hides_its_unfinished_message() {
    let mut forum = forum();
    executed(&shout("message=same", Some(1), None), &mut forum);
    executed(&shout("typing=on&message=s", Some(2), None), &mut forum);
    let again = shout("message=same&shout_id=2", None, Some(2));
    let hidden = executed(&again, &mut forum);
    assert!(matches!(hidden.facts[0].kind, Some(Kind::MessageHidden(_))));
    assert_eq!(judge(&again, &hidden, Some(true)), Ok(()));
}

#[test]
fn two_people_of_one_name_are_told_apart_and_both_conform() {
    let mut forum = forum();
    let other = v1::MessageStored {
        id: 1,
        forum_id: 7,
        active: true,
        author_id: Some(9),
        author_name: "Ann".into(),
        ..Default::default()
    };
    forum.apply(&v1::Fact { kind: Some(Kind::MessageStored(other)) }, 1);
    let call = shout("message=hi", Some(2), None);
    let second = executed(&call, &mut forum);
    let Some(Kind::MessageStored(message)) = &second.facts[0].kind else { panic!() };
    assert!(message.text.starts_with("Ann ➁: "));
    assert_eq!(judge(&call, &second, None), Ok(()));
}

/// The honest execution with one thing changed.
fn lie(call: &Call, change: impl FnOnce(&mut Executed)) -> Result<(), Rule> {
    let mut executed = executed(call, &mut forum());
    change(&mut executed);
    judge(call, &executed, None)
}

fn change_message(change: impl FnOnce(&mut v1::MessageStored)) -> Result<(), Rule> {
    lie(&shout("message=hi", Some(5), None), |executed| {
        let Some(Kind::MessageStored(message)) = &mut executed.facts[0].kind else { panic!() };
        change(message);
    })
}

#[test]
fn every_column_of_a_message_is_the_requests() {
    assert_eq!(change_message(|_| {}), Ok(()));
    assert_eq!(change_message(|m| m.id = 4_294_967_295), Err(Rule::Message));
    assert_eq!(change_message(|m| m.id = 4), Err(Rule::Message));
    assert_eq!(change_message(|m| m.forum_id = 8), Err(Rule::Forum));
    assert_eq!(change_message(|m| m.text.push('!')), Err(Rule::Text));
    assert_eq!(change_message(|m| m.html = "<script>alert(1)</script>".into()), Err(Rule::Text));
    let columns: [fn(&mut v1::MessageStored); 9] = [
        |m| m.author_id = Some(1),
        |m| m.author_id = None,
        |m| m.author_address = "192.1.1.1".into(),
        |m| m.author_name = "Bob".into(),
        |m| m.shouted_at_s += 1,
        |m| m.active = false,
        |m| m.set_status(v1::MessageStatus::Typing),
        |m| m.whisper_to_address = "192.1.1.1".into(),
        |m| m.sentiment = Some(0.5),
    ];
    for change in columns {
        assert_eq!(change_message(change), Err(Rule::Columns));
    }
    assert_eq!(change_message(|m| m.latitude = "1.0000000".into()), Err(Rule::Place));
    assert_eq!(change_message(|m| m.peano1 ^= 1), Err(Rule::Place));
}

#[test]
fn nothing_but_the_tasks_own_rows_can_be_changed() {
    let shouted = || shout("message=hi", Some(5), None);
    let kinds = [
        Kind::UserStored(v1::UserStored { id: 1, ..Default::default() }),
        Kind::ForumStored(v1::ForumStored { id: 7, ..Default::default() }),
        Kind::SubscriptionStored(v1::SubscriptionStored { forum_id: 7, user_id: 1, ..Default::default() }),
        Kind::MessageRemoved(v1::MessageRemoved { id: 5, forum_id: 7 }),
    ];
    for kind in kinds {
        let fact = v1::Fact { kind: Some(kind) };
        assert_eq!(lie(&shouted(), |e| e.facts = vec![fact.clone()]), Err(Rule::Kind));
        assert_eq!(lie(&shouted(), |e| e.facts.push(fact)), Err(Rule::Kind));
    }
    assert_eq!(lie(&shouted(), |e| e.facts = vec![v1::Fact { kind: None }]), Err(Rule::Kind));
    let hidden = |id| Kind::MessageHidden(v1::MessageHidden { id, forum_id: 7, finished: true });
    let fact = |kind| vec![v1::Fact { kind: Some(kind) }];
    assert_eq!(lie(&shouted(), |e| e.facts = fact(hidden(5))), Err(Rule::Message));
    let named_by_the_client_only = shout("message=hi&shout_id=5", None, None);
    assert_eq!(lie(&named_by_the_client_only, |e| e.facts = fact(hidden(5))), Err(Rule::Message));
    let hide = || call(Endpoint::HideMessage, "mid=5&passcode=x", None, None);
    let removed = |id, forum_id| fact(Kind::MessageRemoved(v1::MessageRemoved { id, forum_id }));
    assert_eq!(lie(&hide(), |e| e.facts = removed(5, 7)), Ok(()));
    assert_eq!(lie(&hide(), |e| e.facts = removed(6, 7)), Err(Rule::Message));
    assert_eq!(lie(&hide(), |e| e.facts = removed(5, 8)), Err(Rule::Forum));
    assert_eq!(lie(&hide(), |e| e.facts = fact(hidden(5))), Err(Rule::Kind));
}

#[test]
fn a_session_and_a_receipt_say_what_the_request_says() {
    let shouted = || shout("message=hi&msg_id=3", Some(5), None);
    let renamed = v1::SessionChange { name: Some("Bob".into()), ..Default::default() };
    assert_eq!(lie(&shouted(), |e| e.session = Some(renamed)), Err(Rule::Session));
    let named = shout("message=hi&your_name=Bob", Some(5), None);
    assert_eq!(lie(&named, |e| e.session = None), Err(Rule::Session));
    assert_eq!(lie(&shouted(), |e| e.receipt.sid_json = Some("6".into())), Err(Rule::Receipt));
    assert_eq!(lie(&shouted(), |e| e.receipt.sid_json = Some("0);alert(1);(0".into())), Err(Rule::Receipt));
    assert_eq!(lie(&shouted(), |e| e.receipt.lid = None), Err(Rule::Receipt));
    assert_eq!(lie(&shouted(), |e| e.receipt.status = 302), Err(Rule::Receipt));
    // Told that it is written, and nothing stored.
    assert_eq!(lie(&shouted(), |e| e.facts.clear()), Err(Rule::Missing));
    // A forum for reading only says nothing of it, and that is no lie.
    let quiet = |e: &mut Executed| (e.facts.clear(), e.receipt.sid_json = None).1;
    assert_eq!(lie(&shouted(), quiet), Ok(()));
}

#[test]
fn an_unfinished_message_that_is_there_may_not_be_passed_over() {
    let call = shout("message=hi&shout_id=5", None, Some(5));
    let passed_over = executed(&call, &mut forum());
    assert!(passed_over.facts.is_empty());
    assert_eq!(judge(&call, &passed_over, Some(false)), Ok(()));
    assert_eq!(judge(&call, &passed_over, None), Ok(()));
    assert_eq!(judge(&call, &passed_over, Some(true)), Err(Rule::Missing));
}

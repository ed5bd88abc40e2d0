use super::*;

const ANYONE: Viewer<'static> = Viewer { user: Some(1), ip: "192.9.9.9", group: None };

fn message(id: u32, at_s: u64) -> v1::MessageStored {
    v1::MessageStored {
        id,
        forum_id: 178,
        shouted_at_s: at_s,
        active: true,
        author_id: Some(id),
        author_name: "Jane".into(),
        text: format!("text {id}"),
        author_address: "192.1.1.1".into(),
        ..Default::default()
    }
}

fn stored(message: v1::MessageStored) -> v1::Fact {
    v1::Fact { kind: Some(Kind::MessageStored(message)) }
}

fn removed(id: u32) -> v1::Fact {
    v1::Fact { kind: Some(Kind::MessageRemoved(v1::MessageRemoved { id, forum_id: 178 })) }
}

fn shown(window: &ForumWindow, pending: bool) -> Vec<u32> {
    let mut ids = Vec::new();
    window.newest(&ANYONE, pending, 100, &mut |row| ids.push(row.message.id));
    ids
}

fn window(capacity: usize) -> ForumWindow {
    ForumWindow::new(Rows { is_complete: true, ..Rows::default() }, capacity)
}

#[test]
fn whoever_hands_rows_on_sees_all_active_committed_ones_older_than_a_place() {
    let mut window = window(10);
    let whisper = v1::MessageStored { whisper_to_address: "192.3.3.3".into(), ..message(3, 101) };
    let subscribed = v1::SubscriptionStored { forum_id: 178, user_id: 9, active: false, sms: false };
    let row = v1::Fact { kind: Some(Kind::SubscriptionStored(subscribed)) };
    let hidden = v1::MessageStored { active: false, ..message(4, 102) };
    for fact in [stored(message(1, 100)), stored(message(2, 101)), stored(whisper), stored(hidden), row] {
        window.apply(&fact, 1);
    }
    window.push_pending(2, &[stored(message(5, 103)), removed(1)]);
    let ids = |before| window.active_before(before).map(|message| message.id).collect::<Vec<_>>();
    assert_eq!((ids(None), ids(Some((101, 3))), ids(Some((100, 1)))), (vec![3, 2, 1], vec![2, 1], vec![]));
    assert_eq!(window.subscriptions().collect::<Vec<_>>(), [&subscribed]);
}

#[test]
fn reads_see_what_is_committed_and_executions_what_is_pending_too() {
    let mut window = window(10);
    window.apply(&stored(message(1, 100)), 1);
    window.apply(&stored(message(2, 101)), 2);
    window.push_pending(3, &[stored(message(3, 101))]);
    window.push_pending(4, &[stored(v1::MessageStored { active: false, ..message(2, 101) })]);
    window.push_pending(5, &[removed(1)]);
    assert_eq!((shown(&window, false), shown(&window, true)), (vec![2, 1], vec![3]));
    assert!(window.message(1, true).unwrap().is_none());

    // The first record comes; what follows it stays pending.
    window.apply(&stored(message(3, 101)), 6);
    window.close_pending(3);
    assert_eq!((shown(&window, false), shown(&window, true)), (vec![3, 2, 1], vec![3]));
    window.forget_pending();
    assert_eq!(shown(&window, true), [3, 2, 1]);
}

#[test]
fn an_overlaid_message_takes_its_new_place() {
    let mut window = window(10);
    for id in 1..=3 {
        window.apply(&stored(message(id, u64::from(id))), id.into());
    }
    window.push_pending(9, &[stored(message(1, 50))]);
    assert_eq!(shown(&window, true), [1, 3, 2]);
    window.apply(&stored(message(1, 50)), 9);
    window.close_pending(9);
    assert_eq!(shown(&window, false), [1, 3, 2]);
}

#[test]
fn the_oldest_go_to_disk_and_what_happens_there_is_noted() {
    let mut window = window(2);
    for id in 1..=3 {
        window.apply(&stored(message(id, 100 + u64::from(id))), id.into());
    }
    assert_eq!(shown(&window, false), [3, 2]);
    assert_eq!(window.below(), Some(((102, 2), 3)));
    assert!(window.message(1, false).is_none());
    // A change of an old message does not come into the window, but the disk must have it before it is asked.
    window.apply(&stored(message(1, 101)), 7);
    assert_eq!((shown(&window, false), window.below()), (vec![3, 2], Some(((102, 2), 7))));
}

#[test]
fn names_are_counted_over_window_disk_and_pending() {
    let mut window = window(2);
    for id in 1..=3 {
        window.apply(&stored(message(id, u64::from(id))), id.into());
    }
    window.push_pending(9, &[stored(v1::MessageStored { author_name: "jANE".into(), ..message(4, 9) })]);
    let old = |_, _| Ok::<_, ()>(vec![("JANE".to_owned(), Some(1), 1), ("other".to_owned(), Some(8), 5)]);
    let authors = window.authors_named("Jane", old).unwrap();
    assert_eq!(authors, [Some(1), Some(2), Some(3), Some(4)]);
    // The disk is asked once; what leaves the window later is added.
    window.apply(&stored(message(5, 5)), 5);
    let never = |_, _| -> Result<_, ()> { panic!("asked twice") };
    let authors = window.authors_named("Jane", never).unwrap();
    assert_eq!(authors, [Some(1), Some(2), Some(3), Some(4), Some(5)]);
}

#[test]
fn a_name_is_its_authors_only_while_one_of_their_active_messages_bears_it() {
    let mut window = window(10);
    let authors = |window: &ForumWindow| window.authors_named("Jane", |_, _| Ok::<_, ()>(vec![])).unwrap();
    for id in 1..=3 {
        window.apply(&stored(message(id, u64::from(id))), id.into());
    }
    window.apply(&stored(v1::MessageStored { active: false, ..message(1, 1) }), 4);
    window.apply(&stored(v1::MessageStored { author_name: "Joe".into(), ..message(2, 2) }), 5);
    assert_eq!(authors(&window), [Some(3)]);
    window.push_pending(6, &[removed(3)]);
    assert_eq!(authors(&window), []);
    window.forget_pending();
    window.apply(&removed(3), 7);
    assert_eq!(authors(&window), []);
    assert!(window.names.keys().eq(["joe"]), "what is gone is not kept");
}

#[test]
fn a_repetition_is_another_message_with_the_same_text_and_address() {
    let mut window = window(10);
    window.apply(&stored(message(1, 100)), 1);
    assert!(window.was_said("192.1.1.1", "text 1", 100, 2));
    assert!(!window.was_said("192.1.1.1", "text 1", 100, 1));
    assert!(!window.was_said("192.1.1.1", "text 1", 101, 2));
    assert!(!window.was_said("192.1.1.2", "text 1", 100, 2));
}

//! People who watch a forum are pushed what changes in it, through whichever hub they are connected to.

use std::time::Duration;

use anyhow::Result;
use loop_local::Who;
use loop_sim_tests::{
    client::{Commit, Visitor, sid},
    expect::unique,
    system::System,
    watch::Watch,
};

const SOON: Duration = Duration::from_secs(10);

fn says(list: &[(u64, String)], words: &str) -> bool {
    list.iter().any(|(_, text)| text.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_said_and_deleted_is_pushed_through_every_hub_to_whom_it_is_for() -> Result<()> {
    let mut system = System::start().await?;
    let forum = unique("ajps_watched_");
    let (ann, ben) =
        (Visitor::arrive(&system.hub(0), &forum).await?, Visitor::arrive(&system.hub(1), &forum).await?);
    // Nobody has opened it yet.
    let mut carols = Watch::begin(&system.hub(0), &Visitor::arrive(&system.hub(0), &forum).await?).await?;
    carols.until("an empty list", SOON, <[_]>::is_empty).await?;

    let said = ben.commit(&system.hub(2), &Commit::new(1, "Ben was first")).await?;
    let bens_user = said["res"][0]["text"].as_str().and_then(whisper_address);
    let mut bens = Watch::begin(&system.hub(1), &ben).await?;
    for watch in [&mut bens, &mut carols] {
        watch.until("the first message", SOON, |list| says(list, "Ben was first")).await?;
    }

    let typed = sid(&ann.type_first_key(&system.hub(0), 1).await?);
    for watch in [&mut bens, &mut carols] {
        watch.until("somebody types", SOON, |list| says(list, "Typing...")).await?;
    }
    let hello = Commit { shout_id: typed, ..Commit::new(1, "hello from Ann") };
    ann.commit(&system.hub(0), &hello).await?;
    for watch in [&mut bens, &mut carols] {
        let is_there = |list: &[_]| says(list, "hello from Ann") && !says(list, "Typing...");
        watch.until("what was typed", SOON, is_there).await?;
    }
    ann.hide(&system.hub(2), typed.expect("an id of what was typed"), false).await?;
    for watch in [&mut bens, &mut carols] {
        watch.until("it is deleted", SOON, |list| !says(list, "hello from Ann")).await?;
    }

    let to_ben = bens_user.expect("an author's address in his message");
    ann.commit(&system.hub(0), &Commit { whisper_to: &to_ben, ..Commit::new(2, "only for Ben") }).await?;
    bens.until("a whisper", SOON, |list| says(list, "only for Ben")).await?;
    ann.commit(&system.hub(0), &Commit::new(3, "for everybody")).await?;
    carols.until("the next message", SOON, |list| says(list, "for everybody")).await?;
    assert!(!says(&carols.list.rows, "only for Ben"), "{:?}", carols.list.rows);

    // Ben's hub is lost. He goes on where he was, and is pushed only what he has not seen.
    bens.until("the same", SOON, |list| says(list, "for everybody")).await?;
    system.cluster.kill(Who::Hub(1)).await?;
    bens.end(SOON).await?;
    let mut bens = bens.go_on(&system.hub(2), &ben).await?;
    ann.commit(&system.hub(0), &Commit::new(4, "after the fall")).await?;
    let events = bens.until("what was said since", SOON, |list| says(list, "after the fall")).await?;
    assert_eq!((events, bens.list.rows.len()), (1, 4), "one event, and the whole list: {:?}", bens.list.rows);

    // A hub that is stopped by the book ends its watches, and is not kept by them.
    system.cluster.start_all().await?;
    system.cluster.stop(Who::Hub(0)).await;
    carols.end(SOON).await?;
    system.assert_nobody_fell();
    Ok(())
}

/// `ip:id` of an author, from the markup of a message.
fn whisper_address(markup: &str) -> Option<String> {
    let (_, rest) = markup.split_once("whisper(\"")?;
    rest.split_once('"').map(|(address, _)| address.to_owned())
}

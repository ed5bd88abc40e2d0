//! Holds the replicas to what the writers were promised.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use loop_local::Who;
use tokio::time::Instant;

use crate::{
    client::Visitor,
    expect::{ensure, eventually},
    replica::{Row, check_integrity},
    system::System,
    writers::{Acked, Load, Promises},
};

/// How long replicas may take to have everything.
const CONVERGE_WITHIN: Duration = Duration::from_secs(30);

/// The most messages AtomJump's page ever asks for.
const RECORDS_MAX: usize = 500;

/// Panics unless every acknowledged message is exactly once on every running replica, under the id it was given; and
/// every hub shows the newest ones.
pub async fn check(system: &System, load: &Load, promises: &Promises) -> Result<()> {
    assert_eq!(promises.acked.len() as u64, load.total(), "every commit was acknowledged in the end");
    check_ids(&promises.acked);
    let replicas: Vec<Who> = running(system, system.replicas(&load.forum).await?);
    assert!(!replicas.is_empty(), "nobody holds the forum");
    for peer in &replicas {
        eventually("the same on every replica", CONVERGE_WITHIN, || async {
            let rows = system.rows(*peer, &load.forum).map_err(|error| error.to_string())?;
            check_rows(&rows, load, promises).map_err(|error| format!("{peer:?}: {error}"))
        })
        .await;
        check_integrity(&system.cluster.data_dir(*peer))?;
    }
    // Copies taken one after another may differ while the last records are on their way: all must come to be the same.
    eventually("equal on all replicas, and so shown by every hub", CONVERGE_WITHIN, || async {
        let first = system.rows(replicas[0], &load.forum).map_err(|error| error.to_string())?;
        for peer in &replicas {
            let copy = system.rows(*peer, &load.forum).map_err(|error| error.to_string())?;
            let other = copy.iter().zip(&first).find(|(a, b)| a != b);
            if copy != first {
                return Err(format!("{peer:?} and {:?} differ: {other:?}", replicas[0]));
            }
        }
        check_every_hub_shows(system, &load.forum, &first).await.map_err(|error| format!("{error:#}"))
    })
    .await;
    Ok(())
}

fn running(system: &System, peers: Vec<Who>) -> Vec<Who> {
    peers.into_iter().filter(|peer| system.cluster.member(*peer).pid.is_some()).collect()
}

/// Ids are unique, and whatever was acknowledged before another was sent has the smaller id.
fn check_ids(acked: &[Acked]) {
    let mut by_id: Vec<&Acked> = acked.iter().collect();
    by_id.sort_unstable_by_key(|acked| acked.id);
    for pair in by_id.windows(2) {
        assert!(
            pair[0].id < pair[1].id,
            "id {} was given to {} and {}",
            pair[0].id,
            pair[0].text,
            pair[1].text
        );
    }
    let mut earliest_ack: Option<(Instant, &Acked)> = None;
    for acked in by_id.into_iter().rev() {
        if let Some((time, later)) = earliest_ack {
            assert!(
                time >= acked.sent,
                "{} (id {}) was sent after {} had been acknowledged with id {}",
                acked.text,
                acked.id,
                later.text,
                later.id
            );
        }
        if earliest_ack.is_none_or(|(time, _)| acked.acked < time) {
            earliest_ack = Some((acked.acked, acked));
        }
    }
}

fn check_rows(rows: &[Row], load: &Load, promises: &Promises) -> Result<(), String> {
    let mut by_text: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        // "name: text"
        let text = row.text.split_once(": ").map_or(row.text.as_str(), |(_, text)| text).trim();
        if text.starts_with(&load.mark) {
            by_text.entry(text).or_default().push(row);
        }
    }
    for acked in &promises.acked {
        let found = by_text.get(acked.text.as_str()).map(Vec::as_slice).unwrap_or_default();
        ensure(found.len() == 1, || {
            format!(
                "{} (id {}, sent {} times) is there {} times",
                acked.text,
                acked.id,
                acked.sendings,
                found.len()
            )
        })?;
        ensure(found[0].id == acked.id && found[0].active && found[0].is_final, || {
            format!("{} was acknowledged as {} and is {:?}", acked.text, acked.id, found[0])
        })?;
    }
    ensure(by_text.len() == promises.acked.len(), || {
        format!("{} messages of this load, {} were acknowledged", by_text.len(), promises.acked.len())
    })
}

/// The newest messages, read through each hub, are those of the replicas.
async fn check_every_hub_shows(system: &System, forum: &str, rows: &[Row]) -> Result<()> {
    let mut expected: Vec<u64> = rows.iter().filter(|row| row.active).map(|row| row.id).collect();
    expected.sort_unstable();
    for at in 0..system.cluster.hub_count() {
        if system.cluster.member(Who::Hub(at)).pid.is_none() {
            continue;
        }
        let hub = system.hub(at);
        let visitor = Visitor::arrive(&hub, forum).await?;
        let mut shown: Vec<u64> =
            visitor.messages(&hub, RECORDS_MAX as u32).await?.into_iter().map(|(id, _)| id).collect();
        shown.sort_unstable();
        let newest = &expected[expected.len().saturating_sub(RECORDS_MAX)..];
        if shown != newest {
            let missing: Vec<_> = newest.iter().filter(|id| !shown.contains(id)).take(10).collect();
            let surplus: Vec<_> = shown.iter().filter(|id| !newest.contains(id)).take(10).collect();
            bail!("hub-{} does not show {missing:?}, but shows {surplus:?}", at + 1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(texts: &[(&str, u64)]) -> Promises {
        let now = Instant::now();
        let acked = |(at, (text, id)): (usize, &(&str, u64))| Acked {
            writer: 0,
            text: (*text).to_owned(),
            id: *id,
            sent: now + Duration::from_secs(2 * at as u64),
            acked: now + Duration::from_secs(2 * at as u64 + 1),
            sendings: 1,
        };
        Promises { acked: texts.iter().enumerate().map(acked).collect(), failures: Vec::new() }
    }

    fn row(id: u64, text: &str) -> Row {
        Row { id, text: format!("Anon 07: {text}"), active: true, is_final: true }
    }

    #[tokio::test]
    async fn a_lost_a_doubled_a_renumbered_and_an_unasked_message_are_seen() {
        let load = Load::new("forum", "x");
        let promises = promise(&[("x-1", 1), ("x-2", 2)]);
        let good = [row(1, "x-1"), row(2, "x-2"), row(3, "other")];
        assert_eq!(check_rows(&good, &load, &promises), Ok(()));
        assert!(check_rows(&good[..1], &load, &promises).is_err());
        let doubled = [row(1, "x-1"), row(2, "x-2"), row(3, "x-2")];
        assert!(check_rows(&doubled, &load, &promises).unwrap_err().contains("there 2 times"));
        assert!(check_rows(&[row(1, "x-1"), row(7, "x-2")], &load, &promises).is_err());
        let unasked = [row(1, "x-1"), row(2, "x-2"), row(3, "x-3")];
        assert!(check_rows(&unasked, &load, &promises).is_err());
        let mut hidden = good.clone();
        hidden[1].active = false;
        assert!(check_rows(&hidden, &load, &promises).is_err());
    }

    #[tokio::test]
    async fn ids_in_the_order_of_time_pass() {
        check_ids(&promise(&[("a", 1), ("b", 5), ("c", 6)]).acked);
    }

    #[tokio::test]
    #[should_panic(expected = "id 1 was given to")]
    async fn an_id_given_twice_is_seen() {
        check_ids(&promise(&[("a", 1), ("b", 1)]).acked);
    }

    #[tokio::test]
    #[should_panic(expected = "was sent after")]
    async fn a_later_message_with_a_smaller_id_is_seen() {
        check_ids(&promise(&[("a", 2), ("b", 1)]).acked);
    }
}

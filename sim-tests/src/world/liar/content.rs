//! What a lying peer makes of the rows it is to send: each way must be refused by its hub, and none may reach anybody.

use loop_proto::v1::{self, fact::Kind};
use prost::Message;
use rand::{RngExt, rngs::StdRng};

/// Script that must never be in a page.
pub const SCRIPT: &str = "<img src=x onerror=alert(1)>";

/// Changes what an answer says was changed, in one of many ways. Whether there was something to lie about.
pub fn about_facts(answer: &mut v1::Answer, rng: &mut StdRng) -> bool {
    let Ok(mut facts) = v1::Facts::decode(answer.facts.clone()) else { return false };
    let truth = answer.clone();
    let way = rng.random_range(0..15);
    match (way, facts.facts.first_mut().and_then(|fact| fact.kind.as_mut())) {
        (0, Some(Kind::MessageStored(message))) => message.html = SCRIPT.into(),
        (1, Some(Kind::MessageStored(message))) => message.text.push_str(", or not"),
        (2, Some(Kind::MessageStored(message))) => message.author_id = Some(rng.random_range(1..500)),
        (3, Some(Kind::MessageStored(message))) => message.id = u32::MAX,
        (4, Some(Kind::MessageStored(message))) => message.id = message.id.saturating_sub(1).max(1),
        (5, Some(Kind::MessageStored(message))) => message.forum_id += 1,
        (6, Some(Kind::MessageStored(message))) => message.shouted_at_s += 86_400,
        (7, Some(Kind::MessageStored(message))) => message.text = "x".repeat(1 << 20),
        (8, Some(Kind::MessageStored(_))) => facts.facts.clear(),
        (13, Some(Kind::MessageStored(message))) => message.latitude = "91.0000000".into(),
        (9, _) => facts.facts.push(fact(Kind::UserStored(v1::UserStored {
            id: rng.random_range(414..430),
            email: Some("liar@example.com".into()),
            ..Default::default()
        }))),
        (10, _) => facts.facts.push(fact(Kind::ForumStored(v1::ForumStored {
            id: answer.forum_id,
            password_hash: Some("0".repeat(32)),
            ..Default::default()
        }))),
        // Whether an old message is the asker's own only its replicas can tell.
        (11, Some(_)) => {
            let removed = v1::MessageRemoved { id: rng.random_range(2867..2900), forum_id: answer.forum_id };
            facts.facts.push(fact(Kind::MessageRemoved(removed)));
        }
        (12, _) => {
            let name = Some("somebody else".to_owned());
            answer.session = Some(v1::SessionChange { name, ..Default::default() });
        }
        (_, _) => {
            answer.receipt.get_or_insert_default().sid_json = Some("0);alert(1);(0".into());
        }
    }
    if *answer == truth {
        answer.facts = facts.encode_to_vec().into();
    }
    *answer != truth
}

/// Changes rows that were asked for into what cannot be their answer. Whether there was something to lie about.
pub fn about_rows(reply: &mut v1::RowsReply, rng: &mut StdRng) -> bool {
    // Published files are no rows.
    if reply.refused || reply.kept || !reply.content.is_empty() {
        return false;
    }
    let truth = reply.clone();
    match (rng.random_range(0..8), reply.messages.first_mut()) {
        (0, Some(message)) => message.forum_id += 1,
        (1, Some(message)) => message.text = "x".repeat(1 << 20),
        (2, Some(message)) => message.id = 0,
        (3, Some(message)) => message.active = false,
        (4, _) => reply.as_of = 0,
        (5, _) => reply.messages.reverse(),
        (6, _) => reply.messages = vec![v1::MessageStored::default(); 2000],
        (_, _) => (reply.messages, reply.complete) = (Vec::new(), false),
    }
    *reply != truth
}

fn fact(kind: Kind) -> v1::Fact {
    v1::Fact { kind: Some(kind) }
}

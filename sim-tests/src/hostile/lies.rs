//! What a hostile peer makes of a true answer.

use loop_proto::v1::{self, fact::Kind};
use prost::Message;

use super::{Attempt, Victim};
use crate::world::liar::SCRIPT;

/// A session's id that is in no honest message.
pub const PLANTED: &str = "plantedsessionplantedsession1234";

/// Text of the fat message, bytes.
const FAT: usize = 1 << 20;
/// Facts of an early answer: as many bytes as hubs take.
const EARLY_FACTS: usize = 60 << 10;
/// How far ahead of the log an early answer is: nobody writes as much meanwhile.
const AHEAD: u64 = 1_000_000;
/// More than a hub reads in one message, bytes.
const OVERSIZED: usize = 17 << 20;
/// Invitations it makes up.
pub const INVITATIONS: usize = 5_000;
/// A field of Facts that there is not.
const UNKNOWN_FIELD: u32 = 1000;

/// The answer as this attempt has it. `None`: it is not about what an answer says.
pub(super) fn twist(attempt: Attempt, victim: Victim, truth: &v1::Answer) -> Option<v1::Answer> {
    let mut answer = truth.clone();
    match attempt {
        Attempt::PlantedSession => answer.facts = with_unknown_field(&truth.facts),
        Attempt::Garbage => answer.facts = vec![0xff; 64].into(),
        Attempt::SessionName => {
            let name = Some("administrator".to_owned());
            answer.session = Some(v1::SessionChange { name, ..Default::default() });
        }
        Attempt::Jsonp => {
            answer.receipt.get_or_insert_default().sid_json = Some("0);alert(document.cookie);(0".into());
        }
        _ => {
            let mut facts = v1::Facts::decode(truth.facts.clone()).ok()?;
            twist_facts(attempt, victim, &mut facts)?;
            answer.facts = facts.encode_to_vec().into();
        }
    }
    Some(answer)
}

fn twist_facts(attempt: Attempt, victim: Victim, facts: &mut v1::Facts) -> Option<()> {
    let message = facts.facts.iter_mut().find_map(|fact| match &mut fact.kind {
        Some(Kind::MessageStored(message)) => Some(message),
        _ => None,
    })?;
    let forum_id = message.forum_id;
    let mut more = None;
    match attempt {
        Attempt::MessageId => message.id = u32::MAX,
        Attempt::OtherForum => (message.forum_id, message.id) = (victim.forum, victim.message),
        Attempt::Author => message.author_id = Some(victim.user),
        Attempt::AuthorName => message.author_name = "administrator".into(),
        Attempt::Script => message.html = SCRIPT.into(),
        Attempt::Date => message.shouted_at_s += 86_400,
        Attempt::Fat => message.text = "x".repeat(FAT),
        Attempt::SecondMessage => {
            let theirs = v1::MessageStored { id: victim.message, forum_id: victim.forum, ..message.clone() };
            more = Some(Kind::MessageStored(theirs));
        }
        Attempt::OtherKind => {
            let user_id = victim.user;
            let row = v1::SubscriptionStored { forum_id, user_id, active: true, sms: true };
            more = Some(Kind::SubscriptionStored(row));
        }
        Attempt::User => more = Some(Kind::UserStored(richer(victim.user))),
        Attempt::ForumRow => more = Some(Kind::ForumStored(taken_over(forum_id, victim.user))),
        Attempt::Missing => facts.facts.clear(),
        _ => return None,
    }
    facts.facts.extend(more.map(|kind| v1::Fact { kind: Some(kind) }));
    Some(())
}

fn richer(id: u32) -> v1::UserStored {
    v1::UserStored {
        id,
        email: Some("hostile@example.com".into()),
        password_hash: Some("0".repeat(32)),
        balance: "1000000.00".into(),
        confirmed: true,
        ..Default::default()
    }
}

fn taken_over(id: u32, owner: u32) -> v1::ForumStored {
    v1::ForumStored {
        id,
        access: v1::ForumAccess::Private.into(),
        group_user_id: Some(owner),
        password_hash: Some("0".repeat(32)),
        ..Default::default()
    }
}

fn with_unknown_field(facts: &[u8]) -> prost::bytes::Bytes {
    let planted = v1::SessionRecord { id: PLANTED.into(), user_id: 414, ..Default::default() };
    let mut bytes = facts.to_vec();
    prost::encoding::message::encode(UNKNOWN_FIELD, &planted, &mut bytes);
    bytes.into()
}

/// What it says without having been asked anything, `newest` being the last record there is.
pub(super) fn unasked(attempt: Attempt, victim: Victim, newest: u64) -> Vec<v1::peer_to_hub::Kind> {
    use v1::peer_to_hub::Kind;
    let answer = |task_id, forum_id, facts: usize| {
        let receipt = Some(v1::Receipt { status: 200, ..Default::default() });
        let facts = vec![0; facts].into();
        Kind::Answer(v1::Answer { task_id, forum_id, epoch: 1, receipt, facts, session: None })
    };
    let kind = match attempt {
        Attempt::Invitations => {
            let (forum_id, invitation_id) = (victim.forum, 1);
            let reply = v1::InvitationReply { forum_id, invitation_id, accepted: true, reason: 0 };
            return vec![Kind::Invitation(reply); INVITATIONS];
        }
        Attempt::Cursor => Kind::Status(v1::PeerStatus { cursor: 1 << 63, ..Default::default() }),
        Attempt::EndOfIds => answer(u64::MAX, victim.forum, 0),
        Attempt::Early => answer(newest + AHEAD, victim.forum, EARLY_FACTS),
        Attempt::NoForum => answer(newest, 0, 0),
        Attempt::Oversized => answer(newest, victim.forum, OVERSIZED),
        _ => return Vec::new(),
    };
    vec![kind]
}

//! Whether what an execution says it changed can follow from its task.
//!
//! Owns every rule about that, so that a peer that lies can neither speak for another, nor touch another forum, nor put
//! anything but the pure function of a request into the log. Needs no rows: what depends on them (how many others use a name,
//! whether an old message is one's own, who a forum's group is) is left open here.

use loop_proto::{
    ids::MessageId,
    v1::{self, Endpoint, fact::Kind},
};

use crate::{
    call::Call,
    endpoints::shout::{self, DEGREES_MAX, Draft, NAME_CHARS_MAX},
    executed::{lid, status},
    request::message_id,
    session::Session,
};

/// A rule of what an execution may change, or of what else a peer says. The numbers are part of the wire contract: a refused answer is told its rule's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[repr(u8)]
pub enum Rule {
    /// A kind of row, or a number of rows, that this request cannot change.
    #[error("rows of a kind or number that this request cannot change")]
    Kind = 1,
    /// A row of another forum.
    #[error("a row of another forum")]
    Forum = 2,
    /// A message that is neither the one the task was given nor the one it names.
    #[error("a message that is not the task's own")]
    Message = 3,
    /// A message whose author, time, state or recipient is not the request's.
    #[error("a message whose author, time, state or recipient is not the request's")]
    Columns = 4,
    /// A message that says something else than the request.
    #[error("a message that says something else than the request")]
    Text = 5,
    /// A place that is none.
    #[error("a place that is none")]
    Place = 6,
    /// A session changed otherwise than the request changes its own.
    #[error("a session changed otherwise than by the request")]
    Session = 7,
    /// A receipt that does not tell what was changed.
    #[error("a receipt that does not tell what was changed")]
    Receipt = 8,
    /// Nothing stored where the writer is told that it is.
    #[error("nothing stored where the writer is told that it is")]
    Missing = 9,
    /// What cannot be read at all, or is larger than any execution's.
    #[error("what cannot be read, or is larger than any execution's")]
    Unreadable = 10,
    /// Bytes of a published file that are not those that were published.
    #[error("bytes that are not those of the published file")]
    Content = 11,
    /// A place in the log that there is not.
    #[error("a place in the log that there is not")]
    Position = 12,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Kind,
        Self::Forum,
        Self::Message,
        Self::Columns,
        Self::Text,
        Self::Place,
        Self::Session,
        Self::Receipt,
        Self::Missing,
        Self::Unreadable,
        Self::Content,
        Self::Position,
    ];

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The rule of that number.
    pub fn of_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| u64::from(rule.number()) == number)
    }
}

/// What an execution says.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Changed rows of the forum.
    pub facts: &'a [v1::Fact],
    /// What changed of the session.
    pub session: Option<&'a v1::SessionChange>,
    /// What the writer is to be told.
    pub receipt: &'a v1::Receipt,
    /// Whether the message the task goes on with is unfinished still, with all earlier tasks of the forum answered;
    /// `None`: not known here.
    pub is_open: Option<bool>,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything: what a hub asks before it proposes.
    Whole,
    /// Everything but what a message says and what its author is called: what the log asks once more when it applies. How text is
    /// cleaned and becomes markup may change from one version to the next; whether an answer is taken must not depend on which
    /// version a hub runs.
    ButForText,
}

/// Whether the claim can follow from the call. `call` is `None` for a request that is refused for its size.
pub fn conform(
    call: Option<&Call>,
    session: Session<'_>,
    claim: &Claim<'_>,
    extent: Extent,
) -> Result<(), Rule> {
    let Some(call) = call else { return unchanged(400, claim) };
    match (call.endpoint, call.forum) {
        (Endpoint::Shout, Some(_)) => conform_shout(call, session, claim, extent),
        (Endpoint::HideMessage, Some(_)) => conform_hide(call, claim),
        (Endpoint::Shout | Endpoint::HideMessage, None) => unchanged(200, claim),
        _ => unchanged(400, claim),
    }
}

fn unchanged(code: u32, claim: &Claim<'_>) -> Result<(), Rule> {
    ensure(claim.facts.is_empty(), Rule::Kind)?;
    ensure(claim.session.is_none(), Rule::Session)?;
    ensure(*claim.receipt == status(code), Rule::Receipt)
}

fn conform_shout(call: &Call, session: Session<'_>, claim: &Claim<'_>, extent: Extent) -> Result<(), Rule> {
    let draft = Draft::of(call, session);
    ensure(is_change_of(&draft, session, claim.session, extent), Rule::Session)?;
    let repeats = match claim.facts {
        [] => false,
        [v1::Fact { kind: Some(Kind::MessageStored(message)) }] => {
            check_message(call, &draft, message, extent)?;
            false
        }
        [v1::Fact { kind: Some(Kind::MessageHidden(hidden)) }] => {
            check_forum(call, hidden.forum_id)?;
            ensure(call.open_message.is_some_and(|id| id.get() == hidden.id), Rule::Message)?;
            ensure(hidden.finished && !draft.is_typing(), Rule::Columns)?;
            true
        }
        _ => return Err(Rule::Kind),
    };
    let is_written = !claim.facts.is_empty();
    ensure(!is_written || draft.may_write(), Rule::Kind)?;
    let told = v1::Receipt { lid: lid(call), sid_json: draft.sid_json(repeats), ..status(200) };
    // In a forum for reading only, or with a wrong checksum, nothing is written and nothing said of it.
    let told_nothing = v1::Receipt { sid_json: None, ..told.clone() };
    if !is_written && *claim.receipt == told_nothing {
        return Ok(());
    }
    ensure(*claim.receipt == told && draft.may_write(), Rule::Receipt)?;
    let goes_on = call.open_message.is_some() && claim.is_open == Some(true);
    ensure(is_written || call.message_id.is_none() && !goes_on, Rule::Missing)
}

fn check_message(
    call: &Call,
    draft: &Draft<'_>,
    message: &v1::MessageStored,
    extent: Extent,
) -> Result<(), Rule> {
    check_forum(call, message.forum_id)?;
    let id = MessageId::new(message.id).ok_or(Rule::Message)?;
    let named = message_id(call.request.params.get("shout_id"));
    let goes_on = call.open_message.filter(|open| Some(*open) == named);
    let own = goes_on.or(call.message_id);
    ensure(own == Some(id), Rule::Message)?;
    let group = shout::group_of(call, message);
    if extent == Extent::ButForText {
        let mut expected = draft.row(id, group);
        ensure(message.author_name.len() <= shout::USERNAME_BYTES_MAX, Rule::Columns)?;
        expected.author_name.clone_from(&message.author_name);
        ensure(is_same_but_for_text(&expected, message), Rule::Columns)?;
        return check_place(goes_on.is_none(), &expected, message);
    }
    let names = shout::markers().filter(|marker| is_by(&message.text, &draft.visible_name(marker)));
    let mut wrong = Rule::Text;
    for marker in names {
        let mut expected = draft.message(id, group, &marker);
        let texts = (std::mem::take(&mut expected.text), std::mem::take(&mut expected.html));
        if (&texts.0, &texts.1) != (&message.text, &message.html) {
            continue;
        }
        wrong = Rule::Columns;
        if is_same_but_for_text(&expected, message) {
            return check_place(goes_on.is_none(), &expected, message);
        }
    }
    Err(wrong)
}

/// Whether the session is changed as the request changes it. A name is text, too.
fn is_change_of(
    draft: &Draft<'_>,
    session: Session<'_>,
    claimed: Option<&v1::SessionChange>,
    extent: Extent,
) -> bool {
    let expected = draft.change(session);
    if extent == Extent::Whole {
        return claimed == expected.as_ref();
    }
    let place = |change: Option<&v1::SessionChange>| {
        change.map_or((None, None), |change| (change.latitude.clone(), change.longitude.clone()))
    };
    let name = claimed.and_then(|change| change.name.as_ref());
    place(claimed) == place(expected.as_ref())
        && name.is_none_or(|name| name.chars().count() <= NAME_CHARS_MAX)
        && (claimed.is_none() || session.user().is_some())
}

/// Whether a text can begin with that name.
fn is_by(text: &str, name: &str) -> bool {
    text.strip_prefix(name).is_some_and(|rest| rest.starts_with(": "))
}

/// Text and place are compared by themselves.
fn is_same_but_for_text(expected: &v1::MessageStored, message: &v1::MessageStored) -> bool {
    expected.shouted_at_s == message.shouted_at_s
        && expected.active == message.active
        && expected.status == message.status
        && expected.author_address == message.author_address
        && expected.author_id == message.author_id
        && expected.author_name == message.author_name
        && expected.whisper_to_address == message.whisper_to_address
        && expected.whisper_to_id == message.whisper_to_id
        && message.sentiment.is_none()
}

/// A new message is where its request says; one that is gone on with stays at some place, where it was begun.
fn check_place(is_new: bool, expected: &v1::MessageStored, message: &v1::MessageStored) -> Result<(), Rule> {
    let codes = |row: &v1::MessageStored| (row.peano1, row.peano2, row.peano1inv, row.peano2inv);
    if is_new {
        let is_there = expected.latitude == message.latitude && expected.longitude == message.longitude;
        return ensure(is_there && codes(expected) == codes(message), Rule::Place);
    }
    let degrees = |text: &str, most| {
        shout::degrees_of(text, most).filter(|degrees| format!("{degrees:.7}") == text).ok_or(Rule::Place)
    };
    degrees(&message.latitude, DEGREES_MAX.0)?;
    degrees(&message.longitude, DEGREES_MAX.1)?;
    ensure(message.peano1inv == !message.peano1 && message.peano2inv == !message.peano2, Rule::Place)
}

fn conform_hide(call: &Call, claim: &Claim<'_>) -> Result<(), Rule> {
    ensure(claim.session.is_none(), Rule::Session)?;
    ensure(*claim.receipt == status(200), Rule::Receipt)?;
    let only_typed = call.request.params.has("just_typing");
    let (id, forum_id) = match claim.facts {
        [] => return Ok(()),
        [v1::Fact { kind: Some(Kind::MessageRemoved(removed)) }] if !only_typed => {
            (removed.id, removed.forum_id)
        }
        [v1::Fact { kind: Some(Kind::MessageHidden(hidden)) }] if only_typed => {
            ensure(!hidden.finished, Rule::Columns)?;
            (hidden.id, hidden.forum_id)
        }
        _ => return Err(Rule::Kind),
    };
    check_forum(call, forum_id)?;
    let named = message_id(call.request.params.get("mid"));
    ensure(named.is_some_and(|named| named.get() == id), Rule::Message)
}

fn check_forum(call: &Call, forum_id: u32) -> Result<(), Rule> {
    ensure(call.forum.is_some_and(|forum| forum.get() == forum_id), Rule::Forum)
}

fn ensure(holds: bool, rule: Rule) -> Result<(), Rule> {
    if holds { Ok(()) } else { Err(rule) }
}

#[cfg(test)]
mod tests;

//! `index.php?action=ssshout`: a message begun, committed, or both at once.
//!
//! Owns the table of what `sid` says. Unlike the PHP, a `shout_id` reaches only an unfinished message of this forum by this
//! author. Whoever checks an execution drafts the same message once more, without the rows.

use loop_proto::{
    ids::MessageId,
    php_params,
    v1::{self, fact::Kind},
};

use crate::{
    call::Call,
    executed::{Executed, lid, status},
    peano,
    request::{Request, message_id},
    session::Session,
    text::{self, Author, Links},
    view::{Viewer, WriteView},
};

/// What every honest form sends as `cs`, to be told from a stray link. Not a secret: it is in every page.
pub const CHECKSUM: &[u8] = b"21633478";
/// Messages AtomJump shows after a write.
pub const RECORDS_AFTER_WRITE: i64 = 25;
/// The same text from the same address within this time is a repetition, seconds.
const REPETITION_S: u64 = 5;
/// Width of `var_username`, bytes.
pub const USERNAME_BYTES_MAX: usize = 50;
/// Longest display name, characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest address a whisper may go to, characters.
const ADDRESS_CHARS_MAX: usize = 64;
/// Where a whisper to all subscribers goes.
const GROUP_ADDRESS: &str = "1.1.2.1";
/// AtomJump's place for those who give none, degrees.
const DEFAULT_PLACE: (f64, f64) = (51.0, 0.0);
/// Greatest latitude and longitude, degrees.
pub const DEGREES_MAX: (f64, f64) = (90.0, 180.0);
/// Longest latitude or longitude that is read, characters.
pub const DEGREES_CHARS_MAX: usize = 32;

/// Executes the request.
pub fn execute<V: WriteView>(call: &Call, session: Session<'_>, view: &V) -> Result<Executed, V::Error> {
    let draft = Draft::of(call, session);
    let mut executed =
        Executed { session: draft.change(session), receipt: status(200), ..Executed::default() };
    executed.receipt.lid = lid(call);
    let Some(forum) = view.forum() else { return Ok(executed) };
    let is_subscriber = session.user().is_some_and(|user| view.is_subscriber(user));
    let is_read_only = forum.access() == v1::ForumAccess::PublicAdminWriteOnly && !is_subscriber;
    if !draft.may_write() || is_read_only {
        return Ok(executed);
    }
    let marker = marker(&view.authors_named(draft.author_name())?, session.user());
    let written = match target(call) {
        Target::New(id) => Written::Stored(Box::new(draft.message(id, forum.group_user_id, &marker))),
        Target::Named(id) => match call.open_message {
            Some(open) if open == id => draft.update(id, forum.group_user_id, &marker, view)?,
            _ => Written::Unchanged,
        },
        Target::Nothing => Written::Unchanged,
    };
    executed.receipt.sid_json = draft.sid_json(matches!(written, Written::Repeats(_)));
    executed.facts = written.into_fact().into_iter().collect();
    Ok(executed)
}

/// What becomes of the message.
enum Written {
    /// It is stored.
    Stored(Box<v1::MessageStored>),
    /// It repeats another one and is hidden.
    Repeats(v1::MessageHidden),
    /// It is not touched.
    Unchanged,
}

impl Written {
    fn into_fact(self) -> Option<v1::Fact> {
        let kind = match self {
            Self::Stored(message) => Kind::MessageStored(*message),
            Self::Repeats(hidden) => Kind::MessageHidden(hidden),
            Self::Unchanged => return None,
        };
        Some(v1::Fact { kind: Some(kind) })
    }
}

/// Which message the request is about.
enum Target {
    New(MessageId),
    /// One that exists, as far as the client knows.
    Named(MessageId),
    /// No id was given to a request that needed one.
    Nothing,
}

fn target(call: &Call) -> Target {
    match (message_id(call.request.params.get("shout_id")), call.message_id) {
        // What it names was taken away before its author came back.
        (Some(_), Some(new)) if call.open_message.is_none() => Target::New(new),
        (Some(named), _) => Target::Named(named),
        (None, Some(new)) => Target::New(new),
        (None, None) => Target::Nothing,
    }
}

/// Everything about the message that follows from the request and its session.
pub struct Draft<'a> {
    call: &'a Call,
    user: Option<u32>,
    is_typing: bool,
    name: String,
    place: (f64, f64),
    body: String,
}

impl<'a> Draft<'a> {
    /// Drafts the message.
    pub fn of(call: &'a Call, session: Session<'_>) -> Self {
        let request = &call.request;
        let is_typing = request.params.get("typing") == Some(b"on");
        Self {
            call,
            user: session.user(),
            is_typing,
            name: display_name(request, session),
            place: place(request, session),
            body: if is_typing {
                text::TYPING.to_owned()
            } else {
                request.params.text("message").unwrap_or_default()
            },
        }
    }

    /// Whether the page that sent it knew the checksum.
    pub fn may_write(&self) -> bool {
        self.call.request.params.get("cs") == Some(CHECKSUM)
    }

    /// Whether it stays unfinished.
    pub fn is_typing(&self) -> bool {
        self.is_typing
    }

    /// What the request changes of its session: the name and the place it gives.
    pub fn change(&self, session: Session<'_>) -> Option<v1::SessionChange> {
        session.user()?;
        let request = &self.call.request;
        let name = Some(&self.name).filter(|name| *name != session.name()).cloned();
        let latitude =
            degrees_given(request, "lat", DEGREES_MAX.0).filter(|text| *text != session.latitude());
        let longitude =
            degrees_given(request, "lon", DEGREES_MAX.1).filter(|text| *text != session.longitude());
        let change = v1::SessionChange { name, latitude, longitude };
        (change != v1::SessionChange::default()).then_some(change)
    }

    /// The name as it is kept with the message.
    pub fn author_name(&self) -> &str {
        text::cut_bytes(&self.name, USERNAME_BYTES_MAX)
    }

    /// The name as it is shown.
    pub fn visible_name(&self, marker: &str) -> String {
        format!("{}{marker}", self.name)
    }

    /// The message, whole. `group` is the forum's group user, `marker` tells the author from others of the same name.
    pub fn message(&self, id: MessageId, group: Option<u32>, marker: &str) -> v1::MessageStored {
        let request = &self.call.request;
        let is_new = self.call.message_id == Some(id);
        let visible = self.visible_name(marker);
        let author = Author { ip: &request.ip, user: self.user, name: &visible };
        let message = (!is_new).then_some(id.get());
        let shouted = text::shouted(
            author,
            &self.body,
            Links { base_url: &request.base_url, user: self.user, message },
        );
        v1::MessageStored { text: shouted.text, html: shouted.html, ..self.row(id, group) }
    }

    /// The same without its text.
    pub fn row(&self, id: MessageId, group: Option<u32>) -> v1::MessageStored {
        let request = &self.call.request;
        let status = if self.is_typing { v1::MessageStatus::Typing } else { v1::MessageStatus::Final };
        let (whisper_to_address, whisper_to_id) = whisper_target(request, group);
        let (latitude, longitude) = self.place;
        let codes = peano::codes(latitude, longitude);
        v1::MessageStored {
            id: id.get(),
            forum_id: self.call.forum.map_or(0, |forum| forum.get()),
            text: String::new(),
            html: String::new(),
            shouted_at_s: request.now_s,
            active: true,
            status: status.into(),
            author_address: request.ip.clone(),
            author_id: self.user,
            author_name: self.author_name().to_owned(),
            whisper_to_address,
            whisper_to_id,
            latitude: format!("{latitude:.7}"),
            longitude: format!("{longitude:.7}"),
            peano1: codes.peano1,
            peano2: codes.peano2,
            peano1inv: codes.peano1inv,
            peano2inv: codes.peano2inv,
            sentiment: None,
        }
    }

    /// Goes on with an unfinished message. It stays where it was begun.
    fn update<V: WriteView>(
        &self,
        id: MessageId,
        group: Option<u32>,
        marker: &str,
        view: &V,
    ) -> Result<Written, V::Error> {
        let request = &self.call.request;
        let viewer = Viewer { user: self.user, ip: &request.ip, group: None };
        let held = view.message(id.get())?.filter(|row| {
            row.message.status() == v1::MessageStatus::Typing && viewer.is_author(&row.message)
        });
        let Some(held) = held else { return Ok(Written::Unchanged) };
        let message = self.message(id, group, marker);
        let since_s = (request.now_s + 1).saturating_sub(REPETITION_S);
        if !self.is_typing && view.was_said(&request.ip, &message.text, since_s, id.get()) {
            let forum_id = message.forum_id;
            return Ok(Written::Repeats(v1::MessageHidden { id: id.get(), forum_id, finished: true }));
        }
        let place = held.message.clone();
        Ok(Written::Stored(Box::new(v1::MessageStored {
            latitude: place.latitude,
            longitude: place.longitude,
            peano1: place.peano1,
            peano2: place.peano2,
            peano1inv: place.peano1inv,
            peano2inv: place.peano2inv,
            ..message
        })))
    }

    /// What `sid` says. `repeats`: the message repeats another one and was hidden.
    pub fn sid_json(&self, repeats: bool) -> Option<String> {
        Some(match target(self.call) {
            Target::Nothing => "false".to_owned(),
            _ if repeats => "false".to_owned(),
            Target::New(id) => id.get().to_string(),
            Target::Named(id) if self.is_typing => format!("\"{}\"", id.get()),
            Target::Named(_) => "\"\"".to_owned(),
        })
    }
}

/// The name given, else the session's, else one made of the address.
fn display_name(request: &Request, session: Session<'_>) -> String {
    let given = request.params.non_empty("your_name").filter(|name| *name != b"Your Name");
    // The page sends the name encoded twice.
    let given =
        given.map(|name| clean_name(&php_params::text(&php_params::decode(name)))).unwrap_or_default();
    let name = if given.is_empty() { clean_name(session.name()) } else { given };
    if name.is_empty() {
        let end = request.ip.len().saturating_sub(2);
        return format!("Anon {}", &request.ip[end..]);
    }
    name
}

fn clean_name(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(4 * NAME_CHARS_MAX).collect();
    text::cut(&text::plain(&name), NAME_CHARS_MAX).to_owned()
}

/// Latitude and longitude: the request's where it is a number, else the session's, else the default.
fn place(request: &Request, session: Session<'_>) -> (f64, f64) {
    let degrees = |key: &str, held: &str, most: f64, default: f64| {
        let given = degrees_given(request, key, most).and_then(|text| degrees_of(&text, most));
        given.or_else(|| degrees_of(held, most)).unwrap_or(default)
    };
    (
        degrees("lat", session.latitude(), DEGREES_MAX.0, DEFAULT_PLACE.0),
        degrees("lon", session.longitude(), DEGREES_MAX.1, DEFAULT_PLACE.1),
    )
}

/// The text of a parameter that is a sensible number of degrees.
fn degrees_given(request: &Request, key: &str, most: f64) -> Option<String> {
    let given = request.params.text(key)?;
    let given = given.trim();
    degrees_of(given, most).is_some().then(|| given.to_owned())
}

/// A number of at most `most` degrees to either side.
pub fn degrees_of(text: &str, most: f64) -> Option<f64> {
    let fits = text.len() <= DEGREES_CHARS_MAX;
    text.parse::<f64>().ok().filter(|degrees| fits && degrees.is_finite() && degrees.abs() <= most)
}

/// Whom the message is for: address and user; an empty address is everybody.
fn whisper_target(request: &Request, group: Option<u32>) -> (String, Option<u32>) {
    let to = request.params.text("whisper_to").unwrap_or_default();
    let to = to.trim();
    if to.is_empty() {
        return (String::new(), None);
    }
    if let Some(group) = group.filter(|_| is_to_site(request)) {
        return (GROUP_ADDRESS.to_owned(), Some(group));
    }
    let first = to.split(',').next().unwrap_or_default();
    let (address, id) = first.split_once(':').unwrap_or((first, ""));
    let address: String =
        address.trim().chars().filter(|c| !c.is_control()).take(ADDRESS_CHARS_MAX).collect();
    // A whisper without an address would be public; nobody has this one.
    let address = if address.is_empty() { "0.0.0.0".to_owned() } else { address };
    (address, message_id(Some(id.trim().as_bytes())).map(MessageId::get))
}

/// Whether the request whispers to the site's owners, who are the forum's group if it has one.
fn is_to_site(request: &Request) -> bool {
    let text = |name| request.params.text(name).unwrap_or_default().trim().to_owned();
    let to = text("whisper_to");
    !to.is_empty() && text("whisper_site") == to
}

/// The group user a message of this request may be for, if the stored row says it is for the group.
pub fn group_of(call: &Call, row: &v1::MessageStored) -> Option<u32> {
    let is_for_group = row.whisper_to_address == GROUP_ADDRESS && is_to_site(&call.request);
    row.whisper_to_id.filter(|_| is_for_group)
}

/// Every marker there is, the usual one first.
pub fn markers() -> impl Iterator<Item = String> {
    (0..=9).map(marker_after)
}

/// What tells an author from earlier ones of the same name.
fn marker(authors: &[Option<u32>], me: Option<u32>) -> String {
    marker_after(authors.iter().position(|author| *author == me).unwrap_or(authors.len()))
}

/// What tells an author from `before` earlier ones.
fn marker_after(before: usize) -> String {
    // U+2781 is ➁, the second of its name, and so on up to ➈.
    match u32::try_from(before) {
        Ok(0) => String::new(),
        Ok(count @ 1..=8) => format!(" {}", char::from_u32(0x2780 + count).unwrap_or(' ')),
        _ => " ()".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_count_authors_by_their_first_message() {
        let authors = [Some(416), Some(417), Some(419)];
        assert_eq!(marker(&authors, Some(416)), "");
        assert_eq!(marker(&authors, Some(417)), " ➁");
        assert_eq!(marker(&authors, Some(419)), " ➂");
        assert_eq!(marker(&authors, Some(1)), " ➃");
        let many: Vec<_> = (1..=12).map(Some).collect();
        assert_eq!(marker(&many, Some(9)), " ➈");
        assert_eq!(marker(&many, Some(10)), " ()");
    }

    #[test]
    fn all_markers_are_known() {
        let all: Vec<_> = markers().collect();
        assert_eq!((all.len(), all[0].as_str(), all[1].as_str(), all[9].as_str()), (10, "", " ➁", " ()"));
    }

    #[test]
    fn names_lose_tags_and_control_characters() {
        assert_eq!(clean_name("a: b<b>c</b>\"'\n"), "a: bc\"'");
        assert_eq!(clean_name(&"n".repeat(500)).len(), NAME_CHARS_MAX);
    }
}

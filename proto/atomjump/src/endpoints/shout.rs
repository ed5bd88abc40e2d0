//! `index.php?action=ssshout`: a message begun, committed, or both at once.
//!
//! Owns the table of what `sid` says. Unlike the PHP, a `shout_id` reaches only a message of this forum by this author.

use loop_proto::{
    ids::MessageId,
    php_params,
    v1::{self, fact::Kind},
};

use crate::{
    peano,
    request::{Request, message_id},
    session::Session,
    text::{self, Author, Links},
    view::{View, Viewer},
};

/// What every honest form sends as `cs`.
const CHECKSUM: &[u8] = b"21633478";
/// Messages AtomJump shows after a write.
pub const RECORDS_AFTER_WRITE: i64 = 25;
/// The same text from the same address within this time is a repetition, seconds.
const REPETITION_S: u64 = 5;
/// Width of `var_username`, bytes.
const USERNAME_BYTES_MAX: usize = 50;
/// Longest name that is shown, characters.
const NAME_CHARS_MAX: usize = 100;
/// Longest address a whisper may go to, characters.
const ADDRESS_CHARS_MAX: usize = 64;
/// Where a whisper to all subscribers goes.
const GROUP_ADDRESS: &str = "1.1.2.1";
/// AtomJump's place for those who give none, degrees.
const DEFAULT_PLACE: (i64, i64) = (51, 0);

/// What a write came to.
#[derive(Debug, Default)]
pub struct Shout {
    /// Changed messages.
    pub facts: Vec<v1::Fact>,
    /// `sid` as JSON; `None`: the answer has no such key.
    pub sid_json: Option<String>,
}

/// Which message the request is about.
enum Target {
    New(MessageId),
    /// One that exists, as far as the client knows.
    Named(MessageId),
    /// No id was given to a request that needed one.
    Nothing,
}

/// Decides what the request changes. `forum` is the forum's row, also if this very request makes it.
pub fn decide<V: View>(
    request: &Request,
    session: &mut Session,
    view: &V,
    forum: &v1::ForumStored,
    new_id: Option<MessageId>,
) -> Result<Shout, V::Error> {
    session.set_text("authenticated-layer", &forum.id.to_string());
    let name = display_name(request, session);
    let place = place(request, session);
    let is_subscriber = session.user().is_some_and(|user| view.is_subscriber(user));
    let is_read_only = forum.access() == v1::ForumAccess::PublicAdminWriteOnly && !is_subscriber;
    if request.params.get("cs") != Some(CHECKSUM) || is_read_only {
        return Ok(Shout::default());
    }
    let draft = Draft::new(request, session, view, forum, &name)?;
    match target(request, new_id) {
        Target::New(id) => Ok(draft.insert(id, place)),
        Target::Named(id) => draft.update(id, view),
        Target::Nothing => Ok(Shout { sid_json: Some("false".to_owned()), ..Shout::default() }),
    }
}

fn target(request: &Request, new_id: Option<MessageId>) -> Target {
    match (message_id(request.params.get("shout_id")), new_id) {
        (Some(named), _) => Target::Named(named),
        (None, Some(new)) => Target::New(new),
        (None, None) => Target::Nothing,
    }
}

/// Everything about the message but its id and its place.
struct Draft<'a> {
    request: &'a Request,
    viewer: Viewer<'a>,
    is_typing: bool,
    message: v1::MessageStored,
    visible_name: String,
    body: String,
}

impl<'a> Draft<'a> {
    fn new<V: View>(
        request: &'a Request,
        session: &Session,
        view: &V,
        forum: &v1::ForumStored,
        name: &str,
    ) -> Result<Self, V::Error> {
        let author_id = session.user();
        let author_name = text::cut_bytes(name, USERNAME_BYTES_MAX).to_owned();
        let marker = marker(&view.authors_named(&author_name)?, author_id);
        let is_typing = request.params.get("typing") == Some(b"on");
        let (whisper_to_address, whisper_to_id) = whisper_target(request, forum);
        let message = v1::MessageStored {
            forum_id: forum.id,
            shouted_at_s: request.now_s,
            active: true,
            status: if is_typing { v1::MessageStatus::Typing } else { v1::MessageStatus::Final }.into(),
            author_address: request.ip.clone(),
            author_id,
            author_name,
            whisper_to_address,
            whisper_to_id,
            ..Default::default()
        };
        Ok(Self {
            request,
            viewer: Viewer { user: author_id, ip: &request.ip, group: session.group() },
            is_typing,
            message,
            visible_name: format!("{name}{marker}"),
            body: if is_typing {
                text::TYPING.to_owned()
            } else {
                request.params.text("message").unwrap_or_default()
            },
        })
    }

    fn insert(self, id: MessageId, (latitude, longitude): (f64, f64)) -> Shout {
        let codes = peano::codes(latitude, longitude);
        let shouted = self.shouted(None);
        let message = v1::MessageStored {
            id: id.get(),
            text: shouted.text,
            html: shouted.html,
            latitude: format!("{latitude:.7}"),
            longitude: format!("{longitude:.7}"),
            peano1: codes.peano1,
            peano2: codes.peano2,
            peano1inv: codes.peano1inv,
            peano2inv: codes.peano2inv,
            ..self.message
        };
        Shout { facts: vec![stored(message)], sid_json: Some(id.get().to_string()) }
    }

    fn update<V: View>(self, id: MessageId, view: &V) -> Result<Shout, V::Error> {
        let sid_json = if self.is_typing { format!("\"{}\"", id.get()) } else { "\"\"".to_owned() };
        let held = view.message(id.get())?.filter(|row| {
            row.message.status() == v1::MessageStatus::Typing && self.viewer.is_author(&row.message)
        });
        let Some(held) = held else {
            return Ok(Shout { facts: Vec::new(), sid_json: Some(sid_json) });
        };
        let held = held.message.clone();
        let shouted = self.shouted(Some(id.get()));
        let since_s = (self.request.now_s + 1).saturating_sub(REPETITION_S);
        if !self.is_typing && view.was_said(&self.request.ip, &shouted.text, since_s, id.get()) {
            let hidden = v1::MessageStored { active: false, status: v1::MessageStatus::Final.into(), ..held };
            return Ok(Shout { facts: vec![stored(hidden)], sid_json: Some("false".to_owned()) });
        }
        let message = v1::MessageStored {
            id: held.id,
            text: shouted.text,
            html: shouted.html,
            author_address: held.author_address,
            latitude: held.latitude,
            longitude: held.longitude,
            peano1: held.peano1,
            peano2: held.peano2,
            peano1inv: held.peano1inv,
            peano2inv: held.peano2inv,
            sentiment: held.sentiment,
            ..self.message
        };
        Ok(Shout { facts: vec![stored(message)], sid_json: Some(sid_json) })
    }

    fn shouted(&self, message: Option<u32>) -> text::Shouted {
        let author = Author { ip: &self.request.ip, user: self.viewer.user, name: &self.visible_name };
        let links = Links { base_url: &self.request.base_url, user: self.viewer.user, message };
        text::shouted(author, &self.body, links)
    }
}

fn stored(message: v1::MessageStored) -> v1::Fact {
    v1::Fact { kind: Some(Kind::MessageStored(message)) }
}

/// The name given, else the session's, else one made of the address; kept in the session without tags, which would
/// make the PHP destroy it.
fn display_name(request: &Request, session: &mut Session) -> String {
    let given = request.params.non_empty("your_name").filter(|name| *name != b"Your Name");
    // The page sends the name encoded twice.
    let given =
        given.map(|name| clean_name(&php_params::text(&php_params::decode(name)))).unwrap_or_default();
    let held = if given.is_empty() { clean_name(session.text("temp-user-name")) } else { given };
    let name = if held.is_empty() {
        let end = request.ip.len().saturating_sub(2);
        format!("Anon {}", &request.ip[end..])
    } else {
        held
    };
    if !request.is_robot && session.text("temp-user-name") != name {
        session.set_text("temp-user-name", &name);
    }
    name
}

fn clean_name(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(4 * NAME_CHARS_MAX).collect();
    text::cut(&text::plain(&name), NAME_CHARS_MAX).to_owned()
}

/// Latitude and longitude: the request's where it is a number, else the session's, else the default.
fn place(request: &Request, session: &mut Session) -> (f64, f64) {
    let latitude = coordinate(request, session, "lat", 90.0, DEFAULT_PLACE.0);
    let longitude = coordinate(request, session, "lon", 180.0, DEFAULT_PLACE.1);
    (latitude, longitude)
}

fn coordinate(request: &Request, session: &mut Session, key: &str, most: f64, default: i64) -> f64 {
    let sensible = |degrees: &f64| degrees.is_finite() && degrees.abs() <= most;
    let given = request.params.text(key).unwrap_or_default();
    let given = given.trim();
    if let Some(degrees) = given.parse::<f64>().ok().filter(sensible).filter(|_| given.len() <= 32) {
        if session.text(key) != given {
            session.set_text(key, given);
        }
        return degrees;
    }
    if let Some(degrees) = session.degrees(key).filter(sensible) {
        return degrees;
    }
    session.set_int(key, default);
    default as f64
}

/// Whom the message is for: address and user; an empty address is everybody.
fn whisper_target(request: &Request, forum: &v1::ForumStored) -> (String, Option<u32>) {
    let to = request.params.text("whisper_to").unwrap_or_default();
    let to = to.trim();
    if to.is_empty() {
        return (String::new(), None);
    }
    let is_to_site = request.params.text("whisper_site").is_some_and(|site| site.trim() == to);
    if let Some(group) = forum.group_user_id.filter(|_| is_to_site) {
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

/// What tells an author from earlier ones of the same name.
fn marker(authors: &[Option<u32>], me: Option<u32>) -> String {
    let before = authors.iter().position(|author| *author == me).unwrap_or(authors.len());
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
    fn names_lose_tags_and_control_characters() {
        assert_eq!(clean_name("a: b<b>c</b>\"'\n"), "a: bc\"'");
        assert_eq!(clean_name(&"n".repeat(500)).len(), NAME_CHARS_MAX);
    }
}

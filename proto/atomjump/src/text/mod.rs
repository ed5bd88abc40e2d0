//! What becomes of a message's text: the plain column, and the markup every browser of the forum will insert as HTML.
//!
//! Owns the promise that this markup is never script: each piece is either text that cannot start a tag, or an element
//! written here, whose attributes hold only characters that cannot leave them. Pure; knows neither rows nor requests.

pub mod ago;
mod links;
mod render;
mod strip;

pub use links::Links;
pub use strip::plain;

use render::Html;

use crate::escape::{script_in_attr, single_quoted_attr};

/// Width of `var_shouted`, characters.
pub const TEXT_CHARS_MAX: usize = 512;
/// Width of `var_shouted_processed`, characters.
pub const HTML_CHARS_MAX: usize = 1024;
/// What of a message is looked at, characters: more than both columns can show.
const MESSAGE_CHARS_MAX: usize = 4096;
/// Longest element around the author's name, characters; the message must keep room beside it.
const NAME_LINK_CHARS_MAX: usize = 768;

/// The message shown while its author types.
pub const TYPING: &str = "<i>Typing...</i>";

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The fake address, for whispers back.
    pub ip: &'a str,
    /// The user; `None` for a robot.
    pub user: Option<u32>,
    /// The name as shown, without tags.
    pub name: &'a str,
}

/// A message's two columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shouted {
    /// `var_shouted`.
    pub text: String,
    /// `var_shouted_processed`.
    pub html: String,
}

/// Makes both columns of `<name>: <message>`.
pub fn shouted(author: Author<'_>, message: &str, links: Links<'_>) -> Shouted {
    let message: String = message.chars().filter(|c| *c != '\0').take(MESSAGE_CHARS_MAX).collect();
    let text = format!("{}: {}", author.name, plain(&message));
    let text = cut(&text, TEXT_CHARS_MAX).to_owned();

    let mut html = Html::new(HTML_CHARS_MAX);
    // A name with a colon in it is shown up to there, and its rest as the beginning of the message.
    let (name, rest) = match split_name(author.name) {
        Some((name, rest)) => (name, format!("{rest}: {message}")),
        None => (author.name, message),
    };
    match name_link(author, name) {
        Some(link) => html.element(&link),
        None => {
            html.text(name);
            html.element(":&nbsp;");
        }
    }
    links::write(&mut html, &strip::pieces(&rest), links);
    Shouted { text, html: html.finish() }
}

/// At most `chars` characters of `text`.
pub fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(at, _)| &text[..at])
}

/// At most `bytes` bytes of `text`, whole characters.
pub fn cut_bytes(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn split_name(name: &str) -> Option<(&str, &str)> {
    let colon = name
        .char_indices()
        .find(|(at, c)| *c == ':' && name[at + 1..].starts_with(|next: char| next.is_ascii_whitespace()))?;
    (colon.0 > 0).then(|| (&name[..colon.0], &name[colon.0 + 2..]))
}

/// The name as a link that begins a whisper; `None` if escaping makes it too long to leave room for the message.
fn name_link(author: Author<'_>, name: &str) -> Option<String> {
    let user = author.user.map(|id| id.to_string()).unwrap_or_default();
    let mut shown = Html::new(NAME_LINK_CHARS_MAX);
    shown.text(name);
    let link = format!(
        "<a href='#' onclick='whisper(\"{ip}:{user}\", \"{script}\", true, \"\"); return false;' \
         title='Send comment to {title} privately'>{shown}</a>:&nbsp;",
        ip = script_in_attr(author.ip),
        script = script_in_attr(name),
        title = single_quoted_attr(name),
        shown = shown.finish(),
    );
    (link.chars().count() <= NAME_LINK_CHARS_MAX).then_some(link)
}

#[cfg(test)]
mod tests;

//! The endpoints of a chatting browser, each a pure function of request, session and view.
//!
//! Owns AtomJump's behaviour. Never writes a row: what changes is returned as facts. Never knows hubs or files.

pub mod chat_page;
pub mod hide;
pub mod index_page;
pub mod logged_status;
pub mod message_buttons;
pub mod search;
pub mod shout;
pub mod watch;

/// What AtomJump's readers and JSONP endpoints call their JSON.
pub const HTML: &str = "text/html; charset=UTF-8";
/// What `index.php` calls it.
pub const JSON: &str = "application/json";
/// What loop-server-fast calls it.
pub const FAST_HTML: &str = "text/html";

/// A response being made.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u32,
    /// Content type.
    pub content_type: &'static str,
    /// Whether the hub wraps the body in a callback.
    pub jsonp: bool,
    /// The body, not wrapped.
    pub body: Vec<u8>,
}

impl Answer {
    /// JSON for a callback.
    pub fn jsonp(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type, jsonp: true, body }
    }

    /// A page.
    pub fn html(body: String) -> Self {
        Self { status: 200, content_type: HTML, jsonp: false, body: body.into_bytes() }
    }

    /// Nothing, as AtomJump answers where it expects no reader.
    pub fn empty() -> Self {
        Self::html(String::new())
    }

    /// A refusal in one sentence.
    pub fn refused(status: u32, sentence: &str) -> Self {
        Self { status, content_type: "text/plain; charset=UTF-8", body: sentence.into(), ..Self::default() }
    }
}

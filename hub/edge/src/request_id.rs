//! Which requests are the same request. Owns how a browser's re-send of a commit is recognised.
//!
//! AtomJump's browser sends a commit again when no answer came for 20 s, with the same `msg_id` and text, with or
//! without a `shout_id`. Two commits are one if session, forum, `msg_id`, text and page agree. `msg_id` starts at 1
//! on each page load, hence the page: jQuery's token. Anything else is a request of its own.

use loop_proto::ids::{ForumKey, RequestId};
use sha2::{Digest, Sha256};

use super::outside::Outside;

/// Parts of a commit that a re-send repeats.
pub struct Commit<'a> {
    /// Never empty: two strangers without a session must not become one.
    pub session: &'a str,
    /// The forum.
    pub forum: ForumKey,
    /// The browser's number of the message, not empty.
    pub msg_id: &'a [u8],
    /// The message as sent.
    pub text: &'a [u8],
    /// jQuery's token of the page, if the callback has one.
    pub page: Option<&'a str>,
}

/// The same for each sending of one commit. Length-prefixed parts, so that no two lists of parts look alike.
pub fn of_commit(commit: &Commit<'_>) -> RequestId {
    let mut hash = Sha256::new();
    let page = commit.page.unwrap_or_default().as_bytes();
    let parts =
        [b"commit".as_slice(), commit.session.as_bytes(), &commit.forum.0, commit.msg_id, commit.text, page];
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    RequestId(id)
}

/// A request that is never sent again.
pub fn unique(outside: &dyn Outside) -> RequestId {
    let mut id = [0; 16];
    outside.fill_random(&mut id);
    RequestId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_and_none_runs_into_the_next() {
        let forum = ForumKey::of_name(b"ajps_test");
        let commit =
            Commit { session: "s1", forum, msg_id: b"1", text: b"hello\r\n", page: Some("jQuery12") };
        let id = of_commit(&commit);
        assert_eq!(id, of_commit(&Commit { ..commit }));
        assert_ne!(id, of_commit(&Commit { session: "s2", ..commit }));
        assert_ne!(id, of_commit(&Commit { msg_id: b"2", ..commit }));
        assert_ne!(id, of_commit(&Commit { text: b"hello", ..commit }));
        assert_ne!(id, of_commit(&Commit { page: None, ..commit }));
        assert_ne!(id, of_commit(&Commit { forum: ForumKey::of_name(b"other"), ..commit }));
        let shifted = Commit { msg_id: b"1h", text: b"ello\r\n", ..commit };
        assert_ne!(id, of_commit(&shifted));
    }
}

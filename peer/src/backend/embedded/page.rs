//! A page of a forum's messages: those in memory, then those on disk, as if they were one list.

use loop_atomjump::ForumWindow;
use loop_proto::v1;
use prost::Message;

use super::store::Store;
use crate::backend::{BackendError, ForumPage, PAGE_BYTES_MAX};

/// A page being filled.
struct Filling {
    page: ForumPage,
    limit: usize,
    bytes: usize,
}

impl Filling {
    /// Takes the next older message. False: the page is full without it.
    fn take(&mut self, message: v1::MessageStored) -> bool {
        let bytes = message.encoded_len();
        let is_first = self.page.messages.is_empty();
        let fits = self.page.messages.len() < self.limit
            && (is_first || self.bytes.saturating_add(bytes) <= PAGE_BYTES_MAX);
        if fits {
            self.bytes += bytes;
            self.page.messages.push(message);
        }
        fits
    }

    fn left(&self) -> usize {
        self.limit - self.page.messages.len()
    }
}

/// The page of what is committed. Rows on disk are asked for only where memory does not fill it: a page that ends just
/// above them does not say whether there are any.
pub fn of(
    window: &ForumWindow,
    forum: u32,
    store: &Store,
    before: Option<(u64, u32)>,
    limit: usize,
) -> Result<ForumPage, BackendError> {
    let mut filling = Filling { page: ForumPage::default(), limit, bytes: 0 };
    if before.is_none() {
        filling.page.forum = window.forum().cloned();
        filling.page.subscriptions = window.subscriptions().copied().collect();
    }
    for message in window.active_before(before) {
        if !filling.take(message.clone()) {
            return Ok(filling.page);
        }
    }
    let Some((floor, through)) = window.below() else {
        return Ok(ForumPage { complete: true, ..filling.page });
    };
    if filling.left() == 0 {
        return Ok(filling.page);
    }
    store.wait_durable(through)?;
    let before = before.map_or(floor, |before| before.min(floor));
    let wanted = filling.left();
    let mut found = 0;
    let mut is_full = false;
    store.older(forum, before, wanted, &mut |message| {
        found += 1;
        is_full = !filling.take(message);
        !is_full
    })?;
    filling.page.complete = !is_full && found < wanted;
    Ok(filling.page)
}

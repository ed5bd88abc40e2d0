//! Published files this peer can give: those of its store and those of the volunteer's own folder.

use std::sync::Arc;

use bytes::Bytes;
use loop_proto::content::{ContentHash, PIECE_BYTES_MAX};

use super::{
    content_store::{self, ContentStore},
    decode::{ContentPart, ContentPiece},
    static_files::StaticFiles,
};

/// Both places. Cheap to clone.
#[derive(Clone)]
pub struct Content {
    /// What hubs have had kept here.
    pub store: Arc<ContentStore>,
    /// The volunteer's own folder.
    pub folder: Option<StaticFiles>,
}

impl Content {
    /// A piece of a file, if the whole file is here with the right hash. Waits for the disk.
    pub fn part(&self, wanted: &ContentPart) -> Option<Bytes> {
        let file = self.store.read(wanted.hash).or_else(|| self.own(wanted.hash, &wanted.path))?;
        if file.len() as u64 != wanted.size {
            return None;
        }
        let offset = usize::try_from(wanted.offset).ok()?;
        let end = offset.saturating_add(PIECE_BYTES_MAX).min(file.len());
        Some(Bytes::from(file).slice(offset.min(end)..end))
    }

    /// Takes a piece; whether the whole file is kept now. `None`: it is not taken. Waits for the disk.
    pub fn keep(&self, piece: &ContentPiece) -> Option<bool> {
        let hash = piece.hash;
        if piece.offset == 0
            && piece.data.is_empty()
            && let Some(own) = self.own(hash, &piece.path)
            && self.store.put(hash, own).is_ok()
        {
            return Some(true);
        }
        match self.store.keep(piece) {
            Ok(whole) => Some(whole),
            Err(why) => {
                tracing::info!(%hash, %why, "a published file is not kept");
                None
            }
        }
    }

    /// The file of the volunteer's folder that lies where this one is published, if it is the same.
    fn own(&self, hash: ContentHash, path: &str) -> Option<Vec<u8>> {
        self.folder.as_ref()?.read(path).filter(|bytes| content_store::is(bytes, hash))
    }
}

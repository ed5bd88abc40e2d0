//! The digest of a forum's rows, or of all users: the same on every replica at the same position.

use loop_proto::v1::{self, fact::Kind};
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::super::store::Snapshot;
use crate::backend::{BackendError, Digest, Scope};

/// A digest in the making. Rows come in the order of their keys: forum, subscriptions, messages; or users.
#[derive(Default)]
pub struct Digester {
    sha: Sha256,
    messages: u64,
    encoded: Vec<u8>,
}

impl Digester {
    /// Takes the next row.
    pub fn add(&mut self, kind: Kind) {
        self.messages += u64::from(matches!(kind, Kind::MessageStored(_)));
        let fact = v1::Fact { kind: Some(kind) };
        self.encoded.clear();
        fact.encode(&mut self.encoded).expect("a vector takes whatever is written to it");
        let length = u32::try_from(self.encoded.len()).expect("rows are bounded to some megabytes");
        self.sha.update(length.to_be_bytes());
        self.sha.update(&self.encoded);
    }

    /// The digest of what was taken.
    pub fn finish(self) -> Digest {
        Digest { sha256: self.sha.finalize().into(), messages: self.messages }
    }
}

/// Goes through the rows once.
pub fn digest<E: From<BackendError>>(
    rows: &Snapshot,
    scope: Scope,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<Digest, E> {
    let mut digester = Digester::default();
    match scope {
        Scope::Forum(forum) => {
            let forum = forum.get();
            if let Some(row) = rows.forum(forum)? {
                digester.add(Kind::ForumStored(row));
            }
            for row in rows.subscriptions(forum)? {
                digester.add(Kind::SubscriptionStored(row));
            }
            rows.each_message(forum, |row| {
                digester.add(Kind::MessageStored(row));
                check()
            })?;
        }
        Scope::Directory => {
            for id in rows.user_ids()? {
                if let Some(row) = rows.user(id)? {
                    digester.add(Kind::UserStored(row));
                }
                check()?;
            }
        }
    }
    Ok(digester.finish())
}

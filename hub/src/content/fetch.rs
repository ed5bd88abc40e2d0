//! Getting a file for browsers: from at most two peers, once however many browsers ask, and checked as a whole.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use loop_hub_edge::gateway::CallError;
use loop_proto::{content::PIECE_BYTES_MAX, ids::PeerId, v1, v1::rows_request};
use loop_raft_store::machine::ContentFile;
use metrics::counter;
use tokio::time::timeout;

use super::parts::{Content, FETCHED_WITHIN, FLIGHTS_MAX, hash_of};
use crate::mesh::presence::Whereabouts;

/// How many peers are asked for a file before browsers are told to come again.
const ATTEMPTS_MAX: usize = 2;

/// Why a peer's bytes are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It has them no more, or does not answer.
    Away,
    /// They cannot be the file's.
    Lie,
}

impl Content {
    /// The bytes of a published file.
    pub async fn fetch(self: &Arc<Self>, path: String, file: ContentFile) -> Result<Bytes, CallError> {
        let hash = file.hash;
        let flight = {
            let mut flights = self.flights.lock();
            if flights.len() >= FLIGHTS_MAX && !flights.contains_key(&hash) {
                return Err(CallError::Overloaded);
            }
            let begin = || {
                let content = self.clone();
                let landed = Landed { content: self.clone(), hash };
                // In a task of its own: the browser that asked first may hang up, the others still wait.
                let task = tokio::spawn(async move {
                    let _landed = landed;
                    timeout(FETCHED_WITHIN, content.get(&path, &file))
                        .await
                        .unwrap_or(Err(CallError::Timeout))
                });
                async { task.await.unwrap_or(Err(CallError::NoPeer)) }.boxed().shared()
            };
            flights.entry(hash).or_insert_with(begin).clone()
        };
        flight.await
    }

    async fn get(&self, path: &str, file: &ContentFile) -> Result<Bytes, CallError> {
        let Ok(_place) = self.fetches.acquire().await else { return Err(CallError::Overloaded) };
        for (peer, at) in self.holders(file) {
            counter!("loop_content_asked_total").increment(1);
            match self.get_from(peer, &at, path, file).await {
                Ok(bytes) => return Ok(bytes),
                Err(Failure::Lie) => self.note_lie(peer).await,
                Err(Failure::Away) => tracing::debug!(%peer, path, "a peer does not give a published file"),
            }
        }
        Err(CallError::NoPeer)
    }

    /// Whom to ask, at most two: those that took it when it was published, then any, which may have it in a folder of
    /// their own.
    fn holders(&self, file: &ContentFile) -> Vec<(PeerId, Whereabouts)> {
        let mut asked = self.mesh.presence.find_all(file.holders.iter().copied());
        self.shuffle(&mut asked);
        if asked.len() < ATTEMPTS_MAX {
            let mut others = self.mesh.presence.everyone();
            others.retain(|(peer, _)| !file.holders.contains(peer));
            self.shuffle(&mut others);
            asked.extend(others);
        }
        asked.truncate(ATTEMPTS_MAX);
        asked
    }

    async fn get_from(
        &self,
        peer: PeerId,
        at: &Whereabouts,
        path: &str,
        file: &ContentFile,
    ) -> Result<Bytes, Failure> {
        let size = usize::try_from(file.size).map_err(|_| Failure::Away)?;
        let mut body = BytesMut::with_capacity(size);
        loop {
            let part = v1::ContentPart {
                sha256: file.hash.to_bytes(),
                size: file.size,
                offset: body.len() as u64,
                path: path.to_owned(),
            };
            let reply = self.ask(peer, at, rows_request::Kind::Content(part)).await;
            let content = reply.ok_or(Failure::Away)?.content;
            // Whoever has the file has all of it: less would never end, more is of another one.
            if content.len() != (size - body.len()).min(PIECE_BYTES_MAX) {
                return Err(Failure::Lie);
            }
            body.extend_from_slice(&content);
            if body.len() == size {
                break;
            }
        }
        if hash_of(&body) == file.hash { Ok(body.freeze()) } else { Err(Failure::Lie) }
    }
}

/// A fetch that is over, or has panicked: the next browser begins another one.
struct Landed {
    content: Arc<Content>,
    hash: loop_proto::content::ContentHash,
}

impl Drop for Landed {
    fn drop(&mut self) {
        self.content.flights.lock().remove(&self.hash);
    }
}

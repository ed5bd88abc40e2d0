//! Handing a published file to peers, so that it is there when this hub is not.

use bytes::Bytes;
use futures::future::join_all;
use loop_proto::{
    content::{ContentHash, HOLDERS_MAX, PIECE_BYTES_MAX},
    ids::PeerId,
    v1::{self, rows_request},
};

use super::parts::Content;
use crate::mesh::presence::Whereabouts;

/// How many peers are asked to keep a file before it is given up.
const CANDIDATES_MAX: usize = 9;

/// A file as an operator has sent it, its hash checked.
pub struct Upload {
    /// Where it is to be published.
    pub path: String,
    /// Its hash.
    pub hash: ContentHash,
    /// Its bytes.
    pub body: Bytes,
}

/// A peer that may be asked to keep files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub peer: PeerId,
    /// Whose machine it is; empty: nobody said.
    pub owner: String,
}

impl Content {
    /// Has up to three of these peers keep the file, of different owners where there are some. Who has it on disk now.
    pub async fn hand_out(&self, upload: &Upload, mut candidates: Vec<Candidate>) -> Vec<PeerId> {
        self.shuffle(&mut candidates);
        let mut kept: Vec<Candidate> = Vec::new();
        let mut asked = 0;
        while kept.len() < HOLDERS_MAX && asked < CANDIDATES_MAX {
            let next = choose(&mut candidates, &kept);
            if next.is_empty() {
                break;
            }
            asked += next.len();
            let answers = join_all(next.iter().map(|candidate| self.give(upload, candidate.peer))).await;
            kept.extend(next.into_iter().zip(answers).filter(|(_, kept)| *kept).map(|(next, _)| next));
        }
        kept.into_iter().map(|candidate| candidate.peer).collect()
    }

    /// Whether the peer has the whole file on disk. It is asked first: it may have it, or have no room.
    async fn give(&self, upload: &Upload, peer: PeerId) -> bool {
        let Some(at) = self.mesh.presence.find(peer) else { return false };
        match self.say(upload, peer, &at, 0..0).await {
            Some(false) => {}
            told => return told == Some(true),
        }
        let mut through = 0;
        while through < upload.body.len() {
            let from = through;
            through = (from + PIECE_BYTES_MAX).min(upload.body.len());
            match self.say(upload, peer, &at, from..through).await {
                Some(true) => return true,
                Some(false) => {}
                None => return false,
            }
        }
        false
    }

    /// Sends a piece; whether the file is whole there now. `None`: the peer does not take it.
    async fn say(
        &self,
        upload: &Upload,
        peer: PeerId,
        at: &Whereabouts,
        range: std::ops::Range<usize>,
    ) -> Option<bool> {
        let piece = v1::ContentPiece {
            sha256: upload.hash.to_bytes(),
            size: upload.body.len() as u64,
            offset: range.start as u64,
            data: upload.body.slice(range),
            path: upload.path.clone(),
        };
        let reply = self.ask(peer, at, rows_request::Kind::Keep(piece)).await;
        if reply.is_none() {
            tracing::info!(%peer, path = upload.path, "a peer does not keep a published file");
        }
        reply.map(|reply| reply.kept)
    }
}

/// Takes as many of the candidates as are missing, those first whose owners have none yet.
fn choose(candidates: &mut Vec<Candidate>, kept: &[Candidate]) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = Vec::new();
    while kept.len() + chosen.len() < HOLDERS_MAX && !candidates.is_empty() {
        let is_new =
            |candidate: &Candidate| !kept.iter().chain(&chosen).any(|other| other.owner == candidate.owner);
        let at = candidates.iter().position(is_new).unwrap_or(0);
        chosen.push(candidates.remove(at));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(peer: u32, owner: &str) -> Candidate {
        Candidate { peer: PeerId::new(peer).unwrap(), owner: owner.to_owned() }
    }

    #[test]
    fn owners_that_have_none_come_first_and_no_more_are_asked_than_are_missing() {
        let all = || vec![candidate(1, "ann"), candidate(2, "ann"), candidate(3, "bob"), candidate(4, "ann")];
        let ids = |chosen: Vec<Candidate>| chosen.iter().map(|c| c.peer.get()).collect::<Vec<_>>();
        let mut left = all();
        assert_eq!(ids(choose(&mut left, &[])), [1, 3, 2]);
        assert_eq!(ids(left), [4]);
        let mut left = all();
        assert_eq!(ids(choose(&mut left, &[candidate(9, "ann"), candidate(8, "eve")])), [3]);
        assert_eq!(choose(&mut Vec::new(), &[]), []);
    }
}

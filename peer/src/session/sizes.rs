//! How much this peer keeps in memory for others, against what it may. Every bound is held where the thing is kept.

use super::{
    audits::{AUDITS_MAX, REPORTS_MAX},
    outbox::Outbox,
    peer::Peer,
    rows::Reads,
};
use crate::io::Size;

/// Tells whoever wants to know.
pub fn tell(peer: &Peer, outbox: &Outbox, reads: &Reads) {
    let audits = (peer.audits.0.max_capacity() - peer.audits.0.capacity(), AUDITS_MAX);
    let reported = (peer.reported.len(), REPORTS_MAX);
    let single = [("audits", audits), ("audits_reported", reported), ("copies_kept", peer.giving.held())];
    let all = peer.driver.replica().held().into_iter();
    let all = all.chain(outbox.held()).chain(reads.held()).chain(single);
    let size =
        |(what, (now, limit)): (_, (usize, usize))| Size { what, now: now as u64, limit: limit as u64 };
    (peer.courier.io.sizes)(&all.map(size).collect::<Vec<_>>());
}

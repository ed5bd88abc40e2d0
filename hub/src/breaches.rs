//! Has it committed that a peer broke a rule, which suspends it; all hubs part from it then.

use loop_atomjump::Rule;
use loop_proto::{
    ids::PeerId,
    v1::{self, command},
};
use metrics::counter;

use crate::log::AgreedLog;

/// Proposes the note. Without a leader it is not noted; a peer that goes on so is, another time.
pub async fn note_breach(log: &AgreedLog, peer: PeerId, rule: Rule) {
    counter!("loop_peer_breaches_total").increment(1);
    let note = v1::NoteBreach { peer_id: peer.get(), rule: rule.number().into() };
    log.submit(command::Body::NoteBreach(note), |_| {}).await;
}

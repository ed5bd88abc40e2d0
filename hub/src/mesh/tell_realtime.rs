//! Tells one other hub which Socket.IO users are connected to this one: all of them first, then what changes.

use std::{sync::Arc, time::Duration};

use loop_proto::v1::{self, link_reply};
use loop_realtime::Realtime;
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tonic::Status;

/// Runs for as long as the link. `resync`: the other hub has missed something. Says nothing while there never was a user; from
/// then on at least every heartbeat, so that what was missed is noticed.
pub(super) async fn tell_realtime(
    realtime: Arc<Realtime>,
    heartbeat: Duration,
    resync: Arc<Notify>,
    tx: mpsc::Sender<Result<v1::LinkReply, Status>>,
) {
    let mut version = realtime.follow();
    let mut told: Option<u64> = None;
    loop {
        if *version.borrow_and_update() > 0 {
            let (news, told_now) = realtime.news(told);
            for part in news {
                let kind = Some(link_reply::Kind::RealtimeUsers(part));
                if tx.send(Ok(v1::LinkReply { kind })).await.is_err() {
                    return;
                }
            }
            told = Some(told_now);
        }
        tokio::select! {
            biased;
            () = resync.notified() => told = None,
            changed = version.changed() => if changed.is_err() { return },
            () = sleep(heartbeat), if told.is_some() => {}
        }
    }
}

//! Watching: a forum's list, and how it changes, for as long as this hub knows what is agreed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use loop_atomjump::{Call, Session, Shown, render_change};
use loop_hub_edge::gateway::{CallError, Change, ClientCall};
use loop_proto::ids::{ForumId, ForumKey};
use tokio::time::{Instant, sleep, timeout};

use super::{parts::Calls, watchers::Place};
use crate::windows::HubView;

/// How often a browser that nothing happens for makes sure that nothing does: its hub knows what is agreed, and the forum is
/// neither opened nor closed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Time for one look: the window may have to be loaded again.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// One browser that watches.
struct Watching {
    calls: Arc<Calls>,
    key: ForumKey,
    session_id: String,
    asked: Call,
    place: Place,
    /// Which forum it was, the last time it was looked at.
    forum: Option<ForumId>,
    /// What the browser has been shown; none yet.
    shown: Option<Shown>,
}

impl Calls {
    /// The list as it is now, at the latest at `deadline`, and from then on its changes. The stream ends when this hub cannot
    /// know what is agreed, or nobody has the rows: what goes on being shown would not be true. A browser that has been told all
    /// `through` the newest record is told nothing at first.
    pub async fn watch(
        self: Arc<Self>,
        call: ClientCall,
        through: Option<u64>,
        deadline: Instant,
    ) -> Result<BoxStream<'static, Change>, CallError> {
        let (Ok(asked), Some(key)) = (self.decoded(&call), call.forum) else {
            return Ok(stream::empty().boxed());
        };
        let place = self.watchers.enter(key);
        self.log.fresh(deadline).await?;
        let session_id = call.request.session_id;
        let mut watching = Watching { calls: self, key, session_id, asked, place, forum: None, shown: None };
        let first = watching.look(deadline).await?;
        let first = first.filter(|first| through != Some(first.through));
        let following = stream::unfold(watching, |mut watching| async {
            let change = watching.next().await?;
            Some((change, watching))
        });
        Ok(stream::iter(first).chain(following).boxed())
    }
}

impl Watching {
    /// Waits for the next change that this browser sees.
    async fn next(&mut self) -> Option<Change> {
        loop {
            if timeout(LOOK_EVERY, self.place.changed()).await.is_err() {
                self.calls.log.fresh(Instant::now() + LOOK_WITHIN).await.ok()?;
                if self.find().0 == self.forum {
                    continue;
                }
            }
            sleep(self.place.pace()).await;
            let change = self.look(Instant::now() + LOOK_WITHIN).await;
            if let Some(change) = change.ok()? {
                return Some(change);
            }
        }
    }

    /// What is new to the browser. What has happened before this call is in it, and may be in it what happens meanwhile.
    async fn look(&mut self, deadline: Instant) -> Result<Option<Change>, CallError> {
        self.place.looks();
        let calls = self.calls.clone();
        let (forum, through) = self.find();
        self.asked.set_place(forum, calls.log.now());
        let (asked, before) = (&self.asked, self.shown.as_ref());
        let render = |session: Session<'_>, view: &HubView<'_>| render_change(asked, session, view, before);
        let (shown, json) = calls.look(&self.session_id, forum, deadline, render).await?;
        if self.shown.is_none()
            && let Some(forum) = forum
        {
            calls.traffic.read(forum);
        }
        (self.forum, self.shown) = (forum, Some(shown));
        Ok(json.map(|json| Change { through, json: Bytes::from(json) }))
    }

    /// The forum, if somebody has opened it, and its newest record.
    fn find(&self) -> (Option<ForumId>, u64) {
        self.calls.log.read(|state| {
            let forum = state.forum_by_key(self.key);
            let newest = forum.and_then(|forum| state.forum(forum)).map_or(0, |forum| forum.newest_record);
            (forum, newest)
        })
    }
}

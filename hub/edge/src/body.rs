//! Reading a form without being filled up: by one client, by all together, or for ever.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a too long body that are read and thrown away so that the client gets to read why.
const DISCARD_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How long that may take. A client that sends slower finds its connection closed.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// A body, and its share of the memory all bodies have together.
pub struct Form {
    /// The bytes.
    pub bytes: Bytes,
    /// Given back with the form.
    _share: Option<OwnedSemaphorePermit>,
}

impl Form {
    /// No body.
    pub fn empty() -> Self {
        Self { bytes: Bytes::new(), _share: None }
    }
}

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// 413.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// 408.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// 503.
    #[error("too many bodies at once")]
    Crowded,
    /// 400; mostly nobody is there to read it.
    #[error("the body is malformed or ended early")]
    Broken,
}

/// Bounds of bodies.
pub struct Bodies {
    bytes_max: usize,
    within: Duration,
    shares: Arc<Semaphore>,
}

impl Bodies {
    /// One body is at most `bytes_max` long and takes at most `within`; all together are `bytes_total_max` long.
    pub fn new(bytes_max: usize, bytes_total_max: usize, within: Duration) -> Self {
        let total = bytes_total_max.clamp(bytes_max, Semaphore::MAX_PERMITS);
        Self { bytes_max, within, shares: Arc::new(Semaphore::new(total)) }
    }

    /// Reads a whole body. `may_refuse_early`: the client waits for `100 Continue` before it sends one.
    pub async fn read(&self, mut body: Incoming, may_refuse_early: bool) -> Result<Form, BodyError> {
        let announced = body.size_hint().lower();
        if announced > self.bytes_max as u64 {
            if !may_refuse_early {
                self.discard(body).await;
            }
            return Err(BodyError::TooLong(self.bytes_max));
        }
        match tokio::time::timeout(self.within, self.collect(&mut body)).await {
            Err(_) => Err(BodyError::TooSlow),
            Ok(Err(BodyError::TooLong(max))) => {
                self.discard(body).await;
                Err(BodyError::TooLong(max))
            }
            Ok(result) => result,
        }
    }

    async fn collect(&self, body: &mut Incoming) -> Result<Form, BodyError> {
        let mut bytes = BytesMut::new();
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            if bytes.len() + data.len() > self.bytes_max {
                return Err(BodyError::TooLong(self.bytes_max));
            }
            let wanted = u32::try_from(data.len()).map_err(|_| BodyError::TooLong(self.bytes_max))?;
            let more = self.shares.clone().try_acquire_many_owned(wanted).map_err(|_| BodyError::Crowded)?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Form { bytes: bytes.freeze(), _share: share })
    }

    /// Reads on without keeping anything, within bounds: a client that is still sending when the connection closes
    /// is told "reset" and never reads the answer.
    pub async fn discard(&self, mut body: Incoming) {
        let drain = async {
            let mut left = DISCARD_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                left = match left.checked_sub(length) {
                    Some(left) => left,
                    None => return,
                };
            }
        };
        // Whether it ended or was given up makes no difference: the answer is the same.
        let _ = tokio::time::timeout(DISCARD_TIME_MAX, drain).await;
    }
}

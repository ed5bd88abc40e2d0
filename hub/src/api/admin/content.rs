//! Published files: an operator's uploads, and what is made of them in the manifest.
//!
//! Bytes first: they are on peers' disks before anybody commits that they are served.

use std::time::Duration;

use bytes::BytesMut;
use loop_hub_edge::is_hubs_own;
use loop_proto::{
    content::{self, ContentHash, FILE_BYTES_MAX, FILES_PER_COMMAND_MAX, PIECE_BYTES_MAX},
    v1::{self, command, upload_content_request::Kind},
};
use loop_raft_store::machine::{HubState, PeerState};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{
    changes::{fresh, propose},
    context::AdminContext,
    page::page,
    refusal::Asked,
};
use crate::content::{Candidate, Upload, hash_of};

/// Files of one page.
const PAGE: u32 = 1000;
/// How long an upload may stand still.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A page of the manifest.
pub(super) async fn list(
    cx: &AdminContext,
    request: v1::ListContentRequest,
) -> Result<v1::ListContentReply, Status> {
    fresh(cx).await?;
    let limit = page(request.limit, PAGE).min(PAGE as usize);
    let mut files: Vec<v1::ContentInfo> = cx.log.read(|state| {
        let all = state.manifest().after(&request.after);
        let wanted = all.filter(|(path, _)| path.starts_with(&request.prefix));
        let connected = |peer| cx.mesh.presence.find(peer).is_some();
        wanted
            .take(limit + 1)
            .map(|(path, file)| v1::ContentInfo {
                entry: Some(file.to_wire(path)),
                holders_connected: file.holders.iter().filter(|peer| connected(**peer)).count() as u32,
            })
            .collect()
    });
    let more = files.len() > limit;
    files.truncate(limit);
    Ok(v1::ListContentReply { files, more })
}

/// Takes one file and hands it to peers.
pub(super) async fn upload(
    cx: &AdminContext,
    mut incoming: Streaming<v1::UploadContentRequest>,
) -> Result<v1::UploadContentReply, Status> {
    let Some(Kind::Head(head)) = next(&mut incoming).await? else {
        return Err(Status::invalid_argument("an upload begins with its head"));
    };
    check_path(&head.path)?;
    let hash = ContentHash::from_bytes(&head.sha256);
    let hash = hash.ok_or_else(|| Status::invalid_argument("a SHA-256 has 32 bytes"))?;
    if head.size > FILE_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "{} has {} bytes, and a published file has at most {FILE_BYTES_MAX}",
            head.path, head.size
        )));
    }
    let _place = cx.content.enter_upload().ok_or_else(|| {
        Status::resource_exhausted("this hub takes several uploads already: try again in a moment")
    })?;
    let size = head.size as usize;
    let mut body = BytesMut::with_capacity(size);
    while let Some(kind) = next(&mut incoming).await? {
        let Kind::Data(data) = kind else { return Err(Status::invalid_argument("a second head")) };
        if data.len() > PIECE_BYTES_MAX || body.len() + data.len() > size {
            return Err(Status::invalid_argument("more bytes than the head has announced"));
        }
        body.extend_from_slice(&data);
    }
    if body.len() != size || hash_of(&body) != hash {
        return Err(Status::invalid_argument(format!(
            "the bytes of {} are not those of the hash that was announced: was the file changed meanwhile? Publish again",
            head.path
        )));
    }
    let upload = Upload { path: head.path, hash, body: body.freeze() };
    let holders = cx.content.hand_out(&upload, cx.log.read(|state| candidates(cx, state))).await;
    if holders.is_empty() {
        return Err(Status::failed_precondition(format!(
            "no peer has taken {}, so nobody could serve it: see with `hubctl peers` who is connected, and have their \
             volunteers give room with --content-mib",
            upload.path
        )));
    }
    Ok(v1::UploadContentReply { holders: holders.into_iter().map(|peer| peer.get()).collect() })
}

/// Commits what was uploaded.
pub(super) async fn publish(
    cx: &AdminContext,
    request: v1::PublishContentRequest,
) -> Result<v1::PublishContentReply, Status> {
    let mut entries = request.entries;
    check_number(entries.len())?;
    for entry in &mut entries {
        check_path(&entry.path)?;
        entry.set_type(content::type_of(&entry.path));
    }
    let files = entries.len();
    let body = command::Body::PublishContent(v1::PublishContent { entries });
    propose(cx, cx.log.new_request(), body, Asked::Publish, None).await?;
    tracing::info!(files, "an operator has published files");
    Ok(v1::PublishContentReply {})
}

/// Takes paths out of the manifest: all of them, or none if one is not in it.
pub(super) async fn remove(
    cx: &AdminContext,
    request: v1::RemoveContentRequest,
) -> Result<v1::RemoveContentReply, Status> {
    check_number(request.paths.len())?;
    fresh(cx).await?;
    let unknown = |path: &&String| cx.log.read(|state| state.manifest().get(path).is_none());
    if let Some(path) = request.paths.iter().find(unknown) {
        return Err(Status::not_found(format!(
            "nothing is published at {path}, so nothing was removed; `hubctl static list` shows what is"
        )));
    }
    let files = request.paths.len();
    let body = command::Body::RemoveContent(v1::RemoveContent { paths: request.paths });
    propose(cx, cx.log.new_request(), body, Asked::Publish, None).await?;
    tracing::info!(files, "an operator has removed published files");
    Ok(v1::RemoveContentReply {})
}

/// Peers that may be asked: connected, and to hold something.
fn candidates(cx: &AdminContext, state: &HubState) -> Vec<Candidate> {
    let connected = |peer| cx.mesh.presence.find(peer).is_some() && state.suspended_ms(peer) == 0;
    let peers = state.peers().filter(|peer| peer.state == PeerState::Active && connected(peer.id));
    peers.map(|peer| Candidate { peer: peer.id, owner: peer.owner.clone() }).collect()
}

async fn next(incoming: &mut Streaming<v1::UploadContentRequest>) -> Result<Option<Kind>, Status> {
    let message = timeout(IDLE_MAX, incoming.message()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("the upload stands still"))??;
    message
        .map(|message| message.kind.ok_or_else(|| Status::invalid_argument("an empty message")))
        .transpose()
}

fn check_path(path: &str) -> Result<(), Status> {
    if !content::is_path(path) {
        return Err(Status::invalid_argument(format!(
            "{path:?} is no path to publish at: it begins with `/`, has at most {} bytes, and no part of it is empty, \
             begins with a dot or has a backslash",
            content::PATH_BYTES_MAX
        )));
    }
    if is_hubs_own(path) {
        return Err(Status::invalid_argument(format!(
            "{path} is answered by the hubs themselves, so a file there would never be seen: rename it, or publish \
             with --prefix"
        )));
    }
    Ok(())
}

fn check_number(files: usize) -> Result<(), Status> {
    if (1..=FILES_PER_COMMAND_MAX).contains(&files) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("between 1 and {FILES_PER_COMMAND_MAX} files at a time")))
}

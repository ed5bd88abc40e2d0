//! A peer whose cursor lies below what the hubs still have: it gets all users anew, and its forums again by
//! invitation.

use std::{io, sync::Arc};

use loop_proto::ids::ForumId;
use tokio_util::sync::CancellationToken;

use super::{
    download::{DIRECTORY, Failure},
    parts,
    peer::Peer,
    seeding,
};
use crate::backend::{BackendError, InstallError, Joining};

/// How an attempt ended.
#[derive(Debug)]
pub enum Attempt {
    /// The cursor is where the hubs' log goes on.
    Done,
    /// To be tried again, at another hub perhaps.
    Failed(String),
    /// The process cannot go on.
    Fatal(String),
}

/// Gets the directory and installs it. Everything fetched so far survives a failure; nothing else is changed by one.
pub async fn attempt(peer: &mut Peer, trimmed_through: u64, shutdown: &CancellationToken) -> Attempt {
    let part = peer.courier.folder.part(DIRECTORY);
    let header = match peer.courier.fetch(DIRECTORY, &Arc::default()).await {
        Ok(header) => header,
        Err(Failure::Broken { why, .. }) => return Attempt::Failed(why),
        Err(Failure::Damaged) => return Attempt::Failed("what came is not what was promised".into()),
        Err(Failure::Refused(reason)) => return Attempt::Failed(format!("{reason:?}")),
    };
    if header.cursor < trimmed_through {
        let _ = part.remove();
        return Attempt::Failed("the copy of the users is older than what the hubs still have".into());
    }
    if let Err(error) = peer.mark.set() {
        return Attempt::Fatal(format!("{}: {error}", peer.mark.path().display()));
    }
    let forums = match leave_everything(peer) {
        Ok(forums) => forums,
        Err(error) => return Attempt::Fatal(error.to_string()),
    };
    let cursor = header.cursor;
    let installed = seeding::install(&peer.courier, header, part.clone(), &Arc::default(), shutdown).await;
    let _ = peer.courier.io.blocking.run(move || part.remove()).await;
    match installed {
        None | Some(Err(InstallError::Cancelled)) => return Attempt::Failed("the process is ending".into()),
        Some(Err(InstallError::Refused { line, reason })) => {
            return Attempt::Failed(format!("the copy of the users was refused: line {line}: {reason}"));
        }
        Some(Err(InstallError::Backend(BackendError::Unavailable(why)))) => {
            return Attempt::Failed(why.to_owned());
        }
        Some(Err(InstallError::Backend(error))) => return Attempt::Fatal(error.to_string()),
        Some(Ok(())) => {}
    }
    if let Err(error) = peer.driver.start_over(&forums) {
        return Attempt::Fatal(error.to_string());
    }
    peer.has_answered = false;
    tracing::warn!(cursor, "started over: all users are here, the forums come again from other peers");
    Attempt::Done
}

/// Copies on their way miss what the cursor is about to jump over; the whole ones stay until they are replaced.
/// Returns those that stay.
fn leave_everything(peer: &Peer) -> Result<Vec<ForumId>, BackendError> {
    peer.seeding.stop_all();
    let joining = peer.backend.joining()?;
    let mut forums = peer.backend.forums_on_disk()?;
    for Joining { forum, .. } in joining {
        peer.backend.drop_forum(forum)?;
        forums.retain(|known| *known != forum);
    }
    forums.iter().for_each(|forum| peer.backend.forget_pending(*forum));
    Ok(forums)
}

/// What a process before this one left of copies on their way.
pub fn clean(peer: &Peer) -> io::Result<()> {
    let joining = peer.backend.joining().unwrap_or_default();
    let names = joining.iter().filter(|joining| joining.installed.is_none()).map(|joining| parts::CopyName {
        forum_id: joining.forum.get(),
        invitation_id: joining.invitation.get(),
    });
    let wanted: Vec<_> = names.chain([DIRECTORY]).collect();
    peer.courier.folder.clean(&wanted)
}

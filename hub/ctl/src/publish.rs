//! `hubctl static publish`: what differs between a folder and what is published, and making it equal.
//!
//! All bytes are on peers' disks before the first file is committed, so that a publish that breaks off before has changed nothing.
//! What is committed is 256 files at a time.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loop_admin::{Admin, AdminError};
use loop_proto::{
    content::{ContentHash, FILES_PER_COMMAND_MAX},
    v1,
};

use super::{
    folder::{self, Found},
    view::{Change, PublishedView},
};

/// Uploads at once; a hub takes no more.
const UPLOADS: usize = 3;

/// What is to be done.
pub struct Publish {
    /// The folder's files.
    pub found: Vec<Found>,
    /// What their paths begin with.
    pub prefix: String,
    /// Whether what is published below the prefix, and not in the folder, goes.
    pub prune: bool,
    /// Whether it is only said what would be done.
    pub dry_run: bool,
    /// Whether somebody watches.
    pub watched: bool,
}

/// A file with its hash.
struct Hashed {
    found: Found,
    hash: ContentHash,
}

impl Publish {
    /// Does it; what came of it.
    pub async fn run(self, admin: &Admin) -> Result<PublishedView, AdminError> {
        let bar = self.bar();
        let files = hash_all(self.found, &bar)?;
        let known = admin.content(&format!("{}/", self.prefix)).await?;
        let known: BTreeMap<String, v1::ContentInfo> = known.into_iter().filter_map(by_path).collect();
        let goes = |path: &&String| self.prune && !files.iter().any(|file| file.found.path == **path);
        let removed: Vec<String> = known.keys().filter(goes).cloned().collect();
        let (changed, unchanged): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| !is_there(known.get(&file.found.path), file.hash));
        let view = PublishedView {
            changed: changed.iter().map(|file| change(file, &known)).collect(),
            removed,
            unchanged: unchanged.len(),
            dry_run: self.dry_run,
        };
        if !self.dry_run {
            let entries = upload_all(admin, changed, &bar).await?;
            for some in entries.chunks(FILES_PER_COMMAND_MAX) {
                admin.publish_content(some.to_vec()).await?;
            }
            for some in view.removed.chunks(FILES_PER_COMMAND_MAX) {
                admin.remove_content(some.to_vec()).await?;
            }
        }
        bar.finish_and_clear();
        Ok(view)
    }

    fn bar(&self) -> ProgressBar {
        let target = if self.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}");
        let bar = ProgressBar::with_draw_target(Some(0), target);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }
}

fn hash_all(found: Vec<Found>, bar: &ProgressBar) -> Result<Vec<Hashed>, AdminError> {
    begin(bar, "hashing", found.iter().map(|found| found.size).sum());
    let hash = |found: Found| {
        let (hash, _) = folder::read(&found)?;
        bar.inc(found.size);
        Ok(Hashed { found, hash })
    };
    found.into_iter().map(hash).collect()
}

/// Has peers keep the bytes, those of each hash once.
async fn upload_all(
    admin: &Admin,
    files: Vec<Hashed>,
    bar: &ProgressBar,
) -> Result<Vec<v1::ContentEntry>, AdminError> {
    let mut distinct: BTreeMap<ContentHash, Vec<Hashed>> = BTreeMap::new();
    for file in files {
        distinct.entry(file.hash).or_default().push(file);
    }
    begin(
        bar,
        "uploading",
        distinct.values().filter_map(|same| same.first()).map(|file| file.found.size).sum(),
    );
    let upload = |(hash, same): (ContentHash, Vec<Hashed>)| async move {
        let Some(first) = same.first() else { return Ok(Vec::new()) };
        let (now, body) = folder::read(&first.found)?;
        if now != hash {
            let file = first.found.file.display();
            return Err(AdminError::Usage(format!(
                "{file} was changed while it was published: publish again"
            )));
        }
        let holders = admin.upload_content(&first.found.path, hash, body).await?;
        bar.inc(first.found.size);
        Ok(same.into_iter().map(|file| entry(file, &holders)).collect())
    };
    let uploads = stream::iter(distinct).map(upload).buffer_unordered(UPLOADS);
    let entries: Vec<Vec<v1::ContentEntry>> = uploads.try_collect().await?;
    Ok(entries.into_iter().flatten().collect())
}

fn begin(bar: &ProgressBar, what: &'static str, bytes: u64) {
    bar.reset();
    bar.set_message(what);
    bar.set_length(bytes);
}

fn entry(file: Hashed, holders: &[u32]) -> v1::ContentEntry {
    let sha256 = file.hash.to_bytes();
    let (path, size) = (file.found.path, file.found.size);
    // The hub says what type it is.
    v1::ContentEntry { path, sha256, size, r#type: 0, holders: holders.to_vec() }
}

fn by_path(info: v1::ContentInfo) -> Option<(String, v1::ContentInfo)> {
    Some((info.entry.as_ref()?.path.clone(), info))
}

/// Whether just these bytes are published there and somebody who has them is connected. Else they are sent anew.
fn is_there(known: Option<&v1::ContentInfo>, hash: ContentHash) -> bool {
    let same = |entry: &v1::ContentEntry| entry.sha256 == hash.0[..];
    known.is_some_and(|info| info.holders_connected > 0 && info.entry.as_ref().is_some_and(same))
}

fn change(file: &Hashed, known: &BTreeMap<String, v1::ContentInfo>) -> Change {
    Change {
        path: file.found.path.clone(),
        sha256: file.hash.to_string(),
        bytes: file.found.size,
        new: !known.contains_key(&file.found.path),
    }
}

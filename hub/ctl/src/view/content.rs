//! Published files: the list, and what publishing or removing has changed.

use loop_proto::{content, v1};
use serde::Serialize;

use super::{super::table::Table, View, size};

/// What `hubctl static list` shows.
#[derive(Debug, Serialize)]
pub struct ContentView {
    files: Vec<FileView>,
}

#[derive(Debug, Serialize)]
struct FileView {
    path: String,
    sha256: String,
    bytes: u64,
    content_type: &'static str,
    /// Peers that took it when it was published, and how many of them are connected.
    peers: Vec<u32>,
    peers_connected: u32,
}

impl From<Vec<v1::ContentInfo>> for ContentView {
    fn from(files: Vec<v1::ContentInfo>) -> Self {
        let view = |info: v1::ContentInfo| {
            let entry = info.entry.unwrap_or_default();
            let content_type = content::media_type(entry.r#type());
            FileView {
                sha256: entry.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
                path: entry.path,
                bytes: entry.size,
                content_type,
                peers: entry.holders,
                peers_connected: info.holders_connected,
            }
        };
        Self { files: files.into_iter().map(view).collect() }
    }
}

impl View for ContentView {
    fn text(&self, _now_ms: u64) -> String {
        if self.files.is_empty() {
            return "nothing is published; `hubctl static publish DIR` publishes a folder\n".to_owned();
        }
        let mut table = Table::new(&["PATH", "SIZE", "TYPE", "SHA-256", "PEERS", "CONNECTED"]);
        for file in &self.files {
            table.row(vec![
                file.path.clone(),
                size(file.bytes),
                file.content_type.split(';').next().unwrap_or_default().to_owned(),
                file.sha256.chars().take(12).collect(),
                super::peers(&file.peers),
                file.peers_connected.to_string(),
            ]);
        }
        let gone = self.files.iter().filter(|file| file.peers_connected == 0).count();
        let remark = match gone {
            0 => String::new(),
            1 => "1 file is on no connected peer: publish its folder again, which puts it on others\n"
                .to_owned(),
            gone => format!(
                "{gone} files are on no connected peer: publish their folder again, which puts them on others\n"
            ),
        };
        table.render() + &remark
    }
}

/// What `hubctl static publish` has changed, or would change.
#[derive(Debug, Serialize)]
pub struct PublishedView {
    /// Files that are new, or others than before.
    pub changed: Vec<Change>,
    /// Paths that are no longer published.
    pub removed: Vec<String>,
    /// Files that are as they were.
    pub unchanged: usize,
    /// Whether nothing of it was done.
    pub dry_run: bool,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct Change {
    /// Its path.
    pub path: String,
    /// Its hash.
    pub sha256: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// Whether nothing was published there before.
    pub new: bool,
}

impl View for PublishedView {
    fn text(&self, _now_ms: u64) -> String {
        let mut text = String::new();
        for change in &self.changed {
            let sign = if change.new { '+' } else { '~' };
            text += &format!("{sign} {} ({})\n", change.path, size(change.bytes));
        }
        for path in &self.removed {
            text += &format!("- {path}\n");
        }
        let done = if self.dry_run { "would be " } else { "" };
        let (changed, removed, unchanged) = (self.changed.len(), self.removed.len(), self.unchanged);
        text + &format!("{changed} {done}published, {removed} {done}removed, {unchanged} unchanged\n")
    }
}

/// What `hubctl static remove` has removed.
#[derive(Debug, Serialize)]
pub struct RemovedView {
    /// Paths that are no longer published.
    pub removed: Vec<String>,
}

impl View for RemovedView {
    fn text(&self, _now_ms: u64) -> String {
        format!("{} removed\n", self.removed.len())
    }
}

//! `loop-peer export` and `import`: a forum of a data folder to a file and back, while no peer uses the folder.
//!
//! Owns what is printed and where files go. Never knows what is in one.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loop_peer::backend::{
    Backend, BackendError, InstallError, Progress, Scope,
    embedded::{EmbeddedBackend, EmbeddedConfig},
};
use loop_proto::ids::{ForumId, ForumKey};

/// Writes a forum to a file; what is printed.
pub fn export(dir: &Path, forum: &str, out: Option<PathBuf>, json: bool) -> anyhow::Result<String> {
    ensure!(
        dir.join("loop.sqlite3").exists(),
        "{} is not a peer's data folder; name it with --data-dir",
        dir.display()
    );
    let backend = open(dir)?;
    let forum = find(&backend, forum)?;
    let out = out.unwrap_or_else(|| format!("forum-{forum}.sql").into());
    // Never a half-written file under the name that was asked for, and never another one's end.
    ensure!(!out.exists(), "{} exists; move it away, or name another file with --out", out.display());
    let mut part = OsString::from(&out);
    part.push(".part");
    let part = PathBuf::from(part);
    let bar = bar(0, "exporting");
    let written = backend.export(Scope::Forum(forum), 0, &part, &|progress| tell(&bar, progress));
    bar.finish_and_clear();
    let header = written?;
    File::open(&part).and_then(|file| file.sync_all()).with_context(|| part.display().to_string())?;
    fs::rename(&part, &out).with_context(|| format!("cannot name it {}", out.display()))?;
    backend.close();
    let digest = hex(&header.digest);
    if json {
        let result = serde_json::json!({
            "forum": forum.get(),
            "file": out.display().to_string(),
            "bytes": header.bytes,
            "sha256": hex(&header.sha256),
            "cursor": header.cursor,
            "messages": header.messages,
            "digest": digest,
        });
        return Ok(format!("{result:#}\n"));
    }
    Ok(format!(
        "forum     {forum}\nfile      {} ({} bytes)\nrecord    {}\nmessages  {}\ndigest    {digest}\n\
         The file has users' emails and password hashes in it: keep it to yourself.\n",
        out.display(),
        header.bytes,
        header.cursor,
        header.messages,
    ))
}

/// Makes a forum's rows of a file; what is printed.
pub fn import(dir: &Path, file: &Path, json: bool) -> anyhow::Result<String> {
    let bytes = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    let backend = open(dir)?;
    let bar = bar(bytes, "importing");
    let imported = backend.import(file, &|progress| tell(&bar, progress), &|| false);
    bar.finish_and_clear();
    let imported = match imported {
        Ok(imported) => imported,
        Err(InstallError::Refused { line, reason }) => {
            let place = if line == 0 { String::new() } else { format!(", line {line}") };
            bail!("{}{place}: {reason}. Nothing was changed", file.display());
        }
        Err(error) => bail!("{error}. Nothing was changed"),
    };
    backend.close();
    let (forum, messages, digest) = (imported.forum, imported.digest.messages, hex(&imported.digest.sha256));
    if json {
        let result = serde_json::json!({
            "forum": forum.get(),
            "messages": messages,
            "users": imported.users,
            "digest": digest,
        });
        return Ok(format!("{result:#}\n"));
    }
    Ok(format!("forum     {forum}\nmessages  {messages}\nusers     {}\ndigest    {digest}\n", imported.users))
}

fn open(dir: &Path) -> anyhow::Result<EmbeddedBackend> {
    EmbeddedBackend::open(EmbeddedConfig::new(dir)).map_err(|error| match error {
        BackendError::Fatal(why) if why.contains("another process") => {
            anyhow::anyhow!("{why}; stop the peer, then run this again")
        }
        other => other.into(),
    })
}

/// The forum of an id (`178`, `f178`), or of a name.
fn find(backend: &EmbeddedBackend, forum: &str) -> anyhow::Result<ForumId> {
    let here = backend.forums_on_disk()?;
    let id = forum.strip_prefix('f').unwrap_or(forum).parse().ok().and_then(ForumId::new);
    if let Some(id) = id.filter(|id| here.contains(id)) {
        return Ok(id);
    }
    let named = backend.forum_of_key(&ForumKey::of_name(forum.as_bytes()).to_hex())?;
    named.filter(|id| here.contains(id)).with_context(|| {
        let some: Vec<String> = here.iter().take(20).map(ToString::to_string).collect();
        let more = if here.len() > some.len() { ", …" } else { "" };
        match some.is_empty() {
            true => "there is no forum in this data folder".to_owned(),
            false => format!("no forum of this id or name here; there are {}{more}", some.join(", ")),
        }
    })
}

/// A bar for who watches; nothing where nobody does.
fn bar(bytes: u64, what: &'static str) -> ProgressBar {
    let bar = if bytes > 0 { ProgressBar::new(bytes) } else { ProgressBar::no_length() };
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = match bytes {
        0 => "{msg} {spinner} {bytes} {bytes_per_sec}",
        _ => "{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.with_message(what)
}

fn tell(bar: &ProgressBar, progress: Progress) {
    bar.set_position(progress.bytes_done);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

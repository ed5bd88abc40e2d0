//! Stories told in a real browser: runs a script of `browser/` with node and passes its words on.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

/// How long one story may take.
const STORY_WITHIN: Duration = Duration::from_secs(120);

/// Runs `browser/<story>.mjs` against these hubs (`http://host:port`) and this forum.
pub async fn tell(story: &str, hubs: &[String], forum: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    ensure!(
        folder.join("node_modules/playwright-core").is_dir(),
        "the browser driver is missing: run scripts/install-tools.sh"
    );
    let child = Command::new("node")
        .arg(folder.join(format!("{story}.mjs")))
        .env("LOOP_HUBS", hubs.join(","))
        .env("LOOP_FORUM", forum)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node does not start: run scripts/install-tools.sh")?;
    let output = tokio::time::timeout(STORY_WITHIN, child.wait_with_output());
    let output = output.await.with_context(|| format!("{story} was not told within {STORY_WITHIN:?}"))??;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{said}");
    if !output.status.success() {
        bail!("{story}: {}\n{said}{errors}", output.status);
    }
    Ok(())
}

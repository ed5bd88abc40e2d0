//! One child process: its command line, its log file, its signals.
//!
//! A process whose owner is dropped is killed: nothing that was started outlives its launcher's orderly end.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, Command};

use super::{LocalError, files::failed};

/// Above this size a log is set aside when its process is started again. One older log is kept.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// How much of a log an error shows, bytes and lines.
const TAIL_BYTES_MAX: u64 = 8 << 10;
const TAIL_LINES_MAX: usize = 20;

/// What a process can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: finish and leave.
    Terminate,
    /// SIGINT: the same from a keyboard.
    Interrupt,
    /// SIGKILL: gone at once.
    Kill,
    /// SIGSTOP: stands still, connections open.
    Pause,
    /// SIGCONT: goes on.
    Resume,
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Terminate => Self::TERM,
            Signal::Interrupt => Self::INT,
            Signal::Kill => Self::KILL,
            Signal::Pause => Self::STOP,
            Signal::Resume => Self::CONT,
        }
    }
}

/// How a process that was asked to stop came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was not running.
    WasNotRunning,
    /// It ended by itself within the time.
    Gracefully(ExitStatus),
    /// It did not, and was killed.
    Killed,
}

/// One process of the system, running or not.
pub(super) struct Process {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    log: PathBuf,
    /// Where in its log this run begins.
    log_from: u64,
    child: Option<Child>,
}

impl Process {
    pub fn new(
        name: String,
        program: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
        log: PathBuf,
    ) -> Self {
        Self { name, program, args, env, log, log_from: 0, child: None }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// `None` while it is not running.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts it, unless it runs already.
    pub fn start(&mut self) -> Result<(), LocalError> {
        if self.child.is_some() && self.exited().is_none() {
            return Ok(());
        }
        let log = self.open_log()?;
        self.log_from = log.metadata().map_or(0, |log| log.len());
        let errors = log.try_clone().map_err(failed("write", &self.log))?;
        let child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C at a terminal goes to the whole group; the launcher decides the order in which its children stop.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let failed =
            |source| LocalError::Spawn { name: self.name.clone(), program: self.program.clone(), source };
        self.child = Some(child.map_err(failed)?);
        Ok(())
    }

    fn open_log(&self) -> Result<File, LocalError> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&self.log, self.log.with_extension("log.1"))
                .map_err(failed("set aside", &self.log))?;
        }
        OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed("open", &self.log))
    }

    /// How it ended, if it was started and has ended. Told once.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }

    pub fn signal(&self, signal: Signal) -> Result<(), LocalError> {
        let pid = self.pid().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.ok_or_else(|| LocalError::NotRunning(self.name.clone()))?;
        rustix::process::kill_process(pid, signal.into())
            .map_err(|error| LocalError::Signal { name: self.name.clone(), source: error.into() })
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<(), LocalError> {
        let Some(mut child) = self.child.take() else {
            return Err(LocalError::NotRunning(self.name.clone()));
        };
        child.kill().await.map_err(|source| LocalError::Signal { name: self.name.clone(), source })
    }

    /// SIGTERM, and SIGKILL if it is still there after `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Stopped {
        if self.exited().is_some() || self.signal(Signal::Terminate).is_err() {
            return Stopped::WasNotRunning;
        }
        self.gone(grace).await
    }

    /// After SIGTERM, which must come once only: a second one means "at once". Kills what is there after `grace`.
    pub async fn gone(&mut self, grace: Duration) -> Stopped {
        let Some(mut child) = self.child.take() else { return Stopped::WasNotRunning };
        match tokio::time::timeout(grace, child.wait()).await {
            Ok(Ok(status)) => Stopped::Gracefully(status),
            // Dropping the handle also kills; waiting here means the ports are free when this returns.
            Ok(Err(_)) | Err(_) => {
                let _gone_already = child.kill().await;
                Stopped::Killed
            }
        }
    }

    /// The last lines of its log, for an error message.
    pub fn log_tail(&self) -> String {
        let lines = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(TAIL_LINES_MAX);
            lines[from..].iter().map(|line| format!("  {line}\n")).collect()
        };
        tail(&self.log, 0).map_or_else(|error| format!("(cannot be read: {error})"), lines)
    }

    /// What it said last in this run: its own word of farewell, if it had one, without its name.
    pub fn last_words(&self) -> Option<String> {
        let text = tail(&self.log, self.log_from).ok()?;
        let program = self.program.file_name()?.to_string_lossy().into_owned() + ": ";
        let farewell = text.lines().rev().find_map(|line| line.strip_prefix(&program));
        let last = farewell.or_else(|| text.lines().rev().find(|line| !line.trim().is_empty()))?;
        Some(last.trim().to_owned())
    }
}

/// The end of a file, not going back beyond `from`.
fn tail(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES_MAX).max(from);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Process {
        let args = vec!["-c".into(), script.into()];
        let env = vec![("GREETING".into(), "hello".into())];
        Process::new("child".into(), "/bin/sh".into(), args, env, folder.join("child.log"))
    }

    async fn until_log_has(process: &Process, text: &str) {
        let seen = async {
            while !process.log_tail().contains(text) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.expect(text);
    }

    #[tokio::test]
    async fn a_child_that_listens_stops_by_itself_and_its_words_are_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 0' TERM; echo $GREETING; while :; do sleep 0.01; done";
        let mut child = shell(folder.path(), script);
        child.start().unwrap();
        until_log_has(&child, "hello").await;
        assert!(matches!(child.stop(Duration::from_secs(10)).await, Stopped::Gracefully(s) if s.success()));
        until_log_has(&child, "bye").await;
        assert_eq!(child.pid(), None);
        assert_eq!(child.stop(Duration::ZERO).await, Stopped::WasNotRunning);
    }

    #[tokio::test]
    async fn a_child_that_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell(folder.path(), "trap '' TERM; echo deaf; while :; do sleep 0.01; done");
        child.start().unwrap();
        until_log_has(&child, "deaf").await;
        assert_eq!(child.stop(Duration::from_millis(50)).await, Stopped::Killed);
    }

    #[tokio::test]
    async fn an_end_is_noticed_and_it_can_be_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell(folder.path(), "exit 7");
        for _ in 0..2 {
            child.start().unwrap();
            let status = loop {
                match child.exited() {
                    Some(status) => break status,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            assert_eq!(status.code(), Some(7));
        }
        assert!(matches!(child.signal(Signal::Kill), Err(LocalError::NotRunning(_))));
    }

    #[tokio::test]
    async fn its_last_words_are_those_of_this_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell(folder.path(), "echo 'sh: no more'; echo; exit 7");
        fs::write(child.log(), "sh: words of an earlier run\n").unwrap();
        assert_eq!(child.last_words().as_deref(), Some("words of an earlier run"));
        child.start().unwrap();
        until_log_has(&child, "no more").await;
        assert_eq!(child.last_words().as_deref(), Some("no more"));
        let mut child = shell(folder.path(), "sleep 60");
        child.start().unwrap();
        assert_eq!(child.last_words(), None);
    }

    #[tokio::test]
    async fn a_log_that_grew_too_long_is_set_aside_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell(folder.path(), "echo new");
        File::create(child.log()).unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
        child.start().unwrap();
        until_log_has(&child, "new").await;
        assert!(fs::metadata(child.log()).unwrap().len() < 100);
        assert!(folder.path().join("child.log.1").exists());
    }
}

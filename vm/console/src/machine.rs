//! This machine: where things are on the image, what is seen of them, and what is done to them. Owns all that touches the
//! outside but the terminal.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use loop_peer::identity::Identity;
use serde::Deserialize;

use super::{
    frame::Seen,
    join::Join,
    proc, seed,
    seed::Seed,
    settings,
    stage::{Stage, Unit, judge},
};

/// The peer's unit.
const UNIT: &str = "loop-peer.service";
/// The argument of the kernel that has a join string.
const ARGUMENT: &str = "loop-peer.join";
/// Where the host of a virtual machine may leave one.
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/loop-peer/join/raw";
/// Volumes that may have one, and the files that are looked for there, the first one first.
const VOLUMES: [(&str, &str, &[&str]); 3] = [
    ("the seed volume", "/dev/disk/by-label/cidata", &["loop-peer.txt", "user-data"]),
    ("the seed volume", "/dev/disk/by-label/CIDATA", &["loop-peer.txt", "user-data"]),
    ("the boot partition", "/dev/disk/by-partlabel/esp", &["loop-peer.txt"]),
];
/// Lines of the peer's log that are looked at.
const WORDS_MAX: &str = "20";

/// Where everything is.
pub struct Machine {
    data: PathBuf,
    settings: PathBuf,
    runtime: PathBuf,
    peer: PathBuf,
    version: String,
}

/// What `loop-peer status --json` says.
#[derive(Deserialize, Default)]
struct Status {
    cursor: Option<u64>,
    forums: Option<u64>,
}

impl Machine {
    /// As vm/root lays it out.
    pub fn of_image() -> Self {
        Self {
            data: "/var/lib/loop-peer".into(),
            settings: "/var/lib/loop-console".into(),
            runtime: "/run/loop-console".into(),
            peer: "/usr/bin/loop-peer".into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// At each start: takes what was left for this machine unless it has joined, and sees what the peer may have.
    pub fn seed(&self) -> anyhow::Result<()> {
        self.write_limits()?;
        if self.identity().is_some_and(|identity| identity.peer_id.is_some()) {
            return Ok(());
        }
        for (from, left) in self.left() {
            match left.map_err(|wrong| wrong.to_string()).and_then(|seed| self.keep(&seed)) {
                Ok(()) => {
                    eprintln!("loop-console: a join string was found: {from}");
                    return Ok(());
                }
                Err(wrong) => self.say(&format!(
                    "The join string that was left for this machine ({from}) is no use: {wrong}"
                )),
            }
        }
        Ok(())
    }

    /// What was left for this machine, in the order in which it counts.
    fn left(&self) -> Vec<(String, Result<Seed, seed::NotASeed>)> {
        let mut left = Vec::new();
        if let Some(join) = proc::argument(&read("/proc/cmdline"), ARGUMENT) {
            let join =
                join.parse::<Join>().map(Seed::from).map_err(|wrong| seed::NotASeed::Join { line: 1, wrong });
            left.push(("the kernel's command line".to_owned(), join));
        }
        let mut look = |from: &str, path: &Path| {
            if let Ok(bytes) = read_bytes(path)
                && let Some(seed) = seed::parse(&bytes).transpose()
            {
                left.push((from.to_owned(), seed));
            }
        };
        look("the host's setting opt/loop-peer/join", Path::new(FW_CFG));
        let mount = self.runtime.join("volume");
        for (name, device, files) in VOLUMES {
            if !Path::new(device).exists() || fs::create_dir_all(&mount).is_err() {
                continue;
            }
            if run("mount", &["-o", "ro,nosuid,nodev,noexec", device, &mount.to_string_lossy()]).is_none() {
                continue;
            }
            if let Some(file) = files.iter().find(|file| mount.join(file).is_file()) {
                look(&format!("{file} on {name}"), &mount.join(file));
            }
            run("umount", &[&mount.to_string_lossy()]);
        }
        left
    }

    /// Four fifths of the disk and half of the memory, unless the volunteer said otherwise.
    fn write_limits(&self) -> anyhow::Result<()> {
        let mut text = String::new();
        let said = read(settings::path(&self.settings));
        let is_said = |key: &str| said.lines().any(|line| line.split('=').next().map(str::trim) == Some(key));
        if let Some((_, all)) = disk(&self.settings).filter(|_| !is_said("max-disk")) {
            text.push_str(&format!("LOOP_PEER_MAX_DISK={}\n", all / 5 * 4));
        }
        if let Some(all) = proc::memory(&read("/proc/meminfo")).filter(|_| !is_said("max-memory")) {
            text.push_str(&format!("LOOP_PEER_MAX_MEMORY={}\n", all / 2));
        }
        let path = self.runtime.join("limits.env");
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    fn keep(&self, seed: &Seed) -> Result<(), String> {
        settings::write(&self.settings, seed, &machine_name()).map_err(|error| error.to_string())?;
        self.write_limits().map_err(|error| format!("{error:#}"))
    }

    /// Takes a join string from the screen, and starts the peer with it.
    pub fn join(&self, join: Join) -> Result<(), String> {
        self.keep(&join.into())?;
        self.unsay();
        run("systemctl", &["reset-failed", UNIT]);
        run("systemctl", &["--no-block", "restart", UNIT]);
        Ok(())
    }

    /// Forgets the join string, so that another one is asked for, and why.
    pub fn start_over(&self, why: &str) -> Result<(), String> {
        run("systemctl", &["stop", UNIT]);
        settings::remove(&self.settings).map_err(|error| error.to_string())?;
        self.say(why);
        Ok(())
    }

    /// What every screen of this machine shows above the question.
    pub fn said(&self) -> Option<String> {
        let said = read(self.runtime.join("said"));
        (!said.is_empty()).then_some(said)
    }

    fn say(&self, text: &str) {
        eprintln!("loop-console: {text}");
        // The screen then says less; nothing else follows from it.
        let _ = fs::write(self.runtime.join("said"), text);
    }

    fn unsay(&self) {
        let _ = fs::remove_file(self.runtime.join("said"));
    }

    /// How far it has come, and all else that a screen tells.
    pub fn look(&self) -> (Stage, Seen) {
        let identity = self.identity();
        let peer = identity.and_then(|identity| identity.peer_id).map(|id| id.get());
        let has_settings = settings::path(&self.settings).exists();
        let (unit, words) =
            if has_settings { peer_unit(peer.is_some()) } else { (Unit::default(), Vec::new()) };
        let stage = judge(has_settings, peer.is_some(), unit, &words);
        let status = if matches!(stage, Stage::Member { .. }) { self.status() } else { Status::default() };
        let user = owner(&self.data);
        let mut hubs: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .into_iter()
            .flat_map(|table| user.map(|user| proc::connected(&read(table), user)).unwrap_or_default())
            .collect();
        hubs.sort_unstable();
        hubs.dedup();
        let seen = Seen {
            version: self.version.clone(),
            has_network: proc::has_route(&read("/proc/net/route"))
                || proc::has_route6(&read("/proc/net/ipv6_route")),
            peer,
            forums: status.forums,
            cursor: status.cursor,
            hubs,
            disk: disk(&self.settings),
            traffic: proc::traffic(&read("/proc/net/dev")),
            uptime_s: proc::uptime(&read("/proc/uptime")),
        };
        (stage, seen)
    }

    fn identity(&self) -> Option<Identity> {
        Identity::load(&self.data).ok().flatten()
    }

    fn status(&self) -> Status {
        let (peer, data) = (self.peer.to_string_lossy(), self.data.to_string_lossy());
        let said = run(&peer, &["--data-dir", &data, "status", "--json"]);
        said.and_then(|said| serde_json::from_str(&said).ok()).unwrap_or_default()
    }
}

/// The unit, and what the peer has said in its latest run; of a member that runs nothing is asked for.
fn peer_unit(has_joined: bool) -> (Unit, Vec<String>) {
    let properties = ["ActiveState", "SubState", "Result", "InvocationID"].join(",");
    let shown = run("systemctl", &["show", "--property", &properties, UNIT]).unwrap_or_default();
    let value = |name: &str| {
        shown
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .to_owned()
    };
    let unit = Unit {
        is_running: value("SubState") == "running",
        has_failed: value("ActiveState") == "failed" || value("SubState") == "auto-restart",
    };
    if has_joined && unit.is_running {
        return (unit, Vec::new());
    }
    let run_id = format!("_SYSTEMD_INVOCATION_ID={}", value("InvocationID"));
    let words =
        run("journalctl", &["--quiet", "--output=cat", "--lines", WORDS_MAX, &run_id]).unwrap_or_default();
    (unit, words.lines().map(ToOwned::to_owned).collect())
}

/// What a program prints; `None` if it fails.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The text of a small file; empty if it cannot be read.
fn read(path: impl AsRef<Path>) -> String {
    read_bytes(path.as_ref()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(seed::BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes used and in all, of the file system a path is on.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let all = stat.f_blocks.saturating_mul(stat.f_frsize);
    Some((all.saturating_sub(stat.f_bfree.saturating_mul(stat.f_frsize)), all))
}

fn owner(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| metadata.uid())
}

/// For the operator's list of peers, if the volunteer gave none: some name that others do not have.
fn machine_name() -> String {
    let mut bytes = [0; 3];
    let read = File::open("/dev/urandom").and_then(|mut chance| chance.read_exact(&mut bytes));
    match read {
        Ok(()) => format!("vm-{:02x}{:02x}{:02x}", bytes[0], bytes[1], bytes[2]),
        Err(_) => "vm".to_owned(),
    }
}

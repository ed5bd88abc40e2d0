//! Why a process of the system is not running, in plain words, and what to do next. Pure but for one look at a folder.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
};

use loop_proto::hub_folder::{LOG_FOLDER, TAKEN_OUT};

use super::files;

/// What a hub says when it ends because of its data; when that is damaged; and when it was made with another engine.
const DATA_UNUSABLE: &str = "cannot open the data in";
const DAMAGED: &str = "aside if you want to know why";
const OTHER_ENGINE: &str = "configure that engine";

/// A process that is not running, or not as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRunning {
    /// `hub-2`, `peer-3`.
    pub name: String,
    /// The number of a hub.
    pub hub: Option<u64>,
    /// What stands against it.
    pub trouble: Trouble,
}

/// What stands against a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// An operator took this hub out of its group.
    TakenOut,
    /// This hub had data and has none any more.
    DataGone(PathBuf),
    /// This hub cannot use its data; its own words.
    DataUnusable(String),
    /// This hub is replaced now, or was to be; what came of it.
    Replaced(String),
    /// It cannot be started now: a port, say.
    CannotStart(String),
    /// It has ended.
    Ended {
        /// How.
        status: ExitStatus,
        /// Its last words.
        said: Option<String>,
        /// Its log.
        log: PathBuf,
    },
    /// It runs and is not ready.
    NotReady {
        /// What it says of itself.
        last: String,
        /// Its log.
        log: PathBuf,
    },
    /// An operator has removed this peer.
    PeerRemoved,
}

impl Trouble {
    /// Whether starting it once more can help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::TakenOut | Self::DataGone(_) | Self::Replaced(_) | Self::PeerRemoved => false,
            Self::DataUnusable(said) => !self.is_lost() && !said.contains(OTHER_ENGINE),
            Self::CannotStart(_) | Self::Ended { .. } | Self::NotReady { .. } => true,
        }
    }

    /// Whether this hub's data will never be there again.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::DataGone(_) => true,
            Self::DataUnusable(said) => said.contains(DAMAGED),
            _ => false,
        }
    }

    /// Whether the process itself runs all the same.
    pub fn runs(&self) -> bool {
        matches!(self, Self::NotReady { .. } | Self::PeerRemoved)
    }
}

/// Why a hub must not be started on what is in its folder; `None`: it may. `begun`: it has had data.
pub(super) fn of_folder(folder: &Path, begun: bool) -> Option<Trouble> {
    let log = folder.join(LOG_FOLDER);
    if log.join(TAKEN_OUT).exists() {
        return Some(Trouble::TakenOut);
    }
    (begun && !files::has_content(&log)).then(|| Trouble::DataGone(folder.to_path_buf()))
}

/// Why a process has ended. A hub may have been told something that it has written down.
pub(super) fn of_end(folder: &Path, status: ExitStatus, said: Option<String>, log: &Path) -> Trouble {
    if folder.join(LOG_FOLDER).join(TAKEN_OUT).exists() {
        return Trouble::TakenOut;
    }
    match said {
        Some(said) if said.starts_with(DATA_UNUSABLE) => Trouble::DataUnusable(said),
        // One that was killed had no time for words.
        said => {
            Trouble::Ended { status, said: said.filter(|_| status.code().is_some()), log: log.to_path_buf() }
        }
    }
}

/// What can take the place of a hub that cannot come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayBack<'a> {
    /// A new hub, by this command.
    Replace(&'a str),
    /// A new hub, once most of the group run.
    NotYet,
    /// Nothing: it, or most of the group, is lost.
    None,
}

impl NotRunning {
    /// Plain words, a line or a few.
    pub fn words(&self, way_back: WayBack<'_>) -> String {
        let name = &self.name;
        let way_back = match way_back {
            WayBack::Replace(command) => format!(
                "\n  The others have all it had. To put a new hub in its place, stop this (Ctrl-C) and run\n    {command}"
            ),
            WayBack::NotYet => {
                "\n  A new hub can take its place (--replace-hub) once most of the others run".to_owned()
            }
            WayBack::None => String::new(),
        };
        match &self.trouble {
            Trouble::TakenOut => {
                format!(
                    "{name} is not running: it was taken out of its group, and that is for ever.{way_back}"
                )
            }
            Trouble::DataGone(folder) => format!(
                "{name} was not started: its data is gone from {}. With an empty folder it must not come back under its \
                 number, because the others believe it still has what it helped to commit.{way_back}",
                folder.display()
            ),
            Trouble::DataUnusable(said) if self.trouble.may_pass() => {
                format!("{name} is not running: it {said}")
            }
            Trouble::DataUnusable(said) => format!("{name} is not running: it {said}.{way_back}"),
            Trouble::Replaced(what) => format!("{name} is not running: {what}"),
            Trouble::CannotStart(why) => format!("{name} is not running: {why}"),
            Trouble::Ended { status, said, log } => {
                let said = said.as_ref().map_or_else(String::new, |said| format!(": {said}"));
                format!("{name} ended ({status}){said}; its log is {}", log.display())
            }
            Trouble::NotReady { last, log } => {
                format!("{name} runs and is not ready ({last}); its log is {}", log.display())
            }
            Trouble::PeerRemoved => format!(
                "{name} runs and is refused: an operator has removed it; `hubctl peer resume {name}` takes it back"
            ),
        }
    }
}

/// How many hubs must run so that anything is served, of so many in the group.
pub(super) fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// What it means that fewer run. `lost`: so many of them can never run again.
pub(super) fn unserved(running: usize, lost: usize, members: usize) -> String {
    let needed = majority(members);
    let alone = members == 1;
    let (who, lack) = match alone {
        true => ("the only hub".to_owned(), String::new()),
        false => (
            format!("of the {members} hubs of this group {running}"),
            format!(", and {needed} are needed to agree on anything"),
        ),
    };
    let can = if alone { "cannot run" } else { "can run" };
    if members - lost.min(members) >= needed {
        return format!(
            "NOTHING IS SERVED: {who} {can}{lack}. What was acknowledged is kept; it is there again when they run"
        );
    }
    let lost = match alone {
        true => "the only hub has lost its data".to_owned(),
        false => {
            format!("{lost} of its {members} hubs have lost their data, and {needed} with data are needed")
        }
    };
    format!(
        "NOTHING IS SERVED, and this group cannot serve again: {lost}. The forums are still in the peers' folders: with \
         all stopped, `loop-peer export` writes them to files, and `loop-peer import` reads them in another --data-dir"
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::process::ExitStatusExt};

    use super::*;
    use loop_hub::run::HubError;

    fn hub(trouble: Trouble) -> NotRunning {
        NotRunning { name: "hub-2".into(), hub: Some(2), trouble }
    }

    #[test]
    fn a_hubs_folder_tells_whether_it_may_start() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of_folder(folder.path(), false), None, "a new one");
        assert_eq!(of_folder(folder.path(), true), Some(Trouble::DataGone(folder.path().to_path_buf())));
        let log = folder.path().join(LOG_FOLDER);
        fs::create_dir(&log).unwrap();
        assert!(of_folder(folder.path(), true).is_some(), "an empty log is none");
        fs::write(log.join("entries"), "x").unwrap();
        assert_eq!(of_folder(folder.path(), true), None);
        fs::write(log.join(TAKEN_OUT), "x").unwrap();
        assert_eq!(of_folder(folder.path(), true), Some(Trouble::TakenOut));
        let end = of_end(folder.path(), ExitStatus::from_raw(0), None, Path::new("x.log"));
        assert_eq!(end, Trouble::TakenOut);
    }

    #[test]
    fn what_a_hub_says_of_its_data_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let said = |error: &str| {
            let error = HubError::Data { dir: "/data/hub-2".into(), error: std::io::Error::other(error) };
            of_end(folder.path(), ExitStatus::from_raw(256), Some(error.to_string()), Path::new("x.log"))
        };
        let corruption = loop_raft_store::log_store::Corruption {
            dir: "/data/hub-2/log".into(),
            index: Some(7),
            place: "sled/db".into(),
            what: "a checksum is wrong".into(),
        };
        let damaged = said(&corruption.to_string());
        assert!(!damaged.may_pass() && damaged.is_lost());
        let words = hub(damaged).words(WayBack::Replace("loop-local --replace-hub 2"));
        assert!(words.contains("is corrupt") && words.contains("--replace-hub 2"), "{words}");
        let in_use = loop_raft_store::log_store::LogError::InUse { dir: "/data/hub-2/log".into() };
        let in_use = said(&in_use.to_string());
        assert!(in_use.may_pass() && !in_use.is_lost());
        let other =
            loop_raft_store::log_store::LogError::OtherEngine { dir: "/data".into(), found: "segment" };
        let other = said(&other.to_string());
        assert!(!other.may_pass() && !other.is_lost(), "a flag is wrong, nothing is lost");
        assert!(!hub(in_use).words(WayBack::NotYet).contains("--replace-hub"));
    }

    #[test]
    fn every_trouble_says_what_to_do_or_what_is_done() {
        let log = PathBuf::from("/data/logs/hub-2.log");
        for (trouble, part) in [
            (Trouble::TakenOut, "for ever"),
            (Trouble::DataGone("/data/hub-2".into()), "must not come back under its number"),
            (Trouble::CannotStart("port 1 is in use".into()), "not running: port 1 is in use"),
            (
                Trouble::Ended {
                    status: ExitStatus::from_raw(256),
                    said: Some("cannot listen".into()),
                    log: log.clone(),
                },
                "cannot listen; its log is /data/logs/hub-2.log",
            ),
            (Trouble::NotReady { last: "no leader".into(), log }, "not ready (no leader)"),
            (Trouble::PeerRemoved, "peer resume hub-2"),
        ] {
            let words = hub(trouble).words(WayBack::Replace("loop-local --replace-hub 2"));
            assert!(words.contains(part), "{words}");
        }
        assert!(!hub(Trouble::TakenOut).words(WayBack::NotYet).contains("Ctrl-C"));
        assert_eq!((majority(1), majority(2), majority(3), majority(5)), (1, 2, 2, 3));
        assert!(unserved(1, 1, 3).contains("of the 3 hubs of this group 1 can run, and 2 are needed"));
        assert!(unserved(1, 2, 3).contains("cannot serve again: 2 of its 3 hubs have lost their data"));
        assert!(unserved(0, 1, 1).contains("the only hub has lost its data. The forums"));
        assert!(unserved(0, 0, 1).contains("the only hub cannot run. What"));
    }
}

//! The mark beside the log of a hub that was taken out of its group, so that no restart brings it back.

use std::io;

use loop_proto::hub_folder::TAKEN_OUT;
use loop_raft_store::log_store::disk::Dir;

/// Notes beside a hub's log that it was taken out of its group, so that no restart brings it back.
pub fn note_taken_out(log_dir: &dyn Dir) {
    let note = || {
        let file = log_dir.create(TAKEN_OUT)?;
        file.write_at(b"Out of its group: this log is of no more use.\n", 0)?;
        file.sync_all()?;
        log_dir.sync()
    };
    if let Err(error) = note() {
        tracing::warn!(%error, "cannot note that this hub is out of its group: do not start it again");
    }
}

/// An error if the hub with this log was taken out of its group before.
pub fn check_is_not_out(log_dir: &dyn Dir) -> io::Result<()> {
    match log_dir.list()?.iter().any(|name| name == TAKEN_OUT) {
        true => Err(io::Error::other(
            "this hub was taken out of its group and cannot come back: start a new one with an empty --data-dir, a \
             --node-id no hub has had, and --join",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use loop_raft_store::log_store::disk::RealDir;

    use super::*;

    #[test]
    fn a_hub_that_was_taken_out_does_not_start_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = RealDir::open(folder.path()).unwrap();
        assert!(check_is_not_out(&log).is_ok());
        note_taken_out(&log);
        assert!(check_is_not_out(&log).unwrap_err().to_string().contains("cannot come back"));
        assert!(folder.path().join(TAKEN_OUT).exists(), "whoever starts hubs looks for it");
    }
}

//! What has changed lately in a gateway's own users, by version, so that other hubs are told differences. Bounded: who is
//! further behind is told everything.

use std::collections::{BTreeSet, VecDeque};

use super::name::UserName;

/// Changes that are remembered.
pub const KEPT_MAX: usize = 4096;

/// The newest changes.
#[derive(Debug, Default)]
pub struct Changes {
    /// How many there were in all: the version.
    version: u64,
    /// Whom the newest of them concern, oldest first.
    kept: VecDeque<UserName>,
}

impl Changes {
    /// How many changes there were.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A user's connections are others now.
    pub fn note(&mut self, name: &UserName) {
        self.version += 1;
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(name.clone());
    }

    /// Whom the changes after a version concern, each once; `None`: that is not known any more, or there was no such version.
    pub fn since(&self, version: u64) -> Option<BTreeSet<&UserName>> {
        let missed = usize::try_from(self.version.checked_sub(version)?).ok()?;
        let known = self.kept.len().checked_sub(missed)?;
        Some(self.kept.range(known..).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_ago_is_not_known_any_more() {
        let name = |n: usize| UserName::new(&format!("u{n}")).unwrap();
        let mut changes = Changes::default();
        assert_eq!(changes.since(0).unwrap().len(), 0);
        (0..KEPT_MAX + 1).for_each(|n| changes.note(&name(n % 10)));
        assert_eq!(changes.since(0), None);
        assert_eq!(changes.since(1).unwrap().len(), 10);
        assert_eq!(
            changes.since(KEPT_MAX as u64).unwrap().into_iter().collect::<Vec<_>>(),
            [&name(KEPT_MAX % 10)]
        );
        assert_eq!(changes.since(KEPT_MAX as u64 + 1).unwrap().len(), 0);
        assert_eq!(changes.since(KEPT_MAX as u64 + 2), None, "a version that never was");
    }
}

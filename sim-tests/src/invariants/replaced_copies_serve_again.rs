//! Where fewer copies serve than wanted and a replaced one is still there, whole, it is taken back: nothing has to be copied
//! for it.

use std::{collections::BTreeMap, time::Duration};

use super::Invariant;

/// How long it may take beyond what hubs need to know of it: plans are made every second, and a new leader looks on for two.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(8);

/// The rule.
#[derive(Default)]
pub struct ReplacedCopiesServeAgain;

impl Invariant for ReplacedCopiesServeAgain {
    fn name(&self) -> &'static str {
        "replaced copies serve again"
    }

    fn on_idle(&mut self, idle_for: &BTreeMap<u32, Duration>) -> Result<(), String> {
        match idle_for.iter().find(|(_, idle)| **idle > TAKEN_BACK_WITHIN) {
            Some((forum, idle)) => Err(format!(
                "forum {forum} has had fewer live copies than wanted for {idle:?} since hubs must know of it, and a replaced \
                 one that is whole was not taken back"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_copy_does_not_lie_idle_for_long() {
        let ask = |secs| ReplacedCopiesServeAgain.on_idle(&BTreeMap::from([(1, Duration::from_secs(secs))]));
        assert_eq!(ask(8), Ok(()));
        assert!(ask(9).is_err());
    }
}

//! No copy is begun for evenness, or to try a new peer, of a forum that has fewer live copies than wanted.

use super::{Invariant, Levelled};

/// The rule.
#[derive(Default)]
pub struct EvennessComesLast;

impl Invariant for EvennessComesLast {
    fn name(&self) -> &'static str {
        "evenness comes last"
    }

    fn on_levelled(&mut self, levelled: &Levelled) -> Result<(), String> {
        let Levelled { forum, live, wanted, known } = levelled;
        match *known && live < wanted {
            true => Err(format!(
                "forum {forum} is moved for evenness and has {live} live copies of {wanted} wanted"
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_to_lack_a_copy_is_not_moved() {
        let ask = |live, known| EvennessComesLast.on_levelled(&Levelled { forum: 1, live, wanted: 2, known });
        assert_eq!(ask(2, true), Ok(()));
        assert_eq!(ask(1, false), Ok(()));
        assert!(ask(1, true).is_err());
    }
}

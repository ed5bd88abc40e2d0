//! Copies are made because peers come and go, not of each other: where nothing else happens, what is moved between peers
//! stays below a bound that grows with how often somebody came or went.

use super::{Invariant, Moved};

/// Copies of each forum that may be made whatever happens: one opened while a single peer was there gets two more, and a
/// fourth while somebody is only tried.
const COPIES_MIN: f64 = 3.0;
/// Copies of each forum that one coming or going may cause.
const COPIES_EACH: f64 = 0.5;
/// What a copy has besides the messages, and what it has of each message besides its text, bytes.
const HEAD_BYTES: u64 = 4 << 10;
const ROW_BYTES: u64 = 300;

/// The rule.
#[derive(Default)]
pub struct MovesAreBounded;

impl Invariant for MovesAreBounded {
    fn name(&self) -> &'static str {
        "moves are bounded"
    }

    fn on_moved(&mut self, moved: &Moved) -> Result<(), String> {
        let Moved { bytes, forums, messages, text_bytes, changes } = *moved;
        let whole = (text_bytes + messages * ROW_BYTES + forums * HEAD_BYTES) as f64;
        let copies = bytes as f64 / whole.max(1.0);
        let most = COPIES_EACH.mul_add(changes as f64, COPIES_MIN);
        match copies > most {
            true => Err(format!(
                "{bytes} bytes were moved, {copies:.1} times all {forums} forums, which are {whole} bytes, while \
                 peers came or went {changes} times; at most {most:.1} times is all right"
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_may_move_the_more_often_peers_come_and_go() {
        let ask = |copies, changes| {
            let (messages, text_bytes) = (100, 10_000);
            let bytes = copies * (text_bytes + messages * ROW_BYTES + HEAD_BYTES);
            MovesAreBounded.on_moved(&Moved { bytes, forums: 1, messages, text_bytes, changes })
        };
        assert_eq!(ask(3, 0), Ok(()));
        assert!(ask(4, 0).is_err());
        assert_eq!(ask(4, 2), Ok(()));
        assert!(ask(5, 2).is_err());
    }
}

//! No copy that is complete, on a peer that is connected, is taken away while fewer others than wanted serve, connected,
//! complete and confirmed: whoever asks for it, and why ever.

use super::{Ended, Invariant};

/// The rule.
#[derive(Default)]
pub struct NoLiveCopyIsTaken;

impl Invariant for NoLiveCopyIsTaken {
    fn name(&self) -> &'static str {
        "no live copy is taken"
    }

    fn on_ended(&mut self, ended: &Ended) -> Result<(), String> {
        let Ended { record, forum, peer, live, wanted, others } = ended;
        let safe = others.iter().filter(|other| other.connected && other.complete && other.confirmed).count();
        match *live && safe < *wanted {
            true => Err(format!(
                "record {record} takes forum {forum} from peer {peer}, which is connected and has all of it, and {safe} \
                 of {wanted} wanted others do: {others:?}"
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::Other;

    #[test]
    fn a_live_copy_may_go_only_while_as_many_others_as_wanted_are_safe() {
        let other = |connected, complete, confirmed| Other { peer: 2, connected, complete, confirmed };
        let ask = |live, others: &[Other]| {
            let (wanted, others) = (2, others.to_vec());
            NoLiveCopyIsTaken.on_ended(&Ended { record: 9, forum: 1, peer: 1, live, wanted, others })
        };
        let safe = other(true, true, true);
        assert_eq!(ask(true, &[safe, safe]), Ok(()));
        assert!(ask(true, &[safe]).is_err());
        for unsafe_one in [other(false, true, true), other(true, false, true), other(true, true, false)] {
            assert!(ask(true, &[safe, unsafe_one]).is_err(), "{unsafe_one:?}");
            assert_eq!(ask(false, &[safe, unsafe_one]), Ok(()), "it was no live copy");
        }
    }
}

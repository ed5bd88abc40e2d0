//! No copy that is complete, on a peer that is connected, is taken away while fewer others than wanted serve, connected,
//! complete, confirmed, and on peers that have stayed: whoever asks for it, and why ever.

use super::{Ended, Invariant, Other};

/// The rule.
#[derive(Default)]
pub struct NoLiveCopyIsTaken;

impl Invariant for NoLiveCopyIsTaken {
    fn name(&self) -> &'static str {
        "no live copy is taken"
    }

    fn on_ended(&mut self, ended: &Ended) -> Result<(), String> {
        let Ended { record, forum, peer, live, wanted, others } = ended;
        let is_safe = |other: &&Other| other.connected && other.complete && other.confirmed && other.proven;
        let safe = others.iter().filter(is_safe).count();
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

    #[test]
    fn a_live_copy_may_go_only_while_as_many_others_as_wanted_are_safe() {
        let safe = Other { peer: 2, connected: true, complete: true, confirmed: true, proven: true };
        let ask = |live, others: &[Other]| {
            let (wanted, others) = (2, others.to_vec());
            NoLiveCopyIsTaken.on_ended(&Ended { record: 9, forum: 1, peer: 1, live, wanted, others })
        };
        assert_eq!(ask(true, &[safe, safe]), Ok(()));
        assert!(ask(true, &[safe]).is_err());
        for unsafe_one in [
            Other { connected: false, ..safe },
            Other { complete: false, ..safe },
            Other { confirmed: false, ..safe },
            Other { proven: false, ..safe },
        ] {
            assert!(ask(true, &[safe, unsafe_one]).is_err(), "{unsafe_one:?}");
            assert_eq!(ask(false, &[safe, unsafe_one]), Ok(()), "it was no live copy");
        }
    }
}

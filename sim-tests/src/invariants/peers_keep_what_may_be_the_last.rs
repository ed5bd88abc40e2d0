//! A peer that a forum is taken from lets its rows go only if the log, as far as the peer has come in it, shows somebody else
//! whose copy was compared.

use super::{Dropped, Invariant};

/// The rule.
#[derive(Default)]
pub struct PeersKeepWhatMayBeTheLast;

impl Invariant for PeersKeepWhatMayBeTheLast {
    fn name(&self) -> &'static str {
        "peers keep what may be the last"
    }

    fn on_dropped(&mut self, dropped: &Dropped) -> Result<(), String> {
        let Dropped { forum, peer, messages, confirmed_others } = dropped;
        match *messages > 0 && *confirmed_others == 0 {
            true => Err(format!(
                "peer {peer} has let go of forum {forum} with {messages} messages, and no other copy has been compared"
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_go_only_while_another_copy_counts() {
        let ask = |messages, confirmed_others| {
            let dropped = Dropped { forum: 1, peer: 2, messages, confirmed_others };
            PeersKeepWhatMayBeTheLast.on_dropped(&dropped)
        };
        assert_eq!(ask(5, 1), Ok(()));
        assert_eq!(ask(0, 0), Ok(()));
        assert!(ask(5, 0).is_err());
    }
}

//! What a hub or a peer keeps for others stays within the bound it declares, whatever happens around it.

use super::{Held, Invariant};

/// The rule.
#[derive(Default)]
pub struct MemoryIsBounded;

impl Invariant for MemoryIsBounded {
    fn name(&self) -> &'static str {
        "memory is bounded"
    }

    fn on_held(&mut self, held: Held<'_>) -> Result<(), String> {
        let Held { who, what, now, limit } = held;
        match now <= limit {
            true => Ok(()),
            false => Err(format!("{who} keeps {now} {what}, more than {limit}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_keeps_more_than_it_may_is_seen() {
        let held = |now| Held { who: "hub-1", what: "relays", now, limit: 64 };
        assert_eq!(MemoryIsBounded.on_held(held(64)), Ok(()));
        assert!(MemoryIsBounded.on_held(held(65)).is_err());
    }
}

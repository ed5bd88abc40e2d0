//! While a forum with one live copy left waits for another, and somebody could take it, no copy of a forum is begun that
//! has more.

use std::time::Duration;

use super::{Begun, Invariant};

/// The rule.
#[derive(Default)]
pub struct LastCopiesComeFirst;

impl Invariant for LastCopiesComeFirst {
    fn name(&self) -> &'static str {
        "last copies come first"
    }

    fn on_begun(&mut self, begun: &Begun) -> Result<(), String> {
        let Begun { record, forum, live, waiting } = begun;
        match waiting.iter().max_by_key(|(_, waited)| *waited) {
            Some((other, waited)) if *live > 1 && *waited > Duration::ZERO => Err(format!(
                "record {record} asks for another copy of forum {forum}, which has {live} live ones, while forum {other} \
                 has had a single one for {waited:?} since hubs must know of it"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_single_copy_itself_may_go_first() {
        let ask = |live, waiting: &[(u32, Duration)]| {
            LastCopiesComeFirst.on_begun(&Begun { record: 9, forum: 1, live, waiting: waiting.to_vec() })
        };
        let waits = [(7, Duration::from_secs(1))];
        assert_eq!(ask(2, &[]), Ok(()));
        assert_eq!(ask(1, &waits), Ok(()));
        assert_eq!(ask(2, &[(7, Duration::ZERO)]), Ok(()), "nobody can know yet");
        assert!(ask(2, &waits).is_err());
    }
}

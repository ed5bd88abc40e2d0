//! What is printed while the story is told, and what came of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::forums::Served;

/// Above the table.
pub const HEADING: &str = "   time guests   forums with 3/2/1/0 copies   reads writes  not served  slowest read     moved  the hubs say";

/// Forums whose troubles are printed.
const TROUBLES_SHOWN: usize = 10;

/// One line of the table: copies are whole ones on permanent peers.
#[derive(Clone, Debug)]
pub struct Row {
    /// Since the first guest came.
    pub at: Duration,
    /// Here now.
    pub guests: usize,
    /// Forums with three copies, two, one, none.
    pub copies: [usize; 4],
    /// Answered so far.
    pub reads: usize,
    /// Acknowledged so far.
    pub writes: usize,
    /// Forums that were not served at some time.
    pub unserved: usize,
    /// So far.
    pub slowest_read: Duration,
    /// Bytes of copies between peers so far; `None`: not all hubs answered.
    pub moved: Option<u64>,
    /// About copies.
    pub hubs_say: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [three, two, one, none] = self.copies;
        let moved = self.moved.map_or_else(|| "?".to_owned(), kilobytes);
        write!(
            f,
            "{:>5} s {:>6} {:>28} {:>7} {:>6} {:>11} {:>10} ms {moved:>9}  {}",
            self.at.as_secs(),
            self.guests,
            format!("{three}/{two}/{one}/{none}"),
            self.reads,
            self.writes,
            self.unserved,
            self.slowest_read.as_millis(),
            self.hubs_say
        )
    }
}

/// A forum that no permanent peer had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub forum: u32,
    /// When that was first seen.
    pub at: Duration,
    /// At how many looks.
    pub looks: usize,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// In the story.
    pub forums: usize,
    /// Who came.
    pub guests: usize,
    /// From the first guest to the end.
    pub took: Duration,
    /// How often it was looked.
    pub looks: usize,
    /// Forums that always had three copies, whose fewest were two, one, none.
    pub fewest: [usize; 4],
    /// Forums without a copy at the last look.
    pub gone_now: usize,
    /// Forums that were without a copy.
    pub lost: Vec<Lost>,
    /// What people met with.
    pub served: Served,
    /// Bytes of copies between peers.
    pub moved: u64,
    /// Invitations by cause and end.
    pub invitations: BTreeMap<String, usize>,
}

impl Verdict {
    /// Whether every forum was there and served all the time.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.served.troubles.is_empty() && self.looks > 0 && self.served.reads > 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [three, two, one, none] = self.fewest;
        let served = &self.served;
        writeln!(
            f,
            "{} forums, {} guests, {} s, looked {} times",
            self.forums,
            self.guests,
            self.took.as_secs(),
            self.looks
        )?;
        writeln!(
            f,
            "fewest whole copies on permanent peers: three {three}, two {two}, one {one}, none {none} forums; \
             {} without any at the end",
            self.gone_now
        )?;
        for lost in &self.lost {
            writeln!(
                f,
                "  f{} had none from {} s on, at {} looks",
                lost.forum,
                lost.at.as_secs(),
                lost.looks
            )?;
        }
        writeln!(
            f,
            "{} reads answered ({} when asked again, slowest {} ms), {} messages acknowledged, {} forums not served",
            served.reads,
            served.again,
            served.slowest_read.as_millis(),
            served.writes,
            served.unserved.len()
        )?;
        let mut by_forum: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        for (forum, trouble) in &served.troubles {
            by_forum.entry(*forum).or_default().push(trouble);
        }
        for (forum, troubles) in by_forum.iter().take(TROUBLES_SHOWN) {
            writeln!(f, "  f{forum}, {} times, at first: {}", troubles.len(), troubles[0])?;
        }
        writeln!(f, "copies moved between peers: {}", kilobytes(self.moved))?;
        for (what, count) in &self.invitations {
            writeln!(f, "  {count} invitations: {what}")?;
        }
        write!(f, "{}", if self.is_good() { "all well" } else { "FAILED" })
    }
}

fn kilobytes(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        Verdict {
            forums: 13,
            guests: 5,
            took: Duration::from_secs(450),
            looks: 450,
            fewest: [13, 0, 0, 0],
            gone_now: 0,
            lost: Vec::new(),
            served: Served { reads: 1, ..Served::default() },
            moved: 12_345,
            invitations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_lost_forum_an_unserved_one_and_nothing_looked_at_are_failures() {
        assert!(verdict().is_good() && verdict().to_string().ends_with("all well"));
        let lost = Lost { forum: 7, at: Duration::from_secs(80), looks: 3 };
        let lost = Verdict { lost: vec![lost], ..verdict() };
        assert!(!lost.is_good() && lost.to_string().contains("f7 had none from 80 s on, at 3 looks"));
        let served = Served { troubles: vec![(8, "nothing".into())], ..verdict().served };
        let unserved = Verdict { served, ..verdict() };
        assert!(!unserved.is_good() && unserved.to_string().ends_with("FAILED"));
        assert!(!Verdict { looks: 0, ..verdict() }.is_good());
        assert!(verdict().to_string().contains("13 kB"));
    }
}

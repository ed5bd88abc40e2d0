//! What is printed: a table as it fills, JSON lines, and ratios with their spread over the rounds.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::{Value, json};

use super::figures::{Summary, millis};

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// `sled`, `segment`, `etcd`, or `given` for hubs that ran already.
    pub system: String,
    /// What was asked of it.
    pub workload: String,
    /// Which round, from 1.
    pub round: usize,
    /// What it came to.
    pub summary: Summary,
    /// Processor seconds a second while measuring: servers (hubs or etcd), peers, this driver.
    pub cores: [f64; 3],
    /// The machine's load average at the end.
    pub load_average: f64,
}

/// The table's head.
pub fn head() -> String {
    format!(
        "{:<8} {:<26} {:>9} {:>8} {:>8} {:>8} {:>8}  {:<17} {:>5} {:>6}\n{:<8} {:<26} {:>9} {:>8} {:>8} {:>8} {:>8}  {:<17}",
        "system",
        "workload",
        "rate /s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "cores: srv/peer/",
        "load",
        "failed",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "  driver"
    )
}

impl Row {
    /// One line, and another one with the reason if something failed.
    pub fn line(&self) -> String {
        let Summary { rate, p50, p90, p99, max, failures, ref first_failure, .. } = self.summary;
        let [servers, peers, driver] = self.cores;
        let ms = |latency: Duration| format!("{:.2}", millis(latency));
        let mut line = format!(
            "{:<8} {:<26} {rate:>9.0} {:>8} {:>8} {:>8} {:>8}  {:<17} {:>5.1} {failures:>6}",
            self.system,
            self.workload,
            ms(p50),
            ms(p90),
            ms(p99),
            ms(max),
            format!("{servers:.2}/{peers:.2}/{driver:.2}"),
            self.load_average,
        );
        if let Some(reason) = first_failure {
            let _ = write!(line, "\n         first failure: {reason}"); // writing to a String cannot fail
        }
        line
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let mut json = self.summary.json();
        json["system"] = json!(self.system);
        json["workload"] = json!(self.workload);
        json["round"] = json!(self.round);
        json["cores"] = json!({ "servers": self.cores[0], "peers": self.cores[1], "driver": self.cores[2] });
        json["load_average"] = json!(self.load_average);
        json
    }
}

/// `value` of `over` divided by that of `under` for one workload, round by round.
pub fn ratios(
    rows: &[Row],
    workload: &str,
    (over, under): (&str, &str),
    value: impl Fn(&Row) -> f64,
) -> Option<Spread> {
    let values = |system: &str| -> BTreeMap<usize, f64> {
        let of = rows.iter().filter(|row| row.system == system && row.workload == workload);
        of.map(|row| (row.round, value(row))).collect()
    };
    let (over, under) = (values(over), values(under));
    let each = over.iter().filter_map(|(round, over)| Some(over / under.get(round).filter(|v| **v > 0.0)?));
    Spread::of(each.filter(|ratio| ratio.is_finite()).collect())
}

/// Several rounds' values of one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// `None` for no values.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: values[values.len() / 2], min, max })
    }

    /// `2.41 (2.20–2.60)`.
    pub fn text(&self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.min, self.max)
    }
}

/// Every workload's rate and latencies over the rounds.
pub fn medians(rows: &[Row]) -> String {
    let mut text = String::from("\nmedian (smallest–largest) over the rounds\n");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let this = (row.system.as_str(), row.workload.as_str());
        if seen.contains(&this) {
            continue;
        }
        seen.push(this);
        let of = |value: fn(&Summary) -> f64| {
            let same = rows.iter().filter(|other| (other.system.as_str(), other.workload.as_str()) == this);
            Spread::of(same.map(|row| value(&row.summary)).collect())
                .map(|spread| spread.text())
                .unwrap_or_default()
        };
        let rate = of(|summary| summary.rate / 1000.0);
        let (p50, p99) = (of(|summary| millis(summary.p50)), of(|summary| millis(summary.p99)));
        let _ = writeln!(
            text,
            "{:<8} {:<26} {rate:>22} k/s   p50 {p50:>22} ms   p99 {p99:>24} ms",
            this.0, this.1
        );
    }
    text
}

/// The same, then how our log engines compare with etcd and with each other.
pub fn summary(rows: &[Row]) -> String {
    let mut text = medians(rows);
    text.push_str("\nratios round by round: of rates; of requests per processor second of the servers\n");
    for pair in [("sled", "etcd"), ("segment", "etcd"), ("segment", "sled")] {
        for in_flight in [1, 64, 512] {
            let workload = format!("proposals, {in_flight} in flight");
            let rate = ratios(rows, &workload, pair, |row| row.summary.rate);
            // What others do on the machine takes from the rate; from this it takes little.
            let thrift = ratios(rows, &workload, pair, |row| row.summary.rate / row.cores[0]);
            if let (Some(rate), Some(thrift)) = (rate, thrift) {
                let (over, under) = pair;
                let (rate, thrift) = (rate.text(), thrift.text());
                let _ = writeln!(text, "{workload:<26} {over:>8} : {under:<6} {rate:>20} {thrift:>24}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Figures;

    fn row(system: &str, round: usize, answered: u64) -> Row {
        let mut figures = Figures::default();
        (0..answered).for_each(|_| figures.took(Duration::from_millis(1)));
        Row {
            system: system.into(),
            workload: "proposals, 64 in flight".into(),
            round,
            summary: figures.summary(Duration::from_secs(1)),
            cores: [1.0, 0.0, 0.5],
            load_average: 1.0,
        }
    }

    #[test]
    fn ratios_pair_the_rounds() {
        let rows = [
            row("sled", 1, 40),
            row("etcd", 1, 20),
            row("sled", 2, 90),
            row("etcd", 2, 30),
            row("sled", 3, 1),
        ];
        let spread =
            ratios(&rows, "proposals, 64 in flight", ("sled", "etcd"), |row| row.summary.rate).unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 2.0, max: 3.0 });
        assert_eq!(ratios(&rows, "another", ("sled", "etcd"), |_| 1.0), None);
        assert!(summary(&rows).contains("3.00 (2.00–3.00)"));
        assert!(rows[0].line().contains("1.00/0.00/0.50") && rows[0].json()["round"] == 1);
    }
}

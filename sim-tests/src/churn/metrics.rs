//! What hubs count about themselves, read where Prometheus reads it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{client::client, system::System};

const WITHIN: Duration = Duration::from_secs(5);

/// The sum of a metric's series on one hub (`http://host:port`); 0 where it has none yet.
pub async fn metric(hub: &str, name: &str) -> Result<f64> {
    let text = client(WITHIN).get(format!("{hub}/metrics")).send().await?.text().await?;
    sum(&text, name).with_context(|| format!("{name} of {hub}"))
}

/// Bytes of copies that peers have given since the hubs started. Each copy counts once: at the hub of the peer that
/// gives it.
pub async fn moved_bytes(system: &System) -> Result<u64> {
    let mut bytes = 0.0;
    for hub in system.hubs() {
        bytes += metric(&hub, "loop_relayed_bytes_total").await?;
    }
    Ok(bytes as u64)
}

fn sum(text: &str, name: &str) -> Result<f64> {
    let mut sum = 0.0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else { continue };
        if rest.starts_with(['{', ' ']) {
            let value = rest.rsplit_once(' ').context("a line without a value")?.1;
            sum += value.parse::<f64>().with_context(|| line.to_owned())?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_added_and_longer_names_are_others() {
        let text = "# HELP a_total of b\na_total{of=\"b c\"} 5\na_total{of=\"d\"} 7\na_total_more 100\nx 1\n";
        assert_eq!(sum(text, "a_total").unwrap(), 12.0);
        assert_eq!(sum(text, "absent").unwrap(), 0.0);
        assert!(sum("a_total\u{20}z\n", "a_total").is_err());
    }
}

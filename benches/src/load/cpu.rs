//! What the processes spend: processor time from /proc, so that figures taken on a busy machine can be compared.

use std::fs;

/// Ticks of a second in /proc/PID/stat; Linux promises user space 100 on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds these processes have used so far; one that is gone counts nothing.
pub fn seconds(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).sum::<f64>()
        / TICKS_PER_SECOND
}

/// User and system time: the 14th and 15th field. The 2nd may contain blanks, but ends with the last bracket.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The machine's load average over the last minute; how busy others keep it.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_looks_like_fields_is_read_right() {
        let stat = "7 (a) 9 (b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_some_time() {
        let before = seconds(&[std::process::id()]);
        let mut sum = 0u64;
        while seconds(&[std::process::id()]) <= before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}

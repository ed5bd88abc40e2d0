//! Unix seconds as AtomJump's dates, and the few spans of time its clients may name. UTC only; knows no clock.

/// `YYYY-MM-DD HH:MM:SS`, as MySQL prints a datetime.
pub fn sql(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Days since 1970-01-01 as year, month, day of the Gregorian calendar, counted in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    // The year starts in March here, so that the leap day is its last one.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// When a new forum decays, from its `general` tags: `decayIn:1 week` or `decayTime:<unix>`.
pub fn decay_time(general: &str, now_s: u64) -> Option<u64> {
    // A thousand years from now is further than any honest forum lives.
    let latest = now_s + 1000 * 365 * 86_400;
    let time = general.split(',').find_map(|tag| {
        let (name, value) = tag.trim().split_once(':')?;
        match name.trim() {
            "decayIn" => now_s.checked_add(span_s(value.trim())?),
            "decayTime" => value.trim().parse().ok(),
            _ => None,
        }
    })?;
    (time > 0 && time <= latest).then_some(time)
}

/// `1 week`, `3 days`, `+2 hours`, in seconds.
fn span_s(text: &str) -> Option<u64> {
    let mut words = text.trim_start_matches('+').split_ascii_whitespace();
    let count: u64 = words.next()?.parse().ok()?;
    let unit = words.next()?.to_ascii_lowercase();
    let unit_s = match unit.strip_suffix('s').unwrap_or(&unit) {
        "sec" | "second" => 1,
        "min" | "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        "fortnight" => 14 * 86_400,
        "month" => 30 * 86_400,
        "year" => 365 * 86_400,
        _ => return None,
    };
    count.checked_mul(unit_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_print_as_mysql_prints_them() {
        assert_eq!(sql(0), "1970-01-01 00:00:00");
        assert_eq!(sql(951_826_154), "2000-02-29 12:09:14");
        assert_eq!(sql(1_795_232_963), "2026-11-21 03:49:23");
    }

    #[test]
    fn decay_is_read_from_the_tags_and_nonsense_is_ignored() {
        assert_eq!(decay_time("decayIn:1 week", 1000), Some(1000 + 7 * 86_400));
        assert_eq!(decay_time("x, decayIn:3 days", 0), Some(3 * 86_400));
        assert_eq!(decay_time("decayTime:5000", 1000), Some(5000));
        for nonsense in
            ["", "decayIn:", "decayIn:many weeks", "decayIn:99999999999999999999 years", "decayTime:-1"]
        {
            assert_eq!(decay_time(nonsense, 1000), None, "{nonsense}");
        }
    }
}

//! Unix seconds as AtomJump's dates, and the few spans of time its clients may name. UTC only; knows no clock.

/// `YYYY-MM-DD HH:MM:SS`, as MySQL prints a datetime.
pub fn sql(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Reads what [`sql`] prints, of any year; `None` for what is no date from 1970 on.
pub fn parse_sql(text: &str) -> Option<u64> {
    /// Longest year that a number of seconds can come to, and the fixed rest.
    const CHARS_MAX: usize = 12 + 15;
    if text.len() > CHARS_MAX || !text.is_ascii() {
        return None;
    }
    let (date, time) = text.split_once(' ')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year starts in March here, as in `civil`.
    let shifted_year = year - u64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let year_of_era = shifted_year % 400;
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month_from_march + 2) / 5 + day - 1;
    let days = (shifted_year / 400).checked_mul(146_097)?.checked_add(day_of_era)?.checked_sub(719_468)?;
    let of_day = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    let unix_s = days.checked_mul(86_400)?.checked_add(of_day)?;
    // A day or hour that does not exist prints as another one.
    (sql(unix_s) == text).then_some(unix_s)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
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
    fn dates_are_read_as_they_are_printed_and_others_are_none() {
        for unix_s in [0, 951_826_154, 1_795_232_963, 253_402_300_799, 253_402_300_800, u64::MAX] {
            assert_eq!(parse_sql(&sql(unix_s)), Some(unix_s));
        }
        for none in [
            "",
            "2026",
            "2026-11-21",
            "2026-11-21 03:49",
            "2026-02-30 00:00:00",
            "2026-13-01 00:00:00",
            "2026-11-21 24:00:00",
            "2026-11-21 23:60:00",
            "1969-12-31 23:59:59",
            "0000-00-00 00:00:00",
            "2026-1-1 00:00:00",
            "+2026-01-01 00:00:00",
            "999999999999-01-01 00:00:00",
            "2026-11-21 03:49:23 ",
        ] {
            assert_eq!(parse_sql(none), None, "{none}");
        }
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

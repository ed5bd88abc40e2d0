//! How long ago a message was written, in words: AtomJump's rounding, and loop-server-fast's.

/// Whose words. An unknown language has numbers but no words, as upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `en`
    English,
    /// `es`
    Spanish,
    /// Any other.
    Unknown,
}

impl Language {
    /// The language of a code such as a `lang` cookie; English if there is none.
    pub fn of(code: Option<&str>) -> Self {
        match code {
            None | Some("" | "en") => Self::English,
            Some("es") => Self::Spanish,
            Some(_) => Self::Unknown,
        }
    }

    fn ago(self) -> &'static str {
        match self {
            Self::English => "ago",
            Self::Spanish => "hace",
            Self::Unknown => "",
        }
    }

    /// A unit's singular and plural.
    fn unit(self, unit: usize) -> [&'static str; 2] {
        const ENGLISH: [[&str; 2]; 8] = [
            ["sec", "secs"],
            ["min", "mins"],
            ["hour", "hours"],
            ["day", "days"],
            ["week", "weeks"],
            ["month", "months"],
            ["year", "years"],
            ["decade", "decades"],
        ];
        const SPANISH: [[&str; 2]; 8] = [
            ["sec", "secs"],
            ["min", "mins"],
            ["hora", "horas"],
            ["día", "días"],
            ["semana", "semanas"],
            ["mes", "meses"],
            ["año", "años"],
            ["década", "décadas"],
        ];
        match self {
            Self::English => ENGLISH[unit],
            Self::Spanish => SPANISH[unit],
            Self::Unknown => ["", ""],
        }
    }
}

/// PHP's words for a difference in seconds: `7 mins ago`.
pub fn php(seconds: u64, language: Language) -> (u64, &'static str, &'static str) {
    const LENGTHS: [f64; 7] = [60.0, 60.0, 24.0, 7.0, 4.35, 12.0, 10.0];
    let mut count = seconds as f64;
    let mut unit = 0;
    for length in LENGTHS {
        if count < length {
            break;
        }
        count /= length;
        unit += 1;
    }
    let count = count.round() as u64;
    let [one, many] = language.unit(unit);
    (count, if count == 1 { one } else { many }, language.ago())
}

/// loop-server-fast's words: years at most, a plural only above one.
pub fn fast(seconds: u64, language: Language) -> (u64, &'static str, &'static str) {
    const LENGTHS_S: [u64; 7] = [1, 60, 3600, 86_400, 604_800, 2_629_743, 31_556_926];
    let unit = LENGTHS_S.iter().rposition(|length| seconds >= *length).unwrap_or(0);
    let count = (seconds as f64 / LENGTHS_S[unit] as f64).round() as u64;
    let [one, many] = language.unit(unit);
    (count, if count > 1 { many } else { one }, language.ago())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words((count, unit, ago): (u64, &str, &str)) -> String {
        format!("{count} {unit} {ago}")
    }

    #[test]
    fn captured_words() {
        assert_eq!(words(php(0, Language::English)), "0 secs ago");
        assert_eq!(words(php(1, Language::English)), "1 sec ago");
        assert_eq!(words(php(393, Language::English)), "7 mins ago");
        assert_eq!(words(php(1, Language::of(Some("es")))), "1 sec hace");
        assert_eq!(words(php(1, Language::of(Some("xx")))), "1  ");
        assert_eq!(words(fast(0, Language::English)), "0 sec ago");
        assert_eq!(words(fast(393, Language::English)), "7 mins ago");
    }

    #[test]
    fn long_spans() {
        assert_eq!(words(php(14 * 86_400, Language::English)), "2 weeks ago");
        assert_eq!(words(php(60 * 86_400, Language::English)), "2 months ago");
        assert_eq!(words(php(20 * 365 * 86_400, Language::English)), "2 decades ago");
        assert_eq!(words(fast(20 * 365 * 86_400, Language::English)), "20 years ago");
        let _ = (php(u64::MAX, Language::English), fast(u64::MAX, Language::English));
    }
}

//! What somebody left for the machine before it was started: a file of a few lines, or a join string alone. Owns the form;
//! never knows where it was found.

use super::join::{Join, NotAJoin};

/// A file is some lines; more than this is not one, bytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// Settings of the peer that can be left beside the join string, by their names in its own configuration file.
pub const KEYS: [&str; 8] =
    ["name", "owner", "network", "max-disk", "max-memory", "max-bandwidth", "max-forums", "max-forum-size"];

/// A join string and what else was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Where to join.
    pub join: Join,
    /// Key of [`KEYS`] and value, in order.
    pub settings: Vec<(&'static str, String)>,
}

impl From<Join> for Seed {
    fn from(join: Join) -> Self {
        Self { join, settings: Vec::new() }
    }
}

/// What is wrong with what was left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASeed {
    /// Nothing but remarks.
    #[error("there is no join string in it")]
    Nothing,
    /// No text, or far too much.
    #[error("it is not a text of a few lines")]
    NoText,
    /// A key that says nothing here.
    #[error("line {line}: `{key}` is no setting; there are join, {}", KEYS.join(", "))]
    UnknownKey {
        /// Which line, from 1.
        line: usize,
        /// What it says.
        key: String,
    },
    /// The same twice.
    #[error("line {line}: `{key}` stands there twice")]
    Twice {
        /// The second line, from 1.
        line: usize,
        /// What it says.
        key: String,
    },
    /// The join string.
    #[error("line {line}: {wrong}")]
    Join {
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        wrong: NotAJoin,
    },
}

/// Reads lines of `key = value` or `key: value`, or a join string on a line of its own. `#` begins a remark, so that the first
/// line of cloud-init's user data is one. `None`: there is nothing but remarks.
pub fn parse(bytes: &[u8]) -> Result<Option<Seed>, NotASeed> {
    if bytes.len() > BYTES_MAX {
        return Err(NotASeed::NoText);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotASeed::NoText)?;
    // Windows' editor begins a file with a mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut join: Option<Join> = None;
    let mut settings: Vec<(&'static str, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (at, line) = (at + 1, line.trim().trim_matches('\0'));
        if line.is_empty() || line.starts_with('#') || line == "---" {
            continue;
        }
        let (key, value) = key_and_value(line).unwrap_or_else(|| ("join".to_owned(), line));
        let twice = |key: &str| NotASeed::Twice { line: at, key: key.to_owned() };
        if key == "join" {
            let read = value.parse().map_err(|wrong| NotASeed::Join { line: at, wrong })?;
            if join.replace(read).is_some() {
                return Err(twice("join"));
            }
            continue;
        }
        let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
            return Err(NotASeed::UnknownKey { line: at, key: key.chars().take(40).collect() });
        };
        if settings.iter().any(|(said, _)| *said == known) {
            return Err(twice(known));
        }
        settings.push((known, unquoted(value).to_owned()));
    }
    match join {
        Some(join) => Ok(Some(Seed { join, settings })),
        None if settings.is_empty() => Ok(None),
        None => Err(NotASeed::Nothing),
    }
}

/// `name = attic`, `name: attic`; `hub:9080/t` is neither, for want of a blank after the colon.
fn key_and_value(line: &str) -> Option<(String, &str)> {
    let end = line.find(['=', ':'])?;
    let (key, rest) = line.split_at(end);
    let key = key.trim().to_ascii_lowercase().replace('_', "-");
    let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let value = &rest[1..];
    let is_pair = rest.starts_with('=') || value.is_empty() || value.starts_with([' ', '\t']);
    (is_key && is_pair).then(|| (key, value.trim()))
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Option<Seed>, NotASeed> {
        parse(text.as_bytes())
    }

    fn join() -> Join {
        "a:1/to=ken".parse().unwrap()
    }

    #[test]
    fn a_join_string_alone_is_enough() {
        for text in ["a:1/to=ken", "\u{feff}a:1/to=ken\r\n", "# remark\n\n a:1/to=ken \n", "a:1/to=ken\0"] {
            assert_eq!(read(text), Ok(Some(join().into())), "{text:?}");
        }
    }

    #[test]
    fn settings_stand_beside_it_in_either_style() {
        let settings = vec![("name", "my attic".to_owned()), ("max-disk", "10G".to_owned())];
        let seed = Some(Seed { join: join(), settings });
        let toml = "join = \"a:1/to=ken\"\r\nname = \"my attic\"\r\nmax-disk = 10G\r\n";
        let yaml = "#cloud-config\n---\njoin: a:1/to=ken\nName: 'my attic'\nmax_disk: 10G\n";
        assert_eq!(read(toml), Ok(seed.clone()));
        assert_eq!(read(yaml), Ok(seed));
    }

    #[test]
    fn the_file_as_it_is_on_the_image_says_nothing_and_its_examples_are_right() {
        let file = include_str!("../../boot/loop-peer.txt");
        assert_eq!(read(file), Ok(None));
        let examples: String = file
            .lines()
            .filter(|line| line.contains('='))
            .map(|line| line.replacen('#', "", 1) + "\n")
            .collect();
        let seed = read(&examples).unwrap().unwrap();
        assert_eq!(seed.join, "hub.example:9080/token".parse().unwrap());
        assert_eq!(seed.settings.len(), 4);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let wrong = |text: &str| read(text).unwrap_err().to_string();
        assert!(wrong("\njoin = hub/t").starts_with("line 2: `hub` has no port"));
        assert!(wrong("a:1/t\nnmae = x").starts_with("line 2: `nmae` is no setting; there are join, name"));
        assert_eq!(wrong("name = x\nname = y\na:1/t"), "line 2: `name` stands there twice");
        assert_eq!(wrong("a:1/t\nb:1/t"), "line 2: `join` stands there twice");
        assert_eq!(wrong("name = x"), "there is no join string in it");
        assert_eq!(parse(&[0xff, 0xfe, 0x61]), Err(NotASeed::NoText));
        assert_eq!(parse(&[b'#'; BYTES_MAX + 1]), Err(NotASeed::NoText));
    }

    proptest! {
        #[test]
        fn whatever_was_left_has_an_answer(bytes in any::<Vec<u8>>(), text in "([ -~]{0,30}[=:\n#]){0,8}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}

//! A line that is being typed, on a screen or over a serial line. Owns the text; never knows where the keys come from.

/// Longer than anything that is asked for, characters.
const CHARS_MAX: usize = 4096;

/// What came of some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The line goes on.
    More,
    /// It is finished.
    Done(String),
}

/// The line so far.
#[derive(Debug, Default)]
pub struct Line {
    text: String,
    /// Bytes of a character that is not whole yet.
    partial: Vec<u8>,
    escape: Escape,
}

/// Arrow keys and the marks around what is pasted come as sequences; they say nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Control,
}

impl Line {
    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Begins with this text, to be changed.
    pub fn set(&mut self, text: &str) {
        *self = Self { text: text.chars().take(CHARS_MAX).collect(), ..Self::default() };
    }

    /// Takes bytes as they come from a terminal in raw mode, up to the end of a line. What follows that is dropped: it was
    /// pasted along.
    pub fn push(&mut self, bytes: &[u8]) -> Typed {
        for byte in bytes {
            if self.is_ended_by(*byte) {
                return Typed::Done(std::mem::take(&mut self.text));
            }
        }
        Typed::More
    }

    fn is_ended_by(&mut self, byte: u8) -> bool {
        match (self.escape, byte) {
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Control,
            (Escape::Control, 0x40..=0x7e) | (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Control, _) => {}
            (Escape::None, 0x1b) => self.escape = Escape::Begun,
            // An end of line before anything is that of an earlier line.
            (Escape::None, b'\r' | b'\n') => {
                self.partial.clear();
                return !self.text.is_empty();
            }
            (Escape::None, 0x08 | 0x7f) => {
                self.text.pop();
            }
            // Ctrl-U and Ctrl-C take the line back.
            (Escape::None, 0x15 | 0x03) => self.text.clear(),
            (Escape::None, 0..=0x1f) => {}
            (Escape::None, _) => self.take(byte),
        }
        false
    }

    fn take(&mut self, byte: u8) {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(whole) => {
                if self.text.len() + whole.len() <= CHARS_MAX {
                    self.text.push_str(whole);
                }
                self.partial.clear();
            }
            Err(error) if error.error_len().is_some() || self.partial.len() >= 4 => self.partial.clear(),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (Typed, String) {
        let mut line = Line::default();
        let typed = line.push(keys);
        (typed, line.text().to_owned())
    }

    #[test]
    fn enter_ends_a_line_and_nothing_else_does() {
        assert_eq!(typed(b"a:1/t"), (Typed::More, "a:1/t".into()));
        for end in [&b"a:1/t\r"[..], b"a:1/t\n", b"a:1/t\r\n", b"\r\na:1/t\r"] {
            assert_eq!(typed(end), (Typed::Done("a:1/t".into()), String::new()));
        }
        assert_eq!(typed(b"\r\n\r"), (Typed::More, String::new()));
    }

    #[test]
    fn mistakes_are_taken_back() {
        assert_eq!(typed("ab\u{7f}c\u{8}d".as_bytes()), (Typed::More, "ad".into()));
        assert_eq!(typed(b"\x7fabc\x15d"), (Typed::More, "d".into()));
        assert_eq!(typed(b"abc\x03"), (Typed::More, String::new()));
    }

    #[test]
    fn sequences_of_keys_are_no_text() {
        assert_eq!(typed(b"a\x1b[Ab\x1bOPc\x1b[200~d\x1b[201~\x07e"), (Typed::More, "abcde".into()));
    }

    #[test]
    fn characters_may_come_in_pieces_and_what_is_none_is_dropped() {
        let mut line = Line::default();
        for byte in "é€".bytes() {
            line.push(&[byte]);
        }
        line.push(b"\xff\xfex\xc3x");
        assert_eq!(line.text(), "é€x");
        line.push(b"y");
        assert_eq!(line.text(), "é€xy");
    }

    #[test]
    fn a_line_has_an_end() {
        let mut line = Line::default();
        line.push(&[b'x'; 2 * CHARS_MAX]);
        assert_eq!(line.text().len(), CHARS_MAX);
    }
}

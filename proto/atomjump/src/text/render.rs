//! Markup within a budget: text is cut between characters, elements are written whole or not at all.

use super::strip::starts_tag;

const OPEN_ITALIC: &str = "<i>";
const CLOSE_ITALIC: &str = "</i>";

/// Markup being written.
pub struct Html {
    out: String,
    /// Characters that still fit, those reserved for closing tags taken off.
    left: usize,
    /// Open `<i>`.
    italics: usize,
    /// Set by the first thing that did not fit: nothing may follow it.
    full: bool,
}

impl Html {
    /// Room for `chars` characters.
    pub fn new(chars: usize) -> Self {
        Self { out: String::with_capacity(256), left: chars, italics: 0, full: false }
    }

    /// Adds an element of our own, whole.
    pub fn element(&mut self, markup: &str) {
        let length = markup.chars().count();
        if self.full || length > self.left {
            self.full = true;
            return;
        }
        self.out.push_str(markup);
        self.left -= length;
    }

    /// Adds text. A `<` that a browser could take for a tag is escaped; all else is safe here as it is.
    pub fn text(&mut self, text: &str) {
        for (at, c) in text.char_indices() {
            let after = &text[at + c.len_utf8()..];
            // What follows this text is not known here, so a `<` at its end is escaped too.
            let is_tag = c == '<' && (after.is_empty() || starts_tag(after));
            let length = if is_tag { "&lt;".len() } else { 1 };
            if self.full || length > self.left {
                self.full = true;
                return;
            }
            if is_tag {
                self.out.push_str("&lt;")
            } else {
                self.out.push(c)
            }
            self.left -= length;
        }
    }

    /// Replaces a last white-space character by the space that AtomJump puts before a link.
    pub fn space_before_link(&mut self) {
        if self.out.ends_with(|c: char| c.is_ascii_whitespace()) {
            self.out.pop();
            self.out.push(' ');
        }
    }

    /// Opens an `<i>` and keeps room for its end.
    pub fn open_italic(&mut self) {
        let length = OPEN_ITALIC.len() + CLOSE_ITALIC.len();
        if self.full || length > self.left {
            self.full = true;
            return;
        }
        self.out.push_str(OPEN_ITALIC);
        self.left -= length;
        self.italics += 1;
    }

    /// Closes an `<i>`, if one is open.
    pub fn close_italic(&mut self) {
        if self.full || self.italics == 0 {
            return;
        }
        self.out.push_str(CLOSE_ITALIC);
        self.italics -= 1;
    }

    /// The markup, with everything closed.
    pub fn finish(mut self) -> String {
        for _ in 0..self.italics {
            self.out.push_str(CLOSE_ITALIC);
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_characters_and_never_inside_a_tag() {
        let mut html = Html::new(10);
        html.open_italic();
        html.text("abcdef");
        html.element("<b>");
        assert_eq!(html.finish(), "<i>abc</i>");
    }

    #[test]
    fn only_what_a_browser_could_take_for_a_tag_is_escaped() {
        let mut html = Html::new(100);
        html.text("1 < 2 & 3 > 2 <script <");
        assert_eq!(html.finish(), "1 < 2 & 3 > 2 &lt;script &lt;");
    }

    #[test]
    fn a_stray_end_is_dropped_and_a_missing_one_added() {
        let mut html = Html::new(100);
        html.close_italic();
        html.open_italic();
        html.text("x");
        assert_eq!(html.finish(), "<i>x</i>");
    }
}

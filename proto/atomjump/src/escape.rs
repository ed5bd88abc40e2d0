//! Text made safe for the place it will stand in. One function for each place; no place may use another's.

use std::fmt::Write;

/// For an HTML attribute in either kind of quotes, and for element text.
pub fn attr(text: &str) -> String {
    with_entities(text, |_| true)
}

/// For an attribute in single quotes whose honest content must stay as AtomJump writes it: a bare `&` is left alone,
/// because what it may stand for is decoded after the attribute's end was found.
pub fn single_quoted_attr(text: &str) -> String {
    with_entities(text, |c| c != '&')
}

/// Characters that could end what they stand in become entities, those apart that `is_escaped` leaves alone.
fn with_entities(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => out.push(c),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// For the inside of a JavaScript string that itself stands in an attribute: survives both readers.
pub fn script_in_attr(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if needs_script_escape(c) { push_unicode_escape(&mut out, c) } else { out.push(c) }
    }
    out
}

/// A whole JavaScript string literal for a `<script>` element.
pub fn script_json(text: &str) -> String {
    format!("\"{}\"", script_in_attr(text))
}

fn needs_script_escape(c: char) -> bool {
    c.is_control() || matches!(c, '"' | '\'' | '\\' | '<' | '>' | '&' | '`' | '\u{2028}' | '\u{2029}')
}

fn push_unicode_escape(out: &mut String, c: char) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_text_stays_as_it_is() {
        assert_eq!(script_in_attr("John ➁"), "John ➁");
        assert_eq!(single_quoted_attr("Tom & Jerry"), "Tom & Jerry");
    }

    #[test]
    fn nothing_leaves_its_place() {
        let hostile = "'\"<>&`\\\n\u{2028}";
        for escaped in [attr(hostile), single_quoted_attr(hostile), script_in_attr(hostile)] {
            assert!(!escaped.contains(['\'', '"', '<', '>']), "{escaped}");
        }
        assert!(!script_in_attr("&quot;);alert(1)//").contains('&'));
        assert_eq!(script_json("</script>"), r#""\u003c/script\u003e""#);
    }
}

//! Tags out of a message: `<i>` stays, without attributes; of everything else only the text between the tags.

/// How many times a text is looked through for tags that appear when others are taken out.
const NESTED_MAX: usize = 4;

/// A stretch of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Characters, not escaped. Never two in a row.
    Text(String),
    /// `<i>`
    OpenItalic,
    /// `</i>`
    CloseItalic,
}

/// Splits `input` at its tags. As in PHP, a tag that never ends takes the rest with it. Unlike PHP, a `<` that cannot
/// start a tag is text: `I <3 you` keeps its end.
pub fn pieces(input: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = input;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let tag = &rest[at..];
        if !starts_tag(&tag[1..]) {
            text.push('<');
            rest = &tag[1..];
            continue;
        }
        let Some(length) = tag_length(tag) else {
            rest = "";
            break;
        };
        if let Some(italic) = italic(&tag[..length]) {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(italic);
        }
        rest = &tag[length..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// `input` without any tag, also without those that appear once others are taken out.
pub fn plain(input: &str) -> String {
    let mut text = without_tags(input);
    // Honest text has no tags in tags; of what is nested deeper no `<` stays, so that the work is bounded.
    for _ in 0..NESTED_MAX {
        let next = without_tags(&text);
        if next.len() == text.len() {
            return text;
        }
        text = next;
    }
    text.replace('<', "")
}

fn without_tags(input: &str) -> String {
    let texts = pieces(input).into_iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(text),
        Piece::OpenItalic | Piece::CloseItalic => None,
    });
    texts.collect()
}

/// Whether a browser would begin a tag, comment or declaration here, after the `<`.
pub fn starts_tag(after: &str) -> bool {
    after.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'))
}

/// Bytes of the tag at the start of `tag`, `>` included; a `>` in quotes does not end it.
fn tag_length(tag: &str) -> Option<usize> {
    let mut quote = None;
    let mut last = ' ';
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at + 1),
            // A quote counts only where a value begins: an apostrophe in `<b it's>` opens nothing.
            (None, '"' | '\'') if last == '=' => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        if !c.is_ascii_whitespace() {
            last = c;
        }
    }
    None
}

fn italic(tag: &str) -> Option<Piece> {
    let inner = tag.strip_prefix('<')?.strip_suffix('>')?;
    let name: String = inner.chars().take_while(|c| !c.is_ascii_whitespace()).collect();
    match name.as_str() {
        "i" | "I" => Some(Piece::OpenItalic),
        "/i" | "/I" => Some(Piece::CloseItalic),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_texts_lose_their_tags_and_keep_their_words() {
        let input = "<b>bold</b> <i>italic</i> <a href=\"http://x.example/\">link</a> 1 < 2 & 3 > 2";
        assert_eq!(plain(input), "bold italic link 1 < 2 & 3 > 2");
        assert_eq!(plain("<script>alert(1)</script><img src=x onerror=alert(2)>after"), "alert(1)after");
    }

    #[test]
    fn italics_stay_without_attributes() {
        let expected = [Piece::OpenItalic, Piece::Text("hover".into()), Piece::CloseItalic];
        assert_eq!(pieces("<i onmouseover=alert(1)>hover</i>"), expected);
        assert_eq!(pieces("<img><iframe>x"), [Piece::Text("x".into())]);
    }

    #[test]
    fn a_bracket_that_starts_no_tag_is_text_and_a_tag_without_end_takes_the_rest() {
        assert_eq!(plain("I <3 you, a<=b, << 1"), "I <3 you, a<=b, << 1");
        assert_eq!(plain("before <b after"), "before ");
        assert_eq!(plain("<a title=\"1 > 0\">x</a> <b it's>y"), "x y");
    }

    #[test]
    fn tags_hidden_inside_tags_go_as_well() {
        assert_eq!(plain("<<b>script>alert(1)<<b>/script>"), "alert(1)");
    }
}

//! Whether markup that came from somebody else's rows can be shown to browsers, which insert it as it is.
//!
//! An allow-list of what AtomJump's own text processing makes: few elements, fewer attributes, addresses of the web, and one
//! handler in exactly one form. Strict rather than clever: what a browser might read otherwise is refused.

/// Elements, with or without attributes.
const ELEMENTS: [&str; 7] = ["a", "b", "br", "em", "i", "img", "strong"];
/// Elements that have no end.
const VOID: [&str; 2] = ["br", "img"];

/// Whether `html` can neither run script nor reach out of its place.
pub fn is_harmless(html: &str) -> bool {
    let mut open = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let after = &rest[at + 1..];
        if !after.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            rest = after;
            continue;
        }
        match tag(after, &mut open) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    open.is_empty() && !html.contains('\0')
}

/// What follows the tag whose inside begins here; `None` unless it is one of the list, and ends what is open.
fn tag<'a>(inside: &'a str, open: &mut Vec<&'a str>) -> Option<&'a str> {
    let (is_end, inside) = match inside.strip_prefix('/') {
        Some(inside) => (true, inside),
        None => (false, inside),
    };
    let length = inside.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let (name, mut rest) = inside.split_at(length);
    if !ELEMENTS.contains(&name) || is_end && open.pop() != Some(name) {
        return None;
    }
    if !is_end && !VOID.contains(&name) {
        open.push(name);
    }
    loop {
        let trimmed = rest.trim_start_matches([' ', '\n', '\t']);
        if let Some(behind) = trimmed.strip_prefix('>').or_else(|| trimmed.strip_prefix("/>")) {
            return Some(behind);
        }
        if is_end || trimmed.len() == rest.len() {
            return None;
        }
        rest = attribute(trimmed)?;
    }
}

/// What follows an allowed `name="value"`.
fn attribute(text: &str) -> Option<&str> {
    let length = text.bytes().take_while(u8::is_ascii_lowercase).count();
    let (name, rest) = text.split_at(length);
    let rest = rest.strip_prefix('=')?;
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, behind) = rest[1..].split_once(quote)?;
    let is_allowed = !value.contains(['<', '>'])
        && match name {
            "href" => value == "#" || is_address(value),
            "src" => is_address(value),
            "onclick" => is_whisper(value),
            "title" => true,
            "target" => value == "_blank",
            "class" => value == "img-responsive",
            "border" | "height" | "width" => value.trim_end_matches('%').bytes().all(|b| b.is_ascii_digit()),
            _ => false,
        };
    is_allowed.then_some(behind)
}

fn is_address(value: &str) -> bool {
    ["http://", "https://", "ftp://"].iter().any(|scheme| value.starts_with(scheme))
        && !value.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// `whisper("<address>:<user>", "<name>", true, ""); return false;`, both strings without anything that could end them.
fn is_whisper(value: &str) -> bool {
    let strings = value
        .strip_prefix("whisper(\"")
        .and_then(|rest| rest.strip_suffix("\", true, \"\"); return false;"))
        .and_then(|strings| strings.split_once("\", \""));
    strings.is_some_and(|(whom, name)| is_script_string(whom) && is_script_string(name))
}

/// Whether nothing in it ends a string of script inside an attribute; a backslash only as `\u` and four digits.
fn is_script_string(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() || "\"'\\<>&`\u{2028}\u{2029}".contains(c)) {
        let digits = rest[at..].strip_prefix("\\u").and_then(|rest| rest.get(..4));
        if !digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
            return false;
        }
        rest = &rest[at + 6..];
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::{Author, Links, shouted};

    #[test]
    fn what_could_run_or_reach_out_is_refused() {
        for bad in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<img src='http://h/x' onerror='alert(1)'>",
            "<a href='javascript:alert(1)'>x</a>",
            "<a href='&#106;avascript:alert(1)'>x</a>",
            "<a href=\" javascript:alert(1)\">x</a>",
            "<a onclick='whisper(\"a\", \"b&quot;);alert(1);//\", true, \"\"); return false;'>x</a>",
            "<a onclick='whisper(\"a\", \"b\\\", alert(1), \"\", true, \"\"); return false;'>x</a>",
            "<a onclick='alert(1)'>x</a>",
            "<A HREF='http://h'>x</A>",
            "<a href='http://h'",
            "<svg onload=alert(1)>",
            "<!-- x -->",
            "<i style='position:fixed'>x</i>",
            "<iframe src='http://h'></iframe>",
            "</i onclick='x'>",
            "<i>never closed",
            "closed</i> twice",
            "<i><b>crossed</i></b>",
            "<a href='#' target='_top'>x</a>",
            "<a href='#' class='overlay'>x</a>",
            "<i/onclick=alert(1)>",
            "a\0b",
        ] {
            assert!(!is_harmless(bad), "{bad}");
        }
    }

    #[test]
    fn what_atomjump_writes_is_fine() {
        for good in [
            "",
            "1 < 2 & 3 > 2 &lt;script&gt;",
            "<i>Typing...</i>",
            "<a href='#' onclick='whisper(\"192.99.102.117:419\", \"John ➂\", true, \"\"); return false;' \
             title='Send comment to John ➂ privately'>John ➂</a>:&nbsp;hello",
            "<a target=\"_blank\" href=\"https://a.b/c?d=e&f=g\">x</a>",
            "<img class=\"img-responsive\" width=\"80%\" src=\"https://img.youtube.com/vi/x/0.jpg\"/><br>",
        ] {
            assert!(is_harmless(good), "{good}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_by_our_own_text_processing_passes(name in "\\PC{1,40}", message in "\\PC{0,300}", user in 1u32..) {
            let author = Author { ip: "192.101.57.107", user: Some(user), name: &name };
            let links = Links { base_url: "http://h:1/api", user: Some(user), message: None };
            let html = shouted(author, &message, links).html;
            prop_assert!(is_harmless(&html), "{html}");
        }

        #[test]
        fn markup_like_messages_pass_too(message in "(<|>|i|/|a|=|\"|'| |&|;|http://a.b/|pay 5 dollars|x@|\\\\|!){0,40}") {
            let author = Author { ip: "192.1.2.3", user: None, name: "a<b>\"'" };
            let links = Links { base_url: "https://h", user: None, message: Some(7) };
            let html = shouted(author, &message, links).html;
            prop_assert!(is_harmless(&html), "{html}");
        }
    }
}

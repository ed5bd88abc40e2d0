//! The two JSON dialects of AtomJump's readers, written straight into bytes: PHP's `json_encode` (`\/`, `\uXXXX`) and
//! JavaScript's `JSON.stringify` (raw UTF-8).

/// Appends `text` as PHP's `json_encode` writes a string, quotes included.
pub fn php_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '/' => out.extend_from_slice(b"\\/"),
            c if c.is_ascii() => push_ascii(out, c as u8),
            c => push_units(out, c),
        }
    }
    out.push(b'"');
}

/// Appends `text` as `JSON.stringify` writes a string, quotes included. Line separators are escaped as well: older
/// browsers take them for the end of a line of script.
pub fn plain_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            c if c.is_ascii() => push_ascii(out, c as u8),
            '\u{2028}' | '\u{2029}' => push_units(out, c),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Appends a number.
pub fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_ascii(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        byte if byte < 0x20 => push_unit(out, byte.into()),
        byte => out.push(byte),
    }
}

fn push_units(out: &mut Vec<u8>, c: char) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        push_unit(out, *unit);
    }
}

fn push_unit(out: &mut Vec<u8>, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[usize::from(unit >> shift & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn php(text: &str) -> String {
        let mut out = Vec::new();
        php_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn php_escapes_slashes_and_everything_beyond_ascii() {
        assert_eq!(php("</a> \"é\" ➁ 😀\r\n\u{1}"), r#""<\/a> \"\u00e9\" \u2781 \ud83d\ude00\r\n\u0001""#);
    }

    #[test]
    fn the_fast_dialect_keeps_utf8() {
        let mut out = Vec::new();
        plain_string(&mut out, "a/b ➁\u{2028}");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a/b ➁\\u2028\"");
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for value in [0, 7, 10, 4_294_967_295, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    proptest::proptest! {
        #[test]
        fn both_dialects_are_json_of_the_same_text(text: String) {
            for write in [php_string, plain_string] {
                let mut out = Vec::new();
                write(&mut out, &text);
                proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            }
        }
    }
}

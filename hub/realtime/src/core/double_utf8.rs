//! What clients 1.x send while they poll: their text is encoded as UTF-8 twice. Clients 2.x encode it once, and both say `EIO=3`.

/// A polling request's body with such packets decoded once more; `None` if there is nothing to mend. A packet was encoded
/// twice if all of its characters are below U+0100, some are not ASCII, and as bytes they are valid UTF-8: what a client
/// 2.x writes by itself is so only if somebody types such rubbish by hand.
pub fn mended(body: &[u8]) -> Option<String> {
    if body.is_ascii() {
        return None;
    }
    let body = std::str::from_utf8(body).ok()?;
    let (mut mended, mut changed, mut rest) = (String::with_capacity(body.len()), false, body);
    while !rest.is_empty() {
        let (length, after) = rest.split_once(':')?;
        let (packet, after) = split_at_unit(after, length.parse().ok()?)?;
        let decoded = decoded_again(packet);
        changed |= decoded.is_some();
        let packet = decoded.as_deref().unwrap_or(packet);
        mended.push_str(&packet.encode_utf16().count().to_string());
        mended.push(':');
        mended.push_str(packet);
        rest = after;
    }
    changed.then_some(mended)
}

/// The text's first so many UTF-16 units and the rest; `None` if that is not between two characters.
fn split_at_unit(text: &str, units: usize) -> Option<(&str, &str)> {
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(text.split_at(at));
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some((text, ""))
}

fn decoded_again(packet: &str) -> Option<String> {
    if packet.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = packet.chars().map(|character| u8::try_from(character).ok()).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(packets: &[&str], twice: bool) -> Vec<u8> {
        let mut body = String::new();
        for packet in packets {
            let sent: String = match twice {
                true => packet.bytes().map(char::from).collect(),
                false => (*packet).to_owned(),
            };
            body.push_str(&format!("{}:{sent}", sent.encode_utf16().count()));
        }
        body.into_bytes()
    }

    #[test]
    fn what_was_encoded_twice_is_decoded_and_its_lengths_are_right() {
        let packets = ["42[\"identify\",\"Zoë\"]", "2", "42[\"im\",{\"text\":\"naïve 😀\"}]"];
        assert_eq!(mended(&encoded(&packets, true)).unwrap().into_bytes(), encoded(&packets, false));
        assert_eq!(mended(&encoded(&packets, false)), None, "a client 2.x");
        assert_eq!(mended(&encoded(&packets[1..2], true)), None, "nothing to mend");
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_taken(body: Vec<u8>) {
            let _ = mended(&body);
        }

        #[test]
        fn any_text_that_was_encoded_twice_comes_out(text in "[^\\x00-\\x7f]{1,20}") {
            let body = encoded(&[&text], true);
            proptest::prop_assert_eq!(mended(&body).unwrap().into_bytes(), encoded(&[&text], false));
        }
    }
}

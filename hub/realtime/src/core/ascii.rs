//! JSON in which everything beyond ASCII is escaped. Socket.IO clients 1.x and 2.x disagree on how other characters are encoded
//! while they poll, and both say that they speak the same protocol; all read this alike.

use std::fmt::Write;

/// The same JSON text in ASCII. Such characters stand in strings only, so that escaping them changes no meaning.
pub fn to_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn it_means_the_same_and_is_ascii(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            let ascii = to_ascii(&json);
            proptest::prop_assert!(ascii.is_ascii());
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&ascii).unwrap(), text);
        }
    }
}

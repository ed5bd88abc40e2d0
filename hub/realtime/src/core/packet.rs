//! Socket.IO packets, of protocol revisions 4 (clients 1.x, 2.x) and 5 (3.x, 4.x), inside one Engine.IO message each.
//!
//! Only what this hub speaks: the default namespace, events without binary. Never knows what an event means.

use serde_json::value::RawValue;

/// A packet from a client.
#[derive(Debug)]
pub enum Packet<'a> {
    /// Opens the default namespace.
    Connect,
    /// Opens another one, which there is not.
    ConnectElsewhere(&'a str),
    /// Leaves the default namespace.
    Disconnect,
    /// An event on the default namespace, and its first argument.
    Event(String, Option<&'a RawValue>),
    /// Well-formed and of no concern here: acknowledgements, other namespaces, events with binary.
    Other,
}

/// What is no packet at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Packet<'a> {
    /// Reads a packet: type, attachments, namespace, acknowledgement number, payload.
    pub fn read(text: &'a str) -> Result<Self, Malformed> {
        let kind = *text.as_bytes().first().ok_or(Malformed)?;
        let rest = text.get(1..).ok_or(Malformed)?;
        let (namespace, rest) = match rest.starts_with('/') {
            true => rest.split_once(',').unwrap_or((rest, "")),
            false => ("/", rest),
        };
        // A client 2.x may add parameters to the namespace.
        let namespace = namespace.split('?').next().unwrap_or(namespace);
        match (kind, namespace == "/") {
            (b'0', true) => Ok(Self::Connect),
            (b'0', false) => Ok(Self::ConnectElsewhere(namespace)),
            (b'1', true) => Ok(Self::Disconnect),
            (b'2', true) => event(rest.trim_start_matches(|c: char| c.is_ascii_digit())),
            (b'1'..=b'6', _) => Ok(Self::Other),
            _ => Err(Malformed),
        }
    }
}

fn event(payload: &str) -> Result<Packet<'_>, Malformed> {
    let parts: Vec<&RawValue> = serde_json::from_str(payload).map_err(|_| Malformed)?;
    let name = parts.first().ok_or(Malformed)?.get();
    // Names may be numbers in theory; nobody here listens to one.
    let Ok(name) = serde_json::from_str(name) else { return Ok(Packet::Other) };
    Ok(Packet::Event(name, parts.get(1).copied()))
}

/// An event for a client. `argument` is JSON.
pub fn event_for_client(name: &str, argument: &str) -> String {
    super::ascii::to_ascii(&format!("2[\"{name}\",{argument}]"))
}

/// Tells a client that there is no such namespace, as its generation expects it.
pub fn no_such_namespace(namespace: &str, engine3: bool) -> String {
    let said = match engine3 {
        true => "\"Invalid namespace\"",
        false => "{\"message\":\"Invalid namespace\"}",
    };
    format!("4{namespace},{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_event(text: &str) -> Option<(String, Option<String>)> {
        match Packet::read(text) {
            Ok(Packet::Event(name, argument)) => Some((name, argument.map(|raw| raw.get().to_owned()))),
            _ => None,
        }
    }

    #[test]
    fn packets_of_all_generations_are_read() {
        assert!(matches!(Packet::read("0"), Ok(Packet::Connect)));
        assert!(matches!(Packet::read("0{\"token\":1}"), Ok(Packet::Connect)));
        assert!(matches!(Packet::read("0/admin?a=b,"), Ok(Packet::ConnectElsewhere("/admin"))));
        assert!(matches!(Packet::read("0/admin"), Ok(Packet::ConnectElsewhere("/admin"))));
        assert!(matches!(Packet::read("1"), Ok(Packet::Disconnect)));
        assert!(matches!(Packet::read("1/admin,"), Ok(Packet::Other)));
        assert_eq!(
            read_event("2[\"identify\",\"Anna\"]"),
            Some(("identify".into(), Some("\"Anna\"".into())))
        );
        assert_eq!(read_event("217[\"im\"]"), Some(("im".into(), None)), "with an acknowledgement asked for");
        assert!(matches!(Packet::read("31[\"x\"]"), Ok(Packet::Other)));
        assert!(matches!(Packet::read("51-[\"x\",{\"_placeholder\":true,\"num\":0}]"), Ok(Packet::Other)));
        assert!(matches!(Packet::read("2/admin,[\"im\",{}]"), Ok(Packet::Other)));
        assert!(matches!(Packet::read("2[7,{}]"), Ok(Packet::Other)));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for text in ["", "9", "x", "é", "2", "2[]", "2{}", "2[\"im\"", "2[\"im\",]", "2-5[\"im\"]"] {
            assert!(matches!(Packet::read(text), Err(Malformed)), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Packet::read(&text);
        }
    }
}

//! Every id, cursor and epoch, as its own type. Owns their limits and how they print.
//! Never knows wire types: those carry plain integers, turned into these once, at the edge.

use std::fmt;

use md5::{Digest, Md5};

/// Longest id of a browser session, characters: the width of AtomJump's column. A longer one would never be found again.
pub const SESSION_ID_MAX: usize = 32;

/// Whether it can be the id of a browser session, as PHP names them: 1 to 32 of `[A-Za-z0-9,-]`.
pub fn is_session_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'-');
    (1..=SESSION_ID_MAX).contains(&id.len()) && id.iter().all(allowed)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($repr);

        impl $name {
            /// `None` for zero, which no such id has: on the wire zero means "none".
            pub const fn new(raw: $repr) -> Option<Self> {
                if raw == 0 { None } else { Some(Self(raw)) }
            }

            /// The number on the wire and in AtomJump's tables.
            pub const fn get(self) -> $repr {
                self.0
            }

            /// The id after this one; `None` at the end of the number range.
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(n) => Some(Self(n)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// One hub node of the Raft group; given by its operator.
    HubId(u64), "h"
);
id!(
    /// One forum, `tbl_layer.int_layer_id`. Given when the forum is opened.
    ForumId(u32), "f"
);
id!(
    /// One volunteer's machine. Given when it joins.
    PeerId(u32), "p"
);
id!(
    /// One record of the task log. Dense: the next record has the next number.
    TaskId(u64), "t"
);
id!(
    /// One message, `tbl_ssshout.int_ssshout_id`. Unique over all forums, increasing in log order.
    MessageId(u32), "m"
);
id!(
    /// One user, `tbl_user.int_user_id`.
    UserId(u32), "u"
);

/// Fencing token of a forum's assignment. Rises by one whenever its primary changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ForumEpoch(pub u64);

impl fmt::Display for ForumEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Debug for ForumEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Milliseconds of Unix time, stamped by the leader; never falls along the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct HubTime(pub u64);

impl HubTime {
    /// Whole seconds, the resolution of AtomJump's dates.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// Names one client request, however often it is sent. 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// `None` unless exactly 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:08x}", u128::from_be_bytes(self.0) >> 96)
    }
}

/// MD5 of a forum's name, AtomJump's `tbl_layer.passcode`. Stands for the name, which is a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForumKey(pub [u8; 16]);

impl ForumKey {
    /// The key of a forum name, which is any byte string; case matters.
    pub fn of_name(name: &[u8]) -> Self {
        Self(Md5::digest(name).into())
    }

    /// `None` unless exactly 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// 32 lower-case hex digits, as `tbl_layer.passcode` holds it.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Prints two bytes only: whoever has a whole key can check a guessed name against it.
impl fmt::Debug for ForumKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "key {a:02x}{b:02x}…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_their_kind_and_zero_is_no_id() {
        assert_eq!(TaskId::new(91).unwrap().to_string(), "t91");
        assert_eq!(MessageId::new(0), None);
        assert_eq!(MessageId::new(u32::MAX).unwrap().next(), None);
    }

    #[test]
    fn a_forum_key_is_atomjumps_passcode_and_does_not_print_whole() {
        let key = ForumKey::of_name(b"ajps_test");
        assert_eq!(key.to_hex().len(), 32);
        assert!(!format!("{key:?}").contains(&key.to_hex()));
    }
}

//! What a volunteer gives, and sizes as people write them. Owns the caps; never knows what is counted against them.

use std::str::FromStr;

use loop_proto::v1;
use serde::{Deserialize, Deserializer, de};

/// What this machine gives. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Disk space of the database, bytes.
    pub disk_bytes: u64,
    /// Memory, bytes; the hubs place forums by it, nothing is refused for it here.
    pub memory_bytes: u64,
    /// Bytes per second of copies, both ways together.
    pub bytes_per_second: u64,
    /// Forums held, those on their way included.
    pub forums: u32,
    /// One forum's copy, bytes.
    pub forum_bytes: u64,
}

impl Limits {
    /// Why one more forum cannot be taken by one that holds `forums` others and `disk_bytes`; `None`: it can.
    pub fn refuse_forum(&self, forums: usize, disk_bytes: u64) -> Option<v1::RejectReason> {
        let forums = u32::try_from(forums).unwrap_or(u32::MAX);
        if self.forums > 0 && forums >= self.forums {
            Some(v1::RejectReason::ForumsMax)
        } else if self.disk_bytes > 0 && disk_bytes >= self.disk_bytes {
            Some(v1::RejectReason::DiskFull)
        } else {
            None
        }
    }

    /// Why a copy of `bytes` cannot be taken beside `disk_bytes`; `None`: it can. A copy is there twice until it is
    /// installed: as a file and as rows.
    pub fn refuse_copy(&self, bytes: u64, disk_bytes: u64) -> Option<v1::RejectReason> {
        let needed = disk_bytes.saturating_add(bytes.saturating_mul(2));
        if self.forum_bytes > 0 && bytes > self.forum_bytes {
            Some(v1::RejectReason::ForumTooLarge)
        } else if self.disk_bytes > 0 && needed > self.disk_bytes {
            Some(v1::RejectReason::DiskFull)
        } else {
            None
        }
    }
}

impl From<Limits> for v1::PeerLimits {
    fn from(limits: Limits) -> Self {
        Self {
            disk_bytes: limits.disk_bytes,
            memory_bytes: limits.memory_bytes,
            bytes_per_second: limits.bytes_per_second,
            forums: limits.forums,
            forum_bytes: limits.forum_bytes,
        }
    }
}

/// Bytes, written as `4096`, `64K`, `512M`, `10G` or `2T`; the letters mean powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A text that is no size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; write a whole number with or without K, M, G or T, for example 10G")]
pub struct NotASize(String);

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let not = || NotASize(text.chars().take(40).collect());
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match trimmed[digits.len()..].trim().to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KB" | "KIB" => 10,
            "M" | "MB" | "MIB" => 20,
            "G" | "GB" | "GIB" => 30,
            "T" | "TB" | "TIB" => 40,
            _ => return Err(not()),
        };
        // `parse` alone would take a sign.
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok());
        number.flatten().and_then(|number| number.checked_mul(1 << unit)).map(Self).ok_or_else(not)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Bytes(bytes)) => Ok(Self(bytes)),
            Ok(Written::Text(text)) => text.parse().map_err(de::Error::custom),
            Err(_) => Err(de::Error::custom(NotASize("…".to_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 64 << 10),
            ("512 m", 512 << 20),
            ("10G", 10 << 30),
            ("10GiB", 10 << 30),
            ("2T", 2 << 40),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "G", "ten", "-1", "+1", "1.5G", "10X", "10GG", "99999999999T", "1 000", "K10"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_cap_has_its_reason_and_none_is_no_limit() {
        let none = Limits::default();
        assert_eq!(
            (none.refuse_forum(1 << 30, u64::MAX), none.refuse_copy(u64::MAX, u64::MAX)),
            (None, None)
        );
        let limits = Limits { disk_bytes: 100, forums: 2, forum_bytes: 40, ..none };
        assert_eq!(limits.refuse_forum(1, 99), None);
        assert_eq!(limits.refuse_forum(2, 0), Some(v1::RejectReason::ForumsMax));
        assert_eq!(limits.refuse_forum(0, 100), Some(v1::RejectReason::DiskFull));
        assert_eq!(limits.refuse_copy(40, 20), None);
        assert_eq!(limits.refuse_copy(41, 0), Some(v1::RejectReason::ForumTooLarge));
        assert_eq!(limits.refuse_copy(40, 21), Some(v1::RejectReason::DiskFull));
    }
}

//! The rows that the hubs make themselves: a new forum's and a new user's.

use loop_proto::{
    ids::{ForumId, ForumKey, HubTime},
    php_params, v1,
};

use crate::{dates, request::fake_ip, text};

/// Longest title, characters.
pub const TITLE_CHARS_MAX: usize = 255;

/// The row of a forum that is opened at `now`.
pub fn new_forum(
    id: ForumId,
    key: ForumKey,
    title: &str,
    decays_at_s: Option<u64>,
    now: HubTime,
) -> v1::ForumStored {
    v1::ForumStored {
        id: id.get(),
        access: v1::ForumAccess::Public.into(),
        passcode: key.to_hex(),
        owner_since_s: now.seconds(),
        title: title.to_owned(),
        decays_at_s,
        ..Default::default()
    }
}

/// The row of the user that a session's first write makes.
pub fn anonymous_user(id: u32, session_id: &str, now: HubTime) -> v1::UserStored {
    v1::UserStored {
        id,
        last_ip: fake_ip(session_id.as_bytes()),
        alerts: true,
        balance: "0.000".to_owned(),
        created_at_s: now.seconds(),
        ..Default::default()
    }
}

/// The title AtomJump's shipped rules make of a forum's name: `ajps_my-room` is `my room@`. The name itself, which is a
/// secret, is then nowhere in the rows.
pub fn title(name: &[u8]) -> String {
    let spaced = php_params::text(name).replace('-', " ");
    let title = match spaced.strip_prefix("ajps_") {
        Some(short) => format!("{short}@"),
        None => spaced,
    };
    let title: String = text::plain(&title).chars().filter(|c| !c.is_control()).collect();
    text::cut(&title, TITLE_CHARS_MAX).to_owned()
}

/// When a forum that is opened at `now` decays, by the `general` parameter of the request that opens it.
pub fn decay_time(general: &[u8], now: HubTime) -> Option<u64> {
    dates::decay_time(&php_params::text(general), now.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_titles() {
        let pairs = [
            ("ajps_test", "test@"),
            ("ajps_o'brien\"<b>", "o'brien\"@"),
            ("ajps_日本-forum", "日本 forum@"),
            ("my-forum_X", "my forum_X"),
        ];
        for (name, expected) in pairs {
            assert_eq!(title(name.as_bytes()), expected);
        }
    }
}

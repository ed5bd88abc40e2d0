//! What cannot be the same as captured, and why.

const UNOPENED: &str =
    "reading opens no forum: until somebody writes it is told its title, and the page posts none";

/// Over HTTP more shows than a peer alone lets see: what else may differ, and why.
pub const IMPROVED_HERE: &[(&str, &[&str], &str)] = &[
    ("006", &[": {"], UNOPENED),
    ("007", &["title test@"], UNOPENED),
    ("008", &[": {"], UNOPENED),
    ("058", &["header"], "a name with tags did not destroy the session"),
    ("060", &["header"], "a latitude that is no number is ignored instead of HTTP 500"),
    (
        "075",
        &["header set-cookie", ".ses"],
        "a session id too long for AtomJump's column is replaced by a new one",
    ),
    ("081", &["status", "content type", "body", "header"], "a callback that is no name is refused"),
    ("099", &["header"], "a robot gets no session"),
    ("105", &["status", "content type", "body", "header"], "a callback that is no name is refused"),
    ("225", &["status", "content type", "body", "header"], "the fast host has all of AtomJump's paths"),
    ("230", &["status", "location", "content type", "body", "header"], "a page load stores no session"),
];

/// Texts that stay different in every later list: message, ours, theirs, why.
pub const LASTING: &[(u64, &str, &str, &str)] = &[
    (2879, "<i>hover", "<i onmouseover=alert(1)>hover", "attributes are taken out of <i>"),
    (2881, "\\ud83d\\ude00", "????", "an emoji is kept"),
    (2881, "😀", "????", "an emoji is kept"),
    (2899, "192.99.102.117:416", "192.0.0.0:418", "a name with tags did not destroy the session"),
    (2919, "to twitter", "to twitter (Also sent to @someone on Twitter)", "it was not sent there"),
];

/// What a capture needs that is not built yet.
pub fn later(number: &str, path: &str) -> Option<&'static str> {
    let number: u32 = number.parse().unwrap_or_default();
    match path {
        "/confirm.php" | "/logout.php" | "/link.php" | "/clear-pass-phone.php" => Some("needs log-in: later"),
        "/download.php" => Some("downloads: later"),
        "/typing-cron.php" => Some("the typing cron: later"),
        _ => match number {
            111 | 112 | 126..=128 | 149 | 150 | 254 => Some("needs log-in: later"),
            133 | 134 | 139 | 143 | 199..=203 | 217..=220 => Some("needs a forum's password: later"),
            _ => None,
        },
    }
}

/// Exchanges told of in words only that need what is not built yet.
pub const TOLD_LATER: [(&str, &str, &str); 3] = [
    ("216", "fast_group_whisper_subscriber", "needs log-in: later"),
    ("218", "fast_protected_granted_direct", "needs a forum's password: later"),
    ("253", "login_email_with_quote", "needs log-in: later"),
];

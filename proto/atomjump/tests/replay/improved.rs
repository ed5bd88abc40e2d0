//! What is better here on purpose.

/// Reading is open to anybody who asks: what it made would only grow.
const READ: &str = "reading makes no forum, user or session: they begin with the first write";
/// PHP grants every forum with a mark that any open one leaves.
const VISIT: &str = "a visit of an open forum opens no protected one";
const ANONYMOUS: &str = "a session that never wrote has no user to tell of";
const FAST: &str = "the fast reader serves sessions that never wrote";
const SHOUT_ID: &str = "a shout_id that is no number is none: stored anew, no SQL in the answer";

/// Captures whose outcome differs on purpose: what may differ, and why.
pub const IMPROVED: &[(&str, &[&str], &str)] = &[
    ("004", &["users", "forums", "session"], READ),
    ("005", &[".loggedIn", ".subscribeToggle"], ANONYMOUS),
    ("007", &["session"], READ),
    ("008", &["session"], READ),
    ("011", &["users", "session"], READ),
    ("024", &[".res", "row"], "another author's message is not taken over"),
    ("025", &["message", "content type", "body"], SHOUT_ID),
    ("026", &["message", ".sid", ".res"], SHOUT_ID),
    ("038", &["row", ".res"], "attributes are taken out of <i>"),
    ("051", &["users"], "an address in a message is not written into the author's user row"),
    ("058", &["row", ".res", ".ses", "users"], "a name with tags did not destroy the session"),
    (
        "060",
        &["message", "status", "content type", "body", "session"],
        "a latitude that is no number is ignored instead of HTTP 500",
    ),
    (
        "068",
        &["message", "content type", "body"],
        "a whisper to a malformed id is kept private instead of an SQL error",
    ),
    ("073", &["users", "session"], READ),
    ("077", &["users", "session"], READ),
    ("095", &["forums"], READ),
    ("096", &["forums"], READ),
    ("097", &["forums"], READ),
    ("099", &["users"], "a robot gets no user row"),
    ("100", &["forums"], READ),
    ("133", &["session"], READ),
    ("143", &[".res", "slashes"], VISIT),
    ("161", &["message", "body"], "only the author deletes, and the answer is valid script"),
    ("165", &["row"], "only the author hides, and only in the named forum"),
    ("166", &["row"], "only the author hides"),
    ("191", &["reflects"], "values on the page are escaped"),
    ("199", &[".res", "slashes", "session"], VISIT),
    ("200", &["session"], READ),
    ("201", &[".loggedIn", ".subscribeToggle"], ANONYMOUS),
    ("202", &[".res", "slashes"], VISIT),
    ("203", &[".res", "slashes", "session"], VISIT),
    ("219", &[".res"], "a forum in the session's list is read here as through the PHP"),
    ("220", &[".res"], VISIT),
    ("223", &["status", "location"], FAST),
    ("229", &["status", "location"], FAST),
    ("230", &["status", "location"], FAST),
    ("232", &["users", "forums", "session"], READ),
    ("236", &["message", "content type", "body"], "the message is stored: its id came with the task"),
    ("244", &["message", "content type", "body"], "a quote at the end of a name does not break the message"),
    ("254", &["content type", "body"], "an address in a message makes no user and no error"),
];

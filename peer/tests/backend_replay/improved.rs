//! What is better here on purpose.

/// Captures whose outcome differs on purpose: what may differ, and why.
pub const IMPROVED: &[(&str, &[&str], &str)] = &[
    ("001", &["session"], "a page load stores no session"),
    ("007", &["session"], "a page load stores no session"),
    ("010", &["session"], "a page load stores no session"),
    ("112", &["session"], "a page load stores no session"),
    ("193", &["session"], "a page load stores no session"),
    ("200", &["session"], "a page load stores no session"),
    ("191", &["session", "reflects"], "values on the page are escaped; a page load stores no session"),
    ("024", &[".res", "row"], "another author's message is not taken over"),
    (
        "025",
        &["message", "content type", "body", "session"],
        "a shout_id that is no number is none: stored anew, no SQL in the answer",
    ),
    ("026", &["message", ".sid", ".res"], "a shout_id that is no number is none: stored anew"),
    ("038", &["row", ".res"], "attributes are taken out of <i>"),
    ("051", &["users"], "an address in a message is not written into the author's user row"),
    ("058", &["row", ".res", ".ses", "users", "session"], "a name with tags did not destroy the session"),
    (
        "060",
        &["message", "status", "content type", "body", "session"],
        "a latitude that is no number is ignored instead of HTTP 500",
    ),
    ("061", &["session"], "a session without its address gets it back"),
    (
        "068",
        &["message", "content type", "body", "session"],
        "a whisper to a malformed id is kept private instead of an SQL error",
    ),
    ("099", &["users"], "a robot gets no user row"),
    ("161", &["message", "body"], "only the author deletes, and the answer is valid script"),
    ("165", &["row"], "only the author hides, and only in the named forum"),
    ("166", &["row"], "only the author hides"),
    ("219", &[".res"], "a forum in the session's list is read here as through the PHP"),
    (
        "236",
        &["message", "content type", "body", "session"],
        "the message is stored: its id came with the task",
    ),
    (
        "244",
        &["message", "content type", "body", "session"],
        "a quote at the end of a name does not break the message",
    ),
    ("254", &["content type", "body", "session"], "an address in a message makes no user and no error"),
];

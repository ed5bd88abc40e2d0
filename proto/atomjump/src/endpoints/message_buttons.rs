//! `single-msg-buttons.php`: buttons that plugins add to a message. There are none.

use super::{Answer, HTML};

/// An empty list.
pub fn answer() -> Answer {
    Answer::jsonp(HTML, b"\"\"".to_vec())
}

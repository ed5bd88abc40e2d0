//! What AtomJump's requests mean, over rows that somebody else keeps.
//!
//! Pure: the same call, session and rows give the same facts and the same answer on every machine, whoever asks. So one
//! machine executes what another renders, and a third checks. Owns AtomJump's behaviour; never knows where rows are
//! kept, who holds a forum, or how bytes travel.

mod call;
mod conform;
pub mod dates;
mod endpoints;
pub mod escape;
mod execute;
mod executed;
mod json;
mod markup;
pub mod new_rows;
mod peano;
mod render;
mod request;
mod session;
mod text;
mod view;
mod whole;
mod window;

pub use call::{Call, Given};
pub use conform::{Claim, Extent, Rule, conform};
pub use endpoints::{
    Answer,
    shout::{CHECKSUM, DEGREES_CHARS_MAX, NAME_CHARS_MAX},
    watch::{Shown, render_change},
};
pub use execute::{execute, execute_refused};
pub use executed::Executed;
pub use markup::is_harmless;
pub use render::{refused, render, render_plain};
pub use request::{fake_ip, is_robot, message_id};
pub use session::Session;
pub use view::{ReadView, Row, Viewer, WriteView};
pub use whole::Whole;
pub use window::{ForumWindow, Rows};

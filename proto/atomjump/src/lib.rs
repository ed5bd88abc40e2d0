//! What AtomJump's requests mean, over rows that somebody else keeps.
//!
//! Pure: the same call, session and rows give the same facts and the same answer on every machine, whoever asks. So one
//! machine executes what another renders, and a third checks. Owns AtomJump's behaviour; never knows where rows are
//! kept, who holds a forum, or how bytes travel.

mod call;
pub mod dates;
mod endpoints;
pub mod escape;
mod execute;
mod json;
mod peano;
mod render;
mod request;
mod session;
mod stored_session;
mod text;
mod view;
mod window;

pub use call::Call;
pub use endpoints::Answer;
pub use execute::{Executed, execute};
pub use render::{Rendered, refused, render, render_plain, written};
pub use stored_session::StoredSession;
pub use view::{NoUserId, Row, UserIds, View, Viewer};
pub use window::{ForumWindow, Rows};

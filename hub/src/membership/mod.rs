//! The set of hubs: how a group forms, who enters and leaves, and each change to its end.

mod changes;
mod entry;
mod out;

pub use changes::{Changes, see_through, votes};
pub use entry::{Membership, hand_over};
pub use out::{check_is_not_out, note_taken_out};

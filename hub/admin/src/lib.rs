//! A client of the hubs' AdminService: asks each hub in turn, shows the admin token, and says what to do where it fails.

mod admin;
mod error;
mod reach;

pub use admin::Admin;
pub use error::{AdminError, Tried, usage_json};

//! Published files on their way between this hub and peers: fetched for browsers, handed out when they are published.
//!
//! Which path has which hash is agreed; who really has the bytes is not, so peers are asked, and what they send is
//! nobody's to see before its size and SHA-256 are right.

mod fetch;
mod give;
mod parts;

pub use give::{Candidate, Upload};
pub use parts::{Content, hash_of};

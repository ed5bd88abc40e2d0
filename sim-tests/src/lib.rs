//! Tests of whole systems, and what they are written with.
//!
//! Owns the client's view: what was sent, what was acknowledged, what must be there afterwards.
//! Nothing depends on this package.

// An exported RUSTFLAGS replaces .cargo/config.toml without a word, and seeded runs would no longer repeat.
const _: () =
    assert!(cfg!(tokio_unstable), "unset RUSTFLAGS: it hides --cfg tokio_unstable of .cargo/config.toml");

pub mod anonymous;
pub mod browser;
pub mod bystander;
pub mod churn;
pub mod client;
pub mod copies;
pub mod expect;
pub mod guest;
pub mod hostile;
pub mod hubctl;
pub mod hunt;
pub mod imports;
pub mod invariants;
pub mod kill_story;
pub mod months;
pub mod operator;
pub mod oracle;
pub mod raw_http;
pub mod replica;
pub mod resources;
pub mod runs;
pub mod source;
pub mod statements;
pub mod system;
pub mod watch;
pub mod watched;
pub mod world;
pub mod writers;

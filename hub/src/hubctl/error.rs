//! What can go wrong between an operator and a hub, and the exit code it becomes.

use std::io;

/// A failure of `hubctl`, with what to do next.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// An address that is none. Exit code 2.
    #[error("{addr} is not a hub's address ({why}); give host:port, for example --hub 127.0.0.1:9080")]
    Address {
        /// What was given.
        addr: String,
        /// What is wrong with it.
        why: String,
    },
    /// A flag's value that cannot be used. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// None of the hubs answered. Exit code 3.
    #[error(
        "no hub answered:\n{tried}Is the system running (`make run`)? --hub host:port names another hub's gRPC address."
    )]
    Unreachable {
        /// One line per hub that was tried.
        tried: String,
    },
    /// The hub knows no such thing. Exit code 4.
    #[error("not found: {0}")]
    NotFound(String),
    /// A hub answered, but not with what was asked for. Exit code 1.
    #[error("hub {hub} said no ({code}): {message}")]
    Refused {
        /// The hub.
        hub: String,
        /// The gRPC status code.
        code: String,
        /// The hub's words.
        message: String,
    },
    /// What was checked is not as it should be. Exit code 1.
    #[error("{0}")]
    Unequal(String),
    /// The hub has answered, and not all is well. Exit code 5.
    #[error("not all is well: {0}")]
    Unwell(String),
    /// The answer could not be printed. Exit code 1.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

impl CtlError {
    /// The process's exit code: stable, for scripts.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Unequal(_) | Self::Print(_) => 1,
            Self::Address { .. } | Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::NotFound(_) => 4,
            Self::Unwell(_) => 5,
        }
    }
}

//! What can go wrong between an operator and a hub, the exit code it becomes, and the JSON it is under `--json`.

use std::{
    fmt::{self, Write},
    io,
};

use serde_json::json;

/// A failure of `hubctl`, with what to do next.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// An address that is none. Exit code 2.
    #[error("{addr} is not a hub's address ({why}); give host:port, for example --hub 127.0.0.1:9080")]
    Address {
        /// What was given.
        addr: String,
        /// What is wrong with it.
        why: String,
    },
    /// A flag's value that cannot be used, or a yes that is missing. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A name that several peers have. Exit code 2.
    #[error("{0}")]
    Ambiguous(String),
    /// None of the hubs answered. Exit code 3.
    #[error(
        "no hub answered:\n{}Is the system running (`make run`)? --hub host:port names another hub's gRPC address.",
        lines(tried)
    )]
    Unreachable {
        /// Every hub that was tried.
        tried: Vec<Tried>,
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
    /// Somebody who was waited for has not answered, or not finished, in time. Exit code 6.
    #[error("{0}")]
    Unfinished(String),
    /// As things are it cannot be done, and waiting will not help. Exit code 7.
    #[error("{0}")]
    Impossible(String),
    /// The answer could not be printed. Exit code 1.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// A hub that did not answer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its address as it was given.
    pub hub: String,
    /// What stands against it, and what to do.
    pub why: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.hub, self.why)
    }
}

fn lines(tried: &[Tried]) -> String {
    tried.iter().fold(String::new(), |mut text, tried| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {tried}");
        text
    })
}

impl AdminError {
    /// The process's exit code: stable, for scripts.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Unequal(_) | Self::Print(_) => 1,
            Self::Address { .. } | Self::Usage(_) | Self::Ambiguous(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::NotFound(_) => 4,
            Self::Unwell(_) => 5,
            Self::Unfinished(_) => 6,
            Self::Impossible(_) => 7,
        }
    }

    /// What went wrong, in a word that stays the same: finer than the exit code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "address",
            Self::Usage(_) => "usage",
            Self::Ambiguous(_) => "ambiguous",
            Self::Unreachable { .. } => "unreachable",
            Self::NotFound(_) => "not-found",
            Self::Refused { .. } => "refused",
            Self::Unequal(_) => "differs",
            Self::Unwell(_) => "unwell",
            Self::Unfinished(_) => "unfinished",
            Self::Impossible(_) => "impossible",
            Self::Print(_) => "print",
        }
    }

    /// The failure as one line of JSON.
    pub fn json(&self) -> String {
        let mut error = error_json(self.code(), self.exit_code(), &self.to_string());
        match self {
            Self::Unreachable { tried } => {
                let tried = tried.iter().map(|tried| json!({ "hub": tried.hub, "why": tried.why }));
                error["error"]["tried"] = tried.collect();
            }
            Self::Refused { hub, code, .. } => {
                error["error"]["hub"] = json!(hub);
                error["error"]["grpc_code"] = json!(code);
            }
            _ => {}
        }
        error.to_string()
    }
}

/// A command line that cannot be read, as the same line of JSON.
pub fn usage_json(message: &str) -> String {
    error_json("usage", 2, message.trim_end()).to_string()
}

fn error_json(code: &str, exit_code: u8, message: &str) -> serde_json::Value {
    json!({ "error": { "code": code, "exit_code": exit_code, "message": message } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_as_json_has_a_code_a_number_and_a_message() {
        let read = |error: AdminError| -> serde_json::Value { serde_json::from_str(&error.json()).unwrap() };
        let none = read(AdminError::NotFound("no peer p9".into()));
        assert_eq!(none["error"]["code"], "not-found");
        assert_eq!(
            (&none["error"]["exit_code"], &none["error"]["message"]),
            (&json!(4), &json!("not found: no peer p9"))
        );
        let tried = vec![Tried { hub: "h:1".into(), why: "off".into() }];
        let nobody = AdminError::Unreachable { tried };
        assert!(nobody.to_string().contains("\n  h:1: off\n"), "{nobody}");
        assert_eq!(read(nobody)["error"]["tried"], json!([{ "hub": "h:1", "why": "off" }]));
        let no = AdminError::Refused {
            hub: "h:1".into(),
            code: "FailedPrecondition".into(),
            message: "no".into(),
        };
        let no = read(no);
        assert_eq!(
            (&no["error"]["hub"], &no["error"]["grpc_code"]),
            (&json!("h:1"), &json!("FailedPrecondition"))
        );
        assert!(!AdminError::Usage("a\nb".into()).json().contains('\n'), "one line");
    }
}

//! Why the projection is not current, in a sentence that says what to do. Never holds a password.

use std::time::Duration;

use mysql_async::{Error, IoError};

/// Why the writer cannot go on for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

/// Numbers that MariaDB and MySQL give their errors.
mod code {
    pub const NO_RIGHT_ON_DATABASE: u16 = 1044;
    pub const ACCESS_DENIED: u16 = 1045;
    pub const NO_SUCH_DATABASE: u16 = 1049;
    pub const TABLE_FULL: u16 = 1114;
    pub const TOO_MANY_CONNECTIONS: u16 = 1040;
    pub const NO_RIGHT_ON_TABLE: u16 = 1142;
    pub const NO_RIGHT: u16 = 1227;
    pub const UNKNOWN_ENGINE: u16 = 1286;
    pub const NO_SUCH_TABLE: u16 = 1146;
}

impl Trouble {
    /// It took longer than anything healthy does.
    pub fn silent(within: Duration) -> Self {
        Self(format!(
            "the database has not answered for {} s: is it overloaded or standing still?",
            within.as_secs()
        ))
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self(match error {
            Error::Server(server) => of_server(server.code, &server.message),
            Error::Io(IoError::Io(error)) => {
                format!(
                    "the database cannot be reached ({error}): is it running where --projection-url says?"
                )
            }
            Error::Url(_) => "--projection-url cannot be read".to_owned(),
            other => format!(
                "the connection to the database has broken ({other}): is it running where --projection-url says?"
            ),
        })
    }
}

fn of_server(number: u16, said: &str) -> String {
    let todo = match number {
        code::ACCESS_DENIED => "check user and password in --projection-url",
        code::NO_RIGHT_ON_DATABASE | code::NO_RIGHT_ON_TABLE | code::NO_RIGHT => {
            "give the user all rights on the projection's database (GRANT ALL ON that database, and on nothing else)"
        }
        code::NO_SUCH_DATABASE => "make it (CREATE DATABASE) and give the user all rights on it",
        code::TABLE_FULL => {
            "raise max_heap_table_size in the database's configuration (SET GLOBAL does it at once), or lower \
             --projection-records, or take --projection-engine innodb"
        }
        code::TOO_MANY_CONNECTIONS => "raise its max_connections",
        code::UNKNOWN_ENGINE => "choose another --projection-engine, or switch this one on in the database",
        code::NO_SUCH_TABLE => "somebody has removed it; it is made again",
        _ => "see the database's log",
    };
    format!("the database says: {said} ({number}): {todo}")
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    #[test]
    fn every_trouble_says_what_to_do() {
        let said = |number| {
            let error = ServerError { code: number, message: "no".into(), state: "HY000".into() };
            Trouble::from(Error::Server(error)).to_string()
        };
        assert!(said(1045).contains("password in --projection-url"));
        assert!(said(1114).contains("max_heap_table_size"));
        assert!(said(1049).contains("CREATE DATABASE"));
        assert!(said(9999).contains("the database's log"));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(Trouble::from(Error::from(refused)).to_string().contains("is it running"));
        assert!(Trouble::silent(Duration::from_secs(10)).to_string().contains("10 s"));
    }
}

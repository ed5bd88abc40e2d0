//! Where the projection is written and how much of it. Owns what is valid; never connects.

use std::{fmt, net::IpAddr};

use loop_net::secret::Secret;
use mysql_async::{Opts, UrlError};

use super::{
    error::{ConfigError, invalid},
    options::{Options, ProjectionEngine},
};

/// Records of the log that have rows, if nobody says otherwise. A MEMORY table of 16 MiB, the limit of a database that nobody has
/// configured, holds 114,000 requests.
const RECORDS: u64 = 65_536;
const RECORDS_MIN: u64 = 1000;
const RECORDS_MAX: u64 = 10_000_000;
/// What stands where a password was.
const MASK: &str = "***";

/// Where rows are written for whoever asks in SQL.
#[derive(Clone)]
pub struct ProjectionConfig {
    /// `mysql://user:password@host:port/database`.
    pub url: Secret,
    /// The same without the password.
    pub url_masked: String,
    /// Database and server, to be shown.
    pub place: String,
    /// What the tables are kept by.
    pub engine: ProjectionEngine,
    /// How many of the newest records have rows.
    pub records: u64,
}

impl fmt::Debug for ProjectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {} records)", self.url_masked, self.engine, self.records)
    }
}

impl ProjectionConfig {
    /// What the options say; none: there is no projection.
    pub(super) fn read(options: &Options, insecure: bool) -> Result<Option<Self>, ConfigError> {
        let Some(url) = &options.projection_url else {
            if options.projection_engine.is_some() || options.projection_records.is_some() {
                return invalid(
                    "--projection-engine and --projection-records say how, --projection-url says where: give it too",
                );
            }
            return Ok(None);
        };
        let opts = Opts::from_url(url).map_err(|error| ConfigError::Invalid(told(&error)))?;
        let Some(database) = opts.db_name().filter(|name| !name.is_empty()) else {
            return invalid(
                "--projection-url names no database: mysql://user:password@host:3306/database, one for this hub alone",
            );
        };
        if opts.pass() == Some(MASK) {
            return invalid(
                "--projection-url has *** for a password, as it is printed: give the password itself",
            );
        }
        let server = match opts.socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port()),
        };
        if opts.socket().is_none() && !is_here(opts.ip_or_hostname()) && !insecure {
            return invalid(format!(
                "--projection-url: {server} may be another machine, and nothing is encrypted yet: use a database on this \
                 one, or accept it with --insecure-plaintext"
            ));
        }
        let records = options.projection_records.unwrap_or(RECORDS);
        if !(RECORDS_MIN..=RECORDS_MAX).contains(&records) {
            return invalid(format!(
                "--projection-records {records} is not between {RECORDS_MIN} and {RECORDS_MAX}"
            ));
        }
        Ok(Some(Self {
            url: Secret::from(url.clone()),
            url_masked: masked(url),
            place: format!("{database} at {server}"),
            engine: options.projection_engine.unwrap_or(ProjectionEngine::Memory),
            records,
        }))
    }
}

/// Never what was given: a password may be in it, wherever its owner has put it.
fn told(error: &UrlError) -> String {
    let why = match error {
        UrlError::UnsupportedScheme { .. } => "it does not begin with mysql://",
        UrlError::UnknownParameter { .. } | UrlError::FeatureRequired { .. } => {
            "it has a parameter that is not known here"
        }
        UrlError::InvalidParamValue { .. } | UrlError::InvalidPoolConstraints { .. } => {
            "a parameter has a value that cannot be"
        }
        UrlError::Invalid | UrlError::Parse(_) => {
            "special characters in user and password are written as %40 and the like"
        }
    };
    format!("--projection-url is not mysql://user:password@host:3306/database: {why}")
}

fn is_here(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The URL with stars for its password, if it has one.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((who, server)) = authority.rsplit_once('@') else { return url.to_owned() };
    match who.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{MASK}@{server}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<ProjectionConfig, String> {
        let options = Options { projection_url: Some(url.into()), ..Options::default() };
        ProjectionConfig::read(&options, false).map(|read| read.unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn there_is_none_unless_somebody_says_where() {
        assert!(ProjectionConfig::read(&Options::default(), false).unwrap().is_none());
        let how = Options { projection_engine: Some(ProjectionEngine::Innodb), ..Options::default() };
        assert!(ProjectionConfig::read(&how, false).unwrap_err().to_string().contains("--projection-url"));
    }

    #[test]
    fn the_password_does_not_print_and_what_prints_is_no_password() {
        let config = read("mysql://hub:s%40cret@127.0.0.1:3307/loop_h1").unwrap();
        assert_eq!(config.place, "loop_h1 at 127.0.0.1:3307");
        assert_eq!(config.url_masked, "mysql://hub:***@127.0.0.1:3307/loop_h1");
        assert!(!format!("{config:?}").contains("cret"));
        assert!(read(&config.url_masked).unwrap_err().contains("***"));
        assert_eq!(read("mysql://hub@[::1]/loop").unwrap().url_masked, "mysql://hub@[::1]/loop");
    }

    #[test]
    fn what_cannot_work_says_what_to_change_and_never_what_was_given() {
        for (url, told) in [
            ("mysql://hub:secret@127.0.0.1:3306", "names no database"),
            ("postgres://hub:secret@127.0.0.1/loop", "mysql://"),
            ("hub:secret@127.0.0.1/loop", "mysql://"),
            ("mysql://hub:secret@127.0.0.1/loop?secret=1", "parameter"),
            ("mysql://hub:secret@db.example.org/loop", "--insecure-plaintext"),
        ] {
            let error = read(url).unwrap_err();
            assert!(error.contains(told) && !error.contains("secret"), "{url}: {error}");
        }
        let socket = read("mysql://hub:secret@localhost/loop?socket=%2Frun%2Fdb.sock").unwrap();
        assert_eq!(socket.place, "loop at /run/db.sock");
        let few = Options {
            projection_url: Some("mysql://hub@localhost/loop".into()),
            projection_records: Some(1),
            ..Options::default()
        };
        assert!(
            ProjectionConfig::read(&few, false).unwrap_err().to_string().contains("--projection-records")
        );
    }
}

//! The comparison for reads: a stock MariaDB on a folder of its own, and one Node process that answers `search-chat.php` from
//! it as loop-server-fast does (`benches/node/reader.mjs`). Owns both processes and the rows in the database.
//!
//! MariaDB is reached over its socket, with as many connections as there are readers, and syncs its own log once a second.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use loop_proto::ids::ForumKey;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    time::{Instant, sleep, timeout},
};

/// AtomJump's tables as upstream makes them.
const SCHEMA: &str = include_str!("../../../peer/tests/fixtures/atomjump-schema.sql");

/// How long a server may take to start, or to make its own tables.
const START_WITHIN: Duration = Duration::from_secs(60);

/// The first forum's number, where AtomJump's own begin.
const FORUM_ID_FIRST: u32 = 178;

/// Sessions there are, each with a user of its own.
pub const SESSIONS: u32 = 64;

/// Rows in one INSERT.
const ROWS_AT_ONCE: usize = 500;

/// A running MariaDB and Node. Dropped, they are killed and their data is deleted.
pub struct Node {
    /// `127.0.0.1:port`.
    pub http: String,
    reader: Child,
    database: Child,
    /// Deleted after the processes are gone, hence below them.
    folder: TempDir,
}

/// A forum as browsers are shown it: its name, and its messages, oldest first.
#[derive(Clone)]
pub struct Forum {
    /// Its name.
    pub name: String,
    /// What is shown of each message.
    pub messages: Vec<String>,
}

impl Node {
    /// Starts both, with these forums in the database, and `connections` from one to the other.
    pub async fn start(forums: &[Forum], connections: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loop-load-node-").tempdir()?;
        let database = start_database(folder.path()).await?;
        execute(
            folder.path(),
            &format!("CREATE DATABASE atomjump; USE atomjump;\n{SCHEMA}\n{}", rows(forums)),
        )
        .await
        .context("filling the database")?;
        let mut reader = Command::new("node")
            .arg(here().join("reader.mjs"))
            .args(["0".as_ref(), socket(folder.path()).as_os_str(), connections.to_string().as_ref()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node cannot be started; scripts/install-tools.sh bench installs it")?;
        let mut lines = BufReader::new(reader.stdout.take().context("node has no output")?).lines();
        let port = timeout(START_WITHIN, lines.next_line()).await.context("node does not say its port")??;
        let port: u16 = port
            .context("node has ended; does scripts/install-tools.sh bench fetch what it needs?")?
            .trim()
            .parse()?;
        Ok(Self { http: format!("127.0.0.1:{port}"), reader, database, folder })
    }

    /// A session's id, by its number.
    pub fn session(number: usize) -> String {
        format!("benchsession{:014}", number % SESSIONS as usize)
    }

    /// The process that answers, and the database.
    pub fn pids(&self) -> (Vec<u32>, Vec<u32>) {
        (self.reader.id().into_iter().collect(), self.database.id().into_iter().collect())
    }

    /// Somebody who inserts messages into the first forum, each with this text.
    pub fn writer(&self, text: &str) -> Result<Writer> {
        let statement = format!("{INSERT_MESSAGES} {};\n", message(FORUM_ID_FIRST, text, "UTC_TIMESTAMP()"));
        let mut client = client(self.folder.path());
        let mut client = client.arg("atomjump").stdin(Stdio::piped()).spawn()?;
        let input = client.stdin.take().context("the client has no input")?;
        Ok(Writer { statement, input, _client: client })
    }
}

/// Inserts, by a client of the database's own.
pub struct Writer {
    statement: String,
    input: ChildStdin,
    _client: Child,
}

impl Writer {
    /// One message more. Does not wait for the database.
    pub async fn write(&mut self) -> Result<()> {
        self.input.write_all(self.statement.as_bytes()).await?;
        Ok(self.input.flush().await?)
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// A server's programs are where a user's PATH may not look.
fn program(name: &str) -> String {
    let system = format!("/usr/sbin/{name}");
    if Path::new(&system).is_file() { system } else { name.to_owned() }
}

fn client(folder: &Path) -> Command {
    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", socket(folder).display()));
    client.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    client
}

async fn execute(folder: &Path, statements: &str) -> Result<()> {
    let mut running = client(folder).stdin(Stdio::piped()).spawn()?;
    let mut input = running.stdin.take().context("the client has no input")?;
    // What it has to say to a broken statement is its exit and its error.
    let _ = input.write_all(statements.as_bytes()).await;
    drop(input);
    let output = running.wait_with_output().await?;
    ensure!(output.status.success(), "mariadb: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn start_database(folder: &Path) -> Result<Child> {
    let user = Command::new("id").arg("-un").output().await?.stdout;
    let user = format!("--user={}", String::from_utf8_lossy(&user).trim());
    let data = format!("--datadir={}", folder.join("data").display());
    let mut install = Command::new("mariadb-install-db");
    install.args([
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        &data,
        &user,
    ]);
    let installed = install.stdin(Stdio::null()).output().await;
    let installed =
        installed.context("mariadb-install-db is missing; scripts/install-tools.sh bench installs it")?;
    ensure!(installed.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&installed.stderr));
    let log = std::fs::File::create(folder.join("log"))?;
    let mut server = Command::new(program("mariadbd"))
        .args(["--no-defaults", "--skip-networking", "--skip-grant-tables", &data, &user])
        .args(["--innodb-flush-log-at-trx-commit=2", "--sql-mode=", "--default-time-zone=+00:00"])
        .arg(format!("--socket={}", socket(folder).display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("mariadbd cannot be started")?;
    let until = Instant::now() + START_WITHIN;
    while execute(folder, "SELECT 1").await.is_err() {
        if let Some(status) = server.try_wait()? {
            bail!("mariadbd ended with {status}: {}", std::fs::read_to_string(folder.join("log"))?);
        }
        ensure!(Instant::now() < until, "mariadbd does not answer within {START_WITHIN:?}");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(server)
}

const INSERT_MESSAGES: &str = "INSERT INTO tbl_ssshout (int_layer_id, var_shouted, var_shouted_processed, date_when_shouted, \
     enm_active, enm_status, var_whisper_to, var_ip, int_author_id) VALUES";

fn message(forum: u32, text: &str, at: &str) -> String {
    let text = quoted(text);
    format!("({forum}, {text}, {text}, {at}, 'true', 'final', '', '192.98.101.110', 414)")
}

/// As MariaDB reads a string.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// All rows, as statements.
fn rows(forums: &[Forum]) -> String {
    let mut sql = String::new();
    for number in 0..SESSIONS {
        let (id, user) = (Node::session(number as usize), 414 + number);
        let data = format!(
            "authenticated-layer|s:0:\"\";view-count|i:1;logged-user|i:{user};logged-email|s:0:\"\";\
             user-ip|s:14:\"192.98.101.110\";"
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            sql,
            "INSERT INTO tbl_user (int_user_id, var_last_ip) VALUES ({user}, '192.98.101.110'); \
             INSERT INTO php_session (session_id, user_id, session_data) VALUES ('{id}', '{user}', {});",
            quoted(&data)
        );
    }
    let mut messages = Vec::new();
    for (id, forum) in (FORUM_ID_FIRST..).zip(forums) {
        let passcode = ForumKey::of_name(forum.name.as_bytes()).to_hex();
        let _ = writeln!(
            sql,
            "INSERT INTO tbl_layer (int_layer_id, enm_access, passcode) VALUES ({id}, 'public', '{passcode}');"
        );
        let texts = forum.messages.iter();
        messages.extend(texts.map(|text| message(id, text, "UTC_TIMESTAMP() - INTERVAL 30 MINUTE")));
    }
    for some in messages.chunks(ROWS_AT_ONCE) {
        let _ = writeln!(sql, "{INSERT_MESSAGES} {};", some.join(", "));
    }
    sql.push_str("ANALYZE TABLE tbl_ssshout, tbl_layer, php_session;\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_forum_are_written_and_no_text_ends_its_string() {
        let messages = vec!["it's".to_owned(), "a\\b".to_owned()];
        let sql = rows(&[Forum { name: "garden".into(), messages }]);
        assert!(sql.contains(r"'it\'s'") && sql.contains(r"'a\\b'"), "{sql}");
        assert!(sql.contains(&ForumKey::of_name(b"garden").to_hex()));
        assert_eq!(sql.matches("INTO php_session").count(), SESSIONS as usize);
    }
}

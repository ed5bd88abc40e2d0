//! A real MariaDB on a folder and a port of its own, gone with it. May be killed, stopped, and started again.

#![allow(dead_code, missing_docs, reason = "not every test uses all of it")]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a server may take to start or to make its own tables.
const START_MAX: Duration = Duration::from_secs(60);
/// The hub's user and its password.
const USER: &str = "loop_hub";
pub const PASSWORD: &str = "a p@ss/word";
const PASSWORD_IN_URL: &str = "a%20p%40ss%2Fword";

pub struct MariaDb {
    dir: TempDir,
    port: u16,
    server: Option<Child>,
}

impl MariaDb {
    /// A folder with a server's own tables, and no server yet.
    pub fn prepare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.args(["--innodb-log-file-size=4M", "--innodb-data-file-path=ibdata1:4M:autoextend"]);
        install.arg(own_tmp(dir.path()));
        run(install.arg(data(dir.path())).arg(format!("--user={}", user())));
        Self { dir, port, server: None }
    }

    pub fn start() -> Self {
        let mut database = Self::prepare();
        database.start_again();
        database
    }

    /// Starts the server on what is in its folder, with the settings it has without any configuration.
    pub fn start_again(&mut self) {
        let dir = self.dir.path();
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let mut server = Command::new(program("mariadbd"));
        server.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"]);
        server.args(["--innodb-log-file-size=4M", "--innodb-data-file-path=ibdata1:4M:autoextend"]);
        server
            .arg(own_tmp(dir))
            .arg(data(dir))
            .arg(format!("--user={}", user()))
            .arg(format!("--port={}", self.port));
        server.arg(format!("--socket={}", dir.join("socket").display()));
        server.arg(format!("--pid-file={}", dir.join("pid").display()));
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(server.spawn().unwrap());
        self.wait();
    }

    fn wait(&mut self) {
        let until = Instant::now() + START_MAX;
        while !self.client("", "SELECT 1").status.success() {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "no server:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// As a power cut would: nothing is told, nothing is written.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// It answers nothing any more, and keeps its connections.
    pub fn stand_still(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let server = self.server.as_ref().expect("it runs").id().to_string();
        run(Command::new("kill").args([signal, &server]));
    }

    /// A new database; the hub's user may do everything in it, and nothing elsewhere. Its URL.
    pub fn create(&self, database: &str) -> String {
        self.query(
            "",
            &format!(
                "CREATE DATABASE {database}; CREATE USER IF NOT EXISTS {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
                 GRANT ALL ON {database}.* TO {USER}@'127.0.0.1'"
            ),
        );
        self.url(database)
    }

    pub fn url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    /// What its own client says to these statements, which a server's administrator gives.
    pub fn client(&self, database: &str, statements: &str) -> Output {
        let mut client = Command::new("mariadb");
        client.arg("--no-defaults").arg(format!("--socket={}", self.dir.path().join("socket").display()));
        client.args(["--user=root", "--batch", "--skip-column-names", "--execute", statements]);
        client.arg(format!("--database={database}")).output().unwrap()
    }

    /// What these statements answer, tabs between columns; they must be fine.
    pub fn query(&self, database: &str, statements: &str) -> String {
        let output = self.client(database, statements);
        assert!(output.status.success(), "{statements}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// The number these statements answer.
    pub fn number(&self, database: &str, statements: &str) -> u64 {
        let answer = self.query(database, statements);
        answer.parse().unwrap_or_else(|_| panic!("{statements}: {answer:?} is no number"))
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // Nothing of it is kept.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn data(dir: &Path) -> String {
    format!("--datadir={}", dir.join("data").display())
}

/// A server that starts removes what others have left in the folder for temporary tables, also of those that run.
fn own_tmp(dir: &Path) -> String {
    format!("--tmpdir={}", dir.display())
}

fn user() -> String {
    text(&run(Command::new("id").arg("-un")).stdout).trim().to_owned()
}

/// Servers are where a user's search path may not look.
fn program(name: &str) -> String {
    let places = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"].map(|place| format!("{place}/{name}"));
    places.into_iter().find(|path| Path::new(path).exists()).unwrap_or_else(|| name.to_owned())
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/install-tools.sh installs MariaDB"));
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! A stock MariaDB on a folder of its own, gone with it.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// AtomJump's tables as upstream makes them.
pub const SCHEMA: &str = include_str!("../fixtures/atomjump-schema.sql");

/// How long a server may take to start or to make its own tables.
const START_MAX: Duration = Duration::from_secs(60);

/// A running server.
pub struct MariaDb {
    server: Child,
    dir: TempDir,
}

impl MariaDb {
    /// Starts a server with the settings it has without any configuration.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let user = text(&run(Command::new("id").arg("-un")).stdout).trim().to_owned();
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        // A server that starts removes what it takes for its own in the machine's folder, whoever's it is.
        let tmp = format!("--tmpdir={}", dir.path().display());
        run(install.arg(&tmp).arg(format!("--datadir={}", data.display())).arg(format!("--user={user}")));
        let mut server = Command::new(program("mariadbd"));
        server.args(["--no-defaults", "--skip-networking", "--skip-grant-tables"]).arg(tmp);
        server.arg(format!("--datadir={}", data.display())).arg(format!("--user={user}"));
        server.arg(format!("--socket={}", dir.path().join("socket").display()));
        server.arg(format!("--pid-file={}", dir.path().join("pid").display()));
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let server =
            server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut database = Self { server, dir };
        database.wait();
        database
    }

    fn wait(&mut self) {
        let tries = START_MAX.as_millis() / 100;
        for _ in 0..tries {
            if self.client("", "SELECT 1").status.success() {
                return;
            }
            assert!(self.server.try_wait().unwrap().is_none(), "the server ended:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server does not answer:\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn socket(&self) -> String {
        format!("--socket={}", self.dir.path().join("socket").display())
    }

    /// What its client says to these statements.
    pub fn client(&self, database: &str, statements: &str) -> Output {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", &self.socket(), "--batch", "--execute", statements]);
        client.arg(format!("--database={database}")).output().unwrap()
    }

    /// What these statements answer; they must be fine.
    pub fn query(&self, database: &str, statements: &str) -> String {
        let output = self.client(database, statements);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A new database with AtomJump's tables.
    pub fn create(&self, database: &str) {
        self.query("", &format!("CREATE DATABASE {database}"));
        self.query(database, SCHEMA);
    }

    /// `mariadb DATABASE < FILE`.
    pub fn load(&self, database: &str, file: &Path) -> Output {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", &self.socket(), database]);
        client.stdin(std::fs::File::open(file).unwrap()).output().unwrap()
    }

    /// A forum's rows by MariaDB's own tool.
    pub fn dump(&self, database: &str, forum: u32, file: &Path) {
        let of_forum = format!("int_layer_id={forum}");
        let users = format!(
            "SELECT int_author_id FROM tbl_ssshout WHERE {of_forum} UNION \
             SELECT int_whisper_to_id FROM tbl_ssshout WHERE {of_forum} UNION \
             SELECT int_user_id FROM tbl_layer_subscription WHERE {of_forum} UNION \
             SELECT int_group_id FROM tbl_layer WHERE {of_forum}"
        );
        let tables = [
            ("tbl_layer", of_forum.clone(), false),
            ("tbl_ssshout", of_forum.clone(), false),
            ("tbl_layer_subscription", of_forum, false),
            ("tbl_user", format!("int_user_id IN ({users})"), true),
            ("php_session", format!("user_id IN ({users})"), true),
        ];
        let mut whole = Vec::new();
        for (table, rows, replace) in tables {
            let mut dump = Command::new("mariadb-dump");
            dump.args(["--no-defaults", &self.socket(), "--single-transaction", "--skip-triggers"]);
            dump.args(["--no-create-info", "--hex-blob", "--default-character-set=utf8mb4"]);
            if replace {
                dump.arg("--replace");
            }
            whole.extend(run(dump.args([database, table]).arg(format!("--where={rows}"))).stdout);
        }
        std::fs::write(file, whole).unwrap();
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // Nothing of it is kept.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
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

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

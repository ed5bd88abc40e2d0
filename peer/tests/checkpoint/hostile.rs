//! Files that volunteers who mean harm, or broken disks, might hand over. Each is refused with its line and what is
//! wrong, and the forum that was there stays to the byte.

use std::{fs, path::PathBuf};

use loop_peer::backend::{Backend, Digest, InstallError, embedded::EmbeddedBackend};
use loop_proto::{ids::TaskId, v1};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::forum::{apply, digest, export, fill, forum_id, message, open};

/// A peer that has an old copy of the forum and waits for a new one, and a good one to spoil.
struct Target {
    backend: EmbeddedBackend,
    held: Digest,
    dir: TempDir,
    header: v1::CheckpointHeader,
    good: Vec<u8>,
}

impl Target {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = open(&dir.path().join("source"));
        fill(&source);
        let file = dir.path().join("good.sql");
        let header = export(&source, &file);
        let backend = open(&dir.path().join("target"));
        let old = v1::fact::Kind::MessageStored(message(1, "what was here before"));
        let stranger = v1::MessageStored { forum_id: 179, ..message(777, "another forum's") };
        apply(&backend, 1, vec![old]);
        other_forum(&backend, stranger);
        backend.begin_joining(forum_id(), TaskId::new(2).unwrap()).unwrap();
        let held = digest(&backend);
        Self { backend, held, good: fs::read(&file).unwrap(), dir, header }
    }

    fn good(&self) -> String {
        String::from_utf8(self.good.clone()).unwrap()
    }

    /// Installs these bytes as if they were what was announced.
    fn install(&self, bytes: &[u8]) -> Result<(), InstallError> {
        let header = v1::CheckpointHeader {
            bytes: bytes.len() as u64,
            sha256: Sha256::digest(bytes).to_vec().into(),
            ..self.header.clone()
        };
        self.install_as(bytes, &header)
    }

    fn install_as(&self, bytes: &[u8], header: &v1::CheckpointHeader) -> Result<(), InstallError> {
        let file = self.file();
        fs::write(&file, bytes).unwrap();
        self.backend.install(header, &file, &|_| {}, &|| false)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("hostile.sql")
    }

    /// It must be refused for this reason, at this line if one is given, and nothing may have changed.
    fn refuses(&self, outcome: Result<(), InstallError>, wanted: Option<u64>, why: &str) {
        match outcome {
            Err(InstallError::Refused { line, reason }) => {
                assert!(reason.contains(why), "line {line}: {reason}, not {why}");
                if let Some(wanted) = wanted {
                    assert_eq!(line, wanted, "{reason}");
                }
            }
            other => panic!("not refused: {other:?}, not {why}"),
        }
        assert_eq!(digest(&self.backend), self.held);
        assert_eq!(self.backend.joining().unwrap()[0].installed, None);
        let left = fs::read_dir(self.dir.path().join("target")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(left.iter().all(|name| !name.contains("scratch")), "{left:?}");
    }

    /// The good file with a line put in before its first INSERT.
    fn with_line(&self, line: &str) -> (String, u64) {
        let good = self.good();
        let at = good.find("INSERT").unwrap();
        let before = good[..at].lines().count() as u64;
        (format!("{}{line}\n{}", &good[..at], &good[at..]), before + 1)
    }

    /// The good file with one text in place of another, and the line of that.
    fn with(&self, from: &str, to: &str) -> (String, u64) {
        let good = self.good();
        let at = good.find(from).unwrap_or_else(|| panic!("no {from} in the file"));
        let line = good[..at].matches('\n').count() as u64 + 1;
        (good.replacen(from, to, 1), line)
    }

    fn refuses_line(&self, line: &str, why: &str) {
        let (file, at) = self.with_line(line);
        self.refuses(self.install(file.as_bytes()), Some(at), why);
    }

    fn refuses_change(&self, from: &str, to: &str, why: &str) {
        let (file, at) = self.with(from, to);
        self.refuses(self.install(file.as_bytes()), Some(at), why);
    }
}

fn other_forum(backend: &EmbeddedBackend, message: v1::MessageStored) {
    use loop_peer::backend::AppliedRecord;
    use loop_proto::ids::ForumId;
    use prost::Message;
    let facts =
        v1::Facts { facts: vec![v1::Fact { kind: Some(v1::fact::Kind::MessageStored(message.clone())) }] };
    let record = AppliedRecord {
        id: TaskId::new(2).unwrap(),
        forum: ForumId::new(message.forum_id),
        closes: None,
        facts: facts.encode_to_vec().into(),
        staged: false,
    };
    backend.apply(vec![record], 2).unwrap();
}

#[test]
fn the_good_file_is_taken() {
    let target = Target::new();
    target.install(&target.good).unwrap();
    assert_eq!(digest(&target.backend).sha256[..], target.header.digest[..]);
    assert_ne!(digest(&target.backend), target.held);
}

#[test]
fn other_statements_are_refused() {
    let target = Target::new();
    for (statement, verb) in [
        ("DROP TABLE tbl_ssshout;", "DROP"),
        ("UPDATE tbl_user SET var_pass = '';", "UPDATE"),
        ("DELETE FROM tbl_ssshout;", "DELETE"),
        ("CREATE TABLE x (y int);", "CREATE"),
        ("ALTER TABLE tbl_layer DROP COLUMN passcode;", "ALTER"),
        ("LOAD DATA INFILE '/etc/passwd' INTO TABLE tbl_ssshout;", "LOAD"),
        ("SELECT * FROM tbl_user INTO OUTFILE '/tmp/x';", "SELECT"),
        ("USE mysql;", "USE"),
        ("GRANT ALL ON *.* TO x;", "GRANT"),
        ("CALL anything();", "CALL"),
        ("ATTACH DATABASE '/etc/x' AS y;", "an unknown statement"),
        ("PRAGMA journal_mode = OFF;", "an unknown statement"),
        ("\\! rm -rf /", "something that begins no statement"),
        ("'text'", "something that begins no statement"),
    ] {
        target.refuses_line(statement, verb);
    }
}

#[test]
fn statements_in_comments_that_a_server_would_execute_are_refused() {
    let target = Target::new();
    for statement in [
        "/*!50000 DROP TABLE tbl_user */;",
        "/*M!100100 UPDATE tbl_user SET var_pass = '' */;",
        "/*!40000 ALTER TABLE `tbl_user` DROP COLUMN var_pass */;",
        "/*! INSERT INTO tbl_user VALUES (1) */;",
    ] {
        target.refuses_line(statement, "a comment with a statement");
    }
}

#[test]
fn what_dump_tools_put_around_rows_is_gone_over() {
    let target = Target::new();
    let (file, _) = target.with_line(
        "/*!40101 SET NAMES utf8mb4 */;\n/*M!999999\\- enable the sandbox mode */\n/*!40000 ALTER TABLE `tbl_layer` \
         DISABLE KEYS */;\nLOCK TABLES `tbl_layer` WRITE;\nUNLOCK TABLES;\n# a comment\n/* another\n one; */\nset \
         autocommit=0;\nSET @x = 'a;b';",
    );
    target.install(file.as_bytes()).unwrap();
    assert_eq!(digest(&target.backend).sha256[..], target.header.digest[..]);
}

#[test]
fn sessions_are_gone_over_and_what_stands_among_them_is_still_refused() {
    let target = Target::new();
    let rows = |value: &str| {
        format!("REPLACE INTO `php_session` VALUES ('of-alice','414',NULL,'x',{value}),('',NULL,1,2,0xff);")
    };
    target.refuses_line(&rows("LOAD_FILE('/etc/passwd')"), "no plain literal");
    target.refuses_line(&rows("1,2"), "a row of php_session that has not 5 values");
    target.refuses_line("REPLACE INTO php_session (session_id, x) VALUES (1,2);", "none of php_session's");
    // As earlier versions of ours wrote them.
    let (file, _) = target.with_line(&format!("-- loop-checkpoint versions 3 0\n{}", rows("'a|i:1;'")));
    target.install(file.as_bytes()).unwrap();
    assert_eq!(digest(&target.backend).sha256[..], target.header.digest[..]);
    target.backend.close();
    for entry in fs::read_dir(target.dir.path().join("target")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|bytes| bytes == b"of-alice"), "a session is on disk");
    }
}

#[test]
fn values_that_are_no_plain_literals_are_refused() {
    let target = Target::new();
    for value in [
        "(SELECT var_pass FROM tbl_user LIMIT 1)",
        "LOAD_FILE('/etc/passwd')",
        "@@version",
        "DEFAULT",
        "'a' 'b'",
        "CONCAT('a','b')",
        "b'101'",
        "_latin1 'x'",
        "var_shouted",
    ] {
        target.refuses_change("(2867,'hello'", &format!("(2867,{value}"), "no plain literal");
    }
    target.refuses_change("VALUES\n(178", "SELECT (178", "without VALUES");
    target.refuses_change("(178,'public", "ROW(178,'public", "rows must be written out");
    target.refuses_change("(2867,'hello'", "(2867,0x6", "a hexadecimal value that is none");
    for number in ["1e999", "1+1", "-", "0b1", "1.2.3"] {
        target.refuses_change("(2867,'hello'", &format!("(2867,{number}"), "a number that is none");
    }
}

#[test]
fn other_tables_and_columns_are_refused() {
    let target = Target::new();
    for table in ["mysql.user", "`tbl_email`", "`aj`.`tbl_layer`", "meta", "joining", "sqlite_master"] {
        let into = format!("INSERT INTO {table}");
        target.refuses_change("INSERT INTO `tbl_layer`", &into, "rows of a table that no checkpoint has");
    }
    target.refuses_change(
        "`var_shouted_processed`",
        "`rowid`",
        "column 17 of the list is none of tbl_ssshout's",
    );
    target.refuses_change("`var_shouted_processed`", "`var_shouted`", "column 17 of the list is there twice");
    target.refuses_change("(178,'public", "(178,1,'public", "a row of tbl_layer that has not 9 values");
    target.refuses_change("INSERT INTO", "INSERT", "without INTO");
}

#[test]
fn rows_of_another_forum_are_refused() {
    let target = Target::new();
    target.refuses_change("(178,'public", "(179,'public", "a row of another forum");
    target.refuses_change("(178,415,", "(179,415,", "a row of another forum");
    target.refuses_change("2641720671,4294967295,1653246624,0,178", "1,1,1,1,179", "a row of another forum");
    // Its id is another forum's here: taking it would take that forum's message away.
    target.refuses_change("(2867,'hello'", "(777,'hello'", "whose id belongs to another forum's");
}

#[test]
fn ids_must_be_ids() {
    let target = Target::new();
    for id in ["0", "4294967296", "-1", "1.0", "'x'", "NULL", "18446744073709551616", "1e3", "''", "'+5'"] {
        target.refuses_change("(2867,'hello'", &format!("({id},'hello'"), "int_ssshout_id is no");
    }
    target.refuses_change("(178,415,", "(178,0,", "int_user_id is no id");
    target.refuses_change("(2868,", "(2867,", "a row whose key is there twice");
}

#[test]
fn words_dates_numbers_and_text_must_be_what_they_are_for() {
    let target = Target::new();
    target.refuses_change("'public-admin-write-only'", "'root'", "enm_access is none of");
    target.refuses_change("'typing'", "'final!'", "enm_status is none of");
    for date in ["2000-02-30 12:09:14", "1969-12-31 23:59:59", "yesterday", "2000-02-29"] {
        target.refuses_change("2000-02-29 12:09:14", date, "date_owner_start is no date");
    }
    target.refuses_change("-0.25", "'x'", "flt_sentiment is no number");
    let at = target.good.windows(5).position(|window| window == b"hello").unwrap();
    for bytes in [&b"\xff\xfe"[..], b"\xc3(", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"] {
        let mut file = target.good.clone();
        file.splice(at..at + 5, bytes.iter().copied());
        target.refuses(target.install(&file), None, "var_shouted is not valid UTF-8");
    }
}

#[test]
fn a_file_that_is_not_the_announced_one_is_refused() {
    let target = Target::new();
    let header = || target.header.clone();
    let other_hash = v1::CheckpointHeader { sha256: vec![7; 32].into(), ..header() };
    target.refuses(target.install_as(&target.good, &other_hash), Some(0), "SHA-256");
    let other_length = v1::CheckpointHeader { bytes: 7, ..header() };
    target.refuses(target.install_as(&target.good, &other_length), Some(0), "7 were announced");
    let other_digest = v1::CheckpointHeader { digest: vec![7; 32].into(), ..header() };
    target.refuses(target.install_as(&target.good, &other_digest), Some(0), "count or digest differ");
    let more = v1::CheckpointHeader { messages: 15, ..header() };
    target.refuses(target.install_as(&target.good, &more), Some(0), "count or digest differ");
    let fewer = v1::CheckpointHeader { messages: 13, ..header() };
    target.refuses(target.install_as(&target.good, &fewer), None, "more messages than the 13");
    let older = v1::CheckpointHeader { cursor: 1, ..header() };
    target.refuses(target.install_as(&target.good, &older), Some(0), "older than the invitation");
    let newer = v1::CheckpointHeader { cursor: 3, ..header() };
    target.refuses(target.install_as(&target.good, &newer), Some(0), "first line");
    let nobody = v1::CheckpointHeader { sha256: Vec::new().into(), digest: Vec::new().into(), ..header() };
    target.refuses(target.install_as(&target.good, &nobody), Some(0), "SHA-256");
}

#[test]
fn rows_that_were_changed_added_or_left_out_are_noticed() {
    let target = Target::new();
    target.refuses(
        target.install(target.with("hello", "jello").0.as_bytes()),
        None,
        "count or digest differ",
    );
    let (extra, _) =
        target.with_line("REPLACE INTO tbl_layer_subscription VALUES (1,178,777,'active','none');");
    target.refuses(target.install(extra.as_bytes()), None, "count or digest differ");
    let good = target.good();
    let line = good.lines().find(|line| line.starts_with("(2869,")).unwrap();
    let without = good.replacen(&format!("{line}\n"), "", 1);
    target.refuses(target.install(without.as_bytes()), None, "count or digest differ");
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let target = Target::new();
    let length = target.good.len();
    for cut in (0..length).step_by(97).chain(length - 100..length) {
        let outcome = target.install(&target.good[..cut]);
        // Only the last line's end may be missing.
        match outcome {
            Ok(()) => assert_eq!(cut, length - 1),
            Err(InstallError::Refused { .. }) => assert_eq!(digest(&target.backend), target.held, "at {cut}"),
            Err(other) => panic!("at {cut}: {other}"),
        }
    }
}

#[test]
fn something_after_the_end_or_before_the_beginning_is_refused() {
    let target = Target::new();
    let good = target.good();
    let longer = format!("{good}INSERT INTO tbl_layer_subscription VALUES (1,178,777,'active','none');\n");
    target.refuses(target.install(longer.as_bytes()), None, "something after the end");
    target.refuses(target.install(format!("\n;{good}").as_bytes()), None, "a mark where none belongs");
    let twice = format!("{good}{good}");
    target.refuses(target.install(twice.as_bytes()), None, "something after the end");
    target.refuses_change("format=1", "format=2", "another format");
    target.refuses_line("-- loop-checkpoint version 1", "a mark where none belongs");
    target.refuses(target.install(b"-- Dump completed on 2026-11-21\n"), None, "");
    target.refuses(target.install(b""), None, "");
    target.refuses(target.install(&[0; 4096]), Some(1), "something that begins no statement");
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let target = Target::new();
    let good = target.good();
    let head = &good[..good.find("INSERT").unwrap()];
    let bomb = |rest: String| target.install(format!("{head}{rest}").as_bytes());
    let rows = "INSERT INTO tbl_ssshout (int_ssshout_id, var_shouted, var_shouted_processed, var_ip) VALUES";
    target.refuses(bomb(format!("{rows}\n(1,'{}", "x".repeat(9 << 20))), None, "a value of more than");
    target.refuses(bomb(format!("{rows}\n(1,'{}", "\\'".repeat(9 << 20))), None, "a value of more than");
    target.refuses(bomb(format!("{rows}\n(1,0x{}", "41".repeat(9 << 20))), None, "a value of more than");
    let large = "x".repeat(3 << 20);
    target.refuses(bomb(format!("{rows}\n(1,'{large}','{large}','{large}');")), None, "a row of more than");
    target.refuses(bomb(format!("{rows}\n(1,'never ends")), None, "a string that does not end");
    target.refuses(bomb("/* ".repeat(1 << 20)), None, "a comment of more than");
    target.refuses(bomb(format!("-- {}", "x".repeat(1 << 20))), None, "a comment of more than");
    target.refuses(bomb("/* never ends".to_owned()), None, "inside a comment");
    target.refuses(bomb(format!("SET x = {};", "(1,".repeat(1 << 20))), None, "too long for a setting");
    target.refuses(bomb("x".repeat(1 << 20)), None, "a word of more than");
    target.refuses(bomb(format!("INSERT INTO `{}`", "x".repeat(1 << 20))), None, "a name that is no name");
    target.refuses(bomb(format!("{rows} ({}", "1".repeat(1 << 20))), None, "a number that is none");
    target.refuses(bomb("(".repeat(1 << 20)), None, "something that begins no statement");
}

#[test]
fn a_statement_of_a_million_rows_is_read_a_row_at_a_time_and_ends_at_what_was_announced() {
    let target = Target::new();
    let good = target.good();
    let mut file = good[..good.find("INSERT").unwrap()].to_owned();
    file.push_str("INSERT INTO tbl_ssshout (int_ssshout_id, int_layer_id) VALUES\n(1,178)");
    for id in 2..=1_000_000 {
        file.push_str(&format!(",({id},178)"));
    }
    file.push_str(";\n");
    target.refuses(target.install(file.as_bytes()), None, "more messages than the 14");
}

#[test]
fn a_dump_without_its_end_is_refused() {
    let target = Target::new();
    let file = target.file();
    let import = |text: &str| {
        fs::write(&file, text).unwrap();
        target.backend.import(&file, &|_| {}, &|| false).map(drop)
    };
    let row = "INSERT INTO `tbl_layer` VALUES (180,'public','k',NULL,NULL,NULL,NULL,'t',NULL);\n";
    target.refuses(import(row), None, "it is cut off, or it was made with --skip-comments");
    target.refuses(import(&format!("{row}-- Dump completed\n{row}")), None, "key is there twice");
    target.refuses(import("-- Dump completed\n"), Some(0), "no row of a forum");
    import(&format!("{row}-- Dump completed on 2026-11-21 03:49:23\n")).unwrap();
}

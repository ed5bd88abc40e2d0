//! Reads a checkpoint file by an allow-list: rows into AtomJump's tables, and what dump tools put around them, which is
//! gone over and never executed, as are the sessions of a dump. Everything else is refused. One row in memory at a time.

use std::{borrow::Cow, io::Read};

use super::{
    super::store::Change,
    format::{FORMAT, ROW_BYTES_MAX, SKIPPED_TOKENS_MAX, Table},
    lexer::{Lexer, Stop, Token},
    values::{self, Value},
};

/// Statements that may be named in a refusal.
const KNOWN_VERBS: [&str; 26] = [
    "alter",
    "analyze",
    "call",
    "create",
    "deallocate",
    "delete",
    "do",
    "drop",
    "execute",
    "flush",
    "grant",
    "handler",
    "install",
    "kill",
    "load",
    "prepare",
    "rename",
    "reset",
    "revoke",
    "select",
    "show",
    "source",
    "truncate",
    "update",
    "use",
    "with",
];

/// Settings, locks and transactions: nothing here depends on them.
const SKIPPED_VERBS: [&str; 7] = ["set", "lock", "unlock", "start", "begin", "commit", "rollback"];

/// Words that may stand before a string and say which characters it is in.
const INTRODUCERS: [&str; 4] = ["_binary", "_utf8", "_utf8mb3", "_utf8mb4"];

/// What a file may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The rows of this forum; of the first that comes, if it is not known.
    Forum(Option<u32>),
    /// Users only.
    Directory,
}

/// What a file of ours says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Forum (0: the directory) and cursor, in its first line.
    pub begin: Option<(u32, u64)>,
    /// Messages and digest, in its last.
    pub end: Option<(u64, String)>,
}

/// The statement it is in.
struct Statement {
    table: Table,
    /// For each value of a row, its place among the table's columns.
    columns: Vec<usize>,
    rows: usize,
}

/// Reads rows.
pub struct Reader<R> {
    lexer: Lexer<R>,
    content: Content,
    marks: Marks,
    statement: Option<Statement>,
    is_first: bool,
    /// The last thing read was how a dump of MariaDB's tool ends.
    ended_as_dump: bool,
}

impl<R: Read> Reader<R> {
    /// At the file's start.
    pub fn new(reader: R, content: Content) -> Self {
        Self {
            lexer: Lexer::new(reader),
            content,
            marks: Marks::default(),
            statement: None,
            is_first: true,
            ended_as_dump: false,
        }
    }

    /// Bytes it has gone through.
    pub fn offset(&self) -> u64 {
        self.lexer.offset()
    }

    /// The forum whose rows these are, once one has come.
    pub fn forum(&self) -> Option<u32> {
        match self.content {
            Content::Forum(forum) => forum,
            Content::Directory => None,
        }
    }

    /// What the file has said of itself so far.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// A refusal at this place.
    pub fn refuse<T>(&self, reason: impl Into<Cow<'static, str>>) -> Result<T, Stop> {
        self.lexer.refuse(reason)
    }

    /// The next row; `None` at the end of a file that is whole.
    pub fn next_row(&mut self) -> Result<Option<Change>, Stop> {
        loop {
            let Some(statement) = self.statement.take() else {
                match self.head()? {
                    Some(statement) => self.statement = Some(statement),
                    None => return self.end().map(|()| None),
                }
                continue;
            };
            if statement.rows > 0 {
                match self.lexer.next()? {
                    Token::Sign(b',') => {}
                    Token::Sign(b';') => continue,
                    Token::End => return self.refuse("the file ends inside a statement"),
                    _ => return self.refuse("a row followed by something that is neither a row nor the end"),
                }
            }
            if let Some(row) = self.row(statement)? {
                return Ok(Some(row));
            }
        }
    }

    /// Goes to the next statement with rows; `None` at the end of the file.
    fn head(&mut self) -> Result<Option<Statement>, Stop> {
        loop {
            let token = self.lexer.next()?;
            let is_first = std::mem::replace(&mut self.is_first, false);
            if self.marks.end.is_some() && token != Token::End {
                return self.refuse("something after the end");
            }
            match token {
                Token::End => return Ok(None),
                Token::DumpEnd => {
                    self.ended_as_dump = true;
                    continue;
                }
                Token::Mark(mark) => self.mark(&mark, is_first)?,
                Token::Sign(b';') => {}
                Token::Word(verb) if verb == "insert" || verb == "replace" => {
                    return self.table().map(Some);
                }
                Token::Word(verb) if SKIPPED_VERBS.contains(&verb.as_str()) => self.skip()?,
                Token::Word(verb) => return self.refuse_verb(&verb),
                _ => return self.refuse("something that begins no statement"),
            }
            self.ended_as_dump = false;
        }
    }

    fn refuse_verb<T>(&self, verb: &str) -> Result<T, Stop> {
        match KNOWN_VERBS.iter().find(|known| **known == verb) {
            Some(known) => {
                let known = known.to_ascii_uppercase();
                self.refuse(format!("{known}: a checkpoint has INSERT and REPLACE only"))
            }
            None => self.refuse("an unknown statement: a checkpoint has INSERT and REPLACE only"),
        }
    }

    /// The end of the file: it must say so itself, or it may be cut off.
    fn end(&self) -> Result<(), Stop> {
        match (self.marks.begin.is_some(), self.marks.end.is_some(), self.ended_as_dump) {
            (true, true, _) | (false, _, true) => Ok(()),
            (true, false, _) => self.refuse("the end is missing: the file is cut off"),
            (false, _, false) => self.refuse(
                "the file does not end as a dump does (-- Dump completed): it is cut off, or it was made with \
                 --skip-comments",
            ),
        }
    }

    /// A setting, a lock, a transaction: up to its end.
    fn skip(&mut self) -> Result<(), Stop> {
        for _ in 0..SKIPPED_TOKENS_MAX {
            match self.lexer.next()? {
                Token::Sign(b';') => return Ok(()),
                Token::End => return self.refuse("the file ends inside a statement"),
                _ => {}
            }
        }
        self.refuse("a statement that is too long for a setting")
    }

    fn mark(&mut self, mark: &str, is_first: bool) -> Result<(), Stop> {
        let mut words = mark.split(' ');
        let word = words.next().unwrap_or_default();
        match word {
            "end" => {
                let (messages, digest) = (setting(words.next(), "messages"), setting(words.next(), "digest"));
                let (Some(messages), Some(digest), None) = (messages, digest, words.next()) else {
                    return self.refuse("a damaged end");
                };
                let Ok(messages) = messages.parse() else { return self.refuse("a damaged end") };
                self.marks.end = Some((messages, digest.to_owned()));
            }
            // Files of versions that kept sessions say so much more of them.
            "versions" => {}
            _ if is_first => {
                let format = setting(Some(word), "format");
                if format != Some(&FORMAT.to_string()) {
                    return self.refuse(format!("a checkpoint of another format than {FORMAT}"));
                }
                let forum = setting(words.next(), "forum").and_then(|text| text.parse().ok());
                let cursor = setting(words.next(), "cursor").and_then(|text| text.parse().ok());
                self.marks.begin = forum.zip(cursor).filter(|_| words.next().is_none());
                if self.marks.begin.is_none() {
                    return self.refuse("a damaged first line");
                }
            }
            _ => return self.refuse("a mark where none belongs"),
        }
        Ok(())
    }

    /// From after INSERT or REPLACE to before the first row.
    fn table(&mut self) -> Result<Statement, Stop> {
        let mut next = self.lexer.next()?;
        if next == Token::Word("ignore".to_owned()) {
            next = self.lexer.next()?;
        }
        if next != Token::Word("into".to_owned()) {
            return self.refuse("an INSERT or REPLACE without INTO");
        }
        let Some(table) = name(self.lexer.next()?).and_then(|name| Table::named(&name)) else {
            return self.refuse("rows of a table that no checkpoint has");
        };
        if self.content == Content::Directory && table != Table::User {
            return self.refuse("the directory has rows of tbl_user only");
        }
        let mut next = self.lexer.next()?;
        let columns = match next {
            Token::Sign(b'(') => {
                let columns = self.columns(table)?;
                next = self.lexer.next()?;
                columns
            }
            _ => (0..table.columns().len()).collect(),
        };
        match next {
            Token::Word(word) if word == "values" || word == "value" => {}
            _ => return self.refuse("an INSERT or REPLACE without VALUES"),
        }
        Ok(Statement { table, columns, rows: 0 })
    }

    fn columns(&mut self, table: Table) -> Result<Vec<usize>, Stop> {
        let mut columns = Vec::new();
        loop {
            let known = name(self.lexer.next()?)
                .and_then(|name| table.columns().iter().position(|column| *column == name));
            match known {
                Some(column) if columns.contains(&column) => {
                    return self.refuse(format!("column {} of the list is there twice", columns.len() + 1));
                }
                Some(column) => columns.push(column),
                None => {
                    let (place, table) = (columns.len() + 1, table.name());
                    return self.refuse(format!("column {place} of the list is none of {table}'s"));
                }
            }
            match self.lexer.next()? {
                Token::Sign(b',') => {}
                Token::Sign(b')') => return Ok(columns),
                _ => return self.refuse("a list of columns that does not end"),
            }
        }
    }

    /// The next row of the statement; `None` for one of a table that is gone over.
    fn row(&mut self, mut statement: Statement) -> Result<Option<Change>, Stop> {
        let table = statement.table;
        if self.lexer.next()? != Token::Sign(b'(') {
            return self.refuse("rows must be written out: VALUES (…), (…)");
        }
        let mut values: Vec<Value> = vec![Value::Null; table.columns().len()];
        let mut bytes = 0;
        for (at, column) in statement.columns.iter().enumerate() {
            let value = self.value()?;
            bytes += match &value {
                Value::Bytes(value) => value.len(),
                Value::Null | Value::Number(_) => 0,
            };
            if bytes > ROW_BYTES_MAX {
                return self.refuse(format!("a row of more than {ROW_BYTES_MAX} bytes"));
            }
            values[*column] = value;
            let is_last = at + 1 == statement.columns.len();
            match (self.lexer.next()?, is_last) {
                (Token::Sign(b','), false) | (Token::Sign(b')'), true) => {}
                (Token::Sign(b',' | b')'), _) => {
                    let (wanted, table) = (statement.columns.len(), table.name());
                    return self.refuse(format!("a row of {table} that has not {wanted} values"));
                }
                _ => return self.refuse("a value that is no plain literal"),
            }
        }
        let row = match values::row(table, &mut values) {
            Ok(row) => row,
            Err(reason) => return self.refuse(reason),
        };
        if let Some(row) = &row {
            self.check_forum(row)?;
        }
        statement.rows += 1;
        self.statement = Some(statement);
        Ok(row)
    }

    fn value(&mut self) -> Result<Value, Stop> {
        match self.lexer.next()? {
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Bytes(bytes) => Ok(Value::Bytes(bytes)),
            Token::Word(word) if word == "null" => Ok(Value::Null),
            Token::Word(word) if INTRODUCERS.contains(&word.as_str()) => match self.lexer.next()? {
                Token::Bytes(bytes) => Ok(Value::Bytes(bytes)),
                _ => self.refuse("a value that is no plain literal"),
            },
            Token::End => self.refuse("the file ends inside a row"),
            _ => self.refuse("a value that is no plain literal"),
        }
    }

    /// Rows of one forum only.
    fn check_forum(&mut self, row: &Change) -> Result<(), Stop> {
        let of = match row {
            Change::Forum(row) => row.id,
            Change::Subscription(row) => row.forum_id,
            Change::Message(row) => row.forum_id,
            _ => return Ok(()),
        };
        match self.content {
            Content::Forum(Some(forum)) if forum == of => Ok(()),
            Content::Forum(None) => {
                self.content = Content::Forum(Some(of));
                Ok(())
            }
            Content::Forum(Some(_)) => self.refuse("a row of another forum"),
            Content::Directory => self.refuse("the directory has rows of tbl_user only"),
        }
    }
}

fn name(token: Token) -> Option<String> {
    match token {
        Token::Word(name) | Token::Name(name) => Some(name),
        _ => None,
    }
}

/// The value of `name=value`.
fn setting<'a>(word: Option<&'a str>, name: &str) -> Option<&'a str> {
    word?.strip_prefix(name)?.strip_prefix('=')
}

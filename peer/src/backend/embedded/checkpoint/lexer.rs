//! Words, values and signs of a checkpoint file, one at a time, each bounded. What it reads may be hostile.
//!
//! Never knows a statement. Refusals name the line and what is wrong with it, never what it contains.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use super::format::{COMMENT_BYTES_MAX, DUMP_END, MARK, NUMBER_BYTES_MAX, VALUE_BYTES_MAX, WORD_BYTES_MAX};

const BUFFER_BYTES: usize = 64 << 10;

/// Why a file is not read on.
#[derive(Debug)]
pub enum Stop {
    /// It has what no checkpoint may have.
    Refused {
        /// Where, from 1.
        line: u64,
        /// What is wrong.
        reason: Cow<'static, str>,
    },
    /// It cannot be read.
    Io(io::Error),
}

/// One piece of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A word or a name without quotes, in lower case.
    Word(String),
    /// A name in backticks.
    Name(String),
    /// A quoted string, unescaped, or a hexadecimal literal.
    Bytes(Vec<u8>),
    /// A number as it stands there.
    Number(String),
    /// Any other character.
    Sign(u8),
    /// A comment that is a mark of ours, without what all begin with.
    Mark(String),
    /// The comment MariaDB's dump tool ends with.
    DumpEnd,
    /// The end of the file.
    End,
}

/// Reads tokens.
pub struct Lexer<R> {
    reader: R,
    buffer: Vec<u8>,
    at: usize,
    line: u64,
    consumed: u64,
}

impl<R: Read> Lexer<R> {
    /// At the file's start.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), at: 0, line: 1, consumed: 0 }
    }

    /// Bytes it has gone through.
    pub fn offset(&self) -> u64 {
        self.consumed + self.at as u64
    }

    /// A refusal at this place.
    pub fn refuse<T>(&self, reason: impl Into<Cow<'static, str>>) -> Result<T, Stop> {
        Err(Stop::Refused { line: self.line, reason: reason.into() })
    }

    /// The next piece; comments without a meaning are gone over.
    pub fn next(&mut self) -> Result<Token, Stop> {
        loop {
            let Some(byte) = self.peek()? else { return Ok(Token::End) };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.take()?;
                }
                b'#' => {
                    self.line_comment()?;
                }
                b'-' if self.peek_second()? == Some(b'-') => {
                    let comment = self.line_comment()?;
                    if let Some(mark) = comment.strip_prefix(MARK.as_bytes()) {
                        return match std::str::from_utf8(mark) {
                            Ok(mark) => Ok(Token::Mark(mark.trim_end().to_owned())),
                            Err(_) => self.refuse("a mark that is not UTF-8"),
                        };
                    }
                    if comment.starts_with(DUMP_END.as_bytes()) {
                        return Ok(Token::DumpEnd);
                    }
                }
                b'/' if self.peek_second()? == Some(b'*') => self.block_comment()?,
                b'\'' | b'"' => return self.string(byte),
                b'`' => return self.name(),
                b'0'..=b'9' | b'-' | b'+' | b'.' => return self.number(),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => return self.word(),
                _ => {
                    self.take()?;
                    return Ok(Token::Sign(byte));
                }
            }
        }
    }

    fn fill(&mut self) -> Result<bool, Stop> {
        self.consumed += self.at as u64;
        self.buffer.drain(..self.at);
        self.at = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + BUFFER_BYTES, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[held..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
        read.map(|read| read > 0).map_err(Stop::Io)
    }

    fn peek(&mut self) -> Result<Option<u8>, Stop> {
        if self.at >= self.buffer.len() && !self.fill()? {
            return Ok(None);
        }
        Ok(self.buffer.get(self.at).copied())
    }

    fn peek_second(&mut self) -> Result<Option<u8>, Stop> {
        if self.at + 1 >= self.buffer.len() {
            self.fill()?;
        }
        Ok(self.buffer.get(self.at + 1).copied())
    }

    fn take(&mut self) -> Result<Option<u8>, Stop> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.at += 1;
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    /// Takes bytes while they are `wanted`, at most `most` of them.
    fn take_while(&mut self, most: usize, wanted: impl Fn(u8) -> bool) -> Result<Option<Vec<u8>>, Stop> {
        let mut taken = Vec::new();
        while let Some(byte) = self.peek()?.filter(|byte| wanted(*byte)) {
            if taken.len() >= most {
                return Ok(None);
            }
            taken.push(byte);
            self.take()?;
        }
        Ok(Some(taken))
    }

    fn line_comment(&mut self) -> Result<Vec<u8>, Stop> {
        match self.take_while(COMMENT_BYTES_MAX, |byte| byte != b'\n')? {
            Some(comment) if comment.starts_with(b"#") || is_comment(&comment) => Ok(comment),
            Some(_) => self.refuse("two minus signs that begin no comment"),
            None => self.refuse(format!("a comment of more than {COMMENT_BYTES_MAX} bytes")),
        }
    }

    /// A comment in `/* */`. What a server would execute of it must be harmless, though here nothing is executed.
    fn block_comment(&mut self) -> Result<(), Stop> {
        self.take()?;
        self.take()?;
        let mut inside = Vec::new();
        while !inside.ends_with(b"*/") {
            let Some(byte) = self.take()? else { return self.refuse("the file ends inside a comment") };
            if inside.len() >= COMMENT_BYTES_MAX {
                return self.refuse(format!("a comment of more than {COMMENT_BYTES_MAX} bytes"));
            }
            inside.push(byte);
        }
        inside.truncate(inside.len() - 2);
        let executed = inside.strip_prefix(b"M!").or_else(|| inside.strip_prefix(b"!"));
        match executed {
            Some(statement) if !is_harmless(statement) => {
                self.refuse("a comment with a statement that no checkpoint may contain")
            }
            _ => Ok(()),
        }
    }

    fn string(&mut self, quote: u8) -> Result<Token, Stop> {
        let begun = self.line;
        self.take()?;
        let mut text = Vec::new();
        loop {
            let plain = self.take_plain(quote, &mut text)?;
            if text.len() > VALUE_BYTES_MAX {
                return self.refuse(format!("a value of more than {VALUE_BYTES_MAX} bytes"));
            }
            if plain {
                continue;
            }
            match self.take()? {
                None => {
                    let reason = Cow::Borrowed("a string that does not end");
                    return Err(Stop::Refused { line: begun, reason });
                }
                Some(b'\\') => match self.take()? {
                    Some(b'0') => text.push(0),
                    Some(b'b') => text.push(8),
                    Some(b'n') => text.push(b'\n'),
                    Some(b'r') => text.push(b'\r'),
                    Some(b't') => text.push(b'\t'),
                    Some(b'Z') => text.push(0x1a),
                    // These two keep their backslash.
                    Some(byte @ (b'%' | b'_')) => text.extend_from_slice(&[b'\\', byte]),
                    Some(byte) => text.push(byte),
                    None => {}
                },
                Some(_) if self.peek()? == Some(quote) => {
                    self.take()?;
                    text.push(quote);
                }
                Some(_) => return Ok(Token::Bytes(text)),
            }
        }
    }

    /// Takes what is in the buffer up to a quote or backslash. False: one of them is next, or the file's end.
    fn take_plain(&mut self, quote: u8, text: &mut Vec<u8>) -> Result<bool, Stop> {
        if self.peek()?.is_none() {
            return Ok(false);
        }
        let ahead = &self.buffer[self.at..];
        let plain = ahead.iter().position(|byte| *byte == quote || *byte == b'\\').unwrap_or(ahead.len());
        let lines = ahead[..plain].iter().filter(|byte| **byte == b'\n').count();
        text.extend_from_slice(&ahead[..plain]);
        self.at += plain;
        self.line += lines as u64;
        Ok(plain > 0)
    }

    fn name(&mut self) -> Result<Token, Stop> {
        self.take()?;
        let name = self.take_while(WORD_BYTES_MAX, |byte| byte != b'`' && byte != b'\n')?;
        match (name.map(String::from_utf8), self.take()?) {
            (Some(Ok(name)), Some(b'`')) => Ok(Token::Name(name)),
            _ => self.refuse("a name that is no name of a checkpoint"),
        }
    }

    fn word(&mut self) -> Result<Token, Stop> {
        let word = self
            .take_while(WORD_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))?;
        let Some(word) = word else {
            return self.refuse(format!("a word of more than {WORD_BYTES_MAX} bytes"));
        };
        if matches!(&*word, b"x" | b"X") && self.peek()? == Some(b'\'') {
            let Token::Bytes(digits) = self.string(b'\'')? else {
                return self.refuse("no hexadecimal value");
            };
            return self.hex(&digits);
        }
        let mut word = String::from_utf8_lossy(&word).into_owned();
        word.make_ascii_lowercase();
        Ok(Token::Word(word))
    }

    fn number(&mut self) -> Result<Token, Stop> {
        if self.peek()? == Some(b'0') && matches!(self.peek_second()?, Some(b'x')) {
            self.take()?;
            self.take()?;
            let Some(digits) = self.take_while(2 * VALUE_BYTES_MAX, |byte| byte.is_ascii_alphanumeric())?
            else {
                return self.refuse(format!("a value of more than {VALUE_BYTES_MAX} bytes"));
            };
            return self.hex(&digits);
        }
        let number = self.take_while(NUMBER_BYTES_MAX, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+')
        })?;
        let text = number.and_then(|number| String::from_utf8(number).ok());
        match text.filter(|text| text.parse::<f64>().is_ok_and(f64::is_finite)) {
            Some(text) => Ok(Token::Number(text)),
            None => self.refuse("a number that is none"),
        }
    }

    fn hex(&self, digits: &[u8]) -> Result<Token, Stop> {
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        });
        match bytes.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => Ok(Token::Bytes(bytes)),
            None => self.refuse("a hexadecimal value that is none"),
        }
    }
}

/// Two minus signs begin a comment only before a blank.
fn is_comment(comment: &[u8]) -> bool {
    comment.get(2).is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
}

/// Whether what stands in an executed comment is one of the settings MariaDB's dump tool writes.
fn is_harmless(statement: &[u8]) -> bool {
    let digits = statement.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let statement = String::from_utf8_lossy(&statement[digits..]);
    let words: Vec<&str> = statement.split_ascii_whitespace().collect();
    match words.as_slice() {
        // The mark that keeps a client from leaving the server's sandbox.
        [first, ..] if first.starts_with("\\-") => true,
        [first, ..] if first.eq_ignore_ascii_case("set") => true,
        [alter, table, _, turn, keys] => {
            alter.eq_ignore_ascii_case("alter")
                && table.eq_ignore_ascii_case("table")
                && (turn.eq_ignore_ascii_case("disable") || turn.eq_ignore_ascii_case("enable"))
                && keys.eq_ignore_ascii_case("keys")
        }
        _ => false,
    }
}

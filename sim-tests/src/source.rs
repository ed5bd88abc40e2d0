//! Just enough of Rust's syntax to measure source files: what is code, what is a test, where functions end.
//!
//! Owns no rule; `tests/tidy.rs` and `tests/arrows.rs` do. Works on the text alone, so that it also reads code that
//! does not compile.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One source file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, as it was found.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The text with comments, strings and characters blanked, byte for byte in the same place.
    pub code: String,
}

/// One function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

impl Source {
    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path, fs::read_to_string(path)?))
    }

    /// Takes a text for the file at `path`.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = blank_comments_and_strings(&text);
        Self { path: path.into(), text, code }
    }

    /// Whether it is one of cargo's own test or bench files.
    pub fn is_story(&self) -> bool {
        self.path.iter().any(|part| part == "tests" || part == "benches")
    }

    /// Where modules declared here under `#[cfg(test)]` are; for most of them two places, of which one exists.
    pub fn test_modules(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for (start, marker) in self.code.match_indices("#[cfg(test)]") {
            let item_start = start + marker.len();
            let Some(length) = self.code[item_start..].find([';', '{']) else { continue };
            let item = &self.code[item_start..item_start + length];
            let ends_at_once = self.code[item_start + length..].starts_with(';');
            let Some((_, name)) = item.rsplit_once("mod ").filter(|_| ends_at_once) else { continue };
            // Strings are blank in the code and stand at the same place in the text.
            let attributes = &self.text[item_start..item_start + length];
            match attributes.split_once("#[path = \"").and_then(|(_, rest)| rest.split_once('"')) {
                Some((path, _)) => found.push(self.path.with_file_name(path)),
                None => found.extend(self.module_places(name.trim())),
            }
        }
        found
    }

    /// The two places where a module may be that is declared here by its name alone.
    pub fn module_places(&self, name: &str) -> [PathBuf; 2] {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = match stem {
            "mod" | "lib" | "main" => folder.to_path_buf(),
            _ => folder.join(stem),
        };
        [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]
    }

    /// The code without what stands under `#[cfg(test)]`; line breaks stay.
    pub fn shipped_code(&self) -> String {
        let mut code = self.code.clone();
        while let Some(start) = code.find("#[cfg(test)]") {
            let end = item_end(code.as_bytes(), start);
            let blank: String = code[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            code.replace_range(start..end, &blank);
        }
        code
    }

    /// Lines of code and comments that ship: the file without what stands under `#[cfg(test)]`.
    pub fn shipped_lines(&self) -> usize {
        let mut lines = self.text.lines().count();
        let mut rest = self.code.clone();
        while let Some(start) = rest.find("#[cfg(test)]") {
            let end = item_end(rest.as_bytes(), start);
            lines -= rest[start..end].matches('\n').count() + 1;
            let blank: String = rest[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            rest.replace_range(start..end, &blank);
        }
        lines
    }

    /// Whether it begins with a `//!` header.
    pub fn has_header(&self) -> bool {
        self.text.trim_start_matches('\u{feff}').trim_start().starts_with("//!")
    }
}

/// Every file under `folder` whose name ends with one of `endings`, in order of path. Build output, installed packages
/// and hidden folders are passed over.
pub fn files(folder: &Path, endings: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let skipped =
                name.starts_with('.') || matches!(name.as_str(), "target" | "node_modules" | "data");
            if entry.file_type()?.is_dir() {
                if !skipped {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The repository's folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is a folder of the repository")
        .to_path_buf()
}

/// The words (identifiers and keywords) of blanked code with their line, from 1.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(at, line)| {
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.filter(|word| !word.is_empty()).map(move |word| (at + 1, word))
    })
}

/// Every function with a body in blanked code.
pub fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(step) = code[at..].find("fn ") {
        let start = at + step;
        at = start + 3;
        if start > 0 && is_word(bytes[start - 1]) {
            continue;
        }
        let name: String =
            code[at..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // `fn(…)` is a type, and `fn (` would be one too.
        let Some(open) = body_start(bytes, at).filter(|_| !name.is_empty()) else { continue };
        let end = matching_brace(bytes, open);
        let line = code[..start].matches('\n').count() + 1;
        found.push(Function { name, line, lines: code[start..end].matches('\n').count() + 1 });
    }
    found
}

/// The `{` that opens the body of the function whose signature goes on at `at`; `None` if it ends in `;`.
fn body_start(bytes: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at + offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// One past the `}` that closes the `{` at `open`; the end of the text if there is none.
fn matching_brace(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, byte) in bytes[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    bytes.len()
}

/// One past the end of the item whose first attribute begins at `start`.
fn item_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, byte) in bytes[start..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return matching_brace(bytes, start + offset),
            b';' if depth == 0 => return start + offset + 1,
            _ => {}
        }
    }
    bytes.len()
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = blank_end(bytes, at);
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8(code).expect("whole comments and literals became spaces, the rest is as it was")
}

/// One past the comment or literal that begins at `at`; `at` itself if none does.
fn blank_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_end(bytes, at),
        [b'"', ..] => string_end(bytes, at),
        [b'\'', ..] => character_end(bytes, at),
        [b'r', ..] if !after_word => raw_string_end(bytes, at, 1),
        [b'b' | b'c', b'r', ..] if !after_word => raw_string_end(bytes, at, 2),
        _ => at,
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A character literal; a lifetime is not one.
fn character_end(bytes: &[u8], start: usize) -> usize {
    match &bytes[start + 1..] {
        [b'\\', ..] => {
            // The escaped character itself may be missing: the text may end anywhere.
            let rest = bytes.get(start + 3..).unwrap_or_default();
            let close = rest.iter().position(|b| *b == b'\'');
            close.map_or(bytes.len(), |offset| start + 3 + offset + 1)
        }
        [first, rest @ ..] => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if rest.get(width - 1) == Some(&b'\'') { start + 1 + width + 1 } else { start }
        }
        [] => start,
    }
}

fn raw_string_end(bytes: &[u8], start: usize, prefix: usize) -> usize {
    let hashes = bytes[start + prefix..].iter().take_while(|byte| **byte == b'#').count();
    let quote = start + prefix + hashes;
    if bytes.get(quote) != Some(&b'"') {
        return start;
    }
    let mut at = quote + 1;
    while at < bytes.len() {
        let closes = bytes[at] == b'"'
            && bytes[at + 1..].iter().take(hashes).filter(|b| **b == b'#').count() == hashes;
        if closes {
            return (at + 1 + hashes).min(bytes.len());
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_in_place() {
        let text = concat!(
            "let a = \"fn x() {\"; // fn y() {\n",
            "/* { /* nested */ { */ let c = '{'; let d = '\\''; let e: &'a str = r#\"}\"#;\n",
            "let f = b\"{\"; let g = '→'; let h = br\"\\\"; loop {}",
        );
        let code = Source::new("x.rs", text).code;
        assert_eq!(code.len(), text.len());
        assert_eq!(code.matches('{').count(), 1, "{code}");
        assert_eq!(code.matches('\n').count(), 2);
        assert!(code.contains("&'a str") && code.contains("let h ="), "{code}");
    }

    #[test]
    fn functions_are_found_with_their_length() {
        let text = "pub async fn one<T: Fn(u8) -> u8>(x: [u8; 3]) -> T\nwhere T: Copy {\n  a\n}\n\
                    trait A { fn two(&self); fn three() {} }\ntype F = fn (u8) -> u8;\nlet often = { 1 };";
        let found: Vec<_> = functions(&Source::new("x.rs", text).code)
            .into_iter()
            .map(|f| (f.name, f.line, f.lines))
            .collect();
        assert_eq!(found, [("one".into(), 1, 4), ("three".into(), 5, 1)]);
    }

    #[test]
    fn what_stands_under_cfg_test_does_not_ship() {
        let text =
            "fn a() {}\n#[cfg(test)]\nuse b::c;\n#[cfg(test)]\nmod tests {\n fn t() {}\n}\nfn z() {}\n";
        let source = Source::new("x.rs", text);
        let names: Vec<_> = functions(&source.shipped_code()).into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "z"]);
        assert_eq!(source.shipped_lines(), 2);
    }

    #[test]
    fn modules_of_tests_are_found_where_cargo_finds_them() {
        let text = "#[cfg(test)]\nmod tests { mod inner; }\n#[cfg(test)]\npub(crate) mod story;\nmod real;";
        let at = |path: &str| Source::new(path, text).test_modules();
        assert_eq!(at("a/mod.rs"), [Path::new("a/story.rs"), Path::new("a/story/mod.rs")]);
        assert_eq!(at("a/b.rs")[0], Path::new("a/b/story.rs"));
        let elsewhere = "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;";
        assert_eq!(Source::new("a/b.rs", elsewhere).test_modules(), [Path::new("a/b_tests.rs")]);
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_measured() {
        assert!(functions(&Source::new("x.rs", "'\\".to_owned()).shipped_code()).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_measured_without_panic(text: String) {
            let source = Source::new("x.rs", text);
            functions(&source.shipped_code());
            source.shipped_lines();
        }

        #[test]
        fn texts_of_quotes_and_braces_are_measured_without_panic(text in "[\"'#r{}/*\\\\\nfn ()éb\\[\\];a]{0,60}") {
            let source = Source::new("x.rs", text);
            functions(&source.shipped_code());
            source.shipped_lines();
        }
    }
}

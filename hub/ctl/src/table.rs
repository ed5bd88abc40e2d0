//! Columns of text that fit the screen they are for. Never knows what is in them.

/// What people can be expected to have.
const USUAL: usize = 80;
/// A name that was cut keeps so much, first when there is some room and then when there is none.
const NAME_ROOM: usize = 16;
const NAME_MIN: usize = 8;
/// The same for a column of sentences, which are wrapped.
const SENTENCE_ROOM: usize = 30;
const SENTENCE_MIN: usize = 20;
/// Where nothing else helps, every column is cut down to this.
const ANY_MIN: usize = 4;
/// Between two columns.
const GAP: usize = 2;

/// How many columns of characters a screen has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(usize);

impl Width {
    /// 80: where nobody says otherwise.
    pub const USUAL: Self = Self(USUAL);
    /// As wide as it takes, every column shown.
    pub const WIDE: Self = Self(usize::MAX);

    /// A terminal's; never less than 80, so that what is on a narrow one looks as in a file.
    pub fn of_terminal(columns: usize) -> Self {
        Self(columns.max(USUAL))
    }

    /// The text in lines of at most this width, broken between words; later lines begin with `indent` spaces.
    pub fn wrap(self, text: &str, indent: usize) -> String {
        let mut lines = wrapped(text, self.0.saturating_sub(indent).max(1)).into_iter();
        let mut all = lines.next().unwrap_or_default();
        for line in lines {
            all.push('\n');
            all.extend(std::iter::repeat_n(' ', indent));
            all.push_str(&line);
        }
        all.push('\n');
        all
    }
}

/// What may become of a column for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// Nothing.
    Whole,
    /// Cut, with … at its end.
    Name,
    /// Wrapped between words.
    Sentence,
    /// Left out.
    Extra,
}

/// Rows under a header, each column as wide as its widest cell where there is room, numbers to the right.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Fit)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With columns that stay whole.
    pub fn new(header: &[&'static str]) -> Self {
        Self { columns: header.iter().map(|title| (*title, Fit::Whole)).collect(), rows: Vec::new() }
    }

    /// These columns hold names, which may be cut.
    pub fn names(self, titles: &[&str]) -> Self {
        self.fit(titles, Fit::Name)
    }

    /// These hold sentences, which may be wrapped.
    pub fn sentences(self, titles: &[&str]) -> Self {
        self.fit(titles, Fit::Sentence)
    }

    /// These are left out where there is no room, the last first.
    pub fn extras(self, titles: &[&str]) -> Self {
        self.fit(titles, Fit::Extra)
    }

    fn fit(mut self, titles: &[&str], fit: Fit) -> Self {
        for (title, kind) in &mut self.columns {
            if titles.contains(title) {
                *kind = fit;
            }
        }
        self
    }

    /// Adds a row; what would not print as itself becomes `?`, because names come from volunteers' machines.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells.iter().map(|cell| clean(cell)).collect());
    }

    /// As wide as it is.
    pub fn render(&self) -> String {
        self.render_within(Width::WIDE)
    }

    /// At most this wide. Columns that were left out are named below it.
    pub fn render_within(&self, width: Width) -> String {
        let natural: Vec<usize> = (0..self.columns.len()).map(|column| self.natural(column)).collect();
        let shown = self.chosen(&natural, width);
        let widths = self.shrunk(&shown, &natural, width);
        let header: Vec<String> = shown.iter().map(|at| self.columns[*at].0.to_owned()).collect();
        let mut text = line(&header, &widths, &vec![false; shown.len()]);
        for row in &self.rows {
            self.add_row(row, &shown, &widths, &mut text);
        }
        let left_out: Vec<&str> =
            (0..self.columns.len()).filter(|at| !shown.contains(at)).map(|at| self.columns[at].0).collect();
        if !left_out.is_empty() {
            text += &width.wrap(&format!("(--wide shows also: {})", left_out.join(", ")), 1);
        }
        text
    }

    fn natural(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell));
        cells.chain([columns(self.columns[column].0)]).max().unwrap_or(0)
    }

    /// The columns there is room for, with what may be cut or wrapped at a size that is still good to read.
    fn chosen(&self, natural: &[usize], width: Width) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let comfortable = |at: &usize| match self.columns[*at].1 {
            Fit::Whole | Fit::Extra => natural[*at],
            Fit::Name => natural[*at].min(NAME_ROOM),
            Fit::Sentence => natural[*at].min(SENTENCE_ROOM),
        };
        while total(&shown.iter().map(comfortable).collect::<Vec<_>>()) > width.0 {
            let Some(extra) = shown.iter().rposition(|at| self.columns[*at].1 == Fit::Extra) else { break };
            shown.remove(extra);
        }
        shown
    }

    /// How wide each of them becomes: sentences give way first, then names, and everything rather than a broken table.
    fn shrunk(&self, shown: &[usize], natural: &[usize], width: Width) -> Vec<usize> {
        let mut widths: Vec<usize> = shown.iter().map(|at| natural[*at]).collect();
        for (kind, least) in [
            (Some(Fit::Sentence), SENTENCE_ROOM),
            (Some(Fit::Name), NAME_ROOM),
            (Some(Fit::Name), NAME_MIN),
            (Some(Fit::Sentence), SENTENCE_MIN),
            (None, ANY_MIN),
        ] {
            let may = |at: usize, widths: &[usize]| {
                kind.is_none_or(|kind| self.columns[shown[at]].1 == kind) && widths[at] > least
            };
            while total(&widths) > width.0 {
                let widest = (0..widths.len()).filter(|at| may(*at, &widths)).max_by_key(|at| widths[*at]);
                let Some(widest) = widest else { break };
                widths[widest] -= 1;
            }
        }
        widths
    }

    /// A row takes as many lines as its longest sentence.
    fn add_row(&self, row: &[String], shown: &[usize], widths: &[usize], text: &mut String) {
        let cells: Vec<Vec<String>> = shown
            .iter()
            .zip(widths)
            .map(|(at, width)| match (row.get(*at), self.columns[*at].1) {
                (None, _) => Vec::new(),
                (Some(cell), Fit::Sentence) => wrapped(cell, *width),
                (Some(cell), _) => vec![cut(cell, *width)],
            })
            .collect();
        let numbers: Vec<bool> = shown.iter().map(|at| row.get(*at).is_some_and(|c| is_number(c))).collect();
        let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..lines {
            let part: Vec<String> =
                cells.iter().map(|cell| cell.get(at).cloned().unwrap_or_default()).collect();
            text.push_str(&line(&part, widths, &numbers));
        }
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().fold(0, |sum: usize, width| sum.saturating_add(*width))
        + GAP * widths.len().saturating_sub(1)
}

fn line(cells: &[String], widths: &[usize], right: &[bool]) -> String {
    let mut text = String::new();
    for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
        let cell = cut(cell, *width);
        let padding = " ".repeat(width.saturating_sub(columns(&cell)));
        text += &if *right { padding + &cell } else { cell + &padding };
        text.push_str("  ");
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit())
}

/// The text with `?` for what would move the cursor, change colours or the direction of writing.
pub fn clean(text: &str) -> String {
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || hidden(c) { '?' } else { c }).collect()
}

/// The text, or what fits of it and `…`.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut kept = String::new();
    for c in text.chars() {
        let wide = char_columns(c);
        if wide > left {
            break;
        }
        left -= wide;
        kept.push(c);
    }
    kept + "…"
}

/// Lines of whole words; a word that is longer than a line is broken.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').flat_map(|word| broken(word, width)) {
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            *last = word;
        } else if columns(last) + 1 + columns(&word) <= width {
            last.push(' ');
            last.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

fn broken(word: &str, width: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut used = 0;
    for c in word.chars() {
        if used > 0 && used + char_columns(c) > width {
            parts.push(String::new());
            used = 0;
        }
        used += char_columns(c);
        parts.last_mut().expect("there is always a part").push(c);
    }
    parts
}

/// How many columns a terminal gives to a text.
fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// 2 for the scripts and symbols that are written wide, 0 for marks that go on top of a letter.
fn char_columns(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["NAME", "TASKS"]);
        table.row(vec!["zoë".into(), "7".into()]);
        table.row(vec!["\u{1b}[31m".into(), "12345678".into()]);
        assert_eq!(table.render(), "NAME   TASKS\nzoë           7\n?[31m  12345678\n");
        assert_eq!(clean("a\u{202e}b\nc"), "a?b?c");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(vec!["図書館".into(), "1".into()]);
        table.row(vec!["e\u{301}tage".into(), "2".into()]);
        assert_eq!(table.render(), "NAME    N\n図書館  1\ne\u{301}tage   2\n");
        assert_eq!(cut("図書館", 5), "図書…");
        assert_eq!(cut("図書館", 4), "図…");
    }

    fn peers() -> Table {
        let mut table = Table::new(&["PEER", "NAME", "STATE", "DISK", "WHY"])
            .names(&["NAME"])
            .sentences(&["WHY"])
            .extras(&["DISK"]);
        let why = "it has been away for longer than a peer may be and nobody knows when it will be back";
        table.row(vec![
            "p1".into(),
            "a-name-that-never-ends".into(),
            "active".into(),
            "3".into(),
            why.into(),
        ]);
        table
    }

    #[test]
    fn with_room_everything_is_shown_on_a_line() {
        let text = peers().render();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("a-name-that-never-ends  active  ") && text.contains("will be back"), "{text}");
    }

    #[test]
    fn without_room_extras_go_names_are_cut_and_sentences_are_wrapped() {
        let text = peers().render_within(Width(44));
        assert_eq!(
            text,
            "PEER  NAME      STATE   WHY\n\
             p1    a-name-…  active  it has been away for\n                        longer than a peer\n                        \
             may be and nobody\n                        knows when it will\n                        be back\n\
             (--wide shows also: DISK)\n"
        );
        assert!(!peers().render_within(Width::USUAL).contains("--wide"), "there is room for all of them");
    }

    #[test]
    fn a_terminal_narrower_than_80_gets_what_a_file_gets() {
        assert_eq!(Width::of_terminal(20), Width::USUAL);
        assert_eq!(Width::of_terminal(200), Width(200));
    }

    #[test]
    fn sentences_are_broken_between_words_and_indented() {
        let text = Width(12).wrap("one two three four-and-more-of-it", 2);
        assert_eq!(text, "one two\n  three\n  four-and-m\n  ore-of-it\n");
    }

    proptest! {
        #[test]
        fn no_table_is_wider_than_its_screen(
            cells in proptest::collection::vec(proptest::collection::vec("\\PC{0,60}", 5), 0..6),
            width in 40usize..200,
        ) {
            let mut table = Table::new(&["PEER", "NAME", "STATE", "DISK", "WHY"])
                .names(&["NAME"]).sentences(&["WHY"]).extras(&["DISK"]);
            let rows = cells.len();
            cells.into_iter().for_each(|row| table.row(row));
            let text = table.render_within(Width(width));
            for line in text.lines() {
                prop_assert!(columns(line) <= width, "{} of {width}: {line:?}", columns(line));
            }
            prop_assert!(text.lines().count() > rows);
        }
    }
}

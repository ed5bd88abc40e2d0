//! Columns of text. Never knows what is in them.

/// Rows under a header, each column as wide as its widest cell, numbers to the right.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; a control character in a cell becomes `?`, because names come from volunteers' machines.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.header.len(), "a cell for each column");
        let clean = |cell: String| cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    pub fn render(&self) -> String {
        let columns = self.header.len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let header: Vec<String> = self.header.iter().map(ToString::to_string).collect();
        let mut text = line(&header, &widths, &vec![false; columns]);
        for row in &self.rows {
            let numbers: Vec<bool> = row.iter().map(|cell| is_number(cell)).collect();
            text.push_str(&line(row, &widths, &numbers));
        }
        text
    }
}

fn line(cells: &[String], widths: &[usize], right: &[bool]) -> String {
    let mut text = String::new();
    for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
        let padded = if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
        text.push_str(&padded);
        text.push_str("  ");
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["NAME", "TASKS"]);
        table.row(vec!["zoë".into(), "7".into()]);
        table.row(vec!["\u{1b}[31m".into(), "12345678".into()]);
        assert_eq!(table.render(), "NAME   TASKS\nzoë           7\n?[31m  12345678\n");
    }
}

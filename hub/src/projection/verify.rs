//! The tables compared with the state they should be of, row by row.

use super::{
    database::{Database, Mark, Told},
    expected::Expected,
    rows::{Cell, Key, TABLES, Table},
    trouble::Trouble,
};

/// Rows read at a time.
const PAGE: usize = 4096;
/// Differences that are named.
const NAMED_MAX: usize = 100;

/// What a comparison came to.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Of which moment both are.
    pub mark: Mark,
    /// Rows there should be.
    pub rows: u64,
    /// How many differ.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// One row that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub table: Table,
    /// Which.
    pub key: Key,
    /// How.
    pub how: How,
}

/// How a row differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It is not there.
    Missing,
    /// It should not be there.
    Unexpected,
    /// These columns have other values.
    Columns(Vec<&'static str>),
}

/// Compares all tables. Nobody writes meanwhile.
pub async fn compare(
    database: &mut Database,
    expected: &Expected<'_>,
    mark: Mark,
) -> Result<Verified, Trouble> {
    let mut verified = Verified { mark, ..Verified::default() };
    for table in TABLES {
        compare_table(database, expected, table, &mut verified).await?;
    }
    Ok(verified)
}

async fn compare_table(
    database: &mut Database,
    expected: &Expected<'_>,
    table: Table,
    verified: &mut Verified,
) -> Result<(), Trouble> {
    let mut wanted = expected.rows(table).peekable();
    let mut after = None;
    loop {
        let page = database.page(table, after, PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| *key);
        for told in page {
            while let Some((key, _)) = wanted.next_if(|(key, _)| *key < told.0) {
                verified.rows += 1;
                verified.note(table, key, How::Missing);
            }
            match wanted.next_if(|(key, _)| *key == told.0) {
                Some((key, cells)) => {
                    verified.rows += 1;
                    let columns = differing(table, &cells, &told);
                    if !columns.is_empty() {
                        verified.note(table, key, How::Columns(columns));
                    }
                }
                None => verified.note(table, told.0, How::Unexpected),
            }
        }
        if is_last {
            break;
        }
    }
    for (key, _) in wanted {
        verified.rows += 1;
        verified.note(table, key, How::Missing);
    }
    Ok(())
}

impl Verified {
    fn note(&mut self, table: Table, key: Key, how: How) {
        self.differing += 1;
        if self.differences.len() < NAMED_MAX {
            self.differences.push(Difference { table, key, how });
        }
    }
}

fn differing(table: Table, cells: &[Cell], (_, texts): &Told) -> Vec<&'static str> {
    let (_, columns) = table.columns();
    let pairs = columns.iter().zip(cells.iter().zip(texts));
    pairs.filter(|(_, (cell, text))| cell.text() != **text).map(|((name, ..), _)| *name).collect()
}

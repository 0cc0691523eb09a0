//! Aligned columns of text.

use crate::diagnostic::printable;
use std::io::{self, Write};

/// A table: a line of headings and lines of cells.
pub(super) struct Table {
    headings: Vec<Heading>,
    rows: Vec<Vec<String>>,
}

/// A column's heading; numbers stand to the right.
pub(super) enum Heading {
    Left(&'static str),
    Right(&'static str),
}

impl Heading {
    fn text(&self) -> &'static str {
        match self {
            Heading::Left(text) | Heading::Right(text) => text,
        }
    }
}

impl Table {
    pub(super) fn new(headings: impl Into<Vec<Heading>>) -> Self {
        Table { headings: headings.into(), rows: Vec::new() }
    }

    /// Adds a line. Control characters are escaped: names and descriptions are other people's and
    /// must not drive the terminal.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.headings.len());
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// Prints all lines, columns two spaces apart.
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut widths: Vec<_> = self.headings.iter().map(|h| h.text().len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let headings: Vec<_> = self.headings.iter().map(|h| h.text().to_owned()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, heading), &width) in row.iter().zip(&self.headings).zip(&widths) {
                match heading {
                    Heading::Left(_) => line.push_str(&format!("{cell:<width$}  ")),
                    Heading::Right(_) => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([Heading::Left("RULE"), Heading::Right("HITS")]);
        table.row(["ünïcödé".into(), "7".into()]);
        table.row(["b".into(), "123456".into()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let expected = "\
RULE       HITS
ünïcödé       7
b        123456
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_description_cannot_drive_the_terminal() {
        let mut table = Table::new([Heading::Left("DESCRIPTION")]);
        table.row(["\u{1b}[2J\nforged line".into()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "DESCRIPTION\n\\u{1b}[2J\\nforged line\n");
    }
}

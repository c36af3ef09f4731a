//! Tables for people, and colour where it is wanted.

use wgmfa_core::exit::sanitise;
use wgmfa_core::state::Colour;

/// Columns with a heading, two spaces apart, as wide as what stands in them.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    colour: bool,
}

/// What stands in one field of a table.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    /// The first so many characters are painted.
    painted: Option<(usize, Colour)>,
}

impl Cell {
    /// Text whose first word or words are painted.
    pub fn painted(first: &str, colour: Colour, rest: &str) -> Self {
        let text = format!("{first}{rest}");
        Self { text: sanitise(&text).replace(['\n', '\t'], " "), painted: Some((first.chars().count(), colour)) }
    }

    fn render(&self, width: usize, colour: bool) -> String {
        let padding = " ".repeat(width.saturating_sub(self.text.chars().count()));
        match self.painted {
            Some((length, paint)) if colour => {
                let end = self.text.char_indices().nth(length).map_or(self.text.len(), |(at, _)| at);
                let (first, rest) = self.text.split_at(end);
                format!("{}{rest}{padding}", paint_text(first, paint))
            }
            _ => format!("{}{padding}", self.text),
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: sanitise(&text.to_string()).replace(['\n', '\t'], " "), painted: None }
    }
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str], colour: bool) -> Self {
        Self { rows: vec![headings.iter().map(Cell::from).collect()], colour }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// The table; without rows, one line that says so.
    pub fn render(&self, none: &str) -> String {
        if self.rows.len() == 1 {
            return format!("{none}\n");
        }
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| cell.render(*width, self.colour)).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text in a colour of the terminal (ECMA-48 SGR).
fn paint_text(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Red => 31,
        Colour::Yellow => 33,
        Colour::Green => 32,
        Colour::Black => return text.to_owned(),
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// What a table shows where there is nothing.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_colour_only_where_it_is_wanted() {
        let table = |colour| {
            let mut table = Table::new(&["NAME", "STATE"], colour);
            table.row(["a".into(), Cell::painted("OK", Colour::Green, "  58 min left")]);
            table.row(["long-name\u{1b}".into(), Cell::painted("-", Colour::Black, "")]);
            table.render("nothing")
        };
        assert_eq!(table(false), "NAME        STATE\na           OK  58 min left\nlong-name?  -\n");
        assert_eq!(table(true), "NAME        STATE\na           \u{1b}[32mOK\u{1b}[0m  58 min left\nlong-name?  -\n");
        assert_eq!(Table::new(&["NAME"], true).render("no devices"), "no devices\n");
    }
}

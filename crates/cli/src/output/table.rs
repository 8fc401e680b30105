//! Columns of text, aligned as kubectl aligns them.

use super::sanitize::sanitize;

/// Rows under a header; every cell is made harmless.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

const GAP: usize = 3;

impl Table {
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { header: header.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn with_header(header: Vec<String>) -> Self {
        Self { header, rows: Vec::new() }
    }

    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| sanitize(cell.as_ref().as_bytes()));
        self.rows.push(cells.map(|cell| if cell.is_empty() { "<none>".to_owned() } else { cell }).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines with their header.
    pub(crate) fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        std::iter::once(&self.header).chain(&self.rows).map(|cells| pad(cells, &widths)).collect()
    }

    /// The widths that fit header and rows, at least `minimum`: a watch goes on in the columns it began with.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }

    /// The rows alone, in given columns.
    pub(crate) fn rows_in(&self, widths: &[usize]) -> Vec<String> {
        self.rows.iter().map(|cells| pad(cells, widths)).collect()
    }
}

fn pad(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        line.push_str(cell);
        if index + 1 < cells.len() {
            let width = widths.get(index).copied().unwrap_or(0);
            let blanks = (width + GAP).saturating_sub(cell.chars().count()).max(1);
            line.extend(std::iter::repeat_n(' ', blanks));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let mut table = Table::new(["NAME", "PHASE", "AGE"]);
        table.row(["greeter-x1", "Succeeded", "5s"]);
        table.row(["g", "", "12m"]);
        assert_eq!(
            table.lines(),
            ["NAME         PHASE       AGE", "greeter-x1   Succeeded   5s", "g            <none>      12m"]
        );
    }
}

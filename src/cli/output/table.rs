//! Aligned columns, as kubectl prints them.

use crate::visible::line;

/// The rows under their headings, three spaces between columns. A cell stays on its line, whatever it holds.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| line(cell).into_owned()).collect()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut out = String::new();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut out_line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            out_line.push_str(&format!("{cell:width$}   "));
        }
        out.push_str(out_line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_cell_forges_a_row_or_moves_the_cursor() {
        let rows = [vec!["a".to_owned(), "x\nb   evil\r\u{1b}[2K".to_owned()]];
        assert_eq!(super::table(&["X", "TO"], &rows), "X   TO\na   x\\nb   evil\\r\\u{1b}[2K\n");
    }

    #[test]
    fn aligns_without_trailing_spaces() {
        let rows = [vec!["a".to_owned(), "→ 5%".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(super::table(&["X", "TO"], &rows), "X     TO\na     → 5%\nbcd\n");
    }
}

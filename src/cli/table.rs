//! Aligned columns, as kubectl prints them.

/// The rows under their headings, three spaces between columns.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut out = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}   "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn aligns_without_trailing_spaces() {
        let rows = [vec!["a".to_owned(), "→ 5%".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(super::table(&["X", "TO"], &rows), "X     TO\na     → 5%\nbcd\n");
    }
}

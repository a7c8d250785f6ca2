//! Tables that fit a terminal of 80 columns: a header, a line under it, numbers to the right, no frame.

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};

const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─'))
    .content_lines(ContentLineStyle::none());

/// A table; columns of numbers are aligned to the right, but for the first.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let is_number = |index: usize| rows.iter().all(|row| row.get(index).is_none_or(|cell| begins_a_number(cell)));
    let to_the_right: Vec<bool> = (0..header.len()).map(|index| index > 0 && is_number(index)).collect();
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.to_vec()).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        // Two blanks between columns, none outside.
        column.set_padding(if index == 0 { (0, 0) } else { (2, 0) });
        if to_the_right[index] {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Whether a cell holds a number, with or without a unit, or the dash of one that is not there.
fn begins_a_number(cell: &str) -> bool {
    cell.starts_with(|c: char| c.is_ascii_digit() || "+-–".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_aligned_to_the_left_and_numbers_to_the_right() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&["a", "days", "file"], [row(["x", "9 d", "b"]), row(["yy", "10 d", "long"])]);
        assert_eq!(text, "a   days  file\n──────────────\nx    9 d  b\nyy  10 d  long");
    }

    #[test]
    fn a_table_has_no_frame_and_no_blanks_at_its_ends() {
        let rows = [vec!["1".to_owned(), "0.5".to_owned()], vec!["10".to_owned(), "–".to_owned()]];
        let text = table(&["round", "local\nloss"], rows);
        assert_eq!(text, "round  local\n        loss\n────────────\n1        0.5\n10         –");
    }
}

//! Tables that fit a terminal of 80 columns: a header, a line under it, numbers to the right, no frame.

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};

const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─'))
    .content_lines(ContentLineStyle::none());

/// A table with right-aligned columns but for the first.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        // Two blanks between columns, none outside.
        column.set_padding(if index == 0 { (0, 0) } else { (2, 0) });
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_frame_and_no_blanks_at_its_ends() {
        let rows = [vec!["1".to_owned(), "0.5".to_owned()], vec!["10".to_owned(), "–".to_owned()]];
        let text = table(&["round", "local\nloss"], rows);
        assert_eq!(text, "round  local\n        loss\n────────────\n1        0.5\n10         –");
    }
}

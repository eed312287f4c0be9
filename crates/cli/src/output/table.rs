//! Tables without borders, one line per row, so that `grep` and `awk` work on them.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// A column: its heading, and whether it has numbers.
pub(crate) struct Column {
    name: &'static str,
    right: bool,
}

/// A column of words.
pub(crate) const fn words(name: &'static str) -> Column {
    Column { name, right: false }
}

/// A column of numbers.
pub(crate) const fn numbers(name: &'static str) -> Column {
    Column { name, right: true }
}

/// The lines of a table: the headings first.
pub(crate) fn lines(columns: &[Column], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let cell = |text: String, column: &Column| {
        let alignment = if column.right { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(super::human::plain(&text)).set_alignment(alignment)
    };
    table.set_header(columns.iter().map(|column| cell(column.name.to_owned(), column)));
    for row in rows {
        table.add_row(row.into_iter().zip(columns).map(|(text, column)| cell(text, column)));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_under_their_headings_on_one_line_each() {
        let rows =
            vec![vec!["a\nb".to_owned(), "5".to_owned()], vec!["longer".to_owned(), "1234".to_owned()]];
        let lines = lines(&[words("NAME"), numbers("PORT")], rows);
        assert_eq!(lines, ["NAME    PORT", "a b        5", "longer  1234"]);
    }
}

//! Tables in Markdown that can be read as they are, too.

/// A table: each column's title, then the rows. A title that begins with `>` is of a column of
/// figures, which stand to the right.
pub fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = titles.iter().map(|title| title.starts_with('>')).collect();
    let titles: Vec<String> =
        titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&titles]).map(|row| row[column].chars().count());
        // The dashes of a rule, and its colon.
        cells.max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).zip(&right).map(|((cell, &width), right)| {
            if *right { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths
        .iter()
        .zip(&right)
        .map(
            |(width, right)| {
                if *right { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(*width) }
            },
        )
        .collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    line(&titles) + &line(&rule) + &body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_figures_stand_to_the_right() {
        let rows = [["acl1", "1.5"], ["ipc1_v6", "12.25"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        let expected = "\
            | rules   |    ns |\n\
            | ------- | ----: |\n\
            | acl1    |   1.5 |\n\
            | ipc1_v6 | 12.25 |\n";
        assert_eq!(table(&["rules", ">ns"], &rows), expected);
        assert_eq!(table(&["a"], &[]), "| a   |\n| --- |\n");
    }
}

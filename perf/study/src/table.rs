//! Tables in Markdown.

/// A table that is as readable as text as it is as a page.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns at the left, which are text; the others are figures.
    texts: usize,
}

impl Table {
    /// A table whose first `texts` columns are text.
    pub(crate) fn new(head: Vec<String>, texts: usize) -> Self {
        Self { head, rows: Vec::new(), texts }
    }

    pub(crate) fn row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The lines of the table, each with its end.
    pub(crate) fn render(&self) -> String {
        let escaped = |cell: &String| cell.replace('|', "\\|").replace('\n', " ");
        let head: Vec<String> = self.head.iter().map(escaped).collect();
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(escaped).collect()).collect();
        let width = |at: usize| {
            let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |row: &[String]| {
            let cell = |at: usize| {
                let (text, width) = (row.get(at).map_or("", String::as_str), widths[at]);
                if at < self.texts { format!("{text:<width$}") } else { format!("{text:>width$}") }
            };
            let cells: Vec<String> = (0..widths.len()).map(cell).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rules: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(at, width)| match at < self.texts {
                true => "-".repeat(*width),
                false => format!("{}:", "-".repeat(width - 1)),
            })
            .collect();
        let body: String = rows.iter().map(|row| line(row)).collect();
        line(&head) + &line(&rules) + &body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_at_the_left_and_figures_at_the_right() {
        let mut table = Table::new(vec!["who".to_owned(), "how many".to_owned()], 1);
        table.row(vec!["a|b".to_owned(), "7".to_owned()]);
        table.row(vec!["longer".to_owned()]);
        let lines = [
            "| who    | how many |\n",
            "| ------ | -------: |\n",
            "| a\\|b   |        7 |\n",
            "| longer |          |\n",
        ];
        assert_eq!(table.render(), lines.concat());
    }
}

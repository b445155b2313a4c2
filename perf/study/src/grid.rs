//! The grid of an experiment: the product of what varies, less what is skipped.

use crate::experiment::{Engine, Experiment, OptionValue, Setting};
use serde::{Deserialize, Serialize};

/// Longest name of a cell's folder.
const SLUG_CHARS_MAX: usize = 80;

/// One combination of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its folder: its labels, in letters that every file system takes.
    pub slug: String,
    /// Each dimension with the label of its value.
    pub labels: Vec<(String, String)>,
    /// The arguments of the program: `bench micro --shards 2`, without those for the results.
    pub args: Vec<String>,
    /// Every option with its value, those of all cells first.
    #[serde(skip)]
    pub settings: Vec<Setting>,
}

impl Cell {
    /// For people: `network geo, shards 2`.
    #[must_use]
    pub fn title(&self) -> String {
        let labels: Vec<String> =
            self.labels.iter().map(|(name, label)| format!("{name} {label}")).collect();
        if labels.is_empty() { "the only cell".to_owned() } else { labels.join(", ") }
    }

    /// The label of a dimension.
    #[must_use]
    pub fn label(&self, dimension: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(name, _)| name == dimension);
        found.map(|(_, label)| label.as_str())
    }

    /// The command that repeats it by hand.
    #[must_use]
    pub fn command(&self) -> String {
        let words: Vec<String> = self.args.iter().map(|word| quoted(word)).collect();
        format!("punctual {}", words.join(" "))
    }
}

/// A word as a shell takes it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

impl Experiment {
    /// All cells; the first dimension of the file varies slowest.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        let mut combinations: Vec<Vec<usize>> = vec![Vec::new()];
        for dimension in &self.sweep {
            let longer = |so_far: &Vec<usize>| {
                let so_far = so_far.clone();
                (0..dimension.points.len()).map(move |at| [so_far.as_slice(), &[at]].concat())
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        let mut cells: Vec<Cell> = Vec::new();
        for combination in combinations {
            let mut cell = self.cell(&combination);
            if self.skip.iter().any(|pattern| pattern.fits(&cell.labels)) {
                continue;
            }
            // Labels that differ only in letters that no folder may have, or far behind.
            let (slug, mut number) = (cell.slug.clone(), cells.len());
            while cells.iter().any(|other| other.slug == cell.slug) {
                cell.slug = format!("{slug}-{number}");
                number += 1;
            }
            cells.push(cell);
        }
        cells
    }

    /// The cell with these points, one of each dimension.
    fn cell(&self, points: &[usize]) -> Cell {
        let mut settings = self.fixed.clone();
        let mut labels = Vec::new();
        for (dimension, at) in self.sweep.iter().zip(points) {
            let point = &dimension.points[*at];
            settings.extend(point.settings.iter().cloned());
            labels.push((dimension.name.clone(), point.label.clone()));
        }
        let mut args = vec!["bench".to_owned(), self.bench.clone()];
        if self.engine == Engine::Sim {
            args.extend(["--engine".to_owned(), "sim".to_owned()]);
        }
        for setting in &settings {
            let option = format!("--{}", setting.name);
            match &setting.value {
                OptionValue::Absent => {}
                OptionValue::Flag => args.push(option),
                // In one word, so that a value may begin with a dash.
                OptionValue::Text(value) if value.starts_with('-') => {
                    args.push(format!("{option}={value}"));
                }
                OptionValue::Text(value) => args.extend([option, value.clone()]),
            }
        }
        Cell { slug: slug_of(&labels), labels, args, settings }
    }
}

fn slug_of(labels: &[(String, String)]) -> String {
    let parts: Vec<String> = labels.iter().map(|(name, label)| format!("{name}-{label}")).collect();
    let slug = slug(&parts.join("_"));
    if slug.is_empty() { "only".to_owned() } else { slug }
}

/// A text in letters that every file system and every link takes.
pub(crate) fn slug(text: &str) -> String {
    let kept = |c: char| match c {
        'A'..='Z' => c.to_ascii_lowercase(),
        'a'..='z' | '0'..='9' | '.' | '_' | '-' => c,
        _ => '-',
    };
    text.trim_start_matches('.').chars().map(kept).take(SLUG_CHARS_MAX).collect()
}

/// Whether a text is the name of a cell's folder, and no way out of it.
pub(crate) fn is_slug(text: &str) -> bool {
    let is_plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        let args = ["bench", "micro", "--network", "my file.toml", "--x", "it's"];
        let cell = Cell {
            slug: "only".to_owned(),
            labels: Vec::new(),
            args: args.map(str::to_owned).to_vec(),
            settings: Vec::new(),
        };
        let command = r"punctual bench micro --network 'my file.toml' --x 'it'\''s'";
        assert_eq!(cell.command(), command);
        assert_eq!(cell.title(), "the only cell");
    }

    #[test]
    fn a_folder_has_no_letters_that_need_care() {
        assert_eq!(slug("network-Far away/../x_1%"), "network-far-away-..-x_1-");
        assert_eq!(slug("..hidden"), "hidden");
        assert_eq!(slug(&"x".repeat(200)).len(), SLUG_CHARS_MAX);
        for (text, expected) in [("a-1_b", true), ("", false), ("..", false), ("a/b", false)] {
            assert_eq!(is_slug(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_cell_has_a_folder_of_its_own_however_alike_the_labels_are() {
        let long = "y".repeat(200);
        let head = "name = \"x\"\ntitle = \"x\"\nabout = \"x\"\nbench = \"micro\"\n[sweep]\n";
        let text = format!("{head}k = [\"a-2\", \"a\", \"A\", \"{long}1\", \"{long}2\"]\n");
        let experiment = Experiment::parse(&text, "x.toml", false).expect("an experiment");
        let slugs: Vec<String> = experiment.cells().into_iter().map(|cell| cell.slug).collect();
        assert_eq!(slugs[..3], ["k-a-2", "k-a", "k-a-3"]);
        assert_ne!(slugs[3], slugs[4]);
        assert!(slugs.iter().all(|slug| is_slug(slug)), "{slugs:?}");
    }
}

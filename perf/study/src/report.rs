//! The report of a study, as a page: how it was run, tables, pictures, and what went wrong.

use crate::experiment::{Experiment, OptionValue, hash_of};
use crate::metric::MetricPath;
use crate::pictures::Shown;
use crate::results::{CellResults, Results, Spread, State};
use crate::shipped::SHIPPED;
use crate::table::Table;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most different values of a field that are listed.
const VALUES_MAX: usize = 4;

/// The whole page.
pub(crate) fn text(results: &Results, experiment: &Experiment, shown: &[Shown]) -> String {
    let mut text = format!("# {}\n\n{}\n\n", experiment.title, experiment.about);
    text += &how(results, experiment);
    text += "## Results\n\n";
    text += &figures(results, experiment);
    text += &pictures(shown);
    text += &published(experiment);
    text += &troubles(results);
    text += &commands(results);
    text
}

/// How it was run: the command, the machine, the options.
fn how(results: &Results, experiment: &Experiment) -> String {
    let manifest = &results.manifest;
    let quick = if manifest.quick { " --quick" } else { "" };
    let mut text = "## How it was run\n\n".to_owned();
    // Of an experiment that does not come with the program, the copy beside this page is at hand.
    let is_shipped = SHIPPED.iter().any(|shipped| hash_of(shipped.text) == manifest.hash);
    let study = if is_shipped { manifest.name.as_str() } else { "study.toml" };
    text += &format!("```sh\npunctual study run {study}{quick}\n```\n\n");
    let (cells, repeats) = (results.cells.len(), manifest.repeats);
    let each = match repeats {
        1 => "one run each".to_owned(),
        _ => format!(
            "{repeats} runs each, in turns: every cell once, then every cell again, so that a \
             drift of the machine falls on all alike"
        ),
    };
    text += &format!("Begun {}. {cells} cells, {each}.", manifest.began);
    if manifest.quick {
        text += " This is the quick form: shorter runs and fewer of them than in the full one.";
    }
    text += "\n\n";
    let mut table = Table::new(vec!["what".to_owned(), "value".to_owned()], 2);
    for (name, value) in environment(results) {
        table.row(vec![name, value]);
    }
    for setting in &experiment.fixed {
        let value = match &setting.value {
            OptionValue::Absent => continue,
            OptionValue::Flag => "yes".to_owned(),
            OptionValue::Text(value) => value.clone(),
        };
        table.row(vec![format!("`--{}`", setting.name), value]);
    }
    text += &format!("{}\n", table.render());
    let warnings = warnings(results);
    if !warnings.is_empty() {
        text += "The runs themselves warned:\n\n";
        for (warning, runs) in warnings {
            text += &format!("- {warning} ({runs} runs)\n");
        }
        text += "\n";
    }
    text
}

/// What the runs were made on; where it was not the same for all, the different values.
fn environment(results: &Results) -> Vec<(String, String)> {
    let mut rows = vec![("program".to_owned(), results.manifest.program.clone())];
    for (field, name) in [
        ("git_commit", "runs of builds"),
        ("cpu_model", "processor"),
        ("kernel", "kernel"),
        ("backend", "backend"),
        ("idle", "idle strategy"),
        ("transport", "transport"),
        ("pinned", "pinned to cores"),
        ("isolated", "isolated cores"),
        ("debug_build", "built without optimisation"),
    ] {
        let mut values: Vec<String> = Vec::new();
        for (_, run) in results.runs() {
            let value = run.report.get("environment").and_then(|place| place.get(field));
            let value = value.filter(|value| !value.is_null()).map(shown_value);
            let other = value.filter(|value| !values.contains(value));
            values.extend(other);
        }
        // The program is named above; this tells of a study that another build went on with.
        if field == "git_commit" && values.len() < 2 {
            continue;
        }
        let more = values.len().saturating_sub(VALUES_MAX);
        values.truncate(VALUES_MAX);
        let mut value = values.join(", ");
        if more > 0 {
            value += &format!(" and {more} more");
        }
        if !value.is_empty() {
            rows.push((name.to_owned(), value));
        }
    }
    rows
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown_value).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Every warning with the number of runs that gave it.
fn warnings(results: &Results) -> BTreeMap<String, usize> {
    let mut warnings = BTreeMap::new();
    for (_, run) in results.runs() {
        let list = run.report.get("warnings").and_then(Value::as_array);
        for warning in list.into_iter().flatten().filter_map(Value::as_str) {
            *warnings.entry(warning.to_owned()).or_insert(0) += 1;
        }
    }
    warnings
}

/// The table of the figures: a row for each cell.
fn figures(results: &Results, experiment: &Experiment) -> String {
    let mut head: Vec<String> = results.dimensions().into_iter().map(str::to_owned).collect();
    let texts = head.len();
    head.extend(experiment.metrics.iter().map(|metric| metric.path.title()));
    let mut table = Table::new(head, texts);
    for cell in &results.cells {
        let mut row: Vec<String> =
            cell.cell.labels.iter().map(|(_, label)| label.clone()).collect();
        row.extend(experiment.metrics.iter().map(|metric| figure(cell, &metric.path)));
        table.row(row);
    }
    let repeats = results.manifest.repeats;
    let what = match repeats {
        1 => "One run of each cell: there is no range.".to_owned(),
        _ => format!(
            "Medians of {repeats} runs, and their range in brackets; where fewer were good, their \
             number."
        ),
    };
    format!("{}\n{what} Throughput is in transactions a second.\n\n", table.render())
}

/// A figure with its range.
fn figure(cell: &CellResults, path: &MetricPath) -> String {
    let shown = |spread: &Spread| {
        let unit = path.unit();
        let [median, min, max] =
            [spread.median, spread.min, spread.max].map(|value| unit.show(value));
        let all = cell.runs.len();
        match spread.n {
            1 if all == 1 => median,
            1 => format!("{median} (n=1)"),
            n if n < all => format!("{median} ({min} to {max}, n={n})"),
            _ => format!("{median} ({min} to {max})"),
        }
    };
    match (cell.spread(path), cell.invalid_spread(path)) {
        (Some(spread), _) => shown(&spread),
        (None, Some(spread)) => format!("{} invalid", shown(&spread)),
        (None, None) => "-".to_owned(),
    }
}

fn pictures(shown: &[Shown]) -> String {
    if shown.is_empty() {
        return String::new();
    }
    let mut text = "## Pictures\n\n".to_owned();
    for picture in shown {
        text += &format!("### {}\n\n", picture.title);
        if let Some(svg) = &picture.svg {
            let what = picture.title.replace(['[', ']'], "");
            text += &format!("![{what}](plots/{})\n\n", svg.file);
        }
        for note in &picture.notes {
            text += &format!("{note}\n\n");
        }
    }
    text
}

fn published(experiment: &Experiment) -> String {
    if experiment.published.is_empty() {
        return String::new();
    }
    let mut text = "## Published figures\n\nWhat others have measured, on other machines and \
        networks. It stands here to be looked at; nothing above is computed with it.\n\n"
        .to_owned();
    for published in &experiment.published {
        let mut table = Table::new(published.columns.clone(), 1);
        for row in &published.rows {
            table.row(row.clone());
        }
        text += &format!("**{}.** {}\n\n{}\n", published.name, published.source, table.render());
    }
    text
}

/// Runs that are invalid, failed or missing.
fn troubles(results: &Results) -> String {
    let mut lines = String::new();
    for (cell, run) in results.runs() {
        let why: &str = match &run.state {
            State::Good => continue,
            State::Invalid => {
                "the generator did not keep up with its schedule; the figures are \
                of the generator and are in no picture"
            }
            State::Failed(why) => why,
            State::Missing => "not run",
        };
        let name = run.state.name();
        lines += &format!("- {}, run {}: {name}: {why}\n", cell.title(), run.repeat);
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("## Runs that do not count\n\n{lines}\n")
}

/// The command of each cell.
fn commands(results: &Results) -> String {
    let mut text = "## Commands\n\nWhat ran, a line for each cell; `--json FILE` and `--hdr DIR` \
        were added.\n\n```sh\n"
        .to_owned();
    for cell in &results.cells {
        text += &format!("{}\n", cell.cell.command());
    }
    text + "```\n"
}

//! Which key of an experiment file sets which field.

use super::document::{Entry, Read, Source, Table};
use super::plots::read_plots;
use super::quick::read_quick;
use super::{
    BESIDE, Dimension, Engine, Experiment, Metric, OptionValue, Pattern, Point, Published,
    REPEATS_MAX, Setting, hash_of,
};
use crate::metric::MetricPath;
use crate::names::hint;
use punctual_runtime::config::parse_duration;
use std::time::Duration;

const ROOT: &[&str] = &[
    "name",
    "title",
    "about",
    "bench",
    "engine",
    "repeats",
    "cell_time",
    "metrics",
    "fixed",
    "sweep",
    "skip",
    "quick",
    "plot",
    "published",
];
const PUBLISHED: &[&str] = &["name", "source", "columns", "rows"];
/// Options that are not for a file to set, and why.
const RESERVED: [(&str, &str); 3] = [
    ("json", "the study itself says where results go"),
    ("hdr", "the study itself says where results go"),
    ("engine", "write engine = \"real\" or \"sim\" at the top of the file"),
];
/// What tables show where the file does not say.
const METRICS: [&str; 3] = ["throughput_tps", "latency_ns.p50", "latency_ns.p99"];
/// The value with which an option is left out.
const ABSENT: &str = "none";

/// Reads a whole file.
pub(super) fn read(text: &str, file: &str, is_quick: bool) -> Read<Experiment> {
    let source = Source { text, file };
    let document = source.parse()?;
    let root = Table::open(source, "", 0, &document, ROOT)?;
    let full = root.get("sweep").map_or(Ok(Vec::new()), read_sweep)?;
    let quick = read_quick(root, &full)?;
    let repeats = root.get("repeats").map_or(Ok(1), |entry| entry.integer(&(1..=REPEATS_MAX)))?;
    let beside = root.get("cell_time").map_or(Ok(BESIDE), duration)?;
    let fixed = root.get("fixed").map_or(Ok(Vec::new()), read_fixed)?;
    // Labels may be those of either form: one that this form lacks leaves nothing to skip.
    let known = [full.clone(), quick.sweep.clone()].concat();
    let mut experiment = Experiment {
        file: file.to_owned(),
        hash: hash_of(text),
        is_quick,
        name: read_name(root)?,
        title: root.required("title", "say in a few words what it is")?.text()?.to_owned(),
        about: root.required("about", "say what it is for")?.text()?.trim().to_owned(),
        bench: read_bench(root)?,
        engine: read_engine(root)?,
        repeats,
        beside,
        fixed,
        sweep: full,
        skip: read_skips(root, &known)?,
        metrics: read_metrics(root)?,
        plots: Vec::new(),
        published: read_published(root)?,
    };
    if is_quick {
        quick.apply(&mut experiment);
    }
    experiment.check_size()?;
    experiment.plots = read_plots(root, &experiment, &known)?;
    Ok(experiment)
}

fn read_name(root: Table<'_>) -> Read<String> {
    let entry = root.required("name", "it is part of the names of folders")?;
    let name = entry.text()?;
    match is_plain(name) {
        true => Ok(name.to_owned()),
        false => Err(entry.refuse("is no name; use lower-case letters, digits and dashes")),
    }
}

fn read_bench(root: Table<'_>) -> Read<String> {
    let entry = root.required("bench", "name a subcommand of punctual bench, such as \"micro\"")?;
    let bench = entry.text()?;
    match is_plain(bench) {
        true => Ok(bench.to_owned()),
        false => Err(entry.refuse("is no bench; punctual bench --help lists them")),
    }
}

fn read_engine(root: Table<'_>) -> Read<Engine> {
    let Some(entry) = root.get("engine") else { return Ok(Engine::Real) };
    match entry.text()? {
        "real" => Ok(Engine::Real),
        "sim" => Ok(Engine::Sim),
        other => Err(entry.refuse(&format!("is no engine; {}", hint(other, ["real", "sim"])))),
    }
}

/// Whether a text is made of lower-case letters, digits and dashes, with a letter at its front.
fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits)
}

pub(super) fn duration(entry: Entry<'_>) -> Read<Duration> {
    parse_duration(entry.text()?).map_err(|problem| entry.refuse(&problem.to_string()))
}

/// Options of every cell, or of one value of a bundle.
pub(super) fn read_fixed(entry: Entry<'_>) -> Read<Vec<Setting>> {
    entry.table(entry.key, &[])?.entries().into_iter().map(read_setting).collect()
}

fn read_setting(entry: Entry<'_>) -> Read<Setting> {
    check_option(entry)?;
    setting(entry.key, entry)
}

/// The setting of an option to the value of an entry: of a key, or of an element of a list.
fn setting(name: &str, entry: Entry<'_>) -> Read<Setting> {
    let value = match entry.boolean() {
        Some(true) => OptionValue::Flag,
        Some(false) => OptionValue::Absent,
        None => match entry.scalar()? {
            text if text == ABSENT => OptionValue::Absent,
            text => OptionValue::Text(text),
        },
    };
    Ok(Setting { name: name.to_owned(), value, line: entry.line() })
}

fn check_option(entry: Entry<'_>) -> Read<()> {
    let name = entry.key;
    if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(entry.error(format!("the option \"{name}\" is not for this file: {why}")));
    }
    if is_plain(name) {
        return Ok(());
    }
    let right = name.trim_start_matches('-').replace('_', "-").to_lowercase();
    Err(entry.error(format!(
        "\"{name}\" is no name of an option; write it as on the command line, without the dashes \
         in front: \"{right}\""
    )))
}

fn read_sweep(entry: Entry<'_>) -> Read<Vec<Dimension>> {
    entry.table("sweep", &[])?.entries().into_iter().map(read_dimension).collect()
}

/// A list is an option with its values, a table a bundle: labels with options.
fn read_dimension(entry: Entry<'_>) -> Read<Dimension> {
    let points = if entry.is_table() {
        let bundles = entry.table(entry.key, &[])?.entries();
        bundles.into_iter().map(read_bundle).collect::<Read<Vec<Point>>>()?
    } else {
        check_option(entry)?;
        read_points(entry)?
    };
    if points.is_empty() {
        return Err(entry.refuse("has no value, so the grid is empty; give it one at least"));
    }
    check_labels(entry, &points)?;
    Ok(Dimension { name: entry.key.to_owned(), points, line: entry.line() })
}

fn read_bundle(entry: Entry<'_>) -> Read<Point> {
    Ok(Point { label: entry.key.to_owned(), settings: read_fixed(entry)? })
}

/// The values of one option.
pub(super) fn read_points(entry: Entry<'_>) -> Read<Vec<Point>> {
    let point = |element: Entry<'_>| {
        let (label, setting) = (element.scalar()?, setting(element.key, element)?);
        Ok(Point { label, settings: vec![setting] })
    };
    entry.list()?.into_iter().map(point).collect()
}

/// Labels are what cells are told apart by.
pub(super) fn check_labels(entry: Entry<'_>, points: &[Point]) -> Read<()> {
    for (at, point) in points.iter().enumerate() {
        if points[..at].iter().any(|other| other.label == point.label) {
            return Err(entry.refuse(&format!("has \"{}\" twice; keep one", point.label)));
        }
    }
    Ok(())
}

fn read_skips(root: Table<'_>, known: &[Dimension]) -> Read<Vec<Pattern>> {
    let Some(entry) = root.get("skip") else { return Ok(Vec::new()) };
    let elements = entry.list()?;
    elements.into_iter().map(|element| read_pattern(element, "skip", known)).collect()
}

/// Names of dimensions with a label or several.
pub(super) fn read_pattern<'a>(
    entry: Entry<'a>,
    name: &'a str,
    known: &[Dimension],
) -> Read<Pattern> {
    let mut pattern = Pattern::default();
    for entry in entry.table(name, &[])?.entries() {
        let own: Vec<&Dimension> =
            known.iter().filter(|dimension| dimension.name == entry.key).collect();
        if own.is_empty() {
            let names: Vec<&str> = known.iter().map(|dimension| dimension.name.as_str()).collect();
            let hint = hint(entry.key, names);
            return Err(entry.error(format!("\"{}\" does not vary here; {hint}", entry.key)));
        }
        let points = own.iter().flat_map(|dimension| &dimension.points);
        let all: Vec<&str> = points.map(|point| point.label.as_str()).collect();
        let elements = if entry.is_list() { entry.list()? } else { vec![entry] };
        let mut labels = Vec::new();
        for element in elements {
            let label = element.scalar()?;
            if !all.contains(&label.as_str()) {
                let hint = hint(&label, all.iter().copied());
                return Err(element.refuse(&format!("is none of its values; {hint}")));
            }
            labels.push(label);
        }
        pattern.0.push((entry.key.to_owned(), labels));
    }
    Ok(pattern)
}

fn read_metrics(root: Table<'_>) -> Read<Vec<Metric>> {
    let Some(entry) = root.get("metrics") else {
        let metric = |path: &str| Metric { path: path.parse().expect("a constant"), line: 1 };
        return Ok(METRICS.into_iter().map(metric).collect());
    };
    let mut metrics = Vec::new();
    for element in entry.list()? {
        metrics.push(Metric { path: read_path(element)?, line: element.line() });
    }
    Ok(metrics)
}

/// A path to a figure.
pub(super) fn read_path(entry: Entry<'_>) -> Read<MetricPath> {
    entry.text()?.parse().map_err(|why: String| entry.refuse(&why))
}

fn read_published(root: Table<'_>) -> Read<Vec<Published>> {
    let Some(entry) = root.get("published") else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for element in entry.list()? {
        let table = element.table("published", PUBLISHED)?;
        let text = |key: &str| table.required(key, "say whose figures these are, and where from");
        let columns = table.required("columns", "list the headings")?.list()?;
        let columns = columns.into_iter().map(Entry::scalar).collect::<Read<Vec<String>>>()?;
        let mut rows = Vec::new();
        for row in table.required("rows", "list the rows")?.list()? {
            let cells =
                row.list()?.into_iter().map(Entry::scalar).collect::<Read<Vec<String>>>()?;
            if cells.len() != columns.len() {
                let why = format!("has {} values for {} columns", cells.len(), columns.len());
                return Err(row.refuse(&why));
            }
            rows.push(cells);
        }
        all.push(Published {
            name: text("name")?.text()?.to_owned(),
            source: text("source")?.text()?.to_owned(),
            columns,
            rows,
        });
    }
    Ok(all)
}

//! The pictures of an experiment file.

use super::document::{Entry, Read, Table};
use super::read::{read_path, read_pattern};
use super::{Across, Dimension, Experiment, HEATMAPS_MAX, Pattern, Plot, PlotKind};
use crate::metric::MetricPath;
use crate::names::hint;
use punctual_runtime::config::nearest;

const PLOT: &[&str] = &["kind", "title", "x", "y", "by", "only", "log"];
const KINDS: [(&str, PlotKind); 6] = [
    ("throughput-latency", PlotKind::ThroughputLatency),
    ("line", PlotKind::Line),
    ("bars", PlotKind::Bars),
    ("cdf", PlotKind::Cdf),
    ("percentiles", PlotKind::Percentiles),
    ("heatmap", PlotKind::Heatmap),
];
const THROUGHPUT: &str = "throughput_tps";
const LATENCY: &str = "latency_ns.p99";

impl PlotKind {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| *name)
    }

    /// Whether it shows whole distributions, for which no axis is to be chosen.
    #[must_use]
    pub fn is_distribution(self) -> bool {
        matches!(self, Self::Cdf | Self::Percentiles | Self::Heatmap)
    }
}

/// Reads all of them; `known` has the dimensions of both forms.
pub(super) fn read_plots(
    root: Table<'_>,
    experiment: &Experiment,
    known: &[Dimension],
) -> Read<Vec<Plot>> {
    let Some(entry) = root.get("plot") else { return Ok(Vec::new()) };
    let mut plots = Vec::new();
    for element in entry.list()? {
        let table = element.table("plot", PLOT)?;
        let plot = read_plot(table, experiment, known)?;
        check_shown(table, &plot, experiment)?;
        plots.push(plot);
    }
    Ok(plots)
}

fn read_plot(table: Table<'_>, experiment: &Experiment, known: &[Dimension]) -> Read<Plot> {
    let kind = read_kind(table)?;
    let title = table.required("title", "it is the picture's heading")?.text()?.to_owned();
    for key in ["x", "y"].into_iter().filter(|_| kind.is_distribution()) {
        if let Some(entry) = table.get(key) {
            return Err(entry.error(format!("a {} has no \"{key}\" to choose", kind.name())));
        }
    }
    let x = read_across(table, kind, experiment)?;
    let y = match table.get("y") {
        Some(entry) => Some(read_path(entry)?),
        None => constant(LATENCY).filter(|_| !kind.is_distribution()),
    };
    let only = match table.get("only") {
        Some(entry) => read_pattern(entry, "only", known)?,
        None => Pattern::default(),
    };
    let log = table.get("log").map_or(Ok(""), Entry::text)?;
    if let Some(entry) = table.get("log").filter(|_| !["x", "y", "xy", ""].contains(&log)) {
        return Err(entry.refuse("is no axis; write \"x\", \"y\" or \"xy\""));
    }
    let by = read_by(table, x.as_ref(), &only, experiment)?;
    let (log_x, log_y) = (log.contains('x'), log.contains('y'));
    Ok(Plot { kind, title, x, y, by, only, log_x, log_y, line: table.line() })
}

fn read_kind(table: Table<'_>) -> Read<PlotKind> {
    let entry = table.required("kind", "say what kind of picture it is")?;
    let text = entry.text()?;
    let kind = KINDS.iter().find(|(name, _)| *name == text);
    kind.map(|(_, kind)| *kind).ok_or_else(|| {
        let hint = hint(text, KINDS.map(|(name, _)| name));
        entry.refuse(&format!("is no kind of picture; {hint}"))
    })
}

fn constant(path: &str) -> Option<MetricPath> {
    path.parse().ok()
}

fn read_across(table: Table<'_>, kind: PlotKind, experiment: &Experiment) -> Read<Option<Across>> {
    let Some(entry) = table.get("x") else {
        return match kind {
            PlotKind::ThroughputLatency => Ok(constant(THROUGHPUT).map(Across::Metric)),
            PlotKind::Line | PlotKind::Bars => {
                Err(table.error("\"x\" is missing in plot; name what varies, or a figure".into()))
            }
            _ => Ok(None),
        };
    };
    let text = entry.text()?;
    let names: Vec<&str> = experiment.sweep.iter().map(|it| it.name.as_str()).collect();
    if names.contains(&text) && kind != PlotKind::ThroughputLatency {
        return Ok(Some(Across::Dimension(text.to_owned())));
    }
    if kind == PlotKind::Bars {
        return Err(entry.refuse(&format!("does not vary here; {}", hint(text, names))));
    }
    // A misspelt dimension would only show up as an unknown figure after the first run.
    let may_vary = !text.contains('.') && kind != PlotKind::ThroughputLatency;
    if let Some(near) = nearest(text, names).filter(|_| may_vary) {
        return Err(entry.refuse(&format!("does not vary here; did you mean \"{near}\"?")));
    }
    read_path(entry).map(Across::Metric).map(Some)
}

/// The dimensions that make series: those that the file names, or all that are left.
fn read_by(
    table: Table<'_>,
    x: Option<&Across>,
    only: &Pattern,
    experiment: &Experiment,
) -> Read<Vec<String>> {
    let is_x = |name: &str| matches!(x, Some(Across::Dimension(of)) if of == name);
    let is_open = |dimension: &&Dimension| {
        dimension.points.len() > 1 && !is_x(&dimension.name) && !only.pins(&dimension.name)
    };
    let open: Vec<String> =
        experiment.sweep.iter().filter(is_open).map(|it| it.name.clone()).collect();
    let Some(entry) = table.get("by") else {
        // Where the order of the grid draws the line, its last dimension is what goes along it.
        let along = matches!(x, Some(Across::Metric(_)));
        let count = open.len() - usize::from(along && !open.is_empty());
        return Ok(open.into_iter().take(count).collect());
    };
    let elements = if entry.is_list() { entry.list()? } else { vec![entry] };
    let mut by = Vec::new();
    for element in elements {
        let name = element.text()?;
        if experiment.dimension(name).is_none() {
            let names: Vec<&str> = experiment.sweep.iter().map(|it| it.name.as_str()).collect();
            return Err(element.refuse(&format!("does not vary here; {}", hint(name, names))));
        }
        by.push(name.to_owned());
    }
    let left = open.into_iter().find(|name| !by.contains(name));
    match left.filter(|_| !matches!(x, Some(Across::Metric(_)))) {
        Some(left) => Err(entry.error(format!(
            "\"{left}\" varies as well; add it to \"by\", or choose one of its values with \
             only = {{ {left} = ... }}"
        ))),
        None => Ok(by),
    }
}

/// Refuses a heat map of too many cells.
fn check_shown(table: Table<'_>, plot: &Plot, experiment: &Experiment) -> Read<()> {
    let cells = experiment.cells();
    let shown = cells.iter().filter(|cell| plot.only.fits(&cell.labels)).count();
    if plot.kind == PlotKind::Heatmap && shown > HEATMAPS_MAX {
        return Err(table.error(format!(
            "this heatmap would be {shown} pictures, more than {HEATMAPS_MAX}; choose some cells \
             with only = {{ ... }}"
        )));
    }
    Ok(())
}

//! Which figures of the results go into which picture.

use crate::experiment::{Across, Experiment, Plot, PlotKind};
use crate::grid::slug;
use crate::hdr::{Interval, read_log, total};
use crate::metric::{MetricPath, Unit};
use crate::plot::{AxisKind, AxisSpec, Chart, Column, HeatMap, Point, SERIES_MAX, Series, Style};
use crate::results::{CellResults, Results, Run};
use hdrhistogram::Histogram;
use punctual_load::hgrm::LOG_FILE;
use punctual_runtime::config::parse_duration;

/// The series of a log that a distribution is of: the response time where there is one.
const SERIES: [&str; 2] = ["intended", "latency"];
/// Labels that are settings and no names: beside them the option must be named.
const BARE: [&str; 6] = ["none", "off", "on", "auto", "true", "false"];
/// Least part of all latencies between two points of a distribution.
const CDF_STEP: f64 = 0.002;
/// Rows for each halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// Samples that must lie beyond a percentile for it to be shown.
const SAMPLES_BEYOND_MIN: f64 = 10.0;

/// A picture as a file.
pub(crate) struct Picture {
    pub(crate) file: String,
    pub(crate) svg: String,
}

/// What the report shows under a heading.
pub(crate) struct Shown {
    pub(crate) title: String,
    /// `None` if there is nothing to see.
    pub(crate) svg: Option<Picture>,
    pub(crate) notes: Vec<String>,
}

/// Makes all pictures.
pub(crate) fn make(results: &Results, experiment: &Experiment) -> Vec<Shown> {
    let mut shown = Vec::new();
    for (at, plot) in experiment.plots.iter().enumerate() {
        let cells: Vec<&CellResults> =
            results.cells.iter().filter(|cell| plot.only.fits(&cell.cell.labels)).collect();
        let file = format!("{:02}-{}", at + 1, slug(&plot.title));
        match plot.kind {
            PlotKind::Heatmap => {
                shown.extend(cells.iter().map(|cell| heat_map(plot, cell, &file)));
            }
            PlotKind::Cdf | PlotKind::Percentiles => shown.push(distribution(plot, &cells, &file)),
            PlotKind::ThroughputLatency | PlotKind::Line | PlotKind::Bars => {
                shown.push(figures(plot, &cells, experiment, &file));
            }
        }
    }
    shown
}

/// A chart as a file, unless there is nothing in it.
fn shown(chart: &Chart, file: &str, mut notes: Vec<String>) -> Shown {
    let title = chart.title.clone();
    if chart.is_empty() {
        notes.push("There is nothing to show: no good run has these figures.".to_owned());
        return Shown { title, svg: None, notes };
    }
    let svg = Picture { file: format!("{file}.svg"), svg: chart.svg() };
    Shown { title, svg: Some(svg), notes }
}

/// Lines or bars of figures.
fn figures(plot: &Plot, cells: &[&CellResults], experiment: &Experiment, file: &str) -> Shown {
    let across = Horizontal::of(plot, cells, experiment);
    let mut notes = Vec::new();
    let mut series: Vec<Series> = Vec::new();
    let mut left_out = 0;
    for cell in cells {
        let Some(point) = across.point(plot, cell) else {
            left_out += 1;
            continue;
        };
        let name = series_name(plot, cell);
        match series.iter_mut().find(|series| series.name == name) {
            Some(same) => same.points.push(point),
            None => series.push(Series { name, points: vec![point] }),
        }
    }
    if left_out > 0 {
        notes.push(format!("Left out: {left_out} cells without a good run that has the figures."));
    }
    if series.len() > SERIES_MAX {
        notes.push(format!("Only the first {SERIES_MAX} of {} series are shown.", series.len()));
        series.truncate(SERIES_MAX);
    }
    if across.is_ordered() {
        for series in &mut series {
            series.points.sort_by(|one, other| one.x.total_cmp(&other.x));
        }
    }
    let style = if plot.kind == PlotKind::Bars { Style::Bars } else { Style::Points };
    let y = plot.y.as_ref().map_or_else(String::new, MetricPath::title);
    let unit = plot.y.as_ref().map_or(Unit::Plain, MetricPath::unit);
    let y = AxisSpec { title: titled(&y, unit), kind: AxisKind::Of(unit), is_log: plot.log_y };
    let chart = Chart { title: plot.title.clone(), x: across.axis(plot), y, series, style };
    if chart.series.iter().flat_map(|series| &series.points).any(|it| it.y_range.0 < it.y_range.1) {
        notes.push("Points are medians of the runs, whiskers their range.".to_owned());
    }
    shown(&chart, file, notes)
}

/// The heading of an axis; its labels have the unit but for transactions.
fn titled(name: &str, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{name} (a second)"),
        _ => name.to_owned(),
    }
}

/// What the horizontal axis of some figures is.
enum Horizontal<'a> {
    /// Values of a dimension that are numbers, or times.
    Values(&'a str, Unit),
    /// Values of a dimension by their names.
    Names(&'a str, Vec<String>),
    /// A figure of the runs.
    Metric(&'a MetricPath),
    /// Nothing: the file asks for no axis.
    Nothing,
}

impl<'a> Horizontal<'a> {
    fn of(plot: &'a Plot, cells: &[&CellResults], experiment: &'a Experiment) -> Self {
        let name = match &plot.x {
            Some(Across::Metric(path)) => return Self::Metric(path),
            Some(Across::Dimension(name)) => name,
            None => return Self::Nothing,
        };
        let points = experiment.dimension(name).map(|it| it.points.as_slice()).unwrap_or_default();
        let is_shown = |label: &str| cells.iter().any(|cell| cell.cell.label(name) == Some(label));
        let labels: Vec<String> =
            points.iter().map(|it| it.label.clone()).filter(|label| is_shown(label)).collect();
        for unit in [Unit::Plain, Unit::Nanos] {
            let values: Option<Vec<f64>> =
                labels.iter().map(|label| value_of(label, unit)).collect();
            let fits = values.is_some_and(|values| {
                !values.is_empty() && (!plot.log_x || values.iter().all(|value| *value > 0.0))
            });
            if fits && plot.kind != PlotKind::Bars {
                return Self::Values(name, unit);
            }
        }
        Self::Names(name, labels)
    }

    /// The point of a cell, if it has a good run with the figures.
    fn point(&self, plot: &Plot, cell: &CellResults) -> Option<Point> {
        let y = cell.spread(plot.y.as_ref()?)?;
        let y_range = (y.min, y.max);
        let (x, x_range) = match self {
            Self::Metric(path) => {
                let x = cell.spread(path)?;
                (x.median, (x.min, x.max))
            }
            Self::Values(name, unit) => {
                let x = value_of(cell.cell.label(name)?, *unit)?;
                (x, (x, x))
            }
            Self::Names(name, labels) => {
                let label = cell.cell.label(name)?;
                let at = labels.iter().position(|it| it == label)?;
                let x = f64::from(u32::try_from(at).ok()?);
                (x, (x, x))
            }
            Self::Nothing => return None,
        };
        Some(Point { x, y: y.median, x_range, y_range })
    }

    /// Whether lines go from left to right; else they follow the grid.
    fn is_ordered(&self) -> bool {
        matches!(self, Self::Values(..) | Self::Names(..))
    }

    fn axis(self, plot: &Plot) -> AxisSpec {
        let is_log = plot.log_x;
        match self {
            Self::Values(name, unit) => {
                AxisSpec { title: name.to_owned(), kind: AxisKind::Of(unit), is_log }
            }
            Self::Names(name, labels) => {
                AxisSpec { title: name.to_owned(), kind: AxisKind::Names(labels), is_log: false }
            }
            Self::Metric(path) => {
                let (title, unit) = (path.title(), path.unit());
                AxisSpec { title: titled(&title, unit), kind: AxisKind::Of(unit), is_log }
            }
            Self::Nothing => {
                AxisSpec { title: String::new(), kind: AxisKind::Of(Unit::Plain), is_log }
            }
        }
    }
}

/// A label as a number, or as a time in nanoseconds.
fn value_of(label: &str, unit: Unit) -> Option<f64> {
    match unit {
        Unit::Nanos => parse_duration(label).ok().map(|time| time.as_secs_f64() * 1e9),
        _ => label.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// The name of the series that a cell belongs to.
fn series_name(plot: &Plot, cell: &CellResults) -> String {
    let part = |name: &String| {
        let label = cell.cell.label(name)?;
        let is_value = [Unit::Plain, Unit::Nanos].iter().any(|it| value_of(label, *it).is_some());
        let needs_name = is_value || BARE.contains(&label);
        Some(if needs_name { format!("{name} {label}") } else { label.to_owned() })
    };
    let parts: Vec<String> = plot.by.iter().filter_map(part).collect();
    match parts.is_empty() {
        true => plot.y.as_ref().map_or_else(|| "all".to_owned(), MetricPath::title),
        false => parts.join(", "),
    }
}

/// Distributions, each over all good runs of its cells.
fn distribution(plot: &Plot, cells: &[&CellResults], file: &str) -> Shown {
    let mut merged: Vec<(String, Histogram<u64>)> = Vec::new();
    let mut unread = 0;
    for cell in cells {
        let name = series_name(plot, cell);
        for run in cell.good() {
            let Some(histogram) = latencies(run) else {
                unread += 1;
                continue;
            };
            match merged.iter_mut().find(|(of, _)| *of == name) {
                // All have the same bounds: they are totals of ours.
                Some((_, same)) => {
                    let _ = same.add(&histogram);
                }
                None => merged.push((name.clone(), histogram)),
            }
        }
    }
    let mut notes = Vec::new();
    if unread > 0 {
        notes.push(format!("Left out: {unread} runs without a readable {LOG_FILE}."));
    }
    if merged.len() > SERIES_MAX {
        notes.push(format!("Only the first {SERIES_MAX} of {} series are shown.", merged.len()));
        merged.truncate(SERIES_MAX);
    }
    let is_cdf = plot.kind == PlotKind::Cdf;
    let curve = if is_cdf { cumulative } else { by_percentile };
    let series = merged
        .iter()
        .map(|(name, histogram)| Series { name: name.clone(), points: curve(histogram) });
    let latency =
        |is_log| AxisSpec { title: "latency".to_owned(), kind: AxisKind::Of(Unit::Nanos), is_log };
    let share = |title: &str, kind| AxisSpec { title: title.to_owned(), kind, is_log: false };
    let (x, y) = match is_cdf {
        true => (latency(plot.log_x), share("share of transactions", AxisKind::Share)),
        false => (share("percentile", AxisKind::Percentile), latency(plot.log_y)),
    };
    let series = series.collect();
    let chart = Chart { title: plot.title.clone(), x, y, series, style: Style::Curves };
    shown(&chart, file, notes)
}

/// All latencies of a run, from its interval log.
fn latencies(run: &Run) -> Option<Histogram<u64>> {
    let intervals = intervals(run)?;
    let series = &intervals.first()?.series;
    Some(total(&intervals, series))
}

/// The intervals of the series that distributions are of; `None` if there is none.
fn intervals(run: &Run) -> Option<Vec<Interval>> {
    let mut all = read_log(&run.hdr.join(LOG_FILE)).ok()?;
    let known = SERIES.into_iter().find(|name| all.iter().any(|it| it.series == *name));
    let series = match known {
        Some(known) => known.to_owned(),
        None => all.first()?.series.clone(),
    };
    all.retain(|interval| interval.series == series);
    Some(all)
}

/// Which share is at most how long.
fn cumulative(histogram: &Histogram<u64>) -> Vec<Point> {
    let all = histogram.len().max(1) as f64;
    let (mut points, mut counted, mut shown_at) = (Vec::new(), 0_u64, f64::NEG_INFINITY);
    for row in histogram.iter_recorded() {
        counted += row.count_at_value();
        let share = counted as f64 / all;
        if share - shown_at >= CDF_STEP || counted == histogram.len() {
            points.push(Point::exact(row.value_iterated_to().max(1) as f64, share));
            shown_at = share;
        }
    }
    points
}

/// How long which percentile is, as far as there are samples enough.
fn by_percentile(histogram: &Histogram<u64>) -> Vec<Point> {
    let quantile_max = 1.0 - SAMPLES_BEYOND_MIN / histogram.len().max(1) as f64;
    let rows = histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE);
    rows.map(|row| (row.quantile_iterated_to(), row.value_iterated_to()))
        .take_while(|(quantile, _)| *quantile <= quantile_max)
        .map(|(quantile, value)| Point::exact(1.0 / (1.0 - quantile), value.max(1) as f64))
        .collect()
}

/// The heat map of the first good run of a cell.
fn heat_map(plot: &Plot, cell: &CellResults, file: &str) -> Shown {
    let title = match cell.cell.labels.is_empty() {
        true => plot.title.clone(),
        false => format!("{}: {}", plot.title, cell.cell.title()),
    };
    let Some(run) = cell.good().next() else {
        let notes = vec!["There is nothing to show: this cell has no good run.".to_owned()];
        return Shown { title, svg: None, notes };
    };
    let columns = intervals(run).unwrap_or_default().into_iter().map(|interval| Column {
        start_s: interval.start.as_secs_f64(),
        len_s: interval.len.as_secs_f64(),
        latencies: interval
            .histogram
            .iter_recorded()
            .map(|row| (row.value_iterated_to(), row.count_at_value()))
            .collect(),
    });
    let map = HeatMap { title: title.clone(), columns: columns.collect() };
    if map.is_empty() {
        let notes = vec![format!("There is nothing to show: the run left no {LOG_FILE}.")];
        return Shown { title, svg: None, notes };
    }
    let svg = Picture { file: format!("{file}-{}.svg", cell.cell.slug), svg: map.svg() };
    let notes = vec![format!("Run {} of this cell.", run.repeat)];
    Shown { title, svg: Some(svg), notes }
}

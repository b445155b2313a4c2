//! A heat map of latency over time: how often which latency came in which interval. It shows what
//! a percentile over the whole run hides: stalls, drifts, two ways that a run can go.

use super::axis::{Axis, AxisKind, AxisSpec};
use super::chart::{Area, count, draw_title, left_of};
use super::svg::{Anchor, Svg};
use crate::metric::{Unit, grouped};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 60.0;
/// Room for the scale of colours.
const RIGHT: f64 = 120.0;
/// Most columns; more intervals share one.
const COLUMNS_MAX: usize = 240;
const ROWS_PER_DECADE: f64 = 12.0;
/// Most rows: a latency has ten decades at most.
const ROWS_MAX: usize = 140;
const SCALE_STEPS: u32 = 24;

/// From few to many: light to dark in print and on screens, and for all eyes.
const COLOURS: [(f64, f64, f64); 4] =
    [(222.0, 235.0, 247.0), (107.0, 174.0, 214.0), (33.0, 113.0, 181.0), (8.0, 29.0, 88.0)];

/// One interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// When it began, in seconds.
    pub(crate) start_s: f64,
    /// How long it is, in seconds.
    pub(crate) len_s: f64,
    /// Latencies in nanoseconds with how often they came.
    pub(crate) latencies: Vec<(u64, u64)>,
}

/// A heat map as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeatMap {
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
}

/// Counts by column and row.
struct Cells {
    columns: Vec<(f64, f64, Vec<u64>)>,
    /// Number of the lowest row: `ROWS_PER_DECADE` times the logarithm of its lower end.
    lowest: f64,
    max: u64,
}

impl HeatMap {
    /// Whether there is anything to be seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.latencies.is_empty())
    }

    /// The heat map as SVG.
    pub(crate) fn svg(&self) -> String {
        let cells = self.cells();
        let area = self.area();
        let mut svg = Svg::new(WIDTH, HEIGHT, &self.title);
        draw_title(&mut svg, &self.title);
        for (start_s, len_s, counts) in &cells.columns {
            let (left, right) = (area.x(*start_s), area.x(start_s + len_s));
            for (row, found) in counts.iter().enumerate().filter(|(_, found)| **found > 0) {
                let edge = |row: f64| 10_f64.powf((cells.lowest + row) / ROWS_PER_DECADE);
                let (low, high) = (area.y(edge(count(row))), area.y(edge(count(row) + 1.0)));
                // A little over the edge, so that no seams show.
                let size = ((right - left).max(1.0) + 0.3, (low - high).max(1.0) + 0.3);
                let look = format!("fill=\"{}\"", colour(share(*found, cells.max)));
                svg.rect((left, high), size, &look);
            }
        }
        area.draw_axes(&mut svg, false);
        draw_scale(&mut svg, area.left + area.width + 24.0, cells.max);
        svg.finish()
    }

    fn area(&self) -> Area {
        let latencies = self.columns.iter().flat_map(|column| &column.latencies);
        let latencies = latencies.map(|(latency_ns, _)| (*latency_ns).max(1) as f64);
        let ends = self.columns.iter().map(|column| column.start_s + column.len_s);
        let axis = |title: &str, unit, is_log| AxisSpec {
            title: title.to_owned(),
            kind: AxisKind::Of(unit),
            is_log,
        };
        let x = Axis::new(&axis("time", Unit::Seconds, false), ends.chain([0.0]));
        let y = Axis::new(&axis("latency", Unit::Nanos, true), latencies);
        let left = left_of(&y);
        let (width, height) = (WIDTH - left - RIGHT, HEIGHT - TOP - BOTTOM);
        Area { left, top: TOP, width, height, x, y }
    }

    fn cells(&self) -> Cells {
        let row_of = |latency_ns: u64| {
            let row = ((latency_ns.max(1) as f64).log10() * ROWS_PER_DECADE).floor();
            row as i64
        };
        let all = || self.columns.iter().flat_map(|column| &column.latencies);
        let lowest = all().map(|(latency_ns, _)| row_of(*latency_ns)).min().unwrap_or(0);
        let highest = all().map(|(latency_ns, _)| row_of(*latency_ns)).max().unwrap_or(0);
        let rows = usize::try_from(highest - lowest + 1).unwrap_or(1).min(ROWS_MAX);
        let together = self.columns.len().div_ceil(COLUMNS_MAX).max(1);
        let mut columns = Vec::new();
        for group in self.columns.chunks(together) {
            let mut counts = vec![0_u64; rows];
            for (latency_ns, found) in group.iter().flat_map(|column| &column.latencies) {
                let row = usize::try_from(row_of(*latency_ns) - lowest).unwrap_or(0);
                counts[row.min(rows - 1)] += found;
            }
            let start_s = group.first().map_or(0.0, |column| column.start_s);
            let end_s = group.last().map_or(0.0, |column| column.start_s + column.len_s);
            columns.push((start_s, end_s - start_s, counts));
        }
        let max = columns.iter().flat_map(|(_, _, counts)| counts).max().copied().unwrap_or(0);
        Cells { columns, lowest: lowest as f64, max }
    }
}

/// Where a count is between one and the greatest, by its logarithm: a single one must be seen.
fn share(found: u64, max: u64) -> f64 {
    let log = |value: u64| (value as f64).ln_1p();
    if max <= 1 { 1.0 } else { log(found) / log(max) }
}

fn colour(share: f64) -> String {
    let at = share.clamp(0.0, 1.0) * count(COLOURS.len() - 1);
    let below = (at.floor() as usize).min(COLOURS.len() - 2);
    let part = at - count(below);
    let (from, to) = (COLOURS[below], COLOURS[below + 1]);
    let mix = |from: f64, to: f64| (from + (to - from) * part).round() as u8;
    let (red, green, blue) = (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2));
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// What the colours mean.
fn draw_scale(svg: &mut Svg, left: f64, max: u64) {
    let height = (HEIGHT - TOP - BOTTOM) / 2.0;
    let step = height / f64::from(SCALE_STEPS);
    for at in 0..SCALE_STEPS {
        let share = f64::from(at) / f64::from(SCALE_STEPS - 1);
        let y = TOP + height - f64::from(at + 1) * step;
        svg.rect((left, y), (16.0, step + 0.3), &format!("fill=\"{}\"", colour(share)));
    }
    svg.label((left + 22.0, TOP + 10.0), Anchor::Start, "", &grouped(max as f64));
    svg.label((left + 22.0, TOP + height), Anchor::Start, "", "1");
    svg.label((left, TOP + height + 20.0), Anchor::Start, "", "how many");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(intervals: usize) -> HeatMap {
        let column = |at: usize| Column {
            start_s: count(at),
            len_s: 1.0,
            latencies: vec![(1_000, 5), (1_000_000, 1)],
        };
        HeatMap { title: "x".to_owned(), columns: (0..intervals).map(column).collect() }
    }

    #[test]
    fn every_latency_of_every_interval_has_its_place() {
        let text = map(10).svg();
        let cells = text.matches("<rect").count() - 1 - SCALE_STEPS as usize;
        assert_eq!(cells, 20, "{text}");
        assert!(text.contains(&format!("fill=\"{}\"", colour(1.0))), "{text}");
        assert_eq!(text, map(10).svg());
    }

    #[test]
    fn many_intervals_share_columns_and_lose_no_latency() {
        let cells = map(1_000).cells();
        assert!(cells.columns.len() <= COLUMNS_MAX, "{}", cells.columns.len());
        let found: u64 = cells.columns.iter().flat_map(|(_, _, counts)| counts).sum();
        assert_eq!(found, 6_000);
    }

    #[test]
    fn a_single_one_is_seen_beside_a_million() {
        assert!(share(1, 1_000_000) > 0.04);
        assert_eq!(share(7, 7), 1.0);
        assert_eq!((colour(0.0).as_str(), colour(1.0).as_str()), ("#deebf7", "#081d58"));
    }

    #[test]
    fn nothing_is_nothing() {
        assert!(map(0).is_empty() && !map(1).is_empty());
    }
}

//! Lines, points and bars between two axes, with ranges and a legend beside them.

use super::axis::{Axis, AxisKind, AxisSpec};
use super::svg::{Anchor, Svg};

/// Most series of a chart: more could not be told apart.
pub(crate) const SERIES_MAX: usize = 16;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 60.0;
const RIGHT: f64 = 28.0;
/// Room for the heading of the vertical axis, besides its labels.
const LEFT: f64 = 44.0;
/// About the width of a letter at 12 pixels.
const LETTER: f64 = 6.4;
/// Longest name in a legend, in letters; the rest is cut.
const NAME_CHARS_MAX: usize = 34;
const LEGEND_LINE: f64 = 20.0;
const LEGEND_KEY: f64 = 34.0;
/// Part of its place that a group of bars takes.
const BARS: f64 = 0.8;
/// Half the width of the ends of a range.
const WHISKER: f64 = 3.5;

/// Colours that people with any sight can tell apart (Okabe and Ito), but for the yellow.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31"];
const DASHES: [&str; 4] =
    ["", " stroke-dasharray=\"7 4\"", " stroke-dasharray=\"2 3\"", " stroke-dasharray=\"9 3 2 3\""];
const GRID: &str = "stroke=\"#e4e4e4\" stroke-width=\"1\"";
const FRAME: &str = "stroke=\"#666666\" stroke-width=\"1\"";

/// How series look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines with a mark at each point.
    Points,
    /// Lines alone, of many points.
    Curves,
    /// Bars in groups.
    Bars,
}

/// A point with its ranges: lowest and highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) x_range: (f64, f64),
    pub(crate) y_range: (f64, f64),
}

impl Point {
    /// One without ranges.
    pub(crate) fn exact(x: f64, y: f64) -> Self {
        Self { x, y, x_range: (x, x), y_range: (y, y) }
    }
}

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// A chart as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: AxisSpec,
    pub(crate) y: AxisSpec,
    pub(crate) series: Vec<Series>,
    pub(crate) style: Style,
}

/// The part of a drawing that is between the axes.
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Area {
    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.x.at(value) * self.width
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.top + (1.0 - self.y.at(value)) * self.height
    }

    /// Lines, labels and headings of both axes.
    pub(super) fn draw_axes(&self, svg: &mut Svg, has_grid: bool) {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        for (value, label) in &self.y.ticks {
            let y = self.y(*value);
            if has_grid {
                svg.line((self.left, y), (right, y), GRID);
            }
            svg.label((self.left - 7.0, y + 4.0), Anchor::End, "", label);
        }
        let chars: usize = self.x.ticks.iter().map(|(_, label)| label.chars().count() + 2).sum();
        let is_tight = count(chars) * LETTER > self.width;
        for (value, label) in &self.x.ticks {
            let x = self.x(*value);
            if has_grid {
                svg.line((x, self.top), (x, bottom), GRID);
            }
            match is_tight {
                true => svg.turned((x + 4.0, bottom + 14.0), Anchor::End, -25.0, label),
                false => svg.label((x, bottom + 18.0), Anchor::Middle, "", label),
            }
        }
        svg.line((self.left, bottom), (right, bottom), FRAME);
        svg.line((self.left, self.top), (self.left, bottom), FRAME);
        let below = bottom + if is_tight { 52.0 } else { 42.0 };
        svg.label((self.left + self.width / 2.0, below), Anchor::Middle, "", &self.x.title);
        let middle = (18.0, self.top + self.height / 2.0);
        svg.turned(middle, Anchor::Middle, -90.0, &self.y.title);
    }
}

/// The heading of a drawing.
pub(super) fn draw_title(svg: &mut Svg, title: &str) {
    svg.label((16.0, 26.0), Anchor::Start, "font-size=\"15\" font-weight=\"600\"", title);
}

/// Room for the labels of a vertical axis.
pub(super) fn left_of(axis: &Axis) -> f64 {
    LEFT + LETTER * count(axis.label_chars())
}

pub(super) fn count(items: usize) -> f64 {
    u32::try_from(items).map_or(f64::MAX, f64::from)
}

impl Chart {
    /// Whether there is anything to be seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// The chart as SVG.
    pub(crate) fn svg(&self) -> String {
        let area = self.area();
        let mut svg = Svg::new(WIDTH, HEIGHT, &self.title);
        draw_title(&mut svg, &self.title);
        area.draw_axes(&mut svg, true);
        for (at, series) in self.series.iter().enumerate() {
            match self.style {
                Style::Bars => self.draw_bars(&mut svg, &area, at, series),
                Style::Points | Style::Curves => self.draw_line(&mut svg, &area, at, series),
            }
        }
        if self.has_legend() {
            self.draw_legend(&mut svg, area.left + area.width + 16.0);
        }
        svg.finish()
    }

    fn has_legend(&self) -> bool {
        self.series.len() > 1
    }

    fn area(&self) -> Area {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let xs = points().flat_map(|point| [point.x, point.x_range.0, point.x_range.1]);
        let ys = points().flat_map(|point| [point.y, point.y_range.0, point.y_range.1]);
        let (x, y) = (Axis::new(&self.x, xs), Axis::new(&self.y, ys));
        let names = self.series.iter().map(|series| series.name.chars().count());
        let longest = count(names.max().unwrap_or(0).min(NAME_CHARS_MAX));
        let legend = if self.has_legend() { LEGEND_KEY + longest * LETTER + 8.0 } else { 0.0 };
        let left = left_of(&y);
        let width = WIDTH - left - legend - RIGHT;
        Area { left, top: TOP, width, height: HEIGHT - TOP - BOTTOM, x, y }
    }

    fn draw_line(&self, svg: &mut Svg, area: &Area, at: usize, series: &Series) {
        let colour = colour(at);
        let line: Vec<(f64, f64)> =
            series.points.iter().map(|point| (area.x(point.x), area.y(point.y))).collect();
        let look = format!("stroke=\"{colour}\" stroke-width=\"1.8\"{}", dash(self.style, at));
        svg.polyline(&line, &look);
        if self.style == Style::Curves {
            return;
        }
        for (point, place) in series.points.iter().zip(&line) {
            draw_ranges(svg, area, point, *place, colour);
            draw_mark(svg, *place, at, colour);
        }
    }

    fn draw_bars(&self, svg: &mut Svg, area: &Area, at: usize, series: &Series) {
        let groups = match &self.x.kind {
            AxisKind::Names(names) => count(names.len().max(1)),
            _ => 1.0,
        };
        let group = area.width / groups * BARS;
        let width = group / count(self.series.len().max(1));
        let base = area.top + (1.0 - area.y.base()) * area.height;
        for point in &series.points {
            let left = area.x(point.x) - group / 2.0 + count(at) * width;
            let top = area.y(point.y);
            let size = ((width - 1.0).max(1.0), (base - top).abs().max(0.5));
            let look = format!("fill=\"{}\" fill-opacity=\"{}\"", colour(at), shade(at));
            svg.rect((left, top.min(base)), size, &look);
            draw_ranges(svg, area, point, (left + width / 2.0, top), "#333333");
        }
    }

    fn draw_legend(&self, svg: &mut Svg, left: f64) {
        for (at, series) in self.series.iter().enumerate() {
            let y = TOP + 10.0 + count(at) * LEGEND_LINE;
            let colour = colour(at);
            if self.style == Style::Bars {
                let look = format!("fill=\"{colour}\" fill-opacity=\"{}\"", shade(at));
                svg.rect((left + 8.0, y - 5.0), (12.0, 10.0), &look);
            } else {
                let dash = dash(self.style, at);
                let look = format!("stroke=\"{colour}\" stroke-width=\"1.8\"{dash}");
                svg.line((left, y), (left + 28.0, y), &look);
                if self.style == Style::Points {
                    draw_mark(svg, (left + 14.0, y), at, colour);
                }
            }
            let name: String = series.name.chars().take(NAME_CHARS_MAX).collect();
            svg.label((left + LEGEND_KEY, y + 4.0), Anchor::Start, "", &name);
        }
    }
}

/// Whiskers over the ranges of a point, where it has any.
fn draw_ranges(svg: &mut Svg, area: &Area, point: &Point, place: (f64, f64), colour: &str) {
    let look = format!("stroke=\"{colour}\" stroke-width=\"1.2\"");
    let (x, y) = place;
    let (low, high) = (area.y(point.y_range.0), area.y(point.y_range.1));
    if point.y_range.0 < point.y_range.1 {
        svg.line((x, low), (x, high), &look);
        for end in [low, high] {
            svg.line((x - WHISKER, end), (x + WHISKER, end), &look);
        }
    }
    let (low, high) = (area.x(point.x_range.0), area.x(point.x_range.1));
    if point.x_range.0 < point.x_range.1 {
        svg.line((low, y), (high, y), &look);
        for end in [low, high] {
            svg.line((end, y - WHISKER), (end, y + WHISKER), &look);
        }
    }
}

/// A mark of a shape of the series' own: colours alone are not enough for everybody.
fn draw_mark(svg: &mut Svg, place: (f64, f64), at: usize, colour: &str) {
    let (x, y) = place;
    let look = format!("fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"0.8\"");
    match at % 4 {
        0 => svg.circle(place, 4.0, &look),
        1 => svg.rect((x - 3.6, y - 3.6), (7.2, 7.2), &look),
        2 => svg.polygon(&[(x, y - 4.8), (x + 4.6, y + 3.8), (x - 4.6, y + 3.8)], &look),
        _ => svg.polygon(&[(x, y - 5.0), (x + 5.0, y), (x, y + 5.0), (x - 5.0, y)], &look),
    }
}

fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

/// Lines without marks are told apart by dashes as well; when the colours are used up, they come
/// again with others.
fn dash(style: Style, at: usize) -> &'static str {
    let round = at / COLOURS.len();
    let kind = if style == Style::Curves { at + round } else { round };
    DASHES[kind % DASHES.len()]
}

/// Or paler.
fn shade(at: usize) -> &'static str {
    if at < COLOURS.len() { "1" } else { "0.55" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Unit;
    use std::collections::BTreeSet;

    fn chart(style: Style, series: usize) -> Chart {
        let axis = |title: &str, unit, is_log| AxisSpec {
            title: title.to_owned(),
            kind: AxisKind::Of(unit),
            is_log,
        };
        let point = |at: f64, scale: f64| Point {
            y_range: (at * scale * 0.9, at * scale * 1.1),
            ..Point::exact(at, at * scale)
        };
        let of = |at: usize| Series {
            name: format!("series {at}"),
            points: [1.0, 2.0, 4.0].map(|x| point(x, 1_000.0 * count(at + 1))).to_vec(),
        };
        let names = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let x = match style {
            Style::Bars => {
                AxisSpec { title: "name".to_owned(), kind: AxisKind::Names(names), is_log: false }
            }
            _ => axis("rate", Unit::PerSecond, false),
        };
        Chart {
            title: "A & B".to_owned(),
            x,
            y: axis("latency", Unit::Nanos, true),
            series: (0..series).map(of).collect(),
            style,
        }
    }

    #[test]
    fn the_same_figures_are_the_same_bytes() {
        for style in [Style::Points, Style::Curves, Style::Bars] {
            assert_eq!(chart(style, 3).svg(), chart(style, 3).svg());
        }
    }

    #[test]
    fn every_point_has_a_mark_and_a_range_and_every_series_a_name() {
        let text = chart(Style::Points, 2).svg();
        // Three points and the legend for each, one as circles and one as squares.
        assert_eq!(text.matches("<circle").count(), 4, "{text}");
        assert_eq!(text.matches("<polyline").count(), 2, "{text}");
        // A range is a line with two ends.
        assert_eq!(text.matches("stroke-width=\"1.2\"").count(), 2 * 3 * 3, "{text}");
        for name in ["series 0", "series 1", "A &amp; B", ">rate<", ">latency<", ">2 us<"] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
    }

    #[test]
    fn a_single_series_needs_no_legend() {
        let text = chart(Style::Curves, 1).svg();
        assert!(!text.contains("series 0") && !text.contains("<circle"), "{text}");
        assert!(chart(Style::Points, 0).is_empty());
    }

    #[test]
    fn no_two_series_look_alike_and_neighbours_differ_in_more_than_colour() {
        for style in [Style::Points, Style::Curves] {
            let looks: BTreeSet<_> =
                (0..SERIES_MAX).map(|at| (colour(at), dash(style, at))).collect();
            assert_eq!(looks.len(), SERIES_MAX, "{style:?}");
        }
        let dashes: BTreeSet<&str> = (0..4).map(|at| dash(Style::Curves, at)).collect();
        assert_eq!(dashes.len(), 4);
    }

    #[test]
    fn everything_is_drawn_within_the_picture() {
        for style in [Style::Points, Style::Bars] {
            let text = chart(style, SERIES_MAX).svg();
            for attribute in [" x=\"", " cx=\"", " x1=\"", " x2=\""] {
                for part in text.split(attribute).skip(1) {
                    let (number, _) = part.split_once('"').expect("an attribute ends");
                    let x: f64 = number.parse().expect("a number");
                    assert!((0.0..=WIDTH).contains(&x), "{attribute}{x}");
                }
            }
        }
    }
}

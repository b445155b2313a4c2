//! Axes: the range that holds all values, round ticks, and labels with units.

use crate::metric::{Unit, plain};

/// About how many ticks a linear axis has.
const TICKS: f64 = 6.0;
/// Decades up to which a logarithmic axis also has ticks at 2 and 5.
const FINE_DECADES_MAX: i32 = 3;
/// What rounding may do to a value that is round.
const ROUNDING: f64 = 1e-9;

/// What is on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AxisKind {
    /// Figures.
    Of(Unit),
    /// `1 / (1 - quantile)`, on a logarithmic axis: as much room for each further nine.
    Percentile,
    /// 0 to 1, in percent.
    Share,
    /// Names, at 0, 1, 2 and so on.
    Names(Vec<String>),
}

/// An axis as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AxisSpec {
    pub(crate) title: String,
    pub(crate) kind: AxisKind,
    pub(crate) is_log: bool,
}

/// An axis as it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) ticks: Vec<(f64, String)>,
    low: f64,
    high: f64,
    is_log: bool,
}

impl Axis {
    /// An axis that has room for all of these values.
    pub(super) fn new(spec: &AxisSpec, values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (min, max) = if values.is_empty() { (0.0, 1.0) } else { (min, max) };
        let title = spec.title.clone();
        match &spec.kind {
            AxisKind::Names(names) => {
                let ticks = (0_u32..).zip(names).map(|(at, name)| (f64::from(at), name.clone()));
                let high = f64::from(u32::try_from(names.len()).unwrap_or(1).max(1)) - 0.5;
                Self { title, ticks: ticks.collect(), low: -0.5, high, is_log: false }
            }
            AxisKind::Share => {
                let ticks = (0_u8..=5).map(|fifth| f64::from(fifth) / 5.0);
                let ticks = ticks.map(|at| (at, format!("{} %", plain(at * 100.0)))).collect();
                Self { title, ticks, low: 0.0, high: 1.0, is_log: false }
            }
            AxisKind::Percentile => Self::percentile(title, max),
            // Zero has no place on a logarithmic axis.
            AxisKind::Of(unit) if spec.is_log && min > 0.0 => Self::log(title, *unit, min, max),
            AxisKind::Of(unit) => Self::linear(title, *unit, min, max),
        }
    }

    /// Zero belongs to it: what is twice as high is twice as much.
    fn linear(title: String, unit: Unit, min: f64, max: f64) -> Self {
        let (low, high) = (min.min(0.0), max.max(0.0));
        let span = if high > low { high - low } else { 1.0 };
        let step = round_up(span / TICKS);
        let first = (low / step + ROUNDING).floor();
        let last = ((low + span) / step - ROUNDING).ceil();
        let count = (last - first) as u32;
        let (low, high) = (first * step, last * step);
        let size = high.abs().max(low.abs());
        let ticks = (0..=count).map(|at| {
            let value = (first + f64::from(at)) * step;
            (value, label(unit, value, size))
        });
        Self { title, ticks: ticks.collect(), low, high, is_log: false }
    }

    fn log(title: String, unit: Unit, min: f64, max: f64) -> Self {
        let low = round_down(min);
        let high = if round_up(max) > low { round_up(max) } else { round_up(low * 1.5) };
        let (first, last) = ((low.log10() + ROUNDING).floor() as i32, high.log10().ceil() as i32);
        let is_fine = last - first <= FINE_DECADES_MAX;
        let steps: &[f64] = if is_fine { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let in_decade = move |decade| steps.iter().map(move |step| step * power(decade));
        let range = low * (1.0 - ROUNDING)..=high * (1.0 + ROUNDING);
        let values = (first..=last).flat_map(in_decade).filter(|value| range.contains(value));
        let ticks = values.map(|value| (value, label(unit, value, value)));
        Self { title, ticks: ticks.collect(), low, high, is_log: true }
    }

    fn percentile(title: String, max: f64) -> Self {
        let nines = max.max(10.0).log10().ceil() as i32;
        let mut ticks = vec![(1.0, "0 %".to_owned()), (2.0, "50 %".to_owned())];
        ticks.extend((1..=nines).map(|nines| {
            let decimals = usize::try_from(nines - 2).unwrap_or(0);
            let percent = 100.0 * (1.0 - 1.0 / power(nines));
            (power(nines), format!("{percent:.decimals$} %"))
        }));
        Self { title, ticks, low: 1.0, high: power(nines), is_log: true }
    }

    /// Where a value is, from 0 at the low end to 1 at the high one.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.is_log {
            let value = value.max(self.low);
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    /// Where bars begin.
    pub(super) fn base(&self) -> f64 {
        if self.is_log { 0.0 } else { self.at(0.0) }
    }

    /// The longest label, in characters.
    pub(super) fn label_chars(&self) -> usize {
        self.ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0)
    }
}

fn power(exponent: i32) -> f64 {
    10_f64.powi(exponent)
}

/// The round number (1, 2 or 5 times a power of ten) that is not below a value.
fn round_up(value: f64) -> f64 {
    let decade = power(value.log10().floor() as i32);
    let digit = value / decade - ROUNDING;
    [1.0, 2.0, 5.0].into_iter().find(|step| *step >= digit).unwrap_or(10.0) * decade
}

/// The round number that is not above a value.
fn round_down(value: f64) -> f64 {
    let decade = power((value.log10() + ROUNDING).floor() as i32);
    let digit = value / decade + ROUNDING;
    [5.0, 2.0].into_iter().find(|step| *step <= digit).unwrap_or(1.0) * decade
}

/// A tick's label; `size` decides the unit, so that all of a linear axis have the same one.
fn label(unit: Unit, value: f64, size: f64) -> String {
    let scaled = |units: &[(f64, &str)]| {
        let fits = units.iter().rev().find(|(least, _)| size >= *least * (1.0 - ROUNDING));
        let (divisor, name) = fits.copied().unwrap_or((1.0, ""));
        let number = plain(value / divisor);
        if name.is_empty() || value == 0.0 { number } else { format!("{number} {name}") }
    };
    match unit {
        Unit::Nanos => scaled(&[(1.0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s")]),
        Unit::PerSecond => scaled(&[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")]),
        Unit::Bytes => {
            scaled(&[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")])
        }
        Unit::Seconds => format!("{} s", plain(value)),
        Unit::Plain => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(kind: AxisKind, is_log: bool, values: &[f64]) -> Axis {
        let spec = AxisSpec { title: "x".to_owned(), kind, is_log };
        Axis::new(&spec, values.iter().copied())
    }

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_has_round_ticks_in_one_unit() {
        let axis = axis(AxisKind::Of(Unit::Nanos), false, &[400_000.0, 1_900_000.0]);
        assert_eq!(labels(&axis), ["0", "0.5 ms", "1 ms", "1.5 ms", "2 ms"]);
        assert!((axis.at(1_000_000.0) - 0.5).abs() < 1e-9);
        let ends = [axis.at(0.0), axis.at(2_000_000.0), axis.at(-1.0), axis.base()];
        assert_eq!(ends, [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_logarithmic_axis_has_ticks_in_units_of_their_own() {
        let fine = axis(AxisKind::Of(Unit::Nanos), true, &[30_000.0, 800_000.0]);
        assert_eq!(labels(&fine), ["20 us", "50 us", "100 us", "200 us", "500 us", "1 ms"]);
        let wide = axis(AxisKind::Of(Unit::PerSecond), true, &[1.0, 2e6]);
        assert_eq!(labels(&wide), ["1", "10", "100", "1 k", "10 k", "100 k", "1 M"]);
        let one = axis(AxisKind::Of(Unit::Plain), true, &[2.0]);
        assert_eq!(labels(&one), ["2", "5"]);
    }

    #[test]
    fn a_value_that_has_no_logarithm_makes_the_axis_linear() {
        let axis = axis(AxisKind::Of(Unit::Plain), true, &[0.0, 10.0]);
        assert_eq!(labels(&axis), ["0", "2", "4", "6", "8", "10"]);
    }

    #[test]
    fn equal_values_and_none_at_all_still_make_an_axis() {
        let cases: [&[f64]; 3] = [&[], &[0.0], &[7.0, 7.0]];
        for values in cases {
            for is_log in [false, true] {
                let axis = axis(AxisKind::Of(Unit::Plain), is_log, values);
                assert!(axis.ticks.len() >= 2 && axis.at(7.0).is_finite(), "{values:?}: {axis:?}");
            }
        }
    }

    #[test]
    fn each_nine_has_the_same_room() {
        let axis = axis(AxisKind::Percentile, true, &[1.0, 5_000.0]);
        let nines = ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"];
        assert_eq!(labels(&axis), nines);
        assert!((axis.at(100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn names_have_their_places_in_the_middle_of_equal_parts() {
        let names = ["a", "b"].map(str::to_owned).to_vec();
        let axis = axis(AxisKind::Names(names), false, &[]);
        assert_eq!([axis.at(0.0), axis.at(1.0)], [0.25, 0.75]);
    }
}

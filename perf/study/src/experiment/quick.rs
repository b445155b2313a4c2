//! The quick form of an experiment: less of the same.

use super::document::{Entry, Read, Table};
use super::read::{check_labels, duration, read_fixed, read_points};
use super::{Dimension, Experiment, Point, REPEATS_MAX, Setting};
use crate::names::hint;
use std::time::Duration;

const QUICK: &[&str] = &["repeats", "cell_time", "fixed", "sweep"];

/// What the quick form replaces.
#[derive(Debug, Default)]
pub(super) struct Quick {
    repeats: Option<u32>,
    beside: Option<Duration>,
    fixed: Vec<Setting>,
    /// Whole dimensions of the same names.
    pub(super) sweep: Vec<Dimension>,
}

/// Reads the section, which may be missing.
pub(super) fn read_quick(root: Table<'_>, full: &[Dimension]) -> Read<Quick> {
    let Some(entry) = root.get("quick") else { return Ok(Quick::default()) };
    let table = entry.table("quick", QUICK)?;
    let repeats = table.get("repeats").map(|entry| entry.integer(&(1..=REPEATS_MAX)));
    let sweep = match table.get("sweep") {
        Some(entry) => {
            let entries = entry.table("quick.sweep", &[])?.entries();
            entries.into_iter().map(|entry| read_less(entry, full)).collect::<Read<_>>()?
        }
        None => Vec::new(),
    };
    Ok(Quick {
        repeats: repeats.transpose()?,
        beside: table.get("cell_time").map(duration).transpose()?,
        fixed: table.get("fixed").map_or(Ok(Vec::new()), read_fixed)?,
        sweep,
    })
}

/// Other values of an option, or some labels of a bundle.
fn read_less(entry: Entry<'_>, full: &[Dimension]) -> Read<Dimension> {
    let Some(whole) = full.iter().find(|dimension| dimension.name == entry.key) else {
        let names: Vec<&str> = full.iter().map(|dimension| dimension.name.as_str()).collect();
        let hint = hint(entry.key, names);
        return Err(entry.error(format!("\"{}\" does not vary in [sweep]; {hint}", entry.key)));
    };
    let is_bundle = |point: &Point| match point.settings.as_slice() {
        [only] => only.name != whole.name,
        _ => true,
    };
    let mut points = read_points(entry)?;
    if whole.points.iter().any(is_bundle) {
        for point in &mut points {
            let Some(same) = whole.points.iter().find(|it| it.label == point.label) else {
                let labels: Vec<&str> = whole.points.iter().map(|it| it.label.as_str()).collect();
                let hint = hint(&point.label, labels);
                return Err(entry.refuse(&format!("has no \"{}\" in [sweep]; {hint}", point.label)));
            };
            *point = same.clone();
        }
    }
    if points.is_empty() {
        return Err(entry.refuse("has no value, so the grid is empty; give it one at least"));
    }
    check_labels(entry, &points)?;
    Ok(Dimension { name: whole.name.clone(), points, line: entry.line() })
}

impl Quick {
    /// Makes the quick form of the full one.
    pub(super) fn apply(self, experiment: &mut Experiment) {
        experiment.repeats = self.repeats.unwrap_or(experiment.repeats);
        experiment.beside = self.beside.unwrap_or(experiment.beside);
        for setting in self.fixed {
            match experiment.fixed.iter_mut().find(|it| it.name == setting.name) {
                Some(same) => *same = setting,
                None => experiment.fixed.push(setting),
            }
        }
        for less in self.sweep {
            let same = experiment.sweep.iter_mut().find(|it| it.name == less.name);
            if let Some(same) = same {
                *same = less;
            }
        }
    }
}

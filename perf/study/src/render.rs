//! Makes everything that is made from the runs: tables, pictures and the report. It can be made
//! again at any time, and is the same each time.

use crate::csv;
use crate::error::{StudyError, reading, writing};
use crate::experiment::Experiment;
use crate::folder::Folder;
use crate::pictures;
use crate::report;
use crate::results::{CellResults, Results, Run, Spread};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::PathBuf;

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The report.
    pub report: PathBuf,
    /// How many pictures there are.
    pub pictures: usize,
}

/// Version of `results.json`; it grows by one when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;
const PICTURES: &str = "plots";

/// Writes `results.csv`, `results.json`, `plots/` and `report.md`.
///
/// # Errors
/// When a file of the study cannot be read or written.
pub fn render(folder: &Folder, experiment: &Experiment) -> Result<Rendered, StudyError> {
    let results = Results::load(folder)?;
    folder.write("results.csv", &results_csv(&results, experiment))?;
    let document = serde_json::to_string_pretty(&results_json(&results, experiment))? + "\n";
    folder.write("results.json", &document)?;
    // Pictures of an earlier call may have had other names.
    let dir = folder.dir().join(PICTURES);
    if dir.is_dir() {
        for entry in fs::read_dir(&dir).map_err(reading(&dir))? {
            let path = entry.map_err(reading(&dir))?.path();
            if path.extension().is_some_and(|extension| extension == "svg") {
                fs::remove_file(&path).map_err(writing(&path))?;
            }
        }
    }
    let shown = pictures::make(&results, experiment);
    for picture in shown.iter().filter_map(|shown| shown.svg.as_ref()) {
        folder.write(&format!("{PICTURES}/{}", picture.file), &picture.svg)?;
    }
    folder.write("report.md", &report::text(&results, experiment, &shown))?;
    let pictures = shown.iter().filter(|shown| shown.svg.is_some()).count();
    Ok(Rendered { report: folder.dir().join("report.md"), pictures })
}

/// A line for each run: its cell, how it ended, what varied, and the figures.
fn results_csv(results: &Results, experiment: &Experiment) -> String {
    let mut head = vec!["cell", "repeat", "state"];
    head.extend(results.dimensions());
    head.extend(experiment.metrics.iter().map(|metric| metric.path.as_str()));
    let mut text = csv::line(head);
    for (cell, run) in results.runs() {
        let mut fields =
            vec![cell.slug.clone(), run.repeat.to_string(), run.state.name().to_owned()];
        fields.extend(cell.labels.iter().map(|(_, label)| label.clone()));
        let figures = experiment.metrics.iter().map(|metric| run.figure(&metric.path));
        fields.extend(figures.map(csv::number));
        text += &csv::line(fields.iter().map(String::as_str));
    }
    text
}

fn results_json(results: &Results, experiment: &Experiment) -> Value {
    let manifest = &results.manifest;
    let cells: Vec<Value> = results.cells.iter().map(|cell| cell_json(cell, experiment)).collect();
    json!({
        "schema": SCHEMA,
        "name": manifest.name,
        "hash": manifest.hash,
        "quick": manifest.quick,
        "engine": manifest.engine,
        "began": manifest.began,
        "program": manifest.program,
        "repeats": manifest.repeats,
        "cells": cells,
    })
}

fn cell_json(results: &CellResults, experiment: &Experiment) -> Value {
    let labels: Map<String, Value> =
        results.cell.labels.iter().map(|(name, label)| (name.clone(), json!(label))).collect();
    let paths = || experiment.metrics.iter().map(|metric| &metric.path);
    let of_run = |run: &Run| {
        let figures: Map<String, Value> =
            paths().map(|path| (path.to_string(), json!(run.figure(path)))).collect();
        json!({ "repeat": run.repeat, "state": run.state.name(), "figures": figures })
    };
    let spreads: Map<String, Value> = paths()
        .map(|path| (path.to_string(), results.spread(path)))
        .map(|(path, spread): (String, Option<Spread>)| (path, json!(spread)))
        .collect();
    json!({
        "cell": results.cell.slug,
        "labels": labels,
        "command": results.cell.command(),
        "runs": results.runs.iter().map(of_run).collect::<Vec<Value>>(),
        "figures": spreads,
    })
}

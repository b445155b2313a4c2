//! `punctual bench calibrate`.

use crate::commands::UsageError;
use crate::commands::output::{Output, grouped};
use clap::Args;
use punctual_load::summary::fmt_ns;
use punctual_load::tpcc::Tpcc;
use punctual_load::workload::Workload;
use punctual_load::ycsb::{Mix, Ycsb};
use punctual_sim::bench::{
    CalibrationPoint, PointFit, ServiceModel, SimBenchConfig, SimBenchError, calibrate,
    time_procedures,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Transactions of each workload whose procedures are timed.
const TIMED: u64 = 200_000;

/// Fit the simulator's service times to runs of bench micro on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual bench calibrate --out service.toml one.json two.json three.json
  punctual bench calibrate --out service.toml --procedures *.json

What comes out is for bench WORKLOAD --engine sim --service FILE. Each file is the --json of a run
of bench micro in a closed loop. The runs should differ in what costs: operations, messages in a
frame, shards, transactions in flight; perf/scripts/calibrate.sh makes a good choice of them. The
table says how far the simulation of each is from what was measured.")]
pub(crate) struct CalibrateArgs {
    /// Where the fitted model goes; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Also write the fit as JSON to FILE; with -, print JSON, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also time the procedures of bench tpcc and bench ycsb on this machine, for some seconds
    #[arg(long)]
    procedures: bool,

    /// Reports of bench micro
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &CalibrateArgs) -> anyhow::Result<ExitCode> {
    let usage = |text: String| UsageError(text);
    if args.out.exists() {
        let out = args.out.display();
        return Err(usage(format!("{out} exists; remove it or give another --out")).into());
    }
    let output = Output::open(args.json.as_deref())?;
    let points = args
        .reports
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
            let text = fs::read_to_string(path)
                .map_err(|error| usage(format!("{} cannot be read: {error}", path.display())))?;
            CalibrationPoint::from_report(&name, &text).map_err(|error| usage(error.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut fit =
        calibrate(&points, &ServiceModel::default()).map_err(|error| usage(error.to_string()))?;
    if args.procedures {
        fit.model.procedures.extend(procedure_times().map_err(|error| usage(error.to_string()))?);
    }
    fit.model.save(&args.out).map_err(|error| usage(error.to_string()))?;
    let document = json!({
        "schema": 1, "program": "bench calibrate", "model": fit.model,
        "points": fit.points.iter().map(document_of).collect::<Vec<Value>>(),
    });
    output.write(&table(&fit.points), &document)?;
    Ok(ExitCode::SUCCESS)
}

/// How long the procedures of the workloads take here, on average, in nanoseconds.
fn procedure_times() -> Result<BTreeMap<String, f64>, SimBenchError> {
    let mut times = BTreeMap::new();
    // What one shard supplies to another takes two of them.
    add_times(&mut times, 2, &Tpcc { warehouses: 2, ..Tpcc::default() })?;
    add_times(&mut times, 1, &Tpcc::default())?;
    for mix in [Mix::A, Mix::F] {
        add_times(&mut times, 1, &Ycsb { mix, ..Ycsb::default() })?;
    }
    Ok(times)
}

/// Those that a workload calls on so many shards; they replace what was timed before.
fn add_times(
    times: &mut BTreeMap<String, f64>,
    shards: u16,
    workload: &impl Workload,
) -> Result<(), SimBenchError> {
    let config = SimBenchConfig { shards, ..SimBenchConfig::default() };
    let timed = time_procedures(&config, workload, TIMED, punctual_runtime::memory_hooks())?;
    times.extend(timed.into_iter().map(|(name, time)| (name, time.mean_ns.round())));
    Ok(())
}

fn document_of(fit: &PointFit) -> Value {
    json!({
        "name": fit.name,
        "measured_tps": fit.measured_tps, "predicted_tps": fit.predicted_tps,
        "measured_p50_ns": fit.measured_p50_ns, "predicted_p50_ns": fit.predicted_p50_ns,
    })
}

/// How far the simulation is from each run.
fn table(points: &[PointFit]) -> String {
    let mut text = format!(
        "{:<24} {:>12} {:>12} {:>6} {:>10} {:>10} {:>6}\n",
        "run", "txn/s", "simulated", "ratio", "p50", "simulated", "ratio"
    );
    for fit in points {
        let time = |ns: f64| fmt_ns(ns as u64);
        let _ = writeln!(
            text,
            "{:<24} {:>12} {:>12} {:>6.2} {:>10} {:>10} {:>6.2}",
            fit.name,
            grouped(fit.measured_tps),
            grouped(fit.predicted_tps),
            fit.throughput_ratio(),
            time(fit.measured_p50_ns),
            time(fit.predicted_p50_ns),
            fit.latency_ratio(),
        );
    }
    text
}

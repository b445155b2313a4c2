//! `punctual bench roofline`.

use super::{Common, build, grouped, row};
use crate::interrupt;
use anyhow::Context;
use clap::Args;
use punctual_load::roofline::{Roofline, run as measure};
use std::process::ExitCode;

/// The ceiling of this machine: the same requests as micro, applied to a plain array without an
/// engine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual bench roofline
  punctual bench roofline --batch 16 --frames 8 --reads 0")]
pub(crate) struct RooflineArgs {
    #[command(flatten)]
    common: Common,

    /// Distinct keys of a transaction
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    ops: u16,

    /// Share of the operations that read, 0 to 1; the others add one
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = super::args::share)]
    reads: f64,

    /// Keys in the array
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1024..))]
    keys: u64,

    /// Exponent of the keys' popularity (Zipf); 0 is uniform
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = super::args::skew)]
    skew: f64,

    /// Seed of the keys
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Transactions in a frame, each frame a write
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,

    /// Frames in flight
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    frames: u32,
}

/// Runs the command.
pub(crate) fn run(args: &RooflineArgs) -> anyhow::Result<ExitCode> {
    let plan = Roofline {
        ops: args.ops,
        reads: args.reads,
        keys: args.keys,
        skew: args.skew,
        seed: args.seed,
        batch: args.batch,
        frames: args.frames,
        warmup: args.common.warmup,
        duration: args.common.duration,
        build: build(),
    };
    let output = args.common.output()?;
    let report = measure(&plan, &interrupt::install()?).context("the loopback socket failed")?;
    let mut text = format!(
        "roofline over tcp: {} ops on {} keys, {} frames of {} in flight\n",
        report.ops, report.keys, args.frames, report.batch
    );
    text += &row("throughput", &format!("{} txn/s", grouped(report.throughput_tps)));
    text += &row("self-check", &report.self_check);
    for warning in &report.warnings {
        text += &row("warning", warning);
    }
    output.write(&text, &report)?;
    let good = report.self_check == "ok";
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! `punctual bench pingpong`.

use super::{Common, TransportArg, build, grouped, row};
use crate::commands::UsageError;
use crate::interrupt;
use clap::Args;
use punctual_load::pingpong::{PingPong, run as play};
use punctual_runtime::Engine;
use punctual_runtime::config::Config;
use std::path::PathBuf;
use std::process::ExitCode;

/// One frame there and back on a bare link, without the engine: the floor of every latency
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual bench pingpong --transport tcp
  punctual bench pingpong --config cluster.toml --shard 1   with a served shard")]
pub(crate) struct PingPongArgs {
    #[command(flatten)]
    common: Common,

    /// The link between two threads of this process
    #[arg(long, value_enum, default_value = "tcp", conflicts_with = "config")]
    transport: TransportArg,

    /// Play with a shard of this cluster instead, served by another process
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Which shard of the cluster
    #[arg(long, value_name = "N", default_value_t = 0, requires = "config")]
    shard: u16,

    /// Bytes of the payload
    #[arg(long, value_name = "N", default_value_t = 64)]
    bytes: usize,
}

/// Runs the command.
pub(crate) fn run(args: &PingPongArgs) -> anyhow::Result<ExitCode> {
    let served = match &args.config {
        None => None,
        Some(path) => {
            let config = Config::load(path)?;
            if args.shard >= config.cluster.shards {
                let shards = config.cluster.shards;
                let text = format!("--shard {} is outside 0..{shards}", args.shard);
                return Err(UsageError(text).into());
            }
            let hash = config.cluster.hash();
            Some((Engine::endpoint_of(&config, args.shard)?, args.shard, hash))
        }
    };
    let plan = PingPong {
        transport: args.transport.into(),
        served,
        bytes: args.bytes,
        warmup: args.common.warmup,
        duration: args.common.duration,
        build: build(),
    };
    let output = args.common.output()?;
    let report = play(&plan, &interrupt::install()?)?;
    let mut text = format!("pingpong over {}: {} bytes\n", report.transport, report.payload_bytes);
    text += &row("round trips", &format!("{}/s", grouped(report.throughput_tps)));
    text += &row("latency", &report.latency_ns.to_string());
    text += &row("self-check", &report.self_check);
    for warning in &report.warnings {
        text += &row("warning", warning);
    }
    output.write(&text, &report)?;
    Ok(ExitCode::SUCCESS)
}

//! `punctual owd`: how long messages take to each shard.

mod table;
mod trace;

use crate::commands::output::{Output, print};
use crate::{eprintln_line, interrupt};
use anyhow::bail;
use clap::Args;
use clap::builder::PossibleValuesParser;
use flume::RecvTimeoutError;
use punctual_load::workload;
use punctual_runtime::config::{Config, Estimator, parse_duration};
use punctual_runtime::{CloseReason, LinkEvent, Nanos, OwdWatch, ProbeRow};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::table;
use trace::Trace;

/// Version of the JSON document; it changes when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// How long `--once` measures if nothing else is said.
const ONCE_FOR: Duration = Duration::from_secs(1);
/// How often a terminal shows the table anew, and how often lines are printed elsewhere.
const REDRAW: Duration = Duration::from_millis(500);
const REPRINT: Duration = Duration::from_secs(1);
/// How often to look for an interruption.
const LOOK: Duration = Duration::from_millis(50);

/// Watch how long messages take to each shard, and what stamps will allow for
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual owd --config docs/examples/two-shards.toml                a table, until Ctrl-C
  punctual owd --config docs/examples/two-shards.toml --once         measure for a second
  punctual owd --config cluster.toml --for 10s --trace probes.csv    every probe in a file
  punctual owd --config docs/examples/one-shard.toml --workload ycsb    shards of such a serve

A delay is the shard's clock at receipt less ours at sending, so it contains the offset of the
clocks, which is known to lie within the given bounds. A shard that is not there costs the others
nothing. Exit code 1 means that no shard was there when the time was over.")]
pub(crate) struct OwdArgs {
    /// Configuration of the cluster
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// How long to measure, such as 10s; without it until Ctrl-C, with --once for 1s
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    period: Option<Duration>,

    /// Show the table once, at the end
    #[arg(long)]
    once: bool,

    /// Also write the table as JSON to FILE; with -, print JSON, and the table to standard error
    #[arg(long, value_name = "FILE", requires = "once")]
    json: Option<PathBuf>,

    /// Write a line for each answered probe into FILE: shard,id,t1,t2,t3,t4,late
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// How delays are estimated: window-percentile, ewma, ema-half-rtt, window-max
    #[arg(long, value_name = "NAME")]
    estimator: Option<Estimator>,

    /// The workload for which the shards were started, if they were: punctual serve --workload
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(workload::names()))]
    workload: Option<String>,
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document {
    schema: u32,
    program: &'static str,
    estimator: &'static str,
    seconds: f64,
    /// Samples that came faster than they could be taken.
    samples_dropped: u64,
    shards: Vec<ShardDelays>,
}

/// What is known of a shard, in nanoseconds.
#[derive(Debug, Serialize)]
struct ShardDelays {
    shard: u16,
    is_up: bool,
    /// Why there is no link.
    down: Option<String>,
    estimate_ns: i64,
    min_ns: Option<i64>,
    p50_ns: Option<i64>,
    p99_ns: Option<i64>,
    /// The shard's clock less ours lies between these two.
    offset_min_ns: Option<i64>,
    offset_max_ns: Option<i64>,
    rtt_min_ns: Option<i64>,
    samples: u64,
    sent: u64,
    lost: u64,
    late: u64,
    lateness_p99_ns: Option<i64>,
}

/// Runs the command.
pub(crate) fn run(args: &OwdArgs) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(&args.config)?;
    config.process.estimator = args.estimator.unwrap_or(config.process.estimator);
    config.validate()?;
    let output = Output::open(args.json.as_deref())?;
    let trace = args.trace.as_deref().map(Trace::create).transpose()?;
    let interrupted = interrupt::install()?;
    let procedures = args.workload.as_deref().and_then(workload::procedures_of);
    let watch = OwdWatch::connect(&config, &procedures.unwrap_or_default())?;
    if !args.once {
        eprintln_line(&format!("probing {} shards; Ctrl-C ends", config.cluster.shards));
    }
    let started = Instant::now();
    let mut watching = Watching { watch, trace, down: BTreeMap::new(), shown: 0 };
    let period = args.period.or(args.once.then_some(ONCE_FOR));
    // Whatever happens, the prober is told to stop.
    let watched = watching.go_on(period, args.once, &interrupted);
    let watched = watched.and_then(|was| watching.take_rest().map(|()| was));
    let Watching { watch, trace, down, shown } = watching;
    let (rows, samples_dropped) = (watch.rows(), watch.samples_dropped());
    watch.stop();
    let was_interrupted = watched?;
    let traced = trace.map(Trace::finish).transpose()?;
    let lines = table(&rows, &down);
    let document = Document {
        schema: SCHEMA,
        program: "owd",
        estimator: config.process.estimator.name(),
        seconds: started.elapsed().as_secs_f64(),
        samples_dropped,
        shards: rows.iter().map(|row| delays(row, &down)).collect(),
    };
    output.write(&redrawn(&lines, shown), &document)?;
    // Not before the table: nothing may come between it and the one that it is written over.
    if samples_dropped > 0 {
        eprintln_line(&format!("warning: {samples_dropped} samples were too many to be taken"));
    }
    if let (Some(samples), Some(path)) = (traced, &args.trace) {
        eprintln_line(&format!("{samples} samples in {}", path.display()));
    }
    let other = CloseReason::ClusterConfig.to_string();
    if down.values().any(|why| why.contains(&other)) {
        eprintln_line("hint: shards that were started with --workload NAME want the same here");
    }
    let good = was_interrupted || rows.iter().any(|row| row.is_up);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A watch under way.
struct Watching {
    watch: OwdWatch,
    trace: Option<Trace>,
    /// Shards without a link, and why.
    down: BTreeMap<u16, String>,
    /// Lines of the table that a terminal shows, to be written over.
    shown: usize,
}

impl Watching {
    /// Takes what the prober learns, and shows it unless that is for the end. True if the user
    /// ended it.
    fn go_on(
        &mut self,
        period: Option<Duration>,
        quietly: bool,
        interrupted: &flume::Receiver<()>,
    ) -> anyhow::Result<bool> {
        let is_terminal = std::io::stdout().is_terminal();
        let interval = if is_terminal { REDRAW } else { REPRINT };
        let started = Instant::now();
        let mut draw_at = started + interval;
        loop {
            let now = Instant::now();
            if interrupted.try_recv().is_ok() {
                return Ok(true);
            }
            if period.is_some_and(|period| now.duration_since(started) >= period) {
                return Ok(false);
            }
            while let Ok((shard, event)) = self.watch.events().try_recv() {
                match event {
                    LinkEvent::Up => self.down.remove(&shard.0),
                    LinkEvent::Down { why } => self.down.insert(shard.0, why),
                    LinkEvent::Refused(reason) => self.down.insert(shard.0, reason.to_string()),
                };
            }
            if now >= draw_at {
                draw_at = now + interval;
                if !quietly {
                    self.draw(is_terminal)?;
                }
            }
            if let Some(trace) = &mut self.trace {
                trace.flush_now_and_then(now)?;
            }
            match self.watch.samples().recv_timeout(LOOK) {
                Ok(sample) => self.trace.as_mut().map_or(Ok(()), |trace| trace.write(&sample))?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the prober has died"),
            }
        }
    }

    /// Takes the samples that still wait, so that the trace ends with the last one.
    fn take_rest(&mut self) -> anyhow::Result<()> {
        let Some(trace) = &mut self.trace else { return Ok(()) };
        self.watch.samples().try_iter().try_for_each(|sample| trace.write(&sample))
    }

    fn draw(&mut self, is_terminal: bool) -> anyhow::Result<()> {
        let lines = table(&self.watch.rows(), &self.down);
        let text = redrawn(&lines, self.shown);
        // Also the first table is written over, so it must not wrap either.
        let is_first = is_terminal && self.shown == 0;
        print(&if is_first { format!("\x1b[?7l{text}\x1b[?7h") } else { text })?;
        self.shown = if is_terminal { lines.len() } else { 0 };
        Ok(())
    }
}

/// The text that writes lines over as many that a terminal shows.
fn redrawn(lines: &[String], shown: usize) -> String {
    let mut text = String::new();
    if shown == 0 {
        for line in lines {
            text += line;
            text.push('\n');
        }
        return text;
    }
    // Up; and no wrapping, so that a line of text stays a line of the screen.
    let _ = write!(text, "\x1b[{shown}A\x1b[?7l");
    for line in lines {
        let _ = writeln!(text, "\x1b[2K{line}");
    }
    text + "\x1b[?7h"
}

fn delays(row: &ProbeRow, down: &BTreeMap<u16, String>) -> ShardDelays {
    let ns = |time: Option<Nanos>| time.map(|time| time.0);
    ShardDelays {
        shard: row.shard.0,
        is_up: row.is_up,
        // The rows may be newer than what was last heard of the link.
        down: down.get(&row.shard.0).filter(|_| !row.is_up).cloned(),
        estimate_ns: row.estimate.0,
        min_ns: ns(row.min),
        p50_ns: ns(row.p50),
        p99_ns: ns(row.p99),
        offset_min_ns: ns(row.offset_bound.map(|(least, _)| least)),
        offset_max_ns: ns(row.offset_bound.map(|(_, most)| most)),
        rtt_min_ns: ns(row.rtt_min),
        samples: row.samples,
        sent: row.sent,
        lost: row.lost,
        late: row.late,
        lateness_p99_ns: ns(row.lateness_p99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_over_the_one_before_it() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(redrawn(&lines, 0), "a\nb\n");
        assert_eq!(redrawn(&lines, 2), "\x1b[2A\x1b[?7l\x1b[2Ka\n\x1b[2Kb\n\x1b[?7h");
    }
}

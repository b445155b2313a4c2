//! What a bench on a Redis has measured, for programs and for people.

use super::super::check::OK;
use super::super::report::{PROGRAM, SCHEMA, prefetch_text};
use super::super::{BenchArgs, environment};
use super::Plan;
use super::crew::Seen;
use crate::commands::output::row;
use crate::commands::task::rows::grouped;
use punctual_load::report::Environment;
use punctual_redis::Polling;
use punctual_runtime::tasks::Prefetch;
use serde::Serialize;

/// The JSON document.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    program: &'static str,
    broker: String,
    /// Of each row, at most.
    tasks: u64,
    duration_s: f64,
    workers: u16,
    slots: u32,
    /// With everything on.
    throughput_tps: f64,
    /// `ok`, or what is wrong.
    pub(super) self_check: String,
    rows: Vec<Row>,
    environment: Environment,
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// What is on.
    on: &'static str,
    pipeline: bool,
    polling: String,
    prefetch: String,
    /// Tasks that were done within the time.
    tasks: u64,
    /// From the beginning of the first one until all were done, or the time was over.
    duration_s: f64,
    throughput_tps: f64,
    /// To the first row; `None` where nothing was done there.
    ratio: Option<f64>,
    /// Commands to Redis, a script being one.
    commands: u64,
    commands_per_task: Option<f64>,
    self_check: String,
}

impl Row {
    pub(super) fn new(
        on: &'static str,
        pipeline: bool,
        polling: Polling,
        prefetch: Prefetch,
        seen: &Seen,
        self_check: String,
    ) -> Self {
        let Seen { done, took, commands } = *seen;
        Self {
            on,
            pipeline,
            polling: match polling {
                Polling::Fixed(pause) => format!("fixed:{}s", pause.as_secs_f64()),
                Polling::Adaptive { .. } => "adaptive".to_owned(),
            },
            prefetch: prefetch_text(prefetch),
            tasks: done,
            duration_s: took.as_secs_f64(),
            throughput_tps: quotient(done as f64, took.as_secs_f64()).unwrap_or(0.0),
            ratio: None,
            commands,
            commands_per_task: quotient(commands as f64, done as f64),
            self_check,
        }
    }

    /// Compares it with the first row, which is itself if there is none yet.
    pub(super) fn compare(&mut self, first: Option<&Self>) {
        let base = first.map_or(self.throughput_tps, |first| first.throughput_tps);
        self.ratio = quotient(self.throughput_tps, base);
    }

    /// The cells for people.
    fn cells(&self) -> [String; 6] {
        let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), short);
        [
            self.on.to_owned(),
            grouped(self.tasks),
            format!("{:.1}", self.duration_s),
            short(self.throughput_tps),
            number(self.ratio),
            number(self.commands_per_task),
        ]
    }
}

fn quotient(number: f64, of: f64) -> Option<f64> {
    (of > 0.0).then_some(number / of)
}

/// With as many digits as matter.
fn short(number: f64) -> String {
    if number < 100.0 { format!("{number:.2}") } else { grouped(number as u64) }
}

/// The document of a run.
pub(super) fn report(args: &BenchArgs, plan: &Plan, rows: Vec<Row>) -> Report {
    let broker = plan.address.to_string();
    let bad = rows.iter().find(|row| row.self_check != OK);
    let self_check =
        bad.map_or_else(|| OK.to_owned(), |row| format!("{}: {}", row.on, row.self_check));
    Report {
        schema: SCHEMA,
        program: PROGRAM,
        environment: environment(args, "redis", Some(&broker)),
        broker,
        tasks: plan.lines.len() as u64,
        duration_s: plan.duration.as_secs_f64(),
        workers: plan.workers,
        slots: plan.slots,
        throughput_tps: rows.last().map_or(0.0, |row| row.throughput_tps),
        self_check,
        rows,
    }
}

/// The same for people.
pub(super) fn summary(report: &Report) -> String {
    let Report { broker, workers, slots, duration_s, .. } = report;
    let mut text = format!(
        "switches at {broker}: {} lines that run true, {workers} workers with {slots} slots, at \
         most {duration_s} s a row\n",
        grouped(report.tasks)
    );
    let head = ["on", "tasks", "seconds", "tasks/s", "ratio", "commands/task"].map(str::to_owned);
    for [on, tasks, seconds, rate, ratio, commands] in
        std::iter::once(head).chain(report.rows.iter().map(Row::cells))
    {
        text += &format!("  {on:<26}{tasks:>9}{seconds:>9}{rate:>10}{ratio:>10}{commands:>15}\n");
    }
    text + &row("self-check", &report.self_check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::build;
    use punctual_load::environment::bare;
    use punctual_load::report::Cores;
    use std::time::Duration;

    fn measured(done: u64, millis: u64, commands: u64) -> Row {
        let seen = Seen { done, took: Duration::from_millis(millis), commands };
        let polling = Polling::Fixed(Duration::from_secs(2));
        Row::new("nothing, as the original", false, polling, Prefetch::Off, &seen, OK.to_owned())
    }

    #[test]
    fn rows_are_compared_with_the_first_one() {
        let mut first = measured(13, 25_000, 91);
        first.compare(None);
        let cells = first.cells();
        assert_eq!(cells, ["nothing, as the original", "13", "25.0", "0.52", "1.00", "7.00"]);
        let mut other = measured(1000, 720, 1014);
        other.compare(Some(&first));
        assert_eq!(other.cells()[1..], ["1,000", "0.7", "1,388", "2,670", "1.01"]);
        assert_eq!((other.polling.as_str(), other.prefetch.as_str()), ("fixed:2s", "off"));
    }

    #[test]
    fn where_nothing_was_done_there_is_nothing_to_compare_with() {
        let mut nothing = measured(0, 100, 3);
        nothing.compare(None);
        assert_eq!(nothing.cells()[1..], ["0", "0.1", "0.00", "-", "-"]);
        let mut other = measured(4, 100, 3);
        other.compare(Some(&nothing));
        assert_eq!(other.ratio, None);
    }

    #[test]
    fn columns_are_below_each_other_and_the_check_is_last() {
        let report = Report {
            schema: SCHEMA,
            program: PROGRAM,
            broker: "redis://node0:6379/9".to_owned(),
            tasks: 1000,
            duration_s: 25.0,
            workers: 1,
            slots: 2,
            throughput_tps: 0.52,
            self_check: OK.to_owned(),
            rows: vec![measured(13, 25_000, 91)],
            environment: bare(&build(), "redis", Cores::default(), false),
        };
        let text = summary(&report);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("switches at redis://node0:6379/9: 1,000 lines"), "{text}");
        assert!(lines[0].ends_with("with 2 slots, at most 25 s a row"), "{text}");
        assert_eq!(lines[1].len(), lines[2].len(), "{text}");
        assert!(lines[2].starts_with("  nothing, as the original"), "{text}");
        assert!(lines[3].trim_start().starts_with("self-check"), "{text}");
    }
}

//! What each switch of a worker brings on a Redis: the same lines are worked off with none, each
//! and all of them, in the original's layout, by the worker and the bridge that everybody uses.

mod check;
mod crew;
mod table;
mod tally;

use super::{BenchArgs, PAYLOAD, finish};
use crate::commands::UsageError;
use crate::commands::output::Output;
use crate::commands::task::rows::grouped;
use crate::{eprintln_line, interrupt};
use anyhow::bail;
use crew::Crew;
use punctual_redis::{Polling, RedisAddress, RedisError, RedisManager, RedisTask};
use punctual_runtime::tasks::Prefetch;
use punctual_taskfile::{OriginalConf, ReadOptions, parse_line};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::time::Duration;
use table::{Row, report, summary};
use tally::Tally;

/// Tasks and slots, if nobody says how many.
const TASKS: u64 = 1000;
const SLOTS: u32 = 2;
/// Reading a queue takes the original its time, and so does comparing what became of each task.
const TASKS_MAX: u64 = 1_000_000;
/// The lowest priority of a line, and how many there may be.
const PRIORITY_MIN: i32 = 1;
const PRIORITIES: u64 = 1_000_000_000;

/// Which switches are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Switches {
    pipeline: bool,
    polling: bool,
    prefetch: bool,
}

/// The rows of the table. What all others are compared with comes first, and all on last.
const ROWS: [(&str, Switches); 6] = [
    ("nothing, as the original", Switches { pipeline: false, polling: false, prefetch: false }),
    ("pipeline", Switches { pipeline: true, polling: false, prefetch: false }),
    ("polling", Switches { pipeline: false, polling: true, prefetch: false }),
    ("prefetch", Switches { pipeline: false, polling: false, prefetch: true }),
    ("pipeline and polling", Switches { pipeline: true, polling: true, prefetch: false }),
    ("all three", Switches { pipeline: true, polling: true, prefetch: true }),
];

/// What is measured in each row.
#[derive(Debug)]
struct Plan {
    address: RedisAddress,
    /// Lines that differ in their priority alone, so that all run the same program.
    lines: Vec<Vec<u8>>,
    /// The priority of the first one.
    base: i32,
    workers: u16,
    slots: u32,
    prefetch: Prefetch,
    duration: Duration,
}

impl Plan {
    fn of(args: &BenchArgs, address: &RedisAddress) -> Result<Self, UsageError> {
        let tasks = args.tasks.unwrap_or(TASKS);
        if tasks > TASKS_MAX {
            let most = grouped(TASKS_MAX);
            return Err(UsageError(format!("--tasks {tasks}: at a Redis {most} are the most")));
        }
        if args.queued > 0 || args.payload != PAYLOAD {
            let text = "--queued and --payload have no meaning at a Redis; leave them out";
            return Err(UsageError(text.to_owned()));
        }
        if args.prefetch == Prefetch::Off {
            let text = "--prefetch off leaves nothing to compare with; give auto or a number";
            return Err(UsageError(text.to_owned()));
        }
        // Another bench has other lines, even if it is there at the same time.
        let at = RandomState::new().build_hasher().finish() % (PRIORITIES - TASKS_MAX);
        let base = PRIORITY_MIN + i32::try_from(at).unwrap_or(0);
        let priorities = (base..).take(usize::try_from(tasks).unwrap_or(usize::MAX));
        let lines = priorities.map(|priority| format!("shell:{priority}:0:0:true").into_bytes());
        Ok(Self {
            address: address.clone(),
            lines: lines.collect(),
            base,
            workers: args.workers,
            slots: args.slots.unwrap_or(SLOTS),
            prefetch: args.prefetch,
            duration: args.duration,
        })
    }

    /// How tasks are looked for.
    fn polling(switches: Switches) -> Polling {
        match switches.polling {
            true => Polling::default(),
            false => Polling::Fixed(OriginalConf::default().sleep_between_tasks),
        }
    }

    /// How many tasks wait at a worker.
    fn prefetch(&self, switches: Switches) -> Prefetch {
        if switches.prefetch { self.prefetch } else { Prefetch::Off }
    }

    /// Measures all rows. `None`: it was interrupted. Nothing stays in the Redis in any case.
    fn measure(
        &self,
        redis: &mut RedisManager,
        interrupted: &flume::Receiver<()>,
    ) -> anyhow::Result<Option<Vec<Row>>> {
        let mut rows: Vec<Row> = Vec::new();
        for (name, switches) in ROWS {
            eprintln_line(&format!("measuring: {name}"));
            let measured = self.row(redis, name, switches, interrupted);
            let forgotten = self.forget(redis);
            // A signal also interrupts whoever waits for an answer with a timeout: signal(7).
            let measured = match measured {
                Err(_) if interrupted.try_recv().is_ok() => Ok(None),
                measured => measured,
            };
            let Some(mut row) = measured? else {
                forgotten?;
                return Ok(None);
            };
            forgotten?;
            row.compare(rows.first());
            rows.push(row);
        }
        Ok(Some(rows))
    }

    /// Removes what this bench has put there, over a new connection if the old one is broken.
    fn forget(&self, redis: &mut RedisManager) -> anyhow::Result<()> {
        if redis.forget(&self.lines).is_err() {
            *redis = open(&self.address)?;
            redis.forget(&self.lines)?;
        }
        Ok(())
    }

    /// Measures a row.
    fn row(
        &self,
        redis: &mut RedisManager,
        name: &'static str,
        switches: Switches,
        interrupted: &flume::Receiver<()>,
    ) -> anyhow::Result<Option<Row>> {
        self.load(redis)?;
        let tally = Tally::new(self.base, self.lines.len());
        let mut crew = Crew::default();
        let seen = crew.work(self, switches, &tally, interrupted);
        let stopped = crew.stop();
        let Some(seen) = seen? else {
            stopped?;
            return Ok(None);
        };
        stopped?;
        let verdict = check::check(&redis.check()?, &self.lines, &tally.runs(), tally.strangers());
        let (polling, prefetch) = (Self::polling(switches), self.prefetch(switches));
        Ok(Some(Row::new(name, switches.pipeline, polling, prefetch, &seen, verdict)))
    }

    /// Puts the tasks into the Redis, where none of them is.
    fn load(&self, redis: &mut RedisManager) -> anyhow::Result<()> {
        let options = ReadOptions::default();
        let task = |line: &Vec<u8>| {
            let draft = parse_line(line, &options).ok()?;
            Some(RedisTask { line: line.clone(), draft })
        };
        let report = redis.load(self.lines.iter().filter_map(task))?;
        if report.added != self.lines.len() as u64 {
            bail!("only {} of {} tasks were taken in", report.added, self.lines.len());
        }
        Ok(())
    }
}

fn open(address: &RedisAddress) -> Result<RedisManager, RedisError> {
    RedisManager::open(address.clone(), OriginalConf::default().report_interval)
}

/// Measures a Redis.
pub(super) fn bench(args: &BenchArgs, address: &RedisAddress) -> anyhow::Result<ExitCode> {
    let plan = Plan::of(args, address)?;
    let output = Output::open(args.json.as_deref())?;
    let interrupted = interrupt::install()?;
    let mut redis = open(address)?;
    refuse_used(&redis.occupied()?, address)?;
    let report = plan.measure(&mut redis, &interrupted)?.map(|rows| report(args, &plan, rows));
    let is_good = report.as_ref().is_some_and(|report| report.self_check == super::check::OK);
    finish(output, report.map(|report| (summary(&report), report)), is_good)
}

/// Refuses a database that somebody uses: names of keys are given by the layout, so there is room
/// for one farm in each.
fn refuse_used(occupied: &[(&str, u64)], address: &RedisAddress) -> Result<(), UsageError> {
    if occupied.is_empty() {
        return Ok(());
    }
    let found: Vec<String> =
        occupied.iter().map(|(key, length)| format!("{} in {key}", grouped(*length))).collect();
    Err(UsageError(format!(
        "the database at {address} is in use ({}), and was left as it is; give the number of an \
         empty one after the last /, or empty it (punctual task manager --task initRedis)",
        found.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn plan(args: &[&str]) -> Result<Plan, UsageError> {
        let options = Options::parse_from(std::iter::once("test").chain(args.iter().copied()));
        let address = "redis://node0/9".parse().expect("an address");
        Plan::of(&options.bench, &address)
    }

    #[test]
    fn lines_are_distinct_tasks_of_the_original_and_others_in_the_next_bench() {
        let plans = [plan(&[]), plan(&[])].map(|plan| plan.expect("a plan"));
        for plan in &plans {
            assert_eq!((plan.lines.len(), plan.slots, plan.workers), (1000, 2, 1));
            for (number, line) in (0..).zip(&plan.lines) {
                let draft = parse_line(line, &ReadOptions::default()).expect("a task");
                assert_eq!(
                    (draft.priority, &draft.command[..]),
                    (plan.base + number, &b"true"[..])
                );
            }
        }
        let common = plans[0].lines.iter().filter(|line| plans[1].lines.contains(line)).count();
        assert!(common < 1000, "two benches have the same lines");
    }

    #[test]
    fn each_switch_is_on_alone_and_all_of_them_are_in_the_end() {
        let on = |switches: Switches| [switches.pipeline, switches.polling, switches.prefetch];
        let rows = ROWS.map(|(_, switches)| on(switches).into_iter().filter(|on| *on).count());
        assert_eq!(rows, [0, 1, 1, 1, 2, 3]);
        let plan = plan(&["--prefetch", "4"]).expect("a plan");
        let [first, .., last] = ROWS.map(|(_, switches)| switches);
        assert_eq!(Plan::polling(first), Polling::Fixed(Duration::from_secs(2)));
        assert_eq!(Plan::polling(last), Polling::default());
        assert_eq!(
            (plan.prefetch(first), plan.prefetch(last)),
            (Prefetch::Off, Prefetch::Fixed(4))
        );
    }

    #[test]
    fn what_has_no_meaning_at_a_redis_and_a_database_in_use_are_refused() {
        for (args, part) in [
            (["--queued", "5"], "--queued"),
            (["--payload", "7"], "--payload"),
            (["--prefetch", "off"], "--prefetch off"),
            (["--tasks", "1000001"], "1,000,000"),
        ] {
            let error = plan(&args).expect_err("it has no meaning").to_string();
            assert!(error.contains(part), "{error}");
        }
        let address = "redis://:secret@node0/9".parse().expect("an address");
        assert!(refuse_used(&[], &address).is_ok());
        let used = [("todo_tasks", 1200), ("worker_status", 1)];
        let error = refuse_used(&used, &address).expect_err("in use").to_string();
        for part in ["redis://node0:6379/9", "1,200 in todo_tasks, 1 in worker_status"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

//! The tables of a pane, as lines of text.

use super::place::Look;
use super::state::{Order, Pane};
use super::view::{Block, Counts, Delay, Farm, Job, Summary, Task, Worker};
use crate::commands::output::grouped;
use crate::commands::task::text::{shown, size, span, table};
use punctual_load::summary::{fmt_ns, fmt_ns_or_dash};
use std::cmp::Reverse;
use std::time::Duration;

/// Characters of names and of commands.
const NAME_CHARS: usize = 32;
const COMMAND_CHARS: usize = 200;

/// A table: the names of its columns, and its lines.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) head: String,
    pub(super) rows: Vec<String>,
    /// What stands below it, if anything does.
    pub(super) note: Option<String>,
}

impl Sheet {
    fn new<const COLUMNS: usize>(
        head: [&str; COLUMNS],
        rows: impl Iterator<Item = [String; COLUMNS]>,
    ) -> Self {
        let cells: Vec<[String; COLUMNS]> =
            std::iter::once(head.map(str::to_owned)).chain(rows).collect();
        let mut lines = table(&cells).into_iter();
        let head = lines.next().unwrap_or_default();
        Self { head, rows: lines.collect(), note: None }
    }

    fn with_note(self, note: Option<String>) -> Self {
        Self { note, ..self }
    }

    /// A remark instead of lines where there are none.
    fn or_say(self, remark: &str) -> Self {
        let note = if self.rows.is_empty() { Some(remark.to_owned()) } else { self.note };
        Self { note, ..self }
    }
}

/// The tables of a pane.
pub(super) fn sheets(pane: Pane, look: &Look, order: Order) -> Vec<Sheet> {
    let Summary { now_ns, blocks, delays, .. } = &look.summary;
    let farm = look.summary.farm();
    match pane {
        Pane::Tasks => vec![tasks(look, *now_ns, order)],
        Pane::Jobs => farm.map(|farm| jobs(farm, *now_ns, order)).into_iter().collect(),
        Pane::Workers => farm.map(|farm| workers(farm, *now_ns, order)).into_iter().collect(),
        Pane::Engine => engine(blocks),
        Pane::Delays => vec![delays_sheet(delays)],
    }
}

/// A whole number with separators.
pub(super) fn count(count: u64) -> String {
    grouped(count as f64)
}

/// So much a second; a dash if it is not known.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => grouped(rate),
    }
}

/// How long ago a moment was, by the clock of who told it.
fn since(moment_ns: i64, now_ns: i64) -> String {
    span(Duration::from_nanos(u64::try_from(now_ns.saturating_sub(moment_ns)).unwrap_or(0)))
}

fn ago(moment_ns: i64, now_ns: i64) -> String {
    format!("{} ago", since(moment_ns, now_ns))
}

/// What there is of more than is told.
fn more(told: usize, total: u64, what: &str) -> Option<String> {
    (total > told as u64).then(|| format!("{told} of {} {what} are shown", count(total)))
}

fn tasks(look: &Look, now_ns: i64, order: Order) -> Sheet {
    let head = ["id", "state", "for", "worker", "tries", "job", "task"];
    let list = match &look.tasks {
        Some(Ok(list)) => list,
        Some(Err(why)) => return Sheet::new(head, std::iter::empty()).or_say(&shown_text(why)),
        None => return Sheet::new(head, std::iter::empty()),
    };
    let mut tasks: Vec<&Task> = list.tasks.iter().collect();
    match order {
        Order::Time => tasks.sort_by_key(|task| Reverse(time_ns(task, now_ns))),
        Order::Worker => tasks.sort_by(|one, other| one.worker.cmp(&other.worker)),
        _ => {}
    }
    let row = |task: &&Task| {
        let state = if task.is_ahead { "at worker" } else { task.state.as_str() };
        let title = if task.name.is_empty() { &task.command } else { &task.name };
        let mut title = shown(title.as_bytes(), COMMAND_CHARS);
        if let Some(end) = task.end.as_ref().filter(|_| task.state == "failed") {
            title = format!("{}: {title}", shown(end.reason.as_bytes(), COMMAND_CHARS));
        }
        [
            task.id.clone(),
            state.to_owned(),
            time_ns(task, now_ns).map_or_else(String::new, |ns| span(Duration::from_nanos(ns))),
            shown(task.worker.as_bytes(), NAME_CHARS),
            task.attempt.to_string(),
            shown(task.job.as_bytes(), NAME_CHARS),
            title,
        ]
    };
    let note = list.next.as_ref().map(|_| format!("and more than these {}", tasks.len()));
    Sheet::new(head, tasks.iter().map(row)).with_note(note).or_say("no such task now")
}

/// How long a task has run, or has been with its worker.
fn time_ns(task: &Task, now_ns: i64) -> Option<u64> {
    match (&task.end, task.state.as_str(), task.leased_ns) {
        (_, "running", Some(leased_ns)) => u64::try_from(now_ns.saturating_sub(leased_ns)).ok(),
        (Some(end), ..) => Some(end.ran_ns),
        _ => None,
    }
}

fn shown_text(text: &str) -> String {
    shown(text.as_bytes(), COMMAND_CHARS)
}

/// Counts as people read them: those that are there.
pub(super) fn counts_text(total: u64, counts: &Counts) -> String {
    let named = counts.named().into_iter().filter(|(_, tasks)| *tasks > 0);
    let parts = named.map(|(name, tasks)| format!("{} {name}", count(tasks)));
    let parts: Vec<String> = parts.collect();
    let word = if total == 1 { "task" } else { "tasks" };
    let detail = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("{} {word}{detail}", count(total))
}

fn jobs(farm: &Farm, now_ns: i64, order: Order) -> Sheet {
    let mut jobs: Vec<&Job> = farm.jobs.iter().collect();
    match order {
        Order::Name => jobs.sort_by(|one, other| one.name.cmp(&other.name)),
        Order::Failed => jobs.sort_by_key(|job| Reverse(job.counts.failed)),
        _ => {}
    }
    let row = |job: &&Job| {
        let Job { id, name, opened_ns, tasks, counts } = job;
        let name =
            if name.is_empty() { format!("job {id}") } else { shown(name.as_bytes(), NAME_CHARS) };
        let done = (counts.done * 100).checked_div(*tasks).unwrap_or(0);
        [
            name,
            format!("{done} %"),
            count(*tasks),
            count(counts.to_do()),
            count(counts.running),
            count(counts.done),
            count(counts.failed),
            count(counts.cancelled),
            ago(*opened_ns, now_ns),
        ]
    };
    let head =
        ["job", "done", "tasks", "to do", "running", "done", "failed", "cancelled", "opened"];
    let note = more(jobs.len(), farm.jobs_total, "jobs");
    Sheet::new(head, jobs.iter().map(row)).with_note(note).or_say("no job yet")
}

fn workers(farm: &Farm, now_ns: i64, order: Order) -> Sheet {
    let mut workers: Vec<&Worker> = farm.workers.iter().collect();
    match order {
        Order::Name => workers.sort_by(|one, other| one.name.cmp(&other.name)),
        Order::Busy => workers.sort_by_key(|worker| Reverse(worker.running)),
        Order::Failed => workers.sort_by_key(|worker| Reverse(worker.failed + worker.lost)),
        _ => {}
    }
    let row = |worker: &&Worker| {
        let free = worker.memory_free_bytes;
        // A machine that has none runs nothing: it was not measured.
        let free = if free == 0 { "-".to_owned() } else { size(free) };
        [
            shown(worker.name.as_bytes(), NAME_CHARS),
            worker.state.clone(),
            format!("{}/{}", worker.running, worker.slots),
            worker.ahead.to_string(),
            format!("{:.1}/{:.1}", worker.cores_used, worker.cores),
            format!("{free} of {}", size(worker.memory_bytes)),
            count(worker.done),
            count(worker.failed),
            count(worker.lost),
            fmt_ns_or_dash(Some(worker.mean_ns).filter(|ns| *ns > 0)),
            ago(worker.heard_ns, now_ns),
        ]
    };
    let head = [
        "worker",
        "state",
        "tasks",
        "ahead",
        "cores",
        "memory free",
        "done",
        "failed",
        "lost",
        "mean",
        "heard",
    ];
    let note = more(workers.len(), farm.workers_total, "workers");
    let sheet = Sheet::new(head, workers.iter().map(row)).with_note(note);
    sheet.or_say("no worker is here; start one with: punctual task worker")
}

/// A table for each kind of part that there is.
fn engine(blocks: &[Block]) -> Vec<Sheet> {
    type Kind = (&'static str, fn(&[&Block]) -> Sheet);
    const KINDS: [Kind; 3] =
        [("shard", shards_sheet), ("coordinator", coordinators_sheet), ("queue", queues_sheet)];
    let mut sheets = Vec::new();
    for (kind, sheet) in KINDS {
        let parts: Vec<&Block> = blocks.iter().filter(|block| block.kind == kind).collect();
        if !parts.is_empty() {
            sheets.push(sheet(&parts));
        }
    }
    sheets
}

/// How far a journal is behind at worst; a dash where there is none.
fn journal(block: &Block) -> String {
    match (block.get("journal_full"), block.get("journal_lag_max_ns")) {
        (0, 0) => "-".to_owned(),
        (0, lag_ns) => fmt_ns(lag_ns),
        _ => "full".to_owned(),
    }
}

fn shards_sheet(blocks: &[&Block]) -> Sheet {
    let row = |block: &&Block| {
        [
            block.name.clone(),
            rate(block.rate_1s),
            count(block.get("held")),
            count(block.links()),
            count(block.get("committed")),
            count(block.get("aborted")),
            count(block.get("late")),
            count(block.get("busy")),
            count(block.get("keys")),
            size(block.get("store_bytes")),
            journal(block),
        ]
    };
    let head = [
        "shard",
        "a second",
        "held",
        "links",
        "committed",
        "aborted",
        "late",
        "busy",
        "keys",
        "store",
        "journal lag",
    ];
    Sheet::new(head, blocks.iter().map(row))
}

fn coordinators_sheet(blocks: &[&Block]) -> Sheet {
    let row = |block: &&Block| {
        let in_flight = block.get("in_flight");
        // Little's law: so many are under way, and so many end in a second.
        let known = block.rate_1s.filter(|rate| *rate > 0.0 && in_flight > 0);
        let mean_ns = known.map(|rate| (in_flight as f64 / rate * 1e9) as u64);
        [
            block.name.clone(),
            rate(block.rate_1s),
            count(in_flight),
            fmt_ns_or_dash(mean_ns),
            count(block.get("committed")),
            count(block.get("aborted")),
            count(block.get("refused")),
            count(block.get("unknown")),
            count(block.get("late")),
            count(block.get("busy")),
            count(block.get("retries")),
        ]
    };
    let head = [
        "coordinator",
        "a second",
        "in flight",
        "mean time",
        "committed",
        "aborted",
        "refused",
        "unknown",
        "late",
        "busy",
        "retries",
    ];
    Sheet::new(head, blocks.iter().map(row))
}

fn queues_sheet(blocks: &[&Block]) -> Sheet {
    let row = |block: &&Block| {
        [
            block.name.clone(),
            rate(block.rate_1s),
            count(block.get("tasks_unfinished")),
            size(block.get("task_bytes")),
            count(block.links()),
            count(block.get("tasks_leased")),
            count(block.get("tasks_expired")),
            count(block.get("tasks_returned")),
            count(block.get("tasks_recalled")),
            count(block.get("task_holds")),
            journal(block),
        ]
    };
    let head = [
        "queue",
        "ended a second",
        "unfinished",
        "memory",
        "links",
        "given out",
        "expired",
        "returned",
        "recalled",
        "held workers",
        "journal lag",
    ];
    Sheet::new(head, blocks.iter().map(row))
}

fn delays_sheet(delays: &[Delay]) -> Sheet {
    let row = |delay: &Delay| {
        [
            delay.shard.to_string(),
            if delay.is_up { "up" } else { "down" }.to_owned(),
            signed(delay.estimate_ns),
            signed(delay.min_ns),
            signed(delay.p50_ns),
            signed(delay.p99_ns),
            signed(delay.rtt_min_ns),
            count(delay.sent),
            count(delay.lost),
        ]
    };
    let head =
        ["shard", "link", "estimate", "least", "median", "99 %", "round trip", "probes", "lost"];
    Sheet::new(head, delays.iter().map(row))
}

/// A time that may be negative where two clocks are compared.
fn signed(ns: Option<i64>) -> String {
    let Some(ns) = ns else { return "-".to_owned() };
    let sign = if ns < 0 { "-" } else { "" };
    format!("{sign}{}", fmt_ns(ns.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::view::{End, TaskList};

    fn task(id: &str, state: &str, worker: &str, leased_ns: i64) -> Task {
        Task {
            id: id.to_owned(),
            state: state.to_owned(),
            worker: worker.to_owned(),
            leased_ns: Some(leased_ns),
            command: format!("work {id}"),
            ..Task::default()
        }
    }

    #[test]
    fn tasks_are_sorted_by_how_long_they_run_and_by_worker() {
        let tasks = vec![
            task("1", "running", "w2", 3_000_000_000),
            task("2", "running", "w1", 1_000_000_000),
            task("3", "running", "w3", 2_000_000_000),
        ];
        let list = TaskList { tasks, next: Some("4".to_owned()) };
        let summary = Summary { now_ns: 5_000_000_000, ..Summary::default() };
        let look = Look { summary, tasks: Some(Ok(list)) };
        for (order, expected) in
            [(Order::AsTold, "123"), (Order::Time, "231"), (Order::Worker, "213")]
        {
            let found = sheets(Pane::Tasks, &look, order);
            let [sheet] = &found[..] else { panic!("one table, and not {found:?}") };
            let ids: String = sheet.rows.iter().filter_map(|row| row.chars().next()).collect();
            assert_eq!(ids, expected, "{order:?}");
            assert_eq!(sheet.note.as_deref(), Some("and more than these 3"));
        }
    }

    #[test]
    fn a_task_that_failed_says_why_and_gives_the_terminal_no_orders() {
        let end = End { reason: "exit code 3".to_owned(), ran_ns: 1_500_000_000 };
        let failed = Task {
            command: "echo \u{1b}[2J\nhi".to_owned(),
            end: Some(end),
            ..task("7", "failed", "w", 0)
        };
        let list = TaskList { tasks: vec![failed], next: None };
        let look = Look { summary: Summary::default(), tasks: Some(Ok(list)) };
        let found = sheets(Pane::Tasks, &look, Order::AsTold);
        let text = &found[0].rows[0];
        for part in ["1.50 s", "exit code 3: echo \\u{1b}[2J\\nhi"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn where_there_is_nothing_that_is_said() {
        let farm = Farm { workers_total: 3, ..Farm::default() };
        let look = Look {
            summary: Summary { tasks: Some(farm), ..Summary::default() },
            tasks: Some(Err("too much\nwas asked".to_owned())),
        };
        let note = |pane| sheets(pane, &look, Order::AsTold)[0].note.clone().expect("a remark");
        assert_eq!(note(Pane::Tasks), "too much\\nwas asked");
        assert_eq!(note(Pane::Jobs), "no job yet");
        assert!(note(Pane::Workers).contains("punctual task worker"));
        assert!(sheets(Pane::Engine, &look, Order::AsTold).is_empty());
    }

    #[test]
    fn rates_and_signed_times_are_short_and_unknown_ones_dashes() {
        let rates = [None, Some(0.0), Some(0.04), Some(9.94), Some(1_234.5)].map(rate);
        assert_eq!(rates, ["-", "0", "0.0", "9.9", "1,234"]);
        let times = [None, Some(-150_000), Some(2_000)].map(signed);
        assert_eq!(times, ["-", "-150 us", "2.00 us"]);
    }

    #[test]
    fn counts_name_the_states_that_there_are() {
        let counts = Counts { ready: 2, done: 1_000, ..Counts::default() };
        assert_eq!(counts_text(1_002, &counts), "1,002 tasks: 2 ready, 1,000 done");
        assert_eq!(counts_text(1, &Counts::default()), "1 task");
        assert_eq!(counts_text(0, &Counts::default()), "0 tasks");
    }
}

//! The verbs for tasks in a Redis, as DistComp keeps them.

use super::check::{HEAD, Section, line, lossy};
use super::{ManagerArgs, Shown, Verb, say};
use crate::commands::output::print;
use crate::commands::task::load::{Source, read_whole};
use punctual_redis::{
    CleanupReport, FarmTasks, FarmWorker, LoadReport, RedisAddress, RedisManager, RedisTask,
};
use punctual_taskfile::{OriginalConf, ReadOptions, lines_of, parse_line};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::iter;

/// Lines of tasks, with what stands with each.
type Pairs = [(Vec<u8>, Vec<u8>)];

/// Does what the verbs say. Returns whether all was as it should be.
pub(super) fn run(
    address: RedisAddress,
    verbs: &[Verb],
    args: &ManagerArgs,
    conf: &OriginalConf,
) -> anyhow::Result<bool> {
    let mut redis = RedisManager::open(address, conf.report_interval)?;
    let mut is_good = true;
    for verb in verbs {
        is_good &= act(&mut redis, *verb, args)?;
    }
    Ok(is_good)
}

fn act(redis: &mut RedisManager, verb: Verb, args: &ManagerArgs) -> anyhow::Result<bool> {
    match verb {
        Verb::InitRedis => {
            redis.init(args.flush_all)?;
            say(if args.flush_all {
                "all databases of the Redis are empty"
            } else {
                "all tasks and workers removed; what else is in the Redis is left alone"
            });
        }
        Verb::LoadTask => return load(redis, args),
        Verb::CheckTask => show_tasks(&redis.check()?, &Shown::of(args))?,
        Verb::CheckWorker => print(&workers(&redis.workers()?, &Shown::of(args)))?,
        Verb::Cleanup => say_cleanup(&redis.cleanup()?),
        Verb::RemoveFinished => {
            say(&format!("{} finished tasks removed", redis.remove_finished()?));
        }
        Verb::InProgressToTodo => {
            let moved = redis.requeue_in_progress()?;
            say(&format!("{moved} tasks in progress put back; those that run go on"));
        }
        Verb::FailedToTodo => say(&format!("{} failed tasks put back", redis.requeue_failed()?)),
        Verb::StopWorker => {
            redis.stop_workers()?;
            say("workers are asked to stop, and so are those that come later: until allowWorker");
        }
        Verb::AllowWorker => say(if redis.allow_workers()? {
            "the order to stop is taken back"
        } else {
            "there was no order to stop"
        }),
    }
    Ok(true)
}

/// Loads a task file. A task is its whole line there, so that is what is kept.
fn load(redis: &mut RedisManager, args: &ManagerArgs) -> anyhow::Result<bool> {
    let text = read_whole(&args.taskfile)?;
    let lines = lines_of(&text);
    let mut source = Source::of_text(&args.taskfile, &text, &args.load)?;
    let (options, mut arrays) = (args.load.options(), 0_u64);
    let drafts = iter::from_fn(|| source.next_draft());
    let tasks = drafts.filter_map(|draft| {
        let line = lines.get(draft.line - 1)?;
        // A line that stands for many tasks is not one.
        if parse_line(line, &options).is_err() {
            arrays += 1;
            return None;
        }
        Some(RedisTask { line: line.to_vec(), draft })
    });
    let LoadReport { loaded, added, refused, ours_only } = redis.load(tasks)?;
    let loaded_lines = source.finish()?;
    say(&format!("load {loaded} tasks, add {added} task"));
    if ours_only > 0 {
        say(&format!(
            "note: {ours_only} of them only our workers can read; load none of these while workers \
             of DistComp are there"
        ));
    }
    let refused = refused + arrays;
    if refused > 0 {
        say(&format!(
            "{refused} tasks were refused: a Redis keeps neither arrays nor tasks that come after \
             others, and punctual task serve does"
        ));
    }
    let has_bad = loaded_lines.bad_count() > 0 && !args.load.allow_bad_lines;
    Ok(!has_bad && refused == 0)
}

fn say_cleanup(report: &CleanupReport) {
    let CleanupReport { dismissed, moved, wrong_clocks } = report;
    if dismissed.is_empty() {
        say("no worker is gone");
    } else {
        say(&format!("{} gone and struck off; {moved} tasks put back", dismissed.join(", ")));
    }
    if !wrong_clocks.is_empty() {
        let names = wrong_clocks.join(", ");
        say(&format!("left alone: {names}, whose clocks differ from this one, and who live"));
    }
}

/// `checkTask`.
fn show_tasks(tasks: &FarmTasks, shown: &Shown) -> anyhow::Result<()> {
    if tasks.is_stopping {
        say("note: there is an order to stop, for all workers that are there or come");
    }
    let mut out = BufWriter::new(io::stdout());
    match write_tasks(&mut out, tasks, shown).and_then(|()| out.flush()) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn write_tasks(out: &mut impl Write, tasks: &FarmTasks, shown: &Shown) -> io::Result<()> {
    let FarmTasks { todo, in_progress, finished, failed, reasons, .. } = tasks;
    writeln!(
        out,
        "{} todo tasks, {} in_progress tasks, {} finished tasks, {} failed tasks\n",
        todo.len(),
        in_progress.len(),
        finished.len(),
        failed.len()
    )?;
    for section in Section::ALL.into_iter().filter(|section| section.is_shown(shown)) {
        if section == Section::Reasons && reasons.is_empty() {
            continue;
        }
        writeln!(out, "{}", section.banner())?;
        match section {
            Section::Todo => {
                for task in todo.iter().filter(|task| shown.fits(&lossy(task))) {
                    writeln!(out, "{}", text_of(task))?;
                }
            }
            Section::InProgress => write_pairs(out, in_progress, shown, true)?,
            Section::Finished => write_pairs(out, finished, shown, shown.print_result)?,
            Section::Failed => write_pairs(out, failed, shown, true)?,
            Section::Reasons => write_pairs(out, reasons, shown, true)?,
        }
    }
    Ok(())
}

fn write_pairs(
    out: &mut impl Write,
    pairs: &Pairs,
    shown: &Shown,
    with_values: bool,
) -> io::Result<()> {
    for (task, value) in pairs.iter().filter(|(task, _)| shown.fits(&lossy(task))) {
        let task = text_of(task);
        if with_values {
            writeln!(out, "{task}:         {}", lossy(value))?;
        } else {
            writeln!(out, "{task}")?;
        }
    }
    Ok(())
}

/// A task in the original's words, if its line is one.
fn text_of(line: &[u8]) -> String {
    let draft = parse_line(line, &ReadOptions::default());
    draft.map_or_else(|_| lossy(line), |draft| draft.text().to_string())
}

/// `checkWorker`.
fn workers(workers: &[FarmWorker], shown: &Shown) -> String {
    let mut text = line(&HEAD);
    for worker in workers.iter().filter(|worker| shown.fits(&worker.name)) {
        let number = |value: f64| format!("{value:.2}");
        text += &line(&[
            &worker.name,
            &worker.seconds_ago.to_string(),
            &number(worker.cores_used),
            &number(worker.cores_total),
            &number(worker.memory_used),
            &number(worker.memory_total),
            &worker.running.to_string(),
            &worker.finished.to_string(),
        ]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(task: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
        (task.into(), value.into())
    }

    #[test]
    fn tasks_are_shown_in_the_sections_of_the_original_with_what_stands_with_them() {
        let tasks = FarmTasks {
            todo: vec![b"shell:4:2:2:./run a".to_vec(), b"odd".to_vec()],
            in_progress: vec![pair("shell:0:0:0:./run b", "node1")],
            finished: vec![pair("shell:0:0:0:./run c", "node1: \"42\"")],
            failed: vec![pair("shell:0:0:0:./run d", "node1,node2,")],
            reasons: vec![pair("shell:0:0:0:./run d", "\"no\"")],
            is_stopping: false,
        };
        let text = |shown: &Shown| {
            let mut out = Vec::new();
            write_tasks(&mut out, &tasks, shown).expect("memory can be written to");
            String::from_utf8(out).expect("text")
        };
        let all = text(&Shown::default());
        let head = "2 todo tasks, 1 in_progress tasks, 1 finished tasks, 1 failed tasks\n\n####";
        assert!(all.starts_with(head), "{all}");
        let a = "task_type: shell, priority: 4, min_dram_gb: 2, require_cpu_core: 2, task_params: \
                 ./run a\n";
        assert!(all.contains(a) && all.contains("\nodd\n"), "{all}");
        for end in [
            "./run b:         node1\n",
            "./run c:         node1: \"42\"\n",
            "./run d:         node1,node2,\n",
            "./run d:         \"no\"\n",
        ] {
            assert!(all.contains(end), "{end:?} in {all}");
        }
        let some =
            Shown { include: "run".to_owned(), exclude: "run b".to_owned(), ..Shown::default() };
        let some = text(&Shown { print_result: false, failed_reason: false, ..some });
        assert!(!some.contains("run b") && !some.contains("odd") && !some.contains("\"no\""));
        assert!(some.contains("./run c\n"), "{some}");
    }

    #[test]
    fn workers_have_the_columns_of_the_original() {
        let worker = FarmWorker {
            name: "node1".to_owned(),
            seconds_ago: 3,
            cores_used: 1.5,
            finished: 7,
            ..FarmWorker::default()
        };
        let other = FarmWorker { name: "other".to_owned(), ..FarmWorker::default() };
        let shown = Shown { exclude: "other".to_owned(), ..Shown::default() };
        let text = workers(&[worker, other], &shown);
        let rows: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert_eq!(rows[1], ["node1", "3", "1.50", "0.00", "0.00", "0.00", "0", "7"]);
    }
}

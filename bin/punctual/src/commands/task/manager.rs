//! `punctual task manager`: the verbs of DistComp's manager, for a task server or for its Redis.

mod check;
mod redis;

use super::connect::ClientArgs;
use super::load::{LoadArgs, Source};
use super::status;
use super::submit::RETRIES;
use super::work::read_conf;
use crate::commands::UsageError;
use crate::commands::output::print;
use crate::eprintln_line;
use clap::{ArgAction, Args};
use punctual_runtime::tasks::{
    JobId, OwnedSelection, StateSet, TaskClient, TaskState, Verb as Control,
};
use punctual_taskfile::OriginalConf;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The job that the original's tasks are in: it knows only one.
const JOB: &str = "distcomp";
/// Settings that are read if they are there.
const CONF: &str = "conf.json";

/// The verbs of DistComp's manager, for a task server or for its Redis
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task manager --task 'initRedis&loadTask' --taskfile task
  punctual task manager --task checkTask --include lru
  punctual task manager --task 'checkTask&checkWorker' --server node0
  punctual task manager --task checkTask --broker redis://:PASSWORD@node0:6400/0

Verbs: initRedis, loadTask, checkTask, checkWorker, cleanup, removeFinishedTask,
moveInProgressTaskToTodo, moveFailedTaskToTodo, stopWorker, and allowWorker, which takes an order to
stop back; several with & between them, done in their order. At a task server the tasks are in the
job \"distcomp\". A conf.json in the current directory is read for max_retry_per_task and
health_report_interval; where the tasks are is said by --server alone.")]
pub(crate) struct ManagerArgs {
    /// What is to be done: verbs with & between them
    #[arg(long = "task", value_name = "VERBS")]
    verbs: String,

    /// Task file of loadTask
    #[arg(long, value_name = "FILE", default_value = "task")]
    taskfile: PathBuf,

    /// Show only tasks and workers with this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    include: String,

    /// Show only tasks and workers without this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    exclude: String,

    /// Settings to read (default: conf.json if it is there)
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,

    /// The job
    #[arg(long, value_name = "NAME", default_value = JOB)]
    job: String,

    /// In a Redis: let initRedis empty all databases of the server, as the original does, and not
    /// only what is of the farm
    #[arg(long)]
    flush_all: bool,

    #[command(flatten)]
    redis: RedisArgs,

    #[command(flatten)]
    sections: SectionArgs,

    #[command(flatten)]
    load: LoadArgs,

    #[command(flatten)]
    server: ClientArgs,
}

/// What checkTask shows. Each is y, yes, t, true, on or 1, or the opposite.
#[derive(Debug, Args)]
#[command(next_help_heading = "What checkTask shows (y or n)")]
struct SectionArgs {
    /// Tasks that wait
    #[arg(long, value_name = "Y/N", default_value = "y", action = ArgAction::Set,
          value_parser = yes_or_no)]
    todo: bool,

    /// Tasks that run
    #[arg(long = "in_progress", value_name = "Y/N", default_value = "y", action = ArgAction::Set,
          value_parser = yes_or_no)]
    in_progress: bool,

    /// Tasks that are done
    #[arg(long, value_name = "Y/N", default_value = "y", action = ArgAction::Set,
          value_parser = yes_or_no)]
    finished: bool,

    /// Tasks that failed
    #[arg(long, value_name = "Y/N", default_value = "y", action = ArgAction::Set,
          value_parser = yes_or_no)]
    failed: bool,

    /// Why they failed
    #[arg(long = "failed_reason", value_name = "Y/N", default_value = "y",
          action = ArgAction::Set,
          value_parser = yes_or_no)]
    failed_reason: bool,

    /// What tasks that are done wrote
    #[arg(long = "print_result", value_name = "Y/N", default_value = "y",
          action = ArgAction::Set,
          value_parser = yes_or_no)]
    print_result: bool,
}

/// Where Redis is: accepted, so that scripts need no change, and of no meaning.
#[derive(Debug, Args)]
struct RedisArgs {
    #[arg(long = "redis_host", hide = true)]
    redis_host: Option<String>,
    #[arg(long = "redis_port", hide = true)]
    redis_port: Option<u16>,
    #[arg(long = "redis_pass", hide = true)]
    redis_pass: Option<String>,
    #[arg(long = "redis_db", hide = true)]
    redis_db: Option<String>,
}

/// What is to be shown.
#[derive(Debug, Clone)]
struct Shown {
    include: String,
    exclude: String,
    todo: bool,
    in_progress: bool,
    finished: bool,
    failed: bool,
    failed_reason: bool,
    print_result: bool,
}

impl Default for Shown {
    /// Everything.
    fn default() -> Self {
        Self {
            include: String::new(),
            exclude: String::new(),
            todo: true,
            in_progress: true,
            finished: true,
            failed: true,
            failed_reason: true,
            print_result: true,
        }
    }
}

impl Shown {
    fn of(args: &ManagerArgs) -> Self {
        let sections = &args.sections;
        Self {
            include: args.include.clone(),
            exclude: args.exclude.clone(),
            todo: sections.todo,
            in_progress: sections.in_progress,
            finished: sections.finished,
            failed: sections.failed,
            failed_reason: sections.failed_reason,
            print_result: sections.print_result,
        }
    }

    /// Whether a name is to be shown. An empty text is in every name, and excludes none.
    fn fits(&self, name: &str) -> bool {
        let is_excluded = !self.exclude.is_empty() && name.contains(&self.exclude);
        name.contains(&self.include) && !is_excluded
    }
}

/// Reads an answer as the original does.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
        _ => Err("is neither y, yes, t, true, on, 1 nor n, no, f, false, off, 0".to_owned()),
    }
}

/// What the original's manager can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    InitRedis,
    LoadTask,
    CheckTask,
    CheckWorker,
    Cleanup,
    RemoveFinished,
    InProgressToTodo,
    FailedToTodo,
    StopWorker,
    AllowWorker,
}

impl Verb {
    const NAMES: [(&str, Self); 10] = [
        ("initRedis", Self::InitRedis),
        ("loadTask", Self::LoadTask),
        ("checkTask", Self::CheckTask),
        ("checkWorker", Self::CheckWorker),
        ("cleanup", Self::Cleanup),
        ("removeFinishedTask", Self::RemoveFinished),
        ("moveInProgressTaskToTodo", Self::InProgressToTodo),
        ("moveFailedTaskToTodo", Self::FailedToTodo),
        ("stopWorker", Self::StopWorker),
        ("allowWorker", Self::AllowWorker),
    ];

    /// Reads verbs. All of them, before anything is done: a misspelt one must not leave half of
    /// them done.
    fn read(text: &str) -> Result<Vec<Self>, UsageError> {
        let verb = |name: &str| {
            let known = Self::NAMES.iter().find(|(known, _)| *known == name);
            known.map(|(_, verb)| *verb).ok_or_else(|| {
                let names = Self::NAMES.map(|(name, _)| name).join(", ");
                UsageError(format!("--task: there is no verb {name:?}; the verbs are {names}"))
            })
        };
        text.split('&').map(str::trim).map(verb).collect()
    }
}

/// Runs the command.
pub(super) fn manager(args: &ManagerArgs) -> anyhow::Result<ExitCode> {
    let verbs = Verb::read(&args.verbs)?;
    let conf = conf(args)?;
    let RedisArgs { redis_host, redis_port, redis_pass, redis_db } = &args.redis;
    let names_redis = redis_host.is_some() || redis_port.is_some() || redis_db.is_some();
    if names_redis || redis_pass.is_some() {
        eprintln_line("note: options about Redis have no meaning here; --server says where");
    }
    let is_good = match args.server.redis()? {
        Some(address) => redis::run(address, &verbs, args, &conf.unwrap_or_default())?,
        None => {
            // The original's setting is the number of attempts.
            let retries = conf.map_or(RETRIES, |conf| conf.attempts_max.saturating_sub(1));
            let mut client = args.server.connect()?;
            let job = client.open_job(&args.job)?;
            let mut manager = Manager { client, job, shown: Shown::of(args), is_good: true };
            for verb in verbs {
                manager.run(verb, args, retries)?;
            }
            manager.is_good
        }
    };
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The original's configuration, if it is there.
fn conf(args: &ManagerArgs) -> anyhow::Result<Option<OriginalConf>> {
    let path = match &args.conf {
        Some(path) => path.as_path(),
        None if Path::new(CONF).is_file() => Path::new(CONF),
        None => return Ok(None),
    };
    let conf = read_conf(path)?;
    eprintln_line(&format!("note: {} is read; --server says where the tasks are", path.display()));
    Ok(Some(conf))
}

/// A manager at work.
struct Manager {
    client: TaskClient,
    job: JobId,
    shown: Shown,
    /// Whether all was as it should be.
    is_good: bool,
}

impl Manager {
    fn run(&mut self, verb: Verb, args: &ManagerArgs, retries: u16) -> anyhow::Result<()> {
        match verb {
            Verb::InitRedis => {
                self.control(Control::Cancel, StateSet::ALL)?;
                let removed = self.control(Control::Remove, StateSet::ALL)?;
                say(&format!("{removed} tasks of the job {} removed", args.job));
            }
            Verb::LoadTask => self.load(args, retries)?,
            Verb::CheckTask => {
                let counts = status::counts(&mut self.client, Some(self.job))?;
                check::tasks(&mut self.client, self.job, &counts, &self.shown)?;
            }
            Verb::CheckWorker => {
                let workers = self.client.workers()?;
                print(&check::workers(&workers, &self.shown))?;
            }
            Verb::Cleanup => say(
                "nothing to clean up: tasks of a worker that is not heard of any more go back by \
                 themselves",
            ),
            Verb::RemoveFinished => {
                let states = StateSet::NONE.with(TaskState::Done);
                let removed = self.control(Control::Remove, states)?;
                say(&format!("{removed} finished tasks removed"));
            }
            Verb::InProgressToTodo => {
                let states = StateSet::NONE.with(TaskState::Leased);
                let moved = self.control(Control::Requeue, states)?;
                say(&format!("{moved} tasks in progress stopped and put back"));
            }
            Verb::FailedToTodo => {
                let states = StateSet::NONE.with(TaskState::Failed);
                let moved = self.control(Control::Retry, states)?;
                say(&format!("{moved} failed tasks put back"));
            }
            Verb::StopWorker => {
                let stopped = self.client.stop_worker("")?;
                say(&format!("{stopped} workers asked to stop"));
            }
            Verb::AllowWorker => say(
                "there is nothing to take back: only workers that were there were asked to stop",
            ),
        }
        Ok(())
    }

    fn load(&mut self, args: &ManagerArgs, retries: u16) -> anyhow::Result<()> {
        let mut source = Source::open(&args.taskfile, &args.load, retries)?;
        let submitted =
            self.client.submit(self.job, source.by_ref(), |_| ControlFlow::Continue(()))?;
        let loaded = source.finish()?;
        loaded.say_refused(&submitted.refused);
        say(&format!("load {} tasks, add {} task", submitted.settled(), submitted.added));
        let has_bad = loaded.bad_count() > 0 && !args.load.allow_bad_lines;
        self.is_good &= !has_bad && submitted.refused.is_empty();
        Ok(())
    }

    /// Does something with the tasks of the job in these states.
    fn control(&mut self, verb: Control, states: StateSet) -> anyhow::Result<u64> {
        let selection = OwnedSelection { states, job: Some(self.job), ..OwnedSelection::default() };
        Ok(self.client.control(verb, &selection)?)
    }
}

/// What is no result goes to standard error, as the original's log does.
fn say(line: &str) {
    eprintln_line(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_in_their_order_and_misspelt_ones_refused_with_all_names() {
        let verbs = Verb::read("initRedis&loadTask").expect("verbs");
        assert_eq!(verbs, [Verb::InitRedis, Verb::LoadTask]);
        let error = Verb::read("loadTask&checkLog").expect_err("no verb").to_string();
        assert!(error.contains("\"checkLog\"") && error.contains("stopWorker"), "{error}");
    }

    #[test]
    fn answers_are_those_of_the_original() {
        for text in ["y", "YES", "t", "True", "on", "1"] {
            assert_eq!(yes_or_no(text), Ok(true), "{text}");
        }
        for text in ["n", "no", "F", "false", "off", "0"] {
            assert_eq!(yes_or_no(text), Ok(false), "{text}");
        }
        assert!(yes_or_no("maybe").is_err());
    }

    #[test]
    fn workers_are_shown_by_their_names() {
        let shown = Shown { include: "node1".to_owned(), ..Shown::default() };
        assert!(shown.fits("node10") && !shown.fits("node2"));
        let shown = Shown { exclude: "node1".to_owned(), ..Shown::default() };
        assert!(!shown.fits("node10") && shown.fits("node2"));
    }
}

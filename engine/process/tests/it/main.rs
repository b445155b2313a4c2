//! Tasks as real processes, run as the thread of a worker runs them: poll, sleep where the runner
//! can end the sleep, poll again. Nothing here depends on how fast anything is.

mod cost;
mod dirs;
mod ending;
mod guardian;
mod output;
mod running;
mod surroundings;

use punctual_core::Nanos;
use punctual_core::task::{Exit, Lease, RunId, Usage};
use punctual_link::Parker;
use punctual_process::{ProcessConfig, ProcessRunner};
use punctual_runtime::tasks::TaskRunner;
use punctual_wire::task::{Attempt, EndKind, PayloadKind, TaskId, TaskPayload, Variables};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for what nothing tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What to run.
#[derive(Debug, Clone, Copy)]
struct Task<'a> {
    kind: PayloadKind,
    command: &'a [u8],
    cwd: &'a Path,
    variables: &'a [(&'a [u8], &'a [u8])],
}

fn shell(command: &str) -> Task<'_> {
    Task {
        kind: PayloadKind::Shell,
        command: command.as_bytes(),
        cwd: Path::new(""),
        variables: &[],
    }
}

impl<'a> Task<'a> {
    fn in_dir(self, cwd: &'a Path) -> Self {
        Self { cwd, ..self }
    }

    fn payload(&self) -> Box<[u8]> {
        let mut variables = Vec::new();
        Variables::encode(&mut variables, self.variables.iter().copied());
        let payload = TaskPayload {
            kind: self.kind,
            name: b"name",
            cwd: self.cwd.as_os_str().as_encoded_bytes(),
            command: self.command,
            variables: Variables::read(&variables).expect("whole variables"),
        };
        let mut bytes = Vec::new();
        payload.write_to(&mut bytes);
        bytes.into_boxed_slice()
    }
}

/// A runner with the thread of its worker.
struct Bench {
    runner: ProcessRunner,
    parker: Parker,
    begin: Instant,
    launched: u64,
    exits: HashMap<RunId, Exit>,
    /// The last look at the machine, and how many there were.
    usage: Option<Usage>,
    looks: usize,
}

impl Bench {
    fn new() -> Self {
        Self::with(ProcessConfig::new("bench"))
    }

    fn with(config: ProcessConfig) -> Self {
        let runner = ProcessRunner::new(config).expect("a runner");
        Self::of(runner)
    }

    fn of(mut runner: ProcessRunner) -> Self {
        let parker = Parker::new().expect("a place to sleep");
        runner.start(Some(parker.handle()));
        let begin = Instant::now();
        let exits = HashMap::new();
        Self { runner, parker, begin, launched: 0, exits, usage: None, looks: 0 }
    }

    fn now(&self) -> Nanos {
        Nanos::from(self.begin.elapsed())
    }

    /// The next task, numbered from 1.
    fn launch(&mut self, task: Task<'_>) -> Result<RunId, Exit> {
        self.launch_payload(task.payload())
    }

    fn launch_payload(&mut self, payload: Box<[u8]>) -> Result<RunId, Exit> {
        self.launched += 1;
        let run = RunId(self.launched);
        let lease = Lease {
            run,
            task: TaskId::new(0, self.launched),
            attempt: Attempt(3),
            priority: -4,
            memory: 5_000_000,
            cores_milli: 1_500,
            timeout_ms: 0,
            job: b"the job".as_slice().into(),
            payload,
            arrived: self.now(),
        };
        let now = self.now();
        self.runner.launch(now, &lease).map(|()| run)
    }

    fn turn(&mut self) -> usize {
        let now = self.now();
        if let Some(usage) = self.runner.usage(now) {
            self.usage = Some(usage);
            self.looks += 1;
        }
        poll(&mut self.runner, now, &mut self.exits)
    }

    /// Runs until there is what is looked for.
    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn();
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}");
            self.sleep(LOOK_AGAIN);
        }
    }

    /// Sleeps until there is something to do, and not longer than this.
    fn sleep(&mut self, longest: Duration) {
        let now = self.now();
        let due = self.runner.next_deadline().map_or(longest, |due| due.since(now));
        let (runner, exits) = (&mut self.runner, &mut self.exits);
        let look_again = || poll(runner, now, exits);
        self.parker.park(Some(due.min(longest)), look_again).expect("a place to sleep");
    }

    /// How a run ends. It must wake the thread: nothing else is waited for.
    fn end(&mut self, run: RunId) -> Exit {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn();
            if let Some(exit) = self.exits.remove(&run) {
                return exit;
            }
            assert!(Instant::now() < deadline, "{run:?} does not end");
            self.sleep(PATIENCE);
        }
    }

    /// How a task ends that can be started.
    fn run(&mut self, task: Task<'_>) -> Exit {
        let run = self.launch(task).expect("a task that can be started");
        self.end(run)
    }

    /// What a task writes that succeeds and does not complain.
    fn output(&mut self, task: Task<'_>) -> String {
        let exit = self.run(task);
        assert_eq!(summary(&exit), (EndKind::Exited, 0), "{}", text(&exit.stderr));
        assert_eq!(text(&exit.stderr), "");
        text(&exit.stdout)
    }

    /// The number that a task writes into a file, once it is there with its line end.
    fn number_in(&mut self, file: &Path) -> i32 {
        self.until("a file with a number", |_| {
            let text = std::fs::read_to_string(file).ok()?;
            text.strip_suffix('\n')?.parse().ok()
        })
    }

    /// Waits until no process of the session is alive.
    fn expect_empty(&mut self, session: i32) {
        self.until("an empty session", |_| processes(session).is_empty().then_some(()));
    }
}

fn poll(runner: &mut ProcessRunner, now: Nanos, exits: &mut HashMap<RunId, Exit>) -> usize {
    runner.poll(now, &mut |run, exit| {
        assert!(exits.insert(run, exit).is_none(), "{run:?} ended twice");
    })
}

fn summary(exit: &Exit) -> (EndKind, i32) {
    (exit.kind, exit.code)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fields of a `/proc/PID/stat` after the name: state, parent, group, session and so on.
fn stat_fields(stat: &str) -> Vec<&str> {
    let (_, fields) = stat.rsplit_once(')').expect("the end of a name");
    fields.split_ascii_whitespace().collect()
}

/// The processes of a session that are alive.
fn processes(session: i32) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("a /proc").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let fields = stat_fields(&stat);
        fields[3] == session.to_string() && !matches!(fields[0], "Z" | "X")
    };
    pids.filter(is_ours).collect()
}

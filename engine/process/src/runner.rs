//! The runner: what it has, and how its worker drives it.

mod launch;
mod watch;

use crate::command::Tools;
use crate::config::ProcessConfig;
use crate::environment::Inherited;
use crate::error::{LaunchError, ProcessError};
use crate::guardian::Guardian;
use crate::output::above_standard;
use crate::procs;
use crate::run::Run;
use crate::sys::{self, Spawner};
use crate::usage::Sampler;
use mio::unix::SourceFd;
use punctual_core::Nanos;
use punctual_core::task::{Exit, Lease, RunId, Usage};
use punctual_link::ParkHandle;
use punctual_runtime::tasks::TaskRunner;
use punctual_wire::task::{OUTPUT_BYTES_MAX, Variables};
use rustix::event::epoll;
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes that are read from an output by one call of the system.
const READ_BYTES: usize = 64 << 10;
/// Files that a worker or a server may want to have open.
const FILES_WANTED: u64 = 1 << 16;
/// Guardians that are started in the life of a runner.
const GUARDIANS_MAX: u32 = 8;
/// A shortage is warned of this often, however often there is one.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// How long a runner that is dropped waits for what it has killed.
const DROP_PATIENCE: Duration = Duration::from_secs(2);
/// Sessions of ended runs that wait to be looked through.
const LEFT_MAX: usize = 1 << 16;
/// Runners of this process.
static RUNNERS: AtomicUsize = AtomicUsize::new(0);

/// Runs tasks as processes.
///
/// Make it on the thread that starts the worker, before that is pinned to a core: its tasks may use
/// the cores that this thread may use. Everything else happens on the worker's own thread, which
/// must live as long as the tasks: the kernel kills them when it ends.
///
/// Each running task costs three file descriptors. The process's limit of these is raised as far as
/// it may be; tasks get it as it was.
pub struct ProcessRunner {
    config: ProcessConfig,
    tools: Tools,
    inherited: Inherited,
    spawner: Spawner,
    /// What tasks read from.
    null: OwnedFd,
    /// Tells which runs have something to say, so that a turn costs as much as is said and not as
    /// much as is run. It is an epoll inside that of the worker's thread.
    events: OwnedFd,
    runs: HashMap<u64, Run>,
    /// Runs that ended as soon as they began.
    done: VecDeque<RunId>,
    /// Runs whose process has ended and whose outputs are still open.
    ending: Vec<u64>,
    /// Sessions that were killed, and in which there may be more than one group.
    sweeps: HashSet<i32>,
    /// Sessions of runs that have ended. What has left its group and holds no output open may be
    /// there still; it is looked for all together now and then, as a look takes time.
    left: HashSet<i32>,
    guardian: Option<Guardian>,
    guardians_left: u32,
    sampler: Sampler,
    /// The cores that tasks may use, where those of the worker's thread are others.
    cores: Option<CpuSet>,
    are_cores_others: bool,
    files: Option<Rlimit>,
    buffer: Box<[u8]>,
    /// When a shortage was last warned of.
    warned_at: Option<Nanos>,
}

impl ProcessRunner {
    /// A runner, with its directory and its guardian if it is to have them.
    ///
    /// # Errors
    /// When the directory cannot be used, or the system refuses what it takes.
    pub fn new(mut config: ProcessConfig) -> Result<Self, ProcessError> {
        if let Some(dir) = config.task_dirs.take() {
            let usable = usable(&dir);
            config.task_dirs =
                Some(usable.map_err(|source| ProcessError::TaskDirs { dir, source })?);
        }
        config.output_tail_bytes = config.output_tail_bytes.min(OUTPUT_BYTES_MAX);
        let files = limit_of_tasks();
        let null = File::open("/dev/null").and_then(|null| above_standard(null.into()));
        let null = null.map_err(|source| ProcessError::Resource { what: "/dev/null", source })?;
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| ProcessError::Resource { what: "an epoll", source: errno.into() })?;
        let cores = sched_getaffinity(None).ok();
        let mut runner = Self {
            tools: Tools::new(&config),
            inherited: Inherited::read(),
            spawner: Spawner::new(),
            null,
            events,
            runs: HashMap::new(),
            done: VecDeque::new(),
            ending: Vec::new(),
            sweeps: HashSet::new(),
            left: HashSet::new(),
            guardian: None,
            guardians_left: GUARDIANS_MAX,
            sampler: Sampler::new(config.sample_interval, cores),
            cores,
            are_cores_others: false,
            files,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            warned_at: None,
            config,
        };
        // From here on: whatever becomes of it, it is dropped.
        RUNNERS.fetch_add(1, Ordering::Relaxed);
        runner.guardian = runner.start_guardian().map_err(ProcessError::Guardian)?;
        Ok(runner)
    }

    /// A new guardian, if there is to be one.
    fn start_guardian(&mut self) -> io::Result<Option<Guardian>> {
        let Some(arguments) = &self.config.guardian else { return Ok(None) };
        self.guardians_left = self.guardians_left.saturating_sub(1);
        let environment =
            self.inherited.for_task(Variables::default(), &[]).map_err(io::Error::other)?;
        let strings = environment.strings();
        Guardian::start(&mut self.spawner, self.null.as_fd(), strings, arguments).map(Some)
    }

    /// Tells the guardian what there is to tell. One that is gone is replaced, and told everything.
    fn flush_guardian(&mut self) {
        let Some(guardian) = &mut self.guardian else { return };
        let Err(error) = guardian.flush() else { return };
        tracing::warn!(%error, "the guardian of the tasks is gone, or does not listen any more");
        // First the old one: it would kill what the new one is to guard.
        self.guardian = None;
        if self.guardians_left == 0 {
            tracing::warn!("no other guardian is started; a killed worker may leave processes");
            return;
        }
        match self.start_guardian() {
            Ok(guardian) => self.guardian = guardian,
            Err(error) => tracing::warn!(%error, "no other guardian can be started"),
        }
        if let Some(guardian) = &mut self.guardian {
            self.runs.values().for_each(|run| guardian.add(run.session()));
            // If that fails it is tried again the next time.
            let _ = guardian.flush();
        }
    }

    /// Looks through all processes, though not too often: for what runs that have ended have left
    /// behind, and how much memory those have that have run for a while.
    fn look_through(&mut self, now: Nanos) {
        let interval = self.sampler.interval();
        let is_long = |run: &Run| now.since(run.started()) >= interval;
        let has_long = self.runs.values().any(is_long);
        if !self.sampler.may_scan(now) || (!has_long && self.left.is_empty()) {
            return;
        }
        let begin = Instant::now();
        self.end_left();
        if has_long {
            self.measure();
        }
        self.sampler.scanned(now, begin.elapsed());
    }

    /// Kills what runs that have ended have left in their sessions.
    fn end_left(&mut self) {
        let sessions = std::mem::take(&mut self.left);
        if sessions.is_empty() {
            return;
        }
        match procs::left_behind(&sessions) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => watch::kill(&left),
            Err(error) => tracing::debug!(%error, "what tasks have left cannot be looked for"),
        }
    }

    /// Says that tasks are given back, and what this machine has no more of.
    fn warn_of_shortage(&mut self, now: Nanos, error: &LaunchError) {
        let is_known = |at: Nanos| now.since(at) < WARN_INTERVAL;
        if self.warned_at.is_some_and(is_known) {
            return;
        }
        self.warned_at = Some(now);
        tracing::warn!(%error, "tasks cannot be started here for now, and are given back");
    }

    /// Reaps what tasks have left behind: the first process of a container is the parent of all
    /// orphans in it. Other children of this process are in its own session, or another runner's.
    fn reap_orphans(&self) {
        if !getpid().is_init() || RUNNERS.load(Ordering::Relaxed) != 1 {
            return;
        }
        let own = procs::session_of(getpid().as_raw_pid());
        let is_orphan = |pid: i32| {
            let is_guardian = self.guardian.as_ref().is_some_and(|guardian| guardian.pid() == pid);
            let is_task = self.runs.values().any(|run| run.session() == pid);
            !is_guardian && !is_task && procs::session_of(pid) != own
        };
        sys::reap_orphans(is_orphan);
    }

    /// Looks how much memory each run has.
    fn measure(&mut self) {
        let mut memory: HashMap<i32, u64> = HashMap::new();
        let add = |process: procs::Process| {
            let sum = memory.entry(process.session).or_default();
            *sum = sum.saturating_add(process.resident);
        };
        if let Err(error) = procs::visit(add) {
            tracing::debug!(%error, "the memory of the tasks cannot be measured");
        }
        for run in self.runs.values_mut() {
            run.note_memory(memory.get(&run.session()).copied().unwrap_or(0));
        }
    }
}

impl TaskRunner for ProcessRunner {
    fn start(&mut self, park: Option<&ParkHandle>) {
        if let Some(park) = park
            && let Err(error) = park.register_readable(&mut SourceFd(&self.events.as_raw_fd()))
        {
            tracing::warn!(%error, "the ends of tasks cannot wake the worker; it looks for them");
        }
        self.are_cores_others = self.cores != sched_getaffinity(None).ok();
        // There may be more since this was made.
        self.spawner.look_again();
    }

    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.config.worker);
    }

    fn launch(&mut self, now: Nanos, lease: &Lease) -> Result<(), Exit> {
        self.try_launch(now, lease).map_err(|error| {
            tracing::debug!(task = %lease.task, %error, "a task was not started");
            if error.is_shortage() {
                self.warn_of_shortage(now, &error);
            }
            error.into_exit()
        })
    }

    fn stop(&mut self, run: RunId) {
        if let Some(run) = self.runs.get(&run.0) {
            run.signal(Signal::TERM);
            // A process that is stopped would not hear of it.
            run.signal(Signal::CONT);
        }
    }

    fn kill(&mut self, run: RunId) {
        if let Some(run) = self.runs.get(&run.0) {
            run.kill();
            // What has left the group is still in the session. That is looked for once a turn,
            // however many runs are killed in it.
            self.sweeps.insert(run.session());
        }
    }

    fn poll(&mut self, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        self.flush_guardian();
        let mut work = 0;
        while let Some(run) = self.done.pop_front() {
            exits(run, Exit::success());
            work += 1;
        }
        if !self.runs.is_empty() {
            self.sweep();
            work += self.take_events(now, exits);
            work += self.finish_overdue(now, exits);
        }
        work
    }

    fn usage(&mut self, now: Nanos) -> Option<Usage> {
        let is_idle = self.runs.is_empty() && self.left.is_empty();
        let usage = self.sampler.sample(now, is_idle)?;
        self.look_through(now);
        self.reap_orphans();
        Some(usage)
    }

    fn next_deadline(&self) -> Option<Nanos> {
        if !self.done.is_empty() || !self.sweeps.is_empty() {
            return Some(Nanos::ZERO);
        }
        let ending = self.ending.iter().filter_map(|run| self.runs.get(run)?.until());
        ending.chain([self.sampler.due()]).min()
    }

    fn running(&self) -> usize {
        self.runs.len() + self.done.len()
    }
}

impl Drop for ProcessRunner {
    fn drop(&mut self) {
        RUNNERS.fetch_sub(1, Ordering::Relaxed);
        self.end_left();
        if self.runs.is_empty() {
            return;
        }
        self.runs.values().for_each(Run::kill);
        watch::kill(&self.runs.values().map(Run::session).collect());
        let deadline = Instant::now() + DROP_PATIENCE;
        self.runs.drain().for_each(|(_, run)| run.abandon(deadline));
    }
}

impl fmt::Debug for ProcessRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ProcessRunner");
        shown.field("config", &self.config).field("running", &self.running());
        shown.finish_non_exhaustive()
    }
}

/// The directory by its full name: tasks may run anywhere. It is made if need be.
fn usable(dir: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    dir.canonicalize()
}

/// Lets this process open as many files as it may, up to 65,536: a worker needs three for each
/// task, a server one for each connection. Tasks get the limit as it was.
pub fn raise_file_limit() {
    let _ = limit_of_tasks();
}

/// Raises the limit once; the one that tasks are to get instead, if theirs is to be another. A
/// program that uses `select` breaks under a higher one.
fn limit_of_tasks() -> Option<Rlimit> {
    static BEFORE: OnceLock<Rlimit> = OnceLock::new();
    let before = *BEFORE.get_or_init(|| {
        let before = getrlimit(Resource::Nofile);
        let wanted = before.maximum.map_or(FILES_WANTED, |maximum| maximum.min(FILES_WANTED));
        if before.current.is_some_and(|current| current < wanted) {
            // As many as there are have to do.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..before });
        }
        before
    });
    (getrlimit(Resource::Nofile) != before).then_some(before)
}

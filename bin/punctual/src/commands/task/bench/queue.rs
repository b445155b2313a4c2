//! Measuring a task queue with tasks that do nothing: one of this process, or one at a server.

use super::check::{self, Checked};
use super::jobs::JobRunner;
use super::place::Place;
use super::report::{Figures, Report, Setting, report, summary};
use super::{BenchArgs, Transport, finish};
use crate::commands::UsageError;
use crate::commands::output::Output;
use crate::commands::task::follow;
use crate::commands::task::rows::{grouped, size_of_process};
use crate::commands::task::serve::Durability;
use crate::commands::task::work::hostname;
use crate::{eprintln_line, interrupt};
use anyhow::{Context, bail};
use punctual_dashboard::Source;
use punctual_link::Endpoint;
use punctual_runtime::config::Address;
use punctual_runtime::tasks::{
    JobId, NoopRunner, OwnedSelection, OwnedSpec, PAYLOAD_BYTES_MAX, PayloadKind, QueueAddress,
    TaskClient, TaskDurability, TaskKey, TaskPayload, TaskServer, TaskServerConfig,
    TaskWorkerConfig, TaskWorkerHost, Token, Variables, Verb,
};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Tasks and slots, if nobody says how many.
const TASKS: u64 = 100_000;
const SLOTS: u32 = 64;
/// How long workers may take to come, and a busy queue to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a server may take to answer when it is first asked.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// How often to look for an interruption.
const LOOK: Duration = Duration::from_millis(100);
/// The queue takes whatever it is given.
const MEMORY_MAX: u64 = 1 << 40;
/// Bytes of a payload that are not the command.
const HEAD_BYTES: usize = 64;
/// 2^64 divided by the golden ratio: its multiples lie evenly, however many they are.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// The jobs of a bench, and of the tasks that are there before: in a queue of its own, and at a
/// server, where others have jobs as well.
const OWN_JOBS: [&str; 2] = ["bench", "bench-queued"];
const REMOTE_JOBS: [&str; 2] = ["punctual-bench", "punctual-bench-queued"];

/// A server that is measured.
pub(super) struct Remote {
    pub(super) endpoint: Endpoint,
    pub(super) token: String,
}

/// How many tasks are measured.
pub(super) fn tasks(args: &BenchArgs) -> u64 {
    args.tasks.unwrap_or(TASKS)
}

/// How many each worker runs at once.
pub(super) fn slots(args: &BenchArgs) -> u32 {
    args.slots.unwrap_or(SLOTS)
}

/// Measures a queue of this process, or that of a server.
pub(super) fn bench(args: &BenchArgs, remote: Option<&Remote>) -> anyhow::Result<ExitCode> {
    let output = Output::open(args.json.as_deref())?;
    let payload = payload(args.payload)?;
    let place = match args.durability {
        Durability::Memory => None,
        Durability::Journal => Some(Place::find(args.journal_dir.as_deref())?),
    };
    let interrupted = interrupt::install()?;
    let measured = run(args, remote, &payload, place.as_ref(), &interrupted);
    let is_good = measured
        .as_ref()
        .is_ok_and(|report| report.as_ref().is_none_or(|report| report.self_check == check::OK));
    if let Some(place) = place {
        place.leave(is_good);
    }
    finish(output, measured?.map(|report| (summary(&report), report)), is_good)
}

/// A payload that does nothing, with so many bytes of command.
fn payload(bytes: usize) -> anyhow::Result<Vec<u8>> {
    if bytes > PAYLOAD_BYTES_MAX - HEAD_BYTES {
        let text = format!(
            "--payload {bytes} is more than a task can have, which is {}",
            PAYLOAD_BYTES_MAX - HEAD_BYTES
        );
        return Err(UsageError(text).into());
    }
    let mut payload = Vec::new();
    let (kind, variables) = (PayloadKind::Noop, Variables::default());
    TaskPayload { kind, name: b"", cwd: b"", command: &vec![b'x'; bytes], variables }
        .write_to(&mut payload);
    Ok(payload)
}

/// Measures and checks. `None`: it was interrupted.
fn run(
    args: &BenchArgs,
    remote: Option<&Remote>,
    payload: &[u8],
    place: Option<&Place>,
    interrupted: &flume::Receiver<()>,
) -> anyhow::Result<Option<Report>> {
    let mut farm = match remote {
        None => Farm::start(args, place)?,
        Some(remote) => Farm::at(remote)?,
    };
    let dashboard = match &farm.server {
        Some(server) => args.http.start("task bench", &[], Source::of(server))?,
        None => None,
    };
    let mut client = TaskClient::at(&farm.address, PATIENCE)?;
    let jobs = farm.open_jobs(&mut client)?;
    let measured = farm.measure(args, payload, &mut client, jobs, interrupted);
    // Whatever came of it: nothing of a bench stays at a server.
    let left = farm.leave(&mut client, jobs);
    let measured = measured?;
    left?;
    let Some((figures, checked)) = measured else { return Ok(None) };
    if let Some(dashboard) = dashboard {
        dashboard.stop();
    }
    let setting = farm.setting(args, client.queues());
    if let Some(server) = farm.server.take() {
        server.stop()?;
    }
    Ok(Some(report(args, setting, &figures, checked)))
}

/// Server and workers under way.
struct Farm {
    /// `None`: it is another process.
    server: Option<TaskServer>,
    address: QueueAddress,
    hosts: Vec<TaskWorkerHost>,
    /// Tasks that are none of the bench's and came to its workers.
    strangers: Arc<AtomicU64>,
}

impl Farm {
    /// A server of this process.
    fn start(args: &BenchArgs, place: Option<&Place>) -> anyhow::Result<Self> {
        let durability =
            place.map_or(TaskDurability::Memory, |place| TaskDurability::journal(place.path()));
        let listen = match args.transport {
            Transport::Ring => None,
            Transport::Tcp => Some("127.0.0.1:0".parse::<Address>()?),
        };
        let config = TaskServerConfig {
            listen,
            durability,
            queues: args.queues,
            memory_max: MEMORY_MAX,
            ..TaskServerConfig::default()
        };
        let server = TaskServer::start(config)?;
        let address = match server.endpoint() {
            Some(endpoint) => {
                QueueAddress::Remote { endpoint: endpoint.clone(), token: Token::default() }
            }
            None => QueueAddress::Local(server.local()),
        };
        let strangers = Arc::default();
        Ok(Self { server: Some(server), address, hosts: Vec::new(), strangers })
    }

    /// A server that is there already, unless somebody uses it.
    fn at(remote: &Remote) -> anyhow::Result<Self> {
        let Remote { endpoint, token } = remote;
        refuse_used(&mut TaskClient::connect(endpoint, token, FIRST_PATIENCE)?, endpoint)?;
        let token = Token::from(token.as_str());
        let address = QueueAddress::Remote { endpoint: endpoint.clone(), token };
        Ok(Self { server: None, address, hosts: Vec::new(), strangers: Arc::default() })
    }

    /// The job of the tasks that are measured, and that of the others.
    fn open_jobs(&self, client: &mut TaskClient) -> anyhow::Result<[JobId; 2]> {
        let names = if self.server.is_some() { OWN_JOBS } else { REMOTE_JOBS };
        let jobs = [client.open_job(names[0])?, client.open_job(names[1])?];
        if self.server.is_none() {
            // A bench that was killed may have left tasks that are done.
            remove(client, jobs)?;
        }
        Ok(jobs)
    }

    fn measure(
        &mut self,
        args: &BenchArgs,
        payload: &[u8],
        client: &mut TaskClient,
        [job, others]: [JobId; 2],
        interrupted: &flume::Receiver<()>,
    ) -> anyhow::Result<Option<(Figures, Checked)>> {
        let tasks = tasks(args);
        let is_loaded_before = args.queued > 0;
        let memory_before = size_of_process("VmRSS");
        if is_loaded_before {
            eprintln_line(&format!("queueing {} tasks", grouped(args.queued)));
            submit(client, others, args.queued, -1, payload)?;
        } else {
            self.start_workers(args)?;
            self.wait_for_workers()?;
        }
        eprintln_line("measuring");
        let mut began = Instant::now();
        submit(client, job, tasks, 0, payload)?;
        let submitting = began.elapsed();
        let mut memory_queued_bytes = None;
        if is_loaded_before {
            let more = size_of_process("VmRSS").saturating_sub(memory_before);
            memory_queued_bytes = self.server.is_some().then_some(more);
            began = Instant::now();
            self.start_workers(args)?;
        }
        if !self.wait(client, job, began, interrupted)? {
            return Ok(None);
        }
        let wall = began.elapsed();
        eprintln_line("checking");
        let succeeded = self.stop_workers()?;
        let checked = check::check(client, [job, others], tasks, succeeded, args.workers)?;
        Ok(Some((Figures { wall, submitting, memory_queued_bytes }, checked)))
    }

    fn start_workers(&mut self, args: &BenchArgs) -> anyhow::Result<()> {
        for number in 1..=args.workers {
            let name = format!("bench-{number}");
            let config = TaskWorkerConfig {
                host: hostname(),
                pid: std::process::id(),
                prefetch: args.prefetch,
                ..TaskWorkerConfig::new(name, slots(args), 1 << 40, 1 << 30)
            };
            let address = self.address.clone();
            let host = if self.server.is_some() {
                TaskWorkerHost::start(config, address, NoopRunner::new())?
            } else {
                let runner = JobRunner::new(&REMOTE_JOBS, Arc::clone(&self.strangers));
                TaskWorkerHost::start(config, address, runner)?
            };
            self.hosts.push(host);
        }
        Ok(())
    }

    /// Waits until all workers are there.
    fn wait_for_workers(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.hosts.iter().all(|host| host.view().is_linked) {
            if began.elapsed() > PATIENCE {
                bail!("some of {} workers did not come within {PATIENCE:?}", self.hosts.len());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until all tasks of a job are at an end. False if it was interrupted.
    fn wait(
        &self,
        client: &mut TaskClient,
        job: JobId,
        began: Instant,
        interrupted: &flume::Receiver<()>,
    ) -> anyhow::Result<bool> {
        let mut seen = 0;
        while interrupted.is_empty() {
            if self.strangers.load(Ordering::Relaxed) > 0 {
                bail!(
                    "somebody else gave the server tasks, which came to the workers of the bench \
                     and go back without having run; measure a server that nobody else uses"
                );
            }
            let Some((version, counts)) = client.progress(Some(job), seen, LOOK)? else { continue };
            seen = version;
            let (total, left) = (counts.total(), counts.unfinished());
            if left == 0 {
                return Ok(true);
            }
            // Looking costs the queue time.
            thread::sleep(follow::pause(began.elapsed(), total - left, left));
        }
        Ok(false)
    }

    /// Ends the workers in order; how many runs of theirs succeeded.
    fn stop_workers(&mut self) -> anyhow::Result<u64> {
        for host in &self.hosts {
            if self.server.is_some() {
                host.drain();
            } else {
                // A task of somebody else would never end there.
                host.abandon();
            }
        }
        let mut succeeded = 0;
        for mut host in self.hosts.drain(..) {
            match host.wait_timeout(PATIENCE) {
                Some(outcome) => outcome?,
                None => bail!("a worker did not end within {PATIENCE:?}"),
            }
            succeeded += host.view().stats.succeeded;
        }
        Ok(succeeded)
    }

    /// Leaves nothing at a server that is not of this process.
    fn leave(&mut self, client: &mut TaskClient, jobs: [JobId; 2]) -> anyhow::Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let stopped = self.stop_workers();
        let [job, others] = REMOTE_JOBS;
        remove(client, jobs).with_context(|| {
            format!("the tasks of the jobs {job} and {others} stay at the server; remove them")
        })?;
        stopped.map(|_| ())
    }

    /// What the report says of all this.
    fn setting(&self, args: &BenchArgs, queues: u16) -> Setting {
        let (transport, broker) = match &self.address {
            QueueAddress::Remote { endpoint, .. } => {
                let is_tcp = matches!(endpoint, Endpoint::Tcp(_));
                let broker = self.server.is_none().then(|| endpoint.to_string());
                (if is_tcp { "tcp" } else { "unix" }, broker)
            }
            _ => ("ring", None),
        };
        let durability = self.server.as_ref().map(|_| match args.durability {
            Durability::Memory => "memory",
            Durability::Journal => "journal",
        });
        Setting { transport, queues, durability, broker }
    }
}

/// Refuses a server that somebody uses: tasks that came to the workers of a bench would not run,
/// and other workers would run those of the bench.
fn refuse_used(client: &mut TaskClient, endpoint: &Endpoint) -> anyhow::Result<()> {
    let workers = client.workers()?.iter().filter(|worker| worker.is_linked).count();
    let unfinished: u64 = client.jobs()?.iter().map(|job| job.counts.unfinished()).sum();
    let why = if workers > 0 {
        format!("has workers ({workers}), which would run the tasks of a bench")
    } else if unfinished > 0 {
        format!("has unfinished tasks ({unfinished}), which the workers of a bench would not run")
    } else {
        return Ok(());
    };
    let text = format!("the server at {endpoint} {why}; measure one that nobody uses");
    Err(UsageError(text).into())
}

/// Removes all tasks of these jobs, whatever their state.
fn remove(client: &mut TaskClient, jobs: [JobId; 2]) -> anyhow::Result<()> {
    for job in jobs {
        let all = OwnedSelection { job: Some(job), ..OwnedSelection::default() };
        client.control(Verb::Cancel, &all)?;
        client.control(Verb::Remove, &all)?;
    }
    Ok(())
}

/// The key of the task with this number, another one for each. Which queue has a task follows from
/// its key, so these are spread over all that keys can be.
fn key(number: u64) -> TaskKey {
    let spread = number.wrapping_mul(GOLDEN);
    TaskKey((u128::from(spread) << 64) | u128::from(number))
}

/// Submits so many tasks that do nothing.
fn submit(
    client: &mut TaskClient,
    job: JobId,
    count: u64,
    priority: i32,
    payload: &[u8],
) -> anyhow::Result<()> {
    let spec = |number: u64| OwnedSpec {
        priority,
        cores_milli: 0,
        ..OwnedSpec::new(key(number), payload.to_vec())
    };
    let report = client.submit(job, (1..=count).map(spec), |_| ControlFlow::Continue(()))?;
    if report.added != count {
        bail!("only {} of {count} tasks were taken in", report.added);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_shared_evenly_by_any_number_of_queues() {
        for queues in [2, 3, 7, 64] {
            let mut counts = vec![0_u64; usize::from(queues)];
            for number in 1..=6_400 {
                counts[usize::from(key(number).queue(queues))] += 1;
            }
            let share = 6_400 / u64::from(queues);
            assert!(counts.iter().all(|count| count.abs_diff(share) < 10), "{counts:?}");
        }
    }
}

//! `punctual task bench`: the queue alone, with tasks that do nothing.

mod check;
mod place;
mod report;

use super::follow;
use super::rows::{grouped, size_of_process};
use super::serve::Durability;
use super::signals::INTERRUPTED;
use super::work::{hostname, prefetch};
use crate::commands::http::HttpArgs;
use crate::commands::output::Output;
use crate::{eprintln_line, interrupt};
use anyhow::bail;
use clap::{Args, ValueEnum};
use place::Place;
use punctual_dashboard::Source;
use punctual_runtime::config::Address;
use punctual_runtime::tasks::{
    JobId, NoopRunner, OwnedSpec, PAYLOAD_BYTES_MAX, PayloadKind, Prefetch, QueueAddress,
    TaskClient, TaskDurability, TaskKey, TaskPayload, TaskServer, TaskServerConfig,
    TaskWorkerConfig, TaskWorkerHost, Variables,
};
use report::{Figures, Report, report, summary};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How long workers may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look for an interruption.
const LOOK: Duration = Duration::from_millis(100);
/// The queue takes whatever it is given.
const MEMORY_MAX: u64 = 1 << 40;
/// Bytes of a payload that are not the command.
const HEAD_BYTES: usize = 64;

/// Measure the queue with tasks that do nothing: submit, lease, complete
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task bench
  punctual task bench --durability journal --json run.json
  punctual task bench --transport tcp --workers 64
  punctual task bench --queued 1000000          dispatch with a million others in the queue

Server, workers and client are in this process. The run checks itself: every task is done, none is
done twice, and the workers have run as many as there are. With --queued, that many tasks of a lower
priority and the measured ones are in the queue before the workers come, and what is measured is
dispatch and completion alone.")]
pub(crate) struct BenchArgs {
    /// Tasks that are measured
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    tasks: u64,

    /// Workers, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,

    /// Tasks at once at each worker
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,

    /// Tasks that wait at a worker beyond those: auto, off, or a number
    #[arg(long, value_name = "N", default_value = "auto", value_parser = prefetch)]
    prefetch: Prefetch,

    /// What of the tasks outlives the server
    #[arg(long, value_enum, value_name = "MODE", default_value = "memory")]
    durability: Durability,

    /// Directory of the journal, which must be empty or new (default: one in .punctual that is
    /// removed after a good run)
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,

    /// How workers and client are connected
    #[arg(long, value_enum, value_name = "NAME", default_value = "ring")]
    transport: Transport,

    /// Bytes of each task
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    payload: usize,

    /// Tasks of a lower priority that are in the queue before
    #[arg(long, value_name = "N", default_value_t = 0)]
    queued: u64,

    /// Also write the report as JSON to FILE; with -, print JSON, and the summary to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    http: HttpArgs,
}

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// Through memory
    Ring,
    /// Over loopback TCP
    Tcp,
}

/// Runs the command.
pub(super) fn bench(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    args.http.check()?;
    let output = Output::open(args.json.as_deref())?;
    let payload = payload(args.payload)?;
    let place = match args.durability {
        Durability::Memory => None,
        Durability::Journal => Some(Place::find(args.journal_dir.as_deref())?),
    };
    let interrupted = interrupt::install()?;
    let measured = measure(args, &payload, place.as_ref(), &interrupted);
    let is_good = measured
        .as_ref()
        .is_ok_and(|report| report.as_ref().is_none_or(|report| report.self_check == check::OK));
    if let Some(place) = place {
        place.leave(is_good);
    }
    let Some(report) = measured? else {
        eprintln_line("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    output.write(&summary(&report), &report)?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A payload that does nothing, with so many bytes of command.
fn payload(bytes: usize) -> anyhow::Result<Vec<u8>> {
    if bytes > PAYLOAD_BYTES_MAX - HEAD_BYTES {
        let text = format!(
            "--payload {bytes} is more than a task can have, which is {}",
            PAYLOAD_BYTES_MAX - HEAD_BYTES
        );
        return Err(crate::commands::UsageError(text).into());
    }
    let mut payload = Vec::new();
    let (kind, variables) = (PayloadKind::Noop, Variables::default());
    TaskPayload { kind, name: b"", cwd: b"", command: &vec![b'x'; bytes], variables }
        .write_to(&mut payload);
    Ok(payload)
}

/// Server and workers under way.
struct Farm {
    server: TaskServer,
    address: QueueAddress,
    hosts: Vec<TaskWorkerHost>,
}

impl Farm {
    fn start(args: &BenchArgs, place: Option<&Place>) -> anyhow::Result<Self> {
        let durability =
            place.map_or(TaskDurability::Memory, |place| TaskDurability::journal(place.path()));
        let listen = match args.transport {
            Transport::Ring => None,
            Transport::Tcp => Some("127.0.0.1:0".parse::<Address>()?),
        };
        let memory_max = MEMORY_MAX;
        let config =
            TaskServerConfig { listen, durability, memory_max, ..TaskServerConfig::default() };
        let server = TaskServer::start(config)?;
        let address = match server.endpoint() {
            Some(endpoint) => {
                QueueAddress::Remote { endpoint: endpoint.clone(), token: String::new() }
            }
            None => QueueAddress::Local(server.local()),
        };
        Ok(Self { server, address, hosts: Vec::new() })
    }

    fn start_workers(&mut self, args: &BenchArgs) -> anyhow::Result<()> {
        for number in 1..=args.workers {
            let config = TaskWorkerConfig {
                host: hostname(),
                pid: std::process::id(),
                prefetch: args.prefetch,
                ..TaskWorkerConfig::new(format!("bench-{number}"), args.slots, 1 << 40, 1 << 30)
            };
            let host = TaskWorkerHost::start(config, self.address.clone(), NoopRunner::new())?;
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

    /// Ends the workers in order; how many runs of theirs succeeded.
    fn stop_workers(&mut self) -> anyhow::Result<u64> {
        self.hosts.iter().for_each(TaskWorkerHost::drain);
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
}

/// Measures and checks. `None`: it was interrupted.
fn measure(
    args: &BenchArgs,
    payload: &[u8],
    place: Option<&Place>,
    interrupted: &flume::Receiver<()>,
) -> anyhow::Result<Option<Report>> {
    let mut farm = Farm::start(args, place)?;
    let dashboard = args.http.start("task bench", &[], Source::of(&farm.server))?;
    let mut client = TaskClient::at(&farm.address, PATIENCE)?;
    let job = client.open_job("bench")?;
    let others = client.open_job("bench-queued")?;
    let is_loaded_before = args.queued > 0;
    let memory_before = size_of_process("VmRSS");
    if is_loaded_before {
        eprintln_line(&format!("queueing {} tasks", grouped(args.queued)));
        submit(&mut client, others, args.queued, -1, payload)?;
    } else {
        farm.start_workers(args)?;
        farm.wait_for_workers()?;
    }
    eprintln_line("measuring");
    let mut began = Instant::now();
    submit(&mut client, job, args.tasks, 0, payload)?;
    let submitting = began.elapsed();
    let mut memory_queued_bytes = None;
    if is_loaded_before {
        memory_queued_bytes = Some(size_of_process("VmRSS").saturating_sub(memory_before));
        began = Instant::now();
        farm.start_workers(args)?;
    }
    if !wait(&mut client, job, began, interrupted)? {
        return Ok(None);
    }
    let wall = began.elapsed();
    eprintln_line("checking");
    let succeeded = farm.stop_workers()?;
    let checked = check::check(&mut client, job, args.tasks, succeeded)?;
    if let Some(dashboard) = dashboard {
        dashboard.stop();
    }
    farm.server.stop()?;
    let figures = Figures { wall, submitting, memory_queued_bytes };
    Ok(Some(report(args, &figures, checked)))
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
        ..OwnedSpec::new(TaskKey(number.into()), payload.to_vec())
    };
    let report = client.submit(job, (1..=count).map(spec), |_| ControlFlow::Continue(()))?;
    if report.added != count {
        bail!("only {} of {count} tasks were taken in", report.added);
    }
    Ok(())
}

/// Waits until all tasks of a job are at an end. False if it was interrupted.
fn wait(
    client: &mut TaskClient,
    job: JobId,
    began: Instant,
    interrupted: &flume::Receiver<()>,
) -> anyhow::Result<bool> {
    let mut seen = 0;
    while interrupted.is_empty() {
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

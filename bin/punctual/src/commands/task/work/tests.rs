//! What a worker offers, by options, configuration and machine.

use super::*;
use clap::Parser;
use punctual_runtime::Nanos;
use punctual_runtime::tasks::{
    Exit, Lease, NoopRunner, OwnedSpec, QueueAddress, RunId, TaskClient, TaskKey, TaskRunner,
    TaskServer, TaskServerConfig, TaskState, TaskWorkerHost, Usage,
};
use std::ops::ControlFlow;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    work: WorkArgs,
}

fn args(args: &[&str]) -> WorkArgs {
    Options::parse_from(std::iter::once("test").chain(args.iter().copied())).work
}

#[test]
fn thresholds_are_sizes_or_shares() {
    assert_eq!("1GiB".parse::<Threshold>(), Ok(Threshold::Bytes(1 << 30)));
    assert_eq!("10%".parse::<Threshold>().map(|share| share.of(2000)), Ok(200));
    assert!("101%".parse::<Threshold>().is_err());
    assert!("much".parse::<Threshold>().is_err());
}

#[test]
fn prefetching_is_automatic_off_or_a_number() {
    assert_eq!(prefetch("auto"), Ok(Prefetch::Auto));
    assert_eq!((prefetch("0"), prefetch("off")), (Ok(Prefetch::Off), Ok(Prefetch::Off)));
    assert_eq!(prefetch("5"), Ok(Prefetch::Fixed(5)));
    assert!(prefetch("-1").is_err());
}

const GIB: u64 = 1 << 30;

/// A machine like the smaller ones of its users.
const SMALL: Capacity = Capacity { memory: 8 * GIB, cores_milli: 2000 };

fn limits(options: &[&str], conf: &OriginalConf) -> (Limits, Vec<String>) {
    args(options).limits(Some(conf), SMALL).expect("limits")
}

#[test]
fn options_go_before_the_configuration_and_that_before_the_machine() {
    let (tasks_max, accept_free, return_free) = (7, GIB / 2, GIB / 4);
    let conf = OriginalConf { tasks_max, accept_free, return_free, ..OriginalConf::default() };
    let (found, warnings) = limits(&[], &conf);
    assert_eq!(found, Limits { slots: 7, accept_free, return_free });
    assert!(warnings.is_empty(), "{warnings:?}");
    let (found, _) = limits(&["--slots", "2", "--accept-free", "1GiB"], &conf);
    assert_eq!(found, Limits { slots: 2, accept_free: GIB, return_free });
    let (found, _) = args(&[]).limits(None, SMALL).expect("limits");
    assert_eq!(found.slots, 2);
    assert!(found.accept_free > found.return_free && found.return_free > 0, "{found:?}");
    let none = OriginalConf { tasks_max: 0, ..conf };
    assert!(args(&[]).limits(Some(&none), SMALL).is_err());
    assert!(args(&["--slots", "1"]).limits(Some(&none), SMALL).is_ok());

    let worker = args(&[]).worker("w", None).expect("a worker");
    assert!(worker.slots >= 1 && worker.memory > 0 && worker.cores_milli > 0, "{worker:?}");
}

#[test]
fn thresholds_that_the_machine_cannot_reach_are_told_of() {
    let (found, warnings) = limits(&["--accept-free", "9GiB"], &OriginalConf::default());
    assert_eq!(found.accept_free, 9 * GIB, "whoever says so gets it");
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("80.0 GiB") && warnings[0].contains("8.0 GiB"));
    assert!(warnings[1].contains("no task will start"));
    let both = ["--accept-free", "1GiB", "--return-free", "1GiB"];
    assert!(limits(&both, &OriginalConf::default()).1.is_empty());
}

/// Succeeds at once, on a machine with so much free memory.
struct SmallRunner {
    inner: NoopRunner,
    memory_free: u64,
}

impl TaskRunner for SmallRunner {
    fn launch(&mut self, now: Nanos, lease: &Lease) -> Result<(), Exit> {
        self.inner.launch(now, lease)
    }

    fn stop(&mut self, run: RunId) {
        self.inner.stop(run);
    }

    fn kill(&mut self, run: RunId) {
        self.inner.kill(run);
    }

    fn poll(&mut self, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        self.inner.poll(now, exits)
    }

    fn usage(&mut self, _now: Nanos) -> Option<Usage> {
        Some(Usage { memory_free: self.memory_free, cores_used_milli: 0 })
    }

    fn running(&self) -> usize {
        self.inner.running()
    }
}

/// The original ran one task, and then nothing more.
#[test]
fn defect_01_the_shipped_settings_run_everything_on_a_small_machine() {
    const TASKS: u64 = 10;
    let (found, warnings) = limits(&[], &OriginalConf::default());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let Limits { slots, accept_free, return_free } = found;
    let usual = TaskWorkerConfig::new("w", slots, SMALL.memory, SMALL.cores_milli);
    let config = TaskWorkerConfig { accept_free, return_free, ..usual };
    let runner = SmallRunner { inner: NoopRunner::new(), memory_free: 6 * GIB };

    let server = TaskServer::start(TaskServerConfig::default()).expect("a server");
    let mut client = TaskClient::local(&server.local()).expect("a client");
    let job = client.open_job("job").expect("a job");
    let address = QueueAddress::Local(server.local());
    let host = TaskWorkerHost::start(config, address, runner).expect("a worker");
    for number in 1..=TASKS {
        // One after the other, so that each starts after the memory was measured.
        let spec = OwnedSpec::new(TaskKey(number.into()), vec![0]);
        client.submit(job, [spec], |_| ControlFlow::Continue(())).expect("it is taken");
        let mut seen = 0;
        loop {
            let news = client.progress(Some(job), seen, PATIENCE).expect("an answer");
            let (version, counts) = news.expect("it is done in time");
            if counts[TaskState::Done] == number {
                break;
            }
            seen = version;
        }
    }
    host.drain();
    host.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

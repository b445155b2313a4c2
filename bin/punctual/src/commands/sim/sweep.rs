//! Many simulated runs on several threads.

use super::Totals;
use crate::eprintln_line;
use flume::RecvTimeoutError;
use punctual_sim::{SimConfig, SimReport, replay_command};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Results that may wait to be counted.
const RESULTS_MAX: usize = 1024;
/// How often progress is told.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often to look for an interruption.
const LOOK: Duration = Duration::from_millis(50);

/// How far a sweep is.
pub(super) struct Progress {
    pub(super) totals: Totals,
    /// Seeds of the whole sweep.
    pub(super) seeds: u64,
    pub(super) elapsed: Duration,
}

/// What came of a sweep.
pub(super) struct Sweep {
    pub(super) totals: Totals,
    pub(super) wall: Duration,
    /// The first failure in the order of the seeds.
    pub(super) failed: Option<Box<(SimConfig, SimReport)>>,
    pub(super) was_interrupted: bool,
}

/// Ends the sweep with a run that panics, and says how to repeat it: the panic does not.
struct Witness<'a> {
    config: &'a SimConfig,
    stop: &'a AtomicBool,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.stop.store(true, Ordering::Relaxed);
            eprintln_line(&replay_command(self.config));
        }
    }
}

/// Runs all seeds, or those before an interruption or up to the first failure.
///
/// Which failure is found does not depend on the threads: seeds are handed out in order, and what
/// was handed out is run to its end, so all seeds before a failing one are.
pub(super) fn sweep(
    configure: &(impl Fn(u64) -> SimConfig + Sync),
    seeds: Range<u64>,
    jobs: usize,
    interrupted: &flume::Receiver<()>,
    progress: &mut dyn FnMut(&Progress),
) -> Sweep {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (first, count) = (seeds.start, seeds.end - seeds.start);
    let (sender, results) = flume::bounded(RESULTS_MAX);
    let work = |sender: flume::Sender<(SimConfig, SimReport)>| {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let config = configure(first + at);
            let report = {
                let _witness = Witness { config: &config, stop: &stop };
                punctual_sim::run(&config)
            };
            if !report.is_clean() {
                stop.store(true, Ordering::Relaxed);
            }
            if sender.send((config, report)).is_err() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let work = &work;
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(move || work(sender));
        }
        // The results end with the last thread.
        drop(sender);
        collect(&results, count, &stop, interrupted, progress)
    })
}

/// Adds up the results as they come, until all threads have ended.
fn collect(
    results: &flume::Receiver<(SimConfig, SimReport)>,
    seeds: u64,
    stop: &AtomicBool,
    interrupted: &flume::Receiver<()>,
    progress: &mut dyn FnMut(&Progress),
) -> Sweep {
    let began = Instant::now();
    let mut told_at = began;
    let mut totals = Totals::default();
    let mut failed: Option<Box<(SimConfig, SimReport)>> = None;
    let mut was_interrupted = false;
    loop {
        match results.recv_timeout(LOOK) {
            Ok((config, report)) => {
                totals.add(&report);
                let is_first = failed.as_ref().is_none_or(|first| config.seed < first.0.seed);
                if is_first && !report.is_clean() {
                    failed = Some(Box::new((config, report)));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupted.try_recv().is_ok() {
            was_interrupted = true;
            stop.store(true, Ordering::Relaxed);
        }
        let now = Instant::now();
        if now.duration_since(told_at) >= INTERVAL {
            told_at = now;
            progress(&Progress { totals, seeds, elapsed: now.duration_since(began) });
        }
    }
    Sweep { totals, wall: began.elapsed(), failed, was_interrupted }
}

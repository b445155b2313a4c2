//! Many simulated runs on several threads.

use crate::eprintln_line;
use flume::RecvTimeoutError;
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

/// A run that can be swept over: of the cluster, or of the task farm.
pub(super) trait Simulation: Send + Sync {
    /// What comes of it.
    type Report: Send;
    /// What comes of many, added up.
    type Totals: Copy + Default;

    fn seed(&self) -> u64;
    fn run(&self) -> Self::Report;
    /// The command that repeats it.
    fn replay(&self) -> String;
    fn is_clean(report: &Self::Report) -> bool;
    fn add(totals: &mut Self::Totals, report: &Self::Report);
}

/// How far a sweep is.
pub(super) struct Progress<T> {
    pub(super) totals: T,
    /// Seeds of the whole sweep.
    pub(super) seeds: u64,
    pub(super) elapsed: Duration,
}

/// What came of a sweep.
pub(super) struct Sweep<S: Simulation> {
    pub(super) totals: S::Totals,
    pub(super) wall: Duration,
    /// The first failure in the order of the seeds.
    pub(super) failed: Option<Box<(S, S::Report)>>,
    pub(super) was_interrupted: bool,
}

/// Ends the sweep with a run that panics, and says how to repeat it: the panic does not.
struct Witness<'a, S: Simulation> {
    config: &'a S,
    stop: &'a AtomicBool,
}

impl<S: Simulation> Drop for Witness<'_, S> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.stop.store(true, Ordering::Relaxed);
            eprintln_line(&self.config.replay());
        }
    }
}

/// Runs all seeds, or those before an interruption or up to the first failure.
///
/// Which failure is found does not depend on the threads: seeds are handed out in order, and what
/// was handed out is run to its end, so all seeds before a failing one are.
pub(super) fn sweep<S: Simulation>(
    configure: &(impl Fn(u64) -> S + Sync),
    seeds: Range<u64>,
    jobs: usize,
    interrupted: &flume::Receiver<()>,
    progress: &mut dyn FnMut(&Progress<S::Totals>),
) -> Sweep<S> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (first, count) = (seeds.start, seeds.end - seeds.start);
    let (sender, results) = flume::bounded(RESULTS_MAX);
    let work = |sender: flume::Sender<(S, S::Report)>| {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let config = configure(first + at);
            let report = {
                let _witness = Witness { config: &config, stop: &stop };
                config.run()
            };
            if !S::is_clean(&report) {
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
fn collect<S: Simulation>(
    results: &flume::Receiver<(S, S::Report)>,
    seeds: u64,
    stop: &AtomicBool,
    interrupted: &flume::Receiver<()>,
    progress: &mut dyn FnMut(&Progress<S::Totals>),
) -> Sweep<S> {
    let began = Instant::now();
    let mut told_at = began;
    let mut totals = S::Totals::default();
    let mut failed: Option<Box<(S, S::Report)>> = None;
    let mut was_interrupted = false;
    loop {
        match results.recv_timeout(LOOK) {
            Ok((config, report)) => {
                S::add(&mut totals, &report);
                let is_first = failed.as_ref().is_none_or(|first| config.seed() < first.0.seed());
                if is_first && !S::is_clean(&report) {
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

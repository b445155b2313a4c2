//! The micro workload: transactions of a few distinct keys, each read or incremented.
//!
//! One driver a coordinator worker. It goes through the phases that the bench sets for all workers
//! at once: load the keys, run (warm up, then measure), drain, verify. What it learns it sends to
//! the bench; nothing it does on the way of a transaction waits or allocates.

#[cfg(test)]
mod tests;

use crate::arrivals::Arrivals;
use crate::histogram::Recorder;
use crate::keys::{KeyChooser, Rng};
use hdrhistogram::Histogram;
use punctual_runtime::{
    CloseReason, Completion, Driver, Key, LinkEvent, Nanos, Outcome, ShardId, SubmitError,
    Submitter, Transaction, WordOp,
};
use punctual_wire::{Limits, shard_of};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Most operations of one transaction while keys are loaded or verified.
const BULK_OPS_MAX: u16 = 64;
/// What an operation or a result takes beside its value, generously.
const OP_HEAD_BYTES: usize = 32;
/// Keys drawn for one place of a transaction before any key of the right shard is taken.
const DRAWS_MAX: usize = 256;
/// How often a worker reports its progress.
const INTERVAL: Nanos = Nanos(1_000_000_000);
/// How long an open loop goes on after its end with what was meant to start before it.
pub const BACKLOG_TIME_MAX: Duration = Duration::from_secs(10);

/// What is to be run. The same for all workers but for the seed.
#[derive(Debug, Clone)]
pub struct MicroConfig {
    /// Distinct keys of a transaction.
    pub ops: u16,
    /// Share of the operations that read, 0 to 1; the others add one.
    pub reads: f64,
    /// Keys, loaded before the run.
    pub keys: u64,
    /// Bytes of a value, at least 8: the counter and what follows it.
    pub value_size: usize,
    /// Exponent of the keys' popularity; 0 is uniform.
    pub skew: f64,
    /// Intended arrivals a second at all workers together; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Transactions submitted in one turn, so that one frame leaves while the next is made.
    pub burst: u32,
    /// Transactions in flight a worker.
    pub in_flight: u32,
}

impl MicroConfig {
    /// Says why this workload would not do what it says on a cluster with these limits.
    ///
    /// # Errors
    /// What stands against it, in the words of the command line.
    pub fn check(&self, shards: u16, limits: &Limits) -> Result<(), String> {
        let Self { ops, keys, value_size, .. } = self;
        let value_bytes_max = limits.value_bytes_max as usize;
        if !(8..=value_bytes_max).contains(value_size) {
            return Err(format!("--value-size {value_size} is outside 8..={value_bytes_max}"));
        }
        if *ops > limits.ops_max {
            return Err(format!("--ops {ops} is above the limit of {}", limits.ops_max));
        }
        let (one, all) = (u64::from(*ops), u64::from(*ops) * u64::from(shards));
        if shards == 1 && *keys < one {
            return Err(format!("--ops {ops} distinct keys need as many --keys"));
        }
        // Keys are not spread evenly over the shards.
        if shards > 1 && *keys < 4 * all {
            let min = 4 * all;
            return Err(format!(
                "--ops {ops} distinct keys on each of {shards} shards need at least {min} --keys"
            ));
        }
        // A get returns the whole value; long values of a reply that is full are left out.
        let results = usize::from(*ops) * (value_size + OP_HEAD_BYTES);
        let (room, body) = (limits.results_bytes_max(), limits.body_bytes_max());
        if self.reads > 0.0 && results > room {
            return Err(format!(
                "--ops {ops} values of --value-size {value_size} make a reply of up to {results} \
                 bytes, more than {room}; lower one of them or raise frame_bytes_max"
            ));
        }
        let request = usize::from(*ops) * OP_HEAD_BYTES;
        if request > body {
            return Err(format!(
                "--ops {ops} make a request of up to {request} bytes, more than {body}; lower it \
                 or raise frame_bytes_max"
            ));
        }
        Ok(())
    }

    /// Operations of one transaction while keys are loaded or verified: no more than fit a reply.
    fn bulk_ops(&self, limits: &Limits) -> u16 {
        let fit = limits.results_bytes_max() / (self.value_size + OP_HEAD_BYTES);
        let fit = u16::try_from(fit).unwrap_or(u16::MAX);
        fit.clamp(1, limits.ops_max.clamp(1, BULK_OPS_MAX))
    }
}

/// Where all workers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Put every key.
    Load,
    /// Run, without recording.
    WarmUp,
    /// Run and record.
    Measure,
    /// Submit no more and wait for what is in flight.
    Drain,
    /// Read every key.
    Verify,
    /// Stop.
    Done,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Load, Self::WarmUp, Self::Measure, Self::Drain, Self::Verify, Self::Done];
}

/// The phase, set by the bench and looked at by every worker once a turn.
#[derive(Debug, Clone)]
pub struct PhaseCell(Arc<AtomicU8>);

impl Default for PhaseCell {
    fn default() -> Self {
        Self(Arc::new(AtomicU8::new(Phase::Load as u8)))
    }
}

impl PhaseCell {
    /// Moves all workers on.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    fn get(&self) -> Phase {
        Phase::ALL[usize::from(self.0.load(Ordering::Acquire)).min(Phase::ALL.len() - 1)]
    }
}

/// What a worker tells the bench.
#[derive(Debug)]
pub enum MicroEvent {
    /// The links to all shards are up for the first time.
    Connected,
    /// A link is up.
    LinkUp {
        /// To which shard.
        shard: ShardId,
    },
    /// A link went down or could not be brought up.
    LinkDown {
        /// To which shard.
        shard: ShardId,
        /// What happened.
        why: String,
    },
    /// Its part of the work of this phase is done.
    PhaseDone(Phase),
    /// A transaction can never work.
    Failed(String),
    /// A shard will not have us, and will not be asked again.
    Refused {
        /// Which shard.
        shard: ShardId,
        /// What it said.
        reason: CloseReason,
    },
    /// Progress while running.
    Interval {
        /// Whether it belongs to the measured part.
        measured: bool,
        /// Transactions that committed since the last one.
        committed: u64,
        /// Response times since the last one, in nanoseconds.
        latency: Box<Histogram<u64>>,
    },
    /// All that was measured; sent when the worker has drained.
    Drained(Box<MicroTotals>),
    /// Sums of the counters of its keys.
    Verified {
        /// The sum on each shard.
        sums: Vec<i64>,
        /// Keys that were not there.
        missing: u64,
    },
}

/// What one worker measured, and what it did to the store.
#[derive(Debug, Clone, Default)]
pub struct MicroTotals {
    /// Transactions that committed in the measured part.
    pub committed: u64,
    /// Transactions that were aborted in it.
    pub aborted: u64,
    /// Transactions that were refused in it.
    pub refused: u64,
    /// Transactions without known outcome, of the whole run.
    pub unknown: u64,
    /// Increments of all committed transactions of the whole run, shard by shard.
    pub increments: Vec<u64>,
    /// Increments of all transactions whose outcome is unknown: they may have happened.
    pub increments_unknown: Vec<u64>,
    /// About how many transactions of an open loop were never sent for want of time.
    pub unsent: u64,
    /// When the measured part began, and when the last of its transactions committed.
    pub span: Option<(Nanos, Nanos)>,
    /// From submission to completion.
    pub latency: Recorder,
    /// From the intended start to completion; open loop only.
    pub intended: Recorder,
    /// From the intended start to submission; open loop only.
    pub lag: Recorder,
}

impl MicroTotals {
    fn new(shards: u16) -> Self {
        let zeros = vec![0; usize::from(shards)];
        Self { increments: zeros.clone(), increments_unknown: zeros, ..Self::default() }
    }

    /// Adds what another worker did.
    pub fn merge(&mut self, other: &Self) {
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.unsent += other.unsent;
        add_each(&mut self.increments, &other.increments);
        add_each(&mut self.increments_unknown, &other.increments_unknown);
        self.latency.merge(&other.latency);
        self.intended.merge(&other.intended);
        self.lag.merge(&other.lag);
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    /// Compares what the counters of each shard sum up to with the increments that were
    /// acknowledged there. A global sum would not notice one that went to the wrong shard.
    ///
    /// # Errors
    /// The first shard that differs, with both numbers.
    pub fn check(&self, sums: &[i64]) -> Result<(), String> {
        for (shard, sum) in sums.iter().enumerate() {
            let at = |counts: &[u64]| counts.get(shard).copied().unwrap_or(0);
            let (known, unknown) = (at(&self.increments), at(&self.increments_unknown));
            let least = i64::try_from(known).unwrap_or(i64::MAX);
            let most = least.saturating_add_unsigned(unknown);
            if !(least..=most).contains(sum) {
                return Err(format!(
                    "the counters of shard {shard} sum up to {sum}, acknowledged were {known} \
                     increments (and {unknown} of unknown outcome)"
                ));
            }
        }
        Ok(())
    }
}

/// Adds number by number; the sum is as long as the longer one.
fn add_each(sum: &mut Vec<u64>, part: &[u64]) {
    sum.resize(sum.len().max(part.len()), 0);
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

/// What the driver must remember of a transaction in flight, by its slot.
#[derive(Debug, Clone, Copy, Default)]
struct InFlight {
    intended: Nanos,
    shard: u16,
    increments: u16,
    measured: bool,
}

/// Progress through this worker's share of the keys, while loading or verifying.
#[derive(Debug, Default)]
struct Bulk {
    next: u64,
    /// Operations of one transaction.
    ops: u16,
    /// One transaction under construction a shard.
    building: Vec<Transaction>,
    /// Transactions that could not be submitted yet are kept in `building`; this says all keys are
    /// in one.
    exhausted: bool,
    done: bool,
}

/// The driver of one worker.
#[derive(Debug)]
pub struct MicroDriver {
    config: MicroConfig,
    phase: PhaseCell,
    current: Phase,
    events: flume::Sender<MicroEvent>,
    my_keys: Range<u64>,
    workers: u64,
    shards: u16,
    keys: KeyChooser,
    rng: Rng,
    chosen: Vec<u64>,
    transaction: Option<Transaction>,
    /// The transaction that was built but could not be submitted: what it is.
    ready: Option<InFlight>,
    arrivals: Option<Arrivals>,
    arrivals_start: Nanos,
    next_intended: Option<Nanos>,
    /// What is meant to start from here on is measured.
    measure_start: Nanos,
    /// In an open loop, what was meant to start before this is still sent afterwards.
    drain_start: Nanos,
    in_flight: Vec<InFlight>,
    connected: bool,
    bulk: Bulk,
    value: Vec<u8>,
    sums: Vec<i64>,
    missing: u64,
    totals: MicroTotals,
    interval_committed: u64,
    interval_end: Nanos,
    drained: bool,
    failed: bool,
    stopped: bool,
}

impl MicroDriver {
    /// The driver of worker `index` of `workers`.
    #[must_use]
    pub fn new(
        config: &MicroConfig,
        shards: u16,
        (index, workers): (u64, u64),
        phase: PhaseCell,
        events: flume::Sender<MicroEvent>,
    ) -> Self {
        let share = |at: u64| {
            let keys = u128::from(config.keys) * u128::from(at) / u128::from(workers.max(1));
            u64::try_from(keys).unwrap_or(u64::MAX)
        };
        let my_keys = share(index)..share(index + 1);
        let mut rng = Rng::new(config.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9)));
        let keys = KeyChooser::new(config.keys, config.skew, rng.next_u64());
        #[expect(clippy::cast_precision_loss, reason = "a few workers")]
        let arrivals =
            config.rate.map(|rate| Arrivals::poisson(rate / workers.max(1) as f64, rng.next_u64()));
        Self {
            phase,
            current: Phase::Load,
            events,
            bulk: Bulk { next: my_keys.start, ..Bulk::default() },
            my_keys,
            workers,
            shards,
            keys,
            rng,
            chosen: Vec::with_capacity(usize::from(config.ops)),
            transaction: None,
            ready: None,
            arrivals,
            arrivals_start: Nanos::ZERO,
            next_intended: None,
            measure_start: Nanos::MAX,
            drain_start: Nanos(i64::MIN),
            in_flight: vec![InFlight::default(); config.in_flight as usize],
            connected: false,
            value: vec![0; config.value_size.max(8)],
            sums: vec![0; usize::from(shards)],
            missing: 0,
            totals: MicroTotals::new(shards),
            interval_committed: 0,
            interval_end: Nanos::ZERO,
            drained: false,
            failed: false,
            stopped: false,
            config: config.clone(),
        }
    }

    fn tell(&self, event: MicroEvent) {
        // The queue has room for minutes of reports; a bench that has gone does not listen.
        let _ = self.events.try_send(event);
    }

    fn enter(&mut self, now: Nanos, phase: Phase) {
        let before = std::mem::replace(&mut self.current, phase);
        match phase {
            Phase::WarmUp => self.begin(now),
            Phase::Measure => {
                if before == Phase::WarmUp {
                    self.report_interval(now, false);
                } else {
                    // The warm-up was too short to be noticed.
                    self.begin(now);
                }
                self.measure_start = now;
                self.totals.span = Some((now, now));
            }
            Phase::Drain => {
                if before == Phase::Measure {
                    self.drain_start = now;
                }
                self.report_interval(now, before == Phase::Measure);
            }
            Phase::Verify => self.bulk = Bulk { next: self.my_keys.start, ..Bulk::default() },
            Phase::Load | Phase::Done => {}
        }
    }

    /// Starts the schedule of intervals, and in open loop that of arrivals.
    fn begin(&mut self, now: Nanos) {
        self.interval_end = now + INTERVAL;
        self.arrivals_start = now;
        self.next_intended = self.arrivals.as_mut().map(|arrivals| now + Nanos(arrivals.next()));
    }

    fn report_interval(&mut self, now: Nanos, measured: bool) {
        let series = match self.config.rate {
            Some(_) => &mut self.totals.intended,
            None => &mut self.totals.latency,
        };
        let latency = series.take_interval();
        if !measured {
            // The warm-up is shown and forgotten.
            self.totals.latency.clear();
            self.totals.intended.clear();
        }
        // The bench keeps it. A way back for reuse would be another queue, to save the allocation
        // of a few pages once a second, beside adding up ten thousand counters.
        let committed = std::mem::take(&mut self.interval_committed);
        self.interval_end = now + INTERVAL;
        self.tell(MicroEvent::Interval { measured, committed, latency: Box::new(latency) });
    }

    /// Loads or verifies: every key of this worker once, many in a transaction.
    fn drive_bulk(&mut self, submitter: &mut Submitter<'_>) -> usize {
        if self.bulk.building.is_empty() {
            self.bulk.building = (0..self.shards).map(|_| submitter.transaction()).collect();
            self.bulk.ops = self.config.bulk_ops(&submitter.limits());
        }
        let mut work = 0;
        for _ in 0..usize::from(self.bulk.ops) * self.config.burst as usize {
            let Some(key) = (self.bulk.next < self.my_keys.end).then_some(self.bulk.next) else {
                break;
            };
            let shard = usize::from(shard_of(Key::Word(key), self.shards));
            let full = self.bulk.building[shard].op_count() >= self.bulk.ops;
            if full && !self.submit_bulk(shard, submitter) {
                return work;
            }
            let transaction = &mut self.bulk.building[shard];
            match self.current {
                Phase::Load => transaction.put(Key::Word(key), &self.value),
                _ => transaction.get(Key::Word(key)),
            };
            self.bulk.next += 1;
            work += 1;
        }
        if self.bulk.next >= self.my_keys.end && !self.bulk.exhausted {
            let rest = (0..self.bulk.building.len())
                .filter(|at| self.bulk.building[*at].op_count() > 0)
                .collect::<Vec<_>>();
            self.bulk.exhausted = rest.into_iter().all(|at| self.submit_bulk(at, submitter));
            work += 1;
        }
        if self.bulk.exhausted && submitter.in_flight() == 0 && !self.bulk.done {
            self.bulk.done = true;
            match self.current {
                Phase::Load => self.tell(MicroEvent::PhaseDone(Phase::Load)),
                _ => {
                    let sums = std::mem::take(&mut self.sums);
                    self.tell(MicroEvent::Verified { sums, missing: self.missing });
                }
            }
        }
        work
    }

    fn submit_bulk(&mut self, shard: usize, submitter: &mut Submitter<'_>) -> bool {
        let to = self.bulk.building[shard].shard();
        match submitter.submit(&mut self.bulk.building[shard], 0) {
            Ok(sequence) => {
                let in_flight = &mut self.in_flight[usize::from(sequence.slot())];
                in_flight.shard = to.map_or(0, |shard| shard.0);
                true
            }
            Err(SubmitError::Invalid(error)) => {
                self.fail(error.to_string());
                false
            }
            Err(_) => false,
        }
    }

    fn fail(&mut self, why: String) {
        if !self.failed {
            self.failed = true;
            self.tell(MicroEvent::Failed(why));
        }
    }

    /// Runs: as many transactions as are wanted now, up to a burst.
    #[inline]
    fn drive_run(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize {
        if now >= self.interval_end {
            self.report_interval(now, self.current == Phase::Measure);
        }
        self.submit_burst(now, now, submitter)
    }

    /// Whether an open loop has still to send what was meant to start before its end. To leave it
    /// out would leave out just those that waited longest.
    fn has_backlog(&self, now: Nanos) -> bool {
        let waits = self.next_intended.is_some_and(|at| at < self.drain_start);
        self.config.rate.is_some()
            && now < self.drain_start + BACKLOG_TIME_MAX.into()
            && (waits || self.ready.is_some())
    }

    /// Waits for what is in flight, after sending the backlog of an open loop.
    fn drive_drain(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize {
        if self.has_backlog(now) {
            let last = self.drain_start - Nanos(1);
            return self.submit_burst(now, last, submitter);
        }
        if submitter.in_flight() == 0 && !self.drained {
            self.drained = true;
            self.totals.unsent = self.unsent();
            let totals = std::mem::take(&mut self.totals);
            self.tell(MicroEvent::Drained(Box::new(totals)));
        }
        0
    }

    /// About how many transactions the schedule still holds.
    fn unsent(&self) -> u64 {
        let (Some(first), Some(rate)) = (self.next_intended, self.config.rate) else { return 0 };
        let share = rate / self.workers.max(1) as f64;
        let expected = self.drain_start.since(first).as_secs_f64() * share;
        expected.ceil() as u64 + u64::from(self.ready.is_some())
    }

    /// Submits what is meant to start up to `last`, or what has room in a closed loop.
    #[inline]
    fn submit_burst(&mut self, now: Nanos, last: Nanos, submitter: &mut Submitter<'_>) -> usize {
        let mut work = 0;
        for _ in 0..self.config.burst {
            if self.ready.is_none() {
                let intended = match self.next_intended {
                    None if submitter.in_flight() >= self.config.in_flight => break,
                    None => now,
                    Some(at) if at > last => break,
                    Some(at) => at,
                };
                self.make(intended, submitter);
            }
            if !self.submit_ready(now, submitter) {
                break;
            }
            work += 1;
        }
        work
    }

    /// Builds the next transaction.
    #[inline]
    fn make(&mut self, intended: Nanos, submitter: &Submitter<'_>) {
        if self.shards == 1 {
            self.keys.distinct(usize::from(self.config.ops), &mut self.chosen);
        } else {
            self.choose_on_one_shard();
        }
        let transaction = self.transaction.get_or_insert_with(|| submitter.transaction());
        let mut increments = 0;
        for &key in &self.chosen {
            let is_add = !self.rng.chance(self.config.reads);
            transaction.word(WordOp { key, is_add, delta: i64::from(is_add) });
            increments += u16::from(is_add);
        }
        // By the intended start: one that waited since before the end of the warm-up is not
        // measured, one that is sent after the end of the run may be.
        let measured = intended >= self.measure_start;
        let shard = transaction.shard().map_or(0, |shard| shard.0);
        self.ready = Some(InFlight { intended, shard, increments, measured });
        if let Some(arrivals) = &mut self.arrivals {
            self.next_intended = Some(self.arrivals_start + Nanos(arrivals.next()));
        }
    }

    /// Distinct keys of one shard: the shard is that of the first key.
    fn choose_on_one_shard(&mut self) {
        self.chosen.clear();
        let first = self.keys.next();
        let shard = shard_of(Key::Word(first), self.shards);
        self.chosen.push(first);
        while self.chosen.len() < usize::from(self.config.ops) {
            let fits = |key: &u64, chosen: &[u64]| {
                shard_of(Key::Word(*key), self.shards) == shard && !chosen.contains(key)
            };
            let drawn =
                (0..DRAWS_MAX).map(|_| self.keys.next()).find(|key| fits(key, &self.chosen));
            // Few keys or a steep skew: any key of the shard will do. Not the first one, which
            // would make it hot.
            let found = drawn.or_else(|| {
                let start = self.rng.below(self.config.keys);
                let mut all = (start..self.config.keys).chain(0..start);
                all.find(|key| fits(key, &self.chosen))
            });
            let Some(key) = found else {
                let (ops, shard) = (self.config.ops, ShardId(shard));
                self.fail(format!("{shard} has not {ops} distinct keys; give more --keys"));
                break;
            };
            self.chosen.push(key);
        }
    }

    #[inline]
    fn submit_ready(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> bool {
        let (Some(transaction), Some(ready)) = (&mut self.transaction, self.ready) else {
            return false;
        };
        match submitter.submit(transaction, 0) {
            Ok(sequence) => {
                self.in_flight[usize::from(sequence.slot())] = ready;
                self.ready = None;
                if ready.measured && self.config.rate.is_some() {
                    self.totals.lag.record((now - ready.intended).0);
                }
                true
            }
            Err(SubmitError::Invalid(error)) => {
                self.fail(error.to_string());
                false
            }
            Err(_) => false,
        }
    }

    #[inline]
    fn complete_run(&mut self, now: Nanos, completion: &Completion<'_>) {
        let InFlight { intended, shard, increments, measured } =
            self.in_flight[usize::from(completion.sequence.slot())];
        let measured = u64::from(measured);
        match completion.outcome {
            Outcome::Committed { .. } => {
                self.totals.increments[usize::from(shard)] += u64::from(increments);
                self.interval_committed += 1;
                self.totals.committed += measured;
                // What was submitted during the warm-up and ends later belongs to neither.
                if measured == 1 || self.current == Phase::WarmUp {
                    self.totals.latency.record((now - completion.submitted_at).0);
                    if self.config.rate.is_some() {
                        self.totals.intended.record((now - intended).0);
                    }
                }
                if let (1, Some((_, last))) = (measured, &mut self.totals.span) {
                    *last = now;
                }
            }
            Outcome::Aborted { .. } => self.totals.aborted += measured,
            Outcome::Refused(_) => self.totals.refused += measured,
            Outcome::Unknown(_) => {
                self.totals.unknown += 1;
                self.totals.increments_unknown[usize::from(shard)] += u64::from(increments);
            }
        }
    }

    fn complete_bulk(&mut self, completion: Completion<'_>) {
        match completion.outcome {
            Outcome::Committed { .. } if self.current >= Phase::Verify => {
                let InFlight { shard, .. } =
                    self.in_flight[usize::from(completion.sequence.slot())];
                let sum = &mut self.sums[usize::from(shard)];
                for result in completion.results {
                    match result.number() {
                        Some(number) => *sum += number,
                        None => self.missing += 1,
                    }
                }
            }
            Outcome::Committed { .. } => {}
            outcome => self.fail(format!(
                "a transaction of the {:?} phase ended as {outcome:?}",
                self.current
            )),
        }
    }
}

impl Driver for MicroDriver {
    #[inline]
    fn drive(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize {
        if self.failed || self.stopped {
            return 0;
        }
        let phase = self.phase.get();
        if phase != self.current {
            self.enter(now, phase);
        }
        match phase {
            Phase::WarmUp | Phase::Measure => self.drive_run(now, submitter),
            Phase::Load | Phase::Verify => {
                if !self.connected {
                    if !submitter.all_up() {
                        return 0;
                    }
                    self.connected = true;
                    self.tell(MicroEvent::Connected);
                }
                self.drive_bulk(submitter)
            }
            Phase::Drain => self.drive_drain(now, submitter),
            Phase::Done => 0,
        }
    }

    #[inline]
    fn complete(&mut self, now: Nanos, completion: Completion<'_>) {
        match self.current {
            Phase::WarmUp | Phase::Measure | Phase::Drain => self.complete_run(now, &completion),
            Phase::Load | Phase::Verify | Phase::Done => self.complete_bulk(completion),
        }
    }

    fn is_finished(&self) -> bool {
        self.current == Phase::Done || self.stopped || self.failed
    }

    fn next_deadline(&self) -> Option<Nanos> {
        match self.current {
            Phase::WarmUp | Phase::Measure => {
                Some(self.next_intended.unwrap_or(self.interval_end).min(self.interval_end))
            }
            // A backlog that finds no room is given up then.
            Phase::Drain if self.config.rate.is_some() && !self.drained => {
                Some(self.drain_start + BACKLOG_TIME_MAX.into())
            }
            _ => None,
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn link_changed(&mut self, shard: ShardId, link: LinkEvent) {
        match link {
            LinkEvent::Up => self.tell(MicroEvent::LinkUp { shard }),
            LinkEvent::Down { why } => self.tell(MicroEvent::LinkDown { shard, why }),
            LinkEvent::Refused(reason) if !self.failed => {
                self.failed = true;
                self.tell(MicroEvent::Refused { shard, reason });
            }
            LinkEvent::Refused(_) => {}
        }
    }
}

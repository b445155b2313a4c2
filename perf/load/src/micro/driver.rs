//! One worker's driver: it makes the transactions, counts how they end, and loads and verifies the
//! keys.

#[cfg(test)]
mod tests;

use super::choose::Chooser;
use super::flights::{Adds, Flight, Flights};
use super::{BACKLOG_TIME_MAX, MicroConfig, MicroEvent, MicroTotals, Phase, PhaseCell};
use crate::arrivals::Arrivals;
use crate::keys::{KeyChooser, Rng};
use punctual_runtime::{
    Completion, Driver, Key, LinkEvent, Nanos, Outcome, ShardId, SubmitError, Submitter,
    Transaction, WordOp,
};
use punctual_wire::shard_of;
use std::ops::Range;

/// How often a worker reports its progress.
const INTERVAL: Nanos = Nanos(1_000_000_000);

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
    chooser: Chooser,
    rng: Rng,
    transaction: Option<Transaction>,
    /// The transaction that was built but could not be submitted: what it is.
    ready: Option<Flight>,
    /// Its increments on each shard that it touches.
    adds: Vec<Adds>,
    arrivals: Option<Arrivals>,
    arrivals_start: Nanos,
    next_intended: Option<Nanos>,
    /// What is meant to start from here on is measured.
    measure_start: Nanos,
    /// In an open loop, what was meant to start before this is still sent afterwards.
    drain_start: Nanos,
    flights: Flights,
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
        let chooser = Chooser::new(keys, rng.next_u64(), shards, config.ops);
        let span_max = if config.cross > 0.0 { config.span } else { 1 };
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
            chooser,
            rng,
            transaction: None,
            ready: None,
            adds: Vec::with_capacity(usize::from(span_max)),
            arrivals,
            arrivals_start: Nanos::ZERO,
            next_intended: None,
            measure_start: Nanos::MAX,
            drain_start: Nanos(i64::MIN),
            flights: Flights::new(config.in_flight, span_max),
            connected: false,
            value: vec![0; config.value_size.max(8)],
            sums: vec![0; usize::from(shards)],
            missing: 0,
            totals: MicroTotals::new(shards, config.cross > 0.0),
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
                let adds = [Adds { shard: to.map_or(0, |shard| shard.0), count: 0 }];
                let flight = Flight { span: 1, ..Flight::default() };
                self.flights.put(sequence.slot(), flight, &adds);
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
        let MicroConfig { ops, reads, cross, span, .. } = self.config;
        let is_cross = cross > 0.0 && self.rng.chance(cross);
        if let Err(shard) = self.chooser.choose(ops, if is_cross { span } else { 1 }) {
            self.fail(format!(
                "{shard} has not keys enough for {ops} operations; give more --keys"
            ));
            return;
        }
        self.adds.clear();
        self.adds.extend(self.chooser.involved().map(|shard| Adds { shard, count: 0 }));
        let transaction = self.transaction.get_or_insert_with(|| submitter.transaction());
        for &key in self.chooser.chosen() {
            let is_add = !self.rng.chance(reads);
            transaction.word(WordOp { key, is_add, delta: i64::from(is_add) });
            self.adds[self.chooser.place_of(key)].count += u16::from(is_add);
        }
        // By the intended start: one that waited since before the end of the warm-up is not
        // measured, one that is sent after the end of the run may be.
        let measured = intended >= self.measure_start;
        let span = if is_cross { span } else { 1 };
        self.ready = Some(Flight { intended, measured, span });
        if let Some(arrivals) = &mut self.arrivals {
            self.next_intended = Some(self.arrivals_start + Nanos(arrivals.next()));
        }
    }

    #[inline]
    fn submit_ready(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> bool {
        let (Some(transaction), Some(ready)) = (&mut self.transaction, self.ready) else {
            return false;
        };
        match submitter.submit(transaction, 0) {
            Ok(sequence) => {
                self.flights.put(sequence.slot(), ready, &self.adds);
                self.ready = None;
                self.totals.whole_run.submitted += 1;
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
        let (flight, adds) = self.flights.get(completion.sequence.slot());
        let measured = u64::from(flight.measured);
        let totals = &mut self.totals;
        match completion.outcome {
            Outcome::Committed { .. } => {
                for Adds { shard, count } in adds {
                    totals.increments[usize::from(*shard)] += u64::from(*count);
                }
                self.interval_committed += 1;
                totals.whole_run.committed += 1;
                totals.committed += measured;
                totals.cross += measured * u64::from(flight.span > 1);
                // What was submitted during the warm-up and ends later belongs to neither.
                if flight.measured || self.current == Phase::WarmUp {
                    totals.latency.record((now - completion.submitted_at).0);
                    if self.config.rate.is_some() {
                        totals.intended.record((now - flight.intended).0);
                    }
                }
                if flight.measured {
                    if let Some((_, last)) = &mut totals.span {
                        *last = now;
                    }
                    if let (Some(all), Some(one)) = (&mut totals.punctuality, &completion.timing) {
                        all.record(one);
                    }
                }
            }
            Outcome::Aborted { .. } => {
                totals.aborted += measured;
                totals.whole_run.aborted += 1;
            }
            Outcome::Refused(_) => {
                totals.refused += measured;
                totals.whole_run.refused += 1;
            }
            Outcome::Unknown(_) => {
                totals.whole_run.unknown += 1;
                for Adds { shard, count } in adds {
                    totals.increments_unknown[usize::from(*shard)] += u64::from(*count);
                }
            }
        }
    }

    fn complete_bulk(&mut self, completion: Completion<'_>) {
        match completion.outcome {
            Outcome::Committed { .. } if self.current >= Phase::Verify => {
                let (_, adds) = self.flights.get(completion.sequence.slot());
                let Some(Adds { shard, .. }) = adds.first() else { return };
                let sum = &mut self.sums[usize::from(*shard)];
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
                // One that found no room goes when something arrives, not at any time.
                let next = self.next_intended.filter(|_| self.ready.is_none());
                Some(next.unwrap_or(self.interval_end).min(self.interval_end))
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

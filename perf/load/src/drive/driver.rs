//! One worker's driver: it sends what its generator makes when it is meant to start, and records
//! how it ends.

#[cfg(test)]
mod tests;

use super::pace::Pace;
use super::{BACKLOG_TIME_MAX, LoadEvent, LoadSettings, Phase, PhaseCell, RunTotals};
use crate::arrivals::Arrivals;
use crate::workload::{Generator, Place, Workload};
use punctual_runtime::{
    Completion, Driver, LinkEvent, Nanos, Outcome, ShardId, SubmitError, Submitter, Transaction,
};
use std::time::Duration;

/// A transaction in flight, or made and not yet sent.
#[derive(Debug, Clone, Copy, Default)]
struct Flight {
    intended: Nanos,
    /// Whether it belongs to the measured part.
    measured: bool,
    /// Whether it touches several shards.
    cross: bool,
    kind: u8,
}

/// What became of an attempt to send.
enum Sent {
    /// It is under way, in this slot.
    Slot(u16),
    /// There is no room now.
    NoRoom,
    /// It can never be sent.
    Never,
}

/// The driver of one worker.
#[derive(Debug)]
pub struct LoadDriver<G: Generator> {
    generator: G,
    settings: LoadSettings,
    workers: u64,
    phase: PhaseCell,
    current: Phase,
    events: flume::Sender<LoadEvent<G>>,
    transaction: Option<Transaction>,
    /// The transaction that was made but could not be submitted: what it is.
    ready: Option<Flight>,
    /// By slot.
    flights: Vec<Flight>,
    arrivals: Option<Arrivals>,
    arrivals_start: Nanos,
    next_intended: Option<Nanos>,
    /// What is meant to start from here on is measured.
    measure_start: Nanos,
    /// In an open loop, what was meant to start before this is still sent afterwards.
    drain_start: Nanos,
    connected: bool,
    /// How much is in flight while loading and verifying.
    pace: Pace,
    /// Nothing is left to load, or to verify.
    exhausted: bool,
    totals: RunTotals,
    /// How often progress is reported.
    interval: Nanos,
    interval_committed: u64,
    interval_end: Nanos,
    /// The part of the phase that is told once was told.
    told: bool,
    failed: bool,
    stopped: bool,
}

impl<G: Generator> LoadDriver<G> {
    /// The driver of one worker, which reports its progress every `interval`.
    #[must_use]
    pub fn new<W: Workload<Generator = G>>(
        workload: &W,
        settings: &LoadSettings,
        place: &Place,
        interval: Duration,
        phase: PhaseCell,
        events: flume::Sender<LoadEvent<G>>,
    ) -> Self {
        let seed = place.own_seed() ^ 0x5eed_0a44_17a1;
        let arrivals = settings.schedule.as_ref();
        let arrivals = arrivals.map(|all| Arrivals::of(all, place.worker, place.workers, seed));
        Self {
            generator: workload.generator(place),
            settings: settings.clone(),
            workers: place.workers,
            phase,
            current: Phase::Load,
            events,
            transaction: None,
            ready: None,
            flights: vec![Flight::default(); place.slots as usize],
            arrivals,
            arrivals_start: Nanos::ZERO,
            next_intended: None,
            measure_start: Nanos::MAX,
            drain_start: Nanos(i64::MIN),
            connected: false,
            pace: Pace::new(place.slots),
            exhausted: false,
            totals: RunTotals::new(workload.kinds().len()),
            interval: interval.into(),
            interval_committed: 0,
            interval_end: Nanos::ZERO,
            told: false,
            failed: false,
            stopped: false,
        }
    }

    fn tell(&self, event: LoadEvent<G>) {
        // The queue has room for very many reports; a bench that has gone does not listen.
        let _ = self.events.try_send(event);
    }

    fn is_open(&self) -> bool {
        self.arrivals.is_some()
    }

    fn enter(&mut self, now: Nanos, phase: Phase) {
        let before = std::mem::replace(&mut self.current, phase);
        self.told = false;
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
            Phase::Verify => {
                self.exhausted = false;
                self.ready = None;
                if let Some(transaction) = &mut self.transaction {
                    transaction.clear();
                }
            }
            Phase::Load | Phase::Done => {}
        }
    }

    /// Starts the schedule of intervals, and in open loop that of arrivals.
    fn begin(&mut self, now: Nanos) {
        self.interval_end = now + self.interval;
        self.arrivals_start = now;
        self.next_intended = self.arrivals.as_mut().map(|arrivals| now + Nanos(arrivals.next()));
    }

    /// Ends an interval while running. The next end is counted from this one and not from `now`:
    /// workers must not drift apart, since what they report at one time is one interval.
    fn end_interval(&mut self, now: Nanos) {
        let next = self.interval_end + self.interval;
        self.report_interval(now, self.current == Phase::Measure);
        if next > now {
            self.interval_end = next;
        }
    }

    /// Reports the interval that ends `now`; the next one begins.
    fn report_interval(&mut self, now: Nanos, measured: bool) {
        let series =
            if self.is_open() { &mut self.totals.intended } else { &mut self.totals.latency };
        let latency = series.take_interval();
        let lag = self.is_open().then(|| Box::new(self.totals.lag.take_interval()));
        if !measured {
            // The warm-up is shown and forgotten.
            self.totals.forget_times();
        }
        // The bench keeps it. A way back for reuse would be another queue, to save the allocation
        // of a few pages now and then, beside adding up ten thousand counters.
        let committed = std::mem::take(&mut self.interval_committed);
        self.interval_end = now + self.interval;
        let latency = Box::new(latency);
        self.tell(LoadEvent::Interval { measured, committed, latency, lag });
    }

    /// Sends the transaction that was made.
    #[inline]
    fn submit(&mut self, flight: Flight, submitter: &mut Submitter<'_>) -> Sent {
        let Some(transaction) = &mut self.transaction else { return Sent::Never };
        match submitter.submit(transaction, 0) {
            Ok(sequence) => {
                let slot = sequence.slot();
                self.flights[usize::from(slot)] = flight;
                Sent::Slot(slot)
            }
            Err(SubmitError::Invalid(error)) => {
                self.fail(error.to_string());
                Sent::Never
            }
            Err(_) => Sent::NoRoom,
        }
    }

    /// Loads or verifies: this worker's part, up to a burst of transactions.
    fn drive_bulk(&mut self, submitter: &mut Submitter<'_>) -> usize {
        let mut work = 0;
        let burst = self.settings.burst as usize;
        while work < burst && submitter.in_flight() < self.pace.limit() && !self.exhausted {
            let transaction = self.transaction.get_or_insert_with(|| submitter.transaction());
            if self.ready.is_none() {
                let is_more = match self.current {
                    Phase::Load => self.generator.load(transaction),
                    _ => self.generator.verify(transaction),
                };
                if !is_more {
                    self.exhausted = true;
                    break;
                }
                self.ready = Some(Flight::default());
            }
            let Sent::Slot(slot) = self.submit(Flight::default(), submitter) else { break };
            self.ready = None;
            work += 1;
            if self.current == Phase::Verify {
                self.generator.verify_sent(slot);
            }
        }
        if self.exhausted && submitter.in_flight() == 0 && !self.told {
            self.told = true;
            work += 1;
            let event = match self.current {
                Phase::Load => LoadEvent::Loaded,
                _ => LoadEvent::Verified(Box::new(self.generator.found())),
            };
            self.tell(event);
        }
        work
    }

    fn fail(&mut self, why: String) {
        if !self.failed {
            self.failed = true;
            self.tell(LoadEvent::Failed(why));
        }
    }

    /// Runs: as many transactions as are wanted now, up to a burst.
    #[inline]
    fn drive_run(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize {
        if now >= self.interval_end {
            self.end_interval(now);
        }
        self.submit_burst(now, now, submitter)
    }

    /// Whether an open loop has still to send what was meant to start before its end. To leave it
    /// out would leave out just those that waited longest.
    fn has_backlog(&self, now: Nanos) -> bool {
        let waits = self.next_intended.is_some_and(|at| at < self.drain_start);
        self.is_open()
            && now < self.drain_start + BACKLOG_TIME_MAX.into()
            && (waits || self.ready.is_some())
    }

    /// Waits for what is in flight, after sending the backlog of an open loop.
    fn drive_drain(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize {
        if self.has_backlog(now) {
            let last = self.drain_start - Nanos(1);
            return self.submit_burst(now, last, submitter);
        }
        if submitter.in_flight() == 0 && !self.told {
            self.told = true;
            self.totals.unsent = self.unsent();
            let totals = std::mem::take(&mut self.totals);
            let both = Box::new((totals, self.generator.done()));
            self.tell(LoadEvent::Drained(both));
        }
        0
    }

    /// About how many transactions the schedule still holds.
    fn unsent(&self) -> u64 {
        let (Some(first), Some(schedule)) = (self.next_intended, &self.settings.schedule) else {
            return 0;
        };
        let since = |at: Nanos| at.since(self.arrivals_start).as_secs_f64();
        let left =
            schedule.count_until(since(self.drain_start)) - schedule.count_until(since(first));
        let expected = left.max(0.0) / self.workers.max(1) as f64;
        expected.ceil() as u64 + u64::from(self.ready.is_some())
    }

    /// Submits what is meant to start up to `last`, or what has room in a closed loop.
    #[inline]
    fn submit_burst(&mut self, now: Nanos, last: Nanos, submitter: &mut Submitter<'_>) -> usize {
        let mut work = 0;
        for _ in 0..self.settings.burst {
            if self.ready.is_none() {
                let intended = match self.next_intended {
                    None if submitter.in_flight() >= self.settings.in_flight => break,
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

    /// Makes the next transaction.
    #[inline]
    fn make(&mut self, intended: Nanos, submitter: &Submitter<'_>) {
        let transaction = self.transaction.get_or_insert_with(|| submitter.transaction());
        let kind = match self.generator.next(transaction) {
            Ok(kind) => kind,
            Err(why) => return self.fail(why),
        };
        // By the intended start: one that waited since before the end of the warm-up is not
        // measured, one that is sent after the end of the run may be.
        let measured = intended >= self.measure_start;
        let cross = transaction.shard_count() > 1;
        self.ready = Some(Flight { intended, measured, cross, kind });
        if let Some(arrivals) = &mut self.arrivals {
            self.next_intended = Some(self.arrivals_start + Nanos(arrivals.next()));
        }
    }

    #[inline]
    fn submit_ready(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> bool {
        let Some(ready) = self.ready else { return false };
        let Sent::Slot(slot) = self.submit(ready, submitter) else { return false };
        self.generator.sent(slot);
        self.ready = None;
        self.totals.whole_run.submitted += 1;
        if ready.measured && self.is_open() {
            self.totals.lag.record((now - ready.intended).0);
        }
        true
    }

    #[inline]
    fn complete_run(&mut self, now: Nanos, mut completion: Completion<'_>) {
        let slot = completion.sequence.slot();
        let flight = self.flights[usize::from(slot)];
        self.generator.ended(slot, &completion.outcome, &mut completion.results);
        let measured = u64::from(flight.measured);
        let totals = &mut self.totals;
        let latency = now - completion.submitted_at;
        match completion.outcome {
            Outcome::Committed { .. } => {
                self.interval_committed += 1;
                totals.whole_run.committed += 1;
                totals.committed += measured;
                totals.cross += measured * u64::from(flight.cross);
                // What was submitted during the warm-up and ends later belongs to neither.
                if flight.measured || self.current == Phase::WarmUp {
                    totals.latency.record(latency.0);
                    if self.arrivals.is_some() {
                        totals.intended.record((now - flight.intended).0);
                    }
                }
                if flight.measured {
                    if let Some((_, last)) = &mut totals.span {
                        *last = now;
                    }
                    if let Some(one) = &completion.timing {
                        totals.punctuality.get_or_insert_default().record(one);
                    }
                    if let Some(kind) = totals.kinds.get_mut(usize::from(flight.kind)) {
                        kind.commit(match self.arrivals {
                            Some(_) => now - flight.intended,
                            None => latency,
                        });
                    }
                }
            }
            Outcome::Aborted { .. } => {
                totals.aborted += measured;
                totals.whole_run.aborted += 1;
                if let Some(kind) = totals.kinds.get_mut(usize::from(flight.kind)) {
                    kind.aborted += measured;
                }
            }
            Outcome::Refused(_) => {
                totals.refused += measured;
                totals.whole_run.refused += 1;
            }
            Outcome::Unknown(_) => totals.whole_run.unknown += 1,
        }
    }

    fn complete_bulk(&mut self, now: Nanos, mut completion: Completion<'_>) {
        self.pace.ended(now, now - completion.submitted_at);
        match completion.outcome {
            Outcome::Committed { .. } if self.current >= Phase::Verify => {
                self.generator.verified(completion.sequence.slot(), &mut completion.results);
            }
            Outcome::Committed { .. } => {}
            outcome => self.fail(format!(
                "a transaction of the {:?} phase ended as {outcome:?}",
                self.current
            )),
        }
    }
}

impl<G: Generator> Driver for LoadDriver<G> {
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
                    self.tell(LoadEvent::Connected);
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
            Phase::WarmUp | Phase::Measure | Phase::Drain => self.complete_run(now, completion),
            Phase::Load | Phase::Verify | Phase::Done => self.complete_bulk(now, completion),
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
            Phase::Drain if self.is_open() && !self.told => {
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
            LinkEvent::Up => self.tell(LoadEvent::LinkUp { shard }),
            LinkEvent::Down { why } => self.tell(LoadEvent::LinkDown { shard, why }),
            LinkEvent::Refused(reason) if !self.failed => {
                self.failed = true;
                self.tell(LoadEvent::Refused { shard, reason });
            }
            LinkEvent::Refused(_) => {}
        }
    }
}

//! A coordinator worker with its links, as an agent of a core.

use crate::agent::Agent;
use crate::clock::Clock;
use crate::counters::{Counter, CounterBlock};
use crate::driver::{Driver, LinkEvent, Submitter};
use crate::links::{Lost, ShardLinks, shard_id};
use crossbeam::queue::ArrayQueue;
use punctual_core::{Coordinator, Nanos, OwdSample, SessionId, ShardId};
use punctual_link::ParkHandle;
use punctual_wire::{FrameKind, Welcome, WireError};
use std::sync::Arc;

/// The control queue is looked at every so many turns.
const CONTROL_TURNS: u32 = 32;

/// What the control plane tells a worker.
pub(crate) enum WorkerControl {
    /// Submit no more, take what is in flight, then stop.
    Stop,
}

/// What the prober has measured and a worker has not looked at yet.
pub(crate) type SampleQueue = ArrayQueue<(ShardId, OwdSample, Nanos)>;

/// A coordinator worker.
pub(crate) struct Worker<D> {
    coordinator: Coordinator,
    driver: D,
    links: ShardLinks,
    clock: Clock,
    control: flume::Receiver<WorkerControl>,
    samples: Option<Arc<SampleQueue>>,
    samples_taken: u64,
    turns: u32,
    finished: bool,
    tell_finished: flume::Sender<()>,
    block: Arc<CounterBlock>,
}

impl<D: Driver> Worker<D> {
    pub(crate) fn new(
        index: usize,
        coordinator: Coordinator,
        driver: D,
        links: ShardLinks,
        clock: Clock,
        control: flume::Receiver<WorkerControl>,
        tell_finished: flume::Sender<()>,
    ) -> Self {
        let block = CounterBlock::new(format!("worker{index}"));
        Self {
            coordinator,
            driver,
            links,
            clock,
            control,
            samples: None,
            samples_taken: 0,
            turns: 0,
            finished: false,
            tell_finished,
            block,
        }
    }

    /// Takes what a prober measures.
    pub(crate) fn set_samples(&mut self, samples: Arc<SampleQueue>) {
        self.samples = Some(samples);
    }

    #[inline]
    fn serve(&mut self, now: Nanos, at: usize) -> usize {
        if self.links.is_up(at) {
            return match self.take_frames(at) {
                Ok(work) => work,
                Err(lost) => {
                    self.lose(now, at, &lost);
                    1
                }
            };
        }
        match self.links.step(now, at) {
            None => 0,
            Some(Ok(welcome)) => {
                self.link_up(now, at, &welcome);
                1
            }
            Some(Err(event)) => {
                self.driver.link_changed(shard_id(at), event);
                1
            }
        }
    }

    fn link_up(&mut self, now: Nanos, at: usize, welcome: &Welcome) {
        let shard = shard_id(at);
        let (session, epoch) = (SessionId(welcome.session.get()), welcome.epoch.get());
        let Self { coordinator, driver, links, .. } = self;
        coordinator.on_link_up(now, shard, session, epoch, links, |done| {
            driver.complete(now, done);
        });
        self.driver.link_changed(shard, LinkEvent::Up);
    }

    /// Takes every whole frame that has arrived.
    #[inline]
    fn take_frames(&mut self, at: usize) -> Result<usize, Lost> {
        let Self { coordinator, driver, links, clock, .. } = self;
        links.take_frames(at, |frame| {
            let now = clock.now();
            match frame.kind {
                FrameKind::Reply => coordinator
                    .on_reply(now, shard_id(at), frame, |done| driver.complete(now, done))
                    .map_err(Lost::Reply),
                kind => Err(WireError::UnexpectedKind(kind).into()),
            }
        })
    }

    /// Gives a link up. What is in flight waits for the link to come back, up to its deadline.
    fn lose(&mut self, now: Nanos, at: usize, lost: &Lost) {
        let shard = shard_id(at);
        tracing::info!(%shard, reason = %lost, "the link is lost");
        self.links.lose(now, at, lost);
        self.driver.link_changed(shard, LinkEvent::Down { why: lost.to_string() });
    }

    fn take_control(&mut self) -> usize {
        let mut taken = 0;
        while let Ok(WorkerControl::Stop) = self.control.try_recv() {
            self.driver.stop();
            taken += 1;
        }
        taken
    }

    /// Takes the prober's samples. They are no work: a core does not stay awake for them.
    #[inline]
    fn take_samples(&mut self) {
        let Some(samples) = &self.samples else { return };
        if samples.is_empty() {
            return;
        }
        // No more than the queue holds, however fast it is filled.
        for _ in 0..samples.capacity() {
            let Some((shard, sample, at)) = samples.pop() else { break };
            self.coordinator.owd_sample(at, shard, sample);
            self.samples_taken += 1;
        }
    }

    fn finish(&mut self, now: Nanos) {
        let Self { coordinator, driver, .. } = self;
        coordinator.abandon(|done| driver.complete(now, done));
        self.links.say_goodbye();
        self.finished = true;
        self.publish();
        // The queue has room for every worker; an engine that was dropped does not listen.
        let _ = self.tell_finished.try_send(());
    }
}

impl<D: Driver> Agent for Worker<D> {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.links.set_park(park);
    }

    #[inline]
    fn do_work(&mut self, now: Nanos) -> usize {
        if self.finished {
            return 0;
        }
        let mut work = 0;
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(CONTROL_TURNS) || !self.control.is_empty() {
            work += self.take_control();
        }
        self.take_samples();
        for at in 0..self.links.count() {
            work += self.serve(now, at);
        }
        if self.coordinator.next_deadline().is_some_and(|due| due <= now) {
            let Self { coordinator, driver, links, .. } = self;
            coordinator.on_timer(now, links, |done| driver.complete(now, done));
            work += 1;
        }
        let mut submitter =
            Submitter { coordinator: &mut self.coordinator, links: &mut self.links, now };
        work += self.driver.drive(now, &mut submitter);
        for at in 0..self.links.count() {
            match self.links.flush(at) {
                Ok(moved) => work += moved,
                Err(error) => {
                    self.lose(now, at, &Lost::Link(error));
                    work += 1;
                }
            }
        }
        if self.driver.is_finished() && self.coordinator.in_flight() == 0 {
            self.finish(now);
        }
        work
    }

    fn next_deadline(&self) -> Option<Nanos> {
        if self.finished {
            return None;
        }
        let deadlines = [
            self.coordinator.next_deadline(),
            self.links.next_deadline(),
            self.driver.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn is_expecting(&self) -> bool {
        self.coordinator.in_flight() > 0
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn publish(&mut self) {
        let stats = self.coordinator.stats();
        let block = &self.block;
        self.links.counts().publish(block);
        block.set(Counter::Committed, stats.committed);
        block.set(Counter::Aborted, stats.aborted);
        block.set(Counter::Refused, stats.refused);
        block.set(Counter::Unknown, stats.unknown);
        block.set(Counter::Stamped, stats.stamped);
        block.set(Counter::Late, stats.late);
        block.set(Counter::CommitMismatch, stats.commit_mismatch);
        block.set(Counter::VerdictsDiffer, stats.verdicts_differ);
        block.set(Counter::Retries, stats.retries);
        block.set(Counter::Busy, stats.busy);
        block.set(Counter::Stale, stats.stale_replies);
        block.set(Counter::OwdSamples, self.samples_taken);
        block.set(Counter::InFlight, u64::from(self.coordinator.in_flight()));
    }

    fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }
}

//! The prober as an agent of a core.
//!
//! It never waits and is never waited for: what it measures goes into bounded queues that workers
//! look into when they come by, and a sample that finds no room is no loss.

use crate::agent::Agent;
use crate::clock::Clock;
use crate::counters::{Counter, CounterBlock};
use crate::driver::LinkEvent;
use crate::links::{Lost, ShardLinks, shard_id};
use crate::worker::SampleQueue;
use crossbeam::queue::ArrayQueue;
use punctual_core::{Nanos, ProbeRow, ProbeSample, Prober, ProberConfig, ShardId};
use punctual_link::{CoreWaker, ParkHandle};
use punctual_wire::{FrameKind, WireError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whoever watches gets all rows anew this often.
const ROWS_INTERVAL: Duration = Duration::from_millis(100);

/// Tells a prober to stop.
pub(crate) struct ProberStop {
    pub(crate) flag: Arc<AtomicBool>,
    pub(crate) core: Arc<CoreWaker>,
}

impl ProberStop {
    pub(crate) fn tell(&self) {
        self.flag.store(true, Ordering::Release);
        self.core.wake();
    }
}

/// The latest rows of all shards, for whoever watches.
pub(crate) type RowsQueue = ArrayQueue<Vec<ProbeRow>>;

/// Where a watch gets everything that there is to see.
pub(crate) struct Watched {
    pub(crate) samples: flume::Sender<ProbeSample>,
    pub(crate) events: flume::Sender<(ShardId, LinkEvent)>,
    pub(crate) rows: Arc<RowsQueue>,
    /// When the rows are due.
    pub(crate) rows_at: Nanos,
}

/// Who gets what a prober measures.
#[derive(Default)]
pub(crate) struct Audience {
    /// One queue a coordinator worker.
    pub(crate) queues: Vec<Arc<SampleQueue>>,
    pub(crate) watched: Option<Watched>,
    /// What found no room.
    pub(crate) dropped: u64,
}

impl Audience {
    #[inline]
    fn sample(&mut self, sample: ProbeSample) {
        if sample.used {
            for queue in &self.queues {
                let pushed = queue.push((sample.shard, sample.owd, sample.at));
                self.dropped += u64::from(pushed.is_err());
            }
        }
        if let Some(watched) = &self.watched {
            self.dropped += u64::from(watched.samples.try_send(sample).is_err());
        }
    }

    fn link_changed(&mut self, shard: ShardId, event: LinkEvent) {
        if let Some(watched) = &self.watched {
            self.dropped += u64::from(watched.events.try_send((shard, event)).is_err());
        }
    }
}

/// A prober with its links.
pub(crate) struct ProberAgent {
    prober: Prober,
    links: ShardLinks,
    clock: Clock,
    audience: Audience,
    stop: Arc<AtomicBool>,
    finished: bool,
    block: Arc<CounterBlock>,
}

impl ProberAgent {
    pub(crate) fn new(
        config: ProberConfig,
        links: ShardLinks,
        clock: Clock,
        audience: Audience,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let block = CounterBlock::new("prober".to_owned());
        Self { prober: Prober::new(config), links, clock, audience, stop, finished: false, block }
    }

    fn serve(&mut self, now: Nanos, at: usize) -> usize {
        let shard = shard_id(at);
        if !self.links.is_up(at) {
            let event = match self.links.step(now, at) {
                None => return 0,
                Some(Ok(_)) => {
                    self.prober.on_link_up(now, shard);
                    LinkEvent::Up
                }
                Some(Err(event)) => event,
            };
            self.audience.link_changed(shard, event);
            return 1;
        }
        // A shard that owes no answer says nothing, or its goodbye, and that can wait for the next
        // probe.
        if self.prober.outstanding(shard) == 0 {
            return 0;
        }
        match self.take_frames(at) {
            Ok(work) => work,
            Err(lost) => {
                self.lose(now, at, &lost);
                1
            }
        }
    }

    fn take_frames(&mut self, at: usize) -> Result<usize, Lost> {
        let Self { prober, links, clock, audience, .. } = self;
        links.take_frames(at, |frame| match frame.kind {
            // The clock is read here: the way back ends when the answer is taken.
            FrameKind::Probe => {
                Ok(prober.on_frame(clock.now(), shard_id(at), frame, |sample| {
                    audience.sample(sample);
                })?)
            }
            kind => Err(WireError::UnexpectedKind(kind).into()),
        })
    }

    fn lose(&mut self, now: Nanos, at: usize, lost: &Lost) {
        let shard = shard_id(at);
        tracing::debug!(%shard, reason = %lost, "the prober's link is lost");
        self.links.lose(now, at, lost);
        self.prober.on_link_down(shard);
        self.audience.link_changed(shard, LinkEvent::Down { why: lost.to_string() });
    }

    /// Sends the probes that are due.
    fn probe(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        if self.prober.next_deadline().is_some_and(|due| due <= now) {
            // Read again, just before the flush: what the turn did before is no part of the way.
            work += self.prober.on_timer(self.clock.now(), &mut self.links);
        }
        for at in 0..self.links.count() {
            match self.links.flush(at) {
                Ok(moved) => work += moved,
                Err(error) => {
                    self.lose(now, at, &Lost::Link(error));
                    work += 1;
                }
            }
        }
        work
    }

    fn rows(&self, now: Nanos) -> impl Iterator<Item = ProbeRow> + '_ {
        (0..self.links.shards()).map(move |shard| self.prober.row(now, ShardId(shard)))
    }

    /// Shows whoever watches how things stand, if it is time.
    fn show(&mut self, now: Nanos) {
        if self.audience.watched.as_ref().is_none_or(|watched| now < watched.rows_at) {
            return;
        }
        let rows: Vec<ProbeRow> = self.rows(now).collect();
        if let Some(watched) = &mut self.audience.watched {
            watched.rows_at = now + ROWS_INTERVAL.into();
            // Rows that nobody looked at make room for newer ones.
            drop(watched.rows.force_push(rows));
        }
    }
}

impl Agent for ProberAgent {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.links.set_park(park);
        self.show(self.clock.now());
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        if self.finished {
            return 0;
        }
        if self.stop.load(Ordering::Acquire) {
            self.publish();
            self.links.say_goodbye();
            self.finished = true;
            return 1;
        }
        let mut work = 0;
        for at in 0..self.links.count() {
            work += self.serve(now, at);
        }
        work += self.probe(now);
        self.show(now);
        work
    }

    fn next_deadline(&self) -> Option<Nanos> {
        if self.finished {
            return None;
        }
        let rows_at = self.audience.watched.as_ref().map(|watched| watched.rows_at);
        let deadlines = [self.prober.next_deadline(), self.links.next_deadline(), rows_at];
        deadlines.into_iter().flatten().min()
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn publish(&mut self) {
        let block = &self.block;
        self.links.counts().publish(block);
        block.set(Counter::SamplesDropped, self.audience.dropped);
        if self.finished {
            return;
        }
        let (mut sent, mut lost, mut late, mut stale) = (0, 0, 0, 0);
        for row in self.rows(self.clock.now()) {
            sent += row.sent;
            lost += row.lost;
            late += row.late;
            stale += row.stale;
        }
        block.set(Counter::ProbesSent, sent);
        block.set(Counter::ProbesLost, lost);
        block.set(Counter::ProbesLate, late);
        block.set(Counter::Stale, stale);
    }

    fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }
}

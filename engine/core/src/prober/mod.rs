//! The prober: it asks every shard for its clock, again and again, and learns the delays.
//!
//! Each shard has a row with a schedule of its own. Rows share nothing, not even random numbers, so
//! a shard that is down, slow or silent changes nothing but its own row. Nobody waits for an
//! answer; probes without one are counted as lost.
//!
//! A probe that leaves late tells of trouble here (the prober was not run in time) and would blame
//! the network for it, so its answer does not count. The schedule neither drifts nor catches up:
//! after a pause it goes on where it would be now.

mod row;
#[cfg(test)]
mod tests;

use crate::{Nanos, Outbox, OwdConfig, OwdSample, ShardId};
use punctual_wire::{BatchWriter, Frame, Probe, ProbeReader, WireError};
use row::{Pace, Row};
use std::time::Duration;

/// What a prober must know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProberConfig {
    /// Number of shards.
    pub shards: u16,
    /// Time between two probes while a link is new.
    pub first_interval: Duration,
    /// How long a link is new.
    pub first_for: Duration,
    /// Time between two probes afterwards.
    pub interval: Duration,
    /// Up to this part of an interval a probe is put off at random, so that probers do not march in
    /// step; between 0 and 1.
    pub jitter: f64,
    /// The answer to a probe that left later than this after it was due does not count.
    pub late_max: Duration,
    /// A probe without an answer is lost after this.
    pub lost_after: Duration,
    /// How delays are estimated; `window` and `expire` are those of the other figures too.
    pub owd: OwdConfig,
    /// Where random numbers begin: the same seed gives the same schedule.
    pub seed: u64,
}

impl ProberConfig {
    /// The defaults: a probe each 10 ms, in the first second of a link each millisecond; late after
    /// 500 us, lost after 1 s.
    #[must_use]
    pub fn new(shards: u16, seed: u64) -> Self {
        Self {
            shards,
            first_interval: Duration::from_millis(1),
            first_for: Duration::from_secs(1),
            interval: Duration::from_millis(10),
            jitter: 0.1,
            late_max: Duration::from_micros(500),
            lost_after: Duration::from_secs(1),
            owd: OwdConfig::default(),
            seed,
        }
    }
}

/// The answer to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeSample {
    /// Who answered.
    pub shard: ShardId,
    /// All four times.
    pub probe: Probe,
    /// The delays that follow from them.
    pub owd: OwdSample,
    /// Whether it counts. A sample of a probe that left late does not.
    pub used: bool,
    /// When the answer came.
    pub at: Nanos,
}

/// What is known of a shard. Figures of delays are over the samples in the window when the last of
/// them came, and `None` once that is longer ago than samples live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeRow {
    /// The shard.
    pub shard: ShardId,
    /// The estimated one-way delay, the offset of the clocks included.
    pub estimate: Nanos,
    /// Smallest one-way delay, the offset of the clocks included, as in the next two.
    pub min: Option<Nanos>,
    /// Median of the one-way delays.
    pub p50: Option<Nanos>,
    /// 99th percentile of the one-way delays.
    pub p99: Option<Nanos>,
    /// The shard's clock less ours lies between these two: no message took less than no time,
    /// neither there (above) nor back (below). If they cross, a clock was set or runs too fast.
    pub offset_bound: Option<(Nanos, Nanos)>,
    /// Shortest round trip, without the time at the shard.
    pub rtt_min: Option<Nanos>,
    /// Answers that count for the estimate.
    pub samples: u64,
    /// Answers, also to probes that left late.
    pub answered: u64,
    /// Probes sent.
    pub sent: u64,
    /// Probes without an answer in time.
    pub lost: u64,
    /// Probes that left late.
    pub late: u64,
    /// Probes never sent: their time was missed, or the link was full.
    pub skipped: u64,
    /// Answers to what was not asked, or was answered or given up before.
    pub stale: u64,
    /// Answers with times that cannot be.
    pub impossible: u64,
    /// 99th percentile of how late probes left.
    pub lateness_p99: Option<Nanos>,
    /// Whether there is a link.
    pub is_up: bool,
}

/// A prober of all shards.
#[derive(Debug)]
pub struct Prober {
    pace: Pace,
    rows: Vec<Row>,
}

impl Prober {
    /// A prober without links. Settings outside their range are taken as the nearest inside.
    #[must_use]
    pub fn new(config: ProberConfig) -> Self {
        let row = |shard| Row::new(&config.owd, config.seed, ShardId(shard));
        Self { pace: Pace::new(&config), rows: (0..config.shards).map(row).collect() }
    }

    /// When [`on_timer`](Self::on_timer) has something to do next; `None` while no link is up.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.rows.iter().filter_map(Row::due).min()
    }

    /// Sends the probes that are due, at most one a shard, and returns how many.
    pub fn on_timer(&mut self, now: Nanos, outbox: &mut impl Outbox) -> usize {
        let mut sent = 0;
        for row in &mut self.rows {
            if row.due().is_some_and(|due| due <= now) {
                sent += usize::from(row.on_due(now, &self.pace, outbox));
            }
        }
        sent
    }

    /// Takes a `Probe` frame of a shard and hands every answer that makes sense to `samples`. Those
    /// that do not are counted.
    ///
    /// # Errors
    /// When it does not follow the format, or asks instead of answering: the link is to be closed.
    pub fn on_frame(
        &mut self,
        now: Nanos,
        shard: ShardId,
        frame: &Frame<'_>,
        mut samples: impl FnMut(ProbeSample),
    ) -> Result<(), WireError> {
        let row = &mut self.rows[usize::from(shard.0)];
        let mut probes = ProbeReader::new(frame);
        while let Some(probe) = probes.next_probe()? {
            if !probe.is_reply {
                return Err(wrong_direction(&probe));
            }
            if let Some(sample) = row.take(now, &self.pace, probe) {
                samples(sample);
            }
        }
        Ok(())
    }

    /// Notes that the link to a shard is up: its first probe is due. What was learned before still
    /// counts until it expires, for a new link seldom means another path or clock; if it does, the
    /// quick probes at the start soon outnumber the old samples.
    pub fn on_link_up(&mut self, now: Nanos, shard: ShardId) {
        self.rows[usize::from(shard.0)].link_up(now, &self.pace);
    }

    /// Notes that the link to a shard is down. What was under way is lost.
    pub fn on_link_down(&mut self, shard: ShardId) {
        self.rows[usize::from(shard.0)].link_down();
    }

    /// What is known of a shard.
    #[must_use]
    pub fn row(&self, now: Nanos, shard: ShardId) -> ProbeRow {
        self.rows[usize::from(shard.0)].report(now, &self.pace)
    }

    /// Probes under way to a shard.
    #[must_use]
    pub fn outstanding(&self, shard: ShardId) -> usize {
        self.rows[usize::from(shard.0)].outstanding()
    }
}

/// Answers the probes of a frame. `now` reads the shard's clock: once at the start, for what the
/// whole frame has in common, and again as each answer is written.
///
/// # Errors
/// When the frame does not follow the format, or answers instead of asking: the link is to be
/// closed. Two sides that answered answers would never stop.
pub fn answer_probes(
    mut now: impl FnMut() -> Nanos,
    frame: &Frame<'_>,
    out: &mut BatchWriter,
) -> Result<(), WireError> {
    let t2 = now().0;
    let mut probes = ProbeReader::new(frame);
    while let Some(probe) = probes.next_probe()? {
        if probe.is_reply {
            return Err(wrong_direction(&probe));
        }
        Probe { is_reply: true, t2, t3: now().0, t4: 0, ..probe }.write(out);
    }
    Ok(())
}

fn wrong_direction(probe: &Probe) -> WireError {
    WireError::UnknownValue { what: "direction of a probe", value: u64::from(probe.is_reply) }
}

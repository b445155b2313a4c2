//! One shard as the prober sees it: schedule, probes under way and what the answers said.

use super::{ProbeRow, ProbeSample, ProberConfig};
use crate::owd::{MILLION, Window, millionths};
use crate::{Nanos, Outbox, OwdConfig, OwdEstimator, OwdSample, ShardId};
use punctual_wire::{BatchWriter, Probe};
use std::collections::VecDeque;
use std::time::Duration;

/// Most probes under way to a shard: more than the defaults send before the first counts as lost.
/// At the bound the oldest does.
pub(super) const OUTSTANDING_MAX: usize = 1024;

const P50: u64 = MILLION / 2;
const P99: u64 = MILLION / 100 * 99;

/// The times of a [`ProberConfig`] as the schedule uses them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    first_interval: Nanos,
    first_for: Nanos,
    interval: Nanos,
    jitter_millionths: u64,
    late_max: Nanos,
    lost_after: Nanos,
    expire: Nanos,
}

impl Pace {
    /// An interval is at least a nanosecond, so that a schedule always moves.
    pub(super) fn new(config: &ProberConfig) -> Self {
        let step = |interval: Duration| Nanos::from(interval).max(Nanos(1));
        Self {
            first_interval: step(config.first_interval),
            first_for: config.first_for.into(),
            interval: step(config.interval),
            jitter_millionths: millionths(config.jitter).min(MILLION),
            late_max: config.late_max.into(),
            lost_after: config.lost_after.into(),
            expire: config.owd.expire.into(),
        }
    }
}

/// A probe under way.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    id: u32,
    late: bool,
    sent_at: Nanos,
}

/// A shard and its schedule.
#[derive(Debug)]
pub(super) struct Row {
    shard: ShardId,
    is_up: bool,
    /// The grid of the schedule: it moves by whole intervals only, whatever jitter and delay do.
    base: Nanos,
    /// When the next probe is due: `base` and jitter.
    due: Nanos,
    first_until: Nanos,
    random: u64,
    next_id: u32,
    /// From the oldest to the youngest.
    outstanding: VecDeque<Outstanding>,
    last_t4: i64,
    estimator: OwdEstimator,
    /// `t2 - t1`: delay there plus offset.
    there: Window,
    /// `t3 - t4`: offset less delay back.
    back: Window,
    rtt: Window,
    lateness: Window,
    samples: u64,
    answered: u64,
    sent: u64,
    lost: u64,
    late: u64,
    skipped: u64,
    stale: u64,
    impossible: u64,
}

impl Row {
    pub(super) fn new(owd: &OwdConfig, seed: u64, shard: ShardId) -> Self {
        let window = || Window::new(owd.window, owd.expire);
        Self {
            shard,
            is_up: false,
            base: Nanos::ZERO,
            due: Nanos::ZERO,
            first_until: Nanos::ZERO,
            // A far-off start for each shard, so that the sequences do not overlap.
            random: mix(seed ^ mix(u64::from(shard.0))),
            next_id: 0,
            outstanding: VecDeque::with_capacity(OUTSTANDING_MAX),
            last_t4: 0,
            estimator: OwdEstimator::new(owd),
            there: window(),
            back: window(),
            rtt: window(),
            lateness: window(),
            samples: 0,
            answered: 0,
            sent: 0,
            lost: 0,
            late: 0,
            skipped: 0,
            stale: 0,
            impossible: 0,
        }
    }

    /// When the next probe is due; `None` while the link is down.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.is_up.then_some(self.due)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    pub(super) fn link_up(&mut self, now: Nanos, pace: &Pace) {
        self.link_down();
        self.is_up = true;
        self.last_t4 = 0;
        self.base = now;
        self.first_until = now + pace.first_for;
        self.due = now + self.draw_jitter(pace.first_interval, pace);
    }

    pub(super) fn link_down(&mut self) {
        self.is_up = false;
        self.lost += self.outstanding.len() as u64;
        self.outstanding.clear();
    }

    /// Sends the probe that is due if the link can take it, and in any case plans the next. Returns
    /// whether it was sent.
    pub(super) fn on_due(&mut self, now: Nanos, pace: &Pace, outbox: &mut impl Outbox) -> bool {
        self.give_up(now, pace);
        let out = outbox.to_shard(self.shard);
        let sent = out.is_some();
        match out {
            Some(out) => self.send(now, pace, out),
            None => self.skipped += 1,
        }
        self.plan_next(now, pace);
        sent
    }

    fn send(&mut self, now: Nanos, pace: &Pace, out: &mut BatchWriter) {
        let lateness = now - self.due;
        let late = lateness > pace.late_max;
        if self.outstanding.len() == OUTSTANDING_MAX {
            self.outstanding.pop_front();
            self.lost += 1;
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.outstanding.push_back(Outstanding { id, late, sent_at: now });
        self.lateness.push(now, lateness);
        self.sent += 1;
        self.late += u64::from(late);
        let t4 = self.last_t4;
        Probe { id, late, t1: now.0, t4, ..Probe::default() }.write(out);
    }

    /// Moves the schedule to the next time that has not passed.
    fn plan_next(&mut self, now: Nanos, pace: &Pace) {
        let step = if now < self.first_until { pace.first_interval } else { pace.interval };
        self.base = self.base + step;
        if self.base <= now {
            let missed = (now - self.base).0 / step.0 + 1;
            self.skipped += missed.unsigned_abs();
            self.base = self.base + Nanos(step.0.saturating_mul(missed));
        }
        self.due = self.base + self.draw_jitter(step, pace);
    }

    fn draw_jitter(&mut self, step: Nanos, pace: &Pace) -> Nanos {
        // SplitMix64 (Steele, Lea and Flood 2014): a counter and a mixing function.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let span = step.0.unsigned_abs().saturating_mul(pace.jitter_millionths) / MILLION;
        let drawn = mix(self.random) % (span + 1);
        Nanos(i64::try_from(drawn).unwrap_or(0))
    }

    /// Counts as lost what has been under way for too long.
    fn give_up(&mut self, now: Nanos, pace: &Pace) {
        while self.outstanding.front().is_some_and(|it| now - it.sent_at >= pace.lost_after) {
            self.outstanding.pop_front();
            self.lost += 1;
        }
    }

    /// Takes an answer; `None` if it makes no sense.
    pub(super) fn take(
        &mut self,
        now: Nanos,
        pace: &Pace,
        mut probe: Probe,
    ) -> Option<ProbeSample> {
        self.give_up(now, pace);
        let Some(at) = self.outstanding.iter().position(|it| it.id == probe.id) else {
            self.stale += 1;
            return None;
        };
        let asked = self.outstanding.remove(at)?;
        probe.t4 = now.0;
        let [t1, t2, t3, t4] = [probe.t1, probe.t2, probe.t3, probe.t4].map(Nanos);
        let rtt = (t4 - t1) - (t3 - t2);
        if t1 != asked.sent_at || t3 < t2 || rtt < Nanos::ZERO {
            self.impossible += 1;
            return None;
        }
        self.answered += 1;
        self.last_t4 = t4.0;
        let owd = OwdSample { owd: t2 - t1, rtt: Some(rtt) };
        let used = !asked.late;
        if used {
            self.samples += 1;
            self.estimator.push(now, owd);
            self.there.push(now, owd.owd);
            self.back.push(now, t3 - t4);
            self.rtt.push(now, rtt);
        }
        Some(ProbeSample { shard: self.shard, probe, owd, used, at: now })
    }

    pub(super) fn report(&self, now: Nanos, pace: &Pace) -> ProbeRow {
        let newest_at = self.estimator.last_sample_at();
        let is_fresh = newest_at.is_some_and(|at| now - at <= pace.expire);
        let fresh = |figure: Option<Nanos>| figure.filter(|_| is_fresh);
        ProbeRow {
            shard: self.shard,
            estimate: self.estimator.estimate(now),
            min: fresh(self.there.min()),
            p50: fresh(self.there.percentile(P50)),
            p99: fresh(self.there.percentile(P99)),
            offset_bound: fresh(self.back.max()).zip(fresh(self.there.min())),
            rtt_min: fresh(self.rtt.min()),
            samples: self.samples,
            answered: self.answered,
            sent: self.sent,
            lost: self.lost,
            late: self.late,
            skipped: self.skipped,
            stale: self.stale,
            impossible: self.impossible,
            lateness_p99: self.lateness.percentile(P99),
            is_up: self.is_up,
        }
    }
}

/// The mixing function of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

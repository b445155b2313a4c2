//! What a run adds up to, and whether that agrees with the store.

use crate::histogram::Recorder;
use crate::report::WholeRun;
use punctual_runtime::{Nanos, Timing};

/// What one worker measured, and what it did to the store.
#[derive(Debug, Clone, Default)]
pub struct MicroTotals {
    /// Transactions that committed in the measured part.
    pub committed: u64,
    /// Those of them that touched several shards.
    pub cross: u64,
    /// Transactions that were aborted in it.
    pub aborted: u64,
    /// Transactions that were refused in it.
    pub refused: u64,
    /// Every transaction of the whole run.
    pub whole_run: WholeRun,
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
    /// How punctual the stamped ones were; none where there are none.
    pub punctuality: Option<Box<Punctuality>>,
}

/// How stamped transactions of the measured part met their times.
#[derive(Debug, Clone, Default)]
pub struct Punctuality {
    /// Those that committed.
    pub stamped: u64,
    /// Those of them that came after their stamp to one shard at least.
    pub late: u64,
    /// By how much the late ones were late.
    pub lateness: Recorder,
    /// From arrival to release, at the shard where that took longest.
    pub hold: Recorder,
    /// From admission to agreement, at the shard where that took longest.
    pub agreement: Recorder,
}

impl Punctuality {
    #[inline]
    pub(super) fn record(&mut self, timing: &Timing) {
        self.stamped += 1;
        // Zeros would hide how late the late ones were: nearly all are on time.
        if timing.late > Nanos::ZERO {
            self.late += 1;
            self.lateness.record(timing.late.0);
        }
        self.hold.record(timing.hold.0);
        self.agreement.record(timing.agreement.0);
    }

    fn merge(&mut self, other: &Self) {
        self.stamped += other.stamped;
        self.late += other.late;
        self.lateness.merge(&other.lateness);
        self.hold.merge(&other.hold);
        self.agreement.merge(&other.agreement);
    }
}

impl MicroTotals {
    pub(super) fn new(shards: u16, with_stamps: bool) -> Self {
        let zeros = vec![0; usize::from(shards)];
        Self {
            increments: zeros.clone(),
            increments_unknown: zeros,
            punctuality: with_stamps.then(Box::default),
            ..Self::default()
        }
    }

    /// Adds what another worker did.
    pub fn merge(&mut self, other: &Self) {
        self.committed += other.committed;
        self.cross += other.cross;
        self.aborted += other.aborted;
        self.refused += other.refused;
        self.whole_run.add(&other.whole_run);
        self.unsent += other.unsent;
        add_each(&mut self.increments, &other.increments);
        add_each(&mut self.increments_unknown, &other.increments_unknown);
        self.latency.merge(&other.latency);
        self.intended.merge(&other.intended);
        self.lag.merge(&other.lag);
        if let Some(other) = &other.punctuality {
            self.punctuality.get_or_insert_default().merge(other);
        }
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    /// Whether every transaction that was taken has ended, once.
    ///
    /// # Errors
    /// The numbers, if they do not add up.
    pub fn check_ends(&self) -> Result<(), String> {
        let WholeRun { submitted, committed, aborted, refused, unknown } = self.whole_run;
        let ended = committed + aborted + refused + unknown;
        if ended == submitted {
            return Ok(());
        }
        Err(format!(
            "{submitted} transactions were submitted, but {ended} ended ({committed} committed, \
             {aborted} aborted, {refused} refused, {unknown} unknown)"
        ))
    }

    /// Compares what the counters of each shard sum up to with the increments that were
    /// acknowledged there. A global sum would not notice one that went to the wrong shard.
    ///
    /// # Errors
    /// The first shard that differs, with both numbers.
    pub fn check_sums(&self, sums: &[i64]) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_compares_every_shard_by_itself() {
        let mut totals = MicroTotals::default();
        let increments = vec![10, 20];
        totals.merge(&MicroTotals { increments, ..MicroTotals::new(2, false) });
        let increments_unknown = vec![0, 2];
        totals.merge(&MicroTotals { increments_unknown, ..MicroTotals::new(2, false) });
        for sums in [[10, 20], [10, 22]] {
            assert_eq!(totals.check_sums(&sums), Ok(()));
        }
        // The first has the right sum over both.
        for sums in [[11, 19], [10, 19], [10, 23]] {
            assert!(totals.check_sums(&sums).is_err(), "{sums:?}");
        }
        let why = totals.check_sums(&[9, 20]).expect_err("one is missing");
        assert!(why.contains("shard 0 sum up to 9, acknowledged were 10"), "{why}");
    }

    #[test]
    fn a_transaction_that_did_not_end_or_ended_twice_is_noticed() {
        let whole_run =
            WholeRun { submitted: 10, committed: 6, aborted: 1, refused: 2, unknown: 1 };
        let totals = |whole_run| MicroTotals { whole_run, ..MicroTotals::default() };
        assert_eq!(totals(whole_run).check_ends(), Ok(()));
        for committed in [5, 7] {
            let why = totals(WholeRun { committed, ..whole_run }).check_ends().expect_err("wrong");
            assert!(why.starts_with("10 transactions were submitted, but "), "{why}");
        }
        let mut both = totals(WholeRun { committed: 5, ..whole_run });
        both.merge(&totals(WholeRun { submitted: 0, ..whole_run }));
        assert_eq!(both.whole_run.submitted, 10);
        assert!(both.check_ends().is_err(), "the ends of both count");
    }

    #[test]
    fn only_late_transactions_say_how_late_they_were() {
        let timing = |late| Timing { late: Nanos(late), hold: Nanos(50), agreement: Nanos(20) };
        let mut one = MicroTotals::new(1, true);
        let punctuality = one.punctuality.as_mut().expect("asked for");
        punctuality.record(&timing(0));
        punctuality.record(&timing(300));
        let mut all = MicroTotals::default();
        all.merge(&one);
        all.merge(&MicroTotals::new(1, false));
        let punctuality = all.punctuality.expect("one worker had some");
        assert_eq!((punctuality.stamped, punctuality.late), (2, 1));
        assert_eq!((punctuality.lateness.len(), punctuality.hold.len()), (1, 2));
        assert_eq!(punctuality.lateness.total().max(), 300);
    }
}

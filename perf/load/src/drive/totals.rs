//! What a run adds up to.

use crate::histogram::Recorder;
use crate::report::WholeRun;
use crate::workload::Sum;
use punctual_runtime::{Nanos, Timing};

/// What one worker measured.
#[derive(Debug, Clone, Default)]
pub struct RunTotals {
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
    /// By kind, where there are several.
    pub kinds: Vec<KindTotals>,
}

/// The transactions of one kind in the measured part.
#[derive(Debug, Clone, Default)]
pub struct KindTotals {
    /// Those that committed.
    pub committed: u64,
    /// Those that were aborted.
    pub aborted: u64,
    /// From submission to completion, or in an open loop from the intended start.
    pub latency: Recorder,
}

impl KindTotals {
    #[inline]
    pub(super) fn commit(&mut self, latency: Nanos) {
        self.committed += 1;
        self.latency.record(latency.0);
    }
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
}

impl Sum for Punctuality {
    fn add(&mut self, other: &Self) {
        self.stamped += other.stamped;
        self.late += other.late;
        self.lateness.merge(&other.lateness);
        self.hold.merge(&other.hold);
        self.agreement.merge(&other.agreement);
    }
}

impl RunTotals {
    /// Nothing yet, of a workload with so many kinds of transactions.
    #[must_use]
    pub fn new(kinds: usize) -> Self {
        // The figures of a single kind are those of the whole.
        let kinds = if kinds > 1 { kinds } else { 0 };
        Self { kinds: vec![KindTotals::default(); kinds], ..Self::default() }
    }

    /// Forgets times that were recorded, those of the warm-up.
    pub(super) fn forget_times(&mut self) {
        self.latency.clear();
        self.intended.clear();
        self.lag.clear();
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
}

impl Sum for RunTotals {
    fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.cross += other.cross;
        self.aborted += other.aborted;
        self.refused += other.refused;
        self.whole_run.add(&other.whole_run);
        self.unsent += other.unsent;
        self.latency.merge(&other.latency);
        self.intended.merge(&other.intended);
        self.lag.merge(&other.lag);
        if let Some(other) = &other.punctuality {
            self.punctuality.get_or_insert_default().add(other);
        }
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.kinds.resize(self.kinds.len().max(other.kinds.len()), KindTotals::default());
        for (kind, other) in self.kinds.iter_mut().zip(&other.kinds) {
            kind.committed += other.committed;
            kind.aborted += other.aborted;
            kind.latency.merge(&other.latency);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_did_not_end_or_ended_twice_is_noticed() {
        let whole_run =
            WholeRun { submitted: 10, committed: 6, aborted: 1, refused: 2, unknown: 1 };
        let totals = |whole_run| RunTotals { whole_run, ..RunTotals::default() };
        assert_eq!(totals(whole_run).check_ends(), Ok(()));
        for committed in [5, 7] {
            let why = totals(WholeRun { committed, ..whole_run }).check_ends().expect_err("wrong");
            assert!(why.starts_with("10 transactions were submitted, but "), "{why}");
        }
        let mut both = totals(WholeRun { committed: 5, ..whole_run });
        both.add(&totals(WholeRun { submitted: 0, ..whole_run }));
        assert_eq!(both.whole_run.submitted, 10);
        assert!(both.check_ends().is_err(), "the ends of both count");
    }

    #[test]
    fn only_late_transactions_say_how_late_they_were() {
        let timing = |late| Timing { late: Nanos(late), hold: Nanos(50), agreement: Nanos(20) };
        let mut one = RunTotals::new(1);
        let punctuality = one.punctuality.get_or_insert_default();
        punctuality.record(&timing(0));
        punctuality.record(&timing(300));
        let mut all = RunTotals::default();
        all.add(&one);
        all.add(&RunTotals::new(1));
        let punctuality = all.punctuality.expect("one worker had some");
        assert_eq!((punctuality.stamped, punctuality.late), (2, 1));
        assert_eq!((punctuality.lateness.len(), punctuality.hold.len()), (1, 2));
        assert_eq!(punctuality.lateness.total().max(), 300);
    }

    #[test]
    fn kinds_add_up_each_for_itself_and_a_single_kind_has_no_figures_of_its_own() {
        let mut one = RunTotals::new(2);
        one.kinds[1].commit(Nanos(500));
        one.kinds[0].aborted = 3;
        let mut all = RunTotals::default();
        all.add(&one);
        all.add(&one);
        let figures: Vec<_> = all.kinds.iter().map(|kind| (kind.committed, kind.aborted)).collect();
        assert_eq!(figures, [(0, 6), (2, 0)]);
        assert_eq!(all.kinds[1].latency.len(), 2);
        assert!(RunTotals::new(1).kinds.is_empty());
    }
}

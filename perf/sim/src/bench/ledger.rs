//! The books of a run: what was sent, how it ended, and how long it took.

use super::config::SimBenchConfig;
use hdrhistogram::Histogram;
use punctual_core::{Completion, Nanos, Outcome, Timing};

/// The longest time that is told from longer ones: a minute.
const TIME_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits of what is recorded.
const DIGITS: u8 = 3;

/// An empty histogram of nanoseconds, with the bounds of those of `bench micro`.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_NS_MAX, DIGITS).expect("the constant bounds are valid")
}

fn record(histogram: &mut Histogram<u64>, time_ns: i64) {
    histogram.saturating_record(time_ns.clamp(1, TIME_NS_MAX.cast_signed()).unsigned_abs());
}

/// A transaction under way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flight {
    /// When it was meant to start.
    pub(super) intended: i64,
    pub(super) sent: i64,
    /// What it takes at least, by the rules and the network.
    pub(super) bound: i64,
    /// Shards that it touches.
    pub(super) span: u16,
    pub(super) kind: u8,
    /// Its slot in the generator that made it.
    pub(super) slot: u16,
}

/// How many transactions ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) committed: u64,
    pub(super) aborted: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
}

impl Ends {
    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Committed { .. } => &mut self.committed,
            Outcome::Aborted { .. } => &mut self.aborted,
            Outcome::Refused(_) => &mut self.refused,
            Outcome::Unknown(_) => &mut self.unknown,
        } += 1;
    }
}

/// The measured transactions of one kind.
#[derive(Debug)]
pub(super) struct KindBook {
    pub(super) committed: u64,
    pub(super) aborted: u64,
    /// In an open loop from the intended start.
    pub(super) latency: Histogram<u64>,
}

/// The books.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The measured part, in true time.
    pub(super) begin: i64,
    pub(super) end: i64,
    is_open_loop: bool,
    /// Under way now.
    pub(super) in_flight: u64,
    /// Of the whole run.
    pub(super) submitted: u64,
    pub(super) whole: Ends,
    /// Of the measured part, as all that follows.
    pub(super) measured: Ends,
    pub(super) stamped: u64,
    pub(super) late: u64,
    pub(super) last_commit: i64,
    bound_sum: i128,
    pub(super) latency: Histogram<u64>,
    pub(super) response: Histogram<u64>,
    pub(super) lag: Histogram<u64>,
    pub(super) hold: Histogram<u64>,
    pub(super) agreement: Histogram<u64>,
    pub(super) lateness: Histogram<u64>,
    /// By kind, where there are several.
    pub(super) kinds: Vec<KindBook>,
}

impl Ledger {
    /// Empty books of a workload with so many kinds of transactions.
    pub(super) fn new(config: &SimBenchConfig, begin: i64, kinds: usize) -> Self {
        // The figures of a single kind are those of the whole.
        let kinds = if kinds > 1 { kinds } else { 0 };
        let kind = |_| KindBook { committed: 0, aborted: 0, latency: histogram() };
        Self {
            begin,
            end: begin + Nanos::from(config.duration).0.max(1),
            is_open_loop: config.rate.is_some(),
            in_flight: 0,
            submitted: 0,
            whole: Ends::default(),
            measured: Ends::default(),
            stamped: 0,
            late: 0,
            last_commit: 0,
            bound_sum: 0,
            latency: histogram(),
            response: histogram(),
            lag: histogram(),
            hold: histogram(),
            agreement: histogram(),
            lateness: histogram(),
            kinds: (0..kinds).map(kind).collect(),
        }
    }

    /// Whether a moment is in the measured part.
    fn is_measured(&self, at: i64) -> bool {
        (self.begin..self.end).contains(&at)
    }

    /// A transaction is under way.
    pub(super) fn sent(&mut self, flight: &Flight) {
        self.submitted += 1;
        self.in_flight += 1;
        if self.is_open_loop && self.is_measured(flight.intended) {
            record(&mut self.lag, flight.sent - flight.intended);
        }
    }

    /// A transaction has ended.
    pub(super) fn ended(&mut self, now: i64, flight: &Flight, completion: &Completion<'_>) {
        self.in_flight -= 1;
        self.whole.count(completion.outcome);
        // In a closed loop what ends in the measured part is counted, in an open loop what was
        // meant to start there: to leave out what ends later would leave out the longest.
        let counts = self.is_measured(if self.is_open_loop { flight.intended } else { now });
        if !counts {
            return;
        }
        self.measured.count(completion.outcome);
        let since = if self.is_open_loop { flight.intended } else { flight.sent };
        if let Some(kind) = self.kinds.get_mut(usize::from(flight.kind)) {
            match completion.outcome {
                Outcome::Committed { .. } => {
                    kind.committed += 1;
                    record(&mut kind.latency, now - since);
                }
                Outcome::Aborted { .. } => kind.aborted += 1,
                Outcome::Refused(_) | Outcome::Unknown(_) => {}
            }
        }
        if !matches!(completion.outcome, Outcome::Committed { .. }) {
            return;
        }
        self.last_commit = self.last_commit.max(now);
        self.bound_sum += i128::from(flight.bound);
        record(&mut self.latency, now - flight.sent);
        if self.is_open_loop {
            record(&mut self.response, now - flight.intended);
        }
        if flight.span > 1
            && let Some(timing) = completion.timing
        {
            self.count_timing(timing);
        }
    }

    fn count_timing(&mut self, timing: Timing) {
        self.stamped += 1;
        record(&mut self.hold, timing.hold.0);
        record(&mut self.agreement, timing.agreement.0);
        if timing.late > Nanos::ZERO {
            self.late += 1;
            record(&mut self.lateness, timing.late.0);
        }
    }

    /// The mean of what the measured transactions take at least.
    pub(super) fn bound_mean(&self) -> Option<f64> {
        let committed = self.measured.committed;
        (committed > 0).then(|| self.bound_sum as f64 / committed as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_core::UnknownReason;
    use punctual_wire::{ResultReader, TxnSequence};

    fn ends(ledger: &mut Ledger, now: i64, outcome: Outcome) {
        let flight = Flight { intended: 1, sent: 2, bound: 3, span: 1, kind: 1, slot: 0 };
        ledger.sent(&flight);
        let completion = Completion {
            sequence: TxnSequence::new(0, 1),
            tag: 0,
            outcome,
            submitted_at: Nanos::ZERO,
            results: ResultReader::default(),
            timing: None,
        };
        ledger.ended(now, &flight, &completion);
    }

    #[test]
    fn kinds_are_told_apart_where_there_are_several() {
        let mut ledger = Ledger::new(&SimBenchConfig::default(), 10, 2);
        ends(&mut ledger, 20, Outcome::Committed { at: Nanos::ZERO });
        ends(&mut ledger, 30, Outcome::Aborted { at: Nanos::ZERO });
        ends(&mut ledger, 40, Outcome::Unknown(UnknownReason::Deadline));
        let ends_of = |kind: &KindBook| (kind.committed, kind.aborted);
        let figures: Vec<_> = ledger.kinds.iter().map(ends_of).collect();
        assert_eq!(figures, [(0, 0), (1, 1)]);
        assert_eq!((ledger.kinds[1].latency.len(), ledger.kinds[1].latency.max()), (1, 18));
        assert_eq!((ledger.measured.aborted, ledger.whole.unknown), (1, 1));
        assert!(Ledger::new(&SimBenchConfig::default(), 10, 1).kinds.is_empty());
    }

    #[test]
    fn in_a_closed_loop_what_ends_in_the_measured_part_counts() {
        let duration = std::time::Duration::from_nanos(100);
        let config = SimBenchConfig { shards: 2, duration, ..SimBenchConfig::default() };
        let mut ledger = Ledger::new(&config, 10, 1);
        for now in [9, 10, 109, 110] {
            ends(&mut ledger, now, Outcome::Committed { at: Nanos::ZERO });
        }
        assert_eq!((ledger.whole.committed, ledger.measured.committed), (4, 2));
        assert_eq!((ledger.in_flight, ledger.last_commit), (0, 109));
        assert_eq!(ledger.bound_mean(), Some(3.0));
        let mut open = Ledger::new(&SimBenchConfig { rate: Some(1e6), ..config }, 10, 1);
        ends(&mut open, 50, Outcome::Committed { at: Nanos::ZERO });
        assert_eq!(open.measured.committed, 0, "it was meant to start in the warm-up");
    }
}

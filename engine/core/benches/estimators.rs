//! What the estimators of one-way delays cost: to take a sample, and to be asked.
//! `docs/profiling.md` says how to run it.

use criterion::{Criterion, Throughput};
use punctual_core::{EstimatorKind, Nanos, OwdConfig, OwdEstimator, OwdSample};

/// From one sample to the next.
const INTERVAL: Nanos = Nanos(100_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("estimator");
    group.throughput(Throughput::Elements(1));
    for kind in EstimatorKind::ALL {
        let config = OwdConfig { kind, ..OwdConfig::default() };
        let mut estimator = OwdEstimator::new(&config);
        let mut samples = Samples::new();
        // The window is full from the beginning.
        for _ in 0..config.window {
            let (now, sample) = samples.next();
            estimator.push(now, sample);
        }
        group.bench_function(format!("{} push", kind.name()), |bencher| {
            bencher.iter(|| {
                let (now, sample) = samples.next();
                estimator.push(now, sample);
            });
        });
        group.bench_function(format!("{} estimate", kind.name()), |bencher| {
            bencher.iter(|| estimator.estimate(samples.now));
        });
        assert!(estimator.estimate(samples.now) > Nanos::ZERO, "delays are positive");
    }
    group.finish();
    criterion.final_summary();
}

/// Delays of 1 ms and a jitter with a long tail, the same in every run.
struct Samples {
    now: Nanos,
    state: u64,
}

impl Samples {
    fn new() -> Self {
        Self { now: Nanos::ZERO, state: 0x9e37_79b9_7f4a_7c15 }
    }

    fn next(&mut self) -> (Nanos, OwdSample) {
        self.now = self.now + INTERVAL;
        // Marsaglia's xorshift: leading zeros of it are distributed geometrically.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let jitter = Nanos(20_000 * i64::from(self.state.leading_zeros()));
        let owd = Nanos(1_000_000) + jitter;
        (self.now, OwdSample { owd, rtt: Some(owd + owd) })
    }
}

//! The numbers of a snapshot as metrics for Prometheus.

mod text;

use crate::document::JOBS_MAX;
use crate::documents::worker_state;
use crate::farm::{Farm, Rates};
use crate::snapshot::{Block, Snapshot};
use punctual_runtime::tasks::{LatencyBuckets, OwnedWorker, TaskState};
use punctual_runtime::{Counter, Nanos, ProbeRow};
pub(crate) use text::MEDIA_TYPE;
use text::{Exposition, Kind};

/// Counters that are values of the moment, or of the worst moment, rather than sums.
const GAUGES: [Counter; 15] = [
    Counter::Held,
    Counter::Keys,
    Counter::StoreBytes,
    Counter::InFlight,
    Counter::JournalFull,
    Counter::JournalWriteMaxNs,
    Counter::JournalLagMaxNs,
    Counter::TasksUnfinished,
    Counter::TaskBytes,
    Counter::TaskWorkers,
    Counter::TaskHolds,
    Counter::NetworkLinks,
    Counter::NetworkErrorP50Ns,
    Counter::NetworkErrorP99Ns,
    Counter::NetworkErrorMaxNs,
];

/// The name of a metric of workers, how it moves, what it is, and where it is found.
type OfWorker = (&'static str, Kind, &'static str, fn(&OwnedWorker) -> f64);

const OF_WORKERS: [OfWorker; 13] = [
    ("punctual_worker_up", Kind::Gauge, "Whether the worker is connected.", |worker| {
        f64::from(u8::from(worker.is_linked))
    }),
    ("punctual_worker_slots", Kind::Gauge, "Tasks that it may run at once.", |worker| {
        f64::from(worker.capacity.slots)
    }),
    ("punctual_worker_running", Kind::Gauge, "Tasks that it runs.", |worker| {
        f64::from(worker.running)
    }),
    ("punctual_worker_ahead", Kind::Gauge, "Tasks that wait at the worker.", |worker| {
        f64::from(worker.ahead)
    }),
    ("punctual_worker_done_total", Kind::Counter, "Runs that succeeded.", |worker| {
        worker.done as f64
    }),
    ("punctual_worker_failed_total", Kind::Counter, "Runs that failed.", |worker| {
        worker.failed as f64
    }),
    ("punctual_worker_lost_total", Kind::Counter, "Tasks that were lost with it.", |worker| {
        worker.lost as f64
    }),
    ("punctual_worker_memory_bytes", Kind::Gauge, "Memory that it offers.", |worker| {
        worker.capacity.memory as f64
    }),
    ("punctual_worker_memory_free_bytes", Kind::Gauge, "Free memory of its machine.", |worker| {
        worker.memory_free as f64
    }),
    ("punctual_worker_cores", Kind::Gauge, "Cores that it offers.", |worker| {
        f64::from(worker.capacity.cores_milli) / 1e3
    }),
    ("punctual_worker_cores_used", Kind::Gauge, "Cores in use at its machine.", |worker| {
        f64::from(worker.cores_used_milli) / 1e3
    }),
    ("punctual_worker_task_mean_seconds", Kind::Gauge, "Mean run of its tasks.", |worker| {
        worker.mean_ns as f64 / 1e9
    }),
    (
        "punctual_worker_heard_timestamp_seconds",
        Kind::Gauge,
        "When it was last heard of, since 1970.",
        |worker| worker.heard as f64 / 1e9,
    ),
];

/// The name of a metric of delays, what it is, and where it is found.
type OfDelay = (&'static str, &'static str, fn(&ProbeRow) -> Option<f64>);

const OF_DELAYS: [OfDelay; 6] = [
    ("punctual_owd_up", "Whether there is a link to the shard.", |row| {
        Some(f64::from(u8::from(row.is_up)))
    }),
    ("punctual_owd_estimate_seconds", "Estimated one-way delay, clock offset included.", |row| {
        seconds(Some(row.estimate))
    }),
    ("punctual_owd_min_seconds", "Smallest one-way delay.", |row| seconds(row.min)),
    ("punctual_owd_p50_seconds", "Median of one-way delays.", |row| seconds(row.p50)),
    ("punctual_owd_p99_seconds", "99th percentile of one-way delays.", |row| seconds(row.p99)),
    ("punctual_owd_rtt_min_seconds", "Shortest round trip.", |row| seconds(row.rtt_min)),
];

fn seconds(time: Option<Nanos>) -> Option<f64> {
    time.map(|time| time.0 as f64 / 1e9)
}

/// All metrics of a snapshot.
pub(crate) fn metrics(snapshot: &Snapshot) -> String {
    let mut out = Exposition::default();
    if let Some(farm) = &snapshot.farm {
        let is_up = if farm.is_ok() { 1.0 } else { 0.0 };
        out.single("punctual_tasks_up", Kind::Gauge, "Whether the task queue answers.", is_up);
    }
    if let Some(farm) = snapshot.farm() {
        tasks(&mut out, farm);
        workers(&mut out, farm);
    }
    counters(&mut out, &snapshot.blocks);
    delays(&mut out, &snapshot.delays);
    out.finish()
}

fn tasks(out: &mut Exposition, farm: &Farm) {
    let name = "punctual_tasks";
    out.metric(name, Kind::Gauge, "Tasks by state.");
    for state in TaskState::ALL {
        out.value(name, &[("state", state.name())], farm.counts[state] as f64);
    }
    let name = "punctual_tasks_per_second";
    out.metric(name, Kind::Gauge, "Tasks a second, by what happens to them, over a window.");
    for (window, Rates { submitted, done, failed }) in ["1s", "10s"].into_iter().zip(&farm.rates) {
        for (what, rate) in [("submitted", submitted), ("done", done), ("failed", failed)] {
            if let Some(rate) = rate {
                out.value(name, &[("what", what), ("window", window)], *rate);
            }
        }
    }
    let times = [
        ("punctual_task_run_seconds", "Mean run of tasks.", farm.run_ns),
        ("punctual_task_wait_seconds", "Expected wait of a task that is ready.", farm.wait_ns),
    ];
    for (name, help, time_ns) in times {
        if let Some(time_ns) = time_ns {
            out.single(name, Kind::Gauge, help, time_ns as f64 / 1e9);
        }
    }
    latencies(out, farm);
    out.single("punctual_jobs", Kind::Gauge, "Jobs.", farm.jobs.len() as f64);
    let name = "punctual_job_tasks";
    out.metric(name, Kind::Gauge, "Tasks of a job by state; of the newest jobs only.");
    for job in farm.foremost_jobs(JOBS_MAX) {
        let job_name = String::from_utf8_lossy(&job.name);
        for state in TaskState::ALL {
            let labels = [("job", &*job_name), ("state", state.name())];
            out.value(name, &labels, job.counts[state] as f64);
        }
    }
}

fn latencies(out: &mut Exposition, farm: &Farm) {
    let (name, help) = ("punctual_task_queue_wait_seconds", "Waits of tasks for a worker.");
    histogram(out, name, help, &farm.latencies.wait);
    let help = "Times from when a worker was given a task to its report.";
    histogram(out, "punctual_task_lease_seconds", help, &farm.latencies.lease);
}

/// A distribution with a bound for each power of two: four would be more lines than are of use.
fn histogram(out: &mut Exposition, name: &str, help: &str, buckets: &LatencyBuckets) {
    let mut below = 0;
    let bounds = buckets.counts().iter().enumerate().filter_map(|(at, count)| {
        below = count.saturating_add(below);
        let bound_ns = LatencyBuckets::floor_ns(at + 1);
        let is_shown = at + 1 < LatencyBuckets::COUNT && bound_ns.is_power_of_two();
        is_shown.then_some((bound_ns as f64 / 1e9, below))
    });
    let sum = buckets.sum_ns() as f64 / 1e9;
    out.histogram(name, help, bounds, (sum, buckets.count()));
}

fn workers(out: &mut Exposition, farm: &Farm) {
    let name = "punctual_workers";
    out.metric(name, Kind::Gauge, "Workers by state.");
    for state in ["busy", "idle", "draining", "lost"] {
        let workers = farm.workers.iter().filter(|worker| worker_state(worker) == state).count();
        out.value(name, &[("state", state)], workers as f64);
    }
    for (name, kind, help, value) in OF_WORKERS {
        out.metric(name, kind, help);
        for worker in &farm.workers {
            let (worker_name, host) =
                (String::from_utf8_lossy(&worker.name), String::from_utf8_lossy(&worker.host));
            out.value(name, &[("worker", &*worker_name), ("host", &*host)], value(worker));
        }
    }
}

/// Every counter that is not zero everywhere.
fn counters(out: &mut Exposition, blocks: &[Block]) {
    for counter in Counter::ALL {
        if blocks.iter().all(|block| block.get(*counter) == 0) {
            continue;
        }
        let is_gauge = GAUGES.contains(counter);
        // Times are in seconds where metrics are read.
        let (base, scale) = match counter.name().strip_suffix("_ns") {
            Some(base) => (format!("{base}_seconds"), 1e-9),
            None => (counter.name().to_owned(), 1.0),
        };
        let (kind, end) = if is_gauge { (Kind::Gauge, "") } else { (Kind::Counter, "_total") };
        let name = format!("punctual_engine_{base}{end}");
        out.metric(&name, kind, &format!("The counter {} of a part.", counter.name()));
        for block in blocks {
            let value = block.get(*counter) as f64 * scale;
            let labels = [("part", block.name.as_str()), ("kind", block.kind.name())];
            out.value(&name, &labels, value);
        }
    }
}

fn delays(out: &mut Exposition, rows: &[ProbeRow]) {
    for (name, help, value) in OF_DELAYS {
        let known: Vec<(u16, f64)> =
            rows.iter().filter_map(|row| Some((row.shard.0, value(row)?))).collect();
        if known.is_empty() {
            continue;
        }
        out.metric(name, Kind::Gauge, help);
        for (shard, value) in known {
            out.value(name, &[("shard", shard.to_string().as_str())], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_worst_moments_are_no_sums() {
        let ends = ["_p50_ns", "_p99_ns", "_max_ns"];
        let of_moments =
            Counter::ALL.iter().filter(|it| ends.iter().any(|end| it.name().ends_with(end)));
        let sums: Vec<&str> =
            of_moments.filter(|it| !GAUGES.contains(it)).map(|it| it.name()).collect();
        assert!(sums.is_empty(), "{sums:?}");
        assert!(GAUGES.contains(&Counter::NetworkErrorP99Ns));
    }
}

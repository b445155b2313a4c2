//! The documents of a dashboard as they are read here. What is not there is nothing: a dashboard
//! says more than this, and an older one less.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Everything but the list of tasks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Summary {
    pub(super) schema: u32,
    pub(super) version: String,
    pub(super) title: String,
    pub(super) now_ns: i64,
    pub(super) tasks: Option<Farm>,
    pub(super) engine: Option<Engine>,
    pub(super) blocks: Vec<Block>,
    pub(super) delays: Vec<Delay>,
}

/// A task queue; with an error there is nothing else.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Farm {
    pub(super) error: Option<String>,
    pub(super) total: u64,
    pub(super) unfinished: u64,
    pub(super) counts: Counts,
    pub(super) rates_1s: Rates,
    pub(super) rates_10s: Rates,
    pub(super) run_ns: Option<u64>,
    pub(super) wait_ns: Option<u64>,
    pub(super) waits_10s: Option<Spread>,
    pub(super) leases_10s: Option<Spread>,
    pub(super) jobs: Vec<Job>,
    pub(super) jobs_total: u64,
    pub(super) workers: Vec<Worker>,
    pub(super) workers_total: u64,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) blocked: u64,
    pub(super) delayed: u64,
    pub(super) ready: u64,
    pub(super) running: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rates {
    pub(super) submitted: Option<f64>,
    pub(super) done: Option<f64>,
    pub(super) failed: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Spread {
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) opened_ns: i64,
    pub(super) tasks: u64,
    pub(super) counts: Counts,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) slots: u32,
    pub(super) memory_bytes: u64,
    pub(super) cores: f64,
    pub(super) running: u32,
    pub(super) ahead: u32,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) memory_free_bytes: u64,
    pub(super) cores_used: f64,
    pub(super) mean_ns: u64,
    pub(super) heard_ns: i64,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Engine {
    pub(super) rate_1s: Option<f64>,
    pub(super) in_flight: u64,
    pub(super) latency_ns: Option<u64>,
}

/// The counters of a part of a process.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Block {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) rate_1s: Option<f64>,
    counters: BTreeMap<String, u64>,
}

/// One-way delays to a shard.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delay {
    pub(super) shard: u16,
    pub(super) is_up: bool,
    pub(super) estimate_ns: Option<i64>,
    pub(super) min_ns: Option<i64>,
    pub(super) p50_ns: Option<i64>,
    pub(super) p99_ns: Option<i64>,
    pub(super) rtt_min_ns: Option<i64>,
    pub(super) sent: u64,
    pub(super) lost: u64,
}

/// A page of tasks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskList {
    pub(super) tasks: Vec<Task>,
    pub(super) next: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) job: String,
    pub(super) state: String,
    pub(super) is_ahead: bool,
    pub(super) name: String,
    pub(super) command: String,
    pub(super) worker: String,
    pub(super) attempt: u32,
    pub(super) leased_ns: Option<i64>,
    pub(super) end: Option<End>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct End {
    pub(super) reason: String,
    pub(super) ran_ns: u64,
}

impl Summary {
    /// The queue, if there is one and it answered.
    pub(super) fn farm(&self) -> Option<&Farm> {
        self.tasks.as_ref().filter(|farm| farm.error.is_none())
    }
}

impl Counts {
    /// The states in the order of a task's life.
    pub(super) fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("blocked", self.blocked),
            ("delayed", self.delayed),
            ("ready", self.ready),
            ("running", self.running),
            ("done", self.done),
            ("failed", self.failed),
            ("cancelled", self.cancelled),
        ]
    }

    /// Those that nobody has begun.
    pub(super) fn to_do(self) -> u64 {
        self.blocked + self.delayed + self.ready
    }
}

impl Block {
    /// A counter; those that are zero are not told.
    pub(super) fn get(&self, counter: &str) -> u64 {
        self.counters.get(counter).copied().unwrap_or(0)
    }

    /// Links that are open.
    pub(super) fn links(&self) -> u64 {
        self.get("links_opened").saturating_sub(self.get("links_closed"))
    }
}

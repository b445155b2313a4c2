//! A workload of one's own, and a run of it.
//!
//! Visitors of a shop buy a piece of an article each, if one is left, and now and then somebody
//! brings some. After the run the shelves must hold what was there before, less what was bought,
//! plus what was brought. Everything else is done by [`bench::run`]: it loads the shelves, warms
//! up, measures, waits for what is in flight, and reads the shelves again.
//!
//! ```text
//! cargo run --release -p punctual-load --example own_workload
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use punctual_load::drive::LoadSettings;
use punctual_load::environment::Build;
use punctual_load::keys::Rng;
use punctual_load::summary::fmt_ns_or_dash;
use punctual_load::workload::{Generator, Place, Sum, Workload};
use punctual_load::{Plan, Target, bench};
use punctual_runtime::{
    Config, Key, Limits, Outcome, ProcedureContext, Procedures, ResultReader, Transaction,
    Transport, Verdict,
};
use serde_json::{Map, Value};
use std::error::Error;
use std::ops::Range;
use std::time::Duration;

/// The id of its procedure, the same in every process of a cluster.
const BUY: u16 = 1;
/// Pieces of an article at the beginning.
const LOADED: i64 = 10;
/// Pieces that are brought at a time, by one visitor in ten: as many as the others buy.
const BROUGHT: i64 = 9;

/// What is to be run.
#[derive(Debug, Clone)]
struct Shop {
    articles: u64,
}

impl Workload for Shop {
    type Generator = Visitors;

    fn name(&self) -> &'static str {
        "shop"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["buy", "bring"]
    }

    fn check(&self, _shards: u16, _limits: &Limits) -> Result<(), String> {
        if self.articles > 0 { Ok(()) } else { Err("--articles 0 are too few".to_owned()) }
    }

    fn procedures(&self) -> Procedures {
        let mut procedures = Procedures::new();
        procedures.register(BUY, "shop.buy", buy).expect("the first one");
        procedures
    }

    fn parameters(&self) -> Map<String, Value> {
        Map::from_iter([("articles".to_owned(), self.articles.into())])
    }

    fn describe(&self) -> String {
        format!("visitors of a shop with {} articles", self.articles)
    }

    fn generator(&self, place: &Place) -> Visitors {
        Visitors::new(self.articles, place)
    }

    fn check_store(&self, done: &Pieces, found: &Pieces) -> Result<(), String> {
        let wanted = self.articles.cast_signed() * LOADED + done.count;
        match (found.count - wanted).abs() <= done.unsure {
            true => Ok(()),
            false => Err(format!("{} pieces are there, {wanted} should be", found.count)),
        }
    }
}

/// Takes a piece from the shelf. It runs on the shard of the article with nobody in between, and
/// what an abort leaves is what was there before.
fn buy(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let Ok(article) = args.try_into().map(u64::from_le_bytes) else { return Verdict::Abort };
    match context.add(Key::Word(article), -1) {
        Some(left) if left >= 0 => Verdict::Commit,
        _ => Verdict::Abort,
    }
}

/// Pieces that came and went, as acknowledged, or that are on the shelves.
#[derive(Debug, Clone, Copy, Default)]
struct Pieces {
    count: i64,
    /// By how many the count may be wrong, because nobody knows what became of a transaction.
    unsure: i64,
}

impl Sum for Pieces {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.unsure += other.unsure;
    }
}

/// Makes the transactions of one worker.
#[derive(Debug)]
struct Visitors {
    articles: u64,
    rng: Rng,
    /// Articles of this worker's part that are still to be loaded, and to be counted in the end.
    to_load: Range<u64>,
    to_count: Range<u64>,
    /// What the transaction made last does to its shelf, and what those in flight do, by slot.
    next: i64,
    flights: Vec<i64>,
    done: Pieces,
    found: Pieces,
}

impl Visitors {
    fn new(articles: u64, place: &Place) -> Self {
        Self {
            articles,
            rng: Rng::new(place.own_seed()),
            to_load: place.share(articles),
            to_count: place.share(articles),
            next: 0,
            flights: vec![0; place.slots as usize],
            done: Pieces::default(),
            found: Pieces::default(),
        }
    }
}

/// Takes a transaction's worth of articles from the front.
fn take(articles: &mut Range<u64>) -> Range<u64> {
    let taken = articles.start..articles.end.min(articles.start + 64);
    articles.start = taken.end;
    taken
}

impl Generator for Visitors {
    type Done = Pieces;
    type Found = Pieces;

    fn load(&mut self, transaction: &mut Transaction) -> bool {
        for article in take(&mut self.to_load) {
            transaction.put(Key::Word(article), &LOADED.to_le_bytes());
        }
        transaction.op_count() > 0
    }

    fn next(&mut self, transaction: &mut Transaction) -> Result<u8, String> {
        let article = self.rng.below(self.articles);
        if self.rng.chance(0.1) {
            self.next = BROUGHT;
            transaction.add(Key::Word(article), BROUGHT);
            return Ok(1);
        }
        self.next = -1;
        transaction.call(BUY, Key::Word(article), &article.to_le_bytes());
        Ok(0)
    }

    fn sent(&mut self, slot: u16) {
        self.flights[usize::from(slot)] = self.next;
    }

    fn ended(&mut self, slot: u16, outcome: &Outcome, _results: &mut ResultReader<'_>) {
        let pieces = self.flights[usize::from(slot)];
        match outcome {
            Outcome::Committed { .. } => self.done.count += pieces,
            Outcome::Unknown(_) => self.done.unsure += pieces.abs(),
            Outcome::Aborted { .. } | Outcome::Refused(_) => {}
        }
    }

    fn done(&mut self) -> Pieces {
        self.done
    }

    fn verify(&mut self, transaction: &mut Transaction) -> bool {
        for article in take(&mut self.to_count) {
            transaction.get(Key::Word(article));
        }
        transaction.op_count() > 0
    }

    fn verify_sent(&mut self, _slot: u16) {}

    fn verified(&mut self, _slot: u16, results: &mut ResultReader<'_>) {
        self.found.count += results.filter_map(|shelf| shelf.number()).sum::<i64>();
    }

    fn found(&mut self) -> Pieces {
        self.found
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::embedded(2);
    config.process.in_flight = 256;
    let plan = Plan {
        load: LoadSettings { schedule: None, seed: 1, burst: 64, in_flight: 256 },
        config,
        target: Target::Embedded(Transport::Ring),
        workload: Shop { articles: 1000 },
        warmup: Duration::from_millis(200),
        duration: Duration::from_secs(1),
        hdr: None,
        recover: false,
        build: Build::default(),
    };
    plan.workload.check(plan.config.cluster.shards, &plan.config.cluster.limits)?;
    // A message in this queue would end the run early.
    let (_interrupt, interrupted) = flume::bounded(1);
    let report = bench::run(&plan, &interrupted, &mut |_progress| {})?;
    println!("{}", report.summary_line());
    for kind in &report.kinds {
        let p99 = fmt_ns_or_dash(kind.latency_ns.p99);
        println!("{}: {} done, {} in vain, p99 {p99}", kind.name, kind.committed, kind.aborted);
    }
    if report.self_check == "ok" { Ok(()) } else { Err(report.self_check.into()) }
}

//! The procedures on bare stores, one a shard, and what the check makes of them.

mod broken;
mod consistent;
mod parts;

use super::args::{self, LoadArgs};
use super::done::TpccDone;
use super::generate::TpccGenerator;
use super::load::{Piece, Pieces};
use super::schema::{NextOrder, Place as Home, RowKey, Words};
use super::{Tpcc, TpccFound};
use crate::workload::{Generator as _, Place, Workload as _};
use punctual_core::Store;
use punctual_runtime::{Key, Limits, Nanos, Outcome, Procedures, ResultReader, Verdict};
use zerocopy::IntoBytes as _;

const LIMITS: Limits = Limits::DEFAULT;

/// A small database that behaves like a large one.
fn small(warehouses: u16) -> Tpcc {
    Tpcc { warehouses, items: 200, customers: 30, rollback: 0.05, ..Tpcc::default() }
}

/// A cluster without an engine: what happens on a shard, happens at once.
struct Cluster {
    tpcc: Tpcc,
    stores: Vec<Store>,
    procedures: Procedures,
    generator: TpccGenerator,
}

impl Cluster {
    fn empty(tpcc: Tpcc, shards: u16) -> Self {
        tpcc.check(shards, &LIMITS).expect("a workload that fits");
        let place = Place { worker: 0, workers: 1, shards, slots: 1, limits: LIMITS, seed: 11 };
        Self {
            tpcc,
            stores: (0..shards).map(|shard| Store::new(shard.into(), u64::MAX)).collect(),
            procedures: tpcc.procedures(),
            generator: tpcc.generator(&place),
        }
    }

    fn loaded(tpcc: Tpcc, shards: u16) -> Self {
        let mut cluster = Self::empty(tpcc, shards);
        cluster.load();
        cluster
    }

    fn pieces(&self) -> Pieces {
        Pieces::new(&self.tpcc, self.stores.len() as u16, 11)
    }

    fn load(&mut self) {
        let pieces = self.pieces();
        for number in 0..pieces.len() {
            let (shard, args) = pieces.get(number);
            self.load_piece(shard, &args);
        }
    }

    fn load_piece(&mut self, shard: u16, args: &LoadArgs) {
        let (verdict, _) = self.call(args::LOAD, shard, args.as_bytes());
        assert_eq!(verdict, Verdict::Commit, "{args:?}");
    }

    fn call(&mut self, procedure: u16, shard: u16, args: &[u8]) -> (Verdict, Vec<u8>) {
        let mut results = Vec::new();
        let store = &mut self.stores[usize::from(shard)];
        let verdict = self.procedures.run_alone(procedure, store, &LIMITS, args, &mut results);
        (verdict.expect("it is registered"), results)
    }

    /// Runs the next transaction: all its calls, which have to decide alike.
    fn step(&mut self) -> Verdict {
        self.generator.draw();
        let calls = self.generator.calls().to_vec();
        let mut ends: Vec<(Verdict, Vec<u8>)> = Vec::new();
        for call in &calls {
            ends.push(self.call(call.procedure, call.shard, call.args()));
        }
        let verdict = ends[0].0;
        let flight = self.generator.drawn();
        assert!(ends.iter().all(|(other, _)| *other == verdict), "{flight:?}: {ends:?}");
        let outcome = match verdict {
            Verdict::Commit => Outcome::Committed { at: Nanos::ZERO },
            Verdict::Abort => Outcome::Aborted { at: Nanos::ZERO },
        };
        let results = ends.iter().flat_map(|(_, results)| results).copied().collect::<Vec<_>>();
        self.generator.sent(0);
        self.generator.ended(0, &outcome, &mut ResultReader::new(&results));
        verdict
    }

    fn done(&mut self) -> TpccDone {
        self.generator.done()
    }

    fn found(&mut self) -> TpccFound {
        let mut found = TpccFound::default();
        for number in 0..self.tpcc.parts() {
            let (home, args) = self.generator.part(number);
            let shard = self.shard(home.warehouse);
            let (verdict, results) = self.call(args::CHECK, shard, args.as_bytes());
            if verdict == Verdict::Commit {
                let result = ResultReader::new(&results).next().expect("a result");
                found.add_part(home, result.value.expect("a part"));
            }
        }
        found
    }

    fn check(&mut self) -> Result<(), String> {
        let (done, found) = (self.done(), self.found());
        self.tpcc.check_store(&done, &found)
    }

    fn shard(&self, warehouse: u16) -> u16 {
        super::shard_of_warehouse(warehouse, self.stores.len() as u16)
    }

    fn store(&mut self, home: Home) -> &mut Store {
        let shard = self.shard(home.warehouse);
        &mut self.stores[usize::from(shard)]
    }

    fn number(&mut self, words: Words, home: Home, number: u32) -> i64 {
        let value = self.store(home).get(words.key(home, number)).expect("the row is there");
        i64::from_le_bytes(value.as_bytes().try_into().expect("a word"))
    }

    fn bytes(&mut self, home: Home, row: RowKey) -> Vec<u8> {
        self.store(home).get(row.key()).expect("the row is there").as_bytes().to_vec()
    }

    fn next_order(&mut self, home: Home) -> u32 {
        NextOrder::of_word(self.number(Words::NextOrder, home, 0)).id
    }
}

/// The numbers of the words that runs change most, to compare before and after.
fn trace(cluster: &mut Cluster) -> (Vec<usize>, Vec<i64>, TpccFound) {
    let lens = cluster.stores.iter().map(Store::len).collect();
    let mut numbers = Vec::new();
    for warehouse in 1..=cluster.tpcc.warehouses {
        let stock = Home::of_warehouse(warehouse);
        numbers.extend((1..=200).map(|item| cluster.number(Words::Stock, stock, item)));
        for district in 1..=10 {
            let home = Home::new(warehouse, district);
            numbers.extend((1..=30).map(|id| cluster.number(Words::LastOrder, home, id)));
            numbers.extend((1..=30).map(|id| cluster.number(Words::Balance, home, id)));
        }
    }
    (lens, numbers, cluster.found())
}

/// The arguments of one piece of a district.
fn district_piece(cluster: &Cluster, home: Home, piece: Piece) -> Vec<LoadArgs> {
    let pieces = cluster.pieces();
    let all = (0..pieces.len()).map(|number| pieces.get(number).1);
    all.filter(|args| {
        let place = (args.warehouse.get(), args.district);
        place == (home.warehouse, home.district) && args.piece == piece as u8
    })
    .collect()
}

fn word_key(words: Words, home: Home, number: u32) -> Key<'static> {
    words.key(home, number)
}

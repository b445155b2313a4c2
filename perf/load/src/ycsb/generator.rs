//! Makes the transactions of one worker.

use super::{Mix, READ_MODIFY_WRITE, SCAN_MAX, UPDATE, VERSION_BYTES, Ycsb};
use crate::keys::{KeyChooser, Rng};
use crate::workload::{Generator, Place, Sum};
use punctual_runtime::{Key, Outcome, Transaction};
use punctual_wire::ResultReader;
use rand_distr::Zipf;
use std::ops::Range;

/// Bytes of records in one transaction while they are loaded or verified.
const BULK_BYTES: usize = 64 << 10;
/// Keys of inserted records are above those of all that may be loaded.
const INSERTED: u64 = 1 << 48;
/// Seeds of the lately inserted ones differ from those of the popular ones.
const LATEST_SEED: u64 = 0x1a7e57;

/// What was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct YcsbDone {
    /// Updates, those of read-modify-writes included.
    pub updates: u64,
    /// Updates whose outcome is unknown.
    pub updates_unknown: u64,
    /// Records that were inserted.
    pub inserted: u64,
}

impl Sum for YcsbDone {
    fn add(&mut self, other: &Self) {
        self.updates += other.updates;
        self.updates_unknown += other.updates_unknown;
        self.inserted += other.inserted;
    }
}

/// What is in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct YcsbFound {
    /// Records that were loaded.
    pub loaded: u64,
    /// Records that were inserted, by whoever has used the store.
    pub inserted: u64,
    /// Updates that all records count together.
    pub updates: u64,
}

impl Sum for YcsbFound {
    fn add(&mut self, other: &Self) {
        self.loaded += other.loaded;
        self.inserted += other.inserted;
        self.updates += other.updates;
    }
}

/// What a transaction in flight does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Does {
    #[default]
    Reads,
    Updates,
    Inserts,
}

/// Which records are read next while verifying.
#[derive(Debug, Clone)]
struct Review {
    loaded: Range<u64>,
    /// The first inserted one that was not read. Who verifies a store that another one has filled
    /// does not know how many there are: it reads on until nothing is there.
    inserted: u64,
    is_over: bool,
}

/// The generator of one worker.
#[derive(Debug)]
pub struct YcsbGenerator {
    ycsb: Ycsb,
    place: Place,
    popular: KeyChooser,
    latest: Option<Zipf<f64>>,
    rng: Rng,
    to_load: Range<u64>,
    /// Records that this worker has inserted, or has tried to.
    inserts: u64,
    /// Inserts that were acknowledged: so many of them D may read. A few of the last may still be
    /// under way, where a later one has ended before them.
    visible: u64,
    next: Does,
    flights: Vec<Does>,
    args: Vec<u8>,
    record: Vec<u8>,
    review: Option<Review>,
    /// The first inserted record that the transaction of the last `verify` reads, if it reads such;
    /// and the same by slot.
    reading: Option<u64>,
    reviews: Vec<Option<u64>>,
    done: YcsbDone,
    found: YcsbFound,
}

impl YcsbGenerator {
    pub(super) fn new(ycsb: &Ycsb, place: &Place) -> Self {
        let mut rng = Rng::new(place.own_seed());
        let latest = (ycsb.mix == Mix::D && ycsb.skew > 0.0).then(|| {
            Zipf::new(ycsb.records as f64, ycsb.skew).expect("records and skew are checked")
        });
        Self {
            popular: KeyChooser::new(ycsb.records, ycsb.skew, rng.next_u64()),
            latest,
            rng: Rng::new(rng.next_u64() ^ LATEST_SEED),
            to_load: place.share(ycsb.records),
            inserts: 0,
            visible: 0,
            next: Does::Reads,
            flights: vec![Does::Reads; place.slots as usize],
            args: Vec::new(),
            record: vec![b'.'; ycsb.record_bytes()],
            review: None,
            reading: None,
            reviews: vec![None; place.slots as usize],
            done: YcsbDone::default(),
            found: YcsbFound::default(),
            place: *place,
            ycsb: ycsb.clone(),
        }
    }

    /// Records of one transaction while they are loaded or verified.
    fn bulk(&self) -> u64 {
        let room = BULK_BYTES.min(self.place.limits.results_bytes_max());
        let fit = room / (self.record.len() + super::OP_HEAD_BYTES);
        fit.clamp(1, usize::from(self.place.limits.ops_max.min(64))) as u64
    }

    /// The key of this worker's `index`-th insertion.
    fn inserted_key(&self, index: u64) -> u64 {
        INSERTED + index * self.place.workers + self.place.worker
    }

    /// Random fields after a version of zero.
    fn fill_record(&mut self) {
        let (version, fields) = self.record.split_at_mut(VERSION_BYTES);
        version.fill(0);
        for chunk in fields.chunks_mut(8) {
            let random = self.rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }

    /// One of those inserted last by this worker, or of those loaded if it goes back so far.
    fn latest_key(&mut self) -> u64 {
        let back = match &self.latest {
            Some(law) => self.rng.rank(law),
            None => self.rng.below(self.ycsb.records),
        };
        match self.visible.checked_sub(back + 1) {
            Some(index) => self.inserted_key(index),
            None => self.ycsb.records - 1 - (back - self.visible).min(self.ycsb.records - 1),
        }
    }

    fn read(&mut self, transaction: &mut Transaction) {
        let key = if self.ycsb.mix == Mix::D { self.latest_key() } else { self.popular.next() };
        transaction.get(Key::Word(key));
    }

    fn scan(&mut self, transaction: &mut Transaction) {
        let first = self.popular.next();
        let count = 1 + self.rng.below(SCAN_MAX);
        for key in first..(first + count).min(self.ycsb.records) {
            transaction.get(Key::Word(key));
        }
    }

    fn insert(&mut self, transaction: &mut Transaction) {
        self.fill_record();
        let key = self.inserted_key(self.inserts);
        self.inserts += 1;
        transaction.put(Key::Word(key), &self.record);
    }

    fn update(&mut self, procedure: u16, transaction: &mut Transaction) {
        let key = self.popular.next();
        let field = self.rng.below(self.ycsb.fields.into()) as u16;
        self.args.clear();
        self.args.extend_from_slice(&key.to_le_bytes());
        self.args.extend_from_slice(&(field * self.ycsb.field_bytes).to_le_bytes());
        let start = self.args.len();
        self.args.resize(start + usize::from(self.ycsb.field_bytes), 0);
        for chunk in self.args[start..].chunks_mut(8) {
            let random = self.rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        transaction.call(procedure, Key::Word(key), &self.args);
    }
}

impl Generator for YcsbGenerator {
    type Done = YcsbDone;
    type Found = YcsbFound;

    fn load(&mut self, transaction: &mut Transaction) -> bool {
        let upto = (self.to_load.start + self.bulk()).min(self.to_load.end);
        let keys = self.to_load.start..upto;
        self.to_load.start = upto;
        let is_some = !keys.is_empty();
        for key in keys {
            self.fill_record();
            transaction.put(Key::Word(key), &self.record);
        }
        is_some
    }

    #[inline]
    fn next(&mut self, transaction: &mut Transaction) -> Result<u8, String> {
        if self.rng.chance(self.ycsb.mix.first_share()) {
            self.next = Does::Reads;
            match self.ycsb.mix {
                Mix::E => self.scan(transaction),
                _ => self.read(transaction),
            }
            return Ok(0);
        }
        self.next = match self.ycsb.mix {
            Mix::D | Mix::E => Does::Inserts,
            _ => Does::Updates,
        };
        match self.ycsb.mix {
            Mix::D | Mix::E => self.insert(transaction),
            Mix::F => self.update(READ_MODIFY_WRITE, transaction),
            _ => self.update(UPDATE, transaction),
        }
        Ok(1)
    }

    #[inline]
    fn sent(&mut self, slot: u16) {
        self.flights[usize::from(slot)] = self.next;
    }

    #[inline]
    fn ended(&mut self, slot: u16, outcome: &Outcome, _results: &mut ResultReader<'_>) {
        match (outcome, self.flights[usize::from(slot)]) {
            (Outcome::Committed { .. }, Does::Updates) => self.done.updates += 1,
            (Outcome::Unknown(_), Does::Updates) => self.done.updates_unknown += 1,
            (Outcome::Committed { .. }, Does::Inserts) => {
                self.done.inserted += 1;
                self.visible += 1;
            }
            _ => {}
        }
    }

    fn done(&mut self) -> YcsbDone {
        self.done.clone()
    }

    fn verify(&mut self, transaction: &mut Transaction) -> bool {
        let bulk = self.bulk();
        let loaded = self.place.share(self.ycsb.records);
        let review = self.review.get_or_insert(Review { loaded, inserted: 0, is_over: false });
        if !review.loaded.is_empty() {
            let upto = (review.loaded.start + bulk).min(review.loaded.end);
            for key in review.loaded.start..upto {
                transaction.get(Key::Word(key));
            }
            review.loaded.start = upto;
            self.reading = None;
            return true;
        }
        if review.is_over {
            return false;
        }
        let first = review.inserted;
        review.inserted += bulk;
        self.reading = Some(first);
        for index in first..first + bulk {
            transaction.get(Key::Word(self.inserted_key(index)));
        }
        true
    }

    fn verify_sent(&mut self, slot: u16) {
        self.reviews[usize::from(slot)] = self.reading;
    }

    fn verified(&mut self, slot: u16, results: &mut ResultReader<'_>) {
        let mut count = 0;
        for updates in results.filter_map(|result| result.number()) {
            self.found.updates += updates.cast_unsigned();
            count += 1;
        }
        match self.reviews[usize::from(slot)] {
            None => self.found.loaded += count,
            Some(first) => {
                self.found.inserted += count;
                let is_over = count == 0 && first >= self.inserts;
                if let Some(review) = &mut self.review {
                    review.is_over |= is_over;
                }
            }
        }
    }

    fn found(&mut self) -> YcsbFound {
        self.found.clone()
    }
}

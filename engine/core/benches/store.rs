//! What operations on the store cost, one at a time and with nothing fetched ahead.
//! `docs/profiling.md` says how to run it.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use punctual_core::Store;
use punctual_wire::Key;
use std::hint::black_box;

/// Keys in the store: a prime number, so that a walk comes to all of them, and more than fit in
/// the nearer caches.
const KEYS: u64 = 500_009;
/// From one key of a walk to the next.
const KEY_STEP: u64 = 309_017;
const WORD: [u8; 8] = [1; 8];
const VALUE: [u8; 100] = [7; 100];
/// Bytes of a long key.
const KEY_BYTES: usize = 24;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(1));
    words(&mut group);
    bytes(&mut group);
    group.finish();
    criterion.final_summary();
}

fn store() -> Store {
    Store::new(1, u64::MAX)
}

/// Walks all keys, far from sorted.
struct Walk(u64);

impl Walk {
    fn next(&mut self) -> u64 {
        self.0 = (self.0 + KEY_STEP) % KEYS;
        self.0
    }
}

/// A long key made of a number.
fn long_key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"customer:000000000000000";
    key[9..17].copy_from_slice(&number.to_be_bytes());
    key
}

fn words(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut store = store();
    for key in 0..KEYS {
        store.put(Key::Word(key), &key.to_le_bytes());
    }
    let mut walk = Walk(0);
    group.bench_function("word get", |bencher| {
        bencher.iter(|| {
            let value = store.get(Key::Word(walk.next()));
            value.map_or(0, |value| value.as_bytes().len())
        });
    });
    group.bench_function("word get of an absent key", |bencher| {
        bencher.iter(|| store.get(Key::Word(KEYS + walk.next())).is_some());
    });
    group.bench_function("word add", |bencher| {
        bencher.iter(|| store.add(Key::Word(walk.next()), 1));
    });
    group.bench_function("word put", |bencher| {
        bencher.iter(|| store.put(Key::Word(walk.next()), black_box(&WORD)));
    });
    group.bench_function("word put and delete", |bencher| {
        bencher.iter(|| {
            let key = Key::Word(KEYS + walk.next());
            store.put(key, &WORD);
            store.delete(key)
        });
    });
    assert_eq!(store.len() as u64, KEYS, "what was put is deleted");
}

fn bytes(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut store = store();
    for number in 0..KEYS {
        store.put(Key::Bytes(&long_key(number)), &VALUE);
    }
    let mut walk = Walk(0);
    group.bench_function("bytes get", |bencher| {
        bencher.iter(|| {
            let key = long_key(walk.next());
            store.get(Key::Bytes(&key)).map_or(0, |value| value.as_bytes().len())
        });
    });
    group.bench_function("bytes put of the same length", |bencher| {
        bencher.iter(|| {
            let key = long_key(walk.next());
            store.put(Key::Bytes(&key), black_box(&VALUE));
        });
    });
    group.bench_function("bytes put of another length", |bencher| {
        let mut len = 0;
        bencher.iter(|| {
            let key = long_key(walk.next());
            len = (len + 37) % VALUE.len();
            store.put(Key::Bytes(&key), &VALUE[..len]);
        });
    });
    assert_eq!(store.len() as u64, KEYS, "no key is new");
}

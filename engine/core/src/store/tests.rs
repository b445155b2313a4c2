use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What each operation means, said as simply as possible.
pub(crate) fn run_model(
    model: &mut Model,
    op: &Op<'_>,
    value_len_max: usize,
) -> (ResultStatus, Vec<u8>) {
    let mut buffer = [0; 8];
    let key = key_bytes(op.key(), &mut buffer).to_vec();
    let found = model.get(&key).cloned();
    match *op {
        Op::Get { .. } => match found {
            Some(value) => (ResultStatus::Ok, value),
            None => (ResultStatus::NotFound, vec![]),
        },
        Op::Put { value, .. } => {
            model.insert(key, value.to_vec());
            (ResultStatus::Ok, vec![])
        }
        Op::Delete { .. } => match model.remove(&key) {
            Some(_) => (ResultStatus::Ok, vec![]),
            None => (ResultStatus::NotFound, vec![]),
        },
        Op::Add { delta, .. } => {
            let mut value = found.unwrap_or_else(|| vec![0; 8]);
            let Some(head) = value.first_chunk_mut::<8>() else {
                return (ResultStatus::WrongType, vec![]);
            };
            let sum = i64::from_le_bytes(*head).wrapping_add(delta).to_le_bytes();
            *head = sum;
            model.insert(key, value);
            (ResultStatus::Ok, sum.to_vec())
        }
        Op::Append { value, .. } => {
            let mut whole = found.unwrap_or_default();
            whole.extend_from_slice(value);
            if whole.len() > value_len_max {
                return (ResultStatus::TooLarge, vec![]);
            }
            let len = (whole.len() as u64).to_le_bytes().to_vec();
            model.insert(key, whole);
            (ResultStatus::Ok, len)
        }
        Op::CompareAndSet { expected, value, .. } => {
            if found.as_deref() == expected {
                model.insert(key, value.to_vec());
                return (ResultStatus::Ok, vec![]);
            }
            match found {
                Some(found) => (ResultStatus::Mismatch, found),
                None => (ResultStatus::NotFound, vec![]),
            }
        }
    }
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![]),
        prop::collection::vec(0..3_u8, 8),
        prop::collection::vec(0..3_u8, 1..12),
        prop::collection::vec(any::<u8>(), 60..80),
    ]
}

fn key_blob() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (0..4_u64).prop_map(|word| word.to_le_bytes().to_vec()),
        2 => prop::collection::vec(0..2_u8, 0..3),
    ]
}

/// An operation that owns its bytes: code, key, value, expected value and delta.
#[derive(Debug, Clone)]
pub(crate) struct Step(u8, Vec<u8>, Vec<u8>, Option<Vec<u8>>, i64);

impl Step {
    pub(crate) fn key(&self) -> &[u8] {
        &self.1
    }

    pub(crate) fn op(&self) -> Op<'_> {
        let key = Key::new(&self.1);
        match self.0 {
            0 => Op::Get { key },
            1 => Op::Put { key, value: &self.2 },
            2 => Op::Delete { key },
            3 => Op::Add { key, delta: self.4 },
            4 => Op::Append { key, value: &self.2 },
            _ => Op::CompareAndSet { key, expected: self.3.as_deref(), value: &self.2 },
        }
    }
}

/// Any operation (`0..6`), or only those that write without a condition (`1..5`).
pub(crate) fn step(codes: Range<u8>) -> impl Strategy<Value = Step> {
    (codes, key_blob(), blob(), prop::option::of(blob()), any::<i64>())
        .prop_map(|(code, key, value, expected, delta)| Step(code, key, value, expected, delta))
}

proptest! {
    #[test]
    fn every_operation_does_what_the_model_says(
        steps in prop::collection::vec(step(0..6), 1..300),
    ) {
        let mut store = Store::new(7, u64::MAX);
        let mut model = Model::new();
        for step in &steps {
            let (status, value) = run_model(&mut model, &step.op(), 100);
            let mut out = Vec::new();
            store.run(step.op(), 100, usize::MAX, &mut out);
            let mut reader = punctual_wire::ResultReader::new(&out);
            let result = reader.next_result().unwrap().unwrap();
            prop_assert_eq!(result.status, status, "{:?}", step);
            prop_assert_eq!(result.value.unwrap_or_default(), &value[..], "{:?}", step);
            prop_assert_eq!(reader.next_result().unwrap(), None);
            prop_assert_eq!(store.len(), model.len());
        }
        for (key, value) in &model {
            let found = store.get(Key::new(key));
            prop_assert_eq!(found.as_ref().map(Value::as_bytes), Some(&value[..]));
        }
    }
}

#[test]
fn deleting_everything_gives_the_heap_back() {
    let mut store = Store::new(1, u64::MAX);
    store.put(Key::from("first"), b"x");
    let before = store.bytes();
    let keys: Vec<String> = (0..900).map(|number| format!("a rather long key {number}")).collect();
    for key in &keys {
        store.put(Key::from(key.as_str()), &[7; 5_000]);
    }
    assert!(store.bytes() > before + 900 * 5_000);
    for key in &keys {
        assert!(store.delete(Key::from(key.as_str())));
    }
    assert_eq!(store.bytes(), before);
}

#[test]
fn keys_are_found_whether_they_fit_their_entry_or_not() {
    let mut store = Store::new(5, u64::MAX);
    let keys: Vec<Vec<u8>> = (0..64).map(|len| vec![b'k'; len]).collect();
    for key in &keys {
        store.put(Key::new(key), &[9; 3]);
        store.put(Key::new(key), key);
    }
    assert_eq!(store.len(), keys.len());
    for key in &keys {
        let found = store.get(Key::new(key));
        assert_eq!(found.as_ref().map(Value::as_bytes), Some(&key[..]));
    }
    assert!(keys.iter().all(|key| store.delete(Key::new(key))));
    assert!(store.is_empty());
}

thread_local! {
    /// Addresses that a prefetch asked for.
    static ASKED: std::cell::RefCell<Vec<usize>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn a_prefetch_in_three_steps_ends_at_the_bytes_that_are_wanted() {
    let prefetch = |at: *const u8| ASKED.with_borrow_mut(|asked| asked.push(at as usize));
    let memory = MemoryHooks { prefetch, ..MemoryHooks::default() };
    let mut store = Store::with_memory(5, u64::MAX, memory);
    let key = Key::from("row");
    store.put(key, &[1; 200]);
    let Some(Value::Bytes(value)) = store.get(key) else { panic!("it was just put") };
    let start = value.as_ptr() as usize;

    store.prefetch(key);
    store.prefetch_entry(key);
    assert_eq!(ASKED.take().len(), 2, "the bucket and the entry");
    store.prefetch_value(key, 100..180);
    assert_eq!(ASKED.take(), [start + 100, start + 164, start + 179]);
    store.prefetch_value(key, 190..400);
    assert_eq!(ASKED.take(), [start + 190, start + 199], "no further than the value");
    for absent in [Key::from("other"), Key::Word(3)] {
        store.prefetch_entry(absent);
        store.prefetch_value(absent, 0..8);
    }
    assert!(ASKED.take().is_empty(), "nothing is there to be brought");
}

#[test]
fn a_million_words_take_less_than_a_hundred_bytes_each() {
    let mut store = Store::new(3, u64::MAX);
    for key in 0..1_000_000_u64 {
        store.put(Key::Word(key), &key.to_le_bytes());
    }
    let per_key = store.bytes() / 1_000_000;
    assert!(per_key <= 100, "{per_key} bytes a key");
}

#[test]
fn a_result_that_does_not_fit_the_reply_says_so_and_the_next_one_still_fits() {
    let mut store = Store::new(3, u64::MAX);
    store.put(Key::from("long"), &[1; 90]);
    store.put(Key::from("short"), b"s");
    let mut out = Vec::new();
    for key in ["long", "long", "short"] {
        store.run(Op::Get { key: Key::from(key) }, 100, 110, &mut out);
    }
    let statuses: Vec<_> = punctual_wire::ResultReader::new(&out).map(|r| r.status).collect();
    assert_eq!(statuses, [ResultStatus::Ok, ResultStatus::TooLarge, ResultStatus::Ok]);
}

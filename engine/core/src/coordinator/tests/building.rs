//! Building transactions: every mistake is reported when it is submitted.

use super::*;
use std::collections::BTreeSet;

/// Room for one long value in a piece, but not for two.
const LIMITS: Limits = Limits {
    frame_bytes_max: 684,
    batch_max: 4,
    key_bytes_max: 16,
    value_bytes_max: 150,
    ops_max: 3,
};

/// A coordinator of a cluster with these limits.
fn tight() -> Harness {
    Harness::with(CoordinatorConfig { limits: LIMITS, ..config(4) })
}

/// Puts something into a transaction.
type Build = fn(&mut Transaction) -> &mut Transaction;

fn over(what: &'static str, value: u64, max: u64) -> TransactionError {
    TransactionError::Limit(WireError::OverLimit { what, value, max })
}

#[test]
fn every_mistake_is_reported_and_nothing_is_sent() {
    let value = "a value's length in bytes";
    let cases: [(Build, TransactionError); 15] = [
        (|it| it, TransactionError::Empty),
        (|it| it.get(key_of(1)).call(1, key_of(0), b""), TransactionError::CallNotAlone),
        (|it| it.call(1, key_of(0), b"").get(key_of(1)), TransactionError::CallNotAlone),
        (
            |it| it.get(key_of(1)).get(key_of(0)).call(1, key_of(0), b""),
            TransactionError::CallNotAlone,
        ),
        (|it| it.get(1_u64).call(1, 1_u64, b""), TransactionError::CallNotAlone),
        (|it| it.call(1, 1_u64, b"").get(1_u64), TransactionError::CallNotAlone),
        (|it| it.call(1, 1_u64, b"").call(1, 1_u64, b""), TransactionError::CallNotAlone),
        (|it| it.get(&[0_u8; 17][..]), over("a key's length in bytes", 17, 16)),
        (|it| it.put(1_u64, &[0; 151]), over(value, 151, 150)),
        (|it| it.append(1_u64, &[0; 151]), over(value, 151, 150)),
        (|it| it.compare_and_set(1_u64, Some(&[0; 151]), b""), over(value, 151, 150)),
        (
            |it| it.get(1_u64).get(1_u64).delete(1_u64).get(1_u64),
            over("the number of operations", 4, 3),
        ),
        // So many may be on each shard.
        (
            |it| (0..4).fold(it.get(key_of(1)), |it, _| it.get(key_of(0))),
            over("the number of operations", 4, 3),
        ),
        (
            |it| it.call(1, 1_u64, &[0; 151]),
            over("the length of a call's arguments in bytes", 151, 150),
        ),
        // Twice code, key, length and value; beside the longest heads a frame of 684 bytes has 264
        // for a body.
        (
            |it| it.put(1_u64, &[0; 150]).put(1_u64, &[0; 150]),
            over("the length of a transaction's piece in bytes", 326, 264),
        ),
    ];
    for (build, error) in cases {
        let mut harness = tight();
        let mut transaction = Transaction::new(SHARDS, LIMITS);
        build(&mut transaction);
        // It stays wrong, however often it is tried.
        for _ in 0..2 {
            let outcome = harness.try_submit(0, &mut transaction, 1);
            assert_eq!(outcome, Err(SubmitError::Invalid(error)));
        }
        assert_eq!(harness.coordinator.in_flight(), 0);
        assert_eq!(harness.coordinator.stats(), CoordinatorStats::default());
        let sent = [harness.sent(0), harness.sent(1)].concat();
        assert!(sent.is_empty(), "{error}: {sent:?}");
    }
}

#[test]
fn the_first_mistake_is_the_one_that_is_reported() {
    let mut transaction = Transaction::new(SHARDS, LIMITS);
    transaction.put(1_u64, &[0; 200]).get(&[0_u8; 20][..]).get(1_u64);
    let outcome = tight().try_submit(0, &mut transaction, 1);
    let error = over("a value's length in bytes", 200, 150);
    assert_eq!(outcome, Err(SubmitError::Invalid(error)));
}

#[test]
fn a_transaction_involves_no_more_shards_than_may_take_part() {
    let shards = 200_u16;
    let mut seen = BTreeSet::new();
    let is_new = |key: &u64| seen.insert(shard_of(Key::Word(*key), shards));
    let keys: Vec<u64> = (0..).filter(is_new).take(PARTICIPANTS_MAX + 1).collect();
    type Involve = fn(&mut Transaction, u64);
    let get: Involve = |it, key| {
        it.get(key);
    };
    let call: Involve = |it, key| {
        it.call(1, key, b"");
    };
    for involve in [get, call] {
        let mut harness = Harness::with(CoordinatorConfig { shards, ..config(4) });
        let batch = |_| BatchWriter::new(Limits::DEFAULT, 1, false);
        let batches = (0..shards).map(batch).collect();
        harness.links = Links { batches, up: vec![true; usize::from(shards)] };
        let mut transaction = Transaction::new(shards, Limits::DEFAULT);
        keys[1..].iter().for_each(|key| involve(&mut transaction, *key));
        harness.try_submit(0, &mut transaction, 1).expect("as many as may be");
        keys.iter().for_each(|key| involve(&mut transaction, *key));
        let error = TransactionError::TooManyShards { max: PARTICIPANTS_MAX };
        let outcome = harness.try_submit(0, &mut transaction, 2);
        assert_eq!(outcome, Err(SubmitError::Invalid(error)));
    }
}

#[test]
fn a_transaction_of_another_cluster_is_refused_and_left_as_it_was() {
    for (shards, limits) in [(SHARDS + 5, Limits::DEFAULT), (SHARDS, LIMITS)] {
        let mut harness = Harness::new(4);
        let mut transaction = Transaction::new(shards, limits);
        for key in 0..100_u64 {
            // Some key belongs to a shard that the coordinator does not have.
            transaction.clear();
            transaction.add(key, 1);
            let outcome = harness.try_submit(0, &mut transaction, 1);
            assert_eq!(outcome, Err(SubmitError::Invalid(TransactionError::OtherCluster)));
            assert_eq!(transaction.op_count(), 1);
        }
        assert_eq!(harness.coordinator.in_flight(), 0);
    }
}

#[test]
fn an_eight_byte_key_made_by_hand_goes_out_as_the_word_that_it_is() {
    let mut harness = Harness::new(1);
    let mut transaction = transaction();
    let bytes = key_of(1).to_le_bytes();
    transaction.op(Op::Get { key: Key::Bytes(&bytes) });
    harness.try_submit(0, &mut transaction, 1).expect("nothing is wrong with it");
    let sent = harness.sent(1).remove(0);
    let mut body = Vec::new();
    Op::Get { key: Key::Word(key_of(1)) }.write(&mut body);
    assert!(sent.frame.ends_with(&body), "{sent:?}");
}

#[test]
fn clearing_forgets_operations_shard_call_and_mistakes() {
    let spoil: [Build; 3] = [
        |it| it.get(key_of(1)).get(key_of(0)),
        |it| it.call(1, key_of(1), b"arguments"),
        |it| it.put(key_of(1), &[0; 200]),
    ];
    let mut fresh = Harness::new(4);
    fresh.submit(0, 0, 1);
    let expected = fresh.sent(0);
    for spoil in spoil {
        let mut harness = tight();
        let mut transaction = Transaction::new(SHARDS, LIMITS);
        spoil(&mut transaction);
        transaction.clear();
        assert_eq!((transaction.op_count(), transaction.shard()), (0, None));
        transaction.add(key_of(0), 1);
        assert_eq!((transaction.op_count(), transaction.shard()), (1, Some(ShardId(0))));
        harness.try_submit(0, &mut transaction, 1).expect("nothing is wrong with it");
        assert_eq!(harness.sent(0), expected);
    }
}

#[test]
fn what_was_built_is_what_the_shard_reads() {
    let key = Key::Word(key_of(1));
    let ops = [
        Op::Get { key },
        Op::Put { key, value: b"some bytes" },
        Op::Delete { key },
        Op::Add { key, delta: -3 },
        Op::Append { key, value: b"8 bytes!" },
        Op::CompareAndSet { key, expected: None, value: b"" },
        Op::CompareAndSet { key, expected: Some(b"old"), value: b"new" },
    ];
    let mut transaction = transaction();
    transaction
        .get(key)
        .put(key, b"some bytes")
        .delete(key)
        .add(key, -3)
        .append(key, b"8 bytes!")
        .compare_and_set(key, None, b"")
        .compare_and_set(key, Some(b"old"), b"new");
    let mut harness = Harness::new(1);
    harness.try_submit(0, &mut transaction, 1).expect("nothing is wrong with it");
    let sent = harness.sent(1).remove(0);
    let mut pieces = PieceReader::new(&only_frame(&sent.frame), &Limits::DEFAULT);
    let piece = pieces.next_piece().expect("a valid piece").expect("one piece");
    let mut reader = piece.ops().expect("operations");
    let read = ops.map(|_| reader.next_op().expect("a valid operation"));
    assert_eq!((read, reader.remaining()), (ops, 0));
}

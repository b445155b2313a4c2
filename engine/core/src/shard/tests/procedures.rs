//! Registered procedures: arguments in, results out, and aborts that leave no trace.

use super::*;
use crate::procedure::{ProcedureContext, ProceduresError, Verdict};
use crate::store::tests::{Step, step};
use proptest::prelude::*;

const TRANSFER: u16 = 1;
const SCRIPT: u16 = 2;
const TRESPASS: u16 = 3;

/// Moves an amount between two accounts and reports both balances; aborts if there is not enough.
/// The arguments are three words: from, to and the amount.
fn transfer(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let mut words = args
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("a chunk of eight bytes")));
    let mut word = || words.next().expect("three words");
    let (from, to, amount) = (Key::Word(word()), Key::Word(word()), word().cast_signed());
    let balances = [context.add(from, -amount), context.add(to, amount)].map(Option::unwrap);
    for balance in balances {
        assert!(context.result(&balance.to_le_bytes()));
    }
    if balances[0] < 0 { Verdict::Abort } else { Verdict::Commit }
}

fn transfer_args(from: u64, to: u64, amount: i64) -> Vec<u8> {
    [from, to, amount.cast_unsigned()].map(u64::to_le_bytes).concat()
}

/// Writes what its arguments say: operations, after one byte that says whether to abort at the end.
fn script(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let (abort, ops) = args.split_first().expect("a first byte");
    let mut ops = OpReader::new(ops);
    while ops.remaining() > 0 {
        match ops.next_op().expect("the test wrote operations") {
            Op::Put { key, value } => assert!(context.put(key, value)),
            Op::Delete { key } => {
                context.delete(key);
            }
            Op::Add { key, delta } => {
                context.add(key, delta);
            }
            Op::Append { key, value } => {
                context.append(key, value);
            }
            Op::Get { .. } | Op::CompareAndSet { .. } => unreachable!("only writes are asked for"),
        }
    }
    if *abort == 1 { Verdict::Abort } else { Verdict::Commit }
}

/// Tries to write beyond the cluster's limits; reports whether nothing of it was accepted.
fn trespass(context: &mut ProcedureContext<'_>, _: &[u8]) -> Verdict {
    let short = Key::from("short");
    let mut refused = true;
    // The second key is so long that no frame and no undo log could hold it.
    for len in [33, 70_000] {
        let bytes = vec![b'k'; len];
        let long = Key::new(&bytes);
        refused &= !context.put(long, b"x");
        refused &= context.add(long, 1).is_none();
        refused &= context.append(long, b"x").is_none();
        refused &= !context.delete(long);
        refused &= context.get(long).is_none();
    }
    refused &= !context.put(short, &[0; 4_097]);
    refused &= context.append(short, &[0; 4_097]).is_none();
    assert!(context.result(&[u8::from(refused)]));
    Verdict::Abort
}

fn harness() -> Harness {
    let mut procedures = Procedures::new();
    procedures.register(TRANSFER, "transfer", transfer).expect("a free id");
    procedures.register(SCRIPT, "script", script).expect("a free id");
    procedures.register(TRESPASS, "trespass", trespass).expect("a free id");
    // Long enough for the arguments of the longest script.
    let limits = Limits { key_bytes_max: 32, value_bytes_max: 4_096, ..Limits::DEFAULT };
    Harness::new(config(limits), procedures)
}

fn balances(left: i64, right: i64) -> Vec<(ResultStatus, Option<Vec<u8>>)> {
    [left, right].map(|it| (ResultStatus::Ok, Some(it.to_le_bytes().to_vec()))).into()
}

#[test]
fn a_procedure_gets_its_arguments_and_its_writes_and_results_arrive() {
    let mut harness = harness();
    harness.run(1, &[piece(seq(0, 1), &[add(10, 100), add(20, 5)])]);
    let answer = harness.run_one(2, &call(seq(0, 2), TRANSFER, &transfer_args(10, 20, 30)));
    assert_eq!((answer.status, answer.commit), (ReplyStatus::Committed, 2));
    assert_eq!(answer.results, balances(70, 35));
    assert_eq!((harness.number(10), harness.number(20)), (Some(70), Some(35)));
    assert_eq!(harness.shard.stats().ops, 2, "what a call reports is no operation");
}

#[test]
fn an_abort_undoes_the_writes_and_still_delivers_the_results() {
    let mut harness = harness();
    harness.run(1, &[piece(seq(0, 1), &[add(10, 100)])]);
    let answer = harness.run_one(2, &call(seq(0, 2), TRANSFER, &transfer_args(10, 20, 101)));
    assert_eq!((answer.status, answer.commit), (ReplyStatus::Aborted, 2));
    assert_eq!(answer.results, balances(-1, 101));
    assert_eq!((harness.number(10), harness.number(20)), (Some(100), None));
    let stats = harness.shard.stats();
    assert_eq!((stats.committed, stats.aborted), (1, 1));
}

#[test]
fn a_committed_call_is_not_undone_by_a_later_abort() {
    let mut harness = harness();
    harness.run(1, &[piece(seq(0, 1), &[add(10, 100)])]);
    let requests = [
        call(seq(1, 1), TRANSFER, &transfer_args(10, 20, 60)),
        call(seq(2, 1), TRANSFER, &transfer_args(10, 20, 60)),
    ];
    let statuses: Vec<_> = harness.run(2, &requests).iter().map(|it| it.status).collect();
    assert_eq!(statuses, [ReplyStatus::Committed, ReplyStatus::Aborted]);
    assert_eq!((harness.number(10), harness.number(20)), (Some(40), Some(60)));
}

#[test]
fn a_procedure_cannot_write_beyond_the_limits_and_an_abort_after_trying_works() {
    let mut harness = harness();
    let answer = harness.run_one(1, &call(seq(0, 1), TRESPASS, b""));
    assert_eq!(answer.status, ReplyStatus::Aborted);
    assert_eq!(answer.results, [(ResultStatus::Ok, Some(vec![1]))]);
    assert!(harness.shard.store().is_empty());
}

#[test]
fn an_eight_byte_key_made_by_hand_is_the_same_key_as_the_word() {
    let by_hand = |context: &mut ProcedureContext<'_>, _: &[u8]| {
        let (key, word) = (Key::Bytes(b"8 bytes!"), Key::new(b"8 bytes!"));
        assert!(context.put(key, &5_i64.to_le_bytes()));
        assert_eq!((context.number(key), context.add(key, 1)), (Some(5), Some(6)));
        assert_eq!(context.number(word), Some(6));
        assert!(context.delete(key));
        assert_eq!(context.get(word), None);
        assert_eq!(context.append(key, b"tail"), Some(4));
        assert_eq!(context.get(key), context.get(word));
        Verdict::Commit
    };
    let mut procedures = Procedures::new();
    procedures.register(1, "by hand", by_hand).expect("a free id");
    let mut harness = Harness::new(config(Limits::DEFAULT), procedures);
    let answer = harness.run_one(1, &call(seq(0, 1), 1, b""));
    assert_eq!(answer.status, ReplyStatus::Committed);
    assert_eq!(harness.value(b"8 bytes!"), Some(b"tail".to_vec()));
}

#[test]
fn an_id_is_registered_once() {
    let mut procedures = Procedures::new();
    procedures.register(4, "first", transfer).expect("a free id");
    let taken = procedures.register(4, "second", script);
    assert_eq!(taken, Err(ProceduresError::Taken { id: 4, name: "first".to_owned() }));
    assert_eq!(procedures.names().collect::<Vec<_>>(), [(4, "first")]);
}

fn ops(steps: &[Step]) -> Vec<Op<'_>> {
    steps.iter().map(Step::op).collect()
}

proptest! {
    #[test]
    fn an_abort_leaves_no_trace_and_a_commit_does_what_plain_operations_do(
        before in prop::collection::vec(step(1..5), 1..20),
        steps in prop::collection::vec(step(1..5), 1..40),
    ) {
        let (mut called, mut plain) = (harness(), harness());
        called.run(1, &[piece(seq(0, 1), &ops(&before))]);
        plain.run(1, &[piece(seq(0, 1), &ops(&before))]);
        let keys: Vec<_> = before.iter().chain(&steps).map(Step::key).collect();

        let untouched = called.snapshot(keys.iter().copied());
        let mut args = vec![1];
        for op in ops(&steps) {
            op.write(&mut args);
        }
        let answer = called.run_one(2, &call(seq(1, 1), SCRIPT, &args));
        prop_assert_eq!(answer.status, ReplyStatus::Aborted);
        prop_assert_eq!(called.snapshot(keys.iter().copied()), untouched);

        args[0] = 0;
        let answer = called.run_one(3, &call(seq(1, 2), SCRIPT, &args));
        prop_assert_eq!(answer.status, ReplyStatus::Committed);
        plain.run(3, &[piece(seq(1, 2), &ops(&steps))]);
        let (found, expected) =
            (called.snapshot(keys.iter().copied()), plain.snapshot(keys.iter().copied()));
        prop_assert_eq!(found, expected);
    }
}

//! Random transactions against a map, and replies under random limits.

use super::*;
use crate::procedure::{ProcedureContext, Verdict};
use crate::store::tests::{Model, Step, run_model, step};
use proptest::prelude::*;
use punctual_wire::OpResult;
use std::collections::BTreeMap;

/// Few slots, so that each is used many times.
const FEW_SLOTS: usize = 8;
/// Short enough to be exceeded by some appends.
const VALUE_BYTES_MAX: u32 = 100;

fn sequence_of(index: usize) -> TxnSequence {
    let slot = u16::try_from(index % FEW_SLOTS).expect("a small number");
    seq(slot, (index / FEW_SLOTS) as u64 + 1)
}

fn index_of(sequence: TxnSequence) -> usize {
    let generation = usize::try_from(sequence.generation()).expect("a small number");
    (generation - 1) * FEW_SLOTS + usize::from(sequence.slot())
}

proptest! {
    #[test]
    fn random_transactions_do_what_a_map_does_in_the_order_of_their_commits(
        // Operations, and whether the piece is sent twice.
        transactions in prop::collection::vec(
            (prop::collection::vec(step(0..6), 1..8), any::<bool>()),
            1..60,
        ),
        // Transactions of a frame, and the clock at its arrival.
        frames in prop::collection::vec((1..20_usize, 0..1_000_i64), 60),
    ) {
        let limits = Limits { value_bytes_max: VALUE_BYTES_MAX, ..Limits::DEFAULT };
        let mut harness = Harness::new(config(limits), Procedures::new());
        let mut answered = BTreeMap::new();
        let mut rest = transactions.iter().enumerate();
        for (count, now) in frames {
            let mut requests = Vec::new();
            for (index, (steps, twice)) in rest.by_ref().take(count) {
                let ops: Vec<_> = steps.iter().map(Step::op).collect();
                let request = piece(sequence_of(index), &ops);
                requests.extend(std::iter::repeat_n(request, 1 + usize::from(*twice)));
            }
            for answer in harness.run(now, &requests) {
                let before = answered.insert(answer.sequence, answer.clone());
                prop_assert!(before.is_none_or(|before| before == answer));
            }
        }
        prop_assert_eq!(answered.len(), transactions.len());

        let mut in_order: Vec<_> = answered.into_values().collect();
        in_order.sort_by_key(|answer| answer.commit);
        let mut model = Model::new();
        for answer in in_order {
            let (steps, _) = &transactions[index_of(answer.sequence)];
            prop_assert_eq!(answer.status, ReplyStatus::Committed);
            prop_assert_eq!(answer.results.len(), steps.len());
            for (step, (status, value)) in steps.iter().zip(answer.results) {
                let expected = run_model(&mut model, &step.op(), VALUE_BYTES_MAX as usize);
                prop_assert_eq!((status, value.unwrap_or_default()), expected, "{:?}", step);
            }
        }
        let expected = model.values().cloned().map(Some).collect::<Vec<_>>();
        let found = harness.snapshot(model.keys().map(Vec::as_slice));
        prop_assert_eq!(found, (model.len(), expected));
    }
}

/// Limits between the tightest ones that are allowed and a little more.
fn limits() -> impl Strategy<Value = Limits> {
    (0..400_u32, 1..40_u16, 1..9_u16, 0..2_000_u32).prop_map(|(value, ops, batch, room)| {
        let limits = Limits {
            frame_bytes_max: 0,
            batch_max: batch,
            key_bytes_max: 16,
            value_bytes_max: value,
            ops_max: ops,
        };
        let tightest = u32::try_from(limits.frame_bytes_min()).expect("small limits");
        Limits { frame_bytes_max: tightest + room, ..limits }
    })
}

/// A length within the limit, and not that of a word, whose results are always short.
fn value_len(wish: u16, limits: Limits) -> usize {
    let len = usize::from(wish) % (limits.value_bytes_max as usize + 1);
    if len == 8 { 7 } else { len }
}

proptest! {
    #[test]
    fn a_reply_fits_its_frame_and_leaves_out_only_values_for_which_there_is_no_room(
        limits in limits(),
        wishes in prop::collection::vec(any::<u16>(), 1..6),
        reads in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..40),
    ) {
        let mut harness = Harness::new(config(limits), Procedures::new());
        let values: Vec<_> =
            wishes.iter().map(|wish| vec![7_u8; value_len(*wish, limits)]).collect();
        for (word, value) in (0..).zip(&values) {
            let put = Op::Put { key: Key::Word(word), value };
            harness.run(1, &[piece(seq(0, word + 1), &[put])]);
        }
        let mut ops = Vec::new();
        let mut expected = Vec::new();
        let mut bytes = 0;
        for (index, compares) in reads.iter().take(usize::from(limits.ops_max)) {
            let word = index.index(values.len());
            let (key, value) = (Key::Word(word as u64), &values[word]);
            let status = if *compares {
                ops.push(Op::CompareAndSet { key, expected: None, value: b"" });
                ResultStatus::Mismatch
            } else {
                ops.push(Op::Get { key });
                ResultStatus::Ok
            };
            let len = OpResult::HEAD_BYTES_MAX + value.len();
            if bytes + len <= limits.results_bytes_max() {
                expected.push((status, Some(value.clone())));
                bytes += len;
            } else {
                expected.push((ResultStatus::TooLarge, None));
                bytes += 1;
            }
        }
        // Several such pieces at once: their replies share frames where they can.
        let requests: Vec<_> = (1..8).map(|slot| piece(seq(slot, 1), &ops)).collect();
        let answers = harness.run(2, &requests);
        prop_assert_eq!(answers.len(), requests.len());
        for answer in answers {
            prop_assert_eq!(&answer.results, &expected);
        }
    }

    #[test]
    fn a_procedure_reports_until_the_reply_is_full_and_is_told_so(
        limits in limits(),
        wish in any::<u16>(),
    ) {
        let mut procedures = Procedures::new();
        let flood = |context: &mut ProcedureContext<'_>, args: &[u8]| {
            while context.result(args) {}
            Verdict::Commit
        };
        procedures.register(1, "flood", flood).expect("a free id");
        let mut harness = Harness::new(config(limits), procedures);
        let value = vec![7_u8; value_len(wish, limits)];
        let answer = harness.run_one(1, &call(seq(0, 1), 1, &value));
        let room = limits.results_bytes_max() / (OpResult::HEAD_BYTES_MAX + value.len());
        prop_assert_eq!(answer.results.len(), room.min(usize::from(limits.ops_max)));
        let expected = (ResultStatus::Ok, Some(value));
        prop_assert!(answer.results.iter().all(|result| *result == expected));
    }
}

#[test]
fn the_values_of_a_thousand_long_reads_do_not_burst_the_frame() {
    let mut harness = Harness::plain();
    let key = Key::from("long");
    harness.run(1, &[piece(seq(0, 1), &[Op::Put { key, value: &[7; 10_000] }])]);
    let answer = harness.run_one(2, &piece(seq(0, 2), &[Op::Get { key }; 1_000]));
    let whole = answer.results.iter().filter(|(status, _)| *status == ResultStatus::Ok).count();
    assert_eq!(whole, Limits::DEFAULT.results_bytes_max() / 10_005);
    let marked = |(status, value): &(ResultStatus, Option<Vec<u8>>)| {
        (*status, value) == (ResultStatus::TooLarge, &None)
    };
    assert!(answer.results[whole..].iter().all(marked));
    assert_eq!(answer.results.len(), 1_000);
}

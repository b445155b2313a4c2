//! Procedures of transactions on several shards: they conflict with everything on their shard.

use super::cluster::*;
use super::*;
use crate::procedure::{ProcedureContext, Verdict};

const BUMP: u16 = 1;
const COMMITS: u8 = 0;
const ABORTS: u8 = 1;

/// Adds one to the counter whose key its arguments begin with, reports the sum, and then does what
/// their last byte says.
fn bump(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let (key, verdict) = args.split_first_chunk::<8>().expect("a key");
    let sum = context.add(Key::Word(u64::from_le_bytes(*key)), 1).expect("a number");
    assert!(context.result(&sum.to_le_bytes()));
    if verdict == [ABORTS] { Verdict::Abort } else { Verdict::Commit }
}

fn bump_args(shard: u16, counter: usize, verdict: u8) -> Vec<u8> {
    let mut args = word(shard, counter).to_le_bytes().to_vec();
    args.push(verdict);
    args
}

fn cluster() -> Cluster {
    let procedures = || {
        let mut procedures = Procedures::new();
        procedures.register(BUMP, "bump", bump).expect("a free id");
        procedures
    };
    Cluster::with(|_| {}, procedures)
}

/// A call on each of the first two shards.
fn two_calls(slot: u16, stamp: i64, verdict: u8) -> Txn {
    let args = [0, 1].map(|shard| (shard, bump_args(shard, 0, verdict)));
    calls(seq(slot, 1), stamp, BUMP, &args)
}

#[test]
fn calls_on_several_shards_run_at_one_time_or_abort_everywhere_without_a_trace() {
    let mut cluster = cluster();
    cluster.at(100).dispatch_all(&two_calls(1, 300, COMMITS));
    cluster.dispatch_all(&two_calls(2, 400, ABORTS));
    cluster.exchange();
    assert_eq!(cluster.at(401).turn(), 4);
    for shard in [0, 1] {
        let answers = cluster.shard(shard).held();
        let found = answers.iter().map(|it| (it.status, it.commit, it.number()));
        let expected = [(ReplyStatus::Committed, 300, 1), (ReplyStatus::Aborted, 400, 2)];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let stats = cluster.stats(shard);
        assert_eq!((stats.committed, stats.aborted, stats.ops), (1, 1, 0));
    }
    assert_eq!(cluster.counters(), [Some(1), Some(1), None]);
    // A retry is told the same.
    let again = cluster.send(1, &two_calls(2, 400, ABORTS).pieces[&1]);
    assert_eq!((again[0].status, again[0].commit), (ReplyStatus::Aborted, 400));
}

#[test]
fn a_call_waits_for_everything_earlier_and_everything_later_waits_for_it() {
    let mut cluster = cluster();
    let first = adds(seq(1, 1), 100, &[0, 1]);
    cluster.at(100).dispatch_all(&first);
    let decides = cluster.letters();
    // None of these touches a key of another one.
    let single = call(seq(2, 1), BUMP, &bump_args(0, 1, COMMITS));
    assert!(cluster.at(150).send(0, &single).is_empty());
    assert!(cluster.at(160).send(0, &piece(seq(3, 1), &[add_to(0, 2)])).is_empty());
    cluster.at(170).dispatch_all(&adds_to(3, seq(4, 1), 180, &[0, 1]));
    cluster.exchange();
    assert_eq!(cluster.at(200).turn(), 1, "the other shard knows of no call");
    assert_eq!(cluster.stats(0).held, 4);
    cluster.deliver_all(&decides);
    assert_eq!(cluster.turn(), 5);
    let slots: Vec<_> = cluster.ends(0).iter().map(|(sequence, ..)| sequence.slot()).collect();
    assert_eq!(slots[..2], [1, 2]);
    assert_eq!(slots.len(), 4);
    assert!(cluster.is_idle());
}

#[test]
fn an_undecided_call_stops_all_that_is_later_and_nothing_that_is_earlier() {
    let mut cluster = cluster();
    cluster.at(100).dispatch_all(&two_calls(1, 1_000, COMMITS));
    let decides = cluster.letters();
    let ends = cluster.at(150).send_for_end(0, &piece(seq(2, 1), &[add_to(0, 0)]));
    assert_eq!(ends, [committed(seq(2, 1), 150)]);
    assert!(cluster.at(1_100).send(0, &piece(seq(3, 1), &[get_of(0, 5)])).is_empty());
    assert_eq!(cluster.turn(), 0);
    cluster.deliver_all(&decides);
    assert_eq!(cluster.turn(), 3);
    let sums: Vec<_> = cluster.shard(0).held().iter().map(Answer::number).collect();
    assert_eq!(sums, [2, 0]);
}

#[test]
fn calls_wait_for_each_other_in_the_order_of_their_times_and_ids() {
    let mut cluster = cluster();
    for (slot, stamp) in [(3, 300), (1, 300), (2, 200)] {
        cluster.at(100).dispatch_all(&two_calls(slot, stamp, COMMITS));
    }
    cluster.exchange();
    assert_eq!(cluster.at(400).turn(), 6);
    for shard in [0, 1] {
        let answers = cluster.shard(shard).held();
        let sums = answers.iter().map(|it| (it.sequence.slot(), it.number()));
        assert_eq!(sums.collect::<Vec<_>>(), [(2, 1), (1, 2), (3, 3)]);
    }
}

#[test]
fn a_call_that_moves_to_a_later_time_lets_those_pass_that_waited_for_it() {
    let mut cluster = cluster();
    let moves = two_calls(1, 200, COMMITS);
    cluster.at(100).dispatch(0, &moves);
    assert!(cluster.at(300).send(0, &piece(seq(2, 1), &[add_to(0, 0)])).is_empty());
    cluster.at(600).dispatch(1, &moves);
    cluster.exchange();
    assert_eq!((cluster.turn(), cluster.at(601).turn()), (1, 2));
    let sums: Vec<_> = cluster.shard(0).held().iter().map(Answer::number).collect();
    assert_eq!(sums, [1, 2]);
}

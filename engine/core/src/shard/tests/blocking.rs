//! Who waits for whom: only conflicting transactions, in the order of times and ids (R6).

use super::cluster::*;
use super::*;

/// Admits a transaction on all its shards and returns what they propose, for later.
fn admit_undecided(cluster: &mut Cluster, txn: &Txn) -> Vec<Letter> {
    cluster.dispatch_all(txn);
    cluster.letters()
}

fn admit(cluster: &mut Cluster, txn: &Txn) {
    let letters = admit_undecided(cluster, txn);
    cluster.deliver_all(&letters);
}

/// Slots and first results of what was held on a shard, in the order in which it ran.
fn sums(cluster: &mut Cluster, shard: u16) -> Vec<(u16, i64)> {
    let answers = cluster.shard(shard).held();
    answers.iter().map(|answer| (answer.sequence.slot(), answer.number())).collect()
}

#[test]
fn two_reads_do_not_wait_for_each_other_and_a_write_waits_for_a_read() {
    let mut cluster = Cluster::new();
    let read =
        |slot, stamp| txn(seq(slot, 1), stamp, &[(0, &[get_of(0, 0)]), (1, &[get_of(1, 0)])]);
    cluster.at(100);
    let decides = admit_undecided(&mut cluster, &read(1, 200));
    admit(&mut cluster, &read(2, 300));
    admit(&mut cluster, &adds(seq(3, 1), 400, &[0, 1]));
    assert_eq!(cluster.at(1_000).turn(), 2);
    assert_eq!(cluster.ends(0), [committed(seq(2, 1), 300)]);
    assert_eq!((cluster.stats(0).blocked, cluster.stats(0).held), (1, 2));
    cluster.deliver_all(&decides);
    assert_eq!(cluster.turn(), 4);
    for shard in [0, 1] {
        let ends = cluster.ends(shard);
        let last = &ends[ends.len() - 2..];
        assert_eq!(last, [committed(seq(1, 1), 200), committed(seq(3, 1), 400)]);
    }
}

#[test]
fn a_read_waits_for_an_earlier_write_and_not_for_a_later_one() {
    let read = txn(seq(1, 1), 300, &[(0, &[get_of(0, 0)]), (1, &[get_of(1, 0)])]);
    for (stamp, ran, sum) in [(200, 0, 1), (400, 2, 0)] {
        let mut cluster = Cluster::new();
        cluster.at(100);
        let decides = admit_undecided(&mut cluster, &adds(seq(2, 1), stamp, &[0, 1]));
        admit(&mut cluster, &read);
        assert_eq!(cluster.at(1_000).turn(), ran, "beside a write at {stamp}");
        cluster.deliver_all(&decides);
        assert_eq!(cluster.turn(), 4 - ran);
        let mut found = sums(&mut cluster, 0);
        found.sort_unstable();
        assert_eq!(found, [(1, sum), (2, 1)]);
    }
}

#[test]
fn an_undecided_transaction_stops_only_what_conflicts_with_it() {
    let mut cluster = Cluster::new();
    cluster.at(100);
    let decides = admit_undecided(&mut cluster, &adds(seq(1, 1), 200, &[0, 1]));
    admit(&mut cluster, &adds_to(1, seq(2, 1), 300, &[0, 1]));
    admit(&mut cluster, &adds(seq(3, 1), 300, &[0, 1]));
    admit(&mut cluster, &adds_to(2, seq(4, 1), 300, &[0, 1]));
    assert_eq!(cluster.at(1_000).turn(), 4);
    assert_eq!(sums(&mut cluster, 0), [(2, 1), (4, 1)]);
    cluster.deliver_all(&decides);
    assert_eq!(cluster.turn(), 4);
    assert_eq!(sums(&mut cluster, 0), [(1, 1), (3, 2)]);
    assert_eq!(sums(&mut cluster, 1), [(2, 1), (4, 1), (1, 1), (3, 2)]);
}

#[test]
fn a_chain_of_conflicting_transactions_runs_in_the_order_of_times_and_then_of_ids() {
    // Slots and stamps. The order of dispatch and of decision must not matter.
    let plans = [(5, 300), (1, 300), (4, 200), (3, 300), (2, 400)];
    for decided_last in 0..plans.len() {
        let mut cluster = Cluster::new();
        cluster.at(100);
        let mut decides = Vec::new();
        for (slot, stamp) in plans {
            decides.push(admit_undecided(&mut cluster, &adds(seq(slot, 1), stamp, &[0, 1])));
        }
        decides.swap(decided_last, plans.len() - 1);
        cluster.at(1_000);
        let mut ran = 0;
        for letters in &decides {
            cluster.deliver_all(letters);
            ran += cluster.turn();
        }
        assert_eq!((ran, cluster.is_idle()), (10, true));
        for shard in [0, 1] {
            let expected = [(4, 1), (1, 2), (3, 3), (5, 4), (2, 5)];
            assert_eq!(sums(&mut cluster, shard), expected, "decided last: {decided_last}");
        }
    }
}

#[test]
fn one_that_agrees_on_a_later_time_lets_those_pass_that_waited_for_it() {
    let mut cluster = Cluster::new();
    let moves = adds(seq(1, 1), 200, &[0, 1]);
    cluster.at(100).dispatch(0, &moves);
    admit(&mut cluster, &adds(seq(2, 1), 300, &[0, 1]));
    assert_eq!(cluster.at(500).turn(), 1, "only on the shard that has not admitted the other");
    cluster.at(600).dispatch(1, &moves);
    cluster.exchange();
    assert_eq!((cluster.turn(), cluster.at(601).turn()), (1, 2));
    for shard in [0, 1] {
        assert_eq!(sums(&mut cluster, shard), [(2, 1), (1, 2)]);
    }
}

#[test]
fn a_single_runs_at_once_beside_what_it_does_not_conflict_with_and_waits_behind_the_rest() {
    let mut cluster = Cluster::new();
    cluster.at(100);
    let ops = [get_of(0, 0), add_to(0, 1)];
    let pending = txn(seq(0, 1), 100, &[(0, &ops), (1, &[add_to(1, 0)])]);
    let decides = admit_undecided(&mut cluster, &pending);
    cluster.at(150);
    let at_once = [(1, get_of(0, 0)), (2, add_to(0, 2)), (3, get_of(0, 2))];
    for (commit, (slot, op)) in (150..).zip(at_once) {
        let ends = cluster.send_for_end(0, &piece(seq(slot, 1), &[op]));
        assert_eq!(ends, [committed(seq(slot, 1), commit)]);
    }
    for (slot, op) in [(4, add_to(0, 0)), (5, get_of(0, 1)), (6, add_to(0, 1))] {
        assert!(cluster.send(0, &piece(seq(slot, 1), &[op])).is_empty(), "{op:?} has to wait");
    }
    assert_eq!((cluster.stats(0).blocked, cluster.stats(0).held), (3, 4));
    cluster.deliver_all(&decides);
    assert_eq!(cluster.at(200).turn(), 5);
    let mut found = cluster.shard(0).held();
    found.sort_by_key(|answer| answer.sequence.slot());
    let sums: Vec<_> = found.iter().map(|it| (it.sequence.slot(), it.number())).collect();
    assert_eq!(sums, [(0, 0), (4, 1), (5, 1), (6, 2)]);
    // None was agreed on with anybody: their time is that of their arrival.
    assert!(found[1..].iter().all(|answer| (answer.commit, answer.timing) == (153, None)));
    assert_eq!(cluster.kept(), [1, 1, 0], "nothing is kept of what only one shard ran");
}

#[test]
fn a_single_runs_at_once_before_what_is_still_to_come() {
    let mut cluster = Cluster::new();
    admit(cluster.at(100), &adds(seq(1, 1), 1_000, &[0, 1]));
    cluster.at(150);
    let ends = cluster.send_for_end(0, &piece(seq(2, 1), &[add_to(0, 0)]));
    assert_eq!(ends, [committed(seq(2, 1), 150)]);
    assert_eq!(cluster.at(1_001).turn(), 2);
    assert_eq!((sums(&mut cluster, 0), sums(&mut cluster, 1)), (vec![(1, 2)], vec![(1, 1)]));
}

#[test]
fn a_single_at_the_very_time_of_a_pending_one_goes_before_or_behind_it_by_its_id() {
    for (slot, waits) in [(4, false), (6, true)] {
        let mut cluster = Cluster::new();
        admit(cluster.at(100), &adds(seq(5, 1), 150, &[0, 1]));
        let single = piece(seq(slot, 1), &[add_to(0, 0)]);
        assert_eq!(cluster.at(150).send(0, &single).is_empty(), waits);
        cluster.at(151).turn();
        let sum = if waits { 1 } else { 2 };
        assert_eq!(sums(&mut cluster, 0)[0], (5, sum));
    }
}

#[test]
fn a_single_that_waited_for_one_that_moved_behind_it_runs_first() {
    let mut cluster = Cluster::new();
    let moves = adds(seq(1, 1), 200, &[0, 1]);
    cluster.at(100).dispatch(0, &moves);
    assert!(cluster.at(300).send(0, &piece(seq(2, 1), &[add_to(0, 0)])).is_empty());
    assert_eq!(cluster.at(400).turn(), 0, "what it waits for is undecided");
    cluster.at(600).dispatch(1, &moves);
    cluster.exchange();
    assert_eq!((cluster.turn(), cluster.at(601).turn()), (1, 2));
    assert_eq!(sums(&mut cluster, 0), [(2, 1), (1, 2)]);
}

#[test]
fn a_single_that_waits_is_not_run_twice_when_it_comes_again() {
    let mut cluster = Cluster::new();
    cluster.at(100);
    let decides = admit_undecided(&mut cluster, &adds(seq(1, 1), 100, &[0, 1]));
    let single = piece(seq(2, 1), &[add_to(0, 0)]);
    for now in [200, 300, 400] {
        assert!(cluster.at(now).send(0, &single).is_empty());
    }
    cluster.deliver_all(&decides);
    assert_eq!(cluster.turn(), 3);
    let answers = cluster.shard(0).held();
    assert_eq!(answers.len(), 2);
    assert_eq!(cluster.at(500).send(0, &single), answers[1..]);
    assert_eq!((cluster.counter(0, 0), cluster.stats(0).repeated), (Some(2), 3));
}

#[test]
fn a_transaction_that_touches_a_key_often_waits_for_others_there_but_not_for_itself() {
    let mut cluster = Cluster::new();
    let ops = [get_of(0, 0), add_to(0, 0), add_to(0, 0), get_of(0, 0)];
    let often = |slot| txn(seq(slot, 1), 200, &[(0, &ops), (1, &[add_to(1, 0)])]);
    cluster.at(100);
    let decides = admit_undecided(&mut cluster, &often(1));
    admit(&mut cluster, &often(2));
    assert_eq!(cluster.at(300).turn(), 0);
    cluster.deliver_all(&decides);
    assert_eq!(cluster.turn(), 4);
    let reads = cluster.shard(0).held().into_iter().map(|it| (it.number(), it.results.len()));
    assert_eq!(reads.collect::<Vec<_>>(), [(0, 4), (2, 4)]);
    assert_eq!(cluster.counter(0, 0), Some(4));
}

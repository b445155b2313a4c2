//! Shards that come back without their memory: what they had promised is settled among the others
//! (R11).

use super::cluster::*;
use super::*;
use punctual_wire::{PeerMessage, TxnId};

const LOST: RefusedReason = RefusedReason::PeerLost;

/// Shard `from` lacks the proposal of shard 1, the only one that is dead, and tells another.
fn lost(t: &Txn, from: u16, to: u16) -> Letter {
    let incarnation = run_of(to, 1).incarnation();
    let message = PeerMessage::Lost { txn: t.id, shard: 1, to: incarnation, dead: 0b010 };
    Letter { from, to, message }
}

/// Dispatches a transaction at 100 and delivers all proposals but these. Returns those.
fn admit_without(cluster: &mut Cluster, t: &Txn, missing: &[(u16, u16)]) -> Vec<Letter> {
    cluster.at(100).dispatch_all(t);
    let is_missing = |letter: &Letter| missing.contains(&(letter.from, letter.to));
    let (missing, arrive): (Vec<_>, Vec<_>) = cluster.letters().into_iter().partition(is_missing);
    cluster.deliver_all(&arrive);
    missing
}

#[test]
fn of_two_shards_the_one_left_refuses_what_the_other_never_proposed() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch(0, &t);
    cluster.at(200).restart(1);
    assert_eq!(cluster.ends(0), [refused(seq(0, 1), LOST)]);
    assert_eq!((cluster.stats(0).peer_lost, cluster.kept()), (1, vec![0, 0, 0]));
    assert_eq!(cluster.send_for_end(1, &t.pieces[&1]), [refused(seq(0, 1), LOST)]);
    cluster.pass_until(10 * MS);
    assert_eq!(cluster.counters(), [None; 3]);
}

#[test]
fn what_all_have_proposed_runs_without_the_one_that_died() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1, 2]);
    assert!(admit_without(&mut cluster, &t, &[]).is_empty());
    cluster.at(200).restart(1);
    assert_eq!(cluster.at(501).turn(), 2);
    for shard in [0, 2] {
        assert_eq!(cluster.ends(shard), [committed(seq(0, 1), 500)]);
    }
    cluster.pass_until(10 * MS);
    assert_eq!(cluster.kept(), [0, 0, 0], "the dead need not be waited for");
}

#[test]
fn a_proposal_of_the_dead_that_one_has_is_passed_on_whether_that_one_has_run_or_not() {
    for has_run in [false, true] {
        let mut cluster = Cluster::new();
        let t = adds(seq(0, 1), 300, &[0, 1, 2]);
        cluster.at(100).dispatch(0, &t);
        cluster.dispatch(2, &t);
        // The time of the dead is the latest, so that nothing can be agreed on without it.
        cluster.at(700).dispatch(1, &t);
        let letters = cluster.letters();
        letters.iter().filter(|it| !it.goes(1, 0)).for_each(|it| cluster.deliver(*it));
        if has_run {
            assert_eq!(cluster.at(800).turn(), 2, "also the one that will die");
        }
        cluster.at(900).restart(1);
        assert_eq!(cluster.talk(), [lost(&t, 0, 2)]);
        cluster.deliver(lost(&t, 0, 2));
        let relay = PeerMessage::Relay { txn: t.id, shard: 1, local: 700 };
        let relay = Letter { from: 2, to: 0, message: relay };
        assert_eq!(cluster.talk(), [relay]);
        cluster.deliver_all(&[relay, relay]);
        assert_eq!(cluster.turn(), if has_run { 1 } else { 2 });
        for shard in [0, 2] {
            assert_eq!(cluster.ends(shard), [committed(seq(0, 1), 700)]);
        }
        cluster.pass_until(10 * MS);
        assert_eq!(cluster.kept(), [0, 0, 0]);
    }
}

#[test]
fn a_proposal_of_the_dead_that_nobody_has_refuses_the_transaction_everywhere() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 300, &[0, 1, 2]);
    let missing = admit_without(&mut cluster, &t, &[(1, 0), (1, 2)]);
    cluster.at(200).restart(1);
    let asked = cluster.talk();
    assert_eq!(asked, [lost(&t, 0, 2), lost(&t, 2, 0)]);
    assert!(cluster.ends(0).is_empty(), "the other one may still have it");
    // An old copy comes after the promise not to take it.
    cluster.deliver_all(&missing);
    assert_eq!((cluster.stats(0).foreign, cluster.stats(2).foreign), (1, 1));
    cluster.deliver_all(&asked);
    for shard in [0, 2] {
        assert_eq!(cluster.ends(shard), [refused(seq(0, 1), LOST)]);
        assert_eq!(cluster.stats(shard).peer_lost, 1);
    }
    assert_eq!((cluster.kept(), cluster.turn()), (vec![0, 0, 0], 0));
    // A question that comes late is answered all the same.
    cluster.deliver(lost(&t, 0, 2));
    let refuse = PeerMessage::Refuse { txn: t.id, reason: LOST };
    assert_eq!(cluster.talk(), [Letter { from: 2, to: 0, message: refuse }]);
}

#[test]
fn questions_about_the_dead_that_were_lost_are_asked_again() {
    for one_has_it in [false, true] {
        let mut cluster = Cluster::new();
        let t = adds(seq(0, 1), 300, &[0, 1, 2]);
        let missing = if one_has_it { &[(1, 0)][..] } else { &[(1, 0), (1, 2)][..] };
        admit_without(&mut cluster, &t, missing);
        cluster.at(200).restart(1);
        cluster.talk();
        cluster.pass_until(20 * MS);
        for shard in [0, 2] {
            let end = match one_has_it {
                true => committed(seq(0, 1), 300),
                false => refused(seq(0, 1), LOST),
            };
            assert_eq!(cluster.ends(shard), [end]);
        }
    }
}

#[test]
fn who_learns_of_the_death_from_another_shard_makes_the_same_promise() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 300, &[0, 1, 2]);
    cluster.at(100).dispatch(0, &t);
    cluster.dispatch(2, &t);
    cluster.exchange();
    // Only the first shard has a link to the new run.
    cluster.at(200).link(0, 1, run_of(1, 2));
    let asked = cluster.talk();
    assert_eq!(asked, [lost(&t, 0, 2)]);
    cluster.deliver_all(&asked);
    assert_eq!(cluster.ends(2), [refused(seq(0, 1), LOST)], "all others have promised");
    // A proposal of the old run, which is on its way still, is answered by that.
    cluster.deliver(proposal(&t, 1, 2, 300));
    let refuse = PeerMessage::Refuse { txn: t.id, reason: LOST };
    let promise = lost(&t, 2, 0);
    let told = [promise, Letter { from: 2, to: 1, message: refuse }];
    assert_eq!(cluster.talk(), told);
    cluster.deliver_all(&told);
    assert_eq!(cluster.ends(0), [refused(seq(0, 1), LOST)]);
    assert_eq!(cluster.kept(), [0, 0, 0]);
}

#[test]
fn who_knows_a_transaction_of_the_dead_from_others_or_not_at_all_buries_it() {
    for has_heard in [true, false] {
        let mut cluster = Cluster::new();
        let t = adds(seq(0, 1), 300, &[0, 1, 2]);
        cluster.at(100).dispatch(0, &t);
        cluster.dispatch(1, &t);
        let letters = cluster.letters();
        let arrives = |it: &&Letter| has_heard && it.goes(0, 2);
        letters.iter().filter(arrives).for_each(|it| cluster.deliver(*it));
        cluster.at(200).restart(1);
        cluster.exchange();
        assert_eq!(cluster.ends(0), [refused(seq(0, 1), LOST)]);
        assert_eq!(cluster.ends(2), [refused(seq(0, 1), LOST)], "its coordinator is told");
        assert_eq!(cluster.send_for_end(2, &t.pieces[&2]), [refused(seq(0, 1), LOST)]);
        assert_eq!(cluster.kept(), [0, 0, 0]);
    }
}

#[test]
fn a_transaction_bound_to_a_run_that_is_over_is_gone() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).restart(1);
    cluster.at(200).dispatch(0, &t);
    let proposals = cluster.talk();
    assert_eq!(proposals, [proposal(&t, 0, 1, 500)]);
    cluster.deliver_all(&proposals);
    let gone = Letter { from: 1, to: 0, message: PeerMessage::Gone { txn: t.id } };
    assert_eq!((cluster.talk(), cluster.kept()), (vec![gone], vec![1, 0, 0]));
    cluster.deliver(gone);
    assert_eq!(cluster.ends(0), [refused(seq(0, 1), LOST)]);
    // Bound to the run that is there, it is as good as any other.
    let again = adds(seq(0, 2), 500, &[0, 1]).bound_to(1, 2);
    cluster.dispatch_all(&again);
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 2);
    assert_eq!(cluster.counters(), [Some(1), Some(1), None]);
}

#[test]
fn gone_says_nothing_about_the_run_that_is_there() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    cluster.deliver(Letter { from: 1, to: 0, message: PeerMessage::Gone { txn: t.id } });
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 2);
}

#[test]
fn what_is_meant_for_a_run_that_is_over_is_answered_gone() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1, 2]);
    cluster.at(100).restart(2);
    let to = run_of(2, 1).incarnation();
    let settle = PeerMessage::Settle { txn: t.id, to };
    for message in [lost(&t, 0, 2).message, proposal(&t, 0, 2, 500).message, settle] {
        cluster.talk();
        cluster.deliver(Letter { from: 0, to: 2, message });
        let gone = Letter { from: 2, to: 0, message: PeerMessage::Gone { txn: t.id } };
        assert_eq!(cluster.talk(), [gone], "to {message:?}");
    }
    assert_eq!(cluster.kept(), [0, 0, 0]);
    assert_eq!(cluster.send_for_end(2, &t.pieces[&2]), [refused(seq(0, 1), LOST)]);
}

/// The first shard of four with a transaction on all of them. The test plays the others.
fn one_of_four() -> (Harness, TxnId) {
    let config = ShardConfig { session: run_of(0, 1), ..ShardConfig::new(ShardId(0), 4) };
    let mut harness = Harness::new(config, Procedures::new());
    let mut parties = vec![Participant { shard: 0, incarnation: run_of(0, 1).incarnation() }];
    for shard in 1..4 {
        harness.shard.on_peer_up(Nanos::ZERO, ShardId(shard), run_of(shard, 1));
        parties.push(Participant { shard, incarnation: run_of(shard, 1).incarnation() });
    }
    let mut keys = (0..).filter(|key| shard_of(Key::Word(*key), 4) == 0);
    let ops = [add(keys.next().expect("every shard has keys"), 1)];
    let request = Request { stamp: Some((300, parties)), ..piece(seq(0, 1), &ops) };
    assert!(harness.run(100, &[request]).is_empty());
    (harness, TxnId { session: SESSION.0, sequence: seq(0, 1) })
}

#[test]
fn a_promise_counts_only_if_it_covers_all_who_are_dead() {
    let (mut harness, txn) = one_of_four();
    let to = run_of(0, 1).incarnation();
    harness.shard.on_peer_up(Nanos(200), ShardId(1), run_of(1, 2));
    // What shard 2 promises leaves open whether it gets the proposal by way of shard 3.
    harness.hear(210, 2, PeerMessage::Lost { txn, shard: 1, to, dead: 0b0010 });
    harness.shard.on_peer_up(Nanos(220), ShardId(3), run_of(3, 2));
    assert!(!harness.shard.is_idle());
    harness.hear(230, 2, PeerMessage::Lost { txn, shard: 1, to, dead: 0b1010 });
    let answers = harness.held();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].status, ReplyStatus::Refused(LOST));
    assert!(harness.shard.is_idle());
}

#[test]
fn nothing_is_taken_from_the_dead_but_by_way_of_the_living() {
    let (mut harness, txn) = one_of_four();
    let to = run_of(0, 1).incarnation();
    harness.hear(150, 2, PeerMessage::Propose { txn, local: 300, to, answer: false });
    for dead in [1, 3] {
        harness.shard.on_peer_up(Nanos(200), ShardId(dead), run_of(dead, 2));
        harness.hear(210, dead, PeerMessage::Propose { txn, local: 900, to, answer: false });
    }
    harness.hear(220, 3, PeerMessage::Relay { txn, shard: 1, local: 900 });
    harness.hear(230, 2, PeerMessage::Relay { txn, shard: 3, local: 400 });
    assert_eq!(harness.shard.on_turn(Nanos(1_000)), 0);
    harness.hear(240, 2, PeerMessage::Relay { txn, shard: 1, local: 700 });
    assert_eq!(harness.shard.on_turn(Nanos(1_000)), 1);
    assert_eq!(harness.held()[0].commit, 700);
}

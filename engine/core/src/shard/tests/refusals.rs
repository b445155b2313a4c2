//! What is refused runs nowhere, and everybody involved learns why (R2, R9).

use super::cluster::*;
use super::*;
use punctual_wire::PeerMessage;

const TIMEOUT: RefusedReason = RefusedReason::DispatchTimeout;

/// A refusal on its way.
fn refusal(t: &Txn, from: u16, to: u16, reason: RefusedReason) -> Letter {
    Letter { from, to, message: PeerMessage::Refuse { txn: t.id, reason } }
}

/// Lets a transaction on all shards reach the first two only. The third hears of it at 100.
fn heard_by_the_third(cluster: &mut Cluster) -> Txn {
    let t = adds(seq(0, 1), 500, &[0, 1, 2]);
    for shard in [0, 1] {
        cluster.at(100).dispatch(shard, &t);
    }
    cluster.exchange();
    t
}

#[test]
fn a_transaction_whose_dispatch_does_not_come_is_refused_for_ever_and_everybody_is_told() {
    let mut cluster = Cluster::new();
    let t = heard_by_the_third(&mut cluster);
    cluster.dispatch_all(&adds(seq(1, 1), 600, &[0, 1]));
    cluster.exchange();
    cluster.at(100 + SECOND - 1).turn();
    cluster.exchange();
    assert_eq!((cluster.stats(2).refused_by_timeout, cluster.stats(0).held), (0, 2));
    cluster.at(100 + SECOND + 2 * MS).turn();
    assert_eq!(cluster.talk(), [refusal(&t, 2, 0, TIMEOUT), refusal(&t, 2, 1, TIMEOUT)]);
    cluster.deliver_all(&[refusal(&t, 2, 0, TIMEOUT), refusal(&t, 2, 1, TIMEOUT)]);
    assert_eq!(cluster.turn(), 2, "what waited for it goes on");
    for shard in [0, 1] {
        let ends = [refused(seq(0, 1), TIMEOUT), committed(seq(1, 1), 600)];
        assert_eq!((cluster.ends(shard), cluster.stats(shard).refused), (ends.to_vec(), 1));
    }
    assert_eq!(cluster.ends(2), [refused(seq(0, 1), TIMEOUT)], "it tells the coordinator as well");
    assert_eq!((cluster.stats(2).refused_by_timeout, cluster.kept()[2]), (1, 0));

    let late = cluster.send_for_end(2, &t.pieces[&2]);
    assert_eq!(late, [refused(seq(0, 1), TIMEOUT)]);
    cluster.deliver(proposal(&t, 1, 2, 500));
    assert_eq!(cluster.talk(), [refusal(&t, 2, 1, TIMEOUT)], "who asks again is told again");
    cluster.pass_until(3 * SECOND);
    assert_eq!((cluster.counters(), cluster.kept()), ([Some(1), Some(1), None], vec![0, 0, 0]));
}

#[test]
fn where_the_session_is_gone_others_remember_the_refusal() {
    let mut cluster = Cluster::new();
    let harness = cluster.shard(2);
    harness.shard.end_session(harness.session);
    let mut t = adds(seq(40, 1), 500, &[0, 1, 2]);
    cluster.at(100).dispatch(0, &t);
    cluster.exchange();
    cluster.pass_until(2 * SECOND);
    assert_eq!(cluster.ends(0), [refused(seq(40, 1), TIMEOUT)]);
    let harness = cluster.shard(2);
    let opened = harness.shard.open_session(Nanos(2 * SECOND), SESSION, SLOTS);
    harness.session = opened.expect("there is room");
    // No coordinator does that: it was told that the session is another one.
    let piece = t.pieces.remove(&2).expect("it is involved");
    assert_eq!(cluster.send_for_end(2, &piece), []);
    cluster.pass_until(4 * SECOND);
    assert_eq!(cluster.ends(2), [refused(seq(40, 1), TIMEOUT)]);
    assert_eq!((cluster.counters(), cluster.kept()), ([None; 3], vec![0, 0, 0]));
}

#[test]
fn a_full_table_of_sessions_keeps_nobody_waiting() {
    let configure = |config: &mut ShardConfig| config.sessions_max = 1;
    let mut cluster = Cluster::with(configure, Procedures::new);
    let harness = cluster.shard(2);
    harness.shard.end_session(harness.session);
    harness.shard.open_session(Nanos::ZERO, SessionId(8), SLOTS).expect("room for one");
    let t = heard_by_the_third(&mut cluster);
    cluster.pass_until(3 * SECOND);
    for shard in [0, 1] {
        assert_eq!(cluster.ends(shard), [refused(t.id.sequence, TIMEOUT)]);
    }
    assert_eq!((cluster.stats(2).refused_by_timeout, cluster.kept()), (1, vec![0, 0, 0]));
}

#[test]
fn a_proposal_for_a_slot_that_was_used_again_is_refused_at_once() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch(0, &t);
    let newer = piece(seq(0, 2), &[add_to(1, 0)]);
    assert_eq!(cluster.send_for_end(1, &newer), [committed(seq(0, 2), 100)]);
    cluster.exchange();
    assert_eq!(cluster.ends(0), [refused(seq(0, 1), TIMEOUT)]);
    assert_eq!(cluster.kept(), [0, 0, 0]);
    assert!(cluster.send(1, &t.pieces[&1]).is_empty(), "nobody waits for this any more");
    assert_eq!(cluster.send_for_end(1, &newer), [committed(seq(0, 2), 100)]);
    assert_eq!(cluster.counters(), [None, Some(1), None]);
}

#[test]
fn a_refusal_leaves_alone_what_has_its_slot_since() {
    let mut cluster = Cluster::new();
    let t = heard_by_the_third(&mut cluster);
    for shard in [0, 2] {
        let newer = piece(seq(0, 2), &[add_to(shard, 1)]);
        assert_eq!(cluster.send_for_end(shard, &newer), [committed(seq(0, 2), 100)]);
    }
    cluster.pass_until(2 * SECOND);
    assert_eq!((cluster.ends(0), cluster.ends(2)), (vec![], vec![]));
    assert_eq!(cluster.ends(1), [refused(t.id.sequence, TIMEOUT)]);
    for shard in [0, 2] {
        let newer = piece(seq(0, 2), &[add_to(shard, 1)]);
        assert_eq!(cluster.send_for_end(shard, &newer), [committed(seq(0, 2), 100)]);
    }
    assert_eq!((cluster.counters(), cluster.kept()), ([None; 3], vec![0, 0, 0]));
}

#[test]
fn a_refusal_that_was_lost_is_told_again_to_one_who_asks() {
    let mut cluster = Cluster::new();
    let t = heard_by_the_third(&mut cluster);
    cluster.at(SECOND + 5 * MS).turn();
    let refusals = cluster.talk().into_iter().filter(|it| it.from == 2);
    let expected = [refusal(&t, 2, 0, TIMEOUT), refusal(&t, 2, 1, TIMEOUT)];
    assert_eq!(refusals.collect::<Vec<_>>(), expected);
    cluster.pass_until(4 * SECOND);
    for shard in [0, 1] {
        assert_eq!(cluster.ends(shard), [refused(t.id.sequence, TIMEOUT)]);
    }
    assert_eq!(cluster.kept(), [0, 0, 0]);
}

#[test]
fn a_refusal_after_all_have_agreed_is_an_old_copy_of_nothing_and_changes_nothing() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    cluster.exchange();
    cluster.deliver(refusal(&t, 1, 0, TIMEOUT));
    assert_eq!(cluster.at(501).turn(), 2);
    cluster.deliver(refusal(&t, 1, 0, TIMEOUT));
    assert_eq!(cluster.ends(0), [committed(seq(0, 1), 500)]);
}

/// Checks that shard 1 refuses this piece of a transaction with shard 0, and that shard 0 learns of
/// it, whether it has proposed before or proposes afterwards.
fn assert_refused(
    configure: impl Fn(&mut ShardConfig),
    t: &Txn,
    bad: &Request,
    why: RefusedReason,
) {
    for proposed_before in [true, false] {
        let mut cluster = Cluster::with(&configure, Procedures::new);
        cluster.at(100).dispatch(0, t);
        if proposed_before {
            cluster.exchange();
        }
        let sequence = t.id.sequence;
        assert_eq!(cluster.send_for_end(1, bad), [refused(sequence, why)]);
        cluster.exchange();
        assert_eq!(cluster.ends(0), [refused(sequence, why)], "proposed: {proposed_before}");
        assert_eq!((cluster.stats(0).refused, cluster.stats(1).refused), (1, 1));
        assert_eq!((cluster.kept(), cluster.counters()), (vec![0, 0, 0], [None; 3]));
        // For good: a piece that is as it should be comes too late.
        assert_eq!(cluster.send_for_end(1, &t.pieces[&1]), [refused(sequence, why)]);
    }
}

#[test]
fn a_piece_that_cannot_be_taken_is_refused_with_its_reason_everywhere() {
    type Spoil = fn(&mut Request);
    let cases: [(RefusedReason, Spoil); 6] = [
        (RefusedReason::StampTooFar, |it| parties(it).0 = 100 + SECOND + 1),
        (RefusedReason::PeerLost, |it| parties(it).1[1].incarnation += 1),
        (RefusedReason::WrongShard, |it| {
            parties(it).1.push(Participant { shard: SHARDS, incarnation: 1 });
        }),
        (RefusedReason::WrongShard, |it| parties(it).1[1].shard = 2),
        (RefusedReason::WrongShard, |it| it.body = piece(it.sequence, &[add_to(0, 0)]).body),
        (RefusedReason::UnknownProcedure, |it| {
            let stamp = it.stamp.take();
            *it = Request { stamp, ..call(it.sequence, 9, b"") };
        }),
    ];
    let t = adds(seq(0, 1), 500, &[0, 1]);
    for (why, spoil) in cases {
        let mut bad = t.pieces[&1].clone();
        spoil(&mut bad);
        assert_refused(|_| {}, &t, &bad, why);
    }
}

/// Stamp and participants of a piece.
fn parties(request: &mut Request) -> &mut (i64, Vec<Participant>) {
    request.stamp.as_mut().expect("it is stamped")
}

#[test]
fn a_full_shard_refuses_to_write_and_takes_part_in_what_only_reads_there() {
    let configure = |config: &mut ShardConfig| {
        if config.id == ShardId(1) {
            config.store_bytes_max = 0;
        }
    };
    let t = adds(seq(0, 1), 500, &[0, 1]);
    assert_refused(configure, &t, &t.pieces[&1], RefusedReason::StoreFull);
    let mut cluster = Cluster::with(configure, Procedures::new);
    let reads = txn(seq(0, 1), 500, &[(0, &[add_to(0, 0)]), (1, &[get_of(1, 0)])]);
    cluster.at(100).dispatch_all(&reads);
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 2);
}

#[test]
fn a_stamp_is_not_too_far_ahead_until_it_exceeds_the_longest_hold() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 100 + SECOND, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    cluster.exchange();
    assert_eq!(cluster.at(100 + SECOND).turn(), 0);
    assert_eq!(cluster.at(101 + SECOND).turn(), 2);
    assert_eq!(cluster.ends(1), [committed(seq(0, 1), 100 + SECOND)]);
}

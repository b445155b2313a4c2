//! One time for all shards, whatever comes late, twice or in another order (R2, R4, R5, R7).

use super::cluster::*;
use super::*;
use punctual_wire::PeerMessage;

fn timing(received_at: i64, agreed_after: u32, released_after: u32) -> Option<ReplyTiming> {
    Some(ReplyTiming { received_at, agreed_after, released_after })
}

#[test]
fn two_shards_run_a_transaction_at_the_later_of_their_times_and_tell_how_it_fared() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch(0, &t);
    cluster.at(700).dispatch(1, &t);
    let letters = cluster.letters();
    assert_eq!(letters, [proposal(&t, 0, 1, 500), proposal(&t, 1, 0, 700)]);
    cluster.deliver_all(&letters);
    assert_eq!((cluster.stats(0).held, cluster.is_idle()), (1, false));
    assert_eq!(cluster.turn(), 0, "the time has to be past");
    assert_eq!(cluster.at(701).turn(), 2);
    assert!(cluster.is_idle());
    // The first shard waited for the second, which was late and waited for nobody.
    for (shard, timing) in [(0, timing(100, 600, 601)), (1, timing(700, 0, 1))] {
        let results = vec![(ResultStatus::Ok, Some(1_i64.to_le_bytes().to_vec()))];
        let (sequence, status) = (t.id.sequence, ReplyStatus::Committed);
        let answer = Answer { sequence, status, commit: 700, timing, results };
        assert_eq!(cluster.shard(shard).held(), [answer]);
        assert!(cluster.shard(shard).held().is_empty(), "it is answered once");
    }
    let none = ShardStats::default();
    let expected = ShardStats { committed: 1, ops: 1, stamped: 1, proposals_sent: 1, ..none };
    assert_eq!(cluster.stats(0), expected);
    assert_eq!(cluster.stats(1), ShardStats { late: 1, ..expected });
}

#[test]
fn three_shards_take_the_latest_of_three_times_whichever_is_late() {
    for late in 0..SHARDS {
        let mut cluster = Cluster::new();
        let t = adds(seq(0, 1), 300, &[0, 1, 2]);
        for shard in 0..SHARDS {
            let now = if shard == late { 900 } else { 100 + i64::from(shard) };
            cluster.at(now).dispatch(shard, &t);
        }
        cluster.at(900).exchange();
        assert_eq!(cluster.turn(), 0);
        assert_eq!(cluster.at(901).turn(), 3);
        for shard in 0..SHARDS {
            assert_eq!(cluster.ends(shard), [committed(seq(0, 1), 900)]);
            assert_eq!(cluster.stats(shard).late, u64::from(shard == late));
        }
    }
}

#[test]
fn nothing_runs_before_every_proposal_is_there() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 300, &[0, 1, 2]);
    cluster.at(100).dispatch_all(&t);
    let (withheld, others): (Vec<_>, Vec<_>) =
        cluster.letters().into_iter().partition(|letter| letter.goes(2, 0));
    assert_eq!((withheld.len(), others.len()), (1, 5));
    cluster.deliver_all(&others);
    assert_eq!(cluster.at(10_000).turn(), 2);
    assert!(cluster.ends(0).is_empty());
    assert_eq!((cluster.counters(), cluster.stats(0).held), ([None, Some(1), Some(1)], 1));
    cluster.deliver_all(&withheld);
    assert_eq!(cluster.turn(), 1);
    for shard in 0..SHARDS {
        assert_eq!(cluster.ends(shard), [committed(seq(0, 1), 300)], "at {shard}");
    }
}

#[test]
fn a_transaction_is_held_until_its_time_and_epsilon_are_strictly_past() {
    for epsilon in [0_u64, 50] {
        let configure = |config: &mut ShardConfig| config.epsilon = Duration::from_nanos(epsilon);
        let mut cluster = Cluster::with(configure, Procedures::new);
        let t = adds(seq(0, 1), 500, &[0, 1]);
        cluster.at(100).dispatch_all(&t);
        cluster.exchange();
        let due = 500 + epsilon.cast_signed() + 1;
        for shard in [0, 1] {
            assert_eq!(cluster.shard(shard).shard.next_deadline(), Some(Nanos(due)));
        }
        assert_eq!(cluster.at(due - 1).turn(), 0);
        assert_eq!(cluster.at(due).turn(), 2);
        assert_eq!(cluster.ends(0), [committed(seq(0, 1), 500)], "epsilon is no part of the time");
    }
}

#[test]
fn a_newcomer_comes_after_everything_that_was_released_and_is_late_only_if_it_has_to_move() {
    for (stamp, local) in [(900, 1_003), (1_002, 1_003), (1_003, 1_003), (1_500, 1_500)] {
        let mut cluster = Cluster::new();
        // Three at one reading of the clock: the last is stamped two ticks ahead of it.
        for slot in 1..4 {
            cluster.at(1_000).send(0, &piece(seq(slot, 1), &[add_to(0, 1)]));
        }
        let t = adds(seq(0, 1), stamp, &[0, 1]);
        cluster.dispatch(0, &t);
        assert_eq!(cluster.letters(), [proposal(&t, 0, 1, local)]);
        assert_eq!(cluster.stats(0).late, u64::from(local > stamp), "stamped {stamp}");
    }
}

#[test]
fn a_clock_that_runs_back_is_taken_as_standing_still() {
    let mut cluster = Cluster::new();
    let earlier = adds(seq(1, 1), 800, &[0, 2]);
    cluster.at(700).dispatch(0, &earlier);
    let t = adds(seq(0, 1), 200, &[0, 1]);
    cluster.at(300).dispatch(0, &t);
    let letters = cluster.letters();
    assert_eq!(letters, [proposal(&t, 0, 1, 700), proposal(&earlier, 0, 2, 800)]);
}

#[test]
fn a_proposal_may_come_before_its_dispatch() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch(0, &t);
    cluster.exchange();
    assert_eq!((cluster.kept(), cluster.stats(1).held), (vec![1, 1, 0], 0));
    assert!(cluster.shard(1).shard.is_idle(), "what was only heard of is in nobody's way");
    cluster.at(800).dispatch(1, &t);
    assert_eq!(cluster.at(801).turn(), 1, "the second has all it needs, the first has not");
    assert_eq!(cluster.ends(1), [committed(seq(0, 1), 800)]);
    cluster.exchange();
    assert_eq!(cluster.turn(), 1);
    assert_eq!(cluster.ends(0), [committed(seq(0, 1), 800)]);
}

#[test]
fn messages_that_come_repeatedly_and_in_any_order_change_nothing() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 300, &[0, 1, 2]);
    cluster.at(100).dispatch_all(&t);
    let letters = cluster.letters();
    let reversed: Vec<_> = letters.iter().rev().copied().collect();
    cluster.deliver_all(&reversed);
    cluster.deliver_all(&letters);
    assert_eq!(cluster.at(301).turn(), 3);
    // To shards that have run it, and to shards that have forgotten it.
    for forgotten in [false, true] {
        if forgotten {
            cluster.pass_until(10 * MS);
            assert_eq!(cluster.kept(), [0, 0, 0]);
        }
        cluster.deliver_all(&letters);
        assert_eq!(cluster.turn(), 0);
        assert_eq!((cluster.talk(), cluster.counters()), (vec![], [Some(1); 3]));
    }
    assert_eq!(cluster.kept(), [0, 0, 0], "an old copy makes nobody wait for a dispatch");
    for shard in 0..SHARDS {
        let stats = cluster.stats(shard);
        assert_eq!((stats.committed, stats.stale, stats.foreign), (1, 2, 0));
    }
}

#[test]
fn a_piece_that_comes_again_is_held_once_and_answered_from_what_became_of_it() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    cluster.at(200).dispatch(0, &t);
    let letters = cluster.letters();
    assert_eq!(letters, [proposal(&t, 0, 1, 500), proposal(&t, 1, 0, 500)], "each once");
    cluster.deliver_all(&letters);
    cluster.at(300).dispatch(0, &t);
    assert_eq!(cluster.at(501).turn(), 2);
    let answers = cluster.shard(0).held();
    assert_eq!(cluster.send(0, &t.pieces[&0]), answers);
    cluster.pass_until(10 * MS);
    assert_eq!(cluster.kept(), [0, 0, 0]);
    assert_eq!(cluster.send(0, &t.pieces[&0]), answers, "also when nothing else is kept of it");
    assert_eq!((cluster.counter(0, 0), cluster.stats(0).repeated), (Some(1), 4));
}

#[test]
fn a_shard_that_takes_no_part_changes_nothing_whether_it_speaks_before_or_after_the_dispatch() {
    let to = run_of(0, 1).incarnation();
    for before in [true, false] {
        let mut cluster = Cluster::new();
        let t = adds(seq(0, 1), 500, &[0, 1]);
        let stranger = |message| Letter { from: 2, to: 0, message };
        let propose = PeerMessage::Propose { txn: t.id, local: 900, to, answer: false };
        if before {
            cluster.at(50).deliver(stranger(propose));
        }
        cluster.at(100).dispatch_all(&t);
        if !before {
            let reason = RefusedReason::StoreFull;
            let relay = PeerMessage::Relay { txn: t.id, shard: 1, local: 900 };
            let lost = PeerMessage::Lost { txn: t.id, shard: 1, to, dead: 0b10 };
            let refuse = PeerMessage::Refuse { txn: t.id, reason };
            cluster.deliver_all(&[propose, relay, lost, refuse].map(stranger));
        }
        cluster.exchange();
        assert_eq!(cluster.at(501).turn(), 2);
        assert_eq!(cluster.ends(0), [committed(seq(0, 1), 500)]);
        assert_eq!(cluster.stats(0).foreign, if before { 1 } else { 4 });
    }
}

#[test]
fn what_a_vanished_coordinator_left_runs_everywhere() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    cluster.exchange();
    for id in [0, 1] {
        let harness = cluster.shard(id);
        harness.shard.close_session(Nanos(200), harness.session);
    }
    assert_eq!(cluster.at(501).turn(), 2);
    assert_eq!(cluster.counters(), [Some(1), Some(1), None]);
    // It comes back and asks again.
    let harness = cluster.shard(0);
    assert_eq!(harness.shard.open_session(Nanos(600), SESSION, SLOTS), Ok(harness.session));
    assert_eq!(cluster.send_for_end(0, &t.pieces[&0]), [committed(seq(0, 1), 500)]);
}

#[test]
fn the_answer_for_a_session_that_was_ended_goes_to_nobody_who_has_its_place_now() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    cluster.exchange();
    let harness = cluster.shard(0);
    harness.shard.end_session(harness.session);
    let place = harness.shard.open_session(Nanos(200), SessionId(8), SLOTS);
    assert_eq!(place, Ok(harness.session));
    assert_eq!(cluster.at(501).turn(), 2);
    assert_eq!((cluster.counter(0, 0), cluster.ends(0)), (Some(1), vec![]));
    // The same sequence of the newcomer is another transaction.
    let own = piece(seq(0, 1), &[add_to(0, 0)]);
    assert_eq!(cluster.send_for_end(0, &own), [committed(seq(0, 1), 501)]);
    assert_eq!(cluster.counter(0, 0), Some(2));
}

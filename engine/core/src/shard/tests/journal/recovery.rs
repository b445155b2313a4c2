//! A shard that goes on from its journal knows what it had promised, and does what it still has to
//! do (R11).

use super::*;

const LOST: RefusedReason = RefusedReason::PeerLost;

#[test]
fn what_was_undecided_is_proposed_again_at_the_time_that_it_had() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0, 1]);
    world.sync_all();
    assert_eq!(world.cluster.letters().len(), 2, "both are lost");
    world.at(700).restart(0);
    assert_eq!(world.shard(0).stats().held, 1);
    let questions = [ask(&t, 0, 1, 500), ask(&t, 1, 0, 500)];
    assert_eq!(world.cluster.turn(), 0);
    world.sync_all();
    let letters = world.cluster.letters();
    assert!(questions.iter().all(|question| letters.contains(question)), "{letters:?}");
    world.cluster.deliver_all(&letters);
    world.exchange();
    assert_eq!(world.cluster.turn(), 2);
    world.sync_all();
    for shard in [0, 1] {
        assert_eq!(world.cluster.ends(shard), [committed(seq(0, 1), 500)]);
        assert_eq!(world.cluster.counter(shard, 0), Some(1));
    }
}

#[test]
fn what_was_not_durable_was_told_to_nobody_and_is_admitted_anew() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    let until = world.tape(0).end();
    world.at(100).admit(&t, &[0, 1]);
    world.sync(1);
    world.take(0);
    let letters = world.cluster.letters();
    assert!(letters.iter().all(|letter| letter.from == 1));
    world.at(900).crash(0, until);
    world.cluster.deliver_all(&letters);
    assert_eq!(world.shard(0).stats().held, 0);
    // The coordinator sends again what was not answered. It is late now.
    world.admit(&t, &[0]);
    world.exchange();
    assert_eq!(world.at(901).cluster.turn(), 2);
    for shard in [0, 1] {
        assert_eq!(world.end_of(shard, &t.pieces[&shard]), committed(seq(0, 1), 900));
    }
}

#[test]
fn what_was_decided_runs_with_nobody_asked_and_is_answered_as_before() {
    for is_call in [false, true] {
        let mut world = World::new();
        let args = [0, 1].map(|shard| (shard, bump_args(word(shard, 0), COMMITS)));
        let t = match is_call {
            true => calls(seq(0, 1), 500, BUMP, &args),
            false => adds(seq(0, 1), 500, &[0, 1]),
        };
        world.at(100).admit(&t, &[0, 1]);
        // One that comes before it and one that comes after it, of those it conflicts with.
        assert!(world.cluster.send(0, &piece(seq(1, 1), &[add_to(0, 0)])).is_empty());
        world.exchange();
        assert_eq!(world.at(501).cluster.turn(), 2);
        assert!(world.cluster.send(0, &piece(seq(2, 1), &[add_to(0, 0)])).is_empty());
        world.take(0);
        let boundaries = world.tape(0).boundaries();
        let kinds = world.tape(0).kinds(Lsn::ZERO);
        assert_eq!(kinds[kinds.len() - 2..], ["Released", "Single"]);
        let released = boundaries[boundaries.len() - 3];
        world.shard(0).on_durable(released);
        let told = world.cluster.shard(0).held();
        let sums: Vec<_> = told.iter().map(Answer::number).collect();
        assert_eq!(sums, [1, 2]);
        // Its answer is out, and that it ran is forgotten.
        world.at(800).crash(0, released);
        assert_eq!(world.cluster.counter(0, 0), Some(1));
        assert!(world.cluster.send(0, &piece(seq(2, 1), &[add_to(0, 0)])).is_empty());
        assert_eq!(world.at(801).cluster.turn(), 2);
        world.sync(0);
        let again = world.cluster.shard(0).held();
        let found: Vec<_> = again.iter().map(|it| (it.sequence, it.number())).collect();
        assert_eq!(found, [(seq(0, 1), 2), (seq(2, 1), 3)]);
        assert_eq!((again[0].status, again[0].commit), (told[1].status, told[1].commit));
        assert_eq!(again[0].results, told[1].results);
    }
}

#[test]
fn what_ran_is_known_to_those_who_may_ask_and_forgotten_when_nobody_can() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0, 1]);
    world.exchange();
    assert_eq!(world.at(501).cluster.turn(), 2);
    world.sync_all();
    world.at(700).restart(0);
    assert_eq!((world.cluster.kept(), world.shard(0).stats().held), (vec![1, 1, 0], 0));
    let message = PeerMessage::Settle { txn: t.id, to: run_of(0, 1).incarnation() };
    world.cluster.deliver_all(&[ask(&t, 1, 0, 500), Letter { from: 1, to: 0, message }]);
    let message = PeerMessage::Decided { txn: t.id };
    let answers = [proposal(&t, 0, 1, 500), Letter { from: 0, to: 1, message }];
    assert_eq!(world.cluster.letters(), answers);
    assert_eq!(world.end_of(0, &t.pieces[&0]), committed(seq(0, 1), 500));
    world.pass_until(20 * MS);
    assert_eq!(world.cluster.kept(), [0, 0, 0]);
    world.restart(0);
    assert_eq!(world.cluster.kept(), [0, 0, 0]);
    assert_eq!(world.end_of(0, &t.pieces[&0]), committed(seq(0, 1), 500));
    assert_eq!(world.cluster.counter(0, 0), Some(1));
}

#[test]
fn all_shards_may_crash_at_once_and_agree_all_the_same() {
    let mut world = World::new();
    let all = adds(seq(0, 1), 500, &[0, 1, 2]);
    let some = adds(seq(1, 1), 600, &[1, 2]);
    world.at(100).admit(&all, &[0, 1, 2]);
    world.admit(&some, &[1, 2]);
    world.sync_all();
    // Each has another part of what was said.
    let letters = world.cluster.letters();
    let some_arrive = letters.iter().filter(|it| (it.from + 1) % SHARDS == it.to);
    some_arrive.for_each(|it| world.cluster.deliver(*it));
    for id in 0..SHARDS {
        world.at(700 + i64::from(id)).restart(id);
    }
    world.pass_until(10 * MS);
    for (txn, at) in [(&all, 500), (&some, 600)] {
        for (shard, request) in &txn.pieces {
            assert_eq!(world.end_of(*shard, request), committed(txn.id.sequence, at));
        }
    }
    assert_eq!(world.cluster.counters(), [Some(1), Some(2), Some(2)]);
    world.pass_until(3 * SECOND);
    assert_eq!(world.cluster.kept(), [0, 0, 0]);
}

#[test]
fn a_refusal_is_for_ever() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[1]);
    world.pass_until(2 * SECOND);
    let end = refused(seq(0, 1), RefusedReason::DispatchTimeout);
    assert_eq!(world.cluster.ends(0), [end]);
    world.restart(0);
    assert_eq!(world.end_of(0, &t.pieces[&0]), end);
    world.cluster.deliver(ask(&t, 1, 0, 500));
    world.sync(0);
    let message = PeerMessage::Refuse { txn: t.id, reason: RefusedReason::DispatchTimeout };
    assert!(world.cluster.letters().contains(&Letter { from: 0, to: 1, message }));
    assert_eq!(world.cluster.counters(), [None; 3]);
}

#[test]
fn a_promise_about_the_dead_is_kept_and_repeated() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 300, &[0, 1, 2]);
    world.at(100).admit(&t, &[0, 1, 2]);
    world.sync_all();
    let letters = world.cluster.letters();
    let arrive = letters.iter().filter(|letter| letter.from != 1);
    arrive.for_each(|letter| world.cluster.deliver(*letter));
    world.at(200).restart_empty(1);
    world.sync_all();
    assert_eq!(world.cluster.letters().len(), 2, "the promises of both are lost on the way");
    world.at(900).restart(0);
    // An old copy that one has promised not to take, and then the promise once more.
    world.cluster.deliver(proposal(&t, 1, 0, 300));
    world.pass_until(50 * MS);
    for shard in [0, 2] {
        assert_eq!(world.end_of(shard, &t.pieces[&shard]), refused(seq(0, 1), LOST));
    }
    assert_eq!((world.cluster.counters(), world.cluster.is_idle()), ([None; 3], true));
}

#[test]
fn a_loss_that_nobody_is_left_to_settle_is_settled_after_a_crash_too() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0]);
    world.sync(0);
    world.at(200).restart_empty(1);
    world.take(0);
    let kinds = world.tape(0).kinds(Lsn::ZERO);
    assert_eq!(kinds[kinds.len() - 2..], ["Buried", "Refused"]);
    // That the peer is dead is durable, and not yet what follows from it.
    let until = world.tape(0).last();
    world.at(300).crash(0, until);
    world.pass_until(50 * MS);
    assert!(world.cluster.is_idle(), "it would be in the way for ever");
    assert_eq!(world.end_of(0, &t.pieces[&0]), refused(seq(0, 1), LOST));
}

#[test]
fn a_peer_that_lost_its_memory_while_the_shard_was_down_is_noticed() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0]);
    world.sync(0);
    let until = world.tape(0).end();
    // The shard is there only to be revived.
    world.shard(0).on_peer_down(ShardId(1));
    world.cluster.shards[1] = Cluster::new().shards.remove(1);
    world.tapes[1] = Tape::default();
    world.cluster.shards[1].shard.config.session = run_of(1, 2);
    world.at(900).crash(0, until);
    world.pass_until(20 * MS);
    assert_eq!(world.end_of(0, &t.pieces[&0]), refused(seq(0, 1), LOST));
    assert!(world.cluster.is_idle());
}

#[test]
fn room_is_taken_by_what_is_pending_as_before() {
    let mut world = World::with(|config| config.pending_per_peer_max = 2, bumping);
    for slot in [0, 1] {
        let t = adds_to(usize::from(slot), seq(slot, 1), 500, &[0, 1]);
        world.at(100).admit(&t, &[0]);
    }
    world.sync(0);
    let held_bytes = world.shard(0).held_bytes;
    world.at(700).restart(0);
    assert_eq!((world.shard(0).held_bytes, world.shard(0).stats().held), (held_bytes, 2));
    let third = adds_to(2, seq(2, 1), 500, &[0, 1]);
    let busy = [(seq(2, 1), ReplyStatus::Busy, 0)];
    assert_eq!(world.cluster.send_for_end(0, &third.pieces[&0]), busy);
    // And is given back with it.
    for slot in [0, 1] {
        let t = adds_to(usize::from(slot), seq(slot, 1), 500, &[0, 1]);
        world.admit(&t, &[1]);
    }
    world.pass_until(20 * MS);
    assert_eq!((world.shard(0).held_bytes, world.cluster.kept()), (0, vec![0, 0, 0]));
    world.admit(&third, &[0]);
}

#[test]
fn what_conflicts_with_the_undecided_waits_for_it_after_a_crash_as_before() {
    let mut world = World::new();
    let calls = calls(
        seq(1, 1),
        600,
        BUMP,
        &[0, 1].map(|shard| (shard, bump_args(word(shard, 3), COMMITS))),
    );
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0]);
    world.sync(0);
    world.at(550).restart(0);
    // It conflicts with one, then with everything.
    assert!(world.cluster.send(0, &piece(seq(2, 1), &[add_to(0, 0)])).is_empty());
    assert_eq!(world.end_of(0, &piece(seq(3, 1), &[add_to(0, 1)])).1, ReplyStatus::Committed);
    world.admit(&calls, &[0]);
    world.restart(0);
    assert!(world.at(700).cluster.send(0, &piece(seq(2, 1), &[add_to(0, 0)])).is_empty());
    assert!(world.cluster.send(0, &piece(seq(4, 1), &[add_to(0, 2)])).is_empty());
    assert_eq!(world.shard(0).stats().held, 4);
    world.admit(&t, &[1]);
    world.admit(&calls, &[1]);
    world.pass_until(5 * MS);
    let sums = [0, 1, 2, 3].map(|counter| world.cluster.counter(0, counter));
    assert_eq!(sums, [Some(2), Some(1), Some(1), Some(1)]);
}

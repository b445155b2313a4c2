//! What a shard tells others leaves when all that it tells of is durable (R3).

use super::*;

/// A transaction on the first two shards at 500, admitted by these at 100.
fn admitted(world: &mut World, shards: &[u16]) -> Txn {
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, shards);
    t
}

/// As far as they are about a transaction.
fn about(world: &mut World) -> Vec<Letter> {
    let letters = world.cluster.letters();
    letters.into_iter().filter(|letter| letter.txn().is_some()).collect()
}

#[test]
fn a_proposal_leaves_when_the_admission_is_durable() {
    let mut world = World::new();
    let from = world.tape(0).end();
    let t = admitted(&mut world, &[0, 1]);
    assert_eq!(world.cluster.letters(), []);
    world.take(0);
    assert_eq!(world.tape(0).kinds(from), ["Admitted"]);
    let last = Lsn(world.tape(0).end().0 - 1);
    world.shard(0).on_durable(last);
    assert_eq!(world.cluster.letters(), []);
    world.sync(0);
    assert_eq!(world.cluster.letters(), [proposal(&t, 0, 1, 500)]);
    world.sync(1);
    assert_eq!(world.cluster.letters(), [proposal(&t, 1, 0, 500)]);
}

#[test]
fn a_link_that_breaks_forgets_what_waited_and_the_peer_asks() {
    let mut world = World::new();
    let t = admitted(&mut world, &[0]);
    world.shard(0).on_peer_down(ShardId(1));
    world.cluster.link(0, 1, run_of(1, 1));
    world.sync(0);
    assert_eq!(about(&mut world), []);
    world.cluster.deliver(ask(&t, 1, 0, 700));
    world.sync(0);
    assert_eq!(about(&mut world), [proposal(&t, 0, 1, 500)]);
}

#[test]
fn the_answer_leaves_when_all_that_its_run_depends_on_is_durable_and_before_the_run_itself_is() {
    let mut world = World::new();
    admitted(&mut world, &[0, 1]);
    world.sync_all();
    let letters = world.cluster.letters();
    let from = world.tape(0).end();
    world.cluster.deliver_all(&letters);
    assert!(world.at(300).cluster.send(0, &piece(seq(1, 1), &[add_to(0, 0)])).is_empty());
    assert_eq!(world.at(501).cluster.turn(), 2);
    world.take(0);
    assert_eq!(world.tape(0).kinds(from), ["Proposal", "Single", "Released"]);
    let boundaries = world.tape(0).boundaries();
    let released = boundaries.len() - 2;
    for lsn in [from, boundaries[released - 1], Lsn(boundaries[released].0 - 1)] {
        world.shard(0).on_durable(lsn);
        assert!(!world.cluster.ends(0).contains(&committed(seq(0, 1), 500)), "at {lsn}");
    }
    world.shard(0).on_durable(boundaries[released]);
    assert!(world.cluster.ends(0).contains(&committed(seq(0, 1), 500)));
    assert!(!world.shard(0).is_durable());
}

#[test]
fn a_refusal_for_want_of_a_dispatch_is_told_when_it_is_durable() {
    let mut world = World::new();
    let t = admitted(&mut world, &[1]);
    world.sync(1);
    let letters = world.cluster.letters();
    world.cluster.deliver_all(&letters);
    assert_eq!(world.shard(0).log_len(), 0, "what was only heard is asked for again");
    let now = 100 + SECOND + 2 * MS;
    let clock = Nanos(now);
    world.at(now).shard(0).on_turn(clock);
    world.take(0);
    let boundaries = world.tape(0).boundaries();
    let kinds = world.tape(0).kinds(Lsn::ZERO);
    let at = kinds.iter().position(|kind| kind == "Refused").expect("it is refused");
    world.shard(0).on_durable(Lsn(boundaries[at + 1].0 - 1));
    assert_eq!((about(&mut world), world.cluster.ends(0)), (vec![], vec![]));
    world.shard(0).on_durable(boundaries[at + 1]);
    let reason = RefusedReason::DispatchTimeout;
    let message = PeerMessage::Refuse { txn: t.id, reason };
    assert_eq!(about(&mut world), [Letter { from: 0, to: 1, message }]);
    assert_eq!(world.cluster.ends(0), [refused(seq(0, 1), reason)]);
}

#[test]
fn a_refusal_by_a_peer_is_told_to_the_coordinator_when_it_is_durable() {
    let mut world = World::new();
    let t = admitted(&mut world, &[0]);
    world.sync(0);
    let from = world.tape(0).end();
    let reason = RefusedReason::StoreFull;
    let message = PeerMessage::Refuse { txn: t.id, reason };
    world.cluster.deliver(Letter { from: 1, to: 0, message });
    world.take(0);
    assert_eq!(world.tape(0).kinds(from), ["Refused"]);
    assert_eq!(world.cluster.ends(0), []);
    world.sync(0);
    assert_eq!(world.cluster.ends(0), [refused(seq(0, 1), reason)]);
}

#[test]
fn promises_about_the_dead_and_proposals_of_theirs_leave_when_they_are_durable() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 300, &[0, 1, 2]);
    world.at(100).admit(&t, &[0, 1, 2]);
    world.sync_all();
    // Shard 2 has the proposal of shard 1, and shard 0 has not.
    let letters = world.cluster.letters();
    world.sync_all();
    letters.iter().filter(|it| !it.goes(1, 0)).for_each(|it| world.cluster.deliver(*it));
    let from = world.tape(0).end();
    world.at(200).restart_empty(1);
    world.take(0);
    let mut kinds = world.tape(0).kinds(from);
    assert_eq!(kinds.pop().as_deref(), Some("Buried"));
    assert_eq!(about(&mut world), []);
    world.sync(0);
    let to = run_of(2, 1).incarnation();
    let message = PeerMessage::Lost { txn: t.id, shard: 1, to, dead: 0b010 };
    let lost = Letter { from: 0, to: 2, message };
    assert_eq!(about(&mut world), [lost]);
    world.cluster.deliver(lost);
    assert_eq!(about(&mut world), [], "it is not sure yet to have it after a crash");
    world.sync(2);
    let message = PeerMessage::Relay { txn: t.id, shard: 1, local: 300 };
    assert_eq!(about(&mut world), [Letter { from: 2, to: 0, message }]);
}

#[test]
fn whatever_is_said_waits_for_all_that_was_logged_before() {
    let mut world = World::new();
    let t = admitted(&mut world, &[0, 1]);
    world.exchange();
    assert_eq!(world.at(501).cluster.turn(), 2);
    world.exchange();
    let settle = PeerMessage::Settle { txn: t.id, to: run_of(0, 1).incarnation() };
    let settle = Letter { from: 1, to: 0, message: settle };
    let decided = PeerMessage::Decided { txn: t.id };
    let answers = [proposal(&t, 0, 1, 500), Letter { from: 0, to: 1, message: decided }];
    for (generation, (question, answer)) in
        (1..).zip([ask(&t, 1, 0, 500), settle].iter().zip(answers))
    {
        let write = piece(seq(1, generation), &[add_to(0, 1)]);
        assert!(world.cluster.send(0, &write).is_empty());
        world.cluster.deliver(*question);
        assert_eq!(about(&mut world), [], "{question:?}");
        world.sync(0);
        assert_eq!(about(&mut world), [answer]);
    }
}

#[test]
fn a_watermark_is_told_when_what_it_says_is_decided_is_durable() {
    let mut world = World::new();
    admitted(&mut world, &[0, 1]);
    world.exchange();
    let watermarks = |world: &mut World| {
        let letters = world.cluster.letters();
        letters.into_iter().filter(|it| it.goes(0, 1) && it.txn().is_none()).count()
    };
    world.at(3 * MS).cluster.turn();
    world.take(0);
    assert_eq!(world.tape(0).kinds(world.tape(0).last()), ["Released"]);
    assert_eq!(watermarks(&mut world), 0);
    let last = world.tape(0).last();
    world.shard(0).on_durable(last);
    assert_eq!(watermarks(&mut world), 0);
    world.sync(0);
    assert_eq!(watermarks(&mut world), 1);
}

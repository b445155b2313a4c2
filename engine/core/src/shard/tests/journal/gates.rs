//! No answer leaves before all that it tells of is durable (R3).

use super::*;

fn durable() -> (Harness, Tape) {
    journaled(Durability::Journal)
}

fn write(slot: u16) -> Request {
    piece(seq(slot, 1), &[add(1, 1)])
}

fn read(slot: u16) -> Request {
    piece(seq(slot, 1), &[get(1)])
}

/// The slots of the answers that may leave by now, with the first number of each.
fn told(harness: &mut Harness) -> Vec<(u16, i64)> {
    harness.held().iter().map(|it| (it.sequence.slot(), it.number())).collect()
}

#[test]
fn an_answer_leaves_when_what_it_tells_is_durable_and_no_earlier() {
    let (mut harness, mut tape) = durable();
    let before = tape.end();
    assert!(harness.run(10, &[piece(seq(0, 1), &[add(1, 5)])]).is_empty());
    assert!(harness.held().is_empty(), "it was not even written");
    tape.take(&mut harness.shard);
    assert_eq!(tape.kinds(before), ["Single"]);
    for lsn in [before, Lsn(tape.end().0 - 1)] {
        harness.shard.on_durable(lsn);
        assert_eq!(harness.shard.log_ends(), (tape.end(), lsn));
        assert!(harness.held().is_empty() && !harness.shard.is_durable());
    }
    harness.shard.on_durable(tape.end());
    let answers = harness.held();
    assert_eq!((answers[0].status, answers[0].commit), (ReplyStatus::Committed, 10));
    assert_eq!((answers.len(), answers[0].number()), (1, 5));
    assert!(harness.held().is_empty(), "it is told once");
    assert!(harness.shard.is_durable());
}

#[test]
fn answers_leave_in_the_order_of_the_log_as_far_as_it_is_durable() {
    let (mut harness, mut tape) = durable();
    let requests = [4, 2, 3].map(write);
    assert!(harness.run(10, &requests).is_empty());
    tape.take(&mut harness.shard);
    let boundaries = tape.boundaries();
    let ends = &boundaries[boundaries.len() - 3..];
    for ((slot, sum), end) in [(4, 1), (2, 2), (3, 3)].into_iter().zip(ends) {
        assert!(harness.held().is_empty());
        harness.shard.on_durable(*end);
        assert_eq!(told(&mut harness), [(slot, sum)]);
    }
}

#[test]
fn durability_does_not_go_back() {
    let (mut harness, mut tape) = durable();
    assert!(harness.run(10, &[write(0)]).is_empty());
    let before = tape.end();
    tape.sync(&mut harness.shard);
    harness.shard.on_durable(before);
    assert_eq!(harness.shard.log_ends(), (tape.end(), tape.end()));
    assert_eq!(told(&mut harness), [(0, 1)]);
}

#[test]
fn what_only_reads_is_not_written_down_but_waits_for_what_it_may_have_seen() {
    let (mut harness, mut tape) = durable();
    assert!(harness.run(10, &[write(0)]).is_empty());
    let len = harness.shard.log_len();
    assert!(harness.run(10, &[read(1), read(2)]).is_empty());
    assert_eq!(harness.shard.log_len(), len);
    tape.take(&mut harness.shard);
    assert!(harness.held().is_empty());
    tape.sync(&mut harness.shard);
    assert_eq!(told(&mut harness), [(0, 1), (1, 1), (2, 1)]);
    // With nothing to wait for it is answered at once.
    assert_eq!(harness.run_one(11, &read(4)).number(), 1);
    assert_eq!((harness.shard.log_len(), harness.shard.is_durable()), (0, true));
}

#[test]
fn a_call_is_written_down_whatever_it_did() {
    let (mut harness, mut tape) = durable();
    for (slot, how) in [(0, COMMITS), (1, ABORTS), (2, LOOKS)] {
        let from = tape.end();
        harness.run(10, &[call(seq(slot, 1), BUMP, &bump_args(1, how))]);
        tape.sync(&mut harness.shard);
        assert_eq!(tape.kinds(from), ["Single"], "which is {how}");
    }
    assert_eq!(harness.number(1), Some(1));
}

#[test]
fn a_retry_waits_as_well_and_is_told_the_same() {
    let (mut harness, mut tape) = durable();
    assert!(harness.run(10, &[write(0)]).is_empty());
    assert!(harness.run(11, &[write(0)]).is_empty());
    tape.take(&mut harness.shard);
    assert!(harness.held().is_empty());
    tape.sync(&mut harness.shard);
    let answers = harness.held();
    assert!(!answers.is_empty() && answers.iter().all(|it| *it == answers[0]));
    // At once, when all is durable; and no earlier than what came in between.
    assert_eq!(harness.run_one(12, &write(0)), answers[0]);
    assert!(harness.run(13, &[write(1)]).is_empty());
    assert!(harness.run(14, &[write(0)]).is_empty());
    tape.sync(&mut harness.shard);
    assert_eq!(told(&mut harness), [(1, 2), (0, 1)]);
    assert_eq!(harness.number(1), Some(2));
}

#[test]
fn a_refusal_on_one_shard_is_not_written_down_but_waits_like_a_read() {
    let (mut harness, mut tape) = durable();
    let unknown = call(seq(1, 1), 99, b"");
    assert!(harness.run(10, &[write(0)]).is_empty());
    let len = harness.shard.log_len();
    assert!(harness.run(10, std::slice::from_ref(&unknown)).is_empty());
    assert_eq!(harness.shard.log_len(), len);
    tape.sync(&mut harness.shard);
    let statuses: Vec<_> = harness.held().iter().map(|it| it.status).collect();
    let refused = ReplyStatus::Refused(RefusedReason::UnknownProcedure);
    assert_eq!(statuses, [ReplyStatus::Committed, refused]);
    assert_eq!(harness.run_one(11, &unknown).status, refused);
}

#[test]
fn a_refusal_of_a_transaction_on_several_shards_is_told_when_it_is_durable() {
    let mut world = World::new();
    let t = adds(seq(0, 1), 10 * SECOND, &[0, 1]);
    let from = world.tape(0).end();
    assert!(world.at(100).cluster.send(0, &t.pieces[&0]).is_empty());
    world.take(0);
    assert_eq!(world.tape(0).kinds(from), ["Refused"]);
    assert!(world.cluster.ends(0).is_empty());
    world.sync(0);
    let end = refused(seq(0, 1), RefusedReason::StampTooFar);
    assert_eq!(world.cluster.ends(0), [end]);
    assert_eq!(world.cluster.send_for_end(0, &t.pieces[&0]), [end]);
}

#[test]
fn busy_promises_nothing_and_waits_for_nothing() {
    let mut world = World::with(|config| config.pending_per_peer_max = 0, bumping);
    let write = piece(seq(1, 1), &[add_to(0, 0)]);
    assert!(world.at(100).cluster.send(0, &write).is_empty());
    let t = adds(seq(0, 1), 500, &[0, 1]);
    let busy = [(seq(0, 1), ReplyStatus::Busy, 0)];
    assert_eq!(world.cluster.send_for_end(0, &t.pieces[&0]), busy);
    assert!(!world.shard(0).is_durable());
}

#[test]
fn what_waits_is_forgotten_with_its_link_and_told_to_the_one_that_asks_again() {
    let (mut harness, mut tape) = durable();
    assert!(harness.run(10, &[write(0)]).is_empty());
    harness.shard.close_session(Nanos(11), harness.session);
    let from = harness.shard.log_len();
    let opened = harness.shard.open_session(Nanos(12), SESSION, SLOTS);
    assert_eq!((opened, harness.shard.log_len()), (Ok(harness.session), from));
    tape.sync(&mut harness.shard);
    assert!(harness.held().is_empty());
    assert_eq!(harness.run_one(13, &write(0)).number(), 1);
}

#[test]
fn what_waited_for_another_transaction_is_written_down_when_it_runs_and_then_waits_for_that() {
    let mut world = World::new();
    world.at(100).admit(&adds(seq(0, 1), 100, &[0, 1]), &[0, 1]);
    world.sync(0);
    let from = world.tape(0).end();
    let (write, read) = ([add_to(0, 0)], [get_of(0, 0)]);
    assert!(world.at(200).cluster.send(0, &piece(seq(1, 1), &write)).is_empty());
    assert!(world.cluster.send(0, &piece(seq(2, 1), &read)).is_empty());
    world.take(0);
    assert!(world.tape(0).kinds(from).is_empty(), "nobody was told anything of it");
    world.exchange();
    let from = world.tape(0).end();
    assert_eq!(world.at(201).cluster.turn(), 4);
    world.take(0);
    assert_eq!(world.tape(0).kinds(from), ["Released", "Single"]);
    let slots = |world: &mut World| -> Vec<_> {
        world.cluster.ends(0).iter().map(|(sequence, ..)| sequence.slot()).collect()
    };
    assert_eq!(slots(&mut world), [0]);
    let last = world.tape(0).last();
    world.shard(0).on_durable(last);
    assert!(slots(&mut world).is_empty());
    world.sync(0);
    assert_eq!(slots(&mut world), [1, 2]);
}

#[test]
fn without_a_journal_nothing_is_appended_and_nothing_waits() {
    let mut harness = Harness::plain();
    assert_eq!(harness.run(10, &[write(0), read(1)]).len(), 2);
    let mut batch = vec![1, 2, 3];
    assert_eq!((harness.shard.take_log(&mut batch), batch), (Lsn::ZERO, vec![]));
    assert_eq!(harness.shard.log_ends(), (Lsn::ZERO, Lsn::ZERO));
    assert!(harness.shard.is_durable() && !harness.shard.durability().is_on());
}

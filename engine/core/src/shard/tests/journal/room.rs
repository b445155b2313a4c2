//! A journal without room, and one that is not written as fast as it grows (R10).

use super::*;

const FULL: ReplyStatus = ReplyStatus::Refused(RefusedReason::JournalFull);

fn statuses(harness: &mut Harness, requests: &[Request]) -> Vec<ReplyStatus> {
    harness.run(10, requests).iter().map(|it| it.status).collect()
}

#[test]
fn a_full_journal_refuses_what_must_be_written_down_and_reads_go_on() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let first = piece(seq(0, 1), &[add(1, 5)]);
    harness.run(10, std::slice::from_ref(&first));
    tape.sync(&mut harness.shard);
    let answer = harness.held().remove(0);
    harness.shard.set_journal_full(true);
    let requests = [
        piece(seq(1, 1), &[get(1)]),
        piece(seq(2, 1), &[get(1), add(1, 1)]),
        call(seq(3, 1), BUMP, &bump_args(1, COMMITS)),
        piece(seq(4, 1), &[Op::Delete { key: Key::Word(1) }]),
        call(seq(5, 1), 99, b""),
    ];
    let unknown = ReplyStatus::Refused(RefusedReason::UnknownProcedure);
    let expected = [ReplyStatus::Committed, FULL, FULL, FULL, unknown];
    assert_eq!(statuses(&mut harness, &requests), expected);
    assert_eq!(harness.shard.log_len(), 0);
    // What ran before is answered, and what was refused stays so.
    assert_eq!(harness.run_one(11, &first), answer);
    harness.shard.set_journal_full(false);
    assert_eq!(statuses(&mut harness, &requests), expected);
    assert_eq!(harness.number(1), Some(5));
    assert!(statuses(&mut harness, &[piece(seq(2, 2), &[add(1, 1)])]).is_empty());
    tape.sync(&mut harness.shard);
    assert_eq!(harness.held()[0].number(), 6);
}

#[test]
fn a_full_journal_takes_part_in_nothing_new_and_finishes_what_it_takes_part_in() {
    let mut world = World::new();
    let (old, new) = (adds(seq(0, 1), 500, &[0, 1]), adds(seq(1, 1), 500, &[0, 1]));
    world.at(100).admit(&old, &[0]);
    world.shard(0).set_journal_full(true);
    world.admit(&new, &[1]);
    world.sync_all();
    assert!(world.cluster.send(0, &new.pieces[&0]).len() <= 1);
    world.admit(&old, &[1]);
    world.pass_until(2 * SECOND);
    for shard in [0, 1] {
        assert_eq!(world.end_of(shard, &old.pieces[&shard]), committed(seq(0, 1), 500));
        let (_, status, _) = world.end_of(shard, &new.pieces[&shard]);
        assert!(matches!(status, ReplyStatus::Refused(_)), "{status:?}");
        assert_eq!(world.cluster.counter(shard, 0), Some(1));
    }
    assert!(world.cluster.is_idle());
}

#[test]
fn a_log_that_nobody_writes_makes_the_shard_busy_until_somebody_does() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let value = vec![7; Limits::DEFAULT.value_bytes_max as usize];
    let put = |count: u64| {
        let slot = u16::try_from(count % 60).expect("a small number");
        let key = Key::Word(1);
        piece(seq(slot, 2 + count / 60), &[Op::Put { key, value: &value }])
    };
    let mut count = 0;
    while harness.run(10, &[put(count)]).is_empty() {
        count += 1;
        assert!(count < 1_000, "there is a bound");
    }
    assert_eq!(count, 256, "64 MiB of such values");
    let busy = |harness: &mut Harness, request: &Request| {
        harness.run_one(11, request).status == ReplyStatus::Busy
    };
    let read = piece(seq(61, 1), &[get(1)]);
    assert!(busy(&mut harness, &put(count)) && busy(&mut harness, &read));
    assert_eq!(harness.shard.stats().busy, 3);
    tape.take(&mut harness.shard);
    assert!(harness.run(12, &[put(count), read]).is_empty(), "they are taken, and wait");
    tape.sync(&mut harness.shard);
    assert_eq!(harness.shard.stats().committed, 256 + 2 + 1);
}

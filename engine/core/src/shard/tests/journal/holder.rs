//! A shard to those who know no more of it than that it has a log.

use super::*;
use crate::journal::{LogOwner, Logged, ReplayTally, Replica};

/// Takes what was appended, and makes it durable.
fn drain<L: Logged>(logged: &mut L) -> (Lsn, Vec<u8>) {
    let (len, mut records) = (logged.log_len(), vec![0xee; 3]);
    let at = logged.take_log(&mut records);
    assert_eq!((records.len(), logged.log_len()), (len, 0));
    logged.on_durable(at.plus(len));
    (at, records)
}

fn done_again<R: Replica>(setup: &R::Setup, pages: &Pages) -> R {
    let mut replica = R::new(setup);
    for (lsn, record) in pages.records() {
        assert_eq!(replica.apply(&record), Ok(()), "at {lsn}");
    }
    replica
}

fn snapshot<R: Replica>(replica: &R) -> Pages {
    let mut bytes = Vec::new();
    let outcome: Result<(), Infallible> = replica.snapshot(|record| {
        record.write(&mut bytes);
        Ok(())
    });
    outcome.expect("nothing fails");
    Pages::new(Lsn(77), &bytes)
}

#[test]
fn a_shard_is_written_down_and_done_again_by_those_who_know_nothing_else_of_it() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let pieces = [piece(seq(0, 1), &[add(1, 5)]), piece(seq(1, 1), &[add(2, 6)])];
    assert!(harness.run(10, &pieces).is_empty(), "nothing is durable");
    let (at, records) = drain(&mut harness.shard);
    assert_eq!(at, tape.end());
    assert!(harness.shard.is_durable());
    assert_eq!(harness.held().len(), 2);
    tape.bytes.extend_from_slice(&records);

    let Shard { config, procedures, .. } = &harness.shard;
    let setup = ShardSetup { config: config.clone(), procedures: Arc::clone(procedures) };
    let replica: Replay = done_again(&setup, &tape.pages());
    let records = tape.boundaries().len() as u64 - 1;
    assert_eq!(replica.tally(), ReplayTally { records, done: 2, kept: 2, open: 0 });
    assert!(!Replica::is_whole(&replica));
    // A snapshot comes to the same.
    let second: Replay = done_again(&setup, &snapshot(&replica));
    assert!(Replica::is_whole(&second));
    let ReplayTally { done, kept, open, .. } = second.tally();
    assert_eq!((done, kept, open), (0, 2, 0));
}

#[test]
fn a_journal_without_room_is_told_to_a_shard_by_those_who_write_it() {
    let (mut harness, _) = journaled(Durability::Journal);
    for is_full in [true, false] {
        Logged::set_journal_full(&mut harness.shard, is_full);
        assert_eq!(harness.shard.log.is_full(), is_full);
    }
    assert_eq!(Logged::id(&harness.shard), ShardId(0));
}

#[test]
fn the_owner_of_a_journal_is_the_shard_that_it_was_set_up_for() {
    let config = ShardConfig { session: SessionId(5), ..ShardConfig::new(ShardId(1), SHARDS) };
    let setup = ShardSetup { config, procedures: Arc::new(Procedures::new()) };
    let owner = |session| LogOwner {
        holder: Holder::Shard,
        shard: ShardId(1),
        shards: SHARDS,
        session: SessionId(session),
        limits: Limits::DEFAULT,
    };
    assert_eq!(Replay::owner(&setup), owner(5));
    assert_eq!(Replay::owner(&Replay::with_session(setup, SessionId(6))), owner(6));
}

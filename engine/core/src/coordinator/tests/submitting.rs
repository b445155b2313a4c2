//! Submitting never waits: what cannot be taken now is handed back whole.

use super::*;

fn several_ops(shard: u16) -> [Op<'static>; 3] {
    let key = Key::Word(key_of(shard));
    [Op::Add { key, delta: 7 }, Op::Put { key, value: b"a longer value" }, Op::Get { key }]
}

fn waiting_transaction(shard: u16) -> Transaction {
    let mut transaction = transaction();
    for op in several_ops(shard) {
        transaction.op(op);
    }
    transaction
}

impl Harness {
    /// Checks that a submission fails so, without a trace.
    fn assert_not_taken(&mut self, now: i64, transaction: &mut Transaction, error: SubmitError) {
        let before = (self.coordinator.in_flight(), self.coordinator.stats());
        assert_eq!(self.try_submit(now, transaction, 99), Err(error));
        assert_eq!((self.coordinator.in_flight(), self.coordinator.stats()), before);
        assert_eq!(transaction.op_count(), 3);
    }

    /// Checks that a transaction of `several_ops` is taken and that all of it goes out.
    fn assert_goes_out_whole(&mut self, now: i64, transaction: &mut Transaction) {
        let shard = transaction.shard().expect("it has operations");
        self.sent(shard.0);
        let sequence = self.try_submit(now, transaction, 99).expect("it can be taken now");
        assert_eq!((transaction.op_count(), transaction.shard()), (0, None));
        let sent = self.sent(shard.0);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].sequence, sequence);
        let mut body = Vec::new();
        for op in several_ops(shard.0) {
            op.write(&mut body);
        }
        assert!(sent[0].frame.ends_with(&body), "{:?}", sent[0]);
    }
}

#[test]
fn a_full_table_is_reported_and_the_transaction_goes_out_whole_later() {
    // Both transactions in flight on one shard, or one on each.
    for second_shard in [0, 1] {
        let mut harness = Harness::new(2);
        let first = harness.submit(0, 0, 1);
        harness.submit(0, second_shard, 2);
        for shard in [0, 1] {
            let mut waiting = waiting_transaction(shard);
            harness.assert_not_taken(1, &mut waiting, SubmitError::InFlightFull { max: 2 });
        }
        let mut waiting = waiting_transaction(0);
        harness.assert_not_taken(1, &mut waiting, SubmitError::InFlightFull { max: 2 });
        harness.commit(2, 0, first);
        harness.assert_goes_out_whole(3, &mut waiting);
        assert_eq!(harness.coordinator.in_flight(), 2);
    }
}

#[test]
fn a_blocked_link_is_reported_and_holds_no_other_shard_back() {
    let mut harness = Harness::new(4);
    harness.links.up[0] = false;
    let mut waiting = waiting_transaction(0);
    harness.assert_not_taken(0, &mut waiting, SubmitError::LinkBlocked(ShardId(0)));
    harness.submit(0, 1, 1);
    harness.assert_not_taken(1, &mut waiting, SubmitError::LinkBlocked(ShardId(0)));
    harness.links.up[0] = true;
    harness.assert_goes_out_whole(2, &mut waiting);
}

#[test]
fn a_busy_shard_is_reported_and_holds_no_other_shard_back() {
    let mut harness = Harness::new(4);
    let (first, second) = (harness.submit(0, 0, 1), harness.submit(0, 0, 2));
    harness.busy(1, 0, first);
    let mut waiting = waiting_transaction(0);
    harness.assert_not_taken(1, &mut waiting, SubmitError::ShardBusy(ShardId(0)));
    harness.submit(1, 1, 3);
    harness.commit(2, 0, first);
    harness.commit(2, 0, second);
    harness.assert_goes_out_whole(3, &mut waiting);
}

#[test]
fn one_transaction_object_serves_many_submissions() {
    let mut harness = Harness::new(8);
    let mut transaction = transaction();
    for delta in 1..=8_u64 {
        transaction.add(key_of(1), delta.cast_signed());
        harness.try_submit(0, &mut transaction, delta).expect("there is room");
    }
    let sent = harness.sent(1);
    assert_eq!(sent.len(), 8);
    for (delta, sent) in (1_i64..).zip(&sent) {
        assert!(sent.frame.ends_with(&delta.to_le_bytes()), "{delta}: {sent:?}");
    }
}

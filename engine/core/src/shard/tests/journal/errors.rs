//! Records that do not fit what was there before them are errors, each with its reason.

use super::*;
use crate::journal::{RecordParty, write_with_parties};
use punctual_wire::TxnId;

const SLOTS_MAX: u32 = 4;
const ID: TxnId = TxnId { session: 7, sequence: TxnSequence(1 << 16) };

/// A shard with one session of four slots, and room for one more.
fn begun() -> Replay {
    let config = ShardConfig {
        sessions_max: 2,
        slots_max: SLOTS_MAX,
        ..ShardConfig::new(ShardId(1), SHARDS)
    };
    let mut replay = Replay::new(config, Arc::new(bumping()));
    let opened = Record::SessionOpened { id: SESSION, index: 0, slots: SLOTS_MAX, epoch: 1 };
    assert_eq!(replay.apply(&opened), Ok(()));
    replay
}

/// What a record gives behind these others.
fn outcome(before: &[Record<'_>], record: Record<'_>) -> Result<(), ReplayError> {
    let mut replay = begun();
    for record in before {
        assert_eq!(replay.apply(record), Ok(()), "{record:?}");
    }
    replay.apply(&record)
}

/// Parties with their proposals.
fn parties(shards: &[(u16, Option<i64>)]) -> Vec<RecordParty> {
    let party = |&(shard, local): &(u16, Option<i64>)| RecordParty {
        shard,
        incarnation: run_of(shard, 1).incarnation(),
        local: local.map(Nanos),
    };
    shards.iter().map(party).collect()
}

/// The bytes of a record with these parties, and a body if it is that of an admission.
fn admitted(shards: &[(u16, Option<i64>)], body: Option<&PieceBody<'_>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_with_parties(&mut bytes, ID, Nanos::ZERO, parties(shards).into_iter(), body);
    bytes
}

/// Operations on the second counter of shard 1.
fn ops() -> Vec<u8> {
    piece(seq(0, 1), &[add_to(1, 1)]).body
}

fn in_slot(slot: u16) -> TxnId {
    TxnId { sequence: seq(slot, 1), ..ID }
}

fn of_session(session: u64) -> TxnId {
    TxnId { session, ..ID }
}

fn outcome_of(txn: TxnId) -> Record<'static> {
    let (status, commit) = (ReplyStatus::Committed, Nanos(5));
    Record::Outcome { txn, status, commit, result_count: 0, results: &[] }
}

#[test]
fn what_belongs_to_no_session_or_no_slot_of_it_is_an_error() {
    assert_eq!(outcome(&[], outcome_of(in_slot(3))), Ok(()));
    let nobody = Err(ReplayError::NoSession(SessionId(9)));
    assert_eq!(outcome(&[], outcome_of(of_session(9))), nobody);
    assert_eq!(outcome(&[], Record::SessionEnded { id: SessionId(9) }), nobody);
    let ended = Record::SessionEnded { id: SESSION };
    assert_eq!(outcome(&[ended], ended), Err(ReplayError::NoSession(SESSION)));
    assert_eq!(outcome(&[], outcome_of(in_slot(4))), Err(ReplayError::NoSlot { slot: 4 }));
}

#[test]
fn a_session_that_cannot_be_there_is_an_error() {
    let opened = |id, index, slots, epoch| {
        let id = SessionId(id);
        outcome(&[], Record::SessionOpened { id, index, slots, epoch })
    };
    assert_eq!(opened(8, 1, 4, 2), Ok(()));
    assert_eq!(opened(7, 0, 4, 1), Ok(()), "the same once more");
    assert_eq!(opened(8, 0, 4, 2), Ok(()), "in the place of the other one");
    // Too many slots or none, too many sessions, one at two places, one again that did not end.
    for (id, index, slots, epoch) in [(8, 1, 5, 2), (8, 1, 0, 2), (8, 2, 4, 2), (7, 1, 4, 2)] {
        assert_eq!(opened(id, index, slots, epoch), Err(ReplayError::BadSession), "{index}");
    }
}

#[test]
fn what_happened_to_a_transaction_that_was_never_admitted_is_an_error() {
    let stray = [
        Record::Proposal { txn: ID, shard: 0, local: Nanos(5) },
        Record::Released { txn: ID },
        Record::Buried { txn: ID, dead: 1 },
        Record::Forgotten { txn: ID },
    ];
    for record in stray {
        assert_eq!(outcome(&[], record), Err(ReplayError::NoTransaction), "{record:?}");
    }
    // That one will never run may be known of any.
    let reason = RefusedReason::PeerLost;
    assert_eq!(outcome(&[], Record::Refused { txn: of_session(9), reason }), Ok(()));
}

#[test]
fn an_admission_without_the_own_proposal_or_with_strangers_or_a_second_one_is_an_error() {
    let bytes = ops();
    let body = PieceBody::Ops { count: 1, bytes: &bytes };
    let good = admitted(&[(0, None), (1, Some(5))], Some(&body));
    assert_eq!(outcome(&[], Record::written(&good)), Ok(()));
    let bad = [
        admitted(&[(0, Some(5)), (1, None)], Some(&body)),
        admitted(&[(0, Some(5)), (2, Some(5))], Some(&body)),
        admitted(&[(1, Some(5)), (SHARDS, None)], Some(&body)),
        admitted(&[(1, Some(5)), (SHARDS, Some(5))], None),
    ];
    for bytes in &bad {
        let record = Record::written(bytes);
        assert_eq!(outcome(&[], record), Err(ReplayError::NoTransaction), "{record:?}");
    }
    let twice = outcome(&[Record::written(&good)], Record::written(&good));
    assert_eq!(twice, Err(ReplayError::NoTransaction));
    let stranger = Record::Proposal { txn: ID, shard: 2, local: Nanos(5) };
    assert_eq!(outcome(&[Record::written(&good)], stranger), Err(ReplayError::NoTransaction));
}

#[test]
fn a_run_without_all_proposals_or_a_second_one_is_an_error() {
    let bytes = ops();
    let body = PieceBody::Ops { count: 1, bytes: &bytes };
    let bytes = admitted(&[(0, None), (1, Some(5))], Some(&body));
    let admission = Record::written(&bytes);
    let released = Record::Released { txn: ID };
    let proposal = Record::Proposal { txn: ID, shard: 0, local: Nanos(6) };
    assert_eq!(outcome(&[admission, proposal], released), Ok(()));
    assert_eq!(outcome(&[admission], released), Err(ReplayError::NoTransaction));
    let before = [admission, proposal, released];
    assert_eq!(outcome(&before, released), Err(ReplayError::NoTransaction));
    let kept = admitted(&[(0, Some(5)), (1, Some(5))], None);
    assert_eq!(outcome(&[Record::written(&kept)], released), Err(ReplayError::NoTransaction));
}

#[test]
fn a_procedure_that_is_not_registered_is_named() {
    let call = PieceBody::Call { procedure: 99, args: b"" };
    let single = Record::Single { txn: ID, commit: Nanos(5), body: call };
    let bytes = admitted(&[(0, None), (1, Some(5))], Some(&call));
    for record in [single, Record::written(&bytes)] {
        let error = outcome(&[], record).expect_err("there is none");
        assert_eq!(error, ReplayError::NoProcedure(99));
        assert!(error.to_string().contains("procedure 99"), "{error}");
    }
}

#[test]
fn operations_that_cannot_be_read_or_are_beyond_the_limits_are_an_error() {
    let long = vec![1; usize::from(Limits::DEFAULT.key_bytes_max) + 1];
    let too_long = piece(seq(0, 1), &[Op::Get { key: Key::new(&long) }]).body;
    let ops = ops();
    for (count, bytes) in [(1, &b"nonsense"[..]), (2, &ops[..]), (0, &ops[..]), (1, &too_long[..])]
    {
        let body = PieceBody::Ops { count, bytes };
        let single = Record::Single { txn: ID, commit: Nanos(5), body };
        let admission = admitted(&[(0, None), (1, Some(5))], Some(&body));
        for record in [single, Record::written(&admission)] {
            let found = outcome(&[], record);
            assert!(matches!(found, Err(ReplayError::Body(_))), "{record:?} gives {found:?}");
        }
    }
}

#[test]
fn a_record_of_a_task_queue_is_none_of_a_shard() {
    let error = outcome(&[], Record::Task { kind: 1, body: b"leased" }).expect_err("it is foreign");
    assert_eq!(error, ReplayError::Foreign { holder: Holder::Shard });
    assert_eq!(error.to_string(), "it is no record of a transaction shard");
}

#[test]
fn a_snapshot_without_all_its_keys_is_not_whole() {
    let put = Record::Put { key: b"key", value: b"value" };
    let mut replay = begun();
    assert_eq!(replay.apply(&put), Ok(()));
    let keys = ReplayError::Keys { found: 1, expected: 2 };
    assert_eq!(replay.apply(&Record::End { keys: 2 }), Err(keys));
    assert!(!replay.is_whole());
    assert_eq!(replay.apply(&Record::End { keys: 1 }), Ok(()));
    assert!(replay.is_whole());
}

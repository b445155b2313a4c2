//! Every kind of record is read as it was written, and nothing else passes for one.

use crate::journal::record::{record_len, seal};
use crate::journal::{
    Lsn, RECORD_HEAD_BYTES, Record, RecordError, RecordParty, write_task, write_with_parties,
};
use crate::{Nanos, SessionId};
use proptest::prelude::*;
use punctual_wire::{PARTICIPANTS_MAX, PieceBody, RefusedReason, ReplyStatus, TxnId, TxnSequence};
use zerocopy::little_endian::U64;

#[derive(Debug, Clone)]
enum Body {
    Ops(u16, Vec<u8>),
    Call(u16, Vec<u8>),
}

impl Body {
    fn get(&self) -> PieceBody<'_> {
        match self {
            Self::Ops(count, bytes) => PieceBody::Ops { count: *count, bytes },
            Self::Call(procedure, args) => PieceBody::Call { procedure: *procedure, args },
        }
    }
}

/// A record that owns what it is made of.
#[derive(Debug, Clone)]
enum Sample {
    Single(TxnId, Nanos, Body),
    Admitted(TxnId, Nanos, Vec<RecordParty>, Body),
    Kept(TxnId, Vec<RecordParty>),
    Outcome(TxnId, ReplyStatus, Nanos, u16, Vec<u8>),
    Words(Vec<[U64; 2]>),
    Put(Vec<u8>, Vec<u8>),
    Task(u8, Vec<u8>),
    /// One that borrows nothing.
    Plain(Record<'static>),
}

impl Sample {
    /// The record, but for those with parties.
    fn record(&self) -> Option<Record<'_>> {
        Some(match self {
            Self::Single(txn, commit, body) => {
                Record::Single { txn: *txn, commit: *commit, body: body.get() }
            }
            Self::Admitted(..) | Self::Kept(..) => return None,
            Self::Outcome(txn, status, commit, result_count, results) => Record::Outcome {
                txn: *txn,
                status: *status,
                commit: *commit,
                result_count: *result_count,
                results,
            },
            Self::Words(words) => Record::Words { words },
            Self::Put(key, value) => Record::Put { key, value },
            Self::Task(kind, body) => Record::Task { kind: *kind, body },
            Self::Plain(record) => *record,
        })
    }

    /// As it is appended to a log.
    fn write(&self) -> Vec<u8> {
        let mut out = vec![7; 3];
        let len = match self {
            Self::Admitted(txn, received_at, parties, body) => {
                let parties = parties.iter().copied();
                write_with_parties(&mut out, *txn, *received_at, parties, Some(&body.get()))
            }
            Self::Kept(txn, parties) => {
                let parties = parties.iter().copied();
                write_with_parties(&mut out, *txn, Nanos::ZERO, parties, None)
            }
            Self::Task(kind, body) => {
                write_task(&mut out, *kind, |out| out.extend_from_slice(body))
            }
            _ => self.record().expect("one without parties").write(&mut out),
        };
        assert_eq!(out[..3], [7; 3], "what was there stays");
        assert_eq!(len, out.len() - 3);
        out.split_off(3)
    }

    /// As it is in a block at this position.
    fn sealed(&self, lsn: Lsn) -> Vec<u8> {
        let mut bytes = self.write();
        seal(&mut bytes, lsn);
        bytes
    }

    fn assert_is(&self, found: Record<'_>) {
        match (self, found) {
            (
                Self::Admitted(id, at, list, it),
                Record::Admitted { txn, received_at, parties, body },
            ) => {
                assert_eq!((txn, received_at, body), (*id, *at, it.get()));
                assert_eq!(parties.iter().collect::<Vec<_>>(), *list);
            }
            (Self::Kept(id, list), Record::Kept { txn, parties }) => {
                assert_eq!((txn, parties.iter().collect()), (*id, list.clone()));
            }
            _ => assert_eq!(Some(found), self.record()),
        }
    }
}

fn txn() -> impl Strategy<Value = TxnId> {
    any::<(u64, u64)>()
        .prop_map(|(session, sequence)| TxnId { session, sequence: TxnSequence(sequence) })
}

fn nanos() -> impl Strategy<Value = Nanos> {
    any::<i64>().prop_map(Nanos)
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any::<u16>(), blob()).prop_map(|(count, bytes)| Body::Ops(count, bytes)),
        (any::<u16>(), blob()).prop_map(|(procedure, args)| Body::Call(procedure, args)),
    ]
}

fn parties() -> impl Strategy<Value = Vec<RecordParty>> {
    // The least of all times stands for none.
    let local = prop::option::of((i64::MIN + 1..=i64::MAX).prop_map(Nanos));
    prop::collection::btree_map(any::<u16>(), (any::<u32>(), local), 2..=PARTICIPANTS_MAX).prop_map(
        |parties| {
            let party = |(shard, (incarnation, local))| RecordParty { shard, incarnation, local };
            parties.into_iter().map(party).collect()
        },
    )
}

fn reason() -> impl Strategy<Value = RefusedReason> {
    prop::sample::select(RefusedReason::ALL.to_vec())
}

fn status() -> impl Strategy<Value = ReplyStatus> {
    prop_oneof![
        Just(ReplyStatus::Committed),
        Just(ReplyStatus::Aborted),
        Just(ReplyStatus::Busy),
        reason().prop_map(ReplyStatus::Refused),
    ]
}

fn plain() -> impl Strategy<Value = Record<'static>> {
    let about_txn = prop_oneof![
        txn().prop_map(|txn| Record::Released { txn }),
        txn().prop_map(|txn| Record::Forgotten { txn }),
        (txn(), reason()).prop_map(|(txn, reason)| Record::Refused { txn, reason }),
        (txn(), any::<u64>()).prop_map(|(txn, dead)| Record::Buried { txn, dead }),
        (txn(), any::<u16>(), nanos()).prop_map(|(txn, shard, local)| Record::Proposal {
            txn,
            shard,
            local
        }),
    ];
    let opened = |(id, index, slots, epoch)| {
        let id = SessionId(id);
        Record::SessionOpened { id, index, slots, epoch }
    };
    let about_shard = prop_oneof![
        any::<(u64, u32, u32, u32)>().prop_map(opened),
        any::<u64>().prop_map(|id| Record::SessionEnded { id: SessionId(id) }),
        nanos().prop_map(|at| Record::Clock { at }),
        any::<u64>().prop_map(|keys| Record::End { keys }),
        (nanos(), nanos(), any::<u32>()).prop_map(|(last_released, clock, sessions_made)| {
            Record::State { last_released, clock, sessions_made }
        }),
    ];
    prop_oneof![about_txn, about_shard]
}

fn sample() -> impl Strategy<Value = Sample> {
    let word = any::<(u64, u64)>().prop_map(|(key, value)| [U64::new(key), U64::new(value)]);
    prop_oneof![
        2 => (txn(), nanos(), body()).prop_map(|(txn, at, body)| Sample::Single(txn, at, body)),
        2 => (txn(), nanos(), parties(), body())
            .prop_map(|(txn, at, parties, body)| Sample::Admitted(txn, at, parties, body)),
        1 => (txn(), parties()).prop_map(|(txn, parties)| Sample::Kept(txn, parties)),
        1 => (txn(), status(), nanos(), any::<u16>(), blob())
            .prop_map(|(txn, status, at, count, results)| {
                Sample::Outcome(txn, status, at, count, results)
            }),
        1 => prop::collection::vec(word, 0..9).prop_map(Sample::Words),
        1 => (blob(), blob()).prop_map(|(key, value)| Sample::Put(key, value)),
        1 => (any::<u8>(), blob()).prop_map(|(kind, body)| Sample::Task(kind, body)),
        5 => plain().prop_map(Sample::Plain),
    ]
}

proptest! {
    #[test]
    fn every_record_is_read_as_it_was_written_and_at_no_other_position(
        sample in sample(),
        lsn in any::<u32>(),
        distance in 1..10_000_u64,
    ) {
        let here = Lsn(u64::from(lsn));
        let bytes = sample.sealed(here);
        prop_assert_eq!(record_len(&bytes), Some(bytes.len()));
        let (record, len) = Record::read(&bytes, here).expect("it was just written");
        prop_assert_eq!(len, bytes.len());
        sample.assert_is(record);
        let (mut again, unsealed) = (Vec::new(), sample.write());
        record.write(&mut again);
        prop_assert_eq!(&again, &unsealed);
        // The same record elsewhere has another checksum, and nothing else that differs.
        let there = Lsn(here.0 + distance);
        seal(&mut again, there);
        prop_assert_ne!(&again[4..RECORD_HEAD_BYTES], &bytes[4..RECORD_HEAD_BYTES]);
        prop_assert_eq!(&again[RECORD_HEAD_BYTES..], &bytes[RECORD_HEAD_BYTES..]);
        let elsewhere = Record::read(&bytes, there);
        prop_assert!(matches!(elsewhere, Err(RecordError::Checksum { .. })), "{:?}", elsewhere);
    }

    #[test]
    fn any_bytes_at_all_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        kind in 0..20_u8,
        lsn in any::<u64>(),
    ) {
        prop_assert!(Record::read(&bytes, Lsn(lsn)).is_err());
        // With the right checksum, the fields are looked at.
        if let Ok((record, len)) = Record::read(&raw(kind, &bytes, Lsn(lsn)), Lsn(lsn)) {
            prop_assert_eq!(len, RECORD_HEAD_BYTES + 1 + bytes.len());
            let mut again = Vec::new();
            record.write(&mut again);
            prop_assert!(again.len() <= len);
        }
    }
}

/// A record of this kind with these fields, whatever they are, and the right checksum.
fn raw(kind: u8, fields: &[u8], lsn: Lsn) -> Vec<u8> {
    let len = u32::try_from(1 + fields.len()).expect("a short record");
    let mut bytes = [&len.to_le_bytes()[..], &[0; 4], &[kind], fields].concat();
    seal(&mut bytes, lsn);
    bytes
}

/// One of each kind, in the order of their numbers.
fn one_of_each() -> [Sample; 17] {
    let txn = TxnId { session: 0x1122_3344_5566_7788, sequence: TxnSequence::new(3, 9) };
    let (at, id) = (Nanos(1_000_000_007), SessionId(0xabcd_ef01));
    let party = |shard: u16, local: Option<i64>| RecordParty {
        shard,
        incarnation: 7 + u32::from(shard),
        local: local.map(Nanos),
    };
    let parties = vec![party(0, Some(5)), party(4, None), party(9, Some(-1))];
    let call = Body::Call(513, b"arguments".to_vec());
    let results = b"results".to_vec();
    let words = [[1, 2], [u64::MAX, 0]].map(|pair| pair.map(U64::new)).to_vec();
    let reason = RefusedReason::JournalFull;
    [
        Sample::Single(txn, at, Body::Ops(2, b"operations".to_vec())),
        Sample::Admitted(txn, at, parties.clone(), call),
        Sample::Plain(Record::Proposal { txn, shard: 258, local: at }),
        Sample::Plain(Record::Released { txn }),
        Sample::Plain(Record::Refused { txn, reason }),
        Sample::Plain(Record::Buried { txn, dead: 0b1010 }),
        Sample::Plain(Record::Forgotten { txn }),
        Sample::Plain(Record::SessionOpened { id, index: 1, slots: 64, epoch: 3 }),
        Sample::Plain(Record::SessionEnded { id }),
        Sample::Plain(Record::Clock { at }),
        Sample::Plain(Record::State { last_released: at, clock: Nanos(-1), sessions_made: 4 }),
        Sample::Outcome(txn, ReplyStatus::Aborted, at, 2, results),
        Sample::Words(words),
        Sample::Put(b"key".to_vec(), b"value".to_vec()),
        Sample::Kept(txn, parties),
        Sample::Plain(Record::End { keys: 77 }),
        Sample::Task(200, b"what happened".to_vec()),
    ]
}

#[test]
fn the_kinds_of_records_keep_their_numbers_and_lengths() {
    let found = one_of_each().map(|sample| {
        let bytes = sample.write();
        (bytes[RECORD_HEAD_BYTES], bytes.len())
    });
    let body = 3;
    let lens = [
        33 + body + 10,
        34 + 3 * 14 + body + 9,
        35,
        25,
        27,
        33,
        25,
        29,
        17,
        17,
        29,
        37 + 7,
        9 + 2 * 16,
        9 + 2 + 3 + 5,
        34 + 3 * 14,
        17,
        9 + 1 + 13,
    ];
    let expected: Vec<_> = (1..=17_u8).zip(lens).collect();
    assert_eq!(found.to_vec(), expected);
}

#[test]
fn the_least_of_all_times_stands_for_a_proposal_that_is_not_known() {
    let sample = &one_of_each()[14];
    let bytes = sample.write();
    let second = &bytes[34 + 14..34 + 28];
    assert_eq!(second[6..], i64::MIN.to_le_bytes());
    sample.assert_is(Record::written(&bytes));
}

#[test]
fn a_record_that_ends_too_early_is_said_to_be_cut_short() {
    let lsn = Lsn(4711);
    for sample in one_of_each() {
        let bytes = sample.sealed(lsn);
        for cut in 0..bytes.len() {
            let found = Record::read(&bytes[..cut], lsn);
            assert_eq!(found, Err(RecordError::Truncated), "{sample:?} cut at {cut}");
            assert_eq!(record_len(&bytes[..cut]), None);
        }
    }
}

#[test]
fn no_record_with_a_flipped_bit_is_read_whatever_follows_it() {
    let lsn = Lsn(4711);
    for sample in one_of_each() {
        let bytes = sample.sealed(lsn);
        for behind in [vec![], vec![0; 300], vec![0xa5; 70_000]] {
            let mut bytes = [&bytes[..], &behind].concat();
            for bit in 0..8 * (bytes.len() - behind.len()) {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let found = Record::read(&bytes, lsn);
                assert!(found.is_err(), "{sample:?} with bit {bit} flipped is {found:?}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            sample.assert_is(Record::read(&bytes, lsn).expect("as it was").0);
        }
    }
}

#[test]
fn zeros_are_no_record() {
    for lsn in 0..1_000 {
        assert!(Record::read(&[0; 64], Lsn(lsn)).is_err(), "at {lsn}");
    }
    // Not even with the checksum that nothing at all has.
    let mut empty = vec![0; RECORD_HEAD_BYTES];
    seal(&mut empty, Lsn(5));
    assert_eq!(Record::read(&empty, Lsn(5)), Err(RecordError::Truncated));
}

#[test]
fn fields_that_make_no_sense_are_named_although_the_checksum_is_right() {
    let lsn = Lsn(12);
    let id = [1; 16];
    let head = |parties: u8| [&id[..], &[0; 8], &[parties]].concat();
    let party = |shard: u8| [&[shard, 0][..], &[1; 12]].concat();
    let list = |shards: &[u8]| {
        let parties: Vec<_> = shards.iter().flat_map(|shard| party(*shard)).collect();
        [head(u8::try_from(shards.len()).expect("few")), parties].concat()
    };
    let too_many: Vec<u8> = (0..65).collect();
    let parties = RecordError::Field("list of parties");
    let cases: Vec<(u8, Vec<u8>, RecordError)> = vec![
        (0, vec![], RecordError::Kind(0)),
        (18, vec![1; 40], RecordError::Kind(18)),
        (255, vec![], RecordError::Kind(255)),
        (1, [&id[..], &[0; 8], &[2, 1, 0]].concat(), RecordError::Field("body")),
        (1, [&id[..], &[0; 8], &[1, 1]].concat(), RecordError::Truncated),
        (2, list(&[]), parties.clone()),
        (2, list(&[1]), parties.clone()),
        (15, list(&[2, 1]), parties.clone()),
        (15, list(&[1, 1]), parties.clone()),
        (15, list(&too_many), parties),
        (2, list(&[1, 2]), RecordError::Truncated),
        (15, head(2), RecordError::Truncated),
        (4, id[1..].to_vec(), RecordError::Truncated),
        (5, [&id[..], &[0, 0]].concat(), RecordError::Field("reason")),
        (5, [&id[..], &[3, 200]].concat(), RecordError::Field("status")),
        (12, [&id[..], &[9, 0], &[0; 10]].concat(), RecordError::Field("status")),
        (13, vec![0; 15], RecordError::Field("number of words")),
        (14, vec![4, 0, 1, 2, 3], RecordError::Truncated),
        (17, vec![], RecordError::Truncated),
    ];
    for (kind, fields, error) in cases {
        let bytes = raw(kind, &fields, lsn);
        let found = Record::read(&bytes, lsn);
        assert_eq!(found, Err(error), "of kind {kind} with {fields:?}");
    }
}

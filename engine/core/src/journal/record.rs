//! The records of a journal and of a snapshot.
//!
//! A record is an 8-byte head, the length of what follows and its checksum, a byte that says what
//! kind it is, and the fields of that kind. All integers are little-endian. A checksum covers the
//! position of its record as well, so that bytes of another time or place never pass for it.

use super::Lsn;
use crate::{Nanos, SessionId};
use punctual_wire::{PieceBody, RefusedReason, ReplyStatus, TxnId, TxnSequence};
use thiserror::Error;
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size of the head of a record: length and checksum.
pub const RECORD_HEAD_BYTES: usize = 8;

const SINGLE: u8 = 1;
const ADMITTED: u8 = 2;
const PROPOSAL: u8 = 3;
const RELEASED: u8 = 4;
const REFUSED: u8 = 5;
const BURIED: u8 = 6;
const FORGOTTEN: u8 = 7;
const SESSION_OPENED: u8 = 8;
const SESSION_ENDED: u8 = 9;
const CLOCK: u8 = 10;
const STATE: u8 = 11;
const OUTCOME: u8 = 12;
const WORDS: u8 = 13;
const PUT: u8 = 14;
const KEPT: u8 = 15;
const END: u8 = 16;
const TASK: u8 = 17;

/// What happened at a shard or a task queue, or, in a snapshot, what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A transaction on this shard alone ran that may have changed something, as every call may.
    Single {
        /// Which.
        txn: TxnId,
        /// Its place in the order.
        commit: Nanos,
        /// What it did.
        body: PieceBody<'a>,
    },
    /// A transaction on several shards was admitted.
    Admitted {
        /// Which.
        txn: TxnId,
        /// When its dispatch came.
        received_at: Nanos,
        /// Who takes part, and the proposals that are known.
        parties: RecordParties<'a>,
        /// What it is to do.
        body: PieceBody<'a>,
    },
    /// The proposal of a party came.
    Proposal {
        /// For which transaction.
        txn: TxnId,
        /// Whose.
        shard: u16,
        /// The time proposed.
        local: Nanos,
    },
    /// An admitted transaction ran, at the latest of its proposals.
    Released {
        /// Which.
        txn: TxnId,
    },
    /// A transaction will never run here.
    Refused {
        /// Which.
        txn: TxnId,
        /// Why.
        reason: RefusedReason,
    },
    /// Parties of an admitted transaction are dead; nothing is taken from them any more.
    Buried {
        /// Which.
        txn: TxnId,
        /// The parties, by bits.
        dead: u64,
    },
    /// Nobody can ask any more about a transaction that ran.
    Forgotten {
        /// Which.
        txn: TxnId,
    },
    /// A session was made, or got more slots.
    SessionOpened {
        /// Which.
        id: SessionId,
        /// Where it is kept; whatever was kept there is forgotten.
        index: u32,
        /// Its slots.
        slots: u32,
        /// Which outcome table it is.
        epoch: u32,
    },
    /// A session ended in order.
    SessionEnded {
        /// Which.
        id: SessionId,
    },
    /// The clock was so far.
    Clock {
        /// The time.
        at: Nanos,
    },
    /// The scalars of a shard; the first record of a snapshot.
    State {
        /// The latest time at which anything ran.
        last_released: Nanos,
        /// How far the clock was.
        clock: Nanos,
        /// Sessions made so far.
        sessions_made: u32,
    },
    /// What a slot of a session holds.
    Outcome {
        /// The transaction.
        txn: TxnId,
        /// How it ended.
        status: ReplyStatus,
        /// Its place in the order.
        commit: Nanos,
        /// Number of results.
        result_count: u16,
        /// The results, as they are sent.
        results: &'a [u8],
    },
    /// Keys and values of eight bytes each, one after the other.
    Words {
        /// The words.
        words: &'a [[U64; 2]],
    },
    /// A key and its value.
    Put {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// A transaction on several shards that ran and that others may still ask about.
    Kept {
        /// Which.
        txn: TxnId,
        /// Who took part, and all proposals.
        parties: RecordParties<'a>,
    },
    /// The last record of a snapshot: it is whole.
    End {
        /// Number of keys in it, or of tasks.
        keys: u64,
    },
    /// What happened at a task queue, or what there is. Only the queue knows what it says.
    Task {
        /// What kind of it, by the queue's own numbers.
        kind: u8,
        /// Its fields.
        body: &'a [u8],
    },
}

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It ends too early.
    #[error("a record is cut short")]
    Truncated,
    /// The checksum says that the bytes are not what was written.
    #[error("a record's checksum is {found:08x} and should be {expected:08x}")]
    Checksum {
        /// As written.
        found: u32,
        /// As computed.
        expected: u32,
    },
    /// A kind of record that this version does not know.
    #[error("there is no record of kind {0}; was it written by a newer version?")]
    Kind(u8),
    /// Contents that make no sense.
    #[error("a record's {0} makes no sense")]
    Field(&'static str),
}

/// A party as a record has it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
struct PartyBytes {
    shard: U16,
    incarnation: U32,
    local: I64,
}
const _: () = assert!(size_of::<PartyBytes>() == 14);

/// A shard that takes part in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordParty {
    /// The shard.
    pub shard: u16,
    /// Which run of it the transaction is bound to.
    pub incarnation: u32,
    /// What it proposed, if that is known.
    pub local: Option<Nanos>,
}

/// The parties of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordParties<'a>(&'a [PartyBytes]);

impl RecordParties<'_> {
    /// The parties, ascending by shard.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordParty> {
        self.0.iter().map(|party| {
            let local = Nanos(party.local.get());
            RecordParty {
                shard: party.shard.get(),
                incarnation: party.incarnation.get(),
                local: (local != Nanos(i64::MIN)).then_some(local),
            }
        })
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RecordHead {
    len: U32,
    crc: U32,
}
const _: () = assert!(size_of::<RecordHead>() == RECORD_HEAD_BYTES);

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TxnBytes {
    session: U64,
    sequence: U64,
}

impl TxnBytes {
    fn new(txn: TxnId) -> Self {
        Self { session: U64::new(txn.session), sequence: U64::new(txn.sequence.0) }
    }

    fn get(&self) -> TxnId {
        TxnId { session: self.session.get(), sequence: TxnSequence(self.sequence.get()) }
    }
}

/// What every body starts with. For a call, `what` is the procedure; else the number of operations.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BodyHead {
    is_call: u8,
    what: U16,
}

impl BodyHead {
    fn split<'a>(body: &PieceBody<'a>) -> (Self, &'a [u8]) {
        match *body {
            PieceBody::Ops { count, bytes } => (Self { is_call: 0, what: U16::new(count) }, bytes),
            PieceBody::Call { procedure, args } => {
                (Self { is_call: 1, what: U16::new(procedure) }, args)
            }
        }
    }

    fn join<'a>(&self, bytes: &'a [u8]) -> Result<PieceBody<'a>, RecordError> {
        let what = self.what.get();
        match self.is_call {
            0 => Ok(PieceBody::Ops { count: what, bytes }),
            1 => Ok(PieceBody::Call { procedure: what, args: bytes }),
            _ => Err(RecordError::Field("body")),
        }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SingleBytes {
    head: RecordHead,
    kind: u8,
    txn: TxnBytes,
    commit: I64,
    body: BodyHead,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct AdmittedBytes {
    txn: TxnBytes,
    received_at: I64,
    parties: u8,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ProposalBytes {
    txn: TxnBytes,
    shard: U16,
    local: I64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SessionBytes {
    id: U64,
    index: U32,
    slots: U32,
    epoch: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StateBytes {
    last_released: I64,
    clock: I64,
    sessions_made: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct OutcomeBytes {
    txn: TxnBytes,
    status: U16,
    commit: I64,
    result_count: U16,
}

/// Appends a record whose payload `fill` writes, kind first. The checksum is left zero for
/// [`seal`].
#[inline]
fn append(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    out.push(kind);
    fill(out);
    let len = out.len() - start;
    let payload = u32::try_from(len - RECORD_HEAD_BYTES).expect("a record is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&payload.to_le_bytes());
    len
}

/// Appends a record of a transaction on one shard: the hot path of [`Record::write`].
#[inline]
pub(crate) fn write_single(
    out: &mut Vec<u8>,
    txn: TxnId,
    commit: Nanos,
    body: &PieceBody<'_>,
) -> usize {
    let (body, bytes) = BodyHead::split(body);
    let len = size_of::<SingleBytes>() + bytes.len();
    let payload = u32::try_from(len - RECORD_HEAD_BYTES).expect("a record is far below 4 GiB");
    let head = SingleBytes {
        head: RecordHead { len: U32::new(payload), crc: U32::new(0) },
        kind: SINGLE,
        txn: TxnBytes::new(txn),
        commit: I64::new(commit.0),
        body,
    };
    out.reserve(len);
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(bytes);
    len
}

/// Appends a record with parties, and a body if there is one.
pub(crate) fn write_with_parties(
    out: &mut Vec<u8>,
    txn: TxnId,
    received_at: Nanos,
    parties: impl ExactSizeIterator<Item = RecordParty>,
    body: Option<&PieceBody<'_>>,
) -> usize {
    let kind = if body.is_some() { ADMITTED } else { KEPT };
    append(out, kind, |out| {
        let head = AdmittedBytes {
            txn: TxnBytes::new(txn),
            received_at: I64::new(received_at.0),
            parties: u8::try_from(parties.len()).expect("there are at most 64 participants"),
        };
        out.extend_from_slice(head.as_bytes());
        for RecordParty { shard, incarnation, local } in parties {
            let local = I64::new(local.unwrap_or(Nanos(i64::MIN)).0);
            let (shard, incarnation) = (U16::new(shard), U32::new(incarnation));
            out.extend_from_slice(PartyBytes { shard, incarnation, local }.as_bytes());
        }
        if let Some(body) = body {
            let (head, bytes) = BodyHead::split(body);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(bytes);
        }
    })
}

/// Appends a record of a task queue, whose body `fill` appends. Returns how many bytes it takes.
#[inline]
pub(crate) fn write_task(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> usize {
    append(out, TASK, |out| {
        out.push(kind);
        fill(out);
    })
}

fn take<T: FromBytes + KnownLayout + Immutable + Unaligned>(
    bytes: &[u8],
) -> Result<(&T, &[u8]), RecordError> {
    T::ref_from_prefix(bytes).map_err(|_| RecordError::Truncated)
}

fn take_parties(count: u8, bytes: &[u8]) -> Result<(RecordParties<'_>, &[u8]), RecordError> {
    let len = usize::from(count) * size_of::<PartyBytes>();
    let (parties, rest) = bytes.split_at_checked(len).ok_or(RecordError::Truncated)?;
    let parties = <[PartyBytes]>::ref_from_bytes(parties).map_err(|_| RecordError::Truncated)?;
    let ascends = parties.is_sorted_by(|a, b| a.shard.get() < b.shard.get());
    if !(2..=punctual_wire::PARTICIPANTS_MAX).contains(&parties.len()) || !ascends {
        return Err(RecordError::Field("list of parties"));
    }
    Ok((RecordParties(parties), rest))
}

fn take_body(bytes: &[u8]) -> Result<PieceBody<'_>, RecordError> {
    let (head, bytes) = take::<BodyHead>(bytes)?;
    head.join(bytes)
}

fn status_of(code: u16) -> Result<ReplyStatus, RecordError> {
    ReplyStatus::from_code(code).ok_or(RecordError::Field("status"))
}

impl<'a> Record<'a> {
    /// Appends it to `out`, with room for a checksum; see [`seal_block`](super::seal_block).
    /// Returns how many bytes it takes.
    pub fn write(&self, out: &mut Vec<u8>) -> usize {
        match *self {
            Self::Single { txn, commit, ref body } => write_single(out, txn, commit, body),
            Self::Admitted { txn, received_at, parties, ref body } => {
                write_with_parties(out, txn, received_at, parties.iter(), Some(body))
            }
            Self::Kept { txn, parties } => {
                write_with_parties(out, txn, Nanos::ZERO, parties.iter(), None)
            }
            Self::Proposal { txn, shard, local } => append(out, PROPOSAL, |out| {
                let (txn, local) = (TxnBytes::new(txn), I64::new(local.0));
                let bytes = ProposalBytes { txn, shard: U16::new(shard), local };
                out.extend_from_slice(bytes.as_bytes());
            }),
            Self::Released { txn } => append_txn(out, RELEASED, txn, &[]),
            Self::Refused { txn, reason } => {
                let code = ReplyStatus::Refused(reason).code();
                append_txn(out, REFUSED, txn, &code.to_le_bytes())
            }
            Self::Buried { txn, dead } => append_txn(out, BURIED, txn, &dead.to_le_bytes()),
            Self::Forgotten { txn } => append_txn(out, FORGOTTEN, txn, &[]),
            Self::SessionOpened { id, index, slots, epoch } => append(out, SESSION_OPENED, |out| {
                let (id, index) = (U64::new(id.0), U32::new(index));
                let (slots, epoch) = (U32::new(slots), U32::new(epoch));
                out.extend_from_slice(SessionBytes { id, index, slots, epoch }.as_bytes());
            }),
            Self::SessionEnded { id } => {
                append(out, SESSION_ENDED, |out| out.extend_from_slice(&id.0.to_le_bytes()))
            }
            Self::Clock { at } => {
                append(out, CLOCK, |out| out.extend_from_slice(&at.0.to_le_bytes()))
            }
            Self::Task { kind, body } => write_task(out, kind, |out| out.extend_from_slice(body)),
            _ => self.write_state(out),
        }
    }

    /// Records that only snapshots have.
    fn write_state(&self, out: &mut Vec<u8>) -> usize {
        match *self {
            Self::State { last_released, clock, sessions_made } => append(out, STATE, |out| {
                let (last_released, clock) = (I64::new(last_released.0), I64::new(clock.0));
                let sessions_made = U32::new(sessions_made);
                let bytes = StateBytes { last_released, clock, sessions_made };
                out.extend_from_slice(bytes.as_bytes());
            }),
            Self::Outcome { txn, status, commit, result_count, results } => {
                append(out, OUTCOME, |out| {
                    let head = OutcomeBytes {
                        txn: TxnBytes::new(txn),
                        status: U16::new(status.code()),
                        commit: I64::new(commit.0),
                        result_count: U16::new(result_count),
                    };
                    out.extend_from_slice(head.as_bytes());
                    out.extend_from_slice(results);
                })
            }
            Self::Words { words } => {
                append(out, WORDS, |out| out.extend_from_slice(words.as_bytes()))
            }
            Self::Put { key, value } => append(out, PUT, |out| {
                let len = u16::try_from(key.len()).expect("a key is below its limit");
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }),
            Self::End { keys } => {
                append(out, END, |out| out.extend_from_slice(&keys.to_le_bytes()))
            }
            _ => unreachable!("the caller has written the others"),
        }
    }

    /// Reads the record at the front of `bytes`, which stands at `lsn`, and says how long it is.
    ///
    /// # Errors
    /// When the bytes are not what was written there.
    pub fn read(bytes: &'a [u8], lsn: Lsn) -> Result<(Self, usize), RecordError> {
        let (head, rest) = take::<RecordHead>(bytes)?;
        let len = head.len.get() as usize;
        let payload = rest.get(..len).ok_or(RecordError::Truncated)?;
        let (found, expected) = (head.crc.get(), checksum(payload, lsn));
        if found != expected {
            return Err(RecordError::Checksum { found, expected });
        }
        let (&kind, fields) = payload.split_first().ok_or(RecordError::Truncated)?;
        Ok((Self::parse(kind, fields)?, RECORD_HEAD_BYTES + len))
    }

    /// Reads a record that was just written and has no checksum yet.
    ///
    /// # Panics
    /// If it is something else.
    pub(crate) fn written(bytes: &'a [u8]) -> Self {
        let (kind, fields) = bytes[RECORD_HEAD_BYTES..].split_first().expect("a record");
        Self::parse(*kind, fields).expect("what was written can be read")
    }

    fn parse(kind: u8, bytes: &'a [u8]) -> Result<Self, RecordError> {
        Ok(match kind {
            SINGLE => {
                let (txn, rest) = take::<TxnBytes>(bytes)?;
                let (commit, rest) = take::<I64>(rest)?;
                let (txn, commit) = (txn.get(), Nanos(commit.get()));
                Self::Single { txn, commit, body: take_body(rest)? }
            }
            ADMITTED | KEPT => {
                let (head, rest) = take::<AdmittedBytes>(bytes)?;
                let (parties, rest) = take_parties(head.parties, rest)?;
                let (txn, received_at) = (head.txn.get(), Nanos(head.received_at.get()));
                if kind == KEPT {
                    return Ok(Self::Kept { txn, parties });
                }
                Self::Admitted { txn, received_at, parties, body: take_body(rest)? }
            }
            PROPOSAL => {
                let (it, _) = take::<ProposalBytes>(bytes)?;
                let (shard, local) = (it.shard.get(), Nanos(it.local.get()));
                Self::Proposal { txn: it.txn.get(), shard, local }
            }
            RELEASED => Self::Released { txn: take::<TxnBytes>(bytes)?.0.get() },
            FORGOTTEN => Self::Forgotten { txn: take::<TxnBytes>(bytes)?.0.get() },
            REFUSED => {
                let (txn, rest) = take::<TxnBytes>(bytes)?;
                match status_of(take::<U16>(rest)?.0.get())? {
                    ReplyStatus::Refused(reason) => Self::Refused { txn: txn.get(), reason },
                    _ => return Err(RecordError::Field("reason")),
                }
            }
            BURIED => {
                let (txn, rest) = take::<TxnBytes>(bytes)?;
                Self::Buried { txn: txn.get(), dead: take::<U64>(rest)?.0.get() }
            }
            SESSION_OPENED => {
                let (it, _) = take::<SessionBytes>(bytes)?;
                let (index, slots, epoch) = (it.index.get(), it.slots.get(), it.epoch.get());
                Self::SessionOpened { id: SessionId(it.id.get()), index, slots, epoch }
            }
            SESSION_ENDED => Self::SessionEnded { id: SessionId(take::<U64>(bytes)?.0.get()) },
            CLOCK => Self::Clock { at: Nanos(take::<I64>(bytes)?.0.get()) },
            _ => return Self::parse_state(kind, bytes),
        })
    }

    /// Reads a record of a snapshot, or one of a task queue.
    fn parse_state(kind: u8, bytes: &'a [u8]) -> Result<Self, RecordError> {
        Ok(match kind {
            STATE => {
                let (it, _) = take::<StateBytes>(bytes)?;
                let (last_released, clock) = (Nanos(it.last_released.get()), Nanos(it.clock.get()));
                Self::State { last_released, clock, sessions_made: it.sessions_made.get() }
            }
            OUTCOME => {
                let (it, results) = take::<OutcomeBytes>(bytes)?;
                Self::Outcome {
                    txn: it.txn.get(),
                    status: status_of(it.status.get())?,
                    commit: Nanos(it.commit.get()),
                    result_count: it.result_count.get(),
                    results,
                }
            }
            WORDS => {
                let words = <[[U64; 2]]>::ref_from_bytes(bytes);
                Self::Words { words: words.map_err(|_| RecordError::Field("number of words"))? }
            }
            PUT => {
                let (len, rest) = take::<U16>(bytes)?;
                let parts = rest.split_at_checked(usize::from(len.get()));
                let (key, value) = parts.ok_or(RecordError::Truncated)?;
                Self::Put { key, value }
            }
            END => Self::End { keys: take::<U64>(bytes)?.0.get() },
            TASK => {
                let (&kind, body) = bytes.split_first().ok_or(RecordError::Truncated)?;
                Self::Task { kind, body }
            }
            kind => return Err(RecordError::Kind(kind)),
        })
    }
}

fn append_txn(out: &mut Vec<u8>, kind: u8, txn: TxnId, rest: &[u8]) -> usize {
    append(out, kind, |out| {
        out.extend_from_slice(TxnBytes::new(txn).as_bytes());
        out.extend_from_slice(rest);
    })
}

/// The checksum of a record's payload at its position.
#[inline]
fn checksum(payload: &[u8], lsn: Lsn) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&lsn.0.to_le_bytes()), payload)
}

/// How long the record at the front of `bytes` is, head included, by its head alone; nothing if
/// there is no whole one.
#[inline]
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let (head, rest) = RecordHead::ref_from_prefix(bytes).ok()?;
    let len = head.len.get() as usize;
    (rest.len() >= len).then_some(RECORD_HEAD_BYTES + len)
}

/// Fills in the checksums of the records in `bytes`, of which the first stands at `lsn`.
pub(super) fn seal(bytes: &mut [u8], lsn: Lsn) {
    let mut at = 0;
    while let Some(len) = record_len(&bytes[at..]) {
        let record = &mut bytes[at..at + len];
        let crc = checksum(&record[RECORD_HEAD_BYTES..], lsn.plus(at));
        record[4..RECORD_HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        at += len;
    }
    debug_assert_eq!(at, bytes.len(), "whole records only");
}

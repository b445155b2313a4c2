//! Records as people read them.

use punctual_core::SessionId;
use punctual_core::journal::{Record, RecordParties};
use punctual_core::task::describe_record;
use punctual_wire::{Key, Op, OpReader, PieceBody, TxnId};
use std::fmt;

/// Longer keys and values are cut.
const TEXT_BYTES_MAX: usize = 64;
/// Words of one record that are shown.
const WORDS_MAX: usize = 8;

/// What kind of record it is.
pub(super) fn kind_name(record: &Record<'_>) -> &'static str {
    match record {
        Record::Single { .. } => "single",
        Record::Admitted { .. } => "admitted",
        Record::Proposal { .. } => "proposal",
        Record::Released { .. } => "released",
        Record::Refused { .. } => "refused",
        Record::Buried { .. } => "buried",
        Record::Forgotten { .. } => "forgotten",
        Record::SessionOpened { .. } => "session-opened",
        Record::SessionEnded { .. } => "session-ended",
        Record::Clock { .. } => "clock",
        Record::State { .. } => "state",
        Record::Outcome { .. } => "outcome",
        Record::Words { .. } => "words",
        Record::Put { .. } => "put",
        Record::Kept { .. } => "kept",
        Record::End { .. } => "end",
        Record::Task { .. } => "task",
    }
}

/// Writes a record on one line: its kind, then its fields.
pub(super) fn write(f: &mut fmt::Formatter<'_>, record: &Record<'_>) -> fmt::Result {
    write!(f, "{}", kind_name(record))?;
    match *record {
        Record::Single { txn, commit, ref body } => {
            write!(f, " {} at {commit}: {}", Txn(txn), Body(body))
        }
        Record::Admitted { txn, received_at, parties, ref body } => {
            write!(f, " {} received at {received_at}", Txn(txn))?;
            write!(f, ", parties {}: {}", Parties(parties), Body(body))
        }
        Record::Proposal { txn, shard, local } => {
            write!(f, " {} of shard {shard}: {local}", Txn(txn))
        }
        Record::Released { txn } | Record::Forgotten { txn } => write!(f, " {}", Txn(txn)),
        Record::Refused { txn, reason } => write!(f, " {}: {reason:?}", Txn(txn)),
        Record::Buried { txn, dead } => write!(f, " {}: parties by bits {dead:#b}", Txn(txn)),
        Record::SessionOpened { id, index, slots, epoch } => {
            write!(f, " {id}: at {index}, {slots} slots, epoch {epoch}")
        }
        Record::SessionEnded { id } => write!(f, " {id}"),
        Record::Clock { at } => write!(f, " {at}"),
        Record::State { last_released, clock, sessions_made } => {
            write!(f, " last released {last_released}, clock {clock}, sessions {sessions_made}")
        }
        Record::Outcome { txn, status, commit, result_count, results } => {
            write!(f, " {} {status:?} at {commit}", Txn(txn))?;
            write!(f, ", {result_count} results in {} bytes", results.len())
        }
        Record::Words { words } => {
            write!(f, " {}:", words.len())?;
            for [key, value] in words.iter().take(WORDS_MAX) {
                write!(f, " {}={}", key.get(), value.get().cast_signed())?;
            }
            write!(f, "{}", if words.len() > WORDS_MAX { " ..." } else { "" })
        }
        Record::Put { key, value } => write!(f, " {} = {}", Text(key), Text(value)),
        Record::Kept { txn, parties } => {
            write!(f, " {}, parties {}", Txn(txn), Parties(parties))
        }
        Record::End { keys } => write!(f, " {keys} keys"),
        Record::Task { kind, body } => write_task(f, kind, body),
    }
}

/// Writes what a record of a task queue says, which the queue alone knows.
fn write_task(f: &mut fmt::Formatter<'_>, kind: u8, body: &[u8]) -> fmt::Result {
    match describe_record(kind, body) {
        Some(text) => write!(f, " {text}"),
        None => write!(f, " kind={kind}, {} bytes", body.len()),
    }
}

/// A transaction: session, slot and use of the slot.
struct Txn(TxnId);

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TxnId { session, sequence } = self.0;
        write!(f, "{}/{}.{}", SessionId(session), sequence.slot(), sequence.generation())
    }
}

/// Shards with their incarnations and proposals.
struct Parties<'a>(RecordParties<'a>);

impl fmt::Display for Parties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, party) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}:{:08x}", party.shard, party.incarnation)?;
            if let Some(local) = party.local {
                write!(f, "@{}", local.0)?;
            }
        }
        Ok(())
    }
}

/// What a transaction does: `add 17 +5, get "name"`.
struct Body<'a>(&'a PieceBody<'a>);

impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, bytes) = match *self.0 {
            PieceBody::Ops { count, bytes } => (count, bytes),
            PieceBody::Call { procedure, args } => {
                return write!(f, "call {procedure} with {}", Text(args));
            }
        };
        let mut ops = OpReader::new(bytes);
        for index in 0..count {
            write!(f, "{}", if index == 0 { "" } else { ", " })?;
            match ops.next_op() {
                Ok(op) => write_op(f, &op)?,
                Err(error) => return write!(f, "<{error}>"),
            }
        }
        Ok(())
    }
}

fn write_op(f: &mut fmt::Formatter<'_>, op: &Op<'_>) -> fmt::Result {
    match *op {
        Op::Get { key } => write!(f, "get {}", KeyText(key)),
        Op::Put { key, value } => write!(f, "put {} = {}", KeyText(key), Text(value)),
        Op::Delete { key } => write!(f, "delete {}", KeyText(key)),
        Op::Add { key, delta } => write!(f, "add {} {delta:+}", KeyText(key)),
        Op::Append { key, value } => write!(f, "append {} {}", KeyText(key), Text(value)),
        Op::CompareAndSet { key, expected, value } => {
            write!(f, "set {} from ", KeyText(key))?;
            match expected {
                Some(expected) => write!(f, "{}", Text(expected))?,
                None => write!(f, "absent")?,
            }
            write!(f, " to {}", Text(value))
        }
    }
}

struct KeyText<'a>(Key<'a>);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Key::Word(word) => write!(f, "{word}"),
            Key::Bytes(bytes) => write!(f, "{}", Text(bytes)),
        }
    }
}

/// Bytes: eight of them as a number, others as text in quotes.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(word) = <[u8; 8]>::try_from(self.0) {
            return write!(f, "{}", i64::from_le_bytes(word));
        }
        let shown = &self.0[..self.0.len().min(TEXT_BYTES_MAX)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "... of {} bytes", self.0.len())?;
        }
        Ok(())
    }
}

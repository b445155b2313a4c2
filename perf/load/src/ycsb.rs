//! The YCSB core workloads A to F (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB",
//! `SoCC` 2010), in the mixes and distributions of the original's workload files.
//!
//! A record has ten fields of 100 bytes; a transaction is one operation on one record, but for E.
//! Keys are spread by a hash, here as there, so E's scan of neighbouring records is a read of so
//! many keys wherever they live. To be checked, a record counts its updates in eight bytes before
//! its fields.

mod generator;

pub use generator::{YcsbDone, YcsbFound, YcsbGenerator};

use crate::counting::OP_HEAD_BYTES;
use crate::micro::SPAN_MAX;
use crate::workload::{Place, Workload, map_of};
use punctual_runtime::{Key, Limits, ProcedureContext, Procedures, Verdict};
use serde_json::{Map, Value, json};
use std::fmt;
use std::str::FromStr;

/// The most bytes of a record's fields.
pub const RECORD_BYTES_MAX: usize = 4096;
/// The bytes before the fields: how often a record was updated.
const VERSION_BYTES: usize = 8;
/// The longest scan.
const SCAN_MAX: u64 = 100;
/// Sets one field.
const UPDATE: u16 = 200;
/// Reads a record and sets one field.
const READ_MODIFY_WRITE: u16 = 201;

/// Which of the six.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Half reads, half updates.
    A,
    /// 95 % reads, 5 % updates.
    B,
    /// Reads.
    C,
    /// 95 % reads of what was inserted lately, 5 % inserts.
    D,
    /// 95 % scans, 5 % inserts.
    E,
    /// Half reads, half reads followed by an update.
    F,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "a" | "A" => Self::A,
            "b" | "B" => Self::B,
            "c" | "C" => Self::C,
            "d" | "D" => Self::D,
            "e" | "E" => Self::E,
            "f" | "F" => Self::F,
            _ => return Err("one of a, b, c, d, e, f".to_owned()),
        })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Mix {
    /// Share of the first of its two kinds.
    fn first_share(self) -> f64 {
        match self {
            Self::A | Self::F => 0.5,
            Self::B | Self::D | Self::E => 0.95,
            Self::C => 1.0,
        }
    }
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Ycsb {
    /// Which mix.
    pub mix: Mix,
    /// Records, loaded before the run.
    pub records: u64,
    /// Fields of a record.
    pub fields: u16,
    /// Bytes of a field.
    pub field_bytes: u16,
    /// Exponent of the records' popularity; 0 is uniform.
    pub skew: f64,
}

impl Default for Ycsb {
    /// Workload A on 100,000 records as the original makes them.
    fn default() -> Self {
        Self { mix: Mix::A, records: 100_000, fields: 10, field_bytes: 100, skew: 0.99 }
    }
}

impl Ycsb {
    fn record_bytes(&self) -> usize {
        VERSION_BYTES + usize::from(self.fields) * usize::from(self.field_bytes)
    }
}

impl Workload for Ycsb {
    type Generator = YcsbGenerator;

    fn name(&self) -> &'static str {
        "ycsb"
    }

    fn kinds(&self) -> &'static [&'static str] {
        match self.mix {
            Mix::A | Mix::B => &["read", "update"],
            Mix::C => &["read"],
            Mix::D => &["read", "insert"],
            Mix::E => &["scan", "insert"],
            Mix::F => &["read", "read-modify-write"],
        }
    }

    fn check(&self, shards: u16, limits: &Limits) -> Result<(), String> {
        let Self { records, fields, field_bytes, .. } = self;
        let bytes = usize::from(*fields) * usize::from(*field_bytes);
        if !(1..=RECORD_BYTES_MAX).contains(&bytes) {
            return Err(format!(
                "--fields {fields} of --field-bytes {field_bytes} are outside \
                 1..={RECORD_BYTES_MAX} bytes"
            ));
        }
        if *records < SCAN_MAX {
            return Err(format!("--records {records} are fewer than {SCAN_MAX}"));
        }
        let (record, longest) = (self.record_bytes(), limits.value_bytes_max as usize);
        if record > longest {
            return Err(format!(
                "--fields {fields} of --field-bytes {field_bytes} make a record of {record} bytes, \
                 more than {longest}; give fewer or raise value_bytes_max"
            ));
        }
        if self.mix == Mix::E {
            check_scan(record, shards, limits)?;
        }
        Ok(())
    }

    fn procedures(&self) -> Procedures {
        let mut procedures = Procedures::new();
        procedures.register(UPDATE, "ycsb.update", update).expect("the first one");
        let registered = procedures.register(READ_MODIFY_WRITE, "ycsb.rmw", read_modify_write);
        registered.expect("another id");
        procedures
    }

    fn parameters(&self) -> Map<String, Value> {
        let Self { mix, records, fields, field_bytes, skew } = self;
        map_of(json!({
            "mix": mix.to_string(), "records": records, "fields": fields,
            "field_bytes": field_bytes, "skew": skew,
        }))
    }

    fn describe(&self) -> String {
        let Self { mix, records, fields, field_bytes, skew } = self;
        format!(
            "workload {mix} on {records} records of {fields} x {field_bytes} bytes (Zipf {skew})"
        )
    }

    fn shards_each(&self, shards: u16) -> f64 {
        if self.mix == Mix::E { shards.into() } else { 1.0 }
    }

    fn generator(&self, place: &Place) -> YcsbGenerator {
        YcsbGenerator::new(self, place)
    }

    fn check_store(&self, done: &YcsbDone, found: &YcsbFound) -> Result<(), String> {
        if found.loaded != self.records {
            return Err(format!(
                "{} records are there of the {} that were loaded",
                found.loaded, self.records
            ));
        }
        if found.inserted < done.inserted {
            return Err(format!(
                "{} inserted records are there, acknowledged were {}",
                found.inserted, done.inserted
            ));
        }
        let most = done.updates + done.updates_unknown;
        if !(done.updates..=most).contains(&found.updates) {
            return Err(format!(
                "the records count {} updates, acknowledged were {} (and {} of unknown outcome)",
                found.updates, done.updates, done.updates_unknown
            ));
        }
        Ok(())
    }
}

/// Whether the longest scan is a transaction that this cluster takes.
fn check_scan(record: usize, shards: u16, limits: &Limits) -> Result<(), String> {
    let scan = SCAN_MAX as usize * (record + OP_HEAD_BYTES);
    let room = limits.results_bytes_max();
    if scan > room {
        return Err(format!(
            "a scan of {SCAN_MAX} records makes a reply of up to {scan} bytes, more than {room}; \
             give fewer or shorter --fields, or raise frame_bytes_max"
        ));
    }
    if u64::from(limits.ops_max) < SCAN_MAX {
        let ops_max = limits.ops_max;
        return Err(format!("--mix e scans {SCAN_MAX} records; raise ops_max, which is {ops_max}"));
    }
    if shards > SPAN_MAX {
        return Err(format!(
            "--mix e scans records of all {shards} --shards, more than the {SPAN_MAX} that a \
             transaction may touch"
        ));
    }
    Ok(())
}

/// A call's arguments: the key, the offset of the field within the record, its new bytes.
fn arguments(args: &[u8]) -> Option<(Key<'static>, usize, &[u8])> {
    let (key, rest) = args.split_first_chunk::<8>()?;
    let (offset, data) = rest.split_first_chunk::<2>()?;
    Some((Key::Word(u64::from_le_bytes(*key)), usize::from(u16::from_le_bytes(*offset)), data))
}

/// Sets one field of a record and counts it.
fn update(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let mut record = [0; VERSION_BYTES + RECORD_BYTES_MAX];
    match change(context, args, &mut record) {
        Some(_) => Verdict::Commit,
        None => Verdict::Abort,
    }
}

/// The same, and returns the record as it was.
fn read_modify_write(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let mut record = [0; VERSION_BYTES + RECORD_BYTES_MAX];
    let Some((key, ..)) = arguments(args) else { return Verdict::Abort };
    let Some(len) = copy(context, key, &mut record) else { return Verdict::Abort };
    context.result(&record[..len]);
    match change(context, args, &mut record) {
        Some(_) => Verdict::Commit,
        None => Verdict::Abort,
    }
}

fn copy(context: &ProcedureContext<'_>, key: Key<'_>, record: &mut [u8]) -> Option<usize> {
    let value = context.get(key)?;
    let value = value.as_bytes();
    record.get_mut(..value.len())?.copy_from_slice(value);
    Some(value.len())
}

fn change(context: &mut ProcedureContext<'_>, args: &[u8], record: &mut [u8]) -> Option<()> {
    let (key, offset, data) = arguments(args)?;
    let len = copy(context, key, record)?;
    let record = &mut record[..len];
    let version = record.first_chunk_mut::<VERSION_BYTES>()?;
    *version = (u64::from_le_bytes(*version) + 1).to_le_bytes();
    record.get_mut(VERSION_BYTES + offset..)?.get_mut(..data.len())?.copy_from_slice(data);
    context.put(key, record).then_some(())
}

#[cfg(test)]
mod tests;

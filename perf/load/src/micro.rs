//! The micro workload: transactions of a few distinct keys, each read or incremented, on one shard
//! or on several.
//!
//! The check: every counter is read afterwards, and on each shard they must sum up to the
//! increments that were acknowledged there.

mod generator;
#[cfg(test)]
mod tests;

pub use generator::MicroMaker;

use crate::counting::{Counted, Counting, Counts, OP_HEAD_BYTES};
use crate::workload::{Place, Workload};
use punctual_runtime::Key;
use punctual_wire::{Limits, shard_of};
use serde_json::{Map, Value, json};

/// Keys a shard, on average, above which none of them can have too few: nobody has to count.
const KEYS_PER_OP_MANY: u64 = 64;
/// Most shards of one transaction.
pub const SPAN_MAX: u16 = 64;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Micro {
    /// Distinct keys of a transaction.
    pub ops: u16,
    /// Share of the operations that read, 0 to 1; the others add one.
    pub reads: f64,
    /// Share of the transactions that touch several shards, 0 to 1.
    pub cross: f64,
    /// Shards that each of those touches, exactly.
    pub span: u16,
    /// Keys, loaded before the run.
    pub keys: u64,
    /// Bytes of a value, at least 8: the counter and what follows it.
    pub value_size: usize,
    /// Exponent of the keys' popularity; 0 is uniform.
    pub skew: f64,
}

impl Micro {
    fn check_span(&self, shards: u16) -> Result<(), String> {
        let Self { ops, cross, span, .. } = self;
        if *cross <= 0.0 {
            return Ok(());
        }
        let most = shards.min(SPAN_MAX);
        if shards < 2 {
            return Err(format!("--cross {cross} needs two --shards at least"));
        }
        if !(2..=most).contains(span) {
            return Err(format!("--span {span} is outside 2..={most}"));
        }
        if ops < span {
            return Err(format!(
                "--ops {ops} are too few for a key on each of --span {span} shards"
            ));
        }
        Ok(())
    }

    /// Whether every shard has the keys that a transaction may take of it.
    fn check_keys(&self, shards: u16) -> Result<(), String> {
        let Self { ops, keys, cross, span, .. } = self;
        let of_one_shard = if *cross >= 1.0 { ops.div_ceil(*span) } else { *ops };
        let needed = u64::from(of_one_shard);
        if shards == 1 && *keys < needed {
            return Err(format!("--ops {ops} distinct keys need as many --keys"));
        }
        if shards == 1 || *keys >= needed * u64::from(shards) * KEYS_PER_OP_MANY {
            return Ok(());
        }
        // Keys are not spread evenly over the shards.
        let mut counts = vec![0_u64; usize::from(shards)];
        for key in 0..*keys {
            counts[usize::from(shard_of(Key::Word(key), shards))] += 1;
        }
        match counts.iter().enumerate().find(|(_, count)| **count < needed) {
            None => Ok(()),
            Some((shard, count)) => Err(format!(
                "shard {shard} has only {count} of --keys {keys}, and a transaction takes up to \
                 {needed} of them; give more --keys or fewer --ops"
            )),
        }
    }
}

impl Workload for Micro {
    type Generator = Counting<MicroMaker>;

    fn name(&self) -> &'static str {
        "micro"
    }

    fn check(&self, shards: u16, limits: &Limits) -> Result<(), String> {
        let Self { ops, value_size, .. } = self;
        let value_bytes_max = limits.value_bytes_max as usize;
        if !(8..=value_bytes_max).contains(value_size) {
            return Err(format!("--value-size {value_size} is outside 8..={value_bytes_max}"));
        }
        if *ops > limits.ops_max {
            return Err(format!("--ops {ops} is above the limit of {}", limits.ops_max));
        }
        self.check_span(shards)?;
        self.check_keys(shards)?;
        // A get returns the whole value; long values of a reply that is full are left out.
        let results = usize::from(*ops) * (value_size + OP_HEAD_BYTES);
        let (room, body) = (limits.results_bytes_max(), limits.body_bytes_max());
        if self.reads > 0.0 && results > room {
            return Err(format!(
                "--ops {ops} values of --value-size {value_size} make a reply of up to {results} \
                 bytes, more than {room}; lower one of them or raise frame_bytes_max"
            ));
        }
        let request = usize::from(*ops) * OP_HEAD_BYTES;
        if request > body {
            return Err(format!(
                "--ops {ops} make a request of up to {request} bytes, more than {body}; lower it \
                 or raise frame_bytes_max"
            ));
        }
        Ok(())
    }

    fn parameters(&self) -> Map<String, Value> {
        let Self { ops, reads, cross, span, keys, value_size, skew } = self;
        let span = (*cross > 0.0).then_some(*span);
        let all = json!({
            "ops": ops, "reads": reads, "keys": keys, "value_size": value_size, "skew": skew,
            "cross": cross, "span": span,
        });
        crate::workload::map_of(all)
    }

    fn describe(&self) -> String {
        let Self { ops, reads, keys, skew, .. } = self;
        let zipf = if *skew > 0.0 { format!(" (Zipf {skew})") } else { String::new() };
        format!("{ops} ops ({:.0} % reads) on {keys} keys{zipf}", reads * 100.0)
    }

    fn shards_each(&self, _shards: u16) -> f64 {
        1.0 + self.cross * f64::from(self.span.saturating_sub(1))
    }

    fn generator(&self, place: &Place) -> Counting<MicroMaker> {
        let span_max = if self.cross > 0.0 { self.span } else { 1 };
        let maker = MicroMaker::new(self, place);
        Counting::new(maker, place, self.keys, (self.value_size, 0), span_max)
    }

    fn check_store(&self, done: &Counts, found: &Counted) -> Result<(), String> {
        done.check(found)
    }
}

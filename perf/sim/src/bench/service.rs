//! How long everybody takes for what he does.
//!
//! An agent handles one turn at a time. A turn takes everything that has arrived when it begins,
//! and costs a fixed time and so much for each frame, piece, operation and message in it. What it
//! sends leaves at its end. So nothing here says how well batches form: they form where work waits,
//! as on real cores. `docs/simulated-scale.md` has the whole model.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// No single cost may be more than this: a second.
const COST_NS_MAX: f64 = 1e9;
const PS_PER_NS: f64 = 1e3;
/// A call of a procedure that a model does not know.
const CALL_NS: f64 = 1_000.0;
/// The procedures of the workloads that come with the program: what a call takes on average, as
/// [`super::time_procedures()`] says on the machine of [`ServiceModel::default`].
const PROCEDURES: [(&str, f64); 8] = [
    ("tpcc.new-order", 5_500.0),
    ("tpcc.supply", 3_000.0),
    ("tpcc.payment", 1_900.0),
    ("tpcc.order-status", 2_640.0),
    ("tpcc.delivery", 8_200.0),
    ("tpcc.stock-level", 8_700.0),
    ("ycsb.update", 760.0),
    ("ycsb.rmw", 900.0),
];

/// What a shard needs, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardCosts {
    /// A turn in which there is anything to do.
    pub turn_ns: f64,
    /// A frame, taken or sent: system calls, copies, cache lines.
    pub frame_ns: f64,
    /// A piece, from its admission to its reply.
    pub piece_ns: f64,
    /// An operation.
    pub op_ns: f64,
    /// What a stamped piece takes beyond any other, beside its messages.
    pub stamped_ns: f64,
    /// A message to or from another shard.
    pub peer_message_ns: f64,
}

/// What a coordinator worker needs, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorCosts {
    /// A turn in which there is anything to do.
    pub turn_ns: f64,
    /// A frame, taken or sent.
    pub frame_ns: f64,
    /// A piece, from its making to its end. All of it is spent when it is made.
    pub piece_ns: f64,
    /// An operation.
    pub op_ns: f64,
    /// What a stamped piece takes beyond any other.
    pub stamped_ns: f64,
}

/// The service times of a machine and a transport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceModel {
    /// Where it comes from.
    #[serde(default)]
    pub about: String,
    /// How long a frame is under way between two agents of one machine, until it is noticed. It
    /// comes on top of the network's delay.
    pub wire_ns: f64,
    /// A call of a procedure that is not among those below.
    #[serde(default = "call_ns")]
    pub call_ns: f64,
    /// A shard's.
    pub shard: ShardCosts,
    /// A coordinator worker's.
    pub coordinator: CoordinatorCosts,
    /// What a call of a procedure takes on a shard on average, by its name, beyond `piece_ns`.
    #[serde(default = "procedures")]
    pub procedures: BTreeMap<String, f64>,
}

fn call_ns() -> f64 {
    CALL_NS
}

fn procedures() -> BTreeMap<String, f64> {
    PROCEDURES.iter().map(|(name, ns)| ((*name).to_owned(), *ns)).collect()
}

impl Default for ServiceModel {
    /// Two virtual cores of an AMD EPYC over loopback TCP, as [`super::calibrate()`] has fitted it
    /// on 2026-11-22. For figures of another machine it has to be fitted to that.
    fn default() -> Self {
        Self {
            about: "two virtual cores of an AMD EPYC over loopback TCP".to_owned(),
            wire_ns: 460.0,
            call_ns: call_ns(),
            procedures: procedures(),
            shard: ShardCosts {
                turn_ns: 980.0,
                frame_ns: 4_800.0,
                piece_ns: 68.0,
                op_ns: 32.0,
                stamped_ns: 620.0,
                peer_message_ns: 76.0,
            },
            coordinator: CoordinatorCosts {
                turn_ns: 115.0,
                frame_ns: 3_200.0,
                piece_ns: 197.0,
                op_ns: 25.0,
                stamped_ns: 150.0,
            },
        }
    }
}

/// Why there is no service model.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The file cannot be read or written.
    #[error("the service model {}: {source}; name another file", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no service model.
    #[error("{} is no service model: {why}; make one from bench reports", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A time that is none.
    #[error("{name} of the service model is {value}; it must be from 0 to 1e9")]
    Cost {
        /// Which one, as in the file.
        name: String,
        /// What it is.
        value: f64,
    },
}

/// The names of all costs, as in the file, in the order of [`ServiceModel::costs`].
pub(super) const COST_NAMES: [&str; COSTS] = [
    "wire_ns",
    "shard.turn_ns",
    "shard.frame_ns",
    "shard.piece_ns",
    "shard.op_ns",
    "shard.stamped_ns",
    "shard.peer_message_ns",
    "coordinator.turn_ns",
    "coordinator.frame_ns",
    "coordinator.piece_ns",
    "coordinator.op_ns",
    "coordinator.stamped_ns",
];
/// How many there are.
pub(super) const COSTS: usize = 12;

impl ServiceModel {
    /// A model in which nothing takes any time.
    #[must_use]
    pub fn instant() -> Self {
        Self {
            call_ns: 0.0,
            procedures: BTreeMap::new(),
            ..Self::from_costs("nothing takes time", [0.0; COSTS])
        }
    }

    /// Reads a model: TOML, or JSON if the file is called so.
    ///
    /// # Errors
    /// When the file cannot be read or is no model.
    pub fn load(path: &Path) -> Result<Self, ServiceError> {
        let io = |source| ServiceError::Io { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(io)?;
        let read = match is_json(path) {
            true => serde_json::from_str(&text).map_err(|error| error.to_string()),
            false => toml::from_str(&text).map_err(|error| error.to_string()),
        };
        let format = |why: String| ServiceError::Format { path: path.to_owned(), why };
        let model: Self = read.map_err(|why| format(why.trim_end().to_owned()))?;
        model.check()?;
        Ok(model)
    }

    /// Writes the model, to be read by [`load`](Self::load).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ServiceError> {
        let text = match is_json(path) {
            true => serde_json::to_string_pretty(self).map_err(|error| error.to_string()),
            false => toml::to_string(self).map_err(|error| error.to_string()),
        };
        let format = |why| ServiceError::Format { path: path.to_owned(), why };
        let io = |source| ServiceError::Io { path: path.to_owned(), source };
        fs::write(path, text.map_err(format)?).map_err(io)
    }

    /// Whether all costs are times.
    ///
    /// # Errors
    /// The first one that is none.
    pub fn check(&self) -> Result<(), ServiceError> {
        let costs = COST_NAMES.into_iter().map(str::to_owned).zip(self.costs());
        let calls = self.procedures.iter().map(|(name, ns)| (format!("procedures.{name}"), *ns));
        let calls = calls.chain([("call_ns".to_owned(), self.call_ns)]);
        match costs.chain(calls).find(|(_, value)| !(0.0..=COST_NS_MAX).contains(value)) {
            None => Ok(()),
            Some((name, value)) => Err(ServiceError::Cost { name, value }),
        }
    }

    /// All costs in a row, but for those of procedures.
    pub(super) fn costs(&self) -> [f64; COSTS] {
        let Self { wire_ns, shard, coordinator, .. } = self;
        [
            *wire_ns,
            shard.turn_ns,
            shard.frame_ns,
            shard.piece_ns,
            shard.op_ns,
            shard.stamped_ns,
            shard.peer_message_ns,
            coordinator.turn_ns,
            coordinator.frame_ns,
            coordinator.piece_ns,
            coordinator.op_ns,
            coordinator.stamped_ns,
        ]
    }

    /// The model with these costs, and with those of procedures as they are by default.
    pub(super) fn from_costs(about: &str, costs: [f64; COSTS]) -> Self {
        let [wire_ns, shard @ .., c_turn, c_frame, c_piece, c_op, c_stamped] = costs;
        let [turn_ns, frame_ns, piece_ns, op_ns, stamped_ns, peer_message_ns] = shard;
        Self {
            about: about.to_owned(),
            wire_ns,
            call_ns: call_ns(),
            procedures: procedures(),
            shard: ShardCosts { turn_ns, frame_ns, piece_ns, op_ns, stamped_ns, peer_message_ns },
            coordinator: CoordinatorCosts {
                turn_ns: c_turn,
                frame_ns: c_frame,
                piece_ns: c_piece,
                op_ns: c_op,
                stamped_ns: c_stamped,
            },
        }
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// The costs of one kind of agent in picoseconds: sums of them are exact.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    pub(super) turn: i64,
    pub(super) frame: i64,
    pub(super) piece: i64,
    pub(super) op: i64,
    pub(super) stamped: i64,
    pub(super) peer_message: i64,
}

impl From<&ShardCosts> for Costs {
    fn from(costs: &ShardCosts) -> Self {
        Self {
            turn: picoseconds(costs.turn_ns),
            frame: picoseconds(costs.frame_ns),
            piece: picoseconds(costs.piece_ns),
            op: picoseconds(costs.op_ns),
            stamped: picoseconds(costs.stamped_ns),
            peer_message: picoseconds(costs.peer_message_ns),
        }
    }
}

impl From<&CoordinatorCosts> for Costs {
    fn from(costs: &CoordinatorCosts) -> Self {
        Self {
            turn: picoseconds(costs.turn_ns),
            frame: picoseconds(costs.frame_ns),
            piece: picoseconds(costs.piece_ns),
            op: picoseconds(costs.op_ns),
            stamped: picoseconds(costs.stamped_ns),
            peer_message: 0,
        }
    }
}

/// A time as [`Turn::spend`] takes it.
pub(super) fn picoseconds(ns: f64) -> i64 {
    (ns * PS_PER_NS).round() as i64
}

/// One turn: the time passes with what is done in it.
#[derive(Debug)]
pub(super) struct Turn {
    start: i64,
    spent_ps: i64,
}

impl Turn {
    pub(super) fn new(start: i64) -> Self {
        Self { start, spent_ps: 0 }
    }

    /// Does so much of something that costs `each`.
    pub(super) fn spend(&mut self, each: i64, count: u64) {
        self.spent_ps += each * count.cast_signed();
    }

    /// How late it is, in nanoseconds.
    pub(super) fn now(&self) -> i64 {
        self.start + (self.spent_ps + 500) / 1_000
    }

    /// When it ends. No turn is so short that another could begin at the same time.
    pub(super) fn end(&self) -> i64 {
        self.now().max(self.start + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_in_a_row_make_the_same_model_again() {
        let model = ServiceModel::default();
        assert_eq!(ServiceModel::from_costs(&model.about, model.costs()), model);
        let mut at = 0.0;
        let costs = [(); COSTS].map(|()| {
            at += 1.5;
            at
        });
        assert_eq!(ServiceModel::from_costs("", costs).costs(), costs);
        assert!(ServiceModel::instant().costs().iter().all(|cost| *cost == 0.0));
    }

    #[test]
    fn a_model_is_the_same_after_toml_and_after_json() {
        let model = ServiceModel::default();
        let text = toml::to_string(&model).expect("TOML");
        assert_eq!(toml::from_str::<ServiceModel>(&text).expect("a model"), model, "{text}");
        let text = serde_json::to_string(&model).expect("JSON");
        assert_eq!(serde_json::from_str::<ServiceModel>(&text).expect("a model"), model);
    }

    #[test]
    fn what_is_no_time_is_named() {
        let mut model = ServiceModel::default();
        assert!(model.check().is_ok());
        for wrong in [-1.0, f64::NAN, 1e10] {
            model.shard.op_ns = wrong;
            let error = model.check().expect_err("no time").to_string();
            assert!(error.starts_with("shard.op_ns of the service model is"), "{error}");
        }
        let mut calls = ServiceModel::default();
        calls.procedures.insert("shop.buy".to_owned(), -1.0);
        let error = calls.check().expect_err("no time").to_string();
        assert!(error.starts_with("procedures.shop.buy of the service model is -1"), "{error}");
        let unknown = "wire_ns = 1.0\nwire = 2.0\n";
        let error = toml::from_str::<ServiceModel>(unknown).expect_err("no such key");
        assert!(error.to_string().contains("wire"), "{error}");
    }

    #[test]
    fn time_passes_in_a_turn_and_never_stands_still() {
        let mut turn = Turn::new(100);
        assert_eq!((turn.now(), turn.end()), (100, 101));
        turn.spend(2_600, 10);
        assert_eq!((turn.now(), turn.end()), (126, 126));
    }
}

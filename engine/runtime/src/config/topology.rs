//! Who is where, and how long messages take between.

mod read;

use super::{ConfigError, show_duration};
use punctual_link::{Distribution, NetworkPath, Shape};
use std::path::Path;
use std::time::Duration;

/// Longest mean delay and largest jitter. A satellite is a third of a second away; what takes
/// longer is beyond what stopping shards wait for.
const DELAY_MAX: Duration = Duration::from_secs(1);
/// More loss than this is no network.
const LOSS_MAX: f64 = 0.5;
/// Longest pause before what was lost is sent again.
const RETRANSMIT_MAX: Duration = Duration::from_secs(10);
/// Bits a second: from a telephone line to more than memory.
const BANDWIDTH_MIN: u64 = 1_000;
const BANDWIDTH_MAX: u64 = 1_000_000_000_000;

/// One who takes part in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Member {
    /// A shard of the cluster.
    Shard(u16),
    /// A coordinator worker of this process.
    Worker(usize),
    /// The prober of this process: it is where the first worker is.
    Prober,
}

/// A network: its name, and what lies between any two members.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    name: String,
    layout: Layout,
}

#[derive(Debug, Clone, PartialEq)]
enum Layout {
    /// Any two members are as far apart.
    Even(Shape),
    /// Members are at places.
    Places(Places),
}

/// Places by their index, and who is at them.
#[derive(Debug, Clone, PartialEq)]
struct Places {
    names: Vec<String>,
    /// From place `i` to place `j` at `i * names.len() + j`; nobody has to go where there is none.
    shapes: Vec<Option<Shape>>,
    /// The place of each shard; a shorter list starts over.
    shards: Vec<usize>,
    /// The same of workers.
    coordinators: Vec<usize>,
}

impl Places {
    fn of(&self, member: Member) -> usize {
        match member {
            Member::Shard(shard) => self.shards[usize::from(shard) % self.shards.len()],
            Member::Worker(worker) => self.coordinators[worker % self.coordinators.len()],
            Member::Prober => self.coordinators[0],
        }
    }

    fn between(&self, from: usize, to: usize) -> Option<Shape> {
        let missing = if from == to { Some(Shape::NONE) } else { None };
        self.shapes[from * self.names.len() + to].or(missing)
    }

    /// Pairs of places between which there are links: to a shard, and back.
    fn used(&self) -> Vec<(usize, usize)> {
        let is_used =
            |place: usize| self.shards.contains(&place) || self.coordinators.contains(&place);
        let mut used = Vec::new();
        for from in (0..self.names.len()).filter(|from| is_used(*from)) {
            for to in (0..self.names.len()).filter(|to| is_used(*to)) {
                if self.shards.contains(&from) || self.shards.contains(&to) {
                    used.push((from, to));
                }
            }
        }
        used
    }
}

impl Topology {
    /// Those that need no file.
    pub const NAMES: [&'static str; 4] =
        ["same-region", "same-continent", "cross-continent", "geo"];

    /// The topology of this name: any two members are apart by a delay that varies normally.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (delay_us, jitter_us) = match name {
            "same-region" => (2_000, 500),
            "same-continent" => (30_000, 5_000),
            "cross-continent" => (80_000, 10_000),
            "geo" => (150_000, 20_000),
            _ => return None,
        };
        let (delay, jitter) = (Duration::from_micros(delay_us), Duration::from_micros(jitter_us));
        Some(Self::even(name, Shape::normal(delay, jitter)))
    }

    /// Any two members are as far apart, in both directions.
    #[must_use]
    pub fn even(name: &str, shape: Shape) -> Self {
        Self { name: name.to_owned(), layout: Layout::Even(shape) }
    }

    /// Reads a topology file. `file` is its name in error messages.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line: bad syntax, an unknown key or place, a value
    /// outside its bounds, or two places that talk and between which nothing is given.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        read::read(text, file)
    }

    /// Reads a topology file.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml), or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, &file),
            Err(error) => {
                let message = format!("cannot be read ({error}); give the path of a topology file");
                Err(ConfigError::InFile { file, message })
            }
        }
    }

    /// Its name, for reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens to messages from one member to another.
    #[must_use]
    pub fn between(&self, from: Member, to: Member) -> Shape {
        match &self.layout {
            Layout::Even(_) if from == to => Shape::NONE,
            Layout::Even(shape) => *shape,
            Layout::Places(places) => {
                places.between(places.of(from), places.of(to)).unwrap_or(Shape::NONE)
            }
        }
    }

    /// The places by name, where each shard is, and where each worker is: lists that are shorter
    /// start over. `None` where any two members are as far apart.
    #[must_use]
    pub fn places(&self) -> Option<(&[String], &[usize], &[usize])> {
        match &self.layout {
            Layout::Even(_) => None,
            Layout::Places(all) => Some((&all.names, &all.shards, &all.coordinators)),
        }
    }

    /// What happens to messages from one place to another, by their indices; nothing where nobody
    /// has to go.
    #[must_use]
    pub fn between_places(&self, from: usize, to: usize) -> Shape {
        match &self.layout {
            Layout::Even(shape) => *shape,
            Layout::Places(places) => places.between(from, to).unwrap_or(Shape::NONE),
        }
    }

    /// Both directions of a link that one member opens to another; `None` where nothing happens.
    #[must_use]
    pub fn path(&self, from: Member, to: Member) -> Option<NetworkPath> {
        let path = NetworkPath { there: self.between(from, to), back: self.between(to, from) };
        (!path.is_none()).then_some(path)
    }

    /// The largest mean delay between two members.
    #[must_use]
    pub fn one_way(&self) -> Duration {
        self.shapes().iter().map(|shape| shape.delay).max().unwrap_or_default()
    }

    /// The longest delay between two members, jitter included: what is lost or waits for the line
    /// takes longer.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.shapes().iter().map(Shape::longest).max().unwrap_or_default()
    }

    /// What is between members, each pair of places once.
    fn shapes(&self) -> Vec<Shape> {
        match &self.layout {
            Layout::Even(shape) => vec![*shape],
            Layout::Places(places) => {
                let between = |(from, to)| places.between(from, to);
                places.used().into_iter().filter_map(between).collect()
            }
        }
    }

    /// What is outside its bounds, if anything is: for topologies that a program made.
    pub(super) fn problem(&self) -> Option<String> {
        self.shapes().iter().find_map(problem_of)
    }
}

/// What of a shape is outside its bounds, if anything is.
fn problem_of(shape: &Shape) -> Option<String> {
    let Shape { delay, jitter, loss, bandwidth, retransmit_min, distribution: _ } = *shape;
    let longest = show_duration(DELAY_MAX);
    for (name, value) in [("delay", delay), ("jitter", jitter)] {
        if value > DELAY_MAX {
            return Some(format!("{name} = {} is outside 0s..={longest}", show_duration(value)));
        }
    }
    if !(0.0..=LOSS_MAX).contains(&loss) {
        return Some(format!("loss = {loss} is outside 0..={LOSS_MAX}"));
    }
    if let Some(bits) = bandwidth.filter(|bits| !(BANDWIDTH_MIN..=BANDWIDTH_MAX).contains(bits)) {
        return Some(format!("bandwidth = {bits} bit/s is outside 1 kbit/s..=1000 Gbit/s"));
    }
    if retransmit_min > RETRANSMIT_MAX {
        let shown = show_duration(retransmit_min);
        return Some(format!("retransmit_min = {shown} is outside 0s..=10s"));
    }
    None
}

/// The distribution of this name.
fn distribution(name: &str) -> Option<Distribution> {
    Distribution::ALL.into_iter().find(|distribution| distribution.name() == name)
}

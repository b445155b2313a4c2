//! What is simulated: drawn from the seed, or given.

use crate::faults::Faults;
use crate::rng::Rng;
use punctual_core::{Mutation, Nanos};
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// The stream of random numbers that configurations are drawn from.
const STREAM: u64 = 1;
/// What shards keep is drawn from another one, so that everything else is drawn as without it.
const DISK_STREAM: u64 = 9;

/// Most shards and most coordinators of a run. More asked for is taken as this.
pub(crate) const NODES_MAX: u16 = 64;

/// What the transactions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Workload {
    /// Transfers between accounts and reads of all accounts, which must always add up to zero.
    Bank,
    /// Increments and reads of counters.
    Counters,
    /// Appends to and reads of lists, whose elements are unique.
    ListAppend,
    /// All operations, on numbers and on lists.
    Mixed,
}

/// The name of a workload that there is not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no workload \"{0}\"; name one of bank, counters, list-append, mixed")]
pub struct WorkloadError(String);

impl Workload {
    /// All workloads.
    pub const ALL: [Self; 4] = [Self::Bank, Self::Counters, Self::ListAppend, Self::Mixed];

    /// The name in options and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Counters => "counters",
            Self::ListAppend => "list-append",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        let found = Self::ALL.into_iter().find(|workload| workload.name() == text);
        found.ok_or_else(|| WorkloadError(text.to_owned()))
    }
}

/// What the shards still have after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimDurability {
    /// Nothing.
    Memory,
    /// All that they promised: each writes a journal.
    Journal,
    /// Some write a journal and some do not; which ones is drawn from the seed.
    Mixed,
}

/// The name of a kind of durability that there is not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no durability \"{0}\"; name one of memory, journal, mixed")]
pub struct SimDurabilityError(String);

impl SimDurability {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Journal, Self::Mixed];

    /// The name in options and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Journal => "journal",
            Self::Mixed => "mixed",
        }
    }

    /// In half of the runs memory, in three of ten journals, in two of ten both.
    fn draw(rng: &mut Rng, shards: u16) -> Self {
        match rng.below(10) {
            0..=4 => Self::Memory,
            5 | 6 if shards > 1 => Self::Mixed,
            _ => Self::Journal,
        }
    }
}

impl fmt::Display for SimDurability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SimDurability {
    type Err = SimDurabilityError;

    fn from_str(text: &str) -> Result<Self, SimDurabilityError> {
        let found = Self::ALL.into_iter().find(|durability| durability.name() == text);
        found.ok_or_else(|| SimDurabilityError(text.to_owned()))
    }
}

/// What is simulated. Two equal configurations give the same run, event by event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimConfig {
    /// All chance comes from it.
    pub seed: u64,
    /// Number of shards, 1 to 64.
    pub shards: u16,
    /// Number of coordinators, 1 to 64.
    pub coordinators: u16,
    /// What the transactions do.
    pub workload: Workload,
    /// What the shards still have after a crash.
    pub durability: SimDurability,
    /// What goes wrong.
    pub faults: Faults,
    /// How long transactions are submitted and things go wrong. Afterwards everything is mended,
    /// what is in flight ends, and all keys are read.
    pub duration: Nanos,
    /// The bound of the clocks' differences that the shards are told.
    pub epsilon: Nanos,
    /// The bound that the clocks of the shards really keep.
    pub clock_bound: Nanos,
    /// Whether an answered transaction has to precede every later one. It need not where clocks
    /// are further apart than the shards are told.
    pub strict: bool,
    /// Whether shards die in pairs all the time and lose much of what they tell each other, which
    /// the settings that a seed draws make seldom; for tests.
    pub deaths: bool,
    /// Whether shards on journals crash all the time, on disks that are slow, so that there is
    /// always something that was not written yet; for tests.
    pub restarts: bool,
    /// A rule that the shards break; for tests of the simulator itself. It has an effect only
    /// where the core is built with its feature `mutations`.
    pub mutation: Mutation,
}

impl SimConfig {
    /// The default of this seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed, STREAM);
        let shards = *rng.pick(&[1, 2, 2, 3, 3, 4, 5]);
        let coordinators = *rng.pick(&[1, 2, 3, 4]);
        let workload = *rng.pick(&Workload::ALL);
        let faults = Faults::draw(&mut rng);
        let duration = Nanos(rng.between(150, 500) * 1_000_000);
        let clock_bound = Nanos(*rng.pick(&[1_000, 20_000, 200_000, 2_000_000]));
        let epsilon = match rng.below(5) {
            _ if !faults.any_clock() => Nanos::ZERO,
            // In one run of five the clocks are further apart than anybody thinks.
            0 => Nanos(clock_bound.0 / 8),
            _ => clock_bound,
        };
        let mut disks = Rng::new(seed, DISK_STREAM);
        let durability = SimDurability::draw(&mut disks, shards);
        let has_faults = faults != Faults::none() && durability != SimDurability::Memory;
        let faults = Faults { disk: has_faults && disks.chance(500_000), ..faults };
        Self {
            seed,
            shards,
            coordinators,
            workload,
            durability,
            faults,
            duration,
            epsilon,
            clock_bound,
            strict: clock_bound <= epsilon,
            deaths: false,
            restarts: false,
            mutation: Mutation::None,
        }
    }

    /// Whether real time order is checked: as [`strict`](Self::strict) says, or because no clock
    /// is wrong.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict || !self.faults.any_clock()
    }
}

/// The command that repeats a run. Options that are as the seed has them are left out; `epsilon`,
/// `clock_bound`, `strict`, `deaths`, `restarts` and `mutation`, which only tests change, have no
/// option.
#[must_use]
pub fn replay_command(config: &SimConfig) -> String {
    let default = SimConfig::from_seed(config.seed);
    let mut command = format!("punctual sim --seed {}", config.seed);
    let mut option = |name: &str, value: &dyn fmt::Display, differs: bool| {
        if differs {
            write!(command, " --{name} {value}").expect("a string takes everything");
        }
    };
    option("shards", &config.shards, config.shards != default.shards);
    let differs = config.coordinators != default.coordinators;
    option("coordinators", &config.coordinators, differs);
    option("workload", &config.workload, config.workload != default.workload);
    option("faults", &config.faults, config.faults != default.faults);
    let duration = duration_text(config.duration);
    option("duration", &duration, config.duration != default.duration);
    option("durability", &config.durability, config.durability != default.durability);
    command
}

/// A duration in the largest unit that says it exactly.
fn duration_text(duration: Nanos) -> String {
    let nanos = duration.since(Nanos::ZERO).as_nanos();
    let units = [("s", Duration::from_secs(1)), ("ms", Duration::from_millis(1))];
    let units = units.into_iter().chain([("us", Duration::from_micros(1))]);
    for (name, unit) in units {
        if nanos > 0 && nanos.is_multiple_of(unit.as_nanos()) {
            return format!("{}{name}", nanos / unit.as_nanos());
        }
    }
    format!("{nanos}ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replay_command_names_what_differs_from_the_seed_and_nothing_else() {
        let config = SimConfig::from_seed(7);
        assert_eq!(replay_command(&config), "punctual sim --seed 7");
        let workload = match config.workload {
            Workload::Bank => Workload::Mixed,
            _ => Workload::Bank,
        };
        let faults = Faults { loss: true, pauses: true, ..Faults::none() };
        let duration = Nanos(1_500_000_000);
        let config = SimConfig { shards: 9, coordinators: 8, workload, faults, duration, ..config };
        let expected = format!(
            "punctual sim --seed 7 --shards 9 --coordinators 8 --workload {workload} \
             --faults loss,pause --duration 1500ms"
        );
        assert_eq!(replay_command(&config), expected);
        let durability = match config.durability {
            SimDurability::Memory => SimDurability::Mixed,
            _ => SimDurability::Memory,
        };
        let expected = format!("{expected} --durability {durability}");
        assert_eq!(replay_command(&SimConfig { durability, ..config }), expected);
    }

    #[test]
    fn durations_are_told_in_the_largest_unit_that_fits() {
        for (nanos, text) in [(0, "0ns"), (7, "7ns"), (7_000, "7us"), (2_000_000_000, "2s")] {
            assert_eq!(duration_text(Nanos(nanos)), text);
        }
    }

    #[test]
    fn workloads_are_read_as_they_are_written() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse(), Ok(workload));
        }
        let error = "queue".parse::<Workload>().expect_err("no such workload");
        assert!(error.to_string().contains("list-append"), "{error}");
    }

    #[test]
    fn durabilities_are_read_as_they_are_written() {
        for durability in SimDurability::ALL {
            assert_eq!(durability.name().parse(), Ok(durability));
        }
        let error = "disk".parse::<SimDurability>().expect_err("no such durability");
        assert!(error.to_string().contains("mixed"), "{error}");
    }

    #[test]
    fn seeds_draw_configurations_of_all_kinds() {
        let configs: Vec<SimConfig> = (0..200).map(SimConfig::from_seed).collect();
        for workload in Workload::ALL {
            assert!(configs.iter().any(|config| config.workload == workload));
        }
        for durability in SimDurability::ALL {
            let drawn = configs.iter().filter(|config| config.durability == durability);
            assert!(drawn.count() > 10, "{durability}");
        }
        let on_disk = |config: &&SimConfig| config.durability != SimDurability::Memory;
        assert!(configs.iter().filter(on_disk).count() > 60);
        let bad_disk = |config: &&SimConfig| config.faults.disk;
        assert!(configs.iter().filter(bad_disk).count() > 20);
        assert!(configs.iter().filter(bad_disk).all(|config| on_disk(&config)));
        assert!((1..=5).all(|shards| configs.iter().any(|config| config.shards == shards)));
        assert!(configs.iter().any(|config| config.faults == Faults::none()));
        assert!(configs.iter().any(|config| !config.is_strict()));
        assert!(configs.iter().filter(|config| config.is_strict()).count() > 100);
    }
}

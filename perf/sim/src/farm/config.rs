//! What is simulated of the farm: drawn from the seed, or given.

use crate::faults::Faults;
use crate::rng::Rng;
use punctual_core::Nanos;
use punctual_core::task::TaskMutation;
use std::fmt;
use std::fmt::Write as _;

const STREAM: u64 = 20;
/// The number of queues is drawn apart, so that seeds with one of them keep their meaning.
const QUEUES_STREAM: u64 = 24;

/// A run of the task farm. Two equal ones give the same run, event by event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FarmConfig {
    /// All chance comes from it.
    pub seed: u64,
    /// Number of queues of the server.
    pub queues: u16,
    /// Number of workers.
    pub workers: u16,
    /// Number of clients that submit tasks.
    pub clients: u16,
    /// What goes wrong. The shard is the server, coordinators are workers and clients; what would
    /// harm single messages breaks their connection, since these are streams.
    pub faults: Faults,
    /// How long tasks are submitted and things go wrong. Afterwards everything is mended, and all
    /// tasks that can end do.
    pub duration: Nanos,
    /// A rule that the queue breaks; for tests of the simulator itself.
    pub mutation: TaskMutation,
}

impl FarmConfig {
    /// The default of this seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed, STREAM);
        let workers = *rng.pick(&[1, 2, 2, 3, 4, 6]);
        let clients = *rng.pick(&[1, 2, 3]);
        let duration = Nanos(rng.between(400, 1_500) * 1_000_000);
        let faults = Faults::draw(&mut rng);
        let has_faults = faults != Faults::none();
        let faults = Faults { disk: has_faults && rng.chance(500_000), ..faults };
        let mutation = TaskMutation::None;
        let queues = *Rng::new(seed, QUEUES_STREAM).pick(&[1, 1, 1, 2, 3]);
        Self { seed, queues, workers, clients, faults, duration, mutation }
    }

    /// The command that repeats the run. Options that are as the seed has them are left out;
    /// `workers`, `clients` and `mutation`, which only tests change, have no option.
    #[must_use]
    pub fn replay_command(&self) -> String {
        let default = Self::from_seed(self.seed);
        let mut command = format!("punctual sim --tasks --seed {}", self.seed);
        let mut option = |name: &str, value: &dyn fmt::Display| {
            write!(command, " --{name} {value}").expect("a string takes everything");
        };
        if self.queues != default.queues {
            option("queues", &self.queues);
        }
        if self.faults != default.faults {
            option("faults", &self.faults);
        }
        if self.duration != default.duration {
            option("duration", &format_args!("{}ns", self.duration.0));
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replay_command_names_what_differs_from_the_seed_and_nothing_else() {
        let config = FarmConfig::from_seed(7);
        assert_eq!(config.replay_command(), "punctual sim --tasks --seed 7");
        let faults = Faults { disk: true, pauses: true, ..Faults::none() };
        let queues = config.queues + 1;
        let config = FarmConfig { faults, queues, duration: Nanos(5_000), ..config };
        let expected = format!(
            "punctual sim --tasks --seed 7 --queues {queues} --faults pause,disk --duration 5000ns"
        );
        assert_eq!(config.replay_command(), expected);
    }

    #[test]
    fn seeds_draw_farms_of_all_sizes_with_and_without_faults() {
        let configs: Vec<FarmConfig> = (0..200).map(FarmConfig::from_seed).collect();
        for workers in [1, 2, 3, 4, 6] {
            assert!(configs.iter().any(|config| config.workers == workers));
        }
        assert!((1..=3).all(|clients| configs.iter().any(|config| config.clients == clients)));
        assert!((1..=3).all(|queues| configs.iter().any(|config| config.queues == queues)));
        assert!(configs.iter().any(|config| config.faults == Faults::none()));
        assert!(configs.iter().filter(|config| config.faults.disk).count() > 20);
        assert!(configs.iter().filter(|config| config.faults.crashes_shard).count() > 20);
    }
}

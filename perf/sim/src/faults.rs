//! Which things go wrong in a run.

use crate::rng::Rng;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// What goes wrong. How often and how badly is drawn from the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// Frames are lost.
    pub loss: bool,
    /// Frames arrive twice.
    pub duplicate: bool,
    /// Frames overtake each other.
    pub reorder: bool,
    /// Now and then a frame, and all behind it, take much longer.
    pub delay: bool,
    /// Links break, or are stuck for a while.
    pub partitions: bool,
    /// Shards crash, and come back without their memory or, where they have one, with what is in
    /// their journal.
    pub crashes_shard: bool,
    /// Coordinators crash and come back as new ones.
    pub crashes_coordinator: bool,
    /// Nodes do nothing for a while, as if stopped and continued.
    pub pauses: bool,
    /// Clocks are apart.
    pub clock_offset: bool,
    /// Clocks run too fast or too slow.
    pub clock_drift: bool,
    /// Clocks jump forward.
    pub clock_jumps: bool,
    /// Disks are slow now and then and have no room for a while, and what is being written when a
    /// shard crashes may be torn. It strikes shards with a journal only.
    pub disk: bool,
}

/// The names in the order of the fields.
const NAMES: [&str; 12] = [
    "loss",
    "duplicate",
    "reorder",
    "delay",
    "partition",
    "crash-shard",
    "crash-coordinator",
    "pause",
    "clock-offset",
    "clock-drift",
    "clock-jump",
    "disk",
];

/// So many of them are drawn together. The others are drawn elsewhere, so that seeds keep their
/// meaning.
const DRAWN: usize = 11;

/// Names that stand for several.
const GROUPS: [(&str, &[&str]); 3] = [
    ("crash", &["crash-shard", "crash-coordinator"]),
    ("clock", &["clock-offset", "clock-drift", "clock-jump"]),
    ("none", &[]),
];

/// A list of faults that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultsError {
    /// There is no fault of this name.
    #[error(
        "there is no fault \"{0}\"; name some of {names}, crash, clock, separated by commas, or \
         all, or none",
        names = NAMES.join(", ")
    )]
    Unknown(String),
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything goes wrong.
    #[must_use]
    pub fn all() -> Self {
        let mut faults = Self::default();
        for flag in faults.flags_mut() {
            *flag = true;
        }
        faults
    }

    /// Whether clocks may differ.
    #[must_use]
    pub fn any_clock(&self) -> bool {
        self.clock_offset || self.clock_drift || self.clock_jumps
    }

    /// A mixture: in one run of six nothing goes wrong, in the others each fault occurs in two of
    /// five, but for that of disks.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut faults = Self::default();
        if rng.below(6) > 0 {
            for flag in faults.flags_mut().into_iter().take(DRAWN) {
                *flag = rng.chance(400_000);
            }
        }
        faults
    }

    fn flags(&self) -> [bool; NAMES.len()] {
        let mut copy = *self;
        copy.flags_mut().map(|flag| *flag)
    }

    fn flags_mut(&mut self) -> [&mut bool; NAMES.len()] {
        [
            &mut self.loss,
            &mut self.duplicate,
            &mut self.reorder,
            &mut self.delay,
            &mut self.partitions,
            &mut self.crashes_shard,
            &mut self.crashes_coordinator,
            &mut self.pauses,
            &mut self.clock_offset,
            &mut self.clock_drift,
            &mut self.clock_jumps,
            &mut self.disk,
        ]
    }

    fn set(&mut self, name: &str) -> bool {
        let at = NAMES.iter().position(|known| *known == name);
        if let Some(at) = at {
            *self.flags_mut()[at] = true;
        }
        at.is_some()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::none() {
            return f.write_str("none");
        }
        if *self == Self::all() {
            return f.write_str("all");
        }
        let set = NAMES.iter().zip(self.flags()).filter(|(_, is_set)| *is_set);
        let names: Vec<&str> = set.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::none();
        for name in text.split(',').map(str::trim) {
            if name == "all" {
                faults = Self::all();
                continue;
            }
            let group = GROUPS.iter().find(|(group, _)| *group == name);
            let is_known = match group {
                Some((_, members)) => members.iter().all(|member| faults.set(member)),
                None => faults.set(name),
            };
            if !is_known {
                return Err(FaultsError::Unknown(name.to_owned()));
            }
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for (at, name) in NAMES.iter().enumerate() {
            let faults: Faults = name.parse().expect("a known name");
            assert_eq!(faults.to_string(), *name);
            assert_eq!(faults.flags().iter().filter(|it| **it).count(), 1);
            assert!(faults.flags()[at]);
        }
        for text in ["none", "all", "loss,delay,clock-jump"] {
            let faults: Faults = text.parse().expect("known names");
            assert_eq!(faults.to_string(), text);
        }
        let crash: Faults = "loss, crash".parse().expect("a group");
        assert_eq!(crash.to_string(), "loss,crash-shard,crash-coordinator");
    }

    #[test]
    fn an_unknown_fault_is_named_with_those_there_are() {
        let error = "loss,fire".parse::<Faults>().expect_err("no such fault").to_string();
        assert!(error.contains("\"fire\"") && error.contains("clock-jump"), "{error}");
    }
}

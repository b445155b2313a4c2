//! What of a shard outlives its process, and where that is kept.

use super::TextError;
use super::names::named;
use punctual_core::journal::Durability;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What of the shards of a process outlives it. Other processes may have chosen otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurabilitySettings {
    /// What each shard promises.
    pub modes: Modes,
    /// Where the journals are, each in a directory of its own: see [`dir_of`](Self::dir_of).
    pub dir: PathBuf,
    /// With `journal-async`: for how long what was answered may not be durable.
    pub within: Duration,
    /// Size of one file of a log, a multiple of 4096.
    pub segment_bytes: u64,
    /// After so many bytes of log a snapshot is made, and takes their place; 0: none ever is.
    pub snapshot_after: u64,
    /// What writes the journals.
    pub backend: JournalBackend,
}

impl Default for DurabilitySettings {
    fn default() -> Self {
        Self {
            modes: Modes::default(),
            dir: PathBuf::from(".punctual/data"),
            within: Duration::from_millis(100),
            segment_bytes: 64 << 20,
            snapshot_after: 1 << 30,
            backend: JournalBackend::default(),
        }
    }
}

impl DurabilitySettings {
    /// The directory of a shard's journal.
    #[must_use]
    pub fn dir_of(&self, shard: u16) -> PathBuf {
        self.dir.join(format!("shard-{shard}"))
    }

    /// What has to be durable before a shard answers.
    #[must_use]
    pub fn durability_of(&self, shard: u16) -> Durability {
        match self.modes.mode_of(shard) {
            DurabilityMode::Memory => Durability::Memory,
            DurabilityMode::Journal => Durability::Journal,
            DurabilityMode::JournalAsync => Durability::JournalAsync { within: self.within },
        }
    }
}

/// What a shard promises with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DurabilityMode {
    /// Nothing: all of it is gone with the process.
    #[default]
    Memory,
    /// That it survives any crash.
    Journal,
    /// That it survives a crash that comes later than a stated time after the answer; of a
    /// transaction on several shards, any crash.
    JournalAsync,
}

named!(DurabilityMode { Memory = "memory", Journal = "journal", JournalAsync = "journal-async" });

/// The modes of the shards of the cluster, by shard id, whether this process serves them or not; a
/// shorter list starts over. Its text form is `journal`, or `journal,memory`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Modes(pub Vec<DurabilityMode>);

impl Modes {
    /// The mode of a shard.
    #[must_use]
    pub fn mode_of(&self, shard: u16) -> DurabilityMode {
        let mode = self.0.iter().cycle().nth(usize::from(shard));
        mode.copied().unwrap_or_default()
    }

    /// Whether any shard has a journal.
    #[must_use]
    pub fn any_journal(&self) -> bool {
        self.0.iter().any(|mode| *mode != DurabilityMode::Memory)
    }
}

impl Default for Modes {
    fn default() -> Self {
        Self::from(DurabilityMode::default())
    }
}

impl From<DurabilityMode> for Modes {
    /// The same for every shard.
    fn from(mode: DurabilityMode) -> Self {
        Self(vec![mode])
    }
}

impl FromStr for Modes {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let is_list = text.contains(',');
        let read = |word: &str| {
            let word = word.trim();
            word.parse::<DurabilityMode>().map_err(|problem| match is_list {
                true => TextError(format!("has the word \"{word}\", which {problem}")),
                false => problem,
            })
        };
        text.split(',').map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|mode| mode.name()).collect();
        f.pad(&names.join(","))
    }
}

/// What writes the journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum JournalBackend {
    /// Glommio where it starts and the file system lets it past the page cache, else plain threads.
    #[default]
    Auto,
    /// A glommio executor a journal, with several writes under way; needs `io_uring`.
    Glommio,
    /// A plain thread a journal, one write after the other; runs anywhere.
    Threads,
}

named!(JournalBackend { Auto = "auto", Glommio = "glommio", Threads = "threads" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_modes_is_for_the_shards_in_their_order_and_starts_over() {
        let modes: Modes = "journal, memory,journal-async".parse().unwrap();
        let of_shards: Vec<_> = (0..5).map(|shard| modes.mode_of(shard).name()).collect();
        assert_eq!(of_shards, ["journal", "memory", "journal-async", "journal", "memory"]);
        assert_eq!(modes.to_string(), "journal,memory,journal-async");
        let same: Modes = "journal".parse().unwrap();
        assert_eq!(same, Modes::from(DurabilityMode::Journal));
        assert_eq!(same.mode_of(u16::MAX), DurabilityMode::Journal);
        assert!(modes.any_journal() && !Modes::default().any_journal());
    }

    #[test]
    fn a_wrong_word_among_modes_is_named() {
        let problem = |text: &str| text.parse::<Modes>().unwrap_err().to_string();
        assert_eq!(problem("disk"), "is not one of memory, journal, journal-async");
        assert_eq!(
            problem("journal,memry"),
            "has the word \"memry\", which is not one of memory, journal, journal-async; \
             did you mean \"memory\"?"
        );
        assert!(problem("journal,").starts_with("has the word \"\", which is not one of"));
        assert!(problem("").starts_with("is not one of"));
    }

    #[test]
    fn each_shard_has_a_directory_of_its_own_and_the_bound_of_its_mode() {
        let settings = DurabilitySettings {
            modes: Modes(DurabilityMode::ALL.to_vec()),
            dir: "data".into(),
            ..DurabilitySettings::default()
        };
        assert_eq!(settings.dir_of(12), PathBuf::from("data/shard-12"));
        let within = Duration::from_millis(100);
        let expected =
            [Durability::Memory, Durability::Journal, Durability::JournalAsync { within }];
        assert_eq!([0, 1, 2].map(|shard| settings.durability_of(shard)), expected);
    }
}

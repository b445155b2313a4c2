//! What a bench does about journals: its options, and the directory where they are.

use super::{grouped, row};
use crate::commands::UsageError;
use crate::eprintln_line;
use clap::Args;
use punctual_load::Target;
use punctual_load::report::JournalFigures;
use punctual_load::summary::fmt_ns;
use punctual_runtime::config::{
    Config, DurabilityMode, JournalBackend, Modes, parse_bytes, parse_duration,
};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where runs that are told no place put their journals, below the current directory.
const HOME: &str = ".punctual";
/// What the directory of a shard begins with.
const SHARD: &str = "shard-";

/// Options about journals.
#[derive(Debug, Args)]
#[command(next_help_heading = "Journal")]
pub(super) struct DurabilityArgs {
    /// What outlives the process: memory (nothing), journal (what was answered), journal-async
    /// (the same a moment later); one for all shards or one for each (default: memory)
    #[arg(long, value_name = "MODE[,MODE...]")]
    durability: Option<Modes>,

    /// Where the journals are; they stay there, and a run goes on from those of an earlier one
    /// (default: a new directory in .punctual, removed after a good run)
    #[arg(long, value_name = "DIR", requires = "durability")]
    journal_dir: Option<PathBuf>,

    /// Do not remove the journals of a good run
    #[arg(long, requires = "durability")]
    keep_journal: bool,

    /// Start again on the journals afterwards, say how long that took, and check the store again
    #[arg(long, requires = "durability")]
    recover: bool,

    /// How long after its answer a transaction of journal-async is durable at the latest
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "durability")]
    journal_within: Option<Duration>,

    /// Size of a file of the log, such as 64MiB
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, requires = "durability")]
    segment_bytes: Option<u64>,

    /// Make a snapshot whenever the log has grown by so much, such as 1GiB; 0: never
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, requires = "durability")]
    snapshot_after: Option<u64>,

    /// What writes the journals: auto, glommio, threads
    #[arg(long, value_name = "BACKEND", requires = "durability")]
    journal_backend: Option<JournalBackend>,
}

impl DurabilityArgs {
    /// Whether journals are asked for.
    pub(super) fn is_given(&self) -> bool {
        self.durability.is_some()
    }

    /// Whether the engine is to be started again.
    pub(super) fn recover(&self) -> bool {
        self.recover
    }

    /// Puts these options into the configuration of the engine.
    pub(super) fn apply(&self, config: &mut Config, target: Target) -> Result<(), UsageError> {
        let Some(modes) = &self.durability else { return Ok(()) };
        if target == Target::Served {
            return usage(
                "--durability is for shards in this process; say it where they are served: \
                 punctual serve --durability, or durability.mode in its file",
            );
        }
        let settings = &mut config.process.durability;
        settings.modes = modes.clone();
        settings.within = self.journal_within.unwrap_or(settings.within);
        settings.segment_bytes = self.segment_bytes.unwrap_or(settings.segment_bytes);
        settings.snapshot_after = self.snapshot_after.unwrap_or(settings.snapshot_after);
        settings.backend = self.journal_backend.unwrap_or(settings.backend);
        let wants_journal = self.journal_dir.is_some() || self.keep_journal;
        match in_memory(config).next() {
            Some(shard) if self.recover => usage(&format!(
                "--recover needs a journal on every shard, and shard {shard} has none with \
                 --durability {modes}"
            )),
            Some(_) if wants_journal && !has_journal(config) => usage(&format!(
                "--durability {modes} keeps no journal; choose journal or journal-async"
            )),
            _ => Ok(()),
        }
    }

    /// Finds or makes the place for the journals, if there will be any.
    pub(super) fn place(&self, config: &mut Config) -> Result<Option<Place>, UsageError> {
        // A file may speak of journals of shards that are served elsewhere.
        if self.durability.is_none() || !has_journal(config) {
            return Ok(None);
        }
        let place = match &self.journal_dir {
            Some(path) => Place::given(path)?,
            None => Place::make(self.keep_journal)?,
        };
        config.process.durability.dir = place.path.clone();
        Ok(Some(place))
    }
}

/// The shards without a journal.
fn in_memory(config: &Config) -> impl Iterator<Item = u16> {
    let modes = &config.process.durability.modes;
    let is_it = move |shard: &u16| modes.mode_of(*shard) == DurabilityMode::Memory;
    (0..config.cluster.shards).filter(is_it)
}

/// Whether any shard has a journal.
fn has_journal(config: &Config) -> bool {
    in_memory(config).count() < usize::from(config.cluster.shards)
}

fn usage(text: &str) -> Result<(), UsageError> {
    Err(UsageError(text.to_owned()))
}

/// How a run ended, as far as its journals are concerned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ending {
    /// The engine ran, so there is something in the journals.
    pub(super) has_started: bool,
    /// Everything went as it should, to the end.
    pub(super) is_good: bool,
}

/// The directory of the journals of a run.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// It was made for this run.
    is_ours: bool,
    /// It stays, even so.
    stays: bool,
}

impl Place {
    /// A new directory of this run alone.
    fn make(stays: bool) -> Result<Self, UsageError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let path = Path::new(HOME).join(format!("bench-{}-{}", stamp(now), std::process::id()));
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(Self { path, is_ours: true, stays }),
            Err(error) => Err(UsageError(format!(
                "the directory {} for the journals cannot be made: {error}; choose one with \
                 --journal-dir",
                path.display()
            ))),
        }
    }

    /// A directory of the user's, which holds journals or nothing.
    fn given(path: &Path) -> Result<Self, UsageError> {
        let failed = |error: std::io::Error| {
            let path = path.display();
            UsageError(format!("--journal-dir {path} cannot be read: {error}; give a directory"))
        };
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let name_of = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        match entries.iter().map(name_of).find(|name| !name.starts_with(SHARD)) {
            None => Ok(Self { path: path.to_owned(), is_ours: false, stays: true }),
            Some(name) => Err(UsageError(format!(
                "--journal-dir {} holds {name:?}, which is no journal; give an empty directory, or \
                 one with the journals of shards ({SHARD}0 and so on)",
                path.display()
            ))),
        }
    }

    /// Keeps it or removes it, and says what became of it.
    pub(super) fn leave(self, ending: Ending) -> &'static str {
        let is_needed = ending.has_started && (self.stays || !ending.is_good);
        if !self.is_ours || is_needed {
            return "kept";
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            let path = self.path.display();
            eprintln_line(&format!("warning: {path} could not be removed: {error}"));
            return "kept";
        }
        // Only if nothing else is there.
        let _ = fs::remove_dir(HOME);
        "removed"
    }

    /// Says where the journals of a run are that has not ended well.
    pub(super) fn leave_failed(self, has_started: bool) {
        let path = self.path.clone();
        let became = self.leave(Ending { has_started, is_good: false });
        if has_started && became == "kept" {
            eprintln_line(&format!("the journals are kept in {}", path.display()));
        }
    }
}

/// The rows of a summary. `became` says whether the journals are still there.
pub(super) fn rows(journal: &JournalFigures, became: &str) -> String {
    let place = format!("{}, in {} ({became})", journal.mode, journal.dir);
    let mut text = row("durability", &place);
    let each = journal.bytes_per_transaction.unwrap_or(0.0);
    let [megabytes, rate] = [journal.bytes as f64, journal.bytes_per_s].map(|bytes| bytes / 1e6);
    let written = format!("{megabytes:.1} MB, {rate:.1} MB/s, {each:.1} bytes a transaction");
    text += &row("written", &written);
    let (mean, max) = (journal.write_mean_us.unwrap_or(0.0), journal.write_max_us);
    let writes = format!(
        "{}, mean {}; the longest of the whole run {}; {} snapshots",
        grouped(journal.writes as f64),
        fmt_us(mean),
        fmt_us(max),
        journal.snapshots
    );
    text += &row("writes", &writes);
    if let Some(within_us) = journal.within_us {
        let lag = fmt_us(journal.lag_max_us);
        text += &row("not durable", &format!("for {lag} at most, bound {}", fmt_us(within_us)));
    }
    if let Some(recovery) = &journal.recovery {
        let transactions = grouped(recovery.transactions as f64);
        let million = recovery.s_per_million;
        let million = million.map_or_else(String::new, |s| format!(", {s:.2} s a million"));
        let took = format!("{:.2} s for {transactions} transactions{million}", recovery.recover_s);
        text += &row("recovery", &format!("{took}; self-check {}", recovery.self_check));
    }
    text
}

fn fmt_us(us: f64) -> String {
    fmt_ns((us * 1e3).round() as u64)
}

/// A moment, given as the time since 1970, as `20261122T074739Z`.
fn stamp(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day so many days after 1970-01-01, by way of years that begin in March, so that
/// the leap day is the last one (Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_universal_time() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_795_333_659, "20261122T074739Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_directory_with_anything_but_journals_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(Place::given(&dir.path().join("not there yet")).is_ok());
        assert!(Place::given(dir.path()).is_ok(), "an empty one");
        fs::create_dir(dir.path().join("shard-0")).expect("a directory");
        assert!(Place::given(dir.path()).is_ok(), "one with a journal");
        let file = dir.path().join("letters");
        fs::write(&file, "mine").expect("a file");
        let error = Place::given(dir.path()).expect_err("not ours").to_string();
        assert!(error.contains("\"letters\", which is no journal"), "{error}");
        let error = Place::given(&file).expect_err("no directory").to_string();
        assert!(error.contains("letters cannot be read"), "{error}");
    }

    #[test]
    fn only_what_was_made_for_a_run_is_removed_and_only_when_nothing_is_lost_by_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let good = Ending { has_started: true, is_good: true };
        let failed = Ending { has_started: true, is_good: false };
        let never = Ending::default();
        let cases = [
            (true, false, good, false),
            (true, false, never, false),
            (true, false, failed, true),
            (true, true, good, true),
            (false, true, good, true),
            (false, true, never, true),
        ];
        for (at, (is_ours, stays, ending, is_there)) in cases.into_iter().enumerate() {
            let path = dir.path().join(at.to_string());
            fs::create_dir(&path).expect("a directory");
            let became = Place { path: path.clone(), is_ours, stays }.leave(ending);
            assert_eq!(became, if is_there { "kept" } else { "removed" }, "case {at}");
            assert_eq!(path.exists(), is_there, "case {at}");
        }
    }
}

//! How many queues the journals of a directory are of. The number is in a file beside them, and may
//! not change while they live: clients would look for tasks in other queues than those that have
//! them, and submit again what is done.

use super::TaskServerError;
use crate::config::DurabilitySettings;
use crate::journal::{JournalError, is_journal, make_dirs, refused, sync_dir};
use punctual_wire::task::QUEUES_MAX;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The file that has the number, as a line of text.
const FILE: &str = "queues";
/// What it is called before it is whole.
const UNFINISHED: &str = "queues.tmp";
/// So much is shown of a file that has something else.
const SHOWN_CHARS_MAX: usize = 40;

/// Sees to it that the journals in `dir`, if there are any, are of `wanted` queues, and that every
/// later start finds that number. To be called before a journal is made.
pub(super) fn claim(dir: &Path, wanted: u16) -> Result<(), TaskServerError> {
    let there = match read(dir)? {
        Some(there) => {
            // Whoever wrote it may have died before its name was durable.
            sync_dir(dir)?;
            there
        }
        None => begin(dir, wanted)?,
    };
    if there == wanted {
        return Ok(());
    }
    Err(TaskServerError::Queues { dir: dir.to_owned(), there, wanted })
}

/// What the file says, if it is there.
fn read(dir: &Path) -> Result<Option<u16>, TaskServerError> {
    let file = dir.join(FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::io(&file, "read", error).into()),
    };
    match text.trim().parse::<u16>() {
        Ok(queues) if (1..=QUEUES_MAX).contains(&queues) => Ok(Some(queues)),
        _ => {
            let text = text.chars().take(SHOWN_CHARS_MAX).collect();
            Err(TaskServerError::QueuesFile { file, text })
        }
    }
}

/// Writes the file: with what its journals say if there are any, else with `wanted`. Returns what
/// holds.
fn begin(dir: &Path, wanted: u16) -> Result<u16, TaskServerError> {
    let there = queues_of(dir)?;
    match (write(dir, there.unwrap_or(wanted)), there) {
        // The journals say it as well, and there may be room the next time.
        (Err(TaskServerError::Journal(JournalError::NoSpace { .. })), Some(there)) => Ok(there),
        (outcome, _) => outcome,
    }
}

/// How many queues the journals in a directory are of, by the names of their own directories: all
/// are made at the first start. A server that had one queue wrote no file; and a copy may be
/// without it.
fn queues_of(dir: &Path) -> Result<Option<u16>, JournalError> {
    let settings = DurabilitySettings { dir: dir.to_owned(), ..DurabilitySettings::default() };
    let mut queues = None;
    for queue in 0..QUEUES_MAX {
        let dir = settings.dir_of(queue);
        if dir.is_dir() && is_journal(&dir)? {
            queues = Some(queue + 1);
        }
    }
    Ok(queues)
}

/// Makes the file with this number, unless another server has made it meanwhile. Returns what it
/// says.
fn write(dir: &Path, queues: u16) -> Result<u16, TaskServerError> {
    make_dirs(dir)?;
    let path = dir.join(UNFINISHED);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|error| refused(dir, &path, error))?;
    let failed = |error| JournalError::io(&path, "written", error);
    // Who has it may rename it: only what is looked at from here on counts.
    file.lock().map_err(failed)?;
    if let Some(there) = read(dir)? {
        // If it is a new one, nobody needs it.
        let _ = fs::remove_file(&path);
        return Ok(there);
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{queues}"))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&path, dir.join(FILE)))
        .map_err(failed)?;
    sync_dir(dir)?;
    Ok(queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    /// Makes something that looks like the journal of a queue.
    fn journal(dir: &Path, queue: u16) {
        let journal = dir.join(format!("shard-{queue}"));
        fs::create_dir_all(&journal).expect("a folder");
        fs::write(journal.join("LOCK"), "").expect("a file");
    }

    fn message(dir: &Path, wanted: u16) -> String {
        let error = claim(dir, wanted).expect_err("it must be refused");
        assert!(error.is_usage(), "{error}");
        error.to_string()
    }

    #[test]
    fn the_first_start_decides_how_many_queues_there_are() {
        let temporary = temporary();
        let dir = temporary.path().join("as/deep/as/this");
        claim(&dir, 3).expect("it is new");
        claim(&dir, 3).expect("it is the same number");
        let expected = format!(
            "the journals in {} were begun with --queues 3, not 2: their tasks would be looked for \
             where they are not. Start with --queues 3; or let it finish what it has, and give \
             --queues 2 another directory (--journal-dir)",
            dir.display()
        );
        assert_eq!(message(&dir, 2), expected);
        claim(&dir, 3).expect("the refusal changed nothing");
        let names: Vec<_> = fs::read_dir(&dir).expect("a folder").collect();
        assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
    }

    #[test]
    fn a_directory_from_before_there_was_a_file_is_of_one_queue() {
        let dir = temporary();
        journal(dir.path(), 0);
        assert!(message(dir.path(), 2).contains("begun with --queues 1, not 2"));
        claim(dir.path(), 1).expect("that is its number");
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).expect("the file"), "1\n");
    }

    #[test]
    fn a_copy_without_the_file_is_of_as_many_queues_as_it_has_journals() {
        let dir = temporary();
        journal(dir.path(), 0);
        journal(dir.path(), 2);
        fs::create_dir(dir.path().join("shard-5")).expect("a folder");
        assert!(message(dir.path(), 1).contains("begun with --queues 3, not 1"));
        claim(dir.path(), 3).expect("that is its number");
    }

    #[test]
    fn what_a_crash_left_of_the_file_does_not_count() {
        let dir = temporary();
        fs::write(dir.path().join(UNFINISHED), "64 and more than that").expect("a file");
        claim(dir.path(), 2).expect("it is new");
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).expect("the file"), "2\n");
        assert!(!dir.path().join(UNFINISHED).exists());
    }

    #[test]
    fn a_file_without_a_number_of_queues_is_not_guessed_about() {
        let dir = temporary();
        for text in ["", "two", "0", "65", "-1"] {
            fs::write(dir.path().join(FILE), text).expect("a file");
            let message = message(dir.path(), 1);
            assert!(message.contains(&format!("and says {text:?}: restore it")), "{message}");
        }
    }

    #[test]
    fn whoever_comes_second_takes_the_number_of_the_first() {
        let dir = temporary();
        assert_eq!(write(dir.path(), 2).expect("it is new"), 2);
        assert_eq!(write(dir.path(), 5).expect("it is there"), 2);
        assert!(!dir.path().join(UNFINISHED).exists());
    }
}

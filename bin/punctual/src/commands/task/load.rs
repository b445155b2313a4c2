//! Task files on their way to a queue.

use super::rows::grouped;
use crate::commands::UsageError;
use crate::eprintln_line;
use clap::Args;
use punctual_runtime::tasks::{OwnedSpec, RefusedTask};
use punctual_taskfile::{
    BadLine, Format, ReadOptions, Separator, Summary, TaskDraft, TaskFileError, TaskStream,
    parse_duration, read_tasks, survey,
};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Stands for standard input.
const STDIN: &str = "-";
const STDIN_NAME: &str = "standard input";
/// Refused tasks that are named.
const REFUSED_SHOWN: usize = 20;

/// Options about how a task file is read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Task file")]
pub(super) struct LoadArgs {
    /// How the file is to be read: auto (as it looks), original, timeout (six fields) or json-lines
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = format)]
    pub(super) format: Format,

    /// What separates the fields of a line: auto, colon or semicolon
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(super) separator: Separator,

    /// Kill tasks that say nothing about it after so long, such as 90s or 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,

    /// Lines that are no tasks are named, but do not change the exit code
    #[arg(long)]
    pub(super) allow_bad_lines: bool,
}

impl LoadArgs {
    /// The same for a reader.
    pub(super) fn options(&self) -> ReadOptions {
        let Self { format, separator, timeout, .. } = *self;
        ReadOptions { format, separator, default_timeout: timeout }
    }
}

/// Reads the name of a format.
pub(super) fn format(text: &str) -> Result<Format, String> {
    let name = if text == "jsonl" { Format::JsonLines.name() } else { text };
    name.parse().map_err(|error: punctual_taskfile::UnknownName| error.to_string())
}

/// Where the drafts come from.
enum Drafts {
    /// A file, of which little is kept.
    Stream(Box<TaskStream<BufReader<File>>>),
    /// What can be read only once, as a whole.
    Whole(std::vec::IntoIter<TaskDraft>, Summary),
}

/// What one machine has, which no task of it can ask for more than.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ceiling {
    pub(super) memory: u64,
    pub(super) cores_milli: u32,
}

/// The tasks of a file as they are submitted.
pub(super) struct Source {
    drafts: Drafts,
    name: String,
    /// How often a failed task is tried again if it does not say.
    retries: u16,
    ceiling: Option<Ceiling>,
    /// Tasks that asked for more than that.
    cut: u64,
    /// The line of each task that was given away.
    lines: Vec<usize>,
    error: Option<TaskFileError>,
}

/// What there is to tell of a file that was read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) bad: Vec<BadLine>,
    pub(super) bad_left_out: u64,
    pub(super) lines: Vec<usize>,
}

impl Source {
    /// Opens a file, or standard input.
    pub(super) fn open(path: &Path, args: &LoadArgs, retries: u16) -> anyhow::Result<Self> {
        let options = args.options();
        let (drafts, name) = if path == Path::new(STDIN) {
            (whole(io::stdin().lock(), &options)?, STDIN_NAME.to_owned())
        } else {
            (open(path, &options)?, path.display().to_string())
        };
        Ok(Self::new(drafts, name, retries))
    }

    /// The tasks of a file, or of standard input, that was read already.
    pub(super) fn of_text(path: &Path, text: &[u8], args: &LoadArgs) -> anyhow::Result<Self> {
        let is_stdin = path == Path::new(STDIN);
        let name = if is_stdin { STDIN_NAME.to_owned() } else { path.display().to_string() };
        Ok(Self::new(whole(text, &args.options())?, name, 0))
    }

    fn new(drafts: Drafts, name: String, retries: u16) -> Self {
        Self { drafts, name, retries, ceiling: None, cut: 0, lines: Vec::new(), error: None }
    }

    /// Lets no task ask for more than this.
    pub(super) fn limit(&mut self, ceiling: Ceiling) {
        self.ceiling = Some(ceiling);
    }

    /// Says what was wrong with the file.
    ///
    /// # Errors
    /// When it could not be read to its end. The tasks before that were given away.
    pub(super) fn finish(self) -> anyhow::Result<Loaded> {
        if let Some(error) = self.error {
            return Err(anyhow::Error::from(error).context(self.name));
        }
        let summary = match self.drafts {
            Drafts::Stream(stream) => stream.into_summary(),
            Drafts::Whole(_, summary) => summary,
        };
        let name = self.name;
        for warning in &summary.warnings {
            eprintln_line(&format!("warning: {name}: {warning}"));
        }
        if self.cut > 0 {
            eprintln_line(&format!(
                "warning: {name}: tasks that ask for more memory or cores than there are here get \
                 all of them ({})",
                grouped(self.cut)
            ));
        }
        for bad in &summary.bad {
            eprintln_line(&format!("{name}:{}: {}: {}", bad.line, bad.why, bad.text));
        }
        if summary.bad_left_out > 0 {
            let more = grouped(summary.bad_left_out);
            eprintln_line(&format!("{name}: {more} more lines are no tasks"));
        }
        let Summary { bad, bad_left_out, .. } = summary;
        Ok(Loaded { name, bad, bad_left_out, lines: self.lines })
    }

    /// The next task as it stands in the file.
    pub(super) fn next_draft(&mut self) -> Option<TaskDraft> {
        match &mut self.drafts {
            Drafts::Whole(drafts, _) => drafts.next(),
            Drafts::Stream(stream) => match stream.next()? {
                Ok(draft) => Some(draft),
                Err(error) => {
                    self.error = Some(error);
                    None
                }
            },
        }
    }
}

impl Iterator for Source {
    type Item = OwnedSpec;

    fn next(&mut self) -> Option<OwnedSpec> {
        let draft = self.next_draft()?;
        self.lines.push(draft.line);
        let mut spec = OwnedSpec {
            key: draft.key,
            priority: draft.priority,
            memory: draft.memory,
            cores_milli: draft.cores_milli,
            timeout_ms: draft.timeout_ms(),
            attempts_max: draft.attempts_max(self.retries),
            after: draft.after_keys(),
            payload: draft.payload(),
            is_named: draft.is_named,
        };
        if let Some(Ceiling { memory, cores_milli }) = self.ceiling {
            self.cut += u64::from(spec.memory > memory || spec.cores_milli > cores_milli);
            spec.memory = spec.memory.min(memory);
            spec.cores_milli = spec.cores_milli.min(cores_milli);
        }
        Some(spec)
    }
}

impl Loaded {
    /// How many lines are no tasks.
    pub(super) fn bad_count(&self) -> u64 {
        self.bad.len() as u64 + self.bad_left_out
    }

    /// Names the tasks that the queue did not take.
    pub(super) fn say_refused(&self, refused: &[(u64, RefusedTask)]) {
        for (index, reason) in refused.iter().take(REFUSED_SHOWN) {
            let line = usize::try_from(*index).ok().and_then(|index| self.lines.get(index));
            let line = line.map_or_else(|| "?".to_owned(), ToString::to_string);
            eprintln_line(&format!("{}:{line}: refused: {reason}", self.name));
        }
        if refused.len() > REFUSED_SHOWN {
            let more = refused.len() - REFUSED_SHOWN;
            eprintln_line(&format!("{}: {more} more tasks were refused", self.name));
        }
    }
}

fn open(path: &Path, options: &ReadOptions) -> anyhow::Result<Drafts> {
    // A pipe can be read only once.
    let is_plain = fs::metadata(path).is_ok_and(|file| file.is_file());
    if is_plain {
        return Ok(Drafts::Stream(Box::new(TaskStream::open(path, options)?)));
    }
    let failed = |source| TaskFileError::Open { path: path.to_owned(), source };
    whole(BufReader::new(File::open(path).map_err(failed)?), options)
}

fn whole(reader: impl io::BufRead, options: &ReadOptions) -> anyhow::Result<Drafts> {
    let file = read_tasks(reader, options)?;
    let summary = Summary {
        format: file.format,
        separator: file.separator,
        bad: file.bad,
        bad_left_out: file.bad_left_out,
        duplicates: file.duplicates,
        warnings: file.warnings,
    };
    Ok(Drafts::Whole(file.tasks.into_iter(), summary))
}

/// All of a file, or of standard input.
pub(super) fn read_whole(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = if path == Path::new(STDIN) {
        io::stdin().lock().read_to_end(&mut text).map(|_| text)
    } else {
        fs::read(path)
    };
    Ok(read.map_err(|source| TaskFileError::Open { path: path.to_owned(), source })?)
}

/// About how many tasks a file has, for a progress bar; 0 if that cannot be known before.
pub(super) fn estimate(path: &Path) -> u64 {
    let is_plain = fs::metadata(path).is_ok_and(|file| file.is_file());
    let file = is_plain.then(|| File::open(path).ok()).flatten();
    let survey = file.map(|file| survey(BufReader::new(file), &ReadOptions::default()));
    survey.and_then(Result::ok).map_or(0, |survey| survey.lines)
}

/// The name of the job of a file, if nobody gives it another.
pub(super) fn job_name(given: Option<&str>, path: &Path) -> Result<String, UsageError> {
    let name = match given {
        Some(name) => name.to_owned(),
        None if path == Path::new(STDIN) => "stdin".to_owned(),
        None => {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            stem.unwrap_or_default()
        }
    };
    if name.is_empty() {
        let text = "the job has no name; give it one with --job NAME".to_owned();
        return Err(UsageError(text));
    }
    Ok(name)
}

/// The path of a task file as an argument.
#[derive(Debug, Clone, Args)]
pub(super) struct FileArg {
    /// Task file: a line each, in the format of DistComp or in JSON; with -, standard input
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn source(text: &str, args: &[&str]) -> Source {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("tasks");
        fs::write(&path, text).expect("a file");
        let args = Options::parse_from(std::iter::once("test").chain(args.iter().copied()));
        Source::open(&path, &args.load, 2).expect("a task file")
    }

    #[test]
    fn tasks_of_a_file_are_submitted_as_they_say() {
        let mut source = source("shell:4:2:1:true\nnonsense\nshell:0:0:0:false\n", &[]);
        let specs: Vec<OwnedSpec> = source.by_ref().collect();
        let said = |spec: &OwnedSpec| (spec.priority, spec.memory, spec.cores_milli);
        let said: Vec<(i32, u64, u32)> = specs.iter().map(said).collect();
        assert_eq!(said, [(4, 2 << 30, 1000), (0, 0, 0)]);
        assert!(specs.iter().all(|spec| spec.attempts_max == 3 && spec.timeout_ms == 0));
        let loaded = source.finish().expect("it was read");
        assert_eq!((loaded.bad_count(), loaded.bad[0].line), (1, 2));
        assert_eq!(loaded.lines, [1, 3]);
    }

    #[test]
    fn tasks_with_an_id_are_named_and_no_others() {
        let lines = [
            r#"{"command": "./prep", "id": "prep"}"#,
            r#"{"command": "./run {index}", "id": "run-{index}", "array": {"to": 1}}"#,
            r#"{"command": "./end", "name": "end", "after": "prep"}"#,
        ];
        let named = source(&lines.join("\n"), &[]).map(|spec| spec.is_named);
        assert_eq!(named.collect::<Vec<_>>(), [true, true, true, false]);
        assert!(source("shell:0:0:0:true\n", &[]).all(|spec| !spec.is_named));
    }

    #[test]
    fn no_task_asks_for_more_than_the_machine_has() {
        let mut source = source("shell:0:9:9:true\nshell:0:1:1:false\n", &["--timeout", "90"]);
        source.limit(Ceiling { memory: 4 << 30, cores_milli: 2000 });
        let specs: Vec<OwnedSpec> = source.by_ref().collect();
        assert_eq!((specs[0].memory, specs[0].cores_milli), (4 << 30, 2000));
        assert_eq!((specs[1].memory, specs[1].cores_milli), (1 << 30, 1000));
        assert_eq!((source.cut, specs[0].timeout_ms), (1, 90_000));
    }

    #[test]
    fn a_job_is_called_like_its_file_unless_it_is_given_a_name() {
        let name = |given, path: &str| job_name(given, Path::new(path)).expect("a name");
        assert_eq!(name(None, "runs/sweep.task"), "sweep");
        assert_eq!(name(None, "-"), "stdin");
        assert_eq!(name(Some("mine"), "runs/sweep.task"), "mine");
        assert!(job_name(Some(""), Path::new("x")).is_err());
    }

    #[test]
    fn json_lines_have_a_short_name_too() {
        assert_eq!(format("jsonl"), Ok(Format::JsonLines));
        assert_eq!(format("original"), Ok(Format::Original));
        assert!(format("orginal").unwrap_err().contains("did you mean"));
    }
}

//! A task file, one task after the other.

use crate::draft::TaskDraft;
use crate::error::TaskFileError;
use crate::fault::Fault;
use crate::json::{Template, content_of};
use crate::layout::{Format, HEAD_LINES, ReadOptions, Rules, Votes};
use crate::lines::{Line, Lines};
use crate::order::Sequencer;
use crate::original;
use crate::read::survey;
use crate::summary::{Notes, Summary};
use punctual_wire::task::TaskKey;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Bytes read from a file at once.
const READ_BYTES: usize = 256 << 10;

/// The tasks of a file, in the order in which they are to be submitted: that of the file, but none
/// before one that it comes after. An error is the last item.
///
/// Kept are only the key of each task, to know it again, and those that still wait for others.
pub struct TaskStream<R> {
    lines: Lines<R>,
    /// The line that was read last.
    buffer: Vec<u8>,
    rules: Rules,
    /// The array of which not all tasks have been made.
    expansion: Option<Expansion>,
    seen: HashMap<TaskKey, Seen>,
    sequencer: Sequencer,
    votes: Votes,
    notes: Notes,
    has_ended: bool,
}

/// A task that there was.
struct Seen {
    line: usize,
    /// The same for two tasks only if they say the same.
    content: u64,
}

/// An array under way.
struct Expansion {
    line: usize,
    template: Template,
    next: i64,
    step: i64,
    left: u64,
}

impl TaskStream<BufReader<File>> {
    /// Opens a file. With [`Format::Auto`] it is read once before, for only all lines together tell
    /// whether they have timeouts; something that can be read only once, such as a pipe, is to be
    /// read by [`read_tasks`](crate::read_tasks).
    ///
    /// # Errors
    /// If the file cannot be opened or read.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, TaskFileError> {
        let failed = |source| TaskFileError::Open { path: path.to_owned(), source };
        let open = || File::open(path).map(|file| BufReader::with_capacity(READ_BYTES, file));
        let mut options = *options;
        let mut has_guessed_timeouts = false;
        if options.format == Format::Auto {
            let survey = survey(open().map_err(failed)?, &options)?;
            has_guessed_timeouts = survey.format == Format::Timeout;
        }
        if has_guessed_timeouts {
            options.format = Format::Timeout;
        }
        let mut stream = Self::new(open().map_err(failed)?, &options)?;
        stream.notes.has_guessed_timeouts = has_guessed_timeouts;
        Ok(stream)
    }
}

impl<R: BufRead> TaskStream<R> {
    /// Reads the beginning of a file to see how it is to be read. [`Format::Auto`] takes no number
    /// for a timeout here, since only the whole file could tell; [`Summary::warnings`] says so if
    /// it looks as if there were some.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(reader: R, options: &ReadOptions) -> Result<Self, TaskFileError> {
        let mut lines = Lines::new(reader);
        lines.read_ahead(HEAD_LINES)?;
        let rules = Rules::decide(lines.head(), options);
        Ok(Self {
            lines,
            buffer: Vec::new(),
            rules,
            expansion: None,
            seen: HashMap::new(),
            sequencer: Sequencer::default(),
            votes: Votes::default(),
            notes: Notes::default(),
            has_ended: false,
        })
    }

    /// What there is to tell of the file beside its tasks, so far.
    #[must_use]
    pub fn into_summary(self) -> Summary {
        self.notes.into_summary(&self.rules, self.lines.facts(), &self.votes)
    }

    /// Whether all lines turned out to have timeouts where nobody had said so. Then the tasks have
    /// to be changed, and this is written down.
    pub(crate) fn settle_timeouts(&mut self) -> bool {
        let has_timeouts = self.rules.may_have_timeouts && self.votes.are_unanimous();
        if has_timeouts {
            self.rules.format = Format::Timeout;
            self.notes.has_guessed_timeouts = true;
        }
        has_timeouts
    }

    /// Takes the timeout off a task that was read without, or finds its line bad.
    pub(crate) fn take_timeout(&mut self, draft: &mut TaskDraft) -> bool {
        let separator = self.rules.separator;
        let taken = original::take_timeout(draft, separator);
        if let Err(fault) = &taken {
            let line = draft.text().line(separator.byte()).unwrap_or_default();
            self.notes.bad(draft.line, &line, fault);
        }
        taken.is_ok()
    }

    /// Reads a line, or makes one task of an array. False at the end.
    fn advance(&mut self) -> Result<bool, TaskFileError> {
        if let Some(expansion) = &mut self.expansion {
            let line = expansion.line;
            let index = expansion.next;
            let made = expansion.template.draft(line, Some(index), self.rules.default_timeout);
            expansion.left -= 1;
            // After the last one it is not used any more, and may wrap.
            expansion.next = index.wrapping_add(expansion.step);
            if expansion.left == 0 {
                self.expansion = None;
            }
            if let Err(fault) = made.and_then(|(draft, content)| self.admit(draft, content)) {
                // What is wrong with one of them is likely to be wrong with all.
                self.expansion = None;
                self.notes.bad(line, &self.buffer, &fault);
            }
            return Ok(true);
        }
        let Some(line) = self.lines.next_into(&mut self.buffer)? else { return Ok(false) };
        if let Err(fault) = self.take(line) {
            self.notes.bad(line.number, &self.buffer, &fault);
        }
        Ok(true)
    }

    /// Takes the line that is in the buffer.
    fn take(&mut self, line: Line) -> Result<(), Fault> {
        if line.is_cut {
            return Err(Fault::LineTooLong);
        }
        if self.rules.format != Format::JsonLines {
            let draft = original::draft(line.number, &self.buffer, &self.rules)?;
            self.votes.count(line.number, &draft.command, self.rules.separator);
            let content = content_of(draft.key);
            return self.admit(draft, content);
        }
        let template = Template::read(&self.buffer)?;
        match template.array() {
            Some(array) => {
                let (next, step, left) = (array.from, array.step, array.count);
                let line = line.number;
                self.expansion = Some(Expansion { line, template, next, step, left });
                Ok(())
            }
            None => {
                let (draft, content) =
                    template.draft(line.number, None, self.rules.default_timeout)?;
                self.admit(draft, content)
            }
        }
    }

    /// Lets a task in, unless it is there already.
    fn admit(&mut self, draft: TaskDraft, content: u64) -> Result<(), Fault> {
        match self.seen.entry(draft.key) {
            Entry::Occupied(entry) if entry.get().content == content => {
                self.notes.duplicate(draft.line, entry.get().line);
                return Ok(());
            }
            Entry::Occupied(entry) => return Err(Fault::IdTaken { line: entry.get().line }),
            Entry::Vacant(entry) => {
                entry.insert(Seen { line: draft.line, content });
            }
        }
        self.sequencer.push(draft, |key| self.seen.contains_key(&key));
        Ok(())
    }
}

impl<R: BufRead> Iterator for TaskStream<R> {
    type Item = Result<TaskDraft, TaskFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(draft) = self.sequencer.pop() {
                return Some(Ok(draft));
            }
            if self.has_ended {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => {
                    self.has_ended = true;
                    match self.sequencer.finish() {
                        Ok(strangers) => self.notes.strangers = strangers,
                        Err(cycle) => {
                            self.sequencer = Sequencer::default();
                            return Some(Err(cycle));
                        }
                    }
                }
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

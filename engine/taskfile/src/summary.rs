//! What is told of a file beside its tasks.

use crate::BAD_LINES_KEPT;
use crate::fault::{Fault, shown};
use crate::layout::{Format, Rules, Separator, Votes};
use crate::lines::LineFacts;
use crate::order::Strangers;

/// A line that is not a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// Its beginning, fit for a terminal.
    pub text: String,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.why, self.text)
    }
}

/// What is told of a file beside its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// How the file was read; not `Auto`.
    pub format: Format,
    /// What separated the fields; not `Auto`, and of no meaning for JSON lines.
    pub separator: Separator,
    /// Lines that are not tasks, in their order: the first [`BAD_LINES_KEPT`].
    pub bad: Vec<BadLine>,
    /// How many more there are.
    pub bad_left_out: u64,
    /// Tasks that are the same as earlier ones of the file, and were left out.
    pub duplicates: u64,
    /// What a person should know, one sentence each.
    pub warnings: Vec<String>,
}

/// What is noted while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    bad: Vec<BadLine>,
    bad_left_out: u64,
    duplicates: u64,
    /// The line of the first duplicate, and the one that has the same task.
    first_duplicate: (usize, usize),
    pub(crate) strangers: Strangers,
    /// All lines looked as if they had timeouts, so they were read like that.
    pub(crate) has_guessed_timeouts: bool,
}

impl Notes {
    pub(crate) fn bad(&mut self, line: usize, text: &[u8], fault: &Fault) {
        if self.bad.len() < BAD_LINES_KEPT {
            self.bad.push(BadLine { line, text: shown(text), why: fault.to_string() });
        } else {
            self.bad_left_out += 1;
        }
    }

    pub(crate) fn duplicate(&mut self, line: usize, first: usize) {
        if self.duplicates == 0 {
            self.first_duplicate = (line, first);
        }
        self.duplicates += 1;
    }

    pub(crate) fn into_summary(
        mut self,
        rules: &Rules,
        facts: &LineFacts,
        votes: &Votes,
    ) -> Summary {
        let warnings = self.warnings(rules, facts, votes);
        // Lines whose timeout was taken off at the end were found bad only then.
        self.bad.sort_by_key(|bad| bad.line);
        Summary {
            format: rules.format,
            separator: rules.separator,
            bad: self.bad,
            bad_left_out: self.bad_left_out,
            duplicates: self.duplicates,
            warnings,
        }
    }

    fn warnings(&self, rules: &Rules, facts: &LineFacts, votes: &Votes) -> Vec<String> {
        let mut warnings = Vec::new();
        if facts.has_mark {
            warnings.push("the file begins with a byte order mark, which was left out".to_owned());
        }
        if facts.returns > 0 {
            warnings.push(format!(
                "lines end in CR LF, as Windows writes them ({} lines, the first is line {}); the \
                 CR was taken off",
                facts.returns, facts.first_return
            ));
        }
        if self.duplicates > 0 {
            let (line, first) = self.first_duplicate;
            warnings.push(format!(
                "tasks that are there already were left out ({}, the first in line {line}, which \
                 is the same as line {first}); the same command twice needs lines that differ",
                self.duplicates
            ));
        }
        warnings.extend(self.about_timeouts(rules, votes));
        if let Some((line, id)) = &self.strangers.first {
            warnings.push(format!(
                "tasks come after ids that this file does not have ({}, the first is \"{}\" in \
                 line {line}); the job has to have them already",
                self.strangers.count,
                shown(id.as_bytes())
            ));
        }
        warnings
    }

    fn about_timeouts(&self, rules: &Rules, votes: &Votes) -> Option<String> {
        if self.has_guessed_timeouts {
            return Some(
                "every line has a number for its fifth field, which was read as a timeout in \
                 seconds; if it belongs to the command, read the file as format \"original\""
                    .to_owned(),
            );
        }
        if !rules.may_have_timeouts || votes.with == 0 {
            return None;
        }
        let but = match votes.without {
            0 => String::new(),
            _ => format!(", unlike line {}", votes.first_without),
        };
        Some(format!(
            "line {} has a number for its fifth field{but}, and it was read as a part of the \
             command; if it is a timeout, read the file as format \"timeout\"",
            votes.first_with
        ))
    }
}

//! What came of a job: the summary for people, the document for programs, the exit code.

use super::follow::{Ending, Failure, Failures, KEPT_MAX};
use super::load::Loaded;
use super::rows::grouped;
use super::signals::INTERRUPTED;
use super::text::span;
use punctual_dashboard::documents::CountsDocument;
use punctual_runtime::tasks::{StateCounts, SubmitReport, TaskState};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// Version of the JSON document; it changes when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// Failures in a summary that nobody has heard of before.
const SHOWN_MAX: usize = 5;

/// What came of a job.
pub(super) struct Outcome<'a> {
    pub(super) program: &'static str,
    pub(super) job: &'a str,
    pub(super) submitted: &'a SubmitReport,
    pub(super) loaded: &'a Loaded,
    /// How the waiting for it ended, if it was waited for.
    pub(super) waited: Option<&'a Waited>,
    /// Lines that are no tasks do not count.
    pub(super) allows_bad_lines: bool,
}

/// What came of waiting for a job.
pub(super) struct Waited {
    pub(super) counts: StateCounts,
    pub(super) ending: Ending,
    pub(super) failures: Failures,
    /// Tasks that were at an end before.
    pub(super) before: u64,
    pub(super) wall: Duration,
}

/// The JSON document. What was not waited for is `null`.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    schema: u32,
    program: &'static str,
    job: &'a str,
    /// Tasks of the file that are new to the job,
    added: u64,
    /// that it had already,
    known: u64,
    /// and that were refused.
    refused: u64,
    bad_lines: Vec<BadLineDocument<'a>>,
    bad_lines_left_out: u64,
    /// All tasks of the job, by state.
    tasks: Option<u64>,
    counts: Option<CountsDocument>,
    wall_s: Option<f64>,
    tasks_per_s: Option<f64>,
    was_interrupted: bool,
    failures: &'a [Failure],
    /// Failed tasks beyond those.
    failures_left_out: u64,
}

/// A line that is no task.
#[derive(Debug, Serialize)]
struct BadLineDocument<'a> {
    line: usize,
    why: &'a str,
    text: &'a str,
}

impl Waited {
    /// Tasks that came to their end meanwhile.
    fn ended(&self) -> u64 {
        (self.counts.total() - self.counts.unfinished()).saturating_sub(self.before)
    }

    fn per_second(&self) -> f64 {
        self.ended() as f64 / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn failed(&self) -> u64 {
        self.counts[TaskState::Failed]
    }
}

impl<'a> Outcome<'a> {
    /// What people are told at the end.
    pub(super) fn summary(&self) -> String {
        let submitted = self.submitted;
        let refused = submitted.refused.len() as u64;
        let Some(waited) = self.waited else {
            let mut text = format!(
                "job {}: {} tasks: {} new, {} known",
                self.job,
                grouped(submitted.settled()),
                grouped(submitted.added),
                grouped(submitted.known)
            );
            text += &self.complaints(refused);
            return text + "\n";
        };
        let Waited { counts, wall, .. } = waited;
        let mut text = format!(
            "{} tasks: {} done, {} failed, {} cancelled, {} known before",
            grouped(counts.total()),
            grouped(counts[TaskState::Done]),
            grouped(waited.failed()),
            grouped(counts[TaskState::Cancelled]),
            grouped(submitted.known)
        );
        if counts.unfinished() > 0 {
            text += &format!(", {} not finished", grouped(counts.unfinished()));
        }
        text += &self.complaints(refused);
        text += &format!("; {}, {} tasks/s\n", span(*wall), rate(waited.per_second()));
        // Those that were told as they happened are not told twice.
        if waited.failures.told() == 0 {
            for failure in waited.failures.list().iter().take(SHOWN_MAX) {
                text += &format!("  {failure}\n");
            }
            let more = waited.failed().saturating_sub(SHOWN_MAX as u64);
            if more > 0 {
                text += &format!("  and {} more\n", grouped(more));
            }
        }
        text
    }

    fn complaints(&self, refused: u64) -> String {
        let mut text = String::new();
        if refused > 0 {
            text += &format!(", {} refused", grouped(refused));
        }
        let bad = self.loaded.bad_count();
        if bad > 0 {
            let lines = if bad == 1 { "line is no task" } else { "lines are no tasks" };
            text += &format!(", {} {lines}", grouped(bad));
        }
        text
    }

    /// What programs are told.
    pub(super) fn document(&self) -> Document<'a> {
        let Self { submitted, loaded, waited, .. } = *self;
        let bad_line = |bad: &'a punctual_taskfile::BadLine| BadLineDocument {
            line: bad.line,
            why: &bad.why,
            text: &bad.text,
        };
        let left_out = |waited: &Waited| waited.failed().saturating_sub(KEPT_MAX as u64);
        Document {
            schema: SCHEMA,
            program: self.program,
            job: self.job,
            added: submitted.added,
            known: submitted.known,
            refused: submitted.refused.len() as u64,
            bad_lines: loaded.bad.iter().map(bad_line).collect(),
            bad_lines_left_out: loaded.bad_left_out,
            tasks: waited.map(|waited| waited.counts.total()),
            counts: waited.map(|waited| (&waited.counts).into()),
            wall_s: waited.map(|waited| waited.wall.as_secs_f64()),
            tasks_per_s: waited.map(Waited::per_second),
            was_interrupted: self.was_interrupted(),
            failures: waited.map(|waited| waited.failures.list()).unwrap_or_default(),
            failures_left_out: waited.map_or(0, left_out),
        }
    }

    fn was_interrupted(&self) -> bool {
        self.waited.is_some_and(|waited| waited.ending == Ending::Interrupted)
    }

    /// What the program ends with.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.was_interrupted() {
            return ExitCode::from(INTERRUPTED);
        }
        let is_bad = self.loaded.bad_count() > 0 && !self.allows_bad_lines;
        let is_refused = !self.submitted.refused.is_empty();
        let is_done = self
            .waited
            .is_none_or(|waited| waited.counts[TaskState::Done] == waited.counts.total());
        if is_bad || is_refused || !is_done { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// A rate for people: whole where it is large.
fn rate(per_second: f64) -> String {
    if per_second < 10.0 { format!("{per_second:.2}") } else { grouped(per_second as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(done: u64, failed: u64, ready: u64) -> Waited {
        let mut counts = StateCounts::default();
        counts[TaskState::Done] = done;
        counts[TaskState::Failed] = failed;
        counts[TaskState::Ready] = ready;
        Waited {
            counts,
            ending: if ready > 0 { Ending::Interrupted } else { Ending::Over },
            failures: Failures::default(),
            before: 100,
            wall: Duration::from_secs(2),
        }
    }

    fn outcome<'a>(
        submitted: &'a SubmitReport,
        loaded: &'a Loaded,
        waited: Option<&'a Waited>,
    ) -> Outcome<'a> {
        let (program, job) = ("task run", "sweep");
        Outcome { program, job, submitted, loaded, waited, allows_bad_lines: false }
    }

    #[test]
    fn a_summary_has_the_counts_the_time_and_the_rate() {
        let submitted = SubmitReport { added: 1000, known: 100, refused: Vec::new() };
        let loaded = Loaded::default();
        let waited = waited(1100, 0, 0);
        let outcome = outcome(&submitted, &loaded, Some(&waited));
        assert_eq!(
            outcome.summary(),
            "1,100 tasks: 1,100 done, 0 failed, 0 cancelled, 100 known before; 2.00 s, 500 \
             tasks/s\n"
        );
        let document = serde_json::to_value(outcome.document()).expect("a document");
        assert_eq!(document["tasks_per_s"], 500.0);
        assert_eq!(document["counts"]["done"], 1100);
    }

    #[test]
    fn exit_codes_say_whether_all_went_well() {
        let code = |outcome: &Outcome<'_>| format!("{:?}", outcome.exit_code());
        let code_of = |code: ExitCode| format!("{code:?}");
        let (submitted, loaded) = (SubmitReport::default(), Loaded::default());
        for (waited, expected) in [
            (waited(3, 0, 0), ExitCode::SUCCESS),
            (waited(2, 1, 0), ExitCode::FAILURE),
            (waited(2, 0, 1), ExitCode::from(INTERRUPTED)),
        ] {
            let outcome = outcome(&submitted, &loaded, Some(&waited));
            assert_eq!(code(&outcome), code_of(expected));
        }
        let bad = Loaded { bad_left_out: 1, ..Loaded::default() };
        let mut outcome = outcome(&submitted, &bad, None);
        assert_eq!(code(&outcome), code_of(ExitCode::FAILURE));
        outcome.allows_bad_lines = true;
        assert_eq!(code(&outcome), code_of(ExitCode::SUCCESS));
    }

    #[test]
    fn what_was_submitted_again_is_known() {
        let submitted = SubmitReport { added: 990, known: 10, refused: Vec::new() };
        let loaded = Loaded::default();
        let summary = outcome(&submitted, &loaded, None).summary();
        assert_eq!(summary, "job sweep: 1,000 tasks: 990 new, 10 known\n");
    }
}

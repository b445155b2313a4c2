//! How far a study is: a bar where a terminal shows it, and a line for each run where not.

use crate::commands::output::grouped;
use crate::eprintln_line;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use punctual_study::experiment::Experiment;
use punctual_study::run::Progress;
use std::time::Instant;

/// What the bar looks like.
const TEMPLATE: &str = "{bar:24} {pos}/{len}  {wide_msg}";
const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3_600.0;

/// Shows how a study goes.
pub(super) struct Show {
    bar: ProgressBar,
    began: Instant,
    /// How long a run takes, about, before the first one has told.
    run_s: f64,
    runs: usize,
    done: usize,
    /// The run under way.
    title: String,
}

impl Show {
    pub(super) fn new(experiment: &Experiment) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        // The template is a constant, and the tests have read it.
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        bar.set_style(style);
        let runs = experiment.cells().len() * experiment.repeats as usize;
        let run_s = experiment.estimate().as_secs_f64() / (runs.max(1) as f64);
        Self { bar, began: Instant::now(), run_s, runs, done: 0, title: String::new() }
    }

    pub(super) fn see(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Begins { runs, finished } => {
                self.runs = *runs;
                self.bar.set_length(*runs as u64);
                if *finished > 0 {
                    self.say(&format!("{finished} runs are finished already"));
                }
            }
            Progress::Run { cell, repeat, .. } => {
                self.title = format!("{}, run {repeat}", cell.title());
                self.bar.set_message(format!("{}; about {} left", self.title, self.left()));
            }
            Progress::Good { report } => {
                let throughput = report["throughput_tps"].as_f64();
                let told = throughput.map(|tps| format!("{} txn/s", grouped(tps)));
                self.ended(&told.unwrap_or_else(|| "good".to_owned()), false);
            }
            Progress::Failed { why } => self.ended(&format!("FAILED: {why}"), true),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }

    fn ended(&mut self, how: &str, is_news: bool) {
        self.done += 1;
        self.bar.set_position(self.done as u64);
        // The bar itself tells that a run went well.
        if is_news || self.bar.is_hidden() {
            self.say(&format!("{}/{} {}: {how}", self.done, self.runs, self.title));
        }
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln_line(line));
    }

    /// By what the runs so far took.
    fn left(&self) -> String {
        let run_s = match self.done {
            0 => self.run_s,
            done => self.began.elapsed().as_secs_f64() / (done as f64),
        };
        about(run_s * (self.runs.saturating_sub(self.done) as f64))
    }
}

/// A time in the unit that suits it, roughly.
pub(super) fn about(seconds: f64) -> String {
    if seconds < 2.0 * MINUTE_S {
        format!("{seconds:.0} s")
    } else if seconds < 2.0 * HOUR_S {
        format!("{:.0} min", seconds / MINUTE_S)
    } else {
        format!("{:.1} h", seconds / HOUR_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one() {
        ProgressStyle::with_template(TEMPLATE).expect("a template");
    }

    #[test]
    fn times_are_rough() {
        let texts = [0.4, 119.0, 121.0, 7_000.0, 9_000.0].map(about);
        assert_eq!(texts, ["0 s", "119 s", "2 min", "117 min", "2.5 h"]);
    }
}

//! The progress bar: on standard error, and only where that is a terminal.

use super::text::span;
use crate::eprintln_line;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;

/// What it looks like.
const TEMPLATE: &str = "{bar:30} {human_pos}/{human_len}  {rate}  {left}{wide_msg}";

/// A bar that counts up to a total.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Shows it, unless it is not wanted or nobody would see it.
    pub(super) fn new(total: u64, is_wanted: bool) -> Self {
        if !is_wanted {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        // The template is a constant, and the tests have read it.
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", write_rate)
            .with_key("left", write_left)
            .progress_chars("=> ");
        bar.set_style(style);
        Self(bar)
    }

    /// Whether nobody sees it.
    pub(super) fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }

    /// Sets the total, where it is not known from the beginning.
    pub(super) fn set_total(&self, total: u64) {
        self.0.set_length(total);
    }

    /// Shows how far it is, and a remark.
    pub(super) fn set(&self, position: u64, remark: String) {
        self.0.set_message(remark);
        self.0.set_position(position);
    }

    /// Prints a line above it.
    pub(super) fn say(&self, line: &str) {
        self.0.suspend(|| eprintln_line(line));
    }

    /// Takes it away.
    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}

/// A second at least must be behind a rate.
fn is_known(state: &ProgressState) -> bool {
    state.pos() > 0 && state.elapsed().as_secs() > 0
}

fn write_rate(state: &ProgressState, out: &mut dyn Write) {
    // Writing into a text cannot fail.
    let _ = if is_known(state) {
        write!(out, "{:.0}/s", state.pos() as f64 / state.elapsed().as_secs_f64())
    } else {
        write!(out, "-/s")
    };
}

fn write_left(state: &ProgressState, out: &mut dyn Write) {
    let left = state.len().unwrap_or(0).saturating_sub(state.pos());
    if is_known(state) && left > 0 {
        // By the rate of the whole: the latest one jumps with the length of tasks.
        let time = state.elapsed().mul_f64(left as f64 / state.pos() as f64);
        let _ = write!(out, "{} left", span(time));
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
    fn a_bar_that_nobody_sees_counts_all_the_same() {
        let bar = Bar::new(10, false);
        bar.set_total(20);
        bar.set(7, String::new());
        assert_eq!((bar.0.position(), bar.0.length()), (7, Some(20)));
        bar.finish();
    }
}

//! What is to be known of a run beside its report, and its dashboard.

use crate::commands::http::HttpArgs;
use crate::eprintln_line;
use punctual_dashboard::{Dashboard, Source};
use punctual_load::Progress;

/// Sees how a run goes.
pub(super) struct Observer<'a> {
    workload: &'static str,
    http: &'a HttpArgs,
    dashboard: Option<Dashboard>,
    /// The cores that the engine keeps to.
    cores: Vec<usize>,
    pub(super) has_started: bool,
    pub(super) was_interrupted: bool,
}

impl<'a> Observer<'a> {
    pub(super) fn new(workload: &'static str, http: &'a HttpArgs) -> anyhow::Result<Self> {
        http.check()?;
        let cores = Vec::new();
        Ok(Self {
            workload,
            http,
            dashboard: None,
            cores,
            has_started: false,
            was_interrupted: false,
        })
    }

    pub(super) fn see(&mut self, progress: &Progress) {
        match progress {
            Progress::Started(info) => {
                self.has_started = true;
                self.cores = [&info.shard_cores[..], &info.worker_cores[..]].concat();
            }
            Progress::Counting(counters) => {
                let source = Source::counters(counters);
                match self.http.start(&format!("bench {}", self.workload), &self.cores, source) {
                    Ok(dashboard) => self.dashboard = dashboard,
                    // The run itself does not need it.
                    Err(error) => eprintln_line(&format!("warning: {error:#}")),
                }
            }
            Progress::Interrupted => self.was_interrupted = true,
            _ => {}
        }
    }

    /// There is nothing more to see.
    pub(super) fn end(&mut self) {
        if let Some(dashboard) = self.dashboard.take() {
            dashboard.stop();
        }
    }
}

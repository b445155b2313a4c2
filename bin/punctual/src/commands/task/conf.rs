//! A `conf.json` that is read again while a worker runs.

use super::work::say_oddities;
use crate::eprintln_line;
use punctual_taskfile::OriginalConf;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Looks at a file now and then. All of it is read: a time of change can be too coarse, or that of
/// another machine.
pub(super) struct ConfWatch {
    path: PathBuf,
    interval: Duration,
    looked: Instant,
    /// What it said when it could be read the last time.
    conf: OriginalConf,
    /// What is wrong with it, as far as people know.
    trouble: Option<String>,
}

impl ConfWatch {
    /// Looks at a file that says this now.
    pub(super) fn new(path: PathBuf, interval: Duration, conf: OriginalConf) -> Self {
        Self { path, interval, looked: Instant::now(), conf, trouble: None }
    }

    /// What it says, if that is something new. One that is wrong, such as one that is being saved,
    /// changes nothing, and is read again the next time.
    pub(super) fn look(&mut self, now: Instant) -> Option<&OriginalConf> {
        if now.saturating_duration_since(self.looked) < self.interval {
            return None;
        }
        self.looked = now;
        let conf = match OriginalConf::read(&self.path) {
            Ok(conf) => conf,
            Err(error) => {
                self.tell(format!("{:#}", anyhow::Error::from(error)));
                return None;
            }
        };
        self.trouble = None;
        if conf == self.conf {
            return None;
        }
        say_oddities(&self.path, &conf);
        self.conf = conf;
        Some(&self.conf)
    }

    /// Says what is wrong, once.
    fn tell(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            eprintln_line(&format!("warning: {trouble}; the settings stay as they were"));
            self.trouble = Some(trouble);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_changes_is_noticed_in_time_and_what_is_wrong_changes_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("conf.json");
        let save = |text: &str| fs::write(&path, text).expect("a file");
        save(r#"{"max_task_per_worker": 1}"#);
        let conf = OriginalConf::read(&path).expect("it is fine");
        let interval = Duration::from_secs(20);
        let mut watch = ConfWatch::new(path.clone(), interval, conf);
        let mut now = Instant::now();
        let mut tasks_max = |later: Duration| {
            now += later;
            watch.look(now).map(|conf| conf.tasks_max)
        };
        assert_eq!(tasks_max(interval), None, "nothing has changed");
        save(r#"{"max_task_per_worker": 2}"#);
        assert_eq!(tasks_max(interval / 2), None, "it is not time yet");
        assert_eq!(tasks_max(interval), Some(2));
        assert_eq!(tasks_max(interval), None);
        for wrong in ["", r#"{"max_task_per_worker": 3"#, r#"{"max_task_per_worker": -3}"#] {
            save(wrong);
            assert_eq!(tasks_max(interval), None, "{wrong}");
        }
        fs::remove_file(&path).expect("a file");
        assert_eq!(tasks_max(interval), None, "it is gone");
        save(r#"{"max_task_per_worker": 2}"#);
        assert_eq!(tasks_max(interval), None, "as before");
        save(r#"{"max_task_per_worker": 3}"#);
        assert_eq!(tasks_max(interval), Some(3));
    }
}

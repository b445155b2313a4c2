//! A run as a process of its own: its cores, its memory and its command line are its own too.

use crate::error::{StudyError, writing};
use crate::run::{CellRunner, Ended, Job};
use flume::{Receiver, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often it is looked whether a run has ended. Runs take seconds, and the look is one system
/// call of a thread that sleeps otherwise.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After an interruption: how long a run has to end by the signal that the terminal sent it too,
/// before it is sent one.
const TERM_AFTER: Duration = Duration::from_secs(2);
/// And then, before it is killed.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// Runs cells with a program.
#[derive(Debug)]
pub struct ProcessRunner {
    program: PathBuf,
    interrupted: Receiver<()>,
}

impl ProcessRunner {
    /// Runs cells with this program until a message arrives.
    #[must_use]
    pub fn new(program: PathBuf, interrupted: Receiver<()>) -> Self {
        Self { program, interrupted }
    }

    /// Waits for the end, for an interruption, or until it takes too long.
    fn wait(&self, child: &mut Child, limit: Duration) -> std::io::Result<Ended> {
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                // The terminal interrupts the run, too, and an interrupted bench ends early and
                // well: that must not pass for a whole one.
                return Ok(match self.interrupted.try_recv() {
                    Ok(()) => Ended::Interrupted,
                    Err(_) => Ended::Code(status.code()),
                });
            }
            match self.interrupted.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) => {
                    stop(child, TERM_AFTER)?;
                    return Ok(Ended::Interrupted);
                }
                // Nobody can interrupt any more.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_EVERY),
            }
            if began.elapsed() >= limit {
                stop(child, Duration::ZERO)?;
                return Ok(Ended::TooLong);
            }
        }
    }
}

/// Ends a run whose result nobody wants.
fn stop(child: &mut Child, term_after: Duration) -> std::io::Result<()> {
    let began = Instant::now();
    let mut was_told = false;
    while child.try_wait()?.is_none() {
        let waited = began.elapsed();
        if waited >= KILL_AFTER {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        if waited >= term_after && !was_told {
            was_told = true;
            // It may have ended this moment, which is all that is wanted.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

impl CellRunner for ProcessRunner {
    fn run(&mut self, job: &Job<'_>) -> Result<Ended, StudyError> {
        // One that came between two runs.
        if self.interrupted.try_recv().is_ok() {
            return Ok(Ended::Interrupted);
        }
        let log = File::create(job.log).map_err(writing(job.log))?;
        let same_log = log.try_clone().map_err(writing(job.log))?;
        let start = |source| StudyError::Start { program: self.program.clone(), source };
        let mut child = Command::new(&self.program)
            .args(job.args)
            .arg("--json")
            .arg(job.json)
            .arg("--hdr")
            .arg(job.hdr)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same_log)
            .spawn()
            .map_err(start)?;
        self.wait(&mut child, job.limit).map_err(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn ended(arg: &str, limit: Duration, interrupted: Receiver<()>) -> Ended {
        let runner = ProcessRunner::new(PathBuf::from("sleep"), interrupted);
        let mut child = Command::new("sleep").arg(arg).spawn().expect("a program that waits");
        if arg == "0" {
            child.wait().expect("it ends");
        }
        runner.wait(&mut child, limit).expect("its end")
    }

    #[test]
    fn a_run_that_ended_because_of_an_interruption_does_not_count() {
        let (sender, interrupted) = flume::bounded(1);
        assert_eq!(ended("0", LONG, interrupted.clone()), Ended::Code(Some(0)));
        sender.send(()).expect("somebody listens");
        assert_eq!(ended("0", LONG, interrupted), Ended::Interrupted);
    }

    #[test]
    fn a_run_that_hangs_is_ended() {
        let (_sender, interrupted) = flume::bounded(1);
        assert_eq!(ended("60", Duration::ZERO, interrupted), Ended::TooLong);
    }
}

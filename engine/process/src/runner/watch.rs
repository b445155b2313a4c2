//! What running tasks say: output, and the end.

use super::{LEFT_MAX, ProcessRunner};
use crate::procs;
use crate::run::Run;
use punctual_core::Nanos;
use punctual_core::task::{Exit, RunId};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::Signal;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Events that are taken in a turn; more only mean another turn.
const EVENTS_MAX: usize = 256;
/// How long the outputs of a process that has ended may stay open: what else was in its group has
/// been killed, and takes a moment to die. What then still has them open has left the group.
const OUTPUT_GRACE: Duration = Duration::from_millis(20);
/// Bits of a token that say what it was that has spoken; the others are the run.
const SOURCE_BITS: u32 = 2;

/// What of a run has something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Source {
    Process = 0,
    Stdout = 1,
    Stderr = 2,
}

/// What an event of this source carries. Runs are numbered from the start of a worker, so the bits
/// that are lost at the top are zero.
pub(super) fn token(run: u64, source: Source) -> u64 {
    debug_assert!(run << SOURCE_BITS >> SOURCE_BITS == run, "run {run} does not fit in a token");
    run << SOURCE_BITS | source as u64
}

impl ProcessRunner {
    /// Hears all runs that have something to say. Returns how many did.
    ///
    /// An event is told again until there is nothing left to it, so nothing is lost when an output
    /// is not read to its end in one turn.
    pub(super) fn take_events(&mut self, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); EVENTS_MAX];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = match epoll::wait(&self.events, &mut room, Some(&at_once)) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => return 0,
            Err(error) => {
                tracing::error!(%error, "the tasks cannot be watched");
                return 0;
            }
        };
        let mut work = 0;
        for event in &*ready {
            work += self.hear(event.data.u64(), now, exits);
        }
        work
    }

    fn hear(&mut self, token: u64, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        let id = token >> SOURCE_BITS;
        // A run that ended earlier in the turn has nothing more to say.
        let Some(run) = self.runs.get_mut(&id) else { return 0 };
        let has_ended = token == self::token(id, Source::Process);
        if has_ended {
            // Before it is reaped: as long as its number is taken the group is surely its own.
            run.signal(Signal::KILL);
        }
        run.read(&mut self.buffer);
        if run.is_silent() && (has_ended || run.until().is_some()) {
            self.finish(id, now, exits);
        } else if has_ended && run.until().is_none() {
            run.wait_until(now + Nanos::from(OUTPUT_GRACE));
            // It would be told again and again.
            if let Err(error) = epoll::delete(&self.events, run.pidfd()) {
                tracing::debug!(%error, "the end of a process cannot be unwatched");
            }
            self.ending.push(id);
        }
        1
    }

    /// Ends the runs that have waited long enough for their outputs.
    pub(super) fn finish_overdue(
        &mut self,
        now: Nanos,
        exits: &mut dyn FnMut(RunId, Exit),
    ) -> usize {
        if self.ending.is_empty() {
            return 0;
        }
        let is_due =
            |id: &&u64| self.runs.get(*id).and_then(Run::until).is_some_and(|at| at <= now);
        let due: Vec<u64> = self.ending.iter().filter(is_due).copied().collect();
        if due.is_empty() {
            return 0;
        }
        // Somebody has left the groups and kept outputs open. The sessions are still theirs, as the
        // processes are not reaped yet. One look for all: it takes time.
        kill(&due.iter().filter_map(|id| self.runs.get(id)).map(Run::session).collect());
        for id in &due {
            self.finish(*id, now, exits);
        }
        due.len()
    }

    /// Kills what has left the groups of runs that were killed.
    pub(super) fn sweep(&mut self) {
        if self.sweeps.is_empty() {
            return;
        }
        let sessions = std::mem::take(&mut self.sweeps);
        kill(&sessions);
    }

    /// Reports a run whose process has ended.
    fn finish(&mut self, id: u64, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) {
        let Some(mut run) = self.runs.remove(&id) else { return };
        if run.until().is_some() {
            self.ending.retain(|ending| *ending != id);
        }
        if !run.is_silent() {
            run.read(&mut self.buffer);
        }
        self.sweeps.remove(&run.session());
        if self.left.len() < LEFT_MAX {
            self.left.insert(run.session());
        }
        if let Some(guardian) = &mut self.guardian {
            guardian.remove(run.session());
        }
        exits(RunId(id), run.into_exit(now));
    }
}

/// Kills everything in these sessions.
pub(super) fn kill(sessions: &HashSet<i32>) {
    match procs::kill_sessions(sessions) {
        Ok(0) => {}
        Ok(killed) => tracing::debug!(killed, "processes that had left the group of their task"),
        Err(error) => {
            tracing::debug!(%error, "what has left the groups of the tasks cannot be killed");
        }
    }
}

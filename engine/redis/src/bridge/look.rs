//! Looking for tasks, and claiming them.

use super::Bridge;
use super::desk::Chosen;
use super::todo::Candidate;
use crate::connection::{Connection, Failure};
use crate::layout::{FAILED, Head, IDLE, STOP_ORDER, TODO};
use crate::script::Script;
use punctual_taskfile::parse_line;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

/// Tasks that are claimed in one go.
const CLAIM_MAX: usize = 256;
/// Fields of the queue that are read in one go.
const SCAN_COUNT: usize = 4096;
/// With more tasks than this the original looks at some of them only.
const ORIGINAL_ALL_MAX: i64 = 1000;
/// At so many, drawn at random.
const ORIGINAL_SOME: usize = 20;
/// What the other workers say is looked at again after so many intervals, if it matters.
const CREW_INTERVALS: u32 = 5;

impl Bridge {
    /// Whether tasks are looked for, as soon as a look is due.
    pub(super) fn may_look(&self, now: Instant) -> bool {
        self.desk.is_at_work() && self.desk.outbox.is_empty() && !self.desk.room(now).is_none()
    }

    /// Looks for tasks if that is due, and claims them. Returns how much was done.
    pub(super) fn look(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<usize, Failure> {
        if !self.may_look(now) {
            self.make_way(connection, now)?;
            return Ok(0);
        }
        self.news_at = None;
        if !self.pace.is_due(now) {
            return Ok(0);
        }
        let claimed = match self.config.pipeline {
            true => self.look_at_list(connection, now)?,
            false => self.look_at_queue(connection)?,
        };
        match claimed {
            Some(claimed) => {
                self.pace.found(now);
                self.has_told_idle = false;
                Ok(claimed.max(1))
            }
            None => {
                self.found_nothing(connection, now)?;
                Ok(0)
            }
        }
    }

    /// Notes that there is nothing to claim, and says so if the worker has nothing else to do:
    /// others may have tasks that only wait there.
    fn found_nothing(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Failure> {
        self.pace.nothing(now);
        // News that came too soon after the last reading is looked at as soon as that is allowed.
        if let Some(at) = self.todo.must_wait(now)
            && (self.todo.is_stale() || self.pace.next().is_some_and(|next| next < at))
        {
            self.pace.not_before(at);
        }
        if self.config.pipeline && self.desk.holdings.is_empty() && !self.has_told_idle {
            self.has_told_idle = true;
            let mut command = redis::cmd("PUBLISH");
            command.arg(IDLE).arg(self.desk.name());
            connection.call::<i64>(&command)?;
        }
        Ok(())
    }

    /// Claims from the sorted list, which is made anew if need be. `None` if there is nothing to
    /// claim.
    fn look_at_list(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<Option<usize>, Failure> {
        self.renew_list(connection, now)?;
        if self.desk.is_ordered() {
            return Ok(None);
        }
        let mut room = self.desk.room(now);
        let Self { todo, desk, .. } = self;
        let could_run =
            |it: &Candidate| desk.holdings.could_run(it.head.memory, it.head.cores_milli);
        let candidates = todo.take(&mut room, CLAIM_MAX, could_run);
        let chosen: Vec<Chosen> =
            candidates.into_iter().filter_map(|candidate| self.choose(candidate)).collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        self.claim(connection, now, chosen)
    }

    /// Reads the queue again if it has something that the list does not, and it is time.
    fn renew_list(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Failure> {
        if self.todo.must_wait(now).is_some() {
            return Ok(());
        }
        let length = match self.todo.is_empty() && !self.todo.wants_reading(now, None) {
            true => Some(connection.call::<i64>(redis::cmd("HLEN").arg(TODO))?),
            false => None,
        };
        if self.todo.wants_reading(now, length) {
            self.read_queue(connection)?;
        } else if let Some(length) = length {
            self.todo.on_length(length);
        }
        Ok(())
    }

    /// Reads the whole queue, a piece at a time so that others are served in between.
    fn read_queue(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let began = Instant::now();
        let (mut cursor, mut length) = (0_u64, 0);
        self.desk.stats.readings += 1;
        self.todo.begin();
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(TODO).arg(cursor).arg("COUNT").arg(SCAN_COUNT);
            let (next, fields): (u64, Vec<Vec<u8>>) = connection.call(&command)?;
            for line in fields.into_iter().step_by(2) {
                length += 1;
                if let Some(candidate) = self.candidate(line) {
                    self.todo.offer(candidate);
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        self.todo.end(began, Instant::now(), length);
        Ok(())
    }

    /// A field of the queue as a task, if it is one that could ever run here.
    fn candidate(&mut self, line: Vec<u8>) -> Option<Candidate> {
        if line == STOP_ORDER.as_bytes() {
            self.desk.order_stop();
            return None;
        }
        let Some(mut head) = Head::read(&line, &self.config.options) else {
            self.tell_odd(&line);
            return None;
        };
        if !self.config.count_cores {
            head.cores_milli = 0;
        }
        let could_run = self.desk.holdings.could_run(head.memory, head.cores_milli);
        could_run.then(|| Candidate { line: line.into(), head })
    }

    /// Reads all of a task, before it is claimed: what nobody can run nobody should have.
    fn choose(&mut self, candidate: Candidate) -> Option<Chosen> {
        match parse_line(&candidate.line, &self.config.options) {
            Ok(draft) => Some(Chosen { candidate, draft }),
            Err(_) => {
                self.tell_odd(&candidate.line);
                None
            }
        }
    }

    fn tell_odd(&mut self, line: &[u8]) {
        if !self.has_told_odd {
            self.has_told_odd = true;
            let line = String::from_utf8_lossy(line);
            tracing::warn!(%line, "the queue has lines that are no tasks, such as this; they stay");
        }
    }

    /// Claims tasks. Returns how many could be had, or `None` if all that are there are for others.
    fn claim(
        &mut self,
        connection: &mut Connection,
        now: Instant,
        chosen: Vec<Chosen>,
    ) -> Result<Option<usize>, Failure> {
        if self.crew.is_older_than(now, self.interval() * CREW_INTERVALS) {
            self.look_at_crew(connection, now)?;
        }
        let mut command = connection.script(Script::Claim);
        let gone: Vec<&str> = self.crew.gone(now).collect();
        command.arg(self.desk.name()).arg(STOP_ORDER).arg(gone.len());
        for other in gone {
            command.arg(other);
        }
        for task in &chosen {
            command.arg(&task.candidate.line[..]);
        }
        let reply: Vec<i64> = connection.call(&command)?;
        let [ordered, length, passed, ref pairs @ ..] = reply[..] else { return Ok(None) };
        if ordered == 1 {
            self.desk.order_stop();
            return Ok(None);
        }
        let (asked, taken) = (chosen.len(), pairs.len() / 2);
        let passed = usize::try_from(passed).unwrap_or(0);
        self.todo.on_claim(asked, taken, passed, length);
        let failures: HashMap<i64, i64> =
            pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        for (place, task) in (1..).zip(chosen) {
            if let Some(failures) = failures.get(&place) {
                self.desk.lease(task, *failures, self.config.count_cores);
            }
        }
        Ok((passed < asked).then_some(taken))
    }

    /// As the original: one task, from a fresh look at the queue, or at some of it if it is long.
    fn look_at_queue(&mut self, connection: &mut Connection) -> Result<Option<usize>, Failure> {
        let now = Instant::now();
        let length: i64 = connection.call(redis::cmd("HLEN").arg(TODO))?;
        self.todo.on_length(length);
        if length == 0 {
            return Ok(None);
        }
        let mut command = redis::cmd("HGETALL");
        if length > ORIGINAL_ALL_MAX {
            command = redis::cmd("HRANDFIELD");
            command.arg(TODO).arg(ORIGINAL_SOME).arg("WITHVALUES");
        } else {
            command.arg(TODO);
        }
        let fields: Vec<Vec<u8>> = connection.call(&command)?;
        let lines = fields.into_iter().step_by(2);
        let mut tasks: Vec<Candidate> = lines.filter_map(|line| self.candidate(line)).collect();
        // The original reads this too. What it means for each task is decided where it is claimed.
        connection.call::<Vec<Vec<u8>>>(redis::cmd("HGETALL").arg(FAILED))?;
        tasks.sort_by_key(|task| Reverse(task.head.priority));
        for task in tasks {
            let Head { memory, cores_milli, .. } = task.head;
            let has_room = self.desk.room(now).admit(memory, cores_milli);
            let chosen = if has_room { self.choose(task) } else { None };
            let Some(chosen) = chosen else { continue };
            if self.claim(connection, now, vec![chosen])?.is_some_and(|taken| taken > 0) {
                return Ok(Some(1));
            }
            if self.desk.is_ordered() {
                break;
            }
        }
        Ok(None)
    }

    /// The worker has all that it can have: if there is news, and new tasks are more urgent than
    /// some that only wait there, those go back.
    fn make_way(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Failure> {
        if self.news_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        self.news_at = self.todo.must_wait(now);
        let has_waiting = self.desk.holdings.latest_ahead().next().is_some();
        if self.news_at.is_some() || !self.config.pipeline || !has_waiting {
            return Ok(());
        }
        self.renew_list(connection, now)?;
        self.desk.recall_outranked(self.todo.priorities());
        Ok(())
    }
}

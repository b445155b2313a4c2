//! What the worker has, and whether Redis agrees.
//!
//! Others may change what is in Redis: a manager moves tasks about or clears everything, and a
//! server that crashed may have forgotten its last second. So the bridge looks now and then whether
//! the tasks of its worker are still its own, and compares everything after a connection was lost.

use super::Bridge;
use super::outbox::Op;
use crate::connection::{Connection, Failure};
use crate::layout::{IN_PROGRESS, NEWS, STATUS, STOP_ORDER, TODO, unix_now};
use crate::script::Script;
use punctual_wire::task::TaskId;
use redis::Cmd;
use std::collections::HashSet;
use std::time::Instant;

/// Tasks that are looked after with each sign of life.
const CHECKED_MAX: usize = 256;
/// Things that Redis is told in one go, and their bytes.
const FLUSH_MAX: usize = 256;
const FLUSH_BYTES_MAX: usize = 4 << 20;
/// Such batches in a turn.
const FLUSHES_MAX: usize = 16;
/// Tasks that are claimed again in one go.
const REGAINED_MAX: usize = 512;

impl Bridge {
    /// Tells Redis what came of tasks. Returns how much that was.
    pub(super) fn flush(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<usize, Failure> {
        let mut told = 0;
        let count_max = if self.config.pipeline { FLUSH_MAX } else { 1 };
        for _ in 0..FLUSHES_MAX {
            let batch = self.desk.outbox.batch(count_max, FLUSH_BYTES_MAX);
            let commands: Vec<Cmd> =
                batch.into_iter().map(|op| self.command_of(connection, op)).collect();
            if commands.is_empty() {
                break;
            }
            let done = connection.sum(&commands)?;
            // The others were not the worker's any more, or were told before.
            self.desk.stats.stale += (commands.len() as u64).saturating_sub(done);
            self.desk.outbox.confirm(now, commands.len());
            told += commands.len();
        }
        Ok(told)
    }

    fn command_of(&self, connection: &Connection, op: &Op) -> Cmd {
        let name = self.desk.name();
        match op {
            Op::Finish { line, value } => {
                let mut command = connection.script(Script::Finish);
                command.arg(name).arg(&line[..]).arg(value.as_str());
                command
            }
            Op::Fail { line, reason } => {
                let failures_max = self.desk.limits().attempts_max;
                let mut command = connection.script(Script::Fail);
                command.arg(name).arg(&line[..]).arg(reason.as_str()).arg(failures_max).arg(NEWS);
                command
            }
            Op::GiveBack { line } => connection.give_back(name.as_bytes(), line),
        }
    }

    /// Looks after what the worker has, with each of its signs of life.
    pub(super) fn look_after_leases(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), Failure> {
        let (tasks, next) = self.desk.holdings.some_from(self.check_from, CHECKED_MAX);
        self.check_from = next;
        let mut command = redis::cmd("HMGET");
        command.arg(IN_PROGRESS);
        for task in &tasks {
            let line = self.desk.holdings.get(*task).map_or(&[][..], |held| &held.line[..]);
            command.arg(line);
        }
        if !tasks.is_empty() {
            let owners: Vec<Option<Vec<u8>>> = connection.call(&command)?;
            let name = self.desk.name().as_bytes();
            let is_lost = |owner: &Option<Vec<u8>>| owner.as_deref() != Some(name);
            let lost = tasks.into_iter().zip(owners).filter(|(_, owner)| is_lost(owner));
            let lost: Vec<TaskId> = lost.map(|(task, _)| task).collect();
            self.regain(connection, &lost)?;
        }
        let ordered = connection.call::<i64>(redis::cmd("HEXISTS").arg(TODO).arg(STOP_ORDER))?;
        if ordered == 1 {
            self.desk.order_stop();
        }
        if self.desk.holdings.ahead() > 0 {
            self.lend(connection, now)?;
        }
        Ok(())
    }

    /// Takes tasks again that went back to the queue while the worker has them; those that have
    /// gone elsewhere are stopped.
    fn regain(&mut self, connection: &mut Connection, lost: &[TaskId]) -> Result<(), Failure> {
        let held = lost.iter().filter_map(|task| Some((*task, self.desk.holdings.get(*task)?)));
        let held: Vec<(TaskId, Box<[u8]>)> =
            held.map(|(task, held)| (task, held.line.clone())).collect();
        if held.is_empty() {
            return Ok(());
        }
        let lines = held.iter().map(|(_, line)| &line[..]);
        let regained = self.claim_again(connection, lines)?;
        for (task, line) in held {
            if !regained.contains(&line) {
                self.desk.cancel(task);
            }
        }
        Ok(())
    }

    /// Claims tasks that were the worker's, whoever they failed at. Returns which could be had.
    fn claim_again<'a>(
        &self,
        connection: &mut Connection,
        lines: impl Iterator<Item = &'a [u8]>,
    ) -> Result<HashSet<Box<[u8]>>, Failure> {
        let lines: Vec<&[u8]> = lines.collect();
        let mut regained: HashSet<Box<[u8]>> = HashSet::new();
        for batch in lines.chunks(REGAINED_MAX) {
            let mut command = connection.script(Script::Claim);
            // Neither an order to stop matters nor who failed: this is no new work.
            command.arg(self.desk.name()).arg("").arg(-1);
            for line in batch {
                command.arg(*line);
            }
            let reply: Vec<i64> = connection.call(&command)?;
            for pair in reply.get(3..).unwrap_or_default().chunks_exact(2) {
                let place = usize::try_from(pair[0] - 1).ok();
                let line = place.and_then(|place| batch.get(place));
                regained.extend(line.map(|line| Box::<[u8]>::from(*line)));
            }
        }
        Ok(regained)
    }

    /// Compares what Redis says with what is here, after a connection was lost.
    pub(super) fn reconcile(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let name = self.desk.name().to_owned();
        let fields: Vec<Vec<u8>> = connection.call(redis::cmd("HGETALL").arg(IN_PROGRESS))?;
        let pairs = fields.chunks_exact(2);
        let mine = pairs.filter(|pair| pair[1] == name.as_bytes()).map(|pair| &pair[0][..]);
        let mine: HashSet<&[u8]> = mine.collect();

        // What Redis does not know to be ours: it forgot the claim, or somebody moved it.
        let holdings = self.desk.holdings.iter();
        let lost = holdings.filter(|(_, held)| !mine.contains(&held.line[..]));
        let lost: Vec<TaskId> = lost.map(|(task, _)| task).collect();
        let finished = self.desk.outbox.iter().filter(|op| matches!(op, Op::Finish { .. }));
        let finished = finished.map(Op::line).filter(|line| !mine.contains(line));
        self.claim_again(connection, finished)?;
        self.regain(connection, &lost)?;

        // What Redis thinks to be ours, and nobody has: it forgot how it ended, or we never heard
        // that we got it.
        let own = self.desk.lines();
        let mut orphans = mine;
        orphans.retain(|line| !own.contains(*line));
        let mut commands = Vec::new();
        for op in self.desk.outbox.recent() {
            if orphans.remove(op.line()) {
                commands.push(self.command_of(connection, op));
            }
        }
        commands.extend(orphans.iter().map(|line| connection.give_back(name.as_bytes(), line)));
        self.desk.stats.recovered += connection.sum(&commands)?;
        Ok(())
    }

    /// Looks at what the other workers say.
    pub(super) fn look_at_crew(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), Failure> {
        let fields: Vec<Vec<u8>> = connection.call(redis::cmd("HGETALL").arg(STATUS))?;
        let interval = self.interval();
        if self.crew.look(now, unix_now(), interval, fields, self.desk.name()) {
            // Tasks that were for others may be for us now.
            self.todo.mark_stale();
        }
        Ok(())
    }

    /// Gives tasks that wait at the worker to others that have nothing to do.
    pub(super) fn lend(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), Failure> {
        let ahead = self.desk.holdings.latest_ahead().count();
        if ahead == 0 {
            return Ok(());
        }
        let length: i64 = connection.call(redis::cmd("HLEN").arg(TODO))?;
        self.todo.on_length(length);
        if length > 0 {
            // Whoever has nothing to do finds something there.
            return Ok(());
        }
        let busy: Vec<Vec<u8>> = connection.call(redis::cmd("HVALS").arg(IN_PROGRESS))?;
        let busy: HashSet<Vec<u8>> = busy.into_iter().collect();
        self.look_at_crew(connection, now)?;
        let idle = self.crew.alive(now).filter(|name| !busy.contains(name.as_bytes())).count();
        if idle > 0 {
            let count = (ahead * idle).div_ceil(idle + 1);
            self.desk.recall_latest(now, count);
        }
        Ok(())
    }
}

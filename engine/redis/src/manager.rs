//! What the original's manager does, and what measuring needs.

mod report;

pub use report::{CleanupReport, FarmTasks, FarmWorker, LoadReport, RedisTask};

use crate::connection::{Connection, Failure};
use crate::layout::{
    FAILED, FINISHED, GONE_INTERVALS, IN_PROGRESS, KEYS, NEWS, REASONS, STATUS, STOP_ORDER, Status,
    TODO, is_original, unix_now,
};
use crate::script::Script;
use crate::{RedisAddress, RedisError};
use redis::Cmd;
use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::Duration;

/// An answer that takes longer does not come any more. Some are very long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Tasks in one go.
const BATCH: usize = 500;
/// Fields of a hash in one go.
const SCAN_COUNT: usize = 4096;
/// Workers that seem dead are watched for so many intervals, and a part of one.
const WATCHED_INTERVALS: u32 = 2;

/// The hashes whose fields are tasks.
const OF_TASKS: [&str; 5] = [TODO, IN_PROGRESS, FINISHED, FAILED, REASONS];

/// Fields and values of a hash.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A connection of a manager.
pub struct RedisManager {
    address: RedisAddress,
    report_interval: Duration,
    connection: Connection,
}

impl RedisManager {
    /// Connects. `report_interval` is how often workers say that they live.
    ///
    /// # Errors
    /// When the Redis cannot be reached, or will not have us.
    pub fn open(address: RedisAddress, report_interval: Duration) -> Result<Self, RedisError> {
        let connection =
            Connection::open(&address, PATIENCE).map_err(|failure| failure.of_opening(&address))?;
        Ok(Self { address, report_interval, connection })
    }

    /// Forgets all tasks and workers. With `everything` all databases of the server are emptied, as
    /// the original does.
    ///
    /// # Errors
    /// When Redis cannot be asked, or does not do it. So with all the others.
    pub fn init(&mut self, everything: bool) -> Result<(), RedisError> {
        self.ask(|connection| {
            if everything {
                // The scripts stay, and the connection with them.
                return connection.call::<()>(&redis::cmd("FLUSHALL"));
            }
            connection.call::<i64>(redis::cmd("DEL").arg(&KEYS[..])).map(|_| ())
        })
    }

    /// Adds tasks, except those that are there already: in any state but failed.
    ///
    /// # Errors
    /// As above. What was loaded before the error stays, and can be loaded again.
    pub fn load(
        &mut self,
        tasks: impl IntoIterator<Item = RedisTask>,
    ) -> Result<LoadReport, RedisError> {
        let mut report = LoadReport::default();
        let mut lines = Vec::with_capacity(BATCH);
        for RedisTask { line, draft } in tasks {
            report.loaded += 1;
            // Nobody would wait for the others.
            if !draft.after.is_empty() {
                report.refused += 1;
                continue;
            }
            report.ours_only += u64::from(!is_original(&line));
            lines.push(line);
            if lines.len() == BATCH {
                report.added += self.load_lines(&lines)?;
                lines.clear();
            }
        }
        report.added += self.load_lines(&lines)?;
        Ok(report)
    }

    /// All tasks.
    ///
    /// # Errors
    /// As above.
    pub fn check(&mut self) -> Result<FarmTasks, RedisError> {
        let hashes = self.ask(|connection| connection.hashes(&OF_TASKS))?;
        let mut hashes = hashes.into_iter().map(|fields| {
            let mut pairs = pairs(fields);
            pairs.sort_unstable();
            pairs
        });
        let mut next = || hashes.next().unwrap_or_default();
        let mut todo: Vec<Vec<u8>> = next().into_iter().map(|(line, _)| line).collect();
        let all = todo.len();
        todo.retain(|line| line != STOP_ORDER.as_bytes());
        Ok(FarmTasks {
            is_stopping: todo.len() < all,
            todo,
            in_progress: next(),
            finished: next(),
            failed: next(),
            reasons: next(),
        })
    }

    /// All workers, by name.
    ///
    /// # Errors
    /// As above.
    pub fn workers(&mut self) -> Result<Vec<FarmWorker>, RedisError> {
        let mut running: HashMap<Vec<u8>, u64> = HashMap::new();
        for (_, worker) in self.hash(IN_PROGRESS)? {
            *running.entry(worker).or_insert(0) += 1;
        }
        let finished = self.finished_by_worker()?;
        let now = unix_now();
        let mut workers = Vec::new();
        for (name, said) in self.hash(STATUS)? {
            let Status { time, cores_used, cores_total, memory_used, memory_total } =
                Status::read(&said).unwrap_or_default();
            workers.push(FarmWorker {
                seconds_ago: now.saturating_sub(time),
                cores_used,
                cores_total,
                memory_used,
                memory_total,
                running: running.get(&name).copied().unwrap_or(0),
                finished: finished.get(&name).copied().unwrap_or(0),
                name: String::from_utf8_lossy(&name).into_owned(),
            });
        }
        workers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(workers)
    }

    /// Strikes off workers that were not heard of for twenty intervals of their reports; their
    /// tasks wait again. Takes two intervals more if there seem to be any, to be sure.
    ///
    /// # Errors
    /// As above.
    pub fn cleanup(&mut self) -> Result<CleanupReport, RedisError> {
        let mut report = CleanupReport::default();
        let silent = self.silent_workers()?;
        if silent.is_empty() {
            return Ok(report);
        }
        // Their clocks may be wrong: whoever says something else after a while lives.
        thread::sleep(self.report_interval * WATCHED_INTERVALS + self.report_interval / 2);
        let mut gone = Vec::new();
        for (name, said) in silent {
            let dismissed = self.ask(|connection| {
                let mut command = connection.script(Script::Dismiss);
                command.arg(&name[..]).arg(&said[..]);
                connection.call::<i64>(&command)
            })?;
            let shown = String::from_utf8_lossy(&name).into_owned();
            if dismissed == 1 {
                report.dismissed.push(shown);
                gone.push(name);
            } else {
                report.wrong_clocks.push(shown);
            }
        }
        let mut tasks = self.hash(IN_PROGRESS)?;
        tasks.retain(|(_, worker)| gone.contains(worker));
        report.moved = self.give_back(&tasks)?;
        Ok(report)
    }

    /// Forgets tasks that succeeded. Returns how many.
    ///
    /// # Errors
    /// As above.
    pub fn remove_finished(&mut self) -> Result<u64, RedisError> {
        self.ask(|connection| {
            let count = connection.call::<i64>(redis::cmd("HLEN").arg(FINISHED))?;
            connection.call::<i64>(redis::cmd("DEL").arg(FINISHED))?;
            Ok(count.unsigned_abs())
        })
    }

    /// Lets tasks wait that run, whether their workers live or not. Returns how many.
    ///
    /// # Errors
    /// As above.
    pub fn requeue_in_progress(&mut self) -> Result<u64, RedisError> {
        let tasks = self.hash(IN_PROGRESS)?;
        self.give_back(&tasks)
    }

    /// Lets tasks wait that failed, as if they never had. Returns how many.
    ///
    /// # Errors
    /// As above.
    pub fn requeue_failed(&mut self) -> Result<u64, RedisError> {
        let tasks = self.hash(FAILED)?;
        let mut moved = 0;
        for batch in tasks.chunks(BATCH) {
            let count = self.ask(|connection| {
                let mut command = connection.script(Script::Retry);
                for (line, _) in batch {
                    command.arg(&line[..]);
                }
                connection.call::<i64>(&command)
            })?;
            moved += count.unsigned_abs();
        }
        if moved > 0 {
            self.tell_news()?;
        }
        Ok(moved)
    }

    /// All workers finish what they run, and end.
    ///
    /// # Errors
    /// As above.
    pub fn stop_workers(&mut self) -> Result<(), RedisError> {
        self.ask(|connection| {
            let mut command = redis::cmd("HSET");
            command.arg(TODO).arg(STOP_ORDER).arg("");
            connection.call::<i64>(&command).map(|_| ())
        })?;
        self.tell_news()
    }

    /// Takes such an order back, without which no worker would do anything. Returns whether there
    /// was one.
    ///
    /// # Errors
    /// As above.
    pub fn allow_workers(&mut self) -> Result<bool, RedisError> {
        let mut command = redis::cmd("HDEL");
        command.arg(TODO).arg(STOP_ORDER);
        self.ask(|connection| connection.call::<i64>(&command).map(|count| count == 1))
    }

    /// The hashes of the farm that have something in them, and how many fields each has.
    ///
    /// # Errors
    /// As above.
    pub fn occupied(&mut self) -> Result<Vec<(&'static str, u64)>, RedisError> {
        let mut occupied = Vec::new();
        for key in KEYS {
            let command = redis::cmd("HLEN").arg(key).clone();
            let length = self.ask(|connection| connection.call::<i64>(&command))?;
            if length > 0 {
                occupied.push((key, length.unsigned_abs()));
            }
        }
        Ok(occupied)
    }

    /// Forgets these tasks, whatever has become of them, and leaves all others alone. What runs of
    /// them goes on, and nothing comes of it.
    ///
    /// # Errors
    /// As above.
    pub fn forget(&mut self, lines: &[Vec<u8>]) -> Result<(), RedisError> {
        for batch in lines.chunks(BATCH) {
            let command = |key: &&str| redis::cmd("HDEL").arg(*key).arg(batch).clone();
            let commands: Vec<Cmd> = OF_TASKS.iter().map(command).collect();
            self.ask(|connection| connection.sum(&commands))?;
        }
        Ok(())
    }
}

/// What the verbs are made of.
impl RedisManager {
    /// Asks for something.
    fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, RedisError> {
        let answer = ask(&mut self.connection);
        answer.map_err(|failure| failure.of_asking(&self.address))
    }

    /// Gives tasks back to the queue: lines, and the worker whose each is. Returns how many were.
    fn give_back(&mut self, tasks: &[(Vec<u8>, Vec<u8>)]) -> Result<u64, RedisError> {
        self.ask(|connection| {
            let calls = tasks.iter().map(|(line, worker)| connection.give_back(worker, line));
            let commands: Vec<Cmd> = calls.collect();
            connection.sum(&commands)
        })
    }

    fn tell_news(&mut self) -> Result<(), RedisError> {
        self.ask(|connection| {
            connection.call::<i64>(redis::cmd("PUBLISH").arg(NEWS).arg("")).map(|_| ())
        })
    }

    fn hash(&mut self, key: &str) -> Result<Pairs, RedisError> {
        let fields =
            self.ask(|connection| connection.call::<Vec<Vec<u8>>>(redis::cmd("HGETALL").arg(key)))?;
        Ok(pairs(fields))
    }

    /// Tasks that each worker finished. What they wrote may be long, so it is not kept.
    fn finished_by_worker(&mut self) -> Result<HashMap<Vec<u8>, u64>, RedisError> {
        let mut counts = HashMap::new();
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(FINISHED).arg(cursor).arg("COUNT").arg(SCAN_COUNT);
            let (next, fields) =
                self.ask(|connection| connection.call::<(u64, Vec<Vec<u8>>)>(&command))?;
            for value in fields.iter().skip(1).step_by(2) {
                let name = value.split(|byte| *byte == b':').next().unwrap_or_default();
                *counts.entry(name.to_vec()).or_insert(0) += 1;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(counts);
            }
        }
    }

    /// Loads lines that a worker could run. Returns how many are new.
    fn load_lines(&mut self, lines: &[Vec<u8>]) -> Result<u64, RedisError> {
        if lines.is_empty() {
            return Ok(0);
        }
        let added = self.ask(|connection| {
            let mut command = connection.script(Script::Load);
            for line in lines {
                command.arg(&line[..]);
            }
            connection.call::<i64>(&command)
        })?;
        if added > 0 {
            self.tell_news()?;
        }
        Ok(added.unsigned_abs())
    }

    /// Workers that seem dead by the clock, and what they said.
    fn silent_workers(&mut self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, RedisError> {
        let gone = (self.report_interval * GONE_INTERVALS).as_secs_f64();
        let now = unix_now();
        let is_silent = |said: &[u8]| match Status::time_of(said) {
            Some(time) => now.saturating_sub(time) as f64 > gone,
            // Whoever says nothing that can be read is watched all the same.
            None => true,
        };
        let all = self.hash(STATUS)?.into_iter();
        Ok(all.filter(|(_, said)| is_silent(said)).collect())
    }
}

/// Fields and values, which come in turn.
fn pairs(fields: Vec<Vec<u8>>) -> Pairs {
    let mut fields = fields.into_iter();
    let next = || Some((fields.next()?, fields.next()?));
    std::iter::from_fn(next).collect()
}

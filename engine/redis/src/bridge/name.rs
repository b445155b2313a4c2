//! The worker's name in Redis, and its signs of life.
//!
//! Tasks belong to whoever has the name, so two workers must not have the same one, which on one
//! host would be the rule. A name is free if nobody has it, or if whoever had it says nothing any
//! more: what a worker says contains the time, so it lives if that changes. By the same token a
//! worker that was silent for long, because its machine was, first looks whether it still has its
//! name.

use super::Bridge;
use super::todo::Todo;
use crate::connection::{Connection, Failure};
use crate::layout::{GONE_INTERVALS, IN_PROGRESS, STATUS, Status, unix_now};
use crate::script::Script;
use punctual_wire::CloseReason;
use redis::Cmd;
use std::time::{Duration, Instant};

/// Whoever says nothing for so many intervals while we watch has died.
const WATCHED_INTERVALS: u32 = 2;
/// Looks in an interval while a name is watched.
const LOOKS: u32 = 4;
/// A report interval is at least this long.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Alive,
    Dead,
    /// It is too early to tell.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Naming {
    wish: String,
    /// What is put behind it, if that is not 1.
    number: u32,
    /// What the owner of the name says, and since when.
    watched: Option<(Vec<u8>, Instant)>,
    next_try: Instant,
    /// What was said last, and the time in it.
    said: String,
    said_time: i64,
    /// When it was said, by our clock.
    said_at: Option<Instant>,
    beat_at: Instant,
}

impl Naming {
    pub(super) fn new(wish: String, now: Instant) -> Self {
        Self {
            wish,
            number: 1,
            watched: None,
            next_try: now,
            said: String::new(),
            said_time: 0,
            said_at: None,
            beat_at: now,
        }
    }

    /// When a name is to be looked for again.
    pub(super) fn next_try(&self) -> Instant {
        self.next_try
    }

    /// When the next sign of life is due.
    pub(super) fn beat_at(&self) -> Instant {
        self.beat_at
    }

    fn candidate(&self) -> String {
        match self.number {
            1 => self.wish.clone(),
            number => format!("{}-{number}", self.wish),
        }
    }

    /// Goes on to the next name.
    fn skip(&mut self, now: Instant) {
        self.number += 1;
        self.watched = None;
        self.next_try = now;
    }

    /// Whether the owner of a name lives, who says this.
    fn judge(&mut self, now: Instant, unix: i64, interval: Duration, said: Vec<u8>) -> Verdict {
        if !self.said.is_empty() && said == self.said.as_bytes() {
            // We said that ourselves, and lost the connection before anything came of it.
            return Verdict::Dead;
        }
        let gone = i64::try_from((interval * GONE_INTERVALS).as_secs()).unwrap_or(i64::MAX);
        if Status::time_of(&said).is_some_and(|time| unix.saturating_sub(time) > gone) {
            return Verdict::Dead;
        }
        match &self.watched {
            Some((before, _)) if *before != said => Verdict::Alive,
            Some((_, since)) => {
                let is_over = now.saturating_duration_since(*since) >= interval * WATCHED_INTERVALS;
                if is_over { Verdict::Dead } else { Verdict::Unknown }
            }
            None => {
                self.watched = Some((said, now));
                Verdict::Unknown
            }
        }
    }

    fn note(&mut self, now: Instant, interval: Duration, status: &Status) {
        self.said = status.to_string();
        self.said_time = status.time;
        self.said_at = Some(now);
        self.beat_at = now + interval;
    }
}

impl Bridge {
    pub(super) fn interval(&self) -> Duration {
        self.desk.limits().report_interval.max(INTERVAL_MIN)
    }

    fn status(&self) -> Status {
        let (cores_milli, memory) = self.desk.usage();
        Status::new(unix_now(), cores_milli, memory)
    }

    /// Does the next step towards a name. Returns how much was done.
    pub(super) fn find_name(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<usize, Failure> {
        if now < self.naming.next_try {
            return Ok(0);
        }
        let (name, interval, status) = (self.naming.candidate(), self.interval(), self.status());
        let said: Option<Vec<u8>> =
            connection.call(redis::cmd("HGET").arg(STATUS).arg(name.as_str()))?;
        let got = match said {
            None => {
                let mut command = redis::cmd("HSETNX");
                command.arg(STATUS).arg(name.as_str()).arg(status.to_string());
                connection.call::<i64>(&command)?
            }
            Some(said) => {
                let time = Status::time_of(&said).unwrap_or(0);
                match self.naming.judge(now, status.time, interval, said) {
                    Verdict::Alive => {
                        tracing::info!(%name, "a worker that lives has this name");
                        self.naming.skip(now);
                        return Ok(1);
                    }
                    Verdict::Unknown => {
                        self.naming.next_try = now + interval / LOOKS;
                        return Ok(0);
                    }
                    Verdict::Dead => {
                        let command = beat_of(connection, &name, &status, time);
                        connection.call::<i64>(&command)?
                    }
                }
            }
        };
        if got == 1 {
            self.naming.note(now, interval, &status);
            self.take_name(connection, &name)?;
        }
        // Else somebody was faster, and will be looked at.
        Ok(1)
    }

    /// Begins under a name: what an earlier worker of that name left behind goes back.
    fn take_name(&mut self, connection: &mut Connection, name: &str) -> Result<(), Failure> {
        let fields: Vec<Vec<u8>> = connection.call(redis::cmd("HGETALL").arg(IN_PROGRESS))?;
        let is_left = |pair: &&[Vec<u8>]| pair[1] == name.as_bytes();
        let left = fields.chunks_exact(2).filter(is_left);
        let commands: Vec<Cmd> =
            left.map(|pair| connection.give_back(name.as_bytes(), &pair[0])).collect();
        let recovered = connection.sum(&commands)?;
        if recovered > 0 {
            tracing::info!(name, recovered, "tasks of an earlier worker of this name went back");
        }
        self.desk.stats.recovered += recovered;
        self.todo = Todo::new(name);
        self.is_unsure = false;
        self.desk.set_name(name);
        Ok(())
    }

    /// Says that the worker lives, and looks after what it has. Returns whether it still has its
    /// name.
    pub(super) fn beat(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<bool, Failure> {
        let (interval, status) = (self.interval(), self.status());
        let name = self.desk.name().to_owned();
        // Nobody takes a name within two intervals.
        let silence = self.naming.said_at.map(|at| now.saturating_duration_since(at));
        let is_sure = !self.is_unsure && silence.is_some_and(|silence| silence * 2 < interval * 3);
        if is_sure {
            let mut command = redis::cmd("HSET");
            command.arg(STATUS).arg(name.as_str()).arg(status.to_string());
            connection.call::<i64>(&command)?;
        } else {
            let command = beat_of(connection, &name, &status, self.naming.said_time);
            if connection.call::<i64>(&command)? == 0 {
                self.lose_name(now, &name);
                return Ok(false);
            }
        }
        self.naming.note(now, interval, &status);
        if !self.desk.holdings.is_empty() && !self.is_unsure {
            self.look_after_leases(connection, now)?;
        }
        Ok(true)
    }

    /// Somebody else has the name now, and has sent back what was under it. All that runs is to be
    /// stopped.
    fn lose_name(&mut self, now: Instant, name: &str) {
        tracing::warn!(
            name,
            "this worker was not heard of for too long, and another one took its name: its tasks \
             are stopped, and it goes on under another name"
        );
        self.desk.on_name_lost();
        self.part_with_worker(CloseReason::LeaseExpired);
        self.is_unsure = false;
        self.naming.skip(now);
    }

    /// Strikes the worker off.
    pub(super) fn dismiss(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let mut command = connection.script(Script::Dismiss);
        command.arg(self.desk.name()).arg(self.naming.said.as_str());
        connection.call::<i64>(&command).map(|_| ())
    }
}

/// The call that says that a worker lives, unless somebody has said so since `time`.
fn beat_of(connection: &Connection, name: &str, status: &Status, time: i64) -> Cmd {
    let mut command = connection.script(Script::Beat);
    command.arg(name).arg(status.to_string()).arg(time);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);
    const UNIX: i64 = 1_700_000_000;

    fn judge(naming: &mut Naming, now: Instant, said: &str) -> Verdict {
        naming.judge(now, UNIX, INTERVAL, said.as_bytes().to_vec())
    }

    #[test]
    fn whoever_says_something_new_lives_and_gets_to_keep_the_name() {
        let now = Instant::now();
        let mut naming = Naming::new("node1".to_owned(), now);
        assert_eq!(judge(&mut naming, now, "1700000000:0:1:0:1"), Verdict::Unknown);
        assert_eq!(judge(&mut naming, now, "1700000000:0:1:0:1"), Verdict::Unknown);
        assert_eq!(judge(&mut naming, now, "1700000002:0:1:0:1"), Verdict::Alive);
        naming.skip(now);
        assert_eq!(naming.candidate(), "node1-2");
        assert_eq!(naming.watched, None);
    }

    #[test]
    fn whoever_is_silent_for_two_intervals_or_was_for_twenty_is_dead() {
        let now = Instant::now();
        let mut naming = Naming::new("node1".to_owned(), now);
        let said = "1700000000:0:1:0:1";
        assert_eq!(judge(&mut naming, now, said), Verdict::Unknown);
        let almost = now + INTERVAL * 2 - Duration::from_millis(1);
        assert_eq!(judge(&mut naming, almost, said), Verdict::Unknown);
        assert_eq!(judge(&mut naming, now + INTERVAL * 2, said), Verdict::Dead);
        let mut naming = Naming::new("node1".to_owned(), now);
        assert_eq!(judge(&mut naming, now, "1699999959:0:1:0:1"), Verdict::Dead);
        assert_eq!(naming.candidate(), "node1");
    }
}

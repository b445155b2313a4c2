//! A Redis of the test's own, and bare commands to it.

use crate::support::{PATIENCE, skip, until};
use punctual_redis::RedisAddress;
use redis::FromRedisValue;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Another process may take a port between its choice and its use; then another one is chosen.
const TRIES: usize = 10;

/// What the clock of a worker showed that is long gone.
pub(crate) const LONG_AGO: i64 = 1_000_000_000;
/// What a clock shows that is far ahead, so that its worker seems to live.
pub(crate) const AHEAD: i64 = 9_999_999_999;

pub(crate) struct Server {
    dir: TempDir,
    port: u16,
    options: Vec<&'static str>,
    child: Child,
}

impl Server {
    /// A server that keeps everything in memory. `None`: there is none on this machine, and the
    /// test is skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// A server that writes down what it confirms before it does.
    pub(crate) fn durable() -> Option<Self> {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn with(options: &[&'static str]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = options.to_vec();
        for _ in 0..TRIES {
            let port = free_port();
            let Some(mut child) = spawn(&dir, port, &options) else {
                skip("redis-server not found, install redis-server");
                return None;
            };
            if comes_up(&mut child, port) {
                return Some(Self { dir, port, options, child });
            }
        }
        panic!("no port was free, {TRIES} times");
    }

    pub(crate) fn address(&self) -> RedisAddress {
        format!("redis://127.0.0.1:{}/0", self.port).parse().expect("an address")
    }

    /// Ends it at once, without a chance to write anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a server can be killed");
        self.child.wait().expect("a killed server ends");
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.dir, self.port, &self.options).expect("it was there before");
        assert!(comes_up(&mut self.child, self.port), "its port was taken meanwhile");
    }

    pub(crate) fn talk(&self) -> Talk {
        let client = redis::Client::open(self.address_text()).expect("an address");
        Talk(client.get_connection().expect("the server answers"))
    }

    /// Everything that the server does from now on, a line each.
    pub(crate) fn monitor(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(b"MONITOR\r\n").expect("the server listens");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"+OK\r\n");
        stream
    }

    fn address_text(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that was killed needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it has one").port()
}

fn spawn(dir: &TempDir, port: u16, options: &[&str]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
    command.arg("--dir").arg(dir.path()).args(options);
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Ok(child) => Some(child),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("redis-server does not start: {error}"),
    }
}

/// Waits until it answers. False if it ended instead.
fn comes_up(child: &mut Child, port: u16) -> bool {
    let mut is_up = false;
    until("the server answers", || {
        is_up = answers(port);
        is_up || child.try_wait().expect("a child").is_some()
    });
    is_up
}

/// Whether it has read what it wrote down and takes commands, be it only to want a password.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut answer = [0; 7];
    let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer));
    asked.is_ok() && (&answer == b"+PONG\r\n" || answer.starts_with(b"-NOAUTH"))
}

/// A connection for bare commands, such as the original uses.
pub(crate) struct Talk(redis::Connection);

/// All tasks at one moment: lines, and what stands with each.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) todo: BTreeMap<String, String>,
    pub(crate) in_progress: BTreeMap<String, String>,
    pub(crate) finished: BTreeMap<String, String>,
    pub(crate) failed: BTreeMap<String, String>,
    pub(crate) reasons: BTreeMap<String, String>,
}

impl Talk {
    pub(crate) fn call<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut self.0).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Loads tasks as the original's manager does.
    pub(crate) fn load(&mut self, lines: &[String]) {
        for line in lines {
            self.call::<i64>(&["HSETNX", "todo_tasks", line, ""]);
        }
    }

    pub(crate) fn set(&mut self, key: &str, field: &str, value: &str) {
        self.call::<i64>(&["HSET", key, field, value]);
    }

    /// What a worker says of itself, with the time of its clock.
    pub(crate) fn beat(&mut self, worker: &str, time: i64) {
        self.set("worker_status", worker, &format!("{time}:0.00:1.00:0.00:1.00"));
    }

    pub(crate) fn get(&mut self, key: &str, field: &str) -> Option<String> {
        self.call(&["HGET", key, field])
    }

    pub(crate) fn length(&mut self, key: &str) -> i64 {
        self.call(&["HLEN", key])
    }

    pub(crate) fn hash(&mut self, key: &str) -> BTreeMap<String, String> {
        pairs(self.call(&["HGETALL", key]))
    }

    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let states = ["todo_tasks", "in_progress_tasks", "finished_tasks", "failed_tasks"];
        let keys = states.into_iter().chain(["task_fail_reason"]);
        let mut commands = redis::pipe();
        commands.atomic();
        for key in keys {
            commands.cmd("HGETALL").arg(key);
        }
        let hashes: Vec<Vec<String>> = commands.query(&mut self.0).expect("a snapshot");
        let mut hashes = hashes.into_iter().map(pairs);
        let mut next = || hashes.next().expect("five hashes");
        Snapshot {
            todo: next(),
            in_progress: next(),
            finished: next(),
            failed: next(),
            reasons: next(),
        }
    }

    /// Cuts all connections but this one. Channels stay.
    pub(crate) fn cut_all(&mut self) {
        self.call::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }

    pub(crate) fn wait_for_finished(&mut self, count: i64) {
        until("all tasks are finished", || self.length("finished_tasks") == count);
    }
}

fn pairs(fields: Vec<String>) -> BTreeMap<String, String> {
    let mut fields = fields.into_iter();
    let mut pairs = BTreeMap::new();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        pairs.insert(field, value);
    }
    pairs
}

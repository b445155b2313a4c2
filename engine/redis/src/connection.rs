//! A connection to a Redis. Whatever goes wrong with it, it is dropped and opened again.

use crate::layout::NEWS;
use crate::script::Script;
use crate::{RedisAddress, RedisError};
use redis::{Cmd, FromRedisValue, Value};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Commands that are sent in one go.
const BATCH: usize = 512;

/// Why something did not work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    kind: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    /// The server forgot the scripts; a new connection loads them again.
    NoScript,
    /// A password or a right is missing.
    Refused,
    /// Anything else.
    Broken,
}

impl Failure {
    fn broken(why: impl Into<String>) -> Self {
        Self { why: why.into(), kind: FailureKind::Broken }
    }

    /// Whether it is mended by a new connection.
    pub(crate) fn is_no_script(&self) -> bool {
        self.kind == FailureKind::NoScript
    }

    /// When a connection could not be opened.
    pub(crate) fn of_opening(self, address: &RedisAddress) -> RedisError {
        let (address, why) = (address.to_string(), self.why);
        match self.kind {
            FailureKind::Refused => RedisError::Refused { address, why },
            _ => RedisError::Unreachable { address, why },
        }
    }

    /// When something was asked for.
    pub(crate) fn of_asking(self, address: &RedisAddress) -> RedisError {
        let (address, why) = (address.to_string(), self.why);
        match self.kind {
            FailureKind::Refused => RedisError::Refused { address, why },
            _ => RedisError::Failed { address, why },
        }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        let why = error.to_string();
        let has = |part: &str| why.contains(part);
        let kind = match error.code() {
            Some("NOSCRIPT") => FailureKind::NoScript,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => FailureKind::Refused,
            // Within a longer answer the code does not always come through.
            _ if has("No matching script") => FailureKind::NoScript,
            _ if has("uthentication failed") || has("AuthenticationFailed") => FailureKind::Refused,
            _ => FailureKind::Broken,
        };
        Self { why, kind }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::broken(error.to_string())
    }
}

/// A connection that knows the scripts.
pub(crate) struct Connection {
    inner: redis::Connection,
    /// What Redis calls them, in the order of [`Script::ALL`].
    scripts: Vec<String>,
    /// Commands that were sent and not asked for yet by [`take_sent`](Self::take_sent).
    sent: u64,
}

impl Connection {
    /// Connects. An answer that takes longer than `patience` does not come any more.
    pub(crate) fn open(address: &RedisAddress, patience: Duration) -> Result<Self, Failure> {
        let inner = connect(address, patience)?;
        let mut connection = Self { inner, scripts: Vec::new(), sent: 0 };
        for script in Script::ALL {
            let name: String =
                connection.call(redis::cmd("SCRIPT").arg("LOAD").arg(script.source()))?;
            connection.scripts.push(name);
        }
        // What came before is the price of a connection, not of the work.
        connection.sent = 0;
        Ok(connection)
    }

    /// Asks for something and waits for the answer.
    pub(crate) fn call<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Failure> {
        self.sent += 1;
        Ok(command.query::<T>(&mut self.inner)?)
    }

    /// How many commands were sent since this was last asked, a script being one.
    pub(crate) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    /// Asks for things whose answers are numbers, many in one go. Returns the sum of the numbers.
    /// What comes before an error was done.
    pub(crate) fn sum(&mut self, commands: &[Cmd]) -> Result<u64, Failure> {
        let mut sum = 0;
        for batch in commands.chunks(BATCH) {
            let packed: Vec<u8> = batch.iter().flat_map(Cmd::get_packed_command).collect();
            self.sent += batch.len() as u64;
            self.inner.send_packed_command(&packed)?;
            for _ in batch {
                // After the first error nothing more is waited for: each answer might take as long.
                sum += count_of(self.inner.recv_response()?)?.unsigned_abs();
            }
        }
        Ok(sum)
    }

    /// The fields and values of several hashes, as they were at one moment.
    pub(crate) fn hashes(&mut self, keys: &[&str]) -> Result<Vec<Vec<Vec<u8>>>, Failure> {
        let mut commands = redis::pipe();
        commands.atomic();
        for key in keys {
            commands.cmd("HGETALL").arg(*key);
        }
        // With the two around them that make it one moment.
        self.sent += keys.len() as u64 + 2;
        Ok(commands.query::<Vec<Vec<Vec<u8>>>>(&mut self.inner)?)
    }

    /// The call of a script, without its arguments.
    pub(crate) fn script(&self, script: Script) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        let keys = script.keys();
        command.arg(self.scripts[script as usize].as_str()).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        command
    }

    /// The call that gives a task of a worker back to the queue.
    pub(crate) fn give_back(&self, worker: &[u8], line: &[u8]) -> Cmd {
        let mut command = self.script(Script::GiveBack);
        command.arg(worker).arg(line).arg(NEWS);
        command
    }
}

fn count_of(answer: Value) -> Result<i64, Failure> {
    match answer {
        Value::Int(count) => Ok(count),
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        _ => Err(Failure::broken("an answer is no number")),
    }
}

/// Connects, and no more than that.
pub(crate) fn connect(
    address: &RedisAddress,
    patience: Duration,
) -> Result<redis::Connection, Failure> {
    probe(address)?;
    let client = redis::Client::open(address.url())?;
    let connection = client.get_connection_with_timeout(CONNECT_TIMEOUT)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    Ok(connection)
}

/// Finds out whether somebody answers. A server that hangs still lets the system accept
/// connections, and the client that is used for the rest waits for each of several answers then.
fn probe(address: &RedisAddress) -> Result<(), Failure> {
    let mut last = Failure::broken("its name has no address");
    for place in (address.host.as_str(), address.port).to_socket_addrs()? {
        let answered =
            TcpStream::connect_timeout(&place, CONNECT_TIMEOUT).and_then(|mut stream| {
                stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
                stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
                stream.write_all(b"PING\r\n")?;
                // Whether it is a pong or a demand for a password does not matter.
                stream.read(&mut [0; 64])
            });
        match answered {
            Ok(0) => last = Failure::broken("it hung up without an answer"),
            Ok(_) => return Ok(()),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

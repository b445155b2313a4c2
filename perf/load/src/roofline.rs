//! `bench roofline`: what two cores and a loopback socket can do at all.
//!
//! One thread generates the same requests as `bench micro` (same bytes, same keys) and another
//! applies them to a plain array. There is no in-flight table, no timestamp, no outcome, no hash
//! table, and eight bytes answer a whole frame. So it is the ceiling for the engine on this
//! machine, measured in the same session.

use crate::environment::{Build, bare};
use crate::keys::{KeyChooser, Rng};
use crate::report::{Cores, Environment};
use punctual_runtime::host::{allowed_cores, pin_current};
use punctual_wire::{Key, Op};
use serde::Serialize;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes before the operations of a transaction, as the engine has them.
const TXN_HEAD: [u8; 16] = [0; 16];
/// Bytes before the transactions of a frame: its length, then zeros.
const FRAME_HEAD_BYTES: usize = 12;
/// Bytes that answer a frame.
const ANSWER_BYTES: usize = 8;
/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Roofline {
    /// Distinct keys of a transaction.
    pub ops: u16,
    /// Share of the operations that read.
    pub reads: f64,
    /// Keys.
    pub keys: u64,
    /// Exponent of the keys' popularity.
    pub skew: f64,
    /// Seed of the keys.
    pub seed: u64,
    /// Transactions in a frame, each frame a write.
    pub batch: u16,
    /// Frames in flight.
    pub frames: u32,
    /// Discarded time at the start.
    pub warmup: Duration,
    /// Measured time.
    pub duration: Duration,
    /// The program that runs it.
    pub build: Build,
}

/// The JSON document: the fields of [`Report`](crate::Report) that apply.
#[derive(Debug, Clone, Serialize)]
pub struct RooflineReport {
    /// Version of the document.
    pub schema: u32,
    /// The command.
    pub program: String,
    /// The workload's name.
    pub workload: String,
    /// Always `tcp`.
    pub transport: String,
    /// Transactions in flight.
    pub in_flight: u32,
    /// Operations of a transaction.
    pub ops: u16,
    /// Share that reads.
    pub reads: f64,
    /// Keys.
    pub keys: u64,
    /// Exponent of the keys' popularity.
    pub skew: f64,
    /// Transactions in a frame.
    pub batch: u16,
    /// Seed.
    pub seed: u64,
    /// Measured seconds.
    pub duration_s: f64,
    /// Transactions answered in them.
    pub committed: u64,
    /// Transactions a second.
    pub throughput_tps: f64,
    /// Whether the array holds what was sent.
    pub self_check: String,
    /// What it ran on.
    pub environment: Environment,
    /// What makes the numbers less than they could be.
    pub warnings: Vec<String>,
}

/// Runs it and reports.
///
/// # Errors
/// When the socket fails.
pub fn run(plan: &Roofline, interrupt: &flume::Receiver<()>) -> io::Result<RooflineReport> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for socket in [&near, &far] {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
    }
    let cores = allowed_cores();
    let (here, there) = (cores.last().copied().unwrap_or(0), cores.first().copied().unwrap_or(0));
    let stop = AtomicBool::new(false);
    let (sent, applied, pinned) = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            // Unpinned it is slower, never wrong; the client's pinning is what is reported.
            let _ = pin_current(there);
            serve(far, plan, &stop)
        });
        let client = scope.spawn(|| {
            let pinned = pin_current(here);
            let sent = Client::new(near, plan).run(plan, interrupt);
            stop.store(true, Ordering::Release);
            sent.map(|sent| (sent, pinned))
        });
        let sent = client.join().expect("the client does not panic");
        let applied = server.join().expect("the server does not panic");
        sent.and_then(|(sent, pinned)| applied.map(|applied| (sent, applied, pinned)))
    })?;
    let self_check = match applied == sent.increments {
        true => "ok".to_owned(),
        false => format!("the array sums up to {applied}, sent were {}", sent.increments),
    };
    let mut warnings = Vec::new();
    if here == there {
        warnings.push("client and server share one core".to_owned());
    }
    if cfg!(debug_assertions) {
        warnings.push("debug build: figures mean nothing; use --release".to_owned());
    }
    let duration_s = sent.measured.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 transactions")]
    let throughput_tps = if duration_s > 0.0 { sent.committed as f64 / duration_s } else { 0.0 };
    let cores = Cores { shards: vec![there], coordinators: vec![here], prober: None };
    Ok(RooflineReport {
        schema: crate::report::SCHEMA,
        program: "bench roofline".to_owned(),
        workload: "roofline".to_owned(),
        transport: "tcp".to_owned(),
        in_flight: u32::from(plan.batch) * plan.frames,
        ops: plan.ops,
        reads: plan.reads,
        keys: plan.keys,
        skew: plan.skew,
        batch: plan.batch,
        seed: plan.seed,
        duration_s,
        committed: sent.committed,
        throughput_tps,
        self_check,
        environment: bare(&plan.build, "tcp", cores, pinned),
        warnings,
    })
}

impl Roofline {
    /// The longest frame: every operation an increment.
    fn frame_bytes_max(&self) -> usize {
        let txn = TXN_HEAD.len() + usize::from(self.ops) * 17;
        FRAME_HEAD_BYTES + usize::from(self.batch) * txn
    }
}

/// What the client did.
struct Sent {
    committed: u64,
    increments: u64,
    measured: Duration,
}

/// The generating side.
struct Client {
    socket: TcpStream,
    keys: KeyChooser,
    rng: Rng,
    chosen: Vec<u64>,
    frame: Vec<u8>,
    written: usize,
    sent: u64,
    answered_bytes: usize,
    increments: u64,
}

impl Client {
    fn new(socket: TcpStream, plan: &Roofline) -> Self {
        let mut rng = Rng::new(plan.seed);
        let keys = KeyChooser::new(plan.keys, plan.skew, rng.next_u64());
        Self {
            socket,
            keys,
            rng,
            chosen: Vec::new(),
            frame: Vec::new(),
            written: 0,
            sent: 0,
            answered_bytes: 0,
            increments: 0,
        }
    }

    fn run(mut self, plan: &Roofline, interrupt: &flume::Receiver<()>) -> io::Result<Sent> {
        let begin = Instant::now() + plan.warmup;
        let end = begin + plan.duration;
        let mut answers_before = None;
        loop {
            let now = Instant::now();
            if answers_before.is_none() && now >= begin {
                answers_before = Some((self.answers(), now));
            }
            if now >= end || !interrupt.is_empty() {
                break;
            }
            if self.sent - self.answers() < u64::from(plan.frames) {
                self.make_frame(plan);
                self.write_frame()?;
            }
            self.take_answers()?;
        }
        let (before, began) = answers_before.unwrap_or((self.answers(), Instant::now()));
        let committed = (self.answers() - before) * u64::from(plan.batch);
        let measured = began.elapsed();
        while self.answers() < self.sent {
            self.take_answers()?;
        }
        Ok(Sent { committed, increments: self.increments, measured })
    }

    fn answers(&self) -> u64 {
        (self.answered_bytes / ANSWER_BYTES) as u64
    }

    fn make_frame(&mut self, plan: &Roofline) {
        self.frame.clear();
        self.frame.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        for _ in 0..plan.batch {
            self.frame.extend_from_slice(&TXN_HEAD);
            self.keys.distinct(usize::from(plan.ops), &mut self.chosen);
            for &key in &self.chosen {
                let key = Key::Word(key);
                if self.rng.chance(plan.reads) {
                    Op::Get { key }.write(&mut self.frame);
                } else {
                    Op::Add { key, delta: 1 }.write(&mut self.frame);
                    self.increments += 1;
                }
            }
        }
        let len = u32::try_from(self.frame.len()).expect("a frame is far below 4 GiB");
        self.frame[..4].copy_from_slice(&len.to_le_bytes());
        self.frame[4..6].copy_from_slice(&plan.ops.to_le_bytes());
        self.frame[6..8].copy_from_slice(&plan.batch.to_le_bytes());
        self.written = 0;
        self.sent += 1;
    }

    fn write_frame(&mut self) -> io::Result<()> {
        while self.written < self.frame.len() {
            match self.socket.write(&self.frame[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.take_answers()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take_answers(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                self.answered_bytes += bytes;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The applying side: returns the sum of the array.
fn serve(mut socket: TcpStream, plan: &Roofline, stop: &AtomicBool) -> io::Result<u64> {
    let len = usize::try_from(plan.keys).map_err(|_| ErrorKind::OutOfMemory)?;
    let mut table = vec![0_u64; len];
    let mut buffer = vec![0; 2 * READ_BYTES + plan.frame_bytes_max()];
    let (mut start, mut end) = (0, 0);
    let mut read_sum = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        if buffer.len() - end < READ_BYTES {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
        }
        match socket.read(&mut buffer[end..end + READ_BYTES]) {
            Ok(0) => break,
            Ok(bytes) => end += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
        while let Some(frame) = whole_frame(&buffer[start..end]) {
            start += frame.len();
            read_sum = read_sum.wrapping_add(apply(frame, &mut table));
            answer(&mut socket)?;
        }
    }
    std::hint::black_box(read_sum);
    Ok(table.iter().sum())
}

fn whole_frame(bytes: &[u8]) -> Option<&[u8]> {
    let len = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    bytes.get(..len)
}

/// Applies every operation of a frame; the sum of what was read.
fn apply(frame: &[u8], table: &mut [u64]) -> u64 {
    let ops = u16::from_le_bytes([frame[4], frame[5]]);
    let txns = u16::from_le_bytes([frame[6], frame[7]]);
    let mut rest = &frame[FRAME_HEAD_BYTES..];
    let mut read_sum = 0_u64;
    for _ in 0..txns {
        rest = &rest[TXN_HEAD.len()..];
        for _ in 0..ops {
            let Some((head, tail)) = rest.split_first_chunk::<9>() else { return read_sum };
            let key = u64::from_le_bytes([
                head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8],
            ]);
            // A read is the code and the key; an increment has eight more bytes.
            let adds = head[0] & 0x80 != 0;
            let Some(value) = usize::try_from(key).ok().and_then(|key| table.get_mut(key)) else {
                return read_sum;
            };
            if adds {
                *value += u64::from(tail[0]);
                rest = &tail[8..];
            } else {
                read_sum = read_sum.wrapping_add(*value);
                rest = tail;
            }
        }
    }
    read_sum
}

fn answer(socket: &mut TcpStream) -> io::Result<()> {
    loop {
        match socket.write(&[1; ANSWER_BYTES]) {
            Ok(ANSWER_BYTES) => return Ok(()),
            Ok(_) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
}

//! `bench pingpong`: one frame there and back on a bare link, nothing in between. What the engine's
//! latency is compared with.

use crate::environment::{Build, bare, transport_name};
use crate::histogram::Recorder;
use crate::report::{Cores, Environment};
use crate::summary::LatencySummary;
use punctual_link::{
    ClientHandshake, Endpoint, HandshakeError, Identity, Link, LinkError, Listener, StreamLink,
    ring_pair,
};
use punctual_runtime::config::ClockSource;
use punctual_runtime::host::{allowed_cores, pin_current};
use punctual_runtime::{Clock, Nanos, Transport};
use punctual_wire::{Features, FrameKind, FrameReader, Limits, Role, WireError};
use serde::Serialize;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;

/// A pong that takes longer than this will not come.
const PONG_TIMEOUT: Nanos = Nanos(5_000_000_000);
/// Idle polls before the thread gives its slice away, so that both ends can live on one core.
const SPINS: u32 = 10_000;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct PingPong {
    /// The link.
    pub transport: Transport,
    /// A served shard to play with, instead of a thread of this process.
    pub served: Option<(Endpoint, u16, u64)>,
    /// Bytes of the payload.
    pub bytes: usize,
    /// Discarded time at the start.
    pub warmup: Duration,
    /// Measured time.
    pub duration: Duration,
    /// The program that runs it.
    pub build: Build,
}

/// The JSON document of a ping-pong: the fields of [`Report`](crate::Report) that apply.
#[derive(Debug, Clone, Serialize)]
pub struct PingPongReport {
    /// Version of the document.
    pub schema: u32,
    /// The command.
    pub program: String,
    /// The workload's name.
    pub workload: String,
    /// The link.
    pub transport: String,
    /// Payload of a frame in bytes.
    pub payload_bytes: usize,
    /// Measured seconds.
    pub duration_s: f64,
    /// Round trips a second.
    pub throughput_tps: f64,
    /// Round trips.
    pub latency_ns: LatencySummary,
    /// Frames sent by the pinging side.
    pub frames_sent: u64,
    /// `ok` if every pong brought its ping's payload back.
    pub self_check: String,
    /// What it ran on.
    pub environment: Environment,
    /// What makes the numbers less than they could be.
    pub warnings: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum PingPongError {
    /// The link failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The socket cannot be made.
    #[error("the socket cannot be made")]
    Io(#[from] io::Error),
    /// The served shard does not let us in.
    #[error("the shard at {endpoint} cannot be used: {why}")]
    Handshake {
        /// Where it is served.
        endpoint: Endpoint,
        /// What it said.
        why: HandshakeError,
    },
    /// A pong that did not come.
    #[error("no pong within {} s", PONG_TIMEOUT.0 / 1_000_000_000)]
    Timeout,
    /// Too long a payload.
    #[error("a payload of {bytes} bytes does not fit a frame of {max}")]
    TooLong {
        /// The payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

impl PingPongError {
    /// Whether the user can mend it by calling the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Handshake { .. } | Self::TooLong { .. } | Self::Io(_))
    }
}

impl From<WireError> for PingPongError {
    fn from(error: WireError) -> Self {
        Self::Link(error.into())
    }
}

/// Plays ping-pong and reports.
///
/// # Errors
/// When the link cannot be made or fails.
pub fn run(
    plan: &PingPong,
    interrupt: &flume::Receiver<()>,
) -> Result<PingPongReport, PingPongError> {
    let limits = Limits::DEFAULT;
    if plan.bytes > limits.body_bytes_max() {
        return Err(PingPongError::TooLong { bytes: plan.bytes, max: limits.body_bytes_max() });
    }
    let cores = allowed_cores();
    let (here, there) = (cores.last().copied().unwrap_or(0), cores.first().copied().unwrap_or(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (mut link, checksum, echo) = match &plan.served {
        Some((endpoint, shard, cluster)) => {
            let (link, checksum) = greet(endpoint, *shard, *cluster, limits)?;
            (link, checksum, None)
        }
        None => {
            let (near, far) = pair(plan.transport, limits)?;
            let stopped = Arc::clone(&stop);
            let echo = std::thread::spawn(move || echo(far, limits, there, &stopped));
            (near, false, Some(echo))
        }
    };
    // A thread of its own, so that the caller's is not pinned for ever.
    let played = std::thread::scope(|scope| {
        let play = scope.spawn(|| {
            let pinned = pin_current(here);
            play(link.as_mut(), limits, checksum, plan, interrupt).map(|played| (played, pinned))
        });
        play.join().expect("the player does not panic")
    });
    stop.store(true, Ordering::Release);
    drop(link);
    if let Some(echo) = echo {
        // Its failure shows at this end as a closed link.
        let _ = echo.join();
    }
    let ((recorder, span), pinned) = played?;
    Ok(plan.report(
        &recorder,
        span,
        Cores { shards: vec![there], coordinators: vec![here], prober: None },
        pinned,
    ))
}

/// Both ends of a link.
type Ends = (Box<dyn Link>, Box<dyn Link>);

/// Both ends of a link in this process.
fn pair(transport: Transport, limits: Limits) -> Result<Ends, PingPongError> {
    let endpoint = match transport {
        Transport::Ring => {
            let (here, there) = ring_pair(limits, limits.batch_max);
            return Ok((Box::new(here), Box::new(there)));
        }
        Transport::Tcp => Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
        Transport::Unix => {
            let name = format!("punctual-pingpong-{}.sock", std::process::id());
            Endpoint::Unix(std::env::temp_dir().join(name))
        }
    };
    let mut listener = Listener::bind(&endpoint, limits, limits.batch_max)?;
    let here = StreamLink::connect(&listener.endpoint()?, limits, limits.batch_max)?;
    let there = loop {
        match listener.accept()? {
            Some(link) => break link,
            None => std::thread::yield_now(),
        }
    };
    Ok((Box::new(here), Box::new(there)))
}

/// Connects to a served shard as a pinger.
fn greet(
    endpoint: &Endpoint,
    shard: u16,
    cluster: u64,
    limits: Limits,
) -> Result<(Box<dyn Link>, bool), PingPongError> {
    let unusable = |why| PingPongError::Handshake { endpoint: endpoint.clone(), why };
    let mut link = StreamLink::connect(endpoint, limits, limits.batch_max)
        .map_err(|error| unusable(LinkError::Io(error).into()))?;
    let session = u64::from(std::process::id());
    let identity = Identity { session, cluster, features: Features::CHECKSUM };
    let mut handshake = ClientHandshake::new(&identity, Role::Pinger, shard, 0, 1);
    let clock = Clock::new(ClockSource::Monotonic);
    let start = clock.now();
    loop {
        match handshake.step(&mut link, limits) {
            Ok(Some(welcome)) => {
                let features = Features(welcome.features.get());
                return Ok((Box::new(link), features.contains(Features::CHECKSUM)));
            }
            Ok(None) if clock.now() - start > PONG_TIMEOUT => return Err(PingPongError::Timeout),
            Ok(None) => std::thread::yield_now(),
            Err(why) => return Err(unusable(why)),
        }
    }
}

/// Sends every payload back until told to stop.
fn echo(
    mut link: Box<dyn Link>,
    limits: Limits,
    core: usize,
    stop: &AtomicBool,
) -> Result<(), LinkError> {
    // Unpinned it is slower, never wrong; the other end's pinning is what is reported.
    let _ = pin_current(core);
    let mut idle = 0;
    while !stop.load(Ordering::Acquire) {
        let polled = link.poll()?;
        pause(&mut idle, polled > 0);
        let (bytes, out) = link.parts();
        let mut reader = FrameReader::new(bytes, limits, false);
        while let Some(frame) = reader.next_frame()? {
            let len = frame.body.len();
            out.message(FrameKind::Pong, len, |bytes| bytes.extend_from_slice(frame.body));
        }
        let taken = reader.taken();
        link.consume(taken);
        link.flush()?;
    }
    Ok(())
}

/// Spins for a while, then lets others run.
fn pause(idle: &mut u32, busy: bool) {
    *idle = if busy { 0 } else { idle.saturating_add(1) };
    match *idle {
        0 => {}
        1..SPINS => std::hint::spin_loop(),
        _ => std::thread::yield_now(),
    }
}

fn play(
    link: &mut dyn Link,
    limits: Limits,
    checksum: bool,
    plan: &PingPong,
    interrupt: &flume::Receiver<()>,
) -> Result<(Recorder, (Nanos, Nanos)), PingPongError> {
    let clock = Clock::new(ClockSource::Monotonic);
    let mut recorder = Recorder::new();
    let mut payload = vec![0_u8; plan.bytes];
    let begin = clock.now() + plan.warmup.into();
    let end = begin + plan.duration.into();
    let mut now = clock.now();
    let mut round = 0_u64;
    while now < end && interrupt.is_empty() {
        round += 1;
        let stamp = round.to_le_bytes();
        let len = stamp.len().min(payload.len());
        payload[..len].copy_from_slice(&stamp[..len]);
        let sent = now;
        link.outgoing().message(FrameKind::Ping, payload.len(), |bytes| {
            bytes.extend_from_slice(&payload);
        });
        let mut idle = 0;
        while !take_pong(link, limits, checksum, &payload)? {
            pause(&mut idle, false);
            if idle.is_multiple_of(SPINS) && clock.now() - sent > PONG_TIMEOUT {
                return Err(PingPongError::Timeout);
            }
        }
        now = clock.now();
        if sent >= begin {
            recorder.record((now - sent).0);
        }
    }
    Ok((recorder, (begin, now)))
}

/// Flushes, polls, and says whether the pong is there. One that brings something else back is an
/// error.
fn take_pong(
    link: &mut dyn Link,
    limits: Limits,
    checksum: bool,
    payload: &[u8],
) -> Result<bool, PingPongError> {
    link.flush()?;
    if link.poll()? == 0 {
        return Ok(false);
    }
    let (bytes, _) = link.parts();
    let mut reader = FrameReader::new(bytes, limits, checksum);
    let Some(frame) = reader.next_frame()? else { return Ok(false) };
    if frame.kind != FrameKind::Pong || frame.body != payload {
        return Err(WireError::UnexpectedKind(frame.kind).into());
    }
    let taken = reader.taken();
    link.consume(taken);
    Ok(true)
}

impl PingPong {
    fn report(
        &self,
        recorder: &Recorder,
        (begin, end): (Nanos, Nanos),
        cores: Cores,
        pinned: bool,
    ) -> PingPongReport {
        let latency_ns = LatencySummary::from_histogram(&recorder.total());
        let duration_s = end.since(begin).as_secs_f64();
        let mut warnings = Vec::new();
        if cores.shards == cores.coordinators {
            warnings.push("both ends share one core".to_owned());
        }
        if cfg!(debug_assertions) {
            warnings.push("debug build: figures mean nothing; use --release".to_owned());
        }
        let transport =
            if self.served.is_some() { "served" } else { transport_name(self.transport) };
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 round trips")]
        let throughput_tps =
            if duration_s > 0.0 { latency_ns.samples as f64 / duration_s } else { 0.0 };
        PingPongReport {
            schema: crate::report::SCHEMA,
            program: "bench pingpong".to_owned(),
            workload: "pingpong".to_owned(),
            transport: transport.to_owned(),
            payload_bytes: self.bytes,
            duration_s,
            throughput_tps,
            latency_ns,
            frames_sent: latency_ns.samples,
            // A pong that differs ends the run with an error.
            self_check: "ok".to_owned(),
            environment: bare(&self.build, transport, cores, pinned),
            warnings,
        }
    }
}

//! What every link promises, asked of each kind by the same tests. Nothing sleeps to wait: whatever
//! needs another thread or the kernel is asked again until it is there, or the deadline fails the
//! test.

mod batches;
mod emulated;
mod flood;
mod handshake;
mod listener;
mod park;
mod queues;
mod shape;

use crate::{
    Emulator, Endpoint, Link, LinkError, Listener, NetworkPath, Parker, Shape, StreamLink,
    monotonic_ns, ring_pair,
};
use punctual_wire::{
    BatchWriter, FrameKind, FrameReader, Limits, Piece, PieceBody, PieceReader, TxnSequence,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// As good as for ever: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Frames far smaller than what the sockets hold, so that there are many.
const LIMITS: Limits = Limits { frame_bytes_max: 64 << 10, ..Limits::DEFAULT };

/// What carries a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ring,
    Tcp,
    Unix,
    /// A ring with a network in it that delays nothing.
    EmulatedRing,
    /// A socket with a network in it that delays a little.
    EmulatedTcp,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Ring, Self::Tcp, Self::Unix, Self::EmulatedRing, Self::EmulatedTcp];
}

/// Both ends of one link: the near one connected, the far one was accepted.
fn pair(kind: Kind, batch_max: u16) -> (Box<dyn Link>, Box<dyn Link>) {
    match kind {
        Kind::Ring => {
            let (near, far) = ring_pair(LIMITS, batch_max);
            (Box::new(near), Box::new(far))
        }
        Kind::Tcp => pair_over(&any_port(), batch_max),
        Kind::Unix => pair_over(&socket_in(&folder()), batch_max),
        Kind::EmulatedRing => emulated(pair(Kind::Ring, batch_max), Shape::NONE),
        Kind::EmulatedTcp => {
            let (delay, jitter) = (Duration::from_micros(200), Duration::from_micros(50));
            emulated(pair(Kind::Tcp, batch_max), Shape::normal(delay, jitter))
        }
    }
}

/// Puts a network into a link, on a thread that ends with it.
fn emulated(
    (near, far): (Box<dyn Link>, Box<dyn Link>),
    shape: Shape,
) -> (Box<dyn Link>, Box<dyn Link>) {
    let mut emulator = Emulator::new(monotonic_ns);
    let mut parker = Parker::new().expect("a place to sleep");
    emulator.set_park(parker.handle());
    let path = NetworkPath::symmetric(shape);
    let near = emulator.handle().emulate(near, LIMITS, &path, 1).expect("a running emulator");
    thread::spawn(move || {
        while !emulator.is_idle() {
            if emulator.turn(&mut |_| {}) > 0 {
                continue;
            }
            let left = |due_ns: u64| Duration::from_nanos(due_ns.saturating_sub(monotonic_ns()));
            // What nobody announces has to wake the thread: a lost wake-up fails the test.
            let timeout = emulator.next_due_ns().map_or(PATIENCE, left);
            let look_again = || emulator.turn(&mut |_| {});
            parker.park(Some(timeout), look_again).expect("a place to sleep");
        }
    });
    (Box::new(near), far)
}

/// A link outlives the listener that accepted it.
fn pair_over(endpoint: &Endpoint, batch_max: u16) -> (Box<dyn Link>, Box<dyn Link>) {
    let mut listener = Listener::bind(endpoint, LIMITS, batch_max).expect("a free endpoint");
    let endpoint = listener.endpoint().expect("a bound endpoint");
    let near = StreamLink::connect(&endpoint, LIMITS, batch_max).expect("a listener is there");
    (Box::new(near), accepted(&mut listener))
}

/// A port of the loopback interface that the system chooses.
fn any_port() -> Endpoint {
    Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for sockets")
}

fn socket_in(folder: &TempDir) -> Endpoint {
    Endpoint::Unix(folder.path().join("shard.sock"))
}

/// The next visitor, who is on the way.
fn accepted(listener: &mut Listener) -> Box<dyn Link> {
    let mut link = None;
    until("a visitor is accepted", || {
        link = listener.accept().expect("a working listener");
        link.is_some()
    });
    Box::new(link.expect("a visitor was accepted"))
}

/// Asks again until it holds, letting other threads run in between.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

/// What message `index` of `len` bytes says; no two neighbours and no two places are alike.
fn text(index: u64, len: usize) -> Vec<u8> {
    (0..len).map(|place| (index.wrapping_mul(31) + place as u64) as u8).collect()
}

/// Writes message `index`, as a procedure call with `len` bytes of arguments. Does not flush.
fn write(out: &mut BatchWriter, index: u64, len: usize) {
    let mut body = Vec::new();
    punctual_wire::write_call_head(&mut body, 1);
    body.extend_from_slice(&text(index, len));
    Piece::write(out, TxnSequence(index), true, 0, &body);
}

/// Flushes until nothing is left.
fn flush_all(link: &mut dyn Link) {
    until("everything is flushed", || {
        link.flush().expect("an open link");
        link.pending() == 0
    });
}

/// The messages of one frame: index and arguments of each.
type Batch = Vec<(u64, Vec<u8>)>;

/// Takes in what has arrived and reads at most `frames_max` whole frames of it. The end of the link
/// is reported when there is nothing left to read.
fn receive(
    link: &mut dyn Link,
    frames_max: usize,
    checksum: bool,
) -> Result<Vec<Batch>, LinkError> {
    let end = link.poll();
    let (bytes, _) = link.parts();
    let mut reader = FrameReader::new(bytes, LIMITS, checksum);
    let mut batches = Vec::new();
    while batches.len() < frames_max {
        let Some(frame) = reader.next_frame()? else { break };
        assert_eq!(frame.kind, FrameKind::Dispatch);
        let mut pieces = PieceReader::new(&frame, &LIMITS);
        let mut batch = Batch::new();
        while let Some(piece) = pieces.next_piece()? {
            let PieceBody::Call { procedure: 1, args } = piece.body else {
                panic!("{piece:?} was never written");
            };
            batch.push((piece.sequence.0, args.to_vec()));
        }
        batches.push(batch);
    }
    let taken = reader.taken();
    link.consume(taken);
    if batches.is_empty() {
        end?;
    }
    Ok(batches)
}

/// Receives until so many messages are there, and gives them frame by frame.
fn receive_messages(link: &mut dyn Link, count: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    until("all messages have arrived", || {
        batches.extend(receive(link, usize::MAX, false).expect("an open link"));
        batches.iter().map(Vec::len).sum::<usize>() >= count
    });
    batches
}

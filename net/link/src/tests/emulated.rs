//! What an emulated network promises beside what every link does: nothing comes early, the ends of
//! links take their time too, and what a peer does wrong is seen by the agent as without it. Most
//! of it by a clock that only the test moves.

use super::*;
use crate::emulated::TRANSIT_BYTES_MAX;
use crate::{EmulatedLink, OUTGOING_BYTES_MAX, RING_BUFFERS, RingLink};
use std::cell::Cell;
use std::io::Write;
use std::net::TcpListener;

const MS: u64 = 1_000_000;
/// Not zero: that is no time.
const START: u64 = MS;

thread_local! {
    /// The time; each test has a thread of its own.
    static NOW: Cell<u64> = const { Cell::new(START) };
}

fn virtual_ns() -> u64 {
    NOW.get()
}

/// An agent and its peer, both ends of rings, and the emulator between them.
struct Bed {
    emulator: Emulator,
    near: Option<EmulatedLink>,
    far: Option<RingLink>,
    /// By how much what was delivered was late.
    late_ns: Vec<u64>,
}

impl Bed {
    fn new(there_ms: u64, back_ms: u64) -> Self {
        let shape = |delay| Shape::normal(Duration::from_millis(delay), Duration::ZERO);
        Self::with(NetworkPath { there: shape(there_ms), back: shape(back_ms) })
    }

    fn with(path: NetworkPath) -> Self {
        NOW.set(START);
        let emulator = Emulator::new(virtual_ns);
        let (inner, far) = ring_pair(LIMITS, 256);
        let near = emulator.handle().emulate(Box::new(inner), LIMITS, &path, 1);
        let near = Some(near.expect("a running emulator"));
        Self { emulator, near, far: Some(far), late_ns: Vec::new() }
    }

    fn near(&mut self) -> &mut EmulatedLink {
        self.near.as_mut().expect("the agent is there")
    }

    fn far(&mut self) -> &mut RingLink {
        self.far.as_mut().expect("the peer is there")
    }

    /// Lets the emulator do what there is to do at this time.
    fn settle_at(&mut self, now_ns: u64) {
        NOW.set(now_ns);
        while self.emulator.turn(&mut |late_ns| self.late_ns.push(late_ns)) > 0 {}
    }

    fn send_near(&mut self, index: u64) {
        write(self.near().outgoing(), index, 20);
        self.near().flush().expect("an open link");
    }

    fn send_far(&mut self, index: u64) {
        write(self.far().outgoing(), index, 20);
        self.far().flush().expect("an open link");
    }
}

/// Numbers of the messages that are there; the end of the link if nothing is.
fn indices(link: &mut dyn Link) -> Result<Vec<u64>, LinkError> {
    let mut indices = Vec::new();
    loop {
        match receive(link, usize::MAX, false) {
            Ok(batches) if batches.is_empty() => return Ok(indices),
            Ok(batches) => indices.extend(batches.concat().into_iter().map(|(index, _)| index)),
            Err(error) if indices.is_empty() => return Err(error),
            Err(_) => return Ok(indices),
        }
    }
}

#[test]
fn each_direction_has_its_own_delay_and_nothing_comes_a_nanosecond_early() {
    let mut bed = Bed::new(30, 50);
    bed.send_near(1);
    bed.send_far(2);
    bed.settle_at(START);
    assert_eq!(bed.emulator.next_due_ns(), Some(START + 30 * MS));
    bed.settle_at(START + 30 * MS - 1);
    assert!(indices(bed.far()).expect("an open link").is_empty());
    bed.settle_at(START + 30 * MS);
    assert_eq!(indices(bed.far()).expect("an open link"), [1]);
    bed.settle_at(START + 50 * MS - 1);
    assert!(indices(bed.near()).expect("an open link").is_empty());
    bed.settle_at(START + 50 * MS);
    assert_eq!(indices(bed.near()).expect("an open link"), [2]);
    assert_eq!(bed.emulator.next_due_ns(), None);
}

#[test]
fn the_delay_of_what_an_agent_sends_counts_from_its_flush_not_from_when_it_was_noticed() {
    let mut bed = Bed::new(30, 0);
    bed.send_near(1);
    bed.settle_at(START + 10 * MS);
    assert_eq!(bed.emulator.next_due_ns(), Some(START + 30 * MS));
    // What a peer sends that notes no times counts from when it was noticed: that is not early.
    bed.send_far(2);
    bed.settle_at(START + 12 * MS);
    assert_eq!(indices(bed.near()).expect("an open link"), [2]);
}

#[test]
fn what_leaves_late_is_reported_and_counted() {
    let mut bed = Bed::new(30, 30);
    bed.send_near(1);
    bed.settle_at(START);
    bed.settle_at(START + 30 * MS + 700);
    assert_eq!(bed.late_ns, [700]);
    let counts = bed.emulator.counts();
    assert_eq!((counts.links, counts.batches, counts.bytes_under_way), (1, 1, 0));
    assert!(counts.bytes > 20 && counts.packets_lost == 0, "{counts:?}");
}

#[test]
fn what_an_agent_said_before_it_left_still_arrives_and_then_the_end() {
    let mut bed = Bed::new(30, 30);
    for index in 0..3 {
        bed.send_near(index);
    }
    bed.near = None;
    bed.settle_at(START + 30 * MS - 1);
    assert!(indices(bed.far()).expect("the end has not come yet").is_empty());
    bed.settle_at(START + 60 * MS);
    assert_eq!(indices(bed.far()).expect("messages before the end"), [0, 1, 2]);
    assert!(matches!(indices(bed.far()), Err(LinkError::Closed)));
    assert!(bed.emulator.is_idle());
    assert_eq!(bed.emulator.counts().batches, 3, "what is gone still counts");
}

#[test]
fn what_a_peer_said_before_it_died_still_arrives_and_then_the_end() {
    let mut bed = Bed::new(30, 50);
    bed.send_far(1);
    bed.settle_at(START);
    bed.far = None;
    bed.settle_at(START + 20 * MS);
    bed.settle_at(START + 50 * MS);
    assert_eq!(indices(bed.near()).expect("the end has not come yet"), [1]);
    bed.settle_at(START + 70 * MS - 1);
    assert!(indices(bed.near()).expect("the end has not come yet").is_empty());
    bed.settle_at(START + 70 * MS);
    assert!(matches!(indices(bed.near()), Err(LinkError::Closed)));
    assert!(bed.emulator.is_idle());
}

#[test]
fn an_end_that_nobody_is_left_to_hear_of_is_not_waited_for() {
    let mut bed = Bed::new(30, 30);
    bed.send_near(1);
    bed.send_far(1);
    (bed.near, bed.far) = (None, None);
    bed.settle_at(START);
    assert!(bed.emulator.is_idle());
}

#[test]
fn a_peer_that_never_reads_does_not_keep_the_last_words_of_an_agent_for_ever() {
    let mut bed = Bed::new(0, 0);
    // More than the peer's ring and a full outgoing buffer hold.
    for index in 0..200 {
        write(bed.near().outgoing(), index, 60_000);
        bed.near().flush().expect("an open link");
        bed.settle_at(START);
    }
    bed.near = None;
    bed.settle_at(START + 1_000 * MS);
    assert!(!bed.emulator.is_idle(), "they wait for a while");
    bed.settle_at(START + 10_000 * MS);
    assert!(bed.emulator.is_idle());
}

#[test]
fn a_full_network_blocks_its_sender_and_loses_nothing() {
    let mut bed = Bed::new(150, 150);
    let mut sent = 0;
    while bed.near().has_room() {
        write(bed.near().outgoing(), sent, 32_000);
        bed.near().flush().expect("an open link");
        sent += 1;
        bed.settle_at(START);
    }
    let under_way = bed.emulator.counts().bytes_under_way;
    // Each turn takes what a ring holds at most beyond the bound.
    let one_more = RING_BUFFERS * (64 << 10) + OUTGOING_BYTES_MAX;
    assert!((TRANSIT_BYTES_MAX..TRANSIT_BYTES_MAX + one_more).contains(&under_way), "{under_way}");
    let (mut received, mut now_ns) = (0, START + 150 * MS);
    while received < sent {
        bed.near().flush().expect("an open link");
        bed.settle_at(now_ns);
        now_ns += MS;
        for index in indices(bed.far()).expect("an open link") {
            assert_eq!(index, received);
            received += 1;
        }
        assert!(now_ns < START + 60_000 * MS, "{received} of {sent} have arrived");
    }
    assert!(bed.near().has_room() && bed.emulator.counts().bytes_under_way == 0);
}

#[test]
fn whoever_waits_for_a_peer_without_room_is_not_late_by_the_networks_doing() {
    let mut bed = Bed::new(1, 0);
    // The peer reads nothing: its ring is full, and then the outgoing buffer before it.
    for index in 0..300 {
        write(bed.near().outgoing(), index, 60_000);
        bed.near().flush().expect("an open link");
        bed.settle_at(START);
        bed.settle_at(START + MS);
        NOW.set(START);
    }
    assert!(!bed.late_ns.is_empty(), "there was room for the first");
    bed.late_ns.clear();
    bed.settle_at(START + 500 * MS);
    let mut received = 0;
    while received < 300 {
        received += indices(bed.far()).expect("an open link").len();
        bed.near().flush().expect("an open link");
        bed.settle_at(START + 500 * MS);
    }
    assert!(bed.late_ns.is_empty(), "{:?}", bed.late_ns);
}

#[test]
fn a_peer_that_made_room_while_nobody_looked_is_not_held_against_the_network() {
    let mut bed = Bed::new(1, 0);
    let mut now_ns = START;
    // More batches than the peer's ring takes: the last of them wait.
    let sent = RING_BUFFERS as u64 + 4;
    for index in 0..sent {
        bed.send_near(index);
        bed.settle_at(now_ns);
        now_ns += MS;
        bed.settle_at(now_ns);
    }
    bed.late_ns.clear();
    bed.send_near(sent);
    bed.settle_at(now_ns);
    assert_eq!(bed.emulator.next_due_ns(), None, "the peer wakes it when there is room");
    let mut received = indices(bed.far()).expect("an open link");
    bed.settle_at(now_ns + 5 * MS);
    received.extend(indices(bed.far()).expect("an open link"));
    assert!(received.into_iter().eq(0..=sent));
    assert!(bed.late_ns.is_empty(), "{:?}", bed.late_ns);
}

#[test]
fn bytes_that_are_no_frames_reach_the_agent_as_such_and_nothing_after_them() {
    for claimed in [0_u32, 11, LIMITS.frame_bytes_max + 1, u32::MAX] {
        let mut bed = Bed::new(5, 5);
        bed.send_far(1);
        let mut garbage = vec![0xee; 100];
        garbage[..4].copy_from_slice(&claimed.to_le_bytes());
        bed.far().outgoing().append_sealed(&garbage);
        bed.far().flush().expect("an open link");
        bed.settle_at(START);
        bed.send_far(2);
        bed.settle_at(START + 5 * MS);
        bed.settle_at(START + 10 * MS);
        let sound = receive(bed.near(), 1, false).expect("what was sent before is sound");
        assert_eq!(sound, [[(1, text(1, 20))]]);
        let error = receive(bed.near(), usize::MAX, false).expect_err("no frame has this length");
        let LinkError::Wire(punctual_wire::WireError::FrameLength { len, .. }) = error else {
            panic!("{error}");
        };
        assert_eq!(len, claimed);
    }
}

#[test]
fn half_a_frame_before_the_end_is_just_an_end() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let inner = StreamLink::connect(&Endpoint::Tcp(address), LIMITS, 256).expect("a try");
    let (mut stranger, _) = listener.accept().expect("a visitor");
    let (_peer, far) = ring_pair(LIMITS, 256);
    let (mut near, _) = emulated((Box::new(inner), Box::new(far)), Shape::NONE);
    let mut half = [0; 40];
    half[..4].copy_from_slice(&80_u32.to_le_bytes());
    stranger.write_all(&half).expect("room for a few bytes");
    drop(stranger);
    let mut end = None;
    until("the link has ended", || {
        end = receive(near.as_mut(), usize::MAX, false).err();
        end.is_some()
    });
    assert!(matches!(end, Some(LinkError::Closed)), "{end:?}");
}

#[test]
fn an_emulated_link_is_called_what_the_link_inside_is_called() {
    let bed = Bed::new(1, 1);
    let near = bed.near.as_ref().expect("the agent is there");
    assert!(near.is_local());
    assert_eq!(near.peer(), "ring");
    let (near, _far) = pair(Kind::EmulatedTcp, 256);
    assert!(!near.is_local() && near.peer().starts_with("127.0.0.1:"), "{}", near.peer());
}

#[test]
fn an_agent_learns_why_the_link_inside_could_not_be_opened() {
    // A port at which nobody listens any more.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    drop(listener);
    let inner = StreamLink::connect(&Endpoint::Tcp(address), LIMITS, 256).expect("a try");
    let (_peer, far) = ring_pair(LIMITS, 256);
    let (mut near, _) = emulated((Box::new(inner), Box::new(far)), Shape::NONE);
    let mut why = None;
    until("the link has ended", || {
        why = near.poll().err();
        why.is_some()
    });
    let refused = std::io::ErrorKind::ConnectionRefused;
    assert!(matches!(&why, Some(LinkError::Io(error)) if error.kind() == refused), "{why:?}");
}

#[test]
fn links_end_with_their_emulator_and_no_others_are_taken() {
    let Bed { emulator, near, far, .. } = Bed::new(1, 1);
    let handle = emulator.handle();
    let (mut near, mut far) = (near.expect("the agent"), far.expect("the peer"));
    drop(emulator);
    assert!(matches!(near.poll(), Err(LinkError::Closed)));
    assert!(matches!(far.poll(), Err(LinkError::Closed)));
    let (inner, _far) = ring_pair(LIMITS, 256);
    let path = NetworkPath::symmetric(Shape::NONE);
    assert!(handle.emulate(Box::new(inner), LIMITS, &path, 1).is_err());
}

#[test]
fn by_a_real_clock_nothing_comes_early_either() {
    let delay = Duration::from_millis(2);
    for inner in [Kind::Ring, Kind::Tcp] {
        let (mut near, mut far) = emulated(pair(inner, 256), Shape::normal(delay, Duration::ZERO));
        for index in 0..20 {
            let sent = Instant::now();
            write(near.outgoing(), index, 10);
            near.flush().expect("an open link");
            receive_messages(far.as_mut(), 1);
            assert!(sent.elapsed() >= delay, "{inner:?}: there");
            let sent = Instant::now();
            write(far.outgoing(), index, 10);
            far.flush().expect("an open link");
            receive_messages(near.as_mut(), 1);
            assert!(sent.elapsed() >= delay, "{inner:?}: back");
        }
    }
}

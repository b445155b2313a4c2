//! Strangers and liars: each costs its own connection and nothing else.

use crate::raw::{self, Peer};
use crate::support::{self, PATIENCE};
use punctual_runtime::{Client, CloseReason, Counter, Key, Limits, Op};
use punctual_wire::{
    BatchWriter, Features, FrameKind, Handshake, Hello, Piece, ReplyStatus, TxnSequence, VERSION,
};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Instant;

/// The key of the well-behaved client.
const COUNTED: u64 = 1;
/// The key that malformed transactions are after.
const COVETED: u64 = 2;

/// Something bad to say, and the word that shows the attacker out.
struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
    goodbye: Option<CloseReason>,
}

fn malformed(name: &'static str, bytes: Vec<u8>) -> Attack {
    Attack { name, bytes, goodbye: Some(CloseReason::Malformed) }
}

fn refused(name: &'static str, hello: &Hello, reason: CloseReason) -> Attack {
    Attack { name, bytes: bytes_of(hello), goodbye: Some(reason) }
}

/// The frame of a hello.
fn bytes_of(hello: &Hello) -> Vec<u8> {
    let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
    Handshake::write_hello(&mut out, hello);
    out.sealed().to_vec()
}

/// A header alone: length, kind, no flags, one message, no checksum.
fn header(len: u32, kind: u8) -> Vec<u8> {
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend([kind, 0, 1, 0, 0, 0, 0, 0]);
    bytes
}

/// The frame of a transaction that announces `op_count` operations and has these.
fn dispatch(op_count: u16, ops: &[Op<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for op in ops {
        op.write(&mut body);
    }
    let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
    Piece::write(&mut out, TxnSequence::new(0, 1), false, op_count, &body);
    out.seal();
    out.sealed().to_vec()
}

fn theft() -> Op<'static> {
    Op::Add { key: Key::Word(COVETED), delta: 1 }
}

fn instead_of_a_hello(good: &Hello) -> Vec<Attack> {
    let good = *good;
    let half = bytes_of(&good)[..30].to_vec();
    let other_cluster = (good.cluster.get() ^ 1).into();
    vec![
        malformed("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        malformed("zeros", vec![0; 12]),
        malformed("a header that announces too much", header(1 << 30, FrameKind::Hello as u8)),
        malformed("a transaction before the hello", dispatch(1, &[theft()])),
        malformed("the magic of another program", bytes_of(&Hello { magic: 1_u64.into(), ..good })),
        malformed("an unknown role", bytes_of(&Hello { role: 9, ..good })),
        refused(
            "another version",
            &Hello { version: (VERSION + 1).into(), ..good },
            CloseReason::Version,
        ),
        refused(
            "another cluster",
            &Hello { cluster: other_cluster, ..good },
            CloseReason::ClusterConfig,
        ),
        refused("another shard", &Hello { shard: 1_u16.into(), ..good }, CloseReason::WrongShard),
        refused("no slots", &Hello { slots: 0_u32.into(), ..good }, CloseReason::TooManySlots),
        refused(
            "too many slots",
            &Hello { slots: (TxnSequence::SLOTS_MAX + 1).into(), ..good },
            CloseReason::TooManySlots,
        ),
        Attack { name: "half a hello", bytes: half, goodbye: None },
        Attack { name: "not a word", bytes: Vec::new(), goodbye: None },
    ]
}

fn after_the_welcome(good: &Hello) -> Vec<Attack> {
    let long = [b'k'; Limits::DEFAULT.key_bytes_max as usize + 1];
    let frame_len = Limits::DEFAULT.frame_bytes_max + 1;
    vec![
        malformed("noise", vec![0xff; 64]),
        malformed("an oversized frame", header(frame_len, FrameKind::Dispatch as u8)),
        malformed("a frame shorter than its header", header(11, FrameKind::Dispatch as u8)),
        malformed("an unknown kind of frame", header(12, 99)),
        malformed("a second hello", bytes_of(good)),
        malformed("a reply to a shard", raw::frame(FrameKind::Reply, b"no", false)),
        malformed("an unwanted checksum", raw::frame(FrameKind::Dispatch, b"no", true)),
        malformed("half a head of a piece", raw::frame(FrameKind::Dispatch, b"no", false)),
        malformed("no operations", dispatch(0, &[])),
        malformed("fewer operations than announced", dispatch(2, &[theft()])),
        malformed("more operations than announced", dispatch(1, &[theft(), theft()])),
        malformed("a key too long", dispatch(2, &[theft(), Op::Get { key: Key::Bytes(&long) }])),
    ]
}

/// Commits one transaction after the other and publishes how many.
fn keep_committing(client: &Client, commits: &AtomicI64, enough: &AtomicBool) {
    let start = Instant::now();
    while !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
        commits.store(support::add(client, COUNTED, 1), Ordering::Relaxed);
    }
}

/// Says something bad and listens to what comes of it.
fn attack(peer: &mut Peer, attack: &Attack) {
    peer.send_bytes(&attack.bytes);
    if attack.goodbye.is_none() {
        peer.hang_up();
    }
    assert_eq!(peer.goodbye(), attack.goodbye, "{}", attack.name);
    assert!(peer.is_closed(), "{}: the link stays open", attack.name);
}

/// Attacks a shard again and again while a good client goes on. Every attack counts once, in the
/// first of the counters only.
fn survives(welcomed: bool, [counter, other]: [Counter; 2], attacks: fn(&Hello) -> Vec<Attack>) {
    let config = support::config(1);
    let served = support::serve(&config);
    let endpoint = served.info().endpoints[0].1.clone();
    let (engine, client) = support::connect(&config, &served);
    let good = raw::hello(0, 7, config.cluster.hash());
    let attacks = attacks(&good);
    let counters = served.counters().clone();
    let (commits, enough) = (AtomicI64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| keep_committing(&client, &commits, &enough));
        for (count, bad) in (1..).zip(&attacks) {
            let mut peer = match welcomed {
                true => Peer::welcomed(&endpoint, &good),
                false => Peer::connect(&endpoint),
            };
            attack(&mut peer, bad);
            support::until(bad.name, || counters.sum("shard0", counter) >= count);
            let before = commits.load(Ordering::Relaxed);
            support::until("the good client goes on", || commits.load(Ordering::Relaxed) > before);
        }
        enough.store(true, Ordering::Relaxed);
    });
    assert_eq!(support::get(&client, COUNTED), Some(commits.into_inner()));
    assert_eq!(support::get(&client, COVETED), None, "what is malformed does nothing");
    let of_client = engine.counters().clone();
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
    assert_eq!(counters.sum("shard0", counter), attacks.len() as u64);
    assert_eq!(counters.sum("shard0", other), 0);
    assert_eq!(of_client.sum("worker", Counter::LinksClosed), 0);
}

#[test]
fn whoever_does_not_belong_here_is_refused_and_disturbs_nobody() {
    let counters = [Counter::HandshakesRefused, Counter::LinksMalformed];
    survives(false, counters, instead_of_a_hello);
}

#[test]
fn malformed_frames_close_their_link_and_disturb_nobody() {
    let counters = [Counter::LinksMalformed, Counter::HandshakesRefused];
    survives(true, counters, after_the_welcome);
}

#[test]
fn a_damaged_frame_is_told_by_its_checksum() {
    let config = support::config(1);
    let served = support::serve(&config);
    let endpoint = served.info().endpoints[0].1.clone();
    let plain = raw::hello(0, 7, config.cluster.hash());
    let hello = Hello { features: Features::CHECKSUM.0.into(), ..plain };
    let mut peer = Peer::welcomed(&endpoint, &hello);
    assert!(peer.checksum(), "the shard agrees to checksums");
    peer.dispatch(TxnSequence::new(0, 1), theft());
    assert_eq!(peer.answer().status, ReplyStatus::Committed);

    let mut bytes = raw::frame(FrameKind::Dispatch, b"any message will do", true);
    bytes[20] ^= 1;
    peer.send_bytes(&bytes);
    assert_eq!(peer.goodbye(), Some(CloseReason::Checksum));
    assert!(peer.is_closed(), "the link stays open");
    let counters = served.counters().clone();
    served.stop().expect("the shard stops");
    assert_eq!(counters.sum("shard0", Counter::LinksMalformed), 1);
}

#[test]
fn a_visitor_that_says_nothing_is_shown_out() {
    let served = support::serve(&support::config(1));
    let mut peer = Peer::connect(&served.info().endpoints[0].1);
    assert_eq!(peer.goodbye(), Some(CloseReason::HandshakeTimeout));
    assert!(peer.is_closed(), "the link stays open");
    let counters = served.counters().clone();
    served.stop().expect("the shard stops");
    assert_eq!(counters.sum("shard0", Counter::HandshakesRefused), 1);
}

#[test]
fn a_crowd_of_strangers_costs_the_oldest_of_them_its_place_and_nobody_else() {
    const STRANGERS_MAX: usize = 64;
    let config = support::config(1);
    let served = support::serve(&config);
    let endpoint = served.info().endpoints[0].1.clone();
    let (engine, client) = support::connect(&config, &served);
    assert_eq!(support::add(&client, COUNTED, 1), 1);
    let mut oldest = Peer::connect(&endpoint);
    let mut others: Vec<_> = (0..STRANGERS_MAX).map(|_| Peer::connect(&endpoint)).collect();
    assert_eq!(oldest.goodbye(), Some(CloseReason::HandshakeTimeout));
    assert!(oldest.is_closed(), "the link stays open");

    for peer in &mut others[..2] {
        peer.say_hello(&raw::hello(0, 7, config.cluster.hash()));
        let welcome = peer.next_frame(Handshake::read_welcome).expect("the link is open");
        welcome.expect("those within the bound have their place");
    }
    assert_eq!(support::add(&client, COUNTED, 1), 2);
    drop(others);
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
}

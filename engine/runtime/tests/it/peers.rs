//! Other shards, played by hand: what a shard tells its peers, what it makes of what they say, and
//! how it parts with those that lie.

use crate::raw::{self, Peer};
use crate::support;
use punctual_link::Endpoint;
use punctual_runtime::config::{Address, ClockSource, Config};
use punctual_runtime::{Clock, CloseReason, Counter, Engine, Key, Op, RefusedReason};
use punctual_wire::{FrameKind, Hello, Participant, PeerMessage, ReplyStatus, TxnId, TxnSequence};
use std::time::Duration;

const SHARDS: u16 = 3;
/// The one that is served; the others are played.
const SERVED: u16 = 2;
/// Session of the coordinator that is played.
const COORDINATOR: u64 = 7;

/// Serves one of three shards.
fn served(config: &Config, shard: u16) -> (Engine, Config, Endpoint) {
    let mut config = support::on_any_port(config);
    config.process.serve = Some(vec![shard]);
    let served = Engine::serve(config.clone()).start_shards().expect("the shard is served");
    let endpoint = served.info().endpoints[0].1.clone();
    (served, config, endpoint)
}

/// A shard whose coordinator and whose two peers are played by hand.
struct Stage {
    served: Engine,
    coordinator: Peer,
    /// By shard.
    peers: [Peer; 2],
}

/// What names the run of a played shard.
fn session_of(shard: u16) -> u64 {
    0xabcd_0000_0000 + u64::from(shard)
}

impl Stage {
    fn new(config: &Config) -> Self {
        let (served, config, endpoint) = served(config, SERVED);
        let cluster = config.cluster.hash();
        let peers = [0, 1].map(|from| {
            let hello = raw::peer_hello(SERVED, from, session_of(from), cluster);
            Peer::welcomed(&endpoint, &hello)
        });
        let coordinator = Peer::welcomed(&endpoint, &raw::hello(SERVED, COORDINATOR, cluster));
        Self { served, coordinator, peers }
    }

    /// Shard 1 and the served one.
    fn participants(&self) -> [Participant; 2] {
        let incarnation = punctual_core::SessionId(session_of(1)).incarnation();
        [
            Participant { shard: 1, incarnation },
            Participant { shard: SERVED, incarnation: self.coordinator.incarnation() },
        ]
    }

    /// Sends the served shard its piece of a transaction, stamped with the present.
    fn dispatch(&mut self, txn: TxnId) {
        let now = Clock::new(ClockSource::Monotonic).now();
        let op = Op::Add { key: Key::Word(support::key_on(SERVED, SHARDS)), delta: 1 };
        let participants = self.participants();
        self.coordinator.dispatch_stamped(txn.sequence, now.0, &participants, op);
    }

    /// What the shard proposes to shard 1 of its own accord; what it asks for again does not count.
    fn proposal(&mut self, txn: TxnId) -> i64 {
        loop {
            let message = self.peers[1].told();
            let PeerMessage::Propose { txn: of, local, to, answer } = message else {
                panic!("{message:?} is no proposal")
            };
            assert_eq!(to, self.participants()[0].incarnation);
            if of == txn && !answer {
                return local;
            }
        }
    }

    /// A proposal for the served shard.
    fn propose(&self, txn: TxnId, local: i64) -> PeerMessage {
        PeerMessage::Propose { txn, local, to: self.coordinator.incarnation(), answer: false }
    }

    fn counter(&self, counter: Counter) -> u64 {
        self.served.counters().sum("shard", counter)
    }

    fn stop(self) {
        let Self { served, coordinator, peers } = self;
        drop((coordinator, peers));
        served.stop().expect("the shard stops");
    }
}

fn txn(generation: u64) -> TxnId {
    TxnId { session: COORDINATOR, sequence: TxnSequence::new(0, generation) }
}

#[test]
fn a_transaction_commits_at_the_latest_of_the_proposals_and_not_before_all_are_there() {
    const LATER: i64 = 1_000_000;
    let mut stage = Stage::new(&support::config(SHARDS));
    stage.dispatch(txn(1));
    let local = stage.proposal(txn(1));
    // Shard 0 has no part in it; what it says changes nothing.
    let foreign = stage.propose(txn(1), local + 2 * LATER);
    stage.peers[0].tell(foreign);
    support::until("it is counted", || stage.counter(Counter::Foreign) == 1);
    assert_eq!(stage.counter(Counter::Committed), 0);

    let proposal = stage.propose(txn(1), local + LATER);
    stage.peers[1].tell(proposal);
    let answer = stage.coordinator.answer();
    assert_eq!((answer.status, answer.commit), (ReplyStatus::Committed, local + LATER));
    assert_eq!(answer.numbers, [Some(1)]);

    stage.stop();
}

#[test]
fn a_proposal_that_comes_before_its_dispatch_is_kept() {
    let mut stage = Stage::new(&support::config(SHARDS));
    let early = Clock::new(ClockSource::Monotonic).now().0 + 1_000_000;
    let proposal = stage.propose(txn(1), early);
    stage.peers[1].tell(proposal);
    // Each of the two peers has said that it is there.
    support::until("it has arrived", || stage.counter(Counter::FramesReceived) == 3);
    stage.dispatch(txn(1));
    let local = stage.proposal(txn(1));
    let answer = stage.coordinator.answer();
    assert_eq!((answer.status, answer.commit), (ReplyStatus::Committed, local.max(early)));
    stage.stop();
}

#[test]
fn a_transaction_that_a_peer_refuses_runs_nowhere() {
    let mut stage = Stage::new(&support::config(SHARDS));
    stage.dispatch(txn(1));
    stage.proposal(txn(1));
    let reason = RefusedReason::DispatchTimeout;
    stage.peers[1].tell(PeerMessage::Refuse { txn: txn(1), reason });
    assert_eq!(stage.coordinator.answer().status, ReplyStatus::Refused(reason));
    support::until("it is counted", || stage.counter(Counter::Refused) == 1);
    assert_eq!(stage.counter(Counter::Ops), 0);
    stage.stop();
}

#[test]
fn a_transaction_that_is_only_heard_of_is_refused_for_ever() {
    let mut config = support::config(SHARDS);
    config.cluster.dispatch_timeout = Duration::from_millis(20);
    let mut stage = Stage::new(&config);
    let proposal = stage.propose(txn(1), Clock::new(ClockSource::Monotonic).now().0);
    stage.peers[1].tell(proposal);
    let reason = RefusedReason::DispatchTimeout;
    assert_eq!(stage.peers[1].told(), PeerMessage::Refuse { txn: txn(1), reason });
    stage.dispatch(txn(1));
    assert_eq!(stage.coordinator.answer().status, ReplyStatus::Refused(reason));
    support::until("it is counted", || stage.counter(Counter::RefusedByTimeout) == 1);
    stage.stop();
}

#[test]
fn a_missing_proposal_is_asked_for_until_it_comes() {
    const TIMES: usize = 3;
    let mut stage = Stage::new(&support::config(SHARDS));
    stage.dispatch(txn(1));
    let local = stage.proposal(txn(1));
    let to = stage.participants()[0].incarnation;
    let asked = PeerMessage::Propose { txn: txn(1), local, to, answer: true };
    for _ in 0..TIMES {
        assert_eq!(stage.peers[1].told(), asked);
    }
    let proposal = stage.propose(txn(1), local);
    stage.peers[1].tell(proposal);
    assert_eq!(stage.coordinator.answer().commit, local);
    support::until("it is counted", || stage.counter(Counter::Asked) >= TIMES as u64);
    stage.stop();
}

#[test]
fn a_transaction_bound_to_another_run_of_the_shard_is_refused() {
    let mut stage = Stage::new(&support::config(SHARDS));
    let stale = PeerMessage::Propose { txn: txn(1), local: 1, to: !0, answer: false };
    stage.peers[1].tell(stale);
    assert_eq!(stage.peers[1].told(), PeerMessage::Gone { txn: txn(1) });
    let mut participants = stage.participants();
    participants[1].incarnation ^= 1;
    let op = Op::Add { key: Key::Word(support::key_on(SERVED, SHARDS)), delta: 1 };
    let now = Clock::new(ClockSource::Monotonic).now();
    stage.coordinator.dispatch_stamped(txn(2).sequence, now.0, &participants, op);
    let status = stage.coordinator.answer().status;
    assert_eq!(status, ReplyStatus::Refused(RefusedReason::PeerLost));
    stage.stop();
}

#[test]
fn a_peer_that_connects_twice_keeps_the_newer_link() {
    let config = support::config(SHARDS);
    let (served, config, endpoint) = served(&config, SERVED);
    let hello = raw::peer_hello(SERVED, 1, session_of(1), config.cluster.hash());
    let mut older = Peer::welcomed(&endpoint, &hello);
    let mut newer = Peer::welcomed(&endpoint, &hello);
    assert_eq!(older.goodbye(), Some(CloseReason::Replaced));
    drop(older);
    newer.tell(PeerMessage::Propose { txn: txn(1), local: 1, to: !0, answer: false });
    assert_eq!(newer.told(), PeerMessage::Gone { txn: txn(1) });
    drop(newer);
    served.stop().expect("the shard stops");
}

#[test]
fn a_hello_that_nobody_stands_behind_does_not_displace_a_peer() {
    let config = support::config(SHARDS);
    let (served, config, endpoint) = served(&config, SERVED);
    let hello = |session| raw::peer_hello(SERVED, 1, session, config.cluster.hash());
    let mut peer = Peer::welcomed(&endpoint, &hello(session_of(1)));
    let question = PeerMessage::Propose { txn: txn(1), local: 1, to: !0, answer: false };
    peer.tell(question);
    assert_eq!(peer.told(), PeerMessage::Gone { txn: txn(1) });
    let late = Peer::silent(&endpoint, &hello(session_of(1) - 1));
    peer.tell(question);
    assert_eq!(peer.told(), PeerMessage::Gone { txn: txn(1) }, "it is the peer still");
    drop((peer, late));
    served.stop().expect("the shard stops");
}

/// Says something bad as a peer of shard 1 and is shown out, while a client goes on.
fn parts_with(hello: impl Fn(u64) -> Hello, attacks: &[(&str, Option<Vec<u8>>, CloseReason)]) {
    const ATTACKED: u16 = 1;
    let any = Address::Tcp("127.0.0.1:0".to_owned());
    let (served, config, endpoint) = served(&support::config(SHARDS), ATTACKED);
    let address = support::addresses_of(&served).remove(0);
    let reaching = support::at(&config, vec![any.clone(), address, any]);
    let (engine, client) = Engine::connect(reaching).start().expect("workers start");
    let key = support::key_on(ATTACKED, SHARDS);
    for (sum, (what, bytes, reason)) in (1..).zip(attacks) {
        let hello = hello(config.cluster.hash());
        let mut peer = match bytes {
            Some(_) => Peer::welcomed(&endpoint, &hello),
            None => Peer::connect(&endpoint),
        };
        match bytes {
            Some(bytes) => peer.send_bytes(bytes),
            None => peer.say_hello(&hello),
        }
        assert_eq!(peer.goodbye(), Some(*reason), "{what}");
        assert!(peer.is_closed(), "{what}: the link stays open");
        assert_eq!(support::add(&client, key, 1), sum, "{what}");
    }
    let counters = served.counters().clone();
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
    let malformed = attacks.iter().filter(|(_, bytes, _)| bytes.is_some()).count();
    assert_eq!(counters.sum("shard", Counter::LinksMalformed), malformed as u64);
    let refused = attacks.len() - malformed;
    assert_eq!(counters.sum("shard", Counter::HandshakesRefused), refused as u64);
}

#[test]
fn whoever_cannot_be_a_peer_is_refused_and_counted() {
    for from in [1, 2, SHARDS, u16::MAX] {
        let hello = |cluster| raw::peer_hello(1, from, 99, cluster);
        parts_with(hello, &[("a shard that does not connect", None, CloseReason::WrongShard)]);
    }
}

#[test]
fn malformed_words_of_a_peer_close_its_link_and_are_counted() {
    let frame = |kind, message: &[u8]| Some(raw::frame(kind, message, false));
    let unknown = [[9; 1].as_slice(), &[0; 31]].concat();
    let refusal = [[2, 0xee].as_slice(), &[0; 30]].concat();
    let attacks = [
        ("noise", Some(vec![0xff; 64]), CloseReason::Malformed),
        ("half a message", frame(FrameKind::Peer, &[1; 16]), CloseReason::Malformed),
        ("an unknown message", frame(FrameKind::Peer, &unknown), CloseReason::Malformed),
        ("an unknown reason", frame(FrameKind::Peer, &refusal), CloseReason::Malformed),
        ("a dispatch", frame(FrameKind::Dispatch, b"no"), CloseReason::Malformed),
        ("a probe", frame(FrameKind::Probe, &[0; 40]), CloseReason::Malformed),
        ("a second hello", frame(FrameKind::Hello, b"again"), CloseReason::Malformed),
    ];
    parts_with(|cluster| raw::peer_hello(1, 0, 99, cluster), &attacks);
}

#[test]
fn malformed_words_of_a_prober_close_its_link_and_are_counted() {
    let frame = |kind, message: &[u8]| Some(raw::frame(kind, message, false));
    let mut answer = [0; 40];
    answer[4] = 1;
    let mut flags = [0; 40];
    flags[4] = 0x80;
    let attacks = [
        ("half a probe", frame(FrameKind::Probe, &[0; 39]), CloseReason::Malformed),
        ("an answer", frame(FrameKind::Probe, &answer), CloseReason::Malformed),
        ("unknown flags", frame(FrameKind::Probe, &flags), CloseReason::Malformed),
        ("a dispatch", frame(FrameKind::Dispatch, b"no"), CloseReason::Malformed),
        ("a word to peers", frame(FrameKind::Peer, &[0; 32]), CloseReason::Malformed),
    ];
    parts_with(|cluster| raw::prober_hello(1, 99, cluster), &attacks);
}

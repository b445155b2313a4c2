//! Servers with several queues: how these are reached, and what is left of them.

use super::crew::submit_to_all;
use super::hostile::{frames, hello, listen};
use super::*;
use crate::agent::Agent;
use crate::clock::Clock;
use crate::config::{ClockSource, JournalBackend};
use crate::counters::Counter;
use crate::engine::random;
use crate::links::Route;
use crate::shard_agent::{HANDSHAKE_TIMEOUT, STRANGERS_MAX, ShardControl};
use crate::tasks::address::{QueueDoor, hash_of};
use crate::tasks::agent::{Farm, TaskAgent};
use crate::tasks::config::FIRST;
use punctual_core::ShardId;
use punctual_core::task::TaskQueue;
use punctual_link::{
    ClientHandshake, Endpoint, HandshakeError, Identity, Link, LinkError, Listener, ParkHandle,
    Parker, StreamLink,
};
use punctual_wire::{BatchWriter, CloseReason, Features, Handshake, Hello, Role};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// Says hello to a queue as somebody with this hash. The queue that answers, and how many there
/// are; `turn` is done between two looks at the link.
fn greet(
    link: &mut dyn Link,
    role: Role,
    queue: u16,
    hash: u64,
    mut turn: impl FnMut(),
) -> Result<(u16, u16), HandshakeError> {
    let identity = Identity { session: random(), cluster: hash, features: Features::default() };
    let mut handshake = ClientHandshake::new(&identity, role, queue, 0, 0);
    let start = Instant::now();
    loop {
        if let Some(welcome) = handshake.step(link, LIMITS)? {
            return Ok((welcome.shard.get(), welcome.queues.get()));
        }
        assert!(start.elapsed() < PATIENCE, "nobody answers");
        turn();
        std::thread::yield_now();
    }
}

/// Connects, and says hello to a queue with a token.
fn knock(
    endpoint: &Endpoint,
    role: Role,
    queue: u16,
    token: &str,
) -> Result<(u16, u16), HandshakeError> {
    let mut link = StreamLink::connect(endpoint, LIMITS, BATCH_MAX).expect("somebody listens");
    greet(&mut link, role, queue, hash_of(&token.into()), || {})
}

fn refusal(outcome: Result<(u16, u16), HandshakeError>) -> CloseReason {
    match outcome {
        Err(HandshakeError::Refused(reason)) => reason,
        other => panic!("{other:?} is no refusal"),
    }
}

/// A server with so many queues.
fn serve_queues(queues: u16, listen: Address) -> TaskServer {
    let config = TaskServerConfig::listening(listen, TOKEN);
    TaskServer::start(TaskServerConfig { queues, ..config }).expect("the server starts")
}

#[test]
fn all_queues_are_reached_by_one_address_in_both_roles_and_nobody_else_is() {
    const QUEUES: u16 = 3;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let listens =
        [Address::Tcp("127.0.0.1:0".to_owned()), Address::Unix(dir.path().join("farm.sock"))];
    for listen in listens {
        let server = serve_queues(QUEUES, listen);
        let endpoint = server.endpoint().expect("it listens").clone();
        for role in [Role::TaskClient, Role::TaskWorker] {
            for queue in 0..QUEUES {
                let found = knock(&endpoint, role, queue, TOKEN).expect("a welcome");
                assert_eq!(found, (queue, QUEUES), "{endpoint}");
                let reason = refusal(knock(&endpoint, role, queue, "another"));
                assert_eq!(reason, CloseReason::Token, "{queue} at {endpoint}");
            }
            for unknown in [QUEUES, u16::MAX] {
                let reason = refusal(knock(&endpoint, role, unknown, TOKEN));
                assert_eq!(reason, CloseReason::WrongShard, "{unknown} at {endpoint}");
            }
        }
        let counters = server.counters().clone();
        server.stop().expect("an orderly stop");
        // All come to the first, in either role: two to each queue and two to none.
        for (queue, opened, refused) in [("tasks0", 16, 6), ("tasks1", 4, 2), ("tasks2", 4, 2)] {
            assert_eq!(counters.sum(queue, Counter::LinksOpened), opened, "{queue}");
            assert_eq!(counters.sum(queue, Counter::HandshakesRefused), refused, "{queue}");
        }
    }
}

#[test]
fn within_the_process_each_queue_has_a_way_of_its_own() {
    let server = TaskServer::start(TaskServerConfig { queues: 2, ..TaskServerConfig::default() });
    let server = server.expect("the server starts");
    let address = QueueAddress::Local(server.local());
    let link_to = |queue| match address.route(queue) {
        Route::Ring(Some(link)) => link,
        _ => panic!("a ring to queue {queue}"),
    };
    for queue in 0..2 {
        let mut link = link_to(queue);
        let found = greet(link.as_mut(), Role::TaskClient, queue, address.hash(), || {});
        assert_eq!(found.expect("a welcome"), (queue, 2));
    }
    let nowhere = link_to(2).poll();
    assert!(matches!(nowhere, Err(LinkError::Closed)), "{nowhere:?}");
    let names: Vec<_> = server.counters().blocks().iter().map(|block| block.name()).collect();
    assert_eq!(names, ["tasks0", "core-tasks-0", "tasks1", "core-tasks-1"]);
    server.stop().expect("an orderly stop");
}

/// The first queue of two, whose turns are done by hand. With what comes to each of them.
struct First {
    agent: TaskAgent,
    farm: Farm,
    second: flume::Receiver<ShardControl>,
    clock: Clock,
    listener: Listener,
}

impl First {
    fn new() -> Self {
        let core = Arc::clone(Parker::new().expect("a place to sleep").handle().waker());
        let (control, receiver) = flume::bounded(2 * STRANGERS_MAX);
        let (other, second) = flume::bounded(1);
        let doors = [control, other].map(|control| QueueDoor { control, core: Arc::clone(&core) });
        let config = TaskServerConfig { queues: 2, ..TaskServerConfig::default() };
        let hash = hash_of(&config.token);
        let queue = TaskQueue::new(config.queue(FIRST));
        let farm = Farm { config, hash, doors: Arc::new(doors) };
        let clock = Clock::new(ClockSource::Realtime);
        let agent = TaskAgent::new(queue, None, clock, &farm, receiver);
        let any = Endpoint::Tcp("127.0.0.1:0".parse().expect("an address"));
        let listener = Listener::bind(&any, LIMITS, BATCH_MAX).expect("a free port");
        Self { agent, farm, second, clock, listener }
    }

    fn connect(&self) -> StreamLink {
        let endpoint = self.listener.endpoint().expect("a port");
        StreamLink::connect(&endpoint, LIMITS, BATCH_MAX).expect("it listens")
    }

    /// What somebody says to be a client of a queue.
    fn handshake(&self, queue: u16) -> ClientHandshake {
        let (cluster, features) = (self.farm.hash, Features::default());
        let identity = Identity { session: random(), cluster, features };
        ClientHandshake::new(&identity, Role::TaskClient, queue, 0, 0)
    }

    /// The end here of the link of whoever connected.
    fn accept(&mut self) -> StreamLink {
        let start = Instant::now();
        loop {
            if let Some(far) = self.listener.accept().expect("the system allows it") {
                return far;
            }
            assert!(start.elapsed() < PATIENCE, "nobody comes");
            std::thread::yield_now();
        }
    }

    fn attach(&self, far: impl Link + 'static) {
        self.farm.doors[0].attach(Box::new(far)).expect("room for all");
    }

    fn turn(&mut self, wrap: impl Fn(Box<dyn Link>) -> Box<dyn Link>) {
        if let Some(far) = self.listener.accept().expect("the system allows it") {
            self.farm.doors[0].attach(wrap(Box::new(far))).expect("room for one");
        }
        self.agent.do_work(self.clock.now());
    }

    /// Does turns until somebody is sent on.
    fn until_sent_on(&mut self) {
        let start = Instant::now();
        while self.second.is_empty() {
            assert!(start.elapsed() < PATIENCE, "nobody is sent on");
            self.turn(|link| link);
            std::thread::yield_now();
        }
    }
}

#[test]
fn whoever_cannot_be_sent_on_is_told_to_try_again() {
    for (is_there, expected) in
        [(true, CloseReason::TooManySessions), (false, CloseReason::Stopping)]
    {
        let mut first = First::new();
        // There is no more room in front of the second queue.
        first.farm.doors[1].control.send(ShardControl::Stop).expect("room for one");
        if !is_there {
            first.second = flume::bounded(1).1;
        }
        let mut near = first.connect();
        let hash = first.farm.hash;
        let answer = greet(&mut near, Role::TaskWorker, 1, hash, || first.turn(|link| link));
        assert_eq!(refusal(answer), expected);
    }
}

/// A link on which something arrives between any two looks at it.
struct Trickle {
    link: Box<dyn Link>,
    looks: u32,
}

impl Link for Trickle {
    fn outgoing(&mut self) -> &mut BatchWriter {
        self.link.outgoing()
    }

    fn flush(&mut self) -> Result<usize, LinkError> {
        self.link.flush()
    }

    fn pending(&self) -> usize {
        self.link.pending()
    }

    fn poll(&mut self) -> Result<usize, LinkError> {
        self.looks += 1;
        if self.looks.is_multiple_of(2) { self.link.poll() } else { Ok(0) }
    }

    fn parts(&mut self) -> (&[u8], &mut BatchWriter) {
        self.link.parts()
    }

    fn consume(&mut self, bytes: usize) {
        self.link.consume(bytes);
    }

    fn register(&mut self, handle: &ParkHandle) -> Result<(), LinkError> {
        self.link.register(handle)
    }

    fn peer(&self) -> String {
        self.link.peer()
    }
}

#[test]
fn a_visitor_whose_hello_arrives_between_two_looks_is_sent_on_as_well() {
    let mut first = First::new();
    let mut near = first.connect();
    let mut handshake = first.handshake(1);
    let start = Instant::now();
    while first.second.is_empty() {
        assert!(start.elapsed() < PATIENCE, "it is not sent on");
        let answer = handshake.step(&mut near, LIMITS).expect("nobody hangs up");
        assert!(answer.is_none(), "the first queue has nothing to say to it");
        first.turn(|link| Box::new(Trickle { link, looks: 0 }));
        std::thread::yield_now();
    }
}

#[test]
fn a_hello_that_comes_in_pieces_is_sent_on_when_it_is_whole_and_not_waited_for_for_ever() {
    let mut first = First::new();
    let bytes = frames(|out| {
        let hello = hello(Role::TaskClient, first.farm.hash);
        Handshake::write_hello(out, &Hello { shard: 1.into(), ..hello });
    });
    let (most, rest) = bytes.split_at(bytes.len() - 1);
    let endpoint = first.listener.endpoint().expect("a port");
    let Endpoint::Tcp(address) = endpoint else { panic!("{endpoint} is no TCP address") };
    let mut streams = [(); 2].map(|()| TcpStream::connect(address).expect("it listens"));
    for stream in &mut streams {
        stream.write_all(most).expect("it takes our bytes");
        let mut far = first.accept();
        let start = Instant::now();
        while far.poll().expect("nobody hangs up") == 0 {
            assert!(start.elapsed() < PATIENCE, "nothing arrives");
            std::thread::yield_now();
        }
        first.attach(far);
    }
    let [mut slow, silent] = streams;
    for _ in 0..10 {
        first.turn(|link| link);
    }
    assert!(first.second.is_empty(), "nobody has said where it wants to go");
    slow.write_all(rest).expect("it takes our bytes");
    first.until_sent_on();
    let late = HANDSHAKE_TIMEOUT + Duration::from_secs(1);
    first.agent.do_work(first.clock.now() + late.into());
    assert_eq!(listen(silent).1, Some(CloseReason::HandshakeTimeout));
    assert_eq!(first.second.len(), 1, "the other waits for its queue");
}

#[test]
fn nobody_who_has_said_hello_is_shown_out_for_others_who_come_at_the_same_time() {
    let mut first = First::new();
    let mut visitors = Vec::new();
    for _ in 0..=STRANGERS_MAX {
        let (mut near, mut handshake) = (first.connect(), first.handshake(0));
        let mut far = first.accept();
        let start = Instant::now();
        while far.poll().expect("nobody hangs up") == 0 {
            assert!(handshake.step(&mut near, LIMITS).expect("nobody hangs up").is_none());
            assert!(start.elapsed() < PATIENCE, "its hello does not arrive");
            std::thread::yield_now();
        }
        first.attach(far);
        visitors.push((near, handshake));
    }
    let start = Instant::now();
    for (near, handshake) in &mut visitors {
        while handshake.step(near, LIMITS).expect("nobody is shown out").is_none() {
            assert!(start.elapsed() < PATIENCE, "nobody answers");
            first.turn(|link| link);
            std::thread::yield_now();
        }
    }
}

/// A server for this process with journals of so many queues.
fn journaled(dir: &Path, queues: u16) -> Result<TaskServer, TaskServerError> {
    let durability = TaskDurability::Journal {
        dir: dir.to_owned(),
        segment_bytes: 4 << 20,
        snapshot_after: 0,
        backend: JournalBackend::Threads,
    };
    TaskServer::start(TaskServerConfig { durability, queues, ..TaskServerConfig::default() })
}

#[test]
fn a_farm_goes_on_from_the_journals_of_all_its_queues_and_with_as_many() {
    const TASKS: u64 = 100;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = journaled(dir.path(), 2).expect("the directory is new");
    let found: Vec<_> = server.recovery().iter().map(|it| (it.shard, it.is_new)).collect();
    assert_eq!(found, [(ShardId(0), true), (ShardId(1), true)]);
    let mut before = client(&QueueAddress::Local(server.local()));
    let job = before.open_job("spread").expect("a job");
    submit_to_all(&mut before, job, 2, 0..TASKS);
    drop(before);
    server.stop().expect("an orderly stop");

    for other in [1, 3] {
        let error = journaled(dir.path(), other).expect_err("tasks would not be found");
        assert!(
            matches!(&error, TaskServerError::Queues { there: 2, wanted, .. } if *wanted == other),
            "{error}"
        );
    }

    let server = journaled(dir.path(), 2).expect("that is their number");
    let found: Vec<_> = server.recovery().iter().map(|it| (it.is_new, it.keys)).collect();
    assert_eq!(found, [(false, TASKS), (false, TASKS)]);
    let address = QueueAddress::Local(server.local());
    let mut client = client(&address);
    assert_eq!(client.open_job("spread").expect("a job"), job);
    let worker = worker("w", &address);
    until_done(&mut client, job, 2 * TASKS);
    worker.drain();
    worker.wait().expect("everything was acknowledged");
    let counters = server.counters().clone();
    server.stop().expect("an orderly stop");
    for queue in ["tasks0", "tasks1"] {
        assert_eq!(counters.sum(queue, Counter::TasksDone), TASKS, "{queue}");
    }
}

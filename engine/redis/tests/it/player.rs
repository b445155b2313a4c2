//! A worker of ours whose processes the test plays: it decides what comes of each, and when.

use crate::support::{PATIENCE, until};
use punctual_core::task::{Action, Exit, Prefetch, RunId, TaskWorker, TaskWorkerConfig, Usage};
use punctual_core::{Nanos, ShardId};
use punctual_link::{ClientHandshake, Identity, Link};
use punctual_redis::RedisBridge;
use punctual_wire::task::{EndKind, TaskPayload};
use punctual_wire::{CloseReason, Features, FrameKind, FrameReader, Handshake, Limits, Role};
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

const LIMITS: Limits = Limits::DEFAULT;
/// A bridge has one queue.
const QUEUE: ShardId = ShardId(0);
pub(crate) const GIB: u64 = 1 << 30;

/// What comes of a command, unless the test decides later.
pub(crate) type Play = Box<dyn FnMut(&str) -> Option<Exit> + Send>;

pub(crate) struct Player {
    worker: TaskWorker,
    link: Box<dyn Link>,
    handshake: Option<ClientHandshake>,
    began: Instant,
    play: Play,
    running: Vec<(RunId, String)>,
    /// What was started, in its order.
    pub(crate) started: Vec<String>,
    /// What was stopped before its end.
    pub(crate) stopped: Vec<String>,
    /// Why the link was closed.
    pub(crate) closed: Option<CloseReason>,
}

/// Success, with something on standard output.
pub(crate) fn success(stdout: &str) -> Exit {
    let (stdout_bytes, stdout) = (stdout.len() as u64, stdout.as_bytes().to_vec());
    Exit { stdout_bytes, stdout, ..Exit::success() }
}

/// Failure, with something on standard error.
pub(crate) fn failure(stderr: &str) -> Exit {
    let (stderr_bytes, stderr) = (stderr.len() as u64, stderr.as_bytes().to_vec());
    Exit { code: 1, stderr_bytes, stderr, ..Exit::success() }
}

/// A worker of this size: 8 GiB and 8 cores.
pub(crate) fn size(slots: u32, prefetch: u32) -> TaskWorkerConfig {
    let config = TaskWorkerConfig::new("worker", slots, 8 * GIB, 8000);
    TaskWorkerConfig { prefetch: Prefetch::Fixed(prefetch), ..config }
}

impl Player {
    /// Every task runs until the test ends it.
    pub(crate) fn by_hand(bridge: &RedisBridge, config: TaskWorkerConfig) -> Self {
        Self::new(bridge, config, Box::new(|_| None))
    }

    /// Every task succeeds at once.
    pub(crate) fn quick(bridge: &RedisBridge, slots: u32) -> Self {
        Self::new(bridge, size(slots, 0), Box::new(|command| Some(success(command))))
    }

    pub(crate) fn new(bridge: &RedisBridge, config: TaskWorkerConfig, play: Play) -> Self {
        let (cluster, features) = (xxh3_64(b"punctual-tasks"), Features::default());
        let identity = Identity { session: 1, cluster, features };
        Self {
            worker: TaskWorker::new(config),
            link: bridge.link(),
            handshake: Some(ClientHandshake::new(&identity, Role::TaskWorker, 0, 0, 0)),
            began: Instant::now(),
            play,
            running: Vec::new(),
            started: Vec::new(),
            stopped: Vec::new(),
            closed: None,
        }
    }

    fn now(&self) -> Nanos {
        Nanos::from(self.began.elapsed())
    }

    /// Does what a host would do in a turn.
    pub(crate) fn turn(&mut self) {
        let now = self.now();
        if self.closed.is_some() {
            return;
        }
        if let Some(handshake) = &mut self.handshake {
            match handshake.step(self.link.as_mut(), LIMITS) {
                Ok(Some(_)) => {
                    self.handshake = None;
                    self.worker.on_link_up(now, QUEUE);
                }
                Ok(None) => return,
                Err(error) => panic!("the bridge does not welcome its worker: {error}"),
            }
        }
        self.read(now);
        self.worker.on_turn(now);
        while let Some(action) = self.worker.next_action() {
            self.act(now, action);
        }
        while self.worker.write(now, QUEUE, self.link.outgoing()) > 0 {}
        // An end of the link is noticed when it is read.
        let _ = self.link.flush();
    }

    fn read(&mut self, now: Nanos) {
        let polled = self.link.poll();
        let (bytes, _) = self.link.parts();
        let mut reader = FrameReader::new(bytes, LIMITS, false);
        while let Some(frame) = reader.next_frame().expect("whole frames") {
            if frame.kind == FrameKind::Goodbye {
                self.closed = Some(Handshake::read_goodbye(&frame).expect("a reason"));
            } else {
                self.worker.on_frame(now, QUEUE, &frame).expect("messages for a worker");
            }
        }
        let taken = reader.taken();
        self.link.consume(taken);
        if polled.is_err() && self.closed.is_none() {
            self.closed = Some(CloseReason::Stopping);
        }
        if self.closed == Some(CloseReason::LeaseExpired) {
            self.worker.on_expired(now, QUEUE);
            while let Some(action) = self.worker.next_action() {
                self.act(now, action);
            }
        }
    }

    fn act(&mut self, now: Nanos, action: Action) {
        match action {
            Action::Start(run) => {
                let lease = self.worker.lease(run).expect("a lease that starts");
                let payload = TaskPayload::read(&lease.payload).expect("a payload");
                let command = String::from_utf8_lossy(payload.command).into_owned();
                self.started.push(command.clone());
                match (self.play)(&command) {
                    Some(exit) => self.worker.on_exit(now, run, exit),
                    None => self.running.push((run, command)),
                }
            }
            Action::Stop(run) | Action::Kill(run) => {
                let Some(at) = self.running.iter().position(|(other, _)| *other == run) else {
                    return;
                };
                let (_, command) = self.running.remove(at);
                self.stopped.push(command);
                let exit = Exit { kind: EndKind::Signaled, code: 15, ..Exit::success() };
                self.worker.on_exit(now, run, exit);
            }
        }
    }

    /// Takes turns until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        until(what, || {
            self.turn();
            holds(self)
        });
    }

    /// Commands that run, in the order in which they were started.
    pub(crate) fn running(&self) -> Vec<&str> {
        self.running.iter().map(|(_, command)| command.as_str()).collect()
    }

    /// Tasks that wait here.
    pub(crate) fn waiting(&self) -> usize {
        self.worker.waiting()
    }

    pub(crate) fn until_running(&mut self, count: usize) {
        self.until(&format!("{count} tasks run"), |player| player.running.len() == count);
    }

    /// Ends what runs this command.
    pub(crate) fn end(&mut self, command: &str, exit: Exit) {
        let at = self.running.iter().position(|(_, other)| other == command);
        let (run, _) = self.running.remove(at.unwrap_or_else(|| panic!("{command} does not run")));
        self.worker.on_exit(self.now(), run, exit);
        self.turn();
    }

    /// Measures the machine: so much memory is free.
    pub(crate) fn measure(&mut self, memory_free: u64) {
        let usage = Usage { memory_free, cores_used_milli: 1500 };
        self.worker.on_usage(self.now(), usage);
    }

    pub(crate) fn drain(&mut self) {
        self.worker.drain(self.now());
    }

    /// It was told to end, and has nothing left to do.
    pub(crate) fn is_finished(&self) -> bool {
        self.worker.is_finished()
    }

    pub(crate) fn name(&self) -> &str {
        self.worker.name()
    }
}

/// Players on threads of their own, until what the test waits for has come.
pub(crate) fn all_play(players: Vec<Player>, until_then: impl FnOnce()) -> Vec<Player> {
    use std::sync::atomic::{AtomicBool, Ordering};
    /// Ends the players also when the test fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let play = |mut player: Player| {
            let is_over = &is_over;
            scope.spawn(move || {
                let start = Instant::now();
                while !is_over.load(Ordering::Relaxed) {
                    assert!(start.elapsed() < 4 * PATIENCE, "the test hangs");
                    player.turn();
                    std::thread::yield_now();
                }
                player
            })
        };
        let threads: Vec<_> = players.into_iter().map(play).collect();
        let over = Over(&is_over);
        until_then();
        drop(over);
        threads.into_iter().map(|thread| thread.join().expect("a player")).collect()
    })
}

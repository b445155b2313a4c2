//! The clerk: it loads the stores before the run and reads them afterwards.
//!
//! It is a coordinator next to all the shards, and nothing that it asks takes any of the time that
//! is measured: before the first probe or after the last reply, round by round, everybody says at
//! once what there is to say. So the stores are filled and read by the workload's own transactions,
//! through the same shards, and no frame of them is under way in the run.

use super::config::{SimBenchConfig, SimBenchError};
use super::shard::ShardNode;
use punctual_core::{
    Completion, Coordinator, CoordinatorConfig, Nanos, Outbox, Outcome, OwdConfig, SessionId,
    SessionIndex, ShardId, SubmitError, Transaction,
};
use punctual_load::workload::Generator;
use punctual_wire::{BatchWriter, Frame, FrameReader, Limits};
use std::time::Duration;

/// Transactions that it has in flight.
pub(super) const IN_FLIGHT: u32 = 256;
/// And while it reads: who does not know how much there is reads on until nothing comes back, and
/// would ask for all of this in vain.
const READS_IN_FLIGHT: u32 = 16;
/// Messages in a frame.
const BATCH: u16 = 64;
/// Time between two rounds.
const ROUND: Nanos = Nanos(1_000_000);
/// Rounds in which shards may still tell each other what was settled.
const SETTLING_ROUNDS: u32 = 100;
/// What has no answer after this, and what is held in any case, is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// All stores together may have so many bytes.
pub(super) const STORES_BYTES_MAX: u64 = 4 << 30;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Load,
    Verify,
    /// As many transactions as are left, as if they were measured.
    Play(u64),
}

impl Job {
    fn in_flight_max(self) -> u32 {
        match self {
            Self::Load | Self::Play(_) => IN_FLIGHT,
            Self::Verify => READS_IN_FLIGHT,
        }
    }

    /// Puts the next transaction into `transaction`; false if there is no more.
    fn make(
        &mut self,
        generator: &mut impl Generator,
        transaction: &mut Transaction,
    ) -> Result<bool, SimBenchError> {
        Ok(match self {
            Self::Load => generator.load(transaction),
            Self::Verify => generator.verify(transaction),
            Self::Play(0) => false,
            Self::Play(left) => {
                *left -= 1;
                generator.next(transaction).map_err(SimBenchError::Workload)?;
                true
            }
        })
    }

    fn sent(self, generator: &mut impl Generator, slot: u16) {
        match self {
            Self::Load => {}
            Self::Verify => generator.verify_sent(slot),
            Self::Play(_) => generator.sent(slot),
        }
    }

    /// A transaction has ended. Returns what is wrong with that.
    fn ended(self, generator: &mut impl Generator, mut done: Completion<'_>) -> Option<Outcome> {
        let slot = done.sequence.slot();
        match (self, done.outcome) {
            (Self::Play(_), outcome) => generator.ended(slot, &outcome, &mut done.results),
            (Self::Load, Outcome::Committed { .. }) => {}
            (Self::Verify, Outcome::Committed { .. }) => {
                generator.verified(slot, &mut done.results);
            }
            (_, outcome) => return Some(outcome),
        }
        None
    }
}

/// What goes to each shard.
#[derive(Debug)]
struct Writers(Vec<BatchWriter>);

impl Outbox for Writers {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        self.0.get_mut(usize::from(shard.0))
    }
}

/// The clerk.
#[derive(Debug)]
pub(super) struct Clerk {
    coordinator: Coordinator,
    session: SessionId,
    sessions: Vec<SessionIndex>,
    writers: Writers,
    /// What a shard says, while it is carried.
    out: BatchWriter,
    bytes: Vec<u8>,
    transaction: Transaction,
    /// Whether the shards have to talk: any of its transactions was on several of them.
    is_spanning: bool,
    now: Nanos,
}

impl Clerk {
    /// A clerk whose first round is at `now`.
    pub(super) fn new(config: &SimBenchConfig, session: SessionId, now: Nanos) -> Self {
        let writer = || BatchWriter::new(Limits::DEFAULT, BATCH, false);
        let settings = CoordinatorConfig {
            shards: config.shards,
            limits: Limits::DEFAULT,
            in_flight_max: IN_FLIGHT,
            request_timeout: config.hold_max() + PATIENCE / 10,
            deadline: config.hold_max() * 2 + PATIENCE,
            busy_backoff: Duration::from_millis(1),
            headroom: Nanos::ZERO,
            owd: OwdConfig::default(),
        };
        Self {
            coordinator: Coordinator::new(settings),
            session,
            sessions: Vec::new(),
            writers: Writers((0..config.shards).map(|_| writer()).collect()),
            out: writer(),
            bytes: Vec::new(),
            transaction: Transaction::new(config.shards, Limits::DEFAULT),
            is_spanning: false,
            now,
        }
    }

    /// Connects the shards, which are new, to each other and to itself.
    pub(super) fn connect(&mut self, shards: &mut [ShardNode]) {
        let runs: Vec<SessionId> = shards.iter().map(|node| node.shard.session()).collect();
        for (node, own) in shards.iter_mut().zip(0_u16..) {
            for (run, peer) in runs.iter().zip(0_u16..).filter(|(_, peer)| *peer != own) {
                node.shard.on_peer_up(self.now, ShardId(peer), *run);
            }
            let (index, epoch) = node.connect_clerk(self.now, self.session, IN_FLIGHT);
            self.sessions.push(index);
            let (id, run) = (node.shard.id(), node.shard.session());
            let nothing = |_: Completion<'_>| {};
            self.coordinator.on_link_up(self.now, id, run, epoch, &mut self.writers, nothing);
        }
    }

    /// Loads the part of a generator.
    pub(super) fn load(
        &mut self,
        shards: &mut [ShardNode],
        generator: &mut impl Generator,
    ) -> Result<(), SimBenchError> {
        self.work(Job::Load, shards, generator)
    }

    /// Runs so many transactions of a generator.
    pub(super) fn play(
        &mut self,
        count: u64,
        shards: &mut [ShardNode],
        generator: &mut impl Generator,
    ) -> Result<(), SimBenchError> {
        self.work(Job::Play(count), shards, generator)
    }

    /// Reads the part of a generator, after a run that has ended at `now`.
    pub(super) fn verify(
        &mut self,
        now: Nanos,
        shards: &mut [ShardNode],
        generator: &mut impl Generator,
    ) -> Result<(), SimBenchError> {
        self.now = self.now.max(now);
        // What was given up may be held still, until the shards have talked about it.
        self.is_spanning |= shards.iter().any(|node| node.shard.stats().held > 0);
        self.work(Job::Verify, shards, generator)
    }

    /// Lets the shards forget what only the clerk has asked for.
    pub(super) fn settle(&mut self, shards: &mut [ShardNode]) {
        let is_busy = |node: &ShardNode| node.shard.next_deadline().is_some();
        for _ in 0..SETTLING_ROUNDS {
            if !shards.iter().any(is_busy) {
                return;
            }
            self.round(shards, &mut |_| {});
        }
    }

    fn work(
        &mut self,
        mut job: Job,
        shards: &mut [ShardNode],
        generator: &mut impl Generator,
    ) -> Result<(), SimBenchError> {
        let mut is_more = true;
        let mut failed = None;
        loop {
            is_more = is_more && self.submit(&mut job, generator)?;
            if !is_more && self.coordinator.in_flight() == 0 {
                return Ok(());
            }
            self.round(shards, &mut |done| failed = job.ended(generator, done).or(failed));
            if let Some(outcome) = failed {
                let what = if job == Job::Load { "loads" } else { "reads" };
                let text = format!("a transaction that {what} the stores ended as {outcome:?}");
                return Err(SimBenchError::Workload(text));
            }
            check_stores(shards)?;
        }
    }

    /// Submits as long as there is room. Returns whether there is more to be submitted.
    fn submit(
        &mut self,
        job: &mut Job,
        generator: &mut impl Generator,
    ) -> Result<bool, SimBenchError> {
        let Self { coordinator, transaction, writers, now, .. } = self;
        while coordinator.in_flight() < job.in_flight_max() {
            // Otherwise it was made before, and there was no room for it.
            if transaction.shard_count() == 0 && !job.make(generator, transaction)? {
                return Ok(false);
            }
            self.is_spanning |= transaction.shard_count() > 1;
            match coordinator.submit(*now, transaction, 0, writers) {
                Ok(sequence) => job.sent(generator, sequence.slot()),
                Err(SubmitError::Invalid(error)) => {
                    return Err(SimBenchError::Workload(error.to_string()));
                }
                Err(_) => break,
            }
        }
        Ok(true)
    }

    /// Everybody says what there is to say, and a millisecond passes.
    fn round(&mut self, shards: &mut [ShardNode], done: &mut dyn FnMut(Completion<'_>)) {
        let Self { coordinator, sessions, writers, out, bytes, now, .. } = self;
        for node in shards.iter_mut() {
            let shard = &mut node.shard;
            let at = usize::from(shard.id().0);
            let (id, session) = (shard.id(), sessions[at]);
            carry(&mut writers.0[at], bytes, |frame| {
                let taken = shard.on_dispatch(*now, session, frame, out);
                taken.expect("a coordinator sends valid pieces");
            });
            shard.on_turn(*now);
            shard.write_replies(session, out);
            carry(out, bytes, |frame| {
                let taken = coordinator.on_reply(*now, id, frame, &mut *done);
                taken.expect("a shard sends valid replies");
            });
        }
        if self.is_spanning {
            self.exchange(shards);
        }
        self.coordinator.on_timer(self.now, &mut self.writers, &mut *done);
        self.now = self.now + ROUND;
    }

    /// Every shard tells every other one what there is to tell.
    fn exchange(&mut self, shards: &mut [ShardNode]) {
        let Self { out, bytes, now, .. } = self;
        let count = shards.len();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from != to) {
            while shards[from].shard.write_peer(ShardId(to as u16), out) > 0 {}
            carry(out, bytes, |frame| {
                let taken = shards[to].shard.on_peer(*now, ShardId(from as u16), frame);
                taken.expect("a shard sends valid messages");
            });
        }
    }
}

/// Hands what is in a writer to `take`, frame by frame.
fn carry(out: &mut BatchWriter, bytes: &mut Vec<u8>, mut take: impl FnMut(&Frame<'_>)) {
    if out.is_empty() {
        return;
    }
    out.seal();
    bytes.clear();
    out.swap_sealed(bytes);
    let mut frames = FrameReader::new(bytes, Limits::DEFAULT, false);
    while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
        take(&frame);
    }
}

/// Whether there is memory for what is in the stores.
///
/// # Errors
/// How much there is, if that is too much.
pub(super) fn check_stores(shards: &[ShardNode]) -> Result<(), SimBenchError> {
    let bytes = shards.iter().map(|node| node.shard.store().bytes()).sum();
    if bytes <= STORES_BYTES_MAX {
        return Ok(());
    }
    Err(SimBenchError::StoresTooLarge { bytes, max: STORES_BYTES_MAX })
}

//! Named counters: written by one core with plain stores, read by anybody at any time.

use crossbeam::utils::CachePadded;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is counted. Everything counts from the start of its agent or core.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Turns of a core's loop.
    Turns = "turns",
    /// Turns in which nothing was to be done.
    IdleTurns = "idle_turns",
    /// Times a core gave its time slice away.
    Yields = "yields",
    /// Times a core slept.
    Parks = "parks",
    /// Frames received.
    FramesReceived = "frames_received",
    /// Frames sent.
    FramesSent = "frames_sent",
    /// Messages sent, in all frames.
    MessagesSent = "messages_sent",
    /// Bytes received.
    BytesReceived = "bytes_received",
    /// Bytes sent.
    BytesSent = "bytes_sent",
    /// Flushes that moved less than what was there.
    ShortSends = "short_sends",
    /// Times a link was not read because its answers had no room.
    BackPressure = "back_pressure",
    /// Links that were opened.
    LinksOpened = "links_opened",
    /// Links that ended.
    LinksClosed = "links_closed",
    /// Links closed because of what arrived on them.
    LinksMalformed = "links_malformed",
    /// Handshakes refused, by either side.
    HandshakesRefused = "handshakes_refused",
    /// Transactions that committed.
    Committed = "committed",
    /// Transactions that their procedure aborted.
    Aborted = "aborted",
    /// Transactions refused.
    Refused = "refused",
    /// Transactions whose outcome is unknown.
    Unknown = "unknown",
    /// Stamped transactions: those on several shards.
    Stamped = "stamped",
    /// Stamped transactions that arrived after their time.
    Late = "late",
    /// Transactions that wait for their time or for agreement now.
    Held = "held",
    /// Transactions that had to wait for a conflicting one.
    Blocked = "blocked",
    /// Proposals sent to other shards.
    ProposalsSent = "proposals_sent",
    /// Proposals that were missing and asked for.
    Asked = "asked",
    /// Transactions refused because their dispatch did not come.
    RefusedByTimeout = "refused_by_timeout",
    /// Transactions refused because a shard lost its memory.
    PeerLost = "peer_lost",
    /// Proposals of shards that had no part in the transaction.
    Foreign = "foreign",
    /// Messages to other shards that were dropped, to be asked for again.
    PeerDropped = "peer_dropped",
    /// Transactions that shards committed at different timestamps: never, or something is broken.
    CommitMismatch = "commit_mismatch",
    /// Transactions that one shard committed and another aborted.
    VerdictsDiffer = "verdicts_differ",
    /// Busy answers.
    Busy = "busy",
    /// Pieces sent again.
    Retries = "retries",
    /// Retries answered from an outcome table.
    Repeated = "repeated",
    /// Messages about what was finished long ago.
    Stale = "stale",
    /// Operations run.
    Ops = "ops",
    /// Keys in the store.
    Keys = "keys",
    /// Bytes of the store.
    StoreBytes = "store_bytes",
    /// Transactions in flight now.
    InFlight = "in_flight",
    /// Bytes written to a journal.
    JournalBytes = "journal_bytes",
    /// Writes of a journal.
    JournalWrites = "journal_writes",
    /// Files of a log that were begun.
    JournalSegments = "journal_segments",
    /// Snapshots that were finished.
    JournalSnapshots = "journal_snapshots",
    /// What the writes of a journal took together, in nanoseconds.
    JournalWriteNs = "journal_write_ns",
    /// The longest write of a journal, in nanoseconds.
    JournalWriteMaxNs = "journal_write_max_ns",
    /// Whether a journal is out of room now: 1 if it is.
    JournalFull = "journal_full",
    /// For how long anything waited at most to be durable, in nanoseconds.
    JournalLagMaxNs = "journal_lag_max_ns",
    /// Tasks that a queue has taken in.
    TasksSubmitted = "tasks_submitted",
    /// Submissions of tasks that were in the queue already.
    TasksKnown = "tasks_known",
    /// Submissions that a queue refused.
    TasksRefused = "tasks_refused",
    /// Tasks given to workers, each attempt of them.
    TasksLeased = "tasks_leased",
    /// Attempts at tasks that succeeded.
    TasksDone = "tasks_done",
    /// Attempts at tasks that failed.
    TasksFailed = "tasks_failed",
    /// Failed attempts at tasks that were not the last.
    TasksRetried = "tasks_retried",
    /// Tasks whose worker was given up.
    TasksExpired = "tasks_expired",
    /// Tasks that workers gave back.
    TasksReturned = "tasks_returned",
    /// Tasks that were asked back.
    TasksRecalled = "tasks_recalled",
    /// Tasks that a queue has forgotten.
    TasksRemoved = "tasks_removed",
    /// Tasks that are to be done, or are being done, now.
    TasksUnfinished = "tasks_unfinished",
    /// Bytes that the tasks of a queue take now.
    TaskBytes = "task_bytes",
    /// Workers that a queue knows now.
    TaskWorkers = "task_workers",
    /// Workers that a queue holds now for a task that needs more than is free there.
    TaskHolds = "task_holds",
    /// Probes sent.
    ProbesSent = "probes_sent",
    /// Probes without an answer.
    ProbesLost = "probes_lost",
    /// Probes that left too late to be used.
    ProbesLate = "probes_late",
    /// Measurements of the prober that a coordinator worker took.
    OwdSamples = "owd_samples",
    /// Measurements that found no room where they were to be used.
    SamplesDropped = "samples_dropped",
    /// Links with an emulated network in them, now.
    NetworkLinks = "network_links",
    /// Batches of frames that an emulated network delayed.
    NetworkBatches = "network_batches",
    /// Bytes that it delayed.
    NetworkBytes = "network_bytes",
    /// Packets that it lost, and that arrived later.
    NetworkLost = "network_lost",
    /// How much later than it should a batch left it: the median, in nanoseconds.
    NetworkErrorP50Ns = "network_error_p50_ns",
    /// The same: the 99th percentile, in nanoseconds.
    NetworkErrorP99Ns = "network_error_p99_ns",
    /// The same: the longest, in nanoseconds.
    NetworkErrorMaxNs = "network_error_max_ns",
}

/// The counters of one agent or core, on cache lines of their own.
#[derive(Debug)]
pub struct CounterBlock {
    name: String,
    values: CachePadded<[AtomicU64; Counter::ALL.len()]>,
}

impl CounterBlock {
    pub(crate) fn new(name: String) -> Arc<Self> {
        let values = CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Arc::new(Self { name, values })
    }

    /// Whose counters they are: `shard0`, `worker1`, `core0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets a counter. Only its owner does.
    #[inline]
    pub(crate) fn set(&self, counter: Counter, value: u64) {
        self.values[counter as usize].store(value, Ordering::Relaxed);
    }

    /// The latest published value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }
}

/// All counters of a process.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    blocks: Vec<Arc<CounterBlock>>,
}

impl Counters {
    pub(crate) fn new(blocks: Vec<Arc<CounterBlock>>) -> Self {
        Self { blocks }
    }

    /// The blocks, in the order of their making.
    #[must_use]
    pub fn blocks(&self) -> &[Arc<CounterBlock>] {
        &self.blocks
    }

    /// Sum of a counter over all whose name begins with `prefix`.
    #[must_use]
    pub fn sum(&self, prefix: &str, counter: Counter) -> u64 {
        let of_prefix = self.blocks.iter().filter(|block| block.name.starts_with(prefix));
        of_prefix.map(|block| block.get(counter)).sum()
    }

    /// Every counter that is not zero, as `shard0.committed`.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let of_block = |block: &Arc<CounterBlock>| {
            let name = block.name.clone();
            let block = Arc::clone(block);
            Counter::ALL
                .iter()
                .map(move |counter| (format!("{name}.{}", counter.name()), block.get(*counter)))
        };
        self.blocks.iter().flat_map(of_block).filter(|(_, value)| *value > 0).collect()
    }
}

/// What an agent counts about its links.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct LinkCounts {
    pub(crate) frames_received: u64,
    pub(crate) frames_sent: u64,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) short_sends: u64,
    pub(crate) back_pressure: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) malformed: u64,
    pub(crate) refused: u64,
}

impl LinkCounts {
    /// The sum of both.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            frames_received: self.frames_received + other.frames_received,
            frames_sent: self.frames_sent + other.frames_sent,
            messages_sent: self.messages_sent + other.messages_sent,
            bytes_received: self.bytes_received + other.bytes_received,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            short_sends: self.short_sends + other.short_sends,
            back_pressure: self.back_pressure + other.back_pressure,
            opened: self.opened + other.opened,
            closed: self.closed + other.closed,
            malformed: self.malformed + other.malformed,
            refused: self.refused + other.refused,
        }
    }

    pub(crate) fn publish(&self, block: &CounterBlock) {
        block.set(Counter::FramesReceived, self.frames_received);
        block.set(Counter::FramesSent, self.frames_sent);
        block.set(Counter::MessagesSent, self.messages_sent);
        block.set(Counter::BytesReceived, self.bytes_received);
        block.set(Counter::BytesSent, self.bytes_sent);
        block.set(Counter::ShortSends, self.short_sends);
        block.set(Counter::BackPressure, self.back_pressure);
        block.set(Counter::LinksOpened, self.opened);
        block.set(Counter::LinksClosed, self.closed);
        block.set(Counter::LinksMalformed, self.malformed);
        block.set(Counter::HandshakesRefused, self.refused);
    }
}

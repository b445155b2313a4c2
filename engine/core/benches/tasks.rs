//! What a task costs its queue: taken in, leased and completed, in frames as they come from links.
//! `docs/profiling.md` says how to run it.

use criterion::{BatchSize, Criterion, Throughput};
use punctual_core::task::{Party, TaskQueue, TaskQueueConfig};
use punctual_core::{Nanos, SessionId, ShardId};
use punctual_wire::task::{
    After, Attempt, Capacity, Captured, EndKind, JobId, PayloadKind, PushReader, QueuePush,
    TaskEnd, TaskId, TaskKey, TaskPayload, TaskSpec, TaskState, ToQueue, Variables,
};
use punctual_wire::{BatchWriter, FrameReader, Limits};

const LIMITS: Limits = Limits::DEFAULT;
/// Tasks of a turn, all of which the worker takes at once.
const BATCH: u32 = 64;
/// What tasks may take: little, so that the queue soon remembers as many that ended as it may.
const MEMORY_MAX: u64 = 64 << 20;
/// From one turn to the next.
const TURN: Nanos = Nanos(100_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("tasks");
    group.throughput(Throughput::Elements(BATCH.into()));
    // Those that wait are of a lower priority: they are passed by.
    for (name, waiting) in [("submit, lease, complete", 0), ("the same, 100,000 waiting", 100_000)]
    {
        let mut rig = Rig::new();
        let mut submissions = Submissions::new(rig.job);
        for _ in 0..waiting / BATCH {
            let bytes = submissions.next(-1);
            rig.take(rig.client, &bytes);
        }
        rig.enlist();
        let (before, first) = (rig.queue.stats().done, submissions.ticket);
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || submissions.next(1),
                |bytes| rig.turn(bytes),
                BatchSize::SmallInput,
            );
        });
        let (done, submitted) = (rig.queue.stats().done - before, submissions.ticket - first);
        assert_eq!(done, submitted, "every task of a turn is done in it");
    }
    group.finish();
    criterion.final_summary();
}

fn writer() -> BatchWriter {
    BatchWriter::new(LIMITS, LIMITS.batch_max, false)
}

/// Writes the frames of a client.
struct Submissions {
    job: JobId,
    payload: Vec<u8>,
    out: BatchWriter,
    ticket: u64,
}

impl Submissions {
    fn new(job: JobId) -> Self {
        let mut payload = Vec::new();
        let (kind, variables) = (PayloadKind::Noop, Variables::default());
        TaskPayload { kind, name: b"", cwd: b"", command: &[b'x'; 64], variables }
            .write_to(&mut payload);
        Self { job, payload, out: writer(), ticket: 0 }
    }

    /// A batch of new tasks.
    fn next(&mut self, priority: i32) -> Vec<u8> {
        for _ in 0..BATCH {
            self.ticket += 1;
            let spec = TaskSpec {
                job: self.job,
                key: TaskKey(self.ticket.into()),
                priority,
                memory: 0,
                cores_milli: 0,
                timeout_ms: 0,
                attempts_max: 1,
                after: After::default(),
                payload: &self.payload,
            };
            ToQueue::Submit { ticket: self.ticket, spec }.write(&mut self.out);
        }
        self.out.seal();
        let bytes = self.out.sealed().to_vec();
        self.out.clear_sealed();
        bytes
    }
}

/// A queue with a client and a worker.
struct Rig {
    queue: TaskQueue,
    now: Nanos,
    client: Party,
    job: JobId,
    worker: Party,
    to_queue: BatchWriter,
    from_queue: BatchWriter,
    leases: Vec<(TaskId, Attempt)>,
    reports: u64,
}

impl Rig {
    fn new() -> Self {
        let config = TaskQueueConfig { memory_max: MEMORY_MAX, ..TaskQueueConfig::new(ShardId(0)) };
        let mut queue = TaskQueue::new(config);
        let now = Nanos(1_000_000_000);
        let client = queue.open_client(now).expect("there is room");
        let worker = queue.open_worker(now, SessionId(1)).expect("there is room");
        let mut rig = Self {
            queue,
            now,
            client,
            job: JobId(0),
            worker,
            to_queue: writer(),
            from_queue: writer(),
            leases: Vec::new(),
            reports: 0,
        };
        ToQueue::OpenJob { request: 1, job: None, name: b"job" }.write(&mut rig.to_queue);
        rig.say(client);
        rig
    }

    /// The worker says what it offers: as many slots as a turn has tasks.
    fn enlist(&mut self) {
        let capacity = Capacity {
            slots: BATCH,
            memory: 1 << 40,
            cores_milli: 1_000_000,
            prefetch: 0,
            is_draining: false,
        };
        let (name, host) = (b"worker", b"host");
        ToQueue::Enlist { name, host, pid: 1, capacity }.write(&mut self.to_queue);
        ToQueue::Held.write(&mut self.to_queue);
        self.say(self.worker);
    }

    /// Takes tasks in, gives them out and takes the reports on them.
    fn turn(&mut self, submissions: &[u8]) {
        self.now = self.now + TURN;
        self.take(self.client, submissions);
        self.queue.on_turn(self.now);
        self.hear(self.worker);
        while let Some((task, attempt)) = self.leases.pop() {
            self.reports += 1;
            let end = TaskEnd {
                kind: EndKind::Exited,
                code: 0,
                waited_ns: 1_000,
                ran_ns: 1_000,
                cpu_ns: 1_000,
                memory: 1 << 20,
                stdout: Captured::default(),
                stderr: Captured::default(),
            };
            let seq = self.reports;
            ToQueue::Report { seq, task, attempt, end }.write(&mut self.to_queue);
        }
        self.say(self.worker);
        self.hear(self.worker);
        self.hear(self.client);
        assert_eq!(self.queue.counts()[TaskState::Leased], 0, "everything was reported");
    }

    /// Hands frames over.
    fn take(&mut self, party: Party, bytes: &[u8]) {
        let mut frames = FrameReader::new(bytes, LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a valid frame") {
            self.queue.on_frame(self.now, party, &frame).expect("valid messages");
        }
    }

    /// Hands over what was written.
    fn say(&mut self, party: Party) {
        self.to_queue.seal();
        let mut frames = FrameReader::new(self.to_queue.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a valid frame") {
            self.queue.on_frame(self.now, party, &frame).expect("valid messages");
        }
        self.to_queue.clear_sealed();
    }

    /// Takes what the queue has to tell, and notes leases.
    fn hear(&mut self, party: Party) {
        self.queue.write(party, &mut self.from_queue, |_| true);
        self.from_queue.seal();
        let mut frames = FrameReader::new(self.from_queue.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a valid frame") {
            let mut pushes = PushReader::new(&frame);
            while let Some(push) = pushes.next_message().expect("a valid message") {
                if let QueuePush::Lease { task, attempt, .. } = push {
                    self.leases.push((task, attempt));
                }
            }
        }
        self.from_queue.clear_sealed();
    }
}

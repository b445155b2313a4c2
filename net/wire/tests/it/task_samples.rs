//! Messages of the task farm that own what they are made of, and how they are drawn at random.

use proptest::collection::vec;
use proptest::prelude::*;
use punctual_wire::task::{
    After, Attempt, Capacity, Captured, Distribution, EndKind, JobId, JobRow, Occupancy, QueuePush,
    RefusedTask, ReturnReason, Selection, StateCounts, StateSet, TaskEnd, TaskFault, TaskId,
    TaskKey, TaskRow, TaskSpec, TaskState, TaskTimes, ToQueue, Verb, WorkerRow,
};

/// How many kinds of messages there are to a queue,
pub(crate) const TO_QUEUE_KINDS: usize = 17;
/// and how many from it.
pub(crate) const PUSH_KINDS: usize = 16;

/// What messages of any kind are made of; what a kind does not need is not used.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) words: [u64; 6],
    pub(crate) halves: [u32; 4],
    pub(crate) signed: i32,
    pub(crate) short: u16,
    pub(crate) flags: [bool; 2],
    /// Which state, verb or reason of those that there are.
    pub(crate) choice: usize,
    pub(crate) texts: [Vec<u8>; 3],
    pub(crate) payload: Vec<u8>,
    pub(crate) outputs: [Vec<u8>; 2],
    pub(crate) after: Vec<[u8; 16]>,
    pub(crate) counts: Vec<[u8; 8]>,
}

impl Fields {
    /// Something in every part, and no two numbers alike.
    pub(crate) fn some() -> Self {
        Self {
            words: [0x0102_0304_0506_0708, 2 << 56, 3 << 48, 4 << 40, 5 << 32, u64::MAX],
            halves: [0x1112_1314, 12 << 24, 13 << 16, u32::MAX],
            signed: -2,
            short: 0x2122,
            flags: [true, true],
            choice: 1,
            texts: [b"one".to_vec(), b"two or so".to_vec(), b"three".to_vec()],
            payload: b"what a worker runs".to_vec(),
            outputs: [b"out".to_vec(), b"error\xff".to_vec()],
            after: vec![[7; 16], [9; 16]],
            counts: vec![[1; 8], [2; 8], [3; 8]],
        }
    }

    fn choose<T: Copy>(&self, from: &[T]) -> T {
        from[self.choice % from.len()]
    }

    pub(crate) fn spec(&self) -> TaskSpec<'_> {
        TaskSpec {
            job: JobId(self.halves[0]),
            key: TaskKey(u128::from(self.words[0]) << 64 | u128::from(self.words[1])),
            priority: self.signed,
            memory: self.words[2],
            cores_milli: self.halves[1],
            timeout_ms: self.words[3],
            attempts_max: self.short.max(1),
            after: After::new(&self.after),
            payload: &self.payload,
        }
    }

    pub(crate) fn end(&self) -> TaskEnd<'_> {
        let [stdout, stderr] = &self.outputs;
        TaskEnd {
            kind: self.choose(&EndKind::ALL),
            code: self.signed,
            waited_ns: self.words[0],
            ran_ns: self.words[1],
            cpu_ns: self.words[2],
            memory: self.words[3],
            stdout: Captured { bytes: self.words[4], tail: stdout },
            stderr: Captured { bytes: self.words[5], tail: stderr },
        }
    }

    pub(crate) fn selection(&self) -> Selection<'_> {
        let [include, exclude, worker] = &self.texts;
        Selection {
            states: StateSet(self.short.to_le_bytes()[0] & StateSet::ALL.0),
            job: self.flags[0].then_some(JobId(self.halves[1])),
            task: self.flags[1].then_some(TaskId(self.words[1])),
            from: TaskId(self.words[2]),
            include,
            exclude,
            worker,
        }
    }

    fn capacity(&self) -> Capacity {
        Capacity {
            slots: self.halves[1],
            memory: self.words[4],
            cores_milli: self.halves[2],
            prefetch: self.halves[3],
            is_draining: self.flags[0],
        }
    }

    fn counts(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        for (state, word) in TaskState::ALL.into_iter().zip(self.words) {
            counts[state] = word;
        }
        counts
    }

    /// A message to a queue, by its kind.
    pub(crate) fn to_queue(&self, kind: usize) -> ToQueue<'_> {
        let [request, limit, ..] = self.halves;
        let (task, attempt) = (TaskId(self.words[0]), Attempt(self.halves[0]));
        let (seq, name) = (self.words[1], self.texts[0].as_slice());
        match kind {
            0 => {
                // The last number stands for none.
                let job = self.flags[0].then_some(JobId(limit.min(u32::MAX - 1)));
                ToQueue::OpenJob { request, job, name }
            }
            1 => ToQueue::Submit { ticket: self.words[5], spec: self.spec() },
            2 => {
                let job = self.flags[0].then_some(JobId(limit));
                ToQueue::Watch { request, job, seen: self.words[5] }
            }
            3 => {
                let (selection, with_output) = (self.selection(), self.flags[0]);
                ToQueue::Query { request, selection, limit, with_output }
            }
            4 => {
                let (verb, selection) = (self.choose(&Verb::ALL), self.selection());
                ToQueue::Control { request, verb, selection }
            }
            5 => ToQueue::Jobs { request },
            6 => ToQueue::Workers { request },
            7 => ToQueue::StopWorker { request, name },
            8 => {
                let (host, capacity) = (self.texts[1].as_slice(), self.capacity());
                ToQueue::Enlist { name, host, pid: limit, capacity }
            }
            9 => ToQueue::Hold { task, attempt },
            10 => ToQueue::Held,
            11 => ToQueue::Credit { capacity: self.capacity() },
            12 => ToQueue::Report { seq, task, attempt, end: self.end() },
            13 => {
                let reason = self.choose(&ReturnReason::ALL);
                ToQueue::Return { seq, task, attempt, reason }
            }
            14 => {
                let [memory_free, ..] = self.words;
                ToQueue::Beat { memory_free, cores_used_milli: request, running: limit }
            }
            15 => ToQueue::Latencies { request },
            _ => {
                let (memory, cores_milli) = (self.words[0], self.halves[2]);
                ToQueue::Occupied { by_others: Occupancy { slots: limit, memory, cores_milli } }
            }
        }
    }

    /// A message from a queue, by its kind.
    pub(crate) fn push(&self, kind: usize) -> QueuePush<'_> {
        let [request, half, other, _] = self.halves;
        let [word, ticket, ..] = self.words;
        let (task, attempt) = (TaskId(word), Attempt(half));
        match kind {
            0 => QueuePush::JobOpened { request, job: JobId(half) },
            1 => QueuePush::Submitted { ticket, added: half, known: other },
            2 => QueuePush::Refused { ticket, reason: self.choose(&RefusedTask::ALL) },
            3 => QueuePush::Progress { request, version: word, counts: self.counts() },
            4 => QueuePush::Row { request, row: self.task_row() },
            5 => QueuePush::JobRow { request, row: self.job_row() },
            6 => QueuePush::WorkerRow { request, row: self.worker_row() },
            7 => {
                let (next, more) = (TaskId(word), self.flags[0]);
                QueuePush::End { request, changed: ticket, next, more }
            }
            8 => QueuePush::Fault { request, fault: self.choose(&TaskFault::ALL) },
            9 => {
                let name = &self.texts[0];
                QueuePush::Enlisted { name, lease_timeout_ms: half, heartbeat_ms: other }
            }
            10 => QueuePush::Lease {
                task,
                attempt,
                priority: self.signed,
                memory: self.words[2],
                cores_milli: other,
                timeout_ms: self.words[3],
                job: &self.texts[0],
                payload: &self.payload,
            },
            11 => QueuePush::Recall { task, attempt },
            12 => QueuePush::Cancel { task, attempt },
            13 => QueuePush::Acked { seq: ticket },
            14 => QueuePush::Drain,
            _ => {
                let [wait, lease] = [word, ticket].map(|sum| u128::from(sum) << 8 | 1);
                let (first, rest) = self.counts.split_at(self.counts.len() / 2);
                let wait = Distribution::new(wait, first);
                QueuePush::Latencies { request, wait, lease: Distribution::new(lease, rest) }
            }
        }
    }

    pub(crate) fn task_row(&self) -> TaskRow<'_> {
        let [submitted, leased, ended, due, ..] = self.words.map(u64::cast_signed);
        TaskRow {
            id: TaskId(self.words[0]),
            key: TaskKey(u128::from(self.words[1]) << 64 | 1),
            job: JobId(self.halves[1]),
            state: self.choose(&TaskState::ALL),
            is_ahead: self.flags[0],
            priority: self.signed,
            memory: self.words[4],
            cores_milli: self.halves[2],
            timeout_ms: self.words[5],
            attempt: Attempt(self.halves[3]),
            failures: self.short,
            attempts_max: !self.short,
            times: TaskTimes { submitted, leased, ended, due },
            worker: &self.texts[0],
            payload: &self.payload,
            end: self.flags[1].then(|| self.end()),
            failed_on: &self.texts[1],
        }
    }

    pub(crate) fn job_row(&self) -> JobRow<'_> {
        let opened = self.words[0].cast_signed();
        let (job, name) = (JobId(self.halves[1]), &self.texts[0]);
        JobRow { job, name, opened, counts: self.counts() }
    }

    fn worker_row(&self) -> WorkerRow<'_> {
        WorkerRow {
            name: &self.texts[0],
            host: &self.texts[1],
            pid: self.halves[0],
            capacity: self.capacity(),
            is_linked: self.flags[1],
            heard: self.words[0].cast_signed(),
            enlisted: self.words[1].cast_signed(),
            running: self.halves[1],
            ahead: self.halves[2],
            done: self.words[2],
            failed: self.words[3],
            lost: self.words[4],
            memory_free: self.words[5],
            cores_used_milli: self.halves[3],
            mean_ns: !self.words[0],
        }
    }
}

/// A message of the task farm.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// To a queue, or from one.
    pub(crate) to_queue: bool,
    pub(crate) kind: usize,
    pub(crate) fields: Fields,
}

fn fields() -> impl Strategy<Value = Fields> {
    let bytes = |max: usize| vec(any::<u8>(), 0..max);
    let texts = [bytes(40), bytes(40), bytes(40)];
    let outputs = [bytes(60), bytes(60)];
    let numbers = any::<([u64; 6], [u32; 4], i32, u16, [bool; 2], usize)>();
    let lists = (vec(any::<[u8; 16]>(), 0..4), vec(any::<[u8; 8]>(), 0..9));
    (numbers, texts, bytes(200), outputs, lists).prop_map(
        |((words, halves, signed, short, flags, choice), texts, payload, outputs, lists)| Fields {
            words,
            halves,
            signed,
            short,
            flags,
            choice,
            texts,
            payload,
            outputs,
            after: lists.0,
            counts: lists.1,
        },
    )
}

pub(crate) fn said() -> impl Strategy<Value = Said> {
    let kind = prop_oneof![
        (0..TO_QUEUE_KINDS).prop_map(|kind| (true, kind)),
        (0..PUSH_KINDS).prop_map(|kind| (false, kind)),
    ];
    (kind, fields()).prop_map(|((to_queue, kind), fields)| Said { to_queue, kind, fields })
}

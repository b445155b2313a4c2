//! Asking a queue for all its tasks, in the way that a client does, but without a network.

use super::check::tag;
use punctual_core::Nanos;
use punctual_core::journal::Logged;
use punctual_core::task::TaskQueue;
use punctual_wire::task::{
    Attempt, EndKind, JobId, PushReader, QueuePush, Selection, TaskId, TaskKey, TaskRow, TaskState,
    ToQueue,
};
use punctual_wire::{BatchWriter, FrameReader, Limits};

/// Rows that are asked for at a time.
const PAGE: u32 = 64;
/// Turns in which a page must be there.
const TURNS_MAX: usize = 10_000;

/// How a task ended, as a queue tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenEnd {
    pub(super) kind: EndKind,
    pub(super) code: i32,
    ran_ns: u64,
    stdout: Vec<u8>,
}

/// A task as a queue tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: TaskId,
    pub(super) key: TaskKey,
    pub(super) job: JobId,
    pub(super) state: TaskState,
    pub(super) priority: i32,
    pub(super) memory: u64,
    pub(super) cores_milli: u32,
    timeout_ms: u64,
    pub(super) attempt: Attempt,
    pub(super) failures: u16,
    pub(super) attempts_max: u16,
    /// When it was submitted, leased and ended.
    times: [i64; 3],
    worker: Vec<u8>,
    failed_on: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) end: Option<SeenEnd>,
}

impl Seen {
    pub(super) fn of(row: &TaskRow<'_>) -> Self {
        let end = row.end.map(|end| SeenEnd {
            kind: end.kind,
            code: end.code,
            ran_ns: end.ran_ns,
            stdout: end.stdout.tail.to_vec(),
        });
        Self {
            id: row.id,
            key: row.key,
            job: row.job,
            state: row.state,
            priority: row.priority,
            memory: row.memory,
            cores_milli: row.cores_milli,
            timeout_ms: row.timeout_ms,
            attempt: row.attempt,
            failures: row.failures,
            attempts_max: row.attempts_max,
            times: [row.times.submitted, row.times.leased, row.times.ended],
            worker: row.worker.to_vec(),
            failed_on: row.failed_on.to_vec(),
            payload: row.payload.to_vec(),
            end,
        }
    }

    /// Whether what it shows was written by the attempt that counts.
    pub(super) fn is_of_its_attempt(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.stdout == tag(self.id, self.attempt))
    }

    /// Whether it has failed somewhere, or was returned as too large: it may be for others only.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0 || !self.failed_on.is_empty()
    }

    /// The same but for what passes by itself: a pause that is over.
    fn settled(mut self) -> Self {
        if self.state == TaskState::Delayed {
            self.state = TaskState::Ready;
        }
        self
    }
}

/// Tells how two views of what should be one queue differ, if they do.
pub(super) fn compare(found: Vec<Seen>, expected: Vec<Seen>) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("there are {} tasks and not {}", found.len(), expected.len()));
    }
    let pairs = found.into_iter().map(Seen::settled).zip(expected.into_iter().map(Seen::settled));
    for (found, expected) in pairs {
        if found != expected {
            return Err(format!("{found:?} should be {expected:?}"));
        }
    }
    Ok(())
}

/// All tasks of a queue, by id. `settle` writes down what the queue has logged and says what time
/// it is then.
pub(super) fn rows(
    queue: &mut TaskQueue,
    now: Nanos,
    mut settle: impl FnMut(&mut TaskQueue) -> Nanos,
) -> Result<Vec<Seen>, String> {
    let party = queue.open_client(now).map_err(|error| error.to_string())?;
    let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
    let (mut all, mut next, mut now) = (Vec::new(), Some(TaskId(0)), now);
    while let Some(from) = next.take() {
        let selection = Selection { from, ..Selection::default() };
        let query = ToQueue::Query { request: 1, selection, limit: PAGE, with_output: true };
        query.write(&mut out);
        out.seal();
        let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
        while let Ok(Some(frame)) = frames.next_frame() {
            queue.on_frame(now, party, &frame).map_err(|error| error.to_string())?;
        }
        out.clear_sealed();
        let mut is_whole = false;
        for _ in 0..TURNS_MAX {
            queue.on_turn(now);
            now = settle(queue);
            queue.write(party, &mut out, |_| true);
            out.seal();
            let end = take(out.sealed(), &mut all)?;
            out.clear_sealed();
            if let Some(more) = end {
                (is_whole, next) = (true, more);
                break;
            }
        }
        if !is_whole {
            return Err("it does not answer what tasks there are".to_owned());
        }
    }
    queue.close(now, party);
    Ok(all)
}

/// Takes the rows of an answer. At its end it says whether there is more, and from where on.
fn take(bytes: &[u8], all: &mut Vec<Seen>) -> Result<Option<Option<TaskId>>, String> {
    let mut frames = FrameReader::new(bytes, Limits::DEFAULT, false);
    while let Some(frame) = frames.next_frame().map_err(|error| error.to_string())? {
        let mut pushes = PushReader::new(&frame);
        while let Some(push) = pushes.next_message().map_err(|error| error.to_string())? {
            match push {
                QueuePush::Row { row, .. } => all.push(Seen::of(&row)),
                QueuePush::End { next, more, .. } => return Ok(Some(more.then_some(next))),
                other => return Err(format!("it answers {other:?}")),
            }
        }
    }
    Ok(None)
}

/// The same of a queue that nobody uses: whatever it logs is durable at once.
pub(super) fn rows_of_copy(queue: &mut TaskQueue, now: Nanos) -> Result<Vec<Seen>, String> {
    let mut buffer = Vec::new();
    rows(queue, now, |queue| {
        let lsn = queue.take_log(&mut buffer);
        queue.on_durable(lsn.plus(buffer.len()));
        now
    })
}

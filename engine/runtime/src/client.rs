//! Submitting transactions from a program's own threads.

use crate::driver::{Driver, Submitter};
use flume::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use punctual_core::{Completion, Nanos, Outcome, SubmitError, Transaction, TransactionError};
use punctual_link::CoreWaker;
use punctual_wire::{Limits, ResultStatus};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;

/// Requests that may wait for a worker; a full queue is back-pressure.
const REQUESTS_MAX: usize = 4096;

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The worker's queue is full: take some results first.
    #[error("{REQUESTS_MAX} requests wait for the worker already; take results first")]
    QueueFull,
    /// The transaction is wrong.
    #[error(transparent)]
    Invalid(#[from] TransactionError),
    /// The shard could not be reached before the deadline. Nothing was sent.
    #[error("not sent before the deadline: {0}")]
    NotSent(SubmitError),
    /// The shard has been out of reach for a while, and too many wait for it. Nothing was sent.
    #[error("the line for the shard is full: {0}")]
    LineFull(SubmitError),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
    /// The wait was limited and is over; the transaction goes on.
    #[error("no outcome within the time given to wait")]
    WaitTimeout,
}

/// The result of one operation, with its value copied out of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedResult {
    /// How it ended.
    pub status: ResultStatus,
    /// The value, where there is one.
    pub value: Option<Vec<u8>>,
}

/// The end of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionResult {
    /// How it ended.
    pub outcome: Outcome,
    /// One result an operation; what the procedure reported, for a call.
    pub results: Vec<OwnedResult>,
}

impl TransactionResult {
    /// Whether it committed.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        matches!(self.outcome, Outcome::Committed { .. })
    }

    /// The value of result `at`, where there is one.
    #[must_use]
    pub fn value(&self, at: usize) -> Option<&[u8]> {
        self.results.get(at)?.value.as_deref()
    }

    /// The value of result `at` as a little-endian number, where it has eight bytes or more.
    #[must_use]
    pub fn number(&self, at: usize) -> Option<i64> {
        self.value(at)?.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
    }
}

type Answer = Result<TransactionResult, ClientError>;

/// A transaction on its way to a worker.
pub(crate) struct Request {
    transaction: Transaction,
    answer: Sender<Answer>,
}

/// The requests that wait for a worker. Both sides can empty it, so that nobody waits for an answer
/// that the worker cannot give any more.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    sender: Sender<Request>,
    receiver: Receiver<Request>,
    /// The worker stops: it runs what is in the queue and wants no more.
    closed: AtomicBool,
    /// The worker is gone: it does not look into the queue any more.
    gone: AtomicBool,
}

impl RequestQueue {
    pub(crate) fn new() -> Arc<Self> {
        let (sender, receiver) = flume::bounded(REQUESTS_MAX);
        let (closed, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { sender, receiver, closed, gone })
    }

    /// Answers what the worker left behind.
    fn send_back(&self) {
        while let Ok(request) = self.receiver.try_recv() {
            send(&request.answer, Err(ClientError::Stopped));
        }
    }
}

/// A worker's queue, and how to wake the worker.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    pub(crate) queue: Arc<RequestQueue>,
    pub(crate) core: Arc<CoreWaker>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// Submits transactions from any thread. Clones share the workers and take turns among them.
#[derive(Debug, Clone)]
pub struct Client {
    entrances: Arc<Vec<Entrance>>,
    next: Arc<AtomicUsize>,
    shards: u16,
    limits: Limits,
}

impl Client {
    pub(crate) fn new(entrances: Vec<Entrance>, shards: u16, limits: Limits) -> Self {
        let next = Arc::new(AtomicUsize::new(0));
        Self { entrances: Arc::new(entrances), next, shards, limits }
    }

    /// An empty transaction.
    #[must_use]
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.shards, self.limits)
    }

    /// Submits a transaction and returns at once; `transaction` is left empty.
    ///
    /// # Errors
    /// When the worker's queue is full, the engine has stopped or the transaction was made for
    /// another cluster; `transaction` is left as it was.
    pub fn submit(&self, transaction: &mut Transaction) -> Result<Pending, ClientError> {
        if !transaction.is_for(self.shards, &self.limits) {
            return Err(TransactionError::OtherCluster.into());
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Entrance { queue, core } = &self.entrances[turn % self.entrances.len()];
        if queue.closed.load(Ordering::Acquire) {
            return Err(ClientError::Stopped);
        }
        let (answer, pending) = flume::bounded(1);
        let taken = std::mem::replace(transaction, self.transaction());
        if let Err(refused) = queue.sender.try_send(Request { transaction: taken, answer }) {
            // The queue has a receiver as long as there is a sender, so it can only be full.
            *transaction = refused.into_inner().transaction;
            return Err(ClientError::QueueFull);
        }
        core.wake_if_parked();
        // The worker may have gone meanwhile: either it sees the request when it leaves, or it is
        // seen here that it has left.
        if queue.gone.load(Ordering::SeqCst) {
            queue.send_back();
        }
        Ok(Pending { answer: pending })
    }
}

/// A transaction that was submitted. Dropping it does not take the transaction back.
#[derive(Debug)]
pub struct Pending {
    answer: Receiver<Answer>,
}

impl Pending {
    /// The result, if it is there.
    ///
    /// # Errors
    /// When there will be none.
    pub fn poll(&self) -> Result<Option<TransactionResult>, ClientError> {
        match self.answer.try_recv() {
            Ok(answer) => answer.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ClientError::Stopped),
        }
    }

    /// Waits for the result, which comes in any case: once a worker has taken the transaction it is
    /// sent within the deadline of the configuration, or given up, and ends within another one.
    ///
    /// # Errors
    /// When there will be none.
    pub fn wait(self) -> Result<TransactionResult, ClientError> {
        self.answer.recv().unwrap_or(Err(ClientError::Stopped))
    }

    /// Waits for the result, but not longer than `timeout`.
    ///
    /// # Errors
    /// When there will be none, or the wait is over.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<TransactionResult, ClientError> {
        match self.answer.recv_timeout(timeout) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(ClientError::WaitTimeout),
            Err(RecvTimeoutError::Disconnected) => Err(ClientError::Stopped),
        }
    }
}

impl IntoFuture for Pending {
    type Output = Answer;
    type IntoFuture = PendingFuture;

    fn into_future(self) -> PendingFuture {
        PendingFuture { answer: self.answer.into_recv_async() }
    }
}

/// The future of a [`Pending`]: `client.submit(&mut transaction)?.await?`, on any executor.
#[derive(Debug)]
pub struct PendingFuture {
    answer: flume::r#async::RecvFut<'static, Answer>,
}

impl Future for PendingFuture {
    type Output = Answer;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Answer> {
        let answer = std::pin::Pin::new(&mut self.answer).poll(context);
        answer.map(|received| received.unwrap_or(Err(ClientError::Stopped)))
    }
}

/// A request that a worker has not been able to submit yet.
struct Waiting {
    request: Box<Request>,
    since: Nanos,
    why: SubmitError,
}

/// Those that wait for one shard.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// Since when the shard has taken nothing although somebody waits for it. It stays when the
    /// line empties because all in it have waited too long.
    blocked_since: Option<Nanos>,
}

/// The driver behind [`Client`].
pub(crate) struct ClientDriver {
    queue: Arc<RequestQueue>,
    /// What waits for a shard, by shard: one that is out of reach holds up nothing but its own.
    lines: Vec<Line>,
    /// Most that may wait for one shard.
    line_max: usize,
    deadline: Duration,
    answers: Vec<Option<Sender<Answer>>>,
    free: Vec<usize>,
    /// Shards of the transaction that is being submitted; kept for its memory.
    involved: Vec<usize>,
    stopping: bool,
}

impl ClientDriver {
    pub(crate) fn new(
        queue: Arc<RequestQueue>,
        shards: u16,
        in_flight: u32,
        deadline: Duration,
    ) -> Self {
        Self {
            queue,
            lines: (0..shards).map(|_| Line::default()).collect(),
            line_max: in_flight as usize,
            deadline,
            answers: Vec::new(),
            free: Vec::new(),
            involved: Vec::new(),
            stopping: false,
        }
    }

    /// Submits one request, or says why it has to wait, and in whose line.
    fn submit(
        &mut self,
        request: &mut Request,
        submitter: &mut Submitter<'_>,
    ) -> Result<(), (usize, SubmitError)> {
        self.involved.clear();
        self.involved.extend(request.transaction.shards().map(|shard| usize::from(shard.0)));
        let tag = self.free.pop().unwrap_or_else(|| {
            self.answers.push(None);
            self.answers.len() - 1
        });
        match submitter.submit(&mut request.transaction, tag as u64) {
            Ok(_) => {
                self.answers[tag] = Some(request.answer.clone());
                for at in &self.involved {
                    self.lines[*at].blocked_since = None;
                }
                Ok(())
            }
            Err(SubmitError::Invalid(error)) => {
                self.free.push(tag);
                send(&request.answer, Err(error.into()));
                Ok(())
            }
            Err(error) => {
                self.free.push(tag);
                Err((self.line_for(error), error))
            }
        }
    }

    /// Where a transaction waits that could not be submitted: the line of the shard that stands in
    /// its way, or of its first one when there is no room for any.
    fn line_for(&self, why: SubmitError) -> usize {
        match why {
            SubmitError::LinkBlocked(shard) | SubmitError::ShardBusy(shard) => usize::from(shard.0),
            _ => self.involved.first().copied().unwrap_or(0),
        }
    }

    /// Takes one request from the queue: it is submitted, waits in line, or is refused.
    fn take(&mut self, now: Nanos, mut request: Box<Request>, submitter: &mut Submitter<'_>) {
        // Whoever came before it to one of its shards goes first. One without a shard is wrong, and
        // will be told so.
        let in_line = request.transaction.shards().find_map(|shard| {
            let at = usize::from(shard.0);
            Some((at, self.lines.get(at)?.waiting.front()?.why))
        });
        let outcome = match in_line {
            Some(behind) => Err(behind),
            None => self.submit(&mut request, submitter),
        };
        let Err((at, why)) = outcome else { return };
        let line = &mut self.lines[at];
        if line.waiting.len() >= self.line_max && !self.stopping {
            send(&request.answer, Err(ClientError::LineFull(why)));
        } else {
            line.blocked_since.get_or_insert(now);
            line.waiting.push_back(Waiting { request, since: now, why });
        }
    }

    /// Whether a line is full that has only just formed: then everybody waits a moment. A shard
    /// that is out of reach for longer has its requests refused, and the others go on.
    fn is_held_up(&self, now: Nanos) -> bool {
        self.lines.iter().filter(|line| line.waiting.len() >= self.line_max).any(|line| {
            line.blocked_since.is_some_and(|since| now.since(since) < self.deadline / 10)
        })
    }

    /// Puts one that has waited already in a line, before all that came after it.
    fn wait_in(&mut self, now: Nanos, at: usize, waiting: Waiting) {
        let line = &mut self.lines[at];
        line.blocked_since.get_or_insert(now);
        let place = line.waiting.partition_point(|other| other.since < waiting.since);
        line.waiting.insert(place, waiting);
    }

    /// Tries those again that had to wait, in their order, and ends those that waited too long.
    fn drive_waiting(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize {
        let mut work = 0;
        for at in 0..self.lines.len() {
            while let Some(mut first) = self.lines[at].waiting.pop_front() {
                if now.since(first.since) >= self.deadline {
                    send(&first.request.answer, Err(ClientError::NotSent(first.why)));
                } else if let Err((line, why)) = self.submit(&mut first.request, submitter) {
                    first.why = why;
                    self.wait_in(now, line, first);
                    // In another line it is out of the way of those behind it.
                    if line == at {
                        break;
                    }
                }
                work += 1;
            }
        }
        work
    }
}

/// Whoever does not wait any more does not miss the answer.
fn send(to: &Sender<Answer>, answer: Answer) {
    let _ = to.try_send(answer);
}

impl Driver for ClientDriver {
    fn drive(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize {
        let mut work = self.drive_waiting(now, submitter);
        // While everything is in flight the queue is left to fill: that is the back-pressure. A
        // stop takes all that is left in it at once, so that one deadline ends it all.
        while self.stopping || (submitter.has_room() && !self.is_held_up(now)) {
            let Ok(request) = self.queue.receiver.try_recv() else { break };
            work += 1;
            self.take(now, Box::new(request), submitter);
        }
        work
    }

    fn complete(&mut self, _now: Nanos, completion: Completion<'_>) {
        let tag = usize::try_from(completion.tag).expect("tags are indices");
        self.free.push(tag);
        let Some(answer) = self.answers[tag].take() else { return };
        let results = completion
            .results
            .map(|result| OwnedResult {
                status: result.status,
                value: result.value.map(<[u8]>::to_vec),
            })
            .collect();
        send(&answer, Ok(TransactionResult { outcome: completion.outcome, results }));
    }

    fn is_finished(&self) -> bool {
        self.stopping
            && self.lines.iter().all(|line| line.waiting.is_empty())
            && self.queue.receiver.is_empty()
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let firsts = self.lines.iter().filter_map(|line| line.waiting.front());
        firsts.map(|first| first.since + self.deadline.into()).min()
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.queue.closed.store(true, Ordering::Release);
    }
}

impl Drop for ClientDriver {
    /// Whoever submitted too late is told.
    fn drop(&mut self) {
        self.queue.closed.store(true, Ordering::Release);
        self.queue.gone.store(true, Ordering::SeqCst);
        self.queue.send_back();
    }
}

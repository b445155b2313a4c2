//! A queue with its disk and its clock, and those who talk to it.

use super::*;

/// When a test begins.
const START: Nanos = Nanos(1_000_000 * MS);
/// Turns after which a queue should have come to rest.
const TURNS_MAX: usize = 10_000;

/// A worker that the test plays.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) party: Party,
    pub(super) session: SessionId,
    pub(super) seq: u64,
}

/// The queue, and what is around it.
pub(super) struct Rig {
    pub(super) queue: TaskQueue,
    pub(super) now: Nanos,
    /// What was taken of the log.
    pub(super) tape: Vec<u8>,
    /// Whether the queue is looked through after each step.
    pub(super) is_audited: bool,
    sessions: u64,
    tickets: u64,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: TaskQueueConfig) -> Self {
        let (queue, tape) = (TaskQueue::new(config), Vec::new());
        Self { queue, now: START, tape, is_audited: true, sessions: 0, tickets: 0 }
    }

    fn look(&self) {
        if self.is_audited {
            audit(&self.queue);
        }
    }

    pub(super) fn advance(&mut self, millis: i64) {
        self.now = self.now + Nanos(millis * MS);
    }

    pub(super) fn turn(&mut self) -> usize {
        let work = self.queue.on_turn(self.now);
        self.look();
        if self.is_audited {
            audit_turn(&self.queue);
        }
        work
    }

    /// Writes the log. It is not durable yet.
    pub(super) fn take_log(&mut self) -> Lsn {
        let mut batch = vec![0xee; 3];
        let at = self.queue.take_log(&mut batch);
        assert_eq!(at, self.end_of_tape(), "the log goes on where it was");
        self.tape.extend_from_slice(&batch);
        self.end_of_tape()
    }

    fn end_of_tape(&self) -> Lsn {
        Lsn(self.tape.len() as u64)
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        let end = self.take_log();
        self.queue.on_durable(end);
        assert!(self.queue.is_durable());
    }

    pub(super) fn turn_and_sync(&mut self) {
        self.turn();
        self.sync();
    }

    pub(super) fn client(&mut self) -> Party {
        let party = self.queue.open_client(self.now).expect("there is room");
        self.look();
        party
    }

    /// Hands frames over.
    pub(super) fn pass(&mut self, party: Party, mut out: BatchWriter) -> Result<(), WireError> {
        out.seal();
        let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
        while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
            let outcome = self.queue.on_frame(self.now, party, &frame);
            self.look();
            outcome?;
        }
        Ok(())
    }

    pub(super) fn try_say(
        &mut self,
        party: Party,
        messages: &[ToQueue<'_>],
    ) -> Result<(), WireError> {
        let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
        for message in messages {
            message.write(&mut out);
        }
        self.pass(party, out)
    }

    pub(super) fn say(&mut self, party: Party, message: ToQueue<'_>) {
        self.try_say(party, &[message]).expect("it is well-formed and belongs there");
    }

    /// What the queue has to tell by now.
    pub(super) fn hear(&mut self, party: Party) -> Vec<Push> {
        let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
        self.queue.write(party, &mut out, |_| true);
        out.seal();
        let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
        let mut pushes = Vec::new();
        while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
            assert_eq!(frame.kind, FrameKind::TaskPush);
            let mut reader = PushReader::new(&frame);
            while let Some(push) = reader.next_message().expect("what it writes can be read") {
                pushes.push(Push::of(&push));
            }
        }
        pushes
    }

    /// What is answered to whoever opens a job, which is to have this number if there is one.
    pub(super) fn open_job(&mut self, client: Party, name: &str, job: Option<JobId>) -> Push {
        self.say(client, ToQueue::OpenJob { request: 1, job, name: name.as_bytes() });
        self.sync();
        self.hear(client).pop().expect("it is answered")
    }

    /// The job with this name.
    pub(super) fn job(&mut self, client: Party, name: &str) -> JobId {
        match self.open_job(client, name, None) {
            Push::JobOpened { job } => job,
            other => panic!("the job was not opened: {other:?}"),
        }
    }

    pub(super) fn submit(&mut self, client: Party, drafts: &[Draft]) {
        let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
        for draft in drafts {
            self.tickets += 1;
            draft.write(self.tickets, &mut out);
        }
        self.pass(client, out).expect("drafts are well-formed");
    }

    /// A client, its job, and plain tasks with keys from 1, which are their sequences too.
    pub(super) fn with_tasks(&mut self, count: u128) -> (Party, JobId) {
        let client = self.client();
        let job = self.job(client, "job");
        let drafts: Vec<Draft> = (1..=count).map(|key| draft(job, key)).collect();
        self.submit(client, &drafts);
        self.sync();
        self.hear(client);
        (client, job)
    }

    /// A link of a worker on which nothing was said yet.
    pub(super) fn link(&mut self, session: SessionId) -> Party {
        let party = self.queue.open_worker(self.now, session).expect("there is room");
        self.look();
        party
    }

    pub(super) fn greet(&mut self, party: Party, name: &str, capacity: Capacity, holds: &[Run]) {
        let (name, host) = (name.as_bytes(), b"host");
        let mut messages = vec![ToQueue::Enlist { name, host, pid: 1, capacity }];
        messages
            .extend(holds.iter().map(|run| ToQueue::Hold { task: run.task, attempt: run.attempt }));
        messages.push(ToQueue::Held);
        self.try_say(party, &messages).expect("a greeting is well-formed");
    }

    /// A new worker that has enlisted, and has heard so.
    pub(super) fn worker(&mut self, name: &str, capacity: Capacity) -> Hand {
        self.sessions += 1;
        let session = SessionId(0x1000 + self.sessions);
        let party = self.link(session);
        self.greet(party, name, capacity, &[]);
        self.sync();
        let heard = self.hear(party);
        assert!(matches!(heard[..], [Push::Enlisted { .. }]), "{heard:?}");
        Hand { party, session, seq: 0 }
    }

    /// The worker's link is cut, and it comes back with what it has.
    pub(super) fn relink(&mut self, hand: &mut Hand, name: &str, with: Capacity, holds: &[Run]) {
        hand.party = self.link(hand.session);
        self.greet(hand.party, name, with, holds);
    }

    pub(super) fn close(&mut self, party: Party) {
        self.queue.close(self.now, party);
        self.look();
    }

    /// Turns once, and says which leases the worker has got.
    pub(super) fn runs(&mut self, hand: &Hand) -> Vec<Run> {
        self.turn_and_sync();
        self.heard_runs(hand)
    }

    pub(super) fn heard_runs(&mut self, hand: &Hand) -> Vec<Run> {
        let pushes = self.hear(hand.party).into_iter();
        let lease = |push: Push| if let Push::Lease(run) = push { Some(run) } else { None };
        pushes.filter_map(lease).collect()
    }

    pub(super) fn report(&mut self, hand: &mut Hand, run: Run, end: TaskEnd<'_>) {
        hand.seq += 1;
        let Run { task, attempt } = run;
        self.say(hand.party, ToQueue::Report { seq: hand.seq, task, attempt, end });
    }

    pub(super) fn give_back(&mut self, hand: &mut Hand, run: Run, reason: ReturnReason) {
        hand.seq += 1;
        let Run { task, attempt } = run;
        self.say(hand.party, ToQueue::Return { seq: hand.seq, task, attempt, reason });
    }

    /// So much of what the worker offers is taken by tasks of other queues.
    pub(super) fn occupy(&mut self, hand: &Hand, by_others: Occupancy) {
        self.say(hand.party, ToQueue::Occupied { by_others });
    }

    pub(super) fn beat(&mut self, hand: &Hand) {
        self.say(hand.party, ToQueue::Beat { memory_free: 1, cores_used_milli: 1, running: 0 });
    }

    /// Turns until the client has its answer; says all that it was told.
    fn answer(&mut self, client: Party) -> Vec<Push> {
        let mut pushes = Vec::new();
        for _ in 0..TURNS_MAX {
            self.turn_and_sync();
            pushes.extend(self.hear(client));
            if let Some(Push::End { .. } | Push::Fault { .. }) = pushes.last() {
                return pushes;
            }
        }
        panic!("no end after {TURNS_MAX} turns: {pushes:?}");
    }

    /// How many tasks were changed.
    pub(super) fn control(&mut self, client: Party, verb: Verb, selection: Selection<'_>) -> u64 {
        self.say(client, ToQueue::Control { request: 5, verb, selection });
        match self.answer(client).pop() {
            Some(Push::End { changed, .. }) => changed,
            other => panic!("{other:?}"),
        }
    }

    /// The rows, where to go on, and whether there is more.
    pub(super) fn query(
        &mut self,
        client: Party,
        selection: Selection<'_>,
        limit: u32,
    ) -> (Vec<Row>, u64, bool) {
        self.say(client, ToQueue::Query { request: 6, selection, limit, with_output: true });
        let mut answer = self.answer(client);
        let Some(Push::End { next, more, .. }) = answer.pop() else { panic!("{answer:?}") };
        let row = |push: Push| if let Push::Row(row) = push { Some(row) } else { None };
        (answer.into_iter().filter_map(row).collect(), next, more)
    }

    pub(super) fn task(&self, sequence: u64) -> &Task {
        self.queue.book.table.get(sequence).expect("a task that is there")
    }

    pub(super) fn state(&self, sequence: u64) -> TaskState {
        self.task(sequence).state
    }

    pub(super) fn states(&self) -> Vec<TaskState> {
        self.queue.book.table.iter().map(|(_, task)| task.state).collect()
    }
}

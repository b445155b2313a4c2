//! A queue that goes on from its log is the one that wrote it.

use super::play::{Play, step};
use super::*;
use crate::ReplayError;
use proptest::prelude::*;
use std::convert::Infallible;

/// Gives records the checksums that they get when they are written.
fn sealed(records: &[u8]) -> Vec<u8> {
    let head = TaskReplay::owner(&journaled()).head(SegmentKind::Log, 1, Lsn::ZERO);
    let mut block = vec![0; block_bytes(records.len())];
    seal_block(&mut block, &head, Lsn::ZERO, Lsn::ZERO, records);
    block[BLOCK_HEAD_BYTES..][..records.len()].to_vec()
}

/// Where each record ends.
fn ends(sealed: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    let mut at = 0;
    while at < sealed.len() {
        let record = Record::read(&sealed[at..], Lsn(at as u64));
        at += record.expect("it is as it was written").1;
        ends.push(at);
    }
    ends
}

/// Does the records again from one position to another.
fn apply(replay: &mut TaskReplay, sealed: &[u8], range: std::ops::Range<usize>) {
    let mut at = range.start;
    while at < range.end {
        let record = Record::read(&sealed[at..], Lsn(at as u64));
        let (record, len) = record.expect("it is as it was written");
        replay.apply(&record).expect("it fits what was there before");
        at += len;
    }
}

/// One that was made from a snapshot of another.
fn copy(replay: &TaskReplay, config: &TaskQueueConfig) -> TaskReplay {
    let mut records = Vec::new();
    let done = replay.snapshot(|record| {
        record.write(&mut records);
        Ok::<(), Infallible>(())
    });
    assert!(done.is_ok());
    let records = sealed(&records);
    let mut copy = TaskReplay::new(config);
    assert!(!copy.is_whole());
    apply(&mut copy, &records, 0..records.len());
    assert!(copy.is_whole());
    copy
}

/// What is durable of a task.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    payload: Box<[u8]>,
    after: Vec<u64>,
    end: Option<Box<Ended>>,
    worker_name: Vec<u8>,
    failed_on: Vec<Vec<u8>>,
    key: TaskKey,
    job: JobId,
    state: TaskState,
    attempt: Attempt,
    worker: u32,
    cause: u64,
    requests: (i32, u64, u32, u64),
    counts: (u16, u16, u16),
    times: (i64, i64, i64),
}

impl Facts {
    fn of(book: &Book, task: &Task) -> Self {
        let class = book.classes.get(task.class);
        let name = |number: u32| book.names.text(number).to_vec();
        Self {
            payload: task.payload.clone(),
            after: task.after().to_vec(),
            end: task.end.clone(),
            worker_name: name(task.worker_name),
            failed_on: task.failed_on().iter().map(|number| name(*number)).collect(),
            key: task.key,
            job: task.job,
            state: task.state,
            attempt: task.attempt,
            worker: task.worker,
            cause: task.ties.as_ref().map_or(NONE, |ties| ties.cause),
            requests: (task.priority, class.memory, class.cores_milli, task.timeout_ms),
            counts: (task.failures, task.losses, task.attempts_max),
            times: (task.submitted_at, task.leased_at, task.turned_at),
        }
    }
}

/// The tasks that can be had, by class: those that come in an order, and the others.
fn waiting(book: &Book) -> Vec<(Vec<u64>, BTreeSet<u64>)> {
    let is_current = |(sequence, ticket): &(u64, u32)| {
        book.table.get(*sequence).is_some_and(|task| task.ticket == *ticket)
    };
    let shelf = |shelf: Shelf| {
        let lanes = shelf.lanes.into_iter().flat_map(|(_, lane)| lane).filter(is_current);
        let retries = shelf.retries.into_iter().map(|(_, entry)| entry).filter(is_current);
        let lanes: Vec<u64> = lanes.map(|entry| entry.0).collect();
        (lanes, retries.map(|entry| entry.0).collect::<BTreeSet<u64>>())
    };
    book.classes.shelves().into_iter().map(shelf).collect()
}

/// The tasks that ended, in that order.
fn ended(book: &Book) -> Vec<u64> {
    let is_current = |(sequence, ticket): &&(u64, u32)| {
        book.table.get(*sequence).is_some_and(|task| task.ticket == *ticket)
    };
    book.ended.iter().filter(is_current).map(|(sequence, _)| *sequence).collect()
}

/// The jobs, with their numbers, names and times.
fn jobs(book: &Book) -> Vec<(JobId, &[u8], i64, StateCounts)> {
    let jobs = book.jobs.iter();
    jobs.map(|(id, job)| (id, &*job.name, job.opened_at, job.counts)).collect()
}

/// Whether one queue knows what another one does. Only the order in which tasks wait may differ in
/// one that comes from a snapshot.
fn compare(live: &mut TaskQueue, replayed: &mut TaskQueue, is_from_snapshot: bool) {
    // That a pause is over is not written down.
    while live.end_delays() + replayed.end_delays() > 0 {}
    let (live, replayed) = (&live.book, &replayed.book);
    assert_eq!((live.table.last(), live.latest), (replayed.table.last(), replayed.latest));
    for ((sequence, task), (other, copy)) in live.table.iter().zip(replayed.table.iter()) {
        assert_eq!(sequence, other);
        let (task, copy) = (Facts::of(live, task), Facts::of(replayed, copy));
        assert!(task == copy, "task {sequence}: {task:?} has become {copy:?}");
    }
    assert_eq!(live.table.len(), replayed.table.len());
    assert_eq!(live.counts, replayed.counts);
    assert_eq!(jobs(live), jobs(replayed));
    assert_eq!(live.jobs.next_id(), replayed.jobs.next_id());
    assert!(live.names.iter().eq(replayed.names.iter()));
    let crew = |book: &Book| -> Vec<_> {
        let facts = book.crew.iter().map(|(index, worker)| {
            let mut leases = book.crew.leases(&book.table, index);
            if is_from_snapshot {
                leases.sort_unstable();
            }
            (index, worker.session, worker.name, worker.enlisted_at, leases)
        });
        facts.collect()
    };
    assert_eq!(crew(live), crew(replayed));
    let sorted = |mut waiting: Vec<(Vec<u64>, BTreeSet<u64>)>| {
        if is_from_snapshot {
            waiting.iter_mut().for_each(|(lanes, _)| lanes.sort_unstable());
        }
        waiting.retain(|(lanes, retries)| !lanes.is_empty() || !retries.is_empty());
        waiting
    };
    let (mut one, mut other) = (sorted(waiting(live)), sorted(waiting(replayed)));
    if is_from_snapshot {
        // Classes are numbered as they are first met.
        one.sort();
        other.sort();
    } else {
        assert_eq!((live.bytes, live.output_bytes), (replayed.bytes, replayed.output_bytes));
        assert_eq!(ended(live), ended(replayed));
    }
    assert_eq!(one, other);
    assert_eq!(live.output_bytes, replayed.output_bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_that_goes_on_from_its_log_knows_what_it_knew(
        steps in prop::collection::vec(step(), 1..120),
        memory_max in prop::sample::select(vec![6_000_u64, 30_000, 1 << 30]),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut play = Play::new(memory_max);
        for step in &steps {
            play.go(step);
        }
        let config = TaskQueueConfig { memory_max, losses_max: 3, ..journaled() };
        let (records, rig) = (sealed(&play.rig.tape), &mut play.rig);
        let log_at = Lsn(records.len() as u64);

        let mut whole = TaskReplay::new(&config);
        apply(&mut whole, &records, 0..records.len());
        let snapshot = copy(&whole, &config);
        let ends = ends(&records);
        prop_assert_eq!(whole.tally().records, ends.len() as u64 - 1);
        prop_assert_eq!(whole.tally().kept, rig.queue.book.table.len() as u64);
        let mut whole = whole.finish(rig.now, log_at);
        audit(&whole);
        compare(&mut rig.queue, &mut whole, false);
        prop_assert_eq!(whole.log_ends(), (log_at, log_at));

        // A snapshot of all of it, and one of a part with the rest of the log.
        let mut snapshot = snapshot.finish(rig.now, log_at);
        audit(&snapshot);
        compare(&mut rig.queue, &mut snapshot, true);
        let cut = ends[cut.index(ends.len())];
        let mut part = TaskReplay::new(&config);
        apply(&mut part, &records, 0..cut);
        let mut part = copy(&part, &config);
        apply(&mut part, &records, cut..records.len());
        let mut part = part.finish(rig.now, log_at);
        audit(&part);
        compare(&mut rig.queue, &mut part, true);
    }

    #[test]
    fn whatever_happens_all_that_can_be_done_is_done_in_the_end(
        steps in prop::collection::vec(step(), 1..120),
        memory_max in prop::sample::select(vec![30_000_u64, 1 << 30]),
    ) {
        let mut play = Play::new(memory_max);
        for step in &steps {
            play.go(step);
        }
        play.finish();
        let stats = *play.rig.queue.stats();
        let total = play.rig.queue.counts().total();
        prop_assert_eq!(stats.submitted, total + stats.removed);
    }

    #[test]
    fn whatever_happens_before_and_after_a_restart_all_is_done_in_the_end(
        steps in prop::collection::vec(step(), 1..60),
        more in prop::collection::vec(step(), 1..60),
    ) {
        let mut play = Play::new(1 << 30);
        for step in &steps {
            play.go(step);
        }
        restart(&mut play);
        for step in &more {
            play.go(step);
        }
        play.finish();
    }
}

/// The server dies, and another one goes on from its log. Links are cut.
fn restart(play: &mut Play) {
    let records = sealed(&play.rig.tape);
    let config = TaskQueueConfig { losses_max: 3, ..journaled() };
    let mut replay = TaskReplay::new(&config);
    apply(&mut replay, &records, 0..records.len());
    play.rig.queue = replay.finish(play.rig.now, Lsn(records.len() as u64));
    play.after_restart();
}

#[test]
fn leases_live_on_over_a_restart_if_their_worker_comes_back() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(3);
    let mut hand = rig.worker("w", capacity(2, 1));
    let runs = rig.runs(&hand);
    let records = sealed(&rig.tape);
    let mut replay = TaskReplay::new(&journaled());
    apply(&mut replay, &records, 0..records.len());
    assert!(replay.clock_floor() <= rig.now);
    assert_eq!(replay.tally().open, 3);
    rig.queue = replay.finish(Nanos(1), Lsn(records.len() as u64));
    assert_eq!(rig.queue.next_deadline(), Some(rig.now + Nanos(30_000 * MS)));
    rig.advance(29_999);
    rig.turn();
    rig.relink(&mut hand, "w", capacity(2, 1), &runs);
    assert_eq!(rig.queue.ahead(), 1, "it is known again what runs");
    rig.report(&mut hand, runs[0], exited(0));
    rig.sync();
    let heard = rig.hear(hand.party);
    assert_eq!(heard, [Push::Enlisted { name: "w".to_owned() }, Push::Acked(1)]);
    assert_eq!(rig.states(), [TaskState::Done, TaskState::Leased, TaskState::Leased]);
    assert_eq!(rig.task(2).attempt, Attempt(1));
}

#[test]
fn leases_are_given_to_others_if_their_worker_does_not_come_back_after_a_restart() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(1);
    let hand = rig.worker("w", capacity(1, 0));
    assert_eq!(rig.runs(&hand).len(), 1);
    let records = sealed(&rig.tape);
    let mut replay = TaskReplay::new(&journaled());
    apply(&mut replay, &records, 0..records.len());
    rig.queue = replay.finish(rig.now, Lsn(records.len() as u64));
    rig.advance(30_000);
    rig.turn();
    assert_eq!((rig.state(1), rig.task(1).losses), (TaskState::Ready, 1));
    assert_eq!(rig.queue.workers(), 0);
}

#[test]
fn waits_count_from_a_restart_on_and_what_was_counted_before_is_gone() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(3);
    let mut hand = rig.worker("w", capacity(1, 0));
    let runs = rig.runs(&hand);
    rig.advance(40);
    let records = sealed(&rig.tape);
    let mut replay = TaskReplay::new(&journaled());
    apply(&mut replay, &records, 0..records.len());
    rig.queue = replay.finish(rig.now, Lsn(records.len() as u64));
    assert_eq!(rig.queue.latencies(), &TaskLatencies::default());
    rig.relink(&mut hand, "w", capacity(1, 0), &runs);
    rig.advance(2);
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(rig.runs(&hand).len(), 1);
    let TaskLatencies { wait, lease } = rig.queue.latencies();
    assert_eq!((wait.count(), wait.sum_ns()), (1, 2_000_000), "since the restart");
    assert_eq!((lease.count(), lease.sum_ns()), (1, 42_000_000), "since it was given out");
}

/// A worker of the original took a task out of the queue, and wrote down only then that it had it.
#[test]
fn defect_02_wherever_the_log_ends_a_task_is_in_the_queue_or_with_a_worker() {
    const TASKS: u64 = 6;
    let mut rig = Rig::with(journaled());
    rig.with_tasks(TASKS.into());
    let submitted = rig.tape.len();
    let mut hand = rig.worker("w", capacity(2, 1));
    let runs = rig.runs(&hand);
    rig.give_back(&mut hand, runs[2], ReturnReason::Recalled);
    rig.report(&mut hand, runs[0], exited(1));
    rig.report(&mut hand, runs[1], exited(0));
    for run in rig.runs(&hand) {
        rig.report(&mut hand, run, exited(0));
    }
    rig.turn_and_sync();
    let records = sealed(&rig.tape);
    let ends: Vec<usize> = ends(&records).into_iter().filter(|end| *end >= submitted).collect();
    assert!(ends.len() > 10, "something happened");
    for end in ends {
        let mut replay = TaskReplay::new(&journaled());
        apply(&mut replay, &records, 0..end);
        let mut after = Rig::with(journaled());
        after.queue = replay.finish(rig.now, Lsn(end as u64));
        (after.now, after.tape) = (rig.now, rig.tape[..end].to_vec());
        audit(&after.queue);
        assert_eq!(after.queue.counts().total(), TASKS, "none is lost");
        // Whoever had some of them does not come back, and another one does the rest.
        after.advance(30_000);
        let session = SessionId(7);
        let party = after.link(session);
        after.greet(party, "last", capacity(99, 0), &[]);
        let mut last = Hand { party, session, seq: 0 };
        for _ in 0..3 {
            for run in after.runs(&last) {
                after.report(&mut last, run, exited(0));
            }
        }
        assert_eq!(after.queue.counts().unfinished(), 0, "with {end} bytes of the log");
    }
}

#[test]
fn jobs_keep_their_numbers_in_whatever_order_they_were_opened() {
    let mut rig = Rig::with(journaled());
    let client = rig.client();
    for (name, number) in [("last", 9), ("first", 2), ("between", 5)] {
        let job = JobId(number);
        assert_eq!(rig.open_job(client, name, Some(job)), Push::JobOpened { job });
        rig.submit(client, &[draft(job, 1)]);
        rig.advance(1);
    }
    rig.sync();
    let records = sealed(&rig.tape);
    let mut replay = TaskReplay::new(&journaled());
    apply(&mut replay, &records, 0..records.len());
    let mut again = copy(&replay, &journaled()).finish(rig.now, Lsn::ZERO);
    compare(&mut rig.queue, &mut again, true);
    rig.queue = replay.finish(rig.now, Lsn(records.len() as u64));
    let numbers: Vec<u32> = rig.queue.book.jobs.iter().map(|(id, _)| id.0).collect();
    assert_eq!(numbers, [2, 5, 9]);
    let client = rig.client();
    assert_eq!(rig.job(client, "first"), JobId(2));
    assert_eq!(rig.job(client, "new"), JobId(10));
}

/// Numbers of the jobs, opened in this order, that a queue of up to eight does not take.
fn refused_of(jobs: &[(u32, &[u8])]) -> Vec<u32> {
    let mut replay = TaskReplay::new(&TaskQueueConfig { jobs_max: 8, ..journaled() });
    let mut refused = Vec::new();
    for &(number, name) in jobs {
        let mut bytes = Vec::new();
        let (job, at) = (JobId(number), Nanos(1));
        TaskRecord::JobOpened { job, at, name }.write(&mut bytes);
        let applied = replay.apply(&Record::written(&bytes));
        refused.extend(applied.is_err().then_some(number));
    }
    refused
}

#[test]
fn jobs_that_there_cannot_be_are_refused() {
    assert_eq!(refused_of(&[(7, b"a"), (7, b"b"), (0, b"a"), (0, b"b")]), [7, 0], "taken");
    assert_eq!(refused_of(&[(8, b"a"), (u32::MAX, b"b"), (7, b"c")]), [8, u32::MAX], "too large");
    // They are from when there could be more of them.
    let many: Vec<(u32, &[u8])> = (0..).zip(b"0123456789".chunks(1)).collect();
    assert!(refused_of(&many).is_empty());
}

#[test]
fn what_other_queues_have_at_a_worker_is_not_in_the_journal() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(1, 1));
    let runs = rig.runs(&hand);
    let end = rig.tape.len();
    rig.occupy(&hand, taken(1));
    rig.sync();
    assert_eq!((rig.tape.len(), rig.queue.ahead()), (end, 2));
    let records = sealed(&rig.tape);
    let mut replay = TaskReplay::new(&journaled());
    apply(&mut replay, &records, 0..records.len());
    rig.queue = replay.finish(rig.now, Lsn(end as u64));
    rig.relink(&mut hand, "w", capacity(1, 1), &runs);
    assert_eq!(rig.queue.ahead(), 1, "until it is told again");
    rig.occupy(&hand, taken(1));
    assert_eq!(rig.queue.ahead(), 2);
}

#[test]
fn a_snapshot_keeps_who_ended_first() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(3);
    let mut hand = rig.worker("w", capacity(3, 0));
    for run in rig.runs(&hand).into_iter().rev() {
        rig.advance(1);
        rig.report(&mut hand, run, exited(0));
    }
    rig.sync();
    let records = sealed(&rig.tape);
    let mut replay = TaskReplay::new(&journaled());
    apply(&mut replay, &records, 0..records.len());
    let queue = copy(&replay, &journaled()).finish(rig.now, Lsn::ZERO);
    let ended = queue.book.ended.iter().map(|(sequence, _)| *sequence);
    assert_eq!(ended.collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn records_that_do_not_fit_are_refused() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(2);
    let hand = rig.worker("w", capacity(1, 0));
    assert_eq!(rig.runs(&hand).len(), 1);
    let records = sealed(&rig.tape);
    let ends = ends(&records);
    // None can be done twice.
    for pair in ends.windows(2) {
        let mut replay = TaskReplay::new(&journaled());
        apply(&mut replay, &records, 0..pair[1]);
        let (record, _) = Record::read(&records[pair[0]..], Lsn(pair[0] as u64)).expect("whole");
        assert!(replay.apply(&record).is_err(), "{record:?}");
    }
    // Nor can one be left out: here the second task comes without the first.
    let mut replay = TaskReplay::new(&journaled());
    apply(&mut replay, &records, 0..ends[1]);
    let (second, _) = Record::read(&records[ends[2]..], Lsn(ends[2] as u64)).expect("whole");
    assert_eq!(replay.apply(&second), Err(ReplayError::Task("a task out of order")));
    let foreign = Record::Clock { at: Nanos(1) };
    assert!(TaskReplay::new(&journaled()).apply(&foreign).is_err());
}

#[test]
fn a_record_that_was_cut_short_or_grew_is_refused_and_described_by_nothing() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    rig.report(&mut hand, run, exited(1));
    rig.sync();
    let records = sealed(&rig.tape);
    for at in ends(&records) {
        let read = Record::read(&records[at..], Lsn(at as u64));
        let Ok((Record::Task { kind, body }, _)) = read else { continue };
        assert!(describe_record(kind, body).is_some());
        let is_text_last = matches!(
            TaskRecord::read(kind, body),
            Ok(TaskRecord::JobOpened { .. } | TaskRecord::Enlisted { .. })
        );
        if !is_text_last {
            assert_eq!(describe_record(kind, &body[..body.len() - 1]), None);
            assert_eq!(describe_record(kind, &[body, &[0]].concat()), None);
        }
        assert_eq!(describe_record(kind, &body[..3]), None);
    }
}

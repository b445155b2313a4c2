//! Whatever is sent, the queue goes on.

use super::*;
use proptest::prelude::*;

/// One of each of what a worker says.
fn of_workers() -> Vec<ToQueue<'static>> {
    let (task, attempt) = (TaskId::new(0, 1), Attempt(1));
    let capacity = capacity(1, 1);
    vec![
        ToQueue::Hold { task, attempt },
        ToQueue::Held,
        ToQueue::Credit { capacity },
        ToQueue::Occupied { by_others: Occupancy::default() },
        ToQueue::Report { seq: 1, task, attempt, end: exited(0) },
        ToQueue::Return { seq: 1, task, attempt, reason: ReturnReason::Recalled },
        ToQueue::Beat { memory_free: 0, cores_used_milli: 0, running: 0 },
        ToQueue::Enlist { name: b"w", host: b"h", pid: 1, capacity },
    ]
}

/// One of each of what a client says.
fn of_clients() -> Vec<ToQueue<'static>> {
    vec![
        ToQueue::OpenJob { request: 1, job: None, name: b"job" },
        ToQueue::Watch { request: 1, job: None, seen: 0 },
        ToQueue::Query { request: 1, selection: all(), limit: 9, with_output: true },
        ToQueue::Control { request: 1, verb: Verb::Cancel, selection: all() },
        ToQueue::Jobs { request: 1 },
        ToQueue::Workers { request: 1 },
        ToQueue::Latencies { request: 1 },
        ToQueue::StopWorker { request: 1, name: b"" },
    ]
}

#[test]
fn messages_that_do_not_belong_there_close_the_link() {
    let misplaced = Err(WireError::UnexpectedKind(FrameKind::Task));
    for message in of_workers() {
        let mut rig = Rig::new();
        let client = rig.client();
        assert_eq!(rig.try_say(client, &[message]), misplaced, "{message:?}");
        // A worker enlists first of all, and once.
        let party = rig.link(SessionId(1));
        if matches!(message, ToQueue::Enlist { .. }) {
            rig.say(party, message);
        }
        assert_eq!(rig.try_say(party, &[message]), misplaced, "{message:?}");
    }
    for message in of_clients() {
        let mut rig = Rig::new();
        let hand = rig.worker("w", capacity(1, 1));
        assert_eq!(rig.try_say(hand.party, &[message]), misplaced, "{message:?}");
    }
}

#[test]
fn only_the_queue_says_that_a_task_was_lost() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let hand = rig.worker("w", capacity(1, 1));
    let Run { task, attempt } = rig.runs(&hand)[0];
    let end = TaskEnd { kind: EndKind::Lost, ..exited(0) };
    let report = ToQueue::Report { seq: 1, task, attempt, end };
    assert!(rig.try_say(hand.party, &[report]).is_err());
    assert_eq!(rig.state(1), TaskState::Leased);
}

#[test]
fn frames_of_other_kinds_close_the_link() {
    let mut rig = Rig::new();
    let client = rig.client();
    let frame = Frame { kind: FrameKind::Ping, count: 1, body: b"ping" };
    let outcome = rig.queue.on_frame(rig.now, client, &frame);
    assert_eq!(outcome, Err(WireError::UnexpectedKind(FrameKind::Ping)));
}

#[test]
fn what_came_before_a_malformed_message_counts() {
    let mut rig = Rig::new();
    let client = rig.client();
    let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
    ToQueue::OpenJob { request: 1, job: None, name: b"job" }.write(&mut out);
    out.message(FrameKind::Task, 1, |out| out.push(0xff));
    assert!(rig.pass(client, out).is_err());
    assert_eq!(rig.queue.book.jobs.iter().count(), 1);
}

#[test]
fn there_are_no_more_clients_and_workers_than_allowed() {
    let mut rig = Rig::with(TaskQueueConfig { parties_max: 3, ..config() });
    let client = rig.client();
    rig.worker("w", capacity(1, 0));
    rig.link(SessionId(1));
    let too_many = TooManyParties { max: 3 };
    assert_eq!(rig.queue.open_client(rig.now), Err(too_many));
    assert_eq!(rig.queue.open_worker(rig.now, SessionId(2)), Err(too_many));
    rig.close(client);
    assert_eq!(rig.client(), client);
}

#[test]
fn frames_on_links_that_are_gone_are_ignored() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(1);
    rig.close(client);
    rig.say(client, ToQueue::Jobs { request: 1 });
    assert_eq!(rig.hear(client), []);
    assert_eq!((rig.queue.closing(client), rig.queue.has_room(client)), (None, true));
    assert_eq!(rig.queue.closing(Party(99)), None);
}

#[test]
fn who_does_not_listen_is_not_read_and_neither_are_clients_while_the_disk_is_behind() {
    let mut rig = Rig::with(journaled());
    rig.is_audited = false;
    let (client, job) = rig.with_tasks(1);
    let hand = rig.worker("w", capacity(1, 0));
    let large = Draft { command: vec![b'x'; 100_000], ..draft(job, 2) };
    for key in 2..1_000 {
        if !rig.queue.has_room(client) {
            break;
        }
        rig.submit(client, &[Draft { key, ..large.clone() }]);
    }
    assert!(rig.queue.log_len() >= 64 << 20);
    assert!(!rig.queue.has_room(client) && rig.queue.has_room(hand.party));
    rig.sync();
    assert!(rig.queue.has_room(client));
    let party = rig.client();
    let ask = ToQueue::OpenJob { request: 1, job: None, name: b"job" };
    let asks: Vec<ToQueue<'_>> = vec![ask; 1 << 16];
    assert!(rig.queue.has_room(party));
    rig.try_say(party, &asks).expect("they are well-formed");
    assert!(!rig.queue.has_room(party));
    rig.hear(party);
    assert!(rig.queue.has_room(party));
}

#[test]
fn a_worker_may_say_the_most_absurd_things_of_itself() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let most = |key| Draft {
        cores_milli: u32::MAX,
        ..draft(job, key).memory(1 << 50).priority(i32::MAX).attempts(u16::MAX)
    };
    rig.submit(client, &[most(1), most(2), draft(job, 3).priority(i32::MIN).attempts(u16::MAX)]);
    let greatest = Capacity {
        slots: u32::MAX,
        memory: u64::MAX,
        cores_milli: u32::MAX,
        prefetch: u32::MAX,
        is_draining: false,
    };
    let mut hand = rig.worker("w", greatest);
    let everything = Occupancy { slots: u32::MAX, memory: u64::MAX, cores_milli: u32::MAX };
    let end = TaskEnd {
        kind: EndKind::Exited,
        code: i32::MIN,
        waited_ns: u64::MAX,
        ran_ns: u64::MAX,
        cpu_ns: u64::MAX,
        memory: u64::MAX,
        stdout: Captured { bytes: u64::MAX, tail: &[] },
        stderr: Captured { bytes: u64::MAX, tail: &[] },
    };
    for _ in 0..3 {
        for run in rig.runs(&hand) {
            hand.seq = u64::MAX - 1;
            rig.report(&mut hand, run, end);
        }
        rig.now = rig.now + Nanos(25_000 * MS);
        rig.beat(&hand);
        rig.say(hand.party, ToQueue::Occupied { by_others: everything });
        rig.say(hand.party, ToQueue::Credit { capacity: Capacity::default() });
        rig.say(hand.party, ToQueue::Occupied { by_others: Occupancy::default() });
        rig.say(hand.party, ToQueue::Credit { capacity: greatest });
    }
    let other = rig.worker("idle", greatest);
    rig.runs(&other);
    rig.say(client, ToQueue::Workers { request: 1 });
    assert_eq!(rig.hear(client).len(), 4, "the submissions, two workers and the end");
    rig.now = Nanos::MAX;
    rig.turn();
    assert_eq!(rig.queue.workers(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_queue_fall_over(
        frames in prop::collection::vec(
            (0..3_usize, 1..4_u16, prop::collection::vec(any::<u8>(), 0..60)),
            1..40,
        ),
    ) {
        let mut rig = Rig::new();
        let (client, _) = rig.with_tasks(3);
        let hand = rig.worker("w", capacity(2, 1));
        let fresh = rig.link(SessionId(5));
        let parties = [client, hand.party, fresh];
        for (at, count, mut body) in frames {
            // Tags that there are.
            if let Some(tag) = body.first_mut() {
                *tag = *tag % 17 + 1;
            }
            let frame = Frame { kind: FrameKind::Task, count, body: &body };
            // The host would close the link if it is malformed; here it goes on.
            let _ = rig.queue.on_frame(rig.now, parties[at], &frame);
            audit(&rig.queue);
            rig.turn();
            rig.advance(50);
        }
        for party in parties {
            rig.hear(party);
        }
    }

    #[test]
    fn a_message_with_any_byte_changed_does_not_make_it_fall_over(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut rig = Rig::new();
        let (client, _) = rig.with_tasks(3);
        let hand = rig.worker("w", capacity(2, 1));
        rig.runs(&hand);
        let mut messages: Vec<(Party, ToQueue<'_>)> = Vec::new();
        messages.extend(of_clients().into_iter().map(|it| (client, it)));
        messages.extend(of_workers().into_iter().map(|it| (hand.party, it)));
        let (party, message) = messages[which.index(messages.len())];
        let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
        message.write(&mut out);
        out.seal();
        let mut reader = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
        let frame = reader.next_frame().expect("it is valid").expect("there is one");
        let mut body = frame.body.to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let frame = Frame { body: &body, ..frame };
        let _ = rig.queue.on_frame(rig.now, party, &frame);
        audit(&rig.queue);
        for _ in 0..3 {
            rig.turn();
            rig.advance(10_000);
        }
        rig.hear(client);
        rig.hear(hand.party);
    }
}

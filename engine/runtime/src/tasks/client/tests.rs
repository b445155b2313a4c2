//! Clients of a server with several queues, over sockets and through memory. Nothing here decides
//! by time: waits end with what they wait for, and their bounds only end what would hang for ever.

use super::*;
use crate::config::Address;
use crate::tasks::{
    JobId, NoopRunner, OwnedSelection, OwnedSpec, RefusedTask, StateCounts, StateSet, TaskFault,
    TaskId, TaskKey, TaskLatencies, TaskServer, TaskServerConfig, TaskState, TaskWorkerConfig,
    TaskWorkerHost, Verb,
};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

/// Nothing that works takes this long, not even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "open sesame";

/// A server with so many queues, at an address.
fn serve_at(listen: &str, queues: u16) -> TaskServer {
    let config = TaskServerConfig::listening(Address::Tcp(listen.to_owned()), TOKEN);
    TaskServer::start(TaskServerConfig { queues, ..config }).expect("the server starts")
}

/// One at a port that the system chooses.
fn serve(queues: u16) -> TaskServer {
    serve_at("127.0.0.1:0", queues)
}

fn remote(server: &TaskServer) -> QueueAddress {
    let endpoint = server.endpoint().expect("it listens").clone();
    QueueAddress::Remote { endpoint, token: TOKEN.into() }
}

fn client(address: &QueueAddress) -> TaskClient {
    TaskClient::at(address, PATIENCE).expect("the server answers")
}

/// A worker whose tasks all succeed at once.
fn worker(address: &QueueAddress) -> TaskWorkerHost {
    let config = TaskWorkerConfig::new("w", 4, 1 << 30, 4000);
    TaskWorkerHost::start(config, address.clone(), NoopRunner::new()).expect("a thread")
}

/// The task of a number, whose key is a hash of it.
fn task(number: u64) -> OwnedSpec {
    OwnedSpec::new(TaskKey(xxh3_128(&number.to_le_bytes())), vec![0])
}

/// The same with a name: others may come after it.
fn named(number: u64) -> OwnedSpec {
    OwnedSpec { is_named: true, ..task(number) }
}

/// Submits tasks and waits until all are acknowledged.
fn submit(
    client: &mut TaskClient,
    job: JobId,
    tasks: impl IntoIterator<Item = OwnedSpec>,
) -> SubmitReport {
    let report = client.submit(job, tasks, |_| ControlFlow::Continue(()));
    report.expect("the server takes them")
}

/// How things are with a job now, with the version of that.
fn news(client: &mut TaskClient, job: Option<JobId>) -> (u64, StateCounts) {
    let news = client.progress(job, 0, PATIENCE).expect("the server answers");
    news.expect("it answers at once")
}

/// Waits until so many tasks of a job are done.
fn until_done(client: &mut TaskClient, job: JobId, tasks: u64) {
    let (mut seen, start) = (0, Instant::now());
    loop {
        let news = client.progress(Some(job), seen, PATIENCE).expect("the server answers");
        let (version, counts) = news.expect("something happens");
        if counts[TaskState::Done] == tasks {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it stays at {counts:?}");
        seen = version;
    }
}

/// The ids of the tasks that are meant, in the order in which they are shown.
fn ids(client: &mut TaskClient, selection: &OwnedSelection, page: u32) -> Vec<TaskId> {
    let mut ids = Vec::new();
    let shown = client.rows(selection, page, false, |row| {
        ids.push(row.id);
        ControlFlow::Continue(())
    });
    shown.expect("the server answers");
    ids
}

/// How many of these are at each of two queues.
fn at_queues(ids: &[TaskId]) -> [usize; 2] {
    [0, 1].map(|queue| ids.iter().filter(|id| id.shard() == queue).count())
}

#[test]
fn every_task_of_many_is_done_at_one_of_two_queues_and_known_when_it_comes_again() {
    const TASKS: Range<u64> = 0..10_000;
    let server = serve(2);
    for address in [remote(&server), QueueAddress::Local(server.local())] {
        let mut client = client(&address);
        assert_eq!(client.queues(), 2);
        let job = client.open_job(&format!("at {address}")).expect("a job");
        let worker = worker(&address);
        let report = submit(&mut client, job, TASKS.map(task));
        assert_eq!((report.added, report.known), (TASKS.end, 0));
        assert!(report.refused.is_empty(), "{report:?}");
        until_done(&mut client, job, TASKS.end);
        // Another client, which has not opened the job, sends them where they are.
        let again = submit(&mut self::client(&address), job, TASKS.map(task));
        assert_eq!((again.added, again.known), (0, TASKS.end));

        let all = OwnedSelection { job: Some(job), ..OwnedSelection::default() };
        let ids = ids(&mut client, &all, 999);
        assert_eq!(ids.len() as u64, TASKS.end);
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(at_queues(&ids).into_iter().all(|tasks| tasks > 4_000), "{:?}", at_queues(&ids));
        let jobs = client.jobs().expect("an answer");
        let counts = jobs.iter().find(|it| it.job == job).map(|it| it.counts);
        assert_eq!(counts, Some(news(&mut client, Some(job)).1));
        worker.drain();
        worker.wait().expect("everything was acknowledged");
    }
    let mut client = client(&remote(&server));
    assert_eq!(news(&mut client, None).1[TaskState::Done], 2 * TASKS.end);
    let TaskLatencies { lease, .. } = client.latencies().expect("an answer");
    assert_eq!(lease.count(), 2 * TASKS.end, "those of both queues");
    server.stop().expect("an orderly stop");
}

#[test]
fn tasks_that_wait_for_each_other_find_each_other_among_those_that_do_not() {
    const TASKS: u64 = 300;
    let server = serve(2);
    let mut client = client(&remote(&server));
    let job = client.open_job("tied").expect("a job");
    // Every third has a name, and the next one comes after it.
    let spec = |number: u64| match number % 3 {
        0 => named(number),
        1 => OwnedSpec { after: vec![task(number - 1).key], ..task(number) },
        _ => task(number),
    };
    let report = submit(&mut client, job, (0..TASKS).map(spec));
    assert_eq!((report.added, report.refused.len()), (TASKS, 0), "{report:?}");
    let tied: BTreeSet<TaskKey> =
        (0..TASKS).filter(|number| number % 3 < 2).map(|number| task(number).key).collect();
    let (mut tied_at, mut others_at) = (BTreeSet::new(), BTreeSet::new());
    let shown = client.rows(&OwnedSelection::default(), 100, false, |row| {
        let queues = if tied.contains(&row.key) { &mut tied_at } else { &mut others_at };
        queues.insert(row.id.shard());
        ControlFlow::Continue(())
    });
    shown.expect("the server answers");
    assert_eq!((tied_at.len(), others_at.len()), (1, 2));
    // What comes after a task that nobody has submitted is refused by its index.
    let lost = OwnedSpec { after: vec![task(TASKS).key], ..task(TASKS + 1) };
    let report = submit(&mut client, job, [task(TASKS + 2), lost]);
    assert_eq!((report.added, report.refused), (1, vec![(1, RefusedTask::UnknownAfter)]));
    let worker = worker(&remote(&server));
    until_done(&mut client, job, TASKS + 1);
    worker.drain();
    worker.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn orders_and_questions_are_for_the_queues_that_have_what_is_meant() {
    const TASKS: u64 = 200;
    let server = serve(2);
    let mut client = client(&remote(&server));
    let job = client.open_job("job").expect("a job");
    submit(&mut client, job, (0..TASKS).map(task));
    let all = OwnedSelection::default();
    let known = ids(&mut client, &all, 30);
    assert_eq!(known.len() as u64, TASKS);
    for page in [1, 1000] {
        assert_eq!(ids(&mut client, &all, page), known, "pages of {page}");
    }
    // From an id of each queue on, and the one task of each.
    for at in [3, known.len() - 3] {
        let from = OwnedSelection { from: known[at], ..all.clone() };
        assert_eq!(ids(&mut client, &from, 7), known[at..]);
        let one = OwnedSelection { task: Some(known[at]), ..all.clone() };
        assert_eq!(ids(&mut client, &one, 7), [known[at]]);
        assert_eq!(client.control(Verb::Cancel, &one).expect("an answer"), 1);
        assert_eq!(client.control(Verb::Cancel, &one).expect("an answer"), 0);
    }
    let nobody = OwnedSelection { task: Some(TaskId::new(2, 1)), ..all.clone() };
    assert!(ids(&mut client, &nobody, 7).is_empty());
    assert_eq!(client.control(Verb::Cancel, &nobody).expect("an answer"), 0);
    // Whoever has seen enough is shown no task of the next queue either.
    let mut seen = 0;
    let shown = client.rows(&all, 1000, false, |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    shown.expect("the server answers");
    assert_eq!(seen, 1);

    assert_eq!(client.control(Verb::Cancel, &all).expect("an answer"), TASKS - 2);
    let states = StateSet::NONE.with(TaskState::Cancelled);
    let cancelled = OwnedSelection { states, ..all };
    assert_eq!(client.control(Verb::Requeue, &cancelled).expect("an answer"), TASKS);
    assert_eq!(news(&mut client, Some(job)).1[TaskState::Ready], TASKS);
    server.stop().expect("an orderly stop");
}

#[test]
fn whoever_watches_is_told_of_news_of_every_queue_and_of_nothing_else() {
    let server = serve(2);
    let mut watcher = client(&remote(&server));
    let mut other = client(&remote(&server));
    let job = watcher.open_job("job").expect("a job");
    assert_eq!(other.open_job("job").expect("the same job"), job);
    let (mut seen, _) = news(&mut watcher, Some(job));
    for round in 0..20 {
        assert_ne!(seen, 0);
        let quiet = watcher.progress(Some(job), seen, Duration::ZERO).expect("an answer");
        assert_eq!(quiet, None);
        submit(&mut other, job, [task(round)]);
        let news = watcher.progress(Some(job), seen, PATIENCE).expect("an answer");
        let (version, counts) = news.expect("there is one more");
        assert_eq!(counts[TaskState::Ready], round + 1);
        assert_ne!(version, seen);
        seen = version;
    }
    // Whoever knows another version, of another client perhaps, is told at once.
    for stale in [0, 1, seen + 7] {
        let news = watcher.progress(Some(job), stale, PATIENCE).expect("an answer");
        let (version, counts) = news.expect("it is told at once");
        assert_eq!(counts[TaskState::Ready], 20);
        assert_eq!(watcher.progress(Some(job), version, Duration::ZERO).expect("an answer"), None);
    }
    let unknown = watcher.progress(Some(JobId(99)), 0, PATIENCE);
    assert!(matches!(unknown, Err(TaskClientError::Fault(TaskFault::UnknownJob))), "{unknown:?}");
    let refused = submit(&mut watcher, JobId(99), (0..10).map(task)).refused;
    let expected: Vec<_> = (0..10).map(|index| (index, RefusedTask::UnknownJob)).collect();
    assert_eq!(refused, expected);
    server.stop().expect("an orderly stop");
}

#[test]
fn a_job_that_was_opened_by_half_is_opened_by_whoever_needs_it_next() {
    let server = serve(2);
    for is_watched_first in [false, true] {
        let mut dying = client(&remote(&server));
        dying.lines.truncate(1);
        let job = dying.open_job(&format!("half, {is_watched_first}")).expect("a job");
        drop(dying);
        let mut next = client(&remote(&server));
        if is_watched_first {
            assert_eq!(news(&mut next, Some(job)).1.total(), 0);
        }
        let report = submit(&mut next, job, (0..100).map(task));
        assert_eq!((report.added, report.refused.len()), (100, 0), "{report:?}");
        assert_eq!(news(&mut next, Some(job)).1.total(), 100);
    }
    server.stop().expect("an orderly stop");
}

#[test]
fn a_worker_of_two_queues_is_one_worker() {
    let server = serve(2);
    let address = remote(&server);
    let mut client = client(&address);
    let worker = worker(&address);
    let job = client.open_job("job").expect("a job");
    submit(&mut client, job, (0..100).map(task));
    until_done(&mut client, job, 100);
    let workers = client.workers().expect("an answer");
    let [one] = workers.as_slice() else { panic!("{workers:?}") };
    assert_eq!((&*one.name, one.is_linked, one.done), (&b"w"[..], true, 100));
    let unknown = client.stop_worker("nobody");
    let fault = TaskFault::UnknownWorker;
    assert!(matches!(&unknown, Err(TaskClientError::Fault(it)) if *it == fault), "{unknown:?}");
    assert_eq!(client.stop_worker("w").expect("an answer"), 1);
    worker.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn a_queue_without_room_is_a_server_without_room() {
    // Each queue has the half of it.
    let config = TaskServerConfig { memory_max: 2 << 20, queues: 2, ..TaskServerConfig::default() };
    let server = TaskServer::start(config).expect("the server starts");
    let address = QueueAddress::Local(server.local());
    let mut client = client(&address);
    let job = client.open_job("large").expect("a job");
    let large = |number: u64| OwnedSpec { payload: vec![0; 100 << 10], ..named(number) };
    let full = RefusedTask::Full;
    let start = Instant::now();
    let end = loop {
        let impatient = TaskClient::at(&address, Duration::from_millis(200));
        let tasks = (0..20).map(large);
        let end = impatient.and_then(|mut it| it.submit(job, tasks, |_| ControlFlow::Continue(())));
        // On a busy machine it is silent for so long.
        let is_silent = matches!(end, Err(TaskClientError::NoAnswer { .. }));
        if !is_silent || start.elapsed() >= PATIENCE {
            break end;
        }
    };
    assert!(
        matches!(&end, Err(TaskClientError::NoRoom { reason, .. }) if *reason == full),
        "{end:?}"
    );
    let taken = ids(&mut client, &OwnedSelection::default(), 100);
    assert!((1..20).contains(&taken.len()), "{} had room", taken.len());
    assert!(at_queues(&taken).contains(&0), "they belong together: {:?}", at_queues(&taken));
    // The other one has room still, and is asked again by itself.
    let full_queue = taken[0].shard();
    let others = (0..).map(task).filter(|spec| spec.key.queue(2) != full_queue);
    assert_eq!(submit(&mut client, job, others.take(50)).added, 50);
    server.stop().expect("an orderly stop");
}

#[test]
fn whoever_has_seen_enough_gets_a_report_of_what_was_sent_to_all_queues() {
    for queues in [1, 2] {
        let server = serve(queues);
        let mut client = client(&remote(&server));
        let job = client.open_job("endless").expect("a job");
        let report = client.submit(job, (0..).map(task), |report| match report.added {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        let report = report.expect("an answer");
        assert!(report.added > 0);
        assert_eq!(client.jobs().expect("an answer")[0].counts.total(), report.added);
        server.stop().expect("an orderly stop");
    }
}

#[test]
fn a_client_finds_its_server_again_if_it_has_as_many_queues_as_before() {
    let server = serve(2);
    let listen = server.endpoint().expect("it listens").to_string();
    let mut client = client(&remote(&server));
    let job = client.open_job("first").expect("a job");
    submit(&mut client, job, (0..100).map(task));
    let (seen, _) = news(&mut client, Some(job));
    server.stop().expect("an orderly stop");

    // It has forgotten everything, and numbers its jobs anew.
    let server = serve_at(&listen, 2);
    let again = client.open_job("second").expect("the server is found again");
    assert_eq!(again, job);
    let news = client.progress(Some(job), seen, PATIENCE).expect("an answer");
    assert_eq!(news.map(|(_, counts)| counts.total()), Some(0), "a new link has news");
    assert_eq!(submit(&mut client, again, (0..100).map(task)).added, 100);
    server.stop().expect("an orderly stop");

    for queues in [1, 3] {
        let server = serve_at(&listen, 2);
        let mut client = self::client(&remote(&server));
        server.stop().expect("an orderly stop");
        let server = serve_at(&listen, queues);
        for _ in 0..2 {
            let error = client.jobs().expect_err("tasks are spread otherwise now");
            assert!(matches!(&error, TaskClientError::Queues { before: 2, .. }), "{error}");
            let message = error.to_string();
            assert!(message.ends_with(" now and was 2 before; start this again"), "{error}");
            assert!(!error.is_usage());
        }
        assert_eq!(self::client(&remote(&server)).queues(), queues);
        server.stop().expect("an orderly stop");
    }
}

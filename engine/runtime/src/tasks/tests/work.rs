//! What a farm is for, and how those who are part of it go.

use super::*;
use crate::counters::Counter;
use punctual_core::Nanos;
use std::net::TcpListener;

/// Tells which names its worker is given.
struct NamedRunner {
    inner: NoopRunner,
    names: flume::Sender<String>,
}

impl TaskRunner for NamedRunner {
    fn set_name(&mut self, name: &str) {
        self.names.send(name.to_owned()).expect("the test listens");
    }

    fn launch(&mut self, now: Nanos, lease: &Lease) -> Result<(), Exit> {
        self.inner.launch(now, lease)
    }

    fn stop(&mut self, run: RunId) {
        self.inner.stop(run);
    }

    fn kill(&mut self, run: RunId) {
        self.inner.kill(run);
    }

    fn poll(&mut self, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        self.inner.poll(now, exits)
    }

    fn running(&self) -> usize {
        self.inner.running()
    }
}

/// Waits until the server knows so many workers.
fn until_enlisted(client: &mut TaskClient, workers: usize) {
    let start = Instant::now();
    while client.workers().expect("an answer").len() < workers {
        assert!(start.elapsed() < PATIENCE, "the workers do not enlist");
        std::thread::yield_now();
    }
}

#[test]
fn every_task_is_done_once_over_sockets_and_through_memory() {
    const TASKS: u64 = 1000;
    let server = serve(TaskServerConfig::default());
    for address in [remote(&server), QueueAddress::Local(server.local())] {
        let mut client = client(&address);
        let job = client.open_job(&format!("at {address}")).expect("a job");
        let worker = worker("w", &address);
        let report = submit(&mut client, job, 0..TASKS);
        assert_eq!((report.added, report.known), (TASKS, 0));
        assert!(report.refused.is_empty(), "{report:?}");
        until_done(&mut client, job, TASKS);
        let again = submit(&mut client, job, 0..TASKS);
        assert_eq!((again.added, again.known), (0, TASKS), "they are known by their keys");
        worker.drain();
        worker.wait().expect("everything was acknowledged");
    }
    let counters = server.counters().clone();
    server.stop().expect("an orderly stop");
    for (counter, expected) in [
        (Counter::TasksSubmitted, 2 * TASKS),
        (Counter::TasksKnown, 2 * TASKS),
        (Counter::TasksDone, 2 * TASKS),
        (Counter::TasksFailed, 0),
        (Counter::TasksUnfinished, 0),
    ] {
        assert_eq!(counters.sum("tasks0", counter), expected, "{}", counter.name());
    }
}

#[test]
fn tasks_are_shown_page_by_page_and_no_further_than_somebody_looks() {
    const TASKS: usize = 25;
    let server = serve(TaskServerConfig::default());
    let mut client = client(&remote(&server));
    let job = client.open_job("shown").expect("a job");
    submit(&mut client, job, 0..TASKS as u64);
    let mut ids = Vec::new();
    for (page, enough, expected) in [(10, TASKS, TASKS), (5, TASKS, TASKS), (10, 3, 3), (0, 2, 2)] {
        ids.clear();
        let shown = client.rows(&OwnedSelection::default(), page, true, |row| {
            assert_eq!((row.job, row.state), (job, TaskState::Ready));
            ids.push(row.id);
            if ids.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        shown.expect("the server answers");
        assert_eq!(ids.len(), expected, "pages of {page}");
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }
    let one = OwnedSelection { task: Some(ids[1]), ..OwnedSelection::default() };
    let mut found = Vec::new();
    let shown = client.rows(&one, 10, false, |row| {
        found.push(row.id);
        ControlFlow::Continue(())
    });
    shown.expect("the server answers");
    assert_eq!(found, [ids[1]]);
    server.stop().expect("an orderly stop");
}

#[test]
fn orders_count_what_they_change_and_jobs_show_it() {
    let server = serve(TaskServerConfig::default());
    let mut client = client(&remote(&server));
    let job = client.open_job("ordered").expect("a job");
    assert_eq!(client.open_job("ordered").expect("the same job"), job);
    submit(&mut client, job, 0..20);
    let some = OwnedSelection { include: b"1".to_vec(), ..OwnedSelection::default() };
    // 1 and 10 to 19.
    assert_eq!(client.control(Verb::Cancel, &some).expect("an answer"), 11);
    assert_eq!(client.control(Verb::Cancel, &some).expect("an answer"), 0, "they are cancelled");
    let jobs = client.jobs().expect("an answer");
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].job, &*jobs[0].name), (job, &b"ordered"[..]));
    assert_eq!(jobs[0].counts[TaskState::Cancelled], 11);
    assert_eq!(client.control(Verb::Retry, &some).expect("an answer"), 11);
    until(&mut client, job, |counts| counts[TaskState::Ready] == 20);
    let unknown = client.progress(Some(JobId(99)), 0, PATIENCE);
    assert!(matches!(unknown, Err(TaskClientError::Fault(TaskFault::UnknownJob))), "{unknown:?}");
    let refused = client.submit(JobId(99), [task(1)], |_| ControlFlow::Continue(()));
    assert_eq!(refused.expect("an answer").refused, [(0, RefusedTask::UnknownJob)]);
    server.stop().expect("an orderly stop");
}

#[test]
fn what_finds_no_room_is_tried_again_and_then_said() {
    let server = serve(TaskServerConfig { memory_max: 1 << 20, ..TaskServerConfig::default() });
    let patience = Duration::from_millis(200);
    let mut client = TaskClient::at(&remote(&server), patience).expect("the server answers");
    let job = client.open_job("large").expect("a job");
    let large = |number: u64| OwnedSpec::new(TaskKey(number.into()), vec![0; 100 << 10]);
    let end = client.submit(job, (0..20).map(large), |_| ControlFlow::Continue(()));
    let full = RefusedTask::Full;
    assert!(
        matches!(&end, Err(TaskClientError::NoRoom { reason, .. }) if *reason == full),
        "{end:?}"
    );
    let too_large = OwnedSpec::new(TaskKey(77), vec![0; PAYLOAD_BYTES_MAX + 1]);
    let end = client.submit(job, [too_large], |_| ControlFlow::Continue(()));
    assert_eq!(end.expect("a report").refused, [(0, RefusedTask::TooLarge)]);
    let all = OwnedSelection::default();
    let cancelled = client.control(Verb::Cancel, &all).expect("an answer");
    assert!((1..20).contains(&cancelled), "{cancelled} had room");
    // What ended makes room for what comes.
    let end = client.submit(job, (20..40).map(large), |_| ControlFlow::Continue(()));
    assert!(matches!(end, Err(TaskClientError::NoRoom { .. })), "{end:?}");
    let counts = client.jobs().expect("an answer")[0].counts;
    assert_eq!(counts[TaskState::Cancelled], 0, "they were forgotten: {counts:?}");
    server.stop().expect("an orderly stop");
}

#[test]
fn workers_end_when_their_host_or_their_queue_says_so() {
    let server = serve(TaskServerConfig::default());
    let address = remote(&server);
    let mut client = client(&address);
    let job = client.open_job("work").expect("a job");
    let hosts = [worker("a", &address), worker("b", &address)];
    submit(&mut client, job, 0..10);
    until_done(&mut client, job, 10);
    let unknown = client.stop_worker("nobody");
    let fault = TaskFault::UnknownWorker;
    assert!(matches!(&unknown, Err(TaskClientError::Fault(it)) if *it == fault), "{unknown:?}");
    let [a, b] = hosts;
    // One that has not enlisted yet cannot be told by its name.
    until_enlisted(&mut client, 2);
    assert_eq!(client.stop_worker("a").expect("an answer"), 1);
    a.wait().expect("everything was acknowledged");
    b.abandon();
    b.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn a_runner_is_told_what_the_queue_calls_its_worker() {
    let server = serve(TaskServerConfig::default());
    let address = remote(&server);
    let first = worker("same", &address);
    until_enlisted(&mut client(&address), 1);
    let (names, told) = flume::unbounded();
    let runner = NamedRunner { inner: NoopRunner::new(), names };
    let config = TaskWorkerConfig::new("same", 1, 1 << 30, 1000);
    let second = TaskWorkerHost::start(config, address, runner).expect("a thread");
    let name = || told.recv_timeout(PATIENCE).expect("a name");
    assert_eq!([name(), name()], ["same", "same#2"]);
    for host in [first, second] {
        host.drain();
        host.wait().expect("there is nothing to tell");
    }
    server.stop().expect("an orderly stop");
}

#[test]
fn a_worker_without_a_server_ends_when_it_is_told_to() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = punctual_link::Endpoint::Tcp(nobody.local_addr().expect("bound"));
    drop(nobody);
    let address = QueueAddress::Remote { endpoint: endpoint.clone(), token: Token::default() };
    let mut host = worker("alone", &address);
    assert!(host.wait_timeout(Duration::ZERO).is_none(), "it tries again");
    host.drain();
    host.wait().expect("there was nothing to tell anybody");

    let error = TaskClient::connect(&endpoint, "", Duration::ZERO).expect_err("nobody is there");
    let message = error.to_string();
    assert!(message.starts_with(&format!("no task server answers at {endpoint}")), "{message}");
    assert!(message.contains("punctual task serve"), "{message}");
    assert!(error.is_usage());
}

#[test]
fn a_worker_that_gets_other_settings_tells_its_queue() {
    let server = serve(TaskServerConfig::default());
    let address = remote(&server);
    let mut client = client(&address);
    let host = worker("w", &address);
    for slots in [9, 2] {
        // The latest settings are those that count.
        for slots in [1, slots] {
            host.reconfigure(slots, 0, 0);
        }
        let start = Instant::now();
        while client.workers().expect("an answer").iter().all(|it| it.capacity.slots != slots) {
            assert!(start.elapsed() < PATIENCE, "the queue does not hear of {slots} slots");
            std::thread::yield_now();
        }
    }
    host.drain();
    host.wait().expect("there was nothing to tell");
    server.stop().expect("an orderly stop");
}

#[test]
fn a_client_is_told_how_long_tasks_took() {
    let server = serve(TaskServerConfig::default());
    let mut client = client(&remote(&server));
    assert_eq!(client.latencies().expect("an answer"), TaskLatencies::default());
    let job = client.open_job("job").expect("a job");
    submit(&mut client, job, 0..20);
    let worker = worker("w", &remote(&server));
    until_done(&mut client, job, 20);
    for mut client in [client, self::client(&QueueAddress::Local(server.local()))] {
        let TaskLatencies { wait, lease } = client.latencies().expect("an answer");
        assert!(wait.count() >= 20, "what was given back has waited twice: {wait:?}");
        assert_eq!(lease.count(), 20);
        assert!(wait.quantile_ns(500) <= wait.quantile_ns(990), "{wait:?}");
    }
    worker.drain();
    worker.wait().expect("an orderly end");
    server.stop().expect("an orderly stop");
}

//! Workers of servers with several queues.

use super::*;
use crate::counters::Counter;
use punctual_core::Nanos;

/// Its tasks go on until they are asked to end.
struct EndlessRunner {
    started: flume::Sender<u16>,
    running: Vec<RunId>,
    ended: Vec<RunId>,
}

impl TaskRunner for EndlessRunner {
    fn launch(&mut self, _now: Nanos, lease: &Lease) -> Result<(), Exit> {
        self.running.push(lease.run);
        self.started.send(lease.task.shard()).expect("the test listens");
        Ok(())
    }

    fn stop(&mut self, run: RunId) {
        if let Some(at) = self.running.iter().position(|it| *it == run) {
            self.ended.push(self.running.swap_remove(at));
        }
    }

    fn kill(&mut self, run: RunId) {
        self.stop(run);
    }

    fn poll(&mut self, _now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        let ended = self.ended.len();
        for run in self.ended.drain(..) {
            exits(run, Exit::success());
        }
        ended
    }

    fn running(&self) -> usize {
        self.running.len() + self.ended.len()
    }
}

/// A server with so many queues, at an address.
fn start(listen: &str, queues: u16) -> TaskServer {
    let config = TaskServerConfig::listening(Address::Tcp(listen.to_owned()), TOKEN);
    TaskServer::start(TaskServerConfig { queues, ..config }).expect("the server starts")
}

/// A task of that number that one of so many queues has.
fn task_at(queue: u16, queues: u16, number: u64) -> OwnedSpec {
    let first = (u128::from(queue) << 64).div_ceil(u128::from(queues));
    let key = TaskKey((first << 64) | u128::from(number));
    assert_eq!(key.queue(queues), queue, "it is spread otherwise");
    OwnedSpec { key, ..task(number) }
}

/// Submits tasks of those numbers, as many to each queue, and waits until all are acknowledged.
pub(super) fn submit_to_all(
    client: &mut TaskClient,
    job: JobId,
    queues: u16,
    numbers: std::ops::Range<u64>,
) {
    let expected = u64::from(queues) * (numbers.end - numbers.start);
    let of_number = |number| (0..queues).map(move |queue| task_at(queue, queues, number));
    let tasks = numbers.flat_map(of_number);
    let report = client.submit(job, tasks, |_| ControlFlow::Continue(()));
    assert_eq!(report.expect("the server takes them").added, expected);
}

fn submit_one(client: &mut TaskClient, job: JobId, task: OwnedSpec) {
    let report = client.submit(job, [task], |_| ControlFlow::Continue(()));
    assert_eq!(report.expect("the server takes it").added, 1);
}

/// Waits until so many workers are linked to all queues of the server. Those that have ended are
/// remembered for a while.
pub(super) fn until_linked(client: &mut TaskClient, workers: usize) -> Vec<OwnedWorker> {
    let start = Instant::now();
    loop {
        let mut found = client.workers().expect("an answer");
        found.retain(|worker| worker.is_linked);
        if found.len() == workers {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{workers} should be linked, not {found:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_worker_does_the_tasks_of_every_queue_over_sockets_and_through_memory() {
    const TASKS: u64 = 200;
    let server = start("127.0.0.1:0", 2);
    for address in [remote(&server), QueueAddress::Local(server.local())] {
        let mut client = client(&address);
        let job = client.open_job(&format!("at {address}")).expect("a job");
        let worker = worker("w", &address);
        submit_to_all(&mut client, job, 2, 0..TASKS);
        until_done(&mut client, job, 2 * TASKS);
        worker.drain();
        worker.wait().expect("everything was acknowledged");
    }
    let counters = server.counters().clone();
    server.stop().expect("an orderly stop");
    for queue in ["tasks0", "tasks1"] {
        assert_eq!(counters.sum(queue, Counter::TasksDone), 2 * TASKS, "{queue}");
    }
}

#[test]
fn an_idle_worker_gets_a_task_of_whichever_queue_has_one() {
    const QUEUES: u16 = 3;
    let server = start("127.0.0.1:0", QUEUES);
    let address = remote(&server);
    let mut client = client(&address);
    let job = client.open_job("one by one").expect("a job");
    let config = TaskWorkerConfig {
        prefetch: Prefetch::Off,
        ..TaskWorkerConfig::new("w", 1, 1 << 30, 1000)
    };
    let host = TaskWorkerHost::start(config, address, NoopRunner::new()).expect("a thread");
    for (number, queue) in (0..30).zip((0..QUEUES).cycle()) {
        submit_one(&mut client, job, task_at(queue, QUEUES, number));
        until_done(&mut client, job, number + 1);
    }
    host.drain();
    host.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn what_waits_behind_the_task_of_another_queue_goes_to_a_worker_that_is_idle() {
    let server = start("127.0.0.1:0", 2);
    let address = remote(&server);
    let mut client = client(&address);
    let job = client.open_job("shared").expect("a job");
    let (started, starts) = flume::unbounded();
    let runner = EndlessRunner { started, running: Vec::new(), ended: Vec::new() };
    let config = TaskWorkerConfig::new("busy", 1, 1 << 30, 1000);
    let busy = TaskWorkerHost::start(config, address.clone(), runner).expect("a thread");

    submit_one(&mut client, job, task_at(0, 2, 7));
    assert_eq!(starts.recv_timeout(PATIENCE), Ok(0), "it takes the only slot");
    submit_one(&mut client, job, task_at(1, 2, 7));
    until(&mut client, job, |counts| counts[TaskState::Leased] == 2);
    let idle = worker("idle", &address);
    until_done(&mut client, job, 1);
    assert!(starts.is_empty(), "the second never started where it had to wait");

    busy.abandon();
    busy.wait().expect("everything was acknowledged");
    until_done(&mut client, job, 2);
    idle.drain();
    idle.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn a_worker_is_called_the_same_at_every_queue_and_stopped_at_all_of_them() {
    let server = start("127.0.0.1:0", 2);
    let address = remote(&server);
    let mut client = client(&address);
    let hosts = [worker("same", &address), worker("same", &address)];
    let mut names: Vec<_> = until_linked(&mut client, 2).into_iter().map(|it| it.name).collect();
    names.sort_unstable();
    assert_eq!(names, [&b"same"[..], b"same#2"]);
    for name in ["same", "same#2"] {
        assert_eq!(client.stop_worker(name).expect("an answer"), 1, "{name}");
    }
    for host in hosts {
        host.wait().expect("there was nothing to tell");
    }
    server.stop().expect("an orderly stop");
}

#[test]
fn a_worker_goes_on_at_a_server_that_comes_back_with_more_queues_or_fewer() {
    const TASKS: u64 = 10;
    let mut queues = 2;
    let mut server = start("127.0.0.1:0", queues);
    let address = remote(&server);
    let listen = server.endpoint().expect("it listens").to_string();
    let host = worker("w", &address);
    for next in [3, 1, 2] {
        let mut client = client(&address);
        let job = client.open_job("work").expect("a job");
        submit_to_all(&mut client, job, queues, 0..TASKS);
        until_done(&mut client, job, u64::from(queues) * TASKS);
        server.stop().expect("an orderly stop");
        queues = next;
        server = start(&listen, queues);
    }
    until_linked(&mut client(&address), 1);
    host.drain();
    host.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn a_worker_that_leaves_everything_gives_it_back_to_every_queue() {
    let server = start("127.0.0.1:0", 2);
    let address = QueueAddress::Local(server.local());
    let mut client = client(&address);
    let job = client.open_job("given back").expect("a job");
    let (started, starts) = flume::unbounded();
    let runner = EndlessRunner { started, running: Vec::new(), ended: Vec::new() };
    let config = TaskWorkerConfig::new("w", 2, 1 << 30, 2000);
    let host = TaskWorkerHost::start(config, address, runner).expect("a thread");
    submit_to_all(&mut client, job, 2, 0..1);
    let mut queues = [(); 2].map(|()| starts.recv_timeout(PATIENCE).expect("it has two slots"));
    queues.sort_unstable();
    assert_eq!(queues, [0, 1]);
    host.abandon();
    host.wait().expect("everything was acknowledged");
    until(&mut client, job, |counts| counts[TaskState::Ready] == 2);
    server.stop().expect("an orderly stop");
}

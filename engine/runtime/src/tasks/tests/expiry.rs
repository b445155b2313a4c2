//! Workers that are silent for too long.

use super::crew::{submit_to_all, until_linked};
use super::*;
use crate::counters::Counter;
use punctual_core::Nanos;

/// Freezes its worker with the first task that it gets, until it is released.
struct FreezingRunner {
    inner: NoopRunner,
    is_fresh: bool,
    frozen: flume::Sender<()>,
    release: flume::Receiver<()>,
}

impl TaskRunner for FreezingRunner {
    fn launch(&mut self, now: Nanos, lease: &Lease) -> Result<(), Exit> {
        if std::mem::replace(&mut self.is_fresh, false) {
            self.frozen.send(()).expect("the test waits for it");
            self.release.recv_timeout(PATIENCE).expect("the test releases it");
        }
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

/// A farm of so many queues, whose workers are given up soon, however busy the machine is.
fn hasty(queues: u16) -> TaskServerConfig {
    TaskServerConfig {
        queues,
        lease_timeout: Duration::from_millis(100),
        heartbeat: Duration::from_millis(20),
        // They may be given up when they should not be, and nothing comes of it.
        losses_max: u16::MAX,
        ..TaskServerConfig::default()
    }
}

#[test]
fn tasks_of_a_frozen_worker_are_done_by_another_and_it_comes_back_as_a_new_one() {
    for queues in [1, 2] {
        freeze_a_worker_of(queues);
    }
}

fn freeze_a_worker_of(queues: u16) {
    const TASKS: u64 = 10;
    let all = u64::from(queues) * TASKS;
    let server = serve(hasty(queues));
    let addresses = [remote(&server), QueueAddress::Local(server.local())];
    for (round, address) in addresses.iter().enumerate() {
        let mut client = client(address);
        let job = client.open_job(&format!("round {round}")).expect("a job");
        let (tell_frozen, frozen) = flume::bounded(1);
        let (release, released) = flume::bounded(1);
        let runner = FreezingRunner {
            inner: NoopRunner::new(),
            is_fresh: true,
            frozen: tell_frozen,
            release: released,
        };
        let config = TaskWorkerConfig::new("frozen", 4, 1 << 30, 4000);
        let frozen_host = TaskWorkerHost::start(config, address.clone(), runner).expect("a thread");
        // Every queue is to give it up.
        until_linked(&mut client, 1);
        submit_to_all(&mut client, job, queues, 0..TASKS);
        frozen.recv_timeout(PATIENCE).expect("it gets a task");
        let other = worker("other", address);
        until_done(&mut client, job, all);

        release.send(()).expect("it waits for that");
        other.drain();
        other.wait().expect("everything was acknowledged");
        submit_to_all(&mut client, job, queues, TASKS..2 * TASKS);
        until_done(&mut client, job, 2 * all);
        frozen_host.drain();
        frozen_host.wait().expect("everything was acknowledged");
    }
    let counters = server.counters().clone();
    server.stop().expect("an orderly stop");
    assert!(counters.sum("tasks", Counter::TasksExpired) >= 2, "one each time, at least");
    assert_eq!(counters.sum("tasks", Counter::TasksDone), 4 * all, "each counts once");
}

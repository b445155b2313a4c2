//! A task that is like the one before it costs the worker no memory.

use super::*;

const WARM_UP: u64 = 2_000;
const MEASURED: u64 = 10_000;

impl Rig {
    /// Leases, runs and acknowledges so many tasks of each queue that do nothing, some at a time.
    fn run_noops(&mut self, first: u64, count: u64) {
        for batch in 0..count / 10 {
            let first = first + 10 * batch;
            for queue in 0..self.worker.queues() {
                for sequence in first..first + 10 {
                    task(TaskId::new(queue, sequence).0).push().write(&mut self.to_worker);
                }
                self.take(ShardId(queue));
            }
            while let Some(action) = self.worker.next_action() {
                self.worker.on_exit(self.now, action.run(), Exit::success());
            }
            for queue in (0..self.worker.queues()).map(ShardId) {
                assert_eq!(self.worker.write(self.now, queue, &mut self.from_worker), 10);
                self.from_worker.seal();
                self.from_worker.clear_sealed();
                QueuePush::Acked { seq: first + 10 }.write(&mut self.to_worker);
                self.take(queue);
            }
        }
    }

    /// The worker takes the frames that were written for it.
    fn take(&mut self, queue: ShardId) {
        self.to_worker.seal();
        let mut frames = FrameReader::new(self.to_worker.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
            self.worker.on_frame(self.now, queue, &frame).expect("messages for a worker");
        }
        self.to_worker.clear_sealed();
    }
}

fn allocates_nothing_in_the_steady_state(rig: &mut Rig) {
    let cold = allocation_counter::measure(|| rig.run_noops(0, WARM_UP));
    assert!(cold.count_total > 0, "the counter does count");
    let steady = allocation_counter::measure(|| rig.run_noops(WARM_UP, MEASURED));
    let queues = u64::from(rig.worker.queues());
    assert_eq!(rig.worker.stats().succeeded, queues * (WARM_UP + MEASURED));
    assert_eq!(steady.count_total, 0);
}

#[test]
fn in_the_steady_state_tasks_that_do_nothing_allocate_nothing() {
    allocates_nothing_in_the_steady_state(&mut Rig::new(config(4)));
}

#[test]
fn nor_do_they_with_several_queues() {
    allocates_nothing_in_the_steady_state(&mut Rig::of_two(config(4)));
}

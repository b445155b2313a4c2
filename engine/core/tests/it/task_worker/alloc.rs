//! A task that is like the one before it costs the worker no memory.

use super::*;

const WARM_UP: u64 = 2_000;
const MEASURED: u64 = 10_000;

impl Rig {
    /// Leases, runs and acknowledges tasks that do nothing, some at a time.
    fn run_noops(&mut self, first: u64, count: u64) {
        for batch in 0..count / 10 {
            for id in 0..10 {
                task(first + 10 * batch + id).push().write(&mut self.to_worker);
            }
            self.take();
            while let Some(action) = self.worker.next_action() {
                self.worker.on_exit(self.now, action.run(), Exit::success());
            }
            assert_eq!(self.worker.write(self.now, &mut self.from_worker), 10);
            self.from_worker.seal();
            self.from_worker.clear_sealed();
            QueuePush::Acked { seq: first + 10 * batch + 10 }.write(&mut self.to_worker);
            self.take();
        }
    }

    /// The worker takes the frames that were written for it.
    fn take(&mut self) {
        self.to_worker.seal();
        let mut frames = FrameReader::new(self.to_worker.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
            self.worker.on_frame(self.now, &frame).expect("messages for a worker");
        }
        self.to_worker.clear_sealed();
    }
}

#[test]
fn in_the_steady_state_tasks_that_do_nothing_allocate_nothing() {
    let mut rig = Rig::new(config(4));
    let cold = allocation_counter::measure(|| rig.run_noops(0, WARM_UP));
    assert!(cold.count_total > 0, "the counter does count");
    let steady = allocation_counter::measure(|| rig.run_noops(WARM_UP, MEASURED));
    assert_eq!(rig.worker.stats().succeeded, WARM_UP + MEASURED);
    assert_eq!(steady.count_total, 0);
}

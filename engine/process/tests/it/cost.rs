//! What a worker pays for a task that it starts.

use super::*;
use rustix::param::page_size;
use rustix::thread::disable_transparent_huge_pages;
use std::hint::black_box;

/// Memory that the worker uses for whatever it does.
const BYTES: usize = 16 << 20;

/// Faults of this thread that were settled without a disk.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread");
    stat_fields(&stat)[7].parse().expect("a number")
}

/// The original forked all of a Python for each task, and that was what bounded a machine.
#[test]
fn defect_18_starting_a_task_copies_nothing_of_the_memory_of_its_worker() {
    // With huge pages there would be few of them. Where that is refused there may be few anyway.
    let _ = disable_transparent_huge_pages(true);
    let mut memory = vec![1_u8; BYTES];
    let mut bench = Bench::new();
    let mut least = u64::MAX;
    // Something else in this process may fork meanwhile, but not each time.
    for round in 2..7 {
        assert_eq!(summary(&bench.run(shell("true"))), (EndKind::Exited, 0));
        let before = faults();
        // After a fork each page has to be copied, or taken back, when it is written to.
        for at in (0..BYTES).step_by(page_size()) {
            memory[at] = round;
        }
        black_box(&mut memory);
        least = least.min(faults() - before);
    }
    let pages = (BYTES / page_size()) as u64;
    assert!(least < pages / 4, "{least} of {pages} pages were touched by starting a task");
}

//! Which queue of a task server has a task: the same for everybody who asks, and about as many for
//! each queue.

use proptest::prelude::*;
use punctual_wire::task::{QUEUES_MAX, TaskKey, queue_of_hash};
use xxhash_rust::xxh3::xxh3_128;

proptest! {
    #[test]
    fn every_task_has_a_queue_and_tasks_are_in_the_order_of_their_hashes(
        (key, other) in any::<(u128, u128)>(),
        queues in 1..=QUEUES_MAX,
    ) {
        let (low, high) = (TaskKey(key.min(other)), TaskKey(key.max(other)));
        prop_assert!(low.queue(queues) <= high.queue(queues));
        prop_assert!(high.queue(queues) < queues);
        prop_assert_eq!(low.queue(queues), queue_of_hash((low.0 >> 64) as u64, queues));
    }
}

#[test]
fn one_queue_has_all_tasks() {
    for hash in [0, 1, u64::MAX / 2, u64::MAX] {
        for queues in [0, 1] {
            assert_eq!(queue_of_hash(hash, queues), 0);
        }
    }
}

#[test]
fn each_queue_has_an_equal_part_of_all_hashes() {
    let quarter = 1_u64 << 62;
    for (queue, hash) in [0, quarter, 2 * quarter, 3 * quarter].into_iter().enumerate() {
        assert_eq!(usize::from(queue_of_hash(hash, 4)), queue, "the first of its hashes");
        assert_eq!(usize::from(queue_of_hash(hash + (quarter - 1), 4)), queue, "the last one");
    }
    assert_eq!(queue_of_hash(u64::MAX, QUEUES_MAX), QUEUES_MAX - 1);
    assert_eq!(queue_of_hash(u64::MAX, u16::MAX), u16::MAX - 1);
}

#[test]
fn the_lower_half_of_a_key_does_not_decide() {
    for low in [0, 1, u128::from(u64::MAX)] {
        assert_eq!(TaskKey(5 << 125 | low).queue(8), 5);
    }
}

#[test]
fn commands_that_differ_in_a_number_are_spread_evenly() {
    for queues in [2, 3, 7, QUEUES_MAX] {
        let mut counts = vec![0_u32; queues.into()];
        for number in 0..u32::from(queues) * 1_000 {
            let key = TaskKey(xxh3_128(format!("./simulate --seed {number}").as_bytes()));
            counts[usize::from(key.queue(queues))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}

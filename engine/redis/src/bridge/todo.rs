//! A sorted list of what waits in Redis, so that one reading of it serves many claims and
//! priorities hold over the whole queue.

use super::holdings::Room;
use crate::layout::Head;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// Most tasks in the list. Of a longer queue it has those with the highest priority.
const LISTED_MAX: usize = 1 << 16;
/// How far the list is looked through for tasks that fit, while those before do not.
const PASSED_MAX: usize = 1024;
/// Reading the queue takes no more than one part in so many of the time.
const READ_PARTS: u32 = 50;
/// A queue in which nothing changes, as far as can be seen, is read again after so long.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// A queue of this length may be read again at any look: it costs next to nothing.
const SHORT: i64 = 256;

/// A task that waits, or did when the queue was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) line: Box<[u8]>,
    pub(super) head: Head,
}

#[derive(Debug)]
pub(super) struct Todo {
    /// Higher priorities first.
    list: VecDeque<Candidate>,
    /// What was read so far, until it is the list.
    reading: Vec<Candidate>,
    /// Each worker begins elsewhere among tasks of the same priority, so that they do not all
    /// claim the same ones.
    spread: u64,
    /// The queue's length when it was last heard of.
    length: Option<i64>,
    /// There is something in the queue that the list does not have.
    is_stale: bool,
    /// The queue is longer than the list.
    is_cut: bool,
    /// Not to be read again before this.
    next_read: Option<Instant>,
    read_at: Option<Instant>,
}

impl Todo {
    pub(super) fn new(worker: &str) -> Self {
        Self {
            list: VecDeque::new(),
            reading: Vec::new(),
            spread: xxh3_64(worker.as_bytes()),
            length: None,
            is_stale: true,
            is_cut: false,
            next_read: None,
            read_at: None,
        }
    }

    /// Something was added to the queue.
    pub(super) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// Nothing that is known holds any more.
    pub(super) fn forget(&mut self) {
        self.list.clear();
        self.length = None;
        self.is_stale = true;
        self.next_read = None;
    }

    /// Whether there is something in the queue that the list does not have.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the queue should be read, be it that there is something new or that the list is
    /// used up while the queue, as long as `length`, is not.
    pub(super) fn wants_reading(&self, now: Instant, length: Option<i64>) -> bool {
        if self.is_stale {
            return true;
        }
        let Some(length) = length.filter(|_| self.list.is_empty()) else { return false };
        let is_old = self.read_at.is_none_or(|at| now.saturating_duration_since(at) >= READ_AGAIN);
        let has_changed = self.length != Some(length);
        length > 0 && (self.is_cut || has_changed || is_old || length <= SHORT)
    }

    /// When it may be read, if not now.
    pub(super) fn must_wait(&self, now: Instant) -> Option<Instant> {
        self.next_read.filter(|at| *at > now)
    }

    /// Begins to read the queue.
    pub(super) fn begin(&mut self) {
        self.reading.clear();
        self.is_cut = false;
    }

    /// Takes in a task that was read.
    pub(super) fn offer(&mut self, candidate: Candidate) {
        self.reading.push(candidate);
        if self.reading.len() >= 2 * LISTED_MAX {
            self.reading.sort_by_key(|candidate| Reverse(candidate.head.priority));
            self.reading.truncate(LISTED_MAX);
            self.is_cut = true;
        }
    }

    /// The queue was read, from `began` on, and has `length` fields.
    pub(super) fn end(&mut self, began: Instant, now: Instant, length: i64) {
        let mut tasks = std::mem::take(&mut self.reading);
        tasks.sort_by_key(|candidate| Reverse(candidate.head.priority));
        self.is_cut |= tasks.len() > LISTED_MAX;
        tasks.truncate(LISTED_MAX);
        for class in tasks.chunk_by_mut(|one, other| one.head.priority == other.head.priority) {
            let at = self.spread % class.len() as u64;
            class.rotate_left(usize::try_from(at).unwrap_or(0));
        }
        self.list = tasks.into();
        self.length = Some(length);
        self.is_stale = false;
        self.read_at = Some(now);
        self.next_read = Some(now + now.saturating_duration_since(began) * READ_PARTS);
    }

    /// Takes from the list what there is room for: the first ones, but what does not fit now is
    /// left there, and what `is_fine` does not like is dropped.
    pub(super) fn take(
        &mut self,
        room: &mut Room,
        count_max: usize,
        mut is_fine: impl FnMut(&Candidate) -> bool,
    ) -> Vec<Candidate> {
        let mut taken = Vec::new();
        let mut passed = Vec::new();
        while taken.len() < count_max && passed.len() < PASSED_MAX && !room.is_none() {
            let Some(candidate) = self.list.pop_front() else { break };
            let Head { memory, cores_milli, .. } = candidate.head;
            if !is_fine(&candidate) {
                continue;
            }
            if room.admit(memory, cores_milli) {
                taken.push(candidate);
            } else {
                passed.push(candidate);
            }
        }
        for candidate in passed.into_iter().rev() {
            self.list.push_front(candidate);
        }
        taken
    }

    /// Notes what a claim told: of `asked` tasks so many were `taken`, so many `passed` over, and
    /// the queue is so long now.
    pub(super) fn on_claim(&mut self, asked: usize, taken: usize, passed: usize, length: i64) {
        let expected = self.length.map(|before| before - taken as i64);
        self.is_stale |= expected.is_some_and(|expected| length > expected);
        self.length = Some(length);
        let gone = asked.saturating_sub(taken + passed);
        if gone * 4 > asked * 3 && !self.list.is_empty() {
            // Others were faster with most of them, and so they will have been with the rest.
            self.list.clear();
            self.is_stale = true;
        }
    }

    /// The queue was found to be this long.
    pub(super) fn on_length(&mut self, length: i64) {
        self.is_stale |= self.length.is_some_and(|before| length > before);
        self.length = Some(length);
    }

    /// The priorities of the first ones.
    pub(super) fn priorities(&self) -> impl Iterator<Item = i32> {
        self.list.iter().map(|candidate| candidate.head.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: i32, priority: i32, memory: u64) -> Candidate {
        let line = format!("shell:{priority}:{memory}:1:{number}").into_bytes().into();
        Candidate { line, head: Head { priority, memory, cores_milli: 0 } }
    }

    fn todo(tasks: &[(i32, u64)]) -> Todo {
        let mut todo = Todo::new("");
        todo.spread = 0;
        read(&mut todo, tasks);
        todo
    }

    fn read(todo: &mut Todo, tasks: &[(i32, u64)]) {
        let now = Instant::now();
        todo.begin();
        for (number, (priority, memory)) in (1..).zip(tasks) {
            todo.offer(candidate(number, *priority, *memory));
        }
        todo.end(now, now, tasks.len() as i64);
    }

    fn room(slots: u32, memory: u64) -> Room {
        Room { slots, ahead: 0, memory, cores_milli: 0 }
    }

    fn taken(todo: &mut Todo, mut room: Room) -> Vec<i32> {
        let taken = todo.take(&mut room, 100, |_| true);
        taken.into_iter().map(|candidate| candidate.head.priority).collect()
    }

    #[test]
    fn high_priorities_come_first_over_the_whole_queue() {
        let tasks: Vec<(i32, u64)> = (0..5000).map(|number| (number % 7, 0)).collect();
        let mut todo = todo(&tasks);
        let first = taken(&mut todo, room(5000, 0));
        assert_eq!(first, vec![6; 100], "defect 15");
        let rest: Vec<i32> = todo.priorities().collect();
        assert!(rest.is_sorted_by(|one, other| one >= other));
        assert_eq!(rest.len(), 4900);
    }

    #[test]
    fn tasks_of_a_priority_keep_their_order_from_where_the_worker_begins() {
        let mut todo = todo(&[(1, 0), (1, 0), (1, 0), (1, 0)]);
        todo.spread = 6;
        read(&mut todo, &[(1, 0), (1, 0), (1, 0), (1, 0)]);
        let lines = todo.take(&mut room(9, 0), 9, |_| true);
        let last = |candidate: &Candidate| candidate.line[candidate.line.len() - 1];
        assert_eq!(lines.iter().map(last).collect::<Vec<_>>(), b"3412");
    }

    #[test]
    fn what_does_not_fit_stays_in_its_place_and_what_is_not_fine_goes() {
        let mut todo = todo(&[(9, 8), (8, 2), (7, 1), (6, 1)]);
        assert_eq!(taken(&mut todo, room(1, 4)), [8]);
        assert_eq!(todo.priorities().collect::<Vec<_>>(), [9, 7, 6]);
        let fine = todo.take(&mut room(3, 8), 9, |candidate| candidate.head.priority != 9);
        assert_eq!(fine.len(), 2);
        assert!(todo.is_empty());
    }

    #[test]
    fn a_list_that_is_used_up_is_read_again_if_the_queue_is_not() {
        let now = Instant::now();
        let mut todo = todo(&[(1, 0)]);
        assert!(!todo.wants_reading(now, Some(1)), "there is something in the list");
        taken(&mut todo, room(1, 0));
        assert!(!todo.wants_reading(now, Some(0)));
        assert!(todo.wants_reading(now, Some(1)));
        todo.on_claim(1, 1, 0, 5000);
        assert!(todo.wants_reading(now, None), "it grew");
    }

    #[test]
    fn a_long_queue_without_anything_for_this_worker_is_not_read_again_and_again() {
        let now = Instant::now();
        let mut todo = todo(&[]);
        todo.on_length(100_000);
        todo.begin();
        todo.end(now, now, 100_000);
        assert!(!todo.wants_reading(now, Some(100_000)));
        assert!(todo.wants_reading(now, Some(99_999)), "something changed");
        assert!(todo.wants_reading(now + READ_AGAIN, Some(100_000)), "it was long ago");
    }

    #[test]
    fn reading_takes_no_more_than_its_part_of_the_time() {
        let mut todo = Todo::new("");
        let began = Instant::now();
        let ended = began + Duration::from_millis(100);
        todo.begin();
        todo.end(began, ended, 0);
        let next = todo.must_wait(ended).expect("it is to wait");
        assert_eq!(next - ended, Duration::from_secs(5));
        assert_eq!(todo.must_wait(next), None);
    }

    #[test]
    fn a_list_that_others_have_eaten_is_dropped() {
        let mut todo = todo(&[(1, 0), (1, 0), (1, 0)]);
        todo.on_claim(8, 1, 1, 2);
        assert!(!todo.is_empty(), "six of eight are no more than three quarters");
        todo.on_claim(8, 1, 0, 1);
        assert!(todo.is_empty() && todo.wants_reading(Instant::now(), None));
    }

    #[test]
    fn of_a_very_long_queue_the_most_urgent_are_listed() {
        let mut todo = Todo::new("");
        let now = Instant::now();
        todo.begin();
        for number in 0..3 * LISTED_MAX {
            let priority = i32::try_from(number % 3).expect("it is small");
            todo.offer(candidate(0, priority, 0));
        }
        todo.end(now, now, 3 * LISTED_MAX as i64);
        assert!(todo.priorities().all(|priority| priority == 2));
        assert_eq!(todo.list.len(), LISTED_MAX);
        todo.list.clear();
        assert!(todo.wants_reading(now, Some(2 * LISTED_MAX as i64)));
    }
}

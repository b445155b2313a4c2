//! Whether anybody waits for nothing: no task waits for long that a worker has room for all the
//! while.
//!
//! Somebody looks at the whole farm now and then. A task that waits at two looks in a row, and has
//! not been given out or changed between them, has waited all the time; a worker at which nothing
//! has begun or ended since has had all the time the room that it has now.

use super::Ledger;
use super::facts::RunFacts;
use crate::farm::inspect::Seen;
use crate::farm::plans::Plans;
use crate::farm::report::FarmViolationKind;
use crate::farm::worker_node::Room;
use punctual_wire::task::{Attempt, TaskId, TaskState};
use std::collections::BTreeSet;

/// What is another one once a task did anything but wait: its attempt, whether that has begun, and
/// how often a client has changed it.
type Key = (TaskId, Attempt, bool, u64);

#[derive(Debug, Default)]
pub(super) struct Waits {
    /// What waited at the last look.
    before: BTreeSet<Key>,
    looked_at: i64,
}

/// A task that waits.
#[derive(Debug)]
struct Wait {
    task: u32,
    key: Key,
    memory: u64,
    cores_milli: u64,
    /// At a worker, or on its way there.
    is_ahead: bool,
    /// It may be for other workers only.
    has_failed: bool,
}

impl Ledger {
    /// When somebody looked last, in true time.
    pub(in crate::farm) fn looked_at(&self) -> i64 {
        self.waits.looked_at
    }

    /// Looks at all tasks, and at the room that workers have had since the last look.
    pub(in crate::farm) fn look(&mut self, plans: &Plans, at: i64, rows: &[Seen], rooms: &[Room]) {
        let waiting: Vec<Wait> = rows.iter().filter_map(|seen| self.wait(plans, seen)).collect();
        self.counts.waits_checked += waiting.len() as u64;
        let now = Waits { before: waiting.iter().map(|wait| wait.key).collect(), looked_at: at };
        let Waits { before, looked_at } = std::mem::replace(&mut self.waits, now);
        // For whichever of them: a queue asks back what it likes of what waits elsewhere.
        let memory = waiting.iter().map(|wait| wait.memory).max().unwrap_or(0);
        let cores_milli = waiting.iter().map(|wait| wait.cores_milli).max().unwrap_or(0);
        let is_enough = |room: &&Room| {
            room.slots > 0 && room.memory >= memory && room.cores_milli >= cores_milli
        };
        let Some(room) = rooms.iter().find(is_enough) else { return };
        // What may be for other workers only is not asked back for this one.
        let is_any_choosy = waiting.iter().any(|wait| wait.is_ahead && wait.has_failed);
        let is_stuck = |wait: &&Wait| {
            let could_move = !wait.is_ahead || !is_any_choosy;
            !wait.has_failed && could_move && before.contains(&wait.key)
        };
        if let Some(Wait { task, is_ahead, .. }) = waiting.iter().find(is_stuck) {
            let queue = self.tasks[*task as usize].queue;
            let place = if *is_ahead { "with a lease of" } else { "in" };
            let text = format!(
                "t{task} has waited since {looked_at} ns {place} queue {queue}, and all the while \
                 there was {room:?}"
            );
            self.find(FarmViolationKind::Unserved, text);
        }
    }

    /// What there is to know of a task if it waits for a worker.
    fn wait(&self, plans: &Plans, seen: &Seen) -> Option<Wait> {
        let task = plans.number_of(&seen.payload)?;
        let facts = &self.tasks[task as usize];
        let is_it = |run: &RunFacts| (run.id, run.attempt) == (seen.id, seen.attempt);
        let has_begun = facts.runs.iter().any(is_it);
        let is_ahead = seen.state == TaskState::Leased && !has_begun;
        (seen.state == TaskState::Ready || is_ahead).then(|| Wait {
            task,
            key: (seen.id, seen.attempt, has_begun, facts.touched),
            memory: seen.memory,
            cores_milli: seen.cores_milli.into(),
            is_ahead,
            has_failed: seen.has_failed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::config::FarmConfig;
    use crate::farm::inspect::rows_of_copy;
    use crate::farm::plans::{WHOLE_CORES, WHOLE_MEMORY};
    use crate::farm::tuning::Tuning;
    use crate::rng::Rng;
    use punctual_core::task::{TaskQueue, TaskQueueConfig};
    use punctual_core::{Nanos, ShardId};
    use punctual_wire::task::{JobId, ToQueue};
    use punctual_wire::{BatchWriter, FrameReader, Limits};

    /// What a queue shows that has one task, the first of these plans.
    fn one_ready(plans: &Plans, config: &TaskQueueConfig) -> Vec<Seen> {
        let mut queue = TaskQueue::new(config.clone());
        let party = queue.open_client(Nanos(1)).expect("there is room for one");
        let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
        ToQueue::OpenJob { request: 1, job: None, name: b"job" }.write(&mut out);
        ToQueue::Submit { ticket: 1, spec: plans.get(0).spec(JobId(0)) }.write(&mut out);
        out.seal();
        let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
        while let Some(frame) = frames.next_frame().expect("own frames are valid") {
            queue.on_frame(Nanos(1), party, &frame).expect("clients may say that");
        }
        rows_of_copy(&mut queue, Nanos(2)).expect("it says what it has")
    }

    #[test]
    fn who_waits_at_two_looks_while_a_worker_has_room_is_found_and_nobody_else() {
        let tuning = Tuning::draw(&FarmConfig::from_seed(1));
        let plans = Plans::draw(&tuning, 1, true, &mut Rng::new(1, 0));
        let config = TaskQueueConfig::new(ShardId(0));
        let rows = one_ready(&plans, &config);
        assert_eq!(rows.len(), 1);
        let (node, slots) = (1, 1);
        let room = Room { node, slots, memory: WHOLE_MEMORY, cores_milli: u64::from(WHOLE_CORES) };
        let found = |rooms: [&[Room]; 2], touched: u64| {
            let mut ledger = Ledger::new(&plans, 1, &config);
            ledger.look(&plans, 10, &rows, rooms[0]);
            ledger.tasks[0].touched += touched;
            ledger.look(&plans, 20, &rows, rooms[1]);
            ledger.findings.count
        };
        assert_eq!(found([&[], &[room]], 0), 1);
        assert_eq!(found([&[room], &[]], 0), 0, "it may have come just before the first look");
        assert_eq!(found([&[], &[room]], 1), 0, "it may have waited twice, and not for long");
        assert_eq!(found([&[], &[Room { slots: 0, ..room }]], 0), 0, "nobody has a free slot");
    }
}

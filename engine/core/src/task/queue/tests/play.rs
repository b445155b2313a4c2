//! Anything that may happen to a queue, in any order.

use super::*;
use proptest::prelude::*;

/// Workers that come and go.
const HANDS: usize = 4;
/// The number of the second job. Those before it were never opened.
const SECOND_JOB: u32 = 3;
/// Keys of a job that are used; few, so that many are known already.
const KEYS: u128 = 30;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Submit {
        job: u32,
        key: u128,
        priority: i32,
        memory: u64,
        attempts: u16,
        after: Vec<u128>,
    },
    Enlist {
        at: usize,
        name: usize,
        capacity: Capacity,
    },
    Cut {
        at: usize,
    },
    /// A new link; of its leases the worker has those whose bit is set.
    Relink {
        at: usize,
        keeps: u64,
    },
    Report {
        at: usize,
        nth: usize,
        code: i32,
        output: usize,
    },
    Return {
        at: usize,
        nth: usize,
        reason: ReturnReason,
    },
    Credit {
        at: usize,
        capacity: Capacity,
    },
    Occupied {
        at: usize,
        by_others: Occupancy,
    },
    Beat {
        at: usize,
    },
    Control {
        verb: Verb,
        sequence: Option<u64>,
    },
    Stop {
        name: usize,
    },
    Full {
        is_full: bool,
    },
    Advance {
        millis: i64,
    },
}

fn offer() -> impl Strategy<Value = Capacity> {
    let is_draining = prop::bool::weighted(0.1);
    (0..4_u32, 10..40_u64, 0..4_u32, is_draining).prop_map(|(slots, memory, prefetch, drains)| {
        Capacity { slots, memory, prefetch, is_draining: drains, ..capacity(1, 0) }
    })
}

fn in_use() -> impl Strategy<Value = Occupancy> {
    (0..4_u32, 0..40_u64).prop_map(|(slots, memory)| Occupancy { memory, ..taken(slots) })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let at = 0..HANDS;
    let after = prop::collection::vec(0..KEYS, 0..3);
    let verb = prop::sample::select(Verb::ALL.to_vec());
    let reason = prop::sample::select(ReturnReason::ALL.to_vec());
    prop_oneof![
        12 => (0..2_u32, 0..KEYS, -1..2_i32, 1..4_u64, 1..4_u16, after).prop_map(
            |(job, key, priority, memory, attempts, after)| {
                let memory = memory * 10;
                Step::Submit { job, key, priority, memory, attempts, after }
            }
        ),
        3 => (at.clone(), 0..3_usize, offer())
            .prop_map(|(at, name, capacity)| Step::Enlist { at, name, capacity }),
        1 => at.clone().prop_map(|at| Step::Cut { at }),
        2 => (at.clone(), any::<u64>()).prop_map(|(at, keeps)| Step::Relink { at, keeps }),
        12 => (at.clone(), 0..8_usize, 0..3_i32, 0..2_000_usize).prop_map(
            |(at, nth, code, output)| Step::Report { at, nth, code: code / 2, output }
        ),
        2 => (at.clone(), 0..8_usize, reason)
            .prop_map(|(at, nth, reason)| Step::Return { at, nth, reason }),
        2 => (at.clone(), offer()).prop_map(|(at, capacity)| Step::Credit { at, capacity }),
        4 => (at.clone(), in_use()).prop_map(|(at, by_others)| Step::Occupied { at, by_others }),
        2 => at.prop_map(|at| Step::Beat { at }),
        3 => (verb, prop::option::weighted(0.8, 1..60_u64))
            .prop_map(|(verb, sequence)| Step::Control { verb, sequence }),
        1 => (0..3_usize).prop_map(|name| Step::Stop { name }),
        1 => prop::bool::weighted(0.3).prop_map(|is_full| Step::Full { is_full }),
        6 => (0..20_000_i64).prop_map(|millis| Step::Advance { millis }),
    ]
}

/// A worker, and the leases that it knows of.
struct Known {
    hand: Hand,
    is_linked: bool,
    name: &'static str,
    runs: Vec<Run>,
}

/// A queue with a journal to which steps happen.
pub(super) struct Play {
    pub(super) rig: Rig,
    client: Party,
    hands: [Option<Known>; HANDS],
    sessions: u64,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Play {
    pub(super) fn new(memory_max: u64) -> Self {
        let mut rig = Rig::with(TaskQueueConfig { memory_max, losses_max: 3, ..journaled() });
        let client = rig.client();
        assert_eq!(rig.job(client, "first"), JobId(0));
        let second = JobId(SECOND_JOB);
        assert_eq!(rig.open_job(client, "second", Some(second)), Push::JobOpened { job: second });
        Self { rig, client, hands: [const { None }; HANDS], sessions: 0 }
    }

    /// Does a step, lets the queue have a turn, and everybody hear of it.
    pub(super) fn go(&mut self, step: &Step) {
        match *step {
            Step::Submit { job, key, priority, memory, attempts, ref after } => {
                let draft = draft(JobId(job * SECOND_JOB), key).priority(priority).memory(memory);
                self.rig.submit(self.client, &[draft.attempts(attempts).after(after)]);
            }
            Step::Control { verb, sequence } => {
                let selection = sequence.map_or(all(), one);
                self.rig.say(self.client, ToQueue::Control { request: 1, verb, selection });
            }
            Step::Stop { name } => {
                let name = NAMES[name].as_bytes();
                self.rig.say(self.client, ToQueue::StopWorker { request: 1, name });
            }
            Step::Full { is_full } => self.rig.queue.set_journal_full(is_full),
            Step::Advance { millis } => self.rig.advance(millis),
            Step::Enlist { at, name, capacity } => self.enlist(at, NAMES[name], capacity),
            _ => self.go_at_worker(step),
        }
        self.hear();
    }

    fn enlist(&mut self, at: usize, name: &'static str, capacity: Capacity) {
        self.part_from(at);
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let party = self.rig.link(session);
        self.rig.greet(party, name, capacity, &[]);
        let hand = Hand { party, session, seq: 0 };
        self.hands[at] = Some(Known { hand, is_linked: true, name, runs: Vec::new() });
    }

    /// A worker goes for good.
    fn part_from(&mut self, at: usize) {
        if let Some(known) = self.hands[at].take()
            && known.is_linked
        {
            self.rig.close(known.hand.party);
        }
    }

    /// The queue is another one, to which nobody is linked.
    pub(super) fn after_restart(&mut self) {
        self.client = self.rig.client();
        for known in self.hands.iter_mut().flatten() {
            known.is_linked = false;
        }
    }

    fn go_at_worker(&mut self, step: &Step) {
        let (Step::Cut { at }
        | Step::Relink { at, .. }
        | Step::Report { at, .. }
        | Step::Return { at, .. }
        | Step::Credit { at, .. }
        | Step::Occupied { at, .. }
        | Step::Beat { at }) = *step
        else {
            unreachable!("the caller has done the others");
        };
        let Self { rig, hands, .. } = self;
        let Some(Known { hand, is_linked, name, runs }) = &mut hands[at] else { return };
        if let Step::Relink { keeps, .. } = *step {
            let mut bits = (0..64).map(|bit| (keeps >> bit) & 1 == 1);
            runs.retain(|_| bits.next().unwrap_or(true));
            let older = hand.party;
            rig.relink(hand, name, capacity(2, 1), runs);
            if std::mem::replace(is_linked, true) {
                rig.close(older);
            }
        }
        if !*is_linked {
            return;
        }
        match *step {
            Step::Cut { .. } => {
                rig.close(hand.party);
                *is_linked = false;
            }
            Step::Report { nth, code, output, .. } if nth < runs.len() => {
                let run = runs.remove(nth);
                let tail = vec![b'x'; output];
                let stdout = Captured { bytes: tail.len() as u64, tail: &tail };
                rig.report(hand, run, TaskEnd { stdout, ..exited(code) });
            }
            Step::Return { nth, reason, .. } if nth < runs.len() => {
                let run = runs.remove(nth);
                rig.give_back(hand, run, reason);
            }
            Step::Credit { capacity, .. } => {
                rig.say(hand.party, ToQueue::Credit { capacity });
            }
            Step::Occupied { by_others, .. } => rig.occupy(hand, by_others),
            Step::Beat { .. } => rig.beat(hand),
            _ => {}
        }
    }

    /// The queue has a turn, its log becomes durable, and all hear what it says.
    fn hear(&mut self) {
        self.rig.turn_and_sync();
        self.rig.hear(self.client);
        for at in 0..HANDS {
            let Some(Known { hand, is_linked: true, runs, .. }) = &mut self.hands[at] else {
                continue;
            };
            for push in self.rig.hear(hand.party) {
                match push {
                    Push::Lease(run) => runs.push(run),
                    Push::Cancel(run) => runs.retain(|it| *it != run),
                    _ => {}
                }
            }
            if self.rig.queue.closing(hand.party).is_some() {
                self.rig.close(hand.party);
                self.hands[at] = None;
            }
        }
    }

    /// All workers go, and one that can run anything comes and does until nothing is left.
    pub(super) fn finish(&mut self) {
        self.rig.queue.set_journal_full(false);
        for at in 0..HANDS {
            self.part_from(at);
        }
        self.rig.advance(60_000);
        self.rig.turn_and_sync();
        let mut hand = self.rig.worker("last", capacity(1_000, 0));
        for _ in 0..200 {
            for run in self.rig.runs(&hand) {
                self.rig.report(&mut hand, run, exited(0));
            }
            if self.rig.queue.counts().unfinished() == 0 {
                return;
            }
            self.rig.advance(20_000);
            self.rig.beat(&hand);
        }
        panic!("something is never given out: {:?}", self.rig.queue.counts());
    }
}

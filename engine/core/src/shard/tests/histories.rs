//! Random small histories: whatever is late, lost or repeated, the shards agree in the end, and run
//! what conflicts in one order.

use super::cluster::*;
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

/// Operations on one shard: which counter, and whether one is added to it.
type Part = Vec<(usize, bool)>;

/// Few, so that many transactions meet.
const COUNTERS: usize = 2;

#[derive(Debug, Clone)]
struct Plan {
    /// By shard. Those without operations are not involved.
    parts: [Part; SHARDS as usize],
    stamp: i64,
    /// Which piece of several is not dispatched in time, if any.
    missing: Option<Index>,
}

impl Plan {
    fn shards(&self) -> Vec<u16> {
        let involved = |shard: &u16| !self.parts[usize::from(*shard)].is_empty();
        (0..SHARDS).filter(involved).collect()
    }

    fn missing(&self) -> Option<u16> {
        let shards = self.shards();
        let index = self.missing.filter(|_| shards.len() > 1)?;
        Some(*index.get(&shards))
    }

    fn ops(&self, shard: u16) -> Vec<Op<'static>> {
        let op = |&(counter, adds): &(usize, bool)| match adds {
            true => add_to(shard, counter),
            false => get_of(shard, counter),
        };
        self.parts[usize::from(shard)].iter().map(op).collect()
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    let part = || prop::collection::vec((0..COUNTERS, any::<bool>()), 0..3);
    let missing = prop::option::weighted(0.15, any::<Index>());
    ([part(), part(), part()], 0..2_000_i64, missing).prop_map(|(parts, stamp, missing)| Plan {
        parts,
        stamp,
        missing,
    })
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Dispatches a piece that was not dispatched yet, or again.
    Dispatch(Index),
    Retry(Index),
    /// Delivers a letter, or a copy of it, or loses it.
    Deliver(Index),
    Copy(Index),
    Lose(Index),
    /// Lets time pass, then every shard has a turn.
    Turn(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        4 => index().prop_map(Step::Dispatch),
        1 => index().prop_map(Step::Retry),
        8 => index().prop_map(Step::Deliver),
        2 => index().prop_map(Step::Copy),
        1 => index().prop_map(Step::Lose),
        3 => (0..500_i64).prop_map(Step::Turn),
        1 => (0..20 * MS).prop_map(Step::Turn),
    ]
}

struct Run<'a> {
    plans: &'a [Plan],
    cluster: Cluster,
    /// Pieces that are still to be dispatched, that were, and that will be when it is too late.
    waiting: Vec<(u16, Request)>,
    dispatched: Vec<(u16, Request)>,
    missing: Vec<(u16, Request)>,
    letters: Vec<Letter>,
    answers: BTreeMap<(u16, TxnSequence), Answer>,
}

fn sequence_of(index: usize) -> TxnSequence {
    seq(u16::try_from(index).expect("few plans"), 1)
}

impl<'a> Run<'a> {
    fn new(plans: &'a [Plan], ahead: [i64; SHARDS as usize]) -> Self {
        let mut cluster = Cluster::new();
        cluster.ahead = ahead;
        let (mut waiting, mut missing) = (Vec::new(), Vec::new());
        for (index, plan) in plans.iter().enumerate() {
            let sequence = sequence_of(index);
            let shards = plan.shards();
            let parts: Vec<_> = shards.iter().map(|shard| (*shard, plan.ops(*shard))).collect();
            let parts: Vec<_> = parts.iter().map(|(shard, ops)| (*shard, &ops[..])).collect();
            for (shard, mut request) in txn(sequence, plan.stamp, &parts).pieces {
                if parts.len() == 1 {
                    request.stamp = None;
                }
                let never = plan.missing() == Some(shard);
                let pieces = if never { &mut missing } else { &mut waiting };
                pieces.push((shard, request));
            }
        }
        let (dispatched, letters, answers) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { plans, cluster, waiting, dispatched, missing, letters, answers }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Dispatch(index) if !self.waiting.is_empty() => {
                let (shard, request) = self.waiting.remove(index.index(self.waiting.len()));
                self.dispatch(shard, &request);
                self.dispatched.push((shard, request));
            }
            Step::Retry(index) if !self.dispatched.is_empty() => {
                let (shard, request) = index.get(&self.dispatched).clone();
                self.dispatch(shard, &request);
            }
            Step::Deliver(index) if !self.letters.is_empty() => {
                let letter = self.letters.remove(index.index(self.letters.len()));
                self.cluster.deliver(letter);
            }
            Step::Copy(index) if !self.letters.is_empty() => {
                self.cluster.deliver(*index.get(&self.letters));
            }
            Step::Lose(index) if !self.letters.is_empty() => {
                self.letters.remove(index.index(self.letters.len()));
            }
            Step::Turn(pause) => self.turn(pause),
            _ => {}
        }
        let letters = self.cluster.letters();
        self.letters.extend(letters);
    }

    fn dispatch(&mut self, shard: u16, request: &Request) {
        let answers = self.cluster.send(shard, request);
        self.note(shard, answers);
    }

    fn turn(&mut self, pause: i64) {
        self.cluster.now += pause;
        self.cluster.turn();
        for shard in 0..SHARDS {
            let answers = self.cluster.shard(shard).held();
            self.note(shard, answers);
        }
    }

    fn note(&mut self, shard: u16, answers: Vec<Answer>) {
        for answer in answers {
            let before = self.answers.insert((shard, answer.sequence), answer.clone());
            assert!(before.is_none_or(|before| before == answer), "{answer:?} is another answer");
        }
    }

    /// Dispatches what was not dispatched yet; what is missing when it was refused long ago. From
    /// now on nothing is lost.
    fn finish(&mut self) {
        for pieces in [std::mem::take(&mut self.waiting), std::mem::take(&mut self.missing)] {
            for (shard, request) in &pieces {
                self.dispatch(*shard, request);
            }
            self.settle();
        }
        assert!(self.cluster.is_idle() && self.letters.is_empty());
        assert_eq!(self.cluster.kept(), [0, 0, 0]);
    }

    /// Carries all letters, long enough for every time-out and for the requests after it.
    fn settle(&mut self) {
        for _ in 0..50 {
            let letters = std::mem::take(&mut self.letters);
            self.cluster.deliver_all(&letters);
            self.turn(100 * MS);
            self.letters = self.cluster.letters();
        }
    }

    /// Every transaction ran on all its shards at one time, or on none.
    fn check_agreement(&self, all_in_time: bool) {
        for (index, plan) in self.plans.iter().enumerate() {
            let end = |shard: u16| {
                let answer = &self.answers[&(shard, sequence_of(index))];
                (answer.status, answer.commit)
            };
            let ends: Vec<_> = plan.shards().into_iter().map(end).collect();
            let Some((first, others)) = ends.split_first() else { continue };
            assert!(others.iter().all(|end| end == first), "{index}: {ends:?}");
            match first.0 {
                ReplyStatus::Committed => assert!(plan.missing().is_none(), "{index} cannot run"),
                ReplyStatus::Refused(RefusedReason::DispatchTimeout) => {
                    assert!(plan.missing().is_some() || !all_in_time, "{index} could have run");
                }
                other => panic!("{index} ended as {other:?}"),
            }
        }
    }

    /// What ran on a shard found what those before it left, in the order of times and ids.
    fn check_order(&self, shard: u16) {
        let answers = self.answers.iter().filter(|((at, _), _)| *at == shard);
        let ran = answers.map(|(_, answer)| answer).filter(|it| !it.results.is_empty());
        let mut ran: Vec<_> = ran.collect();
        ran.sort_by_key(|answer| (answer.commit, answer.sequence));
        let mut counters = [0_i64; COUNTERS];
        for answer in ran {
            let plan = &self.plans[usize::from(answer.sequence.slot())];
            let ops = &plan.parts[usize::from(shard)];
            assert_eq!(answer.results.len(), ops.len());
            for ((counter, adds), (_, value)) in ops.iter().zip(&answer.results) {
                counters[*counter] += i64::from(*adds);
                let expected = counters[*counter].to_le_bytes();
                let found = value.as_deref().unwrap_or(&[0; 8]);
                assert_eq!(found, expected, "counter {counter} of {shard} for {answer:?}");
            }
        }
        let found = [0, 1].map(|counter| self.cluster.counter(shard, counter).unwrap_or(0));
        assert_eq!(found, counters, "at {shard}");
    }
}

proptest! {
    #[test]
    fn whatever_happens_to_messages_all_shards_agree_and_run_what_conflicts_in_one_order(
        plans in prop::collection::vec(plan(), 1..10),
        steps in prop::collection::vec(step(), 0..150),
        // Clocks that are apart cost nothing but waiting.
        ahead in [0..1_000_i64, 0..1_000_i64, 0..1_000_i64],
    ) {
        let mut run = Run::new(&plans, ahead);
        for step in steps {
            run.step(step);
        }
        let all_in_time = run.cluster.now < SECOND - MS;
        run.finish();
        run.check_agreement(all_in_time);
        for shard in 0..SHARDS {
            run.check_order(shard);
        }
    }
}

//! A coordinator of shards that crash: it sends again what was not answered, and checks in the end
//! that all was run once, at one time everywhere, and in order.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a piece does to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Adds,
    Reads,
    CallAdds,
    CallAborts,
    CallLooks,
}

impl Deed {
    pub(super) const ALL: [Self; 5] =
        [Self::Adds, Self::Reads, Self::CallAdds, Self::CallAborts, Self::CallLooks];

    fn request(self, sequence: TxnSequence, shard: u16, counter: usize) -> Request {
        let bump = |how| call(sequence, BUMP, &bump_args(word(shard, counter), how));
        match self {
            Self::Adds => piece(sequence, &[add_to(shard, counter)]),
            Self::Reads => piece(sequence, &[get_of(shard, counter)]),
            Self::CallAdds => bump(COMMITS),
            Self::CallAborts => bump(ABORTS),
            Self::CallLooks => bump(LOOKS),
        }
    }

    /// What it adds that stays, and what it says that the sum is.
    fn run(self, sum: &mut i64) -> i64 {
        *sum += i64::from(matches!(self, Self::Adds | Self::CallAdds));
        *sum + i64::from(self == Self::CallAborts)
    }
}

/// One shard's part of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Part {
    shard: u16,
    counter: usize,
    deed: Deed,
    request: Request,
}

impl Part {
    fn key(&self) -> (u16, TxnSequence) {
        (self.shard, self.request.sequence)
    }
}

/// A transaction on these shards; it is stamped if there are several.
pub(super) fn parts(
    sequence: TxnSequence,
    stamp: i64,
    shards: &[u16],
    counter: usize,
    deed: Deed,
) -> Vec<Part> {
    let party =
        |shard: &u16| Participant { shard: *shard, incarnation: run_of(*shard, 1).incarnation() };
    let parties: Vec<_> = shards.iter().map(party).collect();
    let part = |shard: &u16| {
        let mut request = deed.request(sequence, *shard, counter);
        if parties.len() > 1 {
            request.stamp = Some((stamp, parties.clone()));
        }
        Part { shard: *shard, counter, deed, request }
    };
    shards.iter().map(part).collect()
}

/// Shards with journals, and a coordinator that sends again what was not answered.
pub(super) struct Play {
    pub(super) world: World,
    sent: Vec<Part>,
    told: BTreeMap<(u16, TxnSequence), Answer>,
    letters: Vec<Letter>,
    /// So many of the next letters are lost.
    pub(super) losses: usize,
    /// Only every so many moves the disks are waited for.
    lag: usize,
    moves: usize,
    /// Which shard is to crash, with so many records of its log durable.
    pub(super) crash: Option<(u16, usize)>,
}

impl Play {
    pub(super) fn new(lag: usize, crash: Option<(u16, usize)>) -> Self {
        let (world, sent, told, letters) = (World::new(), Vec::new(), BTreeMap::new(), Vec::new());
        Self { world, sent, told, letters, losses: 0, lag, moves: 0, crash }
    }

    pub(super) fn records(&self, id: u16) -> usize {
        self.world.tape(id).boundaries().len() - 1
    }

    fn note(&mut self, id: u16, answers: Vec<Answer>) {
        for answer in answers.into_iter().filter(|it| it.status != ReplyStatus::Busy) {
            let answer = Answer { timing: None, ..answer };
            let before = self.told.insert((id, answer.sequence), answer.clone());
            let is_same = before.as_ref().is_none_or(|before| *before == answer);
            assert!(is_same, "shard {id} has told {before:?} and now {answer:?}");
        }
    }

    /// Sends a piece, once the slot has nothing older to wait for.
    pub(super) fn send(&mut self, part: Part) {
        let slot = part.request.sequence.slot();
        let waits = |it: &Part| {
            it.request.sequence.slot() == slot
                && it.request.sequence < part.request.sequence
                && !self.told.contains_key(&it.key())
        };
        if self.sent.iter().any(waits) {
            self.settle();
        }
        let answers = self.world.cluster.send(part.shard, &part.request);
        self.note(part.shard, answers);
        self.sent.push(part);
        self.step();
    }

    pub(super) fn turn(&mut self, pause: i64) {
        self.world.cluster.now += pause;
        self.world.cluster.turn();
        self.step();
    }

    /// Between two moves. The disks are waited for, and letters and answers are carried, or not.
    fn step(&mut self) {
        self.moves += 1;
        (0..SHARDS).for_each(|id| self.world.take(id));
        if self.moves.is_multiple_of(self.lag) {
            self.carry();
        }
    }

    fn carry(&mut self) {
        for _ in 0..100 {
            self.sync();
            if self.letters.is_empty() {
                return;
            }
            let letters = std::mem::take(&mut self.letters);
            self.world.cluster.deliver_all(&letters);
        }
        panic!("the shards never fall silent");
    }

    /// Makes everything durable; or as much as the crash leaves, which comes then.
    fn sync(&mut self) {
        (0..SHARDS).for_each(|id| self.world.take(id));
        if let Some((victim, count)) = self.crash
            && count <= self.records(victim)
        {
            self.crash = None;
            let until = self.world.tape(victim).boundaries()[count];
            return self.crash(victim, until);
        }
        self.world.sync_all();
        self.collect();
    }

    /// Takes what may leave by now.
    fn collect(&mut self) {
        for id in 0..SHARDS {
            let answers = self.world.cluster.shard(id).held();
            self.note(id, answers);
        }
        let letters = self.world.cluster.letters();
        let lost = self.losses.min(letters.len());
        self.losses -= lost;
        self.letters.extend_from_slice(&letters[lost..]);
    }

    /// A shard crashes as soon as its log is durable up to `until`. What may leave then, leaves.
    pub(super) fn crash(&mut self, victim: u16, until: Lsn) {
        self.world.shard(victim).on_durable(until);
        self.collect();
        self.letters.retain(|letter| letter.to != victim);
        // To come back takes time.
        self.world.cluster.now += MS;
        self.world.crash(victim, until);
        self.resend(|part| part.shard == victim);
    }

    /// Sends again what was not answered.
    fn resend(&mut self, which: impl Fn(&Part) -> bool) {
        let unanswered = |part: &&Part| which(part) && !self.told.contains_key(&part.key());
        let again: Vec<_> = self.sent.iter().filter(unanswered).cloned().collect();
        for part in again {
            let answers = self.world.cluster.send(part.shard, &part.request);
            self.note(part.shard, answers);
        }
    }

    /// Long enough for every time-out, and for the questions after it.
    pub(super) fn settle(&mut self) {
        self.losses = 0;
        for _ in 0..40 {
            self.resend(|_| true);
            self.world.cluster.now += 100 * MS;
            self.world.cluster.turn();
            self.carry();
        }
        for part in &self.sent {
            assert!(self.told.contains_key(&part.key()), "{part:?} never ended");
        }
    }

    /// Everything has ended, at one time everywhere or nowhere, once; and a retry is told the same.
    pub(super) fn check(&mut self) {
        self.settle();
        assert!(self.world.cluster.is_idle());
        assert_eq!(self.world.cluster.kept(), [0, 0, 0]);
        let mut latest = BTreeMap::new();
        for part in &self.sent {
            let place = (part.shard, part.request.sequence.slot());
            let last = latest.entry(place).or_insert_with(|| part.clone());
            if last.request.sequence < part.request.sequence {
                *last = part.clone();
            }
        }
        // What left no trace in the log may be found otherwise now, and nobody would ask again.
        let is_kept = |part: &Part| {
            part.request.stamp.is_some() || matches!(part.deed, Deed::Adds | Deed::CallAdds)
        };
        for part in latest.into_values().filter(is_kept) {
            let answers = self.world.cluster.send(part.shard, &part.request);
            self.note(part.shard, answers);
        }
        self.carry();
        for part in &self.sent {
            let ends = self.sent.iter().filter(|it| it.request.sequence == part.request.sequence);
            let ends: BTreeSet<_> = ends
                .map(|it| &self.told[&it.key()])
                .map(|it| (it.status.code(), it.commit))
                .collect();
            assert_eq!(ends.len(), 1, "{part:?}: {ends:?}");
        }
        (0..SHARDS).for_each(|id| self.check_order(id));
    }

    /// What ran on a shard found what those before it left, in the order of times and ids.
    fn check_order(&self, id: u16) {
        let on_it = self.sent.iter().filter(|part| part.shard == id);
        let mut ran: Vec<_> = on_it.map(|part| (&self.told[&part.key()], part)).collect();
        ran.retain(|(answer, _)| !matches!(answer.status, ReplyStatus::Refused(_)));
        ran.sort_by_key(|(answer, _)| (answer.commit, answer.sequence));
        let mut sums = [0; 3];
        for (answer, part) in ran {
            let expected = part.deed.run(&mut sums[part.counter]);
            assert_eq!(answer.number(), expected, "at {id}: {answer:?} of {part:?}");
        }
        let found = [0, 1, 2].map(|counter| self.world.cluster.counter(id, counter).unwrap_or(0));
        assert_eq!(found, sums, "at {id}");
    }
}

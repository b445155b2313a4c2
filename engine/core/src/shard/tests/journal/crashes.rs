//! Shards that crash at any record of their logs, and all that they were told before goes on: no
//! transaction is lost that was answered, none runs twice, and all shards agree.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;

/// What a piece does to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Adds,
    Reads,
    CallAdds,
    CallAborts,
    CallLooks,
}

impl Deed {
    const ALL: [Self; 5] =
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
struct Part {
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
fn parts(
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
struct Play {
    world: World,
    sent: Vec<Part>,
    told: BTreeMap<(u16, TxnSequence), Answer>,
    letters: Vec<Letter>,
    /// Only every so many moves the disks are waited for.
    lag: usize,
    moves: usize,
    /// Which shard is to crash, with so many records of its log durable.
    crash: Option<(u16, usize)>,
}

impl Play {
    fn new(lag: usize, crash: Option<(u16, usize)>) -> Self {
        let (world, sent, told, letters) = (World::new(), Vec::new(), BTreeMap::new(), Vec::new());
        Self { world, sent, told, letters, lag, moves: 0, crash }
    }

    fn records(&self, id: u16) -> usize {
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
    fn send(&mut self, part: Part) {
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

    fn turn(&mut self, pause: i64) {
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
            let letters = std::mem::take(&mut self.letters);
            self.world.cluster.deliver_all(&letters);
            self.collect();
            if self.letters.is_empty() {
                return;
            }
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
        self.letters.extend(letters);
    }

    /// A shard crashes as soon as its log is durable up to `until`. What may leave then, leaves.
    fn crash(&mut self, victim: u16, until: Lsn) {
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
    fn settle(&mut self) {
        for _ in 0..50 {
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
    fn check(&mut self) {
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
        for part in latest.into_values() {
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

#[derive(Debug, Clone)]
enum Move {
    Send(Part),
    Turn(i64),
}

/// A bit of everything on two shards.
fn script() -> Vec<Move> {
    let mut moves = Vec::new();
    let mut send =
        |at: &mut Vec<Move>, parts: Vec<Part>| at.extend(parts.into_iter().map(Move::Send));
    let single = |slot, shard, counter, deed| parts(seq(slot, 1), 0, &[shard], counter, deed);
    let both = |slot, stamp, deed| parts(seq(slot, 1), stamp, &[0, 1], 0, deed);
    moves.push(Move::Turn(100));
    send(&mut moves, single(0, 0, 0, Deed::Adds));
    send(&mut moves, single(1, 0, 1, Deed::Adds));
    send(&mut moves, single(2, 0, 0, Deed::Reads));
    send(&mut moves, both(3, 400, Deed::Adds));
    send(&mut moves, single(4, 1, 0, Deed::Adds));
    moves.push(Move::Turn(350));
    // One that shard 1 hears of before its dispatch comes, and some behind it.
    let late = both(5, 1_000, Deed::Adds);
    send(&mut moves, vec![late[0].clone()]);
    send(&mut moves, single(6, 0, 0, Deed::Adds));
    moves.push(Move::Turn(600));
    send(&mut moves, single(7, 0, 0, Deed::Adds));
    send(&mut moves, single(8, 0, 0, Deed::Reads));
    send(&mut moves, single(9, 0, 1, Deed::Adds));
    send(&mut moves, vec![late[1].clone()]);
    moves.push(Move::Turn(20));
    send(&mut moves, both(10, 1_300, Deed::CallAdds));
    send(&mut moves, both(11, 1_300, Deed::CallAborts));
    send(&mut moves, both(12, 1_250, Deed::Reads));
    send(&mut moves, single(13, 1, 2, Deed::CallAdds));
    moves.push(Move::Turn(400));
    for (slot, deed) in (14..).zip([Deed::CallAborts, Deed::CallLooks, Deed::CallAdds]) {
        send(&mut moves, single(slot, 0, 0, deed));
    }
    // Refused at once, and refused for want of a dispatch.
    send(&mut moves, both(17, 1_000_000 * SECOND, Deed::Adds));
    let missing = both(18, 2_000, Deed::Adds);
    send(&mut moves, vec![missing[1].clone()]);
    moves.extend([3, 3, 3, 1_100, 3].map(|ms| Move::Turn(ms * MS)));
    send(&mut moves, vec![missing[0].clone()]);
    // Slots are used again.
    send(&mut moves, parts(seq(0, 2), 0, &[0], 0, Deed::Adds));
    send(&mut moves, parts(seq(3, 2), 1_200 * MS, &[0, 1], 1, Deed::Adds));
    moves.extend([3, 100, 3].map(|ms| Move::Turn(ms * MS)));
    moves
}

fn play(lag: usize, crash: Option<(u16, usize)>) -> Play {
    let mut play = Play::new(lag, crash);
    for step in script() {
        match step {
            Move::Send(part) => play.send(part),
            Move::Turn(pause) => play.turn(pause),
        }
    }
    play
}

#[test]
fn a_shard_may_crash_at_any_record_of_its_log() {
    for lag in [1, 3] {
        for victim in [0, 1] {
            let first = Play::new(1, None).records(victim);
            let mut whole = play(lag, None);
            let last = whole.records(victim);
            whole.check();
            assert!(last > first + 15, "there is something to lose");
            for count in first..=last {
                let mut play = play(lag, Some((victim, count)));
                play.check();
                assert!(play.crash.is_none(), "it came to {count} records");
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Chance {
    /// Sends a part that was not sent yet.
    Send(Index),
    Turn(i64),
    /// Loses a letter that is on its way.
    Lose(Index),
    /// A shard crashes with some of what was not durable by then.
    Crash(u16, Index),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        6 => any::<Index>().prop_map(Chance::Send),
        3 => (0..700_i64).prop_map(Chance::Turn),
        1 => (0..120 * MS).prop_map(Chance::Turn),
        1 => any::<Index>().prop_map(Chance::Lose),
        1 => (0..SHARDS, any::<Index>()).prop_map(|(id, index)| Chance::Crash(id, index)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn shards_may_crash_whenever_they_do_and_as_often(
        plans in prop::collection::vec(
            (
                prop::sample::subsequence(vec![0_u16, 1, 2], 1..=3),
                0..2_000_i64,
                0..3_usize,
                prop::sample::select(Deed::ALL.to_vec()),
            ),
            1..9,
        ),
        chances in prop::collection::vec(chance(), 0..80),
        lag in 1..5_usize,
    ) {
        let mut play = Play::new(lag, None);
        let mut waiting = Vec::new();
        for (slot, (shards, stamp, counter, deed)) in (0..).zip(plans) {
            waiting.extend(parts(seq(slot, 1), stamp, &shards, counter, deed));
        }
        for chance in chances {
            match chance {
                Chance::Send(index) if !waiting.is_empty() => {
                    let part = waiting.remove(index.index(waiting.len()));
                    play.send(part);
                }
                Chance::Turn(pause) => play.turn(pause),
                Chance::Lose(index) if !play.letters.is_empty() => {
                    let at = index.index(play.letters.len());
                    play.letters.remove(at);
                }
                Chance::Crash(victim, index) => {
                    play.world.take(victim);
                    let durable = play.world.shard(victim).log_ends().1;
                    let mut boundaries = play.world.tape(victim).boundaries();
                    boundaries.retain(|lsn| *lsn >= durable);
                    play.crash(victim, *index.get(&boundaries));
                }
                _ => {}
            }
        }
        // What is missing comes so late that it was refused.
        play.settle();
        for part in waiting {
            play.send(part);
        }
        play.check();
    }
}

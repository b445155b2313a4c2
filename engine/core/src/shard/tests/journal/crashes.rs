//! Shards that crash at any record of their logs, and all that they were told before goes on: no
//! transaction is lost that was answered, none runs twice, and all shards agree.

use super::play::{Deed, Part, Play, parts};
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Debug, Clone)]
enum Move {
    Send(Part),
    Turn(i64),
}

/// A bit of everything on two shards.
fn script() -> Vec<Move> {
    let mut moves = Vec::new();
    let send = |at: &mut Vec<Move>, parts: Vec<Part>| at.extend(parts.into_iter().map(Move::Send));
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
    /// So many of the next letters are lost.
    Lose(usize),
    /// A shard crashes with some of what was not durable by then.
    Crash(u16, Index),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        6 => any::<Index>().prop_map(Chance::Send),
        3 => (0..700_i64).prop_map(Chance::Turn),
        1 => (0..120 * MS).prop_map(Chance::Turn),
        1 => (1..4_usize).prop_map(Chance::Lose),
        1 => (0..SHARDS, any::<Index>()).prop_map(|(id, index)| Chance::Crash(id, index)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
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
                Chance::Lose(count) => play.losses += count,
                Chance::Crash(victim, index) => {
                    play.world.take(victim);
                    let durable = play.world.shard(victim).log_ends().1;
                    let mut boundaries = play.world.tape(victim).boundaries();
                    boundaries.retain(|lsn| *lsn >= durable);
                    play.crash(victim, *index.get(&boundaries));
                }
                Chance::Send(_) => {}
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

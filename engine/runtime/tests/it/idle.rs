//! What cores do while there is nothing to do, and how they notice that there is.

use crate::support::{self, PATIENCE};
use punctual_runtime::{Client, Counter, Engine, IdleStrategy, Transport};
use std::time::Instant;

/// An engine that is idle while nobody submits: a prober would have something to do now and then.
fn parking() -> (Engine, Client) {
    let mut config = support::config(2);
    config.process.idle = IdleStrategy::Park;
    config.process.prober.enabled = Some(false);
    Engine::embedded(config, Transport::Tcp).start().expect("a start")
}

#[test]
fn an_idle_engine_sleeps_and_takes_hardly_a_turn() {
    const PARKS: u64 = 5;
    let (engine, client) = parking();
    for shard in 0..2 {
        support::add(&client, support::key_on(shard, 2), 1);
    }
    let counters = engine.counters();
    let cores = counters.blocks().iter().filter(|block| block.name().starts_with("core"));
    for core in cores {
        let (parks, turns) = (core.get(Counter::Parks), core.get(Counter::Turns));
        support::until("a core sleeps", || core.get(Counter::Parks) >= parks + PARKS);
        // A sleep costs a turn; a few more are left over from the transactions above.
        let (parks, turns) = (core.get(Counter::Parks) - parks, core.get(Counter::Turns) - turns);
        assert!(turns <= 2 * parks + 100, "{}: {turns} turns, {parks} sleeps", core.name());
    }
    engine.stop().expect("an orderly stop");
}

#[test]
fn sleeping_cores_are_woken_by_every_submit_and_every_reply() {
    // With a wake-up lost, a transaction would wait until a sleeping core looks round by itself,
    // 50 ms on average: all of them together longer than the patience.
    const ROUNDS: i64 = 1000;
    let (engine, client) = parking();
    let start = Instant::now();
    for round in 1..=ROUNDS {
        assert_eq!(support::add(&client, 1, 1), round);
        assert!(start.elapsed() < PATIENCE, "only {round} of {ROUNDS} transactions");
    }
    engine.stop().expect("an orderly stop");
}

//! Probes: who sends them, who answers, and what becomes of what they measure.

use crate::raw::{self, Peer};
use crate::support::{self, PATIENCE};
use punctual_runtime::config::{Address, ClockSource, Config};
use punctual_runtime::{
    Clock, Counter, Engine, LinkEvent, Nanos, OwdWatch, Probe, Procedures, ShardId, Transport,
};
use std::time::Duration;

/// Quick probes all the time, and none of them too late to count: the machine may be busy.
fn eager(shards: u16) -> Config {
    let mut config = support::config(shards);
    config.process.prober.first_for = PATIENCE;
    config.process.prober.late_max = PATIENCE;
    config.process.prober.lost_after = PATIENCE;
    config
}

#[test]
fn workers_learn_the_ways_to_all_shards_before_they_use_them() {
    const FAR: Duration = Duration::from_secs(55);
    const ENOUGH: u64 = 300;
    for transport in [Transport::Ring, Transport::Tcp] {
        let mut config = eager(2);
        // Held for so long, a transaction would end as unknown at its deadline.
        config.process.default_owd = FAR;
        config.cluster.max_hold = 2 * FAR;
        let (engine, client) = Engine::embedded(config, transport).start().expect("a start");
        let counters = engine.counters().clone();
        support::until("samples arrive", || counters.sum("worker", Counter::OwdSamples) > ENOUGH);
        let keys = [support::key_on(0, 2), support::key_on(1, 2)];
        let pending = support::submit_adds(&client, &keys).expect("it is taken");
        let result = support::end_of(&pending).expect("an outcome");
        assert!(result.is_committed(), "{transport:?}: {result:?}");
        engine.stop().expect("an orderly stop");
        assert!(counters.sum("prober", Counter::ProbesSent) > ENOUGH);
        assert_eq!(counters.sum("", Counter::LinksMalformed), 0);
    }
}

#[test]
fn a_prober_runs_beside_workers_where_there_are_several_shards_or_it_is_wanted() {
    let cases = [(1, None, false), (2, None, true), (1, Some(true), true), (2, Some(false), false)];
    for (shards, enabled, expected) in cases {
        let mut config = support::config(shards);
        config.process.prober.enabled = enabled;
        let (engine, _) = Engine::embedded(config, Transport::Ring).start().expect("a start");
        assert_eq!(engine.info().prober_core.is_some(), expected, "{shards} {enabled:?}");
        let blocks = engine.counters().blocks();
        assert_eq!(blocks.iter().any(|block| block.name() == "prober"), expected);
        engine.stop().expect("an orderly stop");
    }
    let served = support::serve(&support::config(2));
    assert_eq!(served.info().prober_core, None, "shards alone have nothing to stamp");
    served.stop().expect("the shards stop");
}

#[test]
fn a_shard_answers_a_probe_with_its_clock_before_and_after() {
    let config = support::config(1);
    let served = support::serve(&config);
    let endpoint = served.info().endpoints[0].1.clone();
    let hello = raw::prober_hello(0, 7, config.cluster.hash());
    let mut prober = Peer::welcomed(&endpoint, &hello);
    // One clock for all processes of a machine.
    let clock = Clock::new(ClockSource::Monotonic);
    for id in 0..20 {
        let t1 = clock.now().0;
        let asked = Probe { id, t1, late: id % 2 == 1, ..Probe::default() };
        let answer = prober.probe(&asked);
        let t4 = clock.now().0;
        let Probe { t2, t3, .. } = answer;
        assert_eq!(answer, Probe { is_reply: true, t2, t3, ..asked });
        assert!(t1 <= t2 && t2 <= t3 && t3 <= t4, "{t1} {t2} {t3} {t4}");
    }
    drop(prober);
    served.stop().expect("the shard stops");
}

/// A watch on these shards, and the config that it has.
fn watch(config: &Config, addresses: Vec<Address>) -> OwdWatch {
    let config = support::at(config, addresses);
    OwdWatch::connect(&config, &Procedures::new()).expect("a watch starts")
}

#[test]
fn a_watch_shows_every_shard_and_hands_out_every_sample() {
    let config = eager(2);
    let served = support::serve(&config);
    let watch = watch(&config, support::addresses_of(&served));
    support::until("both rows fill", || {
        let rows = watch.rows();
        rows.len() == 2 && rows.iter().all(|row| row.is_up && row.samples > 50)
    });
    for (shard, row) in (0..).map(ShardId).zip(watch.rows()) {
        assert_eq!(row.shard, shard);
        let (min, p50, p99) = (row.min, row.p50, row.p99);
        assert!(Some(Nanos::ZERO) <= min && min <= p50 && p50 <= p99, "{row:?}");
        assert!(row.estimate >= Nanos::ZERO && row.rtt_min > Some(Nanos::ZERO), "{row:?}");
        // Both read the same clock, so the offset is nothing, and the bounds have to allow that.
        let (low, high) = row.offset_bound.expect("there are samples");
        assert!(low <= Nanos::ZERO && high >= Nanos::ZERO, "{row:?}");
        assert!(row.sent >= row.samples, "{row:?}");
    }
    let mut up: Vec<_> = watch.events().try_iter().collect();
    up.sort_by_key(|(shard, _)| *shard);
    assert_eq!(up, [(ShardId(0), LinkEvent::Up), (ShardId(1), LinkEvent::Up)]);
    let mut shards = [false; 2];
    while shards != [true; 2] {
        let sample = watch.samples().recv_timeout(PATIENCE).expect("samples go on");
        assert!(sample.used && sample.probe.t4 == sample.at.0, "{sample:?}");
        assert_eq!(sample.owd.owd, Nanos(sample.probe.t2 - sample.probe.t1));
        shards[usize::from(sample.shard.0)] = true;
    }
    assert_eq!(watch.samples_dropped(), 0);
    watch.stop();
    served.stop().expect("the shards stop");
}

#[test]
fn a_shard_that_is_not_there_has_a_row_that_says_so_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let absent = Address::Unix(folder.path().join("1.sock"));
    let mut config = eager(2);
    config.process.serve = Some(vec![0]);
    let addresses = vec![Address::Unix(folder.path().join("0.sock")), absent];
    let serving = support::at(&config, addresses.clone());
    let served = Engine::serve(serving.clone()).start_shards().expect("shard 0 is served");
    let watch = watch(&config, addresses);
    support::until("the other row fills", || {
        watch.rows().first().is_some_and(|row| row.is_up && row.samples > 50)
    });
    let rows = watch.rows();
    assert!(!rows[1].is_up && rows[1].sent == 0, "{rows:?}");
    assert_eq!(rows[1].estimate, Nanos::from(config.process.default_owd));
    let downs = watch.events().try_iter().filter(|(shard, _)| *shard == ShardId(1));
    for (_, event) in downs {
        let LinkEvent::Down { why } = event else {
            panic!("{event:?} of a shard that is not there")
        };
        assert!(why.contains("1.sock"), "{why}");
    }

    // It comes, and the watch finds it by itself.
    let mut serving = serving;
    serving.process.serve = Some(vec![1]);
    let second = Engine::serve(serving).start_shards().expect("shard 1 is served");
    support::until("its row fills as well", || {
        watch.rows().get(1).is_some_and(|row| row.is_up && row.samples > 50)
    });
    watch.stop();
    served.stop().expect("the shard stops");
    second.stop().expect("the shard stops");
}

#[test]
fn a_watch_that_is_dropped_leaves_the_shards_alone() {
    let config = eager(1);
    let served = support::serve(&config);
    drop(watch(&config, support::addresses_of(&served)));
    let (engine, client) = support::connect(&config, &served);
    assert_eq!(support::add(&client, 1, 1), 1);
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
}

//! What outlives an engine: all that was acknowledged, on every shard that has a journal.

use crate::raw::{self, Peer};
use crate::support::{self, PATIENCE};
use punctual_core::journal::{BLOCK_HEAD_BYTES, RECORD_HEAD_BYTES, SEGMENT_HEAD_BYTES};
use punctual_runtime::config::{Address, ClockSource, DurabilityMode, JournalBackend, Modes};
use punctual_runtime::{
    Client, CloseReason, Config, Counter, Engine, EngineError, JournalError, Key, Nanos, Op,
    Outcome, ProcedureContext, Procedures, TransactionResult, Transport, Verdict,
};
use punctual_wire::{ReplyStatus, TxnSequence};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The smallest files of a log that the default limits allow.
const SEGMENT_BYTES: u64 = 4 << 20;
const KEY: u64 = 11;

/// A configuration whose shards keep journals below a directory.
fn journaled(shards: u16, dir: &Path) -> Config {
    let mut config = support::config(shards);
    let durability = &mut config.process.durability;
    durability.modes = Modes::from(DurabilityMode::Journal);
    durability.dir = dir.to_owned();
    durability.segment_bytes = SEGMENT_BYTES;
    durability.backend = JournalBackend::Threads;
    config
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn start(config: &Config) -> (Engine, Client) {
    Engine::embedded(config.clone(), Transport::Ring).start().expect("a start")
}

/// Why an engine with this configuration does not start.
fn refused(config: &Config) -> EngineError {
    let started = Engine::embedded(config.clone(), Transport::Ring).start();
    let error = started.expect_err("it must not start");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error
}

/// Adds one to each of these keys, in one transaction that has to commit.
fn add_to_all(client: &Client, keys: &[u64]) -> TransactionResult {
    let pending = support::submit_adds(client, keys).expect("it is taken");
    let result = support::end_of(&pending).expect("an outcome");
    assert!(result.is_committed(), "{result:?}");
    result
}

fn numbers(result: &TransactionResult) -> Vec<Option<i64>> {
    (0..result.results.len()).map(|at| result.number(at)).collect()
}

#[test]
fn what_was_acknowledged_is_there_after_a_stop_and_a_start() {
    const COMMITS: u64 = 20;
    let dir = folder();
    let config = journaled(1, dir.path());
    let (engine, client) = start(&config);
    assert_eq!(engine.info().journals, [(0, dir.path().join("shard-0"))]);
    let report = &engine.info().recoveries[0];
    assert!(report.is_new && report.transactions == 0, "{report}");
    for sum in 1..COMMITS {
        assert_eq!(support::add(&client, KEY, 1), sum.cast_signed());
    }
    support::commit(&client, client.transaction().put("name", b"punctual"));
    let counters = engine.counters().clone();
    engine.stop().expect("an orderly stop");
    let writes = counters.sum("shard0", Counter::JournalWrites);
    assert!(writes >= COMMITS, "{writes} writes for {COMMITS} answers, one after the other");
    assert!(counters.sum("shard0", Counter::JournalBytes) > 0);

    let (engine, client) = start(&config);
    let report = &engine.info().recoveries[0];
    assert!(!report.is_new && report.torn.is_none(), "{report}");
    assert_eq!((report.transactions, report.keys, report.undecided), (COMMITS, 2, 0));
    assert_eq!(support::add(&client, KEY, 1), COMMITS.cast_signed());
    let result = support::commit(&client, client.transaction().get("name"));
    assert_eq!(result.value(0), Some(&b"punctual"[..]));
    engine.stop().expect("an orderly stop");
}

#[test]
fn transactions_on_several_shards_are_there_on_all_of_them_after_each_start() {
    const SHARDS: u16 = 3;
    const EACH: i64 = 10;
    let dir = folder();
    let mut config = journaled(SHARDS, dir.path());
    config.process.durability.backend = JournalBackend::Auto;
    let keys: Vec<_> = (0..SHARDS).map(|shard| support::key_on(shard, SHARDS)).collect();
    for round in 0..3 {
        let (engine, client) = start(&config);
        for report in &engine.info().recoveries {
            assert!(report.is_new == (round == 0) && report.undecided == 0, "{report}");
        }
        for sum in 1..=EACH {
            let expected = vec![Some(EACH * round + sum); keys.len()];
            assert_eq!(numbers(&add_to_all(&client, &keys)), expected);
        }
        let counters = engine.counters().clone();
        engine.stop().expect("an orderly stop");
        for strange in [Counter::CommitMismatch, Counter::Unknown, Counter::Refused] {
            assert_eq!(counters.sum("", strange), 0, "{}", strange.name());
        }
    }
}

#[test]
fn a_shard_in_memory_beside_one_with_a_journal_starts_empty() {
    let dir = folder();
    let mut config = journaled(2, dir.path());
    config.process.durability.modes = "memory,journal".parse().expect("two modes");
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    let (engine, client) = start(&config);
    assert_eq!(engine.info().journals, [(1, dir.path().join("shard-1"))]);
    assert_eq!(engine.info().recoveries.len(), 1);
    assert_eq!(numbers(&add_to_all(&client, &keys)), [Some(1), Some(1)]);
    engine.stop().expect("an orderly stop");
    assert!(!dir.path().join("shard-0").exists());

    let (engine, client) = start(&config);
    assert_eq!(keys.map(|key| support::get(&client, key)), [None, Some(1)]);
    assert_eq!(numbers(&add_to_all(&client, &keys)), [Some(1), Some(2)]);
    engine.stop().expect("an orderly stop");
}

#[test]
fn what_was_answered_early_is_durable_after_an_orderly_stop() {
    const COUNT: i64 = 500;
    let dir = folder();
    let mut config = journaled(1, dir.path());
    config.process.durability.modes = Modes::from(DurabilityMode::JournalAsync);
    let (engine, client) = start(&config);
    let submit = |_| support::submit_add(&client, KEY).expect("it is taken");
    let pending: Vec<_> = (0..COUNT).map(submit).collect();
    for pending in &pending {
        let result = support::end_of(pending).expect("an outcome");
        assert!(result.is_committed(), "{result:?}");
    }
    engine.stop().expect("an orderly stop");
    let (engine, client) = start(&config);
    assert_eq!(support::get(&client, KEY), Some(COUNT));
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_snapshot_takes_the_place_of_old_files_of_the_log() {
    const KEYS: u64 = 16;
    const ROUNDS: u8 = 12;
    let dir = folder();
    let mut config = journaled(1, dir.path());
    config.process.durability.snapshot_after = 2 * SEGMENT_BYTES;
    let (engine, client) = start(&config);
    // Three times what a snapshot is made after, in segments of some thirty values.
    for round in 1..=ROUNDS {
        for key in 0..KEYS {
            support::commit(&client, client.transaction().put(key, &vec![round; 128 << 10]));
        }
    }
    let counters = engine.counters().clone();
    support::until("a snapshot is made", || counters.sum("", Counter::JournalSnapshots) > 0);
    engine.stop().expect("an orderly stop");
    let segments = counters.sum("shard0", Counter::JournalSegments);
    assert!(segments >= 5, "{segments} segments for 24 MiB");

    let (engine, client) = start(&config);
    let report = &engine.info().recoveries[0];
    assert!(report.snapshot.is_some() && report.keys == KEYS, "{report}");
    for key in 0..KEYS {
        let result = support::commit(&client, client.transaction().get(key));
        assert!(result.value(0) == Some(&vec![ROUNDS; 128 << 10][..]), "key {key}");
    }
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_directory_belongs_to_one_engine_at_a_time() {
    let dir = folder();
    let config = journaled(1, dir.path());
    let (engine, client) = start(&config);
    assert_eq!(support::add(&client, KEY, 1), 1);
    let error = refused(&config);
    assert!(matches!(error, EngineError::Journal(JournalError::InUse { .. })), "{error}");
    assert!(error.is_usage(), "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    assert_eq!(support::add(&client, KEY, 1), 2, "the first one is not disturbed");
    engine.stop().expect("an orderly stop");
    let (engine, client) = start(&config);
    assert_eq!(support::get(&client, KEY), Some(2));
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_damaged_journal_stops_the_start_until_it_is_as_it_was() {
    const COMMITS: i64 = 10;
    let dir = folder();
    let config = journaled(1, dir.path());
    let (engine, client) = start(&config);
    for sum in 1..=COMMITS {
        assert_eq!(support::add(&client, KEY, 1), sum);
    }
    engine.stop().expect("an orderly stop");

    let path = dir.path().join("shard-0").join("log-000001");
    let file = OpenOptions::new().read(true).write(true).open(&path).expect("the first segment");
    // The first record, which those after it bear witness of.
    let record = SEGMENT_HEAD_BYTES + BLOCK_HEAD_BYTES;
    let at = (record + RECORD_HEAD_BYTES) as u64;
    let flip = || {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("the segment is longer");
        file.write_all_at(&[byte[0] ^ 0x10], at).expect("the segment can be written");
    };
    flip();
    for _ in 0..2 {
        let error = refused(&config);
        assert!(matches!(error, EngineError::Journal(JournalError::Damage { .. })), "{error}");
        let place = format!("{} is damaged at byte {record}", path.display());
        assert!(error.to_string().starts_with(&place), "{error}");
    }
    flip();
    let (engine, client) = start(&config);
    assert_eq!(support::get(&client, KEY), Some(COMMITS));
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_place_where_no_journal_can_be_is_refused_by_name() {
    let dir = folder();
    let file = dir.path().join("file");
    fs::write(&file, "no directory").expect("a file");
    for place in [file.join("data"), PathBuf::from("/proc/punctual")] {
        let error = refused(&journaled(1, &place));
        assert!(error.is_usage(), "{error}");
        let message = error.to_string();
        assert!(message.contains(&place.display().to_string()), "{message}");
        assert!(message.contains("durability.dir"), "{message}");
    }
}

#[test]
fn an_engine_whose_journal_cannot_be_written_dies_and_says_where() {
    let dir = folder();
    let mut config = journaled(1, dir.path());
    // What is in flight to the dead shard holds up the stop for so long.
    config.process.request_timeout = Duration::from_millis(10);
    config.process.deadline = Duration::from_millis(100);
    let (engine, client) = start(&config);
    let gone = fs::rename(dir.path().join("shard-0"), dir.path().join("elsewhere"));
    gone.expect("a directory in use can be moved");
    // The file at hand can still be written; it is the next one that cannot be had.
    let value = vec![1; 128 << 10];
    support::until("the loss is noticed", || {
        if let Ok(pending) = client.submit(client.transaction().put(KEY, &value)) {
            let _ = support::end_of(&pending);
        }
        !engine.is_alive()
    });
    let error = engine.stop().expect_err("a core died");
    assert!(matches!(error, EngineError::Died { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("journal") && message.contains("shard-0"), "{message}");
}

fn count(context: &mut ProcedureContext<'_>, _args: &[u8]) -> Verdict {
    context.add(Key::Word(KEY), 1);
    Verdict::Commit
}

#[test]
fn a_journal_with_calls_is_gone_on_from_by_whoever_has_the_procedures() {
    let dir = folder();
    let config = journaled(1, dir.path());
    let start = || {
        let mut procedures = Procedures::new();
        procedures.register(3, "count", count).expect("the id is free");
        let engine = Engine::embedded(config.clone(), Transport::Ring).procedures(procedures);
        engine.start().expect("a start")
    };
    let (engine, client) = start();
    for _ in 0..5 {
        support::commit(&client, client.transaction().call(3, "any key", b""));
    }
    engine.stop().expect("an orderly stop");
    let error = refused(&config);
    assert!(error.is_usage() && error.to_string().contains("procedure 3"), "{error}");
    let (engine, client) = start();
    assert_eq!(support::get(&client, KEY), Some(5));
    engine.stop().expect("an orderly stop");
}

/// When a transaction committed.
fn commit_of(result: &TransactionResult) -> Nanos {
    let Outcome::Committed { at } = result.outcome else { panic!("{result:?}") };
    at
}

#[test]
fn a_clock_behind_the_journals_is_set_forward_and_said_so() {
    let dir = folder();
    let mut config = journaled(2, dir.path());
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    config.cluster.clock = ClockSource::Realtime;
    let mut latest = Nanos::ZERO;
    for sum in 1..=3 {
        let (engine, client) = start(&config);
        let mut warnings = engine.info().warnings.iter();
        let warning = warnings.find(|text| text.contains("behind the journal of shard"));
        assert_eq!(warning.is_some(), sum > 1, "{:?}", engine.info().warnings);
        let result = add_to_all(&client, &keys);
        assert_eq!(numbers(&result), [Some(sum), Some(sum)]);
        assert!(commit_of(&result) > latest, "commits of a shard strictly increase");
        latest = commit_of(&result);
        engine.stop().expect("an orderly stop");
        // Decades behind, as a clock that counts from the start of the machine.
        config.cluster.clock = ClockSource::Monotonic;
    }
}

#[test]
fn a_retry_after_a_restart_is_answered_from_what_was_written_down() {
    let dir = folder();
    let config = journaled(1, dir.path());
    let (first, second) = (TxnSequence::new(0, 1), TxnSequence::new(0, 2));
    let add = Op::Add { key: Key::Word(KEY), delta: 1 };
    let connect = |served: &Engine| {
        let hello = raw::hello(0, 5, config.cluster.hash());
        Peer::welcomed(&served.info().endpoints[0].1, &hello)
    };
    let served = support::serve(&config);
    let mut peer = connect(&served);
    let run = peer.incarnation();
    peer.dispatch(first, add);
    let answer = peer.answer();
    assert_eq!((answer.status, answer.numbers[0]), (ReplyStatus::Committed, Some(1)));
    thread::scope(|scope| {
        // It hangs up because it is told to: that is no end of its session.
        scope.spawn(move || assert_eq!(peer.goodbye(), Some(CloseReason::Stopping)));
        served.stop().expect("the shard stops");
    });

    let served = support::serve(&config);
    let mut peer = connect(&served);
    assert_eq!(peer.incarnation(), run, "the same run of the shard goes on");
    peer.dispatch(first, add);
    assert_eq!(peer.answer(), answer, "the same outcome, commit timestamp and all");
    peer.dispatch(second, add);
    let next = peer.answer();
    assert_eq!(next.numbers, [Some(2)], "the retry did not run again");
    assert!(next.commit > answer.commit);
    drop(peer);
    let counters = served.counters().clone();
    served.stop().expect("the shard stops");
    assert_eq!(counters.sum("shard0", Counter::Repeated), 1);
    assert_eq!(counters.sum("shard0", Counter::Committed), 1);
}

/// Adds one to both keys again and again: each time has to commit.
fn keep_adding(client: &Client, keys: &[u64], commits: &AtomicI64, enough: &AtomicBool) {
    let start = Instant::now();
    while !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
        add_to_all(client, keys);
        commits.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_shard_that_comes_back_with_its_journal_is_missed_and_nothing_more() {
    const THREADS: usize = 4;
    let dir = folder();
    let socket = |shard| Address::Unix(dir.path().join(format!("{shard}.sock")));
    let config = support::at(&journaled(2, dir.path()), vec![socket(0), socket(1)]);
    let serve = |shard: u16| {
        let mut config = config.clone();
        config.process.serve = Some(vec![shard]);
        Engine::serve(config).start_shards().expect("the shard is served")
    };
    let (first, second) = (serve(0), serve(1));
    let (engine, client) = Engine::connect(config.clone()).start().expect("workers start");
    assert!(engine.info().journals.is_empty(), "workers keep none");
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    let (commits, enough) = (AtomicI64::new(0), AtomicBool::new(false));
    let many_more = |what| {
        let before = commits.load(Ordering::Relaxed);
        support::until(what, || commits.load(Ordering::Relaxed) > before + 20);
    };
    let second = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| keep_adding(&client, &keys, &commits, &enough));
        }
        many_more("transactions commit");
        second.stop().expect("the shard stops");
        let second = serve(1);
        many_more("transactions commit again");
        enough.store(true, Ordering::Relaxed);
        second
    });
    let commits = commits.load(Ordering::Relaxed);
    assert_eq!(keys.map(|key| support::get(&client, key)), [Some(commits); 2]);
    let counters = engine.counters().clone();
    engine.stop().expect("the workers stop");
    first.stop().expect("the shard stops");
    second.stop().expect("the shard stops");
    assert_eq!(counters.sum("worker", Counter::Unknown), 0);
    assert_eq!(counters.sum("worker", Counter::CommitMismatch), 0);
}

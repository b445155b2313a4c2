//! Shards in processes that are killed at any moment, again and again: nothing that was
//! acknowledged is lost, nothing runs twice, and nothing runs on one of its shards only.
//!
//! When a process is killed, and for how long it is away, is up to the dice: those are the only
//! pauses here, and no verdict depends on them. A seed repeats the dice, though not the moments.

use crate::bank::{Bank, Commits, Findings, SHARDS, Work};
use crate::journaled::{Dice, Journaled, PATIENCE, expect_killed};
use crate::proxy::Proxy;
use crate::support::{Running, folder, run, text};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

/// A transfer is given up after this: shorter than the longest time that a shard is away.
const DEADLINE: Duration = Duration::from_secs(1);
/// The longest that a shard is away.
const AWAY: Duration = Duration::from_millis(1500);
/// Enough for a recovery to begin, and for some to end.
const RECOVERING: Duration = Duration::from_millis(60);
/// Most transfers that commit between two strikes.
const PEACE: u64 = 300;
/// Kills of a short run: the four ways to strike kill so often, one after the other.
const SHORT: u64 = 6;
const LONG: u64 = 50;

/// Both shards in processes of their own, any of which may be dead.
struct Cluster<'a> {
    journaled: &'a Journaled,
    running: Vec<Option<Running>>,
    kills: u64,
    strikes: u64,
}

impl<'a> Cluster<'a> {
    fn serve(journaled: &'a Journaled) -> Self {
        let running = (0..SHARDS).map(|shard| Some(journaled.serve(shard))).collect();
        Self { journaled, running, kills: 0, strikes: 0 }
    }

    fn kill(&mut self, shard: u16) {
        expect_killed(self.running[usize::from(shard)].take().expect("it runs"));
        self.kills += 1;
    }

    /// Starts a shard again, without waiting for its recovery.
    fn start(&mut self, shard: u16) {
        self.running[usize::from(shard)] = Some(self.journaled.start(shard));
    }

    /// Waits for the end of its recovery.
    fn wait_for(&mut self, shard: u16) {
        let running = self.running[usize::from(shard)].as_mut();
        running.expect("it runs").wait_for_line("ready");
    }

    /// Kills in one of four ways, in turns; afterwards both serve again.
    fn strike(&mut self, dice: &mut Dice) {
        let shard = u16::from(dice.below(2) == 1);
        let other = 1 - shard;
        match self.strikes % 4 {
            // Again, while it recovers.
            0 => {
                self.kill(shard);
                self.start(shard);
                pause(dice, RECOVERING);
                self.kill(shard);
                self.start(shard);
            }
            // Both, almost at once; the second to die is the first to come back.
            1 => {
                self.kill(shard);
                pause(dice, RECOVERING);
                self.kill(other);
                self.start(other);
                self.start(shard);
                self.wait_for(other);
            }
            // It is away for so long that transfers may be given up.
            2 => {
                self.kill(shard);
                pause(dice, AWAY);
                self.start(shard);
            }
            // It is back at once.
            _ => {
                self.kill(shard);
                self.start(shard);
            }
        }
        self.wait_for(shard);
        self.strikes += 1;
    }

    /// Ends all in order; none has anything to complain about.
    fn stop(self) {
        for running in self.running.into_iter().flatten() {
            running.terminate().expect_code(0);
        }
    }
}

/// The only pauses of these tests.
fn pause(dice: &mut Dice, longest: Duration) {
    let micros = u64::try_from(longest.as_micros()).expect("a short time");
    thread::sleep(Duration::from_micros(dice.below(micros)));
}

/// A whole number in the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} = {text:?} is no whole number")))
}

/// Dice of a seed that is said: the one given, or any.
fn dice(what: &str) -> Dice {
    let seed = setting("PUNCTUAL_CRASH_SEED").unwrap_or_else(|| RandomState::new().hash_one(what));
    say(&format!("{what}: PUNCTUAL_CRASH_SEED={seed}"));
    Dice::new(seed)
}

#[expect(clippy::print_stdout, reason = "who looks for a rare failure wants to see what happened")]
fn say(line: &str) {
    println!("{line}");
}

/// Whether the journal of a shard has a snapshot.
fn has_snapshot(journaled: &Journaled, shard: u16) -> bool {
    let files = fs::read_dir(journaled.journal(shard)).expect("the journal is there");
    let mut names = files.map(|file| file.expect("a readable entry").file_name());
    names.any(|name| name.to_string_lossy().starts_with("snapshot-"))
}

/// Waits until recoveries begin with snapshots.
fn wait_for_snapshots(journaled: &Journaled, commits: &Commits) {
    let start = Instant::now();
    while !(0..SHARDS).all(|shard| has_snapshot(journaled, shard)) {
        assert!(start.elapsed() < PATIENCE, "no snapshots were made");
        commits.wait_for(100);
    }
}

/// Kills both, and looks for every transfer in what they recover from their journals alone.
fn conclude(mut cluster: Cluster<'_>, bank: &Bank, work: &Work) -> Findings {
    for shard in 0..SHARDS {
        cluster.kill(shard);
    }
    for shard in 0..SHARDS {
        cluster.start(shard);
        cluster.wait_for(shard);
    }
    let journaled = cluster.journaled;
    let (engine, client) = journaled.connect(DEADLINE);
    let findings = bank.check(&client, work);
    engine.stop().expect("the workers stop");
    let (kills, strikes) = (cluster.kills, cluster.strikes);
    say(&format!("{kills} kills in {strikes} strikes and at the end: {findings}"));
    cluster.stop();
    for shard in 0..SHARDS {
        run(&["journal", "check", text(&journaled.journal(shard))]).expect_code(0);
    }
    findings
}

/// Lets the bank work while shards are killed so often, and checks its books.
fn survive(mode: &str, kills: u64) {
    let mut dice = dice(mode);
    let dir = folder();
    // Small, so that much of what a journal does happens often.
    let sizes = "segment_bytes = \"1 MiB\"\nsnapshot_after = \"128 KiB\"";
    let durability = format!("mode = \"{mode}\"\nwithin = \"50ms\"\n{sizes}");
    let data = dir.path().join("data");
    let journaled = Journaled::new(dir.path(), "bank", &data, SHARDS, &durability);
    let mut cluster = Cluster::serve(&journaled);
    let (engine, client) = journaled.connect(DEADLINE);
    let bank = Bank::new(&client, mode == "journal-async");
    let work = bank.work(&client, &mut dice, |dice, commits| {
        wait_for_snapshots(&journaled, commits);
        while cluster.kills < kills {
            commits.wait_for(dice.below(PEACE));
            cluster.strike(dice);
        }
        commits.wait_for(PEACE);
    });
    engine.stop().expect("the workers stop");
    let findings = conclude(cluster, &bank, &work);
    assert!(findings.committed > PEACE && findings.audits > 0, "{findings}");
}

#[test]
fn shards_killed_a_few_times_lose_no_transfer_and_run_none_twice() {
    survive("journal", SHORT);
}

#[test]
fn shards_that_answer_before_all_is_durable_keep_every_transfer_between_them() {
    survive("journal-async", SHORT);
}

#[test]
#[ignore = "takes minutes; perf/scripts/crash.sh runs it"]
fn shards_killed_again_and_again_lose_no_transfer_and_run_none_twice() {
    survive("journal", setting("PUNCTUAL_CRASH_KILLS").unwrap_or(LONG));
}

#[test]
#[ignore = "takes minutes; perf/scripts/crash.sh runs it"]
fn shards_that_answer_before_all_is_durable_keep_them_again_and_again() {
    survive("journal-async", setting("PUNCTUAL_CRASH_KILLS").unwrap_or(LONG));
}

#[test]
fn links_to_the_coordinator_that_break_lose_no_transfer_and_run_none_twice() {
    const CUTS: usize = 30;
    let mut dice = dice("links");
    let dir = folder();
    let data = dir.path().join("data");
    let durability = "mode = \"journal\"\nsegment_bytes = \"4 MiB\"";
    let journaled = Journaled::new(dir.path(), "bank", &data, SHARDS, durability);
    let cluster = Cluster::serve(&journaled);
    let way = |shard: u16| dir.path().join(format!("proxy-{shard}.sock"));
    let proxy = |shard| Proxy::start(&way(shard), &journaled.socket(shard));
    let proxies: Vec<Proxy> = (0..SHARDS).map(proxy).collect();
    let ways = (0..SHARDS).map(way).collect();
    let (engine, client) = journaled.connect_through(Some(ways), DEADLINE);
    let bank = Bank::new(&client, false);
    let mut cut = 0;
    let work = bank.work(&client, &mut dice, |dice, commits| {
        for _ in 0..CUTS {
            commits.wait_for(1 + dice.below(PEACE / 3));
            // One of the shards, or both.
            let which = 1 + dice.below(3);
            let chosen = proxies.iter().enumerate().filter(|(at, _)| (which >> at) & 1 == 1);
            cut += chosen.map(|(_, proxy)| proxy.cut()).sum::<usize>();
        }
        commits.wait_for(PEACE);
    });
    engine.stop().expect("the workers stop");
    assert!(cut > 0, "no link was cut");
    let findings = conclude(cluster, &bank, &work);
    assert!(findings.committed > PEACE && findings.audits > 0, "{findings}");
}

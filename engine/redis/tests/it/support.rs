//! What all tests need: bridges, lines of tasks, and waiting.

use crate::player::{Player, size};
use crate::server::{Server, Talk};
use punctual_redis::{Polling, RedisBridge, RedisBridgeConfig, WorkLimits};
use std::time::{Duration, Instant};

/// Nothing that works takes this long, not even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often workers say that they live.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// A bridge that looks for work often, so that no test depends on news.
pub(crate) fn config(server: &Server, name: &str) -> RedisBridgeConfig {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(20));
    RedisBridgeConfig {
        polling: Polling::Adaptive { min, max },
        limits: WorkLimits { report_interval: INTERVAL, ..WorkLimits::default() },
        ..RedisBridgeConfig::new(server.address(), name)
    }
}

pub(crate) fn start(config: RedisBridgeConfig) -> RedisBridge {
    RedisBridge::start(config).expect("the bridge starts")
}

pub(crate) fn bridge(server: &Server, name: &str) -> RedisBridge {
    start(config(server, name))
}

/// A bridge, and its worker at work: it runs these commands, until the test ends them.
pub(crate) fn at_work(server: &Server, commands: &[&str]) -> (RedisBridge, Player) {
    let tasks: Vec<String> = commands.iter().map(|command| line(command)).collect();
    server.talk().load(&tasks);
    let bridge = bridge(server, "node1");
    let slots = u32::try_from(tasks.len()).expect("a few");
    let mut player = Player::by_hand(&bridge, size(slots, 0));
    player.until_running(tasks.len());
    (bridge, player)
}

/// A bridge that looks only once by itself: after that, only news make it.
pub(crate) fn lazy(server: &Server, name: &str) -> RedisBridgeConfig {
    let hour = Duration::from_secs(3600);
    let polling = Polling::Adaptive { min: hour, max: hour };
    RedisBridgeConfig { polling, ..config(server, name) }
}

/// Waits until a worker has its name, and somebody listens for news.
pub(crate) fn until_lazy(player: &mut Player, talk: &mut Talk) {
    player.until("it has its name", |player| player.name() != "worker");
    player.until("somebody listens", |_| {
        let listeners: (String, i64) = talk.call(&["PUBSUB", "NUMSUB", "punctual:todo"]);
        listeners.1 >= 1
    });
}

/// The line of a task that runs this.
pub(crate) fn line(command: &str) -> String {
    format!("shell:1:0:1:{command}")
}

/// Lines of so many tasks, which run their numbers.
pub(crate) fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| line(&format!("run {number}"))).collect()
}

/// Waits for something that nobody announces.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Says that the machine cannot run a test; where everything is required, that is a failure.
#[expect(clippy::print_stdout, reason = "a skipped test has to say so")]
pub(crate) fn skip(why: &str) {
    let required = std::env::var("PUNCTUAL_REQUIRE").as_deref() == Ok("1");
    assert!(!required, "PUNCTUAL_REQUIRE=1, but: {why}");
    println!("skipped: {why}");
}

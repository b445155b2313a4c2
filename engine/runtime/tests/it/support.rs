//! What all tests need: a configuration for two busy cores, short transactions, and bounded waits.

use punctual_link::Endpoint;
use punctual_runtime::config::{Address, Backend};
use punctual_runtime::{
    Client, ClientError, Completion, Config, Driver, Engine, IdleStrategy, Key, LinkEvent, Nanos,
    Pending, ShardId, Submitter, Transaction, TransactionResult,
};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Nothing that works takes this long, not even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration for tests: nobody spins, and no transaction is given up because the machine is
/// busy.
pub(crate) fn config(shards: u16) -> Config {
    let mut config = Config::embedded(shards);
    config.process.backend = Backend::Threads;
    config.process.idle = IdleStrategy::Backoff;
    config.process.overprovisioned = Some(true);
    config.process.deadline = PATIENCE;
    config.cluster.dispatch_timeout = PATIENCE;
    config.cluster.max_hold = PATIENCE;
    config
}

/// The same configuration, served at ports that the system chooses.
pub(crate) fn on_any_port(config: &Config) -> Config {
    let any = Address::Tcp("127.0.0.1:0".to_owned());
    at(config, vec![any; usize::from(config.cluster.shards)])
}

/// The same configuration with these addresses.
pub(crate) fn at(config: &Config, addresses: Vec<Address>) -> Config {
    let mut config = config.clone();
    config.cluster.addresses = addresses;
    config
}

/// Where an engine really serves its shards.
pub(crate) fn addresses_of(served: &Engine) -> Vec<Address> {
    let address = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp(at) => Address::Tcp(at.to_string()),
        Endpoint::Unix(path) => Address::Unix(path.clone()),
    };
    served.info().endpoints.iter().map(|(_, endpoint)| address(endpoint)).collect()
}

/// Serves all shards at ports that the system chooses.
pub(crate) fn serve(config: &Config) -> Engine {
    Engine::serve(on_any_port(config)).start_shards().expect("shards are served")
}

/// Connects to the shards that an engine serves.
pub(crate) fn connect(config: &Config, served: &Engine) -> (Engine, Client) {
    let config = at(config, addresses_of(served));
    Engine::connect(config).start().expect("workers start")
}

/// The smallest key that lives on this shard.
pub(crate) fn key_on(shard: u16, shards: u16) -> u64 {
    keys_on(shard, shards).next().expect("every shard has keys")
}

/// All keys that live on this shard, from the smallest.
pub(crate) fn keys_on(shard: u16, shards: u16) -> impl Iterator<Item = u64> {
    let here = move |word: &u64| punctual_wire::shard_of(Key::Word(*word), shards) == shard;
    (0..u64::MAX).filter(here)
}

/// How a transaction ended; that it ends is part of every test.
pub(crate) fn end_of(pending: &Pending) -> Result<TransactionResult, ClientError> {
    let end = pending.wait_timeout(PATIENCE);
    assert_ne!(end, Err(ClientError::WaitTimeout), "a transaction never ended");
    end
}

/// Runs a transaction that has to commit.
pub(crate) fn commit(client: &Client, transaction: &mut Transaction) -> TransactionResult {
    let pending = client.submit(transaction).expect("the transaction is taken");
    let result = end_of(&pending).expect("the transaction has an outcome");
    assert!(result.is_committed(), "{result:?}");
    result
}

/// Adds to a number; the sum.
pub(crate) fn add(client: &Client, key: u64, delta: i64) -> i64 {
    let mut transaction = client.transaction();
    transaction.add(key, delta);
    commit(client, &mut transaction).number(0).expect("an addition yields the sum")
}

/// Reads a number, if it is there.
pub(crate) fn get(client: &Client, key: u64) -> Option<i64> {
    let mut transaction = client.transaction();
    transaction.get(key);
    commit(client, &mut transaction).number(0)
}

/// Submits one addition; waits while the queue is full.
pub(crate) fn submit_add(client: &Client, key: u64) -> Result<Pending, ClientError> {
    submit_adds(client, &[key])
}

/// Submits the addition of one to each of these keys; waits while the queue is full.
pub(crate) fn submit_adds(client: &Client, keys: &[u64]) -> Result<Pending, ClientError> {
    let mut transaction = client.transaction();
    for key in keys {
        transaction.add(*key, 1);
    }
    submit(client, &mut transaction)
}

/// Submits a transaction; waits while the queue is full.
pub(crate) fn submit(
    client: &Client,
    transaction: &mut Transaction,
) -> Result<Pending, ClientError> {
    let start = Instant::now();
    loop {
        match client.submit(transaction) {
            Err(ClientError::QueueFull) => {
                assert!(start.elapsed() < PATIENCE, "the queue stays full");
                std::thread::yield_now();
            }
            taken => return taken,
        }
    }
}

/// Waits for something that nobody announces, such as the value of a counter.
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

/// A driver that submits nothing and reports what happens to its links.
pub(crate) struct Watcher {
    events: mpsc::Sender<(ShardId, LinkEvent)>,
    stopping: bool,
}

impl Watcher {
    pub(crate) fn new() -> (Self, mpsc::Receiver<(ShardId, LinkEvent)>) {
        let (events, reported) = mpsc::channel();
        (Self { events, stopping: false }, reported)
    }
}

impl Driver for Watcher {
    fn drive(&mut self, _now: Nanos, _submitter: &mut Submitter<'_>) -> usize {
        0
    }

    fn complete(&mut self, _now: Nanos, completion: Completion<'_>) {
        unreachable!("nothing was submitted, yet this ended: {completion:?}");
    }

    fn is_finished(&self) -> bool {
        self.stopping
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn link_changed(&mut self, shard: ShardId, link: LinkEvent) {
        // A test that has seen enough does not listen any more.
        let _ = self.events.send((shard, link));
    }
}

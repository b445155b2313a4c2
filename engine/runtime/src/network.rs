//! The thread that delays messages, where a network is emulated.
//!
//! It is no agent: it has no deadline of a transaction to meet, and whoever shared a core with it
//! would be measured with its timers. It sleeps until shortly before something is due and spins for
//! the rest. How much later than it should each batch left is recorded, because a figure that was
//! measured on an emulated network is worth no more than the network.

use crate::alarm::Alarm;
use crate::config::{Member, NetworkConfig, NetworkWait};
use crate::counters::{Counter, CounterBlock};
use crate::engine::EngineError;
use hdrhistogram::Histogram;
use punctual_link::{
    CoreWaker, Emulator, EmulatorCounts, EmulatorHandle, Link, LinkError, NetworkPath, Parker,
    monotonic_ns,
};
use punctual_wire::Limits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// So long before something is due the thread is awake, at least and at most: a little more than
/// the latest of the recent wake-ups was late. That is some 10 us on bare metal, and 100 us or more
/// on a virtual machine whose core has gone to sleep.
const SPIN_MIN: Duration = Duration::from_micros(50);
const SPIN_MAX: Duration = Duration::from_millis(1);
/// One wake-up in so many is forgotten.
const SPIN_MEMORY: u32 = 200;
/// The longest sleep, so that a lost wake-up would cost a moment and not the program.
const PARK_MAX: Duration = Duration::from_millis(100);
/// Whatever is published while nothing is due for less than this might make something late.
const PUBLISH_ROOM: Duration = Duration::from_millis(1);
/// Percentiles are published so often, where there is room; they take a walk through the histogram,
/// some ten microseconds.
const PUBLISH_INTERVAL_NS: u64 = 500_000_000;
/// Under load something is always due soon: after this they are published all the same.
const PUBLISH_LATEST_NS: u64 = 1_000_000_000;
/// What is under way when everybody has stopped is waited for so long at most.
const STOP_PATIENCE_NS: u64 = 10_000_000_000;
/// The largest error that is told from larger ones.
const ERROR_MAX_NS: u64 = 10_000_000_000;
/// Significant digits of errors.
const ERROR_DIGITS: u8 = 3;

/// A network that is emulated, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// The name of its topology.
    pub name: String,
    /// The largest mean delay in one direction.
    pub one_way: Duration,
    /// The longest delay in one direction, jitter included. What is lost, or waits for a line that
    /// is not free, takes longer.
    pub one_way_max: Duration,
    /// The core of its thread; `None`: wherever the kernel likes.
    pub core: Option<usize>,
    /// How that thread waits.
    pub wait: NetworkWait,
    /// The seed of its delays.
    pub seed: u64,
}

/// What an emulated network has done, and how exactly.
#[derive(Debug, Clone)]
pub struct NetworkReport {
    /// Which one it is.
    pub info: NetworkInfo,
    /// How many nanoseconds later than it should each batch of frames left. Those whose receiver
    /// had no room are left out.
    pub added_error_ns: Histogram<u64>,
    /// Batches that were delayed.
    pub batches: u64,
    /// Bytes that were delayed.
    pub bytes: u64,
    /// Packets that were lost, and arrived later.
    pub packets_lost: u64,
}

/// What the thread tells others.
struct Shared {
    errors: Mutex<Histogram<u64>>,
    counts: Mutex<EmulatorCounts>,
    stop: AtomicBool,
    block: Arc<CounterBlock>,
}

/// Whoever panicked while it held a lock left sound numbers behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An emulated network whose thread does not run yet.
pub(crate) struct Network {
    config: NetworkConfig,
    emulator: Emulator,
}

impl Network {
    /// The network of a configuration, if it has one; its thread may use these cores.
    pub(crate) fn new(
        config: Option<&NetworkConfig>,
        allowed: &[usize],
    ) -> Result<Option<Self>, EngineError> {
        let Some(config) = config else { return Ok(None) };
        if let Some(core) = config.core.filter(|core| !allowed.contains(core)) {
            return Err(EngineError::NetworkCore { core, allowed: allowed.to_vec() });
        }
        Ok(Some(Self { config: config.clone(), emulator: Emulator::new(monotonic_ns) }))
    }

    /// The core that its thread is to have.
    pub(crate) fn core(&self) -> Option<usize> {
        self.config.core
    }

    pub(crate) fn info(&self) -> NetworkInfo {
        let NetworkConfig { topology, core, wait, seed } = &self.config;
        NetworkInfo {
            name: topology.name().to_owned(),
            one_way: topology.one_way(),
            one_way_max: topology.longest(),
            core: *core,
            wait: *wait,
            seed: *seed,
        }
    }

    /// What lies between an agent and each shard.
    pub(crate) fn agent(&self, own: Member, shards: u16) -> AgentNetwork {
        let path = |shard| self.config.topology.path(own, Member::Shard(shard));
        AgentNetwork {
            handle: self.emulator.handle(),
            paths: (0..shards).map(path).collect(),
            seed: xxh3_64_with_seed(format!("{own:?}").as_bytes(), self.config.seed),
            opened: 0,
        }
    }

    /// Starts the thread.
    pub(crate) fn start(mut self) -> Result<NetworkThread, EngineError> {
        let info = self.info();
        let failed = |why: String| EngineError::Spawn { name: "network".to_owned(), why };
        let io_failed = |error: std::io::Error| failed(error.to_string());
        let errors = Histogram::new_with_max(ERROR_MAX_NS, ERROR_DIGITS)
            .map_err(|error| failed(error.to_string()))?;
        let parker = Parker::new().map_err(io_failed)?;
        let alarm = Alarm::new(parker.handle()).map_err(io_failed)?;
        let waker = Arc::clone(parker.handle().waker());
        if info.wait != NetworkWait::Spin {
            self.emulator.set_park(parker.handle());
        }
        let shared = Arc::new(Shared {
            errors: Mutex::new(errors),
            counts: Mutex::default(),
            stop: AtomicBool::new(false),
            block: CounterBlock::new("network".to_owned()),
        });
        let (wait, core) = (info.wait, info.core);
        let delayer = Delayer {
            emulator: self.emulator,
            parker,
            alarm,
            wait,
            shared: Arc::clone(&shared),
            published_ns: 0,
            spin: SPIN_MIN,
        };
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn(move || {
            if let Some(core) = core
                && !crate::host::pin_current(core)
            {
                tracing::warn!(core, "the thread of the emulated network could not be pinned");
            }
            delayer.run();
        });
        let thread = Some(thread.map_err(io_failed)?);
        Ok(NetworkThread { info, shared, waker, thread })
    }
}

/// What lies between one agent and the shards.
pub(crate) struct AgentNetwork {
    handle: EmulatorHandle,
    /// By shard; `None` where nothing is in the way.
    paths: Vec<Option<NetworkPath>>,
    seed: u64,
    /// Links that were opened so far: each has other random numbers.
    opened: u64,
}

impl AgentNetwork {
    /// Puts the network into a link to a shard, if there is any between.
    pub(crate) fn carry(
        &mut self,
        shard: usize,
        limits: Limits,
        link: Box<dyn Link>,
    ) -> Result<Box<dyn Link>, LinkError> {
        let Some(path) = self.paths.get(shard).copied().flatten() else { return Ok(link) };
        let seed = xxh3_64_with_seed(&(shard as u64).to_le_bytes(), self.seed ^ self.opened);
        self.opened += 1;
        let emulated = self.handle.emulate(link, limits, &path, seed)?;
        Ok(Box::new(emulated))
    }
}

/// The running thread.
pub(crate) struct NetworkThread {
    info: NetworkInfo,
    shared: Arc<Shared>,
    waker: Arc<CoreWaker>,
    thread: Option<JoinHandle<()>>,
}

impl NetworkThread {
    pub(crate) fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.shared.block)
    }

    pub(crate) fn report(&self) -> NetworkReport {
        let EmulatorCounts { batches, bytes, packets_lost, .. } = *locked(&self.shared.counts);
        let added_error_ns = locked(&self.shared.errors).clone();
        NetworkReport { info: self.info.clone(), added_error_ns, batches, bytes, packets_lost }
    }

    /// Whether it ended without having been told to.
    pub(crate) fn has_died(&self) -> bool {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        ended && !self.shared.stop.load(Ordering::Acquire)
    }

    /// Lets it end when everything has arrived. Whoever still has a link keeps it for a while.
    fn tell(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits until everything has arrived. To be called when all agents have stopped.
    pub(crate) fn stop(mut self) -> Result<(), EngineError> {
        self.tell();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| EngineError::Died {
            name: "network".to_owned(),
            why: "it panicked; its last words are above".to_owned(),
        })
    }
}

impl Drop for NetworkThread {
    fn drop(&mut self) {
        self.tell();
    }
}

/// What runs on the thread.
struct Delayer {
    emulator: Emulator,
    parker: Parker,
    alarm: Alarm,
    wait: NetworkWait,
    shared: Arc<Shared>,
    published_ns: u64,
    /// How long before something is due the thread is awake.
    spin: Duration,
}

impl Delayer {
    fn run(mut self) {
        let mut told_ns = None;
        loop {
            let work = turn(&mut self.emulator, &self.shared);
            if self.shared.stop.load(Ordering::Acquire) {
                let now_ns = monotonic_ns();
                let told_ns = *told_ns.get_or_insert(now_ns);
                if self.emulator.is_idle() || now_ns - told_ns > STOP_PATIENCE_NS {
                    break;
                }
            }
            if work == 0 {
                self.idle();
            }
        }
        self.publish(monotonic_ns());
    }

    /// Waits for what is due next, or for somebody to send something.
    fn idle(&mut self) {
        let now_ns = monotonic_ns();
        let left = |due_ns: u64| Duration::from_nanos(due_ns.saturating_sub(now_ns));
        let left = self.emulator.next_due_ns().map(left);
        let has_room = left.is_none_or(|left| left > PUBLISH_ROOM);
        let interval_ns = if has_room { PUBLISH_INTERVAL_NS } else { PUBLISH_LATEST_NS };
        if now_ns.saturating_sub(self.published_ns) >= interval_ns {
            self.publish(now_ns);
            // That took a while: what is left has to be asked again.
            return;
        }
        let sleep = match (self.wait, left) {
            (NetworkWait::Spin, _) => None,
            (_, None) => Some(PARK_MAX),
            (NetworkWait::Hybrid, Some(left)) => {
                left.checked_sub(self.spin).filter(|sleep| *sleep > Duration::ZERO)
            }
            (NetworkWait::Sleep, Some(left)) => Some(left),
        };
        match sleep {
            None => std::hint::spin_loop(),
            Some(sleep) => self.sleep(sleep),
        }
    }

    fn sleep(&mut self, sleep: Duration) {
        if sleep < PARK_MAX && self.alarm.set(sleep).is_err() {
            // Without a timer a sleep might end too late.
            std::thread::yield_now();
            return;
        }
        let began = Instant::now();
        let Self { emulator, parker, shared, .. } = self;
        let look_again = || {
            let stopping = shared.stop.load(Ordering::Acquire) && emulator.is_idle();
            turn(emulator, shared) + usize::from(stopping)
        };
        if parker.park(Some(PARK_MAX), look_again).is_err() {
            std::thread::yield_now();
        }
        if sleep < PARK_MAX {
            self.note_wake_up(began.elapsed().checked_sub(sleep));
        }
    }

    /// Learns from a wake-up that was so late; `None`: something else came before the timer.
    fn note_wake_up(&mut self, late: Option<Duration>) {
        let Some(late) = late else { return };
        let faded = self.spin - self.spin / SPIN_MEMORY;
        self.spin = (late + late / 2).max(faded).clamp(SPIN_MIN, SPIN_MAX);
    }

    fn publish(&mut self, now_ns: u64) {
        self.published_ns = now_ns;
        let block = &self.shared.block;
        let errors = locked(&self.shared.errors);
        block.set(Counter::NetworkErrorP50Ns, errors.value_at_quantile(0.5));
        block.set(Counter::NetworkErrorP99Ns, errors.value_at_quantile(0.99));
        block.set(Counter::NetworkErrorMaxNs, errors.max());
        drop(errors);
        note_counts(&self.emulator, &self.shared);
    }
}

/// One look at all links. Returns how much was done.
fn turn(emulator: &mut Emulator, shared: &Shared) -> usize {
    let mut delivered = false;
    let work = emulator.turn(&mut |late_ns| {
        delivered = true;
        // Nobody else holds it but for a moment, when a report is made.
        locked(&shared.errors).saturating_record(late_ns);
    });
    if delivered {
        note_counts(emulator, shared);
    }
    work
}

fn note_counts(emulator: &Emulator, shared: &Shared) {
    let counts = emulator.counts();
    *locked(&shared.counts) = counts;
    let block = &shared.block;
    block.set(Counter::NetworkLinks, counts.links as u64);
    block.set(Counter::NetworkBatches, counts.batches);
    block.set(Counter::NetworkBytes, counts.bytes);
    block.set(Counter::NetworkLost, counts.packets_lost);
}

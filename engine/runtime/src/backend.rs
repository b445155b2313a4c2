//! Threads for cores: glommio executors, or plain threads where `io_uring` is not to be had.

use crate::config::Backend;
use crate::core_loop::CoreLoop;
use crate::engine::EngineError;
use glommio::{BuilderErrorKind, GlommioError, LocalExecutorBuilder, Placement};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Memory that an executor registers for disk I/O. No core does any: journals have threads of their
/// own.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// Memory that must be lockable for a ring.
pub(crate) const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// A running core.
#[derive(Debug)]
pub(crate) struct CoreThread {
    name: String,
    handle: CoreHandle,
    /// A message when the loop starts and one when it ends in order.
    alive: flume::Receiver<()>,
    /// Whether the thread keeps to its core; set before the loop starts.
    pinned: Arc<AtomicBool>,
}

enum CoreHandle {
    Thread(JoinHandle<()>),
    Glommio(glommio::ExecutorJoinHandle<()>),
}

impl std::fmt::Debug for CoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Thread(_) => "Thread",
            Self::Glommio(_) => "Glommio",
        })
    }
}

/// The backend to use: what was asked for, or what works. The text says why it is not glommio.
pub(crate) fn choose(wanted: Backend) -> Result<(Backend, Option<String>), EngineError> {
    if wanted == Backend::Threads {
        return Ok((Backend::Threads, None));
    }
    match (try_glommio(), wanted) {
        (Ok(()), _) => Ok((Backend::Glommio, None)),
        (Err(why), Backend::Glommio) => Err(EngineError::Glommio { why }),
        (Err(why), _) => Ok((
            Backend::Threads,
            Some(format!("plain threads are used because glommio cannot start: {why}")),
        )),
    }
}

/// Starts an executor for a moment: its errors show only when it is joined.
pub(crate) fn try_glommio() -> Result<(), String> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    if let Some(bytes) = limit.filter(|bytes| *bytes < MEMLOCK_BYTES_MIN) {
        return Err(format!(
            "only {bytes} bytes of memory may be locked (ulimit -l); raise the limit to {} KiB",
            MEMLOCK_BYTES_MIN / 1024
        ));
    }
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10).ring_depth(8);
    // Seccomp filters and old kernels make the executor panic instead of returning an error.
    let outcome = executor.spawn(|| async {}).map_err(|error| error.to_string());
    let joined = outcome.and_then(|handle| handle.join().map_err(|error| error.to_string()));
    joined.map_err(|error| format!("{error}; allow io_uring or set backend = \"threads\""))
}

/// Starts a core's loop on a thread of its own, pinned if `core` says where.
pub(crate) fn spawn(
    backend: Backend,
    name: String,
    core: Option<usize>,
    mut core_loop: CoreLoop,
) -> Result<CoreThread, EngineError> {
    let failed = |name: &str, why: String| EngineError::Spawn { name: name.to_owned(), why };
    let (tell_alive, alive) = flume::bounded(2);
    // A glommio executor that cannot be pinned does not start.
    let pinned = Arc::new(AtomicBool::new(core.is_some()));
    let handle = match backend {
        Backend::Glommio => {
            let placement = core.map_or(Placement::Unbound, Placement::Fixed);
            let executor =
                LocalExecutorBuilder::new(placement).name(&name).io_memory(IO_MEMORY_BYTES);
            // The loop is the executor's only task and has nobody to yield to. See decision 0004
            // for what happens to an executor that yields all the same.
            let spawned = executor.spawn(move || async move {
                core_loop.start(tell_alive);
                while core_loop.turn() {}
            });
            CoreHandle::Glommio(spawned.map_err(|error| failed(&name, error.to_string()))?)
        }
        Backend::Threads | Backend::Auto => {
            let still_pinned = Arc::clone(&pinned);
            let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
                if let Some(id) = core
                    && !crate::host::pin_current(id)
                {
                    still_pinned.store(false, Ordering::Relaxed);
                    tracing::warn!(core = id, "the thread could not be pinned");
                }
                core_loop.start(tell_alive);
                while core_loop.turn() {}
            });
            CoreHandle::Thread(spawned.map_err(|error| failed(&name, error.to_string()))?)
        }
    };
    Ok(CoreThread { name, handle, alive, pinned })
}

impl CoreThread {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the loop runs. False if it never will.
    pub(crate) fn wait_started(&self) -> bool {
        self.alive.recv().is_ok()
    }

    /// Whether it keeps to its core. Ask when it has started.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    /// Whether the loop ended otherwise than in order.
    pub(crate) fn has_died(&self) -> bool {
        // In this sequence: the word of an orderly end is there before its sender goes.
        self.alive.is_disconnected() && self.alive.is_empty()
    }

    /// Waits until all agents of the core have finished.
    pub(crate) fn join(self) -> Result<(), EngineError> {
        let outcome = match self.handle {
            CoreHandle::Thread(handle) => handle.join().map_err(|panic| message_of(&*panic)),
            CoreHandle::Glommio(handle) => handle.join().map_err(|error| match error {
                // Its own text says only that there was a panic.
                GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(panic)) => {
                    message_of(&*panic)
                }
                error => error.to_string(),
            }),
        };
        outcome.map_err(|why| EngineError::Died { name: self.name, why })
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Agent;
    use crate::clock::Clock;
    use crate::config::{ClockSource, IdleStrategy};
    use crate::core_loop::IdlePlan;
    use crate::counters::CounterBlock;
    use punctual_core::Nanos;
    use punctual_link::{ParkHandle, Parker};
    use std::sync::Arc;

    /// Panics at its start, in its first turn, or never: then it has nothing to do.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Dies {
        AtStart,
        AtWork,
        Never,
    }

    impl Agent for Dies {
        fn start(&mut self, _park: Option<&ParkHandle>) {
            assert!(*self != Self::AtStart, "no start");
        }

        fn do_work(&mut self, _now: Nanos) -> usize {
            assert!(*self != Self::AtWork, "no work");
            0
        }

        fn next_deadline(&self) -> Option<Nanos> {
            None
        }

        fn is_finished(&self) -> bool {
            true
        }

        fn publish(&mut self) {}

        fn counters(&self) -> Arc<CounterBlock> {
            CounterBlock::new("agent".to_owned())
        }
    }

    fn spawned(agent: Dies) -> CoreThread {
        let parker = Parker::new().expect("a place to sleep");
        let idle = IdlePlan { strategy: IdleStrategy::Yield, overprovisioned: true };
        let block = CounterBlock::new("core".to_owned());
        let clock = Clock::new(ClockSource::Monotonic);
        let core_loop = CoreLoop::new(vec![Box::new(agent)], clock, parker, idle, block);
        spawn(Backend::Threads, "core".to_owned(), None, core_loop).expect("a thread")
    }

    /// Waits until the thread is gone without taking its end.
    fn is_gone(core: &CoreThread) -> bool {
        while !core.alive.is_disconnected() {
            std::thread::yield_now();
        }
        core.has_died()
    }

    #[test]
    fn a_core_that_dies_at_its_start_is_not_waited_for() {
        let core = spawned(Dies::AtStart);
        assert!(!core.wait_started());
        let error = core.join().expect_err("it died");
        assert!(error.to_string().contains("no start"), "{error}");
    }

    #[test]
    fn a_core_that_dies_at_work_is_told_from_one_that_is_finished() {
        for (agent, dies) in [(Dies::AtWork, true), (Dies::Never, false)] {
            let core = spawned(agent);
            assert!(core.wait_started());
            assert_eq!(is_gone(&core), dies);
            assert_eq!(core.join().is_err(), dies);
        }
    }
}

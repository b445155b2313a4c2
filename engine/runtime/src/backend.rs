//! Threads for cores: glommio executors, or plain threads where `io_uring` is not to be had.

use crate::config::Backend;
use crate::core_loop::CoreLoop;
use crate::engine::EngineError;
use glommio::{LocalExecutorBuilder, Placement};
use std::thread::JoinHandle;

/// Memory that an executor registers for disk I/O. Nothing does any yet.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// Memory that must be lockable for a ring.
pub(crate) const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// A running core.
#[derive(Debug)]
pub(crate) struct CoreThread {
    name: String,
    handle: CoreHandle,
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
fn try_glommio() -> Result<(), String> {
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
    let handle = match backend {
        Backend::Glommio => {
            let placement = core.map_or(Placement::Unbound, Placement::Fixed);
            let executor =
                LocalExecutorBuilder::new(placement).name(&name).io_memory(IO_MEMORY_BYTES);
            // The loop is the executor's only task and has nobody to yield to. See decision 0004
            // for what happens to an executor that yields all the same.
            let spawned = executor.spawn(move || async move {
                core_loop.start();
                while core_loop.turn() {}
            });
            CoreHandle::Glommio(spawned.map_err(|error| failed(&name, error.to_string()))?)
        }
        Backend::Threads | Backend::Auto => {
            let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
                if let Some(id) = core
                    && !crate::host::pin_current(id)
                {
                    tracing::warn!(core = id, "the thread could not be pinned");
                }
                core_loop.start();
                while core_loop.turn() {}
            });
            CoreHandle::Thread(spawned.map_err(|error| failed(&name, error.to_string()))?)
        }
    };
    Ok(CoreThread { name, handle })
}

impl CoreThread {
    /// Waits until all agents of the core have finished.
    pub(crate) fn join(self) -> Result<(), EngineError> {
        let outcome = match self.handle {
            CoreHandle::Thread(handle) => handle.join().map_err(|panic| message_of(&*panic)),
            CoreHandle::Glommio(handle) => handle.join().map_err(|error| error.to_string()),
        };
        outcome.map_err(|why| EngineError::Died { name: self.name, why })
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

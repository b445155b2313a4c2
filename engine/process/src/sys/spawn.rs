//! How a process is started.
//!
//! `posix_spawn` is the quickest way of the C library: a child that shares the parent's memory
//! instead of copying it, with a stack of its own, while the parent stands still until the child
//! runs its program. But it knows no parent-death signal, gives no pidfd (a number alone may be
//! somebody else's by the time it is used), and in many versions no session. What would be needed
//! between the start and the program cannot be put in. So this is the same technique by the system
//! call that is behind it.
//!
//! In the child nothing may be called but what is safe in a signal handler, and nothing may be
//! allocated: another thread of the parent may hold any lock. So everything is prepared before.

use super::signals::{self, AllBlocked};
use crate::strings::CStrings;
use libc::{c_char, c_int, c_void};
use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, Signal};
use rustix::thread::CpuSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Stack of the child until it runs its program. It needs a small part of it.
const STACK_BYTES: usize = 64 << 10;
/// Share memory, stop the parent until the program runs, give a pidfd, and tell the end as usual.
const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
/// Code of a child that could not run its program. Nobody sees it.
const FAILED: c_int = 127;
/// The first descriptor that is not one of the standard ones.
const FIRST_FD: libc::c_uint = 3;
/// It is looked which signals have handlers at every so many starts: a look takes as many calls of
/// the system as there are signals.
const LOOK_EVERY: u32 = 64;

/// A program to try, in this order of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) paths: CStrings,
    pub(crate) arguments: CStrings,
}

/// What to start, and how.
#[derive(Debug)]
pub(crate) struct Orders<'a> {
    /// The first of these that can be run is run.
    pub(crate) steps: &'a [Step],
    pub(crate) environment: &'a CStrings,
    /// Where to run; `None` is here.
    pub(crate) directory: Option<&'a CStr>,
    /// Standard input, output and error; none of them may be one of the three themselves.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// Kill it when the thread ends that started it.
    pub(crate) dies_with_parent: bool,
    /// Limit of open files, if it is not to be that of this process.
    pub(crate) files: Option<Rlimit>,
    /// Cores that it may use, if not those of this thread.
    pub(crate) cores: Option<&'a CpuSet>,
}

/// A process that was started. It leads a session and a process group with its own number.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    /// Readable when the process has ended.
    pub(crate) pidfd: OwnedFd,
}

/// How far a start came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Stage {
    /// There is no process.
    Process = 1,
    /// Its session, or its standard files.
    Prepare = 2,
    /// Its directory.
    Directory = 3,
    /// None of the programs could be run.
    Program = 4,
}

/// A process was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpawnError {
    pub(crate) stage: Stage,
    pub(crate) errno: Errno,
}

/// What the child needs to know, and what it has to say.
struct Job<'a> {
    steps: &'a [StepPointers],
    environment: *const *const c_char,
    directory: Option<&'a CStr>,
    stdio: [RawFd; 3],
    handled: u64,
    dies_with_parent: bool,
    parent: Pid,
    files: Option<Rlimit>,
    cores: Option<&'a CpuSet>,
    /// A [`Stage`]; 0 while nothing is wrong.
    stage: AtomicI32,
    errno: AtomicI32,
}

/// A [`Step`] as `execve` wants it; both end with a null pointer.
struct StepPointers {
    paths: Vec<*const c_char>,
    arguments: Vec<*const c_char>,
}

/// Starts processes, one at a time.
pub(crate) struct Spawner {
    /// Of the child under way, if any.
    stack: Box<[u128]>,
    /// Signals that have handlers, one a bit.
    handled: u64,
    /// Starts since that was looked up.
    starts: u32,
}

impl Spawner {
    pub(crate) fn new() -> Self {
        let stack = vec![0_u128; STACK_BYTES / size_of::<u128>()].into_boxed_slice();
        Self { stack, handled: 0, starts: 0 }
    }

    /// Looks anew which signals have handlers, before the next start.
    pub(crate) fn look_again(&mut self) {
        self.starts = 0;
    }

    /// Starts a process, and returns when it runs its program.
    pub(crate) fn spawn(&mut self, orders: &Orders<'_>) -> Result<Child, SpawnError> {
        debug_assert!(orders.stdio.iter().all(|fd| fd.as_raw_fd() > 2), "not a standard file");
        if self.starts == 0 {
            self.handled = signals::handled();
        }
        self.starts = (self.starts + 1) % LOOK_EVERY;
        let pointers = |step: &Step| StepPointers {
            paths: step.paths.pointers(),
            arguments: step.arguments.pointers(),
        };
        let steps: Vec<StepPointers> = orders.steps.iter().map(pointers).collect();
        let environment = orders.environment.pointers();
        let job = Job {
            steps: &steps,
            environment: environment.as_ptr(),
            directory: orders.directory,
            stdio: orders.stdio.map(|fd| fd.as_raw_fd()),
            handled: self.handled,
            dies_with_parent: orders.dies_with_parent,
            parent: rustix::process::getpid(),
            files: orders.files,
            cores: orders.cores,
            stage: AtomicI32::new(0),
            errno: AtomicI32::new(0),
        };
        let child = self.clone_child(&job)?;
        match job.failure() {
            None => Ok(child),
            Some(error) => {
                // It is about to end, if it has not already.
                let _ = super::wait_and_reap(child.pidfd.as_fd());
                Err(error)
            }
        }
    }

    fn clone_child(&mut self, job: &Job<'_>) -> Result<Child, SpawnError> {
        let mut pidfd: RawFd = -1;
        // Stacks grow downwards.
        let top = self.stack.as_mut_ptr_range().end;
        let argument = std::ptr::from_ref(job).cast_mut();
        // A handler would run on the small stack, or in the child on the parent's memory.
        let blocked = AllBlocked::new(job.handled);
        // SAFETY: the child runs `child_main` on a stack that nobody else uses: it is ours alone,
        // aligned to 16 bytes, and the borrow of `self` lasts until the parent goes on, which is
        // when the child has left the stack and the memory for good (`CLONE_VFORK`). Until then
        // `job`, all that it points to, and `pidfd` live. The child keeps to calls that are safe
        // between `vfork` and `execve`, and never returns from its function.
        let pid =
            unsafe { libc::clone(child_main, top.cast(), FLAGS, argument.cast(), &raw mut pidfd) };
        // Before anything else is called that might change it.
        let started = if pid > 0 { Pid::from_raw(pid) } else { None };
        let started = started.ok_or_else(last_errno);
        drop(blocked);
        let pid = started.map_err(|errno| SpawnError { stage: Stage::Process, errno })?;
        if pidfd < 0 {
            // Kernels before 5.2 do not know the flag. The child is killed and left to its fate.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            return Err(SpawnError { stage: Stage::Process, errno: Errno::NOSYS });
        }
        // SAFETY: the kernel has just opened it for this process, and nobody else knows of it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Child { pid, pidfd })
    }
}

impl Job<'_> {
    /// What the child said before it ended, if it did not come to run a program.
    fn failure(&self) -> Option<SpawnError> {
        let stage = match self.stage.load(Ordering::SeqCst) {
            0 => return None,
            2 => Stage::Prepare,
            3 => Stage::Directory,
            _ => Stage::Program,
        };
        let errno = Errno::from_raw_os_error(self.errno.load(Ordering::SeqCst));
        Some(SpawnError { stage, errno })
    }
}

/// The child, from its first moment to its program.
extern "C" fn child_main(job: *mut c_void) -> c_int {
    // SAFETY: it is the job that `clone_child` passes, which lives as long as the parent stands
    // still. Nobody changes it but this function, and that through atomics.
    let job = unsafe { &*job.cast::<Job<'_>>() };
    let failure = match prepare(job) {
        Ok(()) => execute(job),
        Err(failure) => failure,
    };
    job.errno.store(failure.errno.raw_os_error(), Ordering::SeqCst);
    job.stage.store(failure.stage as i32, Ordering::SeqCst);
    // SAFETY: it ends this process at once, and runs nothing that the parent has registered.
    unsafe { libc::_exit(FAILED) }
}

/// Everything between the start and the program.
fn prepare(job: &Job<'_>) -> Result<(), SpawnError> {
    let failed = |errno| SpawnError { stage: Stage::Prepare, errno };
    signals::reset(job.handled);
    rustix::process::setsid().map_err(failed)?;
    if job.dies_with_parent {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
        // The parent may have died before that: then nobody will send the signal any more.
        if rustix::process::getppid() != Some(job.parent) {
            return Err(failed(Errno::SRCH));
        }
    }
    // Neither is worth a failure: a core that is gone is no core, and less files are files.
    if let Some(cores) = job.cores {
        let _ = rustix::thread::sched_setaffinity(None, cores);
    }
    if let Some(files) = job.files {
        let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, files);
    }
    for (target, source) in (0..).zip(job.stdio) {
        // SAFETY: it changes this process's table of descriptors alone, which is a copy.
        if unsafe { libc::dup2(source, target) } < 0 {
            return Err(failed(last_errno()));
        }
    }
    if let Some(directory) = job.directory {
        let failed = |errno| SpawnError { stage: Stage::Directory, errno };
        rustix::process::chdir(directory).map_err(failed)?;
    }
    // What this program opens is closed by `execve`; a library that it uses may not be so careful.
    // Kernels before 5.9 cannot do it in one call, and do without.
    // SAFETY: as above. What is behind the descriptors stays open in the parent.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_FD, libc::c_uint::MAX, 0_u32) };
    // Even if this thread blocks some: a task that blocks SIGTERM by inheritance cannot be stopped.
    signals::set_mask(0);
    Ok(())
}

/// Runs the first program that can be run; comes back if none can.
fn execute(job: &Job<'_>) -> SpawnError {
    let mut errno = Errno::NOENT;
    for step in job.steps {
        errno = Errno::NOENT;
        for path in step.paths.iter().take_while(|path| !path.is_null()) {
            // SAFETY: path, arguments and environment are C strings that the parent keeps alive,
            // and both lists end with a null pointer.
            unsafe { libc::execve(*path, step.arguments.as_ptr(), job.environment) };
            // What is there and cannot be run says more than a place where there is nothing.
            let this = last_errno();
            if this != Errno::NOENT {
                errno = this;
            }
        }
    }
    SpawnError { stage: Stage::Program, errno }
}

/// Why the last call of the C library failed.
fn last_errno() -> Errno {
    Errno::from_raw_os_error(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

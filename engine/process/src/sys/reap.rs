//! The end of a child: how it ended and what it used.

use libc::{CLD_EXITED, P_PIDFD, SYS_waitid, WEXITED, WNOHANG, c_int, c_long};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// A process that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    /// Processor time of it and of all descendants that were waited for.
    pub(crate) cpu: Duration,
    /// The most memory of the largest of these processes, in bytes; or what this process had when
    /// it was started, if that was more (see [`own_memory_peak`]).
    pub(crate) memory_peak: u64,
}

/// Takes the end of a child if it has ended.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    wait(pidfd, WEXITED | WNOHANG)
}

/// Waits for the end of a child. For one that has ended, or is just about to.
pub(crate) fn wait_and_reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    wait(pidfd, WEXITED)
}

/// `waitid` as the kernel has it: with the resources, which the C library's leaves out.
fn wait(pidfd: BorrowedFd<'_>, options: c_int) -> io::Result<Option<Ended>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: the descriptor is open, and both structs live through the call, have the kernel's
        // layout and room for what it writes.
        let result = unsafe {
            libc::syscall(
                SYS_waitid,
                c_long::from(P_PIDFD),
                c_long::from(pidfd.as_raw_fd()),
                info.as_mut_ptr(),
                c_long::from(options),
                used.as_mut_ptr(),
            )
        };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: all zeros is a valid value of both, and the kernel wrote valid ones over it.
    let (info, used) = unsafe { (info.assume_init(), used.assume_init()) };
    // SAFETY: of `waitid` these two fields are always the ones that count, or zero.
    let (pid, code) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let status =
        if info.si_code == CLD_EXITED { Status::Exited(code) } else { Status::Signaled(code) };
    let cpu = duration(used.ru_utime) + duration(used.ru_stime);
    Ok(Some(Ended { status, cpu, memory_peak: kibibytes(used.ru_maxrss) }))
}

/// The most memory that this process has had so far, in bytes.
///
/// The kernel counts the memory that a child shares with its parent until it runs its program as
/// the child's. So a child's peak says something only if it is higher than this.
pub(crate) fn own_memory_peak() -> u64 {
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the struct lives through the call, and all zeros is a valid value of it.
    let used = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, used.as_mut_ptr());
        used.assume_init()
    };
    kibibytes(used.ru_maxrss)
}

fn kibibytes(count: libc::c_long) -> u64 {
    u64::try_from(count).unwrap_or(0) << 10
}

fn duration(time: libc::timeval) -> Duration {
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
}

//! The end of a child: how it ended and what it used.

use libc::{CLD_EXITED, P_ALL, P_PID, P_PIDFD, SYS_waitid, WEXITED, WNOHANG, WNOWAIT};
use libc::{c_int, c_long, idtype_t};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// it was started, if that was more (see [`is_above_own_peak`]).
    pub(crate) memory_peak: u64,
}

/// Takes the end of a child if it has ended.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    let found = wait(P_PIDFD, pidfd.as_raw_fd(), WEXITED | WNOHANG)?;
    Ok(found.map(|(_, ended)| ended))
}

/// Waits for the end of a child. For one that has ended, or is just about to.
pub(crate) fn wait_and_reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    let found = wait(P_PIDFD, pidfd.as_raw_fd(), WEXITED)?;
    Ok(found.map(|(_, ended)| ended))
}

/// Reaps children that have ended, one after the other, as long as the next one is an orphan that
/// this process was given. Returns how many.
pub(crate) fn reap_orphans(is_orphan: impl Fn(i32) -> bool) -> usize {
    let mut reaped = 0;
    while let Ok(Some((pid, _))) = wait(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
        && is_orphan(pid)
        && wait(P_PID, pid, WEXITED | WNOHANG).is_ok()
    {
        reaped += 1;
    }
    reaped
}

/// `waitid` as the kernel has it: with the resources, which the C library's leaves out. Says which
/// child it is as well.
fn wait(kind: idtype_t, id: c_int, options: c_int) -> io::Result<Option<(i32, Ended)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both structs live through the call, have the kernel's layout and room for what it
        // writes.
        let result = unsafe {
            libc::syscall(
                SYS_waitid,
                c_long::from(kind),
                c_long::from(id),
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
    Ok(Some((pid, Ended { status, cpu, memory_peak: kibibytes(used.ru_maxrss) })))
}

/// Whether a child's peak of memory is above the highest that this process has had so far.
///
/// The kernel counts the memory that a child shares with its parent until it runs its program as
/// the child's. So its peak says something only if it is higher.
pub(crate) fn is_above_own_peak(peak: u64) -> bool {
    /// It never falls, so an earlier one that is high enough saves a look at the present one.
    static SEEN: AtomicU64 = AtomicU64::new(0);
    if peak <= SEEN.load(Ordering::Relaxed) {
        return false;
    }
    let own = own_memory_peak();
    // Two looks may differ a little either way: the kernel does not count to the page.
    let highest = SEEN.fetch_max(own, Ordering::Relaxed).max(own);
    peak > highest
}

/// The most memory that this process has had so far, in bytes.
fn own_memory_peak() -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    /// Only a test that fails takes so long.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn only_children_that_nobody_waits_for_are_reaped() {
        let mut child = Command::new("true").spawn().expect("a process");
        let is_it = |pid: i32| u32::try_from(pid) == Ok(child.id());
        let until = Instant::now() + PATIENCE;
        let asked = std::cell::Cell::new(false);
        while !asked.get() {
            assert!(Instant::now() < until, "it does not end");
            let is_orphan = |pid| {
                asked.set(asked.get() || is_it(pid));
                false
            };
            assert_eq!(reap_orphans(is_orphan), 0);
            std::thread::yield_now();
        }
        assert_eq!(reap_orphans(is_it), 1, "it was left as it was");
        child.wait().expect_err("it is gone");
    }

    #[test]
    fn what_a_child_shares_with_this_process_is_no_peak_of_its_own() {
        assert!(!is_above_own_peak(1));
        assert!(is_above_own_peak(u64::MAX));
        assert!(!is_above_own_peak(1), "nor is it later");
    }
}

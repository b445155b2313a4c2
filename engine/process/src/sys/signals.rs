//! Signal masks and handlers around the start of a process.
//!
//! By bare system calls: those of the C library leave out the two signals that it uses itself, and
//! a handler of one of those must not run in a child that still shares the parent's memory either.

use libc::{SIG_DFL, SIG_IGN, SIG_SETMASK, SIGCHLD, SIGPIPE, SYS_rt_sigaction, SYS_rt_sigprocmask};
use libc::{c_int, c_long};
use std::ptr;

/// Signals are numbered from 1 to this one.
const SIGNAL_MAX: c_int = 64;
/// The kernel's set of signals is one word of 64 bits.
const SET_BYTES: usize = size_of::<u64>();
/// Words of the kernel's `struct sigaction`: handler, flags, restorer, mask. Zeros are the default
/// action.
const ACTION_WORDS: usize = 4;

/// No signal runs a handler on this thread until this is dropped.
pub(super) struct AllBlocked {
    before: u64,
}

impl AllBlocked {
    /// `handled` are the signals, one a bit, that this process [handles](handled).
    ///
    /// The signal that a child has ended is let through where nobody handles it, for then it is
    /// nothing: the kernel drops it at once. While the thread that has made the child blocks it,
    /// the kernel keeps it, and wakes another thread of the process for it, whose read with a
    /// timeout then fails as interrupted: with short tasks that happened many times a second.
    pub(super) fn new(handled: u64) -> Self {
        Self { before: set_mask(!(bit(SIGCHLD) & !handled)) }
    }
}

/// The bit of a signal in a set.
const fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        set_mask(self.before);
    }
}

/// Blocks these signals, one a bit, and no others. Returns which were blocked before.
pub(super) fn set_mask(mask: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: both sets live through the call and have the size that it is told.
    unsafe {
        libc::syscall(
            SYS_rt_sigprocmask,
            c_long::from(SIG_SETMASK),
            &raw const mask,
            &raw mut before,
            SET_BYTES,
        )
    };
    before
}

/// The signals, one a bit, that a child gives the default action: those that this process handles.
/// A signal that is ignored stays ignored, as under `nohup`; but not the one for broken pipes,
/// which is ignored in every program in Rust and expected by everybody else.
pub(super) fn handled() -> u64 {
    let mut handled = 0;
    for signal in 1..=SIGNAL_MAX {
        let number = c_long::from(signal);
        let mut action = [0_usize; ACTION_WORDS];
        let none = ptr::null::<usize>();
        // SAFETY: without a new action this only reads; there is room for what the kernel writes.
        unsafe { libc::syscall(SYS_rt_sigaction, number, none, action.as_mut_ptr(), SET_BYTES) };
        let handler = action[0];
        if handler != SIG_DFL && (handler != SIG_IGN || signal == SIGPIPE) {
            handled |= 1_u64 << (signal - 1);
        }
    }
    handled
}

/// Gives these signals, one a bit, the default action.
///
/// `execve` does the same with handlers. This is for the moment before it, when signals are
/// delivered already and memory is still the parent's.
pub(super) fn reset(signals: u64) {
    let mut left = signals;
    while left != 0 {
        let number = c_long::from(left.trailing_zeros() + 1);
        left &= left - 1;
        let default = [0_usize; ACTION_WORDS];
        let none = ptr::null_mut::<usize>();
        // SAFETY: the new action is whole, and is the default one, which runs no code of ours.
        unsafe { libc::syscall(SYS_rt_sigaction, number, default.as_ptr(), none, SET_BYTES) };
    }
}

/// Ignores these signals in the whole process, from now on.
pub(crate) fn ignore_signals(signals: &[rustix::process::Signal]) {
    for signal in signals {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { libc::signal(signal.as_raw(), SIG_IGN) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_child_is_let_through_unless_somebody_handles_it() {
        for (handled, lets_through) in [(0, true), (bit(SIGCHLD), false), (bit(SIGPIPE), true)] {
            let blocked = AllBlocked::new(handled);
            let mask = set_mask(u64::MAX);
            set_mask(mask);
            drop(blocked);
            assert_eq!(mask & bit(SIGCHLD) == 0, lets_through, "{handled:x}");
            assert!(mask & bit(libc::SIGTERM) != 0 && mask & bit(libc::SIGINT) != 0);
        }
    }

    #[test]
    fn broken_pipes_are_among_what_a_child_gives_the_default_action() {
        let handled = handled();
        let has = |signal: c_int| handled & (1 << (signal - 1)) != 0;
        assert!(has(SIGPIPE), "as in every program in Rust");
        // Nobody can handle these, and nobody does handle that.
        assert!(!has(libc::SIGKILL) && !has(libc::SIGSTOP) && !has(libc::SIGUSR2));
    }
}

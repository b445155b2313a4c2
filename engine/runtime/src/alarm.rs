//! A timer that ends a core's sleep in time.
//!
//! The timeout of a poll counts in whole milliseconds and is rounded up, which is long against the
//! microseconds that a transaction is held. A timer of the kernel is exact and wakes the poll like
//! a socket.

use mio::unix::SourceFd;
use punctual_link::ParkHandle;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// One timer, watched by the poll of one core.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: OwnedFd,
}

impl Alarm {
    /// A timer that is not set.
    pub(crate) fn new(park: &ParkHandle) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        park.register_readable(&mut SourceFd(&timer.as_raw_fd()))?;
        Ok(Self { timer })
    }

    /// Rings after `left`; a setting before is forgotten. Nobody reads the timer: each ring is an
    /// event of its own to a poll that is triggered by edges.
    pub(crate) fn set(&self, left: Duration) -> io::Result<()> {
        // A value of zero would switch it off.
        let left = left.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(left).map_err(io::Error::other)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_link::Parker;
    use std::time::Instant;

    /// Only a test that fails sleeps so long.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn every_ring_ends_a_sleep_and_none_does_before_its_time() {
        let mut parker = Parker::new().expect("a place to sleep");
        let alarm = Alarm::new(parker.handle()).expect("a timer");
        for left in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(2)] {
            let start = Instant::now();
            alarm.set(left).expect("a time that fits");
            assert!(parker.park(Some(PATIENCE), || 0).expect("a sleep"));
            let slept = start.elapsed();
            assert!(slept >= left && slept < PATIENCE, "{slept:?} for {left:?}");
        }
    }
}

//! How much memory is free and how many cores are busy, looked at now and then.
//!
//! The files stay open and are read from the start each time, which is the cheapest that there is.

use crate::cgroup::Cgroup;
use crate::machine::{meminfo, read_text};
use punctual_core::Nanos;
use punctual_core::task::Usage;
use rustix::thread::CpuSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// How often an idle worker looks, at most.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// Nothing is looked at more often than this.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// To look through all processes may take one part in so many of the time.
const SCAN_SHARE: u32 = 100;
/// Enough for the lines of `/proc/meminfo` that count.
const MEMINFO_BYTES: usize = 1 << 10;
/// Enough for the first line of `/proc/stat`, and for one line of each core.
const STAT_BYTES: usize = 512;
const STAT_BYTES_ALL: usize = 128 << 10;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Looks at the machine when it is time to.
#[derive(Debug)]
pub(crate) struct Sampler {
    interval: Duration,
    due: Nanos,
    /// When the processes may be looked through again.
    scan_due: Nanos,
    meminfo: Option<File>,
    stat: Option<File>,
    cgroup: Cgroup,
    /// The cores that count, if not all.
    cores: Option<CpuSet>,
    /// When processor time was last looked at, and how much had been used then.
    before: Option<(Nanos, u64)>,
}

impl Sampler {
    /// For a worker whose tasks run on these cores.
    pub(crate) fn new(interval: Duration, cores: Option<CpuSet>) -> Self {
        let open = |path| File::open(path).ok();
        let stat = open("/proc/stat");
        let all = stat.as_ref().and_then(|stat| read_text(stat, STAT_BYTES_ALL));
        let online = all.map_or(0, |text| core_lines(&text).count());
        Self {
            interval: interval.max(INTERVAL_MIN),
            due: Nanos::ZERO,
            scan_due: Nanos::ZERO,
            meminfo: open("/proc/meminfo"),
            stat,
            cgroup: Cgroup::detect(Path::new("/")),
            cores: cores.filter(|cores| (cores.count() as usize) < online),
            before: None,
        }
    }

    /// When it is time to look.
    pub(crate) fn due(&self) -> Nanos {
        self.due
    }

    /// How often it looks while something runs.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Something runs from now on.
    pub(crate) fn wake(&mut self, now: Nanos) {
        self.due = self.due.min(now + Nanos::from(self.interval));
    }

    /// Looks, if it is time to.
    pub(crate) fn sample(&mut self, now: Nanos, is_idle: bool) -> Option<Usage> {
        if now < self.due {
            return None;
        }
        let interval = if is_idle { self.interval.max(IDLE_INTERVAL) } else { self.interval };
        self.due = now + Nanos::from(interval);
        Some(Usage { memory_free: self.memory_free(), cores_used_milli: self.cores_used(now) })
    }

    /// Whether all processes may be looked through.
    pub(crate) fn may_scan(&self, now: Nanos) -> bool {
        now >= self.scan_due
    }

    /// They were, and it took so long.
    pub(crate) fn scanned(&mut self, now: Nanos, took: Duration) {
        self.scan_due = now + Nanos::from(took.saturating_mul(SCAN_SHARE));
    }

    /// What the machine and its control groups have left. If neither tells, memory is no reason to
    /// refuse anything.
    fn memory_free(&self) -> u64 {
        let text = self.meminfo.as_ref().and_then(|file| read_text(file, MEMINFO_BYTES));
        let machine = text.and_then(|text| meminfo(&text, "MemAvailable"));
        let free = machine.into_iter().chain(self.cgroup.memory_free()).min();
        free.unwrap_or(u64::MAX)
    }

    /// Thousandths of a core that were busy on average since the last look.
    fn cores_used(&mut self, now: Nanos) -> u32 {
        let Some(used_ns) = self.cgroup.cpu_used_ns().or_else(|| self.machine_used_ns()) else {
            return 0;
        };
        let Some((then, before_ns)) = self.before.replace((now, used_ns)) else { return 0 };
        let elapsed_ns = now.since(then).as_nanos().max(1);
        let busy_ns = u128::from(used_ns.saturating_sub(before_ns));
        u32::try_from(busy_ns * 1_000 / elapsed_ns).unwrap_or(u32::MAX)
    }

    fn machine_used_ns(&self) -> Option<u64> {
        let bytes = if self.cores.is_some() { STAT_BYTES_ALL } else { STAT_BYTES };
        let text = read_text(self.stat.as_ref()?, bytes)?;
        let ticks = busy_ticks(&text, self.cores.as_ref())?;
        let tick_ns = NANOS_PER_SECOND / rustix::param::clock_ticks_per_second().max(1);
        ticks.checked_mul(tick_ns)
    }
}

/// The cores of `/proc/stat` with the rests of their lines.
fn core_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().filter_map(|line| {
        let (core, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
        Some((core.parse().ok()?, rest))
    })
}

/// Busy time of these cores, or of all.
fn busy_ticks(text: &str, cores: Option<&CpuSet>) -> Option<u64> {
    match cores {
        None => line_ticks(text.lines().next()?.strip_prefix("cpu ")?),
        Some(cores) => {
            let lines = core_lines(text).filter(|(core, _)| cores.is_set(*core));
            lines.map(|(_, line)| line_ticks(line)).sum()
        }
    }
}

/// All but the time that a core was idle or waited for a disk; guests are in the user's time.
fn line_ticks(line: &str) -> Option<u64> {
    let mut ticks = line.split_ascii_whitespace().map(|tick| tick.parse::<u64>().ok());
    let mut next = || ticks.next().flatten();
    let [user, nice, system] = [next()?, next()?, next()?];
    let [_idle, _disk] = [next()?, next()?];
    let [interrupts, soft, stolen] = [next()?, next()?, next()?];
    Some(user + nice + system + interrupts + soft + stolen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  10 1 5 1000 100 2 1 3 4 0\ncpu0 4 1 2 500 50 1 1 1 4 0\n\
                        cpu1 6 0 3 500 50 1 0 2 0 0\nintr 1 2 3\n";

    #[test]
    fn busy_time_leaves_out_idle_time_and_counts_the_cores_that_are_meant() {
        assert_eq!(busy_ticks(STAT, None), Some(22));
        let mut cores = CpuSet::new();
        cores.set(1);
        assert_eq!(busy_ticks(STAT, Some(&cores)), Some(12));
        cores.set(0);
        assert_eq!(busy_ticks(STAT, Some(&cores)), Some(22));
        assert_eq!(core_lines(STAT).map(|(core, _)| core).collect::<Vec<_>>(), [0, 1]);
        for text in ["", "cpu  1 2", "intr 1 2 3", "cpu  a b c d e f g h"] {
            assert_eq!(busy_ticks(text, None), None, "{text}");
        }
    }

    #[test]
    fn it_is_looked_as_often_as_wanted_and_less_when_idle() {
        let second = Nanos::from(Duration::from_secs(1));
        let mut sampler = Sampler::new(Duration::from_secs(1), None);
        let first = sampler.sample(Nanos(0), false).expect("the first time is at once");
        assert!(first.memory_free > 0);
        assert_eq!(first.cores_used_milli, 0, "there is nothing to compare with yet");
        assert!(sampler.sample(Nanos(second.0 - 1), false).is_none());
        assert!(sampler.sample(second, true).is_some());
        assert_eq!(sampler.due(), Nanos(6 * second.0));
        sampler.wake(Nanos(2 * second.0));
        assert_eq!(sampler.due(), Nanos(3 * second.0));
        sampler.wake(Nanos(9 * second.0));
        assert_eq!(sampler.due(), Nanos(3 * second.0), "never later");
    }

    #[test]
    fn a_look_through_all_processes_is_paid_for_by_not_doing_it_again() {
        let mut sampler = Sampler::new(Duration::from_secs(1), None);
        assert!(sampler.may_scan(Nanos(0)));
        sampler.scanned(Nanos(0), Duration::from_millis(5));
        assert!(!sampler.may_scan(Nanos(499_999_999)));
        assert!(sampler.may_scan(Nanos(500_000_000)));
    }
}

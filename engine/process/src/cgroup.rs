//! What the control groups of this process allow it: in a container, or under a batch system, that
//! is less than the machine has.
//!
//! Both versions are read, and every group from that of this process up to the root: the tightest
//! one counts.

use crate::machine::{field, number, read_text};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Version 1 says "no limit" by a number of about 2^63.
const UNLIMITED_MIN: u64 = 1 << 60;
/// Longest file that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The limits that there are.
#[derive(Debug, Default)]
pub(crate) struct Cgroup {
    memory: Vec<MemoryLimit>,
    cpu: Option<CpuLimit>,
}

/// A limited group. Its files are kept open: they are read again and again.
#[derive(Debug)]
struct MemoryLimit {
    limit: u64,
    used: File,
    stat: Option<File>,
    /// Name of the bytes of files that were not needed lately, which count as used but are given up
    /// at once.
    idle_key: &'static str,
}

/// The tightest limit of processor time.
#[derive(Debug)]
struct CpuLimit {
    cores_milli: u32,
    used: Option<CpuUse>,
}

/// Where a group's processor time is.
#[derive(Debug)]
enum CpuUse {
    /// Microseconds, as `usage_usec` of this file.
    Micros(File),
    /// Nanoseconds, all that is in it.
    Nanos(File),
}

impl Cgroup {
    /// The groups of this process, in the `proc` and `sys` below `root`.
    pub(crate) fn detect(root: &Path) -> Self {
        let mut found = Self::default();
        let text = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mount = root.join("sys/fs/cgroup");
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
            if controllers.is_empty() {
                let unified = mount.join("unified");
                let mount = if unified.is_dir() { unified } else { mount.clone() };
                found.add_unified(&levels(&mount, group));
            }
            for controller in controllers.split(',') {
                let levels = levels(&mount.join(controller), group);
                match controller {
                    "memory" => found.add_memory(&levels),
                    "cpu" => found.add_cpu(&levels),
                    _ => {}
                }
            }
        }
        found
    }

    /// The tightest limit of memory in bytes.
    pub(crate) fn memory_max(&self) -> Option<u64> {
        self.memory.iter().map(|group| group.limit).min()
    }

    /// What is left of the memory, in bytes.
    pub(crate) fn memory_free(&self) -> Option<u64> {
        self.memory.iter().filter_map(MemoryLimit::free).min()
    }

    /// The tightest limit of processor time, in thousandths of a core.
    pub(crate) fn cores_milli(&self) -> Option<u32> {
        self.cpu.as_ref().map(|limit| limit.cores_milli)
    }

    /// Nanoseconds of processor time that the group with the tightest limit has used.
    pub(crate) fn cpu_used_ns(&self) -> Option<u64> {
        match self.cpu.as_ref()?.used.as_ref()? {
            CpuUse::Micros(file) => {
                let text = read_text(file, TEXT_BYTES_MAX)?;
                field(&text, "usage_usec")?.checked_mul(1_000)
            }
            CpuUse::Nanos(file) => number(&read_text(file, TEXT_BYTES_MAX)?),
        }
    }

    /// Groups of version 2: one tree for everything.
    fn add_unified(&mut self, levels: &[PathBuf]) {
        for level in levels {
            let limit = text_of(level, "memory.max").and_then(|text| number(&text));
            self.limit_memory(level, limit, "memory.current", "inactive_file");
            if let Some(text) = text_of(level, "cpu.max") {
                let mut parts = text.split_ascii_whitespace().map(number);
                let quota = (parts.next().flatten(), parts.next().flatten());
                let used = || File::open(level.join("cpu.stat")).ok().map(CpuUse::Micros);
                self.limit_cpu(quota, used);
            }
        }
    }

    /// Groups of version 1.
    fn add_memory(&mut self, levels: &[PathBuf]) {
        for level in levels {
            let limit = text_of(level, "memory.limit_in_bytes").and_then(|text| number(&text));
            self.limit_memory(level, limit, "memory.usage_in_bytes", "total_inactive_file");
        }
    }

    /// Groups of version 1.
    fn add_cpu(&mut self, levels: &[PathBuf]) {
        for level in levels {
            let value = |name| text_of(level, name).and_then(|text| number(&text));
            let quota = (value("cpu.cfs_quota_us"), value("cpu.cfs_period_us"));
            let used = || File::open(level.join("cpuacct.usage")).ok().map(CpuUse::Nanos);
            self.limit_cpu(quota, used);
        }
    }

    fn limit_memory(
        &mut self,
        level: &Path,
        limit: Option<u64>,
        used: &str,
        idle_key: &'static str,
    ) {
        if let Some(limit) = limit.filter(|limit| *limit < UNLIMITED_MIN)
            && let Ok(used) = File::open(level.join(used))
        {
            let stat = File::open(level.join("memory.stat")).ok();
            self.memory.push(MemoryLimit { limit, used, stat, idle_key });
        }
    }

    /// Takes a quota of so many in so many microseconds, if it is one and tighter than that before.
    fn limit_cpu(
        &mut self,
        quota: (Option<u64>, Option<u64>),
        used: impl FnOnce() -> Option<CpuUse>,
    ) {
        let (Some(quota), Some(period @ 1..)) = quota else { return };
        let cores_milli = quota.saturating_mul(1_000) / period;
        let cores_milli = u32::try_from(cores_milli).unwrap_or(u32::MAX).max(1);
        if self.cores_milli().is_none_or(|before| cores_milli < before) {
            self.cpu = Some(CpuLimit { cores_milli, used: used() });
        }
    }
}

impl MemoryLimit {
    fn free(&self) -> Option<u64> {
        let used = number(&read_text(&self.used, TEXT_BYTES_MAX)?)?;
        let stat = self.stat.as_ref().and_then(|stat| read_text(stat, TEXT_BYTES_MAX));
        let idle = stat.and_then(|text| field(&text, self.idle_key)).unwrap_or(0);
        Some(self.limit.saturating_sub(used.saturating_sub(idle)))
    }
}

/// The directories of a group and of all above it. In a container the path may be one of the
/// outside; then the root of what can be seen is the group.
fn levels(mount: &Path, group: &str) -> Vec<PathBuf> {
    let group = group.trim_start_matches('/');
    let path = mount.join(group);
    if group.split('/').any(|part| part == "..") || !path.is_dir() {
        return vec![mount.to_owned()];
    }
    path.ancestors().take_while(|level| level.starts_with(mount)).map(Path::to_owned).collect()
}

fn text_of(level: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(level.join(file)).ok()
}

#[cfg(test)]
mod tests;

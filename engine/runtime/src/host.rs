//! What this machine offers a thread that must be on time, and what would help.
//!
//! [`HostReport::read`] only reads `/proc`, `/sys` and limits of the process; it never fails and
//! never changes anything. [`measure_jitter`] is the one measurement: how long a spinning thread is
//! kept from its core. [`advice`] turns a report into things to do.

mod advice;
mod cores;
mod jitter;

pub use advice::{Advice, MEMLOCK_BYTES_MIN, advice};
pub use cores::{allowed_cores, parse_core_list, pin_current, show_core_list};
pub use jitter::{Jitter, measure_jitter};

use serde::Serialize;
use std::path::Path;

/// The first kernel whose `io_uring` has everything that the glommio backend needs.
const IO_URING_KERNEL_MIN: (u32, u32) = (5, 8);

/// Facts about the machine. What a kernel does not tell is `None`, zero or empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostReport {
    /// Model name of the first processor; empty where `/proc/cpuinfo` has none.
    pub cpu_model: String,
    /// Cores that are switched on.
    pub cores_online: usize,
    /// Cores that this process may run on.
    pub cores_allowed: Vec<usize>,
    /// Cores that the scheduler leaves alone (`isolcpus`).
    pub isolated: Vec<usize>,
    /// Cores without a timer tick while they run one thread (`nohz_full`).
    pub nohz_full: Vec<usize>,
    /// NUMA nodes; 1 where the kernel knows none.
    pub numa_nodes: usize,
    /// Frequency governors of the allowed cores; usually one.
    pub governor: Option<String>,
    /// Release of the kernel.
    pub kernel: String,
    /// Whether this is a virtual machine.
    pub hypervisor: bool,
    /// How much memory the process may lock, in bytes; `None` means any amount.
    pub memlock_bytes: Option<u64>,
    /// Whether the kernel lets this process use `io_uring`.
    pub io_uring: IoUring,
    /// Reserved huge pages.
    pub huge_pages: u64,
    /// Mode of transparent huge pages: `always`, `madvise` or `never`.
    pub transparent_huge_pages: String,
    /// The clock that the kernel counts with.
    pub clocksource: String,
    /// Load average of the last minute.
    pub loadavg_1m: f64,
    /// Whether two threads share a core (SMT).
    pub smt: Option<bool>,
}

/// Whether `io_uring` can be used, as far as the kernel's version and switches tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum IoUring {
    /// Nothing speaks against it. A container's system call filter may still forbid it.
    Available,
    /// It cannot be used.
    Disabled {
        /// What forbids it.
        why: String,
    },
}

impl HostReport {
    /// Reads the facts. Call it before any thread is pinned: the allowed cores are those of the
    /// calling thread.
    #[must_use]
    pub fn read() -> Self {
        let memlock = rustix::process::getrlimit(rustix::process::Resource::Memlock);
        Self::read_from(Path::new("/"), allowed_cores(), memlock.current)
    }

    /// Reads the facts from the `proc` and `sys` of another root.
    fn read_from(root: &Path, cores_allowed: Vec<usize>, memlock_bytes: Option<u64>) -> Self {
        let files = Files { root };
        let cpuinfo = files.text("proc/cpuinfo").unwrap_or_default();
        let kernel = files.text("proc/sys/kernel/osrelease").unwrap_or_default();
        let io_uring =
            io_uring(&kernel, files.text("proc/sys/kernel/io_uring_disabled").as_deref());
        Self {
            cpu_model: cpuinfo_field(&cpuinfo, "model name").unwrap_or_default().to_owned(),
            cores_online: files.cores("sys/devices/system/cpu/online").len(),
            isolated: files.cores("sys/devices/system/cpu/isolated"),
            nohz_full: files.cores("sys/devices/system/cpu/nohz_full"),
            numa_nodes: files.cores("sys/devices/system/node/online").len().max(1),
            governor: files.governor(&cores_allowed),
            cores_allowed,
            hypervisor: cpuinfo_field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
                || files.text("sys/hypervisor/type").is_some(),
            memlock_bytes,
            io_uring,
            huge_pages: files
                .text("proc/sys/vm/nr_hugepages")
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
            transparent_huge_pages: files
                .text("sys/kernel/mm/transparent_hugepage/enabled")
                .map(|text| chosen(&text).to_owned())
                .unwrap_or_default(),
            clocksource: files
                .text("sys/devices/system/clocksource/clocksource0/current_clocksource")
                .unwrap_or_default(),
            loadavg_1m: files
                .text("proc/loadavg")
                .and_then(|text| text.split_whitespace().next()?.parse().ok())
                .unwrap_or_default(),
            smt: files.text("sys/devices/system/cpu/smt/active").map(|text| text == "1"),
            kernel,
        }
    }
}

/// Small files below a root; one that is missing, unreadable or empty is `None`.
struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn text(&self, file: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(file)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn cores(&self, file: &str) -> Vec<usize> {
        self.text(file).map(|text| parse_core_list(&text)).unwrap_or_default()
    }

    /// The different governors of these cores, joined.
    fn governor(&self, cores: &[usize]) -> Option<String> {
        let mut governors: Vec<String> = cores
            .iter()
            .filter_map(|core| {
                self.text(&format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
            })
            .collect();
        governors.sort_unstable();
        governors.dedup();
        (!governors.is_empty()).then(|| governors.join(", "))
    }
}

/// The first value of a `name : value` line.
fn cpuinfo_field<'t>(cpuinfo: &'t str, name: &str) -> Option<&'t str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim())
}

/// The word in brackets of `always [madvise] never`.
fn chosen(text: &str) -> &str {
    text.split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
        .unwrap_or_default()
}

/// `disabled` is `kernel.io_uring_disabled`; before Linux 6.6 there was no such switch.
fn io_uring(kernel: &str, disabled: Option<&str>) -> IoUring {
    let why = match (kernel_version(kernel), disabled) {
        (None, _) => "the version of the kernel is unknown".to_owned(),
        (Some(version), _) if version < IO_URING_KERNEL_MIN => {
            let (major, minor) = IO_URING_KERNEL_MIN;
            format!("kernel {kernel} is older than {major}.{minor}")
        }
        (_, Some("1")) => {
            "kernel.io_uring_disabled = 1: only for the group in kernel.io_uring_group".to_owned()
        }
        (_, Some("2")) => "kernel.io_uring_disabled = 2: for nobody".to_owned(),
        (Some(_), _) => return IoUring::Available,
    };
    IoUring::Disabled { why }
}

/// Major and minor number of a release such as `6.18.44-generic`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> HostReport {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        HostReport::read_from(root.path(), vec![0, 1], Some(1 << 23))
    }

    #[test]
    fn facts_come_from_the_files_of_the_kernel() {
        let report = host(&[
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: EPYC 9\nflags\t\t: fpu hypervisor\n"),
            ("proc/loadavg", "0.25 0.08 0.05 1/84 4296\n"),
            ("proc/sys/kernel/osrelease", "6.18.44-fc\n"),
            ("proc/sys/kernel/io_uring_disabled", "0\n"),
            ("proc/sys/vm/nr_hugepages", "16\n"),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/isolated", "2-3\n"),
            ("sys/devices/system/cpu/nohz_full", "3\n"),
            ("sys/devices/system/cpu/smt/active", "1\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
            ("sys/devices/system/node/online", "0-1\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ]);
        let expected = HostReport {
            cpu_model: "EPYC 9".to_owned(),
            cores_online: 4,
            cores_allowed: vec![0, 1],
            isolated: vec![2, 3],
            nohz_full: vec![3],
            numa_nodes: 2,
            governor: Some("performance, powersave".to_owned()),
            kernel: "6.18.44-fc".to_owned(),
            hypervisor: true,
            memlock_bytes: Some(1 << 23),
            io_uring: IoUring::Available,
            huge_pages: 16,
            transparent_huge_pages: "madvise".to_owned(),
            clocksource: "tsc".to_owned(),
            loadavg_1m: 0.25,
            smt: Some(true),
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn missing_and_empty_files_are_no_error() {
        // Kernels without NO_HZ_FULL print "(null)", and an empty list is an empty line.
        let report = host(&[
            ("sys/devices/system/cpu/isolated", "\n"),
            ("sys/devices/system/cpu/nohz_full", "  (null)\n"),
        ]);
        assert!(report.isolated.is_empty() && report.nohz_full.is_empty());
        assert_eq!((report.cores_online, report.numa_nodes, report.huge_pages), (0, 1, 0));
        assert_eq!((report.governor, report.smt, report.hypervisor), (None, None, false));
        assert_eq!(report.cpu_model, "");
        assert!(matches!(report.io_uring, IoUring::Disabled { .. }));
    }

    #[test]
    fn io_uring_depends_on_the_version_and_on_the_switch() {
        let why = |kernel: &str, disabled: Option<&str>| match io_uring(kernel, disabled) {
            IoUring::Available => String::new(),
            IoUring::Disabled { why } => why,
        };
        assert_eq!(why("6.18.44-fc", Some("0")), "");
        assert_eq!(why("5.8.0", None), "");
        assert_eq!(why("5.4.0-90-generic", None), "kernel 5.4.0-90-generic is older than 5.8");
        assert!(why("6.6.1", Some("1")).contains("io_uring_group"));
        assert!(why("6.6.1", Some("2")).contains("nobody"));
        assert!(why("", None).contains("unknown"));
    }

    #[test]
    fn the_machine_that_runs_the_tests_can_be_read() {
        let report = HostReport::read();
        assert!(!report.cores_allowed.is_empty());
        assert!(report.cores_online >= report.cores_allowed.len());
    }
}

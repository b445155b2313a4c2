//! What this machine has for tasks: memory and cores, as far as this process may use them.

use crate::cgroup::Cgroup;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a worker can offer its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of memory: those of the machine, or as many as the control group may have.
    pub memory: u64,
    /// Thousandths of a core: the cores that this thread may run on, or as much as the control
    /// group may use.
    pub cores_milli: u32,
}

impl Capacity {
    /// Looks at the machine. Call it before the thread is pinned to a core. What the system does
    /// not tell counts as no memory and as one core.
    #[must_use]
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = rustix::thread::sched_getaffinity(None)
            .map_or(u32::try_from(cores).unwrap_or(u32::MAX), |cores| cores.count());
        Self::below(Path::new("/"), cores)
    }

    fn below(root: &Path, cores: u32) -> Self {
        let cgroup = Cgroup::detect(root);
        let text = std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        let total = meminfo(&text, "MemTotal").unwrap_or(0);
        let cores_milli = cores.max(1).saturating_mul(1_000);
        Self {
            memory: cgroup.memory_max().map_or(total, |max| max.min(total)),
            cores_milli: cgroup.cores_milli().map_or(cores_milli, |max| max.min(cores_milli)),
        }
    }
}

/// A value of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = value.split_ascii_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// The number on the line `name number`.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).and_then(number)
}

/// The text as a number.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The beginning of a file of the kernel, which writes it anew whenever it is read from the start.
/// One read gives all that there is room for.
pub(crate) fn read_text(file: &File, bytes_max: usize) -> Option<String> {
    let mut bytes = vec![0; bytes_max];
    let len = loop {
        match file.read_at(&mut bytes, 0) {
            Ok(len) => break len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    };
    bytes.truncate(len);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(files: &[(&str, &str)], cores: u32) -> (u64, u32) {
        let root = tempfile::tempdir().expect("a directory");
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        let Capacity { memory, cores_milli } = Capacity::below(root.path(), cores);
        (memory, cores_milli)
    }

    #[test]
    fn a_machine_offers_what_it_has_or_what_its_group_may_use() {
        let meminfo = ("proc/meminfo", "MemTotal:  8000 kB\nMemFree:  1 kB\n");
        assert_eq!(capacity(&[meminfo], 8), (8_192_000, 8_000));
        let group = ("proc/self/cgroup", "0::/\n");
        let current = ("sys/fs/cgroup/memory.current", "0\n");
        let tight = ("sys/fs/cgroup/memory.max", "1000000\n");
        let cpu = ("sys/fs/cgroup/cpu.max", "250000 100000\n");
        assert_eq!(capacity(&[meminfo, group, current, tight, cpu], 8), (1_000_000, 2_500));
        assert_eq!(capacity(&[meminfo, group, current, tight, cpu], 2), (1_000_000, 2_000));
        let loose = ("sys/fs/cgroup/memory.max", "9000000000\n");
        assert_eq!(capacity(&[meminfo, group, current, loose], 1), (8_192_000, 1_000));
        assert_eq!(capacity(&[], 0), (0, 1_000));
    }

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text = "MemTotal:        4038744 kB\nMemFree:  1 kB\nMemAvailable:    3548716 kB\n";
        assert_eq!(meminfo(text, "MemAvailable"), Some(3_548_716 << 10));
        assert_eq!(meminfo(text, "Mem"), None);
        assert_eq!(meminfo("MemFree:\n", "MemFree"), None);
        assert_eq!(field("a_b 1\na 2\n", "a"), Some(2));
        assert_eq!(field("a_b 1\na x\n", "a"), None);
        assert_eq!((number(" 7\n"), number("max"), number("-1")), (Some(7), None, None));
    }

    #[test]
    fn a_file_is_read_anew_up_to_its_bound() {
        let path = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(path.path(), "first text").expect("a file");
        let file = File::open(path.path()).expect("a file");
        assert_eq!(read_text(&file, 100).as_deref(), Some("first text"));
        assert_eq!(read_text(&file, 5).as_deref(), Some("first"));
        std::fs::write(path.path(), "other").expect("a file");
        assert_eq!(read_text(&file, 100).as_deref(), Some("other"));
    }

    #[test]
    fn this_machine_has_memory_and_a_core() {
        let capacity = Capacity::detect();
        assert!(capacity.memory > 0 && capacity.cores_milli > 0, "{capacity:?}");
    }
}

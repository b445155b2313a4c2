use super::*;
use tempfile::TempDir;

fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (file, text) in files {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    root
}

/// Limit and rest of the memory, limit and use of the processor time.
type Found = (Option<u64>, Option<u64>, Option<u32>, Option<u64>);

fn found(root: &TempDir) -> Found {
    let cgroup = Cgroup::detect(root.path());
    (cgroup.memory_max(), cgroup.memory_free(), cgroup.cores_milli(), cgroup.cpu_used_ns())
}

#[test]
fn of_groups_in_one_tree_the_tightest_counts() {
    let root = root(&[
        ("proc/self/cgroup", "0::/batch/job\n"),
        ("sys/fs/cgroup/batch/memory.max", "1000000\n"),
        ("sys/fs/cgroup/batch/memory.current", "900000\n"),
        ("sys/fs/cgroup/batch/memory.stat", "anon 1\nfile 2\ninactive_file 50000\n"),
        ("sys/fs/cgroup/batch/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/batch/cpu.stat", "usage_usec 12\nuser_usec 7\n"),
        ("sys/fs/cgroup/batch/job/memory.max", "800000\n"),
        ("sys/fs/cgroup/batch/job/memory.current", "100000\n"),
        ("sys/fs/cgroup/batch/job/memory.stat", "inactive_file 200000\n"),
        ("sys/fs/cgroup/batch/job/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/batch/job/cpu.stat", "usage_usec 5\n"),
    ]);
    assert_eq!(found(&root), (Some(800_000), Some(150_000), Some(1_500), Some(12_000)));
}

#[test]
fn groups_without_limits_limit_nothing() {
    let root = root(&[
        ("proc/self/cgroup", "3:cpu,cpuacct:/\n4:memory:/a\n0::/a\n"),
        ("sys/fs/cgroup/unified/a/memory.max", "max\n"),
        ("sys/fs/cgroup/unified/a/memory.current", "5\n"),
        ("sys/fs/cgroup/unified/a/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "5\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(found(&root), (None, None, None, None));
}

#[test]
fn groups_of_the_first_version_are_read_as_well() {
    let root = root(&[
        ("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n2:freezer:/\n"),
        ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4096\n"),
        ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1096\n"),
        ("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "25000\n"),
        ("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu/job/cpuacct.usage", "77\n"),
    ]);
    assert_eq!(found(&root), (Some(4_096), Some(3_000), Some(250), Some(77)));
}

#[test]
fn a_container_that_sees_only_its_own_group_finds_it() {
    for group in ["/docker/0123", "/../../outside"] {
        let root = root(&[
            ("proc/self/cgroup", &format!("0::{group}\n")),
            ("sys/fs/cgroup/memory.max", "10\n"),
            ("sys/fs/cgroup/memory.current", "20\n"),
        ]);
        assert_eq!(found(&root), (Some(10), Some(0), None, None), "{group}");
    }
}

#[test]
fn without_any_groups_there_is_no_limit() {
    assert_eq!(found(&root(&[])), (None, None, None, None));
    let odd = root(&[("proc/self/cgroup", "\nnonsense\n0:\n1:memory\n")]);
    assert_eq!(found(&odd), (None, None, None, None));
}

//! What a process finds around it: directory, environment, files, signals, cores.

use super::*;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[test]
fn a_task_runs_in_the_directory_that_it_asks_for() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    let folder = folder.path().canonicalize().expect("a directory");
    let here = std::env::current_dir().expect("a directory");
    for command in ["/bin/pwd", "pwd"] {
        let output = bench.output(shell(command).in_dir(&folder));
        assert_eq!(output, format!("{}\n", folder.display()));
    }
    // That of the worker, if it asks for none.
    assert_eq!(bench.output(shell("/bin/pwd")), format!("{}\n", here.display()));
}

#[test]
fn a_directory_that_is_not_there_is_told_of() {
    let mut bench = Bench::new();
    let task = shell("true").in_dir(Path::new("/no/such/directory"));
    let exit = bench.launch(task).expect_err("no directory");
    assert_eq!(summary(&exit), (EndKind::NotStarted, 2));
    assert!(text(&exit.stderr).contains("/no/such/directory"), "{}", text(&exit.stderr));
    // No child is left that nobody waits for.
    assert_eq!(summary(&bench.run(shell("true"))), (EndKind::Exited, 0));
}

#[test]
fn a_task_is_told_who_it_is_and_what_it_may_use() {
    let mut bench = Bench::with(ProcessConfig::new("node 7"));
    let variables: [(&[u8], &[u8]); 2] =
        [(b"GREETING", "gr\u{fc}\u{df}e = 1".as_bytes()), (b"PUNCTUAL_TASK_ID", b"a lie")];
    let task = Task { variables: &variables, ..shell("env") };
    let output = bench.output(task);
    for line in [
        "GREETING=gr\u{fc}\u{df}e = 1",
        "PUNCTUAL_WORKER=node 7",
        "PUNCTUAL_TASK_ID=1",
        "PUNCTUAL_TASK_ATTEMPT=3",
        "PUNCTUAL_TASK_JOB=the job",
        "PUNCTUAL_TASK_NAME=name",
        "PUNCTUAL_TASK_MEMORY=5000000",
        "PUNCTUAL_TASK_CORES=1.5",
        "PUNCTUAL_TASK_PRIORITY=-4",
    ] {
        assert_eq!(output.lines().filter(|it| *it == line).count(), 1, "{line} in {output}");
    }
    let path = std::env::var("PATH").expect("a PATH");
    assert!(output.lines().any(|line| line == format!("PATH={path}")), "the worker's own");
    assert!(!output.contains("PUNCTUAL_TASK_DIR="), "there is none");
}

#[test]
fn a_task_sees_the_name_that_the_queue_has_given_its_worker() {
    let mut bench = Bench::with(ProcessConfig::new("node"));
    let name = "printenv PUNCTUAL_WORKER";
    assert_eq!(bench.output(shell(name)), "node\n");
    bench.runner.set_name("node#2");
    assert_eq!(bench.output(shell(name)), "node#2\n");
}

#[test]
fn a_program_is_looked_for_in_the_path_of_the_task() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    let script = "echo 'echo mine' > mine-alone; chmod +x mine-alone";
    bench.output(shell(script).in_dir(folder.path()));
    assert_eq!(summary(&bench.run(shell("mine-alone"))), (EndKind::Exited, 127));
    let path = folder.path().as_os_str().as_encoded_bytes();
    let variables: [(&[u8], &[u8]); 1] = [(b"PATH", path)];
    let task = Task { variables: &variables, ..shell("mine-alone") };
    assert_eq!(bench.output(task), "mine\n");
}

#[test]
fn a_process_has_its_own_session_and_group() {
    let mut bench = Bench::new();
    let stat = bench.output(shell("cat /proc/self/stat"));
    let pid = stat.split(' ').next().expect("a number");
    let fields = stat_fields(&stat);
    assert_eq!((fields[2], fields[3]), (pid, pid), "group and session");
}

#[test]
fn a_process_has_no_files_but_its_own() {
    let mut bench = Bench::new();
    // Something that is open, and not closed by itself when a program is run.
    let open = std::fs::File::open("/dev/null").expect("a file");
    let _inherited = rustix::io::dup(&open).expect("a descriptor");
    let other = bench.launch(shell("sleep 1000")).expect("a task that can be started");
    // The fourth is the directory that is being listed.
    let output = bench.output(shell("ls /proc/self/fd"));
    assert_eq!(output.lines().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    bench.runner.kill(other);
    bench.end(other);
}

#[test]
fn a_process_reads_nothing() {
    assert_eq!(Bench::new().output(shell("cat")), "");
}

#[test]
fn a_process_has_no_signal_blocked_and_its_pipes_may_break() {
    let mut bench = Bench::new();
    let status = bench.output(shell("cat /proc/self/status"));
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    assert_eq!(mask("SigBlk:"), 0);
    let broken_pipe = 1 << (13 - 1);
    assert_eq!(mask("SigIgn:") & broken_pipe, 0);
    assert_eq!(mask("SigCgt:"), 0);
}

/// The cores in a `/proc/PID/status`.
fn cores_allowed(status: &str) -> &str {
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("a line with cores").trim()
}

#[test]
fn a_task_may_use_the_cores_of_the_worker_and_not_only_that_of_its_thread() {
    let before = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
    let runner = ProcessRunner::new(ProcessConfig::new("bench")).expect("a runner");
    let cores = sched_getaffinity(None).expect("cores");
    let first = (0..CpuSet::MAX_CPU).find(|core| cores.is_set(*core)).expect("a core");
    let mut one = CpuSet::new();
    one.set(first);
    // This thread ends with the test.
    sched_setaffinity(None, &one).expect("a core of ours");
    let status = Bench::of(runner).output(shell("cat /proc/self/status"));
    assert_eq!(cores_allowed(&status), cores_allowed(&before));
}

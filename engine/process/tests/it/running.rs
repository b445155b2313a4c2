//! How commands are run, and how that ends.

use super::*;

#[test]
fn a_task_ends_with_the_exit_code_of_its_command() {
    let mut bench = Bench::new();
    for (command, code) in [("true", 0), ("false", 1), ("exit 3", 3), ("true && exit 200", 200)] {
        let exit = bench.run(shell(command));
        assert_eq!(summary(&exit), (EndKind::Exited, code), "{command}");
        assert_eq!((exit.stdout_bytes, exit.stderr_bytes), (0, 0), "{command}");
    }
    assert_eq!(bench.runner.running(), 0);
}

#[test]
fn a_task_that_dies_by_a_signal_says_by_which() {
    let mut bench = Bench::new();
    for signal in [9, 11, 15] {
        let exit = bench.run(shell(&format!("kill -{signal} $$")));
        assert_eq!(summary(&exit), (EndKind::Signaled, signal));
    }
}

#[test]
fn many_tasks_run_at_once_and_each_has_its_own_end() {
    let mut bench = Bench::new();
    let launch = |code: i32| {
        let command = format!("echo {code}; exit {code}");
        bench.launch(shell(&command)).expect("a task that can be started")
    };
    let runs: Vec<RunId> = (0..100).map(launch).collect();
    assert_eq!(bench.runner.running(), 100);
    for (code, run) in (0..).zip(runs) {
        let exit = bench.end(run);
        assert_eq!(summary(&exit), (EndKind::Exited, code));
        assert_eq!(text(&exit.stdout), format!("{code}\n"));
    }
}

#[test]
fn only_a_command_that_needs_a_shell_gets_one() {
    let mut bench = Bench::new();
    let me = std::process::id().to_string();
    let stat = bench.output(shell("cat /proc/self/stat"));
    assert_eq!(stat_fields(&stat)[1], me, "a child of ours");
    let stat = bench.output(shell("cat /proc/self/stat | cat"));
    assert_ne!(stat_fields(&stat)[1], me, "a child of the shell");

    let config = ProcessConfig { exec_directly: false, ..ProcessConfig::new("bench") };
    let mut bench = Bench::with(config);
    // The echo keeps the shell from making itself the program.
    let output = bench.output(shell("cat /proc/self/stat; echo end"));
    assert_ne!(stat_fields(output.lines().next().expect("a line"))[1], me);
}

#[test]
fn what_a_shell_says_of_a_command_that_cannot_be_run_is_said_here() {
    let mut bench = Bench::new();
    let exit = bench.run(shell("no-such-program-anywhere a b"));
    assert_eq!(summary(&exit), (EndKind::Exited, 127));
    assert!(text(&exit.stderr).contains("not found"), "{}", text(&exit.stderr));
    let exit = bench.run(shell("/dev/null"));
    assert_eq!(summary(&exit), (EndKind::Exited, 126));
    assert!(!exit.stderr.is_empty());
}

#[test]
fn a_script_that_names_no_interpreter_is_run_by_the_shell() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    // Written by a task: if this process wrote it, another test could start a process meanwhile,
    // which would have it open for writing, and it could not be run.
    let script = "echo 'echo ran with $1' > script; chmod +x script";
    bench.output(shell(script).in_dir(folder.path()));
    assert_eq!(bench.output(shell("./script x").in_dir(folder.path())), "ran with x\n");
}

#[test]
fn a_python_task_gets_its_program_or_its_script() {
    // Whatever it is called with shows what would run.
    let config = ProcessConfig { python: "echo".into(), ..ProcessConfig::new("bench") };
    let mut bench = Bench::with(config);
    let python = |command| Task { kind: PayloadKind::Python, ..shell(command) };
    assert_eq!(bench.output(python("print('a  b'); 1")), "-c print('a  b'); 1\n");
    assert_eq!(bench.output(python("run.py  a b")), "run.py a b\n");
    assert_eq!(bench.output(python("run.py 'a  b' | tr a-z A-Z")), "RUN.PY A  B\n");
}

#[test]
fn a_python_that_is_not_there_is_told_of() {
    let config = ProcessConfig { python: "/no/python".into(), ..ProcessConfig::new("bench") };
    let mut bench = Bench::with(config);
    let python = Task { kind: PayloadKind::Python, ..shell("print(1)") };
    let exit = bench.launch(python).expect_err("no interpreter");
    assert_eq!(summary(&exit), (EndKind::NotStarted, 2));
    assert!(text(&exit.stderr).contains("/no/python"), "{}", text(&exit.stderr));
    assert_eq!(exit.stderr_bytes, exit.stderr.len() as u64);
}

#[test]
fn a_shell_that_is_not_there_is_told_of_where_it_is_needed() {
    let config = ProcessConfig { shell: "/no/shell/sh".into(), ..ProcessConfig::new("bench") };
    let mut bench = Bench::with(config);
    assert_eq!(summary(&bench.run(shell("true"))), (EndKind::Exited, 0));
    let exit = bench.launch(shell("true && true")).expect_err("no shell");
    assert_eq!(summary(&exit), (EndKind::NotStarted, 2));
    assert!(text(&exit.stderr).contains("/no/shell/sh"), "{}", text(&exit.stderr));
}

#[test]
fn a_task_that_cannot_be_started_says_why_and_leaves_nothing() {
    let mut bench = Bench::new();
    let exit = bench.launch_payload(b"nonsense".as_slice().into()).expect_err("no payload");
    assert_eq!(summary(&exit), (EndKind::NotStarted, 22));
    let exit = bench.launch(shell("true\0")).expect_err("no command");
    assert_eq!(summary(&exit), (EndKind::NotStarted, 22));
    assert!(text(&exit.stderr).contains("command"), "{}", text(&exit.stderr));
    let variables: [(&[u8], &[u8]); 1] = [(b"A=B", b"x")];
    let named = Task { variables: &variables, ..shell("true") };
    let exit = bench.launch(named).expect_err("no name");
    assert!(text(&exit.stderr).contains("A=B"), "{}", text(&exit.stderr));
    assert_eq!(bench.runner.running(), 0);
}

#[test]
fn a_no_op_succeeds_without_a_process() {
    // With this shell and this path no process could be started.
    let config = ProcessConfig { shell: "/no/shell".into(), ..ProcessConfig::new("bench") };
    let mut bench = Bench::with(config);
    let noop = Task { kind: PayloadKind::Noop, ..shell("no-such-program") };
    let run = bench.launch(noop).expect("nothing to start");
    assert_eq!(bench.runner.running(), 1);
    let exit = bench.end(run);
    assert_eq!((summary(&exit), exit.ran_ns), ((EndKind::Exited, 0), 0));
    assert_eq!(bench.runner.running(), 0);
}

#[test]
fn the_time_of_a_run_is_measured() {
    let mut bench = Bench::new();
    let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    let exit = bench.run(shell(busy));
    assert!(exit.ran_ns > 0 && exit.cpu_ns > 0, "{exit:?}");
}

#[test]
fn memory_of_a_run_is_measured_when_it_takes_a_while() {
    let interval = Duration::from_millis(1);
    let config = ProcessConfig { sample_interval: interval, ..ProcessConfig::new("bench") };
    let mut bench = Bench::with(config);
    let run = bench.launch(shell("sleep 1000")).expect("a task that can be started");
    let looks = bench.looks;
    // The first of these may come before it has run for an interval.
    bench.until("some looks", |bench| (bench.looks >= looks + 3).then_some(()));
    bench.runner.kill(run);
    let exit = bench.end(run);
    assert_eq!(summary(&exit), (EndKind::Signaled, 9));
    assert!(exit.memory > 0, "{exit:?}");
}

#[test]
fn the_machine_is_looked_at_from_the_start() {
    let mut bench = Bench::new();
    bench.turn();
    let usage = bench.usage.expect("a first look");
    let total = punctual_process::Capacity::detect().memory;
    assert!(usage.memory_free > 0 && usage.memory_free <= total, "{usage:?} of {total}");
}

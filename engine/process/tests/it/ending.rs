//! How runs are ended, and that nothing of them is left.

use super::*;

#[test]
fn the_end_of_a_task_wakes_the_sleeping_thread() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        let run = bench.launch(shell("true")).expect("a task that can be started");
        let begin = Instant::now();
        let exit = loop {
            bench.turn();
            if let Some(exit) = bench.exits.remove(&run) {
                break exit;
            }
            let (runner, exits, now) = (&mut bench.runner, &mut bench.exits, Nanos::ZERO);
            let look_again = || poll(runner, now, exits);
            bench.parker.park(Some(PATIENCE), look_again).expect("a place to sleep");
        };
        assert!(begin.elapsed() < PATIENCE, "it slept to the end");
        assert_eq!(summary(&exit), (EndKind::Exited, 0));
    }
}

#[test]
fn a_task_that_is_stopped_is_asked_to_end() {
    let mut bench = Bench::new();
    let run = bench.launch(shell("sleep 1000")).expect("a task that can be started");
    bench.runner.stop(run);
    assert_eq!(summary(&bench.end(run)), (EndKind::Signaled, 15));

    let folder = tempfile::tempdir().expect("a directory");
    let command = "trap 'echo bye; exit 5' TERM; echo $$ > ready; while :; do sleep 0.01; done";
    let run = bench.launch(shell(command).in_dir(folder.path())).expect("a task");
    bench.number_in(&folder.path().join("ready"));
    bench.runner.stop(run);
    let exit = bench.end(run);
    assert_eq!((summary(&exit), text(&exit.stdout)), ((EndKind::Exited, 5), "bye\n".to_owned()));
}

#[test]
fn a_task_that_will_not_be_stopped_is_killed() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    let command = "trap '' TERM; echo $$ > ready; sleep 1000; sleep 1000";
    let run = bench.launch(shell(command).in_dir(folder.path())).expect("a task");
    let session = bench.number_in(&folder.path().join("ready"));
    bench.runner.stop(run);
    bench.turn();
    bench.runner.kill(run);
    assert_eq!(summary(&bench.end(run)), (EndKind::Signaled, 9), "15 would be the stop");
    bench.expect_empty(session);
}

#[test]
fn a_task_that_forks_and_hangs_leaves_nothing() {
    let mut bench = Bench::new();
    for command in [
        // Holds the outputs open.
        "echo $$; sleep 1000 & exit 3",
        // Holds nothing open.
        "echo $$; sleep 1000 > /dev/null 2>&1 & exit 3",
        // Is in a group of its own, in the same session, as soon as it runs.
        "echo $$; timeout 1000 sleep 1000 & exit 3",
    ] {
        let exit = bench.run(shell(command));
        assert_eq!(summary(&exit), (EndKind::Exited, 3), "{command}");
        let session = text(&exit.stdout).trim().parse().expect("a number");
        bench.expect_empty(session);
    }
}

#[test]
fn what_has_left_the_group_of_a_task_that_ended_is_found_soon() {
    let sample_interval = Duration::from_millis(1);
    let config = ProcessConfig { sample_interval, ..ProcessConfig::new("bench") };
    let mut bench = Bench::with(config);
    let folder = tempfile::tempdir().expect("a directory");
    // It holds no output open. The inner shell runs when the program before it is in its own group.
    let inner = "timeout 1000 sh -c 'echo > inner; sleep 1000; sleep 1000' > /dev/null 2>&1";
    let wait = "while [ ! -s inner ]; do sleep 0.01; done";
    let command = format!("{inner} & {wait}; echo $$; exit 3");
    let exit = bench.run(shell(&command).in_dir(folder.path()));
    assert_eq!(summary(&exit), (EndKind::Exited, 3));
    let session = text(&exit.stdout).trim().parse().expect("a number");
    bench.expect_empty(session);
}

#[test]
fn a_task_that_stands_still_hears_that_it_is_to_end() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    let command = "echo $$ > ready; kill -STOP $$; sleep 1000";
    let run = bench.launch(shell(command).in_dir(folder.path())).expect("a task");
    let session = bench.number_in(&folder.path().join("ready"));
    bench.until("a process that is stopped", |_| {
        let stat = std::fs::read_to_string(format!("/proc/{session}/stat")).ok()?;
        (stat_fields(&stat)[0] == "T").then_some(())
    });
    bench.runner.stop(run);
    assert_eq!(summary(&bench.end(run)), (EndKind::Signaled, 15));
}

#[test]
fn a_killed_task_takes_with_it_what_has_left_its_group() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    // The inner shell runs when the program before it is in its own group.
    let inner = "timeout 1000 sh -c 'echo $PPID > inner; sleep 1000; sleep 1000'";
    let command = format!("{inner} > /dev/null 2>&1 & echo $$ > outer; sleep 1000");
    let run = bench.launch(shell(&command).in_dir(folder.path())).expect("a task");
    let session = bench.number_in(&folder.path().join("outer"));
    let leaver = bench.number_in(&folder.path().join("inner"));
    let stat = std::fs::read_to_string(format!("/proc/{leaver}/stat")).expect("a process");
    let fields = stat_fields(&stat);
    assert_eq!((fields[2], fields[3]), (&*leaver.to_string(), &*session.to_string()));
    bench.runner.kill(run);
    assert_eq!(summary(&bench.end(run)), (EndKind::Signaled, 9));
    bench.expect_empty(session);
}

#[test]
fn runs_that_are_not_there_can_be_ended() {
    let mut bench = Bench::new();
    let run = bench.launch(shell("true")).expect("a task that can be started");
    bench.end(run);
    for run in [run, RunId(1_000)] {
        bench.runner.stop(run);
        bench.runner.kill(run);
    }
    assert_eq!(bench.turn(), 0);
    assert!(bench.exits.is_empty());
}

#[test]
fn a_runner_that_is_dropped_ends_its_tasks() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    let command = "sleep 1000 & echo $$ > ready; sleep 1000";
    bench.launch(shell(command).in_dir(folder.path())).expect("a task that can be started");
    let session = bench.number_in(&folder.path().join("ready"));
    drop(bench);
    Bench::new().expect_empty(session);
}

#[test]
fn a_thread_that_ends_takes_the_processes_of_its_tasks_with_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let ready = folder.path().join("ready");
    let command = "echo $$ > ready; exec sleep 1000";
    let task = shell(command).in_dir(folder.path());
    let (session, bench) = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut bench = Bench::new();
            bench.launch(task).expect("a task that can be started");
            (bench.number_in(&ready), bench)
        });
        worker.join().expect("no panic")
    });
    // The runner has not been dropped; it is the kernel that ends them.
    let mut bench = bench;
    bench.expect_empty(session);
    let exit = bench.end(RunId(1));
    assert_eq!(summary(&exit), (EndKind::Signaled, 9));
}

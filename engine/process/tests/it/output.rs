//! What tasks write.

use super::*;
use punctual_wire::task::OUTPUT_BYTES_MAX;

#[test]
fn both_outputs_are_kept_apart() {
    let mut bench = Bench::new();
    let exit = bench.run(shell("echo out; echo err >&2; echo out; exit 1"));
    assert_eq!(summary(&exit), (EndKind::Exited, 1));
    assert_eq!((text(&exit.stdout), exit.stdout_bytes), ("out\nout\n".to_owned(), 8));
    assert_eq!((text(&exit.stderr), exit.stderr_bytes), ("err\n".to_owned(), 4));
}

#[test]
fn of_a_flood_the_end_is_kept_and_all_is_counted() {
    let mut bench = Bench::new();
    let exit = bench.run(shell("yes | head -c 10000000; echo end"));
    assert_eq!(summary(&exit), (EndKind::Exited, 0));
    assert_eq!(exit.stdout_bytes, 10_000_004);
    assert_eq!(exit.stdout.len(), OUTPUT_BYTES_MAX);
    let tail = text(&exit.stdout);
    let (flood, end) = tail.split_at(OUTPUT_BYTES_MAX - 4);
    assert_eq!(end, "end\n");
    assert!(flood.trim_end_matches("y\n").is_empty());
}

#[test]
fn a_shorter_end_can_be_asked_for_and_a_longer_one_not() {
    for (asked, kept) in [(3, 3), (usize::MAX, OUTPUT_BYTES_MAX), (0, 0)] {
        let config = ProcessConfig { output_tail_bytes: asked, ..ProcessConfig::new("bench") };
        let exit = Bench::with(config).run(shell("head -c 100000 /dev/zero"));
        assert_eq!((exit.stdout_bytes, exit.stdout.len()), (100_000, kept), "{asked}");
    }
}

#[test]
fn output_is_bytes_and_need_not_be_text() {
    let mut bench = Bench::new();
    let exit = bench.run(shell("printf '\\377\\376\\000\\200x'"));
    assert_eq!(summary(&exit), (EndKind::Exited, 0));
    assert_eq!(exit.stdout, b"\xff\xfe\0\x80x");
}

#[test]
fn what_is_written_at_the_very_end_is_not_lost() {
    let mut bench = Bench::new();
    // Less than a pipe holds, so the process is gone before it is read.
    for _ in 0..20 {
        let exit = bench.run(shell("head -c 60000 /dev/zero"));
        assert_eq!((exit.stdout_bytes, exit.stdout.len()), (60_000, 60_000));
    }
}

#[test]
fn a_task_that_floods_does_not_keep_others_from_ending() {
    let mut bench = Bench::new();
    let flood = bench.launch(shell("yes")).expect("a task that can be started");
    for _ in 0..5 {
        assert_eq!(summary(&bench.run(shell("true"))), (EndKind::Exited, 0));
    }
    bench.runner.kill(flood);
    let exit = bench.end(flood);
    assert_eq!(summary(&exit), (EndKind::Signaled, 9));
    assert!(exit.stdout.len() <= OUTPUT_BYTES_MAX);
}

#[test]
fn a_task_that_closes_its_outputs_goes_on() {
    let mut bench = Bench::new();
    let exit = bench.run(shell("exec >&- 2>&-; sleep 0; exit 4"));
    assert_eq!(summary(&exit), (EndKind::Exited, 4));
}

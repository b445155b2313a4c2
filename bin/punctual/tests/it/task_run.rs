//! `punctual task run`: everything in one process, from a file to an exit code.

use crate::support::{PROGRAM, Running, document, folder, number, run, text, write};
use crate::task_bed::{Farm, lines_of, shell};
use serde_json::json;
use std::process::Command;

/// Options that make a run independent of what else goes on at the machine.
const CALM: [&str; 4] = ["--accept-free", "0", "--return-free", "0"];

/// The arguments of a run.
fn args<'a>(file: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["task", "run", file];
    args.extend(CALM);
    args.extend(options);
    args
}

#[test]
fn a_file_is_run_and_summed_up_with_its_counts_time_and_rate() {
    let farm = Farm::new();
    let ids = farm.path("ids");
    let line = |id: u32| shell(&format!("echo {id} >> {}", text(&ids)));
    let lines: Vec<String> = (100..140).map(line).collect();
    let report = farm.path("run.json");
    let ended = run(&args(&farm.file("sweep.task", &lines), &["--json", text(&report)]));
    ended.expect_code(0);
    let summary = "40 tasks: 40 done, 0 failed, 0 cancelled, 0 known before; ";
    assert!(ended.stdout.starts_with(summary), "{}", ended.stdout);
    assert!(ended.stdout.trim_end().ends_with("tasks/s"), "{}", ended.stdout);
    assert!(ended.stderr.contains("tasks are in memory alone"), "{}", ended.stderr);
    let expected: Vec<String> = (100..140).map(|id| id.to_string()).collect();
    assert_eq!(lines_of(&ids), expected);

    let report = document(&report);
    for (field, value) in [
        ("program", json!("task run")),
        ("job", json!("sweep")),
        ("tasks", json!(40)),
        ("added", json!(40)),
        ("known", json!(0)),
        ("was_interrupted", json!(false)),
        ("failures", json!([])),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(report["counts"]["done"], 40);
    assert!(number(&report, "/tasks_per_s") > 0.0);
}

#[test]
fn a_failure_is_told_with_its_reason_and_the_last_line_of_its_standard_error() {
    let farm = Farm::new();
    let lines =
        [shell("true"), shell("echo first >&2; echo the last word >&2; exit 3"), shell("exit 0")];
    let file = farm.file("tasks", &lines);
    let ended = run(&args(&file, &[]));
    ended.expect_code(1);
    let told = ended.stderr.lines().find(|line| line.contains("task 2 failed")).expect("a failure");
    assert!(told.ends_with("exit code 3: the last word"), "{told}");
    assert!(ended.stdout.starts_with("3 tasks: 2 done, 1 failed, "), "{}", ended.stdout);

    // Whoever wants quiet hears of it in the summary.
    let ended = run(&args(&file, &["--quiet"]));
    ended.expect_code(1);
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.contains("task 2 failed: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("exit code 3: the last word"), "{}", ended.stdout);
}

#[test]
fn defect_07_a_failed_task_is_tried_again_as_often_as_is_said_by_the_only_worker() {
    let farm = Farm::new();
    let tries = farm.path("tries");
    let command = format!("echo try >> {0}; test $(wc -l < {0}) -ge 3", text(&tries));
    let file = farm.file("tasks", &[shell(&command)]);
    run(&args(&file, &["--retries", "1"])).expect_code(1);
    assert_eq!(lines_of(&tries).len(), 2);
    run(&args(&file, &["--retries", "1"])).expect_code(0);
    assert_eq!(lines_of(&tries).len(), 3);
}

#[test]
fn bad_lines_are_named_by_their_numbers_and_the_others_run() {
    let farm = Farm::new();
    let lines = [
        shell("echo http://x:80/ > /dev/null"),
        "shell:a lot:0:0:true".to_owned(),
        "# a comment".to_owned(),
        "perl:0:0:0:true".to_owned(),
        shell("true"),
    ];
    let file = farm.file("tasks", &lines);
    let ended = run(&args(&file, &[]));
    ended.expect_code(1);
    for line in [2, 4] {
        let named =
            ended.stderr.lines().filter(|text| text.starts_with(&format!("{file}:{line}: ")));
        assert_eq!(named.count(), 1, "line {line}:\n{}", ended.stderr);
    }
    assert!(ended.stdout.starts_with("2 tasks: 2 done, 0 failed, "), "{}", ended.stdout);
    assert!(ended.stdout.contains("2 lines are no tasks"), "{}", ended.stdout);
    run(&args(&file, &["--allow-bad-lines"])).expect_code(0);
}

#[test]
fn tasks_in_json_run_after_those_that_they_name_and_find_their_variables() {
    let farm = Farm::new();
    let out = farm.path("out");
    let lines = [
        json!({"id": "last", "after": ["first"], "command": format!("echo $WORD >> {}", text(&out)),
            "env": {"WORD": "second"}}),
        json!({"id": "first", "command": format!("echo first >> {}", text(&out))}),
    ];
    let file = farm.file("tasks.jsonl", &lines.map(|line| line.to_string()));
    run(&args(&file, &["--slots", "2"])).expect_code(0);
    let content = std::fs::read_to_string(out).expect("both have written");
    assert_eq!(content, "first\nsecond\n");
}

#[test]
fn what_comes_after_a_failure_is_cancelled() {
    let farm = Farm::new();
    let lines = [
        json!({"id": "first", "command": "false"}),
        json!({"id": "last", "after": ["first"], "command": "true"}),
    ];
    let ended = run(&args(&farm.file("tasks.jsonl", &lines.map(|line| line.to_string())), &[]));
    ended.expect_code(1);
    let summary = "2 tasks: 0 done, 1 failed, 1 cancelled, ";
    assert!(ended.stdout.starts_with(summary), "{}", ended.stdout);
}

#[test]
fn with_fail_fast_a_failure_ends_what_runs_and_cancels_what_waits() {
    let farm = Farm::new();
    let gate = farm.fifo("gate");
    // Nobody ever opens the gate: who waits there has to be ended.
    let lines = [shell("exit 7"), shell(&gate.waits()), shell(&format!("{}; true", gate.waits()))];
    let ended = run(&args(&farm.file("tasks", &lines), &["--slots", "2", "--fail-fast"]));
    ended.expect_code(1);
    let summary = "3 tasks: 0 done, 1 failed, 2 cancelled, ";
    assert!(ended.stdout.starts_with(summary), "{}", ended.stdout);
}

#[test]
fn tasks_come_from_standard_input_too() {
    let dir = folder();
    let script = "printf 'shell:0:0:0:true\\nshell:1:0:0:true\\n' |
        \"$0\" task run - --quiet --accept-free 0 --return-free 0";
    let mut command = Command::new("sh");
    let ended = Running::spawn(command.current_dir(dir.path()).args(["-c", script, PROGRAM]));
    let ended = ended.finish();
    ended.expect_code(0);
    assert!(ended.stdout.starts_with("2 tasks: 2 done, "), "{}", ended.stdout);
}

#[test]
fn a_run_with_a_journal_goes_on_where_an_earlier_one_ended() {
    let farm = Farm::new();
    let (ids, journal) = (farm.path("ids"), farm.path("journal"));
    let line = |id: u32| shell(&format!("echo {id} >> {}", text(&ids)));
    let file = farm.file("tasks", &[line(1), line(2)]);
    let options = ["--journal-dir", text(&journal)];
    run(&args(&file, &options)).expect_code(0);
    // One more, and those that are done are known.
    let file = farm.file("tasks", &[line(1), line(2), line(3)]);
    let ended = run(&args(&file, &options));
    ended.expect_code(0);
    assert!(ended.stdout.starts_with("3 tasks: 3 done, "), "{}", ended.stdout);
    assert!(ended.stdout.contains("2 known before"), "{}", ended.stdout);
    assert_eq!(lines_of(&ids), ["1", "2", "3"]);
}

#[test]
fn an_interrupted_run_finishes_what_runs_and_the_next_one_does_the_rest() {
    let farm = Farm::new();
    let (ids, journal) = (farm.path("ids"), farm.path("journal"));
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let first = format!("{}; {}; echo 1 >> {}", up.tells("up"), gate.waits(), text(&ids));
    let second = format!("echo 2 >> {}", text(&ids));
    let file = farm.file("tasks", &[shell(&first), shell(&second)]);
    let options = ["--slots", "1", "--journal-dir", text(&journal)];
    let mut running = Running::start(&args(&file, &options));
    assert_eq!(up.hear(), "up");
    running.signal("INT");
    running.wait_for_line("finished first");
    gate.release();
    let ended = running.finish();
    ended.expect_code(130);
    assert!(ended.stdout.contains("1 not finished"), "{}", ended.stdout);
    assert_eq!(lines_of(&ids), ["1"]);
    run(&args(&file, &options)).expect_code(0);
    assert_eq!(lines_of(&ids), ["1", "2"]);
}

#[test]
fn a_second_interruption_ends_what_runs() {
    let farm = Farm::new();
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let file = farm.file("tasks", &[shell(&format!("{}; {}", up.tells("up"), gate.waits()))]);
    let mut running = Running::start(&args(&file, &[]));
    assert_eq!(up.hear(), "up");
    running.signal("INT");
    running.wait_for_line("finished first");
    running.signal("INT");
    let ended = running.finish();
    ended.expect_code(130);
    assert!(ended.stdout.contains("0 done, 0 failed, "), "{}", ended.stdout);
}

#[test]
fn a_task_that_ignores_its_end_is_killed_when_its_time_is_over() {
    let farm = Farm::new();
    let gate = farm.fifo("gate");
    let file = farm.file("tasks", &[shell(&format!("trap '' TERM; {}", gate.waits()))]);
    let ended = run(&args(&file, &["--timeout", "100ms", "--kill-grace", "50ms"]));
    ended.expect_code(1);
    assert!(ended.stderr.contains("killed by its timeout"), "{}", ended.stderr);
}

#[test]
fn no_task_asks_for_more_than_there_is_when_all_is_on_one_machine() {
    let farm = Farm::new();
    let file = farm.file("tasks", &["shell:4:100000:1000:true".to_owned()]);
    let ended = run(&args(&file, &[]));
    ended.expect_code(0);
    assert!(ended.stderr.contains("get all of them (1)"), "{}", ended.stderr);
}

#[test]
fn files_and_options_that_cannot_be_used_are_one_line_and_run_nothing() {
    let dir = folder();
    let file = write(&dir, "tasks", "shell:0:0:0:touch ran\n");
    let (missing, below) = (format!("{file}.missing"), format!("{file}/below"));
    let cases: [(&[&str], &str); 5] = [
        (&["task", "run", &missing], "cannot open the task file"),
        (&["task", "run", &file, "--job", ""], "--job NAME"),
        (
            &["task", "run", &file, "--durability", "memory", "--journal-dir", "x"],
            "keeps no journal",
        ),
        (&["task", "run", &file, "--work-dir", &below], "cannot be used"),
        (&["task", "run", &file, "--json", &below], "cannot be written"),
    ];
    for (args, part) in cases {
        let ended = run(args);
        ended.expect_code(2);
        assert!(ended.error().contains(part), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

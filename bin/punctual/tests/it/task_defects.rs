//! Defects of DistComp, by their numbers, where it takes processes to see that they are none here.
//! The others are tested where the code is.

use crate::support::text;
use crate::task_bed::{Farm, shell};
use serde_json::{Value, json};
use std::fs;

/// The original's task stayed in progress for ever when the process around it was killed.
#[test]
fn defect_03_a_task_that_is_killed_has_failed_says_so_and_alone_is_tried_again() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let _worker = farm.work("node1", &["--slots", "2"]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    // As the kernel does it for want of memory.
    let lines = [shell(&format!("{}; {}", up.tells("up"), gate.waits())), shell("kill -9 $$")];
    let file = farm.file("tasks", &lines);
    farm.tell(&["submit", &file, "--retries", "1"]);
    assert_eq!(up.hear(), "up");
    let tasks = farm.wait_for_tasks(|tasks| tasks[1]["state"] == "failed");
    let (other, killed) = (&tasks[0], &tasks[1]);
    assert_eq!((&killed["attempt"], &killed["failures"]), (&json!(2), &json!(2)));
    assert_eq!((&killed["end"]["how"], &killed["end"]["code"]), (&json!("signaled"), &json!(9)));
    assert_eq!(killed["end"]["reason"], "killed by signal 9");
    assert_eq!((&other["state"], &other["attempt"]), (&json!("running"), &json!(1)));
    gate.release();
    farm.ask(&["submit", &file, "--wait"]).expect_code(1);
    let other = &farm.tasks()[0];
    assert_eq!((&other["state"], &other["attempt"]), (&json!("done"), &json!(1)));
}

/// The original ended with an error.
#[test]
fn defect_11_include_and_exclude_choose_what_check_task_shows() {
    const COMMANDS: [&str; 3] = ["./sim lru 0.1", "./sim lru 0.01", "./sim fifo 0.1"];
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let file = farm.file("task", &COMMANDS.map(shell));
    farm.tell(&["manager", "--task", "loadTask", "--taskfile", &file]);
    let cases: [(&[&str], [bool; 3]); 4] = [
        (&[], [true, true, true]),
        (&["--include", "lru"], [true, true, false]),
        (&["--exclude", "0.01"], [true, false, true]),
        (&["--include", "lru", "--exclude", "0.01"], [true, false, false]),
    ];
    for (options, expected) in cases {
        let told = farm.tell(&[&["manager", "--task", "checkTask"][..], options].concat());
        let shown = COMMANDS.map(|command| told.contains(command));
        assert_eq!(shown, expected, "{options:?}: {told}");
        assert!(told.starts_with("3 todo tasks, "), "all are counted: {told}");
    }
}

/// The original kept the settings that it had for ever.
#[test]
fn defect_16_a_conf_that_is_saved_with_a_mistake_changes_nothing_and_the_next_one_counts() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let conf = farm.path("conf.json");
    let save = |text: &str| fs::write(&conf, text).expect("a temporary file can be written");
    let has_slots = |slots: u32| move |worker: &Value| worker["slots"] == slots;
    save(r#"{"max_task_per_worker": 1}"#);
    let options = ["--conf", text(&conf), "--conf-interval", "10ms"];
    let mut worker = farm.work("node1", &options);
    farm.wait_for_worker(has_slots(1));
    save(r#"{"max_task_per_worker": 3"#);
    worker.wait_for_line("cannot be used");
    farm.wait_for_worker(has_slots(1));
    save(r#"{"max_task_per_worker": 3}"#);
    worker.wait_for_line("the configuration has changed: 3 slots");
    farm.wait_for_worker(has_slots(3));
    worker.terminate().expect_code(0);
}

/// The original kept what was said of a failure when the task succeeded later.
#[test]
fn defect_17_with_success_nothing_is_said_any_more_of_the_failures_before() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let _worker = farm.work("node1", &[]);
    let (marker, why) = (farm.path("marker"), farm.path("why"));
    fs::write(&why, "it was too early").expect("a temporary file can be written");
    let (marker, why) = (text(&marker), text(&why));
    let command = format!("test -e {marker} || {{ touch {marker}; cat {why} >&2; exit 7; }}");
    let file = farm.file("task", &[shell(&command)]);
    farm.tell(&["manager", "--task", "loadTask", "--taskfile", &file]);
    farm.tell(&["watch", "distcomp", "--interval", "10ms"]);
    let told = farm.tell(&["manager", "--task", "checkTask"]);
    let heading = "0 todo tasks, 0 in_progress tasks, 1 finished tasks, 0 failed tasks\n";
    assert!(told.starts_with(heading), "{told}");
    assert!(!told.contains("too early") && !told.contains("fail reason"), "{told}");
    let task = &farm.tasks()[0];
    assert_eq!((&task["attempt"], &task["failures"]), (&json!(2), &json!(1)));
    assert_eq!(task["end"]["reason"], "exit code 0");
    assert_eq!(task["end"]["stderr"], "");
}

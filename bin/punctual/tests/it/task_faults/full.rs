//! Disks that are full and machines that have no more of something: nothing that was acknowledged
//! is lost, no task fails for it, and whoever looks is told.

use super::{Farm, Running, lines_of, only_task, shell, text};
use crate::journaled::{SmallDisk, expect_killed};
use crate::support::PROGRAM;
use crate::task_bed::worker_args;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Bytes of a file of the log. Half of it is more than a client has under way.
const SEGMENT: u64 = 12 << 20;
/// Bytes of the disk, and of what lies on it that can be thrown overboard.
const DISK: u64 = 5 * SEGMENT;
const BALLAST: u64 = DISK / 2;
/// Bytes that make a task so large that a few hundred are too many for what is left.
const PAD: usize = 60 << 10;

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// The numbers in the lines of a file, ascending.
fn numbers(path: &Path) -> Vec<usize> {
    let numbers = lines_of(path);
    let mut numbers: Vec<usize> =
        numbers.iter().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_server_whose_disk_gets_full_says_so_and_all_that_it_took_runs_when_there_is_room() {
    const TASKS: usize = 450;
    let farm = Farm::new();
    let Some(disk) = SmallDisk::mount(&farm.path(""), DISK, "rw") else { return };
    let ballast = disk.file("ballast");
    fs::write(&ballast, vec![0_u8; BALLAST as usize]).expect("there is room for it");
    let serve = || {
        let (data, segment) = (disk.data(), SEGMENT.to_string());
        let sizes = ["--segment-bytes", &segment, "--snapshot-after", "0"];
        let mut serving = disk.start(&owned(&farm.server_args(text(&data), &sizes)));
        serving.wait_for_line("ready");
        serving
    };
    let mut server = serve();
    let worker = farm.work("node1", &["--slots", "2"]);
    let (ids, pad) = (farm.path("ids"), "x".repeat(PAD));
    let line = |id: usize| {
        let command = format!("echo {id} >> {}", text(&ids));
        json!({"id": id, "command": command, "env": {"PAD": pad}}).to_string()
    };
    let file = farm.file("tasks.jsonl", &(1..=TASKS).map(line).collect::<Vec<_>>());
    let hasty = ["task", "submit", &file, "--quiet", "--patience", "2s", "--server"];
    let submitting = Running::start(&[&hasty[..], &[farm.address()]].concat());
    server.wait_for_line("the journal is full");
    let ended = submitting.finish();
    ended.expect_code(1);
    assert!(ended.error().contains("takes no more tasks"), "{}", ended.stderr);
    assert!(ended.error().contains("the queue's journal is full"), "{}", ended.stderr);

    // What runs comes to its end, and is reported; nothing else is given out.
    let before = farm.wait_for_tasks(|tasks| tasks.iter().all(|it| it["state"] != "running"));
    assert!(before.len() < TASKS, "all of it fits");
    assert!(before.iter().any(|task| task["state"] == "ready"), "it was full too late");
    expect_killed(server);
    fs::remove_file(&ballast).expect("the ballast is there");
    let server = serve();
    let ended = farm.ask(&["submit", &file, "--quiet", "--wait"]);
    ended.expect_code(0);
    let all = format!("{TASKS} tasks: {TASKS} done, 0 failed, 0 cancelled, ");
    let known = format!("{all}{} known before", before.len());
    assert!(ended.stdout.starts_with(&known), "nothing is lost: {} is {known}", ended.stdout);
    assert_eq!(numbers(&ids), (1..=TASKS).collect::<Vec<_>>(), "every task ran, and ran once");
    worker.terminate().expect_code(0);
    server.terminate().expect_code(0);
}

#[test]
fn tasks_whose_outputs_find_no_room_end_as_they_would_and_their_reports_say_so() {
    const DISK: u64 = 4 << 20;
    const BYTES: u64 = 2 * DISK;
    let farm = Farm::new();
    let Some(disk) = SmallDisk::mount(&farm.path(""), DISK, "rw") else { return };
    let _server = farm.serve(&[]);
    let dir = disk.data().join("work");
    let args = worker_args(farm.address(), "node1", text(&dir), &["--slots", "1"]);
    let _worker = farm.wait_for_start("node1", disk.start(&owned(&args)));
    let flood = format!("head -c {BYTES} /dev/zero | tr '\\0' x; echo the end");
    let lines = [shell(&flood), shell("echo out; echo err >&2"), shell("true")];
    farm.tell(&["submit", &farm.file("tasks", &lines), "--wait"]);

    let tasks = farm.tasks();
    let said = |task: usize, field: &str| tasks[task]["end"][field].as_str().expect("text");
    let trouble = |file: &str| {
        let path = dir.join(file);
        format!("{} could not be written: No space left on device", path.display())
    };
    assert_eq!(tasks[0]["end"]["stdout_bytes"], BYTES + "the end\n".len() as u64);
    assert!(said(0, "stdout").ends_with("xthe end\n"), "the end of it is in the report");
    assert!(said(0, "stderr").contains(&trouble("1.1/stdout")), "{}", said(0, "stderr"));
    assert_eq!(said(1, "stdout"), "out\n");
    let stderr = said(1, "stderr");
    assert!(stderr.starts_with("err\n") && stderr.contains(&trouble("2.1/stdout")), "{stderr}");
    assert!(stderr.contains(&trouble("2.1/stderr")), "{stderr}");
    assert_eq!((said(2, "stdout"), said(2, "stderr")), ("", ""), "there was nothing to write");
}

#[test]
fn a_machine_without_open_files_for_more_gives_tasks_back_and_they_do_not_fail() {
    const TASKS: usize = 32;
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let (dir, gate) = (farm.path("work"), farm.fifo("gate"));
    // Each task takes three of them, so there are slots for twice as many as can run.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64 && exec \"$@\"", "sh", PROGRAM]);
    let slots = TASKS.to_string();
    let options = ["--slots", slots.as_str(), "--prefetch", "off"];
    limited.args(worker_args(farm.address(), "node1", text(&dir), &options));
    let mut worker = farm.wait_for_start("node1", Running::spawn(&mut limited));
    let ids = farm.path("ids");
    let line = |id: usize| shell(&format!("{}; echo {id} >> {}", gate.waits(), text(&ids)));
    let file = farm.file("tasks", &(1..=TASKS).map(line).collect::<Vec<_>>());
    // A failure would be the last one.
    farm.tell(&["submit", &file, "--retries", "0"]);
    let warning = worker.wait_for_line("and are given back");
    assert!(warning.contains("Too many open files"), "{warning}");

    // A word for each of them, whenever it comes to read it.
    let mut words =
        fs::File::options().read(true).write(true).open(gate.path()).expect("the pipe is there");
    words.write_all("go\n".repeat(TASKS).as_bytes()).expect("a pipe holds more");
    farm.tell(&["submit", &file, "--wait"]);
    assert_eq!(numbers(&ids), (1..=TASKS).collect::<Vec<_>>(), "every task ran, and ran once");
    let tasks = farm.tasks();
    assert!(tasks.iter().all(|task| task["state"] == "done" && task["failures"] == 0));
    let again = tasks.iter().filter(|task| task["attempt"].as_u64() > Some(1)).count();
    assert!(again > 0, "none was given back");
    worker.terminate().expect_code(0);
}

#[test]
fn a_worker_says_what_its_machine_has_left_from_the_start() {
    let farm = Farm::new();
    // Longer than any test: nothing of this is from a sign of life that was due.
    let _server = farm.serve(&["--heartbeat", "1h", "--lease-timeout", "3h"]);
    let _worker = farm.work("node1", &[]);
    farm.wait_for_worker(|worker| worker["memory_free_bytes"].as_u64() > Some(0));
    farm.tell(&["submit", &farm.file("tasks", &[shell("true")]), "--wait"]);
    assert_eq!(only_task(&farm)["state"], "done");
}

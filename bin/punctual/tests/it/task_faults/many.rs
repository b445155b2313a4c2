//! A million lines.

use super::{Farm, Running, text};
use crate::support::PROGRAM;
use crate::task_bed::document;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

const LINES: usize = 1_000_000;
/// The line that is no task.
const BAD: usize = 500_001;
/// What a server with a million tasks may take at most, in kB as the system counts it.
const MEMORY_MAX_KB: u64 = 600_000;

/// Starts the server of a farm; its process id is in `id`.
fn serve(farm: &Farm, id: &Path) -> Running {
    let journal = farm.path("journal");
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ > \"$1\"; shift; exec \"$@\"", "sh", text(id), PROGRAM]);
    command.args(farm.server_args(text(&journal), &[]));
    let mut serving = Running::spawn(&mut command);
    serving.wait_for_line("ready");
    serving
}

/// The most memory that a process has had so far.
fn memory_peak_kb(id: &Path) -> u64 {
    let id = fs::read_to_string(id).expect("the id was written");
    let status = fs::read_to_string(format!("/proc/{}/status", id.trim())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.split_ascii_whitespace().next());
    kb.and_then(|kb| kb.parse().ok()).expect("a number of kB")
}

#[expect(clippy::print_stdout, reason = "a figure that people want to see, not only its bound")]
fn expect_frugal(id: &Path, when: &str) {
    let peak = memory_peak_kb(id);
    println!("the server had at most {peak} kB {when}");
    assert!(peak < MEMORY_MAX_KB, "{peak} kB {when}");
}

#[test]
fn a_million_lines_are_taken_but_for_the_bad_one_and_kept_over_a_kill_in_bounded_memory() {
    let farm = Farm::new();
    let (id, path) = (farm.path("id"), farm.path("million.task"));
    let mut file = BufWriter::new(File::create(&path).expect("a temporary file can be made"));
    for line in 1..=LINES {
        let text = if line == BAD { "nonsense" } else { "shell:0:0:0:true" };
        writeln!(file, "{text} {line}").expect("there is room for it");
    }
    file.flush().expect("there is room for it");
    let mut server = serve(&farm, &id);
    let ended = farm.ask(&["submit", text(&path), "--quiet"]);
    ended.expect_code(1);
    let told = "job million: 999,999 tasks: 999,999 new, 0 known, 1 line is no task\n";
    assert_eq!(ended.stdout, told);
    let bad = format!("{}:{BAD}: ", text(&path));
    let named = ended.stderr.lines().filter(|line| line.starts_with(&bad)).count();
    assert_eq!(named, 1, "{}", ended.stderr);
    expect_frugal(&id, "when it had taken a million lines");
    server.kill();

    let server = serve(&farm, &id);
    let job = document(&farm.tell(&["jobs", "--json"]));
    assert_eq!(job["counts"]["ready"], LINES - 1, "{job:#}");
    let ended = farm.ask(&["submit", text(&path), "--quiet"]);
    let told = "job million: 999,999 tasks: 0 new, 999,999 known, 1 line is no task\n";
    assert_eq!(ended.stdout, told);
    assert_eq!(document(&farm.tell(&["jobs", "--json"]))["tasks"], LINES - 1);
    expect_frugal(&id, "when it had read them back and was given them again");
    server.terminate().expect_code(0);
}

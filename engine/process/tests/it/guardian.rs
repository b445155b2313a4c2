//! What is left of the tasks of a worker that was killed.

use super::*;
use punctual_process::{guard, guardian_main};
use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Where the parts that are played by other processes leave their traces.
const PLACE: &str = "PUNCTUAL_PROCESS_TEST_PLACE";

/// Words to a guardian.
fn words(words: &[i64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Starts a task that writes the number of its session into a file, and returns both.
fn sleeper(bench: &mut Bench, folder: &Path, name: &str) -> (RunId, i32) {
    let command = format!("sleep 1000 & echo $$ > {name}; sleep 1000");
    let run = bench.launch(shell(&command).in_dir(folder)).expect("a task that can be started");
    (run, bench.number_in(&folder.join(name)))
}

/// Starts this program once more, as a worker.
fn worker(place: &Path) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(part("the_part_of_the_worker"))
        .env(PLACE, place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program once more")
}

#[test]
fn a_guardian_kills_the_sessions_that_are_left_when_its_input_ends() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().expect("a directory");
    let (left, left_session) = sleeper(&mut bench, folder.path(), "left");
    let (ended, ended_session) = sleeper(&mut bench, folder.path(), "ended");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let (here, there) = (i64::from(left_session), i64::from(ended_session));
    std::thread::scope(|scope| {
        scope.spawn(|| guard(reader));
        writer.write_all(&words(&[there, here])).expect("a guardian that listens");
        writer.write_all(&words(&[-there])).expect("a guardian that listens");
        drop(writer);
    });
    assert_eq!(summary(&bench.end(left)), (EndKind::Signaled, 9));
    bench.expect_empty(left_session);
    assert!(!processes(ended_session).is_empty(), "it is not the guardian's any more");
    bench.runner.stop(ended);
    assert_eq!(summary(&bench.end(ended)), (EndKind::Signaled, 15));
}

#[test]
fn a_guardian_kills_nothing_by_words_that_mean_nothing() {
    // If it took them for anything it would be everything.
    let odd = words(&[0, -1, 1, i64::MIN, i64::MAX, -7, 1 << 40]);
    guard(odd.as_slice());
    guard(&odd[..3]);
    guard(std::io::empty());
}

#[test]
fn nothing_is_left_of_a_worker_that_is_killed() {
    let folder = tempfile::tempdir().expect("a directory");
    let place = folder.path();
    let mut worker = worker(place);
    let mut bench = Bench::new();
    let session = bench.number_in(&place.join("ready"));
    assert!(processes(session).len() >= 2, "the task and what it has started");
    worker.kill().expect("a process to kill");
    worker.wait().expect("a killed process");
    bench.expect_empty(session);
    bench.until("the end of the guardian", |_| place.join("guarded").exists().then_some(()));
}

#[test]
fn a_guardian_that_is_killed_is_replaced() {
    let folder = tempfile::tempdir().expect("a directory");
    let place = folder.path();
    let mut worker = worker(place);
    let mut bench = Bench::new();
    let session = bench.number_in(&place.join("ready"));
    let first = bench.number_in(&place.join("guardian"));
    std::fs::remove_file(place.join("guardian")).expect("a file");
    let pid = rustix::process::Pid::from_raw(first).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a process");
    // The worker starts a task again and again, and so finds out.
    let second = bench.number_in(&place.join("guardian"));
    assert_ne!(first, second);
    bench.until("a word to the second", |_| place.join("after").exists().then_some(()));
    worker.kill().expect("a process to kill");
    worker.wait().expect("a killed process");
    bench.expect_empty(session);
    bench.until("the end of the guardian", |_| place.join("guarded").exists().then_some(()));
}

/// How this program is called to play a part.
fn part(name: &str) -> Vec<String> {
    let name = format!("guardian::{name}");
    [name.as_str(), "--exact", "--ignored", "--nocapture"].map(str::to_owned).into()
}

/// Where a part is played; `None` if nobody has asked for it.
fn place() -> Option<PathBuf> {
    env::var_os(PLACE).map(PathBuf::from)
}

#[test]
#[ignore = "a part that other tests have played by a process of its own"]
fn the_part_of_the_worker() {
    let Some(place) = place() else { return };
    let guardian = part("the_part_of_the_guardian").into_iter().map(Into::into).collect();
    let config = ProcessConfig { guardian: Some(guardian), ..ProcessConfig::new("worker") };
    let mut bench = Bench::with(config);
    let (_, session) = sleeper(&mut bench, &place, "session");
    let first = bench.number_in(&place.join("guardian"));
    // From here on the guardian has been told: that happens before a launch returns.
    std::fs::write(place.join("ready"), format!("{session}\n")).expect("a file");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        bench.output(shell("true"));
        let now = std::fs::read_to_string(place.join("guardian")).unwrap_or_default();
        if now.trim().parse().is_ok_and(|now: i32| now != first) {
            // The second one is there, and was told of everything before this task ended.
            bench.output(shell("true"));
            std::fs::write(place.join("after"), "").expect("a file");
        }
    }
}

#[test]
#[ignore = "a part that other tests have played by a process of its own"]
fn the_part_of_the_guardian() {
    let Some(place) = place() else { return };
    let me = format!("{}\n", std::process::id());
    std::fs::write(place.join("guardian"), me).expect("a file");
    guardian_main(std::io::stdin().lock());
    std::fs::write(place.join("guarded"), "").expect("a file");
}

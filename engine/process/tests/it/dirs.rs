//! The directories of tasks, and the files of their outputs.

use super::*;
use punctual_process::ProcessError;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// A bench whose tasks have directories in the one that is returned.
fn bench_in(folder: &Path, file_bytes: u64) -> (Bench, PathBuf) {
    let dirs = folder.join("made/if/need/be");
    let config = ProcessConfig {
        task_dirs: Some(dirs.clone()),
        output_file_bytes_max: file_bytes,
        ..ProcessConfig::new("bench")
    };
    (Bench::with(config), dirs)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"));
    let mut names: Vec<String> = entries.collect();
    names.sort_unstable();
    names
}

#[test]
fn each_task_has_a_directory_which_goes_when_it_is_empty() {
    let folder = tempfile::tempdir().expect("a directory");
    let (mut bench, dirs) = bench_in(folder.path(), 0);
    let dirs = dirs.canonicalize().expect("a directory");
    // No file of its output in it, as there are to be none.
    let output = bench.output(shell("cd \"$PUNCTUAL_TASK_DIR\" && pwd"));
    assert_eq!(output, format!("{}\n", dirs.join("1.3").display()));
    assert!(names(&dirs).is_empty());
    bench.output(shell("echo 7 > $PUNCTUAL_TASK_DIR/result"));
    assert_eq!(names(&dirs), ["2.3"]);
    assert_eq!(std::fs::read(dirs.join("2.3/result")).expect("a file"), b"7\n");
    // One that cannot be started leaves none.
    let nowhere = shell("true").in_dir(Path::new("/no/such/directory"));
    bench.launch(nowhere).expect_err("no directory");
    assert_eq!(names(&dirs), ["2.3"]);
}

#[test]
fn outputs_are_written_to_files_up_to_their_bound() {
    let folder = tempfile::tempdir().expect("a directory");
    let (mut bench, dirs) = bench_in(folder.path(), 10);
    bench.output(shell("echo out"));
    assert_eq!(names(&dirs.join("1.3")), ["stdout"]);
    assert_eq!(std::fs::read(dirs.join("1.3/stdout")).expect("a file"), b"out\n");
    let exit = bench.run(shell("yes | head -c 100000; echo err >&2"));
    assert_eq!(exit.stdout_bytes, 100_000);
    assert_eq!(names(&dirs.join("2.3")), ["stderr", "stdout"]);
    assert_eq!(std::fs::read(dirs.join("2.3/stdout")).expect("a file"), b"y\ny\ny\ny\ny\n");
    assert_eq!(std::fs::read(dirs.join("2.3/stderr")).expect("a file"), b"err\n");
    bench.output(shell("true"));
    assert_eq!(names(&dirs), ["1.3", "2.3"]);
}

#[test]
fn a_file_that_cannot_be_written_is_reported_and_the_task_goes_on() {
    let folder = tempfile::tempdir().expect("a directory");
    let (mut bench, dirs) = bench_in(folder.path(), 10);
    std::fs::create_dir_all(dirs.join("1.3/stdout")).expect("a directory in the way");
    let exit = bench.run(shell("echo out; echo err >&2"));
    assert_eq!(summary(&exit), (EndKind::Exited, 0));
    assert_eq!(text(&exit.stdout), "out\n");
    let stderr = text(&exit.stderr);
    let trouble = stderr.strip_prefix("err\n").expect("what the task wrote");
    assert!(trouble.contains("1.3/stdout"), "{trouble}");
    assert_eq!(exit.stderr_bytes, stderr.len() as u64);
}

#[test]
fn a_directory_of_before_is_used_but_not_its_outputs_and_no_link_is() {
    let folder = tempfile::tempdir().expect("a directory");
    let (mut bench, dirs) = bench_in(folder.path(), 10);
    let before = dirs.join("1.3");
    std::fs::create_dir(&before).expect("a directory");
    for name in ["stdout", "stderr", "result"] {
        std::fs::write(before.join(name), "of before").expect("a file");
    }
    bench.output(shell("true"));
    assert_eq!(names(&before), ["result"]);

    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    symlink(&elsewhere, dirs.join("2.3")).expect("a link");
    let exit = bench.launch(shell("echo out")).expect_err("a link");
    assert_eq!(summary(&exit), (EndKind::NotStarted, 20));
    assert!(text(&exit.stderr).contains("2.3"), "{}", text(&exit.stderr));
    assert!(names(&elsewhere).is_empty());
}

#[test]
fn nobody_else_can_look_into_the_directory_of_a_task() {
    let folder = tempfile::tempdir().expect("a directory");
    let (mut bench, dirs) = bench_in(folder.path(), 10);
    bench.output(shell("echo out"));
    let made = std::fs::metadata(dirs.join("1.3")).expect("a directory");
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_place_where_no_directory_can_be_is_refused_at_once() {
    let task_dirs = Some(PathBuf::from("/dev/null/tasks"));
    let config = ProcessConfig { task_dirs, ..ProcessConfig::new("bench") };
    let error = ProcessRunner::new(config).expect_err("no directory");
    assert!(matches!(error, ProcessError::TaskDirs { .. }), "{error:?}");
    assert!(error.to_string().contains("/dev/null/tasks"), "{error}");
}

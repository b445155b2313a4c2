//! Which format a file is taken for, and the formats of the forks.

use crate::{command, commands, one, read, read_with};
use punctual_taskfile::{Format, ReadOptions, Separator, TaskStream, survey};
use std::time::Duration;

fn explicit(format: Format) -> ReadOptions {
    ReadOptions { format, ..ReadOptions::default() }
}

#[test]
fn semicolons_are_seen_in_the_first_lines() {
    let file = read("# tasks\nshell;4;2;1;curl http://host:80/; echo done\nshell;1;1;1;b\n");
    assert_eq!(file.separator, Separator::Semicolon);
    assert_eq!(commands(&file), ["curl http://host:80/; echo done", "b"]);
    assert!(file.bad.is_empty() && file.warnings.is_empty());
}

#[test]
fn semicolons_in_commands_make_no_file_one_of_semicolons() {
    let file = read("shell:1:1:1:a; b; c; d; e; f\nshell:1:1:1:c\n");
    assert_eq!(file.separator, Separator::Colon);
    assert_eq!(commands(&file), ["a; b; c; d; e; f", "c"]);
}

#[test]
fn a_line_with_the_other_separator_is_bad_and_says_so() {
    let file = read("shell:1:1:1:a\nshell:1:1:1:b\nshell;1;1;1;c\n");
    assert_eq!(commands(&file), ["a", "b"]);
    assert!(file.bad[0].why.contains("the other separator"), "{:?}", file.bad);
}

#[test]
fn a_separator_that_is_given_is_not_questioned() {
    let options = ReadOptions { separator: Separator::Colon, ..ReadOptions::default() };
    assert_eq!(read_with("shell;1;1;1;a\n", &options).bad.len(), 1);
    let options = ReadOptions { separator: Separator::Semicolon, ..ReadOptions::default() };
    assert_eq!(commands(&read_with("shell;1;1;1;a\n", &options)), ["a"]);
}

#[test]
fn objects_are_seen_in_the_first_lines() {
    let file = read("# tasks\n  {\"command\": \"a\"}\n{\"command\": \"b\"}\n");
    assert_eq!(file.format, Format::JsonLines);
    assert_eq!(commands(&file), ["a", "b"]);
    let file = read("shell:1:1:1:a\nshell:1:1:1:b\n{\"command\": \"c\"}\n");
    assert_eq!(commands(&file), ["a", "b"]);
    assert!(file.bad[0].why.contains("looks like JSON"), "{:?}", file.bad);
}

#[test]
fn timeouts_are_seen_only_if_all_lines_have_them() {
    let file = read("shell:1:1:1:60:a:b\nnonsense\nshell:1:1:1:0:c\n");
    assert_eq!((file.format, file.bad.len()), (Format::Timeout, 1));
    assert_eq!(commands(&file), ["a:b", "c"]);
    let timeouts: Vec<_> = file.tasks.iter().map(|task| task.timeout).collect();
    assert_eq!(timeouts, [Some(Duration::from_secs(60)), None]);
    assert!(file.warnings[0].contains("original"), "{:?}", file.warnings);

    let file = read("shell:1:1:1:60:a\nshell:1:1:1:echo x:y\n");
    assert_eq!(file.format, Format::Original);
    assert_eq!(commands(&file), ["60:a", "echo x:y"]);
    assert!(file.warnings[0].contains("line 1") && file.warnings[0].contains("line 2"));
}

#[test]
fn a_timeout_without_a_command_is_a_bad_line() {
    let file = read("shell:1:1:1:60:a\nshell:1:1:1:60:\nnonsense\n");
    assert_eq!(commands(&file), ["a"]);
    let bad: Vec<_> = file.bad.iter().map(|bad| (bad.line, bad.text.as_str())).collect();
    assert_eq!(bad, [(2, "shell:1:1:1:60:"), (3, "nonsense")]);
}

#[test]
fn seconds_do_not_change_which_task_it_is() {
    let guessed = one("shell:1:1:1:60:a");
    let told = read_with("shell:1:1:1:60:a", &explicit(Format::Timeout)).tasks.remove(0);
    let refused = read_with("shell:1:1:1:60:a", &explicit(Format::Original)).tasks.remove(0);
    assert_eq!(guessed, told);
    assert_eq!((guessed.key, command(&refused)), (refused.key, "60:a"));
}

#[test]
fn in_the_timeout_format_a_line_of_five_fields_has_none() {
    let text = "shell:1:1:1:a\nshell:1:1:1:90:b\nshell:1:1:1:echo x:y\nshell:1:1:1:0:echo x:y\n";
    let file = read_with(text, &explicit(Format::Timeout));
    assert_eq!(commands(&file), ["a", "b", "echo x:y"]);
    let millis: Vec<_> = file.tasks.iter().map(punctual_taskfile::TaskDraft::timeout_ms).collect();
    assert_eq!(millis, [0, 90_000, 0]);
    assert_eq!(file.bad[0].line, 3);
    assert!(file.bad[0].why.contains("the timeout \"echo x\""), "{:?}", file.bad);
}

#[test]
fn the_default_timeout_is_for_tasks_that_say_nothing() {
    let hour = Some(Duration::from_secs(3600));
    let options = ReadOptions { default_timeout: hour, ..explicit(Format::Timeout) };
    let file = read_with("shell:1:1:1:a\nshell:1:1:1:0:b\nshell:1:1:1:5:c\n", &options);
    let timeouts: Vec<_> = file.tasks.iter().map(|task| task.timeout).collect();
    assert_eq!(timeouts, [hour, None, Some(Duration::from_secs(5))]);

    let options = ReadOptions { default_timeout: hour, ..ReadOptions::default() };
    let file = read_with("shell:1:1:1:5:a\nshell:1:1:1:0:b\n", &options);
    let timeouts: Vec<_> = file.tasks.iter().map(|task| task.timeout).collect();
    assert_eq!(timeouts, [Some(Duration::from_secs(5)), None]);

    let text = "{\"command\": \"a\"}\n{\"command\": \"b\", \"timeout\": 0}\n";
    let file = read_with(text, &options);
    let timeouts: Vec<_> = file.tasks.iter().map(|task| task.timeout).collect();
    assert_eq!(timeouts, [hour, None]);
    // It is no part of what the task is.
    assert_eq!(file.tasks[0].key, read(text).tasks[0].key);
}

#[test]
fn a_survey_tells_the_format_and_the_number_of_lines() {
    let look = |text: &str| survey(text.as_bytes(), &ReadOptions::default()).unwrap();
    let found = look("# a\nshell;1;1;1;5;a\n\nshell;1;1;1;6;b\nnonsense\n");
    let expected = (Format::Timeout, Separator::Semicolon, 3);
    assert_eq!((found.format, found.separator, found.lines), expected);
    assert_eq!(look("shell:1:1:1:5:a\nshell:1:1:1:b\n").format, Format::Original);
    assert_eq!(look("{\"command\": \"a\"}\n").format, Format::JsonLines);
}

#[test]
fn a_file_that_is_streamed_gives_the_same_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task");
    for text in [
        "shell:1:1:1:a:b\nnonsense\nshell:1:1:1:a:b\nshell:1:1:1:c\n",
        "shell:1:1:1:60:a\r\nshell:1:1:1:0:b\r\n",
        "shell:1:1:1:60:a\nshell:1:1:1:b\n",
        "shell;1;1;1;a\n",
        "{\"id\": 2, \"kind\": \"noop\", \"after\": 1}\n{\"id\": 1, \"kind\": \"noop\"}\n",
    ] {
        std::fs::write(&path, text).unwrap();
        let mut stream = TaskStream::open(&path, &ReadOptions::default()).unwrap();
        let tasks: Vec<_> = stream.by_ref().map(Result::unwrap).collect();
        let summary = stream.into_summary();
        let file = read(text);
        assert_eq!(tasks, file.tasks, "{text}");
        assert_eq!((summary.format, summary.bad), (file.format, file.bad), "{text}");
        assert_eq!((summary.duplicates, summary.warnings), (file.duplicates, file.warnings));
    }
}

#[test]
fn a_stream_that_cannot_know_reads_no_timeouts_and_says_so() {
    let text = "shell:1:1:1:60:a\nshell:1:1:1:0:b\n";
    let mut stream = TaskStream::new(text.as_bytes(), &ReadOptions::default()).unwrap();
    let tasks: Vec<_> = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!(command(&tasks[0]), "60:a");
    let summary = stream.into_summary();
    assert!(summary.warnings[0].contains("format \"timeout\""), "{:?}", summary.warnings);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no such file");
    let error = TaskStream::open(&path, &ReadOptions::default()).err().expect("it is not there");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

#[test]
fn formats_and_separators_have_names() {
    for format in Format::ALL {
        assert_eq!(format.name().parse::<Format>(), Ok(format));
    }
    for separator in Separator::ALL {
        assert_eq!(separator.to_string().parse::<Separator>(), Ok(separator));
    }
    assert_eq!(";".parse::<Separator>(), Ok(Separator::Semicolon));
    let error = "jsonlines".parse::<Format>().unwrap_err().to_string();
    assert!(error.contains("did you mean \"json-lines\"?"), "{error}");
}

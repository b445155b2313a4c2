//! Tests of task files through the public face of the crate.

mod any_input;
mod arrays;
mod conf;
mod formats;
mod json;
mod large;
mod order;
mod original;
mod quoting;
mod show;
mod units;

use punctual_taskfile::{ReadOptions, TaskDraft, TaskFile, read_tasks};

/// A file as it is read when nothing is said about it.
fn read(text: &str) -> TaskFile {
    read_with(text, &ReadOptions::default())
}

fn read_with(text: &str, options: &ReadOptions) -> TaskFile {
    read_tasks(text.as_bytes(), options).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The task of a file that has one, and nothing bad.
fn one(text: &str) -> TaskDraft {
    let mut file = read(text);
    assert!(file.bad.is_empty(), "{:?}", file.bad);
    assert_eq!(file.tasks.len(), 1, "{text}");
    file.tasks.remove(0)
}

/// What is wrong with the only line of a file.
fn why(text: &str) -> String {
    let mut file = read(text);
    assert_eq!((file.tasks.len(), file.bad.len()), (0, 1), "{text}: {:?}", file.tasks);
    file.bad.remove(0).why
}

fn command(draft: &TaskDraft) -> &str {
    str::from_utf8(&draft.command).expect("the tests have texts for commands")
}

fn commands(file: &TaskFile) -> Vec<&str> {
    file.tasks.iter().map(command).collect()
}

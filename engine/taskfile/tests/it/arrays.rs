//! Lines that stand for many tasks.

use crate::{command, commands, read, why};
use punctual_taskfile::{ARRAY_INDEX_VARIABLE, ARRAY_TASKS_MAX, ReadOptions, TaskStream, key_of};

fn indices(line: &str) -> Vec<String> {
    let file = read(line);
    assert!(file.bad.is_empty(), "{:?}", file.bad);
    let index = |task: &punctual_taskfile::TaskDraft| {
        let variable = task.env.iter().find(|(name, _)| name == ARRAY_INDEX_VARIABLE);
        variable.expect("every task of an array has its index").1.clone()
    };
    file.tasks.iter().map(index).collect()
}

#[test]
fn an_array_is_one_task_for_each_index() {
    let array = |text: &str| indices(&format!("{{\"command\": \"a\", \"array\": {text}}}"));
    assert_eq!(array("{\"from\": 3, \"to\": 5}"), ["3", "4", "5"]);
    assert_eq!(array("{\"to\": 2}"), ["0", "1", "2"]);
    assert_eq!(array("{\"from\": 1, \"to\": 8, \"step\": 3}"), ["1", "4", "7"]);
    assert_eq!(array("{\"from\": -2, \"to\": 2, \"step\": 2}"), ["-2", "0", "2"]);
    assert_eq!(array("{\"from\": 4, \"to\": 4}"), ["4"]);
    let top = i64::MAX;
    assert_eq!(array(&format!("{{\"from\": {}, \"to\": {top}}}", top - 1)).len(), 2);
    assert_eq!(
        array(&format!("{{\"from\": {}, \"to\": {top}, \"step\": {top}}}", i64::MIN)).len(),
        3
    );
}

#[test]
fn the_index_is_put_into_every_text() {
    let line = r#"{"command": "run {index} > {index}.log", "id": "sim-{index}",
        "cwd": "/d/{index}", "env": {"SEED": "1{index}"}, "after": ["prep-{index}", "all"],
        "array": {"from": 7, "to": 7}}"#;
    let file = read(&line.replace('\n', " "));
    let task = &file.tasks[0];
    assert_eq!(command(task), "run 7 > 7.log");
    assert_eq!((task.name.as_str(), task.cwd.as_deref()), ("sim-7", Some("/d/7")));
    assert_eq!(task.key, key_of(b"sim-7"));
    assert_eq!(task.after, ["prep-7", "all"]);
    let seed = task.env.iter().find(|(name, _)| name == "SEED").map(|(_, value)| value.as_str());
    assert_eq!(seed, Some("17"));
}

#[test]
fn the_index_is_put_between_the_quotes_of_a_list() {
    let file = read(r#"{"command": ["./run", "out {index}"], "array": {"to": 1}}"#);
    assert_eq!(commands(&file), ["./run 'out 0'", "./run 'out 1'"]);
}

#[test]
fn tasks_of_an_array_differ_even_if_their_commands_do_not() {
    let file = read(r#"{"command": "a", "array": {"to": 9}}"#);
    assert_eq!((file.tasks.len(), file.duplicates), (10, 0));
    assert_ne!(file.tasks[0].key, file.tasks[1].key);
    assert!(file.tasks.iter().all(|task| task.line == 1));
}

#[test]
fn ids_that_become_the_same_are_named_once() {
    let file = read(r#"{"command": "a", "after": ["x-{index}", "x-1"], "array": {"to": 1}}"#);
    assert_eq!(file.tasks[0].after, ["x-0", "x-1"]);
    assert_eq!(file.tasks[1].after, ["x-1"]);
}

#[test]
fn a_wrong_array_is_an_error_that_says_what_is_wrong() {
    let cases = [
        ("5", "is not {\"from\": 0, \"to\": 99}"),
        ("{}", "\"to\", the last index, is missing"),
        ("{\"from\": 1}", "\"to\", the last index, is missing"),
        ("{\"to\": 1.5}", "\"to\": 1.5 is not a whole number"),
        ("{\"to\": 5, \"step\": 0}", "\"step\" has to go up"),
        ("{\"to\": 5, \"step\": -1}", "\"step\" has to go up"),
        ("{\"from\": 5, \"to\": 4}", "from 5 to 4"),
        ("{\"to\": 5, \"stop\": 1}", "did you mean \"step\"?"),
        ("{\"to\": 1000000}", "1000001 tasks, and 1000000 is the most"),
    ];
    for (array, expected) in cases {
        let why = why(&format!("{{\"command\": \"a\", \"array\": {array}}}"));
        assert!(why.contains(expected), "{array}: {why}");
    }
    let no_index = why(r#"{"command": "a", "id": "x", "array": {"to": 1}}"#);
    assert!(no_index.contains("put {index} into it"), "{no_index}");
    let taken = why(r#"{"command": "a", "env": {"PUNCTUAL_ARRAY_INDEX": 1}, "array": {"to": 1}}"#);
    assert!(taken.contains("PUNCTUAL_ARRAY_INDEX"), "{taken}");
}

#[test]
fn the_largest_array_is_made_one_task_at_a_time() {
    let line = format!("{{\"kind\": \"noop\", \"array\": {{\"to\": {}}}}}", ARRAY_TASKS_MAX - 1);
    let mut stream = TaskStream::new(line.as_bytes(), &ReadOptions::default()).unwrap();
    let first = stream.next().expect("the array has tasks").unwrap();
    assert_eq!(first.env[0].1, "0");
    assert_eq!(stream.nth(41).expect("there are more").unwrap().env[0].1, "42");
}

//! Tasks that come after others.

use crate::{commands, read};
use punctual_taskfile::{ReadOptions, TaskFileError, TaskStream, key_of, read_tasks};
use std::collections::HashSet;

/// A file of tasks, each an id and those that it comes after.
fn file_of(tasks: &[(&str, &[&str])]) -> String {
    let line = |(id, after): &(&str, &[&str])| {
        format!("{{\"command\": \"{id}\", \"id\": \"{id}\", \"after\": {after:?}}}\n")
    };
    tasks.iter().map(line).collect()
}

fn order(tasks: &[(&str, &[&str])]) -> Vec<String> {
    let file = read(&file_of(tasks));
    assert!(file.bad.is_empty(), "{:?}", file.bad);
    commands(&file).into_iter().map(str::to_owned).collect()
}

fn cycle(tasks: &[(&str, &[&str])]) -> (Vec<String>, String) {
    let error = read_tasks(file_of(tasks).as_bytes(), &ReadOptions::default()).unwrap_err();
    let text = error.to_string();
    match error {
        TaskFileError::Cycle { ids } => (ids, text),
        error => panic!("{error}"),
    }
}

#[test]
fn a_file_in_order_stays_as_it_is() {
    let tasks: [(&str, &[&str]); 4] = [("d", &[]), ("c", &["d"]), ("b", &[]), ("a", &["b", "c"])];
    assert_eq!(order(&tasks), ["d", "c", "b", "a"]);
}

#[test]
fn a_task_moves_behind_the_last_of_those_that_it_comes_after() {
    let tasks: [(&str, &[&str]); 5] =
        [("a", &["c", "d"]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[])];
    assert_eq!(order(&tasks), ["b", "c", "d", "a", "e"]);
}

#[test]
fn a_chain_written_backwards_is_turned_round() {
    let tasks: [(&str, &[&str]); 4] = [("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &[])];
    assert_eq!(order(&tasks), ["d", "c", "b", "a"]);
}

#[test]
fn those_that_wait_for_the_same_keep_their_order() {
    let tasks: [(&str, &[&str]); 4] = [("a", &["z"]), ("b", &["z"]), ("c", &["z"]), ("z", &[])];
    assert_eq!(order(&tasks), ["z", "a", "b", "c"]);
}

#[test]
fn an_id_that_the_file_does_not_have_is_left_to_the_job() {
    let tasks: [(&str, &[&str]); 3] = [("a", &["elsewhere"]), ("b", &[]), ("c", &["a", "b"])];
    assert_eq!(order(&tasks), ["b", "a", "c"]);
    let file = read(&file_of(&tasks));
    assert_eq!(file.tasks[1].after_keys(), [key_of(b"elsewhere")]);
    assert_eq!(file.warnings.len(), 1);
    let warning = &file.warnings[0];
    assert!(warning.contains("(1, the first is \"elsewhere\" in line 1)"), "{warning}");
}

#[test]
fn a_task_may_come_after_a_line_of_the_original_by_its_text() {
    let file = read("{\"command\": \"a\", \"after\": [\"shell:1:1:1:b\"]}\n");
    assert_eq!(file.tasks[0].after_keys(), [key_of(b"shell:1:1:1:b")]);
}

#[test]
fn an_array_may_come_after_another_one_index_by_index() {
    let text = "{\"command\": \"b{index}\", \"after\": \"a{index}\", \"array\": {\"to\": 2}}\n\
                {\"command\": \"a{index}\", \"id\": \"a{index}\", \"array\": {\"to\": 2}}\n";
    assert_eq!(commands(&read(text)), ["a0", "b0", "a1", "b1", "a2", "b2"]);
}

#[test]
fn tasks_in_a_circle_are_an_error_that_names_them() {
    let tasks: [(&str, &[&str]); 5] =
        [("x", &["b"]), ("a", &["b"]), ("b", &["c", "free"]), ("c", &["a"]), ("free", &[])];
    let (ids, text) = cycle(&tasks);
    assert_eq!(ids, ["c", "a", "b"]);
    assert!(text.contains("c after a after b after c;"), "{text}");
}

#[test]
fn a_task_after_itself_is_a_circle() {
    assert_eq!(cycle(&[("a", &["a"])]).0, ["a"]);
}

#[test]
fn of_a_long_circle_the_message_names_a_part() {
    let names: Vec<String> = (0..100).map(|id| format!("task{id}")).collect();
    let after: Vec<[&str; 1]> = (0..100).map(|id| [names[(id + 1) % 100].as_str()]).collect();
    let tasks: Vec<(&str, &[&str])> =
        names.iter().zip(&after).map(|(id, after)| (id.as_str(), after.as_slice())).collect();
    let (ids, text) = cycle(&tasks);
    assert_eq!(ids.len(), 100);
    assert!(text.contains("after ... after task1;") && text.len() < 400, "{text}");
}

#[test]
fn a_stream_ends_with_the_circle_and_hands_none_of_it_on() {
    let text = file_of(&[("a", &["b"]), ("b", &["a"]), ("c", &["elsewhere"]), ("d", &[])]);
    let stream = TaskStream::new(text.as_bytes(), &ReadOptions::default()).unwrap();
    let items: Vec<_> = stream.collect();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0].as_ref().unwrap().name, "d");
    assert!(matches!(&items[1], Err(TaskFileError::Cycle { ids }) if ids.len() == 2));
}

#[test]
fn whatever_the_order_of_the_lines_none_comes_before_what_it_comes_after() {
    // A ladder of 200 tasks in an order that jumps about.
    let names: Vec<String> = (0..200).map(|id| format!("t{id}")).collect();
    let mut text = String::new();
    for step in 0..200 {
        let id = step * 77 % 200;
        let after: Vec<&str> = [1, 2, 50]
            .iter()
            .filter_map(|back| Some(names[usize::checked_sub(id, *back)?].as_str()))
            .collect();
        text += &file_of(&[(names[id].as_str(), after.as_slice())]);
    }
    let file = read(&text);
    assert_eq!((file.tasks.len(), file.warnings.len()), (200, 0));
    let mut seen = HashSet::new();
    for task in &file.tasks {
        assert!(task.after_keys().iter().all(|key| seen.contains(key)), "{}", task.name);
        seen.insert(task.key);
    }
}

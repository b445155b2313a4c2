//! Tasks in the words of the original.

use crate::{one, read_with};
use proptest::prelude::*;
use punctual_taskfile::{Format, ReadOptions, TaskText};
use punctual_wire::task::PayloadKind;

#[test]
fn a_task_is_shown_as_the_original_shows_it() {
    let text = one("shell:4:2:2:./cachesim PARAM1 PARAM2").text().to_string();
    let expected = "task_type: shell, priority: 4, min_dram_gb: 2, require_cpu_core: 2, \
                    task_params: ./cachesim PARAM1 PARAM2";
    assert_eq!(text, expected);
}

#[test]
fn what_the_original_cannot_say_is_shown_as_a_fraction() {
    let draft = one(
        r#"{"command": "a", "priority": -1, "resources": {"memory": "1536MiB", "cores": 0.25}}"#,
    );
    let expected = "task_type: shell, priority: -1, min_dram_gb: 1.5, require_cpu_core: 0.25, \
                    task_params: a";
    assert_eq!(draft.text().to_string(), expected);
    assert_eq!(draft.text().line(b':'), None);
}

#[test]
fn a_task_that_the_original_could_have_has_a_line() {
    for line in ["shell:4:2:2:a:b", "python:0:0:0:x", "demo:1:0:0:hello"] {
        assert_eq!(one(line).text().line(b':').as_deref(), Some(line.as_bytes()));
    }
    let two_lines = one(r#"{"command": "a\nb"}"#);
    assert_eq!(two_lines.text().line(b':'), None);
}

#[test]
fn what_is_no_such_text_is_not_read() {
    let texts = [
        "",
        "shell:4:2:2:a",
        "task_type: shell",
        "task_type: bash, priority: 4, min_dram_gb: 2, require_cpu_core: 2, task_params: a",
        "task_type: shell, priority: x, min_dram_gb: 2, require_cpu_core: 2, task_params: a",
        "task_type: shell, priority: 4, min_dram_gb: two, require_cpu_core: 2, task_params: a",
        "task_type: shell, priority: 4, min_dram_gb: 2, require_cpu_core: -2, task_params: a",
        "task_type: shell, priority: 4, min_dram_gb: 2, require_cpu_core: 2",
    ];
    for text in texts {
        assert_eq!(TaskText::parse(text.as_bytes()), None, "{text}");
    }
}

fn kinds() -> impl Strategy<Value = PayloadKind> {
    prop::sample::select(PayloadKind::ALL.to_vec())
}

proptest! {
    #[test]
    fn the_text_reads_back_as_the_same_task(
        kind in kinds(),
        priority in any::<i32>(),
        memory in 0_u64..1 << 45,
        cores_milli in any::<u32>(),
        command in "\\PC{0,60}",
    ) {
        let command = command.as_bytes();
        let task = TaskText { kind, priority, memory, cores_milli, command };
        let text = task.to_string();
        prop_assert_eq!(TaskText::parse(text.as_bytes()), Some(task));
    }

    #[test]
    fn the_line_reads_back_as_the_same_task(
        kind in kinds(),
        priority in 0..=i32::MAX,
        gib in 0_u64..1 << 30,
        cores in 0_u32..4_000_000,
        command in "[^\\n\\r\0]{1,60}",
        separator in prop::sample::select(vec![b':', b';']),
    ) {
        let (memory, cores_milli) = (gib << 30, cores * 1000);
        let task = TaskText { kind, priority, memory, cores_milli, command: command.as_bytes() };
        let line = String::from_utf8(task.line(separator).expect("it has a line")).unwrap();
        let options = ReadOptions { format: Format::Original, ..ReadOptions::default() };
        let file = read_with(&line, &options);
        prop_assert_eq!(file.tasks.len(), 1, "{:?}", file.bad);
        prop_assert_eq!(file.tasks[0].text(), task);
    }
}

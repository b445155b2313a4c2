//! The original's lines.

use crate::{command, commands, one, read, why};
use punctual_taskfile::{
    BAD_LINES_KEPT, Format, LINE_BYTES_MAX, ReadOptions, TaskDraft, key_of, parse_line, read_tasks,
};
use punctual_wire::task::{PAYLOAD_BYTES_MAX, PayloadKind, TaskPayload};

const GIB: u64 = 1 << 30;

#[test]
fn a_line_has_type_priority_memory_cores_and_command() {
    let line = "shell:4:2:3:./cachesim PARAM1 PARAM2";
    let expected = TaskDraft {
        line: 2,
        kind: PayloadKind::Shell,
        command: b"./cachesim PARAM1 PARAM2".to_vec(),
        name: String::new(),
        cwd: None,
        env: Vec::new(),
        priority: 4,
        memory: 2 * GIB,
        cores_milli: 3000,
        timeout: None,
        retries: None,
        after: Vec::new(),
        key: key_of(line.as_bytes()),
        is_named: false,
    };
    assert_eq!(one(&format!("# tasks\n{line}\n")), expected);
}

#[test]
fn separators_in_the_command_belong_to_it() {
    for text in ["curl http://host:80/", ":", "::::", "a:b:c:d:e:f", "echo 5:6"] {
        assert_eq!(command(&one(&format!("shell:1:1:1:{text}"))), text);
    }
}

#[test]
fn pipes_and_redirections_stay_as_they_are() {
    let text = "cd $out && ./sim a.zst fifo,lru 0.001,0.01 2> log.err | grep result >> ${OUT}; :";
    assert_eq!(command(&one(&format!("shell:101:26:1:{text}"))), text);
}

#[test]
fn defect_09_python_tasks_are_accepted() {
    let draft = one("python:1:0:1:print(6 * 7)");
    assert_eq!((draft.kind, command(&draft)), (PayloadKind::Python, "print(6 * 7)"));
    let bytes = draft.payload();
    assert_eq!(TaskPayload::read(&bytes).unwrap().kind, PayloadKind::Python);
}

#[test]
fn defect_09_demo_tasks_are_accepted_and_do_nothing() {
    let draft = one("demo:1:0:0:hello");
    assert_eq!((draft.kind, command(&draft)), (PayloadKind::Noop, "hello"));
}

#[test]
fn lines_that_are_the_same_are_one_task() {
    let file = read("shell:1:1:1:a\nshell:1:1:1:b\nshell:1:1:1:a\nshell:1:1:1:a\n");
    assert_eq!(commands(&file), ["a", "b"]);
    assert_eq!((file.duplicates, file.bad.len()), (2, 0));
    assert_eq!(file.warnings.len(), 1);
    assert!(
        file.warnings[0].contains("line 3, which is the same as line 1"),
        "{:?}",
        file.warnings
    );
}

#[test]
fn lines_that_differ_in_anything_are_different_tasks() {
    let lines = [
        "shell:1:1:1:a",
        "shell:1:1:1:a ",
        "shell:2:1:1:a",
        "shell:01:1:1:a",
        "shell:1:2:1:a",
        "shell:1:1:0:a",
        "python:1:1:1:a",
    ];
    let file = read(&lines.join("\n"));
    assert_eq!((file.tasks.len(), file.duplicates), (lines.len(), 0));
    for (task, line) in file.tasks.iter().zip(lines) {
        assert_eq!(task.key, key_of(line.as_bytes()));
    }
}

#[test]
fn blanks_around_a_command_belong_to_it() {
    assert_eq!(command(&one("shell:1:1:1:  echo a \t")), "  echo a \t");
}

#[test]
fn numbers_may_be_zero_and_have_leading_zeros() {
    let draft = one("shell:007:0:00:true");
    assert_eq!((draft.priority, draft.memory, draft.cores_milli), (7, 0, 0));
}

#[test]
fn a_bad_line_says_what_is_wrong_with_it() {
    let cases = [
        ("./run.sh a b", "it has 1 of the five fields"),
        ("shell:1:1:1", "it has 4 of the five fields"),
        (" shell:1:1:1:a", "blanks around it count"),
        ("shel:1:1:1:a", "did you mean \"shell\"?"),
        ("Shell:1:1:1:a", "did you mean \"shell\"?"),
        (":1:1:1:a", "the type \"\" is not one of shell, python, demo"),
        ("  # a:b:c:d", "the # of a comment has to be the first character"),
        ("  # a:b:c:d:e", "the # of a comment has to be the first character"),
        ("shell::1:1:a", "the priority \"\" is not a whole number"),
        ("shell:-1:1:1:a", "the priority \"-1\" is not a whole number"),
        ("shell:+1:1:1:a", "the priority \"+1\" is not a whole number"),
        ("shell: 1:1:1:a", "the priority \" 1\" is not a whole number"),
        ("shell:1:1.5:1:a", "the memory in GB \"1.5\" is not a whole number"),
        ("shell:1:1.5:1:a", "JSON lines"),
        ("shell:1:1:two:a", "the number of cores \"two\" is not a whole number"),
        ("shell:1:1:\u{b2}:a", "the number of cores \"\u{b2}\" is not a whole number"),
        ("shell:2147483648:1:1:a", "2147483647 is the most"),
        ("shell:1:17179869184:1:a", "17179869183 is the most"),
        ("shell:1:1:4294968:a", "4294967 is the most"),
        ("shell:99999999999999999999999:1:1:a", "2147483647 is the most"),
        ("shell:1:1:1:", "there is no command"),
        ("shell:1:1:1:a\0b", "NUL"),
    ];
    for (line, expected) in cases {
        let why = why(line);
        assert!(why.contains(expected), "{line:?}: {why}");
    }
}

#[test]
fn the_largest_numbers_are_taken() {
    let draft = one("shell:2147483647:17179869183:4294967:a");
    let expected = (i32::MAX, 17_179_869_183 * GIB, 4_294_967_000);
    assert_eq!((draft.priority, draft.memory, draft.cores_milli), expected);
}

#[test]
fn bad_lines_are_named_by_number_and_the_others_load() {
    let file = read("# a\nshell:1:1:1:a\nnonsense\n\nshell:1:1:1:b\nshell:x:1:1:c\n");
    assert_eq!(commands(&file), ["a", "b"]);
    let bad: Vec<_> = file.bad.iter().map(|bad| (bad.line, bad.text.as_str())).collect();
    assert_eq!(bad, [(3, "nonsense"), (6, "shell:x:1:1:c")]);
    assert!(file.bad[1].to_string().starts_with("line 6: the priority \"x\""), "{}", file.bad[1]);
}

#[test]
fn of_very_many_bad_lines_the_rest_is_counted() {
    let text = "nonsense\n".repeat(BAD_LINES_KEPT + 7) + "shell:1:1:1:a\n";
    let file = read(&text);
    assert_eq!((file.bad.len(), file.bad_left_out), (BAD_LINES_KEPT, 7));
    assert_eq!(commands(&file), ["a"]);
}

#[test]
fn what_is_shown_of_a_bad_line_is_short_and_gives_a_terminal_no_orders() {
    let file = read(&format!("\u{1b}[2J{}\n", "x".repeat(5000)));
    let text = &file.bad[0].text;
    assert!(text.starts_with("\\u{1b}[2Jxxx") && text.ends_with("x..."), "{text}");
    assert!(text.chars().count() < 140, "{text}");
}

#[test]
fn a_command_need_not_be_utf_8() {
    let text = b"shell:1:1:1:cat caf\xe9 \xff\nshell:1:1:1:\xfe\n".as_slice();
    let file = read_tasks(text, &ReadOptions::default()).unwrap();
    let commands: Vec<_> = file.tasks.iter().map(|task| task.command.as_slice()).collect();
    assert_eq!(commands, [b"cat caf\xe9 \xff".as_slice(), b"\xfe".as_slice()]);
    let bytes = file.tasks[0].payload();
    assert_eq!(TaskPayload::read(&bytes).unwrap().command, b"cat caf\xe9 \xff");
}

#[test]
fn windows_line_ends_are_taken_off_and_told() {
    let file = read("shell:1:1:1:a\r\nshell:1:1:1:b\r\n");
    assert_eq!(commands(&file), ["a", "b"]);
    assert_eq!(file.tasks[0].key, key_of(b"shell:1:1:1:a"));
    assert_eq!(file.warnings.len(), 1);
    assert!(file.warnings[0].contains("CR LF") && file.warnings[0].contains("line 1"));
}

#[test]
fn a_byte_order_mark_is_taken_off_and_told() {
    let file = read("\u{feff}shell:1:1:1:a\n");
    assert_eq!(file.tasks[0].key, key_of(b"shell:1:1:1:a"));
    assert!(file.warnings[0].contains("byte order mark"), "{:?}", file.warnings);
}

#[test]
fn an_empty_file_has_no_tasks_and_nothing_bad() {
    for text in ["", "\n\n", "# only\n# comments", "ab\nx\n"] {
        let file = read(text);
        assert_eq!((file.tasks.len(), file.bad.len(), file.warnings.len()), (0, 0, 0), "{text:?}");
        assert_eq!(file.format, Format::Original);
    }
}

#[test]
fn what_is_too_long_to_be_submitted_is_a_bad_line() {
    let long = format!("shell:1:1:1:{}", "x".repeat(LINE_BYTES_MAX));
    let file = read(&format!("{long}\nshell:1:1:1:a\n"));
    assert_eq!(commands(&file), ["a"]);
    assert!(file.bad[0].why.contains("131072"), "{:?}", file.bad);

    // The longest line still has room for what a payload has beside its command.
    let longest = format!("shell:1:1:1:{}", "x".repeat(LINE_BYTES_MAX - 32));
    assert!(one(&longest).payload().len() <= PAYLOAD_BYTES_MAX);
}

#[test]
fn a_line_of_its_own_is_read_like_one_of_a_file() {
    let options = ReadOptions::default();
    let line = "shell;1;1;1;a:b";
    assert_eq!(parse_line(line.as_bytes(), &options).unwrap(), one(line));
    let timed = ReadOptions { format: Format::Timeout, ..options };
    let draft = parse_line(b"shell:1:1:1:60:a", &timed).unwrap();
    assert_eq!((command(&draft), draft.timeout_ms()), ("a", 60_000));
    let bad = parse_line(b"nonsense", &options).unwrap_err();
    assert_eq!((bad.line, bad.text.as_str()), (1, "nonsense"));
}

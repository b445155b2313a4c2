use super::*;

fn captured(tail: &[u8]) -> Captured<'_> {
    Captured { bytes: tail.len() as u64, tail }
}

fn end<'a>(kind: EndKind, code: i32, stderr: Captured<'a>) -> TaskEnd<'a> {
    TaskEnd {
        kind,
        code,
        waited_ns: 0,
        ran_ns: 0,
        cpu_ns: 0,
        memory: 0,
        stdout: Captured::default(),
        stderr,
    }
}

fn head(line: &str) -> Option<(i32, u64, u32)> {
    let head = Head::read(line.as_bytes(), &ReadOptions::default())?;
    Some((head.priority, head.memory, head.cores_milli))
}

#[test]
fn the_head_of_a_line_is_read_as_the_whole_line_would_be() {
    for line in [
        "shell:4:2:1:./run a",
        "shell;4;2;1;curl http://x:80/",
        "python:0:0:0:print(1)",
        "shell:7:1:3:echo a:b:c",
        "demo:1:1:1:x",
        r#"{"command": "true", "priority": 3}"#,
    ] {
        let draft = parse_line(line.as_bytes(), &ReadOptions::default()).expect(line);
        assert_eq!(head(line), Some((draft.priority, draft.memory, draft.cores_milli)), "{line}");
    }
}

#[test]
fn what_is_no_task_has_no_head() {
    for line in [
        STOP_ORDER,
        "WORKER_COMMAND_CLOSE:0:0:0:WORKER_COMMAND_CLOSE",
        "shell:1:2:3:",
        "shell:1:2:3",
        "shell:-1:2:3:x",
        "shell:1.5:2:3:x",
        " shell:1:2:3:x",
        "shell:99999999999:2:3:x",
        "",
    ] {
        assert_eq!(head(line), None, "{line}");
    }
}

#[test]
fn the_original_splits_lines_at_every_colon() {
    assert!(is_original(b"shell:4:2:1:./run a"));
    for line in [
        "shell:4:2:1:curl http://x:80/",
        "shell:4:2:1:60:./run",
        "shell;4;2;1;./run",
        "python:4:2:1:print(1)",
        "shell:4:2:1:",
    ] {
        assert!(!is_original(line.as_bytes()), "{line}");
    }
}

#[test]
fn names_lose_what_the_original_splits_at() {
    assert_eq!(worker_name("node-1.2_x"), "node-1.2_x");
    assert_eq!(worker_name("a,b:c d\n"), "a-b-c-d-");
    assert_eq!(worker_name(""), "worker");
}

#[test]
fn a_status_is_written_as_the_original_writes_it_and_read_back() {
    let status = Status::new(1_700_000_000, [1500, 4000], [3 << 29, 8 << 30]);
    let text = status.to_string();
    assert_eq!(text, "1700000000:1.50:4.00:1.50:8.00");
    assert_eq!(Status::read(text.as_bytes()), Some(status));
    assert_eq!(Status::time_of(b"1700000001:junk"), Some(1_700_000_001));
    for broken in ["", "now:1:2:3:4", "1:2:3:4", "1:2:3:4:x"] {
        assert_eq!(Status::read(broken.as_bytes()), None, "{broken}");
    }
}

#[test]
fn results_are_stripped_and_in_ascii_whatever_the_task_wrote() {
    let value = |stdout: &[u8]| finished_value("node1", &captured(stdout));
    assert_eq!(value(b"  42\n"), r#"node1: "42""#);
    let strange = value("a \"b\" é \u{1f600}\n".as_bytes());
    assert_eq!(strange, r#"node1: "a \"b\" \u00e9 \ud83d\ude00""#);
    assert_eq!(value(b"\xff"), r#"node1: "\ufffd""#, "defect 10");
}

#[test]
fn of_long_output_the_end_is_kept_and_of_too_long_output_nothing() {
    let long = Captured { bytes: 100_000, tail: b"the end" };
    assert_eq!(finished_value("w", &long), r#"w: "[99993 bytes before this] the end""#);
    let too_long = Captured { bytes: 1 << 20, tail: b"the end" };
    assert_eq!(finished_value("w", &too_long), "w: stdout is too large");
    let tail = vec![b'x'; 2000];
    let stderr = Captured { bytes: 1 << 20, tail: &tail };
    let reason = failure_reason("w", &end(EndKind::Exited, 1, stderr));
    assert!(reason.starts_with("\"stderr is too large. "), "{reason}");
    assert!(reason.len() < 1100, "{} bytes", reason.len());
}

#[test]
fn a_reason_says_how_a_task_ended_if_that_was_no_exit_code() {
    let reason = |kind, code| failure_reason("w", &end(kind, code, captured(b"no file\n")));
    assert_eq!(reason(EndKind::Exited, 2), r#""no file""#);
    assert_eq!(reason(EndKind::Signaled, 9), r#""killed by signal 9. no file""#);
    let killed = reason(EndKind::OutOfMemory, 77);
    assert!(killed.starts_with("\"require too much dram (worker w): "), "{killed}");
    assert!(killed.contains("77 MiB"), "{killed}");
    let silent = failure_reason("w", &end(EndKind::TimedOut, 0, captured(b"")));
    assert_eq!(silent, r#""timed out.""#);
}

//! Whatever is in a file, every line of it is accounted for.

use proptest::prelude::*;
use punctual_taskfile::{
    Format, ReadOptions, Separator, TaskFile, TaskStream, key_of, parse_line, read_tasks,
};
use punctual_wire::task::{PAYLOAD_BYTES_MAX, TaskPayload};

fn options() -> impl Strategy<Value = ReadOptions> {
    let format = prop::sample::select(Format::ALL.to_vec());
    let separator = prop::sample::select(Separator::ALL.to_vec());
    (format, separator).prop_map(|(format, separator)| ReadOptions {
        format,
        separator,
        default_timeout: None,
    })
}

/// Lines that are almost tasks.
fn near_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "(shell|python|demo|bash|)[:;]([0-9]{0,12}|-1)[:;][0-9]{0,12}[:;][0-9]{0,8}[:;]\\PC{0,30}"
            .prop_map(String::into_bytes),
        "(shell|demo):1:1:1:[0-9]{0,25}:\\PC{0,30}".prop_map(String::into_bytes),
        "[{]\"(command|kind|id|after|timeout|array|env|x)\": (\"a\"|1|-1.5|null|[\\[{\\]}]{0,3})[}]"
            .prop_map(String::into_bytes),
        "[{]\"command\": \"\\PC{0,10}\", \"id\": [0-9], \"after\": [\\[]?[0-9](, [0-9])?[\\]]?[}]"
            .prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..60),
    ]
}

fn near_file() -> impl Strategy<Value = Vec<u8>> {
    let end = prop::sample::select(vec![b"\n".to_vec(), b"\r\n".to_vec(), b"\n\n".to_vec()]);
    prop::collection::vec((near_line(), end), 0..20).prop_map(|lines| {
        let parts = lines.into_iter().flat_map(|(line, end)| [line, end]);
        parts.flatten().collect::<Vec<u8>>()
    })
}

/// Lines that a file has to account for.
fn task_lines(text: &[u8]) -> usize {
    let is_task = |line: &&[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_short = match str::from_utf8(line) {
            Ok(line) => line.trim().chars().count() <= 2,
            Err(_) => line.trim_ascii().len() <= 2,
        };
        !line.starts_with(b"#") && !is_short
    };
    text.split(|byte| *byte == b'\n').filter(is_task).count()
}

fn check(file: &TaskFile) {
    let mut keys: Vec<_> = file.tasks.iter().map(|task| task.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), file.tasks.len(), "no task is there twice");
    for task in &file.tasks {
        let bytes = task.payload();
        assert!(bytes.len() <= PAYLOAD_BYTES_MAX);
        assert_eq!(TaskPayload::read(&bytes).unwrap().command, task.command);
    }
    let lines: Vec<_> = file.bad.iter().map(|bad| bad.line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    assert_ne!(file.format, Format::Auto);
}

proptest! {
    #[test]
    fn any_bytes_are_a_file(
        text in prop::collection::vec(any::<u8>(), 0..2000),
        options in options(),
    ) {
        if let Ok(file) = read_tasks(text.as_slice(), &options) {
            check(&file);
        }
    }

    #[test]
    fn every_line_is_a_task_a_duplicate_or_bad(text in near_file(), options in options()) {
        // Circles are an error, and an array is many tasks; both have their own tests.
        let Ok(file) = read_tasks(text.as_slice(), &options) else { return Ok(()) };
        check(&file);
        let tasks = file.tasks.len() as u64 + file.duplicates;
        let bad = file.bad.len() as u64 + file.bad_left_out;
        let has_arrays = file.tasks.iter().any(|task| !task.env.is_empty());
        if !has_arrays {
            let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
            prop_assert_eq!(tasks + bad, task_lines(text) as u64);
        }
    }

    #[test]
    fn a_stream_gives_what_the_whole_file_has(text in near_file(), options in options()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("task");
        std::fs::write(&path, &text).unwrap();
        let mut stream = TaskStream::open(&path, &options).unwrap();
        let streamed = stream.by_ref().collect::<Result<Vec<_>, _>>();
        let summary = stream.into_summary();
        match (read_tasks(text.as_slice(), &options), streamed) {
            (Ok(file), Ok(tasks)) => {
                prop_assert_eq!(tasks, file.tasks);
                prop_assert_eq!(summary.bad.len(), file.bad.len());
                prop_assert_eq!(summary.format, file.format);
                prop_assert_eq!(summary.warnings, file.warnings);
            }
            (Err(whole), Err(part)) => prop_assert_eq!(whole.to_string(), part.to_string()),
            (whole, part) => {
                return Err(TestCaseError::fail(format!("{whole:?} is not {part:?}")));
            }
        }
    }

    #[test]
    fn a_good_line_is_its_command_and_its_key(
        command in "[^\\n\\r\0]{1,80}",
        priority in 0..=i32::MAX,
        gib in 0_u64..1000,
        cores in 0_u32..1000,
    ) {
        let line = format!("shell:{priority}:{gib}:{cores}:{command}");
        let options = ReadOptions { format: Format::Original, ..ReadOptions::default() };
        let draft = parse_line(line.as_bytes(), &options).unwrap();
        prop_assert_eq!(&draft.command, command.as_bytes());
        prop_assert_eq!((draft.priority, draft.memory), (priority, gib << 30));
        prop_assert_eq!(draft.cores_milli, cores * 1000);
        prop_assert_eq!(draft.key, key_of(line.as_bytes()));
    }

    #[test]
    fn a_text_in_json_comes_out_as_it_went_in(command in "[^\0]{1,80}", cwd in "[^\0]{1,20}") {
        prop_assume!(!command.trim().is_empty());
        let line = serde_json_line(&command, &cwd);
        let draft = parse_line(line.as_bytes(), &ReadOptions::default()).unwrap();
        prop_assert_eq!(&draft.command, command.as_bytes());
        prop_assert_eq!(draft.cwd, Some(cwd));
    }
}

/// A line in JSON, by a writer of JSON.
fn serde_json_line(command: &str, cwd: &str) -> String {
    serde_json::json!({"command": command, "cwd": cwd}).to_string()
}

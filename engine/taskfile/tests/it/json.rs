//! Lines in JSON.

use crate::{command, commands, one, read, why};
use punctual_taskfile::{TaskDraft, key_of, parse_line};
use punctual_wire::task::{PayloadKind, TaskPayload};
use std::time::Duration;

const GIB: u64 = 1 << 30;

#[test]
fn every_key_has_its_place() {
    let line = r#"{"command": "./run x", "kind": "shell", "id": "a-1", "name": "first",
        "env": {"THREADS": 4, "FAST": true, "TEXT": "x=y"}, "cwd": "/data",
        "resources": {"memory": "1.5GiB", "cores": 0.5}, "priority": -3, "timeout": "1h30m",
        "retries": 5, "after": ["b", "c"]}"#;
    let pairs = [("FAST", "true"), ("TEXT", "x=y"), ("THREADS", "4")];
    let expected = TaskDraft {
        line: 1,
        kind: PayloadKind::Shell,
        command: b"./run x".to_vec(),
        name: "first".to_owned(),
        cwd: Some("/data".to_owned()),
        env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        priority: -3,
        memory: GIB + GIB / 2,
        cores_milli: 500,
        timeout: Some(Duration::from_secs(5400)),
        retries: Some(5),
        after: vec!["b".to_owned(), "c".to_owned()],
        key: key_of(b"a-1"),
        is_named: true,
    };
    assert_eq!(one(&line.replace('\n', " ")), expected);
    assert_eq!(expected.after_keys(), [key_of(b"b"), key_of(b"c")]);
    assert_eq!(expected.attempts_max(1), 6);
}

#[test]
fn a_command_is_enough() {
    let draft = one(r#"{"command": "./run"}"#);
    let expected = (PayloadKind::Shell, 0, 0, 0, None, None);
    let found =
        (draft.kind, draft.priority, draft.memory, draft.cores_milli, draft.timeout, draft.retries);
    assert_eq!(found, expected);
    assert!(draft.name.is_empty() && draft.cwd.is_none() && draft.env.is_empty());
    assert!(draft.after.is_empty() && !draft.is_named);
    assert_eq!((draft.timeout_ms(), draft.attempts_max(3)), (0, 4));
}

#[test]
fn a_worker_gets_all_that_concerns_it() {
    let line = r#"{"command": "./run", "id": "n", "cwd": "/d", "env": {"A": "1", "B": ""}}"#;
    let draft = one(line);
    let bytes = draft.payload();
    let payload = TaskPayload::read(&bytes).unwrap();
    assert_eq!(
        (payload.kind, payload.name, payload.cwd),
        (PayloadKind::Shell, &b"n"[..], &b"/d"[..])
    );
    assert_eq!(payload.command, b"./run");
    let variables: Vec<_> = payload.variables.iter().collect();
    assert_eq!(variables, [(&b"A"[..], &b"1"[..]), (&b"B"[..], &b""[..])]);
}

#[test]
fn null_is_the_same_as_nothing() {
    let plain = one(r#"{"command": "a"}"#);
    let nulls = r#"{"command": "a", "kind": null, "id": null, "name": null, "env": null,
        "cwd": null, "resources": null, "priority": null, "timeout": null, "retries": null,
        "after": null, "array": null}"#;
    assert_eq!(one(&nulls.replace('\n', " ")), plain);
}

#[test]
fn a_list_is_a_program_with_its_arguments() {
    let draft = one(r#"{"command": ["./run", "a b", "it's", 3, "$HOME"]}"#);
    assert_eq!(command(&draft), r"./run 'a b' 'it'\''s' 3 '$HOME'");
    let draft = one(r#"{"command": ["tools/fit.py", "a b"], "kind": "python"}"#);
    assert_eq!(command(&draft), "tools/fit.py 'a b'");
}

#[test]
fn a_task_that_does_nothing_needs_no_command() {
    let draft = one(r#"{"kind": "noop", "id": "x"}"#);
    assert_eq!((draft.kind, command(&draft), draft.name.as_str()), (PayloadKind::Noop, "", "x"));
}

#[test]
fn sizes_and_times_have_several_forms() {
    let cases = [
        (r#""resources": {"memory": 4096}"#, (4096, 0, 0)),
        (r#""resources": {"memory": "512M"}"#, (512 << 20, 0, 0)),
        (r#""resources": {"cores": 2}"#, (0, 2000, 0)),
        (r#""resources": {"cores": "0.25"}"#, (0, 250, 0)),
        (r#""resources": {"cores": 0.1, "memory": "1 GiB"}"#, (GIB, 100, 0)),
        (r#""timeout": 90"#, (0, 0, 90_000)),
        (r#""timeout": 1.5"#, (0, 0, 1_500)),
        (r#""timeout": "90""#, (0, 0, 90_000)),
        (r#""timeout": "2d""#, (0, 0, 172_800_000)),
        (r#""timeout": "1us""#, (0, 0, 1)),
        (r#""timeout": 0"#, (0, 0, 0)),
    ];
    for (text, expected) in cases {
        let draft = one(&format!("{{\"command\": \"a\", {text}}}"));
        let found = (draft.memory, u64::from(draft.cores_milli), draft.timeout_ms());
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn without_an_id_the_contents_are_what_counts_and_not_how_they_are_written() {
    let same = [
        r#"{"command": "a", "timeout": "10m", "env": {"A": "1", "B": "2"}}"#,
        r#"{"env":{"B":2,"A":1},"timeout":600,"command":"a"}"#,
        r#"{"command": "\u0061", "kind": "shell", "timeout": 600.0, "env": {"A": 1, "B": 2}}"#,
    ];
    let file = read(&same.join("\n"));
    assert_eq!((file.tasks.len(), file.duplicates, file.bad.len()), (1, 2, 0));

    let different = [
        r#"{"command": "a"}"#,
        r#"{"command": "b"}"#,
        r#"{"command": "a", "name": "x"}"#,
        r#"{"command": "a", "env": {"A": "1"}}"#,
        r#"{"command": "a", "env": {"A": "1", "B": ""}}"#,
        r#"{"command": "a", "cwd": "/"}"#,
        r#"{"command": "a", "priority": 1}"#,
        r#"{"command": "a", "timeout": 0}"#,
        r#"{"command": "a", "timeout": 1}"#,
        r#"{"command": "a", "retries": 0}"#,
        r#"{"command": "a", "after": "x"}"#,
        r#"{"command": "a", "kind": "python"}"#,
        r#"{"command": "a", "kind": "noop"}"#,
        r#"{"command": "a", "resources": {"memory": 1}}"#,
        r#"{"command": "a", "resources": {"cores": 0.001}}"#,
        r#"{"command": "a", "id": "a"}"#,
    ];
    let file = read(&different.join("\n"));
    assert_eq!((file.tasks.len(), file.duplicates), (different.len(), 0));
}

#[test]
fn an_id_is_what_makes_a_task_the_same() {
    assert_eq!(
        one(r#"{"command": "a", "id": "x"}"#).key,
        one(r#"{"command": "b", "id": "x"}"#).key
    );
    assert_eq!(one(r#"{"command": "a", "id": 7}"#).key, key_of(b"7"));
    // Two tasks of one file cannot both be it.
    let lines = [
        r#"{"command": "a", "id": "x"}"#,
        r#"{"id": "x", "command": "a"}"#,
        r#"{"command": "b", "id": "x"}"#,
    ];
    let file = read(&lines.join("\n"));
    assert_eq!((commands(&file), file.duplicates), (vec!["a"], 1));
    assert_eq!(file.bad[0].line, 3);
    assert!(file.bad[0].why.contains("in line 1"), "{:?}", file.bad);
}

#[test]
fn a_misspelt_key_is_an_error_that_names_the_right_one() {
    let cases = [
        ("comand", "did you mean \"command\"?"),
        ("cmd", "did you mean \"command\"?"),
        ("priorty", "did you mean \"priority\"?"),
        ("retry", "did you mean \"retries\"?"),
        ("Timeout", "did you mean \"timeout\"?"),
        ("memory", "it belongs into \"resources\": {\"memory\": ...}"),
        ("cores", "it belongs into \"resources\": {\"cores\": ...}"),
        ("xyz", "the keys are command, kind, id, name"),
    ];
    for (key, expected) in cases {
        let why = why(&format!("{{\"command\": \"a\", \"{key}\": null}}"));
        assert!(why.contains(&format!("unknown key \"{key}\"")) && why.contains(expected), "{why}");
    }
    let inner = why(r#"{"command": "a", "resources": {"memroy": 1}}"#);
    assert!(inner.contains("in \"resources\"; did you mean \"memory\"?"), "{inner}");
}

#[test]
fn a_wrong_value_is_an_error_that_names_its_key() {
    let cases = [
        (r#""command": 5"#, "\"command\": 5 is not a text"),
        (r#""command": []"#, "\"command\": [] is not a text"),
        (r#""command": ["a", ["b"]]"#, "\"command\": "),
        (r#""command": """#, "no command"),
        (r#""command": "  ""#, "no command"),
        (r#""kind": "shell""#, "no command"),
        (r#""command": "a", "kind": "bash""#, "\"kind\": \"bash\" is not one of"),
        (r#""command": ["a"], "kind": "python""#, "begins with a script"),
        (r#""command": ["a b.py"], "kind": "python""#, "begins with a script"),
        (r#""command": "a", "id": """#, "\"id\": \"\" is not"),
        (r#""command": "a", "id": 1.5"#, "\"id\": 1.5 is not"),
        (r#""command": "a", "name": 5"#, "\"name\": 5 is not a text"),
        (r#""command": "a", "env": ["A=1"]"#, "\"env\": [\"A=1\"] is not"),
        (r#""command": "a", "env": {"A=B": "1"}"#, "\"A=B\" names no variable"),
        (r#""command": "a", "env": {"": "1"}"#, "\"\" names no variable"),
        (r#""command": "a", "env": {"A": {}}"#, "\"A\": {} is not"),
        (r#""command": "a", "priority": 1.5"#, "\"priority\": 1.5 is not a whole number"),
        (r#""command": "a", "priority": "1""#, "\"priority\": \"1\" is not a whole number"),
        (r#""command": "a", "priority": 2147483648"#, "\"priority\": 2147483648"),
        (r#""command": "a", "retries": -1"#, "\"retries\": -1 is not"),
        (r#""command": "a", "retries": 65535"#, "\"retries\": 65535 is not"),
        (r#""command": "a", "timeout": -1"#, "\"timeout\": \"-1\" is not a duration"),
        (r#""command": "a", "timeout": "soon""#, "\"timeout\": \"soon\" is not a duration"),
        (r#""command": "a", "timeout": true"#, "\"timeout\": true is not"),
        (r#""command": "a", "resources": 5"#, "\"resources\": 5 is not"),
        (r#""command": "a", "resources": {"memory": 1.5}"#, "\"memory\": 1.5 is not a whole"),
        (r#""command": "a", "resources": {"memory": "2GB"}"#, "\"memory\": \"2GB\" is not a size"),
        (r#""command": "a", "resources": {"cores": -1}"#, "\"cores\": \"-1\" is not a number"),
        (r#""command": "a", "after": [1.5]"#, "\"after\": 1.5 is not"),
        (r#""command": "a", "after": {}"#, "\"after\": {} is not"),
        (r#""command": "a\u0000""#, "NUL"),
        (r#""command": "a", "env": {"A": "\u0000"}"#, "NUL"),
        (r#""command": "a", "cwd": "\u0000""#, "NUL"),
    ];
    for (text, expected) in cases {
        let why = why(&format!("{{{text}}}"));
        assert!(why.contains(expected), "{text}: {why}");
    }
}

#[test]
fn what_is_no_object_is_an_error_with_its_column() {
    let cases = [
        ("{\"command\": \"a\"", "column 15"),
        ("{\"command\": a}", "column 13"),
        ("{\"command\": \"a\"} x", "trailing"),
        ("{\"command\": \"a\", \"command\": \"b\"}", "\"command\" is there twice"),
        ("{\"command\": \"a\",}", "column"),
        ("{'command': 'a'}", "column 2"),
    ];
    for (line, expected) in cases {
        let why = why(line);
        assert!(
            why.starts_with("it is not JSON as it should be") && why.contains(expected),
            "{why}"
        );
        assert!(!why.contains("at line"), "{why}");
    }
    let file = read("{\"command\": \"a\"}\n{\"command\": \"b\"}\n[\"c\"]\n\"text\"\n");
    assert_eq!((commands(&file), file.bad.len()), (vec!["a", "b"], 2));
    assert!(file.bad[0].why.contains("an object such as"), "{:?}", file.bad);
}

#[test]
fn too_many_to_come_after_is_an_error() {
    let ids = |count: usize| (0..count).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(
        one(&format!("{{\"command\": \"a\", \"after\": [{}]}}", ids(1024))).after.len(),
        1024
    );
    assert!(why(&format!("{{\"command\": \"a\", \"after\": [{}]}}", ids(1025))).contains("1024"));
    // Each counts once.
    assert_eq!(one(r#"{"command": "a", "after": ["b", "b", "c", "b"]}"#).after, ["b", "c"]);
}

#[test]
fn what_grows_too_large_is_an_error_that_says_how_large() {
    let long = "x".repeat(70_000);
    let line = format!("{{\"command\": \"{long}\", \"env\": {{\"A\": \"{}\"}}}}", &long[..60_000]);
    assert!(parse_line(line.as_bytes(), &Default::default()).is_ok());
    // Each quote becomes four characters for the shell.
    let words = format!("{{\"command\": [\"{}\"]}}", "'".repeat(100_000));
    assert!(why(&words).contains("131072 is the most"), "{}", why(&words));
}

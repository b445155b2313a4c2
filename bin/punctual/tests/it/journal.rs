//! `punctual journal`: what it says of journals that are sound, damaged, in use, or none at all.

use crate::bench::keys;
use crate::support::{Ended, PROGRAM, Running, bench, document, folder, micro, run, text, write};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A byte in the first record of a file of the log: behind the heads of the file and of its first
/// block, and behind the record's own.
const IN_FIRST_RECORD: usize = 4096 + 48 + 20;

/// What a file has in the document of a check.
const FILE: [&str; 11] = [
    "bytes",
    "damage",
    "end",
    "generation",
    "path",
    "records",
    "role",
    "shard",
    "shards",
    "start",
    "torn",
];

/// The journals of a short run with these options.
fn journals(dir: &TempDir, options: &[&str]) -> PathBuf {
    let place = dir.path().join("data");
    let mut all = options.to_vec();
    all.extend(["--durability", "journal", "--journal-dir", text(&place)]);
    all.extend(["--segment-bytes", "4MiB", "--duration", "100ms"]);
    bench(&micro(&all));
    place
}

/// The end of a check and its document.
fn check(dir: &TempDir, path: &Path) -> (Ended, Value) {
    let file = dir.path().join("check.json");
    let ended = run(&["journal", "check", text(path), "--json", text(&file)]);
    (ended, document(&file))
}

/// The lines of a dump that succeeds.
fn dump(path: &Path, options: &[&str]) -> Vec<String> {
    let ended = run(&[&["journal", "dump", text(path)][..], options].concat());
    ended.expect_code(0);
    ended.stdout.lines().map(str::to_owned).collect()
}

/// How many records of a kind the files of a journal have, or of all kinds.
fn count(journal: &Value, kind: Option<&str>) -> u64 {
    let files = journal["files"].as_array().expect("a list of files");
    let records = files.iter().filter_map(|file| file["records"].as_object());
    let wanted = records.flatten().filter(|(name, _)| kind.is_none_or(|kind| *name == kind));
    wanted.filter_map(|(_, count)| count.as_u64()).sum()
}

#[test]
fn a_check_reads_the_journals_of_all_shards_and_counts_what_is_in_them() {
    let dir = folder();
    let place = journals(&dir, &["--shards", "2", "--cross", "0.5"]);
    let (ended, report) = check(&dir, &place);
    ended.expect_code(0);
    assert!(ended.stdout.ends_with("\nnothing is wrong\n"), "{}", ended.stdout);
    for (field, value) in
        [("schema", json!(1)), ("program", json!("journal check")), ("is_sound", json!(true))]
    {
        assert_eq!(report[field], value, "{field}");
    }
    let both = report["journals"].as_array().expect("a list of journals");
    assert_eq!(both.len(), 2, "{report:#}");
    for (shard, journal) in both.iter().enumerate() {
        let path = place.join(format!("shard-{shard}"));
        assert_eq!((&journal["path"], &journal["problems"]), (&json!(text(&path)), &json!([])));
        assert!(journal["end"].is_string() && journal["is_in_use"] == false, "{journal:#}");
        let first = &journal["files"][0];
        assert_eq!(keys(first), FILE);
        for (field, value) in [
            ("path", json!(text(&path.join("log-000001")))),
            ("role", json!("log")),
            ("shard", json!(shard)),
            ("shards", json!(2)),
            ("generation", json!(1)),
            ("start", json!("0000000000000000")),
            ("bytes", json!(4 << 20)),
            ("torn", Value::Null),
        ] {
            assert_eq!(first[field], value, "{field}");
        }
        // A session, transactions here alone, and those on both.
        for kind in ["session-opened", "single", "admitted", "released"] {
            assert!(count(journal, Some(kind)) > 0, "no {kind} in {journal:#}");
        }
        assert_eq!(dump(&path, &[]).len() as u64, count(journal, None), "a line a record");
    }
}

#[test]
fn a_dump_begins_where_it_is_told_to_and_ends_after_so_many_records() {
    let dir = folder();
    let place = journals(&dir, &[]);
    let shard = place.join("shard-0");
    let lines = dump(&shard, &["--limit", "5"]);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let positions: Vec<&str> =
        lines.iter().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(positions[0], "0000000000000000", "{lines:#?}");
    assert!(positions.is_sorted() && lines.iter().all(|line| line.starts_with("log-000001 ")));
    let behind = dump(&shard, &["--from", positions[2], "--limit", "3"]);
    assert_eq!(behind, lines[2..]);
    let file = dump(&shard.join("log-000001"), &["--limit", "5"]);
    assert_eq!(file, lines);
    // The journals below a directory are one after the other.
    assert_eq!(dump(&place, &["--limit", "5"]), lines);
}

#[test]
fn a_reader_of_a_dump_that_has_seen_enough_is_no_failure() {
    let dir = folder();
    let place = journals(&dir, &[]);
    let script = "\"$0\" journal dump \"$1\" | head -n 1";
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", script, PROGRAM, text(&place)]);
    let ended = Running::spawn(&mut shell).finish();
    ended.expect_code(0);
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (1, ""));
}

#[test]
fn damage_is_named_with_its_file_and_offset_and_stops_whoever_would_go_on_from_it() {
    let dir = folder();
    let place = journals(&dir, &[]);
    let file = place.join("shard-0/log-000001");
    let mut bytes = fs::read(&file).expect("a file of the log");
    bytes[IN_FIRST_RECORD] ^= 1;
    fs::write(&file, &bytes).expect("it can be written");

    let told = format!("{} is damaged at byte ", file.display());
    let expect_told = |output: &str| {
        let (_, rest) = output.split_once(&told).unwrap_or_else(|| panic!("{output}"));
        let (offset, _) = rest.split_once(", log position ").expect("offset and position");
        let offset: usize = offset.parse().expect("a number of bytes");
        assert!((4096..=IN_FIRST_RECORD).contains(&offset), "it is behind byte {offset}");
    };
    for path in [&place, &place.join("shard-0"), &file] {
        let (ended, report) = check(&dir, path);
        ended.expect_code(1);
        expect_told(&ended.stdout);
        assert!(ended.stdout.ends_with("\nsomething is wrong\n"), "{}", ended.stdout);
        assert_eq!(report["is_sound"], false);
        expect_told(report["journals"][0]["files"][0]["damage"].as_str().unwrap_or_default());
        let dumped = run(&["journal", "dump", text(path)]);
        dumped.expect_code(1);
        expect_told(dumped.error());
    }
    let options = ["--durability", "journal", "--journal-dir", text(&place)];
    let started = run(&micro(&options));
    started.expect_code(1);
    expect_told(started.error());
    assert!(started.error().contains("`punctual journal check`"), "{}", started.error());
    assert!(fs::read(&file).is_ok_and(|now| now == bytes), "nobody mends what he cannot read");
}

#[test]
fn a_journal_in_use_is_read_all_the_same_and_that_is_said() {
    let dir = folder();
    let place = dir.path().join("data");
    let socket = format!("unix:{}", dir.path().join("shard.sock").display());
    let config = format!("[cluster]\nshards = [{socket:?}]\n[runtime]\nidle = \"park\"\n");
    let config = write(&dir, "cluster.toml", &config);
    let mut args = vec!["serve", "--config", &config, "--durability", "journal"];
    args.extend(["--journal-dir", text(&place)]);
    let mut serving = Running::start(&args);
    serving.wait_for_line("ready");
    bench(&micro(&["--config", &config, "--duration", "100ms"]));
    let (ended, report) = check(&dir, &place);
    ended.expect_code(0);
    assert_eq!(report["journals"][0]["is_in_use"], true);
    assert!(ended.stdout.contains("in use by another process"), "{}", ended.stdout);
    assert!(!dump(&place, &[]).is_empty(), "all that the shard was asked");
    serving.terminate().expect_code(0);
    let (ended, report) = check(&dir, &place);
    ended.expect_code(0);
    assert_eq!(report["journals"][0]["is_in_use"], false);
}

#[test]
fn what_is_no_journal_is_named_with_what_to_give_instead() {
    let dir = folder();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let letter = write(&dir, "letter", &"dear me ".repeat(100));
    let missing = dir.path().join("missing");
    for command in ["check", "dump"] {
        for path in [text(&empty), text(&missing)] {
            let ended = run(&["journal", command, path]);
            ended.expect_code(2);
            let error = ended.error();
            assert!(error.contains(path) && error.contains("is no journal"), "{error}");
        }
        let ended = run(&["journal", command, &letter]);
        ended.expect_code(2);
        assert!(ended.error().contains(&letter), "{}", ended.error());
    }
    let ended = run(&["journal", "dump", text(&empty), "--from", "log-000001"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("hexadecimal"), "{}", ended.stderr);
}

//! Benches and shards with journals: what they leave behind, what they go on from, and what they
//! refuse. What survives a shard that is killed is tested elsewhere.

use crate::bench::{documented, keys};
use crate::support::{Ended, PROGRAM, Running, bench, document, folder, micro, number};
use crate::support::{run, run_in, text, write};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Small files, which are quickly made.
const SMALL: [&str; 2] = ["--segment-bytes", "4MiB"];

/// The arguments of a short run with a journal.
fn journaled<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let mut all = options.to_vec();
    if !all.contains(&"--durability") {
        all.extend(["--durability", "journal"]);
    }
    all.extend(SMALL);
    micro(&all)
}

/// The journals of a run that were kept below a folder: the directory that it made.
fn kept(folder: &Path) -> PathBuf {
    let made = fs::read_dir(folder.join(".punctual")).expect("the run has made a directory");
    let made: Vec<PathBuf> = made.map(|entry| entry.expect("readable").path()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    made[0].clone()
}

/// The row of a summary with this name.
fn row<'a>(ended: &'a Ended, name: &str) -> &'a str {
    let is_it = |line: &&str| line.trim_start().split("  ").next() == Some(name);
    let row = ended.stdout.lines().find(is_it);
    row.unwrap_or_else(|| panic!("no row {name:?} in:\n{}", ended.stdout))
}

#[test]
fn a_run_with_a_journal_needs_no_other_option_names_its_place_and_leaves_nothing_there() {
    let dir = folder();
    let ended = run_in(dir.path(), &micro(&["--durability", "journal"]));
    ended.expect_code(0);
    let told = "shard 0: new journal in .punctual/bench-";
    let line = ended.stderr.lines().find(|line| line.starts_with(told));
    let rest = line.and_then(|line| line.strip_prefix(told)).expect("the place of the journal");
    let name = rest.strip_suffix("/shard-0").expect("each shard has a directory of its own");
    let (moment, pid) = name.split_once("Z-").expect("when it was, and who");
    let (date, time) = moment.split_once('T').expect("a date and a time");
    for (digits, length) in [(date, 8), (time, 6), (pid, pid.len())] {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        assert!(is_number && digits.len() == length && length > 0, "{name}");
    }
    let place = row(&ended, "durability");
    assert!(place.ends_with(&format!("journal, in .punctual/bench-{name} (removed)")), "{place}");
    assert!(row(&ended, "written").ends_with(" bytes a transaction"), "{}", ended.stdout);
    assert!(row(&ended, "writes").ends_with(" snapshots"), "{}", ended.stdout);
    assert!(row(&ended, "self-check").ends_with(" ok"), "{}", ended.stdout);
    assert!(!dir.path().join(".punctual").exists(), "something is left");
}

#[test]
fn the_document_says_what_the_journals_did() {
    let dir = folder();
    let place = dir.path().join("journals");
    let (_, report) = bench(&journaled(&["--journal-dir", text(&place)]));
    let journal = &report["durability"];
    assert_eq!(keys(journal), documented("`durability` says what the journals did"));
    for (field, value) in [
        ("mode", json!("journal")),
        ("dir", json!(text(&place))),
        ("backend", json!("auto")),
        ("within_us", Value::Null),
        ("recovery", Value::Null),
    ] {
        assert_eq!(journal[field], value, "{field}");
    }
    for field in ["bytes", "bytes_per_s", "writes", "write_mean_us", "lag_max_us"] {
        assert!(number(journal, &format!("/{field}")) > 0.0, "{field} in {journal:#}");
    }
    let [mean, max] = ["/write_mean_us", "/write_max_us"].map(|field| number(journal, field));
    assert!(mean <= max, "{journal:#}");
    // What a transaction of ten operations takes without its operations, and no more than a block.
    let each = number(journal, "/bytes_per_transaction");
    assert!((36.0..=4096.0).contains(&each), "{each} bytes a transaction");

    let (_, report) = bench(&micro(&[]));
    assert!(report["durability"].is_null(), "memory has no journal: {report:#}");
}

#[test]
fn the_engine_starts_again_on_the_journals_of_a_run_and_finds_everything() {
    let cases: [&[&str]; 4] = [
        &["--reads", "0"],
        &["--reads", "0", "--durability", "journal-async"],
        &["--shards", "2", "--cross", "0.5", "--durability", "journal,journal-async"],
        &["--coordinators", "2", "--transport", "unix", "--journal-backend", "threads"],
    ];
    for options in cases {
        let dir = folder();
        let file = dir.path().join("run.json");
        let options = [options, &["--recover", "--json", text(&file)]].concat();
        let ended = run_in(dir.path(), &journaled(&options));
        ended.expect_code(0);
        let report = document(&file);
        let recovery = &report["durability"]["recovery"];
        assert_eq!(recovery["self_check"], "ok", "{options:?}");
        for field in ["start_s", "recover_s", "s_per_million", "records", "bytes"] {
            assert!(number(recovery, &format!("/{field}")) > 0.0, "{field} of {options:?}");
        }
        if options.contains(&"0") {
            let [again, committed] =
                [number(recovery, "/transactions"), number(&report, "/whole_run/committed")];
            assert!(again >= committed, "{again} of {committed} transactions ran again");
        }
        assert!(row(&ended, "recovery").ends_with("; self-check ok"), "{}", ended.stdout);
        let told = ended.stderr.lines().any(|line| line == "starting again on the journals");
        assert!(told, "{}", ended.stderr);
        assert!(!dir.path().join(".punctual").exists(), "something is left of {options:?}");
    }
}

#[test]
fn early_answers_are_reported_with_their_bound() {
    let dir = folder();
    let file = dir.path().join("run.json");
    let mut options = vec!["--durability", "journal-async", "--journal-within", "250ms"];
    options.extend(["--json", text(&file)]);
    let ended = run_in(dir.path(), &journaled(&options));
    ended.expect_code(0);
    let journal = &document(&file)["durability"];
    assert_eq!((&journal["mode"], &journal["within_us"]), (&json!("journal-async"), &json!(250e3)));
    let told = row(&ended, "not durable");
    assert!(told.ends_with(" at most, bound 250 ms"), "{told}");
}

#[test]
fn a_journal_stays_where_the_user_wants_it_and_the_next_run_goes_on_from_it() {
    let dir = folder();
    let ended = run_in(dir.path(), &journaled(&["--keep-journal"]));
    ended.expect_code(0);
    let place = kept(dir.path());
    assert!(row(&ended, "durability").ends_with(" (kept)"), "{}", ended.stdout);

    let first = run_in(dir.path(), &journaled(&["--journal-dir", text(&place)]));
    let second = run_in(dir.path(), &journaled(&["--journal-dir", text(&place), "--recover"]));
    for ended in [first, second] {
        ended.expect_code(0);
        let told = format!("shard 0: recovered from {} in ", place.join("shard-0").display());
        assert!(ended.stderr.lines().any(|line| line.starts_with(&told)), "{}", ended.stderr);
        assert!(place.join("shard-0").is_dir(), "it is the user's");
    }
}

#[test]
fn a_run_that_was_interrupted_or_has_failed_keeps_its_journal_and_names_it() {
    let dir = folder();
    let begin = |options: &[&str], stage| {
        let args = journaled(options);
        let mut command = Command::new(PROGRAM);
        let mut running = Running::spawn(command.current_dir(dir.path()).args(args));
        running.wait_for_line(stage);
        running.signal("INT");
        running.finish()
    };
    let ended = begin(&["--duration", "10m"], "measuring");
    ended.expect_code(0);
    let place = kept(dir.path());
    let name = place.strip_prefix(dir.path()).expect("below the folder");
    let told = row(&ended, "durability");
    assert!(told.ends_with(&format!(" in {} (kept)", text(name))), "{told}");
    fs::remove_dir_all(&place).expect("it is there");

    let ended = begin(&["--warmup", "10m"], "warming up");
    ended.expect_code(1);
    let place = kept(dir.path());
    let name = place.strip_prefix(dir.path()).expect("below the folder");
    let told = format!("the journals are kept in {}", text(name));
    assert!(ended.stderr.lines().any(|line| line == told), "{}", ended.stderr);
}

#[test]
fn a_run_that_does_not_even_start_leaves_no_directory() {
    let dir = folder();
    let ended = run_in(dir.path(), &journaled(&["--shard-cores", "1023"]));
    ended.expect_code(2);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(!dir.path().join(".punctual").exists(), "something is left");
}

#[test]
fn journals_may_be_in_places_with_unusual_names() {
    let dir = folder();
    let place = dir.path().join("two words, \"quoted\" & 'ünïcode' %s {}");
    let (ended, report) = bench(&journaled(&["--journal-dir", text(&place), "--recover"]));
    assert_eq!(report["durability"]["dir"], text(&place));
    assert!(row(&ended, "durability").contains(text(&place)), "{}", ended.stdout);
    let shard = place.join("shard-0");
    for (command, path) in [("check", &place), ("check", &shard), ("dump", &shard)] {
        run(&["journal", command, text(path)]).expect_code(0);
    }
    assert_eq!(dir.path().read_dir().expect("a folder").count(), 1, "nothing is beside it");
}

#[test]
fn what_makes_no_sense_with_a_journal_is_refused_and_says_what_does() {
    let dir = folder();
    let config = write(&dir, "cluster.toml", "[cluster]\nshards = [\"127.0.0.1:7101\"]\n");
    fs::create_dir(dir.path().join("letters")).expect("a directory");
    let letters = write(&dir, "letters/to-me", "dear me");
    let [letters, file] = [dir.path().join("letters"), PathBuf::from(letters)];
    let cases: [(&[&str], &str); 7] = [
        (&["--durability", "journal", "--config", &config], "punctual serve --durability"),
        (&["--durability", "memory", "--keep-journal"], "choose journal or journal-async"),
        (
            &["--durability", "journal,memory", "--shards", "2", "--recover"],
            "shard 1 has none with --durability journal,memory",
        ),
        (
            &["--durability", "journal", "--journal-dir", text(&letters)],
            "\"to-me\", which is no journal; give an empty directory",
        ),
        (&["--durability", "journal", "--journal-dir", text(&file)], "give a directory"),
        (&["--durability", "journal", "--segment-bytes", "1MiB"], "raise it to 4 MiB"),
        (&["--durability", "journal-async", "--journal-within", "1us"], "outside 1ms..=1m"),
    ];
    for (options, part) in cases {
        let ended = run_in(dir.path(), &[&["bench", "micro"][..], options].concat());
        ended.expect_code(2);
        assert!(ended.stderr.contains(part), "{options:?}: {}", ended.stderr);
        assert!(!dir.path().join(".punctual").exists(), "{options:?} has left something");
    }
    for option in ["--recover", "--keep-journal"] {
        let ended = run(&["bench", "micro", option]);
        ended.expect_code(2);
        assert!(ended.stderr.contains("--durability"), "{}", ended.stderr);
    }
    let ended = run(&["bench", "micro", "--durability", "jornal"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("did you mean \"journal\"?"), "{}", ended.stderr);
}

/// A configuration for one shard on a socket; nobody spins.
fn cluster(dir: &TempDir) -> String {
    let socket = format!("unix:{}", dir.path().join("shard.sock").display());
    let text = format!(
        "[cluster]\nshards = [{socket:?}]\n[runtime]\nidle = \"park\"\n[durability]\n\
         segment_bytes = \"4 MiB\"\n"
    );
    write(dir, "cluster.toml", &text)
}

#[test]
fn a_served_shard_goes_on_from_its_journal_and_says_so() {
    let dir = folder();
    let config = cluster(&dir);
    let place = dir.path().join("data");
    let mut args = vec!["serve", "--config", &config, "--durability", "journal"];
    args.extend(["--journal-dir", text(&place)]);
    let mut first = Running::start(&args);
    let told = first.wait_for_line("shard 0: new journal in ");
    assert!(told.ends_with(text(&place.join("shard-0"))), "{told}");
    first.wait_for_line("ready");
    bench(&micro(&["--config", &config]));
    let ended = first.terminate();
    ended.expect_code(0);
    let last = ended.stderr.lines().next_back().unwrap_or_default();
    assert!(last.ends_with(" transactions committed, 2000 keys"), "{last}");

    let mut second = Running::start(&args);
    let told = second.wait_for_line("shard 0: recovered from ");
    assert!(told.contains("; 2000 keys, 0 undecided"), "{told}");
    second.wait_for_line("ready");
    let ended = second.terminate();
    ended.expect_code(0);
    let last = ended.stderr.lines().next_back().unwrap_or_default();
    assert!(last.ends_with(" transactions committed, 2000 keys"), "nobody wrote them: {last}");
}

#[test]
fn a_place_for_journals_is_refused_where_no_shard_has_one() {
    let dir = folder();
    let config = cluster(&dir);
    let ended = run(&["serve", "--config", &config, "--journal-dir", "data"]);
    ended.expect_code(2);
    assert!(ended.error().contains("give --durability journal as well"), "{}", ended.error());
}

//! Running: the order, what failing and interruption leave, and going on.

use crate::support::{Fake, SMALL, begin, experiment, go_on};
use punctual_study::run::{Ended, run};
use punctual_study::{Folder, Results, StudyError};
use serde_json::json;
use std::fs;
use tempfile::tempdir;

const ONE: &str = "bench micro --keys 1000 --checksum --shards 1";
const TWO: &str = "bench micro --keys 1000 --checksum --shards 2";

fn states(folder: &Folder) -> Vec<String> {
    let results = Results::load(folder).expect("results");
    results.runs().map(|(_, run)| run.state.name().to_owned()).collect()
}

#[test]
fn every_cell_runs_once_before_any_runs_twice() {
    let dir = tempdir().expect("a folder");
    let (folder, experiment) = begin(&dir.path().join("out"), SMALL);
    let mut fake = Fake::new();
    let outcome = go_on(&folder, &experiment, &mut fake);
    assert_eq!(fake.ran, [ONE, TWO, ONE, TWO]);
    assert_eq!((outcome.good, outcome.failed.len(), outcome.interrupted), (4, 0, false));
    assert_eq!(states(&folder), ["good"; 4]);
    let cell = folder.dir().join("cells/shards-1");
    for name in ["r1.json", "r1.log", "r1/latency.hlog", "r1/latency.hgrm", "r2.json"] {
        assert!(cell.join(name).is_file(), "{name}");
    }
    assert!(!cell.join("r1.part").exists() && !cell.join("r1.part.json").exists());
    // What is finished is not run again.
    assert_eq!(go_on(&folder, &experiment, &mut fake).good, 0);
    assert_eq!(fake.ran.len(), 4);
}

#[test]
fn a_run_that_fails_is_kept_with_its_reason_and_tried_again_when_asked() {
    let dir = tempdir().expect("a folder");
    let (folder, experiment) = begin(&dir.path().join("out"), SMALL);
    let mut fake = Fake::new();
    fake.ends.insert(1, Ended::Code(Some(1)));
    fake.ends.insert(2, Ended::Code(None));
    fake.fields.insert(3, json!({ "self_check": "shard 0: 1 too many" }));
    let outcome = go_on(&folder, &experiment, &mut fake);
    let expected = [
        ("shards 2, run 1", "exit code 1: it went wrong"),
        ("shards 1, run 2", "a signal ended it: it went wrong"),
        ("shards 2, run 2", "self-check: shard 0: 1 too many"),
    ];
    assert_eq!(outcome.failed, expected.map(|(run, why)| (run.to_owned(), why.to_owned())));
    assert_eq!(states(&folder), ["good", "failed", "failed", "failed"]);
    assert!(folder.dir().join("cells/shards-2/r2.bad.json").is_file());
    assert!(!folder.dir().join("cells/shards-2/r2").exists());

    let again = Folder::resume(folder.dir(), &experiment).expect("the same study");
    let mut fake = Fake::new();
    assert_eq!(go_on(&again, &experiment, &mut fake).good, 3);
    assert_eq!(fake.ran, [TWO, ONE, TWO]);
    assert_eq!(states(&again), ["good"; 4]);
    assert!(!folder.dir().join("cells/shards-2/r2.failed").exists());
}

#[test]
fn a_run_that_hangs_is_a_failed_one_and_the_others_go_on() {
    let dir = tempdir().expect("a folder");
    let (folder, experiment) = begin(&dir.path().join("out"), SMALL);
    let mut fake = Fake::new();
    fake.ends.insert(0, Ended::TooLong);
    let outcome = go_on(&folder, &experiment, &mut fake);
    // Ten times what benches take that are told no times, which is 7 s, and ten minutes.
    let why = "it had not ended after 670 s".to_owned();
    assert_eq!(outcome.failed, [("shards 1, run 1".to_owned(), why)]);
    assert_eq!((outcome.good, states(&folder).len()), (3, 4));
}

#[test]
fn an_interruption_keeps_what_is_finished_and_nothing_of_the_run_under_way() {
    let dir = tempdir().expect("a folder");
    let (folder, experiment) = begin(&dir.path().join("out"), SMALL);
    let mut fake = Fake::new();
    fake.ends.insert(2, Ended::Interrupted);
    let outcome = go_on(&folder, &experiment, &mut fake);
    assert!(outcome.interrupted && outcome.good == 2 && fake.ran.len() == 3);
    assert_eq!(states(&folder), ["good", "missing", "good", "missing"]);
    let names = fs::read_dir(folder.dir().join("cells/shards-1")).expect("a folder");
    let mut names: Vec<_> = names.map(|it| it.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["r1", "r1.json", "r1.log"]);

    let again = Folder::resume(folder.dir(), &experiment).expect("the same study");
    let mut fake = Fake::new();
    go_on(&again, &experiment, &mut fake);
    assert_eq!(fake.ran, [ONE, TWO]);
}

#[test]
fn a_study_goes_on_only_as_what_it_was_begun() {
    let dir = tempdir().expect("a folder");
    let (folder, _) = begin(&dir.path().join("out"), SMALL);
    let other = experiment(&SMALL.replace("repeats = 2", "repeats = 3"));
    let error = Folder::resume(folder.dir(), &other).expect_err("another experiment");
    assert!(matches!(error, StudyError::OtherExperiment { .. }), "{error}");
    let quick = punctual_study::Experiment::parse(SMALL, "small.toml", true).expect("quick");
    let error = Folder::resume(folder.dir(), &quick).expect_err("another form");
    assert!(error.to_string().contains("has the full form of small"), "{error}");
    let error = Folder::resume(dir.path(), &quick).expect_err("no study");
    assert!(error.to_string().contains("it has no study.json"), "{error}");
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let dir = tempdir().expect("a folder");
    fs::write(dir.path().join("notes.txt"), "mine").expect("a file");
    let small = experiment(SMALL);
    for place in [dir.path().to_owned(), dir.path().join("notes.txt")] {
        let error = Folder::create(&place, &small, SMALL, "", "").expect_err("occupied");
        assert!(matches!(error, StudyError::Occupied { .. }), "{error}");
        assert!(error.is_usage() && error.to_string().contains("--resume"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
}

#[test]
fn a_figure_that_no_document_has_ends_the_study_after_its_first_run() {
    let dir = tempdir().expect("a folder");
    let text = SMALL.replace("latency_ns.p99\"]", "latency_ns.p98\"]");
    let (folder, experiment) = begin(&dir.path().join("out"), &text);
    let mut fake = Fake::new();
    let error = run(&folder, &experiment, &mut fake, &mut |_| {}).expect_err("an unknown figure");
    assert_eq!(fake.ran.len(), 1);
    let error = error.to_string();
    assert!(error.starts_with("small.toml:6: "), "{error}");
    assert!(error.contains("\"latency_ns.p98\"; did you mean \"latency_ns.p99\"?"), "{error}");
}

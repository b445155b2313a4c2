//! `punctual study` and `punctual report` with the real program: a small experiment from its file
//! to its pictures, and what one gets for a wrong one. How fast anything was is nothing to test
//! here.

use crate::support::{document, folder, micro, run, run_in, text, write};
use std::fs;
use tempfile::TempDir;

/// Two cells of 300 ms.
const TINY: &str = r#"name = "tiny"
title = "A tiny study"
about = "For tests."
bench = "micro"
metrics = ["throughput_tps", "latency_ns.p50"]

[fixed]
keys = 2000
duration = "300ms"
warmup = "100ms"
idle = "park"

[sweep]
in-flight = [1, 64]

[[plot]]
kind = "bars"
title = "Throughput"
x = "in-flight"
y = "throughput_tps"

[[plot]]
kind = "cdf"
title = "Latency"
log = "x"
"#;

/// The error of a study that does not begin.
fn refused(dir: &TempDir, experiment: &str) -> String {
    let file = write(dir, "study.toml", experiment);
    let out = dir.path().join("out");
    let ended = run(&["study", "run", &file, "--out", text(&out)]);
    ended.expect_code(2);
    assert!(!out.join("cells").exists(), "something has run");
    ended.error().replace(&file, "study.toml")
}

#[test]
fn a_tiny_study_leaves_tables_pictures_and_a_report() {
    let dir = folder();
    let (file, out) = (write(&dir, "tiny.toml", TINY), dir.path().join("out"));
    let ended = run(&["study", "run", &file, "--out", text(&out)]);
    ended.expect_code(0);
    assert!(ended.stdout.contains("report.md\n2 pictures"), "{}", ended.stdout);
    for name in ["study.toml", "study.json", "results.csv", "results.json", "report.md"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    for name in ["plots/01-throughput.svg", "plots/02-latency.svg"] {
        let picture = fs::read_to_string(out.join(name)).expect("a picture");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
    }
    let bars = fs::read_to_string(out.join("plots/01-throughput.svg")).expect("a picture");
    assert_eq!(bars.matches("<rect").count(), 3, "the ground and a bar for each cell: {bars}");
    let results = document(&out.join("results.json"));
    let cells = results["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 2);
    for cell in cells {
        assert_eq!(cell["runs"][0]["state"], "good", "{cell:#}");
        assert!(cell["figures"]["throughput_tps"]["median"].as_f64() > Some(0.0), "{cell:#}");
    }
    let page = fs::read_to_string(out.join("report.md")).expect("the report");
    let command = "punctual bench micro --keys 2000 --duration 300ms --warmup 100ms --idle park \
        --in-flight 64\n";
    assert!(page.contains(command), "{page}");

    // Once more: there is nothing to run, and another place is refused.
    let ended = run(&["study", "run", &file, "--out", text(&out)]);
    ended.expect_code(2);
    assert!(ended.error().contains("is not empty; choose another --out"), "{}", ended.error());
    let ended = run(&["study", "run", &file, "--out", text(&out), "--resume"]);
    ended.expect_code(0);
    assert!(ended.stderr.contains("2 runs are finished already"), "{}", ended.stderr);
    compared_with_itself(&dir);
}

/// A study beside itself: with a single run nothing can be said.
fn compared_with_itself(dir: &TempDir) {
    let out = dir.path().join("out");
    let (csv, json) = (dir.path().join("ratios.csv"), dir.path().join("ratios.json"));
    let options = ["--csv", text(&csv), "--json", text(&json)];
    let args = [&["study", "compare", text(&out), text(&out)][..], &options[..]].concat();
    let ended = run(&args);
    ended.expect_code(0);
    assert!(ended.stdout.contains("too few runs to say"), "{}", ended.stdout);
    let rows = document(&json)["rows"].as_array().map(Vec::len);
    assert_eq!(rows, Some(4), "two cells and two figures");
    assert_eq!(fs::read_to_string(&csv).expect("the file").lines().count(), 5);
}

#[test]
fn a_cell_that_fails_is_told_and_the_others_are_reported() {
    let dir = folder();
    // A directory that is a file: the run begins, and cannot go on.
    let in_the_way = write(&dir, "journal", "");
    let experiment = TINY.replace(
        "[sweep]\nin-flight = [1, 64]\n",
        &format!(
            "[sweep.in-flight]\nmemory = {{ in-flight = 2 }}\n\
             broken = {{ durability = \"journal\", journal-dir = \"{in_the_way}\" }}\n"
        ),
    );
    let (file, out) = (write(&dir, "tiny.toml", &experiment), dir.path().join("out"));
    let ended = run(&["study", "run", &file, "--out", text(&out)]);
    ended.expect_code(1);
    assert!(ended.error().contains("1 runs failed"), "{}", ended.stderr);
    let told = "failed: in-flight broken, run 1: exit code 2: --journal-dir";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let page = fs::read_to_string(out.join("report.md")).expect("the report");
    assert!(page.contains("in-flight broken, run 1: failed: exit code"), "{page}");
}

#[test]
fn a_wrong_experiment_is_one_line_before_anything_runs() {
    let dir = folder();
    let unknown = TINY.replace("about =", "abuot =");
    let error = refused(&dir, &unknown);
    let hint = "study.toml:3: unknown key \"abuot\"; did you mean \"about\"?";
    assert!(error.contains(hint), "{error}");
    let empty = TINY.replace("[1, 64]", "[]");
    let error = refused(&dir, &empty);
    assert!(error.contains("study.toml:14: ") && error.contains("the grid is empty"), "{error}");
    let option = TINY.replace("keys = 2000", "keyz = 2000");
    let error = refused(&dir, &option);
    assert!(error.contains("study.toml:8: ") && error.contains("'--keyz'"), "{error}");
    assert!(error.contains("in the cell in-flight 1"), "{error}");
    // What only the bench itself can know: the last cell of the grid is looked at, too.
    let limit = TINY.replace("[1, 64]", "[1, 0]");
    let error = refused(&dir, &limit);
    assert!(error.contains("in_flight = 0 is outside 1..=65536"), "{error}");
    let error = refused(&dir, &TINY.replace("\"micro\"", "\"micor\""));
    assert!(error.contains("'micro'"), "{error}");
    let (head, _) = TINY.split_once("[fixed]").expect("options");
    let error = refused(&dir, &head.replace("\"micro\"", "\"roofline\""));
    assert!(error.contains("bench roofline writes no histogram files"), "{error}");
}

#[test]
fn a_study_that_is_not_there_is_named_with_the_nearest_one() {
    let ended = run(&["study", "run", "bathcing"]);
    ended.expect_code(2);
    assert!(ended.error().contains("did you mean \"batching\"?"), "{}", ended.error());
    let dir = folder();
    let ended = run(&["study", "compare", text(dir.path()), text(dir.path())]);
    ended.expect_code(2);
    assert!(ended.error().contains("is not the folder of a study"), "{}", ended.error());
}

#[test]
fn every_shipped_study_is_one_that_the_benches_understand() {
    let list = run(&["study", "list"]);
    list.expect_code(0);
    let names = list.stdout.lines().filter(|line| !line.starts_with(' ') && line.contains(": "));
    let names: Vec<&str> = names.filter_map(|line| line.split(':').next()).collect();
    assert!(names.contains(&"network-latency") && names.len() >= 12, "{names:?}");
    let dir = folder();
    for name in names {
        let forms: [&[&str]; 2] = [&["--quick"], &[]];
        for form in forms {
            let args = [&["study", "run", name, "--dry-run"][..], form].concat();
            // From anywhere: what it names is in the program.
            let ended = run_in(dir.path(), &args);
            ended.expect_code(0);
            let is_bench = |line: &str| line.starts_with("punctual bench ");
            assert!(ended.stdout.lines().all(is_bench), "{}", ended.stdout);
        }
    }
}

#[test]
fn a_shipped_study_runs_in_its_quick_form_and_is_found_whole_when_it_is_resumed() {
    let dir = folder();
    let out = dir.path().join("out");
    // The one in virtual time takes no time of a busy machine's.
    let args = ["study", "run", "sim-wan", "--quick", "--out", text(&out)];
    run(&args).expect_code(0);
    let report = fs::read_to_string(out.join("report.md")).expect("a report");
    for part in ["| geo ", "| same-region ", "Luigi", "plots/01-"] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    assert!(!report.contains("failed"), "{report}");
    let again = run(&args);
    again.expect_code(2);
    assert!(again.error().contains("--resume"), "{}", again.stderr);
    run(&[&args[..], &["--resume"]].concat()).expect_code(0);
    assert_eq!(fs::read_to_string(out.join("report.md")).expect("a report"), report);
}

#[test]
fn results_are_shown_again_alone_and_side_by_side() {
    let dir = folder();
    let (file, hdr) = (dir.path().join("run.json"), dir.path().join("hdr"));
    let options = ["--json", text(&file), "--hdr", text(&hdr)];
    let ended = run(&micro(&options));
    ended.expect_code(0);
    let again = run(&["report", text(&file)]);
    again.expect_code(0);
    assert_eq!(again.stdout, ended.stdout);

    let both = run(&["report", text(&file), text(&file)]);
    both.expect_code(0);
    for row in ["workload ", "throughput_tps ", "latency_ns.p99 ", "self_check "] {
        assert!(both.stdout.lines().any(|line| line.starts_with(row)), "{}", both.stdout);
    }
    let samples = document(&file)["latency_ns"]["samples"].clone();
    let table = run(&["report", text(&hdr.join("latency.hgrm"))]);
    table.expect_code(0);
    assert!(table.stdout.contains(&format!(": {samples} samples, p50 ")), "{}", table.stdout);
    let log = run(&["report", text(&hdr.join("latency.hlog"))]);
    log.expect_code(0);
    assert!(log.stdout.contains("latency.hlog, latency, "), "{}", log.stdout);
    assert!(log.stdout.contains(" samples, p50 "), "{}", log.stdout);
}

#[test]
fn what_is_no_report_is_one_line() {
    let dir = folder();
    let missing = dir.path().join("missing.json");
    let other = write(&dir, "other.json", "{\"schema\": 1, \"program\": \"sim\"}");
    let newer = write(&dir, "newer.json", "{\"schema\": 99, \"program\": \"bench micro\"}");
    let words = write(&dir, "words.json", "not JSON");
    for (file, part) in [
        (text(&missing), "cannot be read"),
        (other.as_str(), "is no report that a bench wrote"),
        (newer.as_str(), "has schema 99, and this program reads up to"),
        (words.as_str(), "is no JSON"),
    ] {
        let ended = run(&["report", file]);
        ended.expect_code(2);
        assert!(ended.error().contains(part) && ended.error().contains(file), "{}", ended.error());
    }
}

//! What is made of the runs: tables, pictures and the page, the same each time.

use crate::support::{Fake, SMALL, begin, go_on};
use punctual_study::run::Ended;
use punctual_study::{Folder, render};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

/// A study of which the last run has failed.
fn study(dir: &Path) -> Folder {
    let (folder, experiment) = begin(dir, SMALL);
    let mut fake = Fake::new();
    fake.ends.insert(3, Ended::Code(Some(1)));
    go_on(&folder, &experiment, &mut fake);
    let rendered = render(&folder, &experiment).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rendered.pictures, 6);
    folder
}

fn text(folder: &Folder, name: &str) -> String {
    let path = folder.dir().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pictures(folder: &Folder) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder.dir().join("plots")).expect("pictures");
    let entry = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let picture = text(folder, &format!("plots/{name}"));
        (name, picture)
    };
    entries.map(|it| entry(it.expect("an entry"))).collect()
}

#[test]
fn the_page_and_the_table_are_as_they_should_be() {
    let dir = tempdir().expect("a folder");
    let folder = study(&dir.path().join("out"));
    assert_eq!(text(&folder, "report.md"), include_str!("golden/report.md"));
    assert_eq!(text(&folder, "results.csv"), include_str!("golden/results.csv"));
}

#[test]
fn the_same_runs_make_the_same_bytes() {
    let dir = tempdir().expect("a folder");
    let [first, second] = ["a", "b"].map(|name| study(&dir.path().join(name)));
    assert_eq!(pictures(&first), pictures(&second));
    for name in ["report.md", "results.csv", "results.json"] {
        assert_eq!(text(&first, name), text(&second, name), "{name}");
    }
    // Once more in the same place, and without what was there before.
    let experiment = first.experiment().expect("its experiment");
    let before = pictures(&first);
    fs::write(first.dir().join("plots/old.svg"), "").expect("a picture of before");
    render(&first, &experiment).expect("rendered again");
    assert_eq!(pictures(&first), before);
}

#[test]
fn pictures_are_well_formed_and_show_what_they_say() {
    let dir = tempdir().expect("a folder");
    let pictures = pictures(&study(&dir.path().join("out")));
    let names: Vec<&str> = pictures.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "01-throughput.svg",
            "02-p99.svg",
            "03-both.svg",
            "04-distribution.svg",
            "05-percentiles.svg",
            "06-over-time-shards-1.svg",
        ]
    );
    for (name, picture) in &pictures {
        assert_well_formed(name, picture);
        assert!(picture.contains("fill=\"#ffffff\""), "{name} has no ground");
    }
    for (name, part) in [
        ("01-throughput.svg", ">throughput (a second)<"),
        ("02-p99.svg", ">shards<"),
        ("04-distribution.svg", ">shards 2<"),
        ("05-percentiles.svg", ">90 %<"),
        ("06-over-time-shards-1.svg", ">how many<"),
    ] {
        assert!(pictures[name].contains(part), "{part} is not in {name}");
    }
}

/// Fails unless every element is closed, in order.
fn assert_well_formed(name: &str, svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("{name}: {part}"));
        let word = tag.split([' ', '/']).find(|word| !word.is_empty()).expect("a name");
        assert_eq!(tag.matches('"').count() % 2, 0, "{name}: {tag}");
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(word), "{name}"),
            (false, true) => {}
            (false, false) => open.push(word),
        }
    }
    assert!(open.is_empty() && svg.starts_with("<svg "), "{name}: {open:?} is not closed");
}

#[test]
fn the_document_has_every_run_and_the_spread_of_the_good_ones() {
    let dir = tempdir().expect("a folder");
    let folder = study(&dir.path().join("out"));
    let document: Value = serde_json::from_str(&text(&folder, "results.json")).expect("JSON");
    let second = &document["cells"][1];
    assert_eq!(second["labels"], json!({ "shards": "2" }));
    assert_eq!(second["runs"][1]["state"], "failed");
    let spread = json!({ "n": 1, "median": 2001.0, "min": 2001.0, "max": 2001.0 });
    assert_eq!(second["figures"]["throughput_tps"], spread);
}

#[test]
fn an_invalid_run_is_marked_and_is_in_no_picture() {
    let dir = tempdir().expect("a folder");
    let (folder, experiment) = begin(&dir.path().join("out"), SMALL);
    let mut fake = Fake::new();
    for number in [1, 3] {
        fake.fields.insert(number, json!({ "open_loop_valid": false }));
    }
    go_on(&folder, &experiment, &mut fake);
    render(&folder, &experiment).expect("rendered");
    let page = text(&folder, "report.md");
    assert!(page.contains("2,002 (2,001 to 2,003) invalid"), "{page}");
    assert!(page.contains("Left out: 1 cells"), "{page}");
    assert!(page.contains("shards 2, run 2: invalid: the generator did not keep up"), "{page}");
    let picture = text(&folder, "plots/04-distribution.svg");
    assert!(!picture.contains(">shards 2<"), "{picture}");
}

#[test]
fn a_heat_map_without_a_good_run_is_missed_in_words() {
    let dir = tempdir().expect("a folder");
    let (folder, experiment) = begin(&dir.path().join("out"), SMALL);
    let mut fake = Fake::new();
    for number in [0, 2] {
        fake.ends.insert(number, Ended::Code(Some(1)));
    }
    go_on(&folder, &experiment, &mut fake);
    render(&folder, &experiment).expect("rendered");
    let page = text(&folder, "report.md");
    let (_, below) = page.split_once("### Over time: shards 1\n").expect("its heading");
    let missed = "\nThere is nothing to show: this cell has no good run.\n";
    assert!(below.starts_with(missed), "{page}");
}

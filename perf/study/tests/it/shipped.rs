//! The experiments that come with the program are sound, and short in their quick form.

use punctual_study::experiment::Experiment;
use punctual_study::shipped::{SHIPPED, open};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What a quick study may take, by its own estimate. Five minutes are promised.
const QUICK_MAX: Duration = Duration::from_secs(240);

#[test]
fn all_of_them_parse_in_both_forms_under_their_own_names() {
    for shipped in SHIPPED {
        for is_quick in [false, true] {
            let parsed = Experiment::parse(shipped.text, shipped.name, is_quick);
            let experiment = parsed.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(experiment.name, shipped.name);
            assert!(!experiment.plots.is_empty(), "{} shows no picture", shipped.name);
            assert!(!experiment.cells().is_empty(), "{} has no cell", shipped.name);
        }
    }
}

#[test]
fn none_takes_five_minutes_in_its_quick_form() {
    for shipped in SHIPPED {
        let quick = Experiment::parse(shipped.text, shipped.name, true).expect("a quick form");
        let estimate = quick.estimate();
        assert!(estimate <= QUICK_MAX, "{}: {estimate:?}", shipped.name);
    }
}

#[test]
fn every_file_of_the_folder_is_shipped() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../studies");
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("the folder of studies") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
            // A model of service times stands beside the experiments.
            if name != "service" {
                assert!(SHIPPED.iter().any(|shipped| shipped.name == name), "{name}");
                files += 1;
            }
        }
    }
    assert_eq!(files, SHIPPED.len());
}

#[test]
fn the_example_of_the_page_on_studies_is_one() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/studies.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, below) = page.split_once("```toml\n").expect("an example");
    let (example, _) = below.split_once("```").expect("its end");
    let cells = [(false, 8), (true, 4)];
    for (is_quick, count) in cells {
        let parsed = Experiment::parse(example, "docs/studies.md", is_quick);
        let experiment = parsed.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(experiment.cells().len(), count);
    }
}

#[test]
fn a_name_that_is_nearly_right_is_put_right() {
    assert_eq!(open("batching").expect("a shipped study").file, "perf/studies/batching.toml");
    let error = open("bathcing").expect_err("no such study");
    assert!(error.is_usage() && error.to_string().contains("\"batching\""), "{error}");
}

//! Tests of the whole: the program as its users run it, the house rules that no compiler checks,
//! and the documents.
//!
//! Programs are waited for by what they print, never by time, and ports are chosen by the system.

mod bank;
mod bench;
mod cluster;
mod cluster_examples;
mod crash;
mod dashboard;
mod docs;
mod durability;
mod durability_faults;
mod env;
mod help;
mod journal;
mod journaled;
mod owd;
mod proxy;
mod scripts;
mod sim;
mod simulated;
mod study;
mod support;
mod task_bed;
mod task_bench;
mod task_defects;
mod task_faults;
mod task_http;
mod task_queues;
mod task_redis;
mod task_run;
mod task_serve;
mod tidy;
mod top;
mod usage;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR"));
    program.ancestors().nth(2).expect("the program lives two folders below the root").to_path_buf()
}

/// A path as seen from the root, for messages.
fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The text of a file that must be there.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", relative(path)))
}

/// Every file with this extension below a folder, in order. Hidden folders and build output are
/// left out.
fn files_under(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", relative(&folder))) {
            let entry = entry.expect("a readable folder has readable entries");
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(entry.path());
            } else if kind.is_file() && entry.path().extension().is_some_and(|it| it == extension) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// Fails with the rule and every offender, a line each.
fn expect_none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

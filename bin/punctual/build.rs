//! Tells the program which commit it was built from, where that can be known.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        let dirty = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
        let mark = if dirty { "+" } else { "" };
        println!("cargo::rustc-env=PUNCTUAL_GIT_COMMIT={commit}{mark}");
    }
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
    }
}

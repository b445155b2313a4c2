//! The scripts of `perf/scripts`. None profiles anything here: what they would find depends on the
//! machine. They run with a program that only pretends, and with the tools that a test gives them.

use crate::support::{Ended, Running, folder, text};
use crate::{expect_none, files_under, read, relative, root};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Those that share `lib.sh`.
const PROFILING: [&str; 8] =
    ["c2c", "flamegraph", "instructions", "jitter", "sched", "stat", "syscalls", "tune"];

/// What every script may take for granted.
const TOOLS: [&str; 26] = [
    "awk", "basename", "bash", "cat", "cp", "cut", "date", "dirname", "env", "grep", "head", "ls",
    "mkdir", "mktemp", "paste", "rm", "sed", "seq", "sh", "sleep", "sort", "tail", "tr", "uname",
    "uniq", "wc",
];

/// Answers `bench` and `env` at once, with the document in the file that is named last.
const PROGRAM: &str = r#"#!/bin/sh
for file in "$@"; do :; done
case $1 in
bench) printf '{\n  "committed": 1000,\n  "throughput_tps": 500.0\n}\n' >"$file" ;;
env)
    printf '      "%s": %s,\n' core 3 pinned true max_ns 92000 p99_ns 50 over_10us 23 \
        over_100us 0 lost_ns 1300000 stolen_share 0.0 >"$file"
    ;;
esac
"#;

#[test]
fn every_script_is_valid_bash() {
    let mut scripts = files_under(&root().join("perf/scripts"), "sh");
    assert!(scripts.len() > PROFILING.len(), "the scripts were not found");
    scripts.push(root().join(".ci/run"));
    let mut offenders = Vec::new();
    for script in scripts {
        let ended = Running::spawn(Command::new("bash").arg("-n").arg(&script)).finish();
        if ended.code != Some(0) {
            offenders.push(format!("{}: {}", relative(&script), ended.stderr));
        }
    }
    expect_none("scripts that bash does not understand", &offenders);
}

#[test]
fn every_profiling_script_explains_itself_and_refuses_what_it_does_not_know() {
    let dir = folder();
    let tools = tools(&dir);
    for name in PROFILING {
        let help = run(name, &tools, &["-h"]);
        help.expect_code(0);
        let usage = format!("usage: perf/scripts/{name}.sh");
        for part in [usage.as_str(), "\n  --out DIR ", "\n  -h, --help "] {
            assert!(help.stdout.contains(part), "{name}: no {part:?} in\n{}", help.stdout);
        }
        let example = format!("\n  perf/scripts/{name}.sh");
        assert!(help.stdout.contains(&example), "{name}: no example in\n{}", help.stdout);
        let unknown = run(name, &tools, &["--unknown"]);
        unknown.expect_code(2);
        assert!(unknown.error().contains("--unknown"), "{name}: {}", unknown.stderr);
    }
}

#[test]
fn without_its_tool_a_profiling_script_says_so_in_a_line_and_does_the_next_best_thing() {
    let dir = folder();
    let tools = tools(&dir);
    let program = executable(&dir, "punctual", PROGRAM);
    // What it lacks, and what it shows instead.
    let cases: [(&str, &[&str], &str, &str); 8] = [
        ("stat", &["--", "--shards", "2"], "perf not found", "micro --shards 2 --duration 5s: 500"),
        ("sched", &["--", "bank", "--duration=1s"], "perf not found", "bank --duration=1s: 500"),
        ("jitter", &["--seconds", "1"], "cyclictest not found", "\n3              92.0         50"),
        ("flamegraph", &[], "perf not found", ""),
        ("flamegraph", &["--off-cpu"], "perf not found", ""),
        ("c2c", &[], "perf not found", ""),
        ("syscalls", &[], "neither perf", ""),
        ("instructions", &[], "valgrind not found", ""),
    ];
    for (at, (name, options, lacking, instead)) in cases.into_iter().enumerate() {
        let out = dir.path().join(format!("out{at}"));
        let mut args = vec!["--program", text(&program), "--out", text(&out)];
        args.extend(options);
        let ended = run(name, &tools, &args);
        ended.expect_code(0);
        let said = ended.stdout.lines().filter(|line| line.contains(lacking)).count();
        assert_eq!(said, 1, "{name} {options:?}:\n{}", ended.stdout);
        assert!(ended.stdout.contains(instead), "{name} {options:?}:\n{}", ended.stdout);
        if instead.is_empty() {
            assert_eq!(ended.stdout.lines().count(), 1, "{name}:\n{}", ended.stdout);
        }
    }
}

#[test]
fn a_folder_with_anything_in_it_is_not_written_to() {
    let dir = folder();
    let tools = tools(&dir);
    let program = executable(&dir, "punctual", PROGRAM);
    let out = dir.path().join("out");
    fs::create_dir(&out).expect("a new folder");
    fs::write(out.join("precious"), "as it was").expect("a new file");
    let args = ["--program", text(&program), "--out", text(&out)];
    let ended = run("stat", &tools, &args);
    ended.expect_code(2);
    assert!(ended.error().contains("not empty; give another folder"), "{}", ended.stderr);
    assert_eq!(tree(&out), BTreeMap::from([(PathBuf::from("precious"), "as it was".to_owned())]));
}

#[test]
fn tuning_shows_what_to_set_and_changes_nothing_unless_it_is_told_to() {
    let dir = folder();
    let tools = tools(&dir);
    let machine = dir.path().join("machine");
    let files = [
        ("sys/devices/system/cpu/isolated", "1"),
        ("sys/devices/system/cpu/online", "0-2"),
        ("sys/devices/system/cpu/nohz_full", "(null)"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "2"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state1/disable", "0"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state2/latency", "120"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "0"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
        ("proc/sys/vm/swappiness", "60"),
        ("proc/irq/9/smp_affinity_list", "0-1"),
        ("proc/irq/10/smp_affinity_list", "0"),
        ("proc/irq/11/smp_affinity_list", "1"),
    ];
    for (name, content) in files {
        let file = machine.join(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a new folder");
        fs::write(&file, format!("{content}\n")).expect("a new file");
    }
    let before = tree(&machine);

    let shown = run("tune", &tools, &["--root", text(&machine)]);
    shown.expect_code(0);
    assert_eq!(tree(&machine), before, "{}", shown.stdout);
    for part in ["powersave (1 of 1)", "2 on cores 1", "nohz_full=1", "6 of these can be set now"] {
        assert!(shown.stdout.contains(part), "no {part:?} in\n{}", shown.stdout);
    }

    let out = dir.path().join("out");
    let args = ["--root", text(&machine), "--apply", "--out", text(&out)];
    let applied = run("tune", &tools, &args);
    applied.expect_code(0);
    let mut after = before.clone();
    for (name, content) in [
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "1"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "madvise"),
        ("proc/sys/vm/swappiness", "1"),
        ("proc/irq/9/smp_affinity_list", "0"),
        ("proc/irq/11/smp_affinity_list", "0,2"),
    ] {
        after.insert(name.into(), format!("{content}\n"));
    }
    assert_eq!(tree(&machine), after, "{}", applied.stdout);

    let undone = Running::spawn(Command::new("sh").arg(out.join("undo.sh"))).finish();
    undone.expect_code(0);
    // A kernel puts the brackets there by itself.
    after = before;
    after.insert("sys/kernel/mm/transparent_hugepage/enabled".into(), "always\n".to_owned());
    assert_eq!(tree(&machine), after);
}

#[test]
fn the_gate_stops_more_instructions_and_wants_fewer_to_be_recorded() {
    let gate = Gate::new();
    // Recorded, counted, the exit code, and what is said.
    let cases: [([u32; 2], [u32; 2], i32, &str); 4] = [
        ([1000, 2000], [1040, 2000], 0, "single: 1040.0 instructions a transaction, +4.00 %"),
        ([1000, 2000], [1060, 2000], 1, "FAILED: single takes +6.00 % instructions"),
        ([1000, 2000], [1000, 2300], 1, "FAILED: pair takes +15.00 % instructions"),
        ([1000, 2000], [1000, 1800], 0, "pair got better by more than 5 %"),
    ];
    for (recorded, counted, code, part) in cases {
        gate.write_baseline("unknown", recorded);
        let ended = gate.run("--gate", counted, None);
        ended.expect_code(code);
        assert!(ended.stdout.contains(part), "no {part:?} in\n{}", ended.stdout);
        assert!(code == 1 || !ended.stdout.contains("FAILED"), "{}", ended.stdout);
    }
}

#[test]
fn the_gate_compares_with_a_baseline_of_the_same_compiler_alone() {
    let gate = Gate::new();
    gate.write_baseline("1.0.0", [1000, 2000]);
    let ended = gate.run("--gate", [5000, 5000], Some("1"));
    ended.expect_code(0);
    assert!(ended.stdout.contains("the baseline is of rustc 1.0.0"), "{}", ended.stdout);
}

#[test]
fn the_gate_tells_compilers_apart_by_what_they_make_code_with_as_well() {
    let gate = Gate::new();
    let compiler = "#!/bin/sh\necho rustc 1.2.3\necho release: 1.2.3\necho LLVM version: 9.8\n";
    let rustc = executable(&gate.dir, "rustc", compiler);
    fs::rename(rustc, gate.tools.join("rustc")).expect("both are in one folder");
    for (recorded, code, part) in [
        ("1.2.3 LLVM 9.8", 1, "FAILED: single"),
        ("1.2.3 LLVM 9.7", 0, "this is rustc 1.2.3 LLVM 9.8"),
        ("1.2.4 LLVM 9.8", 0, "the baseline is of rustc 1.2.4 LLVM 9.8"),
    ] {
        gate.write_baseline(recorded, [1000, 2000]);
        let ended = gate.run("--gate", [5000, 5000], Some("1"));
        ended.expect_code(code);
        assert!(ended.stdout.contains(part), "{recorded}: {}", ended.stdout);
    }
}

#[test]
fn a_baseline_that_was_not_recorded_passes_only_where_nothing_is_required() {
    let gate = Gate::new();
    gate.write_baseline("", [0, 0]);
    for (required, code) in [(None, 0), (Some("1"), 1)] {
        let ended = gate.run("--gate", [1000, 2000], required);
        ended.expect_code(code);
        assert!(ended.stdout.contains("nothing is recorded"), "{}", ended.stdout);
    }
    let recorded = gate.run("--record", [1000, 2000], None);
    recorded.expect_code(0);
    let text = read(&gate.baseline);
    assert!(text.starts_with("# Kept.\n"), "{text}");
    assert!(text.ends_with("\nsingle = 1000.0\npair = 2000.0\n"), "{text}");
    let ended = gate.run("--gate", [1000, 2000], Some("1"));
    ended.expect_code(0);
    assert!(ended.stdout.contains("pair: 2000.0 instructions a transaction, +0.00 %"), "{text}");
}

/// The gate with a baseline of its own, and with a valgrind that counts what a test tells it.
struct Gate {
    dir: TempDir,
    tools: PathBuf,
    program: PathBuf,
    baseline: PathBuf,
}

impl Gate {
    fn new() -> Self {
        let dir = folder();
        let tools = tools(&dir);
        let program = executable(&dir, "punctual-gate", PROGRAM);
        let baseline = dir.path().join("baseline.toml");
        Self { dir, tools, program, baseline }
    }

    fn write_baseline(&self, rustc: &str, [single, pair]: [u32; 2]) {
        let arch = env::consts::ARCH;
        let text = format!(
            "# Kept.\n\nrustc = \"{rustc}\"\narch = \"{arch}\"\ntransactions = 128\n\n\
             [instructions_per_transaction]\nsingle = {single}\npair = {pair}\n"
        );
        fs::write(&self.baseline, text).expect("a temporary file can be written");
    }

    /// Runs it where a transaction takes so many instructions on one shard and on two.
    fn run(&self, mode: &str, [single, pair]: [u32; 2], required: Option<&str>) -> Ended {
        let valgrind = format!(
            "#!/bin/sh\n\
             file=${{2#--callgrind-out-file=}}\n\
             case $4 in single) each={single} ;; pair) each={pair} ;; esac\n\
             echo \"totals: $((7000 + $5 * each))\" >\"$file\"\n"
        );
        let valgrind = executable(&self.dir, "valgrind", &valgrind);
        fs::rename(valgrind, self.tools.join("valgrind")).expect("both are in one folder");
        let out = tempfile::tempdir_in(self.dir.path()).expect("a temporary folder");
        let program = text(&self.program);
        let mut command =
            command("instructions", &self.tools, &[mode, "--program", program, "--out"]);
        command.arg(out.path()).env("PUNCTUAL_BASELINE", &self.baseline);
        if let Some(required) = required {
            command.env("PUNCTUAL_REQUIRE", required);
        }
        Running::spawn(&mut command).finish()
    }
}

/// A script of `perf/scripts` that finds no other programs than those in `tools`.
fn command(name: &str, tools: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(which("bash"));
    command.arg(root().join("perf/scripts").join(format!("{name}.sh"))).args(args);
    command.env("PATH", tools).env_remove("PUNCTUAL_REQUIRE").env_remove("PUNCTUAL_BASELINE");
    command
}

fn run(name: &str, tools: &Path, args: &[&str]) -> Ended {
    Running::spawn(&mut command(name, tools, args)).finish()
}

/// A folder with nothing but what every script may take for granted.
fn tools(dir: &TempDir) -> PathBuf {
    let folder = dir.path().join("tools");
    fs::create_dir(&folder).expect("a new folder");
    for tool in TOOLS {
        symlink(which(tool), folder.join(tool)).expect("a new link");
    }
    folder
}

/// Where a program is.
fn which(tool: &str) -> PathBuf {
    let path = env::var_os("PATH").expect("there is a search path");
    let found = env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{tool} is nowhere in {}", path.display()))
}

/// A program in a folder of the test. Another process writes it: as long as one of this process
/// has it open, say a child that another test is just starting, it could not be run.
fn executable(dir: &TempDir, name: &str, content: &str) -> PathBuf {
    let (draft, program) = (dir.path().join(format!("{name}.draft")), dir.path().join(name));
    fs::write(&draft, content).expect("a temporary file can be written");
    let mut copy = Command::new("sh");
    copy.args(["-c", "cp \"$0\" \"$1\" && chmod +x \"$1\""]).args([&draft, &program]);
    Running::spawn(&mut copy).finish().expect_code(0);
    program
}

/// Every file below a folder with what is in it.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a readable folder") {
            let path = entry.expect("a readable folder has readable entries").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is below").to_path_buf();
                files.insert(name, fs::read_to_string(&path).expect("a text"));
            }
        }
    }
    files
}

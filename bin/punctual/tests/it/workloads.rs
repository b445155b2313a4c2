//! Workloads, rates and sweeps: short runs of each, checked against the store, in one process and
//! with shards in another one. How fast they are is nothing to test here.

use crate::bench::{documented, keys};
use crate::help::is_option;
use crate::support::{Ended, Running, bench, document, folder, number, run, text, write};
use crate::{expect_none, read, root};
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use punctual_load::workload;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use tempfile::TempDir;

/// Each workload with the kinds of its transactions, where it has several.
const KINDS: [(&str, &[&str]); 6] = [
    ("micro", &[]),
    ("counters", &[]),
    ("prototype", &["read", "write"]),
    ("tpcc", &["new-order", "payment", "order-status", "delivery", "stock-level"]),
    ("ycsb", &["read", "update"]),
    ("bank", &["transfer", "look"]),
];

/// Options that make the store of a workload small.
fn small(workload: &str) -> &'static [&'static str] {
    match workload {
        "tpcc" => &["--warehouses", "2", "--items", "1000", "--customers", "100"],
        "ycsb" => &["--records", "1000"],
        "bank" => &["--accounts", "200"],
        _ => &["--keys", "2000"],
    }
}

/// The arguments of a short bench that leaves the cores to others while it has nothing to do.
fn timed<'a>(workload: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["bench", workload];
    args.extend(options);
    for (name, value) in [("--duration", "300ms"), ("--warmup", "100ms"), ("--idle", "park")] {
        if !options.contains(&name) {
            args.extend([name, value]);
        }
    }
    args
}

/// The same with a small store.
fn short<'a>(workload: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    timed(workload, &[options, small(workload)].concat())
}

/// Fails unless the kinds are these, and together all that committed and aborted.
fn expect_kinds(ended: &Ended, report: &Value, names: &[&str]) {
    let kinds = report["kinds"].as_array().expect("a list of kinds");
    let found: Vec<&str> = kinds.iter().filter_map(|kind| kind["name"].as_str()).collect();
    assert_eq!(found, names);
    for field in ["committed", "aborted"] {
        let sum: u64 = kinds.iter().filter_map(|kind| kind[field].as_u64()).sum();
        assert!(kinds.is_empty() || report[field] == json!(sum), "{field}: {sum} in {report:#}");
    }
    for kind in kinds {
        assert_eq!(kind["latency_ns"]["samples"], kind["committed"], "{kind}");
        let name = kind["name"].as_str().expect("a name");
        let shown = ended.stdout.lines().any(|line| line.trim_start().starts_with(name));
        assert!(shown, "no {name} in:\n{}", ended.stdout);
    }
}

#[test]
fn every_workload_agrees_with_its_store_and_its_kinds_make_the_whole() {
    let parts = ["## The document of a run", "### Parameters of workloads"].map(documented);
    let fields: BTreeSet<String> = parts.concat().into_iter().collect();
    let mut offenders = Vec::new();
    for (name, kinds) in KINDS {
        for shards in ["1", "2"] {
            let mut options = vec!["--shards", shards];
            if name == "counters" {
                options.extend(["--span", shards]);
            }
            let (ended, report) = bench(&short(name, &options));
            assert_eq!(report["program"], format!("bench {name}"));
            assert_eq!(report["shards"].to_string(), shards);
            assert!(number(&report, "/committed") > 0.0, "{name} on {shards} shards");
            assert!(name == "tpcc" || report["aborted"] == json!(0), "{name}: {report:#}");
            expect_kinds(&ended, &report, kinds);
            let unknown = keys(&report).into_iter().filter(|field| !fields.contains(*field));
            offenders.extend(unknown.map(|field| format!("{name}: {field}")));
        }
    }
    expect_none("fields that docs/measurement.md does not explain", &offenders);
}

#[test]
fn every_mix_of_ycsb_agrees_with_its_records_on_two_shards() {
    let mixes: [(&str, &[&str]); 6] = [
        ("a", &["read", "update"]),
        ("b", &["read", "update"]),
        ("c", &[]),
        ("d", &["read", "insert"]),
        ("e", &["scan", "insert"]),
        ("f", &["read", "read-modify-write"]),
    ];
    for (mix, kinds) in mixes {
        let mut options = vec!["--mix", mix, "--shards", "2", "--in-flight", "64"];
        options.extend(["--fields", "2", "--field-bytes", "20"]);
        let (ended, report) = bench(&short("ycsb", &options));
        assert_eq!(report["mix"], mix.to_uppercase());
        assert!(number(&report, "/committed") > 0.0, "{mix}");
        expect_kinds(&ended, &report, kinds);
        // Only scans are on several shards.
        assert_eq!(number(&report, "/cross_share") > 0.0, mix == "e", "{mix}");
    }
}

#[test]
fn tpcc_says_what_was_ordered_and_how_much_of_it_was_on_both_shards() {
    let options = ["--shards", "2", "--remote-items", "0.5", "--rollback", "0.2"];
    let (_, report) = bench(&short("tpcc", &options));
    let figures = &report["figures"];
    assert_eq!(keys(figures), documented("`bench tpcc` has these `figures`"));
    let of_run = |field: &str| number(figures, &format!("/{field}"));
    // They are about the whole run, kinds about its measured part.
    for (field, counted) in [("new_orders", "committed"), ("rolled_back", "aborted")] {
        let measured = number(&report, &format!("/kinds/0/{counted}"));
        assert!(of_run(field) >= measured && measured > 0.0, "{field} in {report:#}");
    }
    // Each of the two has one warehouse.
    let [remote, spanning] = ["remote_share", "spanning_share"].map(of_run);
    assert!(remote > 0.0 && (remote - spanning).abs() < 1e-9, "{figures:#}");
}

#[test]
fn what_a_workload_did_is_there_when_the_engine_starts_again_on_its_journals() {
    let cases: [(&str, &[&str]); 6] = [
        ("bank", &["--shards", "2"]),
        ("prototype", &["--shards", "2", "--headroom", "0ns"]),
        ("ycsb", &["--mix", "d"]),
        ("ycsb", &["--mix", "e", "--shards", "2", "--in-flight", "64", "--fields", "2"]),
        ("ycsb", &["--mix", "f"]),
        ("tpcc", &["--shards", "2"]),
    ];
    for (name, options) in cases {
        let dir = folder();
        let journals = dir.path().join("journals");
        let place = ["--durability", "journal", "--recover", "--journal-dir", text(&journals)];
        let (_, report) = bench(&short(name, &[options, &place[..]].concat()));
        let recovery = &report["durability"]["recovery"];
        assert_eq!(recovery["self_check"], "ok", "{name} {options:?}");
        assert!(number(recovery, "/transactions") > 0.0, "{name} {options:?}");
    }
}

#[test]
fn the_prototype_is_run_as_it_was_published_unless_something_else_is_said() {
    let cases: [(&[&str], [u64; 3]); 2] = [
        (&[], [200, 10_000_000, 100_000]),
        (&["--in-flight", "7", "--headroom", "0ns", "--keys", "5000"], [7, 0, 5000]),
    ];
    for (options, expected) in cases {
        let (_, report) = bench(&timed("prototype", options));
        let found = ["in_flight", "headroom_ns", "keys"].map(|field| report[field].as_u64());
        assert_eq!(found, expected.map(Some), "{options:?}");
    }
}

#[test]
fn what_a_workload_cannot_do_is_one_line_before_the_run() {
    let cases: [(&[&str], &str); 19] = [
        (&["counters", "--shards", "2"], "--span 3 is outside 1..=2; there are 2 --shards"),
        (&["counters", "--keys", "10"], "--keys 10 are too few"),
        (&["prototype", "--keys", "10"], "--keys 10 are too few"),
        (&["bank", "--accounts", "3"], "--accounts 3 are fewer than 4"),
        (&["ycsb", "--records", "99"], "--records 99 are fewer than 100"),
        (&["ycsb", "--fields", "100"], "--fields 100 of --field-bytes 100 are outside 1..=4096"),
        (&["tpcc", "--shards", "2"], "--warehouses 1 leave some of 2 shards without any"),
        (&["tpcc", "--items", "99"], "--items 99 is outside 100..=100000"),
        (&["sweep", "--rates", "100", "pingpong"], "pingpong has no rate to sweep"),
        (&["sweep", "--rates", "100,0", "micro"], "--rates: 0 is no rate from 0.001"),
        (&["sweep", "--rates", "100", "mikro"], "'mikro'"),
        (&["sweep", "--rates", "100", "micro", "--durration", "1s"], "'--durration'"),
        (&["sweep", "--rates", "100", "counters", "--shards", "2"], "--span 3 is outside 1..=2"),
        (&["sweep", "--rates", "100", "micro", "--rate", "5"], "leave --rate out"),
        (&["sweep", "--rates", "100", "micro", "--json", "x"], "--json before the workload's"),
        (&["sweep", "--rates", "100", "micro", "--hdr", "x"], "leave --hdr out"),
        (&["sweep", "--rates", "100", "micro", "--http", "0"], "leave --http out"),
        (&["micro", "--service", "x", "--engine", "real"], "--service is for --engine sim"),
        (&["micro", "--engine", "sim", "--http", "0"], "leave --http out"),
    ];
    for (args, part) in cases {
        let ended = run(&[&["bench"][..], args].concat());
        ended.expect_code(2);
        assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{args:?}");
        assert!(ended.error().contains(part), "{args:?}: {}", ended.error());
    }
}

#[test]
fn values_that_options_do_not_take_are_refused_with_those_they_take() {
    let cases: [(&[&str], &str); 8] = [
        (&["bench", "ycsb", "--mix", "g"], "one of a, b, c, d, e, f"),
        (&["bench", "bank", "--looks", "2"], "a share is between 0 and 1"),
        (&["bench", "bank", "--rate", "100,0"], "\"0\" is no rate"),
        (&["bench", "bank", "--rate", "100.."], "\"\" is no rate"),
        (&["bench", "bank", "--arrivals", "constant"], "needs a --rate"),
        (&["bench", "sweep", "bank"], "--rates"),
        (&["bench", "sweep", "--auto", "--rates", "1", "bank"], "cannot be used with"),
        (&["serve", "--config", "x.toml", "--workload", "ycbs"], "'ycsb'"),
    ];
    for (args, part) in cases {
        let Ended { code, stdout, stderr } = run(args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(stderr.starts_with("error: ") && stderr.contains(part), "{args:?}: {stderr}");
    }
}

#[test]
fn rates_that_change_are_in_the_document_and_both_series_in_the_interval_log() {
    let cases = [("500..2000", "poisson", 1250.0), ("500,1500,1000", "constant", 1000.0)];
    for (rates, arrivals, mean) in cases {
        let dir = folder();
        let hdr = dir.path().join("hdr");
        let options = ["--rate", rates, "--arrivals", arrivals, "--hdr", text(&hdr)];
        let (_, report) = bench(&short("bank", &options));
        for (field, value) in
            [("rates", json!(rates)), ("arrivals", json!(arrivals)), ("rate", json!(mean))]
        {
            assert_eq!(report[field], value, "{field}");
        }
        assert!(number(&report, "/lag_ns/samples") > 0.0, "{report:#}");

        let log = fs::read(hdr.join("latency.hlog")).expect("an interval log");
        let (mut responses, mut lags) = (Vec::new(), Vec::new());
        for entry in IntervalLogIterator::new(&log) {
            let LogEntry::Interval(interval) = entry.expect("every line is valid") else {
                continue;
            };
            let span = (interval.start_timestamp(), interval.duration());
            match interval.tag().map(|tag| tag.as_str()) {
                Some("intended") => responses.push(span),
                Some("lag") => lags.push(span),
                other => panic!("there is a series {other:?}"),
            }
        }
        assert!(!responses.is_empty(), "no intervals");
        assert_eq!(responses, lags, "both series have the same intervals");
        for series in ["latency", "intended", "lag", "transfer", "look"] {
            assert!(hdr.join(format!("{series}.hgrm")).is_file(), "no table of {series}");
        }
    }
}

/// Runs a sweep of transfers with these options; its end, what it wrote, and the bench it ran.
fn sweep(options: &[&str], of_bench: &[&str]) -> (Ended, Value, String) {
    let dir = folder();
    let file = dir.path().join("sweep.json");
    let inner = short("bank", of_bench)[1..].to_vec();
    let head = [&["bench", "sweep", "--json", text(&file)][..], options].concat();
    let ended = run(&[head, inner.clone()].concat());
    ended.expect_code(0);
    (ended, document(&file), inner.join(" "))
}

#[test]
fn a_sweep_measures_every_rate_as_often_as_it_is_told_and_finds_a_knee_among_them() {
    let options = ["--rates", "8000,4000", "--repeats", "1"];
    let (ended, report, inner) = sweep(&options, &["--arrivals", "constant"]);
    assert_eq!(keys(&report), documented("`bench sweep` writes a document"));
    assert_eq!(report["program"], "bench sweep");
    assert_eq!(report["bench"], inner);
    assert_eq!(report["self_check"], "ok");
    assert!(report["closed_tps"].is_null(), "{report:#}");
    let points = report["points"].as_array().expect("a list of points");
    let rates: Vec<&Value> = points.iter().map(|point| &point["rate"]).collect();
    assert_eq!(rates, [&json!(4000.0), &json!(8000.0)]);
    for point in points {
        let runs = point["runs"].as_array().expect("a list of runs");
        assert_eq!(runs.len(), 1);
        for field in ["throughput_tps", "response_ns", "lag_ns", "valid", "self_check"] {
            assert!(!runs[0][field].is_null(), "no {field} in {point:#}");
        }
    }
    // Whether there is one depends on the machine.
    let knee = &report["knee_tps"];
    assert!(knee.is_null() || rates.contains(&knee), "{knee}");
    for part in ["\nknee: ", "\nself-check: ok"] {
        assert!(ended.stdout.contains(part), "no {part:?} in:\n{}", ended.stdout);
    }
    assert!(ended.stderr.contains("1/1 at"), "{}", ended.stderr);
}

#[test]
fn a_sweep_that_chooses_its_rates_goes_up_beyond_a_closed_loop() {
    let options = ["--auto", "--repeats", "1"];
    let (_, report, _) = sweep(&options, &["--duration", "100ms", "--warmup", "20ms"]);
    let closed = number(&report, "/closed_tps");
    let points = report["points"].as_array().expect("a list of points");
    let rates: Vec<f64> = points.iter().filter_map(|point| point["rate"].as_f64()).collect();
    assert!(rates.len() > 2 && rates.is_sorted(), "{rates:?}");
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    assert!(first < closed / 5.0 && last > closed, "{rates:?} around {closed}");
}

#[test]
fn a_sweep_that_is_interrupted_shows_the_runs_that_were_through() {
    let head = ["bench", "sweep", "--rates", "1000,2000", "--repeats", "100"];
    let mut running = Running::start(&[&head[..], &short("bank", &[])[1..]].concat());
    running.wait_for_line("1/100 at ");
    running.signal("INT");
    let ended = running.finish();
    ended.expect_code(0);
    assert!(ended.stderr.contains("interrupted: what follows"), "{}", ended.stderr);
    assert!(ended.stdout.contains("\nself-check: ok"), "{}", ended.stdout);
}

/// Serves one shard on a port that the system chooses; writes a configuration that leads there.
fn serve(dir: &TempDir, options: &[&str]) -> (Running, String) {
    let config = |address: &str| {
        format!("[cluster]\nshards = [\"{address}\"]\n[runtime]\nidle = \"park\"\n")
    };
    let any = write(dir, "any.toml", &config("127.0.0.1:0"));
    let mut serving = Running::start(&[&["serve", "--config", any.as_str()][..], options].concat());
    let line = serving.wait_for_line("shard 0 serves at ");
    serving.wait_for_line("ready");
    let address = line.split(' ').nth(4).expect("an address in the line");
    (serving, write(dir, "chosen.toml", &config(address)))
}

#[test]
fn shards_that_are_served_for_a_workload_run_one_bench_of_it_after_the_other() {
    let cases: [(&str, &[&[&str]]); 2] =
        [("ycsb", &[&["--mix", "f"], &["--mix", "d"], &["--mix", "a"]]), ("tpcc", &[&[], &[]])];
    for (name, benches) in cases {
        let dir = folder();
        let (serving, config) = serve(&dir, &["--workload", name]);
        for &options in benches {
            let options = [options, &["--config", config.as_str()][..]].concat();
            let (_, report) = bench(&short(name, &options));
            assert_eq!(report["transport"], "served");
            assert!(number(&report, "/committed") > 0.0, "{name} {options:?}");
        }
        let ended = serving.terminate();
        ended.expect_code(0);
        let told = format!("procedures: {name}.");
        assert!(ended.stderr.lines().any(|line| line.starts_with(&told)), "{}", ended.stderr);
    }
}

#[test]
fn shards_that_are_served_for_something_else_say_how_to_start_the_right_ones() {
    let cases: [(&[&str], &str, &str); 3] = [
        (&[], "ycsb", "the shards started with punctual serve --workload ycsb"),
        (&["--workload", "ycsb"], "tpcc", "the shards started with punctual serve --workload tpcc"),
        (&["--workload", "ycsb"], "micro", "for micro the shards started without --workload"),
    ];
    for (options, name, hint) in cases {
        let dir = folder();
        let (serving, config) = serve(&dir, options);
        let ended = run(&short(name, &["--config", &config]));
        ended.expect_code(2);
        assert_eq!(ended.stdout, "");
        let error = ended.error();
        assert!(error.contains("another cluster configuration"), "{error}");
        assert!(error.ends_with(hint), "{error}");
        serving.terminate().expect_code(0);
    }
}

fn page() -> String {
    read(&root().join("docs/workloads.md"))
}

#[test]
fn the_book_has_a_section_on_every_workload_that_shows_its_options_and_no_others() {
    let page = page();
    let mut offenders = Vec::new();
    for name in workload::names() {
        let below = page.split_once(&format!("\n## `{name}`\n")).map(|(_, below)| below);
        let section = below.and_then(|below| below.split("\n## ").next());
        let section = section.unwrap_or_else(|| panic!("no section on {name}"));
        let help = run(&["bench", name, "--help"]);
        help.expect_code(0);
        let options: BTreeSet<&str> = section
            .split(|letter: char| !letter.is_alphanumeric() && letter != '-')
            .filter(|word| {
                word.strip_prefix("--").is_some_and(|it| it.starts_with(char::is_alphabetic))
            })
            .collect();
        assert!(!options.is_empty(), "the section on {name} shows no options");
        let unknown = options.iter().filter(|option| !is_option(&help.stdout, option));
        offenders.extend(unknown.map(|option| format!("bench {name} has no {option}")));
        // Its own options come first, before those that all have.
        let own = help.stdout.split("\nEngine:\n").next().unwrap_or_default();
        let own = own.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
        let common = ["duration", "warmup", "json"];
        let missing = own
            .filter_map(|line| line.split(' ').next())
            .filter(|option| !common.contains(option))
            .filter(|option| !options.contains(format!("--{option}").as_str()));
        offenders.extend(missing.map(|option| format!("nothing on --{option} of bench {name}")));
    }
    expect_none("docs/workloads.md and the help differ", &offenders);
}

#[test]
fn what_the_book_shows_of_the_example_is_in_the_example() {
    let example = read(&root().join("perf/load/examples/own_workload.rs"));
    let page = page();
    let mut blocks = 0;
    for part in page.split("<!-- example -->\n```rust\n").skip(1) {
        let code = part.split("```").next().unwrap_or_default();
        assert!(example.contains(code), "this has changed in the example:\n{code}");
        blocks += 1;
    }
    assert!(blocks >= 2, "the page shows only {blocks} parts of the example");
}

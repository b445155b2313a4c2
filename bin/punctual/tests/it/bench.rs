//! The benches in one process: they check themselves, say what they did in a documented way, and
//! take every option to heart. How fast they are is nothing to test here.

use crate::support::{Running, bench, document, folder, micro, number, run, text};
use crate::{read, root};
use serde_json::{Value, json};
use std::fs;

/// What a latency is summed up in.
const LATENCY: [&str; 8] = ["max", "mean", "p50", "p90", "p99", "p99_9", "p99_99", "samples"];
/// What only a run with transactions on several shards has.
const STAMPED: [&str; 5] = ["span", "on_time_ratio", "late_ns", "hold_ns", "agreement_ns"];
/// What only a run at a given rate has.
const OPEN_LOOP: [&str; 4] = ["rate", "intended_latency_ns", "lag_ns", "open_loop_valid"];

/// The names in the first column of the first table below a line of the page on measurement.
pub(crate) fn documented(line: &str) -> Vec<String> {
    let page = read(&root().join("docs/measurement.md"));
    let (_, below) = page.split_once(line).unwrap_or_else(|| panic!("the page has no {line:?}"));
    let table = below.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let mut names = Vec::new();
    for row in table.take_while(|line| line.starts_with('|')) {
        let column = row.split('|').nth(1).unwrap_or_default();
        names.extend(column.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    names.sort_unstable();
    names
}

pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().unwrap_or_else(|| panic!("{object} is no object"));
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn has(document: &Value, field: &str) -> bool {
    document.get(field).is_some_and(|value| !value.is_null())
}

#[test]
fn a_run_over_every_transport_checks_itself_and_writes_what_is_documented() {
    let fields = documented("## The document of a run");
    for transport in ["ring", "tcp", "unix"] {
        let (ended, report) = bench(&micro(&["--transport", transport]));
        assert_eq!(keys(&report), fields);
        assert_eq!(keys(&report["latency_ns"]), LATENCY);
        assert_eq!(keys(&report["environment"]), documented("`environment` says where"));
        let expected = [
            ("schema", json!(2)),
            ("program", json!("bench micro")),
            ("transport", json!(transport)),
            ("shards", json!(1)),
            ("coordinators", json!(1)),
            ("keys", json!(2000)),
        ];
        for (field, value) in expected {
            assert_eq!(report[field], value, "{field} over {transport}");
        }
        assert_eq!(report["environment"]["debug_build"], cfg!(debug_assertions));

        assert!(number(&report, "/committed") > 0.0, "nothing over {transport}");
        assert_eq!(report["latency_ns"]["samples"], report["committed"], "over {transport}");
        assert!(number(&report, "/messages_per_frame") > 1.0, "no batches over {transport}");
        for field in OPEN_LOOP {
            assert!(!has(&report, field), "{field} in a closed loop");
        }
        for field in STAMPED {
            assert!(!has(&report, field), "{field} with a single shard");
        }
        assert_eq!((&report["cross_share"], &report["stamped"]), (&json!(0.0), &json!(0)));

        assert!(ended.stdout.starts_with(&format!("micro over {transport}: ")), "{}", ended.stdout);
        for stage in ["loading", "warming up", "measuring", "checking the store"] {
            assert!(ended.stderr.lines().any(|line| line == stage), "{}", ended.stderr);
        }
    }
}

#[test]
fn without_batching_every_message_has_a_frame_of_its_own() {
    let (_, report) = bench(&micro(&["--transport", "unix", "--batch", "off"]));
    assert_eq!(report["batch"], 1);
    let per_frame = number(&report, "/messages_per_frame");
    assert!((per_frame - 1.0).abs() < 0.05, "{per_frame} messages a frame");
}

#[test]
fn a_small_key_takes_at_most_a_hundred_bytes_and_more_with_a_longer_value() {
    let (_, report) = bench(&micro(&["--keys", "100000"]));
    let small = number(&report, "/bytes_per_key");
    assert!((16.0..=100.0).contains(&small), "{small} bytes a key");
    let (_, report) = bench(&micro(&["--keys", "100000", "--value-size", "100"]));
    assert_eq!(report["value_size"], 100);
    let longer = number(&report, "/bytes_per_key");
    assert!(longer > small + 92.0, "{longer} bytes a key with 92 more in its value than {small}");
}

#[test]
fn several_shards_and_coordinators_all_work() {
    let (_, report) = bench(&micro(&["--shards", "2", "--coordinators", "2"]));
    assert_eq!((&report["shards"], &report["coordinators"]), (&json!(2), &json!(2)));
    for kind in ["shards", "coordinators"] {
        let cores = report["environment"]["cores"][kind].as_array().map(Vec::len);
        assert_eq!(cores, Some(2), "cores of the {kind}");
    }
    for agent in ["shard0", "shard1", "worker0", "worker1"] {
        let committed = number(&report, &format!("/counters/{agent}.committed"));
        assert!(committed > 0.0, "{agent} did nothing");
    }
    let on_shard = |shard: usize| number(&report, &format!("/counters/shard{shard}.keys"));
    assert!((on_shard(0) + on_shard(1) - 2000.0).abs() < 0.5, "the keys are on one shard each");
}

/// Fails unless every transaction of the run has ended, and once.
fn expect_all_ended(report: &Value) {
    let of_run = |field: &str| number(report, &format!("/whole_run/{field}"));
    let ends = ["committed", "aborted", "refused", "unknown"].map(of_run);
    assert_eq!(of_run("submitted"), ends.iter().sum::<f64>(), "{report:#}");
    assert!(of_run("committed") >= number(report, "/committed"), "{report:#}");
}

#[test]
fn half_of_the_transactions_touch_both_shards_and_all_agree_with_the_stores() {
    for transport in ["ring", "tcp"] {
        let options = ["--transport", transport, "--shards", "2", "--cross", "0.5"];
        let (ended, report) = bench(&micro(&options));
        let [share, stamped, committed] =
            ["/cross_share", "/stamped", "/committed"].map(|field| number(&report, field));
        assert!((0.2..=0.8).contains(&share), "{share} of {committed} over {transport}");
        assert_eq!(stamped, (share * committed).round(), "those on two shards have a stamp");
        assert_eq!((&report["cross"], &report["span"]), (&json!(0.5), &json!(2)));
        let late = number(&report, "/late");
        let on_time = number(&report, "/on_time_ratio");
        assert!((on_time - (stamped - late) / stamped).abs() < 1e-9, "{on_time} are on time");
        for (series, samples) in [("hold", stamped), ("agreement", stamped), ("late", late)] {
            assert_eq!(number(&report, &format!("/{series}_ns/samples")), samples, "{series}");
        }
        assert!(number(&report, "/proposals_per_frame") > 0.0, "no proposals over {transport}");
        for shard in 0..2 {
            let stamped = number(&report, &format!("/per_shard/{shard}/stamped"));
            assert!(stamped > 0.0, "shard {shard} had no part over {transport}");
        }
        assert!(report["environment"]["cores"]["prober"].is_u64(), "{report:#}");
        expect_all_ended(&report);
        for row in ["cross", "on time", "hold", "agreement", "proposals", "shard 0", "shard 1"] {
            let shown = ended.stdout.lines().any(|line| line.trim_start().starts_with(row));
            assert!(shown, "no {row} in:\n{}", ended.stdout);
        }
    }
}

#[test]
fn every_transaction_can_touch_several_shards_of_a_hot_set() {
    let mut options = vec!["--shards", "4", "--cross", "1", "--span", "3", "--ops", "6"];
    options.extend(["--keys", "100", "--prober", "off"]);
    let (_, report) = bench(&micro(&options));
    assert_eq!(report["cross_share"], 1.0);
    assert_eq!(report["stamped"], report["committed"]);
    assert!(report["environment"]["cores"]["prober"].is_null(), "{report:#}");
    expect_all_ended(&report);
    let shards = report["per_shard"].as_array().expect("the shards of this process");
    let part = |shard: &Value| shard["stamped"].as_u64() > Some(0);
    assert!(shards.len() == 4 && shards.iter().all(part), "{shards:#?}");
}

#[test]
fn options_show_in_the_document_of_a_run_that_still_agrees_with_the_store() {
    let cases: [(&[&str], &str, Value); 9] = [
        (&["--headroom", "1ms"], "/headroom_ns", json!(1_000_000)),
        (&["--estimator", "ewma"], "/estimator", json!("ewma")),
        (&["--skew", "0.99"], "/skew", json!(0.99)),
        (&["--ops", "3"], "/ops", json!(3)),
        (&["--reads", "0"], "/reads", json!(0.0)),
        (&["--in-flight", "7"], "/in_flight", json!(7)),
        (&["--seed", "42"], "/seed", json!(42)),
        (&["--batch", "5"], "/batch", json!(5)),
        (&["--backend", "threads"], "/environment/backend", json!("threads")),
    ];
    for (options, field, value) in cases {
        let (_, report) = bench(&micro(options));
        assert_eq!(report.pointer(field), Some(&value), "{options:?}");
        assert!(number(&report, "/committed") > 0.0, "{options:?}");
    }
}

#[test]
fn checksums_are_part_of_what_a_cluster_agrees_on() {
    let hash = |options: &[&str]| {
        let (_, report) = bench(&micro(options));
        report["environment"]["config_hash"].clone()
    };
    assert_ne!(hash(&["--transport", "tcp"]), hash(&["--transport", "tcp", "--checksum"]));
}

#[test]
fn an_open_loop_keeps_its_rate_and_counts_from_the_intended_start() {
    for warmup in ["0s", "100ms"] {
        let (ended, report) = bench(&micro(&["--rate", "2000", "--warmup", warmup]));
        assert_eq!(report["rate"], 2000.0);
        for field in ["intended_latency_ns", "lag_ns"] {
            assert_eq!(keys(&report[field]), LATENCY);
            assert!(number(&report, &format!("/{field}/samples")) > 0.0, "{field}");
        }
        assert_eq!(report["intended_latency_ns"]["samples"], report["committed"]);
        // A closed loop is a hundred times as fast, even in a debug build.
        assert!(number(&report, "/throughput_tps") < 20_000.0, "{}", ended.stdout);
        // No transaction is sent before it was meant to be.
        let means = ["/intended_latency_ns/mean", "/latency_ns/mean"];
        let [response, service] = means.map(|field| number(&report, field));
        assert!(response >= service, "{response} ns from the intended start, {service} from then");
        for row in ["response", "generator lag"] {
            assert!(ended.stdout.contains(row), "no {row:?} in:\n{}", ended.stdout);
        }
    }
}

#[test]
fn histogram_files_have_the_format_of_the_plotters_and_hold_every_sample() {
    let dir = folder();
    let hdr = dir.path().join("made/on/demand");
    let options = ["--rate", "2000", "--hdr", text(&hdr)];
    let (_, report) = bench(&micro(&options));

    let log = fs::read_to_string(hdr.join("latency.hlog")).expect("an interval log");
    assert!(log.lines().any(|line| line == "#[Histogram log format version 1.3]"), "{log}");
    let intervals: Vec<&str> = log.lines().filter(|line| line.starts_with("Tag=")).collect();
    assert!(!intervals.is_empty(), "no intervals in:\n{log}");
    for interval in intervals {
        let fields: Vec<&str> = interval.split(',').collect();
        let [tag, start, len, max, histogram] = fields[..] else { panic!("{interval}") };
        assert!(["Tag=intended", "Tag=lag"].contains(&tag), "{interval}");
        assert!([start, len, max].iter().all(|field| field.parse::<f64>().is_ok()), "{interval}");
        // The cookie of a compressed histogram of version 2, in base64.
        assert!(histogram.starts_with("HISTFAAA"), "{interval}");
    }

    for (series, field) in
        [("latency", "latency_ns"), ("intended", "intended_latency_ns"), ("lag", "lag_ns")]
    {
        let table = fs::read_to_string(hdr.join(format!("{series}.hgrm"))).expect("a table");
        assert!(table.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n"));
        let (_, count) = table.split_once("Total count    =").expect("a count below the table");
        let count = count.trim_start().split(']').next().and_then(|text| text.parse::<u64>().ok());
        assert_eq!(count, report[field]["samples"].as_u64(), "{series}");
    }
}

#[test]
fn ctrl_c_ends_a_run_early_with_its_check_and_its_report() {
    let dir = folder();
    let file = dir.path().join("run.json");
    let options = ["--transport", "unix", "--duration", "10m", "--json", text(&file)];
    let mut running = Running::start(&micro(&options));
    running.wait_for_line("measuring");
    running.signal("INT");
    let ended = running.finish();
    ended.expect_code(0);
    assert!(ended.stderr.contains("interrupted: ending early"), "{}", ended.stderr);
    assert!(ended.stdout.contains("self-check"), "{}", ended.stdout);
    let report = document(&file);
    assert_eq!(report["self_check"], "ok");
    assert!(number(&report, "/duration_s") < 600.0, "{report:#}");
}

#[test]
fn ctrl_c_before_anything_was_measured_is_no_result() {
    let dir = folder();
    let file = dir.path().join("run.json");
    let mut running = Running::start(&micro(&["--warmup", "10m", "--json", text(&file)]));
    running.wait_for_line("warming up");
    running.signal("INT");
    let ended = running.finish();
    ended.expect_code(1);
    assert_eq!(ended.error(), "error: interrupted before anything was measured");
    assert_eq!(ended.stdout, "");
    assert_eq!(fs::read_to_string(&file).expect("the file was opened"), "");
}

#[test]
fn values_that_fill_a_reply_are_loaded_and_checked() {
    let mut options = vec!["--value-size", "100000", "--ops", "10", "--keys", "100"];
    options.extend(["--in-flight", "4"]);
    let (_, report) = bench(&micro(&options));
    assert_eq!(report["value_size"], 100_000);
    assert!(number(&report, "/committed") > 0.0, "{report:#}");
}

#[test]
fn with_a_dash_every_bench_prints_its_document_and_its_summary_beside_it() {
    let short = ["--json", "-", "--duration", "100ms", "--warmup", "10ms"];
    for (name, options) in
        [("micro", vec!["--keys", "2000"]), ("pingpong", vec![]), ("roofline", vec![])]
    {
        let args = [vec!["bench", name], options, short.to_vec()].concat();
        let ended = run(&args);
        ended.expect_code(0);
        let report: Value = serde_json::from_str(&ended.stdout).expect("only JSON");
        assert_eq!(report["program"], format!("bench {name}"));
        assert!(ended.stderr.contains("self-check"), "{}", ended.stderr);
    }
}

#[test]
fn pingpong_plays_over_every_transport() {
    for transport in ["ring", "tcp", "unix"] {
        let mut args = vec!["bench", "pingpong", "--transport", transport];
        args.extend(["--duration", "100ms", "--warmup", "10ms", "--bytes", "32"]);
        let (ended, report) = bench(&args);
        assert_eq!(report["schema"], 2);
        assert_eq!(report["program"], "bench pingpong");
        assert_eq!(report["transport"], transport);
        assert_eq!(report["payload_bytes"], 32);
        assert_eq!(keys(&report), documented("`bench pingpong` writes"));
        assert_eq!(keys(&report["latency_ns"]), LATENCY);
        assert_eq!(keys(&report["environment"]), documented("`environment` says where"));
        assert!(number(&report, "/latency_ns/samples") > 0.0, "no pong over {transport}");
        assert!(number(&report, "/throughput_tps") > 0.0, "no pong over {transport}");
        assert!(ended.stdout.contains("round trips"), "{}", ended.stdout);
    }
}

#[test]
fn the_roofline_finds_everything_it_sent_in_its_array() {
    for options in [["--reads", "0"], ["--skew", "0.99"]] {
        let mut args = vec!["bench", "roofline", "--keys", "2000"];
        args.extend(["--duration", "100ms", "--warmup", "10ms"]);
        args.extend(options);
        let (_, report) = bench(&args);
        assert_eq!(report["schema"], 2);
        assert_eq!(report["program"], "bench roofline");
        assert_eq!(report["transport"], "tcp");
        assert_eq!(keys(&report["environment"]), documented("`environment` says where"));
        assert_eq!(keys(&report), documented("`bench roofline` writes"));
        assert!(number(&report, "/committed") > 0.0, "{options:?}");
    }
}

#[test]
fn a_bench_that_writes_no_document_still_prints_its_result() {
    let ended = run(&micro(&[]));
    ended.expect_code(0);
    for row in ["throughput", "latency", "committed", "frames", "store", "self-check"] {
        let shown = ended.stdout.lines().any(|line| line.trim_start().starts_with(row));
        assert!(shown, "no {row} in:\n{}", ended.stdout);
    }
    let check = ended.stdout.lines().find(|line| line.contains("self-check"));
    assert!(check.is_some_and(|line| line.ends_with("ok")), "{}", ended.stdout);
}

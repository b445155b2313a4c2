//! What a user gets who calls or configures the program wrongly: one line that says what to do, and
//! exit code 2.

use crate::support::{Ended, PROGRAM, Running, document, folder, micro, run, text, write};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Command;

/// A configuration that has nothing wrong up to here.
const HEAD: &str = "[cluster]\nshards = [\"127.0.0.1:7101\"]\n";

/// The error of a call that prints nothing else.
fn usage_error(args: &[&str]) -> String {
    let ended = run(args);
    ended.expect_code(2);
    assert_eq!(ended.stdout, "");
    assert_eq!(ended.stderr.lines().count(), 1, "more than one line:\n{}", ended.stderr);
    ended.error().to_owned()
}

#[test]
fn a_wrong_configuration_names_the_line_and_the_nearest_right_name() {
    let cases = [
        ("[runtme]\n", 3, "did you mean \"runtime\"?"),
        ("[runtime]\nidel = \"spin\"\n", 4, "did you mean \"idle\"?"),
        ("[runtime]\n\nidle = \"spinn\"\n", 5, "did you mean \"spin\"?"),
        ("[coordinator]\ndeadline = \"2 sec\"\n", 4, "h, m, s, ms, us, ns"),
        ("[coordinator]\nworkers = 1\nin_flight = 0\n", 5, "outside 1..=65536"),
        ("[serve]\nshards = [0, 1]\n", 4, "the cluster has 0..=0"),
        ("[serve\n", 3, "is not valid TOML"),
    ];
    let commands: [&[&str]; 4] =
        [&["serve"], &["owd"], &["bench", "micro"], &["bench", "pingpong"]];
    let dir = folder();
    for (tail, line, hint) in cases {
        let config = write(&dir, "cluster.toml", &format!("{HEAD}{tail}"));
        for command in commands {
            let mut args = command.to_vec();
            args.extend(["--config", &config]);
            let error = usage_error(&args);
            assert!(error.starts_with(&format!("error: {config}:{line}: ")), "{tail:?}: {error}");
            assert!(error.contains(hint), "{tail:?}: {error}");
        }
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let dir = folder();
    let missing = dir.path().join("missing.toml");
    let error = usage_error(&["serve", "--config", text(&missing)]);
    assert!(error.contains(text(&missing)) && error.contains("cannot be read"), "{error}");
}

#[test]
fn options_that_contradict_limits_or_each_other_are_one_line() {
    let dir = folder();
    let config = write(&dir, "cluster.toml", HEAD);
    let few_keys = ["bench", "micro", "--shards", "2", "--keys", "19"];
    let wide = ["bench", "micro", "--shards", "2", "--cross", "1", "--span", "3"];
    let few_ops = ["bench", "micro", "--shards", "2", "--cross", "1", "--ops", "1"];
    let long_replies = ["bench", "micro", "--ops", "100", "--value-size", "20000"];
    let cases: [(&[&str], &str); 13] = [
        (&["bench", "micro", "--ops", "20", "--keys", "10"], "--ops 20 distinct keys"),
        (&few_keys, "of --keys 19, and a transaction takes up to 10 of them"),
        (&wide, "--span 3 is outside 2..=2"),
        (&few_ops, "--ops 1 are too few for a key on each of --span 2 shards"),
        (&["bench", "micro", "--cross", "0.5"], "--cross 0.5 needs two --shards at least"),
        (&long_replies, "lower one of them or raise frame_bytes_max"),
        (&["bench", "micro", "--value-size", "4"], "--value-size 4 is outside 8..="),
        (&["bench", "micro", "--batch", "1000"], "batch = 1000 is outside 1..=256"),
        (&["bench", "micro", "--in-flight", "0"], "in_flight = 0 is outside 1..=65536"),
        (&["bench", "micro", "--shard-cores", "1023"], "core 1023 in placement.shards"),
        (&["bench", "pingpong", "--bytes", "99999999"], "payload of 99999999 bytes"),
        (&["bench", "pingpong", "--config", &config, "--shard", "1"], "--shard 1 is outside 0..1"),
        (&["serve", "--config", &config, "--shards", "7"], "names shard 7"),
    ];
    for (args, part) in cases {
        let error = usage_error(args);
        assert!(error.contains(part), "{args:?}: {error}");
    }
}

#[test]
fn what_the_command_line_does_not_know_is_refused_with_the_nearest_option() {
    let cases: [(&[&str], &str); 14] = [
        (&["bench", "micro", "--durration", "1s"], "'--duration'"),
        (&["bench", "micro", "--cross", "1.1"], "a share is between 0 and 1"),
        (&["bench", "micro", "--shards", "2", "--span", "2"], "--cross"),
        (&["bench", "micro", "--estimator", "ewmaa"], "did you mean \"ewma\"?"),
        (&["owd"], "--config"),
        (&["owd", "--config", "x.toml", "--json", "-"], "--once"),
        (&["sim"], "--seed"),
        (&["sim", "--seed", "1", "--faults", "fire"], "there is no fault \"fire\""),
        (&["sim", "--seed", "1", "--seeds", "2"], "cannot be used with"),
        (&["bench", "micro", "--idle", "spinn"], "did you mean \"spin\"?"),
        (&["bench", "micro", "--batch", "some"], "a number of messages, or off"),
        (&["bench", "micro", "--transport", "tcp", "--config", "x.toml"], "cannot be used with"),
        (&["bench", "micr"], "'micro'"),
        (&["env", "--seconds", "61"], "from 0 to 60"),
    ];
    for (args, part) in cases {
        let Ended { code, stdout, stderr } = run(args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(stderr.starts_with("error: ") && stderr.contains(part), "{args:?}: {stderr}");
    }
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("a bound address").to_string();
    let dir = folder();
    let config = write(&dir, "cluster.toml", &format!("[cluster]\nshards = [\"{address}\"]\n"));
    let error = usage_error(&["serve", "--config", &config]);
    assert!(error.contains("shard 0") && error.contains(&address), "{error}");
    assert!(error.contains("stop what listens there or change its address"), "{error}");
}

#[test]
fn files_that_cannot_be_written_are_named() {
    let dir = folder();
    let in_the_way = write(&dir, "a-file", "");
    let error = usage_error(&micro(&["--hdr", &in_the_way]));
    assert!(error.contains(&in_the_way), "{error}");

    // Before the run: it would be for nothing.
    let below = format!("{in_the_way}/run.json");
    for bench in ["micro", "pingpong", "roofline"] {
        let error = usage_error(&["bench", bench, "--json", &below]);
        assert!(error.contains(&below), "{bench}: {error}");
    }
}

/// Runs the program where no memory may be locked.
fn without_memlock(args: &[&str]) -> Ended {
    let script = "ulimit -l 0 && exec \"$0\" \"$@\"";
    Running::spawn(Command::new("sh").args(["-c", script, PROGRAM]).args(args)).finish()
}

#[test]
fn too_little_lockable_memory_is_an_error_where_glommio_is_a_must_and_else_a_warning() {
    let ended = without_memlock(&micro(&["--backend", "glommio"]));
    ended.expect_code(2);
    let error = ended.error();
    assert!(error.contains("ulimit -l") && error.contains("raise the limit"), "{error}");

    let dir = folder();
    let file = dir.path().join("run.json");
    let ended = without_memlock(&micro(&["--backend", "auto", "--json", text(&file)]));
    ended.expect_code(0);
    let report = document(&file);
    assert_eq!(report["environment"]["backend"], "threads");
    let warnings = report["warnings"].as_array().expect("a list of warnings");
    let told = |warning: &Value| warning.as_str().is_some_and(|text| text.contains("ulimit -l"));
    assert!(warnings.iter().any(told), "{warnings:?}");
}

//! What files may say, and what is said about files that are wrong.

mod network;

use super::read::{CLUSTER, COORDINATOR, DURABILITY, LIMITS, NETWORK, PLACEMENT, PROBER, ROOT};
use super::read::{RUNTIME, SERVE};
use super::*;
use punctual_wire::Limits;
use std::time::Duration;

const ONE_SHARD: &str = include_str!("../../../../docs/examples/one-shard.toml");
const TWO_SHARDS: &str = include_str!("../../../../docs/examples/two-shards.toml");
const JOURNAL: &str = include_str!("../../../../docs/examples/two-shards-journal.toml");

/// Every key, none with its default.
const FULL: &str = r#"
[cluster]
name = "full"
shards = ["127.0.0.1:7101", "unix:/run/punctual/1.sock"]
clock = "realtime"
epsilon = "2ms"
max_hold = "3s"
dispatch_timeout = "400ms"
checksum = false
[cluster.limits]
frame_bytes_max = 2_097_152
batch_max = 128
key_bytes_max = 512
value_bytes_max = 0x10000
ops_max = 100
[serve]
shards = [1]
sessions_max = 16
store_bytes_max = "64 MiB"
pending_per_peer_max = 100
blocked_max = 200
[coordinator]
workers = 3
in_flight = 65536
batch = "off"
request_timeout = "50ms"
deadline = "1s"
connect_timeout = "750ms"
headroom = "30us"
estimator = "ewma"
default_owd = "5ms"
[prober]
enabled = false
first_interval = "200us"
first_for = "2s"
interval = "20ms"
jitter = 0.25
late_max = "1ms"
lost_after = "3s"
[durability]
mode = ["journal", "journal-async"]
dir = "/var/lib/punctual"
within = "20ms"
segment_bytes = "16 MiB"
snapshot_after = 0
backend = "threads"
[placement]
shards = [0, 1]
coordinators = [2, 2, 3]
prober = 3
journal = [1]
[runtime]
backend = "threads"
idle = "park"
overprovisioned = true
[network]
topology = "same-region"
core = 2
wait = "spin"
seed = 7
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::from_toml(text, "cluster.toml")
}

/// The error of a file whose first two lines are a good cluster of two shards.
fn refused(rest: &str) -> String {
    let text = format!("[cluster]\nshards = [\"127.0.0.1:7101\", \"127.0.0.1:7102\"]\n{rest}");
    parse(&text).unwrap_err().to_string()
}

/// What [`FULL`] says about the cluster.
fn full_cluster() -> ClusterConfig {
    ClusterConfig {
        name: "full".to_owned(),
        shards: 2,
        addresses: vec![
            Address::Tcp("127.0.0.1:7101".to_owned()),
            Address::Unix("/run/punctual/1.sock".into()),
        ],
        clock: ClockSource::Realtime,
        epsilon: Some(Duration::from_millis(2)),
        max_hold: Duration::from_secs(3),
        dispatch_timeout: Duration::from_millis(400),
        checksum: false,
        limits: Limits {
            frame_bytes_max: 1 << 21,
            batch_max: 128,
            key_bytes_max: 512,
            value_bytes_max: 1 << 16,
            ops_max: 100,
        },
    }
}

/// What [`FULL`] says about the process.
fn full_process() -> ProcessConfig {
    ProcessConfig {
        serve: Some(vec![1]),
        backend: Backend::Threads,
        idle: IdleStrategy::Park,
        overprovisioned: Some(true),
        placement: Placement {
            shards: CoreList::Cores(vec![0, 1]),
            coordinators: CoreList::Cores(vec![2, 2, 3]),
            prober: Some(3),
            journal: CoreList::Cores(vec![1]),
        },
        coordinators: 3,
        in_flight: 65_536,
        batch: 1,
        request_timeout: Duration::from_millis(50),
        deadline: Duration::from_secs(1),
        connect_timeout: Duration::from_millis(750),
        headroom: Duration::from_micros(30),
        estimator: Estimator::Ewma,
        default_owd: Duration::from_millis(5),
        prober: ProberSettings {
            enabled: Some(false),
            first_interval: Duration::from_micros(200),
            first_for: Duration::from_secs(2),
            interval: Duration::from_millis(20),
            jitter: 0.25,
            late_max: Duration::from_millis(1),
            lost_after: Duration::from_secs(3),
        },
        sessions_max: 16,
        store_bytes_max: 64 << 20,
        pending_per_peer_max: 100,
        blocked_max: 200,
        durability: DurabilitySettings {
            modes: Modes(vec![DurabilityMode::Journal, DurabilityMode::JournalAsync]),
            dir: "/var/lib/punctual".into(),
            within: Duration::from_millis(20),
            segment_bytes: 16 << 20,
            snapshot_after: 0,
            backend: JournalBackend::Threads,
        },
        network: Some(NetworkConfig {
            topology: Topology::named("same-region").expect("a known name"),
            core: Some(2),
            wait: NetworkWait::Spin,
            seed: 7,
        }),
    }
}

#[test]
fn every_key_of_a_file_reaches_its_field() {
    let expected = Config { cluster: full_cluster(), process: full_process() };
    assert_eq!(parse(FULL), Ok(expected));
}

#[test]
fn words_stand_for_what_is_decided_by_itself() {
    let words = "epsilon = \"auto\"\n[prober]\nenabled = \"auto\"\n\
                 [placement]\nprober = \"auto\"\njournal = \"auto\"\n\
                 [network]\ntopology = \"none\"\ncore = \"auto\"\n";
    let config = parse(&format!("[cluster]\nshards = [\"127.0.0.1:1\"]\n{words}")).unwrap();
    assert_eq!(config.cluster.epsilon, None);
    assert_eq!(config.process.prober.enabled, None);
    assert_eq!(config.process.placement.prober, None);
    assert_eq!(config.process.placement.journal, CoreList::Auto);
    assert_eq!(config.process.network, None);
}

#[test]
fn the_shortest_file_gives_the_defaults() {
    let config = parse("cluster.shards = [\"127.0.0.1:0\"]").unwrap();
    let addresses = vec![Address::Tcp("127.0.0.1:0".to_owned())];
    let mut expected = Config::embedded(1);
    expected.cluster.addresses = addresses;
    assert_eq!(config, expected);
}

#[test]
fn the_one_shard_example_is_valid() {
    let config = Config::from_toml(ONE_SHARD, "one-shard.toml").unwrap();
    assert_eq!(config.cluster.shards, 1);
    assert_eq!(config.process.store_bytes_max, 1 << 30);
}

#[test]
fn the_journal_example_is_valid_and_its_clock_outlives_the_machine() {
    let config = Config::from_toml(JOURNAL, "two-shards-journal.toml").unwrap();
    let modes = &config.process.durability.modes;
    assert_eq!([0, 1].map(|shard| modes.mode_of(shard)), [DurabilityMode::Journal; 2]);
    assert_eq!(config.cluster.clock.resolve(&config.cluster.addresses), ClockSource::Realtime);
}

#[test]
fn the_two_shards_example_spells_out_every_default() {
    let config = Config::from_toml(TWO_SHARDS, "two-shards.toml").unwrap();
    let mut expected = Config::embedded(2);
    expected.cluster.name = "demo".to_owned();
    expected.cluster.addresses = config.cluster.addresses.clone();
    expected.process.serve = Some(vec![0, 1]);
    assert_eq!(config, expected);

    let document: toml::Table = TWO_SHARDS.parse().unwrap();
    let keys = |name: &str| -> Vec<String> {
        let table = name.split('.').fold(&document, |table, name| table[name].as_table().unwrap());
        let mut keys: Vec<String> = table.keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    let sections = [
        ("cluster", CLUSTER),
        ("cluster.limits", LIMITS),
        ("serve", SERVE),
        ("coordinator", COORDINATOR),
        ("prober", PROBER),
        ("durability", DURABILITY),
        ("placement", PLACEMENT),
        ("runtime", RUNTIME),
        ("network", NETWORK),
    ];
    for (name, known) in sections {
        let mut known = known.to_vec();
        known.sort_unstable();
        assert_eq!(keys(name), known, "[{name}]");
    }
    assert_eq!(document.len(), ROOT.len());
}

#[test]
fn unknown_keys_give_their_line_and_the_nearest_right_name() {
    assert_eq!(
        parse("\n[cluster]\nname = \"a\"\nshard = [\"a:1\"]\n").unwrap_err().to_string(),
        "cluster.toml:4: unknown key \"shard\" in [cluster]; did you mean \"shards\"?"
    );
    assert_eq!(
        refused("[cordinator]\nworkers = 1\n"),
        "cluster.toml:3: unknown section \"cordinator\"; did you mean \"coordinator\"?"
    );
    assert_eq!(
        refused("[cluster.limits]\nframe_max = 9\n"),
        "cluster.toml:4: unknown key \"frame_max\" in [cluster.limits]; \
         did you mean \"frame_bytes_max\"?"
    );
    assert_eq!(
        refused("[placement]\nzebra = 1\n"),
        "cluster.toml:4: unknown key \"zebra\" in [placement]; known here: shards, coordinators, \
         prober, journal"
    );
}

#[test]
fn of_several_unknown_keys_the_first_in_the_file_is_reported() {
    let error = parse("cluster.shards = [\"a:1\"]\n[serve]\nzz = 1\naa = 2\n").unwrap_err();
    assert_eq!((error.file(), error.line()), (Some("cluster.toml"), Some(3)));
    assert!(error.message().starts_with("unknown key \"zz\""));
}

#[test]
fn wrong_names_list_the_right_ones() {
    assert_eq!(
        refused("[runtime]\nidle = \"spinn\"\n"),
        "cluster.toml:4: idle = \"spinn\" is not one of spin, yield, backoff, park; \
         did you mean \"spin\"?"
    );
    assert_eq!(
        refused("[runtime]\nbackend = 'tokio'\n"),
        "cluster.toml:4: backend = 'tokio' is not one of auto, glommio, threads"
    );
    assert_eq!(
        refused("[coordinator]\nestimator = \"window-mex\"\n"),
        "cluster.toml:4: estimator = \"window-mex\" is not one of window-percentile, ewma, \
         ema-half-rtt, window-max; did you mean \"window-max\"?"
    );
}

#[test]
fn wrong_numbers_give_their_bounds() {
    let cases = [
        ("in_flight = 0", "in_flight = 0 is outside 1..=65536"),
        ("in_flight = 99_999_999_999", "in_flight = 99_999_999_999 is outside 1..=65536"),
        ("workers = -1", "workers = -1 is outside 1..=1024"),
        ("batch = 257", "batch = 257 is outside 1..=256"),
        ("connect_timeout = \"2h\"", "connect_timeout = 2h is outside 1us..=1h"),
        (
            "deadline = \"100ms\"",
            "deadline = 100ms is shorter than request_timeout = 200ms; \
             nothing would ever be sent again",
        ),
    ];
    for (line, message) in cases {
        let error = refused(&format!("[coordinator]\n{line}\n"));
        assert_eq!(error, format!("cluster.toml:4: {message}"));
    }
}

#[test]
fn times_of_transactions_on_several_shards_have_bounds_and_fit_each_other() {
    let cases = [
        ("cluster.max_hold = \"0s\"", "max_hold = 0s is outside 1us..=1h"),
        ("cluster.dispatch_timeout = \"2h\"", "dispatch_timeout = 2h is outside 1us..=1h"),
        ("cluster.epsilon = \"61s\"", "epsilon = 61s is outside 0s..=1m"),
        (
            "cluster.epsilon = \"soon\"",
            "epsilon = \"soon\" is not a duration; write a whole number and one of \
             h, m, s, ms, us, ns, as in \"200ms\"",
        ),
        ("coordinator.headroom = \"2m\"", "headroom = 2m is outside 0s..=1m"),
        (
            "coordinator.headroom = \"1s\"",
            "headroom = 1s and default_owd = 500us reach beyond max_hold = 1s; every transaction \
             on several shards would be refused",
        ),
        ("serve.pending_per_peer_max = 0", "pending_per_peer_max = 0 is outside 1..=16777216"),
        ("serve.blocked_max = 0", "blocked_max = 0 is outside 1..=16777216"),
        ("prober.interval = \"10us\"", "interval = 10us is outside 100us..=1h"),
        ("prober.first_for = \"2m\"", "first_for = 2m is outside 0s..=1m"),
        ("prober.lost_after = \"0s\"", "lost_after = 0s is outside 1us..=1h"),
        ("prober.jitter = 0.75", "jitter = 0.75 is outside 0..=0.5"),
        ("prober.jitter = nan", "jitter = nan is outside 0..=0.5"),
        ("prober.jitter = \"some\"", "jitter = \"some\" is text; write a number, as in 0.1"),
        ("placement.prober = 1024", "prober = 1024 is outside 0..=1023"),
    ];
    for (line, message) in cases {
        let error = parse(&format!("cluster.shards = [\"a:1\"]\n{line}\n")).unwrap_err();
        assert_eq!(error.to_string(), format!("cluster.toml:2: {message}"));
    }
    let whole = parse("cluster.shards = [\"a:1\"]\nprober.jitter = 0\n").unwrap();
    assert!(whole.process.prober.jitter.abs() < f64::EPSILON);
}

#[test]
fn one_mode_is_for_all_shards_and_a_list_for_each() {
    let modes = |line: &str| {
        let config = parse(&format!("cluster.shards = [\"a:1\", \"b:1\"]\n{line}\n"));
        config.map(|config| config.process.durability.modes)
    };
    let journal = DurabilityMode::Journal;
    let both = Modes(vec![DurabilityMode::Memory, journal]);
    assert_eq!(modes("durability.mode = \"journal\""), Ok(Modes::from(journal)));
    assert_eq!(modes("durability.mode = [\"journal\"]"), Ok(Modes::from(journal)));
    assert_eq!(modes("durability.mode = [\"memory\", \"journal\"]"), Ok(both));
}

#[test]
fn journals_have_a_place_a_bound_and_room_for_what_is_admitted() {
    let cases = [
        ("mode = []", "mode = [] names no mode; write memory, journal or journal-async"),
        (
            "mode = \"jornal\"",
            "mode = \"jornal\" is not one of memory, journal, journal-async; \
             did you mean \"journal\"?",
        ),
        (
            "mode = [\"journal\", \"disk\"]",
            "mode[1] = \"disk\" is not one of memory, journal, journal-async",
        ),
        ("mode = 1", "mode = 1 is a whole number; write text in quotes"),
        ("dir = \"\"", "dir = \"\" is no directory; write its path, as in \".punctual/data\""),
        ("within = \"999us\"", "within = 999us is outside 1ms..=1m"),
        ("within = \"61s\"", "within = 61s is outside 1ms..=1m"),
        ("segment_bytes = \"512 KiB\"", "segment_bytes = 512 KiB is outside 1 MiB..=4 GiB"),
        ("segment_bytes = 8388609", "segment_bytes = 8388609 B must be a multiple of 4096"),
        ("snapshot_after = \"2 PiB\"", "snapshot_after = 2 PiB is outside 0 B..=1 PiB"),
        ("backend = \"tokio\"", "backend = \"tokio\" is not one of auto, glommio, threads"),
    ];
    for (line, message) in cases {
        let error = refused(&format!("[durability]\n{line}\n"));
        assert_eq!(error, format!("cluster.toml:4: {message}"));
    }
    assert_eq!(
        refused("[placement]\njournal = [1024]\n"),
        "cluster.toml:4: journal[0] = 1024 is outside 0..=1023"
    );
}

#[test]
fn the_files_of_a_log_have_room_for_four_frames_where_there_is_a_log() {
    let small = "segment_bytes = \"3 MiB\"\n";
    assert_eq!(
        refused(&format!("[durability]\nmode = \"journal\"\n{small}")),
        "cluster.toml:5: segment_bytes = 3 MiB has no room for 4 frames of \
         frame_bytes_max = 1048576; raise it to 4 MiB"
    );
    assert_eq!(
        refused("limits.frame_bytes_max = 33554433\n[durability]\nmode = \"journal-async\"\n"),
        "cluster.toml:3: segment_bytes = 64 MiB has no room for 4 frames of \
         frame_bytes_max = 33554433; raise it to 131076 KiB"
    );
    let memory = parse(&format!("cluster.shards = [\"a:1\"]\n[durability]\n{small}"));
    assert_eq!(memory.unwrap().process.durability.segment_bytes, 3 << 20);
}

#[test]
fn wrong_types_say_what_to_write() {
    let cases = [
        ("coordinator.in_flight = \"many\"", "in_flight = \"many\" is text; write a whole number"),
        (
            "coordinator.batch = \"on\"",
            "batch = \"on\" is not understood; the only word is \"off\"",
        ),
        (
            "coordinator.deadline = 2",
            "deadline = 2 is a whole number; write a number and its unit in quotes, \
             as in \"200ms\"",
        ),
        (
            "coordinator.deadline = \"2 secs\"",
            "deadline = \"2 secs\" is not a duration; write a whole number and one of \
             h, m, s, ms, us, ns, as in \"200ms\"",
        ),
        (
            "serve.store_bytes_max = \"8 GB\"",
            "store_bytes_max = \"8 GB\" is not a size; write a whole number and one of \
             B, KiB, MiB, GiB, TiB, PiB, as in \"8 GiB\"",
        ),
        (
            "serve.shards = 1.5",
            "shards = 1.5 is a number with a fraction; write a list in brackets",
        ),
        (
            "runtime.overprovisioned = 1",
            "overprovisioned = 1 is a whole number; write true or false",
        ),
        ("placement = 3", "placement = 3 is a whole number; write a section, [placement]"),
    ];
    for (line, message) in cases {
        let text = format!("cluster.shards = [\"a:1\"]\n{line}\n");
        let error = parse(&text).unwrap_err().to_string();
        assert_eq!(error, format!("cluster.toml:2: {message}"));
    }
}

#[test]
fn a_wrong_element_of_a_list_gives_its_own_line() {
    let text = "[cluster]\nshards = [\n  \"a:1\",\n  \"b\",\n]\n";
    assert_eq!(
        parse(text).unwrap_err().to_string(),
        "cluster.toml:4: shards[1] = \"b\" has no port; write host:port or unix:/path"
    );
    assert_eq!(
        refused("[placement]\nshards = [0, \"x\"]\n"),
        "cluster.toml:4: shards[1] = \"x\" is text; write a whole number"
    );
}

#[test]
fn contradictions_are_blamed_on_a_line_of_the_file() {
    assert_eq!(
        refused("[serve]\nshards = [0, 2]\n"),
        "cluster.toml:4: shards names shard 2; the cluster has 0..=1"
    );
    assert_eq!(
        refused("[serve]\nshards = [1, 1]\n"),
        "cluster.toml:4: shards names shard 1 twice; once is enough"
    );
    assert_eq!(
        refused("[cluster.limits]\nvalue_bytes_max = 1048576\n"),
        "cluster.toml:4: frame_bytes_max = 1048576 has no room for a compare-and-set with a key of \
         1024 bytes and two values of 1048576, and for 1024 results; raise it to 2108416 or lower \
         value_bytes_max"
    );
    assert_eq!(
        refused("[cluster.limits]\nbatch_max = 32\n"),
        "cluster.toml:4: batch = 64 is outside 1..=32 (batch_max)"
    );
    assert_eq!(
        parse("[cluster]\nshards = [\"a:1\", \"a:1\"]\n").unwrap_err().to_string(),
        "cluster.toml:2: shards names a:1 twice; every shard needs an address of its own"
    );
}

#[test]
fn a_cluster_without_shards_is_told_to_list_them() {
    assert_eq!(
        parse("# nothing\n\n[cluster]\nname = \"a\"\n").unwrap_err().to_string(),
        "cluster.toml:3: \"shards\" is missing in [cluster]; list the address of each shard"
    );
    assert_eq!(
        parse("").unwrap_err().to_string(),
        "cluster.toml: \"shards\" is missing in [cluster]; list the address of each shard"
    );
    assert_eq!(
        parse("[cluster]\nshards = []\n").unwrap_err().to_string(),
        "cluster.toml:2: a cluster needs at least one shard"
    );
}

#[test]
fn bad_syntax_gives_the_line_that_toml_stumbled_over() {
    let error = parse("[cluster]\nshards = [\"a:1\"\nname = \n").unwrap_err();
    assert!(error.message().starts_with("is not valid TOML: "), "{error}");
    assert_eq!(parse("a = 1\na = 2\n").unwrap_err().line(), Some(2));
}

#[test]
fn long_values_are_cut_in_messages() {
    let error = refused(&format!("[runtime]\nidle = \"{}\"\n", "x".repeat(500)));
    assert!(error.contains("xxx... is not one of"), "{error}");
    assert!(error.len() < 200, "{error}");
}

#[test]
fn files_are_read_from_disk_and_missing_ones_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cluster.toml");
    let error = Config::load(&path).unwrap_err();
    assert_eq!(error.line(), None);
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    assert!(error.message().contains("cannot be read"), "{error}");

    std::fs::write(&path, FULL).unwrap();
    assert_eq!(Config::load(&path), parse(FULL));
}

#[test]
fn settings_of_a_process_leave_the_cluster_hash_alone() {
    let cluster = "[cluster]\nname = \"full\"\nshards = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n";
    let plain = parse(cluster).unwrap();
    let process = "[serve]\nshards = [1]\n[coordinator]\nbatch = 8\n[runtime]\nidle = \"park\"\n\
                   [durability]\nmode = \"journal\"\n";
    let other = parse(&format!("{cluster}{process}")).unwrap();
    assert_ne!(plain.process, other.process);
    assert_eq!(plain.cluster.hash(), other.cluster.hash());
}

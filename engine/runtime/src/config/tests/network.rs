//! Emulated networks: their names, their files, and timeouts that do not fit them.

use super::*;
use crate::config::{Distribution, Member, NetworkConfig, NetworkWait, Shape, Topology};

const THREE_REGIONS: &str = include_str!("../../../../../perf/topologies/three-regions.toml");

/// Two places and everything between them, with a few lines more.
fn topology(more: &str) -> Result<Topology, ConfigError> {
    let head = "places = [\"a\", \"b\"]\nshards = [\"a\", \"b\"]\ncoordinators = [\"a\"]\n";
    Topology::from_toml(&format!("{head}{more}"), "nets/two.toml")
}

fn wrong(more: &str) -> String {
    topology(more).expect_err("a mistake").to_string()
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn every_named_topology_puts_any_two_members_as_far_apart() {
    let delays = [(2_000, 500), (30_000, 5_000), (80_000, 10_000), (150_000, 20_000)];
    for (name, (delay_us, jitter_us)) in Topology::NAMES.into_iter().zip(delays) {
        let topology = Topology::named(name).expect("a known name");
        let shape =
            Shape::normal(Duration::from_micros(delay_us), Duration::from_micros(jitter_us));
        assert_eq!(topology.name(), name);
        for (from, to) in [
            (Member::Worker(0), Member::Shard(0)),
            (Member::Shard(0), Member::Shard(1)),
            (Member::Prober, Member::Shard(1)),
        ] {
            assert_eq!(topology.between(from, to), shape, "{name}");
            assert_eq!(topology.between(to, from), shape, "{name}");
        }
        assert!(topology.path(Member::Shard(1), Member::Shard(1)).is_none());
        assert_eq!(topology.longest(), shape.delay + 4 * shape.jitter);
        assert_eq!(topology.one_way(), shape.delay);
    }
}

#[test]
fn a_file_gives_each_direction_and_says_who_is_where() {
    let topology = topology(
        "name = \"pair\"\n[defaults]\njitter = \"1ms\"\ndistribution = \"pareto\"\n\
         loss = 0.01\nbandwidth = \"1 Gbit/s\"\n\
         [[pair]]\nfrom = \"a\"\nto = \"b\"\ndelay = \"10ms\"\n\
         [[pair]]\nfrom = \"b\"\nto = \"a\"\ndelay = \"20ms\"\njitter = \"2ms\"\nloss = 0\n",
    )
    .expect("a sound file");
    let rest =
        Shape { distribution: Distribution::Pareto, bandwidth: Some(1_000_000_000), ..Shape::NONE };
    let there = Shape { delay: ms(10), jitter: ms(1), loss: 0.01, ..rest };
    let back = Shape { delay: ms(20), jitter: ms(2), ..rest };
    assert_eq!(topology.name(), "pair");
    // The list of shards starts over: the third is where the first is, and so are the workers.
    let path = topology.path(Member::Worker(5), Member::Shard(1)).expect("they are apart");
    assert_eq!((path.there, path.back), (there, back));
    assert_eq!(topology.between(Member::Shard(1), Member::Shard(2)), back);
    assert!(topology.path(Member::Prober, Member::Shard(2)).is_none());
    assert_eq!((topology.one_way(), topology.longest()), (ms(20), ms(28)));
}

#[test]
fn matrices_go_row_by_row_from_each_place_and_pairs_have_the_last_word() {
    let matrices = "delays = [[\"0s\", \"10ms\"], [\"20ms\", \"0s\"]]\n\
                    jitters = [[\"1ms\", \"2ms\"], [\"3ms\", \"1ms\"]]\n";
    let topology = topology(&format!(
        "{matrices}[[pair]]\nfrom = \"a\"\nto = \"b\"\nboth = true\nloss = 0.1\n\
         [[pair]]\nfrom = \"b\"\nto = \"b\"\ndelay = \"1ms\"\n"
    ))
    .expect("a sound file");
    assert_eq!(topology.name(), "two", "the file's name");
    let shape = |delay, jitter| Shape { loss: 0.1, ..Shape::normal(ms(delay), ms(jitter)) };
    assert_eq!(topology.between(Member::Shard(0), Member::Shard(1)), shape(10, 2));
    assert_eq!(topology.between(Member::Shard(1), Member::Shard(0)), shape(20, 3));
    // Whoever is at the same place is not apart, unless that is said.
    assert!(topology.between(Member::Worker(0), Member::Shard(0)).is_none());
    let within = topology.between(Member::Shard(1), Member::Shard(3));
    assert_eq!(within, Shape::normal(ms(1), ms(1)));
}

#[test]
fn what_a_file_says_of_one_place_alone_counts_and_the_defaults_do_not() {
    let topology = topology(
        "delays = [[\"2ms\", \"10ms\"], [\"20ms\", \"0s\"]]\n[defaults]\ndelay = \"5ms\"\n\
         [[pair]]\nfrom = \"b\"\nto = \"b\"\nbandwidth = \"1 Mbit/s\"\n",
    )
    .expect("a sound file");
    let within = |one, other| topology.between(Member::Shard(one), Member::Shard(other));
    assert_eq!(within(0, 2), Shape::normal(ms(2), Duration::ZERO), "by the matrix");
    let narrow = Shape { bandwidth: Some(1_000_000), ..Shape::NONE };
    assert_eq!(within(1, 3), narrow, "by the pair, at no distance");
    assert_eq!(topology.one_way(), ms(20));
}

#[test]
fn places_that_talk_and_have_nothing_between_them_are_named() {
    let one_way = "[[pair]]\nfrom = \"a\"\nto = \"b\"\ndelay = \"10ms\"\n";
    assert_eq!(
        wrong(one_way),
        "nets/two.toml:1: nothing is given from \"b\" to \"a\"; add [[pair]] with from = \"b\", \
         to = \"a\" and a delay, or a delay in [defaults]"
    );
    topology(&one_way.replace("to = \"b\"", "to = \"b\"\nboth = true")).expect("both directions");
    topology("[defaults]\ndelay = \"1ms\"\n").expect("a delay for all");
    // Two workers never talk to each other.
    let file = "places = [\"a\", \"b\", \"c\"]\nshards = [\"a\"]\ncoordinators = [\"b\", \"c\"]\n\
                [[pair]]\nfrom = \"a\"\nto = \"b\"\nboth = true\ndelay = \"1ms\"\n\
                [[pair]]\nfrom = \"a\"\nto = \"c\"\nboth = true\ndelay = \"1ms\"\n";
    Topology::from_toml(file, "net.toml").expect("all that talk have a delay");
}

#[test]
fn mistakes_in_a_topology_file_have_a_line_and_the_nearest_right_name() {
    let cases = [
        ("plces = 1\n", "4: unknown key \"plces\"; did you mean \"places\"?"),
        ("[defaults]\ndelays = \"1ms\"\n", "5: unknown key \"delays\" in [defaults]; did you mean"),
        ("[defaults]\ndelay = \"2s\"\n", "delay = 2s is outside 0s..=1s"),
        ("[defaults]\nloss = 0.6\n", "5: loss = 0.6 is outside 0..=0.5"),
        ("[defaults]\nbandwidth = \"1 bit/s\"\n", "bandwidth = 1 bit/s is outside 1 kbit/s"),
        ("[defaults]\ndistribution = \"gauss\"\n", "is not one of normal, pareto, uniform"),
        ("[defaults]\ndistribution = \"paretto\"\n", "did you mean \"pareto\"?"),
        ("[[pair]]\nfrom = \"a\"\n", "5: \"to\" is missing in [pair]"),
        ("[[pair]]\nfrom = \"a\"\nto = \"bb\"\n", "6: to = \"bb\" is not one of a, b"),
        ("pair = 1\n", "4: pair = 1 is a whole number; write a list of sections, [[pair]]"),
        ("delays = [[\"0s\", \"1ms\"]]\n", "must have one row a place, 2"),
        ("delays = [[\"0s\"], [\"1ms\"]]\n", "4: delays[0] = [\"0s\"] must have one value a place"),
    ];
    for (more, message) in cases {
        let error = wrong(more);
        assert!(error.starts_with("nets/two.toml") && error.contains(message), "{error}");
    }
    let places = |text: &str| Topology::from_toml(text, "n.toml").unwrap_err().to_string();
    assert!(places("").contains("\"places\" is missing; name them"), "{}", places(""));
    assert!(places("places = [\"a\", \"a\"]\n").contains("names a twice"));
    assert!(places("places = [\"a\"]\nshards = []\n").contains("names no place"));
}

#[test]
fn the_shipped_topology_has_three_regions_and_a_remote_client() {
    let topology = Topology::from_toml(THREE_REGIONS, "three-regions.toml").expect("a sound file");
    for shard in 0..3 {
        for other in (0..3).filter(|other| *other != shard) {
            let between = topology.between(Member::Shard(shard), Member::Shard(other));
            assert!(between.delay > ms(30), "{shard} to {other}");
        }
        let from_client = topology.between(Member::Worker(0), Member::Shard(shard));
        assert!(from_client.delay > ms(100), "the client to {shard}");
    }
}

#[test]
fn a_network_is_a_name_or_a_file() {
    assert_eq!(NetworkConfig::named_or_file("geo").map(|it| it.topology), {
        Ok(Topology::named("geo").expect("a known name"))
    });
    assert_eq!(NetworkConfig::choose("none"), Ok(None));
    assert_eq!(NetworkConfig::choose("geo"), NetworkConfig::named_or_file("geo").map(Some));
    let error = NetworkConfig::named_or_file("goe").unwrap_err().to_string();
    assert!(error.starts_with("network \"goe\" is not one of same-region, same-cont"), "{error}");
    assert!(error.contains("path of a topology file"), "{error}");
    let error = NetworkConfig::named_or_file("missing/net.toml").unwrap_err().to_string();
    assert!(error.starts_with("missing/net.toml: cannot be read"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("regions.toml");
    std::fs::write(&path, THREE_REGIONS).unwrap();
    let network = NetworkConfig::named_or_file(&path.display().to_string()).unwrap();
    assert_eq!((network.core, network.wait, network.seed), (None, NetworkWait::Hybrid, 1));
    // In a configuration, the path is relative to the folder of the file that names it.
    let config = folder.path().join("cluster.toml");
    let text = "cluster.shards = [\"a:1\"]\n[network]\ntopology = \"regions.toml\"\n";
    std::fs::write(&config, text).unwrap();
    let config = Config::load(&config).unwrap();
    assert_eq!(config.process.network, Some(network));
}

#[test]
fn a_network_section_names_a_topology() {
    let error = refused("[network]\ncore = 1\n");
    assert!(error.contains("\"topology\" is missing in [network]; name one"), "{error}");
    let error = refused("[network]\ntopology = \"geoo\"\n");
    assert!(error.starts_with("cluster.toml:4: topology = \"geoo\" is not one of"), "{error}");
    assert!(error.contains("did you mean \"geo\"?"), "{error}");
    assert_eq!(
        refused("[network]\ntopology = \"geo\"\ncore = 5000\n"),
        "cluster.toml:5: core = 5000 is outside 0..=1023"
    );
    assert_eq!(
        refused("[network]\ntopology = \"geo\"\nwait = \"sleepy\"\n"),
        "cluster.toml:5: wait = \"sleepy\" is not one of hybrid, spin, sleep; \
         did you mean \"sleep\"?"
    );
}

#[test]
fn timeouts_with_their_defaults_are_raised_to_what_a_network_needs() {
    let mut config = Config::embedded(2);
    config.set_network(NetworkConfig::named_or_file("geo").unwrap());
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.process.request_timeout, ms(4 * 230));
    assert_eq!(config.process.deadline, Duration::from_secs(2), "long enough as it is");
    let mut near = Config::embedded(2);
    near.set_network(NetworkConfig::named_or_file("same-region").unwrap());
    near.process.network = None;
    assert_eq!(near, Config::embedded(2), "nothing had to be raised");
}

#[test]
fn a_network_in_place_of_another_finds_the_timeouts_that_nobody_chose() {
    let mut config = Config::embedded(2);
    config.process.deadline = Duration::from_secs(9);
    for (name, longest_ms) in [("cross-continent", 120), ("geo", 230), ("cross-continent", 120)] {
        config.set_network(NetworkConfig::named_or_file(name).unwrap());
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.process.request_timeout, ms(4 * longest_ms), "{name}");
        assert_eq!(config.process.deadline, Duration::from_secs(9), "somebody chose it");
    }
}

#[test]
fn timeouts_that_somebody_chose_are_refused_where_they_are_too_short() {
    let error =
        refused("[coordinator]\nrequest_timeout = \"450ms\"\n[network]\ntopology = \"geo\"\n");
    assert_eq!(
        error,
        "cluster.toml:4: request_timeout = 450ms is too short for the network \"geo\", where a \
         message may take 230ms; raise it to 920ms or more"
    );
    let error = refused("max_hold = \"200ms\"\n[network]\ntopology = \"geo\"\n");
    assert!(error.starts_with("cluster.toml:3: max_hold = 200ms is too short"), "{error}");
    let error = refused("dispatch_timeout = \"200ms\"\n[network]\ntopology = \"geo\"\n");
    assert!(error.starts_with("cluster.toml:3: dispatch_timeout = 200ms is too"), "{error}");
}

#[test]
fn a_topology_that_a_program_made_has_the_same_bounds() {
    let refused = |shape| {
        let mut config = Config::embedded(2);
        config.set_network(NetworkConfig::new(Topology::even("mine", shape)));
        config.validate().unwrap_err().to_string()
    };
    let far = Shape::normal(Duration::from_secs(2), Duration::ZERO);
    assert_eq!(refused(far), "delay = 2s is outside 0s..=1s");
    let farthest = Shape::normal(Duration::MAX, Duration::MAX);
    assert!(refused(farthest).contains(" is outside "));
    assert_eq!(refused(Shape { loss: f64::NAN, ..Shape::NONE }), "loss = NaN is outside 0..=0.5");
}

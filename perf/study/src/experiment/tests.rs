//! What a file may say, and what one gets for what it may not.

use super::*;
use crate::grid::Cell;

const HEAD: &str = "name = \"a-study\"\ntitle = \"A study\"\nabout = \"Why.\"\nbench = \"micro\"\n";

fn parse(tail: &str) -> Experiment {
    let text = format!("{HEAD}{tail}");
    Experiment::parse(&text, "x.toml", false).unwrap_or_else(|error| panic!("{error}"))
}

fn quick(tail: &str) -> Experiment {
    let text = format!("{HEAD}{tail}");
    Experiment::parse(&text, "x.toml", true).unwrap_or_else(|error| panic!("{error}"))
}

fn error(tail: &str) -> String {
    let text = format!("{HEAD}{tail}");
    // A mistake is one in either form.
    let [full, quick] = [false, true].map(|is_quick| {
        let parsed = Experiment::parse(&text, "x.toml", is_quick);
        parsed.expect_err("a mistake").to_string()
    });
    assert_eq!(full, quick);
    full
}

fn commands(experiment: &Experiment) -> Vec<String> {
    experiment.cells().iter().map(Cell::command).collect()
}

#[test]
fn the_grid_is_the_product_in_the_order_of_the_file() {
    let experiment = parse(
        "[fixed]\nkeys = 10\nchecksum = true\nprober = false\n\
         [sweep]\nzeta = [\"none\", 5]\nalpha = [0.5, true]\n",
    );
    assert_eq!(
        commands(&experiment),
        [
            "punctual bench micro --keys 10 --checksum --alpha 0.5",
            "punctual bench micro --keys 10 --checksum --alpha",
            "punctual bench micro --keys 10 --checksum --zeta 5 --alpha 0.5",
            "punctual bench micro --keys 10 --checksum --zeta 5 --alpha",
        ]
    );
    let first = &experiment.cells()[0];
    assert_eq!(first.slug, "zeta-none_alpha-0.5");
    assert_eq!(first.title(), "zeta none, alpha 0.5");
    assert_eq!(first.label("zeta"), Some("none"));
}

#[test]
fn a_bundle_is_one_dimension_of_several_options() {
    let experiment = parse(
        "[sweep]\nshards = [1, 2]\n[sweep.mode]\n\
         \"tcp park\" = { transport = \"tcp\", idle = \"park\" }\n\
         ring = { transport = \"ring\" }\n\
         [[skip]]\nmode = \"ring\"\nshards = [2]\n",
    );
    assert_eq!(
        commands(&experiment),
        [
            "punctual bench micro --shards 1 --transport tcp --idle park",
            "punctual bench micro --shards 1 --transport ring",
            "punctual bench micro --shards 2 --transport tcp --idle park",
        ]
    );
}

#[test]
fn without_a_sweep_there_is_one_cell() {
    let experiment = parse("engine = \"sim\"\n[fixed]\nskew = -1\n");
    assert_eq!(commands(&experiment), ["punctual bench micro --engine sim --skew=-1"]);
    assert_eq!(experiment.cells()[0].slug, "only");
}

#[test]
fn the_quick_form_replaces_what_it_names() {
    let text = "repeats = 5\n[fixed]\nduration = \"10s\"\nkeys = 7\n\
        [sweep]\nshards = [1, 2, 4]\n[sweep.mode]\na = { batch = 1 }\nb = { batch = 2 }\n\
        [quick]\nrepeats = 2\n[quick.fixed]\nduration = \"1s\"\nwarmup = \"500ms\"\n\
        [quick.sweep]\nshards = [8]\nmode = [\"b\"]\n";
    assert_eq!((parse(text).cells().len(), parse(text).repeats), (6, 5));
    assert_eq!(parse(text).estimate(), Duration::from_secs(6 * 5 * 12));
    let quick = quick(text);
    let only = "punctual bench micro --duration 1s --keys 7 --warmup 500ms --shards 8 --batch 2";
    assert_eq!(commands(&quick), [only]);
    assert_eq!(quick.estimate(), Duration::from_millis(2 * 2_500));
    assert!(quick.is_quick && quick.hash == parse(text).hash);
}

#[test]
fn in_virtual_time_only_the_time_of_the_cell_counts() {
    let text = "engine = \"sim\"\ncell_time = \"20s\"\n[fixed]\nduration = \"1h\"\n";
    assert_eq!(parse(text).estimate(), Duration::from_secs(20));
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_the_nearest_right_name() {
    for (tail, line, part) in [
        ("repeat = 3\n", 5, "unknown key \"repeat\"; did you mean \"repeats\"?"),
        ("repeats = 0\n", 5, "repeats = 0 is outside 1..=100"),
        ("engine = \"simm\"\n", 5, "did you mean \"sim\"?"),
        ("metrics = [\n\"a b\"]\n", 6, "is no path to a figure"),
        ("\n[quick]\nsweeps = 1\n", 7, "in [quick]; did you mean \"sweep\"?"),
        ("[fixed]\nin_flight = 1\n", 6, "without the dashes in front: \"in-flight\""),
        ("[fixed]\njson = \"x\"\n", 6, "the study itself says where results go"),
        ("[fixed]\nkeys = [1]\n", 6, "keys = [1] is no single value"),
        ("[sweep]\nkeys = []\n", 6, "has no value, so the grid is empty"),
        ("[sweep]\nkeys = [1, 1]\n", 6, "has \"1\" twice"),
        ("[fixed]\nkeys = 1\n[sweep]\nkeys = [1]\n", 8, "\"keys\" is set in [sweep] keys and by"),
        ("[sweep]\nkeys = [1]\n[quick.sweep]\nkey = [2]\n", 8, "did you mean \"keys\"?"),
        ("[sweep]\nkeys = [1]\n[[skip]]\nkeys = 2\n", 8, "is none of its values"),
        ("[[published]]\nname=\"x\"\nsource=\"y\"\ncolumns=[1]\nrows=[[1, 2]]\n", 9, "2 values"),
        ("[[plot]]\nkind = \"lines\"\ntitle = \"x\"\n", 6, "did you mean \"line\"?"),
        ("[[plot]]\nkind = \"line\"\n", 5, "\"title\" is missing in plot"),
        ("[[plot]]\nkind = \"line\"\ntitle = \"x\"\n", 5, "\"x\" is missing in plot"),
        ("[[plot]]\nkind = \"cdf\"\ntitle = \"x\"\ny = \"a\"\n", 8, "a cdf has no \"y\""),
        ("name = \"x\"\n", 5, "is not valid TOML"),
    ] {
        let error = error(tail);
        assert!(error.starts_with(&format!("x.toml:{line}: ")), "{tail:?}: {error}");
        assert!(error.contains(part), "{tail:?}: {error}");
    }
}

#[test]
fn a_picture_names_what_varies_and_figures_that_can_be() {
    let sweep =
        "[sweep]\nshards = [1, 2]\nnetwork = [\"none\", \"geo\"]\n[[plot]]\ntitle = \"x\"\n";
    for (tail, line, part) in [
        ("kind = \"bars\"\nx = \"shard\"\n", 11, "did you mean \"shards\"?"),
        ("kind = \"line\"\nx = \"netwrok\"\n", 11, "did you mean \"network\"?"),
        ("kind = \"line\"\nx = \"shards\"\ny = \"latency..p99\"\n", 12, "is no path to a figure"),
        ("kind = \"line\"\nx = \"shards\"\nlog = \"z\"\n", 12, "is no axis"),
        ("kind = \"line\"\nx = \"shards\"\nby = [\"netwrk\"]\n", 12, "did you mean \"network\"?"),
        ("kind = \"line\"\nx = \"shards\"\nby = []\n", 12, "\"network\" varies as well"),
        ("kind = \"line\"\nx = \"shards\"\nonly = { network = \"geos\" }\n", 12, "\"geo\"?"),
    ] {
        let error = error(&format!("{sweep}{tail}"));
        assert!(error.starts_with(&format!("x.toml:{line}: ")), "{tail:?}: {error}");
        assert!(error.contains(part), "{tail:?}: {error}");
    }
    let pinned = "kind = \"line\"\nx = \"shards\"\nby = []\nonly = { network = \"geo\" }\n";
    assert!(parse(&format!("{sweep}{pinned}")).plots[0].by.is_empty());
    let all = parse(&format!("{sweep}kind = \"bars\"\nx = \"shards\"\n"));
    assert_eq!(all.plots[0].by, ["network"]);
    assert_eq!(all.plots[0].y.as_ref().map(MetricPath::as_str), Some("latency_ns.p99"));
    let along = parse(&format!("{sweep}kind = \"throughput-latency\"\n"));
    assert_eq!(along.plots[0].by, ["shards"], "the last dimension goes along the line");
}

#[test]
fn a_grid_is_bounded_and_has_a_cell() {
    let skipped = error("[sweep]\nkeys = [1]\n[[skip]]\nkeys = 1\n");
    assert_eq!(skipped, "x.toml: the grid is empty: every cell is skipped; take a [[skip]] out");
    let hundred: Vec<String> = (0..100).map(|at| at.to_string()).collect();
    let list = hundred.join(", ");
    let sweep: String = ["a", "b", "c", "d"].map(|name| format!("{name} = [{list}]\n")).concat();
    let many = error(&format!("[sweep]\n{sweep}"));
    assert!(many.contains("over 1000 cells"), "{many}");
    let heat = format!("[sweep]\na = [{list}]\n[[plot]]\nkind = \"heatmap\"\ntitle = \"x\"\n");
    assert!(error(&heat).contains("would be 100 pictures"), "{}", error(&heat));
}

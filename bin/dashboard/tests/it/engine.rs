//! A dashboard of an engine, without any task.

use crate::farm::ANY;
use crate::http::{Listener, get, send};
use punctual_dashboard::{Dashboard, DashboardConfig, Source};
use punctual_runtime::config::Backend;
use punctual_runtime::{Config, Engine, IdleStrategy, Nanos, ProbeRow, ShardId, Transport};
use serde_json::json;

fn row(shard: u16) -> ProbeRow {
    ProbeRow {
        shard: ShardId(shard),
        estimate: Nanos(210_000),
        min: Some(Nanos(-150_000)),
        p50: Some(Nanos(180_000)),
        p99: None,
        offset_bound: None,
        rtt_min: Some(Nanos(300_000)),
        samples: 9,
        answered: 9,
        sent: 10,
        lost: 1,
        late: 0,
        skipped: 0,
        stale: 0,
        impossible: 0,
        lateness_p99: None,
        is_up: true,
    }
}

#[test]
fn an_engine_is_shown_with_its_parts_and_its_delays() {
    let mut config = Config::embedded(2);
    config.process.backend = Backend::Threads;
    config.process.idle = IdleStrategy::Backoff;
    config.process.overprovisioned = Some(true);
    let (engine, client) = Engine::embedded(config, Transport::Ring).start().expect("it starts");
    let mut transaction = client.transaction();
    transaction.add("alice", -30).add("bob", 30);
    let pending = client.submit(&mut transaction).expect("room for one");
    assert!(pending.wait().expect("an end").is_committed());

    let source = Source::counters(engine.counters()).with_owd(|| vec![row(0), row(1)]);
    let config = DashboardConfig::new(ANY.parse().expect("an address"), "an engine");
    let dashboard = Dashboard::start(config, source).expect("it starts");
    let at = dashboard.address();
    let summary = Listener::open(at, 200).until(|summary| {
        let blocks = summary["blocks"].as_array().expect("a list");
        blocks.iter().any(|it| it["kind"] == "coordinator" && it["counters"]["committed"] == 1)
    });
    assert_eq!(summary["tasks"], json!(null));
    assert_eq!(summary["engine"]["in_flight"], 0);
    let blocks = summary["blocks"].as_array().expect("a list");
    let of = |kind: &str| blocks.iter().filter(|block| block["kind"] == kind).count();
    assert_eq!((of("shard"), of("coordinator"), of("queue")), (2, 1, 0), "{blocks:#?}");
    assert_eq!(summary["delays"][1]["shard"], 1);
    assert_eq!(summary["delays"][0]["min_ns"], -150_000);
    assert_eq!(summary["delays"][0]["p99_ns"], json!(null));
    let metrics = get(at, "/metrics").body;
    for line in [
        "punctual_engine_committed_total{part=\"worker0\",kind=\"coordinator\"} 1",
        "punctual_owd_up{shard=\"1\"} 1",
        "punctual_owd_min_seconds{shard=\"0\"} -0.00015",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("punctual_owd_p99"), "it is not known:\n{metrics}");
    let why = send(at, "GET", "/api/tasks", &[], "").error(404);
    assert!(why.contains("no task queue"), "{why}");
    dashboard.stop();
    engine.stop().expect("an orderly stop");
}

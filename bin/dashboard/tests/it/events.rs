//! Pages that listen.

use crate::farm::{ANY, Farm};
use crate::http::{Listener, get};
use punctual_dashboard::{Dashboard, DashboardConfig, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Pages that may listen at once.
const LISTENERS_MAX: usize = 64;

#[test]
fn a_page_hears_of_every_change_while_it_listens() {
    let mut farm = Farm::new();
    let mut page = Listener::open(farm.at, 200);
    let first = page.summary();
    assert_eq!(first["tasks"]["total"], 0);
    farm.submit("job", &["ok 1", "hold 2"]);
    let second = page.until(|summary| summary["tasks"]["total"] == 2);
    assert!(second["now_ns"].as_i64() > first["now_ns"].as_i64());
    assert_eq!(second["tasks"]["counts"]["ready"], 2);
    let worker = farm.hire();
    page.until(|summary| summary["tasks"]["counts"]["done"] == 1);
    let busy = page.until(|summary| summary["tasks"]["workers"][0]["state"] == "busy");
    assert_eq!(busy["tasks"]["workers_total"], 1);
    worker.abandon();
    worker.wait().expect("an orderly end");
    farm.stop();
}

#[test]
fn a_stream_says_what_it_is_and_when_to_come_back() {
    let farm = Farm::new();
    let mut page = Listener::open(farm.at, 200);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.starts_with("data: ")) {
        lines.push(page.line().expect("there is more"));
    }
    let has = |line: &str| lines.iter().any(|it| it.eq_ignore_ascii_case(line));
    for line in ["content-type: text/event-stream", "cache-control: no-store", "retry: 1000"] {
        assert!(has(line), "{line} is not in {lines:#?}");
    }
    assert!(has("event: summary"), "{lines:#?}");
    farm.stop();
}

#[test]
fn streams_end_when_the_dashboard_stops() {
    let Farm { server, client, dashboard, at } = Farm::new();
    let mut page = Listener::open(at, 200);
    page.summary();
    dashboard.stop();
    while page.line().is_some() {}
    drop(client);
    server.stop().expect("an orderly stop");
}

#[test]
fn no_more_pages_listen_than_there_is_room_for() {
    let farm = Farm::new();
    let mut pages: Vec<Listener> =
        (0..LISTENERS_MAX).map(|_| Listener::open(farm.at, 200)).collect();
    Listener::open(farm.at, 503);
    get(farm.at, "/api/summary");
    // Whoever goes makes room; that it has gone is found out when it is next spoken to.
    pages.clear();
    get(farm.at, "/healthz");
    farm.stop();
}

#[test]
fn nothing_is_looked_at_while_nobody_looks() {
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let source = Source::default().with_owd(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    });
    let config = DashboardConfig::new(ANY.parse().expect("an address"), "idle");
    let dashboard = Dashboard::start(config, source).expect("it starts");
    let at = dashboard.address();
    for path in ["/", "/app.js", "/healthz"] {
        get(at, path);
    }
    assert_eq!(looks.load(Ordering::Relaxed), 0, "nobody has asked for a number");
    get(at, "/api/summary");
    assert_eq!(looks.load(Ordering::Relaxed), 1, "one has");
    let mut page = Listener::open(at, 200);
    page.summary();
    page.summary();
    assert!(looks.load(Ordering::Relaxed) > 1, "and one listens");
    dashboard.stop();
}

//! Looking without a page.

use crate::farm::Farm;
use crate::http::PATIENCE;
use punctual_dashboard::{Observer, Source, TasksQuery};
use serde_json::Value;
use std::time::Instant;

fn look(observer: &mut Observer) -> Value {
    serde_json::from_slice(&observer.summary()).expect("a summary is JSON")
}

#[test]
fn an_observer_sees_what_there_is_and_how_long_tasks_took_since_it_looked_before() {
    let mut farm = Farm::new();
    let mut observer = Observer::new("seen", Source::of(&farm.server));
    let first = look(&mut observer);
    assert_eq!((&first["title"], &first["tasks"]["total"]), (&"seen".into(), &0.into()));
    assert!(first["tasks"]["waits_10s"].is_null(), "nothing is known yet: {first:#}");
    let worker = farm.hire();
    farm.submit("job", &["ok 1", "fail 2", "hold 3"]);
    farm.until(&[("done", 1), ("failed", 1), ("running", 1)]);
    let start = Instant::now();
    let tasks = loop {
        let seen = look(&mut observer);
        if !seen["tasks"]["leases_10s"].is_null() {
            break seen["tasks"].clone();
        }
        assert!(start.elapsed() < PATIENCE, "it stays unknown: {seen:#}");
    };
    assert_eq!(tasks["waits_10s"]["count"], 3);
    assert_eq!(tasks["leases_10s"]["count"], 2);
    let times = ["p50_ns", "p90_ns", "p99_ns"].map(|name| tasks["waits_10s"][name].as_u64());
    assert!(times[0].is_some() && times.is_sorted(), "{times:?}");
    worker.abandon();
    worker.wait().expect("an orderly end");
    drop(observer);
    farm.stop();
}

#[test]
fn an_observer_shows_tasks_with_the_names_of_their_jobs() {
    let mut farm = Farm::new();
    farm.submit("job", &["ok 1", "fail 2", "ok 3"]);
    let mut observer = Observer::new("seen", Source::of(&farm.server));
    look(&mut observer);
    let query = TasksQuery { search: "fail".to_owned(), ..TasksQuery::default() };
    let found = observer.tasks(&query).expect("an answer");
    let found: Value = serde_json::from_slice(&found).expect("a page is JSON");
    assert_eq!(found["tasks"].as_array().map(Vec::len), Some(1), "{found:#}");
    let task = &found["tasks"][0];
    assert_eq!((&task["command"], &task["job"]), (&"fail 2".into(), &"job".into()));
    for (query, word) in [
        (TasksQuery { limit: Some(0), ..TasksQuery::default() }, "limit"),
        (TasksQuery { state: "lost".to_owned(), ..TasksQuery::default() }, "no state"),
    ] {
        let error = observer.tasks(&query).expect_err("there is no such thing").to_string();
        assert!(error.contains(word), "{error}");
    }
    drop(observer);
    farm.stop();
}

//! What can be ordered.

use crate::farm::Farm;
use crate::http::post;

/// Gives an order that must be taken. Returns how much it changed.
fn order(farm: &Farm, path: &str, body: &str) -> u64 {
    let reply = post(farm.at, path, body).expect(200);
    reply.json()["changed"].as_u64().expect("a number")
}

#[test]
fn a_failed_task_runs_again_when_it_is_told_to() {
    let mut farm = Farm::new();
    let worker = farm.hire();
    farm.submit("job", &["flaky", "hold"]);
    farm.until(&[("failed", 1), ("running", 1)]);
    let ids: Vec<String> = farm.found("").0.iter().map(u64::to_string).collect();
    let [flaky, held] = ids.as_slice() else { panic!("two tasks: {ids:?}") };
    assert_eq!(order(&farm, &format!("/api/tasks/{held}/retry"), ""), 0, "it runs");
    assert_eq!(order(&farm, &format!("/api/tasks/{flaky}/retry"), ""), 1);
    let task = farm.until_state(flaky, "done");
    assert_eq!((&task["attempt"], &task["end"]["code"]), (&2.into(), &0.into()));
    worker.abandon();
    worker.wait().expect("an orderly end");
    farm.stop();
}

#[test]
fn tasks_are_cancelled_put_back_and_removed_one_by_one() {
    let mut farm = Farm::new();
    let worker = farm.hire();
    farm.submit("job", &["hold", "ok"]);
    farm.until(&[("done", 1), ("running", 1)]);
    let ids: Vec<String> = farm.found("").0.iter().map(u64::to_string).collect();
    let path = |at: usize, verb: &str| format!("/api/tasks/{}/{verb}", ids[at]);
    assert_eq!(order(&farm, &path(0, "cancel"), ""), 1);
    farm.until_state(&ids[0], "cancelled");
    assert_eq!(order(&farm, &path(1, "cancel"), ""), 0, "it is done");
    assert_eq!(order(&farm, &path(1, "requeue"), ""), 1);
    let again = farm.until_state(&ids[1], "done");
    assert_eq!(again["attempt"], 2);
    assert_eq!(order(&farm, &path(1, "remove"), ""), 1);
    post(farm.at, &path(1, "remove"), "").expect(200);
    assert_eq!(farm.found("").0.len(), 1);
    worker.drain();
    worker.wait().expect("an orderly end");
    farm.stop();
}

#[test]
fn orders_about_many_need_something_that_they_have_in_common() {
    let mut farm = Farm::new();
    let first = farm.submit("first", &["ok 1", "ok 2", "fail 3"]);
    farm.submit("second", &["ok 1"]);
    for (body, part) in [
        ("", "EOF"),
        ("{}", "which tasks?"),
        ("{\"states\": []}", "which tasks?"),
        ("{\"state\": \"ready\"}", "unknown field `state`"),
        ("{\"states\": [\"lost\"]}", "there is no state"),
        ("[1]", "invalid"),
    ] {
        let why = post(farm.at, "/api/select/cancel", body).error(400);
        assert!(why.contains(part), "{body}: {why}");
    }
    assert_eq!(farm.found("state=ready").0.len(), 4, "nothing was cancelled");
    let body = format!("{{\"job\": {}, \"search\": \"ok\", \"states\": [\"ready\"]}}", first.0);
    assert_eq!(order(&farm, "/api/select/cancel", &body), 2);
    assert_eq!(order(&farm, "/api/select/cancel", "{\"all\": true}"), 2);
    assert_eq!(order(&farm, "/api/select/retry", "{\"exclude\": \"fail\"}"), 3);
    assert_eq!(order(&farm, "/api/select/remove", "{\"all\": true}"), 1, "one was cancelled still");
    assert_eq!(farm.found("").0.len(), 3);
    post(farm.at, "/api/select/explode", "{\"all\": true}").error(404);
    farm.stop();
}

#[test]
fn a_worker_is_stopped_by_its_name() {
    let mut farm = Farm::new();
    let worker = farm.hire();
    farm.submit("job", &["ok"]);
    farm.until(&[("done", 1)]);
    // Its name has a blank, a slash and a letter that is no ASCII.
    assert_eq!(order(&farm, "/api/workers/w%201%2F%C3%A4/stop", ""), 1);
    worker.wait().expect("it ends because it was told to");
    farm.stop();
}

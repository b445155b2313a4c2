//! A network that is cut, and one that swallows everything, while tasks run: each task that was
//! acknowledged runs, no attempt runs twice, and a task runs again only where a fault explains it.

use super::wire::Wire;
use super::{Farm, Running, Value, lines_of, only_task, shell, text};
use crate::task_bed::worker_args;
use std::collections::BTreeMap;

/// A server that waits for so long until it gives a silent worker up, as options.
const SILENCE: [&str; 4] = ["--lease-timeout", "3s", "--heartbeat", "100ms"];

/// A command that notes which attempt at which task it is.
fn notes(farm: &Farm) -> String {
    let ids = farm.path("ids");
    format!("echo $PUNCTUAL_TASK_ID.$PUNCTUAL_TASK_ATTEMPT >> {}", text(&ids))
}

/// Which attempts at each task have noted that they ran, in their order.
fn runs(farm: &Farm) -> BTreeMap<u64, Vec<u64>> {
    let mut runs: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for line in lines_of(&farm.path("ids")) {
        let (task, attempt) = line.split_once('.').expect("a task and an attempt");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        runs.entry(number(task)).or_default().push(number(attempt));
    }
    runs.values_mut().for_each(|attempts| attempts.sort_unstable());
    runs
}

/// Starts a worker whose server is at this address; returns when the server knows it.
fn work_at(farm: &Farm, server: &str, name: &str, options: &[&str]) -> Running {
    let dir = farm.path("work");
    let working = Running::start(&worker_args(server, name, text(&dir), options));
    farm.wait_for_start(name, working)
}

/// Every task ran, is done and has never failed, and the attempt that ran last is the one that
/// counts. Returns what [`runs`] does.
fn expect_done(farm: &Farm, count: usize) -> BTreeMap<u64, Vec<u64>> {
    let (tasks, runs) = (farm.tasks(), runs(farm));
    assert_eq!((tasks.len(), runs.len()), (count, count), "every task ran");
    for task in &tasks {
        assert_eq!((&task["state"], &task["failures"]), (&"done".into(), &0.into()), "{task:#}");
        let id: u64 = task["id"].as_str().expect("a number").parse().expect("a number");
        let mut attempts = runs[&id].clone();
        assert_eq!(attempts.last(), task["attempt"].as_u64().as_ref(), "{attempts:?} of {task:#}");
        attempts.dedup();
        assert_eq!(attempts, runs[&id], "an attempt ran twice");
    }
    runs
}

#[test]
fn a_network_that_is_cut_again_and_again_costs_no_task_and_no_second_run() {
    const TASKS: usize = 200;
    const STOPS: [usize; 2] = [60, 120];
    let farm = Farm::new();
    let _server = farm.serve(&["--reconnect-grace", "60s"]);
    let wire = Wire::start(&farm.path("tasks.sock"));
    let gate = farm.fifo("gate");
    // In the midst of it all two tasks wait, one after the other, while the network is cut.
    let ups = STOPS.map(|stop| farm.fifo(&format!("up.{stop}")));
    let line = |id: usize| {
        let waits = STOPS.iter().position(|stop| *stop == id);
        let waits = waits.map(|at| format!("{}; {}; ", ups[at].tells("up"), gate.waits()));
        shell(&format!("{}{}; : {id}", waits.unwrap_or_default(), notes(&farm)))
    };
    let file = farm.file("tasks", &(1..=TASKS).map(line).collect::<Vec<_>>());
    // Client and worker are both behind it.
    let args = ["task", "submit", &file, "--wait", "--quiet", "--patience", "60s"];
    let submitting = Running::start(&[&args[..], &["--server", wire.address()]].concat());
    let mut worker = work_at(&farm, wire.address(), "node1", &["--slots", "2"]);
    for up in &ups {
        assert_eq!(up.hear(), "up");
        wire.cut();
        gate.release();
        worker.wait_for_line("is lost; it is tried again");
        farm.wait_for_worker(|worker| worker["state"] == "lost");
        wire.heal();
        worker.wait_for_line("ready as");
    }
    let ended = submitting.finish();
    ended.expect_code(0);
    assert!(ended.stdout.starts_with("200 tasks: 200 done"), "{}", ended.stdout);
    let runs = expect_done(&farm, TASKS);
    assert!(runs.values().all(|attempts| attempts.len() == 1), "a task ran twice: {runs:?}");
    worker.terminate().expect_code(0);
}

#[test]
fn what_a_network_swallows_is_lost_with_its_worker_and_runs_again() {
    const TASKS: usize = 60;
    const STOP: usize = 20;
    let farm = Farm::new();
    let _server = farm.serve(&SILENCE);
    let wire = Wire::start(&farm.path("tasks.sock"));
    let [up, gate, end] = ["up", "gate", "end"].map(|name| farm.fifo(name));
    let line = |id: usize| {
        let notes = notes(&farm);
        if id != STOP {
            return shell(&format!("{notes}; : {id}"));
        }
        // The second attempt has nobody who listens.
        let first = format!("{}; {}; {notes}; {}", up.tells("up"), gate.waits(), end.tells("end"));
        shell(&format!("if [ $PUNCTUAL_TASK_ATTEMPT = 1 ]; then {first}; else {notes}; fi"))
    };
    let file = farm.file("tasks", &(1..=TASKS).map(line).collect::<Vec<_>>());
    let submitting = Running::start(&farm.args(&["submit", &file, "--wait", "--quiet"]));
    let worker = work_at(&farm, wire.address(), "node1", &["--slots", "2"]);
    assert_eq!(up.hear(), "up");
    wire.swallow();
    gate.release();
    assert_eq!(end.hear(), "end", "it has run, and its report goes nowhere");
    // The server gives the worker up, which does not hear of it.
    farm.wait_for_tasks(|tasks| tasks.iter().all(|task| task["state"] != "running"));
    let unfinished = farm.states().iter().filter(|state| *state == "ready").count();
    assert!(unfinished > 0, "nothing of what is left can have been reported");
    wire.heal();
    submitting.finish().expect_code(0);
    let runs = expect_done(&farm, TASKS);
    assert_eq!(runs[&(STOP as u64)], [1, 2], "the fault explains it");
    // Beyond that only what ran or was reported just then.
    let again = runs.values().filter(|attempts| attempts.len() > 1).count();
    assert!(again <= unfinished, "{again} of {unfinished} ran twice: {runs:?}");
    worker.terminate().expect_code(0);
}

#[test]
fn a_report_from_behind_a_hole_in_the_network_comes_too_late_to_change_anything() {
    let farm = Farm::new();
    let _server = farm.serve(&SILENCE);
    let wire = Wire::start(&farm.path("tasks.sock"));
    // Each attempt has its own.
    let [ups, gates, ends] =
        ["up", "gate", "end"].map(|name| [1, 2].map(|it| farm.fifo(&format!("{name}.{it}"))));
    let attempt = "$PUNCTUAL_TASK_ATTEMPT";
    let place = |name: &str| format!("{}.{attempt}", text(&farm.path(name)));
    let command = format!(
        "echo up > {}; read word < {}; {}; echo end > {}",
        place("up"),
        place("gate"),
        notes(&farm),
        place("end")
    );
    let file = farm.file("tasks", &[shell(&command)]);
    farm.tell(&["submit", &file]);
    let _behind = work_at(&farm, wire.address(), "node1", &["--slots", "1"]);
    assert_eq!(ups[0].hear(), "up");
    wire.swallow();
    let _other = farm.work("node2", &["--slots", "1"]);
    assert_eq!(ups[1].hear(), "up", "another worker runs it as well");
    gates[0].release();
    assert_eq!(ends[0].hear(), "end");
    wire.heal();
    let is_back = |worker: &Value| worker["name"] == "node1" && worker["state"] == "idle";
    farm.wait_for_worker(is_back);
    let task = only_task(&farm);
    assert_eq!((&task["state"], &task["worker"]), (&"running".into(), &"node2".into()), "{task:#}");
    gates[1].release();
    assert_eq!(ends[1].hear(), "end");
    farm.tell(&["submit", &file, "--wait"]);
    let task = only_task(&farm);
    assert_eq!((&task["attempt"], &task["worker"]), (&2.into(), &"node2".into()), "{task:#}");
    let runs = expect_done(&farm, 1);
    assert_eq!(runs[&1_u64], [1, 2], "the fault explains it");
}

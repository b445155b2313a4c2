//! `punctual task worker` and `manager` on a Redis, in the layout of DistComp.

use crate::journaled::skip;
use crate::support::{Running, bench, run, text};
use crate::task_bed::{Farm, lines_of, shell};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What takes this long hangs; a busy machine alone does not slow anything down so much.
const PATIENCE: Duration = Duration::from_secs(60);
/// Another process may take a port between its choice and its use; then another one is chosen.
const TRIES: usize = 10;

/// A Redis of the test's own, which keeps nothing.
struct Redis {
    child: Child,
    address: String,
}

impl Redis {
    /// `None`: there is none on this machine, and the test is skipped.
    fn start(farm: &Farm) -> Option<Self> {
        for _ in 0..TRIES {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("it has one").port();
            drop(listener);
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
            command.args(["--requirepass", "p@ss", "--dir", text(&farm.path(""))]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    skip("redis-server not found, install redis-server");
                    return None;
                }
                Err(error) => panic!("redis-server does not start: {error}"),
            };
            if answers(port, &mut child) {
                let address = format!("redis://:p@ss@127.0.0.1:{port}/2");
                return Some(Self { child, address });
            }
        }
        panic!("no port was free, {TRIES} times");
    }

    /// Runs the verbs of a manager, which must go well; what it printed, and said.
    fn manage(&self, verbs: &str, options: &[&str]) -> (String, String) {
        let args = ["task", "manager", "--task", verbs, "--broker", &self.address];
        let ended = run(&[&args[..], options].concat());
        ended.expect_code(0);
        (ended.stdout, ended.stderr)
    }

    fn work(&self, options: &[&str]) -> Running {
        let mut args = vec!["task", "worker", "--broker", &self.address, "--no-task-dirs"];
        // Whatever else runs on this machine must not keep tasks from starting.
        args.extend(["--accept-free", "0", "--return-free", "0"]);
        args.extend(options);
        Running::start(&args)
    }

    fn wait_for_heading(&self, heading: &str) {
        let start = Instant::now();
        loop {
            let (told, _) = self.manage("checkTask", &[]);
            if told.starts_with(heading) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "it stays like this: {told}");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether it takes commands, be it only to want its password. Not if it has ended, as it does if
/// its port was taken.
fn answers(port: u16, child: &mut Child) -> bool {
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket");
            let mut answer = [0; 7];
            let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer));
            if asked.is_ok() && answer.starts_with(b"-NOAUTH") {
                return true;
            }
        }
        assert!(start.elapsed() < PATIENCE, "redis-server does not answer");
    }
    false
}

#[test]
fn tasks_in_a_redis_are_loaded_run_shown_and_their_workers_stopped() {
    let farm = Farm::new();
    let Some(redis) = Redis::start(&farm) else { return };
    let ids = farm.path("ids");
    let mut lines: Vec<String> =
        (10..30).map(|id| shell(&format!("echo {id} >> {}", text(&ids)))).collect();
    lines.push(shell("echo why >&2; exit 3"));
    let file = farm.file("task", &lines);
    let load = ["--taskfile", file.as_str()];
    let (_, said) = redis.manage("initRedis&loadTask", &load);
    assert!(said.contains("load 21 tasks, add 21 task"), "{said}");
    let (_, said) = redis.manage("loadTask", &load);
    assert!(said.contains("load 21 tasks, add 0 task"), "{said}");

    let mut worker = redis.work(&["--name", "node1", "--slots", "2"]);
    worker.wait_for_line("ready as");
    redis.wait_for_heading("0 todo tasks, 0 in_progress tasks, 20 finished tasks, 1 failed tasks");
    let expected: Vec<String> = (10..30).map(|id| id.to_string()).collect();
    assert_eq!(lines_of(&ids), expected, "each ran once");
    let (told, _) = redis.manage("checkTask&checkWorker", &["--include", "exit 3"]);
    assert!(told.contains("exit 3:         node1,node1,node1,node1,\n"), "{told}");
    assert!(told.contains("exit 3:         \"why\"\n") && !told.contains("echo 10"), "{told}");
    let (told, _) = redis.manage("checkWorker", &[]);
    let row: Vec<&str> = told.lines().nth(1).expect("a worker").split_whitespace().collect();
    assert_eq!((row[0], row[6], row[7]), ("node1", "0", "20"), "{told}");

    let (_, said) = redis.manage("stopWorker", &[]);
    assert!(said.contains("until allowWorker"), "{said}");
    let ended = worker.finish();
    ended.expect_code(0);
    assert!(ended.stderr.contains("stopped; 20 tasks done, 4 failed"), "{}", ended.stderr);
    let (_, said) = redis.manage("allowWorker&moveFailedTaskToTodo&removeFinishedTask", &[]);
    assert!(said.contains("1 failed tasks put back"), "{said}");
    assert!(said.contains("20 finished tasks removed"), "{said}");
    redis.wait_for_heading("1 todo tasks, 0 in_progress tasks, 0 finished tasks, 0 failed tasks");
}

#[test]
fn each_switch_of_a_worker_on_a_redis_can_be_off() {
    let farm = Farm::new();
    let Some(redis) = Redis::start(&farm) else { return };
    let ids = farm.path("ids");
    let line = |id: u32| shell(&format!("echo {id} >> {}", text(&ids)));
    let file = farm.file("task", &(10..13).map(line).collect::<Vec<_>>());
    redis.manage("loadTask", &["--taskfile", &file]);
    let conf = farm.path("conf.json");
    // The pause, too, is the original's.
    fs::write(&conf, r#"{"sleep_sec_between_accepting_task": 0.01}"#).expect("a file");
    let off = ["--pipeline", "off", "--polling", "fixed", "--prefetch", "0"];
    let worker = redis.work(&[&["--conf", text(&conf), "--slots", "1"][..], &off].concat());
    redis.wait_for_heading("0 todo tasks, 0 in_progress tasks, 3 finished tasks, 0 failed tasks");
    worker.terminate().expect_code(0);
    assert_eq!(lines_of(&ids), ["10", "11", "12"]);
    let (told, _) = redis.manage("checkWorker", &[]);
    assert_eq!(told.lines().count(), 1, "it has struck itself off: {told}");
}

#[test]
fn lines_that_a_redis_cannot_keep_are_refused_and_those_for_our_workers_alone_told_of() {
    let farm = Farm::new();
    let Some(redis) = Redis::start(&farm) else { return };
    let lines = [
        r#"{"id": "a", "command": "true"}"#,
        r#"{"id": "b", "command": "true", "after": "a"}"#,
        r#"{"command": "true {index}", "array": {"to": 4}}"#,
        r#"{"command": 7}"#,
    ];
    let file = farm.file("task.jsonl", &lines.map(str::to_owned));
    let args = ["task", "manager", "--task", "loadTask&checkTask", "--broker", &redis.address];
    let ended = run(&[&args[..], &["--taskfile", &file]].concat());
    ended.expect_code(1);
    let said = &ended.stderr;
    assert!(said.contains("add 1 task") && said.contains("6 tasks were refused"), "{said}");
    assert!(said.contains("1 of them only our workers can read"), "{said}");
    assert!(said.contains(&format!("{file}:4: ")), "{said}");
    assert!(ended.stdout.starts_with("1 todo tasks, "), "{}", ended.stdout);
}

#[test]
fn a_redis_that_is_not_there_or_wants_another_password_is_one_error_without_the_password() {
    let farm = Farm::new();
    let Some(redis) = Redis::start(&farm) else { return };
    let wrong = redis.address.replace("p@ss", "secret");
    let nobody = "redis://:secret@127.0.0.1:1/0";
    for (address, part) in [(wrong.as_str(), "password"), (nobody, "no Redis answers")] {
        for command in [&["manager", "--task", "checkTask"][..], &["worker", "--no-task-dirs"]] {
            let ended = run(&[&["task"][..], command, &["--broker", address]].concat());
            ended.expect_code(2);
            let error = ended.error();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }
    let ended = run(&["task", "status", "--broker", &redis.address]);
    ended.expect_code(2);
    let error = ended.error();
    assert!(error.contains("only task worker, task manager and task bench"), "{error}");
}

/// What `checkTask` shows where there is nothing.
const NOTHING: &str = "0 todo tasks, 0 in_progress tasks, 0 finished tasks, 0 failed tasks";

#[test]
fn a_bench_measures_each_switch_checks_itself_and_leaves_nothing_in_the_redis() {
    let farm = Farm::new();
    let Some(redis) = Redis::start(&farm) else { return };
    // A worker that works as the original has done two tasks at its second look.
    let args = ["task", "bench", "--broker", &redis.address, "--tasks", "2", "--duration", "60s"];
    let (ended, report) = bench(&args);
    let rows = report["rows"].as_array().expect("rows");
    let on: Vec<&str> = rows.iter().map(|row| row["on"].as_str().expect("a name")).collect();
    let [nothing, pipeline, polling, prefetch, _, all] = on[..] else { panic!("{on:?}") };
    assert_eq!((pipeline, polling, prefetch), ("pipeline", "polling", "prefetch"));
    for row in rows {
        assert_eq!(row["tasks"], 2, "{row:#}");
        assert_eq!(row["self_check"], "ok", "{row:#}");
        assert!(row["commands_per_task"].as_f64().expect("a number") > 1.0, "{row:#}");
    }
    assert_eq!(rows[0]["polling"], "fixed:2s");
    assert_eq!(rows[5]["polling"], "adaptive");
    assert_eq!(report["throughput_tps"], rows[5]["throughput_tps"]);
    assert!(!report.to_string().contains("p@ss"), "the password is in the report");
    for name in [nothing, all, "self-check     ok"] {
        assert!(ended.stdout.contains(name), "{name} in {}", ended.stdout);
    }
    // Where time is over first, what is left was not run; and the database was empty again.
    let args = ["task", "bench", "--broker", &redis.address, "--tasks", "600", "--workers", "2"];
    bench(&[&args[..], &["--duration", "1ms", "--prefetch", "3"]].concat());
    let (told, _) = redis.manage("checkTask", &[]);
    assert!(told.starts_with(NOTHING), "{told}");
}

#[test]
fn a_bench_that_is_interrupted_leaves_nothing_in_the_redis() {
    let farm = Farm::new();
    let Some(redis) = Redis::start(&farm) else { return };
    let mut measuring = Running::start(&["task", "bench", "--broker", &redis.address]);
    measuring.wait_for_line("measuring: nothing");
    measuring.signal("INT");
    let ended = measuring.finish();
    ended.expect_code(130);
    assert_eq!(ended.stdout, "");
    let (told, _) = redis.manage("checkTask", &[]);
    assert!(told.starts_with(NOTHING), "{told}");
    let (told, _) = redis.manage("checkWorker", &[]);
    assert_eq!(told.lines().count(), 1, "no worker is there: {told}");
}

#[test]
fn a_bench_leaves_a_database_alone_that_has_tasks() {
    let farm = Farm::new();
    let Some(redis) = Redis::start(&farm) else { return };
    let file = farm.file("task", &[shell("true")]);
    redis.manage("loadTask", &["--taskfile", &file]);
    let json = farm.path("run.json");
    let args = ["task", "bench", "--broker", &redis.address, "--json", text(&json)];
    let ended = run(&args);
    ended.expect_code(2);
    let error = ended.error();
    assert!(error.contains("is in use (1 in todo_tasks)") && !error.contains("p@ss"), "{error}");
    redis.wait_for_heading("1 todo tasks, 0 in_progress tasks, 0 finished tasks, 0 failed tasks");
}

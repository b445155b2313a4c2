//! `--http`: where there is a dashboard, and whom it lets in. What it shows is tested beside it.

use crate::support::{Running, bench, folder, micro, run, text, write};
use crate::task_bed::{Farm, document, shell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What takes this long hangs; a busy machine alone does not slow anything down so much.
const PATIENCE: Duration = Duration::from_secs(60);
/// A port of this machine that the system chooses.
const HTTP: [&str; 2] = ["--http", "0"];

/// Waits until a program says where its dashboard is: HOST:PORT.
fn address(running: &mut Running) -> String {
    let line = running.wait_for_line("the dashboard is at ");
    let (_, url) = line.split_once("http://").expect("an address");
    url.trim_end().trim_end_matches('/').to_owned()
}

/// The status and the body of an answer.
fn get(address: &str, path: &str, header: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the dashboard listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it takes requests");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status");
    (status.to_owned(), body.to_owned())
}

/// The metrics, as soon as this is among them.
fn metrics_with(address: &str, part: &str) -> String {
    let start = Instant::now();
    loop {
        let (status, body) = get(address, "/metrics", "");
        assert_eq!(status, "200", "{body}");
        if body.contains(part) {
            return body;
        }
        assert!(start.elapsed() < PATIENCE, "no {part} in {body}");
    }
}

#[test]
fn a_task_server_has_a_page_on_demand() {
    let farm = Farm::new();
    let mut server = farm.start_server(&HTTP);
    let address = address(&mut server);
    server.wait_for_line("ready");
    farm.tell(&["submit", &farm.file("tasks", &[shell("true"), shell("false")])]);
    let metrics = metrics_with(&address, "punctual_tasks{state=\"ready\"} 2\n");
    assert!(metrics.contains("punctual_tasks_up 1\n"), "{metrics}");
    metrics_with(&address, "punctual_engine_tasks_submitted_total");
    server.terminate().expect_code(0);
}

#[test]
fn a_run_can_be_watched_while_it_lasts() {
    let farm = Farm::new();
    let gate = farm.fifo("gate");
    let file = farm.file("sweep.task", &[shell(&gate.waits())]);
    let calm = ["--accept-free", "0", "--return-free", "0"];
    let mut running = Running::start(&[&["task", "run", &file][..], &calm, &HTTP].concat());
    let address = address(&mut running);
    let (status, page) = get(&address, "/api/summary", "");
    assert_eq!((status.as_str(), &document(&page)["title"]), ("200", &"sweep".into()));
    gate.release();
    running.finish().expect_code(0);
}

#[test]
fn a_bench_and_a_server_of_shards_show_what_they_count() {
    let (ended, _) = bench(&[&["task", "bench", "--tasks", "100"][..], &HTTP].concat());
    assert!(ended.stderr.contains("the dashboard is at http://127.0.0.1:"), "{}", ended.stderr);
    let mut running = Running::start(&micro(&["--duration", "60s", "--http", "0"]));
    let address = address(&mut running);
    running.wait_for_line("measuring");
    let counted = metrics_with(&address, "punctual_engine_committed_total");
    assert!(!counted.contains("punctual_tasks"), "there are none: {counted}");
    running.signal("INT");
    running.finish().expect_code(0);

    let dir = folder();
    let socket = dir.path().join("shard.sock");
    let config = format!("[cluster]\nshards = [\"unix:{}\"]\n", text(&socket));
    let config = write(&dir, "cluster.toml", &(config + "[runtime]\nidle = \"park\"\n"));
    let serve = ["serve", "--config", &config, "--http", "0", "--workload", "ycsb"];
    let mut serving = Running::start(&serve);
    let address = self::address(&mut serving);
    serving.wait_for_line("ready");
    metrics_with(&address, "kind=\"shard\"");
    metrics_with(&address, "punctual_owd_up{shard=\"0\"} 1\n");
    serving.terminate().expect_code(0);
}

#[test]
fn a_page_that_others_can_reach_needs_a_token_and_shows_nothing_without_it() {
    let farm = Farm::new();
    let file = farm.file("tasks", &[shell("true")]);
    let journal = farm.path("journal");
    let commands: [&[&str]; 4] = [
        &["task", "serve", "--listen", "127.0.0.1:0", "--journal-dir", text(&journal)],
        &["task", "run", &file],
        &["task", "bench"],
        &["bench", "micro"],
    ];
    for command in commands {
        let ended = run(&[command, &["--http", "0.0.0.0:0"]].concat());
        ended.expect_code(2);
        assert!(ended.error().contains("give it a token"), "{command:?}: {}", ended.stderr);
    }
    assert!(!journal.exists(), "nothing was begun");

    let token = farm.file("token", &["sesame".to_owned()]);
    let mut server = farm.start_server(&["--http", "0", "--http-token-file", &token]);
    let address = address(&mut server);
    let (status, body) = get(&address, "/metrics", "");
    assert_eq!(status, "401", "{body}");
    let (status, body) = get(&address, "/metrics", "Authorization: Bearer sesame\r\n");
    assert_eq!(status, "200", "{body}");
    server.terminate().expect_code(0);
}

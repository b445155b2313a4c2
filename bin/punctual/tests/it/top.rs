//! `punctual top`: one look as text and as a document, and a terminal that is as it was before.

use crate::journaled::skip;
use crate::support::{Ended, Running, micro, run};
use crate::task_bed::{Farm, document, shell};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// What takes this long hangs; a busy machine alone does not slow anything down so much.
const PATIENCE: Duration = Duration::from_secs(60);
/// What leaves the screen that `top` draws on.
const LEAVE: &str = "\u{1b}[?1049l";

/// Watches the server of a farm.
fn top(farm: &Farm, options: &[&str]) -> Ended {
    let command = [&["top", "--interval", "250ms"], options].concat();
    // Without the word `task`, which these arguments are made for.
    run(&farm.args(&command)[1..])
}

/// Watches a dashboard.
fn visit(address: &str, options: &[&str]) -> Ended {
    run(&[&["top", "--http", address, "--interval", "250ms"], options].concat())
}

/// Waits until a program says where its dashboard is: HOST:PORT.
fn address(running: &mut Running) -> String {
    let line = running.wait_for_line("the dashboard is at ");
    let (_, url) = line.split_once("http://").expect("an address");
    url.trim_end().trim_end_matches('/').to_owned()
}

fn expect_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn one_look_at_a_task_server_is_text_or_the_document_of_the_dashboard() {
    let farm = Farm::new();
    let server = farm.serve(&[]);
    let gate = farm.fifo("gate");
    let tasks = [shell("true"), shell("false"), shell(&gate.waits())];
    farm.tell(&["submit", &farm.file("sweep", &tasks)]);
    let ended = top(&farm, &["--once"]);
    ended.expect_code(0);
    expect_parts(&ended.stdout, &["tasks at unix:", "\n3 tasks: 3 ready\n", "\njob ", "\nsweep "]);
    expect_parts(&ended.stdout, &["no such task now", "no worker is here"]);
    let worker = farm.work("w1", &["--slots", "4"]);
    let ended = |task: &serde_json::Value| task["ended_ns"].is_i64();
    farm.wait_for_tasks(|tasks| tasks.iter().filter(|task| ended(task)).count() == 2);
    // Where nobody sees it, it is text without being asked for.
    let shown = top(&farm, &[]);
    shown.expect_code(0);
    expect_parts(&shown.stdout, &["1 running, 1 done, 1 failed", "\nw1 ", "busy", "read word <"]);
    assert!(!shown.stdout.contains('\u{1b}'), "{}", shown.stdout);
    let told = top(&farm, &["--json"]);
    told.expect_code(0);
    let summary = document(&told.stdout);
    assert_eq!((&summary["schema"], &summary["tasks"]["total"]), (&1.into(), &3.into()));
    assert_eq!(summary["tasks"]["counts"]["failed"], 1);
    assert_eq!(summary["tasks"]["workers"][0]["name"], "w1");
    gate.release();
    worker.terminate().expect_code(0);
    server.terminate().expect_code(0);
}

#[test]
fn whatever_has_a_dashboard_can_be_watched() {
    let mut running = Running::start(&micro(&["--duration", "60s", "--http", "0"]));
    let http = address(&mut running);
    running.wait_for_line("measuring");
    let ended = visit(&http, &["--once"]);
    ended.expect_code(0);
    expect_parts(&ended.stdout, &["bench micro\n", " a second  ", "\nshard", "\ncoordinator"]);
    let (_, port) = http.rsplit_once(':').expect("a port");
    let told = visit(port, &["--json"]);
    told.expect_code(0);
    assert!(document(&told.stdout)["engine"]["rate_1s"].is_f64(), "{}", told.stdout);
    running.signal("INT");
    running.finish().expect_code(0);
}

#[test]
fn a_dashboard_wants_its_token_and_shows_its_tasks_to_those_who_have_it() {
    let farm = Farm::new();
    let token = farm.file("token", &["sesame".to_owned()]);
    let mut server = farm.start_server(&["--http", "0", "--http-token-file", &token]);
    let http = address(&mut server);
    server.wait_for_line("ready");
    farm.tell(&["submit", &farm.file("sweep", &[shell("true")])]);
    let closed = visit(&http, &["--once"]);
    closed.expect_code(2);
    assert!(closed.error().contains("token"), "{}", closed.stderr);
    let opened = visit(&http, &["--once", "--http-token-file", &token]);
    opened.expect_code(0);
    expect_parts(&opened.stdout, &["1 task: 1 ready", "\nqueue", "\ntasks0"]);
    server.terminate().expect_code(0);
}

#[test]
fn where_nobody_answers_that_is_said_in_a_line() {
    let farm = Farm::new();
    let ended = run(&["top", "--server", "unix:nobody.sock", "--patience", "200ms"]);
    ended.expect_code(2);
    assert!(ended.error().contains("no task server answers at unix:"), "{}", ended.stderr);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let ended = visit(&nobody, &["--json"]);
    ended.expect_code(2);
    assert!(ended.error().contains("no dashboard answers at"), "{}", ended.stderr);
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1));
    let both = top(&farm, &["--http", "7471"]);
    both.expect_code(2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

/// A program in a terminal of its own, which `script` makes.
struct InTerminal {
    child: Child,
    said: Receiver<Vec<u8>>,
    text: String,
}

impl InTerminal {
    /// `None`: nothing here makes terminals, and the test is skipped.
    fn start(args: &[&str]) -> Option<Self> {
        let words: Vec<String> = args.iter().map(|word| format!("'{word}'")).collect();
        let program = crate::support::PROGRAM;
        let command = format!("stty cols 100 rows 30; exec '{program}' {}", words.join(" "));
        let spawned = Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("PUNCTUAL_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skip("script not found, install bsdutils");
                return None;
            }
            Err(error) => panic!("script does not start: {error}"),
        };
        let mut stdout = child.stdout.take().expect("standard output is a pipe");
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                // A test that has seen enough does not listen any more.
                let _ = sender.send(buffer[..len].to_vec());
            }
        });
        Some(Self { child, said, text: String::new() })
    }

    /// Waits until this is written.
    fn wait_for(&mut self, part: &str) {
        while !self.text.contains(part) {
            let said = self.said.recv_timeout(PATIENCE);
            let said = said.unwrap_or_else(|why| panic!("no {part:?} ({why}): {:?}", self.text));
            self.text += &String::from_utf8_lossy(&said);
        }
    }

    fn press(&mut self, keys: &str) {
        let keyboard = self.child.stdin.as_mut().expect("standard input is a pipe");
        keyboard.write_all(keys.as_bytes()).expect("somebody reads");
    }

    /// Waits for its end.
    fn finish(mut self) -> (Option<i32>, String) {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(said) => self.text += &String::from_utf8_lossy(&said),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(why) => panic!("no end ({why}), but {:?}", self.text),
            }
        }
        let status = self.child.wait().expect("it has ended");
        (status.code(), std::mem::take(&mut self.text))
    }
}

impl Drop for InTerminal {
    fn drop(&mut self) {
        // One that has ended by itself needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn in_a_terminal_it_lives_until_a_key_ends_it_and_leaves_the_terminal_as_it_was() {
    let farm = Farm::new();
    let server = farm.serve(&[]);
    farm.tell(&["submit", &farm.file("sweep", &[shell("true")])]);
    for end in ["q", "\u{3}"] {
        let args = farm.args(&["top", "--interval", "250ms"]);
        let Some(mut terminal) = InTerminal::start(&args[1..]) else { return };
        terminal.wait_for("no such task now");
        // The task waits: it is shown as soon as any state is asked for.
        terminal.press("fff");
        terminal.wait_for("true");
        terminal.press(end);
        let (code, text) = terminal.finish();
        assert_eq!(code, Some(0), "{text:?}");
        assert!(text.contains(LEAVE), "it still draws: {text:?}");
    }
    server.terminate().expect_code(0);
}

#[test]
fn a_server_that_goes_away_is_waited_for() {
    let farm = Farm::new();
    let server = farm.serve(&[]);
    let address = format!("unix:{}", farm.path("tasks.sock").display());
    // As patient as it takes to get through on a busy machine.
    let args = ["top", "--server", &address, "--interval", "50ms", "--patience", "2s"];
    let Some(mut terminal) = InTerminal::start(&args) else { return };
    terminal.wait_for("live");
    server.terminate().expect_code(0);
    terminal.wait_for("not connected");
    let server = farm.serve(&[]);
    farm.tell(&["submit", &farm.file("sweep", &[shell("true")])]);
    terminal.wait_for("ready");
    terminal.press("q");
    assert_eq!(terminal.finish().0, Some(0));
    server.terminate().expect_code(0);
}

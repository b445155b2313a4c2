//! What the tests of the task farm share: a server with workers on a socket of its own, and tasks
//! that wait for the test instead of for time to pass.

use crate::support::{Ended, Running, folder, run, text};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What takes this long hangs; a busy machine alone does not slow anything down so much.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task farm in a folder of its own.
pub(crate) struct Farm {
    dir: TempDir,
    address: String,
}

impl Farm {
    pub(crate) fn new() -> Self {
        let dir = folder();
        let address = format!("unix:{}", text(&dir.path().join("tasks.sock")));
        Self { dir, address }
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a task file; its path.
    pub(crate) fn file(&self, name: &str, lines: &[String]) -> String {
        let path = self.path(name);
        fs::write(&path, lines.join("\n") + "\n").expect("a temporary file can be written");
        text(&path).to_owned()
    }

    /// A pipe with a name.
    pub(crate) fn fifo(&self, name: &str) -> Fifo {
        Fifo::make(self.path(name))
    }

    /// Starts the server with its journal, which may be there already; returns when it is ready.
    pub(crate) fn serve(&self, options: &[&str]) -> Running {
        let mut serving = self.start_server(options);
        serving.wait_for_line("ready");
        serving
    }

    /// Starts the server, and does not wait for anything.
    pub(crate) fn start_server(&self, options: &[&str]) -> Running {
        let journal = self.path("journal");
        Running::start(&self.server_args(text(&journal), options))
    }

    /// The arguments of the server with its journal in this directory.
    pub(crate) fn server_args<'a>(&'a self, journal: &'a str, options: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["task", "serve", "--listen", &self.address];
        args.extend(["--journal-dir", journal, "--retry-after", "1ms"]);
        args.extend(options);
        args
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Starts a worker; returns when the server knows it.
    pub(crate) fn work(&self, name: &str, options: &[&str]) -> Running {
        self.wait_for_start(name, self.start_worker(name, options))
    }

    /// The worker with this name, which was just started, as soon as the server knows it.
    pub(crate) fn wait_for_start(&self, name: &str, mut working: Running) -> Running {
        working.wait_for_line("ready as");
        self.wait_for_worker(|worker| worker["name"] == name);
        working
    }

    /// Waits until the server has a worker like this one.
    pub(crate) fn wait_for_worker(&self, is_it: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        while !self.workers().iter().any(&is_it) {
            assert!(start.elapsed() < PATIENCE, "no such worker, but {:#?}", self.workers());
        }
    }

    /// The workers that the server knows.
    pub(crate) fn workers(&self) -> Vec<Value> {
        self.tell(&["workers", "--json"]).lines().map(document).collect()
    }

    /// Starts a worker, and does not wait for anything.
    pub(crate) fn start_worker(&self, name: &str, options: &[&str]) -> Running {
        let dir = self.path("work");
        Running::start(&worker_args(&self.address, name, text(&dir), options))
    }

    /// The arguments of a command that asks this server.
    pub(crate) fn args<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["task"];
        args.extend(command);
        args.extend(["--server", &self.address, "--patience", "60s"]);
        args
    }

    /// Runs a command that asks this server to its end.
    pub(crate) fn ask(&self, command: &[&str]) -> Ended {
        run(&self.args(command))
    }

    /// Runs a command that must end well; what it printed.
    pub(crate) fn tell(&self, command: &[&str]) -> String {
        let ended = self.ask(command);
        ended.expect_code(0);
        ended.stdout
    }

    /// All tasks, in the order of their numbers, with what they wrote.
    pub(crate) fn tasks(&self) -> Vec<Value> {
        let lines = self.tell(&["status", "--json", "--output"]);
        let documents = lines.lines().map(document);
        documents.filter(|document| document["kind"] == "task").collect()
    }

    /// All tasks, as soon as they are as they should be.
    pub(crate) fn wait_for_tasks(&self, are_they: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let tasks = self.tasks();
            if are_they(&tasks) {
                return tasks;
            }
            assert!(start.elapsed() < PATIENCE, "they stay as they are: {tasks:#?}");
        }
    }

    /// The state of each task.
    pub(crate) fn states(&self) -> Vec<String> {
        let state = |task: &Value| task["state"].as_str().expect("a state").to_owned();
        self.tasks().iter().map(state).collect()
    }
}

/// The arguments of a worker for the server at this address, with the directories of its tasks in
/// that one.
pub(crate) fn worker_args<'a>(
    server: &'a str,
    name: &'a str,
    dir: &'a str,
    options: &[&'a str],
) -> Vec<&'a str> {
    let mut args = vec!["task", "worker", "--server", server, "--name", name];
    if !options.contains(&"--no-task-dirs") {
        args.extend(["--work-dir", dir]);
    }
    // Whatever else runs on this machine must not keep tasks from starting.
    args.extend(["--accept-free", "0", "--return-free", "0"]);
    args.extend(options);
    args
}

/// A line of JSON.
pub(crate) fn document(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// A line of a task file that asks for nothing.
pub(crate) fn shell(command: &str) -> String {
    format!("shell:0:0:0:{command}")
}

/// A pipe with a name: whoever opens one end waits for the other one to be opened.
#[derive(Clone)]
pub(crate) struct Fifo {
    path: PathBuf,
}

impl Fifo {
    fn make(path: PathBuf) -> Self {
        let made = Command::new("mkfifo").arg(&path).status().expect("a program to make pipes");
        assert!(made.success(), "mkfifo {}: {made}", path.display());
        Self { path }
    }

    pub(crate) fn path(&self) -> &str {
        text(&self.path)
    }

    /// A command that tells the test something, and goes on when the test listens.
    pub(crate) fn tells(&self, word: &str) -> String {
        format!("echo {word} > {}", self.path())
    }

    /// A command that waits for a word of the test.
    pub(crate) fn waits(&self) -> String {
        format!("read word < {}", self.path())
    }

    /// Waits for a word of a task.
    pub(crate) fn hear(&self) -> String {
        let path = self.path.clone();
        let heard = in_time("no task says anything", move || {
            let mut heard = String::new();
            let mut file = fs::File::open(path).expect("the pipe is there");
            file.read_to_string(&mut heard).expect("a task writes text");
            heard
        });
        heard.trim().to_owned()
    }

    /// Lets a task go on that waits, or that will.
    pub(crate) fn release(&self) {
        let path = self.path.clone();
        in_time("no task waits", move || {
            let mut file = fs::File::options().write(true).open(path).expect("the pipe is there");
            file.write_all(b"go\n").expect("a task that reads");
        });
    }
}

/// Does what may take for ever, and fails if it does.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|why| panic!("{what} ({why})"))
}

/// The lines of a file that tasks add to, sorted.
pub(crate) fn lines_of(path: &Path) -> Vec<String> {
    let content = fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<String> = content.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

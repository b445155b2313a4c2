//! Runs the program as its users do: arguments in; exit code, output and files out.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_punctual");

/// What takes this long hangs; a busy machine alone does not slow anything down so much.
const PATIENCE: Duration = Duration::from_secs(60);

/// The options of a short run that leaves the cores to others while it has nothing to do.
const SHORT: [(&str, &str); 4] =
    [("--keys", "2000"), ("--duration", "300ms"), ("--warmup", "100ms"), ("--idle", "park")];

/// A program under way. It is killed when the test drops it.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    lines: Receiver<String>,
    /// The lines of standard error that were received.
    seen: Vec<String>,
}

/// A program that has ended.
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    /// Starts the program with these arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(Command::new(PROGRAM).args(args))
    }

    /// Starts a command, without what the surroundings of the test would change in its output.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let command = command.env_remove("PUNCTUAL_LOG").env("COLUMNS", "100");
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the program starts");
        let mut stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("standard output is text");
            text
        });
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // A test that has seen enough does not listen any more.
                let _ = sender.send(line);
            }
        });
        Self { child, stdout: Some(stdout), lines, seen: Vec::new() }
    }

    /// Waits for a line on standard error that contains this text.
    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(why) => panic!("no line with {part:?} ({why}), but:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &script]).status().expect("a shell");
        assert!(sent.success(), "{script}: {sent}");
    }

    /// Ends it at once, without a chance to say goodbye; it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the program can be killed");
        self.child.wait().expect("a killed program ends");
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        // Standard error ends with the program.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no end after {PATIENCE:?}, but:\n{}", self.seen.join("\n"))
                }
            }
        }
        let status = self.child.wait().expect("the program has ended");
        let stdout = self.stdout.take().expect("a program ends once");
        Ended {
            code: status.code(),
            stdout: stdout.join().expect("standard output was read"),
            stderr: self.seen.join("\n"),
        }
    }

    /// Asks it to stop, as the system does, and waits for its end.
    pub(crate) fn terminate(self) -> Ended {
        self.signal("TERM");
        self.finish()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Fails, with all that was printed, unless it ended with this exit code.
    pub(crate) fn expect_code(&self, code: i32) {
        let Self { code: found, stdout, stderr } = self;
        assert_eq!(*found, Some(code), "exit code; stderr:\n{stderr}\nstdout:\n{stdout}");
    }

    /// The one error, which must be the last line on standard error.
    pub(crate) fn error(&self) -> &str {
        let errors = self.stderr.lines().filter(|line| line.starts_with("error:")).count();
        let last = self.stderr.lines().next_back().unwrap_or_default();
        assert!(errors == 1 && last.starts_with("error: "), "not one error:\n{}", self.stderr);
        last
    }
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Running::start(args).finish()
}

/// Runs the program in a folder to its end.
pub(crate) fn run_in(folder: &Path, args: &[&str]) -> Ended {
    Running::spawn(Command::new(PROGRAM).current_dir(folder).args(args)).finish()
}

/// The arguments of a short `bench micro` with these options on top.
pub(crate) fn micro<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["bench", "micro"];
    args.extend(options);
    for (name, value) in SHORT {
        if !options.contains(&name) {
            args.extend([name, value]);
        }
    }
    args
}

/// Runs a bench that must succeed and agree with its store; its end and the document it wrote.
pub(crate) fn bench(args: &[&str]) -> (Ended, Value) {
    let dir = folder();
    let file = dir.path().join("run.json");
    let mut args = args.to_vec();
    args.extend(["--json", text(&file)]);
    let ended = run(&args);
    ended.expect_code(0);
    let report = document(&file);
    assert_eq!(report["self_check"], "ok");
    (ended, report)
}

/// The document that a program has written.
pub(crate) fn document(file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("the document was written");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

/// The number in a field of a document.
pub(crate) fn number(document: &Value, field: &str) -> f64 {
    let number = document.pointer(field).and_then(Value::as_f64);
    number.unwrap_or_else(|| panic!("{field} is no number in {document:#}"))
}

/// A folder of the test's own; it goes away with it.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Writes a file, and gives its path back as an argument.
pub(crate) fn write(dir: &TempDir, name: &str, content: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, content).expect("a temporary file can be written");
    text(&path).to_owned()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

//! The examples of how to start workers on a cluster do what they say: with stand-ins for ssh and
//! for Slurm, and with the program itself.

use crate::help::{commands, is_option};
use crate::support::{PROGRAM, Running, text};
use crate::task_bed::{Farm, document, shell};
use crate::{read, root};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

/// What takes this long hangs; a busy machine alone does not slow anything down so much.
const PATIENCE: Duration = Duration::from_secs(60);

/// In the place of ssh: each host is a folder.
const SSH: &str = r#"#!/bin/sh
while [ "$1" = -o ]; do shift 2; done
mkdir -p "$HOSTS/$1" && cd "$HOSTS/$1" || exit 1
shift
exec sh -c "$*"
"#;

/// In the place of Slurm: a step runs on two nodes, and not for ever.
const SRUN: &str = r#"#!/bin/sh
while case $1 in -*) true ;; *) false ;; esac; do shift; done
for node in n1 n2; do SLURMD_NODENAME=$node timeout 120 "$@" & done
wait
"#;

/// Kills a worker that is still there: only while it holds the lock the number is surely its own.
const KILL: &str = r#"test ! -e "$1.pid" || flock -n "$1.lock" true || kill -9 $(cat "$1.pid")"#;

/// A server with a token, and a stand-in before all other programs.
struct Site {
    /// Ends before its folder goes away.
    _server: Running,
    farm: Farm,
    token: String,
    path: String,
}

impl Site {
    fn new(name: &str, stand_in: &str) -> Self {
        let farm = Farm::new();
        let token = farm.file("token", &["it's a \"token\" of $HOME".to_owned()]);
        let server = farm.serve(&["--token-file", &token]);
        let bin = farm.path("bin");
        fs::create_dir(&bin).expect("a folder");
        symlink(PROGRAM, bin.join("punctual")).expect("a link");
        // Written by a process of its own: a program that somebody has open cannot be run.
        let script = "printf %s \"$1\" > \"$2\" && chmod +x \"$2\"";
        let mut write = Command::new("sh");
        write.args(["-c", script, "sh", stand_in, text(&bin.join(name))]);
        assert!(write.status().expect("a shell").success());
        let others = env::var("PATH").unwrap_or_default();
        let path = format!("{}:{others}", text(&bin));
        Self { _server: server, farm, token, path }
    }

    /// One of the scripts among the examples, about to be run.
    fn script(&self, name: &str) -> Command {
        let server = format!("unix:{}", text(&self.farm.path("tasks.sock")));
        let mut command = Command::new("bash");
        command
            .arg(root().join("docs/examples").join(name))
            .current_dir(self.farm.path("bin"))
            .env("PATH", &self.path)
            .env("PUNCTUAL_TASK_SERVER", server)
            .env("PUNCTUAL_TOKEN_FILE", &self.token)
            .env("HOSTS", self.hosts())
            .env_remove("PUNCTUAL_LOG");
        command
    }

    fn hosts(&self) -> PathBuf {
        self.farm.path("hosts")
    }

    fn tell(&self, command: &[&str]) -> String {
        self.farm.tell(&[command, &["--token-file", &self.token]].concat())
    }

    /// Waits until the server knows two workers; what it knows of them, by name.
    fn two_workers(&self) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let told = self.tell(&["workers", "--json"]);
            let mut workers: Vec<Value> = told.lines().map(document).collect();
            if workers.len() == 2 {
                workers.sort_by_key(|worker| worker["name"].to_string());
                return workers;
            }
            assert!(start.elapsed() < PATIENCE, "not two workers, but {workers:#?}");
        }
    }

    fn start_by_ssh(&self) -> String {
        let mut command = self.script("start-workers.sh");
        command.args([self.token.as_str(), "me@h1", "h2", "--", "--accept-free", "0"]);
        command.args(["--return-free", "0"]);
        let output = command.output().expect("bash");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {stderr}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Workers that nobody waits for, by the beginnings of the names of their files. Those that are
/// still there in the end are killed.
struct Detached([PathBuf; 2]);

impl Drop for Detached {
    fn drop(&mut self) {
        for own in &self.0 {
            let _ = Command::new("sh").args(["-c", KILL, "sh", text(own)]).output();
        }
    }
}

#[test]
fn workers_are_started_by_ssh_once_on_each_host_and_end_in_order() {
    let site = Site::new("ssh", SSH);
    let own = [("me@h1", "h1"), ("h2", "h2")];
    let own = own.map(|(host, name)| site.hosts().join(host).join(".punctual").join(name));
    let detached = Detached(own);
    assert_eq!(site.start_by_ssh(), "me@h1: started\nh2: started\n");
    let names = site.two_workers().iter().map(|worker| worker["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names, ["h1", "h2"]);
    assert_eq!(site.start_by_ssh(), "me@h1: runs already\nh2: runs already\n");

    let file = site.farm.file("tasks", &[shell("true"), shell("true ")]);
    site.tell(&["submit", &file, "--wait"]);
    assert_eq!(site.tell(&["stop-worker", "--all"]), "2 workers asked to stop\n");
    for own in &detached.0 {
        let lock = own.with_extension("lock");
        let ended = Command::new("flock").args(["-w", "60", text(&lock), "true"]).status();
        assert!(ended.expect("flock").success(), "a worker goes on, {}", own.display());
        let log = read(&own.with_extension("log"));
        assert!(log.contains("stopped; "), "{log}");
        let token = fs::metadata(own.with_extension("token")).expect("a token");
        assert_eq!(token.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_slurm_job_is_a_worker_on_each_of_its_nodes_and_ends_with_them() {
    let site = Site::new("srun", SRUN);
    let mut command = site.script("workers.sbatch");
    command.env("SLURM_JOB_ID", "7").env("SLURM_CPUS_PER_TASK", "2");
    command.env("SLURM_MEM_PER_NODE", "1024");
    let job = Running::spawn(&mut command);
    for (worker, name) in site.two_workers().iter().zip(["n1.7", "n2.7"]) {
        assert_eq!((&worker["name"], &worker["slots"]), (&name.into(), &2.into()), "{worker:#}");
        assert_eq!((&worker["cores"], &worker["memory_bytes"]), (&2.0.into(), &(1 << 30).into()));
    }
    site.tell(&["stop-worker", "--all"]);
    job.finish().expect_code(0);
}

#[test]
fn the_service_and_the_pods_call_the_program_as_it_is() {
    let examples = root().join("docs/examples");
    let unit = read(&examples.join("punctual-worker.service"));
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let service = start.expect("what it starts").split(' ').skip(1).map(str::to_owned);
    let pods = read(&examples.join("worker-deployment.yaml"));
    let args = pods.lines().find_map(|line| line.trim_start().strip_prefix("args: "));
    // A list on one line is JSON as well.
    let pods = serde_json::from_str::<Vec<String>>(args.expect("what they start"));
    let commands = commands();
    let help = &commands["punctual task worker"];
    for args in [service.collect::<Vec<_>>(), pods.expect("a list of texts")] {
        assert_eq!(args[..2], ["task", "worker"]);
        let options: Vec<&String> = args.iter().filter(|arg| arg.starts_with("--")).collect();
        assert!(!options.is_empty(), "{args:?}");
        let unknown = options.iter().filter(|option| !is_option(help, option));
        assert_eq!(unknown.count(), 0, "{args:?}");
    }
}

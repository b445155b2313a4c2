//! What the tests share that kill shards with a journal: clusters on sockets and clients of them, a
//! small file system that can be filled, and dice.

use crate::support::{Running, text};
use punctual_runtime::config::{Address, Backend, Config};
use punctual_runtime::{Client, Engine, Transaction, TransactionResult};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What takes this long hangs; a busy machine alone does not slow anything down so much.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster whose shards write journals.
pub(crate) struct Journaled {
    folder: PathBuf,
    /// Names its sockets and its file, so that several may share a folder.
    name: &'static str,
    data: PathBuf,
    config: PathBuf,
}

impl Journaled {
    /// Writes the configuration. Frames are small, so that segments may be; `durability` goes below
    /// the rest of that section.
    pub(crate) fn new(
        folder: &Path,
        name: &'static str,
        data: &Path,
        shards: u16,
        durability: &str,
    ) -> Self {
        let config = folder.join(format!("{name}.toml"));
        let new = Self { folder: folder.to_owned(), name, data: data.to_owned(), config };
        let address = |shard| format!("unix:{}", new.socket(shard).display());
        let addresses: Vec<String> = (0..shards).map(address).collect();
        let text = format!(
            "[cluster]\nshards = {addresses:?}\ndispatch_timeout = \"200ms\"\n\
             [cluster.limits]\nframe_bytes_max = 131072\nvalue_bytes_max = 32768\n\
             [runtime]\nidle = \"park\"\n\
             [durability]\ndir = {data:?}\n{durability}\n"
        );
        fs::write(&new.config, text).expect("a temporary file can be written");
        new
    }

    /// Where a shard is reached.
    pub(crate) fn socket(&self, shard: u16) -> PathBuf {
        self.folder.join(format!("{}-{shard}.sock", self.name))
    }

    /// Where the journal of a shard is.
    pub(crate) fn journal(&self, shard: u16) -> PathBuf {
        self.data.join(format!("shard-{shard}"))
    }

    /// Arguments that serve one shard.
    pub(crate) fn args(&self, shard: u16) -> Vec<String> {
        let shard = shard.to_string();
        let args = ["serve", "--config", text(&self.config), "--shards", &shard];
        args.map(str::to_owned).to_vec()
    }

    /// Starts the process of a shard, without waiting for it.
    pub(crate) fn start(&self, shard: u16) -> Running {
        let args = self.args(shard);
        Running::start(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts the process of a shard; returns when it can be reached.
    pub(crate) fn serve(&self, shard: u16) -> Running {
        let mut serving = self.start(shard);
        serving.wait_for_line("ready");
        serving
    }

    /// Connects with two workers that give a transaction up after `deadline`.
    pub(crate) fn connect(&self, deadline: Duration) -> (Engine, Client) {
        self.connect_through(None, deadline)
    }

    /// As [`connect`](Self::connect), by other ways to the shards if need be.
    pub(crate) fn connect_through(
        &self,
        sockets: Option<Vec<PathBuf>>,
        deadline: Duration,
    ) -> (Engine, Client) {
        let mut config = Config::load(&self.config).expect("the configuration is valid");
        if let Some(sockets) = sockets {
            config.cluster.addresses = sockets.into_iter().map(Address::Unix).collect();
        }
        config.process.backend = Backend::Threads;
        config.process.coordinators = 2;
        config.process.request_timeout = Duration::from_millis(50);
        config.process.deadline = deadline;
        Engine::connect(config).start().expect("workers start")
    }
}

/// Fails unless a program, of which nothing is left but this, was killed by the test and had not
/// ended before.
pub(crate) fn expect_killed(mut running: Running) {
    running.kill();
    let ended = running.finish();
    let stderr = &ended.stderr;
    assert_eq!(ended.code, None, "it had ended by itself:\n{stderr}");
    let complains = |line: &str| line.starts_with("error:") || line.contains("panicked at");
    assert!(!stderr.lines().any(complains), "it was not well when it was killed:\n{stderr}");
}

/// Reads until that succeeds: a link may still be coming up, and a read may be repeated.
pub(crate) fn read(client: &Client, build: impl Fn(&mut Transaction)) -> TransactionResult {
    let start = Instant::now();
    loop {
        let mut transaction = client.transaction();
        build(&mut transaction);
        let pending = client.submit(&mut transaction).expect("the queue has room");
        match pending.wait_timeout(PATIENCE) {
            Ok(result) if result.is_committed() => return result,
            end => assert!(start.elapsed() < PATIENCE, "a read fails again and again: {end:?}"),
        }
    }
}

/// A small file system in memory, in a mount namespace of its own: it goes away with the process
/// that holds the namespace, and that one goes with the test, however the test ends.
pub(crate) struct SmallDisk {
    holder: Child,
    at: PathBuf,
    /// The namespace belongs to a user namespace as well.
    of_user: bool,
}

/// Mounts it at `$1` with the size `$2`, makes the journal of shard 0 there, and leaves it `$3`: rw
/// or ro. Then it waits for the end of its input.
const MOUNT: &str = "mount -t tmpfs -o \"size=$2\" none \"$1\" && mkdir -p \"$1/data/shard-0\" && \
                     mount -o \"remount,bind,$3\" \"$1\" && echo mounted && exec cat";

impl SmallDisk {
    /// Mounts one in this folder; `None`, and it was said, where the system does not allow it.
    pub(crate) fn mount(folder: &Path, bytes: u64, mode: &str) -> Option<Self> {
        let at = folder.join("disk");
        fs::create_dir(&at).expect("the folder is the test's own");
        // Without the rights of root it takes a user namespace, which not every system grants.
        let found = [false, true].into_iter().find_map(|of_user| {
            let user: &[&str] = if of_user { &["--user", "--map-root-user"] } else { &[] };
            let mut unshare = Command::new("unshare");
            unshare.args(user).args(["--mount", "sh", "-c", MOUNT, "sh", text(&at)]);
            unshare.args([bytes.to_string().as_str(), mode]);
            unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let holder = unshare.spawn().ok()?;
            let mut disk = Self { holder, at: at.clone(), of_user };
            let mut said = String::new();
            let stdout = disk.holder.stdout.take().expect("standard output is a pipe");
            BufReader::new(stdout).read_line(&mut said).ok()?;
            (said.trim_end() == "mounted").then_some(disk)
        });
        if found.is_none() {
            forbidden("a file system in memory cannot be mounted, allow it or user namespaces");
        }
        found
    }

    /// Where journals go, as programs that were started here see it.
    pub(crate) fn data(&self) -> PathBuf {
        self.at.join("data")
    }

    /// A file on it, as the test itself sees it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        let at = self.at.strip_prefix("/").expect("temporary folders have absolute paths");
        Path::new(&root).join(at).join(name)
    }

    /// Starts the program where the file system is mounted.
    pub(crate) fn start(&self, args: &[String]) -> Running {
        let holder = self.holder.id().to_string();
        let user: &[&str] = if self.of_user { &["--user", "--preserve-credentials"] } else { &[] };
        // It becomes the program, so killing it kills the program.
        let mut enter = Command::new("nsenter");
        enter.args(user).args(["--mount", "--target", &holder, crate::support::PROGRAM]);
        Running::spawn(enter.args(args))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // One that has ended by itself needs neither.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Random numbers that a seed repeats (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// Says that a test cannot run because the system does not grant what it takes. No package mends
/// that, so nobody who requires all tests is failed for it.
#[expect(clippy::print_stdout, reason = "a skipped test has to say so")]
fn forbidden(why: &str) {
    println!("skipped: {why}");
}

/// Says that the machine cannot run a test; where everything is required, that is a failure.
#[expect(clippy::print_stdout, reason = "a skipped test has to say so")]
pub(crate) fn skip(why: &str) {
    let required = std::env::var("PUNCTUAL_REQUIRE").as_deref() == Ok("1");
    assert!(!required, "PUNCTUAL_REQUIRE=1, but: {why}");
    println!("skipped: {why}");
}

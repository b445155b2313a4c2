//! What a journal does when the disk or its user will not have it: clear words, and nothing that
//! was acknowledged is lost.

use crate::journaled::{Journaled, PATIENCE, SmallDisk, expect_killed, read, skip};
use crate::support::{Ended, PROGRAM, Running, folder, run, text};
use punctual_runtime::{Client, ClientError, Engine, Outcome, Pending, RefusedReason};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Bytes that every write adds to the log, at least.
const FILLER: usize = 1000;
/// What a write by itself takes on the disk, at least.
const BLOCK: u64 = 4096;
/// Bytes of a segment: so many that the next one is looked for long before this one is full.
const SEGMENT: u64 = 4 << 20;
/// Bytes of a small disk, and of what lies on it beside the journal.
const DISK: u64 = 6 * SEGMENT;
const BALLAST: u64 = 3 * SEGMENT;
/// The key of the number that every write increments.
const NUMBER: u64 = 1;

/// One shard with a journal that never gets smaller.
fn one_shard(dir: &TempDir, name: &'static str, data: &Path) -> Journaled {
    let sizes = format!("segment_bytes = {SEGMENT}\nsnapshot_after = 0");
    Journaled::new(dir.path(), name, data, 1, &format!("mode = \"journal\"\n{sizes}"))
}

/// Increments a number, one write after the other, and knows what it must be.
struct Writer {
    engine: Engine,
    client: Client,
    acknowledged: i64,
}

impl Writer {
    fn connect(journaled: &Journaled, deadline: Duration) -> Self {
        let (engine, client) = journaled.connect(deadline);
        Self { engine, client, acknowledged: 0 }
    }

    fn write(&mut self) -> Result<Outcome, ClientError> {
        let mut transaction = self.client.transaction();
        transaction.add(NUMBER, 1).put("filler", &[7; FILLER]);
        let pending = self.client.submit(&mut transaction)?;
        let result = pending.wait_timeout(PATIENCE)?;
        if result.is_committed() {
            self.acknowledged += 1;
            assert_eq!(result.number(0), Some(self.acknowledged), "the sum after a write");
        }
        Ok(result.outcome)
    }

    /// Writes until so many more are acknowledged; the journal may be full now and then.
    fn write_on(&mut self, more: u64) {
        let (start, wanted) = (Instant::now(), self.acknowledged + more.cast_signed());
        while self.acknowledged < wanted {
            self.expect_written_or_full();
            assert!(start.elapsed() < PATIENCE, "only {} of {wanted}", self.acknowledged);
        }
    }

    /// Writes until the journal is full: at the latest when it takes the whole disk.
    fn write_until_full(&mut self) {
        let most = DISK / BLOCK;
        let is_full = (0..most).any(|_| self.expect_written_or_full());
        assert!(is_full, "{most} writes fit on a disk of {DISK} bytes");
    }

    /// Writes once. Whether that was refused because the journal is full.
    fn expect_written_or_full(&mut self) -> bool {
        match self.write() {
            Ok(Outcome::Committed { .. }) => false,
            Ok(Outcome::Refused(RefusedReason::JournalFull)) => true,
            end => panic!("nobody expects {end:?}"),
        }
    }

    /// The number, as the shard has it.
    fn number(&self) -> i64 {
        let result = read(&self.client, |transaction| {
            transaction.get(NUMBER);
        });
        result.number(0).unwrap_or(0)
    }

    fn stop(self) {
        self.engine.stop().expect("the workers stop");
    }
}

/// A shard on a small disk that is full, with ballast on it that can be thrown overboard.
struct Overfull {
    disk: SmallDisk,
    dir: TempDir,
}

impl Overfull {
    fn new() -> Option<Self> {
        let dir = folder();
        let disk = SmallDisk::mount(dir.path(), DISK, "rw")?;
        fs::write(disk.file("ballast"), vec![0_u8; BALLAST as usize])
            .expect("there is room for it");
        Some(Self { disk, dir })
    }

    fn journaled(&self) -> Journaled {
        one_shard(&self.dir, "small", &self.disk.data())
    }

    fn serve(&self, journaled: &Journaled) -> Running {
        let mut serving = self.disk.start(&journaled.args(0));
        serving.wait_for_line("ready");
        serving
    }

    fn make_room(&self) {
        fs::remove_file(self.disk.file("ballast")).expect("the ballast is there");
    }
}

#[test]
fn a_shard_whose_disk_is_full_refuses_writes_and_goes_on_when_there_is_room() {
    let Some(overfull) = Overfull::new() else { return };
    let journaled = overfull.journaled();
    let serving = overfull.serve(&journaled);
    let mut writer = Writer::connect(&journaled, PATIENCE);
    writer.write_until_full();
    assert!(writer.expect_written_or_full(), "nobody made room");
    assert_eq!(writer.number(), writer.acknowledged, "reads go on");

    overfull.make_room();
    // So much that it takes a new segment.
    writer.write_on(SEGMENT / BLOCK + 100);
    assert_eq!(writer.number(), writer.acknowledged);
    expect_killed(serving);

    let serving = overfull.serve(&journaled);
    assert_eq!(writer.number(), writer.acknowledged, "nothing acknowledged is lost");
    writer.write_on(1);
    writer.stop();
    serving.terminate().expect_code(0);
}

#[test]
fn a_shard_that_dies_with_a_full_disk_says_so_and_comes_back_when_there_is_room() {
    let Some(overfull) = Overfull::new() else { return };
    let journaled = overfull.journaled();
    let serving = overfull.serve(&journaled);
    let mut writer = Writer::connect(&journaled, PATIENCE);
    writer.write_until_full();
    expect_killed(serving);

    let ended = overfull.disk.start(&journaled.args(0)).finish();
    ended.expect_code(1);
    let error = ended.error();
    let place = overfull.disk.data();
    assert!(error.contains("no room") && error.contains(text(&place)), "{error}");

    overfull.make_room();
    let serving = overfull.serve(&journaled);
    assert_eq!(writer.number(), writer.acknowledged, "nothing acknowledged is lost");
    writer.write_on(1);
    writer.stop();
    serving.terminate().expect_code(0);
}

/// The start was refused for the directory of its journal, which is named.
fn expect_barred(ended: &Ended, journaled: &Journaled, why: &str) {
    ended.expect_code(2);
    let error = ended.error();
    assert!(error.contains(why), "{error}");
    assert!(error.contains(text(&journaled.journal(0))), "{error}");
    assert!(!ended.stderr.contains("ready"), "{}", ended.stderr);
}

#[test]
fn a_directory_that_cannot_be_made_stops_the_start_and_is_named() {
    let dir = folder();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").expect("a temporary file can be written");
    let journaled = one_shard(&dir, "barred", &file.join("data"));
    let ended = journaled.start(0).finish();
    expect_barred(&ended, &journaled, "cannot be made");
}

#[test]
fn a_directory_that_is_read_only_stops_the_start_and_is_named() {
    let dir = folder();
    let Some(disk) = SmallDisk::mount(dir.path(), DISK, "ro") else { return };
    let journaled = one_shard(&dir, "barred", &disk.data());
    let ended = disk.start(&journaled.args(0)).finish();
    expect_barred(&ended, &journaled, "cannot be written to");
}

#[test]
fn a_directory_in_use_is_left_alone_and_is_free_once_its_user_is_killed() {
    let dir = folder();
    let data = dir.path().join("data");
    let [first, second] = ["first", "second"].map(|name| one_shard(&dir, name, &data));
    let serving = first.serve(0);
    let mut writer = Writer::connect(&first, PATIENCE);
    writer.write_on(1);

    let ended = second.start(0).finish();
    ended.expect_code(2);
    let error = ended.error();
    assert!(error.contains("in use by another process"), "{error}");
    assert!(error.contains(text(&second.journal(0))), "{error}");
    writer.write_on(1);
    let acknowledged = writer.acknowledged;
    expect_killed(serving);

    let serving = second.serve(0);
    let mut other = Writer { acknowledged, ..Writer::connect(&second, PATIENCE) };
    assert_eq!(other.number(), acknowledged);
    other.write_on(1);
    other.stop();
    serving.terminate().expect_code(0);
    // Nobody answers it any more, and nothing of it is under way.
    writer.stop();
}

/// The fields of a block's or a segment's head, of which the book has the offsets.
fn field(bytes: &[u8], at: usize) -> u64 {
    let field = bytes[at..].first_chunk().expect("heads are longer than that");
    u64::from_le_bytes(*field)
}

/// Where the log ends by what its last block says, how many bytes of records that block has, and
/// how far it says that the log is durable.
fn last_block(journal: &Path) -> (u64, u32, u64) {
    let files = fs::read_dir(journal).expect("the journal is there");
    let mut segments: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
    segments.retain(|path| path.to_string_lossy().contains("/log-"));
    segments.sort();
    let mut contents = segments.iter().map(|path| fs::read(path).expect("a segment can be read"));
    // Behind the segment in use there are only spares, which have no head.
    let used = contents.rfind(|bytes| bytes.starts_with(b"PUNCTJRN"));
    let bytes = used.expect("a journal has a segment in use");
    let (start, generation) = (field(&bytes, 32), &bytes[40..44]);
    let is_of = |block: &&[u8]| {
        block.starts_with(b"pjb1") && &block[8..12] == generation && field(block, 16) == start
    };
    let last = bytes.chunks(4096).filter(is_of).max_by_key(|block| field(block, 24));
    let block = last.expect("a segment in use has blocks");
    let len = u32::from_le_bytes(*block[12..].first_chunk().expect("a whole head"));
    (field(block, 24) + u64::from(len), len, field(block, 32))
}

#[test]
fn an_orderly_stop_leaves_a_journal_that_says_that_it_is_whole() {
    let dir = folder();
    let journaled = one_shard(&dir, "stopped", &dir.path().join("data"));
    let mut acknowledged = 0;
    // The second time it goes on from such a journal.
    for _ in 0..2 {
        let serving = journaled.serve(0);
        let mut writer = Writer { acknowledged, ..Writer::connect(&journaled, PATIENCE) };
        assert_eq!(writer.number(), acknowledged);
        writer.write_on(20);
        acknowledged = writer.acknowledged;
        writer.stop();
        serving.terminate().expect_code(0);
        let (end, len, durable) = last_block(&journaled.journal(0));
        assert!(end > 20 * FILLER as u64, "the log ends at {end}");
        assert_eq!((len, durable), (0, end), "the last block only says that all is durable");
        run(&["journal", "check", text(&journaled.journal(0))]).expect_code(0);
    }
}

#[test]
fn an_interruption_with_transactions_in_flight_loses_none_and_runs_none_twice() {
    const COUNT: i64 = 500;
    let dir = folder();
    let journaled = one_shard(&dir, "interrupted", &dir.path().join("data"));
    let serving = journaled.serve(0);
    let (engine, client) = journaled.connect(PATIENCE);
    let submit = |_| {
        let mut transaction = client.transaction();
        transaction.add(NUMBER, 1).put("filler", &[7; FILLER]);
        client.submit(&mut transaction).expect("the queue has room")
    };
    let pending: Vec<_> = (0..COUNT).map(submit).collect();
    let result = |pending: &Pending| {
        let result = pending.wait_timeout(PATIENCE).expect("an outcome");
        assert!(result.is_committed(), "{result:?}");
        result.number(0).expect("an addition yields the sum")
    };
    let first = result(&pending[0]);
    serving.signal("INT");
    serving.finish().expect_code(0);

    // What it had not taken is sent again, and what it had is answered from what it wrote down.
    let serving = journaled.serve(0);
    let others = pending[1..].iter().map(result);
    let mut sums: Vec<i64> = std::iter::once(first).chain(others).collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=COUNT).collect::<Vec<_>>());
    engine.stop().expect("the workers stop");
    serving.terminate().expect_code(0);
}

/// Serves a shard that gets an error for a write beyond a file's permitted size, and no signal.
/// Its process id is in `id`.
fn serve_with_errors(journaled: &Journaled, id: &Path) -> Running {
    let script = "trap '' XFSZ; echo $$ > \"$1\"; shift; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", text(id), PROGRAM]).args(journaled.args(0));
    let mut serving = Running::spawn(&mut shell);
    serving.wait_for_line("ready");
    serving
}

/// From now on, every write of a process to any file fails.
fn forbid_writes(id: &Path) -> bool {
    let id = fs::read_to_string(id).expect("the id was written");
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", id.trim(), "--fsize=0"]).stdout(Stdio::null()).stderr(Stdio::null());
    limit.status().is_ok_and(|status| status.success())
}

#[test]
fn a_write_that_fails_stops_the_shard_at_once_and_nothing_acknowledged_is_lost() {
    let dir = folder();
    let journaled = one_shard(&dir, "failing", &dir.path().join("data"));
    let id = dir.path().join("id");
    let serving = serve_with_errors(&journaled, &id);
    let mut writer = Writer::connect(&journaled, Duration::from_secs(2));
    writer.write_on(20);
    if !forbid_writes(&id) {
        return skip("the limits of a process cannot be changed, install prlimit");
    }
    let end = writer.write();
    let is_committed = matches!(end, Ok(Outcome::Committed { .. }));
    assert!(!is_committed, "the journal cannot have been written: {end:?}");
    let ended = serving.finish();
    ended.expect_code(1);
    let error = ended.error();
    assert!(error.contains("File too large"), "{error}");
    assert!(error.contains(text(&journaled.journal(0))), "{error}");

    // What was under way may have been written when it failed, or not.
    let serving = journaled.serve(0);
    let (number, acknowledged) = (writer.number(), writer.acknowledged);
    assert!((acknowledged..=acknowledged + 1).contains(&number), "{number} of {acknowledged}");
    writer.acknowledged = number;
    writer.write_on(1);
    writer.stop();
    serving.terminate().expect_code(0);
}

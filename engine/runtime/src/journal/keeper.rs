//! The keeper of a journal: a thread that keeps an empty segment ready ahead of the writer, and has
//! snapshots made that replace old ones.
//!
//! It never touches the shard, and the writer waits for it only where there is no spare. Snapshots
//! are made on a thread of their own, which gives way to all others; the keeper itself does not,
//! for without spares the log comes to a stop.

use super::JournalError;
use super::dir::{JournalDir, SegmentFile};
use super::shared::Shared;
use super::snapshot::{Made, MakeSnapshot};
use punctual_core::ShardId;
use punctual_core::journal::Lsn;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Segments that may be ready; what is retired beyond them is removed.
pub(super) const SPARES_MAX: usize = 4;
/// While there is no room, it is looked for this often.
const RETRY: Duration = Duration::from_millis(200);
/// The lowest priority.
const NICE_MAX: i32 = 19;

/// A segment of the log: its file, and where in the log it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) number: u64,
    pub(super) start: Lsn,
}

/// A segment that is ready to be written.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

/// What the keeper hears.
#[derive(Debug)]
pub(super) enum Event {
    /// The writer has begun a segment: those before are finished, and a spare is gone.
    Began(Position),
    /// The writer takes a spare, now.
    Wanted,
    /// A snapshot is made, or will not be.
    Snapshot,
    /// The journal is about to end.
    Closing,
    /// The writer is gone.
    Ended,
}

/// Makes the spare of this number; nothing when there is no room for it, or when the flag told it
/// to stop. A test has one that runs out of room at will.
pub(super) type MakeSpare =
    Box<dyn FnMut(u64, &AtomicBool) -> Result<Option<PathBuf>, JournalError> + Send>;

/// Makes spares in a directory.
pub(super) fn make_in(dir: &Arc<JournalDir>, segment_bytes: u64) -> MakeSpare {
    let dir = Arc::clone(dir);
    Box::new(move |number, stop: &AtomicBool| match dir.make_spare(number, segment_bytes, stop) {
        Ok(path) => Ok(Some(path)),
        Err(JournalError::NoSpace { .. }) => Ok(None),
        Err(JournalError::Io { source, .. }) if source.kind() == ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    })
}

/// What there is when a journal is opened.
#[derive(Debug)]
pub(super) struct Stock {
    /// At least one, by number.
    pub(super) spares: Vec<Spare>,
    /// The number of the spare after these.
    next_number: u64,
    /// The number of the oldest segment that has records.
    oldest: u64,
    /// How much of the log the latest snapshot stands for.
    snapshot: Lsn,
}

impl Stock {
    /// Looks round in a directory whose next segment has this number. Spares that an earlier use
    /// left are used, unless they are of another size now.
    pub(super) fn take(
        dir: &JournalDir,
        number: u64,
        segment_bytes: u64,
    ) -> Result<Self, JournalError> {
        let (mut spares, mut oldest) = (Vec::new(), number);
        for SegmentFile { number: found, path, head } in dir.segments()? {
            if head.is_some() && found >= number {
                let why = format!("{} is used, and should be a spare", path.display());
                return Err(JournalError::Start { dir: dir.path().to_owned(), why });
            }
            if head.is_some() {
                oldest = oldest.min(found);
                continue;
            }
            let len = std::fs::metadata(&path).map(|data| data.len()).unwrap_or_default();
            let is_next = spares.len() < SPARES_MAX && found == number + spares.len() as u64;
            if is_next && len == segment_bytes {
                spares.push(Spare { number: found, path });
            } else {
                dir.remove(&path)?;
            }
        }
        if spares.is_empty() {
            let path = dir.make_spare(number, segment_bytes, &AtomicBool::new(false))?;
            spares.push(Spare { number, path });
        }
        let next_number = number + spares.len() as u64;
        let snapshot = dir.snapshots()?.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn);
        Ok(Self { spares, next_number, oldest, snapshot })
    }
}

/// What a keeper works with.
pub(super) struct Tools {
    pub(super) dir: Arc<JournalDir>,
    pub(super) make: MakeSpare,
    pub(super) snapshot: MakeSnapshot,
    /// Whose journal it is, for the names of threads.
    pub(super) shard: ShardId,
    pub(super) segment_bytes: u64,
    pub(super) snapshot_after: u64,
}

pub(super) struct Keeper {
    tools: Tools,
    shared: Arc<Shared>,
    spares: flume::Sender<Spare>,
    events: flume::Receiver<Event>,
    /// For those who tell of the end of a snapshot.
    tell: flume::Sender<Event>,
    /// The number of the next spare.
    next_number: u64,
    oldest: u64,
    /// Where the writer is, once it has begun.
    current: Option<Position>,
    /// The writer takes a spare and has not begun it.
    is_wanted: bool,
    is_closing: bool,
    /// How much of the log the latest snapshot stands for.
    snapshot: Lsn,
    /// Up to where one is being made.
    making: Option<(Position, JoinHandle<Made>)>,
    /// The segment at whose beginning one was last tried.
    tried: u64,
}

impl Keeper {
    /// The channels are those of events, both ends, and the one that spares go into; those in
    /// `stock` are there already.
    pub(super) fn new(
        tools: Tools,
        shared: Arc<Shared>,
        spares: flume::Sender<Spare>,
        (tell, events): (flume::Sender<Event>, flume::Receiver<Event>),
        stock: &Stock,
    ) -> Self {
        Self {
            tools,
            shared,
            spares,
            events,
            tell,
            next_number: stock.next_number,
            oldest: stock.oldest,
            current: None,
            is_wanted: false,
            is_closing: false,
            snapshot: stock.snapshot,
            making: None,
            tried: 0,
        }
    }

    /// Works until the writer has ended.
    pub(super) fn run(mut self) {
        if let Err(why) = self.serve() {
            self.shared.fail(why);
        }
        self.shared.end();
        if let Some((_, thread)) = self.making.take() {
            let _ = thread.join();
        }
    }

    fn serve(&mut self) -> Result<(), String> {
        loop {
            match self.next_event() {
                // It is time to look for room again.
                None => {}
                Some(Event::Began(at)) => (self.current, self.is_wanted) = (Some(at), false),
                Some(Event::Wanted) => self.is_wanted = true,
                Some(Event::Snapshot) => self.take_snapshot(),
                Some(Event::Closing) => self.is_closing = true,
                Some(Event::Ended) => return Ok(()),
            }
            if self.shared.is_abandoned() || !self.refill()? {
                return Ok(());
            }
            self.begin_snapshot();
        }
    }

    fn next_event(&self) -> Option<Event> {
        if !self.shared.is_starved() {
            return Some(self.events.recv().unwrap_or(Event::Ended));
        }
        match self.events.recv_timeout(RETRY) {
            Ok(event) => Some(event),
            Err(flume::RecvTimeoutError::Timeout) => None,
            Err(flume::RecvTimeoutError::Disconnected) => Some(Event::Ended),
        }
    }

    /// Sees to it that there is a spare. False if there is no room and nobody will wait for it.
    fn refill(&mut self) -> Result<bool, String> {
        // A journal that nothing is written to needs one no more than one that is being closed.
        let is_due = if self.is_closing { self.is_wanted } else { self.current.is_some() };
        if !is_due || !self.spares.is_empty() {
            return Ok(true);
        }
        // One that the writer wants for the rest of the log is made to its end.
        let stop = if self.is_closing { self.shared.abandoned() } else { self.shared.ending() };
        match (self.tools.make)(self.next_number, stop).map_err(|error| error.to_string())? {
            Some(path) => self.offer(path),
            None if self.is_closing => return Ok(false),
            // It was told to stop, and will hear why.
            None if self.is_ending() => {}
            None if self.shared.is_starved() => {}
            None => {
                let dir = self.tools.dir.path().display();
                tracing::warn!(%dir, "there is no room for the next file of the log");
                self.shared.set_starved(true);
            }
        }
        Ok(true)
    }

    fn is_ending(&self) -> bool {
        self.shared.ending().load(Ordering::Relaxed)
    }

    fn offer(&mut self, path: PathBuf) {
        let spare = Spare { number: self.next_number, path };
        self.next_number += 1;
        self.is_wanted = false;
        if self.shared.is_starved() {
            self.shared.set_starved(false);
        }
        // The writer may be gone.
        let _ = self.spares.try_send(spare);
    }

    /// Has a snapshot made if enough is finished. It counts what the files take, not what is in
    /// them: a shard that was started often leaves many that are nearly empty.
    fn begin_snapshot(&mut self) {
        let Some(at) = self.current else { return };
        let finished = at.number.saturating_sub(self.oldest) * self.tools.segment_bytes;
        let is_due = self.tools.snapshot_after > 0 && finished >= self.tools.snapshot_after;
        let is_new = at.number > self.tried && at.start > self.snapshot;
        if !is_due || !is_new || self.is_closing || self.making.is_some() {
            return;
        }
        self.tried = at.number;
        let name = format!("snapshot{}", self.tools.shard.0);
        let (make, shared) = (Arc::clone(&self.tools.snapshot), Arc::clone(&self.shared));
        let done = Done(self.tell.clone());
        let spawned = thread::Builder::new().name(name).spawn(move || {
            let _done = done;
            // Whoever has a transaction to run goes first. It is no harm if that cannot be had.
            let _ = rustix::process::setpriority_process(None, NICE_MAX);
            make(at.start, shared.ending())
        });
        match spawned {
            Ok(thread) => self.making = Some((at, thread)),
            Err(error) => tracing::warn!(%error, "there is no thread for a snapshot"),
        }
    }

    /// Sees what became of a snapshot. The shard needs none to go on: where there is none, or what
    /// it replaces cannot be removed, the log takes more room.
    fn take_snapshot(&mut self) {
        let Some((at, thread)) = self.making.take() else { return };
        match thread.join() {
            Ok(Ok(Some(_))) => {
                self.snapshot = at.start;
                if let Err(error) = self.retire(at) {
                    tracing::error!(%error, "what a snapshot has replaced was not all removed");
                }
                self.shared.count_snapshot();
            }
            // It was told to stop.
            Ok(Ok(None)) => {}
            Ok(Err(error @ JournalError::NoSpace { .. })) => {
                tracing::warn!(%error, "no snapshot: it is tried again with the next segment");
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "no snapshot: it is tried again with the next segment");
            }
            Err(_) => tracing::error!(
                "no snapshot: making it panicked, see the output of the program; it is tried again \
                 with the next segment"
            ),
        }
    }

    /// Makes spares of what a snapshot has replaced, or removes it: oldest first, so that what is
    /// left has no gaps whenever this ends.
    fn retire(&mut self, at: Position) -> Result<(), JournalError> {
        let dir = Arc::clone(&self.tools.dir);
        for (_, path) in dir.snapshots()?.into_iter().filter(|(lsn, _)| *lsn < at.start) {
            dir.remove(&path)?;
        }
        // By their numbers: the heads of those behind are not to be read while they are written.
        for number in self.oldest..at.number {
            let old = dir.segment_path(number);
            if self.spares.is_full() || !old.exists() {
                dir.remove(&old)?;
                continue;
            }
            let (bytes, stop) = (self.tools.segment_bytes, self.shared.ending());
            match dir.recycle(&old, self.next_number, bytes, stop) {
                Ok(path) => self.offer(path),
                // What is left is retired with the next snapshot.
                Err(JournalError::Io { source, .. }) if source.kind() == ErrorKind::Interrupted => {
                    return Ok(());
                }
                // It was of another size, and is gone; a new one has no room.
                Err(JournalError::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.oldest = at.number;
        Ok(())
    }
}

/// Tells the keeper that a snapshot is made, however its thread ends.
struct Done(flume::Sender<Event>);

impl Drop for Done {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Snapshot);
    }
}

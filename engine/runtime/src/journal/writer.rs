//! What both kinds of writer share: which records go into which block, and where. No I/O.

use super::keeper::{Event, Position, Spare};
use super::shared::Shared;
use punctual_core::journal::{
    BLOCK_ALIGN, BLOCK_HEAD_BYTES, Lsn, SEGMENT_HEAD_BYTES, SegmentHead, block_bytes, seal_block,
    split_records,
};
use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// No block is larger, unless it takes that for one record.
pub(super) const BLOCK_BYTES_MAX: usize = 1 << 20;
/// The last, empty block of a journal finds room in any segment.
const RESERVED_BYTES: u64 = BLOCK_ALIGN as u64;
const FIRST_BLOCK: u64 = SEGMENT_HEAD_BYTES as u64;
/// A batch whose memory grew beyond this is not used again.
const BATCH_BYTES_KEPT: usize = 4 << 20;

/// What the core of the shard hands over.
#[derive(Debug)]
pub(super) enum Command {
    /// Records without checksums, of which the first stands at `lsn`.
    Write { lsn: Lsn, records: Vec<u8> },
    /// There will be no more.
    Close,
}

/// A block that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Where in the segment.
    pub(super) offset: u64,
    /// How many bytes of records go into it.
    pub(super) records_len: usize,
}

impl Block {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        block_bytes(self.records_len)
    }
}

/// What a writer has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for the next command.
    Wait,
    /// Begin the next segment, once everything under way is done.
    Roll,
    Write(Block),
    /// Once everything under way is done, write a block which says so, and stop.
    Last(Block),
    Stop,
}

/// The records that wait to be written, and where the next of them goes.
#[derive(Debug)]
pub(super) struct Intake {
    commands: flume::Receiver<Command>,
    /// Where the memory of batches goes back to.
    spent: flume::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    /// Of the segment at hand.
    head: SegmentHead,
    segment_bytes: u64,
    /// Where in the segment the next block goes; nothing before the first segment is begun.
    offset: Option<u64>,
    /// What was taken up; the first `taken` bytes are in blocks already.
    records: Vec<u8>,
    taken: usize,
    /// Where the first record stands that is in no block.
    lsn: Lsn,
    is_closing: bool,
}

impl Intake {
    /// `head` is that of the first segment.
    pub(super) fn new(
        commands: flume::Receiver<Command>,
        spent: flume::Sender<Vec<u8>>,
        shared: Arc<Shared>,
        head: &SegmentHead,
        segment_bytes: u64,
    ) -> Self {
        Self {
            commands,
            spent,
            shared,
            head: *head,
            segment_bytes: segment_bytes / BLOCK_ALIGN as u64 * BLOCK_ALIGN as u64,
            offset: None,
            records: Vec::new(),
            taken: 0,
            lsn: head.start,
            is_closing: false,
        }
    }

    pub(super) fn commands(&self) -> &flume::Receiver<Command> {
        &self.commands
    }

    fn waiting(&self) -> &[u8] {
        &self.records[self.taken..]
    }

    /// Takes up what arrived.
    ///
    /// # Panics
    /// If it does not follow what came before it.
    pub(super) fn accept(&mut self, command: Command) {
        let Command::Write { lsn, mut records } = command else {
            self.is_closing = true;
            return;
        };
        self.shared.note_taken();
        assert_eq!(lsn, self.lsn.plus(self.waiting().len()), "the log has no gaps");
        if self.waiting().is_empty() {
            std::mem::swap(&mut self.records, &mut records);
        } else {
            self.records.drain(..self.taken);
            self.records.extend_from_slice(&records);
        }
        self.taken = 0;
        records.clear();
        if records.capacity() <= BATCH_BYTES_KEPT {
            let _ = self.spent.try_send(records);
        }
    }

    /// Says what is to be done next, with all that has arrived by now: the longer the disk took,
    /// the more goes into one block.
    ///
    /// # Errors
    /// A record that no segment has room for.
    pub(super) fn next_step(&mut self) -> Result<Step, String> {
        if self.shared.is_abandoned() || self.shared.has_failed() {
            return Ok(Step::Stop);
        }
        // Beyond a full block the rest waits outside, so that the shard feels that it goes slowly.
        while self.waiting().len() < BLOCK_BYTES_MAX
            && let Ok(command) = self.commands.try_recv()
        {
            self.accept(command);
        }
        match (self.offset, self.waiting().is_empty(), self.is_closing) {
            (_, true, false) => Ok(Step::Wait),
            (Some(offset), true, true) => Ok(Step::Last(Block { offset, records_len: 0 })),
            (None, true, true) => Ok(Step::Stop),
            (Some(offset), false, _) => self.place(offset),
            (None, false, _) => Ok(Step::Roll),
        }
    }

    fn place(&self, offset: u64) -> Result<Step, String> {
        let room = self.segment_bytes.saturating_sub(RESERVED_BYTES).saturating_sub(offset);
        match fitting(self.waiting(), usize::try_from(room).unwrap_or(usize::MAX)) {
            0 if offset > FIRST_BLOCK => Ok(Step::Roll),
            0 => Err(format!(
                "the record at log position {} does not fit into a segment of {} bytes; raise \
                 durability.segment_bytes",
                self.lsn, self.segment_bytes
            )),
            records_len => Ok(Step::Write(Block { offset, records_len })),
        }
    }

    /// Begins a segment where the log is, and gives its head.
    pub(super) fn begin_segment(&mut self) -> [u8; SEGMENT_HEAD_BYTES] {
        self.head.start = self.lsn;
        self.offset = Some(FIRST_BLOCK);
        self.shared.set_past_half(false);
        self.head.to_block()
    }

    /// The segment at hand, in the file of this number.
    pub(super) fn position(&self, number: u64) -> Position {
        Position { number, start: self.head.start }
    }

    /// Makes the block at the front of `out`, and returns where the log goes on behind it.
    pub(super) fn seal(&mut self, block: &Block, out: &mut [u8]) -> Lsn {
        let end = self.taken + block.records_len;
        let records = &self.records[self.taken..end];
        let len = seal_block(out, &self.head, self.lsn, self.shared.durable(), records);
        self.taken = end;
        self.lsn = self.lsn.plus(block.records_len);
        let offset = block.offset + len as u64;
        self.offset = Some(offset);
        self.shared.set_past_half(offset > self.segment_bytes / 2);
        self.lsn
    }
}

/// How many bytes of `records` the next block takes when so much room is left; zero when not even
/// the first record has any.
fn fitting(records: &[u8], room: usize) -> usize {
    let room = room.saturating_sub(BLOCK_HEAD_BYTES);
    let mut len_max = room.min(BLOCK_BYTES_MAX - BLOCK_HEAD_BYTES);
    loop {
        let len = split_records(records, len_max);
        if len > 0 || len_max == room {
            return len;
        }
        // The first record alone is longer than a block should be.
        len_max = room.min(2 * len_max);
    }
}

/// How far the log is durable while writes end in any order: up to the first that has not.
#[derive(Debug)]
pub(super) struct Progress {
    shared: Arc<Shared>,
    /// The ticket of the first in `under_way`.
    first: u64,
    /// Where the log goes on behind each block, and whether it is written.
    under_way: VecDeque<(Lsn, bool)>,
}

impl Progress {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, first: 0, under_way: VecDeque::new() }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Notes that a block is being written, and gives its ticket.
    pub(super) fn issue(&mut self, end: Lsn) -> u64 {
        self.under_way.push_back((end, false));
        self.first + self.under_way.len() as u64 - 1
    }

    /// Notes that a block is written.
    ///
    /// # Panics
    /// If that was said before.
    pub(super) fn complete(&mut self, ticket: u64) {
        let at = ticket.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let block = at.and_then(|at| self.under_way.get_mut(at));
        block.expect("a block that is under way").1 = true;
        let mut durable = None;
        while let Some(&(end, true)) = self.under_way.front() {
            self.under_way.pop_front();
            self.first += 1;
            durable = Some(end);
        }
        if let Some(end) = durable {
            self.shared.advance(end);
        }
    }
}

/// What the thread of a writer is given.
#[derive(Debug)]
pub(super) struct WriterTask {
    pub(super) intake: Intake,
    pub(super) spares: flume::Receiver<Spare>,
    pub(super) events: flume::Sender<Event>,
    pub(super) shared: Arc<Shared>,
}

impl WriterTask {
    /// Tells the keeper. It may be gone.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

/// Lives as long as the writer's thread is at work, and tells of its end, however that comes about.
#[derive(Debug)]
pub(super) struct Ending {
    shared: Arc<Shared>,
    events: flume::Sender<Event>,
}

impl Ending {
    pub(super) fn of(task: &WriterTask) -> Self {
        Self { shared: Arc::clone(&task.shared), events: task.events.clone() }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail("its thread panicked: see the output of the program".to_owned());
        }
        let _ = self.events.send(Event::Ended);
    }
}

/// A write that came short is an error: nobody knows what became of the rest.
pub(super) fn check_written(written: usize, len: usize) -> io::Result<()> {
    if written == len {
        return Ok(());
    }
    Err(io::Error::other(format!("only {written} of {len} bytes were written")))
}

/// What to say when a file of the log cannot be written.
pub(super) fn write_failed(path: &Path, offset: u64, why: &dyn Display) -> String {
    format!(
        "{} could not be written at byte {offset} ({why}); look after the disk and its file \
         system, then start again: all that was acknowledged is in the journal",
        path.display()
    )
}

/// What to say when a file of the log cannot be opened or closed.
pub(super) fn file_failed(path: &Path, operation: &str, why: &dyn Display) -> String {
    let path = path.display();
    format!("{path} could not be {operation} ({why}); look after its file system, then start again")
}

/// What to say when there is no next segment, and will be none.
pub(super) fn no_spare() -> String {
    "there is no room for the rest of the log; free some space in its file system, then start \
     again: what was not durable was not acknowledged"
        .to_owned()
}

//! What goes where, without any I/O.

use super::rig::{head, records};
use crate::journal::shared::Shared;
use crate::journal::writer::{BLOCK_BYTES_MAX, Block, Command, Intake, Progress, Step};
use punctual_core::journal::{BLOCK_ALIGN, Lsn, SEGMENT_HEAD_BYTES, SegmentHead, SegmentScan};
use std::sync::Arc;
use std::time::Duration;

/// An intake, and segments in memory that its blocks go into.
struct Desk {
    intake: Intake,
    shared: Arc<Shared>,
    commands: flume::Sender<Command>,
    spent: flume::Receiver<Vec<u8>>,
    segments: Vec<Vec<u8>>,
    segment_len: usize,
    end: Lsn,
}

impl Desk {
    fn new(segment_len: usize) -> Self {
        let shared = Shared::new(Lsn::ZERO);
        let (commands, receiver) = flume::unbounded();
        let (give_back, spent) = flume::unbounded();
        let bytes = segment_len as u64;
        let intake = Intake::new(receiver, give_back, Arc::clone(&shared), &head(), bytes);
        Self { intake, shared, commands, spent, segments: Vec::new(), segment_len, end: Lsn::ZERO }
    }

    fn hand(&mut self, records: Vec<u8>) {
        let lsn = self.end;
        self.end = lsn.plus(records.len());
        self.shared.note_queued();
        self.commands.send(Command::Write { lsn, records }).expect("somebody listens");
    }

    fn next_step(&mut self) -> Step {
        self.intake.next_step().expect("something that can be done")
    }

    fn put(&mut self, block: &Block) {
        let segment = self.segments.last_mut().expect("a segment");
        let offset = usize::try_from(block.offset).expect("it fits into memory");
        let end = self.intake.seal(block, &mut segment[offset..offset + block.bytes()]);
        self.shared.advance(end);
    }

    fn roll(&mut self) {
        let mut segment = vec![0; self.segment_len];
        segment[..SEGMENT_HEAD_BYTES].copy_from_slice(&self.intake.begin_segment());
        self.segments.push(segment);
    }

    /// Does what is to be done until there is nothing more. Returns the blocks.
    fn work(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        loop {
            match self.next_step() {
                Step::Wait | Step::Stop => return blocks,
                Step::Roll => self.roll(),
                Step::Write(block) => {
                    self.put(&block);
                    blocks.push(block);
                }
                Step::Last(block) => {
                    self.put(&block);
                    blocks.push(block);
                    return blocks;
                }
            }
        }
    }

    /// How many records there are, after a check that each segment goes on where the last one ends
    /// and reads whole.
    fn count(&self) -> usize {
        let (mut count, mut end) = (0, Lsn::ZERO);
        for bytes in &self.segments {
            let head = SegmentHead::read(bytes).expect("a head");
            assert_eq!(head.start, end);
            let mut scan = SegmentScan::new(bytes, &head);
            while scan.next_record().expect("no damage").is_some() {
                count += 1;
            }
            end = scan.lsn();
        }
        assert_eq!(end, self.end);
        count
    }
}

#[test]
fn records_go_on_in_the_next_segment_where_one_is_full() {
    let mut desk = Desk::new(64 << 10);
    for first in 0..5 {
        desk.hand(records(first * 100, 100, 900));
        desk.work();
    }
    assert_eq!(desk.count(), 500);
    // Without their heads and what is kept free they would take a little more than eight.
    let segments = desk.segments.len();
    assert!((9..=10).contains(&segments), "{segments} segments");
}

#[test]
fn what_came_while_the_disk_was_busy_goes_into_one_block() {
    let mut desk = Desk::new(1 << 20);
    for first in 0..20 {
        desk.hand(records(first, 1, 100));
    }
    let blocks = desk.work();
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert_eq!(desk.count(), 20);
    assert_eq!(desk.shared.queued(), 0, "all were taken up");
    assert_eq!(desk.spent.len(), 20, "their memory is used again");
    assert!(desk.spent.try_iter().all(|batch| batch.is_empty()));
}

#[test]
fn a_full_block_is_not_waited_with_and_the_rest_stays_outside() {
    let mut desk = Desk::new(16 << 20);
    for first in 0..4 {
        desk.hand(records(first * 1000, 1000, 700));
    }
    assert_eq!(desk.next_step(), Step::Roll);
    assert_eq!(desk.shared.queued(), 2, "two batches are more than a block");
    let blocks = desk.work();
    assert!(blocks.iter().all(|block| block.bytes() <= BLOCK_BYTES_MAX), "{blocks:?}");
    assert_eq!(desk.count(), 4000);
}

#[test]
fn a_record_longer_than_a_block_is_written_all_the_same() {
    let mut desk = Desk::new(8 << 20);
    let long = 3 * BLOCK_BYTES_MAX / 2;
    desk.hand(records(0, 1, 10));
    desk.hand(records(1, 1, long));
    desk.hand(records(2, 1, 10));
    let blocks = desk.work();
    assert_eq!(desk.count(), 3);
    assert!(blocks.iter().any(|block| block.bytes() > long), "{blocks:?}");
    assert!(blocks.iter().all(|block| block.bytes() <= 2 * long), "{blocks:?}");
}

#[test]
fn a_record_that_no_segment_holds_is_an_error_that_says_what_to_raise() {
    let mut desk = Desk::new(64 << 10);
    desk.hand(records(0, 1, 64 << 10));
    assert_eq!(desk.next_step(), Step::Roll);
    desk.roll();
    let why = desk.intake.next_step().expect_err("it cannot be written");
    assert!(why.contains("raise durability.segment_bytes"), "{why}");
}

#[test]
fn the_last_block_has_room_however_full_the_segment_is() {
    for value_len in [100, 3000, 4000, 4020] {
        let mut desk = Desk::new(32 << 10);
        desk.hand(records(0, 1, value_len));
        while desk.segments.len() < 3 {
            desk.work();
            desk.hand(records(0, 1, value_len));
        }
        desk.commands.send(Command::Close).expect("somebody listens");
        let blocks = desk.work();
        let last = blocks.last().expect("a last block");
        assert_eq!((last.records_len, last.bytes()), (0, BLOCK_ALIGN));
        let bytes = desk.segments.last().expect("a segment");
        let head = SegmentHead::read(bytes).expect("a head");
        let mut scan = SegmentScan::new(bytes, &head);
        while scan.next_record().expect("no damage").is_some() {}
        assert_eq!(scan.durable(), desk.end, "it says that everything is durable");
    }
}

#[test]
fn a_journal_that_nothing_was_written_to_is_closed_without_a_trace() {
    let mut desk = Desk::new(64 << 10);
    assert_eq!(desk.next_step(), Step::Wait);
    desk.commands.send(Command::Close).expect("somebody listens");
    assert_eq!(desk.next_step(), Step::Stop);
}

#[test]
fn nothing_is_begun_once_the_journal_was_dropped_or_has_failed() {
    let mut desk = Desk::new(64 << 10);
    desk.hand(records(0, 1, 10));
    desk.shared.abandon();
    assert_eq!(desk.next_step(), Step::Stop);

    let mut desk = Desk::new(64 << 10);
    desk.hand(records(0, 1, 10));
    desk.shared.fail("no disk".to_owned());
    desk.shared.fail("no file".to_owned());
    assert_eq!(desk.next_step(), Step::Stop);
    assert_eq!(desk.shared.failure().as_deref(), Some("no disk"), "what came first");
}

#[test]
fn the_log_is_durable_up_to_the_first_write_that_has_not_ended() {
    let shared = Shared::new(Lsn(100));
    let mut progress = Progress::new(Arc::clone(&shared));
    let tickets = [110, 120, 130, 140].map(|end| progress.issue(Lsn(end)));
    let mut ended = |nth: usize| {
        progress.complete(tickets[nth]);
        shared.durable().0
    };
    assert_eq!([ended(1), ended(2)], [100, 100]);
    assert_eq!([ended(0), ended(3)], [130, 140]);
    let next = progress.issue(Lsn(150));
    progress.complete(next);
    assert_eq!(shared.durable(), Lsn(150));
}

#[test]
fn a_journal_is_full_when_half_a_segment_is_left_and_no_room_for_another() {
    let shared = Shared::new(Lsn::ZERO);
    let full = |is_starved, is_past_half| {
        shared.set_starved(is_starved);
        shared.set_past_half(is_past_half);
        shared.counts().is_full
    };
    assert_eq!([full(false, false), full(true, false), full(false, true)], [false; 3]);
    assert!(full(true, true));
}

#[test]
fn writes_are_counted_with_what_they_took() {
    let shared = Shared::new(Lsn::ZERO);
    for (bytes, us) in [(4096, 300), (8192, 500), (4096, 100)] {
        shared.count_write(bytes, Duration::from_micros(us));
    }
    let counts = shared.counts();
    assert_eq!((counts.bytes, counts.writes), (16_384, 3));
    assert_eq!((counts.write_sum_ns, counts.write_max_ns), (900_000, 500_000));
}

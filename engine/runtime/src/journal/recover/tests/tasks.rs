//! Journals of something else than a shard that runs transactions.

use super::*;
use crate::journal::snapshot::make_snapshot;
use punctual_core::ReplayError;
use punctual_core::journal::{Record, ReplayTally};
use punctual_wire::Limits;
use std::sync::atomic::AtomicBool;

const ADDED: u8 = 1;
const LEASED: u8 = 2;
const DONE: u8 = 3;

/// A task queue that only counts.
#[derive(Debug, Default)]
struct Count {
    tally: ReplayTally,
    is_whole: bool,
}

impl Replica for Count {
    type Setup = SessionId;

    fn new(_: &SessionId) -> Self {
        Self::default()
    }

    fn owner(setup: &SessionId) -> LogOwner {
        LogOwner {
            holder: Holder::Tasks,
            shard: ShardId(0),
            shards: 1,
            session: *setup,
            limits: Limits::DEFAULT,
        }
    }

    fn with_session(_: SessionId, session: SessionId) -> SessionId {
        session
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        let tally = &mut self.tally;
        tally.records += 1;
        match *record {
            Record::Task { kind: ADDED, .. } => tally.kept += 1,
            Record::Task { kind: LEASED, .. } => tally.open += 1,
            Record::Task { kind: DONE, .. } => {
                tally.done += 1;
                tally.open = tally.open.checked_sub(1).ok_or(ReplayError::Task("nobody has it"))?;
            }
            Record::End { keys: expected } if expected != tally.kept => {
                return Err(ReplayError::Keys { found: tally.kept, expected });
            }
            Record::End { .. } => self.is_whole = true,
            _ => return Err(ReplayError::Foreign { holder: Holder::Tasks }),
        }
        Ok(())
    }

    fn snapshot<E>(&self, mut put: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        for _ in 0..self.tally.kept {
            put(&Record::Task { kind: ADDED, body: b"a task" })?;
        }
        for _ in 0..self.tally.open {
            put(&Record::Task { kind: LEASED, body: b"" })?;
        }
        put(&Record::End { keys: self.tally.kept })
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn tally(&self) -> ReplayTally {
        self.tally
    }
}

/// A file of its log with a block for each record.
fn write(home: &Home, mut pages: Pages, kinds: &[u8]) -> Pages {
    for kind in kinds {
        let mut records = Vec::new();
        Record::Task { kind: *kind, body: b"what happened" }.write(&mut records);
        pages.block(&records);
    }
    pages.save(home.dir());
    pages
}

fn first(home: &Home, kinds: &[u8]) -> Pages {
    let head = Count::owner(&SESSION).head(SegmentKind::Log, 1, Lsn::ZERO);
    write(home, Pages::new(1, head), kinds)
}

fn recovered(home: &Home) -> Recovered<Count> {
    let found = recover(&home.plan, &SessionId(1));
    found.unwrap_or_else(|error| panic!("it should be recovered: {error}"))
}

#[test]
fn a_task_queue_goes_on_from_its_journal_and_from_a_snapshot() {
    let home = Home::new();
    let one = first(&home, &[ADDED, ADDED, LEASED, DONE, ADDED, LEASED]);
    let two = write(&home, one.next(), &[LEASED, DONE]);
    let Recovered { replay, dir, head, number, report } = recovered(&home);
    assert_eq!(replay.tally, ReplayTally { records: 8, done: 2, kept: 3, open: 1 });
    assert_eq!((report.holder, report.transactions), (Holder::Tasks, 2));
    assert_eq!((report.records, report.keys, report.undecided), (8, 3, 1));
    assert!(report.to_string().ends_with("8 records, 2 runs; 3 tasks, 1 leased"), "{report}");
    let expected = LogOwner { session: SESSION, ..Count::owner(&SessionId(1)) };
    assert_eq!((head, number), (expected.head(SegmentKind::Log, 2, two.lsn), 3));

    let made = make_snapshot::<Count>(&dir, &SESSION, two.head.start, &AtomicBool::new(false));
    let made = made.expect("it can be made").expect("nobody stopped it");
    assert!(made.to_string().contains(": 3 tasks at log position "), "{made}");
    drop(dir);
    fs::remove_file(home.log(1)).expect("it can be removed");
    let Recovered { replay, report, .. } = recovered(&home);
    assert_eq!(report.snapshot, Some(two.head.start));
    assert_eq!(replay.tally, ReplayTally { records: 7, done: 1, kept: 3, open: 1 });
}

#[test]
fn nobody_goes_on_from_the_journal_of_something_else() {
    let home = Home::new();
    home.write(&[3]);
    let error = recover::<Count>(&home.plan, &SESSION).expect_err("it is that of a shard");
    let found = (&error, "it is the journal of a transaction shard, not of a task queue");

    let other = Home::new();
    first(&other, &[ADDED]);
    let error = other.refused();
    let found = [found, (&error, "it is the journal of a task queue, not of a transaction shard")];
    for ((error, text), home) in found.into_iter().zip([&home, &other]) {
        let JournalError::OtherHolder { file, .. } = error else { panic!("{error}") };
        assert_eq!(*file, home.log(1));
        assert!(error.is_usage() && error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_record_that_does_not_fit_its_queue_is_told_with_its_place() {
    let home = Home::new();
    let pages = first(&home, &[ADDED, DONE]);
    let error = recover::<Count>(&home.plan, &SESSION).expect_err("nothing was leased");
    let JournalError::Replay { file, lsn, .. } = &error else { panic!("{error}") };
    assert_eq!((file, *lsn), (&home.log(1), pages.blocks[1].lsn));
    assert!(error.to_string().ends_with("it does not fit the queue: nobody has it"), "{error}");
}

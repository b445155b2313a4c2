//! What is told about journals, sound and broken.

use super::*;
use crate::journal::recover::fixture::{Author, Home, Pages, SEGMENT_BYTES};
use crate::journal::snapshot::make_snapshot;
use punctual_core::journal::{BLOCK_ALIGN, SEGMENT_HEAD_BYTES};
use punctual_core::{Nanos, Replay};
use punctual_wire::{Key, Op, PieceBody, RefusedReason, TxnId, TxnSequence};
use std::io;
use std::sync::atomic::AtomicBool;

fn checked(path: &Path) -> CheckReport {
    check(path).unwrap_or_else(|error| panic!("it should be looked at: {error}"))
}

/// The only journal of a report.
fn only(report: &CheckReport) -> &JournalCheck {
    let [journal] = &report.journals[..] else { panic!("one journal: {report}") };
    journal
}

fn snapshot_at(home: &Home, end: Lsn) {
    let stop = AtomicBool::new(false);
    let made = make_snapshot::<Replay>(&home.open(), &home.setup(), end, &stop);
    made.expect("it can be made").expect("nobody stopped it");
}

fn dumped(path: &Path, from: Option<Lsn>, limit: Option<u64>) -> Vec<String> {
    let mut lines = Vec::new();
    let done = dump(path, from, limit, &mut |line| {
        lines.push(line.to_string());
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("it should be told: {error}"));
    lines
}

#[test]
fn a_sound_journal_is_told_file_by_file() {
    let home = Home::new();
    let files = home.write(&[3, 4, 2]);
    snapshot_at(&home, files[1].head.start);
    fs::write(home.log(4), vec![0; SEGMENT_BYTES]).expect("it can be written");
    let report = checked(home.dir());
    let journal = only(&report);
    assert!(report.is_sound() && !journal.is_in_use, "{report}");
    assert_eq!(journal.end, Some(files[2].lsn));
    let roles: Vec<_> = journal.files.iter().map(|file| file.role).collect();
    let log = FileRole::Log;
    assert_eq!(roles, [FileRole::Snapshot, FileRole::Past, log, log, FileRole::Spare]);
    let second = &journal.files[2];
    assert_eq!((second.path.clone(), second.head), (home.log(2), Some(files[1].head)));
    assert_eq!((second.end, second.records.get("single")), (Some(files[1].lsn), Some(&4)));
    let text = report.to_string();
    for part in ["log-000002: log, 65536 bytes, shard 0 of 2, generation 1", ": 4 single", "end"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.ends_with("nothing is wrong"), "{text}");
}

#[test]
fn a_journal_in_use_is_read_all_the_same() {
    let home = Home::new();
    home.write(&[3]);
    let user = home.open();
    let report = checked(home.dir());
    assert!(only(&report).is_in_use && report.is_sound(), "{report}");
    assert!(report.to_string().contains("in use by another process"), "{report}");
    assert_eq!(dumped(home.dir(), None, None).len(), 5);
    drop(user);
    assert!(!only(&checked(home.dir())).is_in_use);
}

#[test]
fn the_end_of_a_journal_in_use_is_not_judged_and_the_rest_is() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    let user = home.open();
    let spoil = |number: usize| {
        let mut pages = files[number - 1].clone();
        pages.bytes[pages.blocks[0].records_at() + 9] ^= 1;
        pages.save(home.dir());
    };
    spoil(2);
    let report = checked(home.dir());
    assert!(only(&report).is_in_use && report.is_sound(), "{report}");
    assert!(report.to_string().contains("the end of its log is not judged"), "{report}");
    spoil(1);
    let report = checked(home.dir());
    assert_eq!(only(&report).errors().count(), 1, "{report}");
    drop(user);
    assert_eq!(only(&checked(home.dir())).errors().count(), 2);
}

#[test]
fn a_snapshot_whose_file_of_the_log_is_lost_is_told() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    snapshot_at(&home, files[1].head.start);
    assert!(checked(home.dir()).is_sound());
    fs::remove_file(home.log(2)).expect("it can be removed");
    let report = checked(home.dir());
    let errors: Vec<_> = only(&report).errors().map(ToString::to_string).collect();
    assert!(matches!(&errors[..], [one] if one.contains("this snapshot ends is lost")), "{report}");
}

#[test]
fn who_prints_a_journal_keeps_nobody_from_using_it() {
    let home = Home::new();
    home.write(&[3]);
    drop(home.open());
    let mut lines = 0;
    let done = dump(home.dir(), None, None, &mut |_| {
        lines += 1;
        drop(home.open());
        Ok(())
    });
    done.expect("it is told");
    assert_eq!(lines, 5);
}

#[test]
fn all_damage_is_found_and_what_a_crash_left_is_none() {
    let home = Home::new();
    let files = home.write(&[3, 3, 3]);
    let mut torn = files[2].clone();
    torn.lose(torn.blocks[2].records_at() + 4..);
    torn.save(home.dir());
    let mut begun = Pages::new(4, SegmentHead { generation: 2, ..files[2].head });
    begun.lose(20..SEGMENT_HEAD_BYTES);
    begun.save(home.dir());
    let report = checked(home.dir());
    assert!(report.is_sound(), "{report}");
    let [.., last, leftover] = &only(&report).files[..] else { panic!("{report}") };
    assert!(last.torn.is_some() && last.role == FileRole::Log, "{report}");
    assert!(leftover.torn.is_some() && leftover.role == FileRole::Leftover, "{report}");
    assert_eq!(only(&report).end, Some(files[2].blocks[2].lsn));

    for (file, index) in [(&files[0], 1), (&files[1], 2)] {
        let mut pages = file.clone();
        pages.bytes[file.blocks[index].records_at() + 9] ^= 1;
        pages.save(home.dir());
    }
    let report = checked(home.dir());
    let errors: Vec<_> = only(&report).errors().map(ToString::to_string).collect();
    assert!(!report.is_sound() && only(&report).end.is_none(), "{report}");
    assert_eq!(errors.len(), 2, "{report}");
    for (error, file) in errors.iter().zip(["log-000001", "log-000002"]) {
        assert!(error.contains(file) && error.contains("is damaged"), "{error}");
    }
    assert!(report.to_string().ends_with("something is wrong"), "{report}");
    let mut lines = 0;
    let told = dump(home.dir(), None, None, &mut |_| {
        lines += 1;
        Ok(())
    });
    assert!(matches!(told, Err(JournalError::Damage { .. })) && lines == 3, "{lines} lines");
}

#[test]
fn files_that_do_not_belong_together_are_told() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    let other = SegmentHead { session: SessionId(1), ..files[1].next().head };
    Pages::new(3, other).save(home.dir());
    fs::remove_file(home.log(1)).expect("it can be removed");
    let report = checked(home.dir());
    let journal = only(&report);
    let [mixed, missing] = &journal.problems[..] else { panic!("{report}") };
    assert!(matches!(mixed, JournalError::MixedSessions { .. }), "{mixed}");
    assert!(matches!(missing, JournalError::MissingSegment { .. }), "{missing}");
    assert_eq!(journal.files[0].records.get("single"), Some(&3), "it is read all the same");
}

#[test]
fn a_lost_head_and_a_snapshot_that_ends_early_are_damage() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    snapshot_at(&home, files[1].head.start);
    let snapshots = snapshot_files(home.dir()).expect("they can be listed");
    let path = &snapshots[0].1;
    let content = fs::read(path).expect("it can be read");
    fs::write(path, &content[..SEGMENT_HEAD_BYTES]).expect("it can be written");
    let mut pages = files[1].clone();
    pages.lose(..SEGMENT_HEAD_BYTES);
    pages.save(home.dir());
    let report = checked(home.dir());
    let damaged = only(&report).files.iter().filter(|file| file.damage.is_some());
    let damaged: Vec<_> = damaged.map(|file| &file.path).collect();
    assert_eq!(damaged, [path, &home.log(2)], "{report}");
    assert!(!checked(path).is_sound(), "nor is it alone");
}

#[test]
fn a_path_may_be_a_journal_or_hold_some_or_be_a_file_of_one() {
    let home = Home::new();
    let files = home.write(&[3, 2]);
    let parent = home.dir().parent().expect("it has one");
    fs::create_dir(parent.join("shard-10")).expect("it can be made");
    fs::create_dir(parent.join("shard-9")).expect("it can be made");
    fs::create_dir(parent.join("shard-x")).expect("it can be made");
    files[0].save(&parent.join("shard-10"));
    let report = checked(parent);
    let paths: Vec<_> = report.journals.iter().map(|journal| journal.path.clone()).collect();
    assert_eq!(paths, [home.dir().to_owned(), parent.join("shard-10")]);
    assert_eq!(dumped(parent, None, None).len(), 7 + 5);

    let report = checked(&home.log(2));
    assert_eq!(only(&report).files[0].records.get("single"), Some(&2));
    assert_eq!(dumped(&home.log(2), None, None).len(), 2);

    let stranger = parent.join("notes");
    fs::write(&stranger, vec![b'x'; BLOCK_ALIGN]).expect("it can be written");
    for path in [parent.join("shard-9"), parent.join("nothing"), stranger] {
        let error = check(&path).expect_err("it is no journal");
        assert!(error.is_usage() && error.to_string().contains("shard-0"), "{error}");
    }
}

#[test]
fn a_dump_begins_and_ends_where_it_should() {
    let home = Home::new();
    let files = home.write(&[3, 4]);
    let all = dumped(home.dir(), None, None);
    assert_eq!(all.len(), 9, "a session, a clock and seven transactions");
    assert!(all[0].contains(" session-opened 0000000000000007: at 0, 64 slots"), "{}", all[0]);
    let third = files[1].blocks[0];
    assert_eq!(dumped(home.dir(), Some(third.lsn), None), all[5..]);
    assert_eq!(dumped(home.dir(), Some(third.lsn.plus(1)), Some(2)), all[6..8]);
    assert_eq!(dumped(home.dir(), None, Some(0)).len(), 0);

    snapshot_at(&home, files[1].head.start);
    let lines = dumped(home.dir(), None, None);
    assert!(lines[0].starts_with("snapshot-") && lines[0].contains(" state "), "{}", lines[0]);
    let end = lines.iter().position(|line| line.contains(" end 3 keys"));
    assert_eq!(&lines[end.expect("it has an end") + 1..], &all[5..]);
    assert_eq!(dumped(home.dir(), Some(Lsn::ZERO), None), all, "the log is still there");

    let broken = dump(home.dir(), None, None, &mut |_| Err(io::ErrorKind::BrokenPipe.into()));
    assert!(matches!(broken, Err(JournalError::Output(_))));
}

#[test]
fn a_record_is_one_line_that_people_can_read() {
    let mut bytes = Vec::new();
    let (key, word) = (Key::new(b"na\"me"), 5_i64.to_le_bytes());
    let ops = [
        Op::Add { key: Key::Word(17), delta: 5 },
        Op::Add { key, delta: -5 },
        Op::Get { key: Key::Word(18) },
        Op::Put { key, value: &word },
        Op::Append { key, value: b"\n" },
        Op::Delete { key },
        Op::CompareAndSet { key, expected: None, value: &[b'v'; 70] },
    ];
    ops.iter().for_each(|op| op.write(&mut bytes));
    let txn = TxnId { session: 7, sequence: TxnSequence::new(3, 9) };
    let line = |record| {
        let file = Path::new("data/shard-0/log-000001");
        DumpLine { file, offset: 4144, lsn: Lsn(16), record }.to_string()
    };
    let body = PieceBody::Ops { count: 7, bytes: &bytes };
    let value = "v".repeat(64);
    let expected = format!(
        "log-000001     4144 0000000000000010 single 0000000000000007/3.9 at 12 ns: add 17 +5, \
         add \"na\\\"me\" -5, get 18, put \"na\\\"me\" = 5, append \"na\\\"me\" \"\\n\", \
         delete \"na\\\"me\", set \"na\\\"me\" from absent to \"{value}\"... of 70 bytes"
    );
    assert_eq!(line(Record::Single { txn, commit: Nanos(12), body }), expected);
    let body = PieceBody::Ops { count: 8, bytes: &bytes };
    let cut = line(Record::Single { txn, commit: Nanos(12), body });
    assert!(cut.contains("of 70 bytes, <"), "{cut}");

    let ends = [
        (Record::Refused { txn, reason: RefusedReason::PeerLost }, "7/3.9: PeerLost"),
        (Record::Proposal { txn, shard: 2, local: Nanos(8) }, "7/3.9 of shard 2: 8 ns"),
        (Record::Put { key: b"k", value: b"12345678" }, "put \"k\" = 4050765991979987505"),
        (Record::Buried { txn, dead: 5 }, "7/3.9: parties by bits 0b101"),
        (Record::SessionEnded { id: SessionId(7) }, "session-ended 0000000000000007"),
        (Record::Task { kind: 255, body: b"unheard of" }, " task kind=255, 10 bytes"),
    ];
    for (record, end) in ends {
        assert!(line(record).ends_with(end), "{}", line(record));
    }
    let body = PieceBody::Call { procedure: 4, args: b"x" };
    assert!(line(Record::Single { txn, commit: Nanos(1), body }).ends_with("call 4 with \"x\""));
}

#[test]
fn the_journal_of_a_task_queue_is_told_as_one_and_does_not_mix_with_that_of_a_shard() {
    let home = Home::new();
    let head = SegmentHead { holder: Holder::Tasks, ..home.first_head() };
    let (mut pages, mut records) = (Pages::new(1, head), Vec::new());
    Record::Task { kind: 255, body: b"unheard of" }.write(&mut records);
    pages.block(&records);
    pages.save(home.dir());
    let report = checked(home.dir());
    assert!(report.is_sound(), "{report}");
    let text = report.to_string();
    for part in ["log, 65536 bytes, task queue, shard 0 of 2, generation 1", ": 1 task"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert_eq!(dumped(home.dir(), None, None).len(), 1);

    Pages::new(2, SegmentHead { holder: Holder::Shard, ..pages.next().head }).save(home.dir());
    let report = checked(home.dir());
    let [JournalError::OtherHolder { file, expected, found }] = &only(&report).problems[..] else {
        panic!("{report}")
    };
    assert_eq!((file, *expected, *found), (&home.log(2), Holder::Tasks, Holder::Shard));
}

#[test]
fn a_waiting_transaction_is_told_with_its_parties() {
    let home = Home::new();
    let mut author = Author::new(&home.config);
    let mut pages = Pages::new(1, home.first_head());
    pages.block(&author.wait());
    pages.save(home.dir());
    let lines = dumped(home.dir(), None, None);
    let last = lines.last().expect("there is a record");
    assert!(last.contains(" admitted ") && last.contains("parties 0:0000abcd@"), "{last}");
    assert!(last.contains(" 1:00000005: put ") && last.ends_with("= \"waits\""), "{last}");
}

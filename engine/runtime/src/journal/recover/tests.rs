//! Going on from journals, whole and broken.

mod crashes;
mod damage;
mod tasks;

use super::fixture::{
    Author, Home, Pages, SEGMENT_BYTES, SESSION, assert_ran, assert_totals, go_on,
};
use super::*;
use punctual_core::{Nanos, ProcedureContext, Procedures, Verdict};
use punctual_wire::Key;
use std::fs;

#[test]
fn an_empty_directory_begins_a_journal() {
    let home = Home::new();
    for _ in 0..2 {
        let Recovered { replay, head, number, report, .. } = home.recovered();
        assert!(report.is_new && report.torn.is_none(), "{report}");
        assert_eq!((report.segments, report.records, report.keys), (0, 0, 0));
        assert_eq!((head, number), (home.first_head(), 1));
        assert_eq!(replay.shard().session(), SESSION);
        let expected = format!("shard 0: new journal in {}", home.dir().display());
        assert_eq!(report.to_string(), expected);
    }
}

#[test]
fn several_files_are_read_in_order_and_the_log_goes_on_behind_them() {
    let mut home = Home::new();
    let files = home.write(&[3, 4, 2]);
    let end = files[2].lsn;
    home.config.session = SessionId(1);
    let Recovered { replay, head, number, report, .. } = home.recovered();
    assert_ran(&replay, 9);
    assert_eq!((report.segments, report.transactions, report.keys), (3, 9, 7));
    assert_eq!((report.bytes, report.undecided, report.snapshot), (end.0, 0, None));
    assert!(!report.is_new && report.torn.is_none(), "{report}");
    assert!(report.to_string().contains("9 transactions; 7 keys, 0 undecided"), "{report}");
    assert_eq!((head.generation, head.start, number), (2, end, 4));
    assert_eq!((head.session, replay.shard().session()), (SESSION, SESSION), "the journal's own");
}

#[test]
fn who_goes_on_knows_the_answers_that_were_given_before() {
    let home = Home::new();
    home.write(&[5]);
    let Recovered { replay, head, .. } = home.recovered();
    let mut author = Author::resume(replay.finish(Nanos(1), head.start), 5);
    assert!(author.run_latest().is_empty(), "a retry is answered, and not run again");
    assert_totals(author.shard.store(), 5);
    assert!(!author.run().is_empty());
    assert_totals(author.shard.store(), 6);
}

#[test]
fn what_waits_for_other_shards_still_waits() {
    let home = Home::new();
    let mut author = Author::new(&home.config);
    let mut pages = Pages::new(1, home.first_head());
    for records in [author.run(), author.wait(), author.run()] {
        pages.block(&records);
    }
    pages.save(home.dir());
    let Recovered { replay, head, report, .. } = home.recovered();
    assert_eq!((report.undecided, report.transactions), (1, 2));
    assert!(!replay.finish(Nanos(1), head.start).is_idle());
}

#[test]
fn each_opening_goes_on_where_the_one_before_ended_in_a_file_of_its_own() {
    let home = Home::new();
    home.write(&[2, 2]);
    let mut count = 4;
    for opening in 0..5 {
        let recovered = home.recovered();
        assert_ran(&recovered.replay, count);
        assert_eq!(recovered.head.generation, 2 + opening);
        assert_eq!(recovered.number, 3 + u64::from(opening));
        // Some write nothing but the head of their file.
        let more = u64::from(opening % 3);
        go_on(recovered, count, more);
        count += more;
    }
}

#[test]
fn a_spare_is_kept_unless_its_size_is_another_one() {
    let home = Home::new();
    home.write(&[3]);
    fs::write(home.log(2), vec![0; SEGMENT_BYTES]).expect("it can be written");
    fs::write(home.log(3), vec![0; 2 * SEGMENT_BYTES]).expect("it can be written");
    let recovered = home.recovered();
    assert_eq!((recovered.number, recovered.report.torn.as_ref()), (2, None));
    assert!(home.log(2).exists() && !home.log(3).exists());
}

#[test]
fn the_number_of_messages_in_a_frame_may_change_and_other_bounds_may_not() {
    let mut home = Home::new();
    home.write(&[3]);
    home.config.limits.batch_max /= 2;
    assert_ran(&home.recovered().replay, 3);

    home.config.limits.ops_max -= 1;
    let error = home.refused();
    let JournalError::Head { file, property, expected, found } = &error else { panic!("{error}") };
    assert_eq!((*property, file), ("cluster.limits.ops_max", &home.log(1)));
    assert_eq!((expected.as_str(), found.as_str()), ("1023", "1024"));
    assert!(error.is_usage(), "{error}");
    home.config.limits.ops_max += 1;

    home.config.shards += 1;
    let error = home.refused();
    assert!(matches!(&error, JournalError::Head { property: "number of shards", .. }), "{error}");
    home.config.shards -= 1;

    home.config.id = ShardId(1);
    let error = home.refused();
    assert!(matches!(&error, JournalError::Head { property: "shard id", .. }), "{error}");
}

#[test]
fn a_procedure_that_is_not_registered_is_named() {
    let home = Home::new();
    let mut procedures = Procedures::new();
    let run = |context: &mut ProcedureContext<'_>, _: &[u8]| {
        context.put(Key::new(b"called"), b"yes");
        Verdict::Commit
    };
    procedures.register(9, "notes that it was called", run).expect("the id is free");
    let mut author = Author::with(&home.config, procedures);
    let mut pages = Pages::new(1, home.first_head());
    pages.block(&author.run());
    pages.block(&author.call(9));
    pages.save(home.dir());
    let called = pages.blocks[1];
    let error = home.refused();
    let JournalError::Replay { offset, lsn, .. } = &error else { panic!("{error}") };
    assert_eq!((*offset, *lsn), (called.records_at() as u64, called.lsn));
    assert!(error.is_usage() && error.to_string().contains("procedure 9"), "{error}");
}

//! How a journal ends, and what the next start finds.

use super::rig::{Rig, SEGMENT_BYTES, backends, config, head};
use crate::config::JournalBackend;
use crate::journal::JournalError;
use crate::journal::dir::JournalDir;
use crate::journal::keeper::Stock;
use punctual_core::{Procedures, Shard};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[test]
fn a_journal_that_was_closed_is_gone_on_with_where_it_ended() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        for opened in 1..=3 {
            for _ in 0..10 {
                rig.hand(20, 700);
            }
            rig.close();
            let recovered = rig.recover();
            assert_eq!(recovered.report.torn, None, "{}", recovered.report);
            assert_eq!(rig.check(&recovered), 200 * opened);
            assert_eq!(recovered.head.start, rig.end);
            let opened = u32::try_from(opened).expect("a small number");
            assert_eq!(recovered.head.generation, head().generation + opened);
            rig.go_on(recovered);
        }
    }
}

#[test]
fn a_journal_that_died_has_everything_that_was_durable_and_no_gaps() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        for _ in 0..5 {
            for _ in 0..8 {
                rig.hand(30, 900);
            }
            let durable = rig.durable();
            rig.kill();
            let recovered = rig.recover();
            let found = rig.check(&recovered);
            let expected = rig.keys_before(durable);
            assert!(found >= expected, "{found} keys are there and {expected} were durable");
            rig.go_on(recovered);
        }
    }
}

#[test]
fn a_directory_is_free_as_soon_as_its_journal_has_ended() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        rig.hand(1, 10);
        let error = JournalDir::open(rig.path()).expect_err("somebody has it");
        assert!(matches!(error, JournalError::InUse { .. }), "{error}");
        rig.kill();
        JournalDir::open(rig.path()).expect("nobody has it");
    }
}

#[test]
fn a_journal_that_was_only_opened_leaves_nothing_to_recover() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        rig.close();
        let recovered = rig.recover();
        assert!(recovered.report.is_new, "{}", recovered.report);
        assert_eq!((rig.check(&recovered), recovered.number), (0, 1));
        rig.go_on(recovered);
        rig.hand(3, 10);
        rig.wait_durable();
    }
}

/// A journal whose second segment is not there when it is to be written.
fn without_second_file(backend: JournalBackend) -> Rig {
    let made = || Ok(Some(PathBuf::from("/nowhere/log-000002")));
    Rig::with(backend, 0, move |_| Box::new(move |_, _: &AtomicBool| made()))
}

#[test]
fn a_writer_that_cannot_go_on_says_why_once() {
    for backend in backends() {
        let mut rig = without_second_file(backend);
        rig.hand(100, 1000);
        rig.wait("it fails", |journal| journal.failure().is_some());
        let mut shard = Shard::new(config(), Arc::new(Procedures::new()));
        let error = rig.journal().pump(&mut shard).expect_err("it has failed");
        assert!(matches!(error, JournalError::WriterDied { .. }), "{error}");
        assert!(error.to_string().contains("/nowhere/log-000002"), "{error}");
        assert_eq!(rig.journal().pump(&mut shard).expect("it was said"), 0);
        assert!(rig.journal().is_waiting(), "the rest will never be durable");
        rig.take().close().expect_err("it did not end in order");

        let recovered = rig.recover();
        let found = rig.check(&recovered);
        assert!((1..100).contains(&found), "{found} keys");
    }
}

#[test]
fn a_keeper_that_cannot_make_a_segment_stops_the_journal() {
    for backend in backends() {
        let mut rig = Rig::with(backend, 0, |_| {
            Box::new(|number, _: &AtomicBool| {
                let file = PathBuf::from(format!("log-{number}"));
                Err(JournalError::io(&file, "made", std::io::Error::other("a bad sector")))
            })
        });
        rig.hand(1, 10);
        rig.wait("it fails", |journal| journal.failure().is_some());
        let failure = rig.journal().failure().unwrap_or_default();
        assert!(failure.contains("a bad sector"), "{failure}");
        rig.take().close().expect_err("it did not end in order");
    }
}

#[test]
fn a_segment_that_is_used_already_is_not_written_over() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        rig.hand(1, 10);
        rig.wait_durable();
        rig.close();
        let recovered = rig.recover();
        let stock = Stock::take(&recovered.dir, 1, SEGMENT_BYTES);
        let error = stock.expect_err("number 1 has records");
        assert!(matches!(error, JournalError::Start { .. }), "{error}");
        drop(recovered);
        let again = rig.recover();
        assert_eq!(rig.check(&again), 1);
    }
}

//! Journals at work: what is reported durable can be read.

use super::rig::{Rig, SEGMENT_BYTES, backends, config, head, read_back};
use crate::journal::keeper::make_in;
use punctual_core::{Nanos, Procedures, SessionId, Shard};
use std::fs;
use std::sync::Arc;

#[test]
fn what_is_handed_over_is_read_back_in_its_order_over_many_segments() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        for nth in 0..60 {
            rig.hand(1 + nth % 17, 37 * usize::try_from(nth).expect("a small number"));
        }
        rig.wait_durable();
        assert!(!rig.journal().is_waiting());
        rig.close();
        let found = read_back(rig.path());
        assert!(found.keys.iter().copied().eq(0..rig.ends.len() as u64), "{:?}", found.keys);
        assert_eq!(found.end, rig.end);
        assert_eq!(found.durable, rig.end, "the last block says that everything is durable");
        assert!(found.segments > 5, "{} segments", found.segments);
    }
}

#[test]
fn nothing_is_reported_durable_that_is_not_in_the_files() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        for nth in 0..30 {
            rig.hand(40, 100 * (nth % 8));
            let durable = rig.durable();
            let found = read_back(rig.path());
            assert!(found.end >= durable, "{durable} is durable, {} is there", found.end);
        }
        rig.wait_durable();
        let (counts, end) = (rig.journal().counts(), rig.end);
        assert_eq!(counts.durable, end, "and nothing beyond what there is");
        assert_eq!(read_back(rig.path()).segments as u64, counts.segments);
        assert!(counts.bytes > end.0 && counts.writes > counts.segments);
        assert!(counts.write_max_ns <= counts.write_sum_ns);
    }
}

#[test]
fn a_batch_of_several_segments_is_written() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        rig.hand(300, 1000);
        rig.hand(1, 55_000);
        rig.hand(1, 0);
        rig.wait_durable();
        rig.close();
        let found = read_back(rig.path());
        assert_eq!((found.keys.len(), found.end), (302, rig.end));
    }
}

#[test]
fn a_shard_hears_what_is_durable_of_its_log() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        let mut shard = Shard::new(config(), Arc::new(Procedures::new()));
        for id in 1..=500 {
            let index = shard.open_session(Nanos(0), SessionId(id), 1).expect("room");
            shard.end_session(index);
            rig.journal().pump(&mut shard).expect("a journal that works");
        }
        let (end, _) = shard.log_ends();
        while !shard.is_durable() {
            rig.journal().pump(&mut shard).expect("a journal that works");
            let (_, known) = shard.log_ends();
            if known < end {
                rig.wait("more is durable", |journal| journal.counts().durable > known);
            }
        }
        assert_eq!(rig.durable(), end);
    }
}

#[test]
fn a_snapshot_replaces_the_files_behind_it() {
    for backend in backends() {
        let mut rig = Rig::with(backend, 8 * SEGMENT_BYTES, |dir| make_in(dir, SEGMENT_BYTES));
        for _ in 0..100 {
            rig.hand(20, 1000);
        }
        rig.wait_durable();
        rig.wait("a snapshot", |journal| journal.counts().snapshots > 0);
        rig.close();
        assert!(!rig.path().join("log-000001").exists(), "it was needed no more");
        let recovered = rig.recover();
        assert!(recovered.report.snapshot.is_some(), "{}", recovered.report);
        assert_eq!(rig.check(&recovered), 2000);
        assert_eq!(recovered.head.generation, head().generation + 1);
    }
}

#[test]
fn what_is_left_in_the_log_of_a_shard_is_written_at_the_end() {
    for backend in backends() {
        let mut rig = Rig::new(backend);
        let mut shard = Shard::new(config(), Arc::new(Procedures::new()));
        let mut open = |id| shard.open_session(Nanos(0), SessionId(id), 1).expect("room");
        let first = open(1);
        open(2);
        shard.end_session(first);
        rig.journal().pump(&mut shard).expect("a journal that works");
        shard.open_session(Nanos(0), SessionId(3), 1).expect("room");
        assert!(shard.log_len() > 0);
        rig.journal().hand_rest(&mut shard);
        rig.close();
        let recovered = rig.recover();
        assert_eq!((recovered.head.start, recovered.report.torn), (shard.log_ends().0, None));
    }
}

#[test]
fn a_snapshot_that_cannot_be_made_is_tried_again_and_the_shard_goes_on() {
    for backend in backends() {
        let mut rig = Rig::with(backend, 8 * SEGMENT_BYTES, |dir| make_in(dir, SEGMENT_BYTES));
        // Nothing can be written where a directory is.
        let in_the_way = rig.path().join("snapshot.tmp");
        fs::create_dir(&in_the_way).expect("it can be made");
        for _ in 0..100 {
            rig.hand(20, 1000);
        }
        rig.wait_durable();
        assert_eq!((rig.journal().counts().snapshots, rig.journal().failure()), (0, None));
        fs::remove_dir(&in_the_way).expect("it can be removed");
        for _ in 0..100 {
            rig.hand(20, 1000);
        }
        rig.wait_durable();
        rig.wait("a snapshot", |journal| journal.counts().snapshots > 0);
        rig.close();
        assert!(!rig.path().join("log-000001").exists(), "it was needed no more");
        let recovered = rig.recover();
        assert_eq!(rig.check(&recovered), 4000);
    }
}

//! The procedures on a bare store, and what the check notices.

use super::*;
use punctual_core::Store;

fn ycsb(mix: Mix) -> Ycsb {
    Ycsb { mix, records: 1_000, fields: 10, field_bytes: 100, skew: 0.99 }
}

#[test]
fn an_update_changes_one_field_and_counts_and_a_read_modify_write_returns_what_was_there() {
    let procedures = ycsb(Mix::F).procedures();
    let limits = Limits::DEFAULT;
    let mut store = Store::new(1, u64::MAX);
    let key = Key::Word(7);
    let before = vec![b'.'; ycsb(Mix::F).record_bytes()];
    let mut zeroed = before.clone();
    zeroed[..8].fill(0);
    store.put(key, &zeroed);
    let args = [&7_u64.to_le_bytes()[..], &300_u16.to_le_bytes(), &[b'x'; 100]].concat();
    let mut results = Vec::new();
    let verdict = procedures.run_alone(UPDATE, &mut store, &limits, &args, &mut results);
    assert_eq!((verdict, results.len()), (Some(Verdict::Commit), 0));
    let record = store.get(key).expect("it is there").as_bytes().to_vec();
    assert_eq!(record[..8], 1_u64.to_le_bytes());
    assert!(record[308..408].iter().all(|byte| *byte == b'x'));
    assert_eq!((&record[8..308], &record[408..]), (&before[8..308], &before[408..]));
    let verdict = procedures.run_alone(READ_MODIFY_WRITE, &mut store, &limits, &args, &mut results);
    assert_eq!(verdict, Some(Verdict::Commit));
    let mut read = punctual_wire::ResultReader::new(&results);
    let result = read.next_result().expect("well formed").expect("the record");
    assert_eq!(result.value, Some(&record[..]));
    assert_eq!(store.get(key).expect("there").as_bytes()[..8], 2_u64.to_le_bytes());
}

#[test]
fn what_is_not_there_or_does_not_fit_is_not_changed() {
    let procedures = ycsb(Mix::A).procedures();
    let mut store = Store::new(1, u64::MAX);
    let record = vec![0; 20];
    store.put(Key::Word(1), &record);
    let call = |key: u64, offset: u16, data: &[u8]| {
        [&key.to_le_bytes()[..], &offset.to_le_bytes(), data].concat()
    };
    for args in [call(2, 0, b"x"), call(1, 12, b"x"), call(1, 5, &[0; 8]), vec![1, 2]] {
        let verdict =
            procedures.run_alone(UPDATE, &mut store, &Limits::DEFAULT, &args, &mut Vec::new());
        assert_eq!(verdict, Some(Verdict::Abort), "{args:?}");
        assert_eq!(store.get(Key::Word(1)).expect("there").as_bytes(), record);
    }
}

#[test]
fn updates_that_were_lost_and_records_that_are_missing_are_noticed() {
    let d = ycsb(Mix::D);
    let done = YcsbDone { updates: 10, updates_unknown: 2, inserted: 5 };
    let found = |loaded, inserted, updates| YcsbFound { loaded, inserted, updates };
    for found in [found(1_000, 5, 10), found(1_000, 6, 12)] {
        assert_eq!(d.check_store(&done, &found), Ok(()));
    }
    for (found, part) in [
        (found(999, 6, 10), "999 records are there of the 1000"),
        (found(1_000, 4, 10), "4 inserted records are there, acknowledged were 5"),
        (found(1_000, 5, 9), "the records count 9 updates"),
        (found(1_000, 5, 13), "the records count 13 updates"),
    ] {
        let why = d.check_store(&done, &found).expect_err(part);
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn mixes_are_read_as_they_are_written_and_records_have_bounds() {
    for mix in [Mix::A, Mix::B, Mix::C, Mix::D, Mix::E, Mix::F] {
        assert_eq!(mix.to_string().to_lowercase().parse(), Ok(mix));
    }
    assert!("g".parse::<Mix>().is_err());
    let check = |ycsb: &Ycsb| ycsb.check(2, &Limits::DEFAULT);
    assert_eq!(check(&ycsb(Mix::E)), Ok(()));
    let long = Ycsb { field_bytes: 1_000, ..ycsb(Mix::A) };
    assert!(check(&long).expect_err("too long").contains("--field-bytes 1000"));
    let few = Ycsb { records: 5, ..ycsb(Mix::A) };
    assert!(check(&few).expect_err("too few").contains("--records 5"));
    for (limits, shards, part) in [
        (Limits { frame_bytes_max: 64 << 10, ..Limits::DEFAULT }, 2, "frame_bytes_max"),
        (Limits { ops_max: 99, ..Limits::DEFAULT }, 2, "ops_max, which is 99"),
        (Limits::DEFAULT, 65, "65 --shards"),
    ] {
        assert_eq!(ycsb(Mix::A).check(shards, &limits), Ok(()), "{part}");
        let why = ycsb(Mix::E).check(shards, &limits).expect_err(part);
        assert!(why.contains(part), "{why}");
    }
    let short = Limits { value_bytes_max: 1_007, ..Limits::DEFAULT };
    let why = ycsb(Mix::A).check(2, &short).expect_err("a record of 1,008 bytes");
    assert!(why.contains("raise value_bytes_max"), "{why}");
}

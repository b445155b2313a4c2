//! What a workload must not ask for.

use super::*;

fn config() -> Micro {
    Micro { ops: 10, reads: 0.5, cross: 0.0, span: 2, keys: 1_000, value_size: 8, skew: 0.0 }
}

#[test]
fn a_workload_that_cannot_do_what_it_says_is_refused() {
    let limits = Limits::DEFAULT;
    let refused = |config: &Micro, shards| config.check(shards, &limits).expect_err("wrong");
    assert_eq!(config().check(4, &limits), Ok(()));
    let long = Micro { ops: 100, value_size: 20_000, ..config() };
    assert!(refused(&long, 1).contains("--value-size 20000 make a reply of up to"));
    assert_eq!(Micro { reads: 0.0, ..long }.check(1, &limits), Ok(()));
    // Nine keys at most are on one of the two.
    let few = Micro { keys: 19, ..config() };
    let why = refused(&few, 2);
    assert!(why.contains("of --keys 19, and a transaction takes up to 10 of them"), "{why}");
    let fewer = Micro { keys: 9, ..config() };
    assert!(refused(&fewer, 1).contains("--ops 10 distinct keys"));
    let short = Micro { value_size: 4, ..config() };
    assert!(refused(&short, 1).contains("--value-size 4 is outside 8..="));
    let frames = Limits { frame_bytes_max: 8 << 10, ..limits };
    let many = Micro { ops: 1_000, reads: 0.0, ..config() };
    assert!(many.check(1, &frames).expect_err("wrong").contains("raise frame_bytes_max"));
}

#[test]
fn transactions_on_several_shards_must_have_keys_and_shards_for_it() {
    let check = |config: &Micro, shards| config.check(shards, &Limits::DEFAULT);
    let cross = Micro { cross: 0.5, ..config() };
    assert_eq!(check(&cross, 2), Ok(()));
    assert!(check(&cross, 1).expect_err("one shard").contains("two --shards at least"));
    for (span, shards) in [(1, 4), (5, 4), (65, 100)] {
        let why = check(&Micro { span, ..cross.clone() }, shards).expect_err("outside");
        let most = shards.min(SPAN_MAX);
        assert_eq!(why, format!("--span {span} is outside 2..={most}"));
    }
    let why = check(&Micro { ops: 3, span: 4, ..cross.clone() }, 4).expect_err("too few");
    assert!(why.contains("--ops 3 are too few"), "{why}");
    // Nobody asks for several shards, so the span does not matter.
    assert_eq!(check(&Micro { span: 9, ..config() }, 4), Ok(()));
}

#[test]
fn a_hot_set_of_a_hundred_keys_is_enough_for_transactions_on_several_shards() {
    for (shards, span, cross) in [(2, 2, 0.5), (4, 2, 1.0), (5, 5, 1.0)] {
        let hot = Micro { keys: 100, cross, span, ..config() };
        assert_eq!(hot.check(shards, &Limits::DEFAULT), Ok(()), "{span} of {shards} shards");
    }
}

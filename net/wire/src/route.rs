//! Which shard a key belongs to.

use crate::Key;
use xxhash_rust::xxh3::xxh3_64;

/// The part of a key that decides its shard: the text between the first `{` and the next `}` if
/// there is one, else the whole key. An empty pair of braces counts as text, as in Redis Cluster
/// hash tags.
#[must_use]
pub fn routing_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else {
        return key;
    };
    let tail = &key[open + 1..];
    match tail.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &tail[..close],
    }
}

/// The shard of a key among `shards`, at least 1: `xxh3_64(routing part) mod shards`.
#[inline]
#[must_use]
pub fn shard_of(key: Key<'_>, shards: u16) -> u16 {
    if shards <= 1 { 0 } else { shard_among(key, shards) }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below a u16")]
fn shard_among(key: Key<'_>, shards: u16) -> u16 {
    let hash = match key {
        Key::Word(word) if !has_open_brace(word) => xxh3_64(&word.to_le_bytes()),
        Key::Word(word) => xxh3_64(routing_part(&word.to_le_bytes())),
        Key::Bytes(bytes) => xxh3_64(routing_part(bytes)),
    };
    // The same remainder without a division, which costs as much as the hash.
    if shards.is_power_of_two() {
        return hash as u16 & (shards - 1);
    }
    (hash % u64::from(shards)) as u16
}

/// Whether one of the eight bytes is a `{`: whether a byte of the difference is zero (Mycroft's
/// test, which errs at most where there is such a byte).
#[inline]
fn has_open_brace(word: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let difference = word ^ (LOW * b'{' as u64);
    difference.wrapping_sub(LOW) & !difference & (LOW << 7) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_braces_with_text_decide_the_routing_part() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"plain", b"plain"),
            (b"{user1}.name", b"user1"),
            (b"a{b}c{d}", b"b"),
            (b"{}x", b"{}x"),
            (b"open{only", b"open{only"),
            (b"a}b{c}", b"c"),
        ];
        for (key, part) in cases {
            assert_eq!(routing_part(key), part, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn words_and_powers_of_two_take_the_short_way_to_the_same_shard() {
        let words =
            [*b"{user}42", *b"x{a}{b}c", *b"12345678", *b"}}}}}}}{", *b"{}234567", [0x7a; 8]];
        for bytes in words.into_iter().chain((0..1000_u64).map(u64::to_le_bytes)) {
            for shards in [2, 3, 4, 7, 8, 4096, 65_535] {
                let hash = xxh3_64(routing_part(&bytes));
                let shard = shard_of(Key::Word(u64::from_le_bytes(bytes)), shards);
                assert_eq!(u64::from(shard), hash % u64::from(shards), "{bytes:?} of {shards}");
            }
        }
    }

    #[test]
    fn keys_with_one_tag_share_a_shard_and_words_spread_evenly() {
        for shards in [1, 2, 7] {
            let left = shard_of(Key::new(b"{acct}:left"), shards);
            assert_eq!(left, shard_of(Key::new(b"{acct}:right-hand"), shards));
        }
        let mut counts = [0_u32; 4];
        for word in 0..4_000_u64 {
            counts[shard_of(Key::Word(word), 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}

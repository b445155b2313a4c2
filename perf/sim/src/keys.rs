//! The keys that transactions meet at, and the marks that they leave.

use punctual_wire::{Key, shard_of};

/// Set in the keys of marks, and in no other key.
const MARK: u64 = 1 << 63;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A number of eight bytes.
    Number,
    /// Elements of four bytes each, all different.
    List,
}

#[derive(Debug, Clone)]
struct Name {
    /// Eight bytes as a word, or any other number of bytes.
    bytes: Vec<u8>,
    holds: Holds,
    shard: u16,
}

/// All keys of a run, by number.
#[derive(Debug, Clone)]
pub(crate) struct Keyspace {
    names: Vec<Name>,
    by_shard: Vec<Vec<u32>>,
}

impl Keyspace {
    /// So many keys, the same number on each shard as far as possible; `holds` says what each of
    /// them holds. Half of them are words.
    pub(crate) fn new(count: usize, shards: u16, holds: impl Fn(usize) -> Holds) -> Self {
        let mut names: Vec<Name> = Vec::with_capacity(count);
        let mut by_shard = vec![Vec::new(); usize::from(shards)];
        for at in 0..count.max(usize::from(shards)) {
            let shard = (at % usize::from(shards)) as u16;
            let is_word = (at / usize::from(shards)).is_multiple_of(2);
            let bytes = (0_u64..).map(|salt| {
                let word = ((at as u64) << 32 | salt).to_le_bytes();
                match is_word {
                    true => word.to_vec(),
                    false => format!("{{{salt}}}:{at}").into_bytes(),
                }
            });
            let mut ours = bytes.filter(|bytes| shard_of(Key::new(bytes), shards) == shard);
            let bytes = ours.next().expect("some key belongs to each shard");
            names.push(Name { bytes, holds: holds(at), shard });
            by_shard[usize::from(shard)].push(at as u32);
        }
        Self { names, by_shard }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn key(&self, at: u32) -> Key<'_> {
        Key::new(&self.names[at as usize].bytes)
    }

    pub(crate) fn holds(&self, at: u32) -> Holds {
        self.names[at as usize].holds
    }

    pub(crate) fn shard(&self, at: u32) -> u16 {
        self.names[at as usize].shard
    }

    /// The keys of a shard, at least one.
    pub(crate) fn of_shard(&self, shard: u16) -> &[u32] {
        &self.by_shard[usize::from(shard)]
    }
}

/// The key under which a transaction leaves a mark on a shard: nobody else uses it.
pub(crate) fn mark(transaction: u32, shard: u16, shards: u16) -> u64 {
    let base = MARK | u64::from(transaction) << 16;
    let ours = |word: &u64| shard_of(Key::Word(*word), shards) == shard;
    (base..base + (1 << 16)).find(ours).expect("some key belongs to each shard")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_to_the_shards_that_they_are_listed_under() {
        for shards in [1, 2, 5, 64] {
            let keys = Keyspace::new(7, shards, |_| Holds::Number);
            assert_eq!(keys.len(), 7.max(usize::from(shards)));
            for shard in 0..shards {
                assert!(!keys.of_shard(shard).is_empty());
                for key in keys.of_shard(shard) {
                    assert_eq!(shard_of(keys.key(*key), shards), shard);
                    assert_eq!(keys.shard(*key), shard);
                }
                assert_eq!(shard_of(Key::Word(mark(3, shard, shards)), shards), shard);
            }
        }
    }
}

//! What a transaction on several shards carries beside its operations: when it shall run, and which
//! runs of which shards it is bound to.

use crate::WireError;
use zerocopy::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Most shards of one transaction.
pub const PARTICIPANTS_MAX: usize = 64;

/// Fewest shards of a transaction that needs a stamp.
const PARTICIPANTS_MIN: usize = 2;

/// Most bytes that the stamp of a piece takes, behind the piece's head.
pub const STAMP_BYTES_MAX: usize = bytes(PARTICIPANTS_MAX);

/// The fixed part of a stamp; the participants follow it.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StampHead {
    at: I64,
}
const _: () = assert!(size_of::<StampHead>() == 8);

/// A participant as it is on the wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
struct ParticipantBytes {
    shard: U16,
    incarnation: U32,
}
const _: () = assert!(size_of::<ParticipantBytes>() == 6);

/// A shard that a transaction runs on, and which run of that shard: a shard that was restarted has
/// forgotten what it promised, and must not be taken for the one that promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Participant {
    /// The shard.
    pub shard: u16,
    /// The low 32 bits of the session that names its run.
    pub incarnation: u32,
}

impl ParticipantBytes {
    fn read(&self) -> Participant {
        Participant { shard: self.shard.get(), incarnation: self.incarnation.get() }
    }
}

/// The participants of a transaction, ascending by shard and without repeats; at least two and at
/// most [`PARTICIPANTS_MAX`]. They lie in the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participants<'a> {
    list: &'a [ParticipantBytes],
}

impl<'a> Participants<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.list.len()
    }

    /// Whether there are none, which no reader lets through.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.list.is_empty()
    }

    /// The participant at `index`.
    ///
    /// # Panics
    /// If there are no more than `index`.
    #[must_use]
    pub fn get(self, index: usize) -> Participant {
        self.list[index].read()
    }

    /// All of them, ascending by shard.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Participant> + Clone + use<'a> {
        self.list.iter().map(ParticipantBytes::read)
    }

    /// The index of a shard, if it takes part.
    #[must_use]
    pub fn position(self, shard: u16) -> Option<usize> {
        self.list.binary_search_by_key(&shard, |participant| participant.shard.get()).ok()
    }
}

/// When a transaction on several shards shall run, and who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The coordinator's timestamp, in nanoseconds.
    pub at: i64,
    /// Everybody who takes part, the shard that reads this among them.
    pub participants: Participants<'a>,
}

/// Bytes of a stamp with this many participants.
pub(crate) const fn bytes(participants: usize) -> usize {
    size_of::<StampHead>() + participants * size_of::<ParticipantBytes>()
}

/// Appends a stamp.
pub(crate) fn write(out: &mut Vec<u8>, at: i64, participants: &[Participant]) {
    debug_assert!(
        (PARTICIPANTS_MIN..=PARTICIPANTS_MAX).contains(&participants.len()),
        "a stamp needs at least two participants, and there is a limit"
    );
    debug_assert!(
        participants.is_sorted_by(|before, after| before.shard < after.shard),
        "participants ascend by shard"
    );
    out.extend_from_slice(StampHead { at: I64::new(at) }.as_bytes());
    for participant in participants {
        let bytes = ParticipantBytes {
            shard: U16::new(participant.shard),
            incarnation: U32::new(participant.incarnation),
        };
        out.extend_from_slice(bytes.as_bytes());
    }
}

/// Reads a stamp with `count` participants from the start of `bytes`, and returns what follows it.
pub(crate) fn read(count: u8, bytes: &[u8]) -> Result<(Stamp<'_>, &[u8]), WireError> {
    if !(PARTICIPANTS_MIN..=PARTICIPANTS_MAX).contains(&usize::from(count)) {
        return Err(WireError::ParticipantCount { count, max: PARTICIPANTS_MAX });
    }
    let (head, rest) =
        StampHead::ref_from_prefix(bytes).map_err(|_| WireError::Truncated { what: "stamp" })?;
    let (list, rest) = <[ParticipantBytes]>::ref_from_prefix_with_elems(rest, usize::from(count))
        .map_err(|_| WireError::Truncated { what: "list of participants" })?;
    for pair in list.windows(2) {
        let (before, shard) = (pair[0].shard.get(), pair[1].shard.get());
        if shard <= before {
            return Err(WireError::ParticipantOrder { shard, before });
        }
    }
    Ok((Stamp { at: head.at.get(), participants: Participants { list } }, rest))
}

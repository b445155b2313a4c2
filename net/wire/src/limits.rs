//! The bounds of everything that crosses a wire.

/// Bounds that every member of a cluster shares; they are part of the cluster's hash.
///
/// A writer never exceeds them and a reader closes the link of a peer that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame, header included, in bytes.
    pub frame_bytes_max: u32,
    /// Most messages in one frame.
    pub batch_max: u16,
    /// Longest key, in bytes.
    pub key_bytes_max: u16,
    /// Longest value, in bytes. Also the longest argument blob of a procedure call.
    pub value_bytes_max: u32,
    /// Most operations of one transaction on one shard.
    pub ops_max: u16,
}

impl Limits {
    /// The defaults: 1 MiB frames of up to 256 messages, 1 KiB keys, 256 KiB values, 1,024
    /// operations.
    pub const DEFAULT: Self = Self {
        frame_bytes_max: 1 << 20,
        batch_max: 256,
        key_bytes_max: 1 << 10,
        value_bytes_max: 1 << 18,
        ops_max: 1 << 10,
    };

    /// The largest frame that any configuration may ask for: 64 MiB.
    pub const FRAME_BYTES_CEILING: u32 = 1 << 26;

    /// Bytes of a result that carries no value longer than a word.
    const SHORT_RESULT_BYTES: u32 = 9;

    /// Shortest `frame_bytes_max` that has room for the largest operation, and for short results of
    /// a transaction with `ops_max` operations.
    #[must_use]
    pub fn frame_bytes_min(&self) -> u64 {
        let heads = 1024;
        let operation = 2 * u64::from(self.value_bytes_max) + u64::from(self.key_bytes_max);
        let results = u64::from(self.ops_max) * u64::from(Self::SHORT_RESULT_BYTES);
        operation + results + heads
    }

    /// Bytes that the results of one transaction may take before long values are left out: what a
    /// frame holds less room for a short result of every operation.
    #[must_use]
    pub fn results_bytes_max(&self) -> usize {
        let short = u32::from(self.ops_max) * Self::SHORT_RESULT_BYTES;
        (self.body_bytes_max()).saturating_sub(short as usize)
    }

    /// Bytes that the operations of one transaction, or the results of it, may take on one shard:
    /// what a frame holds beside the longest head of a piece or a reply.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        let piece = crate::PIECE_HEAD_BYTES + crate::STAMP_BYTES_MAX;
        let reply = crate::REPLY_HEAD_BYTES + crate::REPLY_TIMING_BYTES;
        let heads = crate::FRAME_HEADER_BYTES + piece.max(reply);
        (self.frame_bytes_max as usize).saturating_sub(heads)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

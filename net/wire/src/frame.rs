//! Frames: the header, the batch writer and the reader that borrows.

use crate::{Limits, WireError};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What the messages of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// First frame of the connecting side.
    Hello = 1,
    /// Answer to a `Hello` that was accepted.
    Welcome = 2,
    /// The last frame of a link: a close reason.
    Goodbye = 3,
    /// Pieces of transactions on one shard, from a coordinator.
    Dispatch = 4,
    /// Results of pieces, from a shard.
    Reply = 5,
    /// An opaque payload that is sent back as [`FrameKind::Pong`].
    Ping = 6,
    /// The payload of a [`FrameKind::Ping`], returned.
    Pong = 7,
    /// Proposals, and what else shards tell each other about transactions of several of them.
    Peer = 8,
    /// Time stamps, from and to a prober.
    Probe = 9,
    /// What clients and workers tell a task queue.
    Task = 10,
    /// What a task queue tells its clients and workers.
    TaskPush = 11,
}

impl FrameKind {
    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Goodbye,
            4 => Self::Dispatch,
            5 => Self::Reply,
            6 => Self::Ping,
            7 => Self::Pong,
            8 => Self::Peer,
            9 => Self::Probe,
            10 => Self::Task,
            11 => Self::TaskPush,
            _ => return None,
        })
    }
}

/// The head of every frame.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// Bytes of the frame, this header included.
    pub len: U32,
    /// A [`FrameKind`].
    pub kind: u8,
    /// Bit 0: `checksum` holds a CRC-32C. All other bits are zero.
    pub flags: u8,
    /// Messages in the batch, at least 1.
    pub count: U16,
    /// CRC-32C of the whole frame with this field as zero, or zero when bit 0 of `flags` is not
    /// set.
    pub checksum: U32,
}

/// Size of a [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = 12;
const _: () = assert!(size_of::<FrameHeader>() == FRAME_HEADER_BYTES);

/// `flags`: the frame carries a checksum.
const FLAG_CHECKSUM: u8 = 1;

/// A whole frame in a receive buffer.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What the messages are.
    pub kind: FrameKind,
    /// How many messages `body` holds.
    pub count: u16,
    /// The messages, back to back.
    pub body: &'a [u8],
}

/// Cuts a receive buffer into frames without copying.
#[derive(Debug)]
pub struct FrameReader<'a> {
    bytes: &'a [u8],
    taken: usize,
    limits: Limits,
    checksum: bool,
}

impl<'a> FrameReader<'a> {
    /// Reads the frames at the start of `bytes`; `checksum` is what the link negotiated.
    #[must_use]
    pub fn new(bytes: &'a [u8], limits: Limits, checksum: bool) -> Self {
        Self { bytes, taken: 0, limits, checksum }
    }

    /// Whether `bytes` begin with a whole frame, going by the length that it claims.
    #[inline]
    #[must_use]
    pub fn is_whole(bytes: &[u8]) -> bool {
        let Ok((header, _)) = FrameHeader::ref_from_prefix(bytes) else { return false };
        header.len.get() as usize <= bytes.len()
    }

    /// Bytes of the frames that were returned so far: what the owner of the buffer may drop.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The next frame, or `None` when the rest of the buffer does not hold a whole one yet.
    ///
    /// # Errors
    /// When the bytes cannot be the start of a valid frame. The stream has lost its framing then.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'a>>, WireError> {
        let rest = &self.bytes[self.taken..];
        let Ok((header, after)) = FrameHeader::ref_from_prefix(rest) else {
            return Ok(None);
        };
        let len = header.len.get();
        let min = 12_u32;
        let max = self.limits.frame_bytes_max;
        if len < min || len > max {
            return Err(WireError::FrameLength { len, min, max });
        }
        let kind = FrameKind::from_code(header.kind).ok_or(WireError::FrameKind(header.kind))?;
        let count = header.count.get();
        if count == 0 || count > self.limits.batch_max {
            return Err(WireError::BatchCount { count, max: self.limits.batch_max });
        }
        let expected_flags = if self.checksum { FLAG_CHECKSUM } else { 0 };
        if header.flags != expected_flags {
            return Err(WireError::FrameFlags(header.flags));
        }
        let body_len = len as usize - FRAME_HEADER_BYTES;
        let Some(body) = after.get(..body_len) else {
            return Ok(None);
        };
        if self.checksum {
            let computed = checksum_of(header, body);
            let found = header.checksum.get();
            if computed != found {
                return Err(WireError::Checksum { found, computed });
            }
        }
        self.taken += len as usize;
        Ok(Some(Frame { kind, count, body }))
    }
}

/// CRC-32C over the header (its checksum field as zero) and the body.
fn checksum_of(header: &FrameHeader, body: &[u8]) -> u32 {
    let blank = FrameHeader { checksum: U32::ZERO, ..*header };
    crc32c::crc32c_append(crc32c::crc32c(blank.as_bytes()), body)
}

/// An emptied buffer that is larger than this gives its memory back. It is larger than what a link
/// lets wait, so only a burst of long replies gets there.
const BYTES_KEPT: usize = 8 << 20;

/// The outgoing buffer of a link: messages go in, frames come out.
///
/// Messages of the same kind share a frame until the batch limit, the frame limit, another kind or
/// a [`seal`](Self::seal) ends it. The buffer is reused unless it has grown very large; in the
/// steady state nothing is allocated.
#[derive(Debug)]
pub struct BatchWriter {
    buffer: Vec<u8>,
    /// Where the open frame starts; its header is a placeholder until it is sealed.
    open: Option<OpenFrame>,
    limits: Limits,
    batch_max: u16,
    checksum: bool,
    /// Frames and messages sealed and not yet counted by [`take_counts`](Self::take_counts).
    counts: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    start: usize,
    kind: FrameKind,
    count: u16,
}

impl BatchWriter {
    /// An empty buffer. `batch_max` is this side's wish; it is held to the limit of the cluster.
    #[must_use]
    pub fn new(limits: Limits, batch_max: u16, checksum: bool) -> Self {
        let batch_max = batch_max.clamp(1, limits.batch_max);
        Self { buffer: Vec::new(), open: None, limits, batch_max, checksum, counts: (0, 0) }
    }

    /// Switches the checksum on or off, as the handshake negotiated. Sealed frames keep theirs.
    pub fn set_checksum(&mut self, checksum: bool) {
        self.seal();
        self.checksum = checksum;
    }

    /// Most messages that share a frame.
    #[must_use]
    pub fn batch_max(&self) -> u16 {
        self.batch_max
    }

    /// Bytes waiting, the open frame included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Frames and messages sealed since this was last asked, for counters that add up several
    /// buffers. Frames that a full batch sealed on the way are among them.
    pub fn take_counts(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.counts)
    }

    /// Appends one message of `len_max` bytes or fewer; `write` appends the bytes themselves.
    ///
    /// `len_max` only decides whether the message still fits the open frame.
    pub fn message(&mut self, kind: FrameKind, len_max: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let fits = self.open.is_some_and(|open| {
            open.kind == kind
                && open.count < self.batch_max
                && self.buffer.len() - open.start + len_max <= self.limits.frame_bytes_max as usize
        });
        if !fits {
            self.seal();
            self.open = Some(OpenFrame { start: self.buffer.len(), kind, count: 0 });
            self.buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        }
        if let Some(open) = &mut self.open {
            open.count += 1;
        }
        write(&mut self.buffer);
    }

    /// Appends whole frames that another writer has sealed, byte for byte, behind what is here: for
    /// whoever passes frames on and need not know what is in them. They are not counted again.
    pub fn append_sealed(&mut self, frames: &[u8]) {
        debug_assert!(
            frames.is_empty() || frames.len() >= FRAME_HEADER_BYTES,
            "a sealed frame has a header"
        );
        self.seal();
        self.buffer.extend_from_slice(frames);
    }

    /// Ends the open frame, so that its bytes may leave.
    pub fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        let (head, body) = self.buffer[open.start..].split_at_mut(FRAME_HEADER_BYTES);
        let len = u32::try_from(FRAME_HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
        debug_assert!(len <= self.limits.frame_bytes_max, "a writer made an oversized frame");
        let mut header = FrameHeader {
            len: U32::new(len),
            kind: open.kind as u8,
            flags: if self.checksum { FLAG_CHECKSUM } else { 0 },
            count: U16::new(open.count),
            checksum: U32::ZERO,
        };
        if self.checksum {
            header.checksum = U32::new(checksum_of(&header, body));
        }
        head.copy_from_slice(header.as_bytes());
        self.counts.0 += 1;
        self.counts.1 += u64::from(open.count);
    }

    /// The sealed frames; call [`seal`](Self::seal) first to have all.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        let end = self.open.map_or(self.buffer.len(), |open| open.start);
        &self.buffer[..end]
    }

    /// Forgets everything that was sealed, after it was sent.
    pub fn clear_sealed(&mut self) {
        self.drop_front(self.sealed().len());
    }

    /// Forgets the first `bytes` of what was sealed, after they were sent.
    pub fn drop_front(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.sealed().len(), "only sealed bytes can have been sent");
        self.buffer.drain(..bytes);
        give_back_if_large(&mut self.buffer);
        if let Some(open) = &mut self.open {
            open.start -= bytes;
        }
    }

    /// Hands the sealed bytes over by exchanging the buffer with an empty one.
    ///
    /// # Panics
    /// If a frame is still open or `empty` is not empty: both are mistakes of the caller.
    pub fn swap_sealed(&mut self, empty: &mut Vec<u8>) {
        assert!(self.open.is_none(), "seal before swapping");
        assert!(empty.is_empty(), "the other buffer must be empty");
        give_back_if_large(empty);
        std::mem::swap(&mut self.buffer, empty);
    }
}

/// Frees an empty buffer that was needed for a burst.
#[inline]
fn give_back_if_large(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > BYTES_KEPT {
        *buffer = Vec::new();
    }
}

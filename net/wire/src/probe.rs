//! The messages of `Probe` frames: four readings of two clocks, which bound the delay each way and
//! how far the clocks are apart.

use crate::message::Messages;
use crate::{BatchWriter, Frame, FrameKind, WireError};
use zerocopy::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A probe as it is on the wire.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ProbeBytes {
    id: U32,
    flags: u8,
    reserved: [u8; 3],
    t1: I64,
    t2: I64,
    t3: I64,
    t4: I64,
}
const _: () = assert!(size_of::<ProbeBytes>() == 40);

const REPLY: u8 = 1;
const LATE: u8 = 2;

/// A request for the shard's clock, or the answer to one. All times are nanoseconds; the prober
/// fills in `t4` of an answer when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probe {
    /// Tells the answers apart.
    pub id: u32,
    /// Whether it is an answer.
    pub is_reply: bool,
    /// The prober was late to send it: it measures the prober's delay too. Echoed in the answer.
    pub late: bool,
    /// The prober's clock when the request left.
    pub t1: i64,
    /// The shard's clock when the request was read; zero in a request.
    pub t2: i64,
    /// The shard's clock when the answer was written; zero in a request.
    pub t3: i64,
    /// In a request the prober's clock when the answer before this one came, zero if none did.
    pub t4: i64,
}

impl Probe {
    /// Appends the probe.
    pub fn write(&self, out: &mut BatchWriter) {
        let bytes = ProbeBytes {
            id: U32::new(self.id),
            flags: if self.is_reply { REPLY } else { 0 } | if self.late { LATE } else { 0 },
            reserved: [0; 3],
            t1: I64::new(self.t1),
            t2: I64::new(self.t2),
            t3: I64::new(self.t3),
            t4: I64::new(self.t4),
        };
        out.message(FrameKind::Probe, size_of::<ProbeBytes>(), |buffer| {
            buffer.extend_from_slice(bytes.as_bytes());
        });
    }

    fn from_bytes(bytes: ProbeBytes) -> Result<Self, WireError> {
        if bytes.flags & !(REPLY | LATE) != 0 {
            let value = u64::from(bytes.flags);
            return Err(WireError::UnknownValue { what: "flags of a probe", value });
        }
        Ok(Self {
            id: bytes.id.get(),
            is_reply: bytes.flags & REPLY != 0,
            late: bytes.flags & LATE != 0,
            t1: bytes.t1.get(),
            t2: bytes.t2.get(),
            t3: bytes.t3.get(),
            t4: bytes.t4.get(),
        })
    }
}

/// Reads the probes of a `Probe` frame.
#[derive(Debug, Clone)]
pub struct ProbeReader<'a> {
    messages: Messages<'a>,
}

impl<'a> ProbeReader<'a> {
    /// Reads the probes of `frame`.
    #[must_use]
    pub fn new(frame: &Frame<'a>) -> Self {
        Self { messages: Messages::new(frame) }
    }

    /// The next probe, or `None` after the last.
    ///
    /// # Errors
    /// When a probe is cut short or has unknown flags, or bytes are left over.
    pub fn next_probe(&mut self) -> Result<Option<Probe>, WireError> {
        let bytes: Option<ProbeBytes> = self.messages.next("probe", "the last probe")?;
        bytes.map(Probe::from_bytes).transpose()
    }
}

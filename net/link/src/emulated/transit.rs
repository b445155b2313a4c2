//! What is under way in one direction of an emulated link.

use super::shape::Shaper;
use crate::{Link, LinkError, RING_BUFFERS};
use punctual_wire::FRAME_HEADER_BYTES;
use std::collections::VecDeque;

/// Bytes that may be under way in one direction: a tenth of a second at 5 Gbit/s. With more,
/// nothing is taken from the sender, who is blocked as by any full link.
pub(crate) const TRANSIT_BYTES_MAX: usize = 64 << 20;
/// Batches that may be under way in one direction.
const TRANSIT_BATCHES_MAX: usize = 1 << 16;
/// Batches that are due at the same time count as one up to so many bytes.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Reads of one turn: as many as a ring can hold.
const TAKE_MAX: usize = RING_BUFFERS;
/// Batches that are passed on in one turn.
const DELIVER_MAX: usize = 64;
/// What was passed on is dropped from the buffer when there is so much of it, and not less than
/// what is still under way: so each byte is moved once at most.
const DROP_BYTES_MIN: usize = 1 << 20;
/// An empty buffer that is larger than this gives its memory back.
const BYTES_KEPT: usize = 8 << 20;

/// Frames that arrive together.
#[derive(Debug, Clone, Copy)]
struct Batch {
    due_ns: u64,
    bytes: usize,
}

/// One direction: whole frames go in at one end and come out at the other when they are due.
#[derive(Debug)]
pub(super) struct Transit {
    shaper: Shaper,
    /// The frames under way, back to back, from `start`.
    bytes: Vec<u8>,
    start: usize,
    batches: VecDeque<Batch>,
    /// When the end of the link arrives, if the sender has closed it.
    ends_ns: Option<u64>,
    /// Nobody takes anything any more: it is dropped.
    is_unwanted: bool,
    /// What came last is no frame, and whatever follows means nothing.
    is_broken: bool,
    /// When there was no room here for more: what waited for it counts as sent then.
    full_ns: u64,
    /// Until when the receiver had no room, as far as that was seen: who waited for it is not late
    /// by our doing.
    held_up_ns: u64,
    /// The receiver has not taken everything yet that was passed on.
    is_held_up: bool,
    /// When those were due that are being passed on.
    dues_ns: Vec<u64>,
    pub(super) batches_total: u64,
    pub(super) bytes_total: u64,
}

impl Transit {
    pub(super) fn new(shaper: Shaper) -> Self {
        Self {
            shaper,
            bytes: Vec::new(),
            start: 0,
            batches: VecDeque::new(),
            ends_ns: None,
            is_unwanted: false,
            is_broken: false,
            full_ns: 0,
            held_up_ns: 0,
            is_held_up: false,
            dues_ns: Vec::with_capacity(DELIVER_MAX),
            batches_total: 0,
            bytes_total: 0,
        }
    }

    pub(super) fn packets_lost(&self) -> u64 {
        self.shaper.packets_lost()
    }

    pub(super) fn bytes_under_way(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn is_full(&self) -> bool {
        self.bytes_under_way() >= TRANSIT_BYTES_MAX || self.batches.len() >= TRANSIT_BATCHES_MAX
    }

    /// Whether the sender has closed its end.
    pub(super) fn is_closed(&self) -> bool {
        self.ends_ns.is_some()
    }

    /// The sender has closed its end. That takes as long to arrive as anything else.
    pub(super) fn close(&mut self, now_ns: u64) {
        if self.ends_ns.is_none() {
            self.ends_ns = Some(self.shaper.due_ns(now_ns, 0));
        }
    }

    /// Drops what is under way and whatever will be: the receiver is gone.
    pub(super) fn give_up(&mut self) {
        self.is_unwanted = true;
        self.is_held_up = false;
        self.batches.clear();
        self.bytes = Vec::new();
        self.start = 0;
    }

    /// Takes in what the sender has sent, while there is room. Returns how much was done.
    ///
    /// # Errors
    /// When the sender's link is at its end. Everything before it was taken.
    pub(super) fn take(
        &mut self,
        from: &mut dyn Link,
        frame_bytes_max: u32,
        clock: fn() -> u64,
    ) -> Result<usize, LinkError> {
        let mut work = 0;
        for _ in 0..TAKE_MAX {
            if self.is_closed() {
                break;
            }
            if self.is_full() {
                self.full_ns = clock();
                break;
            }
            let polled = from.poll();
            // After the poll: nothing may count as sent before it was.
            let sent_ns = from.flushed_ns().unwrap_or_else(clock).max(self.full_ns);
            let (bytes, _) = from.parts();
            let taken = self.push(sent_ns, bytes, frame_bytes_max);
            from.consume(taken);
            match polled {
                Ok(0) => break,
                Ok(bytes) => work += bytes,
                Err(error) => {
                    self.close(clock());
                    return Err(error);
                }
            }
        }
        Ok(work)
    }

    /// Puts the whole frames at the start of `bytes` on their way; how many bytes of them are done
    /// with.
    fn push(&mut self, sent_ns: u64, bytes: &[u8], frame_bytes_max: u32) -> usize {
        if self.is_broken || self.is_unwanted {
            return bytes.len();
        }
        let (len, is_sound) = whole_frames(bytes, frame_bytes_max);
        if len > 0 {
            self.append(sent_ns, &bytes[..len]);
        }
        self.is_broken = !is_sound;
        if is_sound { len } else { bytes.len() }
    }

    fn append(&mut self, sent_ns: u64, frames: &[u8]) {
        let due_ns = self.shaper.due_ns(sent_ns, frames.len());
        self.bytes.extend_from_slice(frames);
        self.batches_total += 1;
        self.bytes_total += frames.len() as u64;
        match self.batches.back_mut() {
            Some(last) if last.due_ns == due_ns && last.bytes < BATCH_BYTES_MAX => {
                last.bytes += frames.len();
            }
            _ => self.batches.push_back(Batch { due_ns, bytes: frames.len() }),
        }
    }

    /// Passes on what is due, as far as there is room, and tells how late each batch left. Returns
    /// how much was done.
    ///
    /// # Errors
    /// When the receiver's link is at its end.
    pub(super) fn deliver(
        &mut self,
        to: &mut dyn Link,
        now_ns: u64,
        clock: fn() -> u64,
        on_delivery: &mut dyn FnMut(u64),
    ) -> Result<usize, LinkError> {
        if self.is_unwanted {
            return Ok(0);
        }
        self.dues_ns.clear();
        if self.is_held_up {
            // Nobody looked since: it may have had no room until now.
            self.held_up_ns = now_ns;
        }
        let mut moved = if to.pending() > 0 { to.flush()? } else { 0 };
        while let Some(batch) = self.batches.front().filter(|batch| batch.due_ns <= now_ns) {
            if self.dues_ns.len() == DELIVER_MAX || !to.has_room() {
                break;
            }
            let end = self.start + batch.bytes;
            to.outgoing().append_sealed(&self.bytes[self.start..end]);
            self.start = end;
            self.dues_ns.push(batch.due_ns);
            self.batches.pop_front();
        }
        if !self.dues_ns.is_empty() {
            moved += to.flush()?;
            let left_ns = clock();
            let held_up_ns = self.held_up_ns;
            let free = self.dues_ns.iter().filter(|due_ns| **due_ns > held_up_ns);
            free.for_each(|due_ns| on_delivery(left_ns.saturating_sub(*due_ns)));
            self.drop_delivered();
        }
        self.is_held_up = to.pending() > 0;
        Ok(moved + self.dues_ns.len())
    }

    /// Forgets the bytes that were passed on, now and then.
    fn drop_delivered(&mut self) {
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > BYTES_KEPT {
                self.bytes = Vec::new();
            }
        } else if self.start >= DROP_BYTES_MIN.max(self.bytes_under_way()) {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// When there is something to pass on, or the end; `None` too while the receiver has no room.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        match self.batches.front() {
            Some(_) if self.is_held_up => None,
            Some(batch) => Some(batch.due_ns),
            None => self.ends_ns,
        }
    }

    /// Whether everything has arrived, the end as well. `pending` bytes wait in the receiver's
    /// link.
    pub(super) fn has_ended(&self, now_ns: u64, pending: usize) -> bool {
        let is_over = self.ends_ns.is_some_and(|ends_ns| ends_ns <= now_ns);
        is_over && self.batches.is_empty() && (self.is_unwanted || pending == 0)
    }

    /// Whether the end should have arrived so long ago that nobody waits for it any more.
    pub(super) fn is_stuck(&self, now_ns: u64, patience_ns: u64) -> bool {
        self.ends_ns.is_some_and(|ends_ns| now_ns.saturating_sub(ends_ns) > patience_ns)
    }
}

/// How many bytes the whole frames at the start take, by the lengths that they claim. Where one has
/// a length that no frame has, its head is the last that counts, so that the receiver sees for
/// itself what is wrong, and the second value is false.
fn whole_frames(bytes: &[u8], frame_bytes_max: u32) -> (usize, bool) {
    let mut at = 0;
    while let Some(head) = bytes[at..].first_chunk::<FRAME_HEADER_BYTES>() {
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if len > frame_bytes_max || (len as usize) < FRAME_HEADER_BYTES {
            return (at + FRAME_HEADER_BYTES, false);
        }
        if bytes.len() - at < len as usize {
            break;
        }
        at += len as usize;
    }
    (at, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shape, ring_pair};
    use punctual_wire::Limits;
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        /// The time; each test has a thread of its own.
        static NOW: Cell<u64> = const { Cell::new(1) };
    }

    fn virtual_ns() -> u64 {
        NOW.get()
    }

    #[test]
    fn what_waits_for_room_in_the_network_is_on_its_way_from_when_there_was_some() {
        let (mut near, mut far) = ring_pair(Limits::DEFAULT, 256);
        near.stamp_flushes(virtual_ns);
        let len = u32::try_from(FRAME_HEADER_BYTES).expect("a short header");
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame[..4].copy_from_slice(&len.to_le_bytes());
        near.outgoing().append_sealed(&frame);
        near.flush().expect("an open link");
        let delay = Duration::from_nanos(100);
        let shape = Shape::normal(delay, Duration::ZERO);
        let mut transit = Transit::new(Shaper::new(shape, 2 * delay, 1));
        let mut take_at = |transit: &mut Transit, now_ns| {
            NOW.set(now_ns);
            transit.take(&mut far, len, virtual_ns).expect("an open link")
        };
        transit.bytes = vec![0; TRANSIT_BYTES_MAX];
        assert_eq!(take_at(&mut transit, 50), 0, "it is full");
        transit.bytes.clear();
        assert_eq!(take_at(&mut transit, 60), FRAME_HEADER_BYTES);
        assert_eq!(transit.next_due_ns(), Some(50 + 100));
    }
}

//! What Redis is still to be told of tasks. It is kept until Redis has confirmed it, and a while
//! longer: a server that crashes may forget the last second of what it confirmed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long something is kept after it was confirmed.
const RECENT_TIME: Duration = Duration::from_secs(10);
/// Most that is kept then, and most of its bytes.
const RECENT_MAX: usize = 8192;
const RECENT_BYTES_MAX: usize = 16 << 20;

/// What Redis is told of a task. Each can be told twice without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Finish {
        line: Box<[u8]>,
        value: String,
    },
    Fail {
        line: Box<[u8]>,
        reason: String,
    },
    /// It goes back to the queue.
    GiveBack {
        line: Box<[u8]>,
    },
}

impl Op {
    pub(super) fn line(&self) -> &[u8] {
        let (Self::Finish { line, .. } | Self::Fail { line, .. } | Self::GiveBack { line }) = self;
        line
    }

    fn bytes(&self) -> usize {
        let text = match self {
            Self::Finish { value, .. } => value.len(),
            Self::Fail { reason, .. } => reason.len(),
            Self::GiveBack { .. } => 0,
        };
        self.line().len() + text
    }
}

#[derive(Debug)]
struct Entry {
    /// `None`: the worker said something that Redis need not hear.
    op: Option<Op>,
    /// The number that the worker gave it.
    seq: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Entry>,
    /// How many of them Redis is to hear.
    ops: usize,
    recent: VecDeque<(Instant, Op)>,
    recent_bytes: usize,
    /// The latest number that is done with and that the worker does not know to be.
    acked: Option<u64>,
}

impl Outbox {
    /// Takes in what the worker said, or what the bridge itself wants done.
    pub(super) fn push(&mut self, op: Option<Op>, seq: Option<u64>) {
        self.ops += usize::from(op.is_some());
        self.waiting.push_back(Entry { op, seq });
        self.settle();
    }

    /// How many things Redis is still to be told.
    pub(super) fn len(&self) -> usize {
        self.ops
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops == 0
    }

    /// The first of them: at least one if there is any, and no more than these bounds allow.
    pub(super) fn batch(&self, count_max: usize, bytes_max: usize) -> Vec<&Op> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        for op in self.waiting.iter().filter_map(|entry| entry.op.as_ref()) {
            bytes += op.bytes();
            if batch.len() == count_max || !batch.is_empty() && bytes > bytes_max {
                break;
            }
            batch.push(op);
        }
        batch
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Op> {
        self.waiting.iter().filter_map(|entry| entry.op.as_ref())
    }

    /// Redis has confirmed the first `count`.
    pub(super) fn confirm(&mut self, now: Instant, count: usize) {
        let mut left = count;
        while left > 0 {
            let Some(Entry { op, seq }) = self.waiting.pop_front() else { break };
            self.acked = seq.or(self.acked);
            if let Some(op) = op {
                left -= 1;
                self.ops -= 1;
                self.recent_bytes += op.bytes();
                self.recent.push_back((now, op));
            }
        }
        self.settle();
        self.forget_old(now);
    }

    /// Drops everything: it concerns tasks that are somebody else's now.
    pub(super) fn clear(&mut self) {
        let last = self.waiting.drain(..).filter_map(|entry| entry.seq).next_back();
        self.acked = last.or(self.acked);
        self.ops = 0;
        self.recent.clear();
        self.recent_bytes = 0;
    }

    /// The number up to which the worker may forget what it said, if that is news.
    pub(super) fn take_acked(&mut self) -> Option<u64> {
        self.acked.take()
    }

    /// A new worker counts anew: what was said before it needs no acknowledgement.
    pub(super) fn forget_numbers(&mut self) {
        self.acked = None;
        for entry in &mut self.waiting {
            entry.seq = None;
        }
    }

    /// What was confirmed lately, latest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Op> {
        self.recent.iter().rev().map(|(_, op)| op)
    }

    /// What Redis need not hear is done with as soon as everything before it is.
    fn settle(&mut self) {
        while let Some(Entry { op: None, seq }) = self.waiting.front() {
            self.acked = seq.or(self.acked);
            self.waiting.pop_front();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, op)) = self.recent.front() {
            let is_young = now.saturating_duration_since(*at) < RECENT_TIME;
            let has_room = self.recent.len() <= RECENT_MAX && self.recent_bytes <= RECENT_BYTES_MAX;
            if is_young && has_room {
                break;
            }
            self.recent_bytes -= op.bytes();
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(line: &str) -> Op {
        Op::Finish { line: line.as_bytes().into(), value: "w: \"\"".to_owned() }
    }

    #[test]
    fn numbers_are_acknowledged_in_order_and_only_when_confirmed() {
        let mut outbox = Outbox::default();
        let now = Instant::now();
        outbox.push(None, Some(1));
        assert_eq!(outbox.take_acked(), Some(1), "nothing is before it");
        outbox.push(Some(finish("a")), Some(2));
        outbox.push(None, Some(3));
        outbox.push(Some(finish("b")), Some(4));
        assert_eq!((outbox.take_acked(), outbox.len()), (None, 2));
        outbox.confirm(now, 1);
        assert_eq!(outbox.take_acked(), Some(3));
        outbox.confirm(now, 1);
        assert_eq!((outbox.take_acked(), outbox.take_acked()), (Some(4), None));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_batch_is_bounded_but_never_empty_while_something_waits() {
        let mut outbox = Outbox::default();
        for line in ["a", "b", "c"] {
            outbox.push(Some(finish(line)), None);
        }
        let lines = |batch: Vec<&Op>| batch.len();
        assert_eq!(lines(outbox.batch(2, 1000)), 2);
        assert_eq!(lines(outbox.batch(100, 1)), 1);
        assert_eq!(lines(outbox.batch(100, 1000)), 3);
    }

    #[test]
    fn what_was_confirmed_is_kept_for_a_while() {
        let mut outbox = Outbox::default();
        let start = Instant::now();
        for (line, at) in [("a", start), ("b", start + RECENT_TIME / 2)] {
            outbox.push(Some(finish(line)), None);
            outbox.confirm(at, 1);
        }
        assert_eq!(outbox.recent().map(Op::line).collect::<Vec<_>>(), [b"b", b"a"]);
        outbox.push(Some(finish("c")), None);
        outbox.confirm(start + RECENT_TIME, 1);
        assert_eq!(outbox.recent().map(Op::line).collect::<Vec<_>>(), [b"c", b"b"]);
    }

    #[test]
    fn what_is_dropped_is_acknowledged_all_the_same() {
        let mut outbox = Outbox::default();
        outbox.push(Some(finish("a")), Some(7));
        outbox.push(Some(finish("b")), None);
        outbox.clear();
        assert_eq!((outbox.take_acked(), outbox.is_empty()), (Some(7), true));
        outbox.push(Some(finish("c")), Some(8));
        outbox.forget_numbers();
        outbox.confirm(Instant::now(), 1);
        assert_eq!(outbox.take_acked(), None);
    }
}

//! One emulated link: both directions, and how it ends.

use super::EmulatorCounts;
use super::shape::{NetworkPath, Shaper};
use super::transit::Transit;
use crate::{Link, LinkError, ParkHandle, RingLink};
use std::io;
use std::sync::{Arc, OnceLock};

/// How long the last words of an agent wait for a peer that does not take them.
const LINGER_NS: u64 = 5_000_000_000;

/// Why the carrying link ended, for the agent that uses it.
pub(super) type LastWords = Arc<OnceLock<(io::ErrorKind, String)>>;

/// A link between an agent and its peer, with the network between.
pub(super) struct Lane {
    /// The other end of what the agent has.
    near: RingLink,
    /// The link that carries everything.
    far: Box<dyn Link>,
    there: Transit,
    back: Transit,
    frame_bytes_max: u32,
    last_words: LastWords,
}

impl Lane {
    pub(super) fn new(
        near: RingLink,
        far: Box<dyn Link>,
        frame_bytes_max: u32,
        path: &NetworkPath,
        seed: u64,
        last_words: LastWords,
    ) -> Self {
        let shaper = |shape, seed| Shaper::new(shape, path.round_trip(), seed);
        Self {
            near,
            far,
            there: Transit::new(shaper(path.there, seed)),
            back: Transit::new(shaper(path.back, !seed)),
            frame_bytes_max,
            last_words,
        }
    }

    pub(super) fn register(&mut self, park: &ParkHandle) -> Result<(), LinkError> {
        self.near.register(park)?;
        self.far.register(park)
    }

    /// Takes what was sent and passes on what is due, in both directions. Returns how much was
    /// done.
    pub(super) fn turn(
        &mut self,
        now_ns: u64,
        clock: fn() -> u64,
        on_delivery: &mut dyn FnMut(u64),
    ) -> usize {
        let mut work = 0;
        match self.there.take(&mut self.near, self.frame_bytes_max, clock) {
            Ok(taken) => work += taken,
            Err(_) => {
                // The agent is gone: nobody reads the answers.
                self.back.give_up();
                work += 1;
            }
        }
        work += self.take_back(clock);
        match self.there.deliver(self.far.as_mut(), now_ns, clock, on_delivery) {
            Ok(done) => work += done,
            Err(error) => {
                // What had arrived before the end is still good.
                work += 1 + self.take_back(clock);
                self.lose_far(error, clock());
            }
        }
        match self.back.deliver(&mut self.near, now_ns, clock, on_delivery) {
            Ok(done) => work += done,
            Err(_) => {
                self.back.give_up();
                work += 1;
            }
        }
        work
    }

    fn take_back(&mut self, clock: fn() -> u64) -> usize {
        match self.back.take(self.far.as_mut(), self.frame_bytes_max, clock) {
            Ok(taken) => taken,
            Err(error) => {
                self.lose_far(error, clock());
                1
            }
        }
    }

    /// The carrying link has ended: what came back before still arrives, nothing goes there.
    fn lose_far(&mut self, error: LinkError, now_ns: u64) {
        if let LinkError::Io(error) = error {
            // The first reason is the one that counts.
            let _ = self.last_words.set((error.kind(), error.to_string()));
        }
        self.back.close(now_ns);
        self.there.give_up();
    }

    /// Whether both ends may be dropped: everything has arrived, or there is nobody left.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        (self.there.is_closed() && self.back.is_closed())
            || self.there.has_ended(now_ns, self.far.pending())
            || self.there.is_stuck(now_ns, LINGER_NS)
            || self.back.has_ended(now_ns, self.near.pending())
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        // An end that has come but waits for its link to take the rest is no reason to stay awake.
        let there = self.there.next_due_ns().filter(|_| self.far.pending() == 0);
        let back = self.back.next_due_ns().filter(|_| self.near.pending() == 0);
        there.into_iter().chain(back).min()
    }

    pub(super) fn counts(&self) -> EmulatorCounts {
        EmulatorCounts {
            links: 1,
            batches: self.there.batches_total + self.back.batches_total,
            bytes: self.there.bytes_total + self.back.bytes_total,
            packets_lost: self.there.packets_lost() + self.back.packets_lost(),
            bytes_under_way: self.there.bytes_under_way() + self.back.bytes_under_way(),
        }
    }
}

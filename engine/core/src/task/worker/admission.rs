//! What fits: by what tasks ask for, and by the memory that the machine really has left.

use super::types::{Lease, RunId, TaskWorkerConfig};

/// Admission opens again when a twentieth more memory is free than where it closed, so that it does
/// not flutter.
const REOPEN_PARTS: u64 = 20;

/// What is taken of a worker's capacity.
#[derive(Debug)]
pub(super) struct Admission {
    memory: u64,
    cores_milli: u32,
    accept_free: u64,
    return_free: u64,
    /// Asked for by what runs.
    memory_used: u64,
    cores_used_milli: u32,
    is_open: bool,
    /// Killed to get memory back, and not gone yet.
    killing: Option<RunId>,
}

impl Admission {
    pub(super) fn new(config: &TaskWorkerConfig) -> Self {
        Self {
            memory: config.memory,
            cores_milli: config.cores_milli,
            accept_free: config.accept_free.max(config.return_free),
            return_free: config.return_free,
            memory_used: 0,
            cores_used_milli: 0,
            is_open: true,
            killing: None,
        }
    }

    /// Whether the machine has memory left for new tasks. Until it was measured it has.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a task can ever run here.
    #[inline]
    pub(super) fn could_run(&self, memory: u64, cores_milli: u32) -> bool {
        memory <= self.memory && cores_milli <= self.cores_milli
    }

    /// Whether a lease can run beside what runs now.
    #[inline]
    pub(super) fn fits(&self, lease: &Lease) -> bool {
        lease.memory <= self.memory - self.memory_used
            && lease.cores_milli <= self.cores_milli - self.cores_used_milli
    }

    /// Notes that a lease that fits runs.
    #[inline]
    pub(super) fn begin(&mut self, lease: &Lease) {
        debug_assert!(self.fits(lease), "only what fits starts");
        self.memory_used += lease.memory;
        self.cores_used_milli += lease.cores_milli;
    }

    /// Notes that it runs no more.
    #[inline]
    pub(super) fn end(&mut self, lease: &Lease) {
        self.memory_used -= lease.memory;
        self.cores_used_milli -= lease.cores_milli;
        if self.killing == Some(lease.run) {
            self.killing = None;
        }
    }

    /// Takes other thresholds, and compares them with what was free the last time, if that is
    /// known. Returns whether that closed admission.
    pub(super) fn set_thresholds(
        &mut self,
        accept_free: u64,
        return_free: u64,
        memory_free: Option<u64>,
    ) -> bool {
        (self.accept_free, self.return_free) = (accept_free.max(return_free), return_free);
        let was_open = self.is_open;
        // What closed it was another threshold, so nothing flutters.
        self.is_open = memory_free.is_none_or(|free| free >= self.accept_free);
        was_open && !self.is_open
    }

    /// Takes a measurement of free memory. Returns whether it closed admission.
    pub(super) fn on_usage(&mut self, memory_free: u64) -> bool {
        let was_open = self.is_open;
        let reopen = self.accept_free.saturating_add(self.accept_free / REOPEN_PARTS);
        self.is_open = match was_open {
            true => memory_free >= self.accept_free,
            false => memory_free > reopen,
        };
        was_open && !self.is_open
    }

    /// Whether something is to be killed. One at a time: not before the last one is gone, and the
    /// memory without it was measured.
    pub(super) fn wants_memory(&self, memory_free: u64) -> bool {
        memory_free < self.return_free && self.killing.is_none()
    }

    /// Notes what was killed.
    pub(super) fn killing(&mut self, run: RunId) {
        self.killing = Some(run);
    }
}

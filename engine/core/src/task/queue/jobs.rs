//! The jobs of a queue, by number and by name.
//!
//! Where a server has several queues, the first one numbers jobs, and a job has the same number at
//! each. So at the others there are gaps: numbers of jobs that were never opened there.

use crate::Nanos;
use punctual_wire::task::{JobId, StateCounts};
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) name: Box<[u8]>,
    pub(super) opened_at: i64,
    pub(super) counts: StateCounts,
    /// Counts its changes.
    pub(super) version: u64,
}

/// All jobs. They stay for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Jobs {
    /// The last one is no gap.
    by_number: Vec<Option<Job>>,
    by_name: BTreeMap<Box<[u8]>, JobId>,
}

impl Jobs {
    #[inline]
    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.by_number.get(id.0 as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.by_number.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<JobId> {
        self.by_name.get(name).copied()
    }

    /// The lowest number beyond all that are taken.
    pub(super) fn next_id(&self) -> JobId {
        JobId(u32::try_from(self.by_number.len()).expect("jobs are bounded"))
    }

    /// Puts a job at a number. Neither number nor name are another one's.
    pub(super) fn open(&mut self, id: JobId, name: &[u8], at: Nanos) {
        let number = id.0 as usize;
        if self.by_number.len() <= number {
            self.by_number.resize_with(number + 1, || None);
        }
        let (opened_at, counts) = (at.0, StateCounts::default());
        self.by_number[number] = Some(Job { name: name.into(), opened_at, counts, version: 1 });
        self.by_name.insert(name.into(), id);
    }

    /// All of them, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        let numbers = (0_u32..).map(JobId);
        numbers.zip(&self.by_number).filter_map(|(id, job)| Some((id, job.as_ref()?)))
    }
}

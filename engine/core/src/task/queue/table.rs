//! The tasks of a queue: pages by sequence, and an index by key.

use super::classes::ClassId;
use hashbrown::HashTable;
use punctual_wire::task::{Attempt, EndKind, JobId, TaskEnd, TaskKey, TaskState};

/// Tasks of a page. A page without tasks gives its memory back.
const PAGE_TASKS: usize = 512;
/// No task, no worker.
pub(super) const NONE: u64 = 0;
pub(super) const NOBODY: u32 = u32::MAX;
/// What a task takes beside what varies in length: itself, its place in the index and in a queue,
/// and what the allocator adds.
const TASK_BYTES: u64 = (size_of::<Option<Task>>() + 48) as u64;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) kind: EndKind,
    pub(super) code: i32,
    pub(super) waited_ns: u64,
    pub(super) ran_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) memory: u64,
    pub(super) stdout_bytes: u64,
    pub(super) stderr_bytes: u64,
    pub(super) stdout: Box<[u8]>,
    pub(super) stderr: Box<[u8]>,
}

impl Ended {
    pub(super) fn of(end: &TaskEnd<'_>) -> Self {
        Self {
            kind: end.kind,
            code: end.code,
            waited_ns: end.waited_ns,
            ran_ns: end.ran_ns,
            cpu_ns: end.cpu_ns,
            memory: end.memory,
            stdout_bytes: end.stdout.bytes,
            stderr_bytes: end.stderr.bytes,
            stdout: end.stdout.tail.into(),
            stderr: end.stderr.tail.into(),
        }
    }
}

/// What few tasks have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ties {
    /// What it comes after.
    pub(super) after: Vec<u64>,
    /// What comes after it, and some that did and were removed; ascending.
    pub(super) before: Vec<u64>,
    /// Names of workers on which it failed.
    pub(super) failed_on: Vec<u32>,
    /// While it is blocked: one of `after` that is not done.
    pub(super) watched: u64,
    /// It was cancelled because this one cannot succeed.
    pub(super) cause: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) key: TaskKey,
    pub(super) payload: Box<[u8]>,
    pub(super) end: Option<Box<Ended>>,
    pub(super) ties: Option<Box<Ties>>,
    pub(super) timeout_ms: u64,
    pub(super) submitted_at: i64,
    /// Since when it could be had, the last time. Not durable.
    pub(super) ready_at: i64,
    pub(super) leased_at: i64,
    /// When it ended, or, while it is delayed, when it is tried again.
    pub(super) turned_at: i64,
    /// Neighbours in the list of its worker's leases.
    pub(super) prev: u64,
    pub(super) next: u64,
    pub(super) job: JobId,
    pub(super) class: ClassId,
    pub(super) priority: i32,
    pub(super) attempt: Attempt,
    /// Its latest place in a queue: entries with another one are stale.
    pub(super) ticket: u32,
    /// Who has it.
    pub(super) worker: u32,
    /// The name of who has it or had it last.
    pub(super) worker_name: u32,
    pub(super) failures: u16,
    pub(super) attempts_max: u16,
    pub(super) losses: u16,
    pub(super) state: TaskState,
    /// It waits at its worker.
    pub(super) is_ahead: bool,
    /// It was asked back.
    pub(super) is_recalled: bool,
    /// It is in the list of those whose output is kept.
    pub(super) is_listed: bool,
}

impl Task {
    /// What it counts for against the bound of memory.
    pub(super) fn bytes(&self) -> u64 {
        let ties = self.ties.as_ref().map_or(0, |ties| {
            size_of::<Ties>() + 8 * (ties.after.capacity() + ties.before.capacity()) + 32
        });
        TASK_BYTES + (self.payload.len() + ties) as u64 + self.end_bytes()
    }

    pub(super) fn end_bytes(&self) -> u64 {
        self.end.as_ref().map_or(0, |_| size_of::<Ended>() as u64 + 16) + self.output_bytes()
    }

    pub(super) fn output_bytes(&self) -> u64 {
        self.end.as_ref().map_or(0, |end| (end.stdout.len() + end.stderr.len()) as u64)
    }

    pub(super) fn ties_mut(&mut self) -> &mut Ties {
        self.ties.get_or_insert_with(Box::default)
    }

    pub(super) fn after(&self) -> &[u64] {
        self.ties.as_ref().map_or(&[], |ties| &ties.after)
    }

    pub(super) fn before(&self) -> &[u64] {
        self.ties.as_ref().map_or(&[], |ties| &ties.before)
    }

    pub(super) fn failed_on(&self) -> &[u32] {
        self.ties.as_ref().map_or(&[], |ties| &ties.failed_on)
    }
}

#[derive(Debug, Clone)]
struct Page {
    tasks: Vec<Option<Task>>,
    live: usize,
}

/// All tasks. Sequences count from 1 and are never used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pages: Vec<Option<Box<Page>>>,
    by_key: HashTable<u64>,
    last: u64,
    live: usize,
}

fn split(sequence: u64) -> (usize, usize) {
    let at = usize::try_from(sequence).unwrap_or(usize::MAX);
    (at / PAGE_TASKS, at % PAGE_TASKS)
}

/// The key is a hash already; the job spreads equal keys of different jobs.
#[expect(clippy::cast_possible_truncation, reason = "any 64 bits of it do")]
fn hash(job: JobId, key: TaskKey) -> u64 {
    (key.0 as u64) ^ u64::from(job.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Table {
    /// The latest sequence that was given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Goes on behind `last`.
    pub(super) fn set_last(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    #[inline]
    pub(super) fn get(&self, sequence: u64) -> Option<&Task> {
        let (page, at) = split(sequence);
        self.pages.get(page)?.as_ref()?.tasks.get(at)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Task> {
        let (page, at) = split(sequence);
        self.pages.get_mut(page)?.as_mut()?.tasks.get_mut(at)?.as_mut()
    }

    pub(super) fn find(&self, job: JobId, key: TaskKey) -> Option<u64> {
        let is_it = |sequence: &u64| {
            self.get(*sequence).is_some_and(|task| task.key == key && task.job == job)
        };
        self.by_key.find(hash(job, key), is_it).copied()
    }

    /// Puts a task at a sequence beyond all others, or, in a snapshot, where it was.
    pub(super) fn insert(&mut self, sequence: u64, task: Task) {
        let (page_at, at) = split(sequence);
        let (job, key) = (task.job, task.key);
        if self.pages.len() <= page_at {
            self.pages.resize_with(page_at + 1, || None);
        }
        let page = self.pages[page_at].get_or_insert_with(|| {
            Box::new(Page { tasks: Vec::with_capacity(PAGE_TASKS), live: 0 })
        });
        if page.tasks.len() <= at {
            page.tasks.resize_with(at + 1, || None);
        }
        page.tasks[at] = Some(task);
        page.live += 1;
        self.live += 1;
        self.last = self.last.max(sequence);
        let Self { pages, by_key, .. } = self;
        by_key.insert_unique(hash(job, key), sequence, |other| {
            let (page, at) = split(*other);
            let task = pages[page].as_ref().and_then(|page| page.tasks[at].as_ref());
            task.map_or(0, |task| hash(task.job, task.key))
        });
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Task> {
        let (page_at, at) = split(sequence);
        let (job, key) = self.get(sequence).map(|task| (task.job, task.key))?;
        if let Ok(entry) = self.by_key.find_entry(hash(job, key), |other| *other == sequence) {
            entry.remove();
        }
        let page = self.pages[page_at].as_mut()?;
        let task = page.tasks[at].take();
        page.live -= 1;
        self.live -= 1;
        // The last page is about to be filled; others may have come from a snapshot with gaps.
        if page.live == 0 && (page.tasks.len() == PAGE_TASKS || page_at < split(self.last).0) {
            self.pages[page_at] = None;
        }
        task
    }

    /// The first task at or behind a sequence, having looked at up to `looks` places; where to go
    /// on from if there is none among those; nothing behind the last.
    pub(super) fn next_from(&self, from: u64, looks: &mut usize) -> Result<Option<u64>, u64> {
        let mut sequence = from.max(1);
        while sequence <= self.last {
            if *looks == 0 {
                return Err(sequence);
            }
            *looks -= 1;
            let (page, at) = split(sequence);
            match self.pages.get(page).and_then(Option::as_ref) {
                None => sequence = (page as u64 + 1) * PAGE_TASKS as u64,
                Some(page) if page.tasks.get(at).is_some_and(Option::is_some) => {
                    return Ok(Some(sequence));
                }
                Some(_) => sequence += 1,
            }
        }
        Ok(None)
    }

    /// All tasks, in the order of their sequences.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Task)> {
        self.pages.iter().enumerate().flat_map(|(page_at, page)| {
            let tasks = page.as_ref().map_or(&[][..], |page| &page.tasks[..]);
            tasks.iter().enumerate().filter_map(move |(at, task)| {
                Some(((page_at * PAGE_TASKS + at) as u64, task.as_ref()?))
            })
        })
    }
}

//! Tasks that can be had, in the order in which they are given out.
//!
//! Tasks with the same request for memory and cores form a class. Within a class the order is by
//! priority, then by arrival; whoever picks compares the heads of the classes that fit. So a pick
//! costs as much as there are classes, however many tasks wait.

use crate::task::OVERTAKEN_MAX;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// Kinds of requests that are told apart; beyond that they are rounded up to powers of two.
const CLASSES_MAX: usize = 1024;
/// Entries that may be stale in a class beside as many as are not.
const STALE_MAX: usize = 4096;
/// Tasks that failed before are looked at up to so many for each pick.
const RETRIES_LOOKED_AT: usize = 32;

/// An index into the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct ClassId(pub(super) u32);

/// A place in a queue: the task, and its ticket when it was put there.
pub(super) type Entry = (u64, u32);

#[derive(Debug, Clone, Default)]
pub(super) struct Class {
    pub(super) memory: u64,
    pub(super) cores_milli: u32,
    lanes: BTreeMap<Reverse<i32>, VecDeque<Entry>>,
    /// Tasks that failed somewhere: not everybody may have them.
    retries: VecDeque<(i32, Entry)>,
    /// Entries that are not stale.
    live: usize,
    /// All of them.
    entries: usize,
    /// Its first task when others overtook it last, and how often that was.
    overtaken: (Entry, u32),
}

/// All classes.
#[derive(Debug, Clone, Default)]
pub(super) struct Classes {
    classes: Vec<Class>,
    by_request: BTreeMap<(u64, u32), ClassId>,
    /// Those that have tasks.
    live: Vec<ClassId>,
    /// Tasks in all of them.
    len: usize,
    /// Counts the tasks that were put in, and what else may let somebody have one.
    version: u64,
}

/// What a pick found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) sequence: u64,
    pub(super) class: ClassId,
    pub(super) priority: i32,
    pub(super) ticket: u32,
    is_retry: bool,
    /// Tasks of other classes were passed over: they did not fit.
    pub(super) has_passed: bool,
}

impl Pick {
    fn new((sequence, ticket): Entry, class: ClassId, priority: i32, is_retry: bool) -> Self {
        Self { sequence, class, priority, ticket, is_retry, has_passed: false }
    }

    /// What comes first is less.
    #[inline]
    pub(super) fn order(&self) -> (Reverse<i32>, u64) {
        (Reverse(self.priority), self.sequence)
    }
}

impl Classes {
    /// The class of a request.
    pub(super) fn class_of(&mut self, memory: u64, cores_milli: u32) -> ClassId {
        let mut request = (memory, cores_milli);
        if self.classes.len() >= CLASSES_MAX && !self.by_request.contains_key(&request) {
            let round = memory.checked_next_power_of_two().unwrap_or(u64::MAX);
            request = (round, cores_milli.checked_next_power_of_two().unwrap_or(u32::MAX));
        }
        *self.by_request.entry(request).or_insert_with(|| {
            let (memory, cores_milli) = request;
            self.classes.push(Class { memory, cores_milli, ..Class::default() });
            ClassId(u32::try_from(self.classes.len() - 1).expect("classes are bounded"))
        })
    }

    #[inline]
    pub(super) fn get(&self, id: ClassId) -> &Class {
        &self.classes[id.0 as usize]
    }

    /// Tasks that can be had.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Another one whenever somebody who found nothing may find something.
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Notes that other workers are there, or that they offer something else: a task that only
    /// others were to have may now be had.
    pub(super) fn note_crew(&mut self) {
        self.version += 1;
    }

    /// Puts a task in: behind its equals, or before them if it was there before.
    pub(super) fn put(&mut self, id: ClassId, priority: i32, entry: Entry, at: Place) {
        let class = &mut self.classes[id.0 as usize];
        match at {
            Place::Retry => class.retries.push_back((priority, entry)),
            Place::Back => class.lanes.entry(Reverse(priority)).or_default().push_back(entry),
            Place::Front => class.lanes.entry(Reverse(priority)).or_default().push_front(entry),
        }
        class.entries += 1;
        class.live += 1;
        if class.live == 1 {
            self.live.push(id);
        }
        self.len += 1;
        self.version += 1;
    }

    /// Notes that a task is not to be had any more; its entry has become stale.
    pub(super) fn drop_one(&mut self, id: ClassId, is_current: impl Fn(Entry) -> bool) {
        let class = &mut self.classes[id.0 as usize];
        class.live -= 1;
        self.len -= 1;
        // Those behind it move up to where they are looked at.
        self.version += u64::from(!class.retries.is_empty());
        if class.live == 0 {
            class.lanes.clear();
            class.retries.clear();
            class.entries = 0;
            self.live.retain(|other| *other != id);
        } else if class.entries > 2 * class.live + STALE_MAX {
            for lane in class.lanes.values_mut() {
                lane.retain(|entry| is_current(*entry));
            }
            class.lanes.retain(|_, lane| !lane.is_empty());
            class.retries.retain(|(_, entry)| is_current(*entry));
            class.entries = class.live;
        }
    }

    /// The task that comes first among the classes that `fits` lets through, of their first ones
    /// that `is_let` does and, of those that failed before, `may_have`. It stays where it is.
    pub(super) fn pick(
        &mut self,
        fits: impl Fn(&Class) -> bool,
        is_let: impl Fn(&Pick) -> bool,
        is_current: impl Fn(Entry) -> bool,
        may_have: impl Fn(&Class, u64) -> bool,
    ) -> Option<Pick> {
        let mut best: Option<Pick> = None;
        let mut has_passed = false;
        let Self { classes, live, .. } = self;
        for id in live.iter() {
            let class = &mut classes[id.0 as usize];
            if !fits(class) {
                has_passed = true;
                continue;
            }
            let found = class.first(*id, &is_current, &may_have);
            if let Some(found) = found
                && is_let(&found)
                && best.as_ref().is_none_or(|best| found.order() < best.order())
            {
                best = Some(found);
            }
        }
        best.map(|best| Pick { has_passed, ..best })
    }

    /// Counts for the first task of each class that a picked one has overtaken it: if that comes
    /// after it, `has_no_room` says that it did not fit, and `may_have` that it might have been had
    /// there. Returns those that were overtaken too often, and how often.
    pub(super) fn note_overtaken(
        &mut self,
        pick: &Pick,
        has_no_room: impl Fn(&Class) -> bool,
        is_current: impl Fn(Entry) -> bool,
        may_have: impl Fn(&Class, u64) -> bool,
    ) -> Vec<(Pick, u32)> {
        let mut overdue = Vec::new();
        let Self { classes, live, .. } = self;
        for id in live.iter() {
            let class = &mut classes[id.0 as usize];
            if *id == pick.class || !has_no_room(class) {
                continue;
            }
            // Whoever may have it: one count a class is enough if it is of the same task for all.
            let Some(first) = class.first(*id, &is_current, &|_: &Class, _: u64| true) else {
                continue;
            };
            if first.order() > pick.order() || !may_have(class, first.sequence) {
                continue;
            }
            let times = class.note_overtaken(&first);
            if times >= OVERTAKEN_MAX {
                overdue.push((first, times));
            }
        }
        overdue
    }

    /// Takes a picked task's entry out; [`drop_one`](Self::drop_one) is still to be called.
    pub(super) fn take(&mut self, pick: &Pick) {
        let class = &mut self.classes[pick.class.0 as usize];
        class.entries -= 1;
        if pick.is_retry {
            let at = class.retries.iter().position(|(_, entry)| entry.0 == pick.sequence);
            class.retries.remove(at.expect("it was just found there"));
            return;
        }
        let lane = class.lanes.get_mut(&Reverse(pick.priority));
        let lane = lane.expect("it was just found there");
        lane.pop_front();
        if lane.is_empty() {
            class.lanes.remove(&Reverse(pick.priority));
        }
    }

    /// No task that can be had has a higher priority, of those that are looked at.
    pub(super) fn top_priority(&self) -> Option<i32> {
        let classes = self.live.iter().map(|id| self.get(*id));
        let tops = classes.map(|class| {
            let lane = class.lanes.keys().next().map(|priority| priority.0);
            let retries = class.retries.iter().take(RETRIES_LOOKED_AT);
            lane.max(retries.map(|(priority, _)| *priority).max())
        });
        tops.max().flatten()
    }
}

/// Where in its class a task is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Back,
    Front,
    Retry,
}

impl Class {
    /// Its first task was overtaken once more. Returns how often that was.
    fn note_overtaken(&mut self, first: &Pick) -> u32 {
        let entry = (first.sequence, first.ticket);
        let (counted, times) = self.overtaken;
        let times = if counted == entry { times.saturating_add(1) } else { 1 };
        self.overtaken = (entry, times);
        times
    }

    /// The first of its tasks that may be had, dropping stale entries on the way.
    fn first(
        &mut self,
        id: ClassId,
        is_current: &impl Fn(Entry) -> bool,
        may_have: &impl Fn(&Class, u64) -> bool,
    ) -> Option<Pick> {
        let mut head = None;
        while let Some(mut lane) = self.lanes.first_entry() {
            let priority = lane.key().0;
            let queue = lane.get_mut();
            while let Some(entry) = queue.front()
                && !is_current(*entry)
            {
                queue.pop_front();
                self.entries -= 1;
            }
            if let Some(entry) = queue.front() {
                head = Some(Pick::new(*entry, id, priority, false));
                break;
            }
            lane.remove();
        }
        if self.retries.is_empty() {
            return head;
        }
        while let Some((_, entry)) = self.retries.front()
            && !is_current(*entry)
        {
            self.retries.pop_front();
            self.entries -= 1;
        }
        let retries = self.retries.iter().take(RETRIES_LOOKED_AT);
        let mine = retries.filter(|(_, entry)| is_current(*entry) && may_have(self, entry.0));
        let best = mine.min_by_key(|(priority, entry)| (Reverse(*priority), entry.0));
        match (head, best) {
            (Some(head), Some((priority, _))) if head.priority > *priority => Some(head),
            (_, Some((priority, entry))) => Some(Pick::new(*entry, id, *priority, true)),
            (head, None) => head,
        }
    }
}

/// A class as a test sees it.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shelf {
    /// By priority, the highest first.
    pub(super) lanes: Vec<(i32, Vec<Entry>)>,
    pub(super) retries: Vec<(i32, Entry)>,
    pub(super) live: usize,
    pub(super) entries: usize,
    pub(super) is_listed: bool,
}

#[cfg(test)]
impl Classes {
    /// All classes, by their ids.
    pub(super) fn shelves(&self) -> Vec<Shelf> {
        let shelf = |(id, class): (u32, &Class)| Shelf {
            lanes: class
                .lanes
                .iter()
                .map(|(at, it)| (at.0, it.iter().copied().collect()))
                .collect(),
            retries: class.retries.iter().copied().collect(),
            live: class.live,
            entries: class.entries,
            is_listed: self.live.contains(&ClassId(id)),
        };
        (0..).zip(&self.classes).map(shelf).collect()
    }
}

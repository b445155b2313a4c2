//! The order in which tasks are handed on: that of the file, except that a task waits for those of
//! the file that it comes after. A queue that gets them so knows each before it is named.
//!
//! A task waits for every id that has not come yet. Only the end of the file tells which of these
//! are not in it at all; they may be in the job already, so the tasks are handed on then.

use crate::draft::{TaskDraft, key_of};
use crate::error::TaskFileError;
use punctual_wire::task::TaskKey;
use std::collections::{HashMap, VecDeque};

/// A task that waits for others.
struct Held {
    draft: TaskDraft,
    /// How many of those that it comes after have not been handed on.
    open: usize,
}

/// Puts tasks into order while they are read.
#[derive(Default)]
pub(crate) struct Sequencer {
    /// To be handed on.
    ready: VecDeque<TaskDraft>,
    /// In the order of the file; `None`: was handed on.
    held: Vec<Option<Held>>,
    /// Where in `held` a task is that is still there.
    index: HashMap<TaskKey, usize>,
    /// Who waits for a task: places in `held`.
    waiters: HashMap<TaskKey, Vec<usize>>,
}

/// Ids that tasks come after although the file does not have them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strangers {
    pub(crate) count: u64,
    /// The line of the first task with one, and the id.
    pub(crate) first: Option<(usize, String)>,
}

impl Sequencer {
    pub(crate) fn pop(&mut self) -> Option<TaskDraft> {
        self.ready.pop_front()
    }

    /// Takes the next task of the file. `is_known` tells whether there was one with this key, be it
    /// this one.
    pub(crate) fn push(&mut self, draft: TaskDraft, is_known: impl Fn(TaskKey) -> bool) {
        let mut waits = Vec::new();
        if !draft.after.is_empty() {
            waits = draft.after_keys();
            waits
                .retain(|key| *key == draft.key || self.index.contains_key(key) || !is_known(*key));
        }
        if waits.is_empty() {
            self.hand_on(draft);
            return;
        }
        let at = self.held.len();
        for key in &waits {
            self.waiters.entry(*key).or_default().push(at);
        }
        self.index.insert(draft.key, at);
        self.held.push(Some(Held { draft, open: waits.len() }));
    }

    /// The file has ended: lets go whoever waits for nothing that is in it.
    ///
    /// # Errors
    /// If tasks are left that wait for each other.
    pub(crate) fn finish(&mut self) -> Result<Strangers, TaskFileError> {
        let mut strangers = Strangers::default();
        for held in self.held.iter_mut().flatten() {
            held.open = 0;
            for (id, key) in held.draft.after.iter().zip(held.draft.after_keys()) {
                if self.index.contains_key(&key) {
                    held.open += 1;
                } else if self.waiters.contains_key(&key) {
                    // Waited for to the end, and not here.
                    strangers.count += 1;
                    strangers.first.get_or_insert_with(|| (held.draft.line, id.clone()));
                }
            }
        }
        self.waiters.retain(|key, _| self.index.contains_key(key));
        for at in 0..self.held.len() {
            if let Some(held) = self.held[at].take_if(|held| held.open == 0) {
                self.index.remove(&held.draft.key);
                self.hand_on(held.draft);
            }
        }
        if self.index.is_empty() { Ok(strangers) } else { Err(self.cycle()) }
    }

    /// Hands a task on, and all that waited for it alone.
    fn hand_on(&mut self, draft: TaskDraft) {
        let key = draft.key;
        self.ready.push_back(draft);
        if self.waiters.is_empty() {
            return;
        }
        let mut keys = VecDeque::from([key]);
        while let Some(key) = keys.pop_front() {
            for at in self.waiters.remove(&key).unwrap_or_default() {
                let Some(held) = &mut self.held[at] else { continue };
                held.open -= 1;
                if held.open > 0 {
                    continue;
                }
                if let Some(held) = self.held[at].take() {
                    self.index.remove(&held.draft.key);
                    keys.push_back(held.draft.key);
                    self.ready.push_back(held.draft);
                }
            }
        }
    }

    /// Some tasks that wait for each other: whoever is left waits for another one that is left.
    fn cycle(&self) -> TaskFileError {
        let mut ids: Vec<String> = Vec::new();
        let mut seen = HashMap::new();
        let mut next = self.held.iter().position(Option::is_some);
        while let Some(at) = next {
            if let Some(start) = seen.insert(at, ids.len()) {
                ids.drain(..start);
                break;
            }
            let after = self.held[at].iter().flat_map(|held| &held.draft.after);
            next = None;
            for id in after {
                next = self.index.get(&key_of(id.as_bytes())).copied();
                if next.is_some() {
                    ids.push(id.clone());
                    break;
                }
            }
        }
        TaskFileError::Cycle { ids }
    }
}

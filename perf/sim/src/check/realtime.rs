//! Strict serializability: who was answered before another was submitted comes before it.
//!
//! The commit times alone do not have to follow real time: two transactions that nobody could see
//! in one order may have them the other way round. So the check is on a graph. Whoever met at a key
//! is ordered there as the shard ran them; an answered transaction is before all that were
//! submitted later; and this must not go in a circle (Adya 1999, "Weak consistency", with real time
//! added as in Elle, Kingsbury and Alvaro 2020). The orders by real time are far too many to be
//! listed, so there is a node for each answer, in a chain in the order of time: a transaction
//! points to its answer, and the last answer before its submission points to it.

use super::survey::Survey;
use crate::history::{History, Txn};
use crate::violation::{Findings, ViolationKind};

/// Nobody.
const NONE: u32 = u32::MAX;

/// Looks for a circle.
pub(super) fn check(history: &History, survey: &Survey, findings: &mut Findings) {
    let mut graph = Graph::new(history.txns.len());
    for (life, placed) in survey.placed.iter().enumerate() {
        let mut touched = vec![Touched::default(); history.keys.len()];
        let shard = history.incarnations[life].shard;
        for execution in placed {
            let txn = &history.txns[execution.txn as usize];
            // What an aborted call wrote nobody saw; it did see what was there.
            let aborted = execution.run.is_some_and(|run| txn.runs[run].aborted);
            for step in txn.steps_on(&history.keys, shard) {
                let writes = step.action.is_write() && !aborted;
                touched[step.key as usize].touch(execution.txn, writes, &mut graph);
            }
        }
    }
    graph.add_real_time(history, survey);
    let Some(circle) = graph.circle() else { return };
    let mut text = String::from("the order goes in a circle: ");
    let count = history.txns.len() as u32;
    let mut told = Vec::new();
    for node in circle {
        if node < count {
            text.push_str(&format!("T{node}, then "));
            told.push(node);
        } else if !text.ends_with("(in real time) ") {
            text.push_str("(in real time) ");
        }
    }
    text.push_str("the first again");
    findings.add(ViolationKind::RealTime, &told, text);
}

/// Who has touched a key.
#[derive(Debug, Clone)]
struct Touched {
    last_writer: u32,
    /// Who has read what that one wrote.
    readers: Vec<u32>,
}

impl Default for Touched {
    fn default() -> Self {
        Self { last_writer: NONE, readers: Vec::new() }
    }
}

impl Touched {
    fn touch(&mut self, txn: u32, writes: bool, graph: &mut Graph) {
        graph.add(self.last_writer, txn);
        if writes {
            for reader in self.readers.drain(..) {
                graph.add(reader, txn);
            }
            self.last_writer = txn;
        } else {
            self.readers.push(txn);
        }
    }
}

/// Transactions, then answers; and which of them comes before which.
#[derive(Debug)]
struct Graph {
    next: Vec<Vec<u32>>,
}

impl Graph {
    fn new(nodes: usize) -> Self {
        Self { next: vec![Vec::new(); nodes] }
    }

    fn add(&mut self, before: u32, after: u32) {
        if before != NONE && before != after {
            self.next[before as usize].push(after);
        }
    }

    fn add_real_time(&mut self, history: &History, survey: &Survey) {
        let placed = survey.placed.iter().flatten();
        let mut ran = vec![false; history.txns.len()];
        for execution in placed {
            ran[execution.txn as usize] = true;
        }
        let mut answers: Vec<(i64, u32)> = Vec::new();
        for (txn, at) in history.txns.iter().zip(0_u32..) {
            if let Txn { end: Some(end), .. } = txn
                && txn.commit().is_some()
                && ran[at as usize]
            {
                answers.push((end.at, at));
            }
        }
        answers.sort_unstable();
        let first = self.next.len() as u32;
        self.next.resize(self.next.len() + answers.len(), Vec::new());
        for ((_, txn), answer) in answers.iter().zip(first..) {
            self.add(*txn, answer);
            if answer > first {
                self.add(answer - 1, answer);
            }
        }
        for (txn, at) in history.txns.iter().zip(0_u32..) {
            let before = answers.partition_point(|(answered, _)| *answered < txn.invoked_at);
            if before > 0 && ran[at as usize] {
                self.add(first + before as u32 - 1, at);
            }
        }
    }

    /// Some circle, if there is one: takes away whoever nobody comes before, until nothing or only
    /// circles and what follows them is left (Kahn 1962).
    fn circle(&self) -> Option<Vec<u32>> {
        let mut before = vec![0_u32; self.next.len()];
        for after in self.next.iter().flatten() {
            before[*after as usize] += 1;
        }
        let nodes = 0..self.next.len() as u32;
        let mut free: Vec<u32> = nodes.clone().filter(|at| before[*at as usize] == 0).collect();
        while let Some(at) = free.pop() {
            for after in &self.next[at as usize] {
                before[*after as usize] -= 1;
                if before[*after as usize] == 0 {
                    free.push(*after);
                }
            }
        }
        let is_left = |at: u32| before[at as usize] > 0;
        let start = nodes.clone().find(|at| is_left(*at))?;
        // Each node that is left has one before it that is left, so going back leads into a circle.
        let mut previous = vec![NONE; self.next.len()];
        for at in nodes.filter(|at| is_left(*at)) {
            for after in &self.next[at as usize] {
                previous[*after as usize] = at;
            }
        }
        let mut seen = vec![false; self.next.len()];
        let mut at = start;
        while !std::mem::replace(&mut seen[at as usize], true) {
            at = previous[at as usize];
        }
        let mut circle = vec![at];
        let mut back = previous[at as usize];
        while back != at {
            circle.push(back);
            back = previous[back as usize];
        }
        circle.reverse();
        Some(circle)
    }
}

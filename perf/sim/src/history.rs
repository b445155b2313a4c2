//! What happened: every transaction, how it ended, and what the shards said that they ran.
//!
//! A shard answers for whatever it runs, so the replies that leave it are a log of what it ran and
//! when, also of transactions whose coordinator never hears of it. The log is read at the shard,
//! before the network can touch it. It has gaps where a coordinator used a slot again before the
//! shard ran what the slot held before; the marks that transactions leave in the store fill them.

use crate::keys::Keyspace;
use crate::violation::{Findings, ViolationKind};
use punctual_core::{Nanos, SessionId, Shard, UnknownReason};
use punctual_wire::{
    FrameReader, Limits, RefusedReason, Reply, ReplyReader, ReplyStatus, TxnId, TxnSequence,
};
use std::collections::HashMap;
use std::fmt::Write as _;

/// One operation on one of the keys. Numbers are written as eight bytes, elements of lists as four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Get,
    Put(i64),
    Add(i64),
    Append(u32),
    Delete,
    CompareAndSet { expected: Option<i64>, value: i64 },
}

impl Action {
    pub(crate) fn is_write(self) -> bool {
        self != Self::Get
    }
}

/// An operation of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) key: u32,
    pub(crate) action: Action,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Part of the workload.
    Work,
    /// Reads all accounts, which must add up to zero.
    Audit,
    /// Reads what is there in the end.
    Final,
}

/// How its operations reach the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As operations.
    Ops,
    /// As a call of a procedure on each shard, which runs them and may then take them back.
    Call { aborts: bool },
}

/// How a transaction ended, as its coordinator said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Committed(Nanos),
    Aborted(Nanos),
    Refused(RefusedReason),
    Unknown(UnknownReason),
    /// The coordinator crashed.
    Orphaned,
}

/// The end of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// True time.
    pub(crate) at: i64,
    pub(crate) how: Ended,
    /// The encoded results.
    pub(crate) results: Vec<u8>,
}

/// A transaction that ran on a shard, as the shard said.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) incarnation: u32,
    /// Which start of it said so.
    pub(crate) start: u32,
    pub(crate) commit: Nanos,
    pub(crate) aborted: bool,
    /// The encoded results.
    pub(crate) results: Vec<u8>,
}

/// A transaction.
#[derive(Debug, Clone)]
pub(crate) struct Txn {
    pub(crate) coordinator: u16,
    pub(crate) id: TxnId,
    pub(crate) purpose: Purpose,
    pub(crate) form: Form,
    /// In the order in which they were given.
    pub(crate) steps: Vec<Step>,
    /// The shards involved, ascending.
    pub(crate) shards: Vec<u16>,
    /// The keys of its marks on these shards; none of a transaction that leaves no marks.
    pub(crate) marks: Vec<u64>,
    /// True time.
    pub(crate) invoked_at: i64,
    pub(crate) end: Option<End>,
    pub(crate) runs: Vec<Run>,
}

impl Txn {
    /// Its mark on a shard.
    pub(crate) fn mark_on(&self, shard: u16) -> Option<u64> {
        let at = self.shards.iter().position(|involved| *involved == shard)?;
        self.marks.get(at).copied()
    }

    /// Its operations on a shard, in order.
    pub(crate) fn steps_on(&self, keys: &Keyspace, shard: u16) -> impl Iterator<Item = Step> {
        self.steps.iter().copied().filter(move |step| keys.shard(step.key) == shard)
    }

    /// When it ran, if its coordinator knows.
    pub(crate) fn commit(&self) -> Option<Nanos> {
        match self.end.as_ref()?.how {
            Ended::Committed(at) | Ended::Aborted(at) => Some(at),
            _ => None,
        }
    }
}

/// One life of a shard, from a start to a crash or to the end; where there is a journal, from the
/// start that made it to the end, whatever crashes are in between.
#[derive(Debug)]
pub(crate) struct Incarnation {
    pub(crate) shard: u16,
    pub(crate) session: SessionId,
    /// When it started, in true time.
    pub(crate) born_at: i64,
    /// When it crashed and lost its memory, in true time.
    pub(crate) died_at: Option<i64>,
    /// When it crashed, in true time, if it has not started again since.
    pub(crate) crashed_at: Option<i64>,
    /// How often it went on from its journal.
    pub(crate) starts: u32,
    /// What was left of it.
    pub(crate) remains: Option<Shard>,
}

/// Everything that happened in a run.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) keys: Keyspace,
    pub(crate) txns: Vec<Txn>,
    pub(crate) incarnations: Vec<Incarnation>,
    by_id: HashMap<TxnId, u32>,
}

impl History {
    pub(crate) fn new(keys: Keyspace) -> Self {
        Self { keys, txns: Vec::new(), incarnations: Vec::new(), by_id: HashMap::new() }
    }

    /// The number that the next transaction will have.
    pub(crate) fn next_txn(&self) -> u32 {
        self.txns.len() as u32
    }

    /// Notes a transaction that was submitted.
    pub(crate) fn submitted(&mut self, txn: Txn) {
        self.by_id.insert(txn.id, self.next_txn());
        self.txns.push(txn);
    }

    /// Notes the end of a transaction.
    pub(crate) fn ended(&mut self, txn: u32, end: End, findings: &mut Findings) {
        let slot = &mut self.txns[txn as usize].end;
        if slot.is_some() {
            let text = format!("T{txn} ended twice, the second time as {:?}", end.how);
            findings.add(ViolationKind::EndedTwice, &[txn], text);
            return;
        }
        *slot = Some(end);
    }

    /// Notes the start of a shard that remembers nothing.
    pub(crate) fn born(&mut self, shard: u16, session: SessionId, born_at: i64) -> u32 {
        let (died_at, crashed_at) = (None, None);
        for life in self.incarnations.iter_mut().filter(|it| it.shard == shard) {
            // Its journal had no durable head yet, or could not be read.
            life.died_at = life.died_at.or(life.crashed_at);
        }
        let (starts, remains) = (0, None);
        let life = Incarnation { shard, session, born_at, died_at, crashed_at, starts, remains };
        self.incarnations.push(life);
        self.incarnations.len() as u32 - 1
    }

    /// Notes the start of a shard that goes on from the journal of this session.
    pub(crate) fn resumed(&mut self, shard: u16, session: SessionId, now: i64) -> u32 {
        let is_same = |it: &Incarnation| (it.shard, it.session) == (shard, session);
        let Some(at) = self.incarnations.iter().rposition(is_same) else {
            return self.born(shard, session, now);
        };
        let life = &mut self.incarnations[at];
        life.starts += 1;
        (life.crashed_at, life.remains) = (None, None);
        at as u32
    }

    /// Notes the end of a shard: a crash, if `crashed_at` says when.
    pub(crate) fn buried(
        &mut self,
        incarnation: u32,
        crashed_at: Option<i64>,
        has_journal: bool,
        remains: Shard,
    ) {
        let life = &mut self.incarnations[incarnation as usize];
        match has_journal {
            true => life.crashed_at = crashed_at,
            false => life.died_at = crashed_at,
        }
        life.remains = Some(remains);
    }

    /// Notes what the sealed frames of a shard to the coordinator of a session say.
    pub(crate) fn observe(
        &mut self,
        incarnation: u32,
        session: SessionId,
        frames: &[u8],
        findings: &mut Findings,
    ) {
        let mut reader = FrameReader::new(frames, Limits::DEFAULT, false);
        while let Some(frame) = reader.next_frame().expect("a shard writes valid frames") {
            let mut replies = ReplyReader::new(&frame);
            while let Some(reply) = replies.next_reply().expect("a shard writes valid replies") {
                self.observe_reply(incarnation, session, &reply, findings);
            }
        }
    }

    fn observe_reply(
        &mut self,
        incarnation: u32,
        session: SessionId,
        reply: &Reply<'_>,
        findings: &mut Findings,
    ) {
        let aborted = match reply.status {
            ReplyStatus::Committed => false,
            ReplyStatus::Aborted => true,
            ReplyStatus::Busy | ReplyStatus::Refused(_) => return,
        };
        let id = TxnId { session: session.0, sequence: reply.sequence };
        let Some(&txn) = self.by_id.get(&id) else {
            let TxnSequence(sequence) = reply.sequence;
            let text = format!("a shard answered {session}/{sequence}, which nobody submitted");
            return findings.add(ViolationKind::Invented, &[], text);
        };
        let results = reply.results.rest();
        let commit = Nanos(reply.commit);
        let start = self.incarnations[incarnation as usize].starts;
        let Txn { runs, shards, marks, .. } = &mut self.txns[txn as usize];
        let run = || Run { incarnation, start, commit, aborted, results: results.to_vec() };
        let Some(known) = runs.iter_mut().find(|run| run.incarnation == incarnation) else {
            return runs.push(run());
        };
        if (known.commit, known.aborted, &*known.results) != (commit, aborted, results) {
            // What changed nothing and concerns nobody else is not in the journal. It runs again
            // if it comes again after a crash; then the first answer was lost with the link.
            let is_logged = |aborted: bool| shards.len() > 1 || !(aborted || marks.is_empty());
            if known.start < start && !is_logged(known.aborted) && !is_logged(aborted) {
                *known = run();
                return;
            }
            let shard = self.incarnations[incarnation as usize].shard;
            let text = format!(
                "shard {shard} answered T{txn} twice and differently: first as run at {}, then at \
                 {commit}",
                known.commit
            );
            findings.add(ViolationKind::AnsweredTwice, &[txn], text);
        }
    }

    /// When a shard crashed last, in true time: what ran there before is lost.
    pub(crate) fn last_crash(&self, shard: u16) -> Option<i64> {
        let of_shard = self.incarnations.iter().filter(|it| it.shard == shard);
        of_shard.filter_map(|it| it.died_at).max()
    }

    /// What a transaction was and how it ended, for people.
    pub(crate) fn describe(&self, txn: u32) -> String {
        let Txn { coordinator, form, steps, shards, invoked_at, end, runs, .. } =
            &self.txns[txn as usize];
        let mut text = format!("T{txn} of coordinator {coordinator} on shards {shards:?}");
        if let Form::Call { aborts } = form {
            text.push_str(if *aborts { ", calls that abort" } else { ", calls" });
        }
        let mut add = |part: std::fmt::Arguments<'_>| {
            text.write_fmt(part).expect("a string takes everything");
        };
        for step in steps {
            add(format_args!(", k{} {:?}", step.key, step.action));
        }
        add(format_args!("; submitted at {}", millis(*invoked_at)));
        for run in runs {
            let Incarnation { shard, died_at, .. } = &self.incarnations[run.incarnation as usize];
            let life = if died_at.is_some() { " before its crash" } else { "" };
            add(format_args!("; ran on shard {shard}{life} at {}", run.commit));
        }
        match end {
            Some(end) => add(format_args!("; ended at {} as {:?}", millis(end.at), end.how)),
            None => add(format_args!("; has not ended")),
        }
        text
    }
}

/// A true time for people.
fn millis(at: i64) -> String {
    format!("{}.{:06} ms", at / 1_000_000, at % 1_000_000)
}

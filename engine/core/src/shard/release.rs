//! Running a piece on the store (R6).

use super::holds::key_hash;
use super::session::Outcome;
use crate::procedure::{ProcedureContext, Procedures, UndoLog, Verdict};
use crate::store::Store;
use punctual_wire::{Limits, OpReader, OpResult, PieceBody, ReplyStatus};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What running a piece needs.
pub(super) struct Release<'a> {
    pub(super) limits: &'a Limits,
    pub(super) procedures: &'a Procedures,
    pub(super) store: &'a mut Store,
    pub(super) undo: &'a mut UndoLog,
}

impl Release<'_> {
    #[inline]
    pub(super) fn run(&mut self, body: &PieceBody<'_>, outcome: &mut Outcome) {
        match *body {
            PieceBody::Ops { count, bytes } => self.run_ops(count, bytes, outcome),
            PieceBody::Call { procedure, args } => self.call(procedure, args, outcome),
        }
    }

    #[inline]
    fn run_ops(&mut self, count: u16, bytes: &[u8], outcome: &mut Outcome) {
        let mut ops = OpReader::new(bytes);
        let value_len_max = self.limits.value_bytes_max as usize;
        let out_len_max = self.limits.results_bytes_max();
        let results = &mut outcome.results;
        results.reserve(usize::from(count) * OpResult::WORD_BYTES);
        for _ in 0..count {
            if let Some(op) = ops.peek_word()
                && self.store.run_word(op, results)
            {
                ops.skip_word(op);
                continue;
            }
            let Ok(op) = ops.next_op() else { unreachable!("the piece was checked") };
            self.store.run(op, value_len_max, out_len_max, results);
        }
        outcome.result_count = count;
    }

    fn call(&mut self, procedure: u16, args: &[u8], outcome: &mut Outcome) {
        let Some(procedure) = self.procedures.get(procedure) else {
            unreachable!("an unknown procedure was refused")
        };
        self.undo.clear();
        let results = &mut outcome.results;
        let out_len_max = self.limits.results_bytes_max();
        let mut context =
            ProcedureContext::new(self.store, self.undo, self.limits, results, out_len_max);
        // A panic counts as an abort. Were it to end the shard, a transaction that others wait for
        // would end it again each time that it goes on from its journal.
        let ran = catch_unwind(AssertUnwindSafe(|| procedure.run(&mut context, args)));
        outcome.result_count = context.result_count();
        let verdict = ran.unwrap_or_else(|_| {
            outcome.result_count = 0;
            outcome.results.clear();
            Verdict::Abort
        });
        if verdict == Verdict::Abort {
            self.undo.roll_back(self.store);
            outcome.status = ReplyStatus::Aborted;
        }
    }
}

/// Hash of the key of each operation, and whether it may change it; nothing for a call.
#[inline]
pub(super) fn keys<'a>(
    body: &PieceBody<'a>,
) -> impl Iterator<Item = (u64, bool)> + Clone + use<'a> {
    let (count, bytes) = match *body {
        PieceBody::Ops { count, bytes } => (count, bytes),
        PieceBody::Call { .. } => (0, &[][..]),
    };
    let mut ops = OpReader::new(bytes);
    (0..count).map_while(move |_| {
        let op = ops.next_op().ok()?;
        Some((key_hash(op.key()), op.is_write()))
    })
}

/// Whether a piece may change the store. A call counts as if it did: what became of it is written
/// down, so that a retry after a crash never meets another fate.
pub(super) fn writes(body: &PieceBody<'_>) -> bool {
    let PieceBody::Ops { count, bytes } = *body else { return true };
    let mut ops = OpReader::new(bytes);
    (0..count).any(|_| ops.next_op().is_ok_and(|op| op.is_write()))
}

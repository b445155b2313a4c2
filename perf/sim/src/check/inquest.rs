//! What shards refused before they crashed.
//!
//! A shard that crashed may have done so before it ran what others ran, so that it did not run says
//! nothing. But it must not have refused it, as long as somebody who ran it was alive: that two
//! survivors never decide differently is what the rules for lost memories promise. The reply that
//! tells of a refusal is often never written, since the coordinator has used the slot again. So
//! the shard is asked for its proposal after its death, as a peer would ask.

use super::survey::Survey;
use crate::history::{Form, History, Incarnation, Txn};
use crate::violation::{Findings, ViolationKind};
use punctual_core::{Nanos, ShardId};
use punctual_wire::{BatchWriter, FrameReader, Limits, PeerMessage, PeerReader, TxnId};

/// Asks every life of a shard that has ended about all that outlived it elsewhere.
pub(super) fn check(history: &mut History, survey: &Survey, findings: &mut Findings) {
    let mut refused = suspects(history, survey);
    refused.retain(|(txn, dead, witness)| {
        let id = history.txns[*txn as usize].id;
        has_refused(&mut history.incarnations, id, *dead as usize, *witness as usize)
    });
    for (txn, dead, witness) in refused {
        let [dead, witness] = [dead, witness].map(|life| &history.incarnations[life as usize]);
        let text = format!(
            "T{txn} was refused by shard {} before its crash, and yet it ran on shard {}",
            dead.shard, witness.shard
        );
        findings.add(ViolationKind::RefusedButRan, &[txn], text);
    }
}

/// Transactions, lives that have ended without having run them, and lives that ran them and ended
/// later or not at all.
fn suspects(history: &History, survey: &Survey) -> Vec<(u32, u32, u32)> {
    let mut suspects = Vec::new();
    for (at, txn) in (0_u32..).zip(&history.txns) {
        let ran_in = &survey.ran_in[at as usize];
        let aborts = txn.form == (Form::Call { aborts: true });
        if aborts || txn.marks.is_empty() || txn.shards.len() < 2 {
            // Without marks only the answers tell where it ran, and one may be missing.
            continue;
        }
        for dead in lives_of(history, txn).filter(|life| !ran_in.contains(life)) {
            let outlived = |life: &&u32| is_outlived(history, dead, **life);
            if let Some(witness) = ran_in.iter().find(outlived) {
                suspects.push((at, dead, *witness));
            }
        }
    }
    suspects
}

/// The lives of its shards that a transaction can be bound to and that ended later.
fn lives_of(history: &History, txn: &Txn) -> impl Iterator<Item = u32> {
    (0_u32..).zip(&history.incarnations).filter_map(move |(life, it)| {
        let is_involved = txn.shards.contains(&it.shard);
        let has_crashed = it.died_at.is_some_and(|died_at| died_at > txn.invoked_at);
        (is_involved && has_crashed && it.born_at <= txn.invoked_at).then_some(life)
    })
}

/// Whether one life ended before another.
fn is_outlived(history: &History, dead: u32, witness: u32) -> bool {
    let [dead, witness] = [dead, witness].map(|life| history.incarnations[life as usize].died_at);
    dead.is_some_and(|dead| witness.is_none_or(|witness| witness > dead))
}

/// Whether a shard that crashed says to a peer that it will never run a transaction.
fn has_refused(lives: &mut [Incarnation], txn: TxnId, dead: usize, witness: usize) -> bool {
    let (peer, peer_session) = (ShardId(lives[witness].shard), lives[witness].session);
    let to = lives[dead].session.incarnation();
    let Some(shard) = &mut lives[dead].remains else { return false };
    // The link may have been down, and it may have ended before the peer was born.
    shard.on_peer_up(Nanos::ZERO, peer, peer_session);
    let mut question = BatchWriter::new(Limits::DEFAULT, 1, false);
    // Later than any watermark, so that it is no old copy.
    PeerMessage::Propose { txn, local: i64::MAX, to, answer: true }.write(&mut question);
    question.seal();
    let frame = crate::env::only_frame(question.sealed());
    shard.on_peer(Nanos::ZERO, peer, &frame).expect("a valid message");
    let mut answers = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
    shard.write_peer(peer, &mut answers);
    answers.seal();
    let mut frames = FrameReader::new(answers.sealed(), Limits::DEFAULT, false);
    while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
        let mut messages = PeerReader::new(&frame);
        while let Some(message) = messages.next_message().expect("a shard writes valid messages") {
            if matches!(message, PeerMessage::Refuse { txn: refused, .. } if refused == txn) {
                return true;
            }
        }
    }
    false
}

//! Histories made by hand, good ones and bad ones, for each check.

use super::survey::Survey;
use super::{ends, inquest, lists, realtime, replay};
use crate::env::only_frame;
use crate::history::{Action, End, Ended, Form, History, Purpose, Run, Step, Txn};
use crate::keys::{Holds, Keyspace, mark};
use crate::violation::{Findings, ViolationKind};
use punctual_core::{Nanos, Procedures, SessionId, Shard, ShardConfig, ShardId};
use punctual_wire::{
    BatchWriter, Key, Limits, Op, OpResult, PeerMessage, Piece, RefusedReason, Reply, ReplyStatus,
    ResultStatus, TxnId, TxnSequence,
};
use std::sync::Arc;

const SHARDS: u16 = 2;
/// Numbers and lists: the even ones on shard 0, the odd ones on shard 1.
const NUMBERS: [u32; 2] = [0, 1];
const LISTS: [u32; 2] = [2, 3];

/// A history of two shards, each in its first life.
struct Story {
    history: History,
    /// What the keys hold in the end.
    left: Vec<(u32, Vec<u8>)>,
    /// How often marks were left.
    marks: Vec<(u64, i64)>,
}

impl Story {
    fn new() -> Self {
        let holds = |at| if at < 2 { Holds::Number } else { Holds::List };
        let mut history = History::new(Keyspace::new(4, SHARDS, holds));
        for shard in 0..SHARDS {
            history.born(shard, SessionId(0), 0);
        }
        Self { history, left: Vec::new(), marks: Vec::new() }
    }

    /// A transaction that was submitted at `invoked_at`, has committed at `commit` and was answered
    /// one moment after it was submitted. `runs` are the results of each shard.
    fn committed(
        &mut self,
        invoked_at: i64,
        commit: i64,
        steps: &[(u32, Action)],
        runs: &[(u16, Vec<u8>)],
    ) -> u32 {
        let at = self.history.next_txn();
        let id = TxnId { session: 1, sequence: TxnSequence(u64::from(at) + 1) };
        let runs = runs.iter().map(|(shard, results)| Run {
            incarnation: u32::from(*shard),
            start: 0,
            commit: Nanos(commit),
            aborted: false,
            results: results.clone(),
        });
        let runs: Vec<Run> = runs.collect();
        let results = runs.iter().flat_map(|run| run.results.clone()).collect();
        let steps: Vec<Step> =
            steps.iter().map(|(key, action)| Step { key: *key, action: *action }).collect();
        let mut shards: Vec<u16> =
            steps.iter().map(|step| self.history.keys.shard(step.key)).collect();
        shards.sort_unstable();
        shards.dedup();
        let end = End { at: invoked_at + 1, how: Ended::Committed(Nanos(commit)), results };
        self.history.submitted(Txn {
            coordinator: 0,
            id,
            purpose: Purpose::Work,
            form: Form::Ops,
            steps,
            shards,
            marks: Vec::new(),
            invoked_at,
            end: Some(end),
            runs,
        });
        at
    }

    fn txn(&mut self, at: u32) -> &mut Txn {
        &mut self.history.txns[at as usize]
    }

    /// Gives a transaction marks, which it left so many times.
    fn mark(&mut self, at: u32, times: &[i64]) {
        let shards = self.txn(at).shards.clone();
        let marks: Vec<u64> = shards.iter().map(|shard| mark(at, *shard, SHARDS)).collect();
        self.marks.extend(marks.iter().copied().zip(times.iter().copied()));
        self.txn(at).marks = marks;
    }

    /// Has a check look at it and says what kinds of violations it found.
    fn judge(self, check: impl Fn(&History, &Survey, &mut Findings)) -> Vec<ViolationKind> {
        self.judge_and_ask(|history, survey, findings| check(history, survey, findings))
    }

    /// As `judge`, for a check that asks the shards.
    fn judge_and_ask(
        mut self,
        check: impl Fn(&mut History, &Survey, &mut Findings),
    ) -> Vec<ViolationKind> {
        for life in 0..self.history.incarnations.len() {
            let shard = self.history.incarnations[life].shard;
            let remains = self.remains(shard);
            self.history.incarnations[life].remains.get_or_insert(remains);
        }
        let mut findings = Findings::default();
        let survey = Survey::new(&self.history, &mut findings);
        check(&mut self.history, &survey, &mut findings);
        let told = findings.take(|txn| self.history.describe(txn));
        told.into_iter().map(|violation| violation.kind).collect()
    }

    /// A shard that holds what is left of the keys and marks that belong to it.
    fn remains(&self, id: u16) -> Shard {
        let config = ShardConfig::new(ShardId(id), SHARDS);
        let mut shard = Shard::new(config, Arc::new(Procedures::new()));
        let mut body = Vec::new();
        let mut count = 0;
        let keys = &self.history.keys;
        for (key, value) in self.left.iter().filter(|(key, _)| keys.shard(*key) == id) {
            Op::Put { key: keys.key(*key), value }.write(&mut body);
            count += 1;
        }
        let ours =
            |(mark, _): &&(u64, i64)| punctual_wire::shard_of(Key::Word(*mark), SHARDS) == id;
        for (mark, times) in self.marks.iter().filter(ours).filter(|(_, times)| *times > 0) {
            Op::Add { key: Key::Word(*mark), delta: *times }.write(&mut body);
            count += 1;
        }
        if count > 0 {
            let session = shard.open_session(Nanos(1), SessionId(1), 4).expect("there is room");
            let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
            Piece::write(&mut out, TxnSequence::new(0, 1), false, count, &body);
            out.seal();
            let frame = only_frame(out.sealed());
            let mut replies = BatchWriter::new(Limits::DEFAULT, 1, false);
            let taken = shard.on_dispatch(Nanos(2), session, &frame, &mut replies);
            taken.expect("a valid piece");
        }
        shard
    }
}

/// The results of increments: sums.
fn sums(sums: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sum in sums {
        OpResult::with(ResultStatus::Ok, &sum.to_le_bytes()).write(&mut bytes);
    }
    bytes
}

/// The results of reads of lists.
fn versions(versions: &[&[u32]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for version in versions {
        OpResult::with(ResultStatus::Ok, &list(version)).write(&mut bytes);
    }
    bytes
}

fn list(elements: &[u32]) -> Vec<u8> {
    elements.iter().flat_map(|element| element.to_le_bytes()).collect()
}

/// Two increments of a number, one after the other.
fn two_increments(second: i64, left: i64) -> Story {
    let mut story = Story::new();
    story.committed(20, 2_000, &[(NUMBERS[0], Action::Add(2))], &[(0, sums(&[second]))]);
    story.committed(10, 1_000, &[(NUMBERS[0], Action::Add(5))], &[(0, sums(&[5]))]);
    story.left.push((NUMBERS[0], left.to_le_bytes().to_vec()));
    story
}

#[test]
fn results_and_the_final_state_are_those_of_the_order_of_commit_times() {
    assert_eq!(two_increments(7, 7).judge(replay::check), []);
    assert_eq!(two_increments(2, 7).judge(replay::check), [ViolationKind::WrongResult]);
    assert_eq!(two_increments(7, 5).judge(replay::check), [ViolationKind::WrongState]);
    let mut story = two_increments(7, 7);
    story.left.push((LISTS[0], list(&[1])));
    assert_eq!(story.judge(replay::check), [ViolationKind::WrongState], "nobody wrote this list");
}

#[test]
fn keys_written_at_an_unknown_time_are_left_out_and_all_others_are_not() {
    let story = |left: i64| {
        let mut story = two_increments(7, left);
        let steps = [(NUMBERS[0], Action::Add(100))];
        let unknown = story.committed(5, 500, &steps, &[]);
        story.txn(unknown).end = None;
        story.mark(unknown, &[1]);
        story
    };
    assert_eq!(story(107).judge(replay::check), []);
    let mut other = story(107);
    other.left.push((LISTS[0], list(&[1])));
    assert_eq!(other.judge(replay::check), [ViolationKind::WrongState]);
}

#[test]
fn a_transaction_whose_mark_is_there_twice_or_not_at_all_is_noticed() {
    let story = |times: i64| {
        let mut story = Story::new();
        let steps = [(NUMBERS[0], Action::Add(5))];
        let results = sums(&[5, 1]);
        let at = story.committed(10, 1_000, &steps, &[(0, results)]);
        story.left.push((NUMBERS[0], 5_i64.to_le_bytes().to_vec()));
        story.mark(at, &[times]);
        story
    };
    assert_eq!(story(1).judge(replay::check), []);
    assert_eq!(story(2).judge(|_, _, _| {}), [ViolationKind::RanTwice]);
    assert_eq!(story(0).judge(|_, _, _| {}), [ViolationKind::LostWrite]);
}

/// An increment on both shards, answered.
fn on_both_shards() -> (Story, u32) {
    let mut story = Story::new();
    let steps = [(NUMBERS[0], Action::Add(5)), (NUMBERS[1], Action::Add(6))];
    let runs = [(0, sums(&[5])), (1, sums(&[6]))];
    let at = story.committed(10, 1_000, &steps, &runs);
    (story, at)
}

#[test]
fn shards_that_name_different_times_are_noticed() {
    let (story, _) = on_both_shards();
    assert_eq!(story.judge(ends::check), []);
    let (mut story, at) = on_both_shards();
    story.txn(at).runs[1].commit = Nanos(1_001);
    assert!(story.judge(ends::check).contains(&ViolationKind::Disagreement));
}

#[test]
fn a_transaction_that_ran_on_some_of_its_shards_only_is_noticed_unless_the_others_crashed() {
    let story = |crashed_at: Option<i64>| {
        let (mut story, at) = on_both_shards();
        story.txn(at).runs.truncate(1);
        story.txn(at).end = None;
        story.txn(at).runs[0].results = sums(&[5, 1]);
        story.mark(at, &[1, 0]);
        if crashed_at.is_some() {
            story.history.incarnations[1].died_at = crashed_at;
            story.history.born(1, SessionId(0), 0);
        }
        story
    };
    assert_eq!(story(None).judge(ends::check), [ViolationKind::Partly]);
    assert_eq!(story(Some(5)).judge(ends::check), [ViolationKind::Partly], "long before");
    assert_eq!(story(Some(15)).judge(ends::check), []);
}

/// A shard that refuses a transaction, or one that has never heard of it.
fn dead_shard(id: u16, refuses: Option<TxnId>) -> Shard {
    let config = ShardConfig::new(ShardId(id), SHARDS);
    let mut shard = Shard::new(config, Arc::new(Procedures::new()));
    if let Some(txn) = refuses {
        let peer = ShardId(1 - id);
        let slots = u32::from(txn.sequence.slot()) + 1;
        shard.open_session(Nanos(1), SessionId(txn.session), slots).expect("there is room");
        shard.on_peer_up(Nanos(1), peer, SessionId(0));
        let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
        // Who is asked about what it does not know buries it.
        PeerMessage::Lost { txn, shard: id, to: 0, dead: 0 }.write(&mut out);
        out.seal();
        let taken = shard.on_peer(Nanos(2), peer, &only_frame(out.sealed()));
        taken.expect("a valid message");
        // The answer is lost with the link.
        shard.on_peer_down(peer);
    }
    shard
}

#[test]
fn a_shard_that_refused_what_one_that_outlived_it_ran_is_found_out() {
    let judge = |refuses: bool, died_at: i64, witness_died_at: Option<i64>| {
        let (mut story, at) = on_both_shards();
        story.txn(at).runs.truncate(1);
        story.txn(at).end = None;
        story.txn(at).runs[0].results = sums(&[5, 1]);
        story.mark(at, &[1, 0]);
        let id = story.txn(at).id;
        let [witness, dead] = &mut story.history.incarnations[..] else {
            unreachable!("there are two shards")
        };
        witness.died_at = witness_died_at;
        dead.died_at = Some(died_at);
        dead.remains = Some(dead_shard(1, refuses.then_some(id)));
        story.judge_and_ask(inquest::check)
    };
    let found = [ViolationKind::RefusedButRan];
    assert_eq!(judge(true, 50, None), found);
    assert_eq!(judge(true, 50, Some(51)), found);
    assert_eq!(judge(true, 50, Some(49)), [], "what the dead ran binds nobody");
    assert_eq!(judge(true, 5, None), [], "it was dead before the transaction was submitted");
    assert_eq!(judge(false, 50, None), [], "it may have been about to run it");
}

#[test]
fn answers_that_contradict_what_ran_are_noticed() {
    let (mut story, at) = on_both_shards();
    let refused = Ended::Refused(RefusedReason::DispatchTimeout);
    story.txn(at).end = Some(End { at: 11, how: refused, results: Vec::new() });
    assert_eq!(story.judge(ends::check), [ViolationKind::RefusedButRan]);

    let (mut story, at) = on_both_shards();
    story.txn(at).runs.pop();
    assert_eq!(story.judge(ends::check), [ViolationKind::Invented], "a shard never answered");

    let (mut story, at) = on_both_shards();
    let results = sums(&[5, 7]);
    let how = Ended::Committed(Nanos(1_000));
    story.txn(at).end = Some(End { at: 11, how, results });
    assert_eq!(story.judge(ends::check), [ViolationKind::Invented], "other results");
}

#[test]
fn two_answers_or_two_ends_of_a_transaction_are_noticed() {
    let (mut story, at) = on_both_shards();
    let mut findings = Findings::default();
    let mut answer = |commit: i64| {
        let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
        let sequence = story.history.txns[at as usize].id.sequence;
        Reply::write(&mut out, sequence, ReplyStatus::Committed, commit, 1, &sums(&[5]));
        out.seal();
        story.history.observe(0, SessionId(1), out.sealed(), &mut findings);
        findings.count()
    };
    assert_eq!(answer(1_000), 0, "the same answer again");
    assert_eq!(answer(1_001), 1);
    let end = End { at: 12, how: Ended::Orphaned, results: Vec::new() };
    story.history.ended(at, end, &mut findings);
    let told = findings.take(|_| String::new());
    let kinds: Vec<ViolationKind> = told.iter().map(|violation| violation.kind).collect();
    assert_eq!(kinds, [ViolationKind::AnsweredTwice, ViolationKind::EndedTwice]);
}

/// What is found when shard 0 answers a transaction, goes on from its journal if it has one, and
/// answers it at another time.
fn answered_again(
    steps: &[(u32, Action)],
    marks: &[i64],
    status: ReplyStatus,
    has_journal: bool,
) -> Vec<ViolationKind> {
    let mut story = Story::new();
    let at = story.committed(10, 1_000, steps, &[]);
    if !marks.is_empty() {
        story.mark(at, marks);
    }
    let session = SessionId(7);
    let life = story.history.born(0, session, 0);
    let mut findings = Findings::default();
    for commit in [1_000, 2_000] {
        let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
        let sequence = story.txn(at).id.sequence;
        Reply::write(&mut out, sequence, status, commit, 1, &sums(&[5]));
        out.seal();
        story.history.observe(life, SessionId(1), out.sealed(), &mut findings);
        if has_journal {
            assert_eq!(story.history.resumed(0, session, 5), life, "it is the same life");
        }
    }
    let last = story.txn(at).runs[0].commit;
    assert_eq!(last == Nanos(2_000), findings.count() == 0, "an answer that may be new counts");
    let told = findings.take(|_| String::new());
    told.into_iter().map(|violation| violation.kind).collect()
}

#[test]
fn after_a_crash_only_what_is_in_no_journal_may_have_another_answer() {
    let (read, add) = ((NUMBERS[0], Action::Get), (NUMBERS[0], Action::Add(5)));
    let other = (NUMBERS[1], Action::Get);
    let (committed, aborted) = (ReplyStatus::Committed, ReplyStatus::Aborted);
    let differs = [ViolationKind::AnsweredTwice];
    assert_eq!(answered_again(&[read], &[], committed, true), []);
    assert_eq!(answered_again(&[add], &[1], aborted, true), []);
    assert_eq!(answered_again(&[read], &[], committed, false), differs, "without a crash");
    assert_eq!(answered_again(&[add], &[1], committed, true), differs, "it was written down");
    assert_eq!(answered_again(&[read, other], &[], committed, true), differs, "others know of it");
}

#[test]
fn what_ran_before_a_crash_must_be_there_afterwards_where_there_is_a_journal() {
    let story = |has_journal: bool| {
        let (mut story, at) = on_both_shards();
        story.txn(at).runs[1].results = sums(&[6, 1]);
        story.mark(at, &[1, 0]);
        let Story { history, .. } = &mut story;
        let config = ShardConfig::new(ShardId(1), SHARDS);
        let dead = Shard::new(config, Arc::new(Procedures::new()));
        history.buried(1, Some(50), has_journal, dead);
        if has_journal {
            assert_eq!(history.resumed(1, SessionId(0), 60), 1);
        } else {
            // It answered, but the answer is not known here.
            history.txns[at as usize].runs.pop();
            history.txns[at as usize].end = None;
            history.born(1, SessionId(1), 60);
        }
        story
    };
    assert_eq!(story(true).judge(|_, _, _| {}), [ViolationKind::LostWrite]);
    assert_eq!(story(false).judge(ends::check), []);
    let mut partly = story(true);
    partly.history.txns[0].runs.pop();
    partly.history.txns[0].end = None;
    assert_eq!(partly.judge(ends::check), [ViolationKind::Partly]);
}

/// Two appends to a list, and two reads of it.
fn appends_and_reads(first: &[u32], second: &[u32], left: &[u32]) -> Vec<ViolationKind> {
    let mut story = Story::new();
    let key = LISTS[0];
    story.committed(10, 1_000, &[(key, Action::Append(1))], &[(0, sums(&[4]))]);
    story.committed(20, 2_000, &[(key, Action::Append(2))], &[(0, sums(&[8]))]);
    story.committed(30, 3_000, &[(key, Action::Get)], &[(0, versions(&[first]))]);
    story.committed(40, 4_000, &[(key, Action::Get)], &[(0, versions(&[second]))]);
    story.left.push((key, list(left)));
    story.judge(|history, _, findings| lists::check_lists(history, findings))
}

#[test]
fn the_versions_of_a_list_must_be_beginnings_of_each_other() {
    assert_eq!(appends_and_reads(&[1], &[1, 2], &[1, 2]), []);
    assert_eq!(appends_and_reads(&[1], &[2, 1], &[2, 1]), [ViolationKind::ListFork]);
    assert_eq!(appends_and_reads(&[1, 2], &[2, 1], &[1, 2]), [ViolationKind::ListFork]);
}

#[test]
fn lost_and_repeated_elements_are_noticed() {
    assert_eq!(appends_and_reads(&[1], &[1], &[1]), [ViolationKind::LostWrite]);
    assert_eq!(appends_and_reads(&[1], &[1, 2], &[1, 2, 1]), [ViolationKind::RanTwice]);
}

#[test]
fn accounts_that_do_not_add_up_to_zero_are_noticed_unless_a_shard_crashed() {
    let story = |audited: i64, left: i64| {
        let mut story = Story::new();
        let steps = [(NUMBERS[0], Action::Get), (NUMBERS[1], Action::Get)];
        let runs = [(0, sums(&[10])), (1, sums(&[audited]))];
        let at = story.committed(10, 1_000, &steps, &runs);
        story.txn(at).purpose = Purpose::Audit;
        story.left.push((NUMBERS[0], 10_i64.to_le_bytes().to_vec()));
        story.left.push((NUMBERS[1], left.to_le_bytes().to_vec()));
        story
    };
    let check = |history: &History, _: &Survey, findings: &mut Findings| {
        lists::check_sums(history, findings);
    };
    assert_eq!(story(-10, -10).judge(check), []);
    assert_eq!(story(-9, -10).judge(check), [ViolationKind::Sum]);
    assert_eq!(story(-10, 0).judge(check), [ViolationKind::Sum]);
    let mut crashed = story(-9, 0);
    crashed.history.incarnations[0].died_at = Some(5);
    assert_eq!(crashed.judge(check), []);
}

/// A write at commit time 2,000 that is submitted at 10, and a read at 1,000 that does not see it.
fn write_and_read(read_at: i64) -> Story {
    let mut story = Story::new();
    story.committed(10, 2_000, &[(NUMBERS[0], Action::Add(5))], &[(0, sums(&[5]))]);
    let missing = vec![ResultStatus::NotFound as u8];
    story.committed(read_at, 1_000, &[(NUMBERS[0], Action::Get)], &[(0, missing)]);
    story.left.push((NUMBERS[0], 5_i64.to_le_bytes().to_vec()));
    story
}

#[test]
fn a_read_that_misses_what_was_answered_before_it_was_submitted_is_noticed() {
    assert_eq!(write_and_read(10).judge(replay::check), [], "the order itself is fine");
    assert_eq!(write_and_read(10).judge(realtime::check), [], "at the same time either may be");
    assert_eq!(write_and_read(12).judge(realtime::check), [ViolationKind::RealTime]);
}

#[test]
fn a_circle_over_several_shards_and_answers_is_noticed() {
    let story = |last_submitted_at: i64| {
        let mut story = Story::new();
        let both = [(NUMBERS[0], Action::Add(1)), (NUMBERS[1], Action::Add(1))];
        // It is under way all the time.
        let long = story.committed(0, 1_500, &both, &[(0, sums(&[1])), (1, sums(&[2]))]);
        story.txn(long).end.as_mut().expect("it ended").at = 100;
        // After it on shard 0, and answered at 11.
        story.committed(10, 2_000, &[(NUMBERS[0], Action::Add(1))], &[(0, sums(&[2]))]);
        // Before it on shard 1: fine, unless it was submitted after that answer.
        let steps = [(NUMBERS[1], Action::Add(1))];
        story.committed(last_submitted_at, 1_000, &steps, &[(1, sums(&[1]))]);
        story.left.push((NUMBERS[0], 2_i64.to_le_bytes().to_vec()));
        story.left.push((NUMBERS[1], 2_i64.to_le_bytes().to_vec()));
        story
    };
    assert_eq!(story(11).judge(replay::check), []);
    assert_eq!(story(11).judge(realtime::check), []);
    assert_eq!(story(12).judge(realtime::check), [ViolationKind::RealTime]);
}

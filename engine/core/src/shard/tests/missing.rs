//! What is missing is asked for, and what ran is kept for as long as anybody may ask (R4, R11).

use super::cluster::*;
use super::*;
use punctual_wire::PeerMessage;

/// Lets shard 0 lack the proposal of shard 1, which has run the transaction, and returns when it
/// asked for it, in milliseconds, with the last request.
fn asks_of_a_lonely_shard(cluster: &mut Cluster, t: &Txn, end_ms: i64) -> (Vec<i64>, Letter) {
    cluster.at(0).dispatch_all(t);
    let (lost, kept): (Vec<_>, Vec<_>) =
        cluster.letters().into_iter().partition(|letter| letter.goes(1, 0));
    assert_eq!((lost.len(), kept.len()), (1, 1));
    cluster.deliver_all(&kept);
    assert_eq!(cluster.at(1).turn(), 1);
    let mut asked = Vec::new();
    for ms in 1..=end_ms {
        cluster.at(ms * MS).turn();
        let asks = cluster.talk().into_iter().filter(Letter::is_ask);
        asked.extend(asks.map(|letter| (ms, letter)));
    }
    let expected = Letter { from: 0, to: 1, message: ask(t, 1, 0) };
    assert!(asked.iter().all(|(_, letter)| *letter == expected), "{asked:?}");
    (asked.iter().map(|(ms, _)| *ms).collect(), expected)
}

fn ask(t: &Txn, to: u16, local: i64) -> PeerMessage {
    let to = run_of(to, 1).incarnation();
    PeerMessage::Propose { txn: t.id, local, to, answer: true }
}

#[test]
fn a_lost_proposal_is_asked_for_again_and_answered_by_one_who_has_run_the_transaction() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 0, &[0, 1]);
    let (asked_ms, request) = asks_of_a_lonely_shard(&mut cluster, &t, 1_000);
    assert_eq!(asked_ms, [100, 200, 400, 800], "each pause is twice the one before");
    assert_eq!(cluster.stats(0).asked, 4);
    cluster.deliver(request);
    assert_eq!(cluster.talk(), [proposal(&t, 1, 0, 0)]);
    // The answer was lost as well, and it is asked once more.
    cluster.deliver(request);
    let answer = cluster.talk();
    cluster.deliver_all(&answer);
    assert_eq!(cluster.turn(), 1);
    assert_eq!(cluster.ends(0), [committed(seq(0, 1), 0)]);
    assert_eq!(cluster.ends(1), [committed(seq(0, 1), 0)]);
}

#[test]
fn the_pause_between_two_requests_stops_growing_at_a_second() {
    let configure = |config: &mut ShardConfig| config.ask_after = Duration::from_millis(400);
    let mut cluster = Cluster::with(configure, Procedures::new);
    let t = adds(seq(0, 1), 0, &[0, 1]);
    let (asked_ms, _) = asks_of_a_lonely_shard(&mut cluster, &t, 4_000);
    assert_eq!(asked_ms, [400, 800, 1_600, 2_600, 3_600]);
}

#[test]
fn nothing_is_asked_for_before_its_time() {
    let mut cluster = Cluster::new();
    // The dispatch to the other shard may be under way until then.
    let t = adds(seq(0, 1), 500 * MS, &[0, 1]);
    cluster.at(0).dispatch(0, &t);
    cluster.letters();
    cluster.pass_until(598 * MS);
    assert_eq!(cluster.stats(0).asked, 0);
    cluster.pass_until(602 * MS);
    assert_eq!(cluster.stats(0).asked, 1);
}

#[test]
fn a_request_says_what_a_proposal_says() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    // Both proposals are lost; one shard asks, and both know then.
    cluster.letters();
    cluster.deliver(Letter { from: 0, to: 1, message: ask(&t, 1, 500) });
    let answer = cluster.letters();
    assert_eq!(answer, [proposal(&t, 1, 0, 500)]);
    assert_eq!(cluster.at(501).turn(), 1);
    cluster.deliver_all(&answer);
    assert_eq!(cluster.turn(), 1);
}

#[test]
fn a_request_before_the_dispatch_is_remembered_as_a_proposal() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).deliver(Letter { from: 0, to: 1, message: ask(&t, 1, 300) });
    assert!(cluster.letters().is_empty(), "it has nothing to answer yet");
    cluster.dispatch(1, &t);
    assert_eq!(cluster.letters(), [proposal(&t, 1, 0, 500)]);
    assert_eq!(cluster.at(501).turn(), 1);
}

#[test]
fn what_ran_is_kept_until_every_peer_has_decided_it_and_no_longer() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1, 2]);
    cluster.at(0).dispatch_all(&t);
    let letters = cluster.letters();
    let kept: Vec<_> = letters.into_iter().filter(|letter| !letter.goes(0, 2)).collect();
    cluster.deliver_all(&kept);
    assert_eq!(cluster.at(501).turn(), 2);
    // Watermarks go round, that of the undecided shard up to its own proposal, and nothing else.
    let mut asked = 0;
    for ms in 1..=300 {
        cluster.at(ms * MS).turn();
        asked += cluster.talk().iter().filter(|letter| letter.is_ask()).count();
    }
    assert_eq!((asked, cluster.kept()), (2, vec![1, 1, 1]));
    cluster.pass_until(500 * MS);
    assert_eq!(cluster.ends(2), [committed(seq(0, 1), 500)]);
    assert_eq!(cluster.kept(), [0, 0, 0]);
    for shard in 0..SHARDS {
        let deadline = cluster.shard(shard).shard.next_deadline();
        assert_eq!(deadline, None, "nothing is left to do at {shard}");
    }
}

#[test]
fn what_ran_is_kept_while_a_peer_is_silent() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(0).dispatch_all(&t);
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 2);
    for ms in 1..=1_000 {
        cluster.at(ms * MS).turn();
        // Only what the second shard says arrives.
        let letters = cluster.letters();
        letters.iter().filter(|letter| letter.from == 1).for_each(|it| cluster.deliver(*it));
    }
    assert_eq!(cluster.kept(), [0, 1, 0], "the first shard has heard, the second has not");
}

#[test]
fn a_watermark_stays_behind_what_its_receiver_shares_and_is_undecided_and_nothing_else() {
    let mut cluster = Cluster::new();
    let undecided = adds(seq(0, 1), 500, &[0, 1]);
    let decided = adds(seq(1, 1), 5 * MS, &[0, 2]);
    cluster.at(0).dispatch(0, &undecided);
    cluster.dispatch_all(&decided);
    let letters = cluster.letters();
    let about = letters.iter().filter(|it| it.txn() == Some(decided.id));
    about.for_each(|letter| cluster.deliver(*letter));
    cluster.at(2 * MS).turn();
    let told = |from, to, at| Letter { from, to, message: PeerMessage::Watermark { at } };
    // What is decided does not hold it back, even if it has not run.
    let expected = [told(0, 1, 500), told(0, 2, 2 * MS), told(2, 0, 2 * MS)];
    assert_eq!(cluster.letters(), expected);
    cluster.dispatch(1, &undecided);
    cluster.deliver_all(&letters);
    cluster.exchange();
    cluster.at(4 * MS).turn();
    let letters = cluster.letters();
    for expected in [told(0, 1, 4 * MS), told(0, 2, 4 * MS), told(2, 0, 4 * MS)] {
        assert!(letters.contains(&expected), "{expected:?} is not among {letters:?}");
    }
}

#[test]
fn who_keeps_something_for_long_asks_whether_it_is_decided() {
    let mut cluster = Cluster::new();
    // Only the second shard admits this, so its watermark stays.
    let hangs = adds_to(1, seq(1, 1), 500, &[0, 1]);
    cluster.at(0).dispatch(1, &hangs);
    let t = adds(seq(0, 1), 600, &[0, 1]);
    cluster.dispatch_all(&t);
    cluster.exchange();
    assert_eq!(cluster.at(601).turn(), 2);
    cluster.pass_until(90 * MS);
    assert_eq!(cluster.kept(), [2, 1, 0], "the one that hangs, and what ran at the first shard");
    cluster.pass_until(110 * MS);
    assert_eq!(cluster.kept(), [1, 1, 0]);
}

#[test]
fn a_watermark_that_was_lost_is_made_up_for_by_a_question() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(0).dispatch_all(&t);
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 2);
    cluster.at(2 * MS).turn();
    assert_eq!(cluster.letters().len(), 2, "a watermark of each, both lost");
    cluster.pass_until(90 * MS);
    assert_eq!(cluster.kept(), [1, 1, 0]);
    cluster.pass_until(110 * MS);
    assert_eq!(cluster.kept(), [0, 0, 0]);
}

#[test]
fn the_question_whether_something_is_decided_is_answered_when_it_is() {
    let mut cluster = Cluster::new();
    let (t, heard) = (adds(seq(0, 1), 500, &[0, 1]), adds(seq(1, 1), 700, &[0, 1]));
    let to = run_of(1, 1).incarnation();
    let question =
        |of: &Txn| Letter { from: 0, to: 1, message: PeerMessage::Settle { txn: of.id, to } };
    let decided = Letter { from: 1, to: 0, message: PeerMessage::Decided { txn: t.id } };
    cluster.at(100).dispatch(1, &t);
    cluster.letters();
    cluster.deliver(proposal(&heard, 0, 1, 700));
    cluster.deliver_all(&[question(&t), question(&heard)]);
    assert!(cluster.letters().is_empty(), "neither is decided");
    cluster.deliver(proposal(&t, 0, 1, 500));
    // When it is agreed on, when it has run, and when it is forgotten.
    for now in [501, 2 * SECOND, 2 * SECOND] {
        cluster.deliver(question(&t));
        assert_eq!(cluster.talk(), [decided]);
        cluster.at(now).turn();
        cluster.talk();
        cluster.deliver(Letter { from: 0, to: 1, message: PeerMessage::Watermark { at: now } });
    }
}

#[test]
fn a_link_that_comes_back_asks_at_once_for_what_was_lost_with_it() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    // One proposal waits in front of the link when it breaks, the other comes too late for it.
    cluster.at(100).dispatch(0, &t);
    cluster.shard(0).shard.on_peer_down(ShardId(1));
    cluster.shard(1).shard.on_peer_down(ShardId(0));
    cluster.dispatch(1, &t);
    assert!(cluster.letters().is_empty());
    assert_eq!((cluster.stats(0).peer_dropped, cluster.stats(1).peer_dropped), (0, 1));
    cluster.at(200).link(0, 1, run_of(1, 1));
    cluster.link(1, 0, run_of(0, 1));
    cluster.turn();
    let asks = [(0, 1), (1, 0)].map(|(from, to)| Letter { from, to, message: ask(&t, to, 500) });
    assert_eq!(cluster.talk(), asks);
    cluster.deliver_all(&asks);
    assert_eq!(cluster.at(501).turn(), 2);
}

#[test]
fn a_link_that_comes_back_tells_again_how_far_a_shard_is() {
    let mut cluster = Cluster::new();
    let t = adds(seq(0, 1), 500, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 2);
    cluster.at(2 * MS).turn();
    // The watermarks are lost with the link, and nothing else is to be said.
    cluster.letters();
    cluster.pass_until(20 * MS);
    assert_eq!(cluster.kept(), [1, 1, 0]);
    for (at, peer) in [(0, 1), (1, 0)] {
        cluster.shard(at).shard.on_peer_down(ShardId(peer));
        cluster.link(at, peer, run_of(peer, 1));
    }
    cluster.pass_until(30 * MS);
    assert_eq!(cluster.kept(), [0, 0, 0]);
}

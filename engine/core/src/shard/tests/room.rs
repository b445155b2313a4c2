//! Room for what is pending: bounded, and none takes that of another (R10).

use super::cluster::*;
use super::*;
use punctual_wire::{PeerMessage, TxnId};

fn small(config: &mut ShardConfig) {
    config.pending_per_peer_max = 2;
    config.blocked_max = 2;
}

fn cluster() -> Cluster {
    Cluster::with(small, Procedures::new)
}

fn busy(sequence: TxnSequence) -> [End; 1] {
    [(sequence, ReplyStatus::Busy, 0)]
}

/// Transactions of the first shard with others, each on counters of its own.
fn shared(slot: u16, shards: &[u16]) -> Txn {
    adds_to(usize::from(slot), seq(slot, 1), 500, shards)
}

#[test]
fn a_peer_that_hangs_takes_its_own_room_and_no_other() {
    let mut cluster = cluster();
    cluster.at(100);
    for slot in [0, 1] {
        cluster.dispatch(0, &shared(slot, &[0, 1]));
    }
    for (slot, shards) in [(2, &[0, 1][..]), (3, &[0, 1, 2][..])] {
        let t = shared(slot, shards);
        assert_eq!(cluster.send_for_end(0, &t.pieces[&0]), busy(seq(slot, 1)));
    }
    for slot in [4, 5] {
        cluster.dispatch(0, &shared(slot, &[0, 2]));
    }
    let t = shared(6, &[0, 2]);
    assert_eq!(cluster.send_for_end(0, &t.pieces[&0]), busy(seq(6, 1)));
    let stats = cluster.stats(0);
    assert_eq!((stats.busy, stats.stamped, stats.held), (3, 4, 4));
    // Singles need no room unless they wait.
    assert_eq!(cluster.send(0, &piece(seq(7, 1), &[add_to(0, 7)])).len(), 1);
    let proposed: Vec<_> = cluster.letters().iter().map(|it| it.txn().map(slot_of)).collect();
    assert_eq!(proposed, [0, 1, 4, 5].map(Some), "nothing was done for those that met no room");
}

fn slot_of(txn: TxnId) -> u16 {
    txn.sequence.slot()
}

#[test]
fn what_met_no_room_is_taken_when_it_comes_again_after_the_others_are_forgotten() {
    let mut cluster = cluster();
    let (first, second, third) = (shared(0, &[0, 1]), shared(1, &[0, 1]), shared(2, &[0, 1]));
    cluster.at(100).dispatch_all(&first);
    cluster.dispatch_all(&second);
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 4);
    // They have run, but somebody may still ask for them.
    for shard in [0, 1] {
        assert_eq!(cluster.send_for_end(shard, &third.pieces[&shard]), busy(seq(2, 1)));
    }
    cluster.pass_until(10 * MS);
    cluster.dispatch_all(&third);
    cluster.exchange();
    assert_eq!(cluster.at(10 * MS + 1).turn(), 2);
    for shard in [0, 1] {
        assert_eq!(cluster.ends(shard).last(), Some(&committed(seq(2, 1), 10 * MS)));
    }
}

#[test]
fn what_was_refused_makes_room_at_once() {
    let mut cluster = cluster();
    for slot in [0, 1] {
        cluster.at(100).dispatch(0, &shared(slot, &[0, 1]));
    }
    cluster.letters();
    let refuse = |slot: u16| {
        let txn = shared(slot, &[0, 1]).id;
        let message = PeerMessage::Refuse { txn, reason: RefusedReason::StoreFull };
        Letter { from: 1, to: 0, message }
    };
    cluster.deliver(refuse(0));
    cluster.dispatch(0, &shared(2, &[0, 1]));
    let third = shared(3, &[0, 1]);
    assert_eq!(cluster.send_for_end(0, &third.pieces[&0]), busy(seq(3, 1)));
}

#[test]
fn what_a_peer_has_proposed_is_let_in_even_when_there_is_no_room() {
    let mut cluster = cluster();
    // Both shards are full of transactions that the other has not admitted.
    for slot in [0, 1] {
        cluster.at(100).dispatch(0, &shared(slot, &[0, 1]));
    }
    for slot in [2, 3] {
        cluster.dispatch(1, &shared(slot, &[0, 1]));
    }
    cluster.exchange();
    let fifth = shared(4, &[0, 1]);
    assert_eq!(cluster.send_for_end(0, &fifth.pieces[&0]), busy(seq(4, 1)));
    for slot in [0, 1] {
        cluster.dispatch(1, &shared(slot, &[0, 1]));
    }
    for slot in [2, 3] {
        cluster.dispatch(0, &shared(slot, &[0, 1]));
    }
    cluster.exchange();
    assert_eq!(cluster.at(501).turn(), 8);
    assert!(cluster.is_idle());
}

#[test]
fn proposals_without_dispatch_are_bounded_for_each_peer() {
    let mut cluster = cluster();
    let to = run_of(0, 1).incarnation();
    let propose = |from: u16, slot: u16| {
        let txn = shared(slot, &[0, 1]).id;
        Letter { from, to: 0, message: PeerMessage::Propose { txn, local: 500, to, answer: false } }
    };
    for slot in 0..6 {
        cluster.at(100).deliver(propose(1, slot));
    }
    assert_eq!((cluster.kept()[0], cluster.stats(0).peer_dropped), (2, 4));
    cluster.deliver(propose(2, 9));
    assert_eq!((cluster.kept()[0], cluster.stats(0).peer_dropped), (3, 4));
    // They take no room of what is dispatched, whosoever it is.
    for slot in [10, 11] {
        cluster.dispatch(0, &shared(slot, &[0, 1]));
    }
    // After the time-out there is room again.
    cluster.at(2 * SECOND).turn();
    assert_eq!(cluster.kept()[0], 2);
    cluster.deliver(propose(1, 5));
    assert_eq!(cluster.kept()[0], 3);
}

#[test]
fn what_waits_on_one_shard_alone_is_bounded_too() {
    let mut cluster = cluster();
    let t = adds(seq(0, 1), 100, &[0, 1]);
    cluster.at(100).dispatch_all(&t);
    let single = |slot| piece(seq(slot, 1), &[add_to(0, 0)]);
    for slot in [1, 2] {
        assert!(cluster.at(200).send(0, &single(slot)).is_empty());
    }
    assert_eq!(cluster.send_for_end(0, &single(3)), busy(seq(3, 1)));
    assert_eq!((cluster.stats(0).busy, cluster.stats(0).blocked), (1, 2));
    let beside = piece(seq(4, 1), &[add_to(0, 1)]);
    assert_eq!(cluster.send_for_end(0, &beside), [committed(seq(4, 1), 200)]);
    cluster.exchange();
    assert_eq!(cluster.turn(), 4);
    // The one that met no room comes again, and others find room again as well.
    assert_eq!(cluster.send(0, &single(3))[0].number(), 4);
    cluster.at(300).dispatch_all(&adds(seq(5, 1), 300, &[0, 1]));
    for slot in [6, 7] {
        assert!(cluster.at(400).send(0, &single(slot)).is_empty());
    }
    assert_eq!(cluster.send_for_end(0, &single(8)), busy(seq(8, 1)));
}

#[test]
fn the_bytes_of_what_waits_are_bounded_too() {
    // An addition takes 17 bytes.
    let configure = |config: &mut ShardConfig| config.held_bytes_max = 20;
    let mut cluster = Cluster::with(configure, Procedures::new);
    let [first, second, third] =
        [0, 1, 2].map(|slot: u16| adds_to(usize::from(slot), seq(slot, 1), 100, &[0, 1]));
    cluster.at(100).dispatch_all(&first);
    cluster.dispatch_all(&second);
    let single = piece(seq(3, 1), &[add_to(0, 0)]);
    assert_eq!(cluster.at(200).send_for_end(0, &single), busy(seq(3, 1)));
    for shard in [0, 1] {
        assert_eq!(cluster.send_for_end(shard, &third.pieces[&shard]), busy(seq(2, 1)));
    }
    cluster.exchange();
    assert_eq!(cluster.turn(), 4);
    // What has run is kept, but its operations are not.
    cluster.dispatch_all(&third);
    cluster.exchange();
    assert_eq!(cluster.at(201).turn(), 2);
    assert_eq!(cluster.send(0, &single)[0].number(), 2);
}

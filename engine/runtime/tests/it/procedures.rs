//! Registered procedures between two engines over TCP.

use crate::support::{self, PATIENCE, Watcher};
use punctual_runtime::{
    Client, CloseReason, Counter, Engine, Key, LinkEvent, Outcome, OwdWatch, ProcedureContext,
    Procedures, RefusedReason, ShardId, TransactionResult, Verdict,
};

const TRANSFER: u16 = 7;
const ALICE: &str = "{bank}alice";
const BOB: &str = "{bank}bob";

/// Moves money and looks only afterwards whether there was enough: an abort has something to undo.
fn transfer(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let Ok(amount) = args.try_into().map(i64::from_le_bytes) else { return Verdict::Abort };
    let left = context.add(Key::from(ALICE), -amount);
    context.add(Key::from(BOB), amount);
    let Some(left) = left else { return Verdict::Abort };
    context.result(&left.to_le_bytes());
    if left < 0 { Verdict::Abort } else { Verdict::Commit }
}

fn named(name: &str) -> Procedures {
    let mut procedures = Procedures::new();
    procedures.register(TRANSFER, name, transfer).expect("the id is free");
    procedures
}

fn call(client: &Client, procedure: u16, amount: i64) -> TransactionResult {
    let mut transaction = client.transaction();
    transaction.call(procedure, ALICE, &amount.to_le_bytes());
    let pending = client.submit(&mut transaction).expect("the transaction is taken");
    support::end_of(&pending).expect("the transaction has an outcome")
}

fn balances(client: &Client) -> (Option<i64>, Option<i64>) {
    let mut transaction = client.transaction();
    transaction.get(ALICE).get(BOB);
    let result = support::commit(client, &mut transaction);
    (result.number(0), result.number(1))
}

#[test]
fn a_procedure_commits_or_leaves_no_trace_over_the_wire() {
    let config = support::config(2);
    let served = Engine::serve(support::on_any_port(&config)).procedures(named("transfer"));
    let served = served.start_shards().expect("shards are served");
    let reaching = support::at(&config, support::addresses_of(&served));
    let (engine, client) =
        Engine::connect(reaching).procedures(named("transfer")).start().expect("a start");
    let mut deposit = client.transaction();
    deposit.add(ALICE, 100).add(BOB, 0);
    support::commit(&client, &mut deposit);

    let result = call(&client, TRANSFER, 70);
    assert!(matches!(result.outcome, Outcome::Committed { .. }), "{result:?}");
    assert_eq!((result.results.len(), result.number(0)), (1, Some(30)));
    assert_eq!(balances(&client), (Some(30), Some(70)));

    let result = call(&client, TRANSFER, 31);
    assert!(matches!(result.outcome, Outcome::Aborted { .. }), "{result:?}");
    assert_eq!(result.number(0), Some(-1), "an abort reports as well");
    assert_eq!(balances(&client), (Some(30), Some(70)));

    let result = call(&client, TRANSFER + 1, 1);
    assert_eq!(result.outcome, Outcome::Refused(RefusedReason::UnknownProcedure));

    let counters = [engine.counters().clone(), served.counters().clone()];
    engine.stop().expect("the workers stop");
    served.stop().expect("the shards stop");
    for counters in counters {
        assert_eq!(counters.sum("", Counter::Aborted), 1);
        assert_eq!(counters.sum("", Counter::Refused), 1);
        assert_eq!(counters.sum("", Counter::Committed), 4);
    }
}

/// What a worker with these procedures hears from a shard with `transfer`, and how often either
/// of them counts a refusal.
fn first_event(procedures: Procedures) -> (LinkEvent, [u64; 2]) {
    let config = support::config(1);
    let served = Engine::serve(support::on_any_port(&config)).procedures(named("transfer"));
    let served = served.start_shards().expect("shards are served");
    let (watcher, events) = Watcher::new();
    let reaching = support::at(&config, support::addresses_of(&served));
    let engine = Engine::connect(reaching).procedures(procedures).start_with(vec![watcher]);
    let engine = engine.expect("workers start");
    let (shard, event) = events.recv_timeout(PATIENCE).expect("the link changes");
    assert_eq!(shard, ShardId(0));
    let counters = [engine.counters().clone(), served.counters().clone()];
    engine.stop().expect("the workers stop");
    served.stop().expect("the shards stop");
    (event, counters.map(|counters| counters.sum("", Counter::HandshakesRefused)))
}

#[test]
fn members_with_the_same_procedures_meet() {
    assert_eq!(first_event(named("transfer")), (LinkEvent::Up, [0, 0]));
}

#[test]
fn members_with_different_procedures_refuse_each_other() {
    let refused = LinkEvent::Refused(CloseReason::ClusterConfig);
    for procedures in [Procedures::new(), named("transfer2")] {
        let case = format!("{procedures:?}");
        assert_eq!(first_event(procedures), (refused.clone(), [1, 1]), "{case}");
    }
}

#[test]
fn a_watch_of_delays_meets_shards_with_the_procedures_that_it_is_told_of() {
    let config = support::config(1);
    let served = Engine::serve(support::on_any_port(&config)).procedures(named("transfer"));
    let served = served.start_shards().expect("shards are served");
    let reaching = support::at(&config, support::addresses_of(&served));
    let first_event = |procedures: &Procedures| {
        let watch = OwdWatch::connect(&reaching, procedures).expect("a watch starts");
        let (_, event) = watch.events().recv_timeout(PATIENCE).expect("the link changes");
        watch.stop();
        event
    };
    assert_eq!(first_event(&named("transfer")), LinkEvent::Up);
    let LinkEvent::Down { why } = first_event(&Procedures::new()) else {
        panic!("shards with procedures let in who has none")
    };
    let reason = CloseReason::ClusterConfig.to_string();
    assert!(why.contains(&reason), "{why}");
    served.stop().expect("the shards stop");
}

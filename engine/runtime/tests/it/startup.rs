//! What keeps an engine from starting is said in one line, with what to do about it. What ends it
//! later is noticed.

use crate::support;
use punctual_runtime::config::{Address, CoreList};
use punctual_runtime::{
    Completion, Config, Driver, Engine, EngineError, Key, Nanos, Outcome, ProcedureContext,
    Procedures, Submitter, Transport, Verdict, host,
};
use std::net::TcpListener;

/// The message of an error that the user can mend.
fn usage(error: &EngineError) -> String {
    assert!(error.is_usage(), "{error}");
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

fn refused_embedded(config: Config) -> String {
    usage(&Engine::embedded(config, Transport::Ring).start().expect_err("it must not start"))
}

fn refused_served(config: Config) -> String {
    usage(&Engine::serve(config).start_shards().expect_err("it must not start"))
}

#[test]
fn a_core_outside_the_mask_is_named_with_those_inside() {
    let allowed = host::allowed_cores();
    let other = (0..1024).rev().find(|core| !allowed.contains(core));
    let Some(other) = other else { return support::skip("every core there could be is allowed") };
    let mut config = support::config(1);
    config.process.placement.coordinators = CoreList::Cores(vec![other]);
    let message = refused_embedded(config);
    assert!(message.contains(&format!("core {other} in placement.coordinators")), "{message}");
    assert!(message.contains(&format!("{allowed:?}")), "{message}");
    assert!(message.contains("choose among them"), "{message}");
}

#[test]
fn a_port_in_use_is_named_with_its_shard() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound socket").to_string();
    let config = support::at(&support::config(1), vec![Address::Tcp(address.clone())]);
    let message = refused_served(config);
    assert!(message.starts_with(&format!("shard 0 cannot listen at {address}")), "{message}");
    assert!(message.contains("stop what listens there or change its address"), "{message}");
}

#[test]
fn a_socket_file_is_taken_while_somebody_answers_and_free_when_nobody_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.sock");
    let config = support::at(&support::config(1), vec![Address::Unix(path.clone())]);
    let served = Engine::serve(config.clone()).start_shards().expect("the path is free");
    let message = refused_served(config.clone());
    assert!(message.contains("shard 0 cannot listen at unix:"), "{message}");
    served.stop().expect("the shard stops");
    assert!(!path.exists(), "the socket file goes with its shard");

    // The file of a process that died is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("the path is free"));
    assert!(path.exists());
    let served = Engine::serve(config).start_shards().expect("nobody answers there");
    served.stop().expect("the shard stops");
}

#[test]
fn a_bad_value_is_named_with_its_bounds() {
    let mut config = support::config(1);
    config.process.in_flight = 0;
    assert_eq!(refused_embedded(config), "in_flight = 0 is outside 1..=65536");
}

#[test]
fn serving_without_addresses_says_where_to_put_them() {
    let message = refused_served(support::config(1));
    assert!(message.contains("set cluster.shards"), "{message}");
}

/// Ends its core in its first turn.
struct Fatal;

impl Driver for Fatal {
    fn drive(&mut self, _now: Nanos, _submitter: &mut Submitter<'_>) -> usize {
        panic!("no way out of this driver")
    }

    fn complete(&mut self, _now: Nanos, _completion: Completion<'_>) {}

    fn is_finished(&self) -> bool {
        false
    }

    fn stop(&mut self) {}
}

#[test]
fn an_engine_whose_core_dies_is_not_alive_and_says_so_when_it_stops() {
    let engine = Engine::embedded(support::config(1), Transport::Ring).start_with(vec![Fatal]);
    let engine = engine.expect("a start");
    support::until("the death is noticed", || !engine.is_alive());
    let error = engine.stop().expect_err("a core died");
    assert!(error.to_string().contains("no way out"), "{error}");
    assert!(!error.is_usage(), "{error}");
}

fn panics(context: &mut ProcedureContext<'_>, _args: &[u8]) -> Verdict {
    context.put(Key::from(7), b"half done");
    panic!("no way out of this procedure")
}

#[test]
fn a_procedure_that_panics_counts_as_one_that_aborts() {
    let mut procedures = Procedures::new();
    procedures.register(1, "panics", panics).expect("the id is free");
    let engine = Engine::embedded(support::config(1), Transport::Ring).procedures(procedures);
    let (engine, client) = engine.start().expect("a start");
    let mut transaction = client.transaction();
    transaction.call(1, "any key", b"");
    let result = client.submit(&mut transaction).expect("it is taken").wait().expect("an end");
    assert!(matches!(result.outcome, Outcome::Aborted { .. }), "{result:?}");
    assert_eq!(support::get(&client, 7), None);
    engine.stop().expect("an orderly stop");
}

#[test]
fn an_engine_that_is_dropped_closes_its_doors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("0.sock");
    let config = support::at(&support::config(1), vec![Address::Unix(path.clone())]);
    drop(Engine::serve(config).start_shards().expect("the path is free"));
    support::until("the socket file is gone", || !path.exists());
}

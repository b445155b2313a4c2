//! Servers that stop, and those that start again.

use super::*;
use crate::config::JournalBackend;
use std::path::Path;

/// A server with a journal, at an address.
fn journaled(dir: &Path, listen: &str) -> TaskServer {
    let durability = TaskDurability::Journal {
        dir: dir.to_owned(),
        segment_bytes: 4 << 20,
        snapshot_after: 0,
        backend: JournalBackend::Threads,
    };
    let config = TaskServerConfig::listening(Address::Tcp(listen.to_owned()), TOKEN);
    TaskServer::start(TaskServerConfig { durability, ..config }).expect("the server starts")
}

#[test]
fn a_server_with_a_journal_goes_on_where_it_stopped_and_so_do_those_who_know_it() {
    const TASKS: u64 = 300;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server = journaled(dir.path(), "127.0.0.1:0");
    assert!(matches!(server.recovery(), [report] if report.is_new));
    let address = remote(&server);
    let listen = server.endpoint().expect("it listens").to_string();
    let mut client = client(&address);
    let job = client.open_job("long").expect("a job");
    let host = worker("w", &address);
    submit(&mut client, job, 0..TASKS);
    until_done(&mut client, job, TASKS);

    for round in 1..=2 {
        server.stop().expect("an orderly stop");
        server = journaled(dir.path(), &listen);
        let [report] = server.recovery() else { panic!("it has one journal") };
        assert!(!report.is_new && report.torn.is_none(), "{report}");
        assert_eq!((report.keys, report.undecided), (round * TASKS, 0), "{report}");
        // The client and the worker find it again by themselves.
        let known = submit(&mut client, job, 0..round * TASKS);
        assert_eq!((known.added, known.known), (0, round * TASKS), "nothing was forgotten");
        let added = submit(&mut client, job, round * TASKS..(round + 1) * TASKS);
        assert_eq!((added.added, added.known), (TASKS, 0));
        until_done(&mut client, job, (round + 1) * TASKS);
    }
    host.drain();
    host.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn a_server_in_memory_forgets_and_its_worker_goes_on_with_the_next() {
    let server = serve(TaskServerConfig::default());
    let address = remote(&server);
    let listen = server.endpoint().expect("it listens").to_string();
    let mut client = client(&address);
    let host = worker("w", &address);
    let job = client.open_job("first").expect("a job");
    submit(&mut client, job, 0..10);
    until_done(&mut client, job, 10);
    server.stop().expect("an orderly stop");

    let config = TaskServerConfig::listening(Address::Tcp(listen), TOKEN);
    let server = TaskServer::start(config).expect("the address is free again");
    assert!(server.recovery().is_empty());
    assert!(client.jobs().expect("the server is found again").is_empty());
    let job = client.open_job("second").expect("a job");
    assert_eq!(submit(&mut client, job, 0..10).added, 10);
    until_done(&mut client, job, 10);
    host.drain();
    host.wait().expect("everything was acknowledged");
    server.stop().expect("an orderly stop");
}

#[test]
fn a_client_of_this_process_is_told_that_the_server_has_stopped() {
    let server = TaskServer::start(TaskServerConfig::default()).expect("the server starts");
    assert_eq!(server.endpoint(), None);
    let local = server.local();
    let mut client = TaskClient::local(&local).expect("the queue is there");
    assert!(client.jobs().expect("an answer").is_empty());
    server.stop().expect("an orderly stop");
    let error = client.jobs().expect_err("nobody is there");
    assert!(matches!(error, TaskClientError::Stopped), "{error}");
    let error = TaskClient::local(&local).expect_err("nobody is there");
    assert!(matches!(error, TaskClientError::Stopped), "{error}");
}

#[test]
fn what_keeps_a_server_from_starting_is_said_in_one_line() {
    let message = |config: TaskServerConfig| {
        let error = TaskServer::start(config).expect_err("it must not start");
        assert!(error.is_usage(), "{error}");
        let message = error.to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    };
    let default = TaskServerConfig::default;
    let silent = TaskServerConfig { heartbeat: default().lease_timeout, ..default() };
    assert!(message(silent).starts_with("lease_timeout = 30s is less than two heartbeats"));
    let hasty = TaskServerConfig { backoff_min: Duration::ZERO, ..default() };
    assert!(message(hasty).starts_with("backoff_min = 0s is outside"));

    let server = serve(default());
    let endpoint = server.endpoint().expect("it listens").to_string();
    let taken = TaskServerConfig::listening(Address::Tcp(endpoint.clone()), TOKEN);
    let taken = message(taken);
    assert!(taken.starts_with(&format!("the task server cannot listen at {endpoint}")), "{taken}");
    server.stop().expect("an orderly stop");

    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut durability = TaskDurability::journal(dir.path());
    if let TaskDurability::Journal { segment_bytes, .. } = &mut durability {
        *segment_bytes += 1;
    }
    let uneven = message(TaskServerConfig { durability, ..default() });
    assert!(uneven.contains("must be a multiple of"), "{uneven}");
}

//! Servers, clients and workers together, over sockets and through memory. Nothing here decides by
//! time: waits end with what they wait for, and their bounds only end what would hang for ever.

mod crew;
mod expiry;
mod farm;
mod hostile;
mod restarts;
mod watching;
mod work;

use super::*;
use crate::config::Address;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Nothing that works takes this long, not even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "open sesame";

/// A server at a port that the system chooses.
fn serve(config: TaskServerConfig) -> TaskServer {
    let listen = Some(Address::Tcp("127.0.0.1:0".to_owned()));
    TaskServer::start(TaskServerConfig { listen, token: TOKEN.into(), ..config })
        .expect("the server starts")
}

/// The way to a server over its socket.
fn remote(server: &TaskServer) -> QueueAddress {
    let endpoint = server.endpoint().expect("it listens").clone();
    QueueAddress::Remote { endpoint, token: TOKEN.into() }
}

fn client(address: &QueueAddress) -> TaskClient {
    TaskClient::at(address, PATIENCE).expect("the server answers")
}

/// A worker whose tasks all succeed at once.
fn worker(name: &str, address: &QueueAddress) -> TaskWorkerHost {
    let config = TaskWorkerConfig::new(name, 4, 1 << 30, 4000);
    TaskWorkerHost::start(config, address.clone(), NoopRunner::new()).expect("a thread")
}

/// A task of that number, which does nothing.
fn task(number: u64) -> OwnedSpec {
    let command = number.to_string();
    let payload = TaskPayload {
        kind: PayloadKind::Noop,
        name: b"",
        cwd: b"",
        command: command.as_bytes(),
        variables: Variables::default(),
    };
    let mut bytes = Vec::new();
    payload.write_to(&mut bytes);
    OwnedSpec::new(TaskKey(number.into()), bytes)
}

/// Submits tasks and waits until all are acknowledged.
fn submit(client: &mut TaskClient, job: JobId, numbers: std::ops::Range<u64>) -> SubmitReport {
    let report = client.submit(job, numbers.map(task), |_| ControlFlow::Continue(()));
    report.expect("the server takes them")
}

/// Waits until the counts of a job are as they should be.
fn until(client: &mut TaskClient, job: JobId, holds: impl Fn(&StateCounts) -> bool) {
    let (mut seen, start) = (0, Instant::now());
    loop {
        let news = client.progress(Some(job), seen, PATIENCE).expect("the server answers");
        let (version, counts) = news.expect("something happens");
        if holds(&counts) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it stays at {counts:?}");
        seen = version;
    }
}

/// Waits until so many tasks of a job are done.
fn until_done(client: &mut TaskClient, job: JobId, tasks: u64) {
    until(client, job, |counts| counts[TaskState::Done] == tasks);
}

//! Those who do not belong there, and those who do and misbehave.

use super::*;
use crate::counters::Counter;
use punctual_link::Endpoint;
use punctual_wire::{
    BatchWriter, CloseReason, Frame, FrameKind, FrameReader, Handshake, Hello, MAGIC, Role, VERSION,
};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// The frames that were heard before a link was closed, and the reason.
pub(super) type Heard = (Vec<FrameKind>, Option<CloseReason>);

/// A hello of ours, without features.
pub(super) fn hello(role: Role, hash: u64) -> Hello {
    Hello {
        magic: MAGIC.into(),
        version: VERSION.into(),
        role: role as u8,
        reserved: 0,
        shard: 0.into(),
        from: 0.into(),
        session: 7.into(),
        cluster: hash.into(),
        features: 0.into(),
        slots: 0.into(),
    }
}

/// The bytes that `write` puts into frames.
pub(super) fn frames(write: impl FnOnce(&mut BatchWriter)) -> Vec<u8> {
    let mut out = BatchWriter::new(LIMITS, BATCH_MAX, false);
    write(&mut out);
    out.seal();
    out.sealed().to_vec()
}

/// Says all of this, and listens to the end.
fn say(endpoint: &Endpoint, bytes: &[u8]) -> Heard {
    let Endpoint::Tcp(address) = endpoint else { panic!("{endpoint} is no TCP address") };
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(bytes).expect("the server takes our bytes");
    listen(stream)
}

/// Listens to the end.
pub(super) fn listen(mut stream: TcpStream) -> Heard {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => heard.extend_from_slice(&chunk[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the link stays open: {error}"),
        }
    }
    let mut reader = FrameReader::new(&heard, LIMITS, false);
    let (mut kinds, mut reason) = (Vec::new(), None);
    while let Some(frame) = reader.next_frame().expect("servers send good frames") {
        kinds.push(frame.kind);
        reason = reason.or(reason_of(&frame));
    }
    (kinds, reason)
}

fn reason_of(frame: &Frame<'_>) -> Option<CloseReason> {
    (frame.kind == FrameKind::Goodbye).then(|| Handshake::read_goodbye(frame).expect("a reason"))
}

#[test]
fn whoever_shows_another_token_is_told_and_gets_no_further() {
    let server = serve(TaskServerConfig::default());
    let endpoint = server.endpoint().expect("it listens").clone();
    let error = TaskClient::connect(&endpoint, "another", PATIENCE).expect_err("it is refused");
    let is_token = |reason: CloseReason| reason == CloseReason::Token;
    assert!(
        matches!(&error, TaskClientError::Refused { reason, .. } if is_token(*reason)),
        "{error}"
    );
    assert!(error.to_string().contains("the token is wrong"), "{error}");

    let address = QueueAddress::Remote { endpoint, token: Token::default() };
    let error = worker("stranger", &address).wait().expect_err("it is refused");
    assert!(
        matches!(&error, TaskWorkerError::Refused { reason, .. } if is_token(*reason)),
        "{error}"
    );
    assert!(error.is_usage(), "{error}");

    let mut client = client(&remote(&server));
    assert!(client.workers().expect("an answer").is_empty());
    server.stop().expect("an orderly stop");
}

#[test]
fn those_who_talk_nonsense_are_shown_out_and_the_others_go_on() {
    const TASKS: u64 = 100;
    let server = serve(TaskServerConfig::default());
    let address = remote(&server);
    let mut client = client(&address);
    let job = client.open_job("undisturbed").expect("a job");
    let host = worker("w", &address);
    let endpoint = server.endpoint().expect("it listens").clone();
    let good = address.hash();

    let greeting = |role| frames(|out| Handshake::write_hello(out, &hello(role, good)));
    let after = |role, more: &[u8]| [greeting(role).as_slice(), more].concat();
    let task = |body: &[u8]| {
        frames(|out| out.message(FrameKind::Task, body.len(), |to| to.extend_from_slice(body)))
    };
    let welcomed = vec![FrameKind::Welcome, FrameKind::Goodbye];
    let malformed = Some(CloseReason::Malformed);
    let shown_out = (vec![FrameKind::Goodbye], malformed);
    let attacks: [(&str, Vec<u8>, Heard); 6] = [
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec(), shown_out.clone()),
        ("work before the hello", task(b"work"), shown_out),
        (
            "a shard's role",
            greeting(Role::Coordinator),
            (vec![FrameKind::Goodbye], Some(CloseReason::WrongShard)),
        ),
        (
            "noise after the hello of a client",
            after(Role::TaskClient, &[0xff; 64]),
            (welcomed.clone(), malformed),
        ),
        (
            "an unknown message of a worker",
            after(Role::TaskWorker, &task(&[0xee; 30])),
            (welcomed.clone(), malformed),
        ),
        (
            "a transaction from a client",
            after(
                Role::TaskClient,
                &frames(|out| out.message(FrameKind::Dispatch, 2, |to| to.extend(b"no"))),
            ),
            (welcomed, malformed),
        ),
    ];
    let attacked = attacks.len() as u64;
    for (round, (name, bytes, expected)) in attacks.into_iter().enumerate() {
        assert_eq!(say(&endpoint, &bytes), expected, "{name}");
        let numbers = round as u64 * TASKS..(round as u64 + 1) * TASKS;
        assert_eq!(submit(&mut client, job, numbers).added, TASKS, "after {name}");
    }
    until_done(&mut client, job, attacked * TASKS);
    host.drain();
    host.wait().expect("everything was acknowledged");
    let counters = server.counters().clone();
    server.stop().expect("an orderly stop");
    assert_eq!(counters.sum("tasks0", Counter::LinksMalformed), 3);
    assert_eq!(counters.sum("tasks0", Counter::HandshakesRefused), 3);
}
